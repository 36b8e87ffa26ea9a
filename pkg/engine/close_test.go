package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
)

// R15, R33: an engine closes whatever is going on: commands are done or refused with
// ErrClosed, sessions and probes have ended when it returns, and what is stored opens.
func TestCloseWhileBusy(t *testing.T) {
	for round := range 6 {
		before := runtime.NumGoroutine()
		closeWhileBusy(t, 3+7*round)
		await(t, fmt.Sprintf("no more than %d goroutines", before), func() bool { return runtime.NumGoroutine() <= before })
	}
}

func closeWhileBusy(t *testing.T, commands int) {
	start := func(suffix, ldif string) *ldaptest.Server {
		s, err := ldaptest.Start(ldaptest.Options{Suffix: suffix, LDIF: ldif})
		must(t, err)
		return s
	}
	outer, other := start(suffix, sourceLDIF+"\n"+subtree("cn=p,"+suffix, "p", 20)), start("o=Other", otherLDIF)
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(outer, suffix))
	w.awaitLive(name)
	e, src := w.e, w.source(other, "o=Other")
	var done atomic.Int32
	var busy, writing sync.WaitGroup
	for i := range 4 { // names inside, and claims that wait behind one another
		busy.Go(func() {
			id, local := fmt.Sprint("sub", i), fmt.Sprintf("cn=%d,cn=p,cn=Here", i/2)
			for {
				_, err := e.AddSubscription(t.Context(), Subscription{ID: id, Name: local, Source: src}, false)
				if err == nil {
					_, err = e.RemoveSubscription(t.Context(), id, false)
				}
				var refusal *queue.Refusal
				switch {
				case errors.Is(err, ErrClosed):
					return
				case err != nil && !errors.As(err, &refusal):
					t.Errorf("a command failed: %v", err)
					return
				}
				done.Add(1)
			}
		})
	}
	busy.Go(func() {
		for {
			if _, err := e.Status(t.Context()); err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("the status failed: %v", err)
				}
				return
			}
			if _, err := e.Names(t.Context()); err != nil && !errors.Is(err, ErrClosed) {
				t.Errorf("the names failed: %v", err)
			}
		}
	})
	quit := make(chan struct{})
	writing.Go(func() { // refreshes and changes without end
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			default:
			}
			if n%5 == 0 {
				outer.Down()
			}
			err := errors.Join(outer.Modify("ou=a,"+suffix, "description", fmt.Sprint(n)), outer.Rename("cn=p,"+suffix, "cn=q,"+suffix),
				outer.Rename("cn=q,"+suffix, "cn=p,"+suffix), outer.Up())
			if err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	await(t, "some commands", func() bool { return int(done.Load()) >= commands })
	for range 2 {
		busy.Go(e.Close)
	}
	busy.Wait()
	late(t, e, Subscription{ID: "late", Name: "cn=Late", Source: src})
	for id, cl := range e.claims { // nobody else has them any more
		if cl.link != nil {
			t.Errorf("the link of %s runs on", id)
		}
	}
	close(quit)
	writing.Wait()
	w.restart()
	w.check()
	w.checkStored()
	w.close()
	outer.Close()
	other.Close()
}

// late calls everything there is on an engine that is closed.
func late(t *testing.T, e *Engine, sub Subscription) {
	t.Helper()
	ctx := t.Context()
	calls := map[string]func() error{
		"add":           func() error { _, err := e.AddSubscription(ctx, sub, false); return err },
		"dry run":       func() error { _, err := e.AddSubscription(ctx, sub, true); return err },
		"remove":        func() error { _, err := e.RemoveSubscription(ctx, "s", false); return err },
		"check":         func() error { _, err := e.CheckSubscription(ctx, "s"); return err },
		"subscription":  func() error { _, err := e.Subscription(ctx, "s"); return err },
		"subscriptions": func() error { _, err := e.Subscriptions(ctx); return err },
		"names":         func() error { _, err := e.Names(ctx); return err },
		"name":          func() error { _, err := e.Name(ctx, "cn=Here"); return err },
		"status":        func() error { _, err := e.Status(ctx); return err },
	}
	for what, call := range calls {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s on a closed engine: %v", what, err)
		}
	}
	if e.Version() == nil {
		t.Error("a closed engine has no tree")
	}
	e.Close()
}
