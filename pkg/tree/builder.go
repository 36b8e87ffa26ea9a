package tree

import (
	"slices"

	"shaft/pkg/dit"
)

// ChangeKind of a Change.
type ChangeKind byte

const (
	Added ChangeKind = iota + 1
	Modified
	Deleted
)

// Change is one thing that a Builder did to the tree, in order.
type Change struct {
	Kind  ChangeKind
	ID    ID     // 0 for Deleted, and when a later change deletes it
	Row   Row    // for Deleted: what it was, with CSN the new one of the deletion
	OldDN string // Deleted, and Modified when it moved: text of the DN before
}

// Value is an entry to be put. Norm and Text are its whole local DN.
type Value struct {
	Norm   []byte
	Text   []byte
	RDNLen int // of Text: the RDN's length
	User   dit.Run
	Oper   dit.Run // without the computed ones
}

// Builder makes the next version. There is one at a time, on the newest
// version; readers of older ones are never disturbed. A builder that is never
// Done may be forgotten. Not safe for concurrent use.
type Builder struct {
	// NextCSN gives the CSN of each change that is not put with one of its
	// own; without it that is one more than the newest so far.
	NextCSN func() dit.CSN
	// Glue makes the entry for a missing ancestor; it returns its row (UUID,
	// Claim, Hash, Gen; CSN is set by the builder when zero) and value, of which
	// User and Oper count. Without it what needs glue is not done.
	Glue func(dn dit.DN) (Row, Value)

	v       *Version
	changes []Change
	died    int // bytes of values, since Edit
	w       window

	newKeys, oldKeys []uint32
}

// Edit begins a change of v, which must be the newest version.
func (v *Version) Edit() *Builder {
	next := *v
	next.values.edit()
	next.epoch = epochs.Add(1)
	return &Builder{v: &next}
}

// Find is Version.Find on what has been built so far, as are the others here.
func (b *Builder) Find(norm string) (id, matched ID) { return b.v.Find(norm) }

// ByUUID is Version.ByUUID.
func (b *Builder) ByUUID(u dit.UUID) ID { return b.v.ByUUID(u) }

// Row is Version.Row.
func (b *Builder) Row(id ID) Row { return b.v.Row(id) }

// Norm is Version.Norm.
func (b *Builder) Norm(id ID) string { return b.v.Norm(id) }

// Entry is Version.Entry; the view is good until the next change.
func (b *Builder) Entry(id ID) Entry { return b.v.Entry(id) }

// Walk calls fn for id and everything below, parents first; fn must not build.
func (b *Builder) Walk(id ID, fn func(ID)) {
	if !b.v.has(id) {
		return
	}
	for at := id; at != 0; at = b.v.after(at, id) {
		fn(at)
	}
}

// after gives the entry that follows at in a walk of top, parents first; 0 at the end.
func (v *Version) after(at, top ID) ID {
	r := v.row(at)
	if r.first != 0 {
		return r.first
	}
	for at != top {
		if r.next != 0 {
			return r.next
		}
		at = r.parent
		r = v.row(at)
	}
	return 0
}

// SetRow changes what is known of an entry without a change record: Hash,
// Claim and Gen, and the CSN unless that is zero.
func (b *Builder) SetRow(id ID, row Row) {
	if !b.v.has(id) {
		return
	}
	r := b.edit(id)
	r.hash, r.claim, r.gen = row.Hash, row.Claim, row.Gen
	if row.CSN != 0 {
		r.csn = b.stamp(row.CSN)
		b.order(id)
	}
}

// SetCSN raises the version's CSN to c, where a change newer than any entry's (a
// deletion) was made before this tree was built. It never lowers it.
func (b *Builder) SetCSN(c dit.CSN) { b.v.csn = max(b.v.csn, c) }

// SetRoot makes the base entry; the tree must be empty, else 0 is returned.
func (b *Builder) SetRoot(row Row, v Value) ID {
	if b.v.root != 0 || len(v.Norm) == 0 {
		return 0
	}
	c := cargoOf(v)
	id := b.alloc()
	b.v.root, b.v.base = id, string(v.Norm)
	b.fill(id, row, &c)
	b.note(Added, id, "")
	return id
}

// Changes lists what was done so far: parents before children where added,
// children before parents where deleted. The list only grows. ID is where the
// entry is now: 0 when it has gone since, as a later change says. Good until
// the next change.
func (b *Builder) Changes() []Change {
	for i := range b.changes {
		c := &b.changes[i]
		if c.Kind != Deleted && (c.ID == 0 || b.v.row(c.ID).uuid != c.Row.UUID) {
			c.ID = b.v.ByUUID(c.Row.UUID)
		}
	}
	return b.changes
}

// Done gives the version built. The builder is spent, but for Changes.
func (b *Builder) Done() *Version {
	b.compact()
	b.bound()
	b.v.settle()
	return b.v
}

// stamp gives the CSN of a change: csn, or the next one if that is zero.
func (b *Builder) stamp(csn dit.CSN) dit.CSN {
	switch {
	case csn != 0:
	case b.NextCSN != nil:
		csn = b.NextCSN()
	default:
		csn = b.v.csn + 1
	}
	b.v.csn = max(b.v.csn, csn)
	return csn
}

// Expect makes room for n more changes at once: lists that grow are copied over and over.
func (b *Builder) Expect(n int) { b.changes = slices.Grow(b.changes, n) }

// note records that id was added or modified.
func (b *Builder) note(kind ChangeKind, id ID, oldDN string) {
	b.order(id)
	b.changes = append(b.changes, Change{Kind: kind, ID: id, Row: b.v.row(id).public(), OldDN: oldDN})
}

// noteDeleted records that what is at id now goes.
func (b *Builder) noteDeleted(id ID, oldDN string) {
	row := b.v.row(id).public()
	row.CSN = b.stamp(0)
	b.changes = append(b.changes, Change{Kind: Deleted, Row: row, OldDN: oldDN})
}

func (b *Builder) dn(id ID) string { return string(b.v.appendDN(nil, id)) }
