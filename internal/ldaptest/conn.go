package ldaptest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"shaft/pkg/ber"
)

const (
	// maxRequest bounds a request; the largest that is sent here is a search.
	maxRequest = 1 << 20
	// maxOps bounds the searches of one connection that run at a time: more than
	// the entries that a list finds in any test.
	maxOps = 4096
	// writePatience is how long a peer may take to read what it asked for.
	writePatience = 30 * time.Second
)

// conn is one connection: its reader answers at once what is short, and starts
// a goroutine for each search.
type conn struct {
	server *Server
	raw    net.Conn // closed by close, whatever is spoken on it
	in     *bufio.Reader
	ctx    context.Context
	cancel context.CancelFunc
	bound  string // DN of the account, "" for anonymous; the reader's own

	writing sync.Mutex
	out     net.Conn // raw, or TLS over it

	mu  sync.Mutex
	ops map[int64]*op
	wg  sync.WaitGroup
}

// op is a running search.
type op struct {
	ctx      context.Context
	cancel   context.CancelFunc
	canceled bool // by Cancel: it ends with 118
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, raw: nc, out: nc, ops: map[int64]*op{}}
	if s.o.LDAPS {
		c.out = tls.Server(nc, s.o.TLS)
	}
	c.in = bufio.NewReader(c.out)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *conn) close() {
	c.cancel()
	c.raw.Close()
}

func (c *conn) serve() {
	defer c.wg.Wait()
	defer c.close()
	for {
		frame, err := c.readFrame()
		if err != nil {
			return
		}
		if c.held() != nil {
			return
		}
		m, err := decodeRequest(frame)
		if err != nil {
			return
		}
		if err := c.dispatch(m); err != nil {
			return
		}
	}
}

func (c *conn) readFrame() ([]byte, error) {
	for n := 2; ; n++ {
		head, err := c.in.Peek(n)
		if err != nil {
			return nil, err
		}
		size, err := ber.FrameLen(head, maxRequest)
		if err != nil {
			return nil, err
		}
		if size > 0 {
			frame := make([]byte, size)
			_, err := io.ReadFull(c.in, frame)
			return frame, err
		}
	}
}

// held waits while the server is stalled.
func (c *conn) held() error {
	for {
		c.server.mu.Lock()
		stalled := c.server.stalled
		c.server.mu.Unlock()
		if stalled == nil {
			return nil
		}
		select {
		case <-stalled:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

func (c *conn) send(frame []byte) error {
	if err := c.held(); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.out.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	_, err := c.out.Write(frame)
	return err
}

// begin registers a search, so that abandon and cancel find it.
func (c *conn) begin(id int64) *op {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ops) >= cmp.Or(c.server.o.MaxSearches, maxOps) || c.ops[id] != nil {
		return nil
	}
	o := &op{}
	o.ctx, o.cancel = context.WithCancel(c.ctx)
	c.ops[id] = o
	return o
}

func (c *conn) end(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[id].cancel()
	delete(c.ops, id)
}

// stop ends a search: silently, or with 118 when it is a Cancel (RFC 3909).
func (c *conn) stop(id int64, cancel bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.ops[id]
	if o == nil {
		return false
	}
	o.canceled = cancel
	o.cancel()
	return true
}

var errStartTLS = errors.New("StartTLS with requests before or behind it")

// startTLS answers, then speaks TLS on the connection.
func (c *conn) startTLS(answer []byte) error {
	c.mu.Lock()
	busy := len(c.ops) > 0
	c.mu.Unlock()
	if busy || c.in.Buffered() > 0 {
		return errStartTLS
	}
	if err := c.send(answer); err != nil {
		return err
	}
	secure := tls.Server(c.raw, c.server.o.TLS)
	if err := secure.HandshakeContext(c.ctx); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = secure
	c.in.Reset(secure)
	return nil
}
