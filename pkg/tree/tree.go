// Package tree is the merged tree: immutable versions of rows, values and
// indexes, searched without locks, and the Builder that makes the next
// version. It knows nothing of claims beyond their number, nor of disk.
//
//	b := v.Edit()
//	b.Put(tree.Row{UUID: u}, tree.Value{Norm: norm, Text: text, RDNLen: n, User: run})
//	v = b.Done()
//	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
//		fmt.Printf("%s\n", c.Entry().DN())
//	}
//
// # Memory
//
// A row is a fixed-size struct without pointers in a page of 128; a Version holds a
// slice of page pointers, and a Builder copies only the pages that it touches.
// Values (RDN in both forms, user run, operational run) lie one after the other in 1 MiB
// blocks; a row has block and offset. A value is written once; when less than
// half of a block is alive, the Builder copies what lives into a new one. A block that is full may
// leave memory for a scratch (Memory), and is read from there. Tables (child
// by parent and RDN, row by UUID, equality index) are open-addressed, in
// copy-on-write pages too. Nothing here is a Go map of objects, so that a
// garbage collection takes milliseconds at a million entries.
//
// An entry is found by its parent's number and its RDN, not by its DN: moving a
// subtree changes the links of its top alone (and the CSNs of all).
package tree

import (
	"sync/atomic"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// ID is a row number; 0 is no row. Numbers of removed rows are used again, so
// an ID means something within one Version (and its Builder) only.
type ID uint32

// Row is what is known of an entry besides its values.
type Row struct {
	UUID  dit.UUID // published
	CSN   dit.CSN
	Hash  uint64 // of the content, the caller's business
	Claim uint32
	Gen   uint32 // of the stored record, the caller's business
	Glue  bool
}

// Options of a tree.
type Options struct {
	Schema    *schema.Schema
	SID       int      // in entryCSN and contextCSN
	Index     []string // attributes with an equality index
	Subschema string   // DN text that subschemaSubentry gives, "cn=Subschema"
	Memory    *Memory  // bounds what values take; nil: nothing does
}

// Version is one immutable state of the tree; safe for any number of readers.
type Version struct {
	opt  *Options
	keys *keyer // readers look at its attrs only, a Builder makes keys

	rows  cow[rowPage]
	high  ID // highest row number in use so far
	free  ID // first of the free rows, linked by next; 0: none
	count int
	kinds kindCounts
	root  ID
	base  string // normal form of the base DN, "" while the tree is empty
	csn   dit.CSN

	children table // by parent and RDN
	uuids    table
	index    index
	values   values
	epoch    uint64 // of the Builder that made it

	unindexed bool // index is empty, and an Indexing is to make it
}

// epochs counts the Builders of all trees.
var epochs atomic.Uint64

// Number is another for each version of any tree but the empty ones', which have
// 0: what is known of a version's IDs can be kept under it, and holds no
// version in memory.
func (v *Version) Number() uint64 { return v.epoch }

// Empty is the tree with nothing in it.
func Empty(o Options) *Version {
	v := &Version{opt: &o, keys: newKeyer(o.Schema, o.Index)}
	v.children.init(1)
	v.uuids.init(1)
	v.index.init()
	v.values.tail = noBlock
	v.settle()
	return v
}

// settle ends the time in which pages may be written in place.
func (v *Version) settle() {
	v.rows.settle()
	v.children.settle()
	v.uuids.settle()
	v.index.settle()
	v.values.settle()
}

// Len counts the entries, glue included.
func (v *Version) Len() int { return v.count }

// CSN is that of the newest change: contextCSN. It is 0 in the empty tree.
func (v *Version) CSN() dit.CSN { return v.csn }

// Root is the base entry; 0 while the tree is empty.
func (v *Version) Root() ID { return v.root }

// SID is the server ID of the Options, which entryCSN and contextCSN bear.
func (v *Version) SID() int { return v.opt.SID }

// Memory is that of the Options.
func (v *Version) Memory() *Memory { return v.opt.Memory }

// Schema is that of the Options.
func (v *Version) Schema() *schema.Schema { return v.opt.Schema }

// Row tells what is known of an entry; the zero Row when there is none.
func (v *Version) Row(id ID) Row {
	if !v.has(id) {
		return Row{}
	}
	return v.row(id).public()
}

// Parent is 0 for the base entry.
func (v *Version) Parent(id ID) ID {
	if !v.has(id) {
		return 0
	}
	return v.row(id).parent
}

// Children counts the entries immediately below.
func (v *Version) Children(id ID) int {
	if !v.has(id) {
		return 0
	}
	return int(v.row(id).kids)
}
