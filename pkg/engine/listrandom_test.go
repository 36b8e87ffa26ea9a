package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// R18 to R21, R24, R25, R27, R30, R31, R33, R41: two lists and a tree over names that
// clash, lie inside each other, are swapped, renamed and suppressed; found entries come,
// go, move and lie below each other; servers and Shaft go down. Whenever all is quiet
// each name shows its head's content, and each entry bears the UUID that it had.
func TestRandomLists(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomLists(t, seed)
		})
	}
}

// randomList is a world in which anything may happen to lists.
type randomList struct {
	*world
	r    *rand.Rand
	s    *ldaptest.Server
	next int
	dns  []string            // of what is found
	was  map[string]dit.UUID // what each claim's entries are served as
}

func randomLists(t *testing.T, seed uint64) {
	x := &randomList{world: newWorld(t), r: rand.New(rand.NewPCG(seed, 31)), was: map[string]dit.UUID{}, dns: []string{found("a"), found("b")}}
	x.s = serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B", "C"), PresentPhase: seed%2 == 1})
	tree := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	x.list("l", "cn=%(attr.l)s", x.s)
	x.list("m", "cn=in,cn=%(attr.street)s", x.s)
	x.add("t", at("A"), x.source(tree, suffix))
	from := x.e.Version().CSN()
	for range 12 {
		down := x.r.IntN(3) == 0
		if down {
			x.s.Down()
		}
		for range 1 + x.r.IntN(4) {
			x.act()
		}
		if down {
			if x.r.IntN(2) == 0 {
				x.restart()
			}
			must(t, x.s.Up())
		}
		if x.r.IntN(3) == 0 { // with all of it under way
			x.close()
			x.open()
		}
		x.settled(tree)
		if x.r.IntN(3) == 0 {
			x.restart()
		}
	}
	x.checkChanges(from)
	x.restart()
	x.settled(tree)
	for _, id := range []string{"l", "t", "m"} {
		_, err := x.e.RemoveSubscription(t.Context(), id, false)
		must(t, err)
	}
	if n := x.e.Version().Len(); n != 1 {
		t.Errorf("%d entries are left", n)
	}
	x.checkChanges(from)
	x.checkStored()
	x.restart()
}

var listNames = []string{"A", "B", "C", "D", "E"}

