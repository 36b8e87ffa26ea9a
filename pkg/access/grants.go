package access

import (
	"slices"
	"strings"

	"shaft/pkg/dit"
)

// Grants are the rules that match somebody. They are immutable.
type Grants struct {
	rules []*rule
	roots []string // normal forms; "" first
	zones []*Zone  // of each root
}

// Grants makes those of a key that Match gave; the same for the same key.
func (p *Policy) Grants(key string) *Grants {
	g := &Grants{roots: []string{""}}
	for i, r := range p.rules {
		if key[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		g.rules = append(g.rules, r)
		if !slices.Contains(g.roots, r.subtree) {
			g.roots = append(g.roots, r.subtree)
		}
	}
	for _, root := range g.roots {
		g.zones = append(g.zones, g.zone(root))
	}
	return g
}

// Roots lists the subtrees that rules name, by normal form; the first is
// "", which is everything.
func (g *Grants) Roots() []string { return g.roots }

// Zone is that of the i-th root: what lies in its subtree and in no smaller one
// of another root.
func (g *Grants) Zone(i int) *Zone { return g.zones[i] }

// At is the zone that a DN lies in, given by its normal form.
func (g *Grants) At(norm string) *Zone {
	best := 0
	for i, root := range g.roots {
		if len(root) >= len(g.roots[best]) && under(norm, root) {
			best = i
		}
	}
	return g.zones[best]
}

// Best is the most that any of the rules gives.
func (g *Grants) Best() Level {
	best := None
	for _, r := range g.rules {
		best = max(best, r.Allow)
	}
	return best
}

// under works on normal forms, where a bare comma is always a separator.
func under(norm, root string) bool {
	rest, ok := strings.CutSuffix(norm, root)
	return ok && (root == "" || rest == "" || strings.HasSuffix(rest, ","))
}

// Zone is a part of the tree within which only filters tell rules apart.
type Zone struct {
	rules    []*rule
	filters  []*dit.Matcher // of the rules that have one, in their order
	fixed    *View
	oper     bool
	computed bool
}

func (g *Grants) zone(root string) *Zone {
	z := &Zone{}
	for _, r := range g.rules {
		if !under(root, r.subtree) {
			continue
		}
		z.rules = append(z.rules, r)
		if r.filter != nil {
			z.filters = append(z.filters, r.filter)
			z.oper = z.oper || r.filter.NeedsOper()
			z.computed = z.computed || r.filter.NeedsComputed()
		} else if r.attrs.all {
			break // nothing gets past it
		}
	}
	if len(z.filters) == 0 {
		z.fixed = z.View(0)
	}
	return z
}

// Fixed is the view of every entry of the zone; nil where filters decide.
func (z *Zone) Fixed() *View { return z.fixed }

// NeedsOper tells whether a filter looks at operational attributes, and
// NeedsComputed whether it looks at those that are made when read.
func (z *Zone) NeedsOper() bool { return z.oper }

// NeedsComputed is described at NeedsOper.
func (z *Zone) NeedsComputed() bool { return z.computed }

// Match tells which filters are true for an entry: the key of View.
func (z *Zone) Match(dn string, user, oper dit.Run) (key uint64) {
	for i, m := range z.filters {
		if m.Match(dn, user, oper) == dit.True {
			key |= 1 << i
		}
	}
	return key
}

// View makes the view of the entries for which Match gives that key.
func (z *Zone) View(key uint64) *View {
	v := &View{}
	n := 0
	var before []*attributes
	for _, r := range z.rules {
		if r.filter != nil {
			n++
			if key&(1<<(n-1)) == 0 {
				continue
			}
		}
		if r.attrs.within(before) {
			continue
		}
		before = append(before, r.attrs)
		v.steps = append(v.steps, r)
		v.level = max(v.level, r.Allow)
		if r.attrs.all {
			break
		}
	}
	v.prepare()
	return v
}
