package queue

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// british normalizes as a schema does that has color and colour as two names of
// one attribute.
func british(text string) (string, error) {
	return strings.ReplaceAll(norm(text), "color=", "colour="), nil
}

func plain(text string) (string, error) { return norm(text), nil }

// coloured is a state in which names differ that british makes one.
func coloured(t *testing.T) *State {
	s := NewState()
	mustApply(t, s, BaseSet{Norm: "color=all,o=x", Text: "Color=All,o=X"})
	for _, c := range []struct{ id, rdn string }{
		{"a", "colour=Red"}, {"b", "cn=B"}, {"c", "color=red"}, {"d", "Colour=RED"}, {"e", "COLOR=Red"}, {"f", "cn=x,color=Red"},
	} {
		dn := c.rdn + ",color=all,o=x"
		mustApply(t, s, ClaimAdded{ID: ClaimID(c.id), Subscription: c.id, Name: dn, Norm: norm(dn)})
	}
	mustApply(t, s, LinkChanged{ID: "c", Online: true})
	mustApply(t, s, Refreshed{ID: "e"})
	return s
}

func queues(s *State) map[string]string {
	out := map[string]string{}
	for norm, n := range s.Names {
		out[norm] = n.Text + " " + fmt.Sprint(n.Claims)
	}
	return out
}

// R24: a schema that makes color and colour one attribute makes one queue of
// two: the name that was there first keeps its place.
func TestR24RenormMergesNames(t *testing.T) {
	s := coloured(t)
	records := Records(s)
	a, c := s.Claims["a"], *s.Claims["c"]
	if err := Renorm(s, british); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"colour=red,colour=all,o=x":      "colour=Red,color=all,o=x [a d c e]",
		"cn=b,colour=all,o=x":            "cn=B,color=all,o=x [b]",
		"cn=x,colour=red,colour=all,o=x": "cn=x,color=Red,color=all,o=x [f]",
	}
	if got := queues(s); !maps.Equal(got, want) {
		t.Errorf("queues %q, want %q", got, want)
	}
	if err := Check(s); err != nil || s.BaseNorm != "colour=all,o=x" || s.BaseText != "Color=All,o=X" {
		t.Errorf("base %q, %v", s.BaseNorm, err)
	}
	c.Norm = "colour=red,colour=all,o=x"
	if got := *s.Claims["c"]; got != c || !s.Claims["e"].Good {
		t.Errorf("claim %+v, want %+v", got, c)
	}
	if a.Norm != "colour=red,color=all,o=x" {
		t.Error("a claim was changed in place")
	}
	checkDirty(t, s, records)
	if effects := Resume(s); !slices.Contains(effects, Effect(Probe{"c"})) || !slices.Contains(effects, Effect(Follow{"a"})) {
		t.Errorf("effects %v", effects)
	}
}

// checkDirty looks whether the dirty records bring what was stored up to date.
func checkDirty(t *testing.T, s *State, stored map[string][]byte) {
	t.Helper()
	for name, value := range Dirty(s) {
		if stored[name] = value; value == nil {
			delete(stored, name)
		}
	}
	if all := Records(s); !maps.EqualFunc(stored, all, bytes.Equal) {
		t.Errorf("the dirty records add up to %q, not to %q", stored, all)
	}
}

// What the new schema takes apart was one queue; order stays.
func TestRenormParts(t *testing.T) {
	s := coloured(t)
	if err := Renorm(s, british); err != nil {
		t.Fatal(err)
	}
	records := Records(s)
	if err := Renorm(s, plain); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"colour=red,color=all,o=x":     "colour=Red,color=all,o=x [a d]",
		"color=red,color=all,o=x":      "color=red,color=all,o=x [c e]",
		"cn=b,color=all,o=x":           "cn=B,color=all,o=x [b]",
		"cn=x,color=red,color=all,o=x": "cn=x,color=Red,color=all,o=x [f]",
	}
	if got := queues(s); !maps.Equal(got, want) {
		t.Errorf("queues %q, want %q", got, want)
	}
	checkDirty(t, s, records)
}

