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

// farm is a source with many distributions, each with a package below.
const (
	farmSuffix = "o=farm"
	farmSize   = 300
)

func farmEntry(n int) string {
	return fmt.Sprintf(`dn: cn=d%03[1]d,%[2]s
objectClass: LinuxDistribution
cn: d%03[1]d
distro: D %03[1]d

dn: pkgName=slapd,cn=d%03[1]d,%[2]s
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: %[1]d
seeAlso: cn=d%03[1]d,%[2]s
`, n, farmSuffix)
}

func farmLDIF() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: organization\no: farm\n", farmSuffix)
	for n := range farmSize {
		b.WriteString("\n" + farmEntry(n))
	}
	return b.String()
}

// farmed gives the entryUUIDs of all that is served below the base, by DN.
func farmed(s *shaft) map[string]string {
	found := uuids(s.search("-b", base, "entryUUID"))
	delete(found, base)
	return found
}

// names that the list makes of an entry: of its own name and its distro.
func farmName(cn, distro string) string { return fmt.Sprintf("cn=%s %s,%s", cn, distro, base) }

// R12, R15, R18, R21, R33, R41: a list of 300 found entries on one real server.
func TestListOf300(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: farmSuffix, LDIF: farmLDIF(), SessionLog: 10000})
	s := newShaft(t, "base_dn: "+base)
	begun := time.Now()
	s.run("subscription", "add", "farm", "--list", "--url", up.URL()+"/"+farmSuffix+"??sub?(objectClass=LinuxDistribution)", "--name", "cn=%(attr.cn)s %(attr.distro)s")
	want := map[string]bool{}
	for n := range farmSize {
		name := farmName(fmt.Sprintf("d%03d", n), fmt.Sprintf("D %03d", n))
		want[name], want["pkgName=slapd,"+name] = true, true
	}
	awaitNames(t, s, "all that the list found appears", want)
	t.Logf("300 names after %v", time.Since(begun).Round(time.Millisecond))
	if n := len(s.names()); n != farmSize {
		t.Errorf("%d names, want %d", n, farmSize)
	}
	eventually(t, 60*time.Second, "every name is live", func() bool {
		for _, n := range s.names() {
			if n.Head.State != "live" || !n.LastKnownGood || n.Entries != 2 {
				return false
			}
		}
		return true
	})
	if e := s.search("-b", "pkgName=slapd,"+farmName("d007", "D 007"), "-s", "base"); line(e, "seeAlso") != farmName("d007", "D 007") || line(e, "pkgVersion") != "7" {
		t.Errorf("an entry below a name is\n%s", e)
	}
	t.Run("renames", func(t *testing.T) { farmRenames(t, s, up, want) })
	t.Run("content", func(t *testing.T) { farmContent(t, s, up) })
	t.Run("outage", func(t *testing.T) { farmOutage(t, s, up, want) })
}

// awaitNames waits until the entries below the base are those wanted.
func awaitNames(t *testing.T, s *shaft, what string, want map[string]bool) {
	t.Helper()
	var got map[string]string
	defer func() {
		if t.Failed() {
			for dn := range want {
				if got[dn] == "" {
					t.Logf("%s is missing", dn)
				}
			}
			for dn := range got {
				if !want[dn] {
					t.Logf("%s is too many", dn)
				}
			}
		}
	}()
	eventually(t, 60*time.Second, what, func() bool {
		got = farmed(s)
		return maps.EqualFunc(got, want, func(uuid string, _ bool) bool { return uuid != "" })
	})
}

