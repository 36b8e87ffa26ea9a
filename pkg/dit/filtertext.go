package dit

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// ParseFilter reads RFC 4515 text; a *SyntaxError names the column. Blanks
// around a filter within parentheses are let pass.
func ParseFilter(text string) (Filter, error) {
	p := filterParser{text: text}
	f, err := p.filter(1)
	if err != nil {
		return Filter{}, err
	}
	p.blanks()
	if p.pos < len(text) {
		return Filter{}, p.fail(p.pos, "expected nothing behind the filter")
	}
	return f, nil
}

type filterParser struct {
	text  string
	pos   int
	nodes int
}

func (p *filterParser) fail(at int, msg string) error {
	return &SyntaxError{What: "filter", Text: p.text, Column: at + 1, Msg: msg}
}

func (p *filterParser) blanks() {
	for p.pos < len(p.text) && class[p.text[p.pos]]&isBlank != 0 {
		p.pos++
	}
}

// peek is the next byte; 0 at the end.
func (p *filterParser) peek() byte {
	if p.pos == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

// filter reads one filter with its parentheses.
func (p *filterParser) filter(depth int) (f Filter, err error) {
	p.blanks()
	if p.peek() != '(' {
		return f, p.fail(p.pos, "expected '('")
	}
	p.nodes++
	if depth > MaxFilterDepth {
		return f, p.fail(p.pos, fmt.Sprintf("nested more than %d deep", MaxFilterDepth))
	}
	if p.nodes > MaxFilterNodes {
		return f, p.fail(p.pos, fmt.Sprintf("more than %d parts", MaxFilterNodes))
	}
	p.pos++
	switch p.peek() {
	case '&':
		f, err = p.list(FilterAnd, depth)
	case '|':
		f, err = p.list(FilterOr, depth)
	case '!':
		p.pos++
		f = Filter{Op: FilterNot, Subs: make([]Filter, 1)}
		f.Subs[0], err = p.filter(depth + 1)
		p.blanks()
	default:
		f, err = p.item()
	}
	if err != nil {
		return f, err
	}
	if p.peek() != ')' {
		return f, p.fail(p.pos, "expected ')'")
	}
	p.pos++
	return f, nil
}

func (p *filterParser) list(op FilterOp, depth int) (Filter, error) {
	p.pos++
	f := Filter{Op: op}
	for p.blanks(); p.peek() == '('; p.blanks() {
		sub, err := p.filter(depth + 1)
		if err != nil {
			return f, err
		}
		f.Subs = append(f.Subs, sub)
	}
	return f, nil
}

// item reads a filter that is not made of others, without its parentheses.
func (p *filterParser) item() (f Filter, err error) {
	start := p.pos
	f.Attr = p.attr()
	rest := p.text[p.pos:]
	switch {
	case strings.HasPrefix(rest, ":"):
		f.Op = FilterExtensible
		if err := p.extensible(&f); err != nil {
			return f, err
		}
	case f.Attr == "":
		return f, p.fail(start, "expected an attribute")
	case strings.HasPrefix(rest, "="):
		p.pos++
		return f, p.equality(&f)
	case strings.HasPrefix(rest, ">="):
		f.Op, p.pos = FilterGreaterOrEqual, p.pos+2
	case strings.HasPrefix(rest, "<="):
		f.Op, p.pos = FilterLessOrEqual, p.pos+2
	case strings.HasPrefix(rest, "~="):
		f.Op, p.pos = FilterApprox, p.pos+2
	default:
		return f, p.fail(p.pos, "expected '=', '>=', '<=', '~=' or ':=' after the attribute")
	}
	f.Value, err = p.value()
	if err == nil && p.peek() == '*' {
		err = p.fail(p.pos, "a '*' here must be written as \\2a")
	}
	return f, err
}

// attr reads an attribute description, or the name of a rule.
func (p *filterParser) attr() string {
	start := p.pos
	for p.pos < len(p.text) && attrByte(p.text[p.pos]) {
		p.pos++
	}
	return p.text[start:p.pos]
}

// extensible reads [":dn"] [":" rule] ":=" behind the attribute.
func (p *filterParser) extensible(f *Filter) error {
	start := p.pos
	for p.peek() == ':' {
		p.pos++
		if p.peek() == '=' {
			p.pos++
			if f.Attr == "" && f.Rule == "" {
				return p.fail(start, "expected an attribute or a matching rule")
			}
			return nil
		}
		at := p.pos
		name := p.attr()
		switch {
		case name == "":
			return p.fail(at, "expected a matching rule, 'dn' or '='")
		case f.Rule != "":
			return p.fail(at, "expected ':=' after the matching rule")
		case !f.DNAttrs && strings.EqualFold(name, "dn"):
			f.DNAttrs = true
		default:
			f.Rule = name
		}
	}
	return p.fail(p.pos, "expected ':='")
}

// equality reads what stands behind "=": a value, "*", or pieces with '*'
// between them.
func (p *filterParser) equality(f *Filter) error {
	start := p.pos
	first, err := p.value()
	if err != nil {
		return err
	}
	if p.peek() != '*' {
		f.Op, f.Value = FilterEquality, first
		return nil
	}
	f.Op = FilterSubstring
	if len(first) > 0 {
		f.Initial = first
	}
	for {
		p.pos++
		piece, err := p.value()
		if err != nil {
			return err
		}
		more := p.peek() == '*'
		switch {
		case len(piece) == 0:
		case more:
			f.Any = append(f.Any, piece)
		default:
			f.Final = piece
		}
		if !more {
			break
		}
		if p.nodes++; p.nodes > MaxFilterNodes {
			return p.fail(p.pos, fmt.Sprintf("more than %d parts", MaxFilterNodes))
		}
	}
	if f.Initial == nil && f.Any == nil && f.Final == nil {
		if p.pos != start+1 {
			return p.fail(start, "expected text between the asterisks")
		}
		f.Op = FilterPresent
	}
	return nil
}

// value reads a value up to ')' or '*', escapes resolved; never nil.
func (p *filterParser) value() ([]byte, error) {
	out := []byte{}
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case ')', '*':
			return out, nil
		case '(':
			return nil, p.fail(p.pos, "a '(' in a value must be written as \\28")
		case 0:
			return nil, p.fail(p.pos, "a NUL must be written as \\00")
		case '\\':
			if p.pos+2 >= len(p.text) {
				return nil, p.fail(p.pos, "a backslash needs two hex digits behind it")
			}
			hi, lo := unhex(p.text[p.pos+1]), unhex(p.text[p.pos+2])
			if hi < 0 || lo < 0 {
				return nil, p.fail(p.pos, "a backslash needs two hex digits behind it")
			}
			out = append(out, byte(hi<<4|lo))
			p.pos += 3
		default:
			out = append(out, c)
			p.pos++
		}
	}
	return out, nil
}

