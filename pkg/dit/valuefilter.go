package dit

import (
	"errors"
	"fmt"

	"shaft/pkg/ber"
	"shaft/pkg/schema"
)

// ValueFilter selects values of attributes, each for itself (RFC 3876): one that
// matches any of the filter's items stays. It is safe for concurrent use.
type ValueFilter struct {
	s      *schema.Schema
	leaves []*leaf
}

// DecodeValueFilter reads and compiles the BER form of a ValuesReturnFilter
// (RFC 3876 section 2): a SEQUENCE OF simple filter items, of which none is an
// and, or, not, or looks at DNs.
func DecodeValueFilter(s *schema.Schema, b []byte) (*ValueFilter, error) {
	outer := ber.NewReader(b)
	items, err := outer.Enter(ber.Sequence)
	if err == nil {
		err = atEnd(&outer)
	}
	if err != nil {
		return nil, fmt.Errorf("values filter: %w", err)
	}
	c := compiler{m: &Matcher{s: s}, norms: normalizer{s: s}}
	v := &ValueFilter{s: s}
	d := filterDecoder{}
	for items.More() {
		tag, content, err := items.Any()
		var f Filter
		if err == nil {
			f, err = d.filter(tag, content, 1)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("values filter: %w", err)
		case f.Op == FilterAnd || f.Op == FilterOr || f.Op == FilterNot:
			return nil, errors.New("values filter: its items are not combined by and, or, not")
		case f.DNAttrs:
			return nil, errors.New("values filter: an item does not look at DNs")
		case f.Op == FilterPresent: // which compiles to true for objectClass
			v.add(c.leaf(f.Attr, subtypes(s, s.Attribute(f.Attr)), valueTest{kind: testPresent}))
		default:
			v.add(c.filter(f))
		}
	}
	return v, nil
}

// add takes the leaves of a compiled item; one that can only be undefined has none.
func (v *ValueFilter) add(n node) {
	switch n.kind {
	case nodeLeaf:
		v.leaves = append(v.leaves, n.leaf)
	case nodeOr:
		for _, sub := range n.subs {
			v.add(sub)
		}
	}
}

// Append copies run with the values that match; an attribute of which none does
// keeps its description, with an empty set of values (RFC 3876 section 3).
func (v *ValueFilter) Append(dst []byte, run Run) []byte {
	e := eval{norms: normalizer{s: v.s}}
	for {
		desc, vals, rest, ok := run.Next()
		if !ok {
			return dst
		}
		run = rest
		attr, mark := ber.Begin(dst, ber.Sequence)
		attr = ber.AppendBytes(attr, ber.OctetString, desc)
		set, inner := ber.Begin(attr, ber.Set)
		for val, more, ok := nextValue(vals); ok; val, more, ok = nextValue(more) {
			if v.matches(&e, desc, val) {
				set = ber.AppendBytes(set, ber.OctetString, val)
			}
		}
		dst = ber.End(ber.End(set, inner), mark)
	}
}

func (v *ValueFilter) matches(e *eval, desc, val []byte) bool {
	for _, l := range v.leaves {
		if e.tests(l, desc) && e.value(&l.test, val) {
			return true
		}
	}
	return false
}
