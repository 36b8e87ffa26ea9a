package dit

import (
	"bytes"
	"errors"

	"shaft/pkg/schema"
)

// NormalizeValue appends the equality form of a value of type a: its rule's,
// DNs by this package, OIDs by the schema; without a rule the bytes themselves.
// Two values of a type are equal exactly when their forms are. An error says
// that the value is not of the rule's syntax.
func NormalizeValue(dst []byte, s *schema.Schema, a *schema.AttributeType, value []byte) ([]byte, error) {
	n := normalizer{s: s}
	return n.append(dst, a.Equality, value)
}

// Normalizer is NormalizeValue for one value after the other: it makes no garbage
// for DNs. Not safe for concurrent use.
type Normalizer struct{ norms normalizer }

// NewNormalizer makes a normalizer that takes attribute types and rules from s.
func NewNormalizer(s *schema.Schema) *Normalizer { return &Normalizer{normalizer{s: s}} }

// Append is NormalizeValue.
func (n *Normalizer) Append(dst []byte, a *schema.AttributeType, value []byte) ([]byte, error) {
	return n.norms.append(dst, a.Equality, value)
}

// normalizer applies matching rules, those of DN kind included.
type normalizer struct {
	s     *schema.Schema
	depth int // of DNs within DNs
	dns   *DNParser
}

var (
	errNesting = errors.New("DNs are nested too deep")
	errUID     = errors.New("the UID behind '#' is not a bit string")
)

// append appends the comparable form of value by rule r.
func (n *normalizer) append(dst []byte, r *schema.MatchingRule, value []byte) ([]byte, error) {
	if r == nil {
		return append(dst, value...), nil
	}
	switch r.Kind {
	case schema.RuleDN:
		return n.dn(dst, value)
	case schema.RuleNameAndUID:
		return n.nameAndUID(dst, value)
	case schema.RuleOID:
		return n.s.NormalizeOID(dst, bytes.Trim(value, " ")), nil
	}
	if r.Normalize == nil {
		return append(dst, value...), nil
	}
	return r.Normalize(dst, value)
}

func (n *normalizer) dn(dst, value []byte) ([]byte, error) {
	if n.depth == maxDNNesting {
		return dst, errNesting
	}
	if n.dns == nil {
		n.dns = NewDNParser(n.s)
		n.dns.norms.depth = n.depth + 1
	}
	if err := n.dns.Parse(value); err != nil {
		return dst, err
	}
	return append(dst, n.dns.norm...), nil
}

// nameAndUID reads a DN and an optional bit string: DN#'0101'B (RFC 4517
// section 3.3.21).
func (n *normalizer) nameAndUID(dst, value []byte) ([]byte, error) {
	name, uid := splitUID(value)
	for _, c := range uid {
		if c != '0' && c != '1' {
			return dst, errUID
		}
	}
	out, err := n.dn(dst, name)
	if err != nil || uid == nil {
		return out, err
	}
	out = append(out, "#'"...)
	out = append(out, uid...)
	return append(out, "'B"...), nil
}

// splitUID parts a name from the bits behind it, nil when there are none.
func splitUID(value []byte) (name, bits []byte) {
	body, ok := bytes.CutSuffix(value, []byte("'B"))
	if !ok {
		return value, nil
	}
	i := bytes.LastIndex(body, []byte("#'"))
	if i < 0 {
		return value, nil
	}
	return body[:i], body[i+2:]
}
