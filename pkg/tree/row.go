package tree

import "shaft/pkg/dit"

// rowsPerPage makes a page of 10 KiB: a change copies some, and the list of all.
const rowsPerPage = 128

type rowPage [rowsPerPage]row

// row is one entry's place in the tree: 80 bytes, no pointers.
type row struct {
	uuid    dit.UUID
	csn     dit.CSN
	hash    uint64
	parent  ID
	first   ID // child
	last    ID // child
	next    ID // sibling; of a free row: the next free one
	prev    ID // sibling
	kids    uint32
	rdnHash uint32
	block   uint32 // of the value
	off     uint32 // in the block
	claim   uint32
	gen     uint32
	flags   rowFlags
}

type rowFlags uint32

const (
	flagUsed rowFlags = 1 << iota // the row has a value; a free one has not
	flagGlue
	// the entry's Kind, from bit kindShift on
)

func (r *row) glue() bool { return r.flags&flagGlue != 0 }

func (r *row) public() Row {
	return Row{UUID: r.uuid, CSN: r.csn, Hash: r.hash, Claim: r.claim, Gen: r.gen, Glue: r.glue()}
}

// set fills in all but the links.
func (r *row) set(row Row, kind Kind, block, off uint32) {
	r.uuid, r.csn, r.hash, r.claim, r.gen = row.UUID, row.CSN, row.Hash, row.Claim, row.Gen
	r.block, r.off = block, off
	r.flags = flagUsed | rowFlags(kind)<<kindShift
	if row.Glue {
		r.flags |= flagGlue
	}
}

// row gives a row for reading, until the Builder's next change.
func (v *Version) row(id ID) *row { return &v.rows.pages[id/rowsPerPage][id%rowsPerPage] }

// has tells whether id is an entry of this version.
func (v *Version) has(id ID) bool {
	return id != 0 && id <= v.high && v.row(id).flags&flagUsed != 0
}

// edit gives a row for writing; rows got before may be stale then.
func (b *Builder) edit(id ID) *row {
	return &b.v.rows.own(int(id / rowsPerPage))[id%rowsPerPage]
}

// alloc takes a free row, or a new one. All its fields are zero.
func (b *Builder) alloc() ID {
	v := b.v
	v.count++
	if id := v.free; id != 0 {
		r := b.edit(id)
		v.free = r.next
		r.next = 0
		return id
	}
	v.high++
	if int(v.high/rowsPerPage) >= len(v.rows.pages) {
		v.rows.push()
	}
	return v.high
}

// free gives up an entry that is detached: its index keys, value and row.
func (b *Builder) free(id ID) {
	v := b.v
	if v.Indexed() {
		v.index.change(id, b.keysOf(id), nil, v.epoch)
	}
	r := b.edit(id)
	b.release(r.block, r.off)
	v.uuids.remove(uuidHash(r.uuid), uint32(id))
	v.kinds.add(r.kind(), -1)
	*r = row{next: v.free}
	v.free = id
	v.count--
}

// attach makes id the last child of parent, under the name that its value has.
func (b *Builder) attach(id, parent ID, rdnHash uint32) {
	b.link(id, parent, b.v.row(parent).last)
	b.edit(parent).kids++
	r := b.edit(id)
	r.parent, r.rdnHash = parent, rdnHash
	b.v.children.insert(childHash(parent, rdnHash), uint32(id))
}

// detach takes id out of its parent's list, with all that is below it. Its
// parent number stays, so that its DN can still be told.
func (b *Builder) detach(id ID) {
	r := *b.v.row(id)
	b.unlink(&r)
	b.edit(r.parent).kids--
	b.v.children.remove(childHash(r.parent, r.rdnHash), uint32(id))
}

// order moves id to its place among its siblings, which stand in the order of
// their CSNs: so a tree built again from what was stored lists entries as it
// did before. What changes is nearly always the newest, and goes to the end.
func (b *Builder) order(id ID) {
	v := b.v
	r := *v.row(id)
	if id == v.root || (r.prev == 0 || v.row(r.prev).csn <= r.csn) && (r.next == 0 || v.row(r.next).csn >= r.csn) {
		return
	}
	b.unlink(&r)
	before := v.row(r.parent).last
	for before != 0 && v.row(before).csn > r.csn {
		before = v.row(before).prev
	}
	b.link(id, r.parent, before)
}

// link puts id into its parent's list behind the sibling before; 0: first.
func (b *Builder) link(id, parent, before ID) {
	p := b.edit(parent)
	next := p.first
	if before != 0 {
		s := b.edit(before)
		next, s.next = s.next, id
	} else {
		p.first = id
	}
	if next != 0 {
		b.edit(next).prev = id
	} else {
		p.last = id
	}
	r := b.edit(id)
	r.prev, r.next = before, next
}

// unlink takes a row out of its parent's list.
func (b *Builder) unlink(r *row) {
	p := b.edit(r.parent)
	if r.prev == 0 {
		p.first = r.next
	} else {
		b.edit(r.prev).next = r.next
	}
	if r.next == 0 {
		p.last = r.prev
	} else {
		b.edit(r.next).prev = r.prev
	}
}
