package upstream

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// keepAliveProbes is how many probes go unanswered before the system gives up.
const keepAliveProbes = 3

// watchPeer has the system find a dead peer beside our own questions: by
// keepalive while the connection idles, by TCP_USER_TIMEOUT (RFC 5482) while
// something that was sent is not acknowledged.
func watchPeer(c net.Conn, o Options) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: max(o.Idle, time.Second),
		Interval: max(o.Patience/keepAliveProbes, time.Second), Count: keepAliveProbes,
	})
	if err != nil {
		return err
	}
	socket, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = socket.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((o.Idle + o.Patience).Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}
