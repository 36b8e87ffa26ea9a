package tree

import (
	"math"

	"shaft/pkg/dit"
)

// Scope of a search (RFC 4511 section 4.5.1.2; subordinate: draft-sermersheim).
type Scope int

const (
	Base Scope = iota
	One
	Sub
	Subordinate
)

// Query is a search within a version.
type Query struct {
	Base    ID
	Scope   Scope
	Matcher *dit.Matcher // nil: everything
	// Accept has the last word on an entry, if given: the matcher then only
	// says where to look. It must be true for no entry that the matcher's plan
	// leaves out.
	Accept func(Entry) bool
}

// Cursor yields the entries that match, parents before children in a scan.
// It belongs to its version, and one goroutine. It goes over candidates from the
// index, or walks the scope.
type Cursor struct {
	v     *Version
	q     Query
	entry Entry
	w     window

	indexed    bool
	candidates []ID // yet to be looked at

	next   ID // of a walk; 0 at the end
	name   suffixes
	dn     []byte  // of a candidate
	opers  dit.Run // scratch: stored and computed
	oper   bool    // the matcher looks at operational attributes
	needed bool    // and at computed ones
}

// Search begins a search. A base that is not there yields nothing.
func (v *Version) Search(q Query) *Cursor {
	c := &Cursor{v: v, q: q}
	if !v.has(q.Base) {
		return c
	}
	m := q.Matcher
	if m == nil || m.Always() {
		c.q.Matcher = nil
		c.begin()
		return c
	}
	c.oper, c.needed = m.NeedsOper(), m.NeedsComputed()
	if c.candidates, c.indexed = v.plan(q); !c.indexed {
		c.begin()
	}
	return c
}

// begin places a walk on its first entry.
func (c *Cursor) begin() {
	v, base := c.v, c.q.Base
	c.name.init(v.appendDN(nil, base))
	switch c.q.Scope {
	case Base, Sub:
		c.next = base
	default:
		c.next = v.row(base).first
	}
}

// Next advances; false at the end. The Entry, its DN included, is good until the
// next call.
func (c *Cursor) Next() bool {
	found, _ := c.Step(math.MaxInt)
	return found
}

// Step advances like Next, but gives up after at most max looks at an entry: then
// found and done are false both, and it can be called again. A caller that
// has a time limit looks at the clock in between.
func (c *Cursor) Step(max int) (found, done bool) {
	if c.v == nil {
		return false, true
	}
	for ; max > 0; max-- {
		ok, end := c.look()
		if ok || end {
			return ok, end
		}
	}
	return false, false
}

// Entry is the one that Next or Step found.
func (c *Cursor) Entry() Entry { return c.entry }

// Rest gives up what was read ahead, before a wait.
func (c *Cursor) Rest() { c.w = window{} }

// look takes one entry and matches it; end means that there was none left.
func (c *Cursor) look() (ok, end bool) {
	if c.indexed {
		return c.lookCandidate()
	}
	id := c.next
	if id == 0 {
		return false, true
	}
	if id != c.q.Base {
		c.name.put(c.v.valueBy(&c.w, id).text())
	}
	c.entry = Entry{v: c.v, id: id, dn: c.name.dn(), w: &c.w}
	ok = c.matches()
	c.advance(id)
	return ok, false
}

func (c *Cursor) lookCandidate() (ok, end bool) {
	if len(c.candidates) == 0 {
		return false, true
	}
	id := c.candidates[0]
	c.candidates = c.candidates[1:]
	if !c.v.Within(id, c.q.Base, c.q.Scope) {
		return false, false
	}
	c.dn = c.v.appendDN(c.dn[:0], id)
	c.entry = Entry{v: c.v, id: id, dn: c.dn, w: &c.w}
	return c.matches(), false
}

// Within tells whether id is in the scope of base.
func (v *Version) Within(id, base ID, scope Scope) bool {
	switch scope {
	case Base:
		return id == base
	case One:
		return v.row(id).parent == base
	case Subordinate:
		id = v.row(id).parent
	}
	for id != base && id != 0 {
		id = v.row(id).parent
	}
	return id == base
}

func (c *Cursor) matches() bool {
	m := c.q.Matcher
	if c.q.Accept != nil {
		return c.q.Accept(c.entry)
	}
	if m == nil {
		return true
	}
	x := c.v.valueBy(&c.w, c.entry.id)
	var oper dit.Run
	switch {
	case c.needed:
		c.opers = c.entry.AppendComputed(append(c.opers[:0], x.oper()...))
		oper = c.opers
	case c.oper:
		oper = x.oper()
	}
	return m.Match(text(c.entry.dn), x.user(), oper) == dit.True
}

// advance sets next to what follows id in the walk, and the name to its parent's.
func (c *Cursor) advance(id ID) {
	v, base := c.v, c.q.Base
	r := v.row(id)
	switch c.q.Scope {
	case Base:
		c.next = 0
		return
	case One:
		c.next = r.next
		return
	}
	if r.first != 0 {
		if id != base {
			c.name.descend()
		}
		c.next = r.first
		return
	}
	for id != base {
		if r.next != 0 {
			c.next = r.next
			return
		}
		id = r.parent
		r = v.row(id)
		if id != base {
			c.name.ascend()
		}
	}
	c.next = 0
}