// R21: the names that a list makes get the normal forms of today too, those of
// suppressed claims included. Two of one entry that are one now are so the next
// time that it is found, and a rename stays one.
func TestRenormLists(t *testing.T) {
	s := NewState()
	mustApply(t, s, BaseSet{Norm: "o=x", Text: "o=X"})
	mustApply(t, s, ListAdded{"l"})
	event := func(names ...string) EntryFound {
		e := EntryFound{List: "l", Entry: "e1", DN: "o=up"}
		for _, name := range names {
			e.Names = append(e.Names, FoundName{name + ",o=X", norm(name + ",o=X")})
		}
		return e
	}
	mustApply(t, s, event("color=Red", "colour=Red", "color=Blue", "color=Green"))
	mustApply(t, s, ClaimSuppressed{"l/3"})
	mustApply(t, s, ClaimMoved{"l/4", "colour=GREEN,o=X", "colour=green,o=x"})
	records, m := Records(s), s.Members["l"]["e1"]
	if err := Renorm(s, british); err != nil {
		t.Fatal(err)
	}
	checkDirty(t, s, records)
	if m.Claims[0].Norm != "color=red,o=x" {
		t.Error("a member was changed in place")
	}
	var norms []string
	for _, mc := range s.Members["l"]["e1"].Claims {
		norms = append(norms, mc.Norm)
	}
	if want := []string{"colour=red,o=x", "colour=red,o=x", "colour=blue,o=x", "colour=green,o=x"}; !slices.Equal(norms, want) {
		t.Errorf("norms %q, want %q", norms, want)
	}
	e := event("colour=Red", "color=Blue", "color=Green")
	for i := range e.Names {
		e.Names[i].Norm, _ = british(e.Names[i].Name)
	}
	effects := showEffects(mustApply(t, s, e))
	want := []string{"stop l/2", "drop l/2#2", "move l/1 from colour=red,o=x to colour=red,o=x"}
	if !slices.Equal(effects, want) {
		t.Errorf("effects %q, want %q", effects, want)
	}
	if err := Check(s); err != nil || s.Claims["l/4"].Name != "colour=GREEN,o=X" {
		t.Errorf("%v, %+v", err, s.Claims["l/4"])
	}
	mustApply(t, s, ClaimLifted{"l/3"})
	if n := s.Names["colour=blue,o=x"]; n == nil {
		t.Error("lifted onto the normal form of before")
	}
	mustApply(t, s, ClaimSuppressed{"l/3"}) // so that only the member has its name
	before := showRecords(s)
	err := Renorm(s, func(text string) (string, error) {
		if text == "color=Blue,o=X" {
			return "", errors.New("unknown attribute")
		}
		return british(text)
	})
	if want := `the name "color=Blue,o=X" that the list "l" makes for the claim "l/3": unknown attribute`; fmt.Sprint(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if after := showRecords(s); after != before || len(Dirty(s)) > 0 {
		t.Errorf("%s became %s, dirty %q", before, after, Dirty(s))
	}
}

// As a rule nothing changes, and nothing is written.
func TestRenormWithTheSameSchema(t *testing.T) {
	for _, s := range []*State{NewState(), based(t), coloured(t), listed(t)} {
		before := showRecords(s)
		if err := Renorm(s, plain); err != nil || showRecords(s) != before || len(Dirty(s)) > 0 {
			t.Errorf("%v, dirty %q, %s became %s", err, Dirty(s), before, showRecords(s))
		}
	}
}

// R56: an outcome that is none is an error that names the text, and leaves all as it was.
func TestRenormErrors(t *testing.T) {
	broken := errors.New("unknown attribute")
	for _, test := range []struct {
		name, words string
		norm        func(string) (string, error)
	}{
		{"base", `the base DN "Color=All,o=X": unknown attribute`, func(string) (string, error) { return "", broken }},
		{"name", `the name "color=red,color=all,o=x" of the claim "c"`, func(text string) (string, error) {
			if strings.HasPrefix(text, "color=red") {
				return "", broken
			}
			return norm(text), nil
		}},
		{"outside", "is not below the base", func(text string) (string, error) { return strings.TrimPrefix(norm(text), "color=all"), nil }},
		{"no base", "no base DN", func(string) (string, error) { return "", nil }},
		{"no UTF-8", "not UTF-8", func(text string) (string, error) { return strings.Replace(norm(text), "cn=b", "cn=\xff", 1), nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := coloured(t)
			before := showRecords(s)
			err := Renorm(s, test.norm)
			if err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want %q", err, test.words)
			}
			if after := showRecords(s); after != before || len(Dirty(s)) > 0 {
				t.Errorf("%s became %s, dirty %q", before, after, Dirty(s))
			}
		})
	}
}

// Whatever came before, the outcome holds together and depends on the state
// alone; done again it changes nothing.
func TestRenormRandom(t *testing.T) {
	merge := func(text string) (string, error) {
		return strings.NewReplacer("cn=b", "cn=a", "cn=c", "cn=a").Replace(strings.ToLower(text)), nil
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 9))
		s := NewState()
		for range 100 {
			Apply(s, randomEvent(random, s))
		}
		records := Records(s)
		twin, err := Load(records)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(Renorm(s, merge), Renorm(twin, merge), Check(s)); err != nil {
			t.Fatal(err)
		}
		if showRecords(s) != showRecords(twin) {
			t.Errorf("seed %d: not deterministic", seed)
		}
		checkDirty(t, s, records)
		if err := Renorm(s, merge); err != nil || len(Dirty(s)) > 0 {
			t.Errorf("seed %d: again: %v, %q", seed, err, Dirty(s))
		}
	}
}
