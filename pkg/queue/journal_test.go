package queue

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The journal's form is on disk: it must not change by accident.
func TestJournalForm(t *testing.T) {
	tests := []struct {
		event Event
		line  string
	}{
		{BaseSet{Norm: "o=x", Text: "O=X"}, `{"event":"base-set","norm":"o=x","text":"O=X"}`},
		{ClaimAdded{ID: "l", Subscription: "l", Name: "cn=A,o=x", Norm: "cn=a,o=x"},
			`{"event":"claim-added","id":"l","subscription":"l","name":"cn=A,o=x","norm":"cn=a,o=x"}`},
		{ClaimRemoved{"l/1"}, `{"event":"claim-removed","id":"l/1"}`},
		{Refreshed{"l/1"}, `{"event":"refreshed","id":"l/1"}`},
		{LinkChanged{ID: "l/1", Online: true}, `{"event":"link-changed","id":"l/1","online":true,"reason":""}`},
		{LinkChanged{ID: "l/1", Reason: "no\nroute"}, `{"event":"link-changed","id":"l/1","online":false,"reason":"no\nroute"}`},
		{ListAdded{"l"}, `{"event":"list-added","id":"l"}`},
		{ListRemoved{"l"}, `{"event":"list-removed","id":"l"}`},
		{ListRefreshed{"l"}, `{"event":"list-refreshed","id":"l"}`},
		{ListLinkChanged{ID: "l", Reason: "down"}, `{"event":"list-link-changed","id":"l","online":false,"reason":"down"}`},
		{EntryFound{List: "l", Entry: "6ba7", DN: "cn=A,o=y", Names: []FoundName{{"cn=A,o=x", "cn=a,o=x"}}, Problems: []string{"none"}},
			`{"event":"entry-found","list":"l","entry":"6ba7","dn":"cn=A,o=y","names":[{"name":"cn=A,o=x","norm":"cn=a,o=x"}],"problems":["none"]}`},
		{EntryLost{"l", "6ba7"}, `{"event":"entry-lost","list":"l","entry":"6ba7"}`},
		{ClaimSuppressed{"l/1"}, `{"event":"claim-suppressed","id":"l/1"}`},
		{ClaimLifted{"l/1"}, `{"event":"claim-lifted","id":"l/1"}`},
		{ClaimMoved{"l/1", "cn=B,o=x", "cn=b,o=x"}, `{"event":"claim-moved","id":"l/1","name":"cn=B,o=x","norm":"cn=b,o=x"}`},
		{RefreshHeld{"l/1", "aa", "59 go"}, `{"event":"refresh-held","of":"l/1","print":"aa","cause":"59 go"}`},
		{HoldRejected{"l/1", "aa"}, `{"event":"hold-rejected","of":"l/1","print":"aa"}`},
		{HoldEnded{"l"}, `{"event":"hold-ended","of":"l"}`},
		{QueueMoved{"l/1", 2}, `{"event":"queue-moved","id":"l/1","position":2}`},
		{Switched{ID: "l/1"}, `{"event":"switched","id":"l/1"}`},
		{Switched{ID: "l/1", Forced: true}, `{"event":"switched","id":"l/1","forced":true}`},
		{LingerEnded{"cn=b,o=x"}, `{"event":"linger-ended","norm":"cn=b,o=x"}`},
		{EntryWished{"l", "6ba7", Wished{Name: "cn=A,o=x", Norm: "cn=a,o=x", To: "cn=B,o=x", ToNorm: "cn=b,o=x", Suppressed: true}},
			`{"event":"entry-wished","list":"l","entry":"6ba7","name":"cn=A,o=x","norm":"cn=a,o=x","to":"cn=B,o=x","to_norm":"cn=b,o=x","suppressed":true}`},
	}
	if len(tests)-2 != len(decoders) { // two have two forms
		t.Errorf("%d forms for %d events", len(tests)-2, len(decoders))
	}
	for _, test := range tests {
		line, err := EncodeEvent(test.event)
		if err != nil || string(line) != test.line {
			t.Errorf("%#v: %v, %s, want %s", test.event, err, line, test.line)
		}
		e, err := DecodeEvent([]byte(test.line))
		if err != nil || !reflect.DeepEqual(e, test.event) {
			t.Errorf("%s: %v, %#v, want %#v", test.line, err, e, test.event)
		}
	}
}

