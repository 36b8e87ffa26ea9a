package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
)

// R36: a delete counts once it is committed, and once: not with a group that another change of
// the same source spoils, since its session brings all of it again.
func TestGuardCountsOnce(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + throng("p", 30, "ou=a,"+suffix)})
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	must(t, w.e.do(t.Context(), func() {
		e := w.e
		cl := e.claims["s"]
		ed := e.edit(nil)
		var group []change
		for i := range 3 {
			row, _ := ed.b.Find(fmt.Sprintf("cn=p%02d,ou=a,%s", i, cl.name.Norm()))
			group = append(group, change{claim: cl, feed: cl.feed, op: opDelete, id: e.pub.upstream(cl.number, ed.b.Row(row).UUID)})
		}
		ed.abandon()
		bad := change{claim: cl, feed: cl.feed, op: opPut, id: testUUID(99), norm: []byte("cn=x,ou=nowhere," + cl.name.Norm()), text: []byte("cn=x")}
		must(t, e.commitGroup(append(slices.Clone(group), bad)))
		if gone, _ := cl.window.since(e.o.Now()); gone != 0 || cl.feed != nil && cl.feed == bad.feed {
			t.Errorf("%d count of a group that was not committed", gone)
		}
		for i := range group {
			group[i].feed = cl.feed
		}
		must(t, e.commitGroup(group))
		if gone, of := cl.window.since(e.o.Now()); gone != 3 || of != 33 {
			t.Errorf("%d of %d count", gone, of)
		}
	}))
	if w.content()["cn=p02,ou=a,"+name] != "" {
		t.Error("the deletes are not in the tree")
	}
}

// R36: what came since the first delete of a minute is there to be deleted from: a small
// subtree that grows is not one that loses everything.
func TestGuardGrowth(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	session := func() (f *feed) {
		must(t, w.e.do(t.Context(), func() { f = w.e.claims["s"].feed }))
		return f
	}
	before := session()
	must(t, s.Add(person("cn=short,"+suffix)))
	w.awaitEqual(s, suffix, name)
	must(t, s.Delete("cn=short,"+suffix))
	for i := range 30 {
		must(t, s.Add(person(fmt.Sprintf("cn=p%02d,ou=a,%s", i, suffix))))
	}
	w.awaitEqual(s, suffix, name)
	for i := range 8 {
		must(t, s.Delete(fmt.Sprintf("cn=p%02d,ou=a,%s", i, suffix)))
	}
	w.awaitEqual(s, suffix, name)
	if session() != before {
		t.Error("the session has begun again")
	}
	w.alarmed()
}

// R36, R29: while what is held is being approved, a comparison does not end that.
func TestGuardApprovalIsLeftAlone(t *testing.T) {
	w, _ := shrunk(t)
	other := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	w.add("next", "cn=Here", w.source(other, "o=Other"))
	_, err := w.e.Switch(t.Context(), name, "next", false, 0, false)
	must(t, err)
	busy := func(is bool) {
		must(t, w.e.do(t.Context(), func() { w.e.holds["s"].busy = is }))
	}
	busy(true)
	_, err = w.e.QueueDiff(t.Context(), name, "s")
	w.refusedHold(queue.KindStale, err)
	busy(false)
	w.approve("s", 0)
}

// R35, R36: what is approved takes what goes and nothing else, however deep the base lies and what is new below it.
func TestGuardApproveAtEachDepth(t *testing.T) {
	const sub = "ou=sub,ou=a," + suffix
	for _, at := range []string{suffix, "ou=a," + suffix, sub} {
		t.Run(at, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + one(sub, "organizationalUnit") + throng("p", 30, sub)})
			w := guarded(t)
			w.add("s", "cn=Here", w.source(s, at))
			w.awaitEqual(s, at, name)
			w.awaitLive(name)
			w.away(func() {
				for i := range 20 {
					must(t, s.Delete(fmt.Sprintf("cn=p%02d,%s", i, sub)))
				}
				for _, rel := range []string{"", "cn=n1,", "cn=n2,cn=n1,", "cn=n3,cn=n2,cn=n1,"} {
					must(t, s.Add(person("cn=new,"+rel+sub)+"\n"+person("cn=n"+fmt.Sprint(1+strings.Count(rel, ","))+","+rel+sub)))
				}
			})
			h := w.awaitHeld("s")
			w.settled("s")
			if h.Removed != 20 || h.Added != 8 || h.Changed != 0 {
				t.Errorf("%+v", h)
			}
			w.approve("s", h.Revision)
			if want, got := w.upstreamContent(s, at, name), w.content(); !maps.Equal(want, got) {
				t.Error(differences(want, got))
			}
		})
	}
}

// A session that is ended while it writes down what is held ends, though the writer waits for it.
func TestHoldOfASessionThatEnds(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	writing, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- w.e.keep(ctx, &verdict{hold: &hold{Of: "one"}}, func() error { return nil }, func(hw *holdWriter) error {
			if err := errors.Join(hw.gone([]goneEntry{{rel: "cn=x"}}), hw.flush()); err != nil {
				return err
			}
			close(writing)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	<-writing
	must(t, w.e.do(t.Context(), func() { // as Link.Close does
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("it ends with %v", err)
			}
		case <-time.After(patience):
			t.Error("it waits for the writer, which waits for it")
		}
		if n := len(w.recordNames(recordHoldSet)); n == 0 {
			t.Error("nothing was written of what is held")
		}
		w.e.beat()
		if left := w.recordNames(recordHoldSet); len(left) != 0 {
			t.Errorf("of what is not held after all there is still %q", left)
		}
	}))
}
