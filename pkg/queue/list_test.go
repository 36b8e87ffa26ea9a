package queue

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// found is the event that the list l found an entry with these names below the
// test's base.
func found(entry string, names ...string) EntryFound {
	e := EntryFound{List: "l", Entry: entry, DN: "ou=" + entry + ",o=up"}
	for _, name := range names {
		dn := "cn=" + name + "," + testBase
		e.Names = append(e.Names, FoundName{dn, strings.ToLower(dn)})
	}
	return e
}

// listed is a state with a tree, a list, a member of two names of which the
// second is suppressed, and one of none.
func listed(t *testing.T) *State {
	t.Helper()
	s := based(t)
	for _, e := range []Event{
		claim("tree", "A"), ListAdded{"l"}, found("e1", "A", "B"), found("e2"), ClaimSuppressed{"l/2"},
		ListLinkChanged{ID: "l", Reason: "no route"}, ListRefreshed{"l"},
	} {
		mustApply(t, s, e)
	}
	return s
}

// R23, R27, R56: what is asked of lists and cannot be has its kind, says why in
// words, and leaves the state byte for byte as it was.
func TestListRefusals(t *testing.T) {
	with := func(change func(*EntryFound)) EntryFound {
		e := found("e3", "C")
		change(&e)
		return e
	}
	c := FoundName{"cn=C," + testBase, "cn=c," + testBase}
	for _, test := range []struct {
		name  string
		event Event
		kind  string
		words string
	}{
		{"list without id", ListAdded{""}, KindInvalid, "no id"},
		{"list not UTF-8", ListAdded{"\xff"}, KindInvalid, "not UTF-8"},
		{"list with slash", ListAdded{"l/3"}, KindInvalid, `holds a "/"`},
		{"list again", ListAdded{"l"}, KindExists, "as a list"},
		{"list as tree", ListAdded{"tree"}, KindExists, `on the name "cn=A,ou=package listers"`},
		{"tree as list", claim("l", "New"), KindExists, "as a list"},
		{"tree with slash", claim("l/3", "New"), KindInvalid, `holds a "/"`},
		{"tree of another", ClaimAdded{"new", "other", c.Name, c.Norm}, KindInvalid, "must bear its id"},
		{"base under lists", BaseSet{"o=else", "o=Else"}, KindBaseFixed, "remove their subscriptions"},
		{"unknown list removed", ListRemoved{"tree"}, KindNotFound, `no list "tree"`},
		{"unknown list refreshed", ListRefreshed{"m"}, KindNotFound, `no list "m"`},
		{"unknown list up", ListLinkChanged{ID: "m", Online: true}, KindNotFound, `no list "m"`},
		{"found for unknown", with(func(e *EntryFound) { e.List = "m" }), KindNotFound, `no list "m"`},
		{"found without UUID", with(func(e *EntryFound) { e.Entry = "" }), KindInvalid, "no entryUUID"},
		{"found without DN", with(func(e *EntryFound) { e.DN = "" }), KindInvalid, "no DN"},
		{"found at no UTF-8", with(func(e *EntryFound) { e.DN = "\xff" }), KindInvalid, "not UTF-8"},
		{"found at length", with(func(e *EntryFound) { e.DN = strings.Repeat("x", maxDN+1) }), KindInvalid, "at most 8192"},
		{"lost for unknown", EntryLost{"m", "e1"}, KindNotFound, `no list "m"`},
		{"lost unknown", EntryLost{"l", "e3"}, KindNotFound, `no entry "e3"`},
		{"remove a list's", ClaimRemoved{"l/1"}, KindOfList, "suppress it, or remove the list's subscription"},
		{"remove a suppressed", ClaimRemoved{"l/2"}, KindNotFound, `"l/2"`},
		{"suppress a tree's", ClaimSuppressed{"tree"}, KindInvalid, "remove its subscription"},
		{"suppress again", ClaimSuppressed{"l/2"}, KindInvalid, "suppressed already"},
		{"suppress unknown", ClaimSuppressed{"l/3"}, KindNotFound, `"l/3"`},
		{"lift a tree's", ClaimLifted{"tree"}, KindInvalid, "not suppressed"},
		{"lift what is there", ClaimLifted{"l/1"}, KindInvalid, "not suppressed"},
		{"lift unknown", ClaimLifted{"l/3"}, KindNotFound, `"l/3"`},
		{"move unknown", ClaimMoved{"x", c.Name, c.Norm}, KindNotFound, `"x"`},
		{"move to no name", ClaimMoved{"tree", "", c.Norm}, KindInvalid, "no name"},
		{"move to no norm", ClaimMoved{"tree", c.Name, ""}, KindInvalid, "no normal name"},
		{"move to no UTF-8", ClaimMoved{"tree", "\xff", c.Norm}, KindInvalid, "not UTF-8"},
		{"move outside", ClaimMoved{"tree", "o=Else", "o=else"}, KindOutsideBase, "not below"},
		{"move to the base", ClaimMoved{"tree", "ou=X", testBase}, KindIsBase, "base DN itself"},
		{"move nowhere", ClaimMoved{"tree", "cn=A," + testBase, "cn=a," + testBase}, KindSameName, "already"},
		{"move below itself", ClaimMoved{"tree", "cn=C,cn=A," + testBase, "cn=c,cn=a," + testBase}, KindBelowItself, "below itself"},
	} {
		t.Run(test.name, func(t *testing.T) { checkRefusal(t, listed(t), test.event, test.kind, test.words) })
	}
}