// farmRenames changes ten names: five entries get another RDN, five another
// value in the template.
func farmRenames(t *testing.T, s *shaft, up *ldaptest.Slapd, want map[string]bool) {
	before, claims := farmed(s), s.names()
	var changes strings.Builder
	moved := map[string]string{} // new name by old
	for n := range 10 {
		cn, distro := fmt.Sprintf("d%03d", n), fmt.Sprintf("D %03d", n)
		if n < 5 {
			fmt.Fprintf(&changes, "dn: cn=%s,%s\nchangetype: modrdn\nnewrdn: cn=r%s\ndeleteoldrdn: 1\n\n", cn, farmSuffix, cn)
			moved[farmName(cn, distro)] = farmName("r"+cn, distro)
		} else {
			fmt.Fprintf(&changes, "dn: cn=%s,%s\nchangetype: modify\nreplace: distro\ndistro: R %s\n\n", cn, farmSuffix, distro)
			moved[farmName(cn, distro)] = farmName(cn, "R "+distro)
		}
	}
	up.Apply(changes.String())
	for old, now := range moved {
		delete(want, old)
		delete(want, "pkgName=slapd,"+old)
		want[now], want["pkgName=slapd,"+now] = true, true
	}
	awaitNames(t, s, "ten names moved", want)
	after, now := farmed(s), s.names()
	for old, name := range moved {
		for _, below := range []string{"", "pkgName=slapd,"} {
			if before[below+old] != after[below+name] {
				t.Errorf("%s%s had entryUUID %s, as %s it has %s", below, old, before[below+old], name, after[below+name])
			}
		}
		if now[name].Head.Claim != claims[old].Head.Claim {
			t.Errorf("%s was claim %s, as %s it is %s", old, claims[old].Head.Claim, name, now[name].Head.Claim)
		}
	}
	for dn, uuid := range before {
		if top := dn[strings.Index(dn, "cn="):]; moved[top] == "" && after[dn] != uuid {
			t.Errorf("%s had entryUUID %s and has %s", dn, uuid, after[dn])
		}
	}
	name := farmName("d005", "R D 005")
	eventually(t, time.Minute, "DN values follow a name that moved", func() bool {
		return line(s.search("-b", "pkgName=slapd,"+name, "-s", "base"), "seeAlso") == name
	})
	if n := len(now); n != farmSize {
		t.Errorf("%d names, want %d", n, farmSize)
	}
}

// farmContent changes content of every name: each claim follows its own subtree.
func farmContent(t *testing.T, s *shaft, up *ldaptest.Slapd) {
	var changes strings.Builder
	for n := 10; n < farmSize; n++ {
		fmt.Fprintf(&changes, "dn: pkgName=slapd,cn=d%03d,%s\nchangetype: modify\nreplace: pkgVersion\npkgVersion: new %d\n\n", n, farmSuffix, n)
	}
	up.Apply(changes.String())
	eventually(t, 30*time.Second, "changes of content show under every name", func() bool {
		return strings.Count(s.search("-b", base, "(pkgVersion=new *)", "1.1"), "dn: ") == farmSize-10
	})
}

// farmOutage takes the server away: membership is frozen, over kill -9 too, and
// goes on where it was.
func farmOutage(t *testing.T, s *shaft, up *ldaptest.Slapd, want map[string]bool) {
	before := farmed(s)
	up.Stop()
	eventually(t, 30*time.Second, "all names are seen down", func() bool {
		down := 0
		for _, n := range s.names() {
			if n.Head.State == "down" && slices.Contains(n.Alarms, "down") {
				down++
			}
		}
		return down == farmSize
	})
	if after := farmed(s); !maps.Equal(before, after) {
		t.Errorf("with its server down the list has %d entries, it had %d", len(after), len(before))
	}
	s.kill()
	s.start()
	if after := farmed(s); !maps.Equal(before, after) {
		t.Errorf("after kill -9, its server down, the list has %d entries, it had %d", len(after), len(before))
	}
	if n := len(s.names()); n != farmSize {
		t.Errorf("%d names after kill -9", n)
	}
	up.Start()
	gone := farmName("d200", "D 200")
	up.Apply(fmt.Sprintf("dn: pkgName=slapd,cn=d200,%[1]s\nchangetype: delete\n\ndn: cn=d200,%[1]s\nchangetype: delete\n\n%[2]s", farmSuffix, farmEntry(farmSize)))
	come := farmName(fmt.Sprintf("d%03d", farmSize), fmt.Sprintf("D %03d", farmSize))
	delete(want, gone)
	delete(want, "pkgName=slapd,"+gone)
	want[come], want["pkgName=slapd,"+come] = true, true
	awaitNames(t, s, "what changed meanwhile is caught up", want)
	after := farmed(s)
	for dn, uuid := range before {
		if want[dn] && after[dn] != uuid {
			t.Errorf("%s had entryUUID %s and has %s", dn, uuid, after[dn])
		}
	}
}
