package daemon

import (
	"context"
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

func peer(c net.Conn) string {
	const nobody = "someone over the control socket"
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nobody
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nobody
	}
	var cred *syscall.Ucred
	ctlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || ctlErr != nil {
		return nobody
	}
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	if u, err := user.LookupId(uid); err == nil {
		return fmt.Sprintf("uid %s (%s) over the control socket", uid, u.Username)
	}
	return fmt.Sprintf("uid %s over the control socket", uid)
}
