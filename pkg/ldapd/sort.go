package ldapd

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

const (
	// maxSortKeys is more than anyone means.
	maxSortKeys = 8
	// sortEntries and sortBytes bound one sort: the entries, and their keys, which
	// are kept until the order is known.
	sortEntries = 100_000
	sortBytes   = 16 << 20
	// sortSmall is what keys may take without a turn; of those that have more
	// sortsAtOnce are gathered at a time by the whole server.
	sortSmall   = 64 << 10
	sortsAtOnce = 4
)

// sortControl is the server-side sort control of a request (RFC 2891).
type sortControl struct {
	keys     []dit.OrderKey
	critical bool
}

func decodeSort(ctl control) (*sortControl, error) {
	keys, err := decodeSortKeys(ctl.value)
	if err != nil {
		return nil, fmt.Errorf("server-side sort control: %w", err)
	}
	return &sortControl{keys, ctl.critical}, nil
}

func decodeSortKeys(value []byte) (keys []dit.OrderKey, err error) {
	outer := ber.NewReader(value)
	list, err := outer.Enter(ber.Sequence)
	if err != nil {
		return nil, err
	}
	if outer.More() {
		return nil, errors.New("there is something behind the keys")
	}
	for list.More() {
		r, err := list.Enter(ber.Sequence)
		if err != nil {
			return nil, err
		}
		attr, err := r.Read(ber.OctetString)
		if err != nil {
			return nil, err
		}
		rule, _, err := r.Optional(ber.ContextPrimitive(0))
		if err != nil {
			return nil, err
		}
		key := dit.OrderKey{Attr: string(attr), Rule: string(rule)}
		if r.Peek() == ber.ContextPrimitive(1) {
			if key.Reverse, err = r.Bool(ber.ContextPrimitive(1)); err != nil {
				return nil, err
			}
		}
		if r.More() {
			return nil, errors.New("there is something behind a key")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there are no keys")
	}
	return keys, nil
}

// sortResult is the content of the reply's control (RFC 2891 section 1.2).
type sortResult struct {
	code int
	attr string // the key that is in error
}

// compile makes the order of a control, or says why there is none.
func (s *sortControl) compile(sch *schema.Schema) (*dit.Order, sortResult) {
	if len(s.keys) > maxSortKeys {
		return nil, sortResult{code: ldapserver.LDAPResultUnwillingToPerform}
	}
	for i, k := range s.keys {
		same := func(other dit.OrderKey) bool { return sch.Attribute(other.Attr).Key() == sch.Attribute(k.Attr).Key() }
		if slices.ContainsFunc(s.keys[:i], same) {
			return nil, sortResult{ldapserver.LDAPResultUnwillingToPerform, k.Attr}
		}
	}
	order, bad, err := dit.NewOrder(sch, s.keys)
	switch {
	case errors.Is(err, dit.ErrUnknownAttribute):
		return nil, sortResult{ldapserver.LDAPResultNoSuchAttribute, s.keys[bad].Attr}
	case err != nil:
		return nil, sortResult{ldapserver.LDAPResultInappropriateMatching, s.keys[bad].Attr}
	}
	return order, sortResult{}
}

// append adds the control of a reply.
func (r sortResult) append(dst []byte) []byte {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Enumerated, int64(r.code))
	if r.attr != "" {
		value = ber.AppendString(value, ber.ContextPrimitive(0), r.attr)
	}
	return appendControl(dst, oidSorted, ber.End(value, mark))
}

// appendControl adds a control of a reply, never a critical one.
func appendControl(dst []byte, oid string, value []byte) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, oid)
	dst = ber.AppendBytes(dst, ber.OctetString, value)
	return ber.End(dst, mark)
}

// sorter gathers what a search finds, and then yields it in order. What is too
// much for it, it yields as it was found.
type sorter struct {
	run   *search
	from  source
	order *dit.Order

	gathering bool
	through   bool // it gave up: what is yet to come is passed on
	passing   bool // and that has begun
	turn      bool // it holds one of the server's
	rows      []sortRow
	keys      []byte
	ids       []tree.ID // in order, once they are all there
	at        int       // behind the one that was yielded last
}

type sortRow struct {
	id       tree.ID
	from, to uint32 // its key
}

func newSorter(run *search, from source, order *dit.Order) *sorter {
	return &sorter{run: run, from: from, order: order, gathering: true}
}

// Step is the source's: while it gathers, it never finds an entry, though it may a
// reference, which has no place in the order.
func (s *sorter) Step(max int) (found, done bool) {
	for ; max > 0 && s.gathering; max-- {
		found, end := s.from.Step(1)
		switch {
		case found && s.run.atReference():
			return true, false
		case found && !s.add(s.from.Entry()):
			return false, false
		case end:
			s.settle()
			return false, false
		}
	}
	switch {
	case s.gathering:
		return false, false
	case s.at < len(s.ids):
		s.at++
		return true, false
	case s.through:
		s.passing = true
		return s.from.Step(max)
	}
	return false, true
}

func (s *sorter) Entry() tree.Entry {
	if s.gathering || s.passing {
		return s.from.Entry()
	}
	return s.run.ver.Entry(s.ids[s.at-1])
}

// add takes one entry's key; false when there is no more room.
func (s *sorter) add(e tree.Entry) bool {
	from := len(s.keys)
	v := s.run.guard.show(s.run.x, e, s.order.NeedsOper())
	s.keys = s.order.Append(s.keys, v.user, v.oper)
	s.rows = append(s.rows, sortRow{e.ID(), uint32(from), uint32(len(s.keys))})
	switch {
	case len(s.rows) > sortEntries || len(s.keys) > sortBytes:
		s.giveUp(ldapserver.LDAPResultAdminLimitExceeded)
		return false
	case len(s.keys) > sortSmall && !s.turn:
		select {
		case s.run.c.srv.sortTurns <- struct{}{}:
			s.turn = true
		default:
			s.giveUp(ldapserver.LDAPResultBusy)
			return false
		}
	}
	return true
}

// giveUp leaves things as they were found.
func (s *sorter) giveUp(code int) {
	s.run.sorted = &sortResult{code: code}
	s.through = true
	s.end()
}

// settle puts what was gathered in order.
func (s *sorter) settle() {
	slices.SortStableFunc(s.rows, func(a, b sortRow) int {
		return bytes.Compare(s.keys[a.from:a.to], s.keys[b.from:b.to])
	})
	s.end()
}

// end gives up the keys, and what was taken for them.
func (s *sorter) end() {
	for _, row := range s.rows {
		s.ids = append(s.ids, row.id)
	}
	s.gathering, s.rows, s.keys = false, nil, nil
	s.release()
}

// release gives the turn back, if it has one.
func (s *sorter) release() {
	if s != nil && s.turn {
		s.turn = false
		<-s.run.c.srv.sortTurns
	}
}
