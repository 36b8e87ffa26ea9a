package ldapd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

const (
	// firstBuffer holds most requests; it grows only as octets arrive.
	firstBuffer = 4 << 10
	// keepInput is the largest input buffer that is kept for the next request.
	keepInput = 64 << 10
	// lingerTime and lingerBytes bound the wait for a client to read the notice
	// of disconnection: closing at once, with input unread, would reset the
	// connection and take the notice with it.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
	// shutdownWrite is the write timeout of a connection being shut down.
	shutdownWrite = 2 * time.Second
)

// conn is one connection. Fields without a word on it belong to its reader.
type conn struct {
	srv *Server
	raw net.Conn // the socket, for deadlines and a close from anywhere
	nc  net.Conn // what is read: the socket, or TLS around it
	via scheme
	log *slog.Logger
	w   *writer

	number  uint64
	began   time.Time
	meter   meter
	trace   trace
	boundAs atomic.Pointer[string] // whom it is bound as, for whoever looks on; nil: anonymous

	peer    netip.AddrPort // the client's, as a balancer has it; zero for a unix socket
	cred    *syscall.Ucred // of a unix socket's client
	tls     *tls.Conn      // nil: in the clear
	subject string         // DN of the client's verified certificate; "": none
	mute    bool           // TLS is to come: nothing may be said in the clear
	origin  origin         // what it is counted under, once it is counted
	counted bool

	in         []byte // input; [r:n] is not used up yet
	r, n       int
	begun      time.Time // when the first octet of an unfinished message was seen
	flushed    bool      // nothing was sent since the last flush
	deadline   bool      // a read deadline is set
	shutting   atomic.Bool
	stopping   chan struct{}   // closed when it is
	out        []byte          // a reply being made
	ctl        requestControls // of the request being handled
	x          scratch
	who        *identity // nil: anonymous
	grants     *grants   // of who and subject; nil: to be found
	own        guard     // what guard gives
	dns        *dit.DNParser
	dnsFor     *schema.Schema
	selections selections
	pages      pages // its own lock

	mu      sync.Mutex
	ops     map[int32]*operation // with a goroutine of their own
	running sync.WaitGroup
}

// operation is a request that outlives its reading.
type operation struct {
	id        int32
	follow    bool          // it lasts until it is ended
	cancelled atomic.Bool   // it must end without a word
	stop      chan struct{} // closed with that
	canceller int32         // ID of the cancel that waits for its end (RFC 3909); 0: none; with conn.mu
	answered  bool          // its goroutine has sent the reply
}

// end has the operation end without a word; conn.mu is held.
func (op *operation) end() {
	if !op.cancelled.Swap(true) {
		close(op.stop)
	}
}

func newConn(s *Server, nc net.Conn, via scheme) *conn {
	number := s.nextConn.Add(1)
	c := &conn{
		srv: s, raw: nc, nc: nc, via: via, number: number, began: time.Now(),
		log:     s.opt.Log.With("connection", number, "peer", nc.RemoteAddr().String()),
		peer:    peerAddr(nc),
		flushed: true, stopping: make(chan struct{}),
		ops: map[int32]*operation{},
	}
	c.trace.log, c.trace.conn = s.opt.Log, number
	c.w = newWriter(nc, s.opt.WriteTimeout, &c.trace)
	return c
}

// serve is the connection's goroutine, from the first octet to the close.
func (c *conn) serve() {
	var err error
	defer func() { c.srv.forget(c, err) }()
	defer func() { c.nc.Close() }()
	defer c.running.Wait()
	defer c.abandonAll()
	defer c.recovered("connection")
	c.log.Debug("connection opened")
	if err = c.open(); err == nil {
		err = c.loop()
	}
	var bad *disconnect
	switch {
	case c.shutting.Load():
		c.running.Wait()
		c.disconnect(ldapserver.LDAPResultUnavailable, "the server is shutting down")
	case errors.As(err, &bad):
		c.abandonAll()
		c.disconnect(bad.code, bad.text)
	case err == nil:
		c.w.flush(true)
	}
}

