package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// manyDistros is LDIF of n found entries, each with a name of its own.
func manyDistros(n int) string {
	var b strings.Builder
	b.WriteString(listLDIF)
	for i := range n {
		b.WriteString(distro(fmt.Sprintf("d%03d", i), fmt.Sprintf("D%03d", i)))
	}
	return b.String()
}

// R15, R21, R33: 300 found entries; ten that get other names move and keep their UUIDs,
// and nothing is fetched; a server that is away freezes all of it, over a restart too;
// all go with the list.
func TestListOfHundreds(t *testing.T) {
	const n, moved = 300, 10
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: manyDistros(n)})
	w := newWorld(t)
	begun := time.Now()
	w.list("l", "cn=%(attr.l)s", s)
	want := places{}
	for i := range n {
		want[at(fmt.Sprintf("D%03d", i))] = found(fmt.Sprintf("d%03d", i))
	}
	await(t, "all content", func() bool { return w.e.Version().Len() == 1+3*n })
	t.Logf("%d names after %v", n, time.Since(begun))
	w.awaitPlaces(s, want)
	ids, loads, from := uuidsOf(w.e.Version()), s.Stats().RefreshEntries, w.e.Version().CSN()

	begun = time.Now()
	for i := range moved {
		must(t, s.Modify(found(fmt.Sprintf("d%03d", i)), "l", fmt.Sprintf("M%03d", i)))
		delete(want, at(fmt.Sprintf("D%03d", i)))
		want[at(fmt.Sprintf("M%03d", i))] = found(fmt.Sprintf("d%03d", i))
	}
	w.awaitPlaces(s, want)
	t.Logf("%d moves after %v", moved, time.Since(begun))
	now := uuidsOf(w.e.Version())
	for i := range moved {
		for _, rel := range []string{"", "cn=0,", "cn=1,"} {
			if was, is := ids[rel+at(fmt.Sprintf("D%03d", i))], now[rel+at(fmt.Sprintf("M%03d", i))]; was != is {
				t.Errorf("%s of %d was served as %s, and is as %s", rel, i, was, is)
			}
		}
	}
	if again := s.Stats().RefreshEntries; again > loads+moved { // the found entries themselves are content that changed
		t.Errorf("%d entries were fetched", again-loads)
	}
	w.checkLog(from)

	s.Down()
	await(t, "the list is down", func() bool {
		l, err := w.e.SourceState(t.Context(), "l")
		must(t, err)
		return l.State == "down" && strings.Contains(l.Reason, "connection")
	})
	await(t, "all names are down", func() bool {
		names, err := w.e.Names(t.Context())
		must(t, err)
		for _, n := range names {
			if n.Head.State != "down" {
				return false
			}
		}
		return true
	})
	frozen := w.print()
	must(t, s.Delete(found("d100")))
	must(t, s.Modify(found("d101"), "l", "elsewhere"))
	w.restart()
	if again := w.print(); again != frozen {
		t.Error(firstDifference(frozen, again))
	}
	if l, err := w.e.SourceState(t.Context(), "l"); err != nil || l.LastContact == "" {
		t.Errorf("%+v, %v", l, err)
	}
	must(t, s.Up())
	delete(want, at("D100"))
	delete(want, at("D101"))
	want[at("elsewhere")] = found("d101")
	w.awaitPlaces(s, want)
	w.checkLog(from)

	begun = time.Now()
	_, err := w.e.RemoveSubscription(t.Context(), "l", false)
	must(t, err)
	t.Logf("removed in %v", time.Since(begun))
	if w.e.Version().Len() != 1 {
		t.Errorf("%d entries are left", w.e.Version().Len())
	}
	w.checkLog(from)
	w.restart()
}
