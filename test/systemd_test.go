package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

const unitFile = "../deploy/systemd/shaft.service"

// unit reads the directives of the shipped unit.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	directives := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			directives[key] = append(directives[key], value)
		}
	}
	return directives
}

// R55: the shipped unit starts the program with arguments that it takes, speaks
// the protocol that it speaks, and is what systemd takes, where that is here.
func TestR55Unit(t *testing.T) {
	u := unit(t)
	for key, want := range map[string]string{
		"Type": "notify", "NotifyAccess": "main", "ExecStart": "/usr/bin/shaft serve --config /etc/shaft/shaft.yaml",
		"ExecReload": "/bin/kill -HUP $MAINPID", "StateDirectory": "shaft", "User": "shaft", "NoNewPrivileges": "yes", "ProtectSystem": "strict",
	} {
		if !slices.Equal(u[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, u[key], want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not here: the unit was read by this test alone")
		return
	}
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "shaft.service")
	if err := os.WriteFile(copied, bytes.ReplaceAll(text, []byte("/usr/bin/shaft"), []byte(binary)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := finish(t, exec.Command(analyze, "verify", copied)); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// R55: the life of the real program under a service manager: ready when stored
// content is served, reloads on SIGHUP, good ones and bad, and stops on SIGTERM.
func TestR55UnderServiceManager(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	s.stop()
	up.Kill()

	socket := s.path("notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	next := func() string {
		t.Helper()
		manager.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 4096)
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	until := func(begin string) string {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; {
			if time.Now().After(deadline) {
				t.Fatalf("in vain: %s", begin)
			}
			if got := next(); strings.HasPrefix(got, begin) {
				return got
			} else if got != "WATCHDOG=1" && !strings.HasPrefix(got, "STATUS=reading the store") {
				t.Fatalf("told %q, waiting for %s", got, begin)
			}
		}
	}
	cmd := exec.Command(binary, "serve", "--config", s.path("shaft.yaml"))
	var log bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &log, 5*time.Second
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=100000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })

	until("READY=1\n")
	if got := s.dns("cn=SuSe," + base); len(got) != 3 { // from the store: the source is down
		t.Errorf("ready, and %q is served", got)
	}
	until("WATCHDOG=1")
	for _, c := range []struct{ extra, told string }{
		{"log: { format: json }", "READY=1\nSTATUS=serving "},
		{"colour: red", "READY=1\nSTATUS=configuration not reloaded: " + s.path("shaft.yaml") + ":4:1: the configuration has no key"},
	} {
		text := fmt.Sprintf("data_dir: data\nlisten: [ %q, %q ]\nbase_dn: %s\n%s\n", "ldap://"+s.address, s.ldapi(), base, c.extra)
		if err := os.WriteFile(s.path("shaft.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until("RELOADING=1\nMONOTONIC_USEC=")
		if got := until("READY=1\n"); !strings.HasPrefix(got, c.told) {
			t.Errorf("%s: told %q", c.extra, got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("STOPPING=1\n")
	inTime := hurry(cmd.Process)
	if err := <-ended; err != nil || !inTime() {
		t.Errorf("it ended with %v\n%s", err, &log)
	}
	if text := log.String(); !strings.Contains(text, `"msg":"configuration reloaded"`) || !strings.Contains(text, `shaft.yaml:4:1: `) || strings.Contains(text, "restart") {
		t.Errorf("the log says\n%s", text)
	}
}
