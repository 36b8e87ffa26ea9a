package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is the socket of a service manager.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func manage(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn}
}

// next gives the next datagram.
func (m *manager) next() string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(buf[:n])
}

// environment is what a manager sets.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// R55: what the environment says, and what is refused there.
func TestR55NotifyEnvironment(t *testing.T) {
	for _, c := range []struct {
		env      []string
		socket   string
		watchdog time.Duration
		err      string
	}{
		{nil, "", 0, ""},
		{[]string{"NOTIFY_SOCKET", "/run/systemd/notify"}, "/run/systemd/notify", 0, ""},
		{[]string{"NOTIFY_SOCKET", "@abstract", "WATCHDOG_USEC", "30000000"}, "@abstract", 30 * time.Second, ""},
		{[]string{"WATCHDOG_USEC", "1000", "WATCHDOG_PID", "77"}, "", time.Millisecond, ""},
		{[]string{"WATCHDOG_USEC", "1000", "WATCHDOG_PID", "78"}, "", 0, ""},
		{[]string{"WATCHDOG_USEC", "x", "WATCHDOG_PID", "78"}, "", 0, ""},
		{[]string{"NOTIFY_SOCKET", "vsock:2:1234"}, "", 0, "NOTIFY_SOCKET=vsock:2:1234: a path"},
		{[]string{"WATCHDOG_USEC", "soon"}, "", 0, "WATCHDOG_USEC=soon: a number"},
		{[]string{"WATCHDOG_USEC", "0"}, "", 0, "a number"},
		{[]string{"WATCHDOG_USEC", "-1"}, "", 0, "a number"},
		{[]string{"WATCHDOG_USEC", "9223372036854775"}, "", 0, "a number"},
		{[]string{"WATCHDOG_USEC", "99999999999999999999"}, "", 0, "a number"},
	} {
		n, err := NotifyFrom(environment(c.env...), 77)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v", c.env, err)
			}
			continue
		}
		if err != nil || n.socket != c.socket || n.watchdog != c.watchdog {
			t.Errorf("%q: %+v, %v", c.env, n, err)
		}
	}
}

// R55: a service manager is told when stored content is served, that the writer
// answers, and when it stops; over a path and over an abstract name.
func TestR55Notify(t *testing.T) {
	abstract := "@shaft-" + strconv.Itoa(os.Getpid()) + "-" + filepath.Base(t.TempDir())
	for _, socket := range []string{filepath.Join(t.TempDir(), "notify"), abstract} {
		m := manage(t, socket)
		n, err := NotifyFrom(environment("NOTIFY_SOCKET", socket, "WATCHDOG_USEC", "20000"), os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(t, "")
		d, err := Start(cfg, Options{Notify: n})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got := m.next(); got != "STATUS=reading the store in "+cfg.DataDir {
			t.Errorf("at first %q", got)
		}
		if got := m.next(); got != "READY=1\nSTATUS=serving \""+base+"\" at "+d.Addresses()[0] {
			t.Errorf("then %q", got)
		}
		if _, err := baseEntry(d.Addresses()[0]); err != nil {
			t.Errorf("it is ready, and %v", err)
		}
		for range 3 {
			if got := m.next(); got != "WATCHDOG=1" {
				t.Errorf("while it runs %q", got)
			}
		}
		closed := make(chan struct{})
		go func() { defer close(closed); d.Close() }()
		got := m.next()
		for deadline := time.Now().Add(20 * time.Second); got == "WATCHDOG=1" && time.Now().Before(deadline); {
			got = m.next()
		}
		if got != "STOPPING=1\nSTATUS=finishing what is being answered" {
			t.Errorf("at the end %q", got)
		}
		<-closed
	}
	noneLeft(t)
}

// A start that fails says why, in one line.
func TestR55NotifyRefused(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	m := manage(t, socket)
	cfg := config(t, "")
	cfg.Listen = []string{"ldap://192.0.2.1:0"}
	if _, err := Start(cfg, Options{Notify: &Notify{socket: socket}}); err == nil {
		t.Fatal("it starts")
	}
	m.next()
	if got := m.next(); !strings.HasPrefix(got, "STATUS=it does not start: listen on") || strings.Contains(got, "\n") {
		t.Errorf("told %q", got)
	}
	if got := status("one\ntwo\r\nthree"); got != "STATUS=one; two; three" {
		t.Errorf("status %q", got)
	}
}

// R55: the watchdog is told nothing while the writer does not answer, and all is
// well again when it does.
func TestR55WatchdogOfAStuckWriter(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	m := manage(t, socket)
	var log lockedBuffer
	d := &Daemon{log: slog.New(slog.NewTextHandler(&log, nil)), notify: &Notify{socket: socket, watchdog: 20 * time.Millisecond}}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	d.serve(func() error {
		d.watch(ctx, func(ctx context.Context) error {
			switch calls++; calls {
			case 1, 2: // stuck: only the time ends it
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		return nil
	})
	if got := m.next(); got != "WATCHDOG=1" {
		t.Errorf("told %q", got)
	}
	cancel()
	d.wg.Wait()
	if calls < 3 || strings.Count(log.String(), "the writer does not answer") != 2 {
		t.Errorf("after %d calls it is told that all is well:\n%s", calls, log.String())
	}
}

// A manager that cannot be reached holds nothing up: it is logged.
func TestR55NoManager(t *testing.T) {
	var log lockedBuffer
	cfg := config(t, "")
	d, err := Start(cfg, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Notify: &Notify{socket: filepath.Join(t.TempDir(), "gone")}})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if !strings.Contains(log.String(), "service manager not told") || !strings.Contains(log.String(), "no such file") {
		t.Errorf("the log is %s", log.String())
	}
	var none *Notify
	if err := errors.Join(none.send("READY=1"), (&Notify{}).send("READY=1")); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}