// checkRefusal applies an event that must be refused, and change nothing.
func checkRefusal(t *testing.T, s *State, e Event, kind, words string) {
	t.Helper()
	before := showRecords(s)
	would := Refuses(s, e)
	effects, err := Apply(s, e)
	var r *Refusal
	if !errors.As(err, &r) || r.Kind != kind || !strings.Contains(r.Reason, words) || fmt.Sprint(would) != fmt.Sprint(err) {
		t.Fatalf("got %v (%#v), foretold %v, want kind %s with %q", err, r, would, kind, words)
	}
	if after := showRecords(s); after != before || len(effects) > 0 || len(Dirty(s)) > 0 {
		t.Errorf("effects %v, dirty %q, %s became %s", effects, Dirty(s), before, after)
	}
}

// R1: lists too keep the base as it is, though they have found nothing.
func TestBaseFixedByLists(t *testing.T) {
	s := based(t)
	mustApply(t, s, ListAdded{"l"})
	checkRefusal(t, s, BaseSet{"o=else", "o=Else"}, KindBaseFixed, "lists place what they find below it")
	mustApply(t, s, BaseSet{testBase, "OU=package listers"})
	mustApply(t, s, ListRemoved{"l"})
	mustApply(t, s, BaseSet{"o=else", "o=Else"})
	checkRefusal(t, NewState(), ListAdded{"l"}, KindNoBase, "set base_dn")
}

// R24: no number is used again, neither a claim's nor that of a list's id; when
// there are none left, that is said.
func TestListNumbersEnd(t *testing.T) {
	s := listed(t)
	s.Next = math.MaxUint32 - 1
	mustApply(t, s, found("e3", "C"))
	checkRefusal(t, s, found("e4", "C"), KindExhausted, "every claim number")
	checkRefusal(t, s, ClaimLifted{"l/2"}, KindExhausted, "every claim number")
	mustApply(t, s, found("e4"))
	s = listed(t)
	s.Lists["l"].Next = math.MaxUint32 - 1
	mustApply(t, s, found("e3", "C"))
	if c := s.Claims["l/4294967294"]; c == nil {
		t.Error("the last id was not used")
	}
	checkRefusal(t, s, found("e4", "C"), KindExhausted, `of the list "l"`)
}

