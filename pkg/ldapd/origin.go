package ldapd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// origin is where a connection comes from, as far as limits count it: an
// address, of IPv6 its network of 64 bits since that is what one client has, or
// the user at the other end of a unix socket.
type origin struct {
	net  netip.Prefix
	user uint32
}

func originOf(peer netip.Addr, cred *syscall.Ucred) origin {
	if cred != nil {
		return origin{user: cred.Uid}
	}
	bits := 64
	if peer.Is4() {
		bits = 32
	}
	prefix, _ := peer.Prefix(bits) // invalid for the address of what is neither TCP nor a socket
	return origin{net: prefix}
}

func (o origin) String() string {
	if o.net.IsValid() {
		return o.net.String()
	}
	return fmt.Sprintf("uid %d", o.user)
}

// admit counts the connection; false when its origin has as many as it may.
func (s *Server) admit(c *conn, o origin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.origins[o] >= s.opt.MaxPerAddress {
		return false
	}
	s.origins[o]++
	c.origin, c.counted = o, true
	return true
}

// release is called with the lock held, when the connection is over.
func (s *Server) release(c *conn) {
	if !c.counted {
		return
	}
	if s.origins[c.origin]--; s.origins[c.origin] == 0 {
		delete(s.origins, c.origin)
	}
}

// peerCred asks the kernel who opened the unix socket's other end; nil for any
// other connection.
func peerCred(nc net.Conn) (*syscall.Ucred, error) {
	unix, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, nil
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *syscall.Ucred
	ctlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	return cred, errors.Join(ctlErr, err)
}

// peerAddr is the address at the other end; the zero one for a unix socket.
func peerAddr(nc net.Conn) netip.AddrPort {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
