package ldif

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Parse reads a whole LDIF text: version line, comments, folded lines, base64
// values. A record of changes (changetype:) and a URL value (attr:< …) are
// errors. With noDN records need not begin with dn: (schema files). Errors are
// of type *Error. Values share memory with text where they can.
func Parse(text []byte, noDN bool) ([]Record, error) {
	p := parser{noDN: noDN}
	lines := lineReader{text: text}
	for {
		line, at, ok, err := lines.next()
		if err == nil && ok {
			err = p.line(line, at)
		}
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
	}
	p.finish()
	return p.records, nil
}

// lineReader joins folded lines.
type lineReader struct {
	text []byte
	line int // lines taken so far
}

// next gives the next line, unfolded, and the number of its first part.
func (r *lineReader) next() (line []byte, at int, ok bool, err error) {
	if len(r.text) == 0 {
		return nil, 0, false, nil
	}
	at = r.line + 1
	line = r.physical()
	if len(line) > 0 && line[0] == ' ' {
		return nil, 0, false, &Error{at, "continues a line that is not there"}
	}
	if len(line) == 0 {
		return line, at, true, nil
	}
	joined := false
	for len(r.text) > 0 && r.text[0] == ' ' {
		if !joined {
			line, joined = bytes.Clone(line), true
		}
		line = append(line, r.physical()[1:]...)
	}
	return line, at, true, nil
}

// physical takes one line as it stands, without its end (LF or CR LF).
func (r *lineReader) physical() []byte {
	line, rest, _ := bytes.Cut(r.text, []byte("\n"))
	r.text = rest
	r.line++
	return bytes.TrimSuffix(line, []byte("\r"))
}

type parser struct {
	noDN    bool
	begun   bool // something but comments and blank lines was there
	open    bool // current is being filled
	current Record
	records []Record
}

func (p *parser) finish() {
	if p.open {
		p.records = append(p.records, p.current)
	}
	p.open = false
}

func (p *parser) line(line []byte, at int) error {
	if len(line) == 0 {
		p.finish()
		return nil
	}
	if line[0] == '#' {
		return nil
	}
	name, value, err := split(line, at)
	if err != nil {
		return err
	}
	first := !p.begun
	p.begun = true
	word := strings.ToLower(name)
	switch {
	case first && word == "version":
		if string(value) != "1" {
			return &Error{at, fmt.Sprintf("LDIF version %q; only 1 is known", value)}
		}
		return nil
	case reserved(word):
		return &Error{at, word + ": records of changes are not read, only entries"}
	case word == "dn":
		return p.begin(value, at)
	case !p.open && !p.noDN:
		return &Error{at, fmt.Sprintf("a record begins with dn:, found %s:", name)}
	case !p.open:
		p.current, p.open = Record{Line: at}, true
	}
	p.current.Attrs = append(p.current.Attrs, Attr{Name: name, Value: value, Line: at})
	return nil
}

// begin opens a record with a DN.
func (p *parser) begin(dn []byte, at int) error {
	if p.open {
		return &Error{at, "dn: within a record; records are parted by a blank line"}
	}
	if !utf8.Valid(dn) {
		return &Error{at, "the DN is not UTF-8"}
	}
	p.current, p.open = Record{DN: string(dn), Line: at}, true
	return nil
}

// split takes a line apart and decodes the value.
func split(line []byte, at int) (string, []byte, error) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return "", nil, &Error{at, "no colon behind the attribute's name"}
	}
	if !isDescription(string(name)) {
		return "", nil, &Error{at, fmt.Sprintf("%q is not an attribute's name", name)}
	}
	switch {
	case len(value) > 0 && value[0] == '<':
		return "", nil, &Error{at, "values by URL are not read"}
	case len(value) > 0 && value[0] == ':':
		text := bytes.Trim(value[1:], " ")
		decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(decoded, text)
		if err != nil {
			return "", nil, &Error{at, string(name) + ": bad base64"}
		}
		return string(name), decoded[:n], nil
	}
	value = bytes.TrimLeft(value, " ")
	if bytes.IndexByte(value, 0) >= 0 || !utf8.Valid(value) {
		return "", nil, &Error{at, string(name) + ": a value that is not text needs base64"}
	}
	return string(name), value, nil
}
