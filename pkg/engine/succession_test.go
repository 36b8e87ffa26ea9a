package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

// inTime gives a command's context: what hangs fails the test.
func inTime(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// refusedSwitch has a switch refused, in words; nothing that is served changes.
func (w *world) refusedSwitch(dn string, claim queue.ClaimID, words string) {
	w.t.Helper()
	before := w.content()
	_, err := w.e.Switch(inTime(w.t), dn, claim, false, 0, false)
	var refusal *queue.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), words) {
		w.t.Errorf("a switch to %s: %v, wanted is a refusal with %q", claim, err, words)
	}
	if now := w.content(); !maps.Equal(now, before) {
		w.t.Errorf("after a switch that was refused: %s", differences(before, now))
	}
}

// R12, R28: a candidate that knows no SyncRepl is refused with that, whether it is kept warm
// or not, and as often as it is tried.
func TestSwitchToUnsupported(t *testing.T) {
	a := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	b := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, NoSync: true})
	w := newWorld(t)
	w.add("a", "cn=Here", w.source(a, suffix))
	w.awaitEqual(a, suffix, name)
	w.add("b", "cn=Here", w.source(b, suffix))
	w.refusedSwitch(name, "b", "does not offer content synchronization")
	w.set("b", map[string]string{"keep_warm": "true"})
	for range 2 {
		await(t, "it is told apart", func() bool { return w.name(name).Queue[0].State == string(upstream.Unsupported) })
		w.refusedSwitch(name, "b", "does not offer content synchronization")
	}
}

// R12, R28, R32: a candidate that is polled is read at once, not when its interval is over.
func TestSwitchToPolled(t *testing.T) {
	for _, warm := range []bool{false, true} {
		a := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
		b := serve(t, ldaptest.Options{Suffix: otherSuffix, LDIF: mirror(sourceLDIF), NoSync: true})
		w := newWorld(t)
		w.add("a", "cn=Here", w.source(a, suffix))
		w.awaitEqual(a, suffix, name)
		src := w.source(b, otherSuffix)
		src.Poll = upstream.Interval(time.Hour)
		_, err := w.e.AddSubscription(t.Context(), Subscription{ID: "b", Name: "cn=Here", Source: src, KeepWarm: warm}, false)
		must(t, err)
		if warm {
			await(t, "it was read", func() bool { return w.name(name).Queue[0].State == string(upstream.Polling) })
		}
		must(t, b.Modify("ou=a,"+otherSuffix, "description", "new"))
		_, err = w.e.Switch(inTime(t), name, "b", false, 0, false)
		must(t, err)
		w.awaitSame(b, otherSuffix)
		w.check()
		w.checkStored()
	}
}

// R28, R56: a fetch aside that never ends stops with the command, with the store, and with the engine.
func TestFetchAsideEnds(t *testing.T) {
	for _, c := range []struct {
		what  string
		end   func(w *world, cancel func())
		words string
	}{
		{"command", func(_ *world, cancel func()) { cancel() }, context.Canceled.Error()},
		{"store", func(w *world, _ func()) {
			must(w.t, w.store.Close())
			_, _ = w.e.SetSubscription(w.t.Context(), "a", map[string]string{"poll": "5m"}, false)
		}, "takes no more writes"},
		{"engine", func(w *world, _ func()) { w.e.Close() }, ErrClosed.Error()},
		{"claim", func(w *world, _ func()) { w.remove("b") }, "went from the queue"},
		{"head", func(w *world, _ func()) { w.remove("a") }, "changed"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
			begun, goOn := make(chan struct{}, 10), make(chan struct{})
			script(b, func(q ldaptest.Search, _ *syncrepl.Provider) (bool, error) {
				begun <- struct{}{}
				select {
				case <-q.Done:
				case <-goOn:
				}
				return false, nil
			})
			ctx, cancel := context.WithCancel(inTime(t))
			ended := make(chan error, 1)
			go func() {
				_, err := w.e.Switch(ctx, name, "b", false, 0, false)
				ended <- err
			}()
			<-begun
			c.end(w, cancel)
			if c.what == "head" {
				close(goOn)
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, wanted is %q", err, c.words)
			}
			if c.what == "command" {
				await(t, "it is only probed", func() bool { return w.name(name).Queue[0].State == string(upstream.Live) && b.Stats().Running == 0 })
				if task := w.task("queue switch"); task.State == TaskRunning {
					t.Errorf("%+v", task)
				}
			}
			if c.what == "store" {
				w.restartAfterFailure()
			}
			if c.what == "engine" {
				w.close()
				w.open()
			}
			w.check()
		})
	}
}

