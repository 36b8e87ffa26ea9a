package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R40: slapds that follow with a filter, by both modes and with and without schema
// checking, have what matches it and nothing else, and slapds that follow some attributes
// have these, while entries come to match and cease to, are renamed, come and go.
func TestSlapdsFollowWithFilter(t *testing.T) {
	const filter = "(|(objectClass=organization)(objectClass=organizationalUnit)(description=in))"
	some := []string{"objectClass", "structuralObjectClass", "cn", "ou", "o", "description", "entryUUID", "entryCSN"}
	src := source(t, "src", 9)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "o=Src", "--wait")
	r := rand.New(rand.NewPCG(9, 1))
	there := map[string]bool{}
	stir := func(n int) {
		for range n {
			name := fmt.Sprintf("cn=e%d", r.IntN(12))
			description := []string{"in", "out"}[r.IntN(2)]
			switch op := r.IntN(5); {
			case !there[name]:
				src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: add\nobjectClass: device\ncn: x\ndescription: %s\nserialNumber: 0\n", name, src.suffix, description))
				there[name] = true
			case op == 0:
				src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: delete\n", name, src.suffix))
				delete(there, name)
			case op == 1:
				to := fmt.Sprintf("cn=e%d", r.IntN(12))
				if !there[to] {
					src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n", name, src.suffix, to))
					delete(there, name)
					there[to] = true
				}
			default:
				src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: modify\nreplace: description\ndescription: %s\n-\nreplace: serialNumber\nserialNumber: %d\n",
					name, src.suffix, description, r.IntN(1000)))
			}
		}
	}
	stir(15)
	var filtered, narrow []*ldaptest.Slapd
	for _, lines := range [][]string{
		{"type=refreshAndPersist", "schemachecking=on"},
		{"type=refreshAndPersist", "schemachecking=off"},
		{"type=refreshOnly", "interval=00:00:00:01", "schemachecking=on"},
		{"type=refreshOnly", "interval=00:00:00:01", "schemachecking=off"},
	} {
		filtered = append(filtered, mirror(t, "ldap://"+s.address, base, append(lines, fmt.Sprintf("filter=%q", filter))...))
		narrow = append(narrow, mirror(t, "ldap://"+s.address, base, append(lines, fmt.Sprintf("attrs=%q", strings.Join(some, ",")))...))
	}
	check := func() {
		t.Helper()
		for _, m := range filtered {
			s.mirrors(t, m, base, filter)
		}
		for i, m := range narrow {
			var want, got map[string]string
			eventually(t, 30*time.Second, "the mirror has the attributes that it asks for", func() bool {
				served, _ := s.trySearch(append([]string{"-b", base}, some...)...)
				want, got = copied(served), copied(m.Search(append([]string{"-LLL", "-o", "ldif-wrap=no", "-b", base}, some...)...))
				return len(want) > 0 && maps.Equal(want, got)
			})
			if out := m.Search("-LLL", "-b", base, "(serialNumber=*)"); out != "" {
				t.Errorf("mirror %d has what it did not ask for:\n%s", i, out)
			}
		}
	}
	check()
	for range 3 {
		stir(15)
		check()
	}
	filtered[0].Stop()
	narrow[0].Stop()
	stir(15)
	s.kill()
	stir(5)
	s.start()
	filtered[0].Start()
	narrow[0].Start()
	check()
}

// R40: slapds follow with a filter that leaves out the base and most parents of what it matches:
// they make these up, and have what matches.
func TestFilterWithoutParents(t *testing.T) {
	const filter = "(description=in)"
	src := source(t, "src", 10)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "o=Src", "--wait")
	stir := func(n int) {
		for range n {
			src.change()
			if at := src.some(); at != "" {
				src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: modify\nreplace: description\ndescription: %s\n", at, src.suffix, []string{"in", "out"}[src.r.IntN(2)]))
			}
		}
	}
	stir(15)
	url := "ldap://" + s.address
	mirrors := []*ldaptest.Slapd{
		mirror(t, url, base, "type=refreshAndPersist", "schemachecking=on", fmt.Sprintf("filter=%q", filter)),
		mirror(t, url, base, "type=refreshOnly", "interval=00:00:00:01", fmt.Sprintf("filter=%q", filter)),
	}
	for range 3 {
		stir(10)
		for src.some() == "" {
			src.change()
		}
		src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: modify\nreplace: description\ndescription: in\n", src.some(), src.suffix))
		for _, m := range mirrors {
			withGlue(t, s, m, base, filter)
		}
	}
}

// withGlue waits until a slapd has what a search at a base gives, and what it makes up above that.
func withGlue(t *testing.T, s *shaft, m *ldaptest.Slapd, at string, search ...string) {
	t.Helper()
	var want, got map[string]string
	defer func() {
		if t.Failed() {
			t.Logf("%q: it has\n%q\nwants\n%q", search, got, want)
		}
	}()
	eventually(t, time.Minute, "the mirror has what is found, and glue", func() bool {
		want, got = copied(s.dump(at, search...)), copied(m.Dump())
		maps.DeleteFunc(got, func(_, entry string) bool { return strings.Contains(entry, "objectClass: glue") })
		return len(want) > 0 && maps.Equal(want, got)
	})
}

// R40: slapds follow with each scope.
func TestSlapdsFollowEachScope(t *testing.T) {
	src := source(t, "src", 21)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "o=Src", "--wait")
	at, mirrors := "o=Src,"+base, map[string]*ldaptest.Slapd{}
	for scope, search := range map[string]string{"sub": "sub", "one": "one", "base": "base", "subord": "children"} {
		mirrors[search] = mirror(t, "ldap://"+s.address, at, "type=refreshAndPersist", "scope="+scope)
	}
	for round := range 3 {
		src.slapd.Apply(fmt.Sprintf("dn: o=src\nchangetype: modify\nreplace: description\ndescription: round %d\n", round))
		for range 15 {
			src.change()
		}
		for scope, m := range mirrors {
			withGlue(t, s, m, at, "-s", scope)
		}
	}
}
