package upstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

func ou(dn string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(dn, "ou="), ",")
	return fmt.Sprintf("dn: %s\nobjectClass: organizationalUnit\nou: %s\n\n", dn, name)
}

// twoHouses is a slapd with ou=in and ou=out, and a subtree of 1+n*2 entries in the latter.
func twoHouses(t *testing.T, n int, o ldaptest.SlapdOptions) (*ldaptest.Slapd, Source) {
	t.Helper()
	var b strings.Builder
	b.WriteString("dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n")
	b.WriteString(ou("ou=in,dc=example,dc=org") + ou("ou=out,dc=example,dc=org") + ou("ou=top,ou=out,dc=example,dc=org"))
	for i := range n {
		b.WriteString(ou(fmt.Sprintf("ou=a%d,ou=top,ou=out,dc=example,dc=org", i)) + ou(fmt.Sprintf("ou=b,ou=a%d,ou=top,ou=out,dc=example,dc=org", i)))
	}
	o.Suffix, o.LDIF = "dc=example,dc=org", b.String()
	s := ldaptest.StartSlapd(t, o)
	src := Source{Protocol: "ldap", Host: "127.0.0.1", Port: s.Port, Base: "ou=in,dc=example,dc=org"}
	src.fill()
	return s, src
}

const moveIn = "dn: ou=top,ou=out,dc=example,dc=org\nchangetype: modrdn\nnewrdn: ou=top\ndeleteoldrdn: 0\nnewsuperior: ou=in,dc=example,dc=org\n"

// waits until the content has n entries.
func (m *mirror) grows(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got := strings.Count(m.dns(), "; ") + 1
		if got == n {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d entries, %d were to be: %.500s", got, n, m.dns())
		}
	}
}

// R12: of a subtree that is moved into the scope slapd sends the top alone; the
// rest is fetched, live and after an outage, on a connection of one's own and on
// a shared one.
func TestR12SubtreeMovedIn(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for _, log := range []int{0, 1000} {
			t.Run(fmt.Sprint("shared ", shared, ", session log ", log), func(t *testing.T) {
				noLeak(t)
				const n = 100
				s, src := twoHouses(t, n, ldaptest.SlapdOptions{SessionLog: log})
				o := quick()
				if shared {
					o, _ = pooled()
				}
				m := newMirror()
				l := Follow(src, m, o)
				m.await(t, Live)
				s.Apply(moveIn)
				m.grows(t, 2+2*n)
				if f := l.impl.fetches.Load(); f != 1 {
					t.Errorf("%d searches", f)
				}
				for dn, attrs := range m.attrs {
					if _, ok := firstValue(attrs, "entryCSN"); !ok {
						t.Fatalf("%s came without operational attributes", dn)
					}
				}
				l.Close()
			})
		}
	}
}

// After an outage too, where the refresh names what changed alone.
func TestR12SubtreeMovedInMeanwhile(t *testing.T) {
	noLeak(t)
	const n = 10
	s, src := twoHouses(t, n, ldaptest.SlapdOptions{SessionLog: 1000})
	m := newMirror()
	l := Follow(src, m, quick())
	m.await(t, Live)
	s.Apply("dn: ou=seen,ou=in,dc=example,dc=org\nobjectClass: organizationalUnit\nou: seen\n")
	m.grows(t, 2)
	l.Close()
	s.Apply(moveIn + "\ndn: ou=late,ou=in,dc=example,dc=org\nchangetype: add\nobjectClass: organizationalUnit\nou: late\n")
	follow(t, src, m, quick())
	m.await(t, Live)
	if want := 4 + 2*n; strings.Count(m.dns(), "; ")+1 != want {
		t.Errorf("%d entries, %d were to be", strings.Count(m.dns(), "; ")+1, want)
	}
}

// Entries that are added cost no search of their own, and what is outside the
// scope of what a source takes is not asked for.
func TestAddsCostNoSearch(t *testing.T) {
	noLeak(t)
	s, src := twoHouses(t, 3, ldaptest.SlapdOptions{})
	one, filtered := src, src
	one.Scope, one.Base = "one", "dc=example,dc=org"
	filtered.Filter = "(ou=a*)"
	m, narrow, chosen := newMirror(), newMirror(), newMirror()
	all, few := follow(t, src, m, quick()), follow(t, one, narrow, quick())
	follow(t, filtered, chosen, quick())
	for _, m := range []*mirror{m, narrow, chosen} {
		m.await(t, Live)
	}
	const containers, leaves = 20, 10
	var b strings.Builder
	for i := range containers {
		top := fmt.Sprintf("ou=new%d,ou=in,dc=example,dc=org", i)
		b.WriteString(ou(top))
		for j := range leaves {
			b.WriteString(ou(fmt.Sprintf("ou=leaf%d,%s", j, top)))
		}
	}
	s.Apply(b.String())
	m.grows(t, 1+containers*(1+leaves))
	t.Logf("%d searches for %d entries, of which %d have others below them", all.impl.fetches.Load(), containers*(1+leaves), containers)
	if f := all.impl.fetches.Load(); f > containers {
		t.Errorf("%d searches", f)
	}
	s.Apply(moveIn)
	m.grows(t, 1+containers*(1+leaves)+7)
	if few.impl.fetches.Load() != 0 {
		t.Error("the scope one asked for a subtree")
	}
}

// What changes while a subtree is fetched waits, but not without bound.
func TestTooMuchBehindAFetch(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(0, "c") }})
	c, err := open(t.Context(), s.source(), quick().withDefaults(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	one := searching(t, c)
	one.fallBehind(true)
	run := make([]byte, chunkSize)
	for range maxBehind/chunkSize - 1 {
		if err := one.deliver(run); err != nil {
			t.Fatal(err)
		}
	}
	if _, given := one.answered(); given {
		t.Fatal("given up too early")
	}
	one.deliver(run)
	one.deliver(run)
	f := &frames{ctx: t.Context(), search: one, patience: patience}
	if _, err := f.Next(); err == nil || !strings.Contains(err.Error(), syncrepl.ErrReload.Error()) {
		t.Errorf("got %v", err)
	}
}

// Entries that are fetched have the UUIDs that the sync search gives: of a server
// whose sync search has others than its entryUUIDs, all is loaded by that instead.
func TestFetchedUUIDsAreThoseOfTheSync(t *testing.T) {
	noLeak(t)
	top := entry(1)
	top.Attrs = dit.AppendAttr(top.Attrs, "hasSubordinates", "TRUE")
	s := listen(t, &server{
		sync: func(s *session, r request) {
			if s.number == 1 {
				s.refresh(1, "c")
				s.message(top)
				return
			}
			s.refresh(3, "d")
		},
		plain: func(s *session, r request) {
			for i := 1; i < 3; i++ {
				m := entry(i)
				m.MessageID, m.HasState = r.id, false
				m.Attrs = dit.AppendAttr(m.Attrs, "entryUUID", dit.UUID{9, byte(i)}.String())
				s.send(m.Append(nil))
			}
			s.send(response(r.id, 0x65, 0, ""))
		},
	})
	m := newMirror()
	follow(t, s.source(), m, quick())
	m.has(t, 1)
	m.has(t, 3)
}
