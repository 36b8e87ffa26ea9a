package rewrite

import (
	"fmt"
	"strconv"
	"strings"

	"shaft/pkg/dit"
)

// Template is a parsed name template: text with %(attr.NAME)s, %(rdnN.NAME)s
// and %%. rdn0 is the found entry's own RDN, rdn1 its parent's, and so on.
type Template struct {
	parts []part
}

// part is literal text, or one substitution when attr is set.
type part struct {
	text string // literal, %% already %
	attr string // NAME as written
	rdn  int    // N of an rdnN part; fromEntry for attr
}

// fromEntry marks a part that takes the entry's attribute, not an RDN's.
const fromEntry = -1

// maxRDN is the largest N of rdnN: deeper than any DN in use, so that a number
// that was mistyped is said to be wrong and not merely to have no value.
const maxRDN = 255

// String prints the template; ParseTemplate reads it back.
func (t *Template) String() string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.String())
	}
	return b.String()
}

func (p part) String() string {
	switch {
	case p.attr == "":
		return strings.ReplaceAll(p.text, "%", "%%")
	case p.rdn == fromEntry:
		return "%(attr." + p.attr + ")s"
	}
	return "%(rdn" + strconv.Itoa(p.rdn) + "." + p.attr + ")s"
}

// Attributes lists the attributes that %(attr.…)s parts need, each once.
func (t *Template) Attributes() []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range t.parts {
		key := strings.ToLower(p.attr)
		if p.attr == "" || p.rdn != fromEntry || seen[key] {
			continue
		}
		seen[key] = true
		out = append(out, p.attr)
	}
	return out
}

// IsConstant tells whether the template has no substitutions.
func (t *Template) IsConstant() bool {
	for _, p := range t.parts {
		if p.attr != "" {
			return false
		}
	}
	return true
}

// ParseTemplate parses text; a *dit.SyntaxError names the column.
func ParseTemplate(text string) (*Template, error) {
	p := templateParser{text: text}
	if text == "" {
		return nil, p.fail(0, "the template is empty")
	}
	for p.pos < len(text) {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	p.flush()
	return &Template{parts: p.parts}, nil
}

type templateParser struct {
	text    string
	pos     int // of what is read next
	literal []byte
	parts   []part
}

func (p *templateParser) fail(at int, format string, args ...any) error {
	return &dit.SyntaxError{What: "template", Text: p.text, Column: at + 1, Msg: fmt.Sprintf(format, args...)}
}

// flush ends the literal text that was read so far.
func (p *templateParser) flush() {
	if len(p.literal) > 0 {
		p.parts = append(p.parts, part{text: string(p.literal)})
		p.literal = p.literal[:0]
	}
}

// next reads one literal byte or one thing that begins with %.
func (p *templateParser) next() error {
	rest := p.text[p.pos:]
	switch {
	case rest[0] != '%':
		p.literal = append(p.literal, rest[0])
		p.pos++
		return nil
	case strings.HasPrefix(rest, "%%"):
		p.literal = append(p.literal, '%')
		p.pos += 2
		return nil
	case strings.HasPrefix(rest, "%("):
		return p.substitution()
	}
	return p.fail(p.pos, "%% must be followed by ( or by another %%")
}

// substitution reads %(KIND.NAME)s.
func (p *templateParser) substitution() error {
	begin, inside := p.pos, p.pos+len("%(")
	n := strings.IndexByte(p.text[inside:], ')')
	if n < 0 {
		return p.fail(begin, "this %%( has no closing )")
	}
	end := inside + n
	if !strings.HasPrefix(p.text[end+1:], "s") {
		return p.fail(end+1, "an s must follow the )")
	}
	kind, name, dot := strings.Cut(p.text[inside:end], ".")
	if !dot {
		return p.fail(inside, "%q is neither attr.NAME nor rdnN.NAME", kind)
	}
	rdn, err := p.kind(inside, kind)
	if err != nil {
		return err
	}
	if err := p.checkName(inside+len(kind)+1, name); err != nil {
		return err
	}
	p.flush()
	p.parts = append(p.parts, part{attr: name, rdn: rdn})
	p.pos = end + len(")s")
	return nil
}

// kind reads attr or rdnN.
func (p *templateParser) kind(at int, kind string) (int, error) {
	if kind == "attr" {
		return fromEntry, nil
	}
	digits, ok := strings.CutPrefix(kind, "rdn")
	if !ok {
		return 0, p.fail(at, "unknown directive %q: attr or rdnN is known", kind)
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || digits != strconv.FormatUint(n, 10) || n > maxRDN {
		return 0, p.fail(at+len("rdn"), "%q is no RDN number: 0 to %d are, 0 being the entry's own", digits, maxRDN)
	}
	return int(n), nil
}

// checkName checks an attribute's name or numeric OID (RFC 4512 section 1.4).
func (p *templateParser) checkName(at int, name string) error {
	if name == "" {
		return p.fail(at, "the attribute's name is missing")
	}
	numeric := name[0] >= '0' && name[0] <= '9'
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		switch {
		case digit, letter && !numeric:
		case c == '-' && !numeric && i > 0:
		case c == '.' && numeric && name[i-1] != '.' && i+1 < len(name):
		case c == ';':
			return p.fail(at+i, "an attribute is named without options here")
		default:
			return p.fail(at+i, "%q cannot stand here in an attribute's name", name[i:i+1])
		}
	}
	return nil
}
