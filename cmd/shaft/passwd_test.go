package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shaft/pkg/ldapd"
)

// terminal is a pseudo-terminal with the program on its other side.
type terminal struct {
	t      *testing.T
	master *os.File
	fd     int // of the program's side
	cmd    *exec.Cmd
	seen   strings.Builder
}

func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	tty := &terminal{t: t, master: master, cmd: program(t, args...), fd: int(slave.Fd())}
	tty.cmd.Stdin, tty.cmd.Stdout, tty.cmd.Stderr = slave, slave, slave
	tty.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := tty.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return tty
}

// until reads what the program says up to the words.
func (tty *terminal) until(words string) {
	tty.t.Helper()
	if err := tty.master.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		tty.t.Fatal(err)
	}
	buf := make([]byte, 1024)
	for !strings.Contains(tty.seen.String(), words) {
		n, err := tty.master.Read(buf)
		tty.seen.Write(buf[:n])
		if err != nil {
			tty.t.Fatalf("%v, after %q", err, tty.seen.String())
		}
	}
}

func (tty *terminal) types(text string) {
	tty.t.Helper()
	if _, err := tty.master.WriteString(text); err != nil {
		tty.t.Fatal(err)
	}
}

// ends waits for the program and checks that the terminal echoes again.
func (tty *terminal) ends() (code int) {
	tty.t.Helper()
	tty.cmd.Wait() // its state is looked at
	mode, err := unix.IoctlGetTermios(tty.fd, unix.TCGETS)
	if err != nil || mode.Lflag&unix.ECHO == 0 {
		tty.t.Errorf("the terminal does not echo any more: %v", err)
	}
	if strings.Contains(tty.seen.String(), "secret") {
		tty.t.Errorf("the password shows: %q", tty.seen.String())
	}
	return tty.cmd.ProcessState.ExitCode()
}

// R10: on a terminal the password is asked for twice, and never shown.
func TestPasswdTerminal(t *testing.T) {
	tty := onTerminal(t, "passwd")
	tty.until("Password: ")
	tty.types("secret\n")
	tty.until("Again: ")
	tty.types("secret\n")
	tty.until("$argon2id$")
	tty.until("\r\n$")
	if code := tty.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
	_, hash, _ := strings.Cut(tty.seen.String(), "$")
	if err := ldapd.CheckHash("$" + strings.TrimSpace(hash)); err != nil {
		t.Errorf("%v: %q", err, tty.seen.String())
	}
}

func TestPasswdTwoDiffer(t *testing.T) {
	tty := onTerminal(t, "passwd")
	tty.until("Password: ")
	tty.types("secret\n")
	tty.until("Again: ")
	tty.types("Secret\n")
	tty.until("the two passwords differ")
	if code := tty.ends(); code != 1 {
		t.Errorf("exit %d", code)
	}
}

// Ctrl-C ends it at once, with the echo on again.
func TestPasswdInterrupted(t *testing.T) {
	for _, typed := range []string{"", "secret\n"} {
		tty := onTerminal(t, "passwd")
		tty.until("Password: ")
		if typed != "" {
			tty.types(typed)
			tty.until("Again: ")
		}
		tty.types("\x03")
		if code := tty.ends(); code != 1 {
			t.Errorf("exit %d", code)
		}
	}
}
