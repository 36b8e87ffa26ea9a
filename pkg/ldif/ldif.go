// Package ldif reads and writes LDIF text (RFC 2849): content records only, no
// changes, no URLs. Errors name the line.
package ldif

import "io"

// Attr is one attribute line: a description ("cn;lang-en") and a value.
type Attr struct {
	Name  string
	Value []byte
	Line  int // where it began, from 1
}

// Record is one entry of an LDIF text, attribute lines in their order.
type Record struct {
	DN    string
	Attrs []Attr
	Line  int
}

// Parse reads a whole LDIF text: version line, comments, folded lines, base64
// values. A record of changes (changetype:) and a URL value (attr:< …) are
// errors. With noDN records need not begin with dn: (schema files).
func Parse(text []byte, noDN bool) ([]Record, error) { panic("todo") }

// Write prints one record, values base64 where RFC 2849 asks for it, lines
// folded at width columns (0: not folded).
func Write(w io.Writer, r Record, width int) error { panic("todo") }
