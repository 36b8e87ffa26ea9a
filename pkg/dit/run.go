package dit

import (
	"errors"
	"fmt"

	"shaft/pkg/ber"
	"shaft/pkg/schema"
)

// A Run is attributes as they stand in a SearchResultEntry (RFC 4511 section
// 4.5.2): PartialAttribute elements one after the other, lengths minimal. It
// holds them encoded; it is walked, never unpacked.
type Run []byte

// element splits the first element off b, which must bear tag.
func element(b []byte, tag byte) (content, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		if n, head = longLength(b); head == 0 {
			return nil, nil, false
		}
	}
	if n > len(b)-head {
		return nil, nil, false
	}
	return b[head : head+n], b[head+n:], true
}

// longLength reads a length of more than one octet; head is 0 when it is bad
// or longer than four, which no entry is.
func longLength(b []byte) (n, head int) {
	octets := int(b[1] & 0x7f)
	if octets == 0 || octets > 4 || len(b) < 2+octets {
		return 0, 0
	}
	for _, c := range b[2 : 2+octets] {
		n = n<<8 | int(c)
	}
	return n, 2 + octets
}

// Next splits the first attribute off: its description, the content of its
// SET OF values (walk it with ber.Next), and the rest. ok is false at the end.
// A Run made by this package or checked by Check never fails before its end.
func (r Run) Next() (desc, vals []byte, rest Run, ok bool) {
	attr, after, ok := element(r, byte(ber.Sequence))
	if !ok {
		return nil, nil, nil, false
	}
	desc, attr, ok = element(attr, byte(ber.OctetString))
	if !ok {
		return nil, nil, nil, false
	}
	vals, _, ok = element(attr, byte(ber.Set))
	return desc, vals, after, ok
}

// Seek passes over attributes that the sieve lets none through of, and gives the run from the first on that
// may be of its types; its end, or what Next fails at, where there is none.
func (r Run) Seek(sieve *schema.Sieve) Run {
	for {
		if r = r.seekShort(sieve); len(r) < 2 || r[1] < 0x80 {
			return r
		}
		attr, after, ok := element(r, byte(ber.Sequence))
		if !ok {
			return r
		}
		desc, _, ok := element(attr, byte(ber.OctetString))
		if !ok || sieve.Has(desc) {
			return r
		}
		r = after
	}
}

// seekShort is Seek as far as lengths take one byte.
func (r Run) seekShort(sieve *schema.Sieve) Run {
	for len(r) >= 4 && r[0] == byte(ber.Sequence) && r[1] < 0x80 && r[2] == byte(ber.OctetString) {
		size, name := 2+int(r[1]), 4+int(r[3])
		if name > size || size > len(r) || sieve.Has(r[4:name]) {
			break
		}
		r = r[size:]
	}
	return r
}

// NextRaw is Next that also gives the whole element, for copying.
func (r Run) NextRaw() (desc, vals, element []byte, rest Run, ok bool) {
	desc, vals, rest, ok = r.Next()
	if !ok {
		return nil, nil, nil, nil, false
	}
	return desc, vals, r[:len(r)-len(rest)], rest, true
}

// nextValue splits the first value off the content of a SET OF values.
func nextValue(vals []byte) (value, rest []byte, ok bool) {
	return element(vals, byte(ber.OctetString))
}

// Check verifies that r is well formed: attributes with a description and a
// set of values, nothing else, every length in as few octets as it takes.
func (r Run) Check() error {
	rest := []byte(r)
	for len(rest) > 0 {
		at := len(r) - len(rest)
		attr, after, err := strict(rest, ber.Sequence)
		if err == nil {
			err = checkAttr(attr)
		}
		if err != nil {
			return fmt.Errorf("attribute at offset %d: %w", at, err)
		}
		rest = after
	}
	return nil
}

func checkAttr(attr []byte) error {
	desc, rest, err := strict(attr, ber.OctetString)
	if err != nil {
		return fmt.Errorf("description: %w", err)
	}
	if len(desc) == 0 {
		return errors.New("the description is empty")
	}
	vals, rest, err := strict(rest, ber.Set)
	if err != nil {
		return fmt.Errorf("values of %q: %w", desc, err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes behind the values of %q", len(rest), desc)
	}
	for len(vals) > 0 {
		if _, vals, err = strict(vals, ber.OctetString); err != nil {
			return fmt.Errorf("value of %q: %w", desc, err)
		}
	}
	return nil
}

// strict is element with the reason why not, minimal lengths asked for.
func strict(b []byte, tag ber.Tag) (content, rest []byte, err error) {
	if len(b) > 0 && b[0] != byte(tag) {
		return nil, nil, fmt.Errorf("tag 0x%02x, expected 0x%02x", b[0], byte(tag))
	}
	content, rest, ok := element(b, byte(tag))
	if !ok {
		return nil, nil, errors.New("cut short")
	}
	if len(b)-len(content)-len(rest) != ber.HeaderLen(len(content)) {
		return nil, nil, errors.New("length in more octets than it takes")
	}
	return content, rest, nil
}

// AppendAttr adds one attribute to a run.
func AppendAttr(dst Run, desc string, values ...string) Run {
	return appendAttr(dst, desc, values)
}

// AppendAttrBytes adds one attribute to a run.
func AppendAttrBytes(dst Run, desc []byte, values ...[]byte) Run {
	return appendAttr(dst, desc, values)
}

func appendAttr[T []byte | string](dst Run, desc T, values []T) Run {
	size := 0
	for _, v := range values {
		size += ber.HeaderLen(len(v)) + len(v)
	}
	whole := ber.HeaderLen(len(desc)) + len(desc) + ber.HeaderLen(size) + size
	out := ber.AppendHeader(dst, ber.Sequence, whole)
	out = ber.AppendHeader(out, ber.OctetString, len(desc))
	out = append(out, desc...)
	out = ber.AppendHeader(out, ber.Set, size)
	for _, v := range values {
		out = ber.AppendHeader(out, ber.OctetString, len(v))
		out = append(out, v...)
	}
	return out
}

// Values collects the values of all attributes of type a or a subtype, options
// included. They alias the run.
func (r Run) Values(s *schema.Schema, a *schema.AttributeType) [][]byte {
	var out [][]byte
	for desc, vals, rest, ok := r.Next(); ok; desc, vals, rest, ok = rest.Next() {
		if !derives(s.AttributeBytes(desc), a) {
			continue
		}
		for v, more, ok := nextValue(vals); ok; v, more, ok = nextValue(more) {
			out = append(out, v)
		}
	}
	return out
}

// derives tells whether t is a or a subtype of it.
func derives(t, a *schema.AttributeType) bool {
	for ; t != nil; t = t.Sup {
		if t == a || t.Key() == a.Key() {
			return true
		}
	}
	return false
}
