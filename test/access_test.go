package test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R10, R38: the real binary over ldaps, StartTLS, a PROXY header and a unix
// socket, as OpenLDAP's tools come.
func TestListenersOfTheBinary(t *testing.T) {
	ca, cert, key := authority(t)
	secure := ldaptest.FreeAddress(t)
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

// withURI gives an attribute to an entry with others below it.
func withURI(up *ldaptest.Slapd) {
	up.Apply("dn: distro=openSUSE," + ldaptest.SuSeSuffix + "\nchangetype: modify\nadd: labeledURI\nlabeledURI: http://opensuse.example\n")
}

// R45, R46: rules decide over searches and followers, a real slapd among them, and
// `access explain` says how; SIGHUP changes them, and followers are told.
func TestAccessRules(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(20)})
	const open = "access: [ { who: anonymous, allow: sync } ]"
	const closed = `access: [ { who: anonymous, filter: "(pkgName=p01*)", allow: none }, { who: anonymous, attributes: [ pkgVersion, labeledURI ], allow: read }, { who: anonymous, allow: sync } ]`
	withURI(up)
	s := newShaft(t, "base_dn: "+base+"\n"+open)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	m := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist")
	s.mirrors(t, m, base)
	if have := m.Dump(); !strings.Contains(have, "labeledURI") || !strings.Contains(have, "pkgVersion: 1\n") {
		t.Fatalf("what is to be hidden is not there:\n%s", have)
	}
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
		return !strings.Contains(have, hidden) && strings.Contains(have, shown) && !strings.Contains(have, "pkgVersion: 1\n") && !strings.Contains(have, "labeledURI")
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
// back with the newest cookie, loses what is hidden from it, entries and attributes of those that stay,
// and gets what it gains, though nothing else has changed.
func TestRulesWhileMirrorIsAway(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(20)})
	hide := func(prefix, attributes string) string {
		return fmt.Sprintf(`access: [ { who: anonymous, filter: "(pkgName=%s*)", allow: none }, { who: anonymous, attributes: [ %s ], allow: none }, { who: anonymous, allow: sync } ]`, prefix, attributes)
	}
	const few, many = "carLicense", "pkgVersion, labeledURI"
	withURI(up)
	rules := hide("none", few)
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
		name, prefix, attributes string
		restart                  bool
		entries, values          int // that are left of the packages, and of the attributes
	}{
		{"entries hidden, SIGHUP", "p01", few, false, 10, 11}, {"more hidden, a restart", "p0", few, true, 0, 1},
		{"entries shown, SIGHUP", "none", few, false, 20, 21}, {"attributes hidden, SIGHUP", "none", many, false, 20, 0},
		{"attributes shown, a restart", "none", few, true, 20, 21}, {"attributes hidden, a restart", "p01", many, true, 10, 0},
		{"everything shown, SIGHUP", "none", few, false, 20, 21},
	} {
		eventually(t, 30*time.Second, "the mirror has the newest cookie", func() bool { return csn() == s.contextCSN() })
		before := s.contextCSN()
		m.Stop()
		if c.restart {
			s.stop()
		}
		replace(hide(c.prefix, c.attributes))
		if c.restart {
			s.start()
		} else if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "other rules have a CSN", func() bool { return s.contextCSN() > before })
		m.Start()
		var entries, values int
		eventually(t, 30*time.Second, c.name+": the mirror has what it may", func() bool {
			have := m.Dump()
			entries = strings.Count(have, "dn: pkgName=p0")
			values = strings.Count(have, "labeledURI: http:")
			for n := range 20 {
				values += strings.Count(have, fmt.Sprintf("\npkgVersion: %d\n", n))
			}
			return entries == c.entries && values == c.values
		})
		s.mirrorsLater(t, m, base)
	}
	up.Apply("dn: distro=openSUSE," + ldaptest.SuSeSuffix + "\nchangetype: modify\nreplace: labeledURI\nlabeledURI: http://suse.example\n")
	eventually(t, 30*time.Second, "a change that comes later arrives", func() bool { return strings.Contains(m.Dump(), "labeledURI: http://suse.example") })
	s.mirrorsLater(t, m, base)
}
