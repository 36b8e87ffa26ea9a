package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// R21, R27, R33, R41: a crash at any moment of a swap of names, of a move into another
// name's queue and of a removal with a promotion leaves all of it or nothing, and the
// change log says the same as the tree: what was decided and not yet done is done by
// the next start.
func TestCrashInMoves(t *testing.T) {
	move := func(id queue.ClaimID, name string) queue.Event {
		return queue.ClaimMoved{ID: id, Name: name}
	}
	for what, events := range map[string][]queue.Event{
		"a move":                   {move("l/1", at("New"))},
		"deep and back":            {move("l/1", "cn=x,cn=y,"+at("New"))},
		"a swap":                   {move("l/1", at("tmp")), move("l/2", at("A")), move("l/1", at("B"))},
		"a round":                  {move("l/1", at("tmp")), move("l/2", at("A")), move("l/3", at("B")), move("l/1", at("C"))},
		"into a queue":             {move("l/1", at("B"))},
		"into a queue and out":     {move("l/1", at("B")), queue.EntryLost{List: "l"}},
		"inside another":           {move("l/1", "cn=0,"+at("B"))},
		"around another":           {move("l/1", "cn=p,"+at("C")), move("l/2", at("C1")), move("l/3", "cn=q,"+at("C1"))},
		"only the way it is spelt": {move("l/1", "CN=a,"+baseDN)},
	} {
		t.Run(what, func(t *testing.T) { crashInMoves(t, events) })
	}
}

func crashInMoves(t *testing.T, events []queue.Event) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B") + distro("c", "C")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b"), at("C"): found("c")})
	s.Down()
	await(t, "all is down", func() bool {
		names, err := w.e.Names(t.Context())
		must(t, err)
		down := 0
		for _, n := range names {
			if n.Head.State == "down" {
				down++
			}
		}
		return down == 3
	})
	ids, from, before := uuidsByEntry(w), w.e.Version().CSN(), w.content()
	atDN := uuidsOf(w.e.Version())
	c, stop := w.crashing(2)
	must(t, w.e.do(t.Context(), func() {
		for i, ev := range events {
			switch ev := ev.(type) {
			case queue.ClaimMoved:
				dn, err := dit.ParseDN(w.schema, ev.Name)
				must(t, err)
				ev.Norm = dn.Norm()
				events[i] = ev
			case queue.EntryLost:
				ev.Entry = w.e.state.Claims["l/2"].Entry
				events[i] = ev
			}
		}
		must(t, w.e.enact(decisions{events: events}))
	}))
	stop()
	after := w.content()
	if maps.Equal(before, after) {
		t.Fatal("nothing changed")
	}
	replaced := map[dit.UUID]bool{} // taken over from what stood at the same DN
	for dn, id := range uuidsOf(w.e.Version()) {
		replaced[id] = atDN[dn] == id
	}
	for key, id := range uuidsByEntry(w) {
		if was, ok := ids[key]; !ok || was != id && !replaced[id] {
			t.Errorf("%s was served as %s, and is as %s", key, was, id)
		}
	}
	w.checkLists()
	w.checkChanges(from)
	c.eitherOr(before, after)
	w.restart()
	w.checkLists()
	w.checkStored()
}

// uuidsByEntry is what each claim's entries are served as.
func uuidsByEntry(w *world) map[string]dit.UUID {
	out := map[string]dit.UUID{}
	v := w.e.Version()
	for _, id := range uuidsOf(v) {
		row := v.Row(v.ByUUID(id))
		if row.Claim != 0 {
			out[fmt.Sprint(row.Claim, " ", w.e.pub.upstream(row.Claim, id))] = id
		}
	}
	return out
}

// R56: decisions whose commit the store refuses change nothing, in memory, store or
// tree, whatever they were; the same go well afterwards.
func TestDecisionsThatAreRefused(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B") + distro("c", "B")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b")})
	w.awaitLive(at("A"))
	w.awaitLive(at("B"))
	await(t, "who waits has been asked", func() (asked bool) {
		must(t, w.e.do(t.Context(), func() { asked = w.e.state.Claims["l/3"].Online && w.e.state.Lists["l"].Online }))
		return asked
	})
	before, tree := w.stored(""), w.print()
	events := distroEvents(w)
	large := store.Record{Name: "large", Value: make([]byte, store.MaxValue+1)}
	must(t, w.e.do(t.Context(), func() {
		if err := w.e.enact(decisions{events: events, last: []store.Record{large}}); !errors.Is(err, store.ErrTooBig) {
			t.Errorf("enacted: %v", err)
		}
		if err := w.e.enact(decisions{events: append(slices.Clone(events), queue.EntryLost{List: "l", Entry: "none"})}); err == nil {
			t.Error("an entry that is not there was lost")
		}
	}))
	if now := w.print(); now != tree {
		t.Error(firstDifference(tree, now))
	}
	if after := w.stored(""); !maps.Equal(before, after) {
		t.Errorf("stored: %s", differences(before, after))
	}
	w.checkLists()
	w.checkStored()
	must(t, w.e.do(t.Context(), func() { must(t, w.e.enact(decisions{events: events})) }))
	w.awaitPlaces(s, places{at("Q"): found("a"), at("B"): found("c"), at("N"): found("c")})
	w.restart()
}

// distroEvents are a move, a loss with a promotion, and a new name of what is found.
func distroEvents(w *world) (events []queue.Event) {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		m := w.e.membersOf("l")
		name := func(cn string) queue.FoundName {
			dn, err := dit.ParseDN(w.schema, at(cn))
			must(w.t, err)
			return queue.FoundName{Name: at(cn), Norm: dn.Norm()}
		}
		events = []queue.Event{
			queue.EntryFound{List: "l", Entry: m[0].Entry, DN: m[0].DN, Names: []queue.FoundName{name("Q")}},
			queue.EntryLost{List: "l", Entry: m[1].Entry},
			queue.EntryFound{List: "l", Entry: m[2].Entry, DN: m[2].DN, Names: []queue.FoundName{name("B"), name("N")}},
		}
	}))
	return events
}

// R41: two claims on the same upstream entries, one found below the other, have
// entries of distinct UUIDs; they stay so when either moves, waits and comes back.
func TestNestedFoundEntries(t *testing.T) {
	inside := strings.ReplaceAll(distro("in", "In"), found("in"), "cn=in,"+found("a"))
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + inside + distro("z", "Z")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	want := places{at("A"): found("a"), at("In"): "cn=in," + found("a"), at("Z"): found("z")}
	w.awaitPlaces(s, want)
	ids := uuidsOf(w.e.Version())
	for _, rel := range []string{"", "cn=0,", "cn=1,"} {
		if a, b := ids[rel+"cn=in,"+at("A")], ids[rel+at("In")]; a == b || a == (dit.UUID{}) {
			t.Errorf("%q is served as %s and %s", rel, a, b)
		}
	}
	must(t, s.Modify(found("a"), "l", "Z"))
	w.awaitPlaces(s, places{at("Z"): found("z"), at("In"): "cn=in," + found("a")})
	must(t, s.Modify(found("a"), "l", "A"))
	w.awaitPlaces(s, want)
	if now := uuidsOf(w.e.Version()); !maps.Equal(now, ids) {
		t.Errorf("UUIDs were %v and are %v", ids, now)
	}
	w.restart()
}