// disconnect is the error that ends a connection with a notice.
type disconnect struct {
	code int
	text string
}

func (d *disconnect) Error() string { return d.text }

func malformed(err error) error {
	return &disconnect{ldapserver.LDAPResultProtocolError, err.Error()}
}

// loop reads and handles messages until the client unbinds (nil) or an error.
func (c *conn) loop() error {
	for {
		frame, err := c.next()
		if err != nil {
			return err
		}
		if done, err := c.handle(frame); done || err != nil {
			return err
		}
	}
}

// next gives the next whole message; it is good until the next call.
func (c *conn) next() ([]byte, error) {
	for {
		need := 0
		if c.r < c.n {
			if ber.Tag(c.in[c.r]) != ber.Sequence {
				return nil, malformed(fmt.Errorf("not an LDAPMessage: it begins with 0x%02x", c.in[c.r]))
			}
			n, err := ber.FrameLen(c.in[c.r:c.n], c.srv.opt.MaxMessage)
			if err != nil {
				return nil, malformed(err)
			}
			if n > 0 && n <= c.n-c.r {
				frame := c.in[c.r : c.r+n]
				c.r += n
				c.begun = time.Time{}
				return frame, nil
			}
			need = n
			if c.begun.IsZero() {
				c.begun = time.Now()
			}
		}
		if err := c.fill(need); err != nil {
			return nil, err
		}
	}
}

// fill reads more input. The buffer doubles when it is full of one message:
// memory follows what has come, never what a header promises.
func (c *conn) fill(need int) error {
	if c.r == c.n {
		c.r, c.n = 0, 0
		if len(c.in) > keepInput {
			c.in = make([]byte, firstBuffer)
		}
	}
	if c.r > 0 && max(c.n, c.r+need) >= len(c.in) {
		c.n = copy(c.in, c.in[c.r:c.n])
		c.r = 0
	}
	if c.n == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	return c.read()
}

// flush has everything that was sent be on its way.
func (c *conn) flush() error {
	if c.flushed {
		return nil
	}
	c.flushed = true
	return c.w.flush(true)
}

// read waits for input, after everything that was sent is on its way.
func (c *conn) read() error {
	if err := c.flush(); err != nil {
		return err
	}
	began := time.Now()
	c.meter.lastRead.Store(began.UnixNano())
	for {
		c.armRead()
		if c.shutting.Load() {
			return errors.New("shutting down")
		}
		c.meter.reading.Store(true)
		n, err := c.nc.Read(c.in[c.n:])
		c.meter.reading.Store(false)
		if n > 0 {
			c.n += n
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.shutting.Load() {
			return err
		}
		c.pages.expire(c.srv.opt.Now())
		if limit := c.srv.opt.RequestTimeout; !c.begun.IsZero() && time.Since(c.begun) >= limit {
			return &disconnect{ldapserver.LDAPResultUnavailable, fmt.Sprintf("a request was not complete within %v", limit)}
		}
		if idle := c.srv.opt.IdleTimeout; idle > 0 && time.Since(began) >= idle && !c.busy() {
			return &disconnect{ldapserver.LDAPResultUnavailable, "idle for too long"}
		}
	}
}

// armRead sets the read deadline when an unfinished request, an idle timeout or
// paged searches, which hold a version of the tree, ask for one.
func (c *conn) armRead() {
	wait := c.srv.opt.IdleTimeout
	if c.pages.any() {
		wait = lowerTime(wait, pageAge)
	}
	if !c.begun.IsZero() {
		left := c.srv.opt.RequestTimeout - time.Since(c.begun)
		wait = lowerTime(wait, max(left, time.Millisecond))
	}
	if wait > 0 {
		c.raw.SetReadDeadline(time.Now().Add(wait))
		c.deadline = true
	} else if c.deadline {
		c.raw.SetReadDeadline(time.Time{})
		c.deadline = false
	}
}

// shutdown makes the reader stop, let what is running end, but for follows, which
// have no end, and say goodbye.
func (c *conn) shutdown() {
	c.mu.Lock()
	for _, op := range c.ops {
		if op.follow {
			op.end()
		}
	}
	c.mu.Unlock()
	if !c.shutting.Swap(true) {
		close(c.stopping)
	}
	c.w.timeout.Store(int64(min(shutdownWrite, c.srv.opt.WriteTimeout)))
	c.raw.SetReadDeadline(time.Unix(1, 0))
}

// cut ends the connection now.
func (c *conn) cut() {
	c.abandonAll()
	c.raw.Close()
}

// disconnect sends a notice of disconnection and waits a moment for the client to close.
func (c *conn) disconnect(code int, text string) {
	if c.mute || c.w.send(appendNotice(nil, code, text), true) != nil || c.w.flush(true) != nil {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.raw.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c.nc, lingerBytes)
}

// start runs fn in a goroutine as an operation that abandon finds; false when
// the connection has as many of its kind as it may have, or one with this ID.
func (c *conn) start(id int32, fn func(*operation), follow bool) (ok bool) {
	op := &operation{id: id, follow: follow, stop: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	alike, most := 0, c.srv.opt.MaxOperations
	if follow {
		most = maxFollows
	}
	for _, other := range c.ops {
		if other.follow == follow {
			alike++
		}
	}
	if alike >= most || c.ops[id] != nil {
		return false
	}
	c.ops[id] = op
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer c.finishCancel(op)
		defer c.recovered("operation")
		defer c.lost(op)
		fn(op)
	}()
	return true
}

// retire frees the operation's place; from here on it cannot be abandoned.
func (c *conn) retire(op *operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ops[op.id] == op {
		delete(c.ops, op.id)
	}
}

func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ops) > 0
}

