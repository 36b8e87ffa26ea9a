package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
)

// releases is LDIF of a distribution with so many packages, of one version.
func releases(suffix, version string, packages ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: organization\no: %s\n", suffix, strings.TrimPrefix(suffix, "o="))
	for _, p := range packages {
		fmt.Fprintf(&b, "\ndn: pkgName=%s,%s\nobjectClass: LinuxPackage\npkgName: %s\npkgVersion: %s\n", p, suffix, p, version)
	}
	return b.String()
}

// R28: who searches while heads are switched sees the old content or the new, whole, and
// never neither; entries at the same DN keep their entryUUIDs.
func TestSwitchUnderSearches(t *testing.T) {
	const one, two = "o=One", "o=Two"
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", "both", "first", "other")})
	b := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: releases(two, "2", "both", "second")})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", a.URL()+"/"+one, "--name", "cn=Both", "--wait")
	s.run("subscription", "add", "b", "--url", b.URL()+"/"+two, "--name", "cn=Both")
	conn, err := ldap.DialURL("ldap://" + s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	look := func() (string, error) {
		found, err := conn.Search(ldap.NewSearchRequest("cn=Both,"+base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
			"(objectClass=*)", []string{"pkgName", "pkgVersion"}, nil))
		if err != nil {
			return "", err
		}
		var lines []string
		for _, e := range found.Entries {
			lines = append(lines, e.GetAttributeValue("pkgName")+" "+e.GetAttributeValue("pkgVersion"))
		}
		slices.Sort(lines)
		return strings.Join(lines, ","), nil
	}
	const ofA, ofB = " ,both 1,first 1,other 1", " ,both 2,second 2"
	ctx, cancel := context.WithCancel(t.Context())
	counts, done := map[string]int{}, make(chan struct{})
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			got, err := look()
			if err != nil {
				got = err.Error()
			}
			counts[got]++
		}
	}()
	before := uuids(s.search("-b", "cn=Both,"+base, "entryUUID"))
	for range 5 {
		for _, to := range []string{"b", "a"} {
			s.run("queue", "switch", "cn=Both", to)
			if got, _ := s.claims("cn=Both"); got[0] != to || len(got) != 2 {
				t.Fatalf("after the switch to %s the queue is %q", to, got)
			}
		}
	}
	stop()
	if counts[ofA] == 0 || counts[ofB] == 0 || len(counts) != 2 {
		t.Errorf("searches saw %v", counts)
	}
	after := uuids(s.search("-b", "cn=Both,"+base, "entryUUID"))
	for _, dn := range []string{"cn=Both," + base, "pkgName=both,cn=Both," + base} {
		if before[dn] == "" || before[dn] != after[dn] {
			t.Errorf("%s had the UUID %q, and has %q", dn, before[dn], after[dn])
		}
	}
}

// R28, R56: of a switch that cannot be nothing is left; of two operators at once the second
// is told what has changed.
func TestSwitchRefused(t *testing.T) {
	const one, two = "o=One", "o=Two"
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", "p")})
	b := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: releases(two, "2", "p")})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", a.URL()+"/"+one, "--name", "cn=Both", "--wait")
	_, early := s.claims("cn=Both")
	s.run("subscription", "add", "b", "--url", b.URL()+"/"+two, "--name", "cn=Both")
	s.run("subscription", "add", "else", "--url", b.URL()+"/"+two, "--name", "cn=Else", "--wait")
	before, tree := s.run("queue", "show", "cn=Both", "-o", "json"), s.tree()
	b.Stop()
	for _, c := range []struct {
		args  []string
		words string
		code  int
	}{
		{[]string{"cn=Both", "a"}, "is the head", 1},
		{[]string{"cn=Both", "nobody"}, "nobody", 1},
		{[]string{"cn=Both", "else"}, "else", 1},
		{[]string{"cn=Nowhere", "a"}, "there is no name", 1},
		{[]string{"o=elsewhere,c=xx", "a"}, "base DN", 1},
		{[]string{"cn=Both", "b"}, "that of b could not be fetched", 1},
		{[]string{"cn=Both", "b", "--force"}, "--force needs --reason", 2},
		{[]string{"cn=Both", "b", "--force", "--reason", "\x07"}, "one line of text", 2},
		{[]string{"cn=Both", "b", "--revision", early}, "b", 1},
		{[]string{"cn=Both", "b", "--revision", early, "--force", "--reason", "now"}, "b", 1},
		{[]string{"cn=Both", "b", "--dry-run"}, "", 0},
		{[]string{"cn=Both", "b", "--dry-run", "--force", "--reason", "to see"}, "", 0},
	} {
		_, errs, code := s.try(append([]string{"queue", "switch"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.words) {
			t.Errorf("%q: exit %d, %s", c.args, code, errs)
		}
	}
	if _, errs, code := s.try("queue", "diff", "cn=Both", "b"); code != 1 || !strings.Contains(errs, "could not be fetched") {
		t.Errorf("diff: exit %d, %s", code, errs)
	}
	if now, _ := s.claims("cn=Both"); strings.Join(now, " ") != "a b" || s.tree() != tree {
		t.Errorf("it has changed: %s, it was %s", now, before)
	}
}

// R30, R32: what waits and is kept warm is followed in full, shows nowhere, and is there at
// once when the head goes, its own server being down or not.
func TestKeptWarm(t *testing.T) {
	const one, two = "o=One", "o=Two"
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", "p")})
	b := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: releases(two, "2", "p", "q")})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", a.URL()+"/"+one, "--name", "cn=Both", "--wait")
	if out := s.run("subscription", "add", "b", "--url", b.URL()+"/"+two, "--name", "cn=Both", "--keep-warm", "--wait"); !strings.Contains(out, "b is live: 3 entries, held in readiness") {
		t.Error(out)
	}
	b.Apply("dn: pkgName=r,o=Two\nchangetype: add\nobjectClass: LinuxPackage\npkgName: r\npkgVersion: 2\n")
	eventually(t, time.Minute, "the change is in readiness", func() bool {
		return strings.Contains(s.run("queue", "show", "cn=Both", "-o", "json"), `"entries": 4`)
	})
	if got := s.search("-b", base, "(pkgVersion=2)", "1.1"); got != "" {
		t.Errorf("what waits shows over LDAP:\n%s", got)
	}
	b.Stop()
	s.run("subscription", "remove", "a")
	if got := s.search("-b", base, "(pkgVersion=2)", "1.1"); strings.Count(got, "dn: ") != 3 {
		t.Errorf("at once there is\n%s", got)
	}
	if got := s.search("-b", base, "(pkgVersion=1)", "1.1"); got != "" {
		t.Errorf("of the head that went there is\n%s", got)
	}
	b.Start()
	s.live("cn=Both")
}

