package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// mirror starts a real slapd that follows a server with a base and more lines of
// its syncrepl directive.
func mirror(t *testing.T, provider, suffix string, lines ...string) *ldaptest.Slapd {
	t.Helper()
	directive := append([]string{
		"syncrepl rid=007", "provider=" + provider, `retry="1 +"`, fmt.Sprintf("searchbase=%q", suffix), "bindmethod=simple",
	}, lines...)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "attrs=") }) {
		directive = append(directive, `attrs="*,+"`)
	}
	return ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, Database: strings.Join(directive, "\n  ")})
}

// copied are the entries of a dump by DN, without what each server makes up for itself.
func copied(ldif string) map[string]string {
	all := map[string]string{}
	for _, block := range strings.Split(ldif, "\n\n") {
		if dn, text := copiedEntry(block); dn != "" {
			all[dn] = text
		}
	}
	return all
}

// copiedEntry gives the DN of an entry, and its lines in order, without those that each
// server makes up for itself: a slapd says that a rootdn made what nobody is known to have made.
func copiedEntry(block string) (dn, text string) {
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(block), "\n") {
		name, value, _ := strings.Cut(l, ":")
		switch name {
		case "dn":
			dn = strings.TrimSpace(value)
		case "contextCSN", "entryDN", "subschemaSubentry", "hasSubordinates", "numSubordinates":
		default:
			if strings.HasPrefix(name, "shaft") { // never in a sync search
				continue
			}
			if !strings.Contains(name, "sName") || !strings.HasSuffix(value, base) && !strings.HasSuffix(value, "o=Second") {
				lines = append(lines, l)
			}
		}
	}
	slices.Sort(lines)
	return dn, strings.Join(lines, "\n")
}

// dump is what it serves at a base, in full.
func (s *shaft) dump(at string, args ...string) string {
	out, _ := s.trySearch(append(append([]string{"-b", at}, args...), "*", "+")...)
	return out
}

// mirrors waits until a slapd holds what Shaft serves at a base.
func (s *shaft) mirrors(t *testing.T, m *ldaptest.Slapd, at string, args ...string) {
	t.Helper()
	s.mirrorsBy(t, m, maps.Equal, at, args...)
}

// mirrorsLater is mirrors after a change of the access rules, for which entries are sent with a
// later entryCSN than a search shows.
func (s *shaft) mirrorsLater(t *testing.T, m *ldaptest.Slapd, at string, args ...string) {
	t.Helper()
	dated := func(text string) (rest, csn string) {
		lines := strings.Split(text, "\n")
		return strings.Join(slices.DeleteFunc(lines, func(l string) bool {
			v, ok := strings.CutPrefix(l, "entryCSN: ")
			if ok {
				csn = v
			}
			return ok
		}), "\n"), csn
	}
	s.mirrorsBy(t, m, func(want, got map[string]string) bool {
		return maps.EqualFunc(want, got, func(want, got string) bool {
			want, shown := dated(want)
			got, sent := dated(got)
			return want == got && sent >= shown
		})
	}, at, args...)
}

func (s *shaft) mirrorsBy(t *testing.T, m *ldaptest.Slapd, same func(want, got map[string]string) bool, at string, args ...string) {
	t.Helper()
	var want, got map[string]string
	defer func() {
		if t.Failed() {
			for dn := range want {
				if got[dn] != want[dn] {
					t.Logf("%s is\n%s\nwants\n%s", dn, got[dn], want[dn])
				}
			}
			for dn := range got {
				if want[dn] == "" {
					t.Logf("%s is too many", dn)
				}
			}
			t.Logf("log of the mirror:\n%s", m.Log())
		}
	}()
	eventually(t, 30*time.Second, "the mirror has what is served", func() bool {
		want = copied(s.dump(at, args...))
		got = copied(m.Dump())
		return len(want) > 0 && same(want, got)
	})
}

// traffic makes random changes at a source: adds, modifications, renames of leaves and subtrees, deletes.
type traffic struct {
	r      *rand.Rand
	slapd  *ldaptest.Slapd
	suffix string
	at     map[string]bool // RDNs below the suffix
	n      int
}

func (tr *traffic) some() string {
	list := slices.Sorted(maps.Keys(tr.at))
	if len(list) == 0 {
		return ""
	}
	return list[tr.r.IntN(len(list))]
}

func (tr *traffic) change() {
	at := tr.some()
	dn := at + "," + tr.suffix
	tr.n++
	switch op := tr.r.IntN(6); {
	case at == "" || op < 3:
		parent := ""
		if at != "" && tr.r.IntN(2) == 0 && strings.Count(at, ",") < 4 {
			parent = "," + at
		}
		name := fmt.Sprintf("cn=e%d%s", tr.n, parent)
		tr.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: add\nobjectClass: device\ncn: e%d\n", name, tr.suffix, tr.n))
		tr.at[name] = true
	case op == 3:
		tr.slapd.Apply(fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: description\ndescription: %d\n", dn, tr.n))
	case op == 4:
		_, parent, _ := strings.Cut(at, ",")
		to := fmt.Sprintf("cn=r%d", tr.n)
		tr.slapd.Apply(fmt.Sprintf("dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n", dn, to))
		if parent != "" {
			to += "," + parent
		}
		for name := range maps.Clone(tr.at) {
			if rest, ok := strings.CutSuffix(name, at); ok && (rest == "" || strings.HasSuffix(rest, ",")) {
				delete(tr.at, name)
				tr.at[rest+to] = true
			}
		}
	default:
		below := slices.DeleteFunc(slices.Collect(maps.Keys(tr.at)), func(name string) bool {
			return name != at && !strings.HasSuffix(name, ","+at)
		})
		slices.SortFunc(below, func(a, b string) int { return strings.Count(b, ",") - strings.Count(a, ",") })
		for _, name := range below {
			tr.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: delete\n", name, tr.suffix))
			delete(tr.at, name)
		}
	}
}

// source starts a slapd with traffic.
func source(t *testing.T, name string, seed uint64) *traffic {
	t.Helper()
	suffix := "o=" + name
	s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, SessionLog: 1000,
		LDIF: "dn: " + suffix + "\nobjectClass: organization\no: " + name + "\n"})
	return &traffic{r: rand.New(rand.NewPCG(seed, 17)), slapd: s, suffix: suffix, at: map[string]bool{}}
}

