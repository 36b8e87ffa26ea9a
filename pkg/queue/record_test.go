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
	if got := recordTexts(sample(t)); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func recordTexts(s *State) map[string]string {
	out := map[string]string{}
	for name, value := range Records(s) {
		out[name] = string(value)
	}
	return out
}

// So must that of lists' records.
func TestListRecordsForm(t *testing.T) {
	want := map[string]string{
		"base":                         `{"norm":"ou=package listers","text":"ou=Package Listers"}`,
		"next":                         `4`,
		"claim/tree":                   `{"id":"tree","number":1,"subscription":"tree","name":"cn=A,ou=package listers","norm":"cn=a,ou=package listers","good":false,"online":false}`,
		"claim/l/1":                    `{"id":"l/1","number":2,"subscription":"l","name":"cn=A,ou=package listers","norm":"cn=a,ou=package listers","good":false,"online":false,"entry":"e1","base":"ou=e1,o=new","reload":true}`,
		"name/cn=a,ou=package listers": `{"norm":"cn=a,ou=package listers","text":"cn=A,ou=package listers","claims":["tree","l/1"]}`,
		"list/l":                       `{"id":"l","next":3,"names":2,"good":true,"online":false,"reason":"no route"}`,
		"member/l/e1":                  `{"list":"l","entry":"e1","dn":"ou=e1,o=new","claims":[{"claim":"l/1","name":"cn=A,ou=package listers","norm":"cn=a,ou=package listers"},{"claim":"l/2","name":"cn=B,ou=package listers","norm":"cn=b,ou=package listers","suppressed":true}]}`,
		"member/l/e2":                  `{"list":"l","entry":"e2","dn":"ou=e2,o=up","problems":["no value"]}`,
	}
	s := listed(t)
	e1, e2 := found("e1", "A", "B"), found("e2")
	e1.DN, e2.Problems = "ou=e1,o=new", []string{"no value"}
	mustApply(t, s, e1)
	mustApply(t, s, e2)
	if got := recordTexts(s); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// R24: a state survives in its records, the empty one too.
func TestLoad(t *testing.T) {
	for _, s := range []*State{NewState(), based(t), sample(t), listed(t), lingering(t)} {
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

// R56: so is what is wrong with the records of lists.
func TestLoadListErrors(t *testing.T) {
	const list, member, claim1 = "list/l", "member/l/e1", "claim/l/1"
	for _, test := range []struct{ what, record, old, new, words string }{
		{"another id", list, `"id":"l"`, `"id":"m"`, `calls itself "m"`},
		{"unknown field", list, `"id"`, `"colour":"red","id"`, `unknown field "colour"`},
		{"next zero", list, `"next":3`, `"next":0`, "next claim of the list"},
		{"next too small", list, `"next":3`, `"next":2`, `has the claim "l/2", and the next is 2`},
		{"names", list, `"names":2`, `"names":3`, "makes 3 names, and its members have 2"},
		{"up and down", list, `"online":false`, `"online":true`, "yet down because"},
		{"another list", member, `"list":"l"`, `"list":"m"`, `calls itself "e1" of "m"`},
		{"another entry", member, `"entry":"e1"`, `"entry":"e2"`, `calls itself "e2"`},
		{"no DN", member, `"dn":"ou=e1,o=up"`, `"dn":""`, "calls itself"},
		{"another DN", member, `"dn":"ou=e1,o=up"`, `"dn":"o=up"`, `its member is of "l", entry "e1" at "o=up"`},
		{"no such claim", member, `"claim":"l/1"`, `"claim":"l/01"`, `has the claim "l/01"`},
		{"claim of another", member, `"claim":"l/1"`, `"claim":"m/1"`, `has the claim "m/1"`},
		{"claim twice", member, `"claim":"l/1"`, `"claim":"l/2","suppressed":true`, "is there twice"},
		{"suppressed and there", member, `"norm":"cn=a,ou=package listers"`, `"norm":"cn=a,ou=package listers","suppressed":true`, "is to be suppressed (true), and is there (true)"},
		{"neither", member, `,"suppressed":true`, ``, "is to be suppressed (false), and is there (false)"},
		{"member outside", member, `"norm":"cn=b,`, `"norm":"cn=b`, "not below the base"},
		{"nameless", member, `"name":"cn=B,ou=package listers"`, `"name":""`, "not below the base"},
		{"left out", member, `{"claim":"l/1","name":"cn=A,ou=package listers","norm":"cn=a,ou=package listers"},`, ``, "its members have 1"},
		{"claim's entry", claim1, `"entry":"e1"`, `"entry":"e2"`, `entry "e2"`},
		{"claim of none", claim1, `"entry":"e1","base":"ou=e1,o=up"`, `"base":""`, "neither a tree's nor a found entry's"},
		{"tree with base", "claim/tree", `"online":false`, `"online":false,"base":"o=up"`, "neither a tree's nor a found entry's"},
		{"tree of another", "claim/tree", `"subscription":"tree"`, `"subscription":"l"`, "neither a tree's nor a found entry's"},
		{"no list", list, "", "", "there is no such list"},
		{"no member", member, "", "", "makes 2 names, and its members have 0"},
		{"no claim", claim1, "", "", `holds "l/1", and there is no such claim`},
	} {
		t.Run(test.what, func(t *testing.T) {
			records := Records(listed(t))
			value := strings.Replace(string(records[test.record]), test.old, test.new, 1)
			if value == string(records[test.record]) && test.old != "" {
				t.Fatalf("the record %s has no %s", value, test.old)
			}
			if records[test.record] = []byte(value); test.old == "" {
				delete(records, test.record)
			}
			if s, err := Load(records); err == nil || s != nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v, want %q", err, test.words)
			}
		})
	}
	for name, value := range map[string]string{
		"list/tree":   `{"id":"tree","next":1,"names":0,"good":false,"online":false}`,
		"list/l/1":    `{"id":"l/1","next":1,"names":0,"good":false,"online":false}`,
		"list/":       `{"id":"","next":1,"names":0,"good":false,"online":false}`,
		"member/l":    `{"list":"l","entry":"","dn":"o=up"}`,
		"member/m/e9": `null`,
		"lists/m":     `{}`,
	} {
		records := Records(listed(t))
		records[name] = []byte(value)
		if _, err := Load(records); err == nil {
			t.Errorf("%s: %s was taken", name, value)
		}
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
	for _, e := range []Event{
		BaseSet{testBase, testBase}, claim("a", "X"), claim("b", "X"), Refreshed{"a"},
		ListAdded{"l"}, found("e1", "X", "Y"), ClaimSuppressed{"l/2"}, EntryFound{List: "l", Entry: "e2", DN: "o=up", Problems: []string{"none"}},
		ListLinkChanged{ID: "l", Reason: "no route"}, EntryFound{List: "l", Entry: "e1", DN: "o=other"},
		claim("c", "X"), ClaimRemoved{"a"}, Switched{ID: "c", Forced: true},
	} {
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
		if err != nil || showRecords(again) != showRecords(s) {
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
