package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/ber"
)

const (
	// syncID is the message ID of our first search. go-ldap counts its own up
	// from 1 and would need a billion requests on one connection to reach it, and
	// so should we to come to the end of ours.
	syncID int32 = 1 << 30

	// chunkSize is what one read takes at most: some 45 entries of 700 bytes,
	// so that system calls cost little.
	chunkSize = 32 << 10

	// maxUnwanted bounds the abandons that wait to be sent. A peer that takes none
	// of so many is as good as gone.
	maxUnwanted = 4096
)

var (
	errClosed  = errors.New("the connection was closed")
	errClogged = errors.New("the server takes no more requests")
)

// wire is the connection as go-ldap sees it. Its Read, on go-ldap's reader
// goroutine, cuts the stream into LDAP messages: those of our searches go to
// them, each into a buffer of its own, the others to go-ldap. Where that buffer is
// full Read waits, so that TCP slows the server down; on a connection that is
// shared not for long (search.go).
type wire struct {
	net.Conn // the socket, or TLS over it
	raw      net.Conn
	max      int           // largest message
	wait     time.Duration // bounds each write
	contact  func()        // called when octets came

	shared atomic.Bool  // several links may have searches here
	others func() bool  // whether there is more than one now; set before shared is
	large  atomic.Bool  // one that was alone is amid a large refresh: none is to join it
	reads  atomic.Int64 // how often octets came
	held   atomic.Int64 // how often the reader began, or ended, to wait for a consumer: odd while it does

	// The reader's own.
	buf        []byte
	start, end int    // of what is not cut yet
	plain      []byte // what go-ldap has yet to read
	filled     bool   // the last read took as much as there was room for: there may be more
	pace       pace

	mu       sync.Mutex
	next     int32 // the first message ID that was not given out
	searches map[int32]*search

	unwanted chan int32    // searches to abandon
	fresh    chan struct{} // holds a token when a sync search was begun beside others, or is in its persist stage

	once           sync.Once
	closed         chan struct{}
	err            error // why, set before closed is
	answered, mute int   // sync searches at that time, by whether a message of theirs had come
}

// newWire wraps conn, whose socket is raw.
func newWire(conn, raw net.Conn, o Options, contact func()) *wire {
	return &wire{
		Conn: conn, raw: raw, max: o.MaxMessage, wait: o.Patience, contact: contact,
		buf: make([]byte, chunkSize), next: syncID, searches: map[int32]*search{},
		unwanted: make(chan int32, maxUnwanted), fresh: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

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

// fill reads once and hands on the messages that are whole then.
func (w *wire) fill() error {
	w.makeRoom()
	if w.Conn == w.raw && !w.filled { // a read of TLS gives one record, of what there may be many
		w.putOff(w.pace.pause(time.Now()))
	}
	n, err := w.Conn.Read(w.buf[w.end:])
	w.filled = n == len(w.buf)-w.end
	if n > 0 {
		w.end += n
		w.reads.Add(1)
		w.contact()
		if err := w.cut(); err != nil {
			return err
		}
	}
	return err
}

// putOff waits, unless the connection is closed.
func (w *wire) putOff(d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.closed:
	}
}

// makeRoom moves what is not cut yet to the front. A message larger than the
// buffer makes it grow, by doubling what really came, so that a length alone
// allocates nothing; it shrinks again when that is over.
func (w *wire) makeRoom() {
	rest := w.buf[w.start:w.end]
	switch {
	case len(rest) == len(w.buf):
		w.buf = make([]byte, 2*len(w.buf))
	case len(w.buf) > chunkSize && len(rest) < chunkSize/2:
		w.buf = make([]byte, chunkSize)
	}
	w.start, w.end = 0, copy(w.buf, rest)
}

// cut takes the whole messages off the buffer. Those of one search that follow
// each other are handed over together.
func (w *wire) cut() error {
	var to *search
	from := w.start
	persisted, others, persists := 0, false, false
	for w.start < w.end {
		rest := w.buf[w.start:w.end]
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
		s, err := w.sort(rest[:n])
		if err != nil {
			return err
		}
		if s != to {
			if err := to.deliver(w.buf[from:w.start]); err != nil {
				return err
			}
			to, from = s, w.start
			persists = s != nil && s.persists()
		}
		switch {
		case s == nil:
		case persists:
			persisted++
		default:
			others = true
		}
		w.start += n
	}
	w.pace.came(time.Now(), persisted, others)
	return to.deliver(w.buf[from:w.start])
}

// sort decides whose message a frame is: a search's, or nil for go-ldap's and
// for what nobody wants any more.
func (w *wire) sort(frame []byte) (*search, error) {
	id, op, err := envelope(frame)
	if err != nil {
		return nil, fmt.Errorf("the server sent a malformed LDAP message: %w", err)
	}
	switch {
	case id >= int64(syncID):
		w.mu.Lock()
		defer w.mu.Unlock()
		if id >= int64(w.next) {
			return nil, errors.New("the server answered a search before it was sent")
		}
		s := w.searches[int32(id)]
		if final := op.Peek(); s != nil && (final == tagSearchDone || final == tagExtendedResponse) {
			delete(w.searches, s.id)
		}
		return s, nil
	case id == 0:
		return nil, unsolicited(op)
	}
	if err := checkPlain(frame); err != nil {
		return nil, err
	}
	w.plain = append(w.plain, frame...)
	return nil, nil
}

// begin sends a request that answers come to, one or many: its encoding is asked
// for with the message ID that it gets. A sync search is counted among those
// that the connection carries. When ctx ends while the server takes nothing, that is
// the end of the connection: half a request may have gone out, and nobody is to wait.
func (w *wire) begin(ctx context.Context, sync bool, encode func(id int32) []byte) (*search, error) {
	w.mu.Lock()
	if w.next == math.MaxInt32 {
		w.mu.Unlock()
		err := errors.New("the connection has no message IDs left")
		w.fail(err)
		return nil, err
	}
	s := &search{w: w, id: w.next, sync: sync, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	w.next++
	w.searches[s.id] = s
	beside := sync && len(w.searches) > 1
	w.mu.Unlock()
	sent := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-sent:
		case <-time.After(politeness):
			w.fail(errClogged)
		}
	})
	_, err := w.Write(encode(s.id))
	close(sent)
	stop()
	if err != nil {
		s.end()
		return nil, lost(err)
	}
	if beside && w.shared.Load() {
		signal(w.fresh)
	}
	return s, nil
}

// syncSearches lists the sync searches that have not ended, the oldest first.
func (w *wire) syncSearches() (out []*search) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.searches {
		if s.sync {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *search) int { return cmp.Compare(a.id, b.id) })
	return out
}

// census counts the sync searches that run, by whether a message of theirs came.
func (w *wire) census() (answered, mute int) {
	for _, s := range w.syncSearches() {
		switch heard, given := s.answered(); {
		case given:
		case heard:
			answered++
		default:
			mute++
		}
	}
	return answered, mute
}

// Write sends one message, within the time that an answer may take. One that
// does not go out whole is the end of the connection.
func (w *wire) Write(p []byte) (int, error) {
	err := w.Conn.SetWriteDeadline(time.Now().Add(w.wait))
	n := 0
	if err == nil {
		n, err = w.Conn.Write(p)
	}
	if err != nil {
		w.fail(err)
	}
	return n, err
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
		w.answered, w.mute = w.census()
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

// contended tells whether what one search takes is at the cost of another's link.
func (w *wire) contended() bool { return w.shared.Load() && w.others() }

// signal leaves a token in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
