package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

const (
	suffix = "o=Source"
	name   = "cn=Here," + baseDN
)

const sourceLDIF = `dn: o=Source
objectClass: organization
o: Source

dn: ou=a,o=Source
objectClass: organizationalUnit
ou: a

dn: ou=b,o=Source
objectClass: organizationalUnit
ou: b
`

// R12, R33, R35, R41, R44 and invariants 7, 9 and 13: whatever an upstream does, however
// often it and Shaft go down and come back, the tree ends as the upstream's.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomHistory(t, rand.New(rand.NewPCG(seed, 7)), ldaptest.Options{
				Suffix: suffix, LDIF: sourceLDIF, PresentPhase: seed%2 == 1, SID: int(seed % 3),
			})
		})
	}
}

func randomHistory(t *testing.T, r *rand.Rand, o ldaptest.Options) {
	s := serve(t, o)
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	last := w.e.Version().CSN()
	for round := range 25 {
		switch r.IntN(5) {
		case 0:
			s.Down()
			randomWrites(t, r, s)
			must(t, s.Up())
		case 1:
			s.CutAfter(r.IntN(12))
			s.Down()
			randomWrites(t, r, s)
			must(t, s.Up())
		case 2:
			randomWrites(t, r, s)
			w.restart()
		default:
			randomWrites(t, r, s)
		}
		s.CutAfter(-1)
		w.awaitEqual(s, suffix, name)
		w.check()
		if now := w.e.Version().CSN(); now < last {
			t.Fatalf("round %d: contextCSN went back from %d to %d", round, last, now)
		} else {
			last = now
		}
	}
	w.awaitLive(name)
	w.restart()
}

// randomWrites does a few writes to the server, of every kind.
func randomWrites(t *testing.T, r *rand.Rand, s *ldaptest.Server) {
	t.Helper()
	parents := []string{"ou=a," + suffix, "ou=b," + suffix, suffix, "cn=0,ou=a," + suffix, "cn=1,ou=b," + suffix}
	pick := func() string {
		p := parents[r.IntN(len(parents))]
		return fmt.Sprintf("cn=%d,%s", r.IntN(6), p)
	}
	for range 1 + r.IntN(8) {
		dn, other := pick(), pick()
		switch r.IntN(6) {
		case 0, 1:
			rdn, _, _ := strings.Cut(dn, ",")
			_ = s.Add(fmt.Sprintf("dn: %s\nobjectClass: organizationalRole\ncn: %s\n", dn, rdn[3:]))
		case 2:
			_ = s.Modify(dn, "description", fmt.Sprint(r.IntN(4)))
		case 3:
			_ = s.Delete(dn)
		case 4:
			_ = s.Rename(dn, other)
		case 5: // a swap of two names
			tmp := "cn=tmp," + suffix
			if s.Rename(dn, tmp) == nil {
				_ = s.Rename(other, dn)
				if s.Rename(tmp, other) != nil {
					_ = s.Delete(tmp)
				}
			}
		}
	}
}

// R7: the same with a name inside: what the outer source does there stays hidden,
// is not lost, and comes back when the inner name goes.
func TestRandomHistoriesAroundAnInnerName(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			outer := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, PresentPhase: seed%2 == 1})
			inner := serve(t, ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
			w := newWorld(t)
			w.add("outer", "cn=Here", w.source(outer, suffix))
			w.awaitEqual(outer, suffix, name)
			place := "cn=0,ou=a," + name
			w.add("inner", place, w.source(inner, ldaptest.SuSeSuffix))
			w.awaitLive(place)
			innerContent := w.upstreamContent(inner, ldaptest.SuSeSuffix, place)
			merged := func() map[string]string {
				want := maps.Clone(innerContent)
				for dn, e := range w.upstreamContent(outer, suffix, name) {
					if dn != place && !strings.HasSuffix(dn, ","+place) {
						want[dn] = e
					}
				}
				return want
			}
			for range 20 {
				if r.IntN(4) == 0 {
					outer.Down()
				}
				randomWrites(t, r, outer)
				must(t, outer.Up())
				want := merged()
				await(t, "the merged tree", func() bool { return maps.Equal(w.content(), want) })
				w.check()
				if r.IntN(4) == 0 {
					w.restart()
				}
			}
			_, err := w.e.RemoveSubscription(t.Context(), "inner", false)
			must(t, err)
			w.awaitEqual(outer, suffix, name)
			w.restart()
		})
	}
}

