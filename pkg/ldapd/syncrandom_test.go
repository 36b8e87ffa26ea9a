package ldapd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// chaos makes random changes to a world. Entry 1 is cn=top, which stays.
type chaos struct {
	*world
	r *rand.Rand
}

// newChaos has a world with entries to begin with, in which other rules have a CSN of their own.
func newChaos(t *testing.T, r *rand.Rand) *chaos {
	t.Helper()
	c := &chaos{newWorld(t), r}
	c.s.opt.Advance = func() (dit.CSN, error) { return c.edit(func(b *tree.Builder) { b.SetCSN(c.next()) }).CSN(), nil }
	c.edit(func(b *tree.Builder) {
		c.put(b, 1, "cn=top", "x")
		c.put(b, 1000, "cn=stays,cn=top", "x")
		for range 20 {
			c.change(b)
		}
	})
	return c
}

func (c *chaos) rdns() string {
	n := 1 + c.r.IntN(3)
	if c.r.IntN(4) == 0 {
		n = 4
	}
	var parts []string
	for range n {
		parts = append(parts, "cn="+string(rune('a'+c.r.IntN(4))))
	}
	if c.r.IntN(2) == 0 {
		parts = append(parts, "cn=top")
	}
	return strings.Join(parts, ",")
}

func (c *chaos) description() string { return string(rune('u'+c.r.IntN(6))) + fmt.Sprint(c.r.IntN(9)) }

// any gives the number of an entry that is there, and its RDNs; 0 for none.
func (c *chaos) any(b *tree.Builder) (n int, rdns string) {
	from := c.r.IntN(30)
	for i := range 30 {
		n := 2 + (from+i)%30
		if id := b.ByUUID(number(n)); id != 0 {
			return n, strings.TrimSuffix(string(b.Entry(id).DN()), ","+base)
		}
	}
	return 0, ""
}

func (c *chaos) change(b *tree.Builder) {
	n, at := c.any(b)
	switch op := c.r.IntN(12); {
	case n == 0 || op < 4:
		c.put(b, 2+c.r.IntN(30), c.rdns(), c.description()) // new, moved, or over another one
	case op < 6:
		c.put(b, n, at, c.description())
	case op < 7:
		c.delete(b, n, false)
	case op < 8:
		c.delete(b, n, true)
	case op < 9: // renamed with all below
		_, parent, _ := strings.Cut(at, ",")
		to := "cn=" + string(rune('e'+c.r.IntN(4)))
		if parent != "" {
			to += "," + parent
		}
		c.put(b, n, to, c.description())
	case op < 10: // taken out and put back with all below, as a claim that moves
		c.replant(b, n)
	default: // two names swapped
		m, there := c.any(b)
		if strings.HasSuffix(at, there) || strings.HasSuffix(there, at) {
			return
		}
		c.put(b, n, there, c.description())
		c.put(b, m, at, c.description())
	}
}

// replant takes a subtree out and puts it elsewhere under the same UUIDs.
func (c *chaos) replant(b *tree.Builder, n int) {
	type kept struct {
		row   tree.Row
		rdns  string
		value tree.Value
	}
	var all []kept
	top := b.ByUUID(number(n))
	from := string(b.Entry(top).DN())
	b.Walk(top, func(id tree.ID) {
		e := b.Entry(id)
		all = append(all, kept{row: tree.Row{UUID: e.Row().UUID, Glue: e.Row().Glue}, rdns: strings.TrimSuffix(string(e.DN()), from),
			value: tree.Value{User: slices.Clone(e.User()), Oper: slices.Clone(e.Oper())}})
	})
	b.Delete(top, true)
	to := c.rdns() + "," + base
	if strings.HasSuffix(to, from) {
		to = from
	}
	for _, k := range all {
		if k.row.Glue {
			continue
		}
		dn, err := dit.ParseDN(bundled(), k.rdns+to)
		if err != nil {
			c.Fatal(err)
		}
		v := device(c, dn.String(), "replanted")
		if b.Put(k.row, v) == 0 {
			c.Fatalf("%s cannot be put back", dn)
		}
	}
}

