package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loading answers as a daemon does whose new source never comes to an end.
func loading(t *testing.T) (socket string) {
	t.Helper()
	mux := http.NewServeMux()
	for route, text := range map[string]string{
		"POST /api/v1/subscriptions":           `{"subscription":{"id":"suse","kind":"tree"},"claim":"suse","name":"cn=SuSe"}`,
		"GET /api/v1/subscriptions/suse/state": `{"state":"refreshing","refresh_entries":7}`,
	} {
		mux.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return socket
}

// On a terminal a first refresh is watched, and Ctrl-C ends the watching alone.
func TestWatchOnTerminal(t *testing.T) {
	args := []string{"subscription", "add", "suse", "--name", "cn=SuSe", "--url", "ldap://h/o=x", "--socket", loading(t)}
	tty := onTerminal(t, args...)
	tty.until("\rsuse: refreshing, 7 entries\x1b[K")
	tty.types("\x03")
	tty.until("not watched any longer; the subscription stays: shaft subscription show suse")
	if code := tty.ends(); code != 0 {
		t.Errorf("exit %d: %q", code, tty.seen.String())
	}
	// A pipe is not written to again and again.
	out, err := program(t, args...).Output()
	if err != nil || strings.Contains(string(out), "\x1b") || strings.Contains(string(out), "refreshing") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestIsTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(file) {
		t.Error("a file is taken for a terminal")
	}
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	tty := os.NewFile(uintptr(fd), "ptmx")
	defer tty.Close()
	if !isTerminal(tty) {
		t.Error("a terminal is not seen")
	}
}
