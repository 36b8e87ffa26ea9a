package engine

import (
	"fmt"
	"maps"
	"testing"

	"shaft/internal/ldaptest"
)

// relayedList is an engine that follows a list, and what it finds, through a relay.
type relayedList struct {
	*world
	s     *ldaptest.Server
	relay *ldaptest.Relay
	round int

	happened int // how often a fault did
}

// change does what the server may do to found entries: another name, another DN, another entry in the
// same place, one that the search finds no more or again; and gives what is to be seen then.
func (r *relayedList) change() places {
	r.t.Helper()
	last, now := r.round, r.round+1
	r.round++
	b := fmt.Sprint("b", now)
	must(r.t, r.s.Modify(found("a"), "l", fmt.Sprint("A", now)))
	must(r.t, r.s.Modify("cn=0,"+found("a"), "description", fmt.Sprint(now)))
	must(r.t, r.s.Rename(found(fmt.Sprint("b", last)), found(b)))
	must(r.t, r.s.Delete(found("c")))
	must(r.t, r.s.Add(distro("c", fmt.Sprint("C", now))))
	want := places{at(fmt.Sprint("A", now)): found("a"), at("B"): found(b), at(fmt.Sprint("C", now)): found("c")}
	if now%2 == 0 {
		want[at("D")] = found("d")
		must(r.t, r.s.Modify(found("d"), "st", "found"))
	} else {
		must(r.t, r.s.Modify(found("d"), "st"))
	}
	return want
}

// faulty has a fault happen at the k-th message of every search, while changes come and when they are
// asked for later, and wants it all to be right once there is none.
func (r *relayedList) faulty(kind ldaptest.FaultKind, k int) {
	r.t.Helper()
	for _, away := range []bool{false, true} {
		what := fmt.Sprintf("message %d, away %v", k, away)
		fault := &ldaptest.Fault{Kind: kind, At: k}
		if r.relay.Set(fault); away {
			r.relay.Set(&ldaptest.Fault{Kind: ldaptest.Refuse})
		}
		want := r.change()
		if away {
			r.relay.Set(fault)
		}
		all := r.expected(r.s, want)
		await(r.t, what, func() bool { return r.relay.Fired() > 0 || maps.Equal(r.served(), all) || kind == ldaptest.Swap })
		r.happened += r.relay.Fired()
		r.relay.Set(nil)
		r.awaitPlaces(r.s, want)
		if r.t.Failed() {
			r.t.Fatal(what)
		}
	}
}

// R20, R21, R35, R56: whatever is done to any message of a list's search, and of those of what it found, the
// names and their content end as the server has them.
func TestEveryMessageOfLists(t *testing.T) {
	const messages = 6 // more than any of the searches has in its refresh, or while it is followed
	for _, kind := range faultsOfMessages {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A0") + distro("b0", "B") + distro("c", "C0") + distro("d", "D"),
				PresentPhase: kind%2 == 0})
			w := newWorld(t)
			w.impatient()
			relay, err := ldaptest.StartRelay(s.Addr())
			must(t, err)
			t.Cleanup(relay.Close)
			src := w.source(relay, listBase)
			src.Filter, src.Attributes = "(st=found)", []string{"cn"}
			_, err = w.e.AddSubscription(t.Context(), Subscription{ID: "l", Kind: KindList, Name: "cn=%(attr.l)s", Source: src}, false)
			must(t, err)
			w.awaitPlaces(s, places{at("A0"): found("a"), at("B"): found("b0"), at("C0"): found("c"), at("D"): found("d")})
			r := &relayedList{world: w, s: s, relay: relay}
			step := 1
			if kind == ldaptest.Stall || kind == ldaptest.StallWithin {
				step = 2
			}
			for k := 0; k < messages; k += step {
				r.faulty(kind, k)
			}
			if r.happened == 0 {
				t.Errorf("%v never happened", kind)
			}
			w.restart()
		})
	}
}
