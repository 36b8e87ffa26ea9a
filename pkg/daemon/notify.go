package daemon

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Notify tells a service manager how the daemon is doing, as sd_notify(3) has
// it: one datagram for each message, to the socket of $NOTIFY_SOCKET. The zero
// value and nil tell nobody.
type Notify struct {
	socket   string        // a path, or "@" and an abstract name
	watchdog time.Duration // the manager restarts who is silent for so long; 0: it does not
}

// NotifyFrom reads the environment that a service manager sets, by os.Getenv;
// pid is this process's. What is malformed there is an error: the manager would
// wait in vain.
func NotifyFrom(getenv func(string) string, pid int) (*Notify, error) {
	n := &Notify{socket: getenv("NOTIFY_SOCKET")}
	if n.socket != "" && n.socket[0] != '/' && n.socket[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET=%s: a path or an abstract name with @ is spoken to", n.socket)
	}
	usec := getenv("WATCHDOG_USEC")
	if whose := getenv("WATCHDOG_PID"); usec == "" || whose != "" && whose != strconv.Itoa(pid) {
		return n, nil
	}
	v, err := strconv.ParseUint(usec, 10, 62)
	if err != nil || v == 0 || v > uint64(1<<62/time.Microsecond) {
		return nil, fmt.Errorf("WATCHDOG_USEC=%s: a number of microseconds is expected", usec)
	}
	n.watchdog = time.Duration(v) * time.Microsecond
	return n, nil
}

// notifyPatience bounds how long a manager that does not read may hold us up.
const notifyPatience = 5 * time.Second

// send tells the manager some lines, each VARIABLE=value.
func (n *Notify) send(lines ...string) error {
	if n == nil || n.socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", n.socket)
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(notifyPatience)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// status is the line of `systemctl status`: one line, whatever the words are.
func status(words string) string {
	return "STATUS=" + strings.Join(strings.FieldsFunc(words, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// reloading is the message before a reload: the manager tells by the clock
// whether a READY=1 is of before it.
func reloading() (string, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return "", fmt.Errorf("monotonic clock: %w", err)
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000), nil
}

// tell sends lines and logs a failure: nothing else is to be done about it.
func (d *Daemon) tell(lines ...string) {
	if err := d.notify.send(lines...); err != nil {
		d.log.Warn("service manager not told", "error", err)
	}
}

// watch tells the manager that the daemon lives, twice within the time that it
// allows, for as long as the writer answers.
func (d *Daemon) watch(ctx context.Context, alive func(context.Context) error) {
	every := d.notify.watchdog / 2
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, every)
		err := alive(asked)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.log.Error("the writer does not answer; the service manager is not told that all is well", "error", err)
		default:
			d.tell("WATCHDOG=1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
