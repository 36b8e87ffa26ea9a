package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Content of a claim that waits can be fetched and followed aside (R28, R32): the
// claim's own name then counts as one that hides all of it, so that the same
// refreshes and changes go to the store and not to the tree. What a head brings
// while its name still shows another claim's content (R28, R30) is fetched in the same
// way, and takes that one's place when it is complete: see succeed.

// isOffstage tells whether a claim's content goes to the store alone.
func (e *Engine) isOffstage(cl *claim) bool {
	norm := cl.name.Norm()
	if at := e.placed[norm]; at != nil {
		return at != cl
	}
	n := e.state.Names[norm]
	return n == nil || n.Head() != cl.id
}

// isFollowed tells whether a claim is followed in full: a head, one that is kept warm, and
// one of which somebody awaits the content.
func (e *Engine) isFollowed(cl *claim, qc *queue.Claim) bool {
	return e.state.Names[qc.Norm].Head() == cl.id || cl.sub.KeepWarm || len(cl.awaited) > 0
}

func unservedRecord(number uint32) string {
	return recordUnserved + strconv.FormatUint(uint64(number), 10)
}

// asideRecords are what a refresh that is complete says of content that goes to the store:
// it was never served, if it is the first, and a head's does not stand in its place yet.
func (e *Engine) asideRecords(cl *claim) (records []store.Record) {
	if !e.isOffstage(cl) {
		return nil
	}
	if cl.gen == 0 {
		records = append(records, store.Record{Name: unservedRecord(cl.number), Value: []byte{1}})
	}
	if n := e.state.Names[cl.name.Norm()]; n != nil && n.Head() == cl.id {
		records = append(records, store.Record{Name: shownRecord(cl.number), Value: []byte{}})
	}
	return records
}

// arrived does what follows from a refresh that is complete and durable.
func (e *Engine) arrived(cl *claim, aside, first bool) {
	if !aside {
		delete(e.emptied, cl.name.Norm())
	} else if cl.unserved = cl.unserved || first; e.isMisplaced(cl) {
		e.resettle([]*claim{cl})
	}
	cl.fetched(nil)
}

// loadUnserved reads which claims' content was never served.
func (e *Engine) loadUnserved() error {
	var stale []store.Record
	err := e.store.Records(recordUnserved, func(name string, _ []byte) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(name, recordUnserved), 10, 32)
		if cl := e.byNum[uint32(n)]; err == nil && cl != nil {
			cl.unserved = true
		} else {
			stale = append(stale, store.Record{Name: strings.Clone(name)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.writeLater(stale)
}

// fetched tells those who await a claim's content how it went.
func (c *claim) fetched(err error) {
	for _, ch := range c.awaited {
		ch <- err
	}
	c.awaited = nil
}

var errNotWaiting = errors.New("the claim went from the queue, or came to be its head, while its content was fetched")

// fetchAside waits until a waiting claim's full content is in the store, as its server has it
// now. t gets the progress. It is for the goroutine of a command, not the engine's.
func (e *Engine) fetchAside(ctx context.Context, id queue.ClaimID, t *task) error {
	done := make(chan error, 1)
	var cl *claim
	err := e.do(ctx, func() {
		cl = e.claims[id]
		if cl == nil || e.failed != nil {
			done <- e.failed
			return
		}
		if h := e.holdOf(string(id)); h != nil && h.busy {
			done <- refusal(queue.KindStale, "what is held of %s is being approved just now: look again when that is done", id)
			return
		}
		if cl.feed != nil && cl.current().State == upstream.Live && cl.gen > 0 && !cl.damaged {
			t.step(e.o.Now(), "fetch", true, "its content is kept warm and up to date")
			done <- nil
			return
		}
		cl.awaited = append(cl.awaited, done)
		if s := cl.current().State; cl.feed == nil || s != upstream.Connecting && s != upstream.Refreshing {
			e.unfollow(cl) // asked at once, and not when a pause is over; what a probe found is past
		}
		e.engage(id)
	})
	if err != nil {
		return err
	}
	select {
	case err = <-done:
	case <-e.done:
		err = ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if cl == nil {
		return notFound("claim", string(id))
	}
	doErr := e.do(context.WithoutCancel(ctx), func() {
		cl.awaited = slices.DeleteFunc(cl.awaited, func(ch chan<- error) bool { return ch == done })
		if e.claims[id] == cl {
			e.engage(id)
		}
		if err != nil {
			t.step(e.o.Now(), "fetch", false, err.Error())
		} else if cl.gen > 0 {
			t.step(e.o.Now(), "fetch", true, fmt.Sprintf("%d entries are here", len(cl.hidden)))
		}
	})
	if err == nil {
		err = doErr
	}
	return err
}
