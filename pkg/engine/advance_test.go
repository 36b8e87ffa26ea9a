package engine

import (
	"context"
	"errors"
	"testing"

	"shaft/pkg/tree"
)

// R45: a newer CSN with nothing else changed is published once it is stored: what reads the change log from
// before finds nothing, and a restart knows it.
func TestAdvance(t *testing.T) {
	w := newWorld(t)
	changed, before := w.e.Changed(), w.e.Version()
	same := func() bool {
		now := w.e.Version()
		return now.Len() == before.Len() && now.Row(now.Root()).CSN == before.Row(before.Root()).CSN
	}
	csn, err := w.e.Advance(t.Context())
	if err != nil || csn <= before.CSN() || w.e.Version().CSN() != csn || !same() {
		t.Fatalf("%d after %d, version %d, %v", csn, before.CSN(), w.e.Version().CSN(), err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was woken")
	}
	ok, err := w.e.Changes(before.CSN(), func(c tree.Change) error {
		t.Errorf("a change: %+v", c)
		return nil
	})
	if !ok || err != nil {
		t.Errorf("the change log does not reach back: %t, %v", ok, err)
	}
	w.restart()
	if now := w.e.Version().CSN(); now != csn || !same() {
		t.Errorf("after a restart: %d, not %d", now, csn)
	}
	next, err := w.e.Advance(t.Context())
	if err != nil || next <= csn {
		t.Errorf("%d after %d, %v", next, csn, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.e.Advance(gone); err == nil || w.e.Version().CSN() != next {
		t.Errorf("called off: %v", err)
	}
}

// R45: who has rules replaced waits no longer than it wants to, though the writer, which has begun, hangs.
func TestAdvanceOfAWriterThatHangs(t *testing.T) {
	e := &Engine{cmds: make(chan func()), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-e.cmds
		cancel()
	}()
	if _, err := e.Advance(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