// followers is what the status counts.
func (s *shaft) followers() int {
	s.t.Helper()
	var st struct{ Followers int }
	if err := json.Unmarshal([]byte(s.run("status", "-o", "json")), &st); err != nil {
		s.t.Fatal(err)
	}
	return st.Followers
}

// R40, R42, invariant 10: real slapds follow, by refreshAndPersist and by polling, with and without
// schema checking, the whole tree and a part of it; they and Shaft are stopped
// and killed midway, and all of them end with what is served.
func TestSlapdsFollow(t *testing.T) {
	one, two := source(t, "one", 1), source(t, "two", 2)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "one", "--url", one.slapd.URL()+"/"+one.suffix, "--name", "cn=One")
	s.run("subscription", "add", "two", "--url", two.slapd.URL()+"/"+two.suffix, "--name", "cn=Two")
	s.live("cn=One")
	s.live("cn=Two")
	url := "ldap://" + s.address
	persist := mirror(t, url, base, "type=refreshAndPersist", "schemachecking=on")
	poll := mirror(t, url, base, "type=refreshOnly", "interval=00:00:00:01", "schemachecking=off")
	part := mirror(t, url, "cn=Two,"+base, "type=refreshAndPersist", "schemachecking=off")
	all := func() {
		t.Helper()
		s.mirrors(t, persist, base)
		s.mirrors(t, poll, base)
		s.mirrors(t, part, "cn=Two,"+base)
	}
	work := func(n int) {
		for range n {
			one.change()
			two.change()
		}
	}
	all()
	if n := s.followers(); n < 2 || n > 3 {
		t.Errorf("status counts %d followers", n)
	}
	work(10)
	all()
	persist.Stop()
	part.Kill()
	poll.Stop()
	work(10)
	persist.Start()
	poll.Start()
	work(2)
	part.Start()
	all()
	work(3) // which they are being told
	poll.Kill()
	persist.Kill()
	s.kill()
	work(5)
	poll.Start()
	s.start()
	persist.Start()
	all()
	s.kill()
	work(5)
	s.start()
	all()
	s.stop()
	persist.Stop()
	work(5)
	s.start()
	persist.Start()
	all()
	s.run("name", "rename", "cn=One,"+base, "cn=Renamed")
	work(2)
	all()
	s.run("subscription", "remove", "one")
	work(2)
	all()
}

// R40: a slapd follows a Shaft that follows a Shaft that follows a slapd; each
// is stopped meanwhile.
func TestShaftsInARow(t *testing.T) {
	src := source(t, "src", 3)
	first := newShaft(t, "base_dn: "+base)
	first.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	first.live("cn=Src")
	second := newShaft(t, "base_dn: o=Second\nserver_id: 2")
	second.run("subscription", "add", "first", "--url", "ldap://"+first.address+"/"+strings.ReplaceAll(base, " ", "%20"), "--name", "ou=First")
	last := mirror(t, "ldap://"+second.address, "o=Second", "type=refreshAndPersist", "schemachecking=on")
	arrived := func() {
		t.Helper()
		user := func(ldif, suffix string) map[string]string { return entries(ldif, suffix) }
		var there, here map[string]string
		defer func() {
			if t.Failed() {
				t.Logf("the second has\n%v\nthe first\n%v", here, there)
			}
		}()
		eventually(t, 30*time.Second, "the second Shaft has what the first has", func() bool {
			out, _ := first.trySearch("-b", base, "*", "entryUUID")
			there = user(out, base)
			out, _ = second.trySearch("-b", "ou=First,o=Second", "*", "entryUUID")
			here = user(out, "ou=First,o=Second")
			return len(there) > 0 && maps.Equal(there, here)
		})
		second.mirrors(t, last, "o=Second")
	}
	for range 12 {
		src.change()
	}
	arrived()
	first.kill()
	src.change()
	first.start()
	arrived()
	second.stop()
	for range 6 {
		src.change()
	}
	second.start()
	arrived()
	first.run("name", "rename", "cn=Src,"+base, "cn=Inner,cn=Glue")
	src.change()
	arrived()
	other := source(t, "other", 4)
	other.change()
	first.run("subscription", "add", "outer", "--url", other.slapd.URL()+"/"+other.suffix, "--name", "cn=Glue")
	src.change()
	arrived()
	second.stop()
	first.run("subscription", "remove", "outer")
	src.change()
	second.start()
	arrived()
}
