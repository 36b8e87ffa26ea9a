package engine

import (
	"bytes"
	"cmp"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/tree"
)

// A name inside another name's subtree hides what the outer source has there
// (R7), from the moment it has content of its own until that goes. Hidden
// content stays in the store, kept up to date, and comes back.

// overlapped tells whether other names lie inside the claim's, or did.
func (c *claim) overlapped() bool { return len(c.inner) > 0 || len(c.hidden) > 0 }

// lift prepares a move of an entry of an overlapped claim to newRel: it and what
// is below it, served or hidden, are taken out, so that rows of inner names stay
// where they are. What was below comes back as changes, to be placed after the
// entry itself. Entries that a refresh has staged place themselves.
func (ed *edit) lift(cl *claim, id dit.UUID, newRel []byte) []change {
	at, _ := ed.e.row(ed.b, ed.b.Row, cl.number, id)
	if _, hidden := cl.hidden[id]; at == 0 && !hidden {
		return nil
	}
	oldDN, oldNorm, err := ed.relative(upstreamKey{cl.number, id})
	if err != nil {
		ed.fail(err)
		return nil
	}
	newDN, err := dit.ParseDN(ed.e.schema, string(newRel))
	if err != nil || newDN.Norm() == oldDN.Norm() {
		ed.fail(err)
		return nil
	}
	var rows []tree.ID
	if at != 0 {
		ed.b.Walk(at, func(id tree.ID) {
			r := ed.b.Row(id)
			if r.Claim == cl.number && (id == at || !ed.staged(ed.e.pub.upstream(cl.number, r.UUID))) {
				rows = append(rows, id)
			}
		})
	}
	keys := ed.hiddenBelow(cl, id, oldNorm)
	for _, at := range rows[min(1, len(rows)):] {
		keys = append(keys, upstreamKey{cl.number, ed.e.pub.upstream(cl.number, ed.b.Row(at).UUID)})
	}
	below := ed.rebased(cl, keys, oldDN.Len(), newDN)
	for _, at := range slices.Backward(rows) {
		ed.b.Delete(at, false)
	}
	ed.own = 0
	ed.settle()
	return below
}

// relative reads the stored relative DN of an entry, and gives its normal form
// under the claim's name too.
func (ed *edit) relative(key upstreamKey) (dit.DN, string, error) {
	value, err := ed.stored(key)
	if err != nil {
		return dit.DN{}, "", err
	}
	rec, err := decodeRecord(value)
	if err != nil {
		return dit.DN{}, "", err
	}
	dn, err := dit.ParseDN(ed.e.schema, string(rec.rel))
	return dn, dn.Join(ed.e.byNum[key.claim].name).Norm(), err
}

// hiddenWith lists the hidden entries that a deletion of an entry takes along:
// itself, and where the claim takes whole subtrees those below it.
func (ed *edit) hiddenWith(cl *claim, id dit.UUID, at tree.ID) (ids []dit.UUID) {
	h, ok := cl.hidden[id]
	if ok {
		ids = append(ids, id)
	}
	if !cl.wholeSubtrees() || len(cl.hidden) == 0 || !ok && at == 0 {
		return ids
	}
	norm := h.norm
	if at != 0 {
		norm = ed.b.Norm(at)
	}
	for _, key := range ed.hiddenBelow(cl, id, norm) {
		ids = append(ids, key.id)
	}
	return ids
}

// hiddenBelow lists the claim's hidden entries below norm, but for id itself.
func (ed *edit) hiddenBelow(cl *claim, id dit.UUID, norm string) (keys []upstreamKey) {
	if cl.under[norm] == 0 {
		return nil
	}
	for other, h := range cl.hidden {
		if other != id && underNorm(h.norm, norm) && !ed.staged(other) {
			keys = append(keys, upstreamKey{cl.number, other})
		}
	}
	return keys
}

// rebased gives stored entries as changes that place them below newDN instead
// of the ancestor that was depth RDNs deep, parents first.
func (ed *edit) rebased(cl *claim, keys []upstreamKey, depth int, newDN dit.DN) (out []change) {
	conv, err := storedConverter(ed.e.schema, cl)
	for i := 0; i < len(keys) && err == nil; i++ {
		var value []byte
		var rec record
		var dn dit.DN
		if value, err = ed.stored(keys[i]); err != nil {
			break
		}
		if rec, err = decodeRecord(value); err != nil {
			break
		}
		if dn, err = dit.ParseDN(ed.e.schema, string(rec.rel)); err != nil {
			break
		}
		rec.setRel([]byte(dn.First(dn.Len() - depth).Join(newDN).String()))
		if err = conv.restore(rec); err == nil {
			out = append(out, conv.change(cl, keys[i].id))
		}
	}
	ed.fail(err)
	slices.SortFunc(out, byDepth)
	return out
}

func byDepth(a, b change) int {
	return cmp.Compare(bytes.Count(a.norm, []byte(",")), bytes.Count(b.norm, []byte(",")))
}

func (ed *edit) placeAll(changes []change) {
	for i := range changes {
		ed.place(&changes[i])
	}
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
	var outer []uint32
	for number, cl := range e.byNum {
		if len(cl.hidden) > 0 && norm != cl.name.Norm() && underNorm(norm, cl.name.Norm()) && e.isShown(cl) {
			outer = append(outer, number)
		}
	}
	slices.Sort(outer)
	for _, number := range outer {
		if err := e.unhideClaim(e.byNum[number]); err != nil {
			return err
		}
	}
	return nil
}

// unhideClaim republishes a claim's hidden entries that nothing hides now,
// parents first.
func (e *Engine) unhideClaim(cl *claim) error {
	conv, err := storedConverter(e.schema, cl)
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
	if len(back) > 0 {
		cl.nesting++
	}
	slices.SortFunc(back, byDepth)
	return e.commitGroup(back)
}

func (e *Engine) claimIDs() []queue.ClaimID {
	var ids []queue.ClaimID
	for id := range e.claims {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
