package test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// R1, R2, R8, R9, R18, R24, R28, R30, R38: `shaft demo --once` prints the story's merged tree.
func TestDemoOnce(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, "demo", "--once")
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, append(os.Environ(), "TMPDIR="+t.TempDir())
	if _, err := finish(t, cmd); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var dns []string
	for _, l := range strings.Split(out.String(), "\n") {
		if dn, ok := strings.CutPrefix(l, "dn: "); ok {
			dns = append(dns, dn)
		}
	}
	if got := sorted(dns); !slices.Equal(got, sorted(slices.Clone(storyDNs))) {
		t.Errorf("the tree is\n%s", strings.Join(got, "\n"))
	}
	for _, moved := range []string{"seeAlso: pkgName=ldap-utils,cn=Debian Wheezy,ou=Package Listers\n", "seeAlso: pkgName=slapd,cn=Debian Squeeze,ou=Package Listers\n"} {
		if !strings.Contains(out.String(), moved) {
			t.Errorf("a DN value was not moved:\n%s", &out)
		}
	}
}

// storyDNs are those of the merged tree at the story's end.
var storyDNs = []string{
	"ou=Package Listers",
	"cn=SuSe,ou=Package Listers",
	"distro=openSUSE,cn=SuSe,ou=Package Listers",
	"pkgName=openldap2,distro=openSUSE,cn=SuSe,ou=Package Listers",
	"cn=Debian Wheezy,ou=Package Listers",
	"pkgName=slapd,cn=Debian Wheezy,ou=Package Listers",
	"pkgName=ldap-utils,cn=Debian Wheezy,ou=Package Listers",
	"pkgName=snmpd,cn=Debian Wheezy,ou=Package Listers",
	"cn=RedHat RHEL,ou=Package Listers",
	"pkgName=openldap,cn=RedHat RHEL,ou=Package Listers",
	"pkgName=389-ds-base,cn=RedHat RHEL,ou=Package Listers",
	"cn=RedHat Fedora,ou=Package Listers",
	"pkgName=openldap,cn=RedHat Fedora,ou=Package Listers",
	"cn=Debian Squeeze,ou=Package Listers",
	"pkgName=slapd,cn=Debian Squeeze,ou=Package Listers",
	"pkgName=ldap-utils,cn=Debian Squeeze,ou=Package Listers",
	"cn=Debian Jessie,ou=Package Listers",
	"pkgName=slapd,cn=Debian Jessie,ou=Package Listers",
	"cn=Ubuntu Kylin,ou=Package Listers",
	"pkgName=slapd,cn=Ubuntu Kylin,ou=Package Listers",
}

// The demo that stays: what it prints to be tried works, and Ctrl-C ends it
// with nothing left behind.
func TestDemoStays(t *testing.T) {
	tmp := t.TempDir()
	cmd := exec.Command(binary, "demo")
	var errs bytes.Buffer
	cmd.Stderr, cmd.Env = &errs, append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	said := readUntil(t, out, "Ctrl-C ends the demo")

	suggestions := regexp.MustCompile(`(?m)^    (.*(?:ldapsearch|--socket).*)$`).FindAllStringSubmatch(said, -1)
	if len(suggestions) < 24 {
		t.Errorf("%d lines to try in\n%s", len(suggestions), said)
	}
	for _, suggested := range suggestions {
		got, err := finish(t, exec.Command("sh", "-c", suggested[1]))
		if err != nil || len(got) == 0 {
			t.Errorf("%s: %v\n%s", suggested[1], err, got)
		}
		if strings.HasPrefix(suggested[1], "ldapsearch") && !strings.Contains(got, "dn: ") {
			t.Errorf("%s gives\n%s", suggested[1], got)
		}
	}

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := hurry(cmd.Process)
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || !ended() {
		t.Errorf("after SIGINT: %v\n%s", err, &errs)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// readUntil reads lines up to one that holds the words.
func readUntil(t *testing.T, r io.Reader, words string) string {
	t.Helper()
	found := make(chan string, 1)
	go func() {
		defer close(found)
		var said strings.Builder
		// One byte at a time: what comes later is the caller's to read.
		for in := bufio.NewScanner(oneByte{r}); in.Scan(); {
			said.WriteString(in.Text() + "\n")
			if strings.Contains(in.Text(), words) {
				found <- said.String()
				return
			}
		}
	}()
	select {
	case said, ok := <-found:
		if !ok {
			t.Fatalf("it ended without a line with %q", words)
		}
		return said
	case <-time.After(limit):
		t.Fatalf("no line with %q", words)
	}
	return ""
}

type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

func TestDemoUsage(t *testing.T) {
	cmd := exec.Command(binary, "demo", "twice")
	got, _ := finish(t, cmd)
	if code := cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("exit %d\n%s", code, got)
	}
}