// R28, R30, R48: a removed head's content is shown while the next one's cannot be had; a
// switch to another ends that. One that is forced to what was never there leaves the name
// empty, which is the gravest alarm, until a switch back.
func TestPromotion(t *testing.T) {
	const one, two = "o=One", "o=Two"
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", "p")})
	c := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: releases(two, "2", "q")})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", a.URL()+"/"+one, "--name", "cn=Both", "--wait")
	s.run("subscription", "add", "b", "--url", "ldap://127.0.0.1:1/o=x", "--name", "cn=Both")
	s.run("subscription", "add", "c", "--url", c.URL()+"/"+two, "--name", "cn=Both")
	packages := func() string {
		out, err := s.trySearch("-b", "cn=Both,"+base, "(objectClass=LinuxPackage)", "pkgName")
		if err != nil {
			return out
		}
		var names []string
		for line := range strings.Lines(out) {
			if name, ok := strings.CutPrefix(line, "pkgName: "); ok {
				names = append(names, strings.TrimSpace(name))
			}
		}
		return strings.Join(names, " ")
	}
	s.run("subscription", "remove", "a")
	if got := packages(); got != "p" {
		t.Errorf("with the head gone the name shows %q", got)
	}
	const words = "it shows the content of a, which was removed, until its head's is here, or until 20"
	for _, command := range []string{"name", "queue"} {
		if out := s.run(command, "show", "cn=Both"); !strings.Contains(out, words) {
			t.Errorf("%s show:\n%s", command, out)
		}
	}
	if out := s.run("name", "list"); !strings.Contains(out, "lingers") {
		t.Error(out)
	}
	if list := s.alarms("no-lkg"); len(list) != 0 {
		t.Errorf("while it lingers: %+v", list)
	}
	s.run("queue", "switch", "cn=Both", "c")
	if got, _ := s.claims("cn=Both"); packages() != "q" || strings.Join(got, " ") != "c b" || strings.Contains(s.run("name", "show", "cn=Both"), "removed") {
		t.Errorf("after the switch %q is shown, of %q", packages(), got)
	}
	s.run("queue", "switch", "cn=Both", "b", "--force", "--reason", "to see what it is like")
	if got := packages(); !strings.Contains(got, "No such object (32)") {
		t.Errorf("forced to what was never there, the name shows %q", got)
	}
	eventually(t, time.Minute, "the alarm of a name that is empty", func() bool {
		list := s.alarms("no-lkg")
		return len(list) == 1 && list[0].Severity == "disaster" && list[0].Name == "cn=Both,"+base
	})
	s.run("queue", "switch", "cn=Both", "c")
	if got := packages(); got != "q" || len(s.alarms("no-lkg")) != 0 {
		t.Errorf("after the switch back %q is shown, with %+v", got, s.alarms("no-lkg"))
	}
}
