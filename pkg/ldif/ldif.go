// Package ldif reads and writes LDIF text (RFC 2849): content records only, no
// changes, no URLs. It hides folding, base64 and comments.
//
//	records, err := ldif.Parse([]byte("dn: cn=a\ncn: a\n"), false)
//	err = ldif.Write(os.Stdout, records[0], 76)
//
// Beyond the RFC it reads UTF-8 in clear, takes a text without "version: 1",
// and records without attributes.
package ldif

import "fmt"

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

// Error is what Parse finds wrong with a text.
type Error struct {
	Line int // from 1; of a folded line, where it began
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// reserved tells the words that begin a record of changes, in lower case.
func reserved(name string) bool { return name == "changetype" || name == "control" }

// isDescription checks an attribute description: letters, digits, hyphens,
// points, semicolons, and underscores, which RFC 4512 lacks but servers have.
func isDescription(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '.' && c != ';' && c != '_') {
			return false
		}
	}
	return name != ""
}
