package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"syscall"

	"shaft/pkg/operator"
)

// withPeer marks a connection of the control socket with who opened it, as the
// kernel has it (SO_PEERCRED), for the record of what is changed.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return operator.WithPeer(ctx, peer(c))
}

// peer looks at the connection at once. The user's name is looked up when it is
// asked for: that may take long, and must not keep others from connecting.
func peer(c net.Conn) (who func() string) {
	uid, err := peerUID(c)
	if err != nil {
		return func() string { return "someone over the control socket" }
	}
	return func() string {
		if u, err := user.LookupId(uid); err == nil {
			return fmt.Sprintf("uid %s (%s) over the control socket", uid, u.Username)
		}
		return fmt.Sprintf("uid %s over the control socket", uid)
	}
}

func peerUID(c net.Conn) (string, error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return "", errors.New("no unix socket")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return "", err
	}
	var cred *syscall.Ucred
	ctlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(ctlErr, err); err != nil {
		return "", err
	}
	return strconv.FormatUint(uint64(cred.Uid), 10), nil
}
