package queue

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
)

// lingering is the sample with its first head removed: the second is down, and the name
// shows what the first had.
func lingering(t *testing.T) *State {
	s := sample(t)
	mustApply(t, s, ClaimRemoved{"suse"})
	return s
}

// R30: the record's form is on disk: it must not change by accident.
func TestLingerRecordForm(t *testing.T) {
	const want = `{"norm":"cn=suse,ou=package listers","name":"cn=SuSe,ou=package listers","claim":"suse","number":1,"subscription":"suse"}`
	if got := string(Records(lingering(t))["linger/cn=suse,"+testBase]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// R30, R56: what is stored of it and does not agree is an error that names it.
func TestLoadLingers(t *testing.T) {
	const suse = "linger/cn=suse," + testBase
	for _, test := range []struct{ what, record, old, new, words string }{
		{"another name", suse, `"norm":"cn=suse`, `"norm":"cn=susy`, `calls itself "cn=susy`},
		{"a name that is not there", "linger/cn=gone," + testBase, `cn=suse`, `cn=gone`, "there is no such name"},
		{"no claim", suse, `"claim":"suse"`, `"claim":""`, `of ""`},
		{"no subscription", suse, `"subscription":"suse"`, `"subscription":""`, "calls itself"},
		{"no text", suse, `"name":"cn=SuSe,ou=package listers"`, `"name":""`, "calls itself"},
		{"number zero", suse, `"number":1`, `"number":0`, "has the number 0"},
		{"a number to come", suse, `"number":1`, `"number":4`, "has the number 4"},
		{"a claim's number", suse, `"number":1`, `"number":3`, `the claim "debian" has the number 3 of "suse"`},
		{"a number twice", "linger/cn=debian," + testBase, `"norm":"cn=suse`, `"norm":"cn=debian`, "both have the number 1"},
		{"an unknown field", suse, `"number"`, `"colour":"red","number"`, `unknown field "colour"`},
		{"null", suse, `{"norm"`, ``, "byte"},
	} {
		t.Run(test.what, func(t *testing.T) {
			records := Records(lingering(t))
			good := string(records[suse])
			value := strings.Replace(good, test.old, test.new, 1)
			if value == good {
				t.Fatalf("the record %s has no %s", good, test.old)
			}
			records[test.record] = []byte(value)
			if s, err := Load(records); err == nil || s != nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v, want %q", err, test.words)
			}
		})
	}
}

// R28: the revision tells a switch, and the queue as it was is the queue as it was.
func TestR28SwitchRevision(t *testing.T) {
	s := sample(t)
	key := "cn=suse," + testBase
	was := s.Revision(key)
	held := s.Names[key]
	mustApply(t, s, Switched{ID: "mirror", Forced: true})
	if s.Revision(key) == was || held.Head() != "suse" || s.Names[key].Head() != "mirror" {
		t.Errorf("revision %d, who held the queue sees %q, and it is %q", s.Revision(key), held.Claims, s.Names[key].Claims)
	}
	mustApply(t, s, Switched{ID: "suse"})
	if s.Revision(key) != was {
		t.Errorf("the revision is %d, and was %d", s.Revision(key), was)
	}
}

// R30: the last number is no reason to keep a head, and lingering needs none.
func TestLingerNeedsNoNumber(t *testing.T) {
	s := sample(t)
	s.Next = math.MaxUint32
	mustApply(t, s, ClaimRemoved{"suse"})
	if l := s.Lingers["cn=suse,"+testBase]; l == nil || l.Number != 1 {
		t.Errorf("%+v", l)
	}
}

// R30: what lingers goes with the head that stands where it was, whatever the schema makes
// of the texts; where that is no head any more, or the texts part, it ends.
func TestRenormLingers(t *testing.T) {
	left := func(s *State) string {
		out := map[string]string{}
		for norm, l := range s.Lingers {
			out[norm] = fmt.Sprint(l.Norm, " ", l.Name, " of ", l.Claim)
		}
		return fmt.Sprint(out)
	}
	tests := []struct {
		what   string
		norm   func(string) (string, error)
		events []Event
		want   string
	}{
		{"nothing new", plain, nil, "map[color=red,o=x:color=red,o=x color=Red,o=x of a colour=red,o=x:colour=red,o=x colour=Red,o=x of b]"},
		// a, c and b, d are two queues, whose heads are c and d now: of the one queue c is the head.
		{"joined", british, nil, "map[colour=red,o=x:colour=red,o=x color=Red,o=x of a]"},
		{"joined behind one with content", british, []Event{Refreshed{"c"}, LingerEnded{"color=red,o=x"}}, "map[]"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			s := NewState()
			mustApply(t, s, BaseSet{Norm: "o=x", Text: "o=X"})
			for _, c := range []struct{ id, name string }{
				{"a", "color=Red"}, {"b", "colour=Red"}, {"c", "color=RED"}, {"d", "colour=RED"},
			} {
				n := norm(c.name + ",o=x")
				mustApply(t, s, ClaimAdded{ID: ClaimID(c.id), Subscription: c.id, Name: c.name + ",o=x", Norm: n})
			}
			for _, e := range append([]Event{Refreshed{"a"}, Refreshed{"b"}, ClaimRemoved{"a"}, ClaimRemoved{"b"}}, test.events...) {
				mustApply(t, s, e)
			}
			records := Records(s)
			if err := errors.Join(Renorm(s, test.norm), Check(s)); err != nil || left(s) != test.want {
				t.Errorf("%v, left is %s, want %s", err, left(s), test.want)
			}
			checkDirty(t, s, records)
		})
	}
	t.Run("parted", func(t *testing.T) {
		s := coloured(t)
		if err := Renorm(s, british); err != nil { // one queue: a d c e
			t.Fatal(err)
		}
		mustApply(t, s, Refreshed{"a"})
		mustApply(t, s, ClaimMoved{"d", "cn=D,color=all,o=X", "cn=d,colour=all,o=x"})
		mustApply(t, s, ClaimRemoved{"a"}) // colour=Red, and the next is color=red
		records := Records(s)
		if err := errors.Join(Renorm(s, plain), Check(s)); err != nil || len(s.Lingers) != 0 {
			t.Errorf("%v, left is %s", err, left(s))
		}
		checkDirty(t, s, records)
	})
	t.Run("no name any more", func(t *testing.T) {
		s := lingering(t)
		before := maps.Clone(recordTexts(s))
		err := Renorm(s, func(text string) (string, error) {
			if text == "cn=SuSe,"+testBase {
				return "", errors.New("unknown attribute")
			}
			return norm(text), nil
		})
		if want := `the name "cn=SuSe,ou=package listers" that the removed claim "suse" had: unknown attribute`; fmt.Sprint(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if !maps.Equal(recordTexts(s), before) || len(Dirty(s)) > 0 {
			t.Errorf("the state became %s", showRecords(s))
		}
	})
}