func TestEncodeEventEdges(t *testing.T) {
	if _, err := EncodeEvent(nil); err == nil {
		t.Error("no event was encoded")
	}
	line, err := EncodeEvent(LinkChanged{ID: "a", Reason: "\xff\xfe!"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := DecodeEvent(line); err != nil || e.(LinkChanged).Reason != "\uFFFD!" {
		t.Errorf("%v, %#v", err, e)
	}
	e := found("e1", "A", "a", "\xff", "B")
	e.Problems = []string{"\xff"}
	if line, err = EncodeEvent(e); err != nil {
		t.Fatal(err)
	}
	kept := found("e1", "A", "B")
	kept.Problems = []string{`the name "cn=\xff,ou=package listers" is not UTF-8`, "\uFFFD"}
	if e, err := DecodeEvent(line); err != nil || !reflect.DeepEqual(e, Event(kept)) {
		t.Errorf("%v, %#v, want %#v", err, e, kept)
	}
}

// R56: each bad line is an error that says what is wrong with it.
func TestDecodeEventErrors(t *testing.T) {
	tests := []struct{ line, words string }{
		{``, "decode event: byte 1"},
		{`{`, "decode event: byte"},
		{`[]`, "cannot unmarshal array"},
		{`null`, `"event" is missing`},
		{`{}`, `"event" is missing`},
		{`{"EVENT":"refreshed","id":"a"}`, `"event" is missing`},
		{`{"event":7}`, `field "event"`},
		{`{"event":"exploded"}`, `unknown event "exploded" (known: base-set, claim-added,`},
		{`{"event":"refreshed","id":"a","colour":"red"}`, `decode event refreshed: byte`},
		{`{"event":"refreshed","id":"a","colour":"red"}`, `unknown field "colour"`},
		{`{"event":"refreshed","id":7}`, "refreshed"},
		{`{"event":"refreshed","id":"a"} {}`, "text after the value"},
		{`{"event":"link-changed","online":"yes"}`, "link-changed"},
	}
	for _, test := range tests {
		e, err := DecodeEvent([]byte(test.line))
		if err == nil || e != nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v, %v, want %q", test.line, e, err, test.words)
		}
	}
}

// FuzzDecodeEvent: what decodes comes back the same from its own print, as it is
// applied, and Apply takes or refuses it without a panic, and either the same.
func FuzzDecodeEvent(f *testing.F) {
	for _, e := range []Event{
		BaseSet{testBase, testBase}, claim("a", "X"), ClaimRemoved{"a"}, Refreshed{"a"},
		LinkChanged{ID: "a", Online: true}, LinkChanged{ID: "a", Reason: "no \u2028 route"},
		ListAdded{"m"}, ListRemoved{"l"}, ListRefreshed{"l"}, ListLinkChanged{ID: "l", Reason: "no route"},
		found("e1", "B", "A", "X"), found("e1", "C"), found("e3", "C", "c", ""), EntryLost{"l", "e1"},
		ClaimSuppressed{"l/1"}, ClaimLifted{"l/2"}, ClaimMoved{"l/1", "cn=Z," + testBase, "cn=z," + testBase},
		QueueMoved{"l/1", 1}, Switched{ID: "l/1"}, Switched{ID: "l/1", Forced: true}, LingerEnded{"cn=a," + testBase},
	} {
		line, err := EncodeEvent(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := DecodeEvent(line)
		if err != nil {
			return
		}
		printed, err := EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeEvent(printed)
		if err != nil || !reflect.DeepEqual(again, asText(e)) {
			t.Fatalf("%s: %v, %#v, want %#v", printed, err, again, asText(e))
		}
		s, twin := listed(t), listed(t)
		effects, err := Apply(s, e)
		twinEffects, twinErr := Apply(twin, again)
		if fmt.Sprint(effects, err) != fmt.Sprint(twinEffects, twinErr) || showRecords(s) != showRecords(twin) {
			t.Fatalf("%s: %v %v, from the journal %v %v", line, effects, err, twinEffects, twinErr)
		}
		if err := Check(s); err != nil {
			t.Fatal(err)
		}
	})
}
