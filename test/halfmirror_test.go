package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// cookieOf is how far a mirror is; "" before the end of its first refresh.
func cookieOf(m *ldaptest.Slapd) string { return line(m.Dump(), "contextCSN") }

// R40, R42: a slapd that is killed amid a load comes back and ends with what is served: the first time
// without a cookie, since it got none yet, the second time with its last one.
func TestMirrorKilledAmidLoad(t *testing.T) {
	const packages, third = 300, 40 << 10 // of its bytes, roughly
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(packages)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	way := newCable(t, s.address)
	way.stall(third)
	m := mirror(t, "ldap://"+way.address, base, "type=refreshAndPersist", "schemachecking=on")
	// killed waits until it has some of what a load brings, kills it, and wants it to come back
	// with a cookie and to end with everything.
	killed := func(what, cookie string) {
		t.Helper()
		some := func() int { return strings.Count(m.Dump(), what) }
		eventually(t, 30*time.Second, "it has begun with "+what, func() bool { return some() > 5 })
		m.Kill()
		way.sever()
		m.Start()
		if n := some(); n >= packages/2 {
			t.Fatalf("it has %d of %q: this was not amid the load", n, what)
		}
		if got := cookieOf(m); got != cookie {
			t.Errorf("after %s it is at %q, want %q", what, got, cookie)
		}
		way.stall(0)
		way.mend()
		s.mirrors(t, m, base)
	}
	killed("dn: pkgName=", "")

	eventually(t, 30*time.Second, "it has the newest cookie", func() bool { return cookieOf(m) == s.contextCSN() })
	cookie := cookieOf(m)
	m.Stop()
	var changes strings.Builder
	for i := range packages {
		dn := fmt.Sprintf("dn: pkgName=p%03d,distro=openSUSE,%s\n", i, ldaptest.SuSeSuffix)
		switch {
		case i%10 == 0:
			changes.WriteString(dn + "changetype: delete\n\n")
		case i%10 == 1:
			changes.WriteString(dn + fmt.Sprintf("changetype: modrdn\nnewrdn: pkgName=again %03d\ndeleteoldrdn: 1\n\n", i))
		default:
			changes.WriteString(dn + "changetype: modify\nreplace: pkgVersion\npkgVersion: another\n\n")
		}
	}
	up.Apply(changes.String())
	eventually(t, 30*time.Second, "all changes are served", func() bool {
		return strings.Count(s.dump(base), "pkgVersion: another") == packages*8/10
	})
	way.stall(third)
	m.Start()
	killed("pkgVersion: another", cookie)
}

// R40: a slapd whose schema lacks an attribute type of a source (17, or 80 without schema checking), or an object class
// (21), stands still before that entry, and goes on once it has the schema; whoever else follows does not notice.
func TestMirrorWithoutSchema(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, Schema: hueSchema})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	mirrors := map[string]*ldaptest.Slapd{}
	for _, checking := range []string{"on", "off"} {
		mirrors[checking] = mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist", "schemachecking="+checking)
		s.mirrors(t, mirrors[checking], base)
	}
	other := s.feed(base, syncrepl.RefreshAndPersist, nil)
	other.refresh()
	attribute, _, _ := strings.Cut(hueSchema, "objectclass")
	for _, c := range []struct {
		rdn, class, schema string
		refused            map[string]string // by schemachecking
	}{
		{"cn=wall", "extensibleObject", attribute, map[string]string{"on": "rc 17 retrying", "off": "rc 80 retrying"}},
		{"cn=roof", "hued", hueSchema, map[string]string{"on": "rc 21 retrying", "off": "rc 21 retrying"}},
	} {
		up.Apply(fmt.Sprintf("dn: %s,%s\nobjectClass: organizationalRole\nobjectClass: %s\nhue: Red\n\ndn: cn=door,%[1]s,%[2]s\nobjectClass: organizationalRole\n",
			c.rdn, ldaptest.SuSeSuffix, c.class))
		for _, want := range []string{"add " + c.rdn, "add cn=door"} {
			if said, _ := other.next(); len(said) != 1 || said[0] != want {
				t.Errorf("the other follower is told %q, want %q", said, want)
			}
		}
		for checking, m := range mirrors {
			eventually(t, 30*time.Second, "the mirror refuses "+c.rdn, func() bool { return strings.Contains(m.Log(), c.refused[checking]) })
			m.Stop()
			m.MoreSchema(c.schema)
			m.Start()
			s.mirrors(t, m, base)
		}
	}
}
