package test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// site is one of two sources that know nothing of each other.
type site struct {
	slapd  *ldaptest.Slapd
	cable  *cable
	suffix string
	name   string // absolute
}

// change makes one change of each kind, numbered n.
func (a *site) change(n int) {
	a.slapd.Apply(fmt.Sprintf(`dn: cn=new %[2]d,%[1]s
changetype: add
objectClass: device
cn: new %[2]d

dn: cn=stays,%[1]s
changetype: modify
replace: description
description: change %[2]d

dn: cn=old %[2]d,%[1]s
changetype: delete

dn: cn=moves %[2]d,%[1]s
changetype: modrdn
newrdn: cn=moved %[2]d
deleteoldrdn: 1
`, a.suffix, n))
}

// entries are the user attributes of what lies below a base, by the DN's part
// below it.
func entries(ldif, base string) map[string]string {
	found := map[string]string{}
	for _, block := range strings.Split(ldif, "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if rel, ok := strings.CutSuffix(strings.TrimPrefix(lines[0], "dn: "), ","+base); ok {
			slices.Sort(lines[1:])
			found[rel] = strings.Join(lines[1:], "\n")
		}
	}
	return found
}

func (a *site) arrived(t *testing.T, s *shaft) {
	t.Helper()
	there := entries(a.slapd.Search("-LLL", "-o", "ldif-wrap=no", "-b", a.suffix), a.suffix)
	var here map[string]string
	defer func() {
		if t.Failed() {
			t.Logf("%s has %v\nthe source has %v", a.name, here, there)
		}
	}()
	eventually(t, 30*time.Second, "what "+a.name+" has is what its source has", func() bool {
		here = entries(s.search("-b", a.name), a.name)
		return len(there) > 0 && maps.Equal(here, there)
	})
}

func newSite(t *testing.T, s *shaft, id string) *site {
	t.Helper()
	a := &site{suffix: "o=" + id, name: "cn=" + id + "," + base}
	ldif := "dn: o=" + id + "\nobjectClass: organization\no: " + id + "\n\ndn: cn=stays,o=" + id + "\nobjectClass: device\ncn: stays\n"
	for n := range rounds {
		ldif += fmt.Sprintf("\ndn: cn=old %[1]d,o=%[2]s\nobjectClass: device\ncn: old %[1]d\n", n, id)
		ldif += fmt.Sprintf("\ndn: cn=moves %[1]d,o=%[2]s\nobjectClass: device\ncn: moves %[1]d\n", n, id)
	}
	// Session log and server ID as with a server that nobody configured further.
	a.slapd = ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: a.suffix, LDIF: ldif, SID: 0})
	a.cable = newCable(t, strings.TrimPrefix(a.slapd.URL(), "ldap://"))
	s.run("subscription", "add", id, "--url", "ldap://"+a.cable.address+"/"+a.suffix, "--name", "cn="+id)
	s.live("cn=" + id)
	return a
}

const rounds = 4

// R12, R40: two sources use the same server ID, 0, as all do that nobody gave
// one. One is cut off and changes, then the other changes: what changed first is
// older than the newest change that is known of that server ID when it arrives,
// and arrives all the same. In one round the daemon is killed meanwhile.
func TestR12SameServerID(t *testing.T) {
	s := newShaft(t, "base_dn: "+base)
	one, two := newSite(t, s, "one"), newSite(t, s, "two")
	for n := range rounds {
		away, here := one, two
		if n%2 == 1 {
			away, here = two, one
		}
		away.cable.sever()
		eventually(t, time.Minute, away.name+" is seen down", func() bool { return s.names()[away.name].Head.State == "down" })
		away.change(n)
		here.change(n)
		here.arrived(t, s)
		if found := s.dns(away.name); !slices.Contains(found, fmt.Sprintf("cn=old %d,%s", n, away.name)) {
			t.Errorf("round %d: %s, which is cut off, is served as %q", n, away.name, found)
		}
		before := line(s.search("-b", base, "-s", "base", "contextCSN"), "contextCSN")
		if n == 2 {
			s.kill()
			s.start()
		}
		away.cable.mend()
		away.arrived(t, s)
		here.arrived(t, s)
		late := line(s.search("-b", fmt.Sprintf("cn=new %d,%s", n, away.name), "-s", "base", "entryCSN"), "entryCSN")
		if there := line(away.slapd.Search("-b", fmt.Sprintf("cn=new %d,%s", n, away.suffix), "entryCSN"), "entryCSN"); !strings.Contains(there, "#000#") || there >= before {
			t.Errorf("round %d: the change has the number %s there, and %s was served before it came: the test tests nothing", n, there, before)
		}
		if late <= before {
			t.Errorf("round %d: what came late has the number %s, not above %s: followers would pass it over", n, late, before)
		}
	}
}
