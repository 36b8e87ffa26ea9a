package dit

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"shaft/pkg/schema"
)

// OrderKey is one key of a sort (RFC 2891 section 1.1).
type OrderKey struct {
	Attr    string // description; subtypes count too
	Rule    string // ordering rule; "" for the attribute's own
	Reverse bool
}

// Why a key cannot be sorted by.
var (
	ErrUnknownAttribute = errors.New("no such attribute type is known")
	ErrNoOrder          = errors.New("no ordering rule suits the attribute")
)

// Order makes sort keys of entries: compared byte by byte they stand in the
// order that was asked for. Not safe for concurrent use.
type Order struct {
	keys  []orderKey
	norms normalizer
	oper  bool
	least []byte // scratch
	next  []byte
}

type orderKey struct {
	attrs   attrSet
	rule    *schema.MatchingRule
	reverse bool
}

// NewOrder compiles keys, the most significant first. The error wraps
// ErrUnknownAttribute or ErrNoOrder; bad is the number of the key that it is about.
func NewOrder(s *schema.Schema, keys []OrderKey) (o *Order, bad int, err error) {
	o = &Order{norms: normalizer{s: s}}
	for i, k := range keys {
		a := s.Attribute(k.Attr)
		if a.Unknown {
			return nil, i, fmt.Errorf("%.64q: %w", k.Attr, ErrUnknownAttribute)
		}
		rule := orderingOf(s, a)
		if k.Rule != "" {
			if rule = s.Rule(k.Rule); rule != nil && (!isOrdering(rule) || !suits(rule, a)) {
				rule = nil
			}
		}
		if rule == nil {
			return nil, i, fmt.Errorf("%.64q: %w", k.Attr, ErrNoOrder)
		}
		key := orderKey{rule: rule, reverse: k.Reverse}
		key.attrs.options = descOptions(k.Attr)
		for _, t := range subtypes(s, a) {
			key.attrs.addType(t)
			o.oper = o.oper || t.Operational()
		}
		o.keys = append(o.keys, key)
	}
	return o, 0, nil
}

// orderingOf is the attribute's ordering rule, or where the schema gives it
// none, as for cn and its like, the one that goes with its equality rule.
func orderingOf(s *schema.Schema, a *schema.AttributeType) *schema.MatchingRule {
	if a.Ordering != nil || a.Equality == nil {
		return a.Ordering
	}
	name, ok := strings.CutSuffix(a.Equality.Name(), "Match")
	if !ok {
		return nil
	}
	rule := s.Rule(strings.TrimSuffix(name, "IA5") + "OrderingMatch")
	if rule == nil || !isOrdering(rule) {
		return nil
	}
	return rule
}

func isOrdering(r *schema.MatchingRule) bool {
	return r.Normalize != nil && r.Match == nil && r.NormalizeSubstr == nil &&
		strings.HasSuffix(strings.ToLower(r.Name()), "orderingmatch")
}

// NeedsOper tells whether an operational attribute is among the keys.
func (o *Order) NeedsOper() bool { return o.oper }

// Bytes of an encoded sort key. Values end with two zeros and have their zeros
// marked, so that one that another begins with comes first.
const (
	orderPresent = 0x01
	orderAbsent  = 0x02 // larger than every value (RFC 2891 section 2.2)
	orderZero    = 0xff // behind a zero that is part of a value
)

// Append adds the sort key of an entry: for each key its least value.
func (o *Order) Append(dst []byte, user, oper Run) []byte {
	for i := range o.keys {
		k := &o.keys[i]
		start := len(dst)
		found := o.leastOf(k, user, false)
		if o.oper {
			found = o.leastOf(k, oper, found)
		}
		if found {
			dst = append(dst, orderPresent)
			for _, c := range o.least {
				if dst = append(dst, c); c == 0 {
					dst = append(dst, orderZero)
				}
			}
			dst = append(dst, 0, 0)
		} else {
			dst = append(dst, orderAbsent)
		}
		if k.reverse {
			for j := start; j < len(dst); j++ {
				dst[j] = ^dst[j]
			}
		}
	}
	return dst
}

// leastOf sets o.least to the least value of a run; found says that it holds one
// already. Values that are not of the rule's syntax do not count.
func (o *Order) leastOf(k *orderKey, run Run, found bool) bool {
	for desc, vals, rest, ok := run.Next(); ok; desc, vals, rest, ok = rest.Next() {
		if !k.attrs.has(desc) {
			continue
		}
		for v, more, ok := nextValue(vals); ok; v, more, ok = nextValue(more) {
			norm, err := o.norms.append(o.next[:0], k.rule, v)
			if err != nil {
				continue
			}
			o.next = norm
			if !found || bytes.Compare(norm, o.least) < 0 {
				o.least, o.next = o.next, o.least
				found = true
			}
		}
	}
	return found
}
