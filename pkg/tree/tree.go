// Package tree is the merged tree: immutable versions of rows, values and
// indexes, searched without locks, and the Builder that makes the next
// version. It knows nothing of claims beyond their number, nor of disk.
//
// # Memory
//
// A row is a fixed-size struct without pointers in a page of 256; a Version holds a
// slice of page pointers, and a Builder copies only the pages that it touches.
// Values (RDN in both forms, user run, operational run) lie one after the other in 1 MiB
// blocks; a row has block and offset. A block is written once; when less than
// half of it is alive, the Builder copies what lives into a new one. Tables (child
// by parent and RDN, row by UUID, equality index) are open-addressed, in
// copy-on-write pages too. Nothing here is a Go map of objects, so that a
// garbage collection takes milliseconds at a million entries.
package tree

import (
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// ID is a row number; 0 is no row. Numbers of removed rows are used again, so
// an ID means something within one Version (and its Builder) only.
type ID uint32

// Scope of a search (RFC 4511 section 4.5.1.2; subordinate: draft-sermersheim).
type Scope int

const (
	Base Scope = iota
	One
	Sub
	Subordinate
)

// Row is what is known of an entry besides its values.
type Row struct {
	UUID  dit.UUID // published
	CSN   dit.CSN
	Hash  uint64 // of the content, the caller's business
	Claim uint32
	Gen   uint32 // of the stored record, the caller's business
	Glue  bool
}

// Version is one immutable state of the tree; safe for any number of readers.
type Version struct{ impl versionImpl }

type versionImpl struct{}

// Options of a tree.
type Options struct {
	Schema    *schema.Schema
	SID       int      // in entryCSN and contextCSN
	Index     []string // attributes with an equality index
	Subschema string   // DN text that subschemaSubentry gives, "cn=Subschema"
}

// Empty is the tree with nothing in it.
func Empty(o Options) *Version { panic("todo") }

func (v *Version) Len() int               { panic("todo") } // entries, glue included
func (v *Version) CSN() dit.CSN           { panic("todo") } // newest change: contextCSN
func (v *Version) Root() ID               { panic("todo") } // the base entry; 0 while the tree is empty
func (v *Version) Schema() *schema.Schema { panic("todo") }

// Find looks a DN up by its normal form; when it is not there matched is its
// deepest ancestor that is (0: none).
func (v *Version) Find(norm string) (id, matched ID) { panic("todo") }

// ByUUID finds an entry by its published UUID; 0 when there is none.
func (v *Version) ByUUID(u dit.UUID) ID { panic("todo") }

func (v *Version) Row(id ID) Row      { panic("todo") }
func (v *Version) Parent(id ID) ID    { panic("todo") }
func (v *Version) Children(id ID) int { panic("todo") }
func (v *Version) Norm(id ID) string  { panic("todo") } // normal form of its DN

// Entry is a view of one entry of a version; its slices are not to be changed.
type Entry struct {
	v  *Version
	id ID
	dn []byte
}

func (v *Version) Entry(id ID) Entry { panic("todo") }
func (e Entry) ID() ID               { panic("todo") }
func (e Entry) Row() Row             { panic("todo") }
func (e Entry) DN() []byte           { panic("todo") } // text
func (e Entry) User() dit.Run        { panic("todo") }
func (e Entry) Oper() dit.Run        { panic("todo") } // stored part only

// AppendComputed appends the operational attributes that are made when read:
// entryUUID, entryCSN, entryDN, hasSubordinates, numSubordinates,
// subschemaSubentry, and contextCSN on the base entry.
func (e Entry) AppendComputed(dst dit.Run) dit.Run { panic("todo") }

// Query is a search within a version.
type Query struct {
	Base    ID
	Scope   Scope
	Matcher *dit.Matcher // nil: everything
}

// Cursor yields the entries that match, parents before children in a scan.
// It belongs to its version, and one goroutine.
type Cursor struct{ impl cursorImpl }

type cursorImpl struct{}

func (v *Version) Search(q Query) *Cursor { panic("todo") }

// Next advances; false at the end. The Entry, its DN included, is good until the
// next call. Examined counts the entries looked at so far: a caller that must
// give up in time passes Step instead, which returns after at most max looks.
func (c *Cursor) Next() bool                      { panic("todo") }
func (c *Cursor) Step(max int) (found, done bool) { panic("todo") }
func (c *Cursor) Entry() Entry                    { panic("todo") }

// ---- building

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
	ID    ID     // 0 for Deleted
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

// Pack holds encoded values made ahead by another goroutine (a refresh being
// staged), to be adopted whole by a Builder.
type Pack struct{ impl packImpl }

type packImpl struct{}

// Ref names a value in a pack.
type Ref uint64

func NewPack(s *schema.Schema, index []string) *Pack { panic("todo") }

// Add encodes a value; index keys are computed here, off the writer's path.
func (p *Pack) Add(v Value) Ref { panic("todo") }
func (p *Pack) Bytes() int      { panic("todo") }

// Builder makes the next version. There is one at a time, on the newest
// version; readers of older ones are never disturbed. Not safe for concurrent use.
type Builder struct {
	// NextCSN gives the CSN of each change that is not put with one of its own.
	NextCSN func() dit.CSN
	// Glue makes the entry for a missing ancestor; it returns its row (UUID,
	// Claim, Hash, Gen; CSN is set by the builder when zero) and value.
	Glue func(dn dit.DN) (Row, Value)

	impl builderImpl
}

type builderImpl struct{}

// Edit begins a change of v, which must be the newest version.
func (v *Version) Edit() *Builder { panic("todo") }

// Adopt takes over a pack's blocks; PutRef may then name its values. Put it
// once, before the refs are used.
func (b *Builder) Adopt(p *Pack) { panic("todo") }

// Put adds the entry, or changes the one with the same UUID (moving it, with
// everything below, when the DN differs). Missing ancestors become glue. A glue
// entry at the DN is replaced, keeping its children; another real entry there is
// deleted first, with a change of its own, its children kept. A zero CSN is taken
// from NextCSN. Returns the id.
func (b *Builder) Put(row Row, v Value) ID             { panic("todo") }
func (b *Builder) PutRef(row Row, p *Pack, ref Ref) ID { panic("todo") }

// Delete removes an entry. Below it, subtree removes everything, deepest first;
// else the entry becomes glue while it has children. Glue left without children goes too.
func (b *Builder) Delete(id ID, subtree bool) { panic("todo") }

// SetRow changes what is known of an entry (gen, hash) without a change record.
func (b *Builder) SetRow(id ID, row Row) { panic("todo") }

// SetRoot makes the base entry; the tree must be empty.
func (b *Builder) SetRoot(row Row, v Value) ID { panic("todo") }

// The read side of what has been built so far.
func (b *Builder) Find(norm string) (id, matched ID) { panic("todo") }
func (b *Builder) ByUUID(u dit.UUID) ID              { panic("todo") }
func (b *Builder) Row(id ID) Row                     { panic("todo") }
func (b *Builder) Entry(id ID) Entry                 { panic("todo") }

// Walk calls fn for id and everything below, parents first; fn must not build.
func (b *Builder) Walk(id ID, fn func(ID)) { panic("todo") }

// Changes lists what was done so far: parents before children where added,
// children before parents where deleted.
func (b *Builder) Changes() []Change { panic("todo") }

// Done gives the version built. The builder is spent.
func (b *Builder) Done() *Version { panic("todo") }