// R20: names that cannot be are problems of the entry, in words, and the others go on.
func TestFoundProblems(t *testing.T) {
	long := strings.Repeat("é", 400)
	for _, test := range []struct {
		name  string
		event EntryFound
		names int
		words []string
	}{
		{"none", found("e", "A", "b"), 2, nil},
		{"twice", found("e", "A", "a", "A"), 1, nil},
		{"empty", EntryFound{Names: []FoundName{{"", ""}, {"cn=A," + testBase, "cn=a," + testBase}}}, 1, []string{"the name is empty"}},
		{"outside", EntryFound{Names: []FoundName{{"o=Else", "o=else"}}}, 0, []string{`"o=Else" is not below`}},
		{"the base", EntryFound{Names: []FoundName{{"OU=x", testBase}}}, 0, []string{`"OU=x" is the base DN itself`}},
		{"not UTF-8", EntryFound{Names: []FoundName{{"cn=\xff", "cn=x," + testBase}}}, 0, []string{`the name "cn=\xff" is not UTF-8`}},
		{"given", EntryFound{Problems: []string{"z", "bad \xff", "z", long}}, 0, []string{"bad \uFFFD", "z", strings.Repeat("é", 148) + " …"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := based(t)
			mustApply(t, s, ListAdded{"l"})
			e := test.event
			e.List, e.Entry, e.DN = "l", "e", "o=up"
			mustApply(t, s, e)
			m := s.Members["l"]["e"]
			if len(m.Claims) != test.names || len(m.Problems) != len(test.words) {
				t.Fatalf("%d names and problems %q, want %d and %q", len(m.Claims), m.Problems, test.names, test.words)
			}
			for i, words := range test.words {
				if !strings.Contains(m.Problems[i], words) {
					t.Errorf("problem %q, want %q", m.Problems[i], words)
				}
			}
		})
	}
}