// R30, R56: when the store takes no more writes what lingers stays, and nothing is tried
// without a pause.
func TestLingersAfterFailure(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	b.Down()
	w.remove("a")
	before := w.content()
	must(t, w.store.Close())
	_, _ = w.e.SetSubscription(t.Context(), "b", map[string]string{"poll": "5m"}, false)
	must(t, w.e.do(t.Context(), func() {
		w.e.o.PromotionLimit = 1
		w.e.wakeForLingers()
	}))
	for range 500 {
		must(t, w.e.Alive(t.Context()))
	}
	tries := 0
	for _, task := range w.tasks() {
		if task.What == "promotion" {
			tries++
		}
	}
	if now := w.content(); tries > 0 || !maps.Equal(now, before) {
		t.Errorf("%d tasks of promotions: %s", tries, differences(before, now))
	}
	w.restartAfterFailure()
}

// R27, R32: what is kept warm goes on to be so when its claim is renamed onto another queue:
// a subtree that moves at its source moves with all that is below it.
func TestRenameWhatWaits(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF+"\n"+subtree("ou=x,o=Source", "x", 20)))
	c := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w.add("c", "cn=There", w.source(c, suffix))
	w.awaitLive("cn=There")
	w.set("b", map[string]string{"keep_warm": "true"})
	await(t, "it is warm", func() bool { return w.name(name).Queue[0].State == "live" })
	w.rename(name, "cn=There", "b")
	await(t, "it is warm there", func() bool { return w.name("cn=There").Queue[0].State == "live" })
	must(t, b.Rename("ou=x,"+otherSuffix, "ou=y,ou=a,"+otherSuffix))
	must(t, b.Delete("cn=19,cn=10,ou=y,ou=a,"+otherSuffix))
	await(t, "the changes", func() bool { return w.name("cn=There").Queue[0].Entries == 3+20 })
	w.checkAside()
	w.switchTo("cn=There", "b")
	there := "cn=There," + baseDN
	await(t, "what the source has", func() bool {
		return maps.Equal(withoutUUIDs(w.below(there)), withoutUUIDs(w.upstreamContent(b, otherSuffix, there)))
	})
	w.check()
	w.checkStored()
	w.checkAside()
	w.restart()
}

// R28, R29: a candidate that gives no entry is refused, in words; by force the name is empty then. A name that
// shows nothing but glue loses nothing by a switch.
func TestSwitchToNothing(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	w.set("b", map[string]string{"filter": "(cn=nobody)"})
	w.refusedSwitch(name, "b", "gives no entry, and all 3 would go")
	out, err := w.e.Switch(WithActor(inTime(t), Actor{Who: "test", Why: "so be it"}), name, "b", true, 0, false)
	must(t, err)
	if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "is empty until it does") || len(w.content()) != 0 {
		t.Errorf("%+v: %v", out, w.content())
	}
	w.checkAside()
	w.remove("a")
	w.set("b", map[string]string{"filter": ""})
	w.awaitSame(b, otherSuffix)
	inner := w.inner("inner", "cn=in,cn=Over")
	w.add("gone", "cn=Over", w.source(b, "o=Nowhere"))
	w.add("c", "cn=Over", w.source(b, otherSuffix))
	d, err := w.e.QueueDiff(inTime(t), "cn=Over", "c")
	must(t, err)
	if d.Added != 3 || d.Changed+d.Removed+d.Same != 0 {
		t.Errorf("%+v", d)
	}
	inner.Down()
	w.switchTo("cn=Over", "c")
	w.check()
	w.checkAside()
	w.restart()
}

// R41: a UUID that an entry took over stays that entry's, though it is gone: another one of the
// same source that comes with it gets one of its own, and is followed.
func TestTakenOverUUID(t *testing.T) {
	entry := func(cn, base string, id int) string {
		return fmt.Sprintf("\ndn: cn=%s,%s\nobjectClass: organizationalRole\ncn: %s\nentryUUID: %s\n", cn, base, cn, testUUID(id))
	}
	w, _, b := rivals(t, sourceLDIF+entry("x", suffix, 1), mirror(sourceLDIF)+entry("x", otherSuffix, 2))
	w.switchTo(name, "b")
	if id := w.uuid("cn=x," + name); id != testUUID(1) {
		t.Errorf("it is served as %s", id)
	}
	w.awaitLive(name)
	must(t, b.Delete("cn=x,"+otherSuffix))
	must(t, b.Add(entry("y", otherSuffix, 1)))
	w.awaitSame(b, otherSuffix)
	id := w.uuid("cn=y," + name)
	must(t, b.Modify("cn=y,"+otherSuffix, "description", "followed"))
	w.awaitSame(b, otherSuffix)
	if now := w.uuid("cn=y," + name); now != id {
		t.Errorf("it was served as %s, and is as %s", id, now)
	}
	w.restart()
	w.awaitLive(name)
	must(t, b.Delete("cn=y,"+otherSuffix))
	w.awaitSame(b, otherSuffix)
	w.check()
	w.checkAside()
}

