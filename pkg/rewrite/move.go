package rewrite

import (
	"bytes"
	"strings"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// Move rebases one remote subtree to a local name. It keeps buffers: one
// goroutine uses it at a time.
type Move struct {
	schema   *schema.Schema
	from, to dit.DN
	values   bool
	dn       *dit.DNParser
	last     byte // what a DN inside from ends with, folded; 0: cannot be told
	buf      dit.Run
}

// NewMove moves the subtree at from to to; with values false attributes of DN
// syntax are left as they are.
func NewMove(s *schema.Schema, from, to dit.DN, values bool) *Move {
	return &Move{schema: s, from: from, to: to, values: values, dn: dit.NewDNParser(s), last: lastByte(s, from)}
}

// lastByte is the folded last byte of every plainly written DN inside from, 0
// where there is none: only rules that at most fold ASCII letters are sure of it.
func lastByte(s *schema.Schema, from dit.DN) byte {
	if from.IsEmpty() {
		return 0
	}
	avas := from.RDN(from.Len() - 1).AVAs()
	if len(avas) != 1 {
		return 0
	}
	rule := s.Attribute(avas[0].Type).Equality
	if rule == nil {
		return 0
	}
	for _, name := range rule.Names {
		switch name {
		case "caseIgnoreMatch", "caseIgnoreIA5Match", "caseExactMatch", "caseExactIA5Match":
			norm := from.Norm()
			return alphanumeric(norm[len(norm)-1])
		}
	}
	return 0
}

// alphanumeric folds an ASCII letter or digit; anything else is 0.
func alphanumeric(c byte) byte {
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z':
		return c
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	}
	return 0
}

// outside tells at a glance that a DN cannot lie inside from: it ends with
// another letter or digit, one that is neither part of an escape (\67) nor of a
// value in hexadecimal (#0403…).
func (m *Move) outside(dn []byte) bool {
	n := len(dn)
	if m.last == 0 || n < 3 {
		return false
	}
	c := alphanumeric(dn[n-1])
	return c != 0 && c != m.last && dn[n-2] != '\\' && dn[n-3] != '\\' && bytes.IndexByte(dn, '#') < 0
}

// parseInside tells whether a value lies in the moved subtree; it is then left
// in m.dn.
func (m *Move) parseInside(dn []byte) bool {
	return !m.outside(dn) && m.dn.Parse(dn) == nil && m.dn.Under(m.from)
}

// splitUID splits the optional #'0101'B off a value of Name and Optional UID
// syntax (RFC 4517 section 3.3.21).
func splitUID(a *schema.AttributeType, value []byte) (dn, uid []byte) {
	if a.Syntax != schema.SyntaxNameAndUID || !bytes.HasSuffix(value, []byte("'B")) {
		return value, nil
	}
	i := bytes.LastIndex(value, []byte("#'"))
	if i < 0 || i+2 > len(value)-2 {
		return value, nil
	}
	if bits := value[i+2 : len(value)-2]; strings.Trim(string(bits), "01") != "" {
		return value, nil
	}
	return value[:i], value[i:]
}

// HasInside tells whether any DN-syntax value in run lies in the moved
// subtree; never when values are not moved.
func (m *Move) HasInside(run dit.Run) bool {
	if !m.values {
		return false
	}
	for {
		desc, vals, rest, ok := run.Next()
		if !ok {
			return false
		}
		if a := m.schema.AttributeBytes(desc); a.IsDN() && m.anyInside(a, vals) {
			return true
		}
		run = rest
	}
}

func (m *Move) anyInside(a *schema.AttributeType, vals []byte) bool {
	for len(vals) > 0 {
		_, value, rest, err := ber.Next(vals)
		if err != nil {
			return false
		}
		if dn, _ := splitUID(a, value); m.parseInside(dn) {
			return true
		}
		vals = rest
	}
	return false
}

// Run appends run to dst with the DN values inside the moved subtree rebased:
// what is left of from stays as it is written. Values that are no DNs, and
// those outside, are copied as they are, but for one that a moved value now
// equals: a set holds it once.
func (m *Move) Run(dst, run dit.Run) dit.Run {
	if !m.values {
		return append(dst, run...)
	}
	for {
		desc, vals, element, rest, ok := run.NextRaw()
		if !ok {
			return dst
		}
		if a := m.schema.AttributeBytes(desc); a.IsDN() && m.anyInside(a, vals) {
			dst = m.attribute(dst, a, desc, vals)
		} else {
			dst = append(dst, element...)
		}
		run = rest
	}
}

// attribute appends one attribute with its values moved.
func (m *Move) attribute(dst dit.Run, a *schema.AttributeType, desc, vals []byte) dit.Run {
	out, sequence := ber.Begin(dst, ber.Sequence)
	out = ber.AppendBytes(out, ber.OctetString, desc)
	out, set := ber.Begin(out, ber.Set)
	content := len(out)
	atTarget := false // a value at the new place that was not moved there
	for len(vals) > 0 {
		_, value, rest, err := ber.Next(vals)
		if err != nil {
			break
		}
		vals = rest
		dn, uid := splitUID(a, value)
		if m.parseInside(dn) {
			out = m.value(out, uid)
			continue
		}
		atTarget = atTarget || m.dn.Parse(dn) == nil && m.dn.Under(m.to)
		out = ber.AppendBytes(out, ber.OctetString, value)
	}
	if atTarget {
		out = out[:content+m.unique(out[content:], a)]
	}
	return ber.End(ber.End(out, set), sequence)
}

// value appends the value that was just parsed, moved.
func (m *Move) value(out []byte, uid []byte) []byte {
	out, mark := ber.Begin(out, ber.OctetString)
	left := m.dn.TextFirst(m.dn.Len() - m.from.Len())
	out = append(out, left...)
	if len(left) > 0 && !m.to.IsEmpty() {
		out = append(out, ',')
	}
	out = append(append(out, m.to.String()...), uid...)
	return ber.End(out, mark)
}

// unique takes the values out of vals that equal an earlier one, and gives the
// length of what stays.
func (m *Move) unique(vals []byte, a *schema.AttributeType) int {
	seen := map[string]bool{}
	n := 0
	for rest := vals; len(rest) > 0; {
		_, value, after, err := ber.Next(rest)
		if err != nil {
			break
		}
		element := rest[:len(rest)-len(after)]
		if key := normal(m.schema, a, value); !seen[key] {
			seen[key] = true
			n += copy(vals[n:], element)
		}
		rest = after
	}
	return n
}

// normal is a value's equality form; a value that has none stands for itself.
func normal(s *schema.Schema, a *schema.AttributeType, value []byte) string {
	norm, err := dit.NormalizeValue(nil, s, a, value)
	if err != nil {
		return string(value)
	}
	return string(norm)
}
