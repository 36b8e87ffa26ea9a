package daemon

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

// R47: who changes something is known by the kernel's word, not by the client's.
func TestPeer(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("uid %d over the control socket", os.Getuid())
	if u, err := user.Current(); err == nil {
		want = fmt.Sprintf("uid %d (%s) over the control socket", os.Getuid(), u.Username)
	}
	if got := peer(server)(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	server.Close()
	if got := peer(server)(); got != "someone over the control socket" {
		t.Errorf("of a closed connection: %q", got)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if got := peer(a)(); got != "someone over the control socket" {
		t.Errorf("of no socket: %q", got)
	}
}
