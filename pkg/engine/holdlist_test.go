package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/alarm"
)

// distros is LDIF of n entries that a list finds, each with two below it.
func distros(n int) (out string) {
	for i := range n {
		out += distro(fmt.Sprint("d", i), fmt.Sprint("D", i))
	}
	return out
}

// guardedList has a world with the guard follow a list of 20 names.
func guardedList(t *testing.T) (*world, *ldaptest.Server, places) {
	t.Helper()
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distros(20)})
	w := guarded(t)
	w.list("l", "cn=%(attr.l)s", s)
	want := places{}
	for i := range 20 {
		want[at(fmt.Sprint("D", i))] = found(fmt.Sprint("d", i))
	}
	w.awaitPlaces(s, want)
	await(t, "all names are live", func() bool {
		names, err := w.e.Names(t.Context())
		must(t, err)
		return !slices.ContainsFunc(names, func(n Name) bool { return n.Head.State != "live" })
	})
	return w, s, want
}

// heldAlarms are those of held refreshes; the found entries' own sources have alarms beside them.
func (w *world) heldAlarms() []Alarm {
	return slices.DeleteFunc(slices.Clone(w.alarms()), func(a Alarm) bool { return a.Kind != alarm.HeldRefresh })
}

// R36: a list that finds much less is held as a whole, names that would appear too; over
// restarts, with an alarm of the list, until somebody decides; approved, it goes on.
func TestGuardList(t *testing.T) {
	for _, reject := range []bool{false, true} {
		t.Run(fmt.Sprint("rejected first ", reject), func(t *testing.T) {
			t.Parallel()
			w, s, want := guardedList(t)
			before := w.served()
			w.away(func() {
				for i := range 15 {
					must(t, s.Delete(found(fmt.Sprint("d", i))))
				}
				must(t, s.Add(distro("new", "New")))
			})
			h := w.awaitHeld("l")
			if h.Removed != 15 || h.Total != 20 || h.Added != 1 || h.Content != 45 || !h.List || len(h.Goes) != 15 || h.More != 0 ||
				h.Goes[0] != "cn=d0,o=Lists: l/1 on cn=D0,ou=Package Listers with 3 entries" {
				t.Errorf("%+v", h)
			}
			if a := w.heldAlarms(); len(a) != 1 || a[0].Subscription != "l" || !strings.Contains(a[0].Cause, "15 of 20 found entries with 45 entries of content") {
				t.Errorf("%+v", a)
			}
			link, err := w.e.SourceState(t.Context(), "l")
			must(t, err)
			if link.State != "held" || !link.Online {
				t.Errorf("%+v", link)
			}
			w.restart()
			await(t, "it is held again", func() bool { now := w.held("l"); return now != nil && now.LastSeen.After(h.LastSeen) })
			if now := w.held("l"); now.Revision != h.Revision || !maps.Equal(w.served(), before) {
				t.Errorf("%+v; %s", now, differences(before, w.served()))
			}
			if reject {
				_, err := w.e.RejectHeld(t.Context(), "l", h.Revision, false)
				must(t, err)
				w.restart()
				if a := w.heldAlarms(); len(a) > 0 {
					t.Errorf("%+v", a)
				}
				if now := w.held("l"); now == nil || !now.Rejected || !maps.Equal(w.served(), before) {
					t.Errorf("%+v", now)
				}
			}
			w.approve("l", h.Revision)
			for i := range 15 {
				delete(want, at(fmt.Sprint("D", i)))
			}
			want[at("New")] = found("new")
			w.awaitPlaces(s, want)
			w.alarmed()
			must(t, s.Add(distro("more", "More")))
			want[at("More")] = found("more")
			w.awaitPlaces(s, want)
			w.restart()
		})
	}
}

// R36: a list counts the content that found entries would take along, too; and what it loses in
// its persist stage within a minute.
func TestGuardListContent(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distros(3) + distro("big", "Big") + throng("p", 30, found("big"))})
	w := guarded(t)
	w.list("l", "cn=%(attr.l)s", s)
	want := places{at("D0"): found("d0"), at("D1"): found("d1"), at("D2"): found("d2"), at("Big"): found("big")}
	w.awaitPlaces(s, want)
	before := w.served()
	must(t, s.Modify(found("big"), "st", "hidden")) // out of the list's filter
	h := w.awaitHeld("l")
	if h.Removed != 1 || h.Total != 4 || h.Content != 33 || !maps.Equal(w.served(), before) {
		t.Errorf("%+v", h)
	}
	must(t, s.Modify(found("big"), "st", "found"))
	w.restart() // it looks again
	await(t, "nothing is held", func() bool { return w.held("l") == nil })
	w.alarmed()
	must(t, s.Delete(found("d0")))
	delete(want, at("D0"))
	w.awaitPlaces(s, want)
	w.restart()
}

// R36: names that come in the place of those that go within the minute are there to go: a list that renames a found
// entry again and again does not lose everything.
func TestGuardListRenames(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("d0", "A0", "B0") + distro("d1", "D1")})
	w := guarded(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.set("l", map[string]string{"guard_minimum": "100"})
	for round := range 4 {
		names := []string{fmt.Sprint("A", round), fmt.Sprint("B", round)}
		must(t, s.Modify(found("d0"), "l", names...))
		w.awaitPlaces(s, places{at(names[0]): found("d0"), at(names[1]): found("d0"), at("D1"): found("d1")})
		if h := w.held("l"); h != nil {
			t.Fatalf("round %d: %+v", round, h)
		}
	}
	w.alarmed()
}

// R36: losses of a list's persist stage count together over a minute, and are held behind the bounds.
func TestGuardListWindow(t *testing.T) {
	w, s, want := guardedList(t)
	w.set("l", map[string]string{"guard_minimum": "4"})
	for i := range 6 {
		must(t, s.Modify(found(fmt.Sprint("d", i)), "st", "hidden"))
	}
	h := w.awaitHeld("l")
	if h.Before+h.Removed != 6 || h.Before > 4 || h.Total != 20 {
		t.Errorf("%+v", h)
	}
	if n := len(w.foundIn("l")); n != 20-h.Before {
		t.Errorf("%d are found, %d went", n, h.Before)
	}
	w.restart()
	w.approve("l", h.Revision)
	for i := range 6 {
		delete(want, at(fmt.Sprint("D", i)))
	}
	w.awaitPlaces(s, want)
	w.alarmed()
}

// R36, invariant 7: a crash at any moment of an approval of a list's refresh leaves all of it,
// once the next start has gone on with it, or nothing.
func TestGuardListCrashInApproval(t *testing.T) {
	w, s, _ := guardedList(t)
	w.away(func() {
		for i := range 15 {
			must(t, s.Delete(found(fmt.Sprint("d", i))))
		}
	})
	h := w.awaitHeld("l")
	s.Down()
	w.restart()
	await(t, "all is down", func() bool {
		names, err := w.e.Names(t.Context())
		must(t, err)
		return !slices.ContainsFunc(names, func(n Name) bool { return n.Head.State != "down" })
	})
	before := w.content()
	from := w.e.Version().CSN()
	c, stop := w.crashing(5)
	w.approve("l", h.Revision)
	stop()
	after := w.content()
	if len(before)-len(after) != 45 {
		t.Errorf("%d entries, there were %d", len(after), len(before))
	}
	c.eitherOr(before, after)
	w.checkLog(from)
	w.checkLists()
	w.restart()
}
