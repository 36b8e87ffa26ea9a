package test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// cable leads to a server and can be cut: the server itself runs on.
type cable struct {
	address string // host:port to connect to
	to      string

	mu    sync.Mutex
	cut   bool
	brief int64 // how much a connection brings back before it stands still; 0: everything
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{address: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	c.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			c.wg.Go(func() { c.carry(near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.sever()
		c.wg.Wait()
	})
	return c
}

// carry leads one connection through; a cable that is cut ends it at once.
func (c *cable) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !c.hold(near, far) {
		return
	}
	left := make(chan struct{})
	c.wg.Go(func() { defer close(left); io.Copy(far, near); far.Close() })
	c.mu.Lock()
	brief := c.brief
	c.mu.Unlock()
	if brief > 0 {
		io.CopyN(near, far, brief)
		<-left
	} else {
		io.Copy(near, far)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, near)
	delete(c.conns, far)
}

func (c *cable) hold(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		c.conns[conn] = true
	}
	return !c.cut
}

// sever cuts it, and mend makes it whole again.
func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

// stall has each connection from now on bring back so many bytes and no more; 0: all.
func (c *cable) stall(after int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brief = after
}

// reset is sever with a TCP reset to both ends.
func (c *cable) reset() {
	c.mu.Lock()
	for conn := range c.conns {
		conn.(*net.TCPConn).SetLinger(0)
	}
	c.mu.Unlock()
	c.sever()
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}
