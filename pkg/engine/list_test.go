package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/tree"
)

const listBase = "o=Lists"

const listLDIF = "dn: o=Lists\nobjectClass: organization\no: Lists\n\n"

// distro is LDIF of an entry that the list finds, with names, and two entries below.
func distro(cn string, names ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: cn=%s,o=Lists\nobjectClass: organizationalRole\ncn: %s\nst: found\n", cn, cn)
	for _, n := range names {
		fmt.Fprintf(&b, "l: %s\n", n)
	}
	fmt.Fprintf(&b, "seeAlso: cn=1,cn=%s,o=Lists\n\n", cn)
	for i := range 2 {
		fmt.Fprintf(&b, "dn: cn=%d,cn=%s,o=Lists\nobjectClass: organizationalRole\ncn: %d\ndescription: of %s\n\n", i, cn, i, cn)
	}
	return b.String()
}

func (w *world) list(id, template string, s *ldaptest.Server) *Added {
	w.t.Helper()
	out, err := w.e.AddSubscription(w.t.Context(), w.listSub(id, template, s), false)
	must(w.t, err)
	return out
}

func (w *world) listSub(id, template string, s *ldaptest.Server) Subscription {
	src := w.source(s, listBase)
	src.Filter, src.Attributes = "(st=found)", []string{"cn"}
	return Subscription{ID: id, Kind: KindList, Name: template, Source: src}
}

// remoteEntry is an entry as a server has it.
type remoteEntry struct {
	dn   string
	id   dit.UUID
	desc string
	see  []string
}

func remoteEntries(t *testing.T, s *ldaptest.Server, base string) []remoteEntry {
	t.Helper()
	c, err := ldap.DialURL(s.URL())
	must(t, err)
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"description", "entryUUID", "seeAlso"}, nil))
	must(t, err)
	var out []remoteEntry
	for _, e := range res.Entries {
		id, err := dit.ParseUUID(e.GetAttributeValue("entryUUID"))
		must(t, err)
		out = append(out, remoteEntry{e.DN, id, e.GetAttributeValue("description"), e.GetAttributeValues("seeAlso")})
	}
	return out
}

// places says, name by name, which remote entry's content is expected there.
type places map[string]string

// expected is what the tree is to show: DN, description and DN values, by DN. A name
// inside another hides what that has there.
func (w *world) expected(s *ldaptest.Server, want places) map[string]string {
	w.t.Helper()
	all := remoteEntries(w.t, s, listBase)
	out := map[string]string{}
	for _, at := range slices.SortedFunc(maps.Keys(want), func(a, b string) int { return cmp.Compare(len(a), len(b)) }) {
		maps.DeleteFunc(out, func(dn, _ string) bool { return dn == at || strings.HasSuffix(dn, ","+at) })
		base := want[at]
		for _, r := range all {
			if r.dn != base && !strings.HasSuffix(r.dn, ","+base) {
				continue
			}
			var see []string
			for _, v := range r.see {
				if v == base || strings.HasSuffix(v, ","+base) {
					v = strings.TrimSuffix(v, base) + at
				}
				see = append(see, v)
			}
			slices.Sort(see)
			out[strings.TrimSuffix(r.dn, base)+at] = fmt.Sprintf("%q %q", r.desc, see)
		}
	}
	return out
}

// served is the same of the tree.
func (w *world) served() map[string]string {
	v := w.e.Version()
	out := map[string]string{}
	desc, see := w.schema.Attribute("description"), w.schema.Attribute("seeAlso")
	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
		e := c.Entry()
		if e.Row().Claim == 0 {
			continue
		}
		d := strings.Join(slices.Collect(values(e.User().Values(w.schema, desc))), ",")
		out[string(e.DN())] = fmt.Sprintf("%q %q", d, slices.Sorted(values(e.User().Values(w.schema, see))))
	}
	return out
}

// awaitPlaces waits until the tree shows what it should, name by name.
func (w *world) awaitPlaces(s *ldaptest.Server, want places) {
	w.t.Helper()
	exp := w.expected(s, want)
	deadline := time.Now().Add(15 * time.Second)
	await(w.t, "the tree with the list's names", func() bool {
		got := w.served()
		if time.Now().After(deadline) {
			w.t.Fatalf("%s\n%+v", differences(exp, got), w.foundIn("l"))
		}
		return maps.Equal(got, exp)
	})
	w.check()
	w.checkLists()
}

func (w *world) foundIn(id string) []Found {
	w.t.Helper()
	out, err := w.e.Members(w.t.Context(), id)
	must(w.t, err)
	return out
}

