package rewrite

import (
	"bytes"
	"encoding/binary"
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
	atFrom   glance
	atTo     glance
	types    *schema.Memo
	dn       *dit.DNParser
	looked   []looked
	buf      dit.Run
	parts    []Part
}

// lookedSlots is how many values a Move remembers: most entries were made and
// changed by the same few, and siblings often have one manager.
const (
	lookedSlots     = 16
	manyLookedSlots = 1024
)

// looked is what is known of a DN: inside the moved subtree, and what it is then moved to;
// else whether it may lie where the subtree goes.
type looked struct {
	dn, moved     []byte
	inside, there bool
}

// NewMove moves the subtree at from to to; with values false attributes of DN
// syntax are left as they are.
func NewMove(s *schema.Schema, from, to dit.DN, values bool) *Move {
	return &Move{
		schema: s, from: from, to: to, values: values, types: schema.NewMemo(s), dn: dit.NewDNParser(s),
		atFrom: newGlance(s, from), atTo: newGlance(s, to), looked: make([]looked, lookedSlots),
	}
}

// RememberMore is for who sees many entries in no order, for a while.
func (m *Move) RememberMore() { m.looked = make([]looked, manyLookedSlots) }

// glance is the folded last byte of every plainly written DN inside a base, 0
// where there is none: it tells of most DNs that they lie elsewhere.
type glance byte

// newGlance is sure only of rules that at most fold ASCII letters.
func newGlance(s *schema.Schema, base dit.DN) glance {
	if base.IsEmpty() {
		return 0
	}
	avas := base.RDN(base.Len() - 1).AVAs()
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
			norm := base.Norm()
			return glance(alphanumeric(norm[len(norm)-1]))
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

// outside tells that a DN cannot lie inside the base: it ends with another letter or
// digit, one that is neither part of an escape (\67) nor of a value in hexadecimal
// (#0403…).
func (g glance) outside(dn []byte) bool {
	n := len(dn)
	if g == 0 || n < 3 {
		return false
	}
	c := alphanumeric(dn[n-1])
	return c != 0 && c != byte(g) && dn[n-2] != '\\' && dn[n-3] != '\\' && bytes.IndexByte(dn, '#') < 0
}

// look finds out about a DN; the answer is good until the next call.
func (m *Move) look(dn []byte) *looked {
	l := &m.looked[slot(dn)%len(m.looked)]
	if !bytes.Equal(l.dn, dn) || len(dn) == 0 {
		l.dn = append(l.dn[:0], dn...)
		m.parse(l)
	}
	return l
}

// slot goes by what is behind the type of the first RDN. All that are long share
// one, so that a few hostile ones take no memory for good.
func slot(dn []byte) int {
	const first, last, long = 3, 11, 512
	if len(dn) < last || len(dn) > long {
		return 0
	}
	x := binary.LittleEndian.Uint64(dn[first:last]) ^ uint64(len(dn))
	return int(x * 0x9e3779b97f4a7c15 >> 32)
}

// parse fills in what is said of l.dn.
func (m *Move) parse(l *looked) {
	l.inside, l.there = false, !m.atTo.outside(l.dn)
	switch {
	case m.atFrom.outside(l.dn):
	case m.dn.Parse(l.dn) != nil:
		l.there = false
	case !m.dn.Under(m.from):
		l.there = l.there && m.dn.Under(m.to)
	default:
		l.inside, l.there = true, false
		l.moved = append(l.moved[:0], m.dn.TextFirst(m.dn.Len()-m.from.Len())...)
		if len(l.moved) > 0 && !m.to.IsEmpty() {
			l.moved = append(l.moved, ',')
		}
		l.moved = append(l.moved, m.to.String()...)
	}
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

// Rebase appends run to dst with the DN values inside the moved subtree rebased:
// what is left of from stays as it is written. Values that are no DNs, and
// those outside, are copied as they are, but for one that a moved value now
// equals: a set holds it once. Without a value inside, or when values are not
// moved, moved is false and dst comes back as it was.
func (m *Move) Rebase(dst, run dit.Run) (out dit.Run, moved bool) {
	if !m.values {
		return dst, false
	}
	m.parts = m.Parts(m.parts[:0], run)
	return m.RebaseParts(dst, run, m.parts)
}

// Part is where in a run an attribute begins and ends.
type Part struct{ From, To int }

// Parts appends where in run attributes of DN syntax are.
func (m *Move) Parts(dst []Part, run dit.Run) []Part {
	for rest := run; ; {
		rest = rest.Seek(m.schema.DNs())
		desc, _, after, ok := rest.Next()
		if !ok {
			return dst
		}
		if m.types.Attribute(desc).IsDN() {
			dst = append(dst, Part{len(run) - len(rest), len(run) - len(after)})
		}
		rest = after
	}
}

// RebaseParts is Rebase for one who knows where in run all attributes of DN syntax are.
func (m *Move) RebaseParts(dst, run dit.Run, parts []Part) (out dit.Run, moved bool) {
	if !m.values {
		return dst, false
	}
	copied := 0 // bytes of run that are in dst
	for _, p := range parts {
		desc, vals, _, _ := run[p.From:p.To].Next()
		if a := m.types.Attribute(desc); m.anyInside(a, vals) {
			dst = append(dst, run[copied:p.From]...)
			dst = m.attribute(dst, a, desc, vals)
			copied, moved = p.To, true
		}
	}
	if moved {
		dst = append(dst, run[copied:]...)
	}
	return dst, moved
}

func (m *Move) anyInside(a *schema.AttributeType, vals []byte) bool {
	for len(vals) > 0 {
		_, value, rest, err := ber.Next(vals)
		if err != nil {
			return false
		}
		if dn, _ := splitUID(a, value); m.look(dn).inside {
			return true
		}
		vals = rest
	}
	return false
}

// attribute appends one attribute with its values moved.
func (m *Move) attribute(dst dit.Run, a *schema.AttributeType, desc, vals []byte) dit.Run {
	out, sequence := ber.Begin(dst, ber.Sequence)
	out = ber.AppendBytes(out, ber.OctetString, desc)
	out, set := ber.Begin(out, ber.Set)
	content := len(out)
	there := false // a value may be where one is moved to
	for len(vals) > 0 {
		_, value, rest, err := ber.Next(vals)
		if err != nil {
			break
		}
		vals = rest
		dn, uid := splitUID(a, value)
		l := m.look(dn)
		there = there || l.there
		if l.inside {
			out = ber.AppendHeader(out, ber.OctetString, len(l.moved)+len(uid))
			out = append(append(out, l.moved...), uid...)
		} else {
			out = ber.AppendBytes(out, ber.OctetString, value)
		}
	}
	if there {
		out = out[:content+m.unique(out[content:], a)]
	}
	return ber.End(ber.End(out, set), sequence)
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