// R41: what another claim's content took the place of has no UUID of its own any more, over a restart
// too: an entry that both sources have under one UUID is served under that.
func TestUUIDsOfWhatWaits(t *testing.T) {
	entry := fmt.Sprintf("\ndn: cn=x,%s\nobjectClass: organizationalRole\ncn: x\nentryUUID: %s\n", suffix, testUUID(1))
	a := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + entry})
	b := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("a", "cn=Here", w.source(a, suffix))
	w.awaitEqual(a, suffix, name)
	w.add("b", "cn=Here", w.source(b, suffix))
	w.switchTo(name, "b")
	w.restart()
	must(t, b.Add(entry))
	w.awaitSame(b, suffix)
	if id := w.uuid("cn=x," + name); id != testUUID(1) {
		t.Errorf("it is served as %s", id)
	}
	w.checkAside()
}

// R27, R7: a succession in which the name is written otherwise leaves entries of names inside as they were.
func TestSuccessionRespells(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	w.inner("inner", "cn=in,ou=a,cn=Here")
	w.set("b", map[string]string{"name": "CN=HERE"})
	below := uuidsOf(w.e.Version())
	from := w.e.Version().CSN()
	w.switchTo(name, "b")
	top := "CN=HERE," + baseDN
	for dn, id := range uuidsOf(w.e.Version()) {
		if was := below[strings.Replace(dn, "CN=HERE", "cn=Here", 1)]; was != id {
			t.Errorf("%s is served as %s, and was as %s", dn, id, was)
		}
	}
	for _, c := range w.changes(from) {
		if v := w.e.Version(); v.ByUUID(c.UUID) != 0 && v.Row(v.ByUUID(c.UUID)).Claim == 3 {
			t.Errorf("%+v tells of a name inside", c)
		}
	}
	w.checkChanges(from)
	w.checkAside()
	w.restart()
	w.awaitLive(top)
	must(t, b.Modify("ou=a,"+otherSuffix, "description", "followed"))
	w.awaitValues("ou=a,"+top, "description", "followed")
}

// R28, R36: a candidate whose refresh is held is refused with that, and by force shows what was fetched before.
func TestSwitchToHeld(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF+"\n"+subtree("ou=x,o=Source", "x", 40)))
	w.guard, w.look = &DefaultGuard, time.Hour
	w.restart()
	_, err := w.e.QueueDiff(inTime(t), name, "b")
	must(t, err)
	for i := range 30 {
		if i%10 != 0 {
			must(t, b.Delete(fmt.Sprintf("cn=%d,cn=%d,ou=x,%s", i, i/10*10, otherSuffix)))
		}
	}
	for _, warm := range []string{"false", "true"} {
		w.set("b", map[string]string{"keep_warm": warm})
		w.refusedSwitch(name, "b", "is held")
	}
	await(t, "the link says so", func() bool { return w.name(name).Queue[0].State == string(upstream.Held) })
	w.refusedSwitch(name, "b", "is held")
	_, err = w.e.Switch(WithActor(inTime(t), Actor{Who: "test", Why: "as it was"}), name, "b", true, 0, false)
	must(t, err)
	if n := w.name(name); n.Head.Claim != "b" || n.Entries != 3+41 {
		t.Errorf("%+v", n)
	}
	w.check()
	w.checkStored()
	w.checkAside()
}

// R28, R56: a switch that is decided and cannot be shown says so, and the next start shows it.
func TestSwitchThatDoesNotShow(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF+"\n"+subtree("ou=x,o=Source", "x", 3)))
	_, err := w.e.QueueDiff(inTime(t), name, "b")
	must(t, err)
	before := w.content()
	var out *Switched
	must(t, w.e.do(t.Context(), func() {
		dn, err := dit.ParseDN(w.schema, name)
		must(t, err)
		w.e.claims["b"].taken.Base = "no DN"
		out = &Switched{DN: name, Claim: "b", From: "a"}
		must(t, w.e.enactSwitch(dn, w.e.state.Revision(dn.Norm()), nil, false, out, nil))
	}))
	if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "not shown yet") || !maps.Equal(w.content(), before) {
		t.Errorf("%+v: %s", out, differences(before, w.content()))
	}
	w.close()
	w.open()
	w.awaitSame(b, otherSuffix)
	w.checkStored()
}