// checkLists holds what the engine has in memory against the queues: each claim is
// known, the content of heads stands under their names, or that of a head that was removed, and of
// nobody else anywhere.
func (w *world) checkLists() {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		e := w.e
		if err := queue.Check(e.state); err != nil {
			w.t.Error(err)
		}
		if len(e.claims) != len(e.state.Claims) || len(e.byNum) != len(e.claims)+len(e.lingering) || len(e.lingering) != len(e.state.Lingers) {
			w.t.Errorf("%d claims in memory, %d in the queues, %d and %d linger", len(e.claims), len(e.state.Claims), len(e.lingering), len(e.state.Lingers))
		}
		for id, cl := range e.claims {
			qc := e.state.Claims[id]
			if qc == nil || qc.Name != cl.name.String() || qc.Number != cl.number || e.isMisplaced(cl) || contentSource(cl.sub, qc).Base != cl.source.Base {
				w.t.Errorf("claim %s at %s of %+v is not where %+v says", id, cl.name, cl.source, qc)
			}
			wanted := e.state.Names[qc.Norm].Head() == id || cl.sub.KeepWarm
			if wanted != (cl.feed != nil) || cl.link == nil {
				w.t.Errorf("claim %s: to be followed %v, followed %v, link %v", id, wanted, cl.feed != nil, cl.link != nil)
			}
		}
		for norm, cl := range e.placed {
			if l := e.lingering[norm]; cl.name.Norm() != norm || e.claims[cl.id] != cl && (l == nil || l.cl != cl) {
				w.t.Errorf("%s stands at %s", cl.id, norm)
			}
		}
	}))
	if left := w.stored(recordShown); len(left) > 0 {
		w.t.Errorf("content is noted as elsewhere: %q", left)
	}
}

func at(cn string) string { return "cn=" + cn + "," + baseDN }

func found(cn string) string { return "cn=" + cn + "," + listBase }

// R18, R19, R20, R21, R27: what a list finds appears, follows changed names with its
// UUIDs, swaps, reloads under another DN and goes; over restarts.
func TestListFollows(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B") + distro("c", "C1", "C2") + distro("none")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	want := places{at("A"): found("a"), at("B"): found("b"), at("C1"): found("c"), at("C2"): found("c")}
	w.awaitPlaces(s, want)
	if m := w.foundIn("l"); len(m) != 4 || len(m[3].Problems) != 1 || !strings.Contains(m[3].Problems[0], "has no attribute l") {
		t.Errorf("found %+v", m)
	}
	from := w.e.Version().CSN()
	ids := uuidsOf(w.e.Version())
	loads := s.Stats().RefreshEntries

	must(t, s.Modify(found("a"), "l", "Other"))
	want = places{at("Other"): found("a"), at("B"): found("b"), at("C1"): found("c"), at("C2"): found("c")}
	w.awaitPlaces(s, want)
	now := uuidsOf(w.e.Version())
	for _, rel := range []string{"", "cn=0,", "cn=1,"} {
		if now[rel+at("Other")] != ids[rel+at("A")] {
			t.Errorf("%s was served as %s and is as %s", rel, ids[rel+at("A")], now[rel+at("Other")])
		}
	}
	if again := s.Stats().RefreshEntries; again > loads+1 { // the found entry itself is content that changed
		t.Errorf("%d entries were fetched for a rename", again-loads)
	}
	w.checkLog(from)
	w.restart()
	w.awaitPlaces(s, want)

	// A swap while the list's server is away: one refresh tells both names.
	s.Down()
	must(t, s.Modify(found("a"), "l", "B"))
	must(t, s.Modify(found("b"), "l", "Other"))
	must(t, s.Up())
	want = places{at("B"): found("a"), at("Other"): found("b"), at("C1"): found("c"), at("C2"): found("c")}
	w.awaitPlaces(s, want)
	swapped := uuidsOf(w.e.Version())
	if swapped["cn=0,"+at("B")] != now["cn=0,"+at("Other")] || swapped["cn=0,"+at("Other")] != now["cn=0,"+at("B")] {
		t.Error("UUIDs of swapped names are not kept")
	}
	w.checkLog(from)

	must(t, s.Rename(found("a"), found("aa")))
	want[at("B")] = found("aa")
	w.awaitPlaces(s, want)
	if again := uuidsOf(w.e.Version()); again["cn=0,"+at("B")] != swapped["cn=0,"+at("B")] {
		t.Error("the UUID did not outlive a rename of the found entry")
	}
	w.restart()
	w.awaitPlaces(s, want)

	must(t, s.Delete(found("b")))
	delete(want, at("Other"))
	must(t, s.Modify(found("c"), "l", "C2"))
	delete(want, at("C1"))
	must(t, s.Add(distro("d", "Other", "D")))
	want[at("Other")], want[at("D")] = found("d"), found("d")
	w.awaitPlaces(s, want)
	w.checkLog(from)
	w.restart()

	out, err := w.e.RemoveSubscription(t.Context(), "l", false)
	must(t, err)
	if len(out.Names) != 4 || w.e.Version().Len() != 1 {
		t.Errorf("removed %+v, %d entries are left", out, w.e.Version().Len())
	}
	for _, prefix := range []string{recordListCookie, recordListGone, recordSubscription, recordContact} {
		if left := w.stored(prefix); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	w.checkLog(from)
	w.restart()
}
