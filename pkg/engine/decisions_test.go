package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
)

// decided has a list of two found entries, of which one is renamed and another, which comes
// later, suppressed; a third decision waits for its entry.
func decidedWorld(t *testing.T) (*ldaptest.Server, *world) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B") + distro("c", "C")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b"), at("C"): found("c")})
	w.rename("cn=A", "cn=Z", "")
	_, err := w.e.SuppressClaim(t.Context(), queue.ClaimID(w.name("cn=B").Head.Claim), 0, false)
	must(t, err)
	w.awaitPlaces(s, places{at("Z"): found("a"), at("C"): found("c")})
	return s, w
}

// R23, R27, R54: what was decided of lists' claims goes along with an export: applied elsewhere, before
// anything is found there, the names that were decided against never show.
func TestApplyDecisionsElsewhere(t *testing.T) {
	s, w := decidedWorld(t)
	d, err := w.e.Export(t.Context())
	must(t, err)
	if len(d.Decisions) != 2 || d.Decisions[0].List != "l" {
		t.Fatalf("%+v", d.Decisions)
	}
	absent := "00000000-0000-4000-8000-000000000001"
	d.Decisions = append(d.Decisions, Decision{List: "l", Entry: strings.ToUpper(absent), Name: "cn=Later", Rename: "cn=Much Later"})
	other := newWorld(t)
	s.Down()
	dry, err := other.e.Apply(t.Context(), *d, false, true)
	must(t, err)
	out := other.apply(*d, false)
	if out.Decisions != 3 || dry.Decisions != 3 || len(out.Warnings) != 3 || !strings.Contains(out.Warnings[0], "waits until the list l finds the entry") {
		t.Errorf("%+v", out)
	}
	if got := other.task("apply"); !strings.Contains(got.Outcome, "3 decisions") {
		t.Errorf("%+v", got)
	}
	other.restart()
	if again := other.apply(*d, true); again.Task != 0 || again.Decisions != 0 {
		t.Errorf("applied again: %+v", again)
	}
	must(t, s.Up())
	other.awaitPlaces(s, places{at("Z"): found("a"), at("C"): found("c")})
	for _, dn := range []string{"cn=A", "cn=B"} {
		if h, err := other.e.History(t.Context(), dn); err == nil {
			t.Errorf("%s has shown: %+v", dn, h)
		}
	}
	other.restart()
	exported, err := other.e.Export(t.Context())
	must(t, err)
	want := fmt.Sprintf("{l %s %s %s false}", absent, at("Later"), at("Much Later"))
	if len(exported.Decisions) != 3 || fmt.Sprint(exported.Decisions[0]) != want {
		t.Errorf("%+v, want %s", exported.Decisions, want)
	}
	if again := other.apply(*exported, true); again.Task != 0 {
		t.Errorf("applied again: %+v", again)
	}
	other.remove("l")
	if left := other.stored(recordQueue + "wish/"); len(left) != 0 {
		t.Errorf("with the list goes what waits for it: %q", left)
	}
	other.checkStored()
}

// R23, R27, R54: applied where the entries are found already decisions are made at once; what the document
// lacks stays, and is taken back with prune. Nothing is fetched for it.
func TestApplyDecisionsHere(t *testing.T) {
	s, w := decidedWorld(t)
	d, err := w.e.Export(t.Context())
	must(t, err)
	entry := map[string]string{}
	for _, f := range w.foundIn("l") {
		entry[f.DN] = f.Entry
	}
	only := *d
	only.Decisions = []Decision{{List: "l", Entry: entry[found("c")], Name: "cn=C", Rename: "cn=A"}}
	out := w.apply(only, false)
	if out.Decisions != 1 || out.Task == 0 || len(out.Warnings) != 0 {
		t.Errorf("%+v", out)
	}
	w.awaitPlaces(s, places{at("Z"): found("a"), at("A"): found("c")})
	out = w.apply(only, true)
	if out.Decisions != 2 {
		t.Errorf("%+v", out)
	}
	w.awaitPlaces(s, places{at("A"): found("c"), at("B"): found("b")})
	if got := w.queueOf("cn=A"); len(got) != 2 {
		t.Errorf("what is taken back joins the end of its queue: %q", got)
	}
	out = w.apply(*d, true)
	w.awaitPlaces(s, places{at("Z"): found("a"), at("C"): found("c")})
	if now := w.entered(); out.Decisions != 3 || !strings.Contains(now, "cn=Z") || strings.Count(now, "entry") != 2 {
		t.Errorf("%+v: %s", out, now)
	}
	// One that is neither takes back by itself; one that is suppressed may be renamed instead.
	out = w.apply(Document{Decisions: []Decision{
		{List: "l", Entry: entry[found("a")], Name: "cn=A"},
		{List: "l", Entry: entry[found("b")], Name: "cn=B", Rename: "cn=Y"},
	}}, false)
	if out.Decisions != 2 {
		t.Errorf("%+v", out)
	}
	w.awaitPlaces(s, places{at("A"): found("a"), at("Y"): found("b"), at("C"): found("c")})
	w.checkStored()
	w.restart()
}

