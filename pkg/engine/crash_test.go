package engine

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
)

// copies are of a store, taken by its writer between two commits, as a crash at
// that moment leaves it.
type copies struct {
	w    *world
	root string
	dirs []string
	at   int // moments that were passed
}

// crashing has the engine copy its store whenever it takes a new CSN, the n-th
// time and every step-th from there, until stop: every step of a change takes one before it
// is committed.
func (w *world) crashing(step int) (c *copies, stop func()) {
	w.t.Helper()
	c = &copies{w: w, root: w.t.TempDir()}
	set := func(now func() time.Time) { must(w.t, w.e.do(w.t.Context(), func() { w.e.o.Now = now })) }
	set(func() time.Time {
		if c.at++; c.at%step == 1%step {
			c.take()
		}
		return time.Now()
	})
	return c, func() {
		w.t.Helper()
		set(time.Now)
		must(w.t, w.e.do(w.t.Context(), c.take))
	}
}

func (c *copies) take() {
	dir := filepath.Join(c.root, fmt.Sprint(len(c.dirs)))
	allTaken(c.w.e)
	if err := copySparse(c.w.dir, dir); err != nil {
		c.w.t.Error(err)
		return
	}
	c.dirs = append(c.dirs, dir)
}

// allTaken waits until badger has every commit: a log that is written while it is copied is torn in its
// middle, as no crash tears it. TestRedoAfterKill has what is between.
func allTaken(e *Engine) { e.store.LastCSN() }

// eitherOr opens engines on all copies, whose servers are away: each shows all of
// the change or nothing of it, first nothing and then all, and the change log
// says the same as the tree.
func (c *copies) eitherOr(before, after map[string]string) {
	t := c.w.t
	t.Helper()
	done := 0
	for i, dir := range c.dirs {
		w := &world{t: t, dir: dir, schema: c.w.schema}
		w.open()
		switch now := w.content(); {
		case maps.Equal(now, after) && !maps.Equal(before, after):
			done++
		case !maps.Equal(now, before):
			t.Errorf("copy %d of %d: of what should be there %s", i, len(c.dirs), differences(after, now))
		case done > 0:
			t.Errorf("copy %d of %d shows nothing of the change, an earlier one all of it", i, len(c.dirs))
		}
		served := map[dit.UUID]bool{}
		for _, id := range uuidsOf(w.e.Version()) {
			served[id] = true
		}
		if logged := w.uuidsAt(w.e.Version().CSN()); !maps.Equal(served, logged) {
			t.Errorf("copy %d of %d has %d entries, its change log leads to %d", i, len(c.dirs), len(served), len(logged))
		}
		if left := w.stored(recordUnhide); len(left) > 0 {
			t.Errorf("copy %d of %d still has names to bring back from: %q", i, len(c.dirs), left)
		}
		w.check()
		w.checkStored()
		w.restart()
		w.close()
	}
	if last := len(c.dirs); done == 0 || done == last {
		t.Errorf("of %d copies %d show the change", last, done)
	}
}

// differences lists what two contents do not have in common.
func differences(want, got map[string]string) string {
	var b strings.Builder
	for dn := range want {
		if got[dn] != want[dn] {
			fmt.Fprintf(&b, "\n%s is %q, not %q", dn, got[dn], want[dn])
		}
	}
	for dn := range got {
		if _, ok := want[dn]; !ok {
			fmt.Fprintf(&b, "\n%s should not be there: %q", dn, got[dn])
		}
	}
	return b.String()
}

// R7, R16, R33: a crash at any moment of a removal leaves the name with its content,
// or neither, with what it hid back in its place.
func TestCrashInRemoval(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		t.Run(fmt.Sprint("another claim waits ", waiting), func(t *testing.T) {
			outer := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + subtree("cn=p,"+suffix, "p", 4)})
			w := newWorld(t)
			w.add("s", "cn=Here", w.source(outer, suffix))
			w.awaitEqual(outer, suffix, name)
			w.awaitLive(name)
			without := w.content()
			place := "cn=p," + name
			head := w.inner("inner", place)
			next := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
			if waiting {
				w.add("next", place, w.source(next, "o=Other"))
			}
			before := w.content()
			outer.Down()
			head.Down()
			next.Down()
			w.awaitReason("down", "connection")
			from := w.e.Version().CSN()
			c, stop := w.crashing(2)
			w.remove("inner")
			if waiting {
				if now := w.content(); !maps.Equal(now, before) {
					t.Errorf("while the content lingers: %s", differences(before, now))
				}
				w.endLingers()
			}
			stop()
			if now := w.content(); !maps.Equal(now, without) {
				t.Errorf("after the removal: %s", differences(without, now))
			}
			c.eitherOr(before, without)
			w.checkLog(from)
			w.restart()
		})
	}
}

// R7, R25, R30, R33: a crash at any moment of a promoted claim's first load leaves the
// outer source's content in the place, or the promoted one's.
func TestCrashInPromotion(t *testing.T) {
	outer := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + subtree("cn=p,"+suffix, "p", 4)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(outer, suffix))
	w.awaitEqual(outer, suffix, name)
	w.awaitLive(name)
	place := "cn=p," + name
	head := w.inner("inner", place)
	next := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	next.Down()
	w.add("next", place, w.source(next, "o=Other"))
	head.Down()
	outer.Down()
	w.awaitReason("down", "connection")
	w.remove("inner")
	w.endLingers()
	before := w.content()
	from := w.e.Version().CSN()
	c, stop := w.crashing(3)
	must(t, next.Up())
	w.awaitLive(place)
	next.Down()
	await(t, "the server is away", func() bool { return w.name(place).Head.State == "down" })
	stop()
	after := w.content()
	c.eitherOr(before, after)
	w.checkLog(from)
	w.restart()
}
