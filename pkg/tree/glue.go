package tree

import "shaft/pkg/dit"

// parse reads a DN that is to have glue; false when text is none, or another than norm.
func (b *Builder) parse(text, norm string) (dit.DN, bool) {
	dn, err := dit.ParseDN(b.v.opt.Schema, text)
	return dn, err == nil && dn.Norm() == norm
}

// glue asks for the entry of a missing name. Its UUID is one that no entry
// other than except has.
func (b *Builder) glue(dn dit.DN, except ID) (Row, cargo) {
	row, v := b.Glue(dn)
	row.Glue = true
	norm := []byte(dn.Norm())
	for {
		if other := b.v.ByUUID(row.UUID); other == 0 || other == except {
			break
		}
		row.UUID = dit.NewUUIDv5(row.UUID, norm)
	}
	if given, ok := b.parse(string(v.Text), string(norm)); ok {
		dn = given // as it was written before
	}
	v.Norm, v.Text, v.RDNLen = norm, []byte(dn.String()), len(dn.RDN(0).Text)
	return row, cargoOf(v)
}

// glueAt asks for the entry that could stand at id as glue.
func (b *Builder) glueAt(id ID) (row Row, c cargo, ok bool) {
	if b.Glue == nil {
		return row, c, false
	}
	dn, ok := b.parse(b.dn(id), b.v.Norm(id))
	if !ok {
		return row, c, false
	}
	row, c = b.glue(dn, id)
	return row, c, true
}

// vacate turns an entry into glue; false when there is none to be had.
func (b *Builder) vacate(id ID) bool {
	row, c, ok := b.glueAt(id)
	if !ok {
		return false
	}
	if row.UUID == b.v.row(id).uuid {
		b.modify(id, row, &c)
		return true
	}
	b.replace(id, row, &c)
	return true
}

// prune removes glue that is left without children, from id upwards.
func (b *Builder) prune(id ID) {
	v := b.v
	for id != v.root && v.has(id) && v.row(id).glue() && v.row(id).kids == 0 {
		parent := v.row(id).parent
		b.remove(id)
		id = parent
	}
}

// remove deletes an entry without children.
func (b *Builder) remove(id ID) {
	b.noteDeleted(id, b.dn(id))
	b.detach(id)
	b.free(id)
}

// Delete removes an entry. Below it, subtree removes everything, deepest first;
// else the entry becomes glue while it has children. Glue left without children
// goes too. The base entry always becomes glue.
func (b *Builder) Delete(id ID, subtree bool) {
	v := b.v
	if !v.has(id) {
		return
	}
	if subtree {
		var ids []ID
		b.Walk(id, func(below ID) { ids = append(ids, below) })
		for i := len(ids) - 1; i > 0; i-- {
			b.remove(ids[i])
		}
	}
	if r := v.row(id); id == v.root || r.kids > 0 {
		if !r.glue() {
			b.vacate(id)
		}
		return
	}
	parent := v.row(id).parent
	b.remove(id)
	b.prune(parent)
}
