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
}

// newGatherer waits on a TCP connection. On TLS there is no waiting: who reads that has to be woken for
// the last byte of a record.
func newGatherer(c net.Conn) gatherer {
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return gatherer{}
	}
	socket, err := conn.SyscallConn()
	if err != nil {
		return gatherer{}
	}
	return gatherer{conn: conn, socket: socket}
}

// await returns when gatherBytes are there, when gatherFor is over, or the connection. What is there is for the
// next read to find.
func (g *gatherer) await() {
	if g.conn == nil || g.filled() || !g.wakeAt(gatherBytes) {
		return
	}
	if g.conn.SetReadDeadline(time.Now().Add(gatherFor)) == nil {
		_ = g.socket.Read(enough)
		_ = g.conn.SetReadDeadline(time.Time{})
	}
	g.wakeAt(1)
}

// enough tells whether gatherBytes can be read.
func enough(fd uintptr) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return err != nil || n >= gatherBytes
}

func (g *gatherer) filled() (yes bool) {
	_ = g.socket.Control(func(fd uintptr) { yes = enough(fd) })
	return yes
}

// wakeAt has the system wake who waits for the socket when so many bytes are there (SO_RCVLOWAT).
func (g *gatherer) wakeAt(bytes int) bool {
	var set error
	err := g.socket.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
	})
	return err == nil && set == nil
}
