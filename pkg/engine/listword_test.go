package engine

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// silence has a list's own search say nothing from begin to end, and those of content
// wait for the gate, where there is one: so many do. What runs then is ended.
func silence(s *ldaptest.Server, gate <-chan struct{}) (begin, end func(), waiting *atomic.Int32) {
	var silent atomic.Bool
	waiting = new(atomic.Int32)
	s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		switch {
		case q.Sync == nil:
		case q.Base != listBase && gate != nil:
			waiting.Add(1)
			select {
			case <-gate:
			case <-q.Done:
			}
		case q.Base == listBase && silent.Load():
			<-q.Done
			return true, nil
		}
		return false, nil
	})
	return func() { silent.Store(true); s.Down() }, func() { silent.Store(false); s.Down() }, waiting
}

// swap has two found entries take each other's place.
func swap(s *ldaptest.Server, a, b string) error {
	return errors.Join(s.Rename(a, found("aside")), s.Rename(b, a), s.Rename(found("aside"), b))
}

// R35: where another entry stands in the place of a found one, the content stays until
// the list's search says what became of that: what is there never shows under the name
// of what was found.
func TestAnotherEntryInThePlaceOfAFoundOne(t *testing.T) {
	for _, test := range []struct {
		name    string
		present bool   // told in a present phase
		filter  string // for the content: of the found entry it says less
	}{
		{"named deleted", false, ""},
		{"not named present", true, ""},
		{"may have left the filter", false, "(objectClass=organizationalRole)"},
		{"may have left the filter, not named present", true, "(objectClass=organizationalRole)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B"), PresentPhase: test.present})
			w := newWorld(t)
			sub := w.listSub("l", "cn=%(attr.l)s", s)
			sub.ContentFilter = test.filter
			_, err := w.e.AddSubscription(t.Context(), sub, false)
			must(t, err)
			await(t, "both names", func() bool { return len(w.content()) == 6 })
			w.awaitLive(at("A"))
			w.awaitLive(at("B"))
			before := w.content()
			begin, end, _ := silence(s, nil)
			begin()
			await(t, "it is away", func() bool { return w.name(at("A")).Head.State == "down" })
			must(t, swap(s, found("a"), found("b")))
			must(t, s.Up())
			await(t, "the search says so", func() bool { return w.foundGone(at("A")) })
			if now := w.content(); !maps.Equal(now, before) {
				t.Errorf("served is %q, and was %q", now, before)
			}
			end()
			must(t, s.Up())
			w.awaitPlaces(s, places{at("A"): found("b"), at("B"): found("a")})
			w.restart()
		})
	}
}

// foundGone tells whether a claim has seen what stands in its place, and said so or
// taken it for its own.
func (w *world) foundGone(name string) bool {
	head := w.name(name).Head
	return head.State == "live" || strings.Contains(head.Reason, "found entry")
}

// R21: what stands where an entry was found is not loaded for it the first time either.
func TestAnotherEntryBeforeTheFirstLoad(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	w := newWorld(t)
	gate := make(chan struct{})
	begin, end, waiting := silence(s, gate)
	w.list("l", "cn=%(attr.l)s", s)
	await(t, "both are found", func() bool { return len(w.foundIn("l")) == 2 })
	await(t, "their first loads", func() bool { return waiting.Load() >= 2 })
	begin()
	must(t, swap(s, found("a"), found("b")))
	close(gate)
	must(t, s.Up())
	await(t, "the search says so", func() bool { return w.foundGone(at("A")) })
	if now := w.content(); len(now) > 0 {
		t.Errorf("served is %q", now)
	}
	end()
	must(t, s.Up())
	w.awaitPlaces(s, places{at("A"): found("b"), at("B"): found("a")})
	w.restart()
}

// R35: a refresh that is complete and leaves the found entry out is not believed either.
func TestRefreshWithoutTheFoundEntry(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	here := at("A")
	await(t, "the name", func() bool { return len(w.content()) == 3 })
	w.awaitLive(here)
	s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if q.Sync == nil || q.Base == listBase {
			return false, nil
		}
		if err := p.EndPresent([]byte("rid=000,csn=20300101000000.000000Z#000000#000#000000"), true); err != nil {
			return true, err
		}
		<-q.Done
		return true, nil
	})
	s.Down()
	await(t, "it is away", func() bool { return w.name(here).Head.State == "down" })
	must(t, s.Up())
	await(t, "the search says so", func() bool { return w.foundGone(here) })
	if n := len(w.content()); n != 3 {
		t.Errorf("%d entries are served", n)
	}
}

// R21: where entries above found ones swap their names, another one stands in the place
// of each, and their server speaks of none: the list is searched in full.
func TestSwappedAboveFoundEntries(t *testing.T) {
	above := ""
	for _, ou := range []string{"X", "Y"} {
		above += fmt.Sprintf("dn: ou=%s,o=Lists\nobjectClass: organizationalUnit\nou: %s\n\n", ou, ou) +
			fmt.Sprintf("dn: cn=a,ou=%s,o=Lists\nobjectClass: organizationalRole\ncn: a\nst: found\ndescription: of %s\n\n", ou, ou)
	}
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + above, PresentPhase: true})
	w := newWorld(t)
	w.list("l", "cn=%(rdn1.ou)s", s)
	x, y := at("X"), at("Y")
	await(t, "both names", func() bool { return len(w.content()) == 2 })
	w.awaitLive(x)
	w.awaitLive(y)
	before := w.content()
	s.Down()
	await(t, "it is away", func() bool { return w.name(x).Head.State == "down" && w.name(y).Head.State == "down" })
	for _, r := range [][2]string{{"X", "Z"}, {"Y", "X"}, {"Z", "Y"}} {
		must(t, s.Rename("ou="+r[0]+",o=Lists", "ou="+r[1]+",o=Lists"))
	}
	must(t, s.Up())
	await(t, "they have swapped", func() bool { now := w.content(); return now[x] == before[y] && now[y] == before[x] })
	w.awaitLive(x)
	w.awaitLive(y)
	found := w.foundIn("l")
	if len(found) != 2 || found[0].Names[0].Name != x || found[1].Names[0].Name != y {
		t.Errorf("the list has %+v", found)
	}
	w.check()
	w.restart()
}
