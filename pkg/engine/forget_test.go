package engine

import (
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// reloads says all this once it may, and then that everything has to be loaded again.
func reloads(may <-chan struct{}, say ...saying) saying {
	return func(p *syncrepl.Provider) error {
		<-may
		if err := inTurn(say...)(p); err != nil {
			return err
		}
		return p.Fail(syncrepl.ResultRefreshRequired, "load again")
	}
}

// reloadUnseen has the server say what it holds back, so many changes and then that a reload is needed, while
// the writer is busy.
func (w *world) reloadUnseen(s *ldaptest.Server, may chan<- struct{}, changes int) {
	w.t.Helper()
	w.blocked(func() {
		may <- struct{}{}
		w.awaitPending(changes)
		await(w.t, "the end of the session", func() bool { return s.Stats().Open == 0 })
	})
}

// R12, R35: what a server says before it asks for a full reload holds, though the writer is busy as it
// does, and though that reload never comes.
func TestSaidBeforeAReloadHolds(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	may := make(chan struct{})
	t.Cleanup(func() { close(may) })
	talk(s, map[string]saying{"": inTurn(sayBase, sayRoles(1, 2, 3), sayEnd("one"),
		reloads(may, sayGone(1, "cn=1,"+suffix, "two"), sayRole(4, "new", "two")))})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	talk(s, map[string]saying{"": func(p *syncrepl.Provider) error { return p.Fail(52, "not now") }})
	w.reloadUnseen(s, may, 2)
	w.awaitReason("down", "not now")
	if got := numbers(w.e.Version()); got != "234" {
		t.Errorf("served are %q", got)
	}
	w.check()
}

// R33, R36: a server says what its session ends for, since it is more than the guard lets go, and asks for a full
// reload before the writer has seen it: neither waits for the other, whichever comes first.
func TestReloadBehindWhatIsRefused(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := guarded(t)
	var all []int
	var gone []saying
	for n := 1; n <= 3*DefaultGuard.Minimum; n++ {
		all = append(all, n)
		gone = append(gone, sayIDs(true, n))
	}
	may := make(chan struct{})
	t.Cleanup(func() { close(may) })
	tell := reloads(may, gone...)
	talk(s, map[string]saying{"": inTurn(sayBase, sayRoles(all...), sayEnd("one"), tell), "one": inTurn(sayEnd("one"), tell)})
	w.add("s", "cn=Here", w.source(s, suffix))
	for range 12 { // which of the two comes first is left to chance
		w.awaitLive(name)
		w.reloadUnseen(s, may, len(gone))
		must(t, w.e.Alive(t.Context()))
	}
	w.awaitLive(name)
	w.check()
}
