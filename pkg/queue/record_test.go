package queue

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"
)

// sample has a base, a queue of two and a name of one.
func sample(t *testing.T) *State {
	s := based(t)
	for _, e := range []Event{
		claim("suse", "SuSe"), claim("mirror", "suse"), claim("debian", "Debian"),
		LinkChanged{ID: "suse", Online: true}, Refreshed{"suse"},
		LinkChanged{ID: "mirror", Reason: `no "route" <to> host`},
	} {
		mustApply(t, s, e)
	}
	return s
}

// The records' form is on disk: it must not change by accident.
func TestRecordsForm(t *testing.T) {
	want := map[string]string{
		"base":                              `{"norm":"ou=package listers","text":"ou=Package Listers"}`,
		"next":                              `4`,
		"claim/suse":                        `{"id":"suse","number":1,"subscription":"suse","name":"cn=SuSe,ou=package listers","norm":"cn=suse,ou=package listers","good":true,"online":true}`,
		"claim/mirror":                      `{"id":"mirror","number":2,"subscription":"mirror","name":"cn=suse,ou=package listers","norm":"cn=suse,ou=package listers","good":false,"online":false,"reason":"no \"route\" \u003cto\u003e host"}`,
		"claim/debian":                      `{"id":"debian","number":3,"subscription":"debian","name":"cn=Debian,ou=package listers","norm":"cn=debian,ou=package listers","good":false,"online":false}`,
		"name/cn=suse,ou=package listers":   `{"norm":"cn=suse,ou=package listers","text":"cn=SuSe,ou=package listers","claims":["suse","mirror"]}`,
		"name/cn=debian,ou=package listers": `{"norm":"cn=debian,ou=package listers","text":"cn=Debian,ou=package listers","claims":["debian"]}`,
	}
	got := map[string]string{}
	for name, value := range Records(sample(t)) {
		got[name] = string(value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// R24: a state survives in its records, the empty one too.
func TestLoad(t *testing.T) {
	for _, s := range []*State{NewState(), based(t), sample(t)} {
		got, err := Load(Records(s))
		if err != nil {
			t.Fatal(err)
		}
		s.changed = nil
		if !reflect.DeepEqual(got, s) {
			t.Errorf("got %s, want %s", showRecords(got), showRecords(s))
		}
	}
	if s, err := Load(nil); err != nil || !reflect.DeepEqual(s, NewState()) {
		t.Errorf("no records: %v, %v", s, err)
	}
}

// R56: what is wrong with the records is an error that names the place.
func TestLoadErrors(t *testing.T) {
	const suse, name = "claim/suse", "name/cn=suse,ou=package listers"
	tests := []struct {
		what   string
		record string
		value  string // "-" takes the record away
		words  string
	}{
		{"unknown record", "colour", `"red"`, `record "colour": no such record`},
		{"no JSON", suse, `{`, `record "claim/suse": byte`},
		{"unknown field", suse, `{"id":"suse","colour":"red"}`, `unknown field "colour"`},
		{"wrong type", "next", `"4"`, `record "next": byte`},
		{"text after", "next", `4 4`, "text after the value"},
		{"another id", suse, `{"id":"susy"}`, `the claim under "suse" calls itself "susy"`},
		{"null claim", suse, `null`, `the claim under "suse" calls itself ""`},
		{"null name", name, `null`, `calls itself ""`},
		{"no subscription", suse, `{"id":"suse","number":1}`, "lacks a subscription"},
		{"outside", suse, `{"id":"suse","number":1,"subscription":"suse","name":"n","norm":"cn=suse"}`, "not below the base"},
		{"claim missing", suse, "-", `there is no such claim`},
		{"name missing", name, "-", "stands in no queue"},
		{"no base", "base", "-", "no base DN"},
		{"base without norm", "base", `{"norm":"","text":"o=x"}`, "no base DN"},
		{"next missing", "next", "-", "the next is 1"},
		{"next too small", "next", "3", "the next is 3"},
		{"next zero", "next", "0", "number is 0"},
		{"empty queue", name, `{"norm":"cn=suse,ou=package listers","text":"x","claims":[]}`, "is empty"},
		{"another norm", name, `{"norm":"cn=x","text":"x","claims":["suse"]}`, `calls itself "cn=x"`},
		{"twice", name, `{"norm":"cn=suse,ou=package listers","text":"cn=SuSe,ou=package listers","claims":["suse","suse"]}`, "twice"},
		{"left out", name, `{"norm":"cn=suse,ou=package listers","text":"cn=SuSe,ou=package listers","claims":["suse"]}`, "stands in no queue"},
		{"wrong queue", name, `{"norm":"cn=suse,ou=package listers","text":"cn=SuSe,ou=package listers","claims":["suse","debian"]}`, "whose name is"},
		{"misspelt", name, `{"norm":"cn=suse,ou=package listers","text":"cn=SUSE,ou=package listers","claims":["suse","mirror"]}`, "is spelt"},
		{"number twice", "claim/debian", `{"id":"debian","number":1,"subscription":"debian","name":"x","norm":"cn=debian,ou=package listers"}`, "both have the number 1"},
		{"up and down", suse, `{"id":"suse","number":1,"subscription":"suse","name":"x","norm":"cn=suse,ou=package listers","online":true,"reason":"r"}`, "yet down"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			records := Records(sample(t))
			if records[test.record] = []byte(test.value); test.value == "-" {
				delete(records, test.record)
			}
			s, err := Load(records)
			if err == nil || s != nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v, want %q", err, test.words)
			}
		})
	}
}

// Check finds what cannot come from records: they hold text only.
func TestCheckUTF8(t *testing.T) {
	s := sample(t)
	s.BaseText = "\xff"
	if err := Check(s); err == nil {
		t.Error("a base that is not UTF-8 passes")
	}
	s = sample(t)
	s.Claims["suse"].Subscription = "\xff"
	if err := Check(s); err == nil {
		t.Error("a subscription that is not UTF-8 passes")
	}
	s = NewState()
	s.BaseText = "o=x"
	if err := Check(s); err == nil {
		t.Error("a base without a normal form passes")
	}
}

// FuzzLoad takes records as one JSON object of texts; what loads is consistent
// and comes back the same.
func FuzzLoad(f *testing.F) {
	s := NewState()
	for _, e := range []Event{BaseSet{testBase, testBase}, claim("a", "X"), claim("b", "X"), Refreshed{"a"}} {
		f.Add(packRecords(Records(s)))
		if _, err := Apply(s, e); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(packRecords(Records(s)))
	f.Add([]byte(`{"next":"0"}`))
	f.Add([]byte(`{"base":"null","claim/":"null"}`))
	f.Fuzz(func(t *testing.T, packed []byte) {
		var texts map[string]string
		if json.Unmarshal(packed, &texts) != nil {
			return
		}
		records := map[string][]byte{}
		for name, text := range texts {
			records[name] = []byte(text)
		}
		s, err := Load(records)
		if err != nil {
			return
		}
		if err := Check(s); err != nil {
			t.Fatal(err)
		}
		again, err := Load(Records(s))
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%v: got %s, want %s", err, showRecords(again), showRecords(s))
		}
		Resume(s)
	})
}

func packRecords(records map[string][]byte) []byte {
	texts := map[string]string{}
	for name, value := range records {
		texts[name] = string(bytes.TrimSpace(value))
	}
	return encode(texts)
}
