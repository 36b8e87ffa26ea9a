package dit

import (
	"bytes"

	"shaft/pkg/schema"
)

// valueTest is what a filter asks of one value.
type valueTest struct {
	kind testKind
	rule *schema.MatchingRule
	raw  []byte   // the assertion as given (testEqual), or prepared for rule.Match (testRule)
	norm []byte   // its comparable form
	ids  nameSet  // testClass: names and OIDs of the classes that match
	oids [][]byte // testClass: their comparable forms

	// Printable ASCII under a rule that only folds case and spaces is compared
	// without a buffer: folding says how, want and quick what with.
	folding folding
	want    string
	parts   pieces // testSubstring
	quick   pieces
}

type testKind int

const (
	testPresent testKind = iota
	testEqual
	testClass // objectClass: the class or one that derives from it
	testGreaterOrEqual
	testLessOrEqual
	testLess
	testSubstring
	testRule
)

// pieces of a substring assertion, prepared; nil when absent.
type pieces struct {
	initial []byte
	middle  [][]byte
	final   []byte
}

// match searches a prepared value.
func (p *pieces) match(v []byte) bool {
	if !bytes.HasPrefix(v, p.initial) {
		return false
	}
	v = v[len(p.initial):]
	if !bytes.HasSuffix(v, p.final) {
		return false
	}
	v = v[:len(v)-len(p.final)]
	for _, piece := range p.middle {
		i := bytes.Index(v, piece)
		if i < 0 {
			return false
		}
		v = v[i+len(piece):]
	}
	return true
}

// value applies t to one value. A value that is not of the rule's syntax
// matches nothing.
func (e *eval) value(t *valueTest, v []byte) bool {
	switch t.kind {
	case testPresent:
		return true
	case testClass:
		return t.ids.has(bytes.Trim(v, " "))
	case testRule:
		ok, err := t.rule.Match(v, t.raw)
		return ok && err == nil
	case testEqual:
		if t.folding != foldNot {
			if equal, known := t.folding.equal(v, t.want); known {
				return equal
			}
		}
		if bytes.Equal(v, t.raw) {
			return true
		}
	case testSubstring:
		if t.folding != foldNot && len(v) <= maxQuick {
			var buf [2*maxQuick + 2]byte
			if prepared, ok := t.folding.prepare(buf[:0], v); ok {
				return t.quick.match(prepared)
			}
		}
	}
	return e.compare(t, v)
}

// compare applies t to the comparable form of v.
func (e *eval) compare(t *valueTest, v []byte) bool {
	if e.buf == nil {
		e.buf = make([]byte, 0, scratch)
	}
	norm, err := e.norms.append(e.buf[:0], t.rule, v)
	if err != nil {
		return false
	}
	e.buf = norm
	switch t.kind {
	case testEqual:
		return bytes.Equal(norm, t.norm)
	case testGreaterOrEqual:
		return bytes.Compare(norm, t.norm) >= 0
	case testLessOrEqual:
		return bytes.Compare(norm, t.norm) <= 0
	case testLess:
		return bytes.Compare(norm, t.norm) < 0
	case testSubstring:
		return t.parts.match(norm)
	}
	return false
}

// scratch is the room for a comparable form, made when one is needed; it grows.
const scratch = 128

// folding is what a rule does to printable ASCII.
type folding int

const (
	foldNot    folding = iota // something else
	foldSpaces                // case stays
	foldCase
)

// maxQuick is the longest value that is prepared on the stack; most are far
// shorter, and clearing a larger buffer would cost each of them.
const maxQuick = 127

// ruleFolding tells by a rule's OID (RFC 4517 section 4.2).
func ruleFolding(r *schema.MatchingRule) folding {
	switch r.OID {
	case "2.5.13.2", "2.5.13.4", "1.3.6.1.4.1.1466.109.114.2", "1.3.6.1.4.1.1466.109.114.3":
		return foldCase
	case "2.5.13.5", "2.5.13.7", "1.3.6.1.4.1.1466.109.114.1", "1.3.6.1.4.1.4203.1.2.1":
		return foldSpaces
	}
	return foldNot
}

func plainASCII(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// equal compares v to want, which is folded, not empty, without blanks at its
// ends. It gives up (known is false) where v is not plain ASCII; what comes
// behind a difference cannot mend it.
func (f folding) equal(v []byte, want string) (equal, known bool) {
	i := skipSpaces(v, 0)
	for j := range len(want) {
		if i == len(v) {
			return false, true
		}
		c := v[i]
		if c < ' ' || c >= 0x7f {
			return false, false
		}
		if f == foldCase {
			c = lower[c]
		}
		if c != want[j] {
			return false, true
		}
		if c == ' ' {
			i = skipSpaces(v, i)
		} else {
			i++
		}
	}
	i = skipSpaces(v, i)
	if i == len(v) {
		return true, true
	}
	return false, v[i] > ' ' && v[i] < 0x7f
}

func skipSpaces(v []byte, i int) int {
	for i < len(v) && v[i] == ' ' {
		i++
	}
	return i
}

// prepare appends v as a value to be searched for substrings (RFC 4518 section
// 2.6.1): one space at each end, two between words. It fails on what is not
// plain ASCII, and on a blank value.
func (f folding) prepare(dst, v []byte) ([]byte, bool) {
	dst = append(dst, ' ')
	gap := false
	for _, c := range v {
		switch {
		case c < ' ' || c >= 0x7f:
			return dst, false
		case c == ' ':
			gap = true
			continue
		case gap && len(dst) > 1:
			dst = append(dst, "  "...)
		}
		gap = false
		if f == foldCase {
			c = lower[c]
		}
		dst = append(dst, c)
	}
	return append(dst, ' '), len(dst) > 1
}

// piece prepares one piece of a substring assertion likewise.
func (f folding) piece(p []byte, initial, final bool) ([]byte, bool) {
	out, ok := f.prepare(nil, p)
	if !ok {
		return nil, false
	}
	if !initial && p[0] != ' ' {
		out = out[1:]
	}
	if !final && p[len(p)-1] != ' ' {
		out = out[:len(out)-1]
	}
	return out, true
}
