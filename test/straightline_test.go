package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// soon is how long an upstream change may take to show.
const soon = time.Second

const base = "ou=Package Listers"

// packageListers builds the story's tree from three real servers, by the CLI alone.
func packageListers(t *testing.T) (s *shaft, redhat, suse, debian *ldaptest.Slapd) {
	redhat = ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF, SessionLog: 1000})
	suse = ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, SID: 2})
	debian = ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.DebianSuffix, LDIF: ldaptest.DebianLDIF})
	s = newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "redhat", "--url", redhat.URL()+"/"+ldaptest.RedHatSuffix, "--name", "cn=RedHat RHEL")
	s.run("subscription", "add", "suse", "--url", suse.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe, ou=Package Listers")
	s.run("subscription", "add", "debian-wheezy", "--protocol", "ldap", "--host", "127.0.0.1", "--port", fmt.Sprint(debian.Port),
		"--base", "cn=Wheezy,dc=debian,dc=org", "--name", "cn=Debian Wheezy")
	eventually(t, 10*time.Second, "all names are live", func() bool {
		live := 0
		for _, n := range s.names() {
			if n.Head.State == "live" && n.LastKnownGood {
				live++
			}
		}
		return live == 3
	})
	return s, redhat, suse, debian
}

// R1, R2, R3, R5, R6, R11, R12, R31, R33, R35, R38, R41: three real upstreams, moved under the
// base DN, followed through changes, outages and kill -9.
func TestStraightLine(t *testing.T) {
	s, redhat, suse, debian := packageListers(t)

	want := []string{
		"ou=Package Listers",
		"cn=RedHat RHEL,ou=Package Listers",
		"distro=RHEL,cn=RedHat RHEL,ou=Package Listers",
		"pkgName=openldap,distro=RHEL,cn=RedHat RHEL,ou=Package Listers",
		"pkgName=389-ds-base,distro=RHEL,cn=RedHat RHEL,ou=Package Listers",
		"distro=Fedora,cn=RedHat RHEL,ou=Package Listers",
		"pkgName=openldap,distro=Fedora,cn=RedHat RHEL,ou=Package Listers",
		"cn=SuSe,ou=Package Listers",
		"distro=openSUSE,cn=SuSe,ou=Package Listers",
		"pkgName=openldap2,distro=openSUSE,cn=SuSe,ou=Package Listers",
		"cn=Debian Wheezy,ou=Package Listers",
		"pkgName=slapd,cn=Debian Wheezy,ou=Package Listers",
		"pkgName=ldap-utils,cn=Debian Wheezy,ou=Package Listers",
		"pkgName=snmpd,cn=Debian Wheezy,ou=Package Listers",
	}
	slices.Sort(want)
	if got := sorted(s.dns(base)); !slices.Equal(got, want) {
		t.Fatalf("the tree is\n%s", strings.Join(got, "\n"))
	}
	checkEntry(t, s, debian)

	t.Run("changes", func(t *testing.T) { changes(t, s, redhat, suse, debian) })
	t.Run("outage", func(t *testing.T) { outage(t, s, redhat, suse, debian) })
	t.Run("catching up", func(t *testing.T) { catchUp(t, s, redhat, suse, debian) })
	t.Run("removal", func(t *testing.T) { removal(t, s) })
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// checkEntry looks at one entry and the base of a name in full.
func checkEntry(t *testing.T, s *shaft, debian *ldaptest.Slapd) {
	t.Helper()
	there := debian.Search("-b", "pkgName=slapd,cn=Wheezy,dc=debian,dc=org", "*", "+")
	here := s.search("-b", "pkgName=slapd,cn=Debian Wheezy,"+base, "-s", "base", "*", "+")
	for _, attr := range []string{"entryUUID", "structuralObjectClass", "createTimestamp", "modifyTimestamp", "pkgVersion", "objectClass"} {
		if line(here, attr) == "" || line(here, attr) != line(there, attr) {
			t.Errorf("%s: %q here, %q there", attr, line(here, attr), line(there, attr))
		}
	}
	for attr, want := range map[string]string{
		"seeAlso":           "pkgName=ldap-utils,cn=Debian Wheezy,ou=Package Listers", // R6
		"entryDN":           "pkgName=slapd,cn=Debian Wheezy,ou=Package Listers",
		"hasSubordinates":   "FALSE",
		"subschemaSubentry": "cn=Subschema",
	} {
		if got := line(here, attr); got != want {
			t.Errorf("%s: %q, want %q", attr, got, want)
		}
	}
	if csn := line(here, "entryCSN"); csn == line(there, "entryCSN") || !strings.Contains(csn, "#001#") {
		t.Errorf("entryCSN %q is not of our own", csn)
	}
	top := s.search("-b", "cn=Debian Wheezy,"+base, "-s", "base", "cn", "objectClass")
	if !strings.Contains(top, "cn: Wheezy\n") || !strings.Contains(top, "cn: Debian Wheezy\n") { // R5
		t.Errorf("the moved base entry is\n%s", top)
	}
	root := s.search("-b", base, "-s", "base", "+")
	if line(root, "contextCSN") == "" {
		t.Errorf("no contextCSN on the base entry:\n%s", root)
	}
}

// line is the first value of an attribute in LDIF.
func line(ldif, attr string) string {
	for _, l := range strings.Split(ldif, "\n") {
		if v, ok := strings.CutPrefix(l, attr+": "); ok {
			return v
		}
	}
	return ""
}

func changes(t *testing.T, s *shaft, redhat, suse, debian *ldaptest.Slapd) {
	has := func(b, text string) func() bool {
		return func() bool {
			out, _ := s.trySearch("-b", b)
			return strings.Contains(out, text)
		}
	}
	not := func(f func() bool) func() bool { return func() bool { return !f() } }

	debian.Apply("dn: pkgName=bash,cn=Wheezy,dc=debian,dc=org\nchangetype: add\nobjectClass: LinuxPackage\npkgName: bash\npkgVersion: 4.2\n")
	eventually(t, soon, "an add", has("cn=Debian Wheezy,"+base, "dn: pkgName=bash,cn=Debian Wheezy,"+base))
	debian.Apply("dn: pkgName=bash,cn=Wheezy,dc=debian,dc=org\nchangetype: modify\nreplace: pkgVersion\npkgVersion: 4.2+dfsg-0.1\n")
	eventually(t, soon, "a modify", has("pkgName=bash,cn=Debian Wheezy,"+base, "pkgVersion: 4.2+dfsg-0.1"))
	debian.Apply("dn: pkgName=bash,cn=Wheezy,dc=debian,dc=org\nchangetype: modrdn\nnewrdn: pkgName=dash\ndeleteoldrdn: 1\n")
	eventually(t, soon, "a rename", has("cn=Debian Wheezy,"+base, "dn: pkgName=dash,cn=Debian Wheezy,"+base))
	debian.Apply("dn: pkgName=dash,cn=Wheezy,dc=debian,dc=org\nchangetype: delete\n")
	eventually(t, soon, "a delete", not(has("cn=Debian Wheezy,"+base, "pkgName=dash")))

	uuid := line(s.search("-b", "pkgName=openldap,distro=RHEL,cn=RedHat RHEL,"+base, "entryUUID"), "entryUUID")
	redhat.Apply("dn: distro=RHEL,o=RedHat,c=US\nchangetype: modrdn\nnewrdn: distro=RHEL 9\ndeleteoldrdn: 1\n")
	eventually(t, soon, "a rename of a subtree", has("cn=RedHat RHEL,"+base, "dn: pkgName=openldap,distro=RHEL 9,cn=RedHat RHEL,"+base))
	if again := line(s.search("-b", "pkgName=openldap,distro=RHEL 9,cn=RedHat RHEL,"+base, "entryUUID"), "entryUUID"); again != uuid {
		t.Errorf("entryUUID %q became %q by a rename", uuid, again)
	}

	suse.Apply("dn: pkgName=zypper,distro=openSUSE,o=SuSe,c=DE\nchangetype: add\nobjectClass: LinuxPackage\npkgName: zypper\npkgVersion: 1\n")
	eventually(t, soon, "an add from a server with an ID of its own", has("cn=SuSe,"+base, "dn: pkgName=zypper,"))
}

// outage: upstreams die, Shaft dies, and the same bytes are served.
func outage(t *testing.T, s *shaft, upstreams ...*ldaptest.Slapd) {
	before := s.tree()
	for _, u := range upstreams {
		u.Kill()
	}
	eventually(t, 10*time.Second, "the upstreams are seen down", func() bool {
		for _, n := range s.names() {
			if n.Head.State != "down" || n.Head.Online || !slices.Contains(n.Alarms, "down") {
				return false
			}
		}
		return true
	})
	if after := s.tree(); after != before {
		t.Errorf("with the upstreams down the tree differs:\n%s", after)
	}
	s.kill()
	s.start()
	after := s.tree()
	if after != before {
		t.Errorf("after kill -9 and a start without upstreams the tree differs\nbefore:\n%s\nafter:\n%s", before, after)
	}
	for _, n := range s.names() {
		if !n.LastKnownGood || n.Head.LastContact == "" || n.Entries == 0 {
			t.Errorf("%s after the restart: %+v", n.DN, n)
		}
	}
}

// catchUp: what changed meanwhile arrives, and nothing else is fetched again.
func catchUp(t *testing.T, s *shaft, redhat, suse, debian *ldaptest.Slapd) {
	for _, u := range []*ldaptest.Slapd{redhat, suse, debian} {
		u.Start()
	}
	redhat.Apply("dn: pkgName=vim,distro=Fedora,o=RedHat,c=US\nchangetype: add\nobjectClass: LinuxPackage\npkgName: vim\npkgVersion: 9\n")
	debian.Apply("dn: pkgName=snmpd,cn=Wheezy,dc=debian,dc=org\nchangetype: delete\n")
	eventually(t, 90*time.Second, "the names are live again", func() bool {
		for _, n := range s.names() {
			if n.Head.State != "live" {
				return false
			}
		}
		return true
	})
	eventually(t, soon, "changes of the outage", func() bool {
		dns := s.dns(base)
		return slices.Contains(dns, "pkgName=vim,distro=Fedora,cn=RedHat RHEL,"+base) &&
			!slices.Contains(dns, "pkgName=snmpd,cn=Debian Wheezy,"+base)
	})
	for _, u := range []*ldaptest.Slapd{redhat, suse, debian} {
		if log := u.Log(); !strings.Contains(log, "got a persistent search with a cookie=rid=") {
			t.Errorf("no cookie was sent to %s:\n%s", u.URL(), log)
		}
	}
}

// removal: a subscription goes with its content, and nothing else does (R16, R31).
func removal(t *testing.T, s *shaft) {
	before := len(s.dns(base))
	s.run("subscription", "remove", "suse")
	if out, err := s.trySearch("-b", "cn=SuSe,"+base); err == nil || !strings.Contains(out, "No such object (32)") {
		t.Errorf("after the removal: %v\n%s", err, out)
	}
	if left := len(s.dns(base)); left != before-4 {
		t.Errorf("%d entries are left of %d", left, before)
	}
	if _, ok := s.names()["cn=SuSe,"+base]; ok {
		t.Error("the name is still listed")
	}
	if _, err := os.Stat(s.path("data")); err != nil {
		t.Error(err)
	}
}
