package engine

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
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
