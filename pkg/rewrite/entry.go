package rewrite

import (
	"bytes"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// Base appends the moved base entry's user attributes (R5): the values of the
// new RDN are added, or replace the old ones where the type is SINGLE-VALUE;
// extensibleObject is added only where the classes do not allow the RDN's
// attribute. DN values are rebased as by Rebase. It may be used with from == to.
func (m *Move) Base(dst, user dit.Run) dit.Run {
	if buf, moved := m.Rebase(m.buf[:0], user); moved {
		m.buf, user = buf, buf
	}
	if m.to.IsEmpty() {
		return append(dst, user...)
	}
	avas := m.to.RDN(0).AVAs()
	if !allowsAll(m.schema, classes(m.schema, user), avas) {
		avas = append(avas, dit.AVA{Type: "objectClass", Value: []byte("extensibleObject")})
	}
	return ensure(dst, user, m.schema, avas, true)
}

// EnsureRDN appends user with the RDN's values added where they are missing.
func EnsureRDN(dst, user dit.Run, s *schema.Schema, rdn dit.RDN) dit.Run {
	return ensure(dst, user, s, rdn.AVAs(), false)
}

// classes lists the object classes that a run names.
func classes(s *schema.Schema, user dit.Run) []string {
	var out []string
	for _, v := range user.Values(s, s.Attribute("objectClass")) {
		out = append(out, string(v))
	}
	return out
}

// allowsAll tells whether an entry of these classes may hold all the AVAs.
func allowsAll(s *schema.Schema, classes []string, avas []dit.AVA) bool {
	for _, ava := range avas {
		if !s.Allows(classes, s.Attribute(ava.Type)) {
			return false
		}
	}
	return true
}

// ensure appends user with each AVA's value added to its attribute, or an
// attribute of its own. With replace a SINGLE-VALUE attribute gives up its old
// value. A value that is there, in whatever spelling, stays as it is. What has
// options (cn;lang-en) cannot hold an RDN's value and is copied.
func ensure(dst, user dit.Run, s *schema.Schema, avas []dit.AVA, replace bool) dit.Run {
	types := make([]*schema.AttributeType, len(avas))
	for i, ava := range avas {
		types[i] = s.Attribute(ava.Type)
	}
	done := make([]bool, len(avas))
	for {
		desc, vals, element, rest, ok := user.NextRaw()
		if !ok {
			break
		}
		user = rest
		var missing [][]byte
		a := s.AttributeBytes(desc)
		for i, ava := range avas {
			if done[i] || types[i].Key() != a.Key() || bytes.IndexByte(desc, ';') >= 0 {
				continue
			}
			if done[i] = true; !holds(s, a, vals, ava.Value) {
				missing = append(missing, ava.Value)
			}
		}
		switch {
		case len(missing) == 0:
			dst = append(dst, element...)
		case replace && a.SingleValue:
			dst = dit.AppendAttrBytes(dst, desc, missing...)
		default:
			dst = appendValues(dst, desc, vals, missing)
		}
	}
	for i, ava := range avas {
		if done[i] {
			continue
		}
		var values [][]byte
		for j := i; j < len(avas); j++ {
			if !done[j] && types[j].Key() == types[i].Key() {
				done[j] = true
				values = append(values, avas[j].Value)
			}
		}
		dst = dit.AppendAttrBytes(dst, []byte(ava.Type), values...)
	}
	return dst
}

// holds tells whether vals contains a value equal to want.
func holds(s *schema.Schema, a *schema.AttributeType, vals, want []byte) bool {
	norm := normal(s, a, want)
	for len(vals) > 0 {
		_, value, rest, err := ber.Next(vals)
		if err != nil {
			return false
		}
		if normal(s, a, value) == norm {
			return true
		}
		vals = rest
	}
	return false
}

// appendValues appends an attribute with the values of an encoded set and more.
func appendValues(dst dit.Run, desc, vals []byte, more [][]byte) dit.Run {
	out, sequence := ber.Begin(dst, ber.Sequence)
	out = ber.AppendBytes(out, ber.OctetString, desc)
	out, set := ber.Begin(out, ber.Set)
	out = append(out, vals...)
	for _, v := range more {
		out = ber.AppendBytes(out, ber.OctetString, v)
	}
	return ber.End(ber.End(out, set), sequence)
}
