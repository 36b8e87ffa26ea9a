package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/operator"
)

// controlDrain bounds how long Close waits for the control socket's requests.
// Their contexts end first, so that only a commit under way keeps them.
const controlDrain = 2 * time.Second

// control opens the control socket and serves the operator's API there.
func (d *Daemon) control(cfg *Config, o Options) error {
	l, err := listenControl(cfg.ControlSocket)
	if err != nil {
		return fmt.Errorf("control socket %s: %w", cfg.ControlSocket, err)
	}
	requests, cancel := context.WithCancel(context.Background())
	doors := http.NewServeMux()
	doors.Handle("/", operator.Handler(operated{d.engine, d}, o.Version, o.Log))
	doors.Handle("/metrics", d.metrics)
	srv := &http.Server{
		Handler: doors, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return requests }, ConnContext: withPeer,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	d.onClose(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), controlDrain)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close()
		}
	})
	d.serve(func() error { return srv.Serve(l) })
	return nil
}

// operated is the engine as operators see it, with what the doors know.
type operated struct {
	*engine.Engine
	d *Daemon
}

// Status is the engine's, with the number of followers.
func (o operated) Status(ctx context.Context) (*engine.Status, error) {
	st, err := o.Engine.Status(ctx)
	if door := o.d.door.Load(); door != nil && st != nil {
		st.Followers = door.Followers()
	}
	return st, err
}

// socketMode: whoever may open the socket is admin, so it is for the daemon's
// user alone.
const socketMode = 0o600

// listenControl opens the socket. One that a dead process left behind is
// replaced; one in use, and any other file, stays.
func listenControl(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The mode is set before the socket gets its name: nobody else can open it
	// in between, whatever the umask.
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		ctlErr := raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), socketMode) })
		return errors.Join(err, ctlErr)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("a path of %d bytes is longer than the system allows for a socket", len(path))
	}
	return l, cause(err)
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return cause(err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("a file that is no socket lies there")
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return errors.New("another daemon answers there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return cause(err)
	}
	return cause(os.Remove(path))
}

// cause leaves out operation and path, which the caller tells.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
