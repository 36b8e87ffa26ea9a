package upstream

import (
	"fmt"
	"time"

	"shaft/pkg/ber"
)

// frames is the consumer's end of a wire: the messages of the sync search, one
// after the other. It watches over silence while it waits, and only then: as
// long as the sink is busy nothing is expected of the server.
//
// In the refresh each message must come within Patience. After it, a peer that
// is silent for Idle is asked who am I, and must send something within Patience.
type frames struct {
	c    *conn
	o    Options
	live bool // the refresh is over

	cur  *chunk
	next int   // span of cur
	err  error // why there are no more

	asked  bool // who am I is on its way
	answer chan error
}

func newFrames(c *conn, o Options) *frames {
	return &frames{c: c, o: o, answer: make(chan error, 1)}
}

// Next implements syncrepl.Frames.
func (f *frames) Next() ([]byte, error) {
	if f.cur == nil || f.next == len(f.cur.spans) {
		if err := f.advance(); err != nil {
			f.err = err
			return nil, err
		}
	}
	s := f.cur.spans[f.next]
	f.next++
	return f.cur.buf[s.from:s.to:s.to], nil
}

// Buffered implements syncrepl.Frames.
func (f *frames) Buffered() bool {
	return f.cur != nil && f.next < len(f.cur.spans) || len(f.c.wire.full) > 0
}

// advance goes on to the next chunk.
func (f *frames) advance() error {
	if f.cur != nil {
		f.c.wire.release(f.cur)
		f.cur = nil
	}
	var err error
	select {
	case f.cur = <-f.c.wire.full:
	default:
		f.cur, err = f.await()
	}
	f.next = 0
	return err
}

// await waits for the server.
func (f *frames) await() (*chunk, error) {
	w := f.c.wire
	seen := w.reads.Load()
	timer := time.NewTimer(f.limit())
	defer timer.Stop()
	for {
		select {
		case c := <-w.full:
			return c, nil
		case <-w.closed:
			return f.last()
		case <-f.answer:
			f.asked = false
			seen = w.reads.Load()
			timer.Reset(f.limit())
		case <-timer.C:
			if now := w.reads.Load(); f.live && now != seen {
				seen = now
				timer.Reset(f.limit())
				continue
			}
			if !f.live {
				return nil, fmt.Errorf("the server sent no message for %v during the refresh", f.o.Patience)
			}
			if f.asked {
				return nil, fmt.Errorf("the server is silent for %v and does not answer", f.o.Idle+f.o.Patience)
			}
			f.ask()
			timer.Reset(f.limit())
		}
	}
}

// limit is how long the wait that begins now may last.
func (f *frames) limit() time.Duration {
	if f.live && !f.asked {
		return f.o.Idle
	}
	return f.o.Patience
}

// ask sends a who am I (RFC 4532) beside the search. Any answer will do, a
// refusal too; without one the request ends with the connection.
func (f *frames) ask() {
	f.asked = true
	f.c.goes.Go(func() {
		_, err := f.c.ldap.WhoAmI(nil)
		f.answer <- err
	})
}

// last takes what was cut before the connection closed, then says why it did.
func (f *frames) last() (*chunk, error) {
	select {
	case c := <-f.c.wire.full:
		return c, nil
	default:
		return nil, lost(f.c.wire.cause())
	}
}

// abandon ends the sync search (RFC 4511 section 4.11), which has no answer.
// The connection goes on without it: what still comes of it is dropped.
func (f *frames) abandon() error {
	w := f.c.wire
	w.abandoned.Store(true)
	if f.cur != nil {
		w.release(f.cur)
		f.cur = nil
	}
	for len(w.full) > 0 {
		w.release(<-w.full)
	}
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, int64(syncID)+2)
	msg = ber.AppendInt(msg, ber.Tag(0x50), int64(syncID))
	_, err := w.Write(ber.End(msg, mark))
	return err
}