func (x *randomList) some(n int) (names []string) {
	for range x.r.IntN(n + 1) {
		names = append(names, listNames[x.r.IntN(len(listNames))])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (x *randomList) remote(filter string, attrs ...string) []*ldap.Entry {
	x.t.Helper()
	c, err := ldap.DialURL(x.s.URL())
	must(x.t, err)
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(listBase, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, attrs, nil))
	must(x.t, err)
	return res.Entries
}

// act does one thing.
func (x *randomList) act() {
	x.t.Helper()
	x.next++
	if len(x.dns) == 0 || x.r.IntN(6) == 0 {
		cn := fmt.Sprint("n", x.next)
		must(x.t, x.s.Add(distro(cn, x.some(2)...)))
		x.dns = append(x.dns, found(cn))
		return
	}
	dn, other := x.dns[x.r.IntN(len(x.dns))], x.dns[x.r.IntN(len(x.dns))]
	switch x.r.IntN(11) {
	case 0, 1:
		must(x.t, x.s.Modify(dn, "l", x.some(2)...))
	case 2:
		must(x.t, x.s.Modify(dn, "street", x.some(1)...))
	case 3: // two get each other's names, perhaps
		must(x.t, x.s.Modify(dn, "l", x.some(1)...))
		must(x.t, x.s.Modify(other, "l", x.some(1)...))
	case 4:
		x.rename(dn, fmt.Sprintf("cn=r%d,%s", x.next, listBase))
	case 5: // below another that is found; one that is there moved so would come without what is below it
		cn := fmt.Sprint("n", x.next)
		must(x.t, x.s.Add(strings.ReplaceAll(distro(cn, x.some(2)...), found(cn), "cn="+cn+","+other)))
		x.dns = append(x.dns, "cn="+cn+","+other)
	case 6:
		if len(x.dns) > 2 {
			must(x.t, x.s.Delete(dn))
			x.dns = slices.DeleteFunc(x.dns, func(d string) bool { return d == dn || strings.HasSuffix(d, ","+dn) })
		}
	case 7:
		must(x.t, x.s.Modify("cn=0,"+dn, "description", fmt.Sprint("step ", x.next)))
	default:
		x.operate()
	}
}

func (x *randomList) rename(dn, to string) {
	x.t.Helper()
	must(x.t, x.s.Rename(dn, to))
	for i, d := range x.dns {
		if d == dn || strings.HasSuffix(d, ","+dn) {
			x.dns[i] = strings.TrimSuffix(d, dn) + to
		}
	}
}

// operate has the operator rename, suppress, lift or reorder, by commands; one that is
// refused has changed nothing.
func (x *randomList) operate() {
	x.t.Helper()
	var ids []queue.ClaimID
	var lifted queue.ClaimID
	names, before := map[queue.ClaimID]string{}, ""
	must(x.t, x.e.do(x.t.Context(), func() {
		ids, before = x.e.claimIDs(), fmt.Sprintf("%q", queue.Records(x.e.state))
		for id, c := range x.e.state.Claims {
			names[id] = c.Name
		}
		for _, m := range append(x.e.membersOf("l"), x.e.membersOf("m")...) {
			for _, mc := range m.Claims {
				if mc.Suppressed {
					lifted = mc.Claim
				}
			}
		}
	}))
	if len(ids) == 0 {
		return
	}
	id := ids[x.r.IntN(len(ids))]
	to := at(listNames[x.r.IntN(len(listNames))])
	if x.r.IntN(3) == 0 {
		to = "cn=deep," + to
	}
	err := x.command(names[id], to, id, lifted)
	var refusal *queue.Refusal
	if err != nil && !errors.As(err, &refusal) {
		x.t.Fatal(err)
	}
	must(x.t, x.e.do(x.t.Context(), func() {
		if now := fmt.Sprintf("%q", queue.Records(x.e.state)); err == nil && now == before {
			x.t.Error("a command was taken, and nothing changed")
		}
	}))
}

// command draws one; a list may have changed the queues since it was looked at.
func (x *randomList) command(dn, to string, id, lifted queue.ClaimID) (err error) {
	ctx := x.t.Context()
	switch k := x.r.IntN(8); {
	case k < 4:
		_, err = x.e.RenameName(ctx, dn, to, id, 0, false)
	case k < 5:
		_, err = x.e.MoveInQueue(ctx, dn, id, 1+x.r.IntN(2), 0, false)
	case lifted != "":
		_, err = x.e.LiftClaim(ctx, lifted, 0, false)
	default:
		_, err = x.e.SuppressClaim(ctx, id, 0, false)
	}
	return err
}

// settled waits until the lists know what the server has, and the tree shows the heads.
func (x *randomList) settled(tree *ldaptest.Server) {
	x.t.Helper()
	members := map[string]string{}
	for _, r := range x.remote("(st=found)", "l", "street") {
		l, m := r.GetAttributeValues("l"), r.GetAttributeValues("street")
		slices.Sort(l)
		members[r.DN] = fmt.Sprintf("%q %q", l, m)
	}
	deadline := time.Now().Add(15 * time.Second)
	var got, want map[string]string
	await(x.t, "the lists", func() bool {
		heads, known := x.decided()
		if !maps.Equal(known, members) {
			if time.Now().After(deadline) {
				x.t.Fatalf("the lists found %v, the server has %v", known, members)
			}
			return false
		}
		trees := places{}
		for dn, base := range heads {
			if base == suffix {
				trees[dn] = base
				delete(heads, dn)
			}
		}
		got, want = x.served(), x.mixed(tree, heads, trees)
		if time.Now().After(deadline) {
			x.t.Fatalf("heads %v %v: %s", heads, trees, differences(want, got))
		}
		return maps.Equal(got, want)
	})
	x.check()
	x.checkLists()
	x.checkStored()
	x.sameUUIDs()
}

// mixed is expected of lists and of the tree together.
func (x *randomList) mixed(tree *ldaptest.Server, heads, trees places) map[string]string {
	out := x.expected(x.s, heads)
	for place := range trees {
		maps.DeleteFunc(out, func(dn, _ string) bool {
			return (dn == place || strings.HasSuffix(dn, ","+place)) && !x.inner(dn, place, heads)
		})
		for _, r := range remoteEntries(x.t, tree, suffix) {
			dn := strings.TrimSuffix(r.dn, suffix) + place
			if !x.inner(dn, place, heads) {
				out[dn] = fmt.Sprintf("%q %q", r.desc, []string(nil))
			}
		}
	}
	return out
}

// inner tells whether a DN at or below a name belongs to a name inside that.
func (x *randomList) inner(dn, place string, heads places) bool {
	for h := range heads {
		if len(h) > len(place) && strings.HasSuffix(h, ","+place) && (dn == h || strings.HasSuffix(dn, ","+h)) {
			return true
		}
	}
	return false
}

// decided gives the remote base of each head by name, and what the lists know.
func (x *randomList) decided() (heads places, known map[string]string) {
	x.t.Helper()
	heads, known = places{}, map[string]string{}
	must(x.t, x.e.do(x.t.Context(), func() {
		for _, n := range x.e.state.Names {
			heads[n.Text] = x.e.claims[n.Head()].source.Base
		}
		names := func(list, entry string) (out []string) {
			m := x.e.state.Members[list][entry]
			if m == nil {
				return nil
			}
			for _, mc := range m.Claims {
				dn, _ := dit.ParseDN(x.schema, strings.TrimPrefix(mc.Name, "cn=in,"))
				out = append(out, string(dn.RDN(0).AVAs()[0].Value))
			}
			slices.Sort(out)
			return out
		}
		for _, m := range x.e.membersOf("l") {
			if o := x.e.state.Members["m"][m.Entry]; o == nil || o.DN != m.DN {
				continue
			}
			known[m.DN] = fmt.Sprintf("%q %q", names("l", m.Entry), names("m", m.Entry))
		}
	}))
	return heads, known
}

// sameUUIDs holds what entries are served as against what they were.
func (x *randomList) sameUUIDs() {
	x.t.Helper()
	now := map[string]dit.UUID{}
	must(x.t, x.e.do(x.t.Context(), func() {
		v := x.e.newest
		for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
			row := c.Entry().Row()
			if row.Claim != 0 {
				now[fmt.Sprint(row.Claim, " ", x.e.pub.upstream(row.Claim, row.UUID))] = row.UUID
			}
		}
	}))
	for key, id := range now {
		if was, ok := x.was[key]; ok && was != id {
			x.t.Errorf("entry %s was served as %s and is as %s", key, was, id)
		}
	}
	maps.Copy(x.was, now)
}
