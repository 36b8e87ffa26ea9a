package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/schema"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// figures gives them with names and sources in order.
func (w *world) figures() *Figures {
	w.t.Helper()
	f, err := w.e.Figures(context.Background())
	must(w.t, err)
	slices.SortFunc(f.Names, func(a, b NameFigures) int { return strings.Compare(a.DN, b.DN) })
	slices.SortFunc(f.Sources, func(a, b SourceFigures) int { return strings.Compare(a.ID, b.ID) })
	return f
}

// R37, R52: the figures are what Names, Subscriptions, Status and Alarms tell.
func TestR52Figures(t *testing.T) {
	first := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	second := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	if f := w.figures(); len(f.Names)+len(f.Sources)+f.Trees+f.Lists != 0 || f.Entries != 1 || f.Failed || f.At.IsZero() {
		t.Errorf("at first: %+v", f)
	}
	w.add("s", "cn=Here", w.source(first, suffix))
	w.awaitLive(name)
	w.add("t", "cn=Here", w.source(second, suffix))
	second.Down() // before u has anything of it
	w.add("u", "cn=There", w.source(second, suffix))
	await(t, "the second server is known to be away, and what follows of it raised: clash, down, no-lkg", func() bool {
		f := w.figures()
		return len(f.Sources) == 3 && f.Sources[1].State == "down" && f.Sources[2].State == "down" && len(f.Alarms) == 3
	})
	w.agree(w.figures())
	must(t, second.Up())
	await(t, "both are live", func() bool {
		f := w.figures()
		return f.Sources[2].State == "live" && f.Names[1].LastKnownGood
	})
	w.agree(w.figures())
	w.remove("u")
	if f := w.figures(); len(f.Names) != 1 || len(f.Sources) != 2 {
		t.Errorf("after a removal: %+v", f)
	}
}

// agree compares figures with the lists.
func (w *world) agree(f *Figures) {
	w.t.Helper()
	names, err := w.e.Names(context.Background())
	must(w.t, err)
	status, err := w.e.Status(context.Background())
	must(w.t, err)
	var want []NameFigures
	var sources []SourceFigures
	for _, n := range names {
		want = append(want, NameFigures{DN: n.DN, State: n.Head.State, LastKnownGood: n.LastKnownGood, Entries: n.Entries, Waiting: len(n.Queue)})
		for i, l := range append([]Link{n.Head}, n.Queue...) {
			s := SourceFigures{ID: l.Claim, Subscription: l.Subscription, Name: n.DN, Role: RoleWaiting, URL: l.URL, State: l.State, Online: l.Online, Entries: l.Entries}
			if i == 0 {
				s.Role = RoleHead
			}
			sources = append(sources, s)
		}
	}
	slices.SortFunc(sources, func(a, b SourceFigures) int { return strings.Compare(a.ID, b.ID) })
	got := slices.Clone(f.Sources)
	for i := range got {
		got[i].LastContact, got[i].LastChange = time.Time{}, time.Time{}
	}
	if !slices.Equal(f.Names, want) || !slices.Equal(got, sources) {
		w.t.Errorf("figures are\n%+v\n%+v\nlists say\n%+v\n%+v", f.Names, got, want, sources)
	}
	if f.Entries != status.Entries || f.Trees+f.Lists != status.Subscriptions || f.BaseDN != status.BaseDN || len(f.Alarms) != sum(status.Alarms) {
		w.t.Errorf("figures are %+v, the status %+v", f, status)
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// R36, R52: refreshes are told with how they ended: each attempt once.
func TestR52RefreshOutcomes(t *testing.T) {
	w, s := shrunk(t)
	w.close()
	var mu sync.Mutex
	counts := map[RefreshOutcome]int{}
	w.refreshed = func(outcome RefreshOutcome, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		counts[outcome]++
		if took <= 0 || took > time.Hour {
			t.Errorf("a refresh took %v", took)
		}
	}
	count := func(o RefreshOutcome) int { mu.Lock(); defer mu.Unlock(); return counts[o] }
	w.open()
	await(t, "it is held again", func() bool { return count(RefreshHeld) > 0 })
	if n := count(RefreshDone); n != 0 {
		t.Errorf("%d refreshes were done", n)
	}
	if f := w.figures(); f.Names[0].State != string(upstream.Held) || !f.Sources[0].Online {
		t.Errorf("held: %+v", f)
	}
	w.add("l", "cn=Elsewhere", w.source(s, "ou=b,"+suffix))
	await(t, "another is done", func() bool { return count(RefreshDone) == 1 })
	if n := count(RefreshBroken); n != 0 {
		t.Errorf("%d refreshes broke", n)
	}
	// A dry run, and what is approved, are no refreshes; but the session that follows is.
	list := Subscription{ID: "list", Kind: KindList, Source: w.source(s, suffix), Name: "cn=%(attr.cn)s"}
	_, err := w.e.AddSubscription(context.Background(), list, true)
	must(t, err)
	_, err = w.e.ApproveHeld(context.Background(), "s", 0, false)
	must(t, err)
	await(t, "the source is followed again", func() bool { return w.linkState("s") == "live" })
	if n := count(RefreshDone); n != 2 {
		t.Errorf("%d refreshes were done, want 2", n)
	}
	if n := count(RefreshBroken); n != 0 {
		t.Errorf("%d refreshes broke", n)
	}
}

// How long the writer is held up by 10,000 names, each with a claim.
func BenchmarkFigures(b *testing.B) {
	st, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	e, err := Open(Options{Store: st, Schema: schema.Bundled()})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	if err := e.do(b.Context(), func() {
		for i := range 10_000 {
			id, name := queue.ClaimID(fmt.Sprint("list/", i)), fmt.Sprintf("cn=distribution %d,ou=package listers", i)
			source := upstream.Source{Protocol: "ldap", Host: "ldap.example", Port: 389, Base: name, Scope: "sub", Filter: upstream.AllEntries}
			e.claims[id] = &claim{id: id, sub: &Subscription{ID: "list"}, source: source}
			e.state.Names[name] = &queue.Name{Norm: name, Text: name, Claims: []queue.ClaimID{id}}
		}
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if f, err := e.Figures(b.Context()); err != nil || len(f.Sources) != 10_000 {
			b.Fatal(err)
		}
	}
	e.do(b.Context(), func() { clear(e.claims); clear(e.state.Names) })
}
