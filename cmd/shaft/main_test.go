package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ldapd"
	"shaft/pkg/operator"

	"shaft/internal/ldaptest"
)

// asMain has the test binary be the program.
const asMain = "SHAFT_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// program prepares one run of the program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	// The race detector would have it linger for a second at its end.
	cmd.Env = append(os.Environ(), asMain+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// shaft runs the program to its end.
func shaft(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := program(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shaft.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Exit codes and what is said where: 0 done, 1 refused, 2 wrong usage.
func TestCommands(t *testing.T) {
	t.Setenv("SHAFT_SOCKET", "/nonexistent/control.sock")
	good := writeConfig(t, "base_dn: ou=Package Listers\n")
	bad := writeConfig(t, "base_dn: nonsense\n\nlog: { level: loud }\ncolour: red\n")
	for _, c := range []struct {
		args        []string
		code        int
		out, errout string
	}{
		{[]string{"version"}, 0, "shaft ", ""},
		{[]string{"--version"}, 0, "shaft ", ""},
		{[]string{"version", "2"}, 2, "", `"2" is one argument too many`},
		{[]string{"help"}, 0, "shaft serve --config FILE", ""},
		{[]string{"--help"}, 0, "shaft subscription add ID", ""},
		{nil, 2, "", "shaft serve --config FILE"},
		{[]string{"check", "--config", good}, 0, `base DN "ou=Package Listers"`, ""},
		{[]string{"check", "--config", bad}, 1, "", bad + ":1:10: DN \"nonsense\": column"},
		{[]string{"check", "--config", bad}, 1, "", "\n" + bad + ":3:15: log level \"loud\""},
		{[]string{"check", "--config", bad}, 1, "", "\n" + bad + ":4:1: the configuration has no key \"colour\"\n"},
		{[]string{"check", "--config", "/nonexistent.yaml"}, 1, "", "shaft: configuration: open /nonexistent.yaml: no such file"},
		{[]string{"check", "--config"}, 2, "", "a value is needed behind --config"},
		{[]string{"check", "--help"}, 0, "--config string  configuration file (default /etc/shaft/shaft.yaml)", ""},
		{[]string{"check", good}, 2, "", "one argument too many"},
		{[]string{"serve", "--config", bad}, 1, "", bad + ":1:10: "},
		{[]string{"serve", "--configuration", good}, 2, "", "there is no flag --configuration"},
		{[]string{"serve", "now"}, 2, "", `"now" is one argument too many`},
		{[]string{"demo", "--twice"}, 2, "", "there is no flag --twice"},
		{[]string{"restore"}, 2, "", "wrong usage: shaft restore FILE"},
		{[]string{"restore", "a", "b", "--config", good}, 2, "", `"b" is one argument too many`},
		{[]string{"restore", "--config", good}, 2, "", "wrong usage: shaft restore FILE"},
		{[]string{"restore", "/nonexistent.backup", "--config", good}, 1, "", "shaft: open /nonexistent.backup: no such file"},
		{[]string{"restore", good, "--config", bad}, 1, "", bad + ":1:10: "},
		{[]string{"restore", "--help"}, 0, "--force", ""},
		{[]string{"backup", "/nonexistent/dir/file"}, 1, "", "no such file or directory"},
		{[]string{"passwd", "secret"}, 2, "", "one argument too many"},
		{[]string{"frobnicate"}, 2, "", "there is no command \"frobnicate\""},
		{[]string{"status"}, 1, "", "no daemon answers at /nonexistent/control.sock"},
	} {
		code, out, errs := shaft(t, "", c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains("\n"+errs, c.errout) {
			t.Errorf("shaft %q: exit %d, want %d\nstdout %q\nstderr %q", c.args, code, c.code, out, errs)
		}
		if (c.out == "") != (out == "") || (c.errout == "") != (errs == "") {
			t.Errorf("shaft %q: stdout %q, stderr %q", c.args, out, errs)
		}
	}
}

// R54, R10: passwd hashes the first line of what is piped in.
func TestPasswdPipe(t *testing.T) {
	seen := map[string]bool{}
	for _, in := range []string{"secret\n", "secret", "secret\r\n", "secret\nmore\n"} {
		code, out, errs := shaft(t, in, "passwd")
		hash := strings.TrimSuffix(out, "\n")
		if code != operator.ExitDone || errs != "" || ldapd.CheckHash(hash) != nil || seen[hash] {
			t.Errorf("%q: exit %d, %q, %q", in, code, out, errs)
		}
		seen[hash] = true
	}
	for in, want := range map[string]string{"": "empty", "\n": "empty", "\r\n": "empty", strings.Repeat("x", 5000): "longer than 4096 bytes"} {
		if code, out, errs := shaft(t, in, "passwd"); code != operator.ExitRefused || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%.10q: exit %d, %q, %q", in, code, out, errs)
		}
	}
	cmd := program(t, "passwd") // an endless file
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	cmd.Stdin = zero
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "longer than") {
		t.Errorf("%v: %.100q", err, out)
	}
}

// served starts the daemon and waits until it answers over LDAP.
func served(t *testing.T, more string) (cmd *exec.Cmd, address, dir string, log *bytes.Buffer) {
	t.Helper()
	address = ldaptest.FreeAddress(t)
	config := writeConfig(t, fmt.Sprintf("base_dn: o=x\ndata_dir: data\nlisten: [ 'ldap://%s' ]\n%s", address, more))
	cmd, dir = program(t, "serve", "--config", config), filepath.Dir(config)
	log = new(bytes.Buffer)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	one := make([]byte, 1)
	for !strings.Contains(log.String(), "serving") || log.Bytes()[log.Len()-1] != '\n' {
		if _, err := pipe.Read(one); err != nil {
			t.Fatalf("the daemon ended: %v\n%s", err, log)
		}
		log.Write(one)
	}
	go io.Copy(io.Discard, pipe) // ends with the program
	return cmd, address, dir, log
}

// SIGTERM and SIGINT end the daemon with 0, within a second; who is connected
// over LDAP is told (RFC 4511 section 4.4.1).
func TestServeEnds(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd, address, _, log := served(t, "log: { format: json }\n")
		if !strings.Contains(log.String(), `"msg":"serving"`) {
			t.Errorf("the log is not JSON: %s", log)
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		busy, err := ldap.DialURL("ldap://" + address)
		if err != nil {
			t.Fatal(err)
		}
		defer busy.Close()
		if _, err := busy.Search(ldap.NewSearchRequest("o=x", ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil)); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		notice, err := io.ReadAll(c)
		if err != nil || !bytes.Contains(notice, []byte("1.3.6.1.4.1.1466.20036")) {
			t.Errorf("%v: the client got %q, %v", sig, notice, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%v: it took %v", sig, took)
		}
	}
}

// A second signal does not wait for what the first one drains: here a control
// connection that says nothing.
func TestSecondSignal(t *testing.T) {
	cmd, address, dir, _ := served(t, "")
	mute, err := net.Dial("unix", filepath.Join(dir, "data", "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) { // a notice, or the end: it is stopping
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	again := time.NewTicker(10 * time.Millisecond) // like someone impatient
	defer again.Stop()
	for waiting := true; waiting; {
		select {
		case <-ended:
			waiting = false
		case <-again.C:
			cmd.Process.Signal(syscall.SIGTERM) // an error: it has just ended
		}
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}

// R55: what a service manager set is to be understood before anything starts.
func TestServeUnderUnknownManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "vsock:2:9999")
	config := writeConfig(t, "data_dir: data\nlisten: []\n")
	code, _, errs := shaft(t, "", "serve", "--config", config)
	if _, err := os.Stat(filepath.Join(filepath.Dir(config), "data")); code != operator.ExitRefused || !strings.Contains(errs, "NOTIFY_SOCKET=vsock:2:9999") || err == nil {
		t.Errorf("exit %d, data directory %v\n%s", code, err, errs)
	}
}

// A port in use keeps the daemon from starting, with 1 and the address.
func TestServeRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config := writeConfig(t, fmt.Sprintf("data_dir: data\nlisten: [ 'ldap://%s' ]\n", l.Addr()))
	code, out, errs := shaft(t, "", "serve", "--config", config)
	if code != operator.ExitRefused || out != "" || !strings.Contains(errs, l.Addr().String()) || !strings.Contains(errs, "address already in use") {
		t.Errorf("exit %d, %q\n%s", code, out, errs)
	}
}
