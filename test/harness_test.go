// Package test holds what runs the whole of Shaft: the real binary against real
// servers and real clients.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// binary is the shaft that TestMain built.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "shaft-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "shaft")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "shaft/cmd/shaft").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", errors.Join(err, ctx.Err()), out)
			return 1
		}
		return m.Run()
	}())
}

// limit is how long a program may take to its end; none takes seconds on an idle machine.
const limit = time.Minute

// finish runs a program to its end and gives what it prints, but for what goes elsewhere.
// One that takes too long fails the test: ldapsearch and its like wait for ever.
func finish(t *testing.T, cmd *exec.Cmd) (printed string, err error) {
	t.Helper()
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &out
	}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := hurry(cmd.Process)
	err = cmd.Wait()
	if !ended() {
		t.Fatalf("%s: no end within %v\n%s", cmd, limit, &out)
	}
	return out.String(), err
}

// hurry ends a process that takes longer than it may: by SIGQUIT, of which a Go program
// tells where it hangs. The function it gives is to be called at the process's end, and
// tells whether that came by itself.
func hurry(p *os.Process) (ended func() bool) {
	late := new(atomic.Bool)
	quit := time.AfterFunc(limit, func() {
		late.Store(true)
		p.Signal(syscall.SIGQUIT)
	})
	kill := time.AfterFunc(limit+5*time.Second, func() { p.Kill() })
	return func() bool {
		quit.Stop()
		kill.Stop()
		return !late.Load()
	}
}

// shaft is one daemon, a process of its own.
type shaft struct {
	t       *testing.T
	dir     string
	address string // host:port of its LDAP door
	cmd     *exec.Cmd
	log     *journal
	done    chan struct{}
}

// journal is what a daemon logs; it can be read while that runs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newShaft writes a configuration and starts a daemon; extra is more YAML.
func newShaft(t *testing.T, extra string) *shaft {
	t.Helper()
	return newShaftIn(t, t.TempDir(), extra)
}

// newShaftIn is newShaft with all that is the daemon's in dir.
func newShaftIn(t *testing.T, dir, extra string) *shaft {
	t.Helper()
	s := &shaft{t: t, dir: dir, address: ldaptest.FreeAddress(t)}
	config := fmt.Sprintf("data_dir: data\nlisten: [ %q, %q ]\n%s\n", "ldap://"+s.address, s.ldapi(), extra)
	if err := os.WriteFile(s.path("shaft.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() && s.log != nil {
			t.Logf("log of the daemon:\n%s", s.log)
		}
	})
	s.start()
	return s
}

func (s *shaft) path(name string) string { return filepath.Join(s.dir, name) }

// ldapi is the URL of its other LDAP door, a unix socket.
func (s *shaft) ldapi() string { return "ldapi://" + strings.ReplaceAll(s.path("ldapi"), "/", "%2F") }

func (s *shaft) start() {
	s.t.Helper()
	s.log, s.done = &journal{}, make(chan struct{})
	s.cmd = exec.Command(binary, "serve", "--config", s.path("shaft.yaml"))
	s.cmd.Stderr, s.cmd.WaitDelay = s.log, 5*time.Second
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(s.cmd, s.done)
	eventually(s.t, 10*time.Second, "the daemon answers", func() bool {
		select {
		case <-s.done:
			s.t.Fatalf("the daemon ended:\n%s", s.log)
		default:
		}
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9; stop is SIGTERM. Both wait for the end.
func (s *shaft) kill() { s.signal(os.Kill) }
func (s *shaft) stop() { s.signal(os.Interrupt) }

func (s *shaft) signal(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	ended := hurry(s.cmd.Process)
	<-s.done
	if !ended() {
		s.t.Errorf("the daemon did not end within %v of the signal %v:\n%s", limit, sig, s.log)
	}
	s.cmd = nil
}

// try runs a command of the CLI against the daemon.
func (s *shaft) try(args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "SHAFT_SOCKET="+s.path("data/control.sock"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	finish(s.t, cmd)
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (s *shaft) run(args ...string) string {
	s.t.Helper()
	out, errs, code := s.try(args...)
	if code != 0 {
		s.t.Fatalf("shaft %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// name is what scripts read of `shaft name list -o json`.
type name struct {
	DN            string
	Head          link
	LastKnownGood bool `json:"last_known_good"`
	Entries       int
	Queue         []link
	Alarms        []string
	Lingering     *struct{ Claim string }
}

// link is a claim in a name's queue.
type link struct {
	Claim, Subscription, URL, State, Reason string
	Online                                  bool
	LastContact                             string `json:"last_contact"`
	LastChange                              string `json:"last_change"`
	Entries                                 int
}

func (s *shaft) names() map[string]name {
	s.t.Helper()
	var list []name
	if err := json.Unmarshal([]byte(s.run("name", "list", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	names := map[string]name{}
	for _, n := range list {
		names[n.DN] = n
	}
	return names
}

// search runs ldapsearch and gives its LDIF.
func (s *shaft) search(args ...string) string {
	s.t.Helper()
	out, err := s.trySearch(args...)
	if err != nil {
		s.t.Fatalf("ldapsearch %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *shaft) trySearch(args ...string) (string, error) {
	args = append([]string{"-x", "-LLL", "-o", "ldif-wrap=no", "-H", "ldap://" + s.address}, args...)
	return finish(s.t, exec.Command("ldapsearch", args...))
}

// tree is all that is served, but for what the top entry of a name says of its source:
// that is of the moment.
func (s *shaft) tree() string {
	s.t.Helper()
	lines := strings.Split(s.search("-b", base, "*", "+"), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "shaft") }), "\n")
}

// live waits until a name, relative to the base DN, follows its source.
func (s *shaft) live(name string) {
	s.t.Helper()
	eventually(s.t, time.Minute, name+" is live", func() bool {
		n := s.names()[name+","+base]
		return n.Head.State == "live" && n.LastKnownGood
	})
}

// dns lists the DNs below base.
func (s *shaft) dns(base string, args ...string) []string {
	s.t.Helper()
	var dns []string
	for _, line := range strings.Split(s.search(append([]string{"-b", base}, append(args, "1.1")...)...), "\n") {
		if dn, ok := strings.CutPrefix(line, "dn: "); ok {
			dns = append(dns, dn)
		}
	}
	return dns
}

// eventually waits for a condition, asking again every few milliseconds.
func eventually(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
