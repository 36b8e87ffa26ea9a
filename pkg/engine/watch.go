package engine

import (
	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// Changed gives a channel that is closed as soon as a version newer than the one
// that Version gives after the call is published. Any number of followers may
// wait for it: publishing costs the writer one close, whoever is slow.
func (e *Engine) Changed() <-chan struct{} { return *e.changed.Load() }

// announce wakes who waits for a version.
func (e *Engine) announce() {
	next := make(chan struct{})
	if last := e.changed.Swap(&next); last != nil {
		close(*last)
	}
}

// Changes reads the durable change log after a CSN, in order: Kind, the row's
// UUID and CSN, OldDN. It may hold lines of a version that is not published yet.
// ok is false, and nothing was read, when it does not reach back that far.
func (e *Engine) Changes(after dit.CSN, fn func(tree.Change) error) (ok bool, err error) {
	return e.store.Changes(after, func(c store.Change) error {
		return fn(tree.Change{Kind: tree.ChangeKind(c.Kind), Row: tree.Row{UUID: c.UUID, CSN: c.CSN}, OldDN: c.DN})
	})
}
