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
		{query: query{base: base, scope: tree.Sub, filter: "(description>=x)"}},
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
	c := &chaos{newWorld(t), r}
	c.edit(func(b *tree.Builder) {
		c.put(b, 1, "cn=top", "x")
		c.put(b, 1000, "cn=stays,cn=top", "x")
		for range 20 {
			c.change(b)
		}
	})
	names := []string{"persist", "poll", "torn", "cut"}
	followers := make([]*mirror, len(names))
	clients := make([]*client, len(names))
	for i := range names {
		followers[i] = newMirror(request)
		followers[i].holes = request.filter != "" || request.scope == tree.Subordinate
	}
	fail := func(round int, who int, err error) {
		t.Helper()
		if err != nil {
			m := followers[who]
			for _, s := range m.seen[max(0, len(m.seen)-40):] {
				t.Logf("kind %d state %d %s %s cookie %s %v", s.Kind, s.State, s.DN, s.UUID, s.Cookie, s.IDs)
			}
			t.Fatalf("round %d, %s: %v", round, names[who], err)
		}
	}
	connect := func(who int, mode syncrepl.Mode) {
		clients[who] = dial(t, c.addr)
		m := followers[who]
		m.persist, m.seen = false, nil
		m.lenient = m.cookie != nil
		clear(m.named)
		s := request
		s.mode, s.cookie = mode, m.cookie
		clients[who].follow(7, s)
	}
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
		for who, m := range followers {
			var err error
			switch names[who] {
			case "poll", "torn": // which is cut off amid its refresh, and comes back later with the cookie from before
				connect(who, syncrepl.RefreshOnly)
				most, done := math.MaxInt, false
				if names[who] == "torn" && r.IntN(2) == 0 {
					most = r.IntN(6)
				}
				for ; !done && err == nil && most > 0; most-- {
					msg := clients[who].mustMessage()
					done, err = m.take(&msg)
				}
				clients[who].nc.Close()
				if !done && err == nil {
					continue
				}
			case "cut":
				if clients[who] != nil && r.IntN(2) == 0 {
					for n := r.IntN(6); n > 0 && err == nil && !m.upTo(v); n-- {
						msg := clients[who].mustMessage()
						_, err = m.take(&msg)
					}
					fail(round, who, err)
					clients[who].nc.Close()
					clients[who] = nil
				}
				fallthrough
			case "persist":
				if clients[who] == nil {
					connect(who, syncrepl.RefreshAndPersist)
				}
				for err == nil && !(m.persist && m.upTo(v)) {
					msg := clients[who].mustMessage()
					_, err = m.take(&msg)
				}
			}
			if err == nil {
				err = m.want(v)
			}
			fail(round, who, err)
		}
	}
}
