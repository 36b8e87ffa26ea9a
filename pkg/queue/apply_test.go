package queue

import (
	"errors"
	"math"
	"strings"
	"testing"
)

const testBase = "ou=package listers"

// based is a state whose base DN is set.
func based(t *testing.T) *State {
	t.Helper()
	s := NewState()
	mustApply(t, s, BaseSet{Norm: testBase, Text: "ou=Package Listers"})
	return s
}

func mustApply(t *testing.T, s *State, e Event) []Effect {
	t.Helper()
	effects, err := Apply(s, e)
	if err != nil {
		t.Fatalf("%#v: %v", e, err)
	}
	return effects
}

// claim is the event that adds id on cn=name below the test's base.
func claim(id, name string) ClaimAdded {
	dn := "cn=" + name + "," + testBase
	return ClaimAdded{ID: ClaimID(id), Subscription: id, Name: dn, Norm: strings.ToLower(dn)}
}

// R1, R3, R56: every refusal has its kind, says why in words and leaves the
// state byte for byte as it was.
func TestRefusals(t *testing.T) {
	with := func(change func(*ClaimAdded)) ClaimAdded {
		e := claim("new", "New")
		change(&e)
		return e
	}
	tests := []struct {
		name  string
		event Event
		kind  string
		words string
	}{
		{"empty base", BaseSet{}, KindNoBase, "empty"},
		{"base not UTF-8", BaseSet{Norm: "o=\xff", Text: "o=\xff"}, KindInvalid, "not UTF-8"},
		{"another base", BaseSet{Norm: "o=else", Text: "o=Else"}, KindBaseFixed, `"o=Else"`},
		{"outside", with(func(e *ClaimAdded) { e.Norm = "cn=new,o=else" }), KindOutsideBase, "not below"},
		{"comma counts", with(func(e *ClaimAdded) { e.Norm = "cn=new" + testBase }), KindOutsideBase, "not below"},
		{"the base", with(func(e *ClaimAdded) { e.Norm = testBase }), KindIsBase, "base DN itself"},
		{"id taken", claim("suse", "Other"), KindExists, `on the name "cn=SuSe,ou=package listers"`},
		{"id taken, same name", claim("suse", "SuSe"), KindExists, "exists already"},
		{"no id", with(func(e *ClaimAdded) { e.ID = "" }), KindInvalid, "has no id"},
		{"no subscription", with(func(e *ClaimAdded) { e.Subscription = "" }), KindInvalid, "has no subscription"},
		{"no name", with(func(e *ClaimAdded) { e.Name = "" }), KindInvalid, "has no name"},
		{"no norm", with(func(e *ClaimAdded) { e.Norm = "" }), KindInvalid, "has no normal name"},
		{"name not UTF-8", with(func(e *ClaimAdded) { e.Name += "\xff" }), KindInvalid, "not UTF-8"},
		{"remove unknown", ClaimRemoved{"gone"}, KindNotFound, `"gone"`},
		{"refresh unknown", Refreshed{"gone"}, KindNotFound, `"gone"`},
		{"switch unknown", Switched{ID: "gone", Forced: true}, KindNotFound, `"gone"`},
		{"switch to the head", Switched{ID: "suse", Forced: true}, KindIsHead, "already"},
		{"nothing lingers", LingerEnded{"cn=suse," + testBase}, KindNotFound, "no content of a claim that was removed"},
		{"link unknown", LinkChanged{ID: "gone", Online: true}, KindNotFound, `"gone"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := based(t)
			mustApply(t, s, claim("suse", "SuSe"))
			before, dirty := showRecords(s), len(Dirty(s))
			would := Refuses(s, test.event)
			if len(Dirty(s)) != dirty {
				t.Error("asking whether it is refused touched something")
			}
			effects, err := Apply(s, test.event)
			if would == nil || would.Error() != err.Error() {
				t.Errorf("refused with %v, foretold was %v", err, would)
			}
			var r *Refusal
			if !errors.As(err, &r) || r.Kind != test.kind || !strings.Contains(r.Reason, test.words) {
				t.Fatalf("got %v (%#v), want kind %s with %q", err, r, test.kind, test.words)
			}
			if len(effects) > 0 || len(Dirty(s)) > 0 {
				t.Errorf("refused with effects %v and dirty records %v", effects, Dirty(s))
			}
			if after := showRecords(s); after != before {
				t.Errorf("state changed from %s to %s", before, after)
			}
		})
	}
}

type strange struct{}

func (strange) event() string { return "strange" }

func TestApplyUnknownEvent(t *testing.T) {
	for _, e := range []Event{nil, strange{}, &BaseSet{Norm: "o=x"}} {
		s := NewState()
		if _, err := Apply(s, e); err == nil || Refuses(s, e) == nil || len(Dirty(s)) > 0 {
			t.Errorf("%T: error %v, dirty %v", e, err, Dirty(s))
		}
	}
}

// R24: the numbers of claims are never used again, and end in a refusal.
func TestNumbers(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("a", "A"))
	mustApply(t, s, ClaimRemoved{"a"})
	mustApply(t, s, claim("a", "A"))
	if n := s.Claims["a"].Number; n != 2 {
		t.Errorf("the second claim has number %d", n)
	}
	s.Next = math.MaxUint32
	_, err := Apply(s, claim("b", "B"))
	var r *Refusal
	if !errors.As(err, &r) || r.Kind != KindExhausted {
		t.Errorf("the last number was given away: %v", err)
	}
}

// A Claim or Name that somebody holds stays as it was while events go on.
func TestClaimsAndNamesAreReplaced(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("a", "X"))
	mustApply(t, s, claim("b", "X"))
	a, b, x := s.Claims["a"], s.Claims["b"], s.Names["cn=x,"+testBase]
	mustApply(t, s, LinkChanged{ID: "a", Online: true})
	mustApply(t, s, Refreshed{"a"})
	mustApply(t, s, claim("c", "X"))
	mustApply(t, s, ClaimRemoved{"a"})
	if a.Online || a.Good || b.Reason != "" || len(x.Claims) != 2 || x.Head() != "a" {
		t.Errorf("changed in place: %+v %+v %+v", a, b, x)
	}
}

// Dirty names exactly what an event changed, so that a commit writes that alone.
func TestDirty(t *testing.T) {
	name, lingers := "name/cn=x,"+testBase, "linger/cn=x,"+testBase
	steps := []struct {
		event Event
		want  map[string]bool // record, and whether it is gone
	}{
		{BaseSet{Norm: testBase, Text: "ou=Package Listers"}, map[string]bool{"base": false}},
		{BaseSet{Norm: testBase, Text: "ou=Package Listers"}, map[string]bool{}},
		{claim("a", "X"), map[string]bool{"next": false, "claim/a": false, name: false}},
		{claim("b", "x"), map[string]bool{"next": false, "claim/b": false, name: false}},
		{Refreshed{"a"}, map[string]bool{"claim/a": false}},
		{Refreshed{"a"}, map[string]bool{}},
		{LinkChanged{ID: "b", Reason: "no route"}, map[string]bool{"claim/b": false}},
		{LinkChanged{ID: "b", Reason: "no route"}, map[string]bool{}},
		{Switched{ID: "b", Forced: true}, map[string]bool{name: false}},
		{Switched{ID: "a"}, map[string]bool{name: false}},
		{ClaimRemoved{"a"}, map[string]bool{"claim/a": true, name: false, lingers: false}},
		{LingerEnded{"cn=x," + testBase}, map[string]bool{lingers: true}},
		{Refreshed{"b"}, map[string]bool{"claim/b": false}},
		{claim("c", "X"), map[string]bool{"next": false, "claim/c": false, name: false}},
		{ClaimRemoved{"b"}, map[string]bool{"claim/b": true, name: false, lingers: false}},
		{ClaimRemoved{"c"}, map[string]bool{"claim/c": true, name: true, lingers: true}},
	}
	s := NewState()
	for i, step := range steps {
		mustApply(t, s, step.event)
		dirty := Dirty(s)
		if len(dirty) != len(step.want) {
			t.Errorf("step %d: dirty records %q, want %v", i, dirty, step.want)
		}
		for record, gone := range step.want {
			value, ok := dirty[record]
			if !ok || (value == nil) != gone {
				t.Errorf("step %d: record %q is %q (%v), want gone=%v", i, record, value, ok, gone)
			}
		}
	}
}

// An up link has no reason, and a reason that is no text becomes text: it goes
// into JSON and must come out the same.
func TestReason(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("a", "A"))
	mustApply(t, s, LinkChanged{ID: "a", Reason: "bad \xff\xfe words"})
	if got := s.Claims["a"].Reason; got != "bad \uFFFD words" {
		t.Errorf("reason %q", got)
	}
	mustApply(t, s, LinkChanged{ID: "a", Online: true, Reason: "nonsense"})
	if c := s.Claims["a"]; !c.Online || c.Reason != "" {
		t.Errorf("up with a reason: %+v", c)
	}
	mustApply(t, s, ListAdded{"l"})
	mustApply(t, s, ListLinkChanged{ID: "l", Reason: "bad \xff\xfe words"})
	if got := s.Lists["l"].Reason; got != "bad \uFFFD words" {
		t.Errorf("reason %q", got)
	}
	mustApply(t, s, ListLinkChanged{ID: "l", Online: true, Reason: "nonsense"})
	if l := s.Lists["l"]; !l.Online || l.Reason != "" {
		t.Errorf("up with a reason: %+v", l)
	}
}