// abandon ends one operation without a reply; an unknown ID is ignored (RFC 4511 section 4.11).
func (c *conn) abandon(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op := c.ops[id]; op != nil {
		op.end()
	}
}

func (c *conn) abandonAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range c.ops {
		op.end()
	}
}

// recovered ends this connection, and nothing else, when its code panics.
func (c *conn) recovered(what string) {
	if e := recover(); e != nil {
		c.log.Error("panic while serving", "in", what, "panic", fmt.Sprint(e), "stack", string(debug.Stack()))
		c.raw.Close()
	}
}

// unreadable is the end of a request for which values cannot be read back (see tree.ReadError).
var unreadable = result{code: ldapserver.LDAPResultOther, text: "the server cannot read back what it holds"}

// refuse, deferred, ends such a request, and nothing else.
func (c *conn) refuse(req *request, err *error) {
	if lost := tree.AsReadError(recover()); lost != nil {
		c.log.Error("request not answered", "error", lost)
		*err = c.reply(req, unreadable)
	}
}

// lost is refuse for an operation with a goroutine of its own.
func (c *conn) lost(op *operation) {
	lost := tree.AsReadError(recover())
	if lost == nil {
		return
	}
	c.log.Error("search not answered", "error", lost)
	if op.cancelled.Load() {
		return
	}
	c.retire(op)
	op.answered = true
	if c.w.send(appendReply(nil, op.id, tagSearchDone, unreadable, nil, nil), false) == nil {
		c.w.flush(false)
	}
}

// send hands the reply in c.out to the writer.
func (c *conn) send() error {
	c.flushed = false
	return c.w.send(c.out, true)
}

// reply answers a request with a result alone.
func (c *conn) reply(req *request, r result) error {
	c.out = appendReply(c.out[:0], req.id, response(req.op), r, nil, nil)
	return c.send()
}

// parseDN gives the parser holding the DN; good until the next call.
func (c *conn) parseDN(s *schema.Schema, text []byte) (*dit.DNParser, error) {
	if c.dns == nil || c.dnsFor != s {
		c.dns, c.dnsFor = dit.NewDNParser(s), s
	}
	return c.dns, c.dns.Parse(text)
}
