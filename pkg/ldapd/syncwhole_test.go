package ldapd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// R40, R41, R45: a client that takes away what is below the one that it is told to remove, as a Shaft that follows does, has in the end what a
// search shows, by persist and by polls, without rules, with rules that hide parents and show their children, and with such that change.
func TestWholeSubtreesRandomly(t *testing.T) {
	seeds := []uint64{11002, 11023, 21006, 21040, 25024, 51038, 51056} // each of which lost something once
	for seed := range uint64(5) {
		seeds = append(seeds, seed)
	}
	for _, rules := range []string{"no rules", "rules", "other rules"} {
		for _, mode := range []syncrepl.Mode{syncrepl.RefreshOnly, syncrepl.RefreshAndPersist} {
			for i, request := range requests()[:2] {
				for _, seed := range seeds {
					t.Run(fmt.Sprintf("%s/%d/%d/%d", rules, mode, i, seed), func(t *testing.T) {
						wholeHistory(t, rand.New(rand.NewPCG(seed, 12)), request, mode, rules)
					})
				}
			}
		}
	}
}

// hidingRules are rules by which a parent may be hidden, and what is below it not.
func hidingRules(r *rand.Rand) []access.Rule {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	rules := []access.Rule{{Who: "anonymous", Filter: "(|(ou=*)(cn=top))", Allow: access.Sync}}
	for range 1 + r.IntN(3) {
		rules = append(rules, access.Rule{Who: "anonymous", Allow: access.None, Subtree: pick("", "cn=top,"+base, "cn=a,cn=top,"+base, "cn=b,"+base),
			Filter: pick("(description=v*)", "(description=w*)", "(cn=a)", "(|(cn=b)(description=x*))")})
	}
	return append(rules, access.Rule{Who: "anonymous", Allow: access.Sync})
}

func wholeHistory(t *testing.T, r *rand.Rand, request syncSearch, mode syncrepl.Mode, kind string) {
	c := newChaos(t, r)
	set := func() {
		rules := hidingRules(r)
		if kind == "no rules" {
			rules = nil
		}
		if err := c.s.SetAccess(rules); err != nil {
			t.Fatal(err)
		}
	}
	set()
	f := &randomFollower{c: c, m: newMirror(request)}
	f.m.holes = true
	step, looker := f.poll, dial(t, c.addr)
	if mode == syncrepl.RefreshAndPersist {
		step = f.goOn
	}
	for round := range 25 {
		changed := len(f.m.seen)
		err := step(func(in int) {
			if kind == "other rules" && r.IntN(in) == 0 {
				set()
			}
		})
		want, got := looker.names(int64(round+2), request.query), f.m.dns()
		if err == nil && slices.Equal(want, got) {
			continue
		}
		for _, s := range f.m.seen[changed:] {
			t.Logf("kind %d state %d %s %s cookie %s %v", s.Kind, s.State, s.DN, s.UUID, s.Cookie, s.IDs)
		}
		t.Fatalf("round %d: %v\nhas   %q\nwants %q", round, err, got, want)
	}
}

// names are those that a search shows.
func (c *client) names(id int64, q query) (dns []string) {
	q.attrs = []string{"1.1"}
	for _, reply := range c.search(id, q) {
		if reply.op == tagEntry {
			dns = append(dns, reply.dn)
		}
	}
	slices.Sort(dns)
	return dns
}

func (m *mirror) dns() (dns []string) {
	for _, e := range m.entries {
		dns = append(dns, e.dn)
	}
	slices.Sort(dns)
	return dns
}

// goOn has changes come, and the follower by persist take them.
func (f *randomFollower) goOn(rules func(in int)) error {
	c := f.c
	rules(4)
	for range c.r.IntN(2) {
		c.silent(func(b *tree.Builder) { c.change(b) })
	}
	c.edit(func(b *tree.Builder) {
		for range 1 + c.r.IntN(3) {
			c.change(b)
		}
	})
	v := c.b.Version()
	f.m.whole = true
	if f.client == nil {
		f.connect(syncrepl.RefreshAndPersist)
	}
	_, err := f.take(math.MaxInt, func(bool) bool { return f.m.persist && f.m.upTo(v) })
	return err
}

// poll has changes come, and the follower ask for them: it takes subtrees away where the refresh names all that goes, and else what is not named.
func (f *randomFollower) poll(rules func(in int)) error {
	c := f.c
	rules(6)
	c.edit(func(b *tree.Builder) {
		for range 1 + c.r.IntN(5) {
			c.change(b)
		}
	})
	if c.r.IntN(8) == 0 {
		c.b.forget(c.r)
	}
	f.connect(syncrepl.RefreshOnly)
	defer f.leave()
	var all []syncrepl.Message
	for len(all) == 0 || all[len(all)-1].Kind != syncrepl.KindDone {
		all = append(all, f.client.mustMessage())
	}
	f.m.whole = all[len(all)-1].RefreshDeletes
	for i := range all {
		if _, err := f.m.take(&all[i]); err != nil {
			return err
		}
	}
	return nil
}