// requests are the contents that are followed.
func requests() []syncSearch {
	top := "cn=top," + base
	return []syncSearch{
		{query: query{base: base, scope: tree.Sub}},
		{query: query{base: top, scope: tree.Sub}},
		{query: query{base: base, scope: tree.Sub, filter: "(|(description=x*)(description=y*)(description=z*))"}},
		{query: query{base: top, scope: tree.One}},
		{query: query{base: base, scope: tree.Subordinate, filter: "(|(cn=a)(cn:dn:=b))"}},
		{query: query{base: top, scope: tree.Base}},
	}
}

// Invariant 10, R40, R42: a follower by persist, by polling, and one that is cut off midway and
// comes back, end with the tree that a full search gives, whatever happens, and
// take no step that a strict server would refuse.
func TestRandomFollowers(t *testing.T) {
	for seed := range uint64(12) {
		for i, request := range requests() {
			t.Run(fmt.Sprintf("%d/%d", seed, i), func(t *testing.T) {
				t.Parallel()
				randomFollowers(t, rand.New(rand.NewPCG(seed, 11)), request)
			})
		}
	}
}

func randomFollowers(t *testing.T, r *rand.Rand, request syncSearch) {
	c := newChaos(t, r)
	var followers []*randomFollower
	for _, name := range []string{"persist", "poll", "torn", "cut"} {
		f := &randomFollower{c: c, name: name, m: newMirror(request)}
		f.m.holes = request.filter != "" || request.scope == tree.Subordinate
		followers = append(followers, f)
	}
	most := 0
	for round := range 25 {
		if round > 0 {
			for range r.IntN(3) { // versions that nobody looks at
				c.silent(func(b *tree.Builder) { c.change(b) })
			}
			c.edit(func(b *tree.Builder) {
				for range 1 + r.IntN(4) {
					c.change(b)
				}
			})
		}
		if r.IntN(8) == 0 {
			c.b.forget(r)
		}
		v := c.b.Version()
		for _, f := range followers {
			whole, err := f.advance(v)
			most = max(most, len(f.m.entries))
			if err == nil && whole {
				err = f.m.want(v)
			}
			if err == nil {
				continue
			}
			for _, s := range f.m.seen[max(0, len(f.m.seen)-40):] {
				t.Logf("kind %d state %d %s %s cookie %s %v", s.Kind, s.State, s.DN, s.UUID, s.Cookie, s.IDs)
			}
			t.Fatalf("round %d, %s: %v", round, f.name, err)
		}
	}
	if most == 0 {
		t.Error("there was nothing to follow")
	}
}

// randomFollower is one of those that follow random changes, each in its way.
type randomFollower struct {
	c      *chaos
	name   string
	m      *mirror
	client *client // while it is connected
}

func (f *randomFollower) connect(mode syncrepl.Mode) {
	f.client = dial(f.c, f.c.addr)
	m := f.m
	m.persist, m.seen = false, append(m.seen, syncrepl.Message{DN: []byte("comes back with"), Cookie: m.cookie})
	m.lenient = m.cookie != nil
	clear(m.named)
	s := m.search
	s.mode, s.cookie = mode, m.cookie
	f.client.follow(7, s)
}

func (f *randomFollower) leave() {
	f.client.nc.Close()
	f.client = nil
}

// take takes so many messages at most, until end says that it is whole; over tells that the last was the end of a
// refresh or of the search.
func (f *randomFollower) take(most int, end func(over bool) bool) (whole bool, err error) {
	over := false
	for ; err == nil && most > 0 && !end(over); most-- {
		msg := f.client.mustMessage()
		over, err = f.m.take(&msg)
	}
	return end(over), err
}

// advance has the follower take what there is up to a version; not whole where it was cut off amid a refresh, to
// come back later with the cookie from before.
func (f *randomFollower) advance(v *tree.Version) (whole bool, err error) {
	r := f.c.r
	switch f.name {
	case "poll", "torn":
		f.connect(syncrepl.RefreshOnly)
		defer f.leave()
		most := math.MaxInt
		if f.name == "torn" && f.m.cookie != nil && r.IntN(2) == 0 {
			most = r.IntN(6)
		}
		return f.take(most, func(over bool) bool { return over })
	case "cut":
		if f.client != nil && r.IntN(2) == 0 {
			if _, err := f.take(r.IntN(6), func(bool) bool { return f.m.upTo(v) }); err != nil {
				return false, err
			}
			f.leave()
		}
	}
	if f.client == nil {
		f.connect(syncrepl.RefreshAndPersist)
	}
	return f.take(math.MaxInt, func(bool) bool { return f.m.persist && f.m.upTo(v) })
}
