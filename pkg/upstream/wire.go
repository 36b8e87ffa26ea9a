package upstream

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/ber"
)

const (
	// syncID is the message ID of the sync search. go-ldap counts its own up
	// from 1 and would need a billion requests on one connection to reach it.
	syncID int32 = 1 << 30

	// chunkSize is what one read takes at most: some 45 entries of 700 bytes,
	// so that system calls cost little, and two of them for an idle link.
	chunkSize = 32 << 10

	// chunkCount bounds what is read ahead of the consumer: one chunk being
	// filled, one consumed, two between them to smooth the hand-over.
	chunkCount = 4
)

var errClosed = errors.New("the connection was closed")

// wire is the connection as go-ldap sees it. Its Read, on go-ldap's reader
// goroutine, cuts the stream into LDAP messages: those of the sync search go to
// the consumer (frames), the others to go-ldap. When the consumer is busy and all
// chunks are full, Read waits, so that TCP slows the server down.
type wire struct {
	net.Conn // the socket, or TLS over it
	raw      net.Conn
	max      int           // largest message
	wait     time.Duration // bounds each write
	contact  func()        // called when octets came

	following atomic.Bool  // the sync search was sent
	abandoned atomic.Bool  // it is not wanted any more: its messages are dropped
	reads     atomic.Int64 // how often octets came

	cur   *chunk
	plain []byte      // what go-ldap has yet to read
	made  int         // chunks that exist
	full  chan *chunk // as many places as chunks: a send never waits
	free  chan *chunk

	once   sync.Once
	closed chan struct{}
	err    error // why, set before closed is
}

// chunk is one buffer of the stream. Octets up to start are messages already
// cut; spans are those of the sync search.
type chunk struct {
	buf        []byte
	start, end int
	spans      []span
}

type span struct{ from, to int }

// newWire wraps conn, whose socket is raw.
func newWire(conn, raw net.Conn, o Options, contact func()) *wire {
	return &wire{
		Conn: conn, raw: raw, max: o.MaxMessage, wait: o.Patience, contact: contact,
		cur: newChunk(), made: 1,
		full: make(chan *chunk, chunkCount), free: make(chan *chunk, chunkCount),
		closed: make(chan struct{}),
	}
}

func newChunk() *chunk { return &chunk{buf: make([]byte, chunkSize)} }

// Read gives go-ldap the messages that are for it.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.plain) == 0 {
		if err := w.fill(); err != nil {
			w.fail(err)
			return 0, err
		}
	}
	n := copy(p, w.plain)
	w.plain = w.plain[n:]
	return n, nil
}

// fill reads once and sorts the messages that are whole then.
func (w *wire) fill() error {
	c := w.cur
	if c.end == len(c.buf) {
		c.grow()
	}
	n, err := w.Conn.Read(c.buf[c.end:])
	if n > 0 {
		c.end += n
		w.reads.Add(1)
		w.contact()
		if err := w.cut(); err != nil {
			return err
		}
	}
	return err
}

// grow makes room for a message larger than the buffer. It doubles with what
// really came, so that a length alone allocates nothing.
func (c *chunk) grow() {
	buf := make([]byte, 2*len(c.buf))
	copy(buf, c.buf[:c.end])
	c.buf = buf
}

// cut takes the whole messages off the current chunk.
func (w *wire) cut() error {
	c := w.cur
	for c.start < c.end {
		rest := c.buf[c.start:c.end]
		if rest[0] != byte(ber.Sequence) {
			return fmt.Errorf("the server sent what is not an LDAP message: it begins with octet %02x", rest[0])
		}
		n, err := ber.FrameLen(rest, w.max)
		if err != nil {
			return fmt.Errorf("the server sent what is not taken as an LDAP message: %w", err)
		}
		if n == 0 || n > len(rest) {
			break
		}
		if err := w.sort(rest[:n], span{c.start, c.start + n}); err != nil {
			return err
		}
		c.start += n
	}
	if len(c.spans) > 0 {
		return w.handOver()
	}
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	return nil
}

// sort decides whose message a frame is.
func (w *wire) sort(frame []byte, at span) error {
	id, op, err := envelope(frame)
	if err != nil {
		return fmt.Errorf("the server sent a malformed LDAP message: %w", err)
	}
	switch {
	case id == int64(syncID):
		if !w.following.Load() {
			return errors.New("the server answered a search before it was sent")
		}
		if !w.abandoned.Load() {
			w.cur.spans = append(w.cur.spans, at)
		}
	case id == 0:
		return unsolicited(op)
	default:
		if err := checkPlain(frame); err != nil {
			return err
		}
		w.plain = append(w.plain, frame...)
	}
	return nil
}

// handOver passes the current chunk on, and goes on in another one with the
// message that is not whole yet. It waits for the consumer when all are in use.
func (w *wire) handOver() error {
	next, err := w.take()
	if err != nil {
		return err
	}
	c := w.cur
	tail := c.buf[c.start:c.end]
	for len(next.buf) < len(tail) {
		next.buf = make([]byte, 2*len(next.buf))
	}
	next.end = copy(next.buf, tail)
	w.cur = next
	w.full <- c
	return nil
}

// take gives an empty chunk.
func (w *wire) take() (*chunk, error) {
	select {
	case c := <-w.free:
		return c, nil
	default:
	}
	if w.made < chunkCount {
		w.made++
		return newChunk(), nil
	}
	select {
	case c := <-w.free:
		return c, nil
	case <-w.closed:
		return nil, errClosed
	}
}

// release gives a chunk back. One that had to grow for a large message shrinks again.
func (w *wire) release(c *chunk) {
	if len(c.buf) > chunkSize {
		c.buf = make([]byte, chunkSize)
	}
	c.start, c.end, c.spans = 0, 0, c.spans[:0]
	w.free <- c
}

// Write sends one message, within the time that an answer may take.
func (w *wire) Write(p []byte) (int, error) {
	if err := w.Conn.SetWriteDeadline(time.Now().Add(w.wait)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// Close shuts the socket; whoever waits for the stream is told.
func (w *wire) Close() error {
	w.fail(errClosed)
	return nil
}

// fail closes the connection because of err; the first reason stays.
func (w *wire) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.closed)
		w.raw.Close()
	})
}

// cause is why the connection is closed, nil while it is not.
func (w *wire) cause() error {
	select {
	case <-w.closed:
		return w.err
	default:
		return nil
	}
}