// R54, R56: a decision that cannot be is named, and nothing of its document happens.
func TestApplyDecisionsThatAreWrong(t *testing.T) {
	_, w := decidedWorld(t)
	entry := w.foundIn("l")[0].Entry
	good := Decision{List: "l", Entry: entry, Name: "cn=A", Rename: "cn=Q"}
	for _, test := range []struct {
		words string
		bad   Decision
	}{
		{"list: it is missing", Decision{Entry: entry, Name: "cn=A"}},
		{"entry: ", Decision{List: "l", Entry: "six", Name: "cn=A"}},
		{"name: ", Decision{List: "l", Entry: entry, Name: "nonsense"}},
		{"rename: ", Decision{List: "l", Entry: entry, Name: "cn=B", Rename: "cn=Q,o=elsewhere,c=xx"}},
		{"one of both", Decision{List: "l", Entry: entry, Name: "cn=B", Rename: "cn=Q", Suppressed: true}},
		{"twice", Decision{List: "l", Entry: strings.ToUpper(entry), Name: "CN=a", Suppressed: true}},
		{`no list "m"`, Decision{List: "m", Entry: entry, Name: "cn=A", Suppressed: true}},
	} {
		before := w.queues()
		_, err := w.e.Apply(t.Context(), Document{Decisions: []Decision{good, test.bad}}, false, false)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0].Reason, test.words) || faults[0].Field != "decisions" {
			t.Errorf("%+v: %v, want %q", test.bad, err, test.words)
		}
		if !maps.Equal(before, w.queues()) {
			t.Errorf("%+v: something changed", test.bad)
		}
	}
	_, err := w.e.Apply(t.Context(), Document{Decisions: []Decision{{List: "l", Entry: entry, Name: "cn=A", Rename: "cn=below,cn=Z"}}}, false, false)
	if err == nil || !strings.Contains(err.Error(), "below itself") {
		t.Errorf("below itself: %v", err)
	}
	_, err = w.e.Apply(t.Context(), Document{Decisions: make([]Decision, maxDecisions+1)}, false, true)
	if err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too many: %v", err)
	}
}

// R33, R54: a crash at any moment of an apply leaves all decisions or none.
func TestCrashInDecisions(t *testing.T) {
	s, w := decidedWorld(t)
	d, err := w.e.Export(t.Context())
	must(t, err)
	entries := w.foundIn("l")
	d.Decisions = []Decision{
		{List: "l", Entry: entries[0].Entry, Name: "cn=A", Rename: "cn=B"},
		{List: "l", Entry: entries[1].Entry, Name: "cn=B"},
		{List: "l", Entry: entries[2].Entry, Name: "cn=C", Suppressed: true},
	}
	slices.Reverse(d.Decisions)
	s.Down()
	await(t, "all is down", func() bool { return w.name("cn=Z").Head.State == "down" && w.name("cn=C").Head.State == "down" })
	before := w.content()
	c, stop := w.crashing(1)
	w.apply(*d, false)
	stop()
	c.eitherOr(before, w.content())
}
