package ldapd

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ldapi(path string) string { return "ldapi://" + url.PathEscape(path) }

// R10: ldapi, its permissions, and a socket left behind by a dead process.
func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ldapi")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(ldapi(path))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if got := URLOf(l); got != ldapi(path) {
		t.Errorf("it listens on %s", got)
	}
	if second, err := Listen(ldapi(path)); err == nil {
		second.Close()
		t.Error("a socket in use is taken over")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(ldapi(file)); err == nil {
		l.Close()
		t.Error("a file is replaced")
	}
	if b, _ := os.ReadFile(file); string(b) != "x" {
		t.Error("the file is gone")
	}
}

// R10, R56: TCP URLs, and what is none.
func TestListenURLs(t *testing.T) {
	for _, good := range []string{"ldap://127.0.0.1:0", "LDAP://127.0.0.1:0/", "ldap://localhost:0"} {
		l, err := Listen(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if got := URLOf(l); !strings.HasPrefix(got, "ldap://127.0.0.1:") && !strings.HasPrefix(got, "ldap://[::1]:") {
			t.Errorf("%s listens on %s", good, got)
		}
		l.Close()
	}
	for bad, want := range map[string]string{
		"127.0.0.1:389":                       "not a URL",
		"http://127.0.0.1:80":                 "unknown scheme",
		"ldap://127.0.0.1:0/dc=x":             "nothing may follow",
		"ldap://127.0.0.1:notport":            "127.0.0.1:notport",
		"ldap://256.0.0.1:0":                  "256.0.0.1",
		"ldapi://relative":                    "must be absolute",
		"ldapi://":                            "must be absolute",
		"ldapi://%zz":                         "invalid URL escape",
		ldapi("/" + strings.Repeat("x", 107)): "has 108 bytes; the system takes 107 at most",
		"ldapi://%2Fnowhere%2Fat%2Fall":       "no such file",
	} {
		l, err := Listen(bad)
		if err == nil {
			l.Close()
			t.Errorf("%s is served", bad)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// R10: an IPv4 address is that alone, also the one that stands for all.
func TestListenIPv4(t *testing.T) {
	for url, want := range map[string]string{"ldap://0.0.0.0:7": "tcp4", "ldap://[::]:7": "tcp", "ldap://:7": "tcp", "ldap://localhost": "tcp"} {
		if u, err := parseListen(url); u.network != want || err != nil {
			t.Errorf("%s is %q, %v", url, u.network, err)
		}
	}
}
