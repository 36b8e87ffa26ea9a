package engine

import (
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/tree"
)

// A name inside another name's subtree hides what the outer source has there
// (R7), from the moment it has content of its own until that goes. Hidden
// content stays in the store, kept up to date, and comes back.

// hiddenBy tells whether a DN lies at or below one of the inner names.
func hiddenBy(inner []string, norm []byte) bool {
	for _, name := range inner {
		if underNorm(string(norm), name) {
			return true
		}
	}
	return false
}

// underNorm tells whether norm is base or below it. In normal forms a comma is
// always a separator.
func underNorm(norm, base string) bool {
	return strings.HasSuffix(norm, base) &&
		(len(norm) == len(base) || norm[len(norm)-len(base)-1] == ',')
}

// innerNames lists the names strictly inside the claim's whose own content is
// served, sorted.
func (e *Engine) innerNames(cl *claim) []string {
	outer := cl.name.Norm()
	var inner []string
	for norm, name := range e.state.Names {
		if norm == outer || !underNorm(norm, outer) {
			continue
		}
		if head := e.claims[name.Claims[0]]; head != nil && head.gen > 0 {
			inner = append(inner, norm)
		}
	}
	slices.Sort(inner)
	return inner
}

// renest computes every claim's inner names anew, after a name came, went, or
// got its first content.
func (e *Engine) renest() {
	for _, cl := range e.claims {
		cl.inner = e.innerNames(cl)
	}
}

func (c *claim) hide(id dit.UUID, h hiddenEntry) {
	if c.hidden == nil {
		c.hidden = map[dit.UUID]hiddenEntry{}
	}
	c.hidden[id] = h
}

// hideOuter takes the rows of outer claims at and below a name out of the tree.
func (ed *edit) hideOuter(name dit.DN) {
	top, _ := ed.b.Find(name.Norm())
	if top == 0 {
		return
	}
	var rows []tree.ID
	ed.b.Walk(top, func(id tree.ID) {
		owner := ed.e.byNum[ed.b.Row(id).Claim]
		if owner != nil && owner != ed.claim && !underNorm(owner.name.Norm(), name.Norm()) {
			rows = append(rows, id)
		}
	})
	for _, at := range slices.Backward(rows) {
		ed.b.Delete(at, false)
	}
	ed.settle()
}

// unhide brings back what outer claims have at and below a name that no longer
// hides it.
func (e *Engine) unhide(norm string) error {
	for _, id := range e.claimIDs() {
		cl := e.claims[id]
		if len(cl.hidden) == 0 || !underNorm(norm, cl.name.Norm()) {
			continue
		}
		if err := e.unhideClaim(cl); err != nil {
			return err
		}
	}
	return nil
}

// unhideClaim republishes a claim's hidden entries that nothing hides now,
// parents first.
func (e *Engine) unhideClaim(cl *claim) error {
	conv, err := newConverter(e.schema, cl.sub, cl.name)
	if err != nil {
		return err
	}
	var back []change
	for id := range cl.hidden {
		item, err := e.store.Entry(cl.number, id)
		if err != nil {
			return err
		}
		if item == nil {
			continue
		}
		rec, err := decodeRecord(slices.Clone(item.Value))
		if err == nil {
			err = conv.restore(rec)
		}
		if err != nil {
			return err
		}
		if !hiddenBy(cl.inner, conv.norm) {
			back = append(back, conv.change(cl, id))
		}
	}
	slices.SortFunc(back, func(a, b change) int { return strings.Count(string(a.norm), ",") - strings.Count(string(b.norm), ",") })
	return inChunks(back, func(part []change) error {
		g := e.newGroup()
		for i := range part {
			g.ed.claim = cl
			g.add(&part[i], 1)
		}
		return g.commit()
	})
}

func (e *Engine) claimIDs() []queue.ClaimID {
	var ids []queue.ClaimID
	for id := range e.claims {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
