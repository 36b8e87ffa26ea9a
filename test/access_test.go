package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// freePort gives an address of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// R10, R38: the real binary over ldaps, StartTLS, a PROXY header and a unix
// socket, as OpenLDAP's tools come.
func TestListenersOfTheBinary(t *testing.T) {
	ca, cert, key := authority(t)
	secure := freePort(t)
	s := newShaft(t, fmt.Sprintf("base_dn: %s\ntls: { certificate: %s, key: %s, client_ca: %s }\n", base, cert, key, ca))
	config, err := os.ReadFile(s.path("shaft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	more := strings.Replace(string(config), "listen: [ ", fmt.Sprintf("listen: [ %q, ", "ldaps://"+secure), 1)
	if err := os.WriteFile(s.path("shaft.yaml"), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Setenv("LDAPTLS_CACERT", ca)
	for _, c := range [][]string{
		{"ldapsearch", "-x", "-ZZ", "-H", "ldap://" + s.address, "-b", base, "-s", "base", "-LLL"},
		{"ldapsearch", "-x", "-H", "ldaps://" + secure, "-b", base, "-s", "base", "-LLL"},
		{"ldapwhoami", "-Y", "EXTERNAL", "-H", s.ldapi()},
	} {
		out, err := finish(t, exec.Command(c[0], c[1:]...))
		want := "dn: " + base
		if c[0] == "ldapwhoami" {
			want = fmt.Sprintf("dn:gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth", os.Getegid(), os.Geteuid())
		}
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v\n%s", c, err, out)
		}
	}
}

// R45, R46: rules decide over searches and followers, a real slapd among them, and
// `access explain` says how; SIGHUP changes them, and followers are told.
func TestAccessRules(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(20)})
	const open = "access: [ { who: anonymous, allow: sync } ]"
	const closed = `access: [ { who: anonymous, filter: "(pkgName=p01*)", allow: none }, { who: anonymous, attributes: [ pkgVersion ], allow: read }, { who: anonymous, allow: sync } ]`
	s := newShaft(t, "base_dn: "+base+"\n"+open)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	m := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist")
	s.mirrors(t, m, base)
	text, err := os.ReadFile(s.path("shaft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("shaft.yaml"), []byte(strings.Replace(string(text), open, closed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hidden, shown := "pkgName=p011,distro=openSUSE,cn=SuSe,"+base, "pkgName=p001,distro=openSUSE,cn=SuSe,"+base
	eventually(t, 30*time.Second, "the rules hold", func() bool {
		out, err := s.trySearch("-b", hidden, "-s", "base")
		return err != nil && strings.Contains(out, "No such object (32)") && strings.Contains(out, "Matched DN: distro=openSUSE,cn=SuSe,"+base)
	})
	if out := s.search("-b", shown, "-s", "base"); !strings.Contains(out, "pkgVersion: 1\n") {
		t.Errorf("what may be read:\n%s", out)
	}
	eventually(t, 30*time.Second, "the mirror loses what is hidden", func() bool {
		have := m.Dump()
		return !strings.Contains(have, hidden) && strings.Contains(have, shown) && !strings.Contains(have, "pkgVersion: 1\n")
	})
	up.Apply("dn: pkgName=p012,distro=openSUSE," + ldaptest.SuSeSuffix + "\nchangetype: modify\nreplace: pkgVersion\npkgVersion: 99\n\n" +
		"dn: pkgName=p002,distro=openSUSE," + ldaptest.SuSeSuffix + "\nchangetype: modify\nreplace: description\ndescription: fresh\n")
	eventually(t, 30*time.Second, "a change of what is shown arrives", func() bool { return strings.Contains(m.Dump(), "description: fresh") })
	if have := m.Dump(); strings.Contains(have, "p012") || strings.Contains(have, "pkgVersion: 99") {
		t.Errorf("a change of what is hidden shows at the mirror:\n%s", have)
	}
	for dn, want := range map[string]string{
		hidden: "may    none, by rule 1\n",
		shown:  "may    sync, by rule 3\n",
	} {
		out := s.run("access", "explain", dn, "--as", "anonymous")
		if !strings.Contains(out, want) || dn == shown && !strings.Contains(out, "pkgVersion") {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, errs, code := s.try("access", "explain", hidden, "--as", "everybody"); code != 1 || !strings.Contains(errs, `"everybody" is nobody`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// R45: a slapd that was away while the rules changed, by SIGHUP or while Shaft was stopped, and comes
// back with the newest cookie, loses what is hidden from it, though nothing else has changed.
func TestRulesWhileMirrorIsAway(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(20)})
	hide := func(prefix string) string {
		return fmt.Sprintf(`access: [ { who: anonymous, filter: "(pkgName=%s*)", allow: none }, { who: anonymous, allow: sync } ]`, prefix)
	}
	rules := hide("none")
	s := newShaft(t, "base_dn: "+base+"\n"+rules)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	replace := func(with string) {
		t.Helper()
		text, err := os.ReadFile(s.path("shaft.yaml"))
		if err == nil {
			err = os.WriteFile(s.path("shaft.yaml"), []byte(strings.Replace(string(text), rules, with, 1)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		rules = with
	}
	m := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist", "schemachecking=off")
	s.mirrors(t, m, base)
	csn := func() string { return line(m.Search("-b", base, "-s", "base", "contextCSN"), "contextCSN") }
	for _, c := range []struct {
		name, prefix string
		restart      bool
	}{{"SIGHUP", "p01", false}, {"a restart", "p0", true}} {
		eventually(t, 30*time.Second, "the mirror has the newest cookie", func() bool { return csn() == s.contextCSN() })
		before := s.contextCSN()
		m.Stop()
		if c.restart {
			s.stop()
		}
		replace(hide(c.prefix))
		if c.restart {
			s.start()
		} else if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "other rules have a CSN", func() bool { return s.contextCSN() > before })
		m.Start()
		hidden := "dn: pkgName=" + c.prefix
		eventually(t, 30*time.Second, c.name+": the mirror loses what is hidden", func() bool { return !strings.Contains(m.Dump(), hidden) })
		s.mirrors(t, m, base)
	}
}
