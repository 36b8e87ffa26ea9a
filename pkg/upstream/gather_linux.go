package upstream

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gatherer has the reader of a connection woken once for many messages. The zero gatherer waits for nothing.
type gatherer struct {
	conn   *net.TCPConn // nil: there is none
	socket syscall.RawConn
	marked bool // the system wakes us for gatherBytes
}

// newGatherer waits on raw if it is a TCP connection.
func newGatherer(raw net.Conn) gatherer {
	conn, ok := raw.(*net.TCPConn)
	if !ok {
		return gatherer{}
	}
	socket, err := conn.SyscallConn()
	if err != nil {
		return gatherer{}
	}
	return gatherer{conn: conn, socket: socket}
}

// await returns when gatherBytes are there, or gatherFor is over, or the connection; what is there is for
// the next read to find.
func (g *gatherer) await() {
	if g.conn == nil || !g.mark(gatherBytes) || g.conn.SetReadDeadline(time.Now().Add(gatherFor)) != nil {
		return
	}
	_ = g.socket.Read(func(fd uintptr) bool {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		return err != nil || n >= gatherBytes
	})
	_ = g.conn.SetReadDeadline(time.Time{})
}

// rest has the reader woken for every byte again.
func (g *gatherer) rest() {
	if g.marked {
		g.marked = !g.mark(1)
	}
}

// mark has the system wake us for so many bytes (SO_RCVLOWAT).
func (g *gatherer) mark(bytes int) bool {
	if g.marked && bytes > 1 {
		return true
	}
	var set error
	err := g.socket.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
	})
	g.marked = err == nil && set == nil
	return g.marked
}