// R20, R56: what one entry, one list and one name may have is bounded, and what
// is beyond is said.
func TestListBounds(t *testing.T) {
	var many, long []string
	for i := range 10_000 {
		many = append(many, fmt.Sprint("n", i))
	}
	for i := range 500 {
		long = append(long, fmt.Sprint(i, strings.Repeat("<", 4000)))
	}
	t.Run("names", func(t *testing.T) {
		s := based(t)
		mustApply(t, s, ListAdded{"l"})
		mustApply(t, s, found("e", many...))
		m := s.Members["l"]["e"]
		if n := len(m.Claims); n != MaxNames || len(m.Problems) != 1 ||
			!strings.Contains(m.Problems[0], fmt.Sprintf("%d names are taken and %d more are not", n, len(many)-n)) {
			t.Errorf("%d names, problems %q", n, m.Problems)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		for what, events := range map[string][]EntryFound{
			"many": {found("e", many...), found("e", many[5000:]...)},
			"long": {found("e", long...), found("e", long[250:]...)},
			"far":  {found("e", many...), found("e", many[5000:]...)},
			"left": {found("e", many...), found("e", many[5000:]...)}, // shown until the next has content
		} {
			s := based(t)
			mustApply(t, s, ListAdded{"l"})
			for _, e := range events {
				if what == "far" {
					e.DN = strings.Repeat("<", maxDN)
				}
				if what == "left" {
					waitBehind(t, s)
				}
				e.Problems = long
				mustApply(t, s, e)
				line, err := EncodeEvent(e)
				if err != nil {
					t.Fatal(err)
				}
				total := len(line)
				for name, value := range Dirty(s) {
					total += len(name) + len(value) + 60 // of the store's own, generously
				}
				if t.Logf("%s: %d names, %d records, %d bytes", what, len(s.Members["l"]["e"].Claims), len(Dirty(s)), total); total > 768<<10 || len(Dirty(s)) > 3000 {
					t.Errorf("%s: %d records of one event take %d bytes", what, len(Dirty(s)), total)
				}
			}
		}
	})
	t.Run("queue", func(t *testing.T) {
		s := based(t)
		for i := range MaxQueue {
			mustApply(t, s, claim(fmt.Sprint("c", i), "A"))
		}
		mustApply(t, s, claim("other", "B"))
		mustApply(t, s, ListAdded{"l"})
		mustApply(t, s, found("e", "A", "B"))
		if m := s.Members["l"]["e"]; len(m.Claims) != 1 || len(m.Problems) != 1 || !strings.Contains(m.Problems[0], "has 1000 claims already") {
			t.Errorf("member %+v", m)
		}
		checkRefusal(t, s, claim("more", "a"), KindTooMany, "1000 claims already")
		checkRefusal(t, s, ClaimMoved{"other", "cn=A," + testBase, "cn=a," + testBase}, KindTooMany, "1000 claims already")
		mustApply(t, s, ClaimSuppressed{"l/1"})
		mustApply(t, s, found("e", "A", "B"))
		mustApply(t, s, ClaimRemoved{"c7"})
		mustApply(t, s, found("e", "A", "B"))
		if m := s.Members["l"]["e"]; len(m.Claims) != 2 || len(m.Problems) > 0 {
			t.Errorf("with room again: %+v", m)
		}
	})
	t.Run("members", func(t *testing.T) {
		s := based(t)
		mustApply(t, s, ListAdded{"l"})
		for i := range MaxMembers {
			s.Members["l"][fmt.Sprint(i)] = &Member{List: "l", Entry: fmt.Sprint(i), DN: "o=up"}
		}
		checkRefusal(t, s, found("e", "A"), KindTooMany, "100000 found entries already")
		mustApply(t, s, found("7", "A"))
		s.Lists["l"].Names = MaxMembers
		mustApply(t, s, found("8", "B"))
		if m := s.Members["l"]["8"]; len(m.Claims) > 0 || len(m.Problems) != 1 || !strings.Contains(m.Problems[0], "the list has 100000 already") {
			t.Errorf("member %+v", m)
		}
		mustApply(t, s, found("7", "C")) // one goes for the one that comes
		if c := s.Claims["l/1"]; c == nil || c.Name != "cn=C,"+testBase {
			t.Errorf("claim %+v", c)
		}
	})
}

// waitBehind gives every head content and somebody who waits.
func waitBehind(t *testing.T, s *State) {
	t.Helper()
	for _, n := range maps.Clone(s.Names) {
		id := "wait " + n.Norm
		mustApply(t, s, Refreshed{n.Head()})
		mustApply(t, s, ClaimAdded{ID: ClaimID(id), Subscription: id, Name: n.Text, Norm: n.Norm})
	}
}

// A list's Claims, Members and Lists that somebody holds stay as they were.
func TestListsAndMembersAreReplaced(t *testing.T) {
	s := listed(t)
	l, m, c := s.Lists["l"], s.Members["l"]["e1"], s.Claims["l/1"]
	was := fmt.Sprint(*l, *m, *c)
	other := found("e1", "C", "B", "D")
	other.DN = "ou=other,o=up"
	for _, e := range []Event{
		ListLinkChanged{ID: "l", Online: true}, ClaimLifted{"l/2"}, ClaimMoved{"l/1", "cn=E," + testBase, "cn=e," + testBase},
		other, ClaimSuppressed{"l/2"}, EntryLost{"l", "e1"}, ListRemoved{"l"},
	} {
		mustApply(t, s, e)
	}
	if now := fmt.Sprint(*l, *m, *c); now != was {
		t.Errorf("%s became %s", was, now)
	}
}

// Dirty names exactly what an event of a list changed.
func TestListDirty(t *testing.T) {
	rec := func(names ...string) []string { return names }
	a, b, c := "name/cn=a,"+testBase, "name/cn=b,"+testBase, "name/cn=c,"+testBase
	moved := found("e1", "C")
	moved.DN = "ou=other,o=up"
	s := based(t)
	for i, step := range []struct {
		event Event
		want  []string
	}{
		{ListAdded{"l"}, rec("list/l")},
		{ListRefreshed{"l"}, rec("list/l")},
		{ListRefreshed{"l"}, rec()},
		{ListLinkChanged{ID: "l", Reason: "x"}, rec("list/l")},
		{ListLinkChanged{ID: "l", Reason: "x"}, rec()},
		{found("e1", "A"), rec("claim/l/1", "list/l", "member/l/e1", a, "next")},
		{found("e1", "A"), rec()},
		{found("e1", "B"), rec("claim/l/1", "member/l/e1", a, b)},
		{found("e1", "b"), rec("claim/l/1", "member/l/e1", b)},
		{ClaimMoved{"l/1", "cn=C," + testBase, "cn=c," + testBase}, rec("claim/l/1", b, c)},
		{found("e1", "C"), rec("member/l/e1")},
		{moved, rec("claim/l/1", "member/l/e1")},
		{ClaimSuppressed{"l/1"}, rec("claim/l/1", "member/l/e1", c)},
		{ClaimLifted{"l/1"}, rec("claim/l/1", "member/l/e1", c, "next")},
		{EntryLost{"l", "e1"}, rec("claim/l/1", "list/l", "member/l/e1", c)},
		{found("e2", "A"), rec("claim/l/2", "list/l", "member/l/e2", a, "next")},
		{claim("tree", "A"), rec("claim/tree", a, "next")},
		{ClaimMoved{"tree", "CN=A," + testBase, "cn=a," + testBase}, rec("claim/tree")},
		{ClaimRemoved{"tree"}, rec("claim/tree", a)},
		{ListRemoved{"l"}, rec("claim/l/2", "list/l", "member/l/e2", a)},
	} {
		mustApply(t, s, step.event)
		var got []string
		for name := range Dirty(s) {
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, step.want) {
			t.Errorf("step %d, %#v: dirty records %q, want %q", i, step.event, got, step.want)
		}
	}
	if r := Records(s); len(r) != 2 {
		t.Errorf("left: %q", r)
	}
}

// crowd is a list of n found entries, each with a name of its own.
func crowd(t testing.TB, n int) *State {
	s := NewState()
	events := []Event{BaseSet{testBase, testBase}, ListAdded{"l"}}
	for i := range n {
		events = append(events, found(fmt.Sprint("e", i), fmt.Sprint("n", i)))
	}
	for _, e := range events {
		if _, err := Apply(s, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// An event costs what it touches, not what there is.
func TestEntryFoundIsNotQuadratic(t *testing.T) {
	cost := func(n int) uint64 {
		s := crowd(t, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range 100 {
			mustApply(t, s, found("new", fmt.Sprint("x", i%2)))
			Dirty(s)
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / 100
	}
	if small, large := cost(100), cost(10_000); large > 2*small {
		t.Errorf("beside 100 entries one more allocates %d bytes, beside 10,000 %d", small, large)
	}
}

// R21: a member's claims stay in the order of their ids, whichever of them moves.
func TestMemberOrder(t *testing.T) {
	s := based(t)
	for _, e := range []Event{ListAdded{"l"}, found("e", "A", "B"), found("e", "B", "C")} {
		mustApply(t, s, e)
	}
	m := s.Members["l"]["e"]
	if len(m.Claims) != 2 || m.Claims[0].Claim != "l/1" || m.Claims[0].Norm != "cn=c,"+testBase || m.Claims[1].Claim != "l/2" {
		t.Errorf("claims %+v", m.Claims)
	}
}

func BenchmarkEntryFound(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := crowd(b, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := found("new", fmt.Sprint("x", i%2)) // comes once, then moves
				if _, err := Apply(s, e); err != nil {
					b.Fatal(err)
				}
				Dirty(s)
			}
		})
	}
}
