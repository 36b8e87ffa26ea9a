package engine

import (
	"fmt"
	"maps"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
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
	for key, id := range uuidsByEntry(w) {
		if was, ok := ids[key]; !ok || was != id {
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
