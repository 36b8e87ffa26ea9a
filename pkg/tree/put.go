package tree

import (
	"bytes"
	"strings"
)

// maxGlue is how many missing ancestors an entry may have: each costs as much
// as its name is long, and no one means so many.
const maxGlue = 100

// Put adds the entry, or changes the one with the same UUID (moving it, with
// everything below, when the DN differs). Missing ancestors become glue. Glue at
// the DN is replaced, and so is another real entry there: it is deleted first, with
// a change of its own, its children kept. A zero CSN is taken from NextCSN.
// Returns the id, or 0 when the DN is not one under the base, or lacks more than
// a hundred ancestors.
//
// An entry that is moved below itself leaves its old name to glue. Two
// entries swap names in two Puts: the first deletes the second, which the other
// adds again; each child stands where it stood until it is put itself, but that
// those of the first go along with it.
func (b *Builder) Put(row Row, v Value) ID {
	c := cargoOf(v)
	return b.put(row, &c)
}

func (b *Builder) put(row Row, c *cargo) ID {
	v := b.v
	norm := text(c.norm)
	at, rest, ok := v.find(norm)
	if !ok {
		return 0
	}
	cur := v.ByUUID(row.UUID)
	if cur != 0 && cur == at && rest == "" {
		b.modify(cur, row, c)
		return cur
	}
	if cur != 0 && cur == v.root {
		if !b.vacate(cur) {
			return 0
		}
		cur = v.ByUUID(row.UUID)
	}
	if cur != 0 {
		return b.move(cur, row, c)
	}
	if rest != "" {
		parent, ok := b.parentFor(c, at, rest)
		if !ok {
			return 0
		}
		return b.add(parent, row, c)
	}
	b.replace(at, row, c)
	return at
}

// add makes a new entry where there is none.
func (b *Builder) add(parent ID, row Row, c *cargo) ID {
	id := b.alloc()
	b.fill(id, row, c)
	b.attach(id, parent, rdnHash(c.rdnNorm()))
	b.note(Added, id, "")
	return id
}

// replace puts another entry in the place of the one at id, over its children.
func (b *Builder) replace(id ID, row Row, c *cargo) {
	respelled := b.respelled(id, c)
	b.noteDeleted(id, b.dn(id))
	b.fill(id, row, c)
	b.note(Added, id, "")
	b.moved(respelled)
}

// modify changes an entry that keeps its DN, but perhaps not its spelling.
func (b *Builder) modify(id ID, row Row, c *cargo) {
	var oldDN string
	if b.respells(id, c) {
		oldDN = b.dn(id)
	}
	respelled := b.respelled(id, c)
	b.fill(id, row, c)
	b.note(Modified, id, oldDN)
	b.moved(respelled)
}

// respells tells whether c writes the name at id otherwise. The base entry's
// spelling never changes.
func (b *Builder) respells(id ID, c *cargo) bool {
	return id != b.v.root && !bytes.Equal(b.v.value(id).text(), c.rdnText())
}

// respelled lists what is below id when c writes its name otherwise.
func (b *Builder) respelled(id ID, c *cargo) []descendant {
	if !b.respells(id, c) {
		return nil
	}
	return b.below(id)
}

// fill gives id its content: value, index keys, UUID and the rest of its row, not its links.
func (b *Builder) fill(id ID, row Row, c *cargo) {
	v := b.v
	row.CSN = b.stamp(row.CSN)
	had, kind := v.has(id), c.kind
	if !c.kinded {
		kind = v.keys.classes.of(c.user)
	}
	if v.Indexed() {
		b.reindex(id, c)
	}
	block, off := b.place(id, c)
	r := b.edit(id)
	if had {
		b.release(r.block, r.off)
	}
	if !had || r.uuid != row.UUID {
		if had {
			v.uuids.remove(uuidHash(r.uuid), uint32(id))
		}
		v.uuids.insert(uuidHash(row.UUID), uint32(id))
	}
	v.kinds.add(r.kind(), -1)
	v.kinds.add(kind, 1)
	r.set(row, kind, block, off)
}

// place finds the value's bytes, or writes them. The base entry keeps the
// spelling of its DN.
func (b *Builder) place(id ID, c *cargo) (block, off uint32) {
	v := b.v
	if id == v.root {
		name := c.text
		if v.has(id) {
			name = v.value(id).text()
		}
		user, oper := c.runs()
		return b.store(id, name, []byte(v.base), user, oper)
	}
	if c.ready {
		if ids := v.values.blocks[c.at.block].ids; ids[c.at.number] == 0 {
			ids[c.at.number] = id
			v.values.info[c.at.block].live += uint32(c.size)
			return c.at.block, c.at.off
		}
	}
	user, oper := c.runs()
	return b.store(id, c.rdnText(), c.rdnNorm(), user, oper)
}

// parentFor makes what is missing between at, the deepest entry there is,
// and the entry to be put; rest is its norm left of at.
func (b *Builder) parentFor(c *cargo, at ID, rest string) (ID, bool) {
	missing := strings.Count(rest, ",")
	if missing == 0 {
		return at, true
	}
	if b.Glue == nil || missing > maxGlue {
		return 0, false
	}
	dn, ok := b.parse(string(c.text), text(c.norm))
	if !ok {
		return 0, false
	}
	for ; missing > 0; missing-- {
		up := dn.Last(dn.Len() - missing)
		row, glue := b.glue(up, 0)
		at = b.add(at, row, &glue)
	}
	return at, true
}