// String prints RFC 4515 text; ParseFilter reads the same filter from it.
func (f Filter) String() string { return string(f.appendText(nil)) }

func (f Filter) appendText(dst []byte) []byte {
	dst = append(dst, '(')
	switch f.Op {
	case FilterAnd, FilterOr, FilterNot:
		dst = append(dst, "&|!"[f.Op])
		for _, sub := range f.Subs {
			dst = sub.appendText(dst)
		}
	case FilterSubstring:
		dst = append(dst, f.Attr...)
		dst = appendAssertion(append(dst, '='), f.Initial)
		for _, piece := range f.Any {
			dst = appendAssertion(append(dst, '*'), piece)
		}
		dst = appendAssertion(append(dst, '*'), f.Final)
	case FilterPresent:
		dst = append(dst, f.Attr...)
		dst = append(dst, "=*"...)
	case FilterExtensible:
		dst = append(dst, f.Attr...)
		if f.DNAttrs {
			dst = append(dst, ":dn"...)
		}
		if f.Rule != "" {
			dst = append(dst, ':')
			dst = append(dst, f.Rule...)
		}
		dst = appendAssertion(append(dst, ":="...), f.Value)
	default:
		dst = append(dst, f.Attr...)
		dst = append(dst, operators[f.Op]...)
		dst = appendAssertion(dst, f.Value)
	}
	return append(dst, ')')
}

var operators = map[FilterOp]string{
	FilterEquality: "=", FilterGreaterOrEqual: ">=", FilterLessOrEqual: "<=", FilterApprox: "~=",
}

// appendAssertion escapes a value for a filter's text (RFC 4515 section 3),
// and what does not print besides.
func appendAssertion(dst, v []byte) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		n := 1
		if c >= utf8.RuneSelf {
			_, n = utf8.DecodeRune(v[i:])
		}
		switch {
		case n > 1:
			dst = append(dst, v[i:i+n]...)
		case c < ' ' || c >= 0x7f || c == '(' || c == ')' || c == '*' || c == '\\':
			dst = append(dst, '\\', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
		i += n
	}
	return dst
}
