package ldaptest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Story content is what both kinds of server take, and they give the same back.
func TestStoryOnBothServers(t *testing.T) {
	for _, c := range []struct {
		suffix, ldif string
		entries      int
	}{{RedHatSuffix, RedHatLDIF, 6}, {SuSeSuffix, SuSeLDIF, 3}, {DebianSuffix, DebianLDIF, 7}, {DpkgSuffix, DpkgLDIF, 10}} {
		scripted := start(t, Options{Suffix: c.suffix, LDIF: c.ldif})
		slapd := StartSlapd(t, SlapdOptions{Suffix: c.suffix, LDIF: c.ldif})
		args := []string{"-o", "ldif-wrap=no", "-LLL", "-b", c.suffix, "*", "structuralObjectClass", "entryDN", "hasSubordinates"}
		ours, theirs := lookUp(t, scripted, args[2:]...), slapd.Search(args...)
		if got := len(dns(ours)); got != c.entries {
			t.Errorf("%s has %d entries, %d were to be", c.suffix, got, c.entries)
		}
		if ours != theirs {
			t.Errorf("%s:\nours\n%s\nslapd's\n%s", c.suffix, ours, theirs)
		}
	}
}

func TestSlapdOutages(t *testing.T) {
	s := StartSlapd(t, SlapdOptions{Suffix: "dc=tea", LDIF: teaLDIF})
	s.Apply(oolong)
	before := s.Dump()
	if !strings.Contains(before, "dn: cn=oolong,dc=tea\n") || !strings.Contains(before, "contextCSN: ") {
		t.Fatalf("the dump lacks something:\n%s", before)
	}
	// A stop writes the contextCSN down; a kill may lose the latest one, so it comes when there is none to lose.
	for _, end := range []struct {
		name string
		stop func()
	}{{"stopped", s.Stop}, {"killed", s.Kill}} {
		end.stop()
		end.stop() // a second one finds nothing to end
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port)); err == nil {
			conn.Close()
			t.Fatalf("%s, it takes connections", end.name)
		}
		s.Start()
		if after := s.Dump(); after != before {
			t.Fatalf("%s, it came back with\n%s\nand had\n%s", end.name, after, before)
		}
	}
	s.Pause()
	out := make(chan string, 1)
	go func() { out <- s.Dump() }()
	select {
	case <-out:
		t.Error("a paused slapd answered")
	case <-time.After(100 * time.Millisecond):
	}
	s.Continue()
	select {
	case after := <-out:
		if after != before {
			t.Errorf("after a pause: %s", after)
		}
	case <-time.After(patience):
		t.Error("it does not continue")
	}
}

// R10: a real slapd over StartTLS and ldaps.
func TestSlapdTLS(t *testing.T) {
	config, ca := certificate(t)
	t.Setenv("SHAFT_TEST_CA", ca)
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	check(t, err)
	file := filepath.Join(t.TempDir(), "key.pem")
	check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	s := StartSlapd(t, SlapdOptions{Suffix: "dc=tea", LDIF: teaLDIF, CertFile: ca, KeyFile: file, CAFile: ca})
	for _, args := range [][]string{{s.TLSURL()}, {s.URL(), "-ZZ"}} {
		who := append(args[1:], "-D", s.RootDN(), "-w", SlapdPassword)
		if out, err := tool(t, args[0], "ldapwhoami", who...); err != nil || !strings.Contains(out, "dn:cn=admin,dc=tea") {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}

// failing is a test that notes why it failed.
type failing struct {
	*testing.T
	why string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.why = fmt.Sprintf(format, args...)
	panic(f)
}

// run runs what is to fail.
func (f *failing) run(do func()) (why string) {
	defer func() {
		if r := recover(); r != nil && r != any(f) {
			panic(r)
		}
		why = f.why
	}()
	do()
	return ""
}

func TestSlapdSaysWhatIsWrong(t *testing.T) {
	f := &failing{T: t}
	if why := f.run(func() {
		StartSlapd(f, SlapdOptions{Suffix: "dc=tea", LDIF: "dn: dc=coffee\nobjectClass: domain\ndc: coffee\n"})
	}); !strings.Contains(why, "slapadd: ") {
		t.Errorf("content elsewhere: %q", why)
	}
	f = &failing{T: t}
	if why := f.run(func() { StartSlapd(f, SlapdOptions{Suffix: "dc=tea", Database: "nonsense here"}) }); !strings.Contains(why, "slapd ended at once") || !strings.Contains(why, "nonsense") {
		t.Errorf("a bad configuration: %q", why)
	}
	f = &failing{T: t}
	f.Setenv("PATH", f.TempDir())
	if _, err := exec.LookPath("ldapmodify"); err == nil {
		t.Fatal("ldapmodify is still found")
	}
	if why := f.run(func() { StartSlapd(f, SlapdOptions{Suffix: "dc=tea"}) }); !strings.Contains(why, "apt-get install slapd ldap-utils") {
		t.Errorf("tools that are missing: %q", why)
	}
}

// A slapd can be without content synchronization, and get it.
func TestSlapdWithoutSyncprov(t *testing.T) {
	s := StartSlapd(t, SlapdOptions{Suffix: "dc=tea", LDIF: teaLDIF, NoSyncprov: true})
	sync := s.asRoot("-b", "dc=tea", "-E", "!sync=ro", "1.1")
	if out, err := s.attempt("", "ldapsearch", sync...); err == nil || !strings.Contains(err.Error(), "result: 12 ") {
		t.Errorf("it answers a sync search: %v\n%s", err, out)
	}
	s.Stop()
	s.NoSyncprov(false)
	s.Start()
	if out, err := s.attempt("", "ldapsearch", sync...); err != nil || !strings.Contains(out, "dn: dc=tea") {
		t.Errorf("it refuses a sync search: %v\n%s", err, out)
	}
}
