package dit

import "shaft/pkg/schema"

// DN is a parsed distinguished name (RFC 4514), immutable; the zero value is
// the empty DN. It keeps the text as given (spaces around separators dropped,
// what only RFC 2253 knows put into RFC 4514's form) and a normal form in which
// equal DNs are equal strings (RFC 4517 section 4.2.15): canonical lower-case
// attribute names (schema Key), AVAs of a multi-valued RDN sorted, values in their
// equality rule's form. There every special byte of a value (one of "#+,;<=>\,
// any below 0x20, 0x7f, a space at either end) is escaped as \xx in lower-case
// hex, so that a bare ',', '+' or '=' in a normal form is always a separator.
type DN struct {
	text, norm string
	cuts       []cut
}

// cut tells where an RDN begins, in bytes before the DN's end: so an
// ancestor's cuts are the tail of its descendant's.
type cut struct{ text, norm int }

// ParseDN parses text; a *SyntaxError names the column. It accepts what RFC
// 2253 and RFC 4514 allow: spaces around separators, ';' as a separator, OIDs
// ("OID.2.5.4.3=x"), \xx and \c escapes, quoted values, #hex values.
func ParseDN(s *schema.Schema, text string) (DN, error) {
	p := NewDNParser(s)
	if err := p.Parse([]byte(text)); err != nil {
		return DN{}, err
	}
	return p.DN(), nil
}

// String gives the text form, Norm the normal form, Len the number of RDNs.
func (d DN) String() string { return d.text }

// Norm gives the normal form.
func (d DN) Norm() string { return d.norm }

// Len is the number of RDNs.
func (d DN) Len() int { return len(d.cuts) }

// IsEmpty tells whether d is the empty DN (that of the root DSE).
func (d DN) IsEmpty() bool { return len(d.cuts) == 0 }

// Equal is distinguishedNameMatch (RFC 4517 section 4.2.15).
func (d DN) Equal(o DN) bool { return d.norm == o.norm }

// RDN gives the i-th RDN, 0 being the leftmost.
func (d DN) RDN(i int) RDN {
	c, end := d.cuts[i], cut{-1, -1}
	if i+1 < len(d.cuts) {
		end = d.cuts[i+1]
	}
	return RDN{
		Text: d.text[len(d.text)-c.text : len(d.text)-end.text-1],
		Norm: d.norm[len(d.norm)-c.norm : len(d.norm)-end.norm-1],
	}
}

// Parent is d without its leftmost RDN; the empty DN's is itself.
func (d DN) Parent() DN {
	if len(d.cuts) == 0 {
		return d
	}
	return d.Last(len(d.cuts) - 1)
}

// First gives the n leftmost RDNs as a DN of their own.
func (d DN) First(n int) DN {
	switch {
	case n == 0:
		return DN{}
	case n == len(d.cuts):
		return d
	}
	rest := d.cuts[n]
	rest.text, rest.norm = rest.text+1, rest.norm+1
	out := DN{
		text: d.text[:len(d.text)-rest.text],
		norm: d.norm[:len(d.norm)-rest.norm],
		cuts: make([]cut, n),
	}
	for i := range out.cuts {
		out.cuts[i] = cut{d.cuts[i].text - rest.text, d.cuts[i].norm - rest.norm}
	}
	return out
}

// Last gives the n rightmost RDNs: an ancestor, or d itself.
func (d DN) Last(n int) DN {
	if n == 0 {
		return DN{}
	}
	cuts := d.cuts[len(d.cuts)-n:]
	return DN{
		text: d.text[len(d.text)-cuts[0].text:],
		norm: d.norm[len(d.norm)-cuts[0].norm:],
		cuts: cuts,
	}
}

// Under tells whether d is b or below it; every DN is under the empty one.
func (d DN) Under(b DN) bool { return normUnder(d.norm, b.norm) }

func normUnder(norm, base string) bool {
	n := len(norm) - len(base)
	return base == "" || n == 0 && norm == base || n > 0 && norm[n-1] == ',' && norm[n:] == base
}

// Join gives d's RDNs followed by b's.
func (d DN) Join(b DN) DN {
	if d.IsEmpty() {
		return b
	}
	if b.IsEmpty() {
		return d
	}
	out := DN{text: d.text + "," + b.text, norm: d.norm + "," + b.norm}
	out.cuts = make([]cut, 0, len(d.cuts)+len(b.cuts))
	for _, c := range d.cuts {
		out.cuts = append(out.cuts, cut{c.text + 1 + len(b.text), c.norm + 1 + len(b.norm)})
	}
	out.cuts = append(out.cuts, b.cuts...)
	return out
}

// Rel gives the RDNs of d left of b; false when d is not under b.
func (d DN) Rel(b DN) (DN, bool) {
	if !d.Under(b) {
		return DN{}, false
	}
	return d.First(len(d.cuts) - len(b.cuts)), true
}

// RDN is one relative name in both forms.
type RDN struct{ Text, Norm string }

// AVA is one attribute value assertion of an RDN, unescaped.
type AVA struct {
	Type  string // as written
	Value []byte
}

// AVAs takes the RDN apart, in the order of its text.
func (r RDN) AVAs() []AVA {
	var out []AVA
	sc := scanner{text: []byte(r.Text)}
	for {
		a, sep, err := sc.next()
		if err != nil {
			return out
		}
		out = append(out, AVA{Type: string(a.typ), Value: append([]byte{}, a.value...)})
		if sep != '+' {
			return out
		}
	}
}

// EscapeValue escapes a value for use in a DN (RFC 4514 section 2.4); bytes
// that do not print are escaped too.
func EscapeValue(v string) string { return string(appendEscaped(nil, []byte(v))) }
