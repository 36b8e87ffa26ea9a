package ldapd

import (
	"hash/maphash"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// shape is what controls, aliases and referral objects make of a search.
type shape struct {
	base tree.ID
	// Entries of a kind in hide are left out; where only is set, all that are of none in it.
	hide, only tree.Kind
	walk       *walk // nil: neither aliases nor referral objects are looked at
	sorter     *sorter
	order      *dit.Order       // nil: not sorted
	sorted     *sortResult      // for the reply; nil: sorting was not asked for
	sortOrFail bool             // the sort control is critical
	values     *dit.ValueFilter // nil: all values
	kept       []byte           // scratch: attributes with those values
	failed     *result          // why the search cannot go on; nil: it can
}

// prepare compiles what the controls say.
func (s *search) prepare(ctl *requestControls) result {
	sch := s.ver.Schema()
	if ctl.values != nil {
		var err error
		if s.values, err = dit.DecodeValueFilter(sch, ctl.values); err != nil {
			return result{code: ldapserver.LDAPResultProtocolError, text: err.Error()}
		}
	}
	if ctl.sort != nil {
		order, sorted := ctl.sort.compile(sch)
		s.order, s.sorted, s.sortOrFail = order, &sorted, ctl.sort.critical
	}
	return result{}
}

// open begins the search at its base.
func (s *search) open(req *searchRequest, ctl *requestControls) {
	kinds := s.ver.Kinds()
	aliases := req.deref&derefInSearching != 0 && req.scope != tree.Base && kinds&tree.Alias != 0
	references := !ctl.manage && req.scope != tree.Base && kinds&tree.Referral != 0
	switch {
	case ctl.subentries == subentriesOnly:
		s.only = tree.Subentry
	case ctl.subentries == entriesOnly, req.scope != tree.Base:
		s.hide |= tree.Subentry & kinds
	}
	if aliases {
		s.hide |= tree.Alias
	}
	if references {
		s.hide |= tree.Referral
	}
	references = references && s.only == 0
	if aliases || references {
		s.walk = newWalk(s, req.scope, aliases, references)
		s.cur = s.walk
	} else {
		q := tree.Query{Base: s.base, Scope: req.scope, Matcher: s.matcher}
		if s.guard.judges(s.ver.Entry(s.base), s.matcher) || s.hide|s.only != 0 {
			q.Accept = s.accept
		}
		s.cur = s.ver.Search(q)
	}
	if s.order != nil {
		s.sorter = newSorter(s, s.cur, s.order)
		s.cur = s.sorter
	}
}

// accept is the cursor's question where there are access rules, or kinds of entries
// that are treated in a way of their own. The base is never dereferenced here:
// findBase has decided of it.
func (s *search) accept(e tree.Entry) bool {
	if s.hide|s.only != 0 {
		kind, hide := s.ver.Kind(e.ID()), s.hide
		if e.ID() == s.base {
			hide &^= tree.Alias
		}
		if kind&hide != 0 || s.only != 0 && kind&s.only == 0 {
			return false
		}
	}
	return s.guard.match(s.x, e, s.matcher)
}

// refused tells why the search cannot go on, nil while it can.
func (s *search) refused() *result {
	switch {
	case s.failed != nil:
		return s.failed
	case s.sorted != nil && s.sorted.code != 0 && s.sortOrFail:
		return &result{code: ldapserver.LDAPResultUnavailableCriticalExtension, text: "the entries cannot be sorted as the critical control asks"}
	}
	return nil
}

// pageHash stands for all of a request that its pages have in common: who asks, by
// which rules, what, with which other controls.
func (c *conn) pageHash(req *request) uint64 {
	var h maphash.Hash
	h.SetSeed(c.srv.seed)
	h.Write(req.body)
	eachControl(req.controls, func(ctl control) bool { // they have been read before
		if string(ctl.oid) != oidPaged {
			h.Write(ctl.oid)
			h.WriteByte(0)
			h.Write(ctl.value)
		}
		return true
	})
	return h.Sum64() ^ maphash.Comparable(c.srv.seed, c.srv.policy.Load())
}
