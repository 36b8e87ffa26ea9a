package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R1: without a base DN nothing is there but the root DSE and the schema, and
// subscriptions are refused; with names stored the base DN cannot be changed.
func TestBaseDN(t *testing.T) {
	s := newShaft(t, "")
	for _, b := range []string{"", base, "cn=x"} {
		if out, err := s.trySearch("-b", b); err == nil || !strings.Contains(out, "No such object (32)") {
			t.Errorf("search of %q: %v\n%s", b, err, out)
		}
	}
	if out := s.search("-b", "", "-s", "base", "+"); !strings.Contains(out, "supportedLDAPVersion: 3") {
		t.Errorf("root DSE:\n%s", out)
	}
	if out := s.search("-b", "cn=Subschema", "-s", "base", "+"); !strings.Contains(out, "NAME 'inetOrgPerson'") {
		t.Errorf("subschema:\n%s", out)
	}
	if _, errs, code := s.try("subscription", "add", "x", "--url", "ldap://127.0.0.1:1/o=x", "--name", "cn=x"); code != 1 || !strings.Contains(errs, "base_dn") {
		t.Errorf("add without a base: exit %d, %s", code, errs)
	}
	s.stop()
	rewrite := func(old, new string) {
		text, err := os.ReadFile(s.path("shaft.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path("shaft.yaml"), []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite("data_dir", "base_dn: "+base+"\ndata_dir")
	s.start()
	s.run("subscription", "add", "x", "--url", "ldap://127.0.0.1:1/o=x", "--name", "cn=x")
	s.stop()
	rewrite(base, "ou=Elsewhere")
	out, err := finish(t, exec.Command(binary, "serve", "--config", s.path("shaft.yaml")))
	if err == nil || !strings.Contains(out, "Package Listers") {
		t.Errorf("start with another base DN: %v\n%s", err, out)
	}
}

// R3, R24, R25, R26, R34: a second claim joins the queue, shows nowhere over LDAP, and
// never takes over by itself; R16: removing it removes nothing else.
func TestClash(t *testing.T) {
	first := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	second := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", first.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=Both")
	eventually(t, 10*time.Second, "the head is published", func() bool { return slices.Contains(s.dns(base), "cn=Both,"+base) })
	before := s.tree()

	out := s.run("subscription", "add", "b", "--url", second.URL()+"/"+ldaptest.RedHatSuffix, "--name", "CN = both , OU=package  listers")
	if !strings.Contains(out, "waits at position 1") || !strings.Contains(out, "queue show") {
		t.Errorf("the clash is not told:\n%s", out)
	}
	eventually(t, 10*time.Second, "the waiting claim is probed", func() bool {
		q := s.names()["cn=Both,"+base].Queue
		return len(q) == 1 && q[0].Claim == "b" && q[0].Online
	})
	if n := s.names()["cn=Both,"+base]; n.Head.Claim != "a" || !slices.Equal(n.Alarms, []string{"clash"}) {
		t.Errorf("name: %+v", n)
	}
	if after := s.tree(); after != before {
		t.Errorf("the waiting claim shows:\n%s", after)
	}
	first.Kill()
	eventually(t, 10*time.Second, "the head is seen down", func() bool { return !s.names()["cn=Both,"+base].Head.Online })
	if after := s.tree(); after != before {
		t.Errorf("the waiting claim took over:\n%s", after)
	}
	s.kill()
	s.start()
	if q := s.names()["cn=Both,"+base].Queue; len(q) != 1 || q[0].Claim != "b" {
		t.Errorf("the queue after kill -9: %+v", q)
	}
	s.run("subscription", "remove", "b")
	if after := s.tree(); after != before {
		t.Errorf("removing the waiting claim changed the tree:\n%s", after)
	}
	s.run("subscription", "add", "b", "--url", second.URL()+"/"+ldaptest.RedHatSuffix, "--name", "cn=Both")
	s.run("subscription", "remove", "a")
	eventually(t, 10*time.Second, "the next in the queue is published", func() bool {
		out, _ := s.trySearch("-b", "cn=Both,"+base, "-s", "base")
		return strings.Contains(out, "o: RedHat")
	})
}

// R7: glue for a deep name; a name inside another hides what is there, until it goes.
func TestGlueAndOverlap(t *testing.T) {
	outer := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	inner := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "outer", "--url", outer.URL()+"/"+ldaptest.RedHatSuffix, "--name", "cn=RedHat,ou=Deep,l=There")
	name := "cn=RedHat,ou=Deep,l=There," + base
	eventually(t, 10*time.Second, "the outer name", func() bool { return slices.Contains(s.dns(base), "distro=RHEL,"+name) })
	all := s.dns(base)
	if !slices.Contains(all, "l=There,"+base) || !slices.Contains(all, "ou=Deep,l=There,"+base) {
		t.Errorf("no glue: %q", all)
	}
	out := s.run("subscription", "add", "inner", "--url", inner.URL()+"/"+ldaptest.SuSeSuffix, "--name", "distro=RHEL,"+name)
	if !strings.Contains(out, "lies inside") {
		t.Errorf("the overlap is not told:\n%s", out)
	}
	below := func() []string { return sorted(s.dns("distro=RHEL," + name)) }
	eventually(t, 10*time.Second, "the inner name hides the outer's", func() bool {
		return slices.Equal(below(), sorted([]string{"distro=RHEL," + name, "distro=openSUSE,distro=RHEL," + name, "pkgName=openldap2,distro=openSUSE,distro=RHEL," + name}))
	})
	// What the outer source does there stays hidden, and is not lost.
	outer.Apply("dn: pkgName=hidden,distro=RHEL,o=RedHat,c=US\nchangetype: add\nobjectClass: LinuxPackage\npkgName: hidden\n\n" +
		"dn: pkgName=seen,o=RedHat,c=US\nchangetype: add\nobjectClass: LinuxPackage\npkgName: seen\n")
	eventually(t, soon, "a change of the outer source", func() bool { return slices.Contains(s.dns(base), "pkgName=seen,"+name) })
	if strings.Contains(strings.Join(below(), "\n"), "hidden") {
		t.Errorf("hidden content shows: %q", below())
	}
	s.kill()
	s.start()
	if got := below(); len(got) != 3 {
		t.Errorf("after a restart: %q", got)
	}
	s.run("subscription", "remove", "inner")
	if got := s.dns("distro=RHEL," + name); !slices.Contains(got, "pkgName=hidden,distro=RHEL,"+name) || slices.Contains(got, "distro=openSUSE,distro=RHEL,"+name) || len(got) != 4 {
		t.Errorf("after the inner name went: %q", got)
	}
	s.run("subscription", "remove", "outer")
	if got := s.dns(base); len(got) != 1 {
		t.Errorf("glue is left behind: %q", got)
	}
}

// R56: what is wrong is refused with the place and the reason, and exit codes tell
// refusal from wrong usage.
func TestRefusals(t *testing.T) {
	s := newShaft(t, "base_dn: "+base)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"subscription add x --url ldap://h/o=x --name cn=%(attr.cn)s", 1, "substitution"},
		{"subscription add x --url ldap://h/o=x --name cn=%(attr.cn", 1, "a tree has one name"},
		{"subscription add x --url ldap://h/o=x --name ou=Package\u00a0Listers", 1, ""},
		{"subscription add x --url ldap://h/o=x --name cn=a,dc=example,dc=org", 1, "does not lie below"},
		{"subscription add x --url ldap://h/o=x??wrong --name cn=a", 1, "wrong"},
		{"subscription add x --url ldap://h/o=x??sub?(cn=a --name cn=a", 1, "column"},
		{"subscription add x --url http://h/o=x --name cn=a", 1, "http"},
		{"subscription add x --url ldap://h/o=x --host h --name cn=a", 1, "host"},
		{"subscription add ä --url ldap://h/o=x --name cn=a", 1, "letters"},
		{"subscription add x --url ldap://h/o=x", 2, "--name"},
		{"subscription add x --name cn=a", 2, "--url"},
		{"subscription show nothing", 1, "nothing"},
		{"subscription frobnicate", 2, "subscription add"},
		{"name show cn=nothing", 1, "nothing"},
		{"frobnicate", 2, "help"},
		{"status --frobnicate", 2, "frobnicate"},
		{"status -o xml", 2, "json"},
	} {
		args := strings.Split(c.args, " ")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\u00a0", " ")
		}
		_, errs, code := s.try(args...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("shaft %s: exit %d, want %d with %q:\n%s", c.args, code, c.code, c.want, errs)
		}
	}
	if list := s.run("subscription", "list", "-o", "json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("something was left behind: %s", list)
	}
}

// R8: the URL and the separate fields make the same record; --dry-run changes nothing.
func TestSubscriptionRecord(t *testing.T) {
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", "ldap://127.0.0.1:1/o=x?cn,mail?one?(cn=*)", "--name", "cn=a")
	s.run("subscription", "add", "b", "--protocol", "ldap", "--host", "127.0.0.1", "--port", "1", "--base", "o=x",
		"--attributes", "cn,mail", "--scope", "one", "--filter", "(cn=*)", "--name", "cn=b")
	dry := s.run("subscription", "add", "c", "--url", "ldap://127.0.0.1:1/o=x", "--name", "cn=c", "--dry-run")
	if !strings.Contains(dry, "would be added") {
		t.Errorf("dry run: %s", dry)
	}
	var subs []struct {
		ID, URL string
		Source  json.RawMessage
	}
	if err := json.Unmarshal([]byte(s.run("subscription", "list", "-o", "json")), &subs); err != nil {
		t.Fatal(err)
	}
	if len(subs) != 2 || string(subs[0].Source) != string(subs[1].Source) || subs[0].URL != subs[1].URL {
		t.Errorf("records: %+v", subs)
	}
}