// R44: an update that changes nothing sends nothing downstream.
func TestIdempotentUpdate(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	must(t, s.Modify("ou=a,"+suffix, "description", "x"))
	w.awaitEqual(s, suffix, name)
	csn := w.e.Version().CSN()
	must(t, s.Modify("ou=a,"+suffix, "description", "x"))
	s.Down()
	must(t, s.Up())
	w.awaitLive(name)
	if now := w.e.Version().CSN(); now != csn {
		t.Errorf("contextCSN moved from %d to %d", csn, now)
	}
	must(t, s.Modify("ou=b,"+suffix, "description", "y"))
	w.awaitEqual(s, suffix, name)
	for c := w.e.Version().Search(tree.Query{Base: w.e.Version().Root(), Scope: tree.Sub}); c.Next(); {
		if strings.HasPrefix(string(c.Entry().DN()), "ou=a,") && c.Entry().Row().CSN > csn {
			t.Error("the unchanged entry has a new CSN")
		}
	}
}

// R41: entries of two claims on one source have UUIDs of their own, which stay over a
// restart; a new upstream UUID at the same DN is a new entry.
func TestPublishedUUIDs(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.add("two", "cn=There", w.source(s, suffix))
	w.awaitLive("cn=There")
	await(t, "both names are whole", func() bool { return w.e.Version().Len() == 7 })
	w.check()
	before := w.print()
	w.restart()
	if w.print() != before {
		t.Error("UUIDs changed over a restart")
	}
	must(t, s.Modify("ou=a,"+suffix, "description", "both"))
	await(t, "a change in both", func() bool { return strings.Count(w.print(), "\"both\"") >= 0 && strings.Count(w.print(), "both") == 2 })
	w.check()

	uuid := func() dit.UUID {
		dn, err := dit.ParseDN(w.schema, "ou=b,"+name)
		must(t, err)
		id, _ := w.e.Version().Find(dn.Norm())
		return w.e.Version().Row(id).UUID
	}
	old := uuid()
	must(t, s.Delete("ou=b,"+suffix))
	must(t, s.Add("dn: ou=b,o=Source\nobjectClass: organizationalUnit\nou: b\nentryUUID: 11111111-2222-4333-8444-555555555555\n"))
	await(t, "the new entry", func() bool { u := uuid(); return u != old && !u.IsZero() })
}

// R11: attributes, filter and scope are honoured; what a filter leaves without a
// parent hangs on glue.
func TestFilterAndAttributes(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	w := newWorld(t)
	src := w.source(s, ldaptest.RedHatSuffix)
	src.Filter, src.Attributes = "(objectClass=LinuxPackage)", []string{"pkgVersion"}
	w.add("s", "cn=Here", src)
	w.awaitLive(name)
	var dns []string
	v := w.e.Version()
	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
		e := c.Entry()
		mark := ""
		if e.Row().Glue {
			mark = "glue "
		}
		dns = append(dns, mark+string(e.DN()))
		if e.Row().Claim == 0 {
			continue
		}
		for run := e.User(); ; {
			desc, _, rest, ok := run.Next()
			if !ok {
				break
			}
			if !slices.Contains([]string{"objectClass", "pkgName", "pkgVersion"}, string(desc)) {
				t.Errorf("%s has %s", e.DN(), desc)
			}
			run = rest
		}
	}
	want := []string{
		baseDN, "glue " + name, "glue distro=Fedora," + name, "glue distro=RHEL," + name,
		"pkgName=389-ds-base,distro=RHEL," + name, "pkgName=openldap,distro=Fedora," + name, "pkgName=openldap,distro=RHEL," + name,
	}
	if slices.Sort(dns); !slices.Equal(dns, sortedCopy(want)) {
		t.Errorf("the tree is %q", dns)
	}
	w.restart()
	must(t, s.Delete("pkgName=openldap,distro=Fedora,"+ldaptest.RedHatSuffix))
	await(t, "glue goes with its last child", func() bool { return w.e.Version().Len() == 5 })
	w.restart()
}

func sortedCopy(list []string) []string { return slices.Sorted(slices.Values(list)) }
