package ldif

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// minWidth leaves room for the space that begins a folded line and one character.
const minWidth = 2

// Write prints one record and the blank line that ends it, values base64 where
// RFC 2849 asks for it, lines folded at width columns (0: not folded). It
// refuses names that Parse would, and makes one call of w.Write.
func Write(w io.Writer, r Record, width int) error {
	if width != 0 && width < minWidth {
		return fmt.Errorf("write LDIF: width %d is less than %d", width, minWidth)
	}
	out := appendLine(nil, "dn", []byte(r.DN), width)
	for _, a := range r.Attrs {
		word := strings.ToLower(a.Name)
		if !isDescription(a.Name) || reserved(word) || word == "dn" {
			return fmt.Errorf("write LDIF of %q: %q cannot be an attribute's name", r.DN, a.Name)
		}
		out = appendLine(out, a.Name, a.Value, width)
	}
	if _, err := w.Write(append(out, '\n')); err != nil {
		return fmt.Errorf("write LDIF of %q: %w", r.DN, err)
	}
	return nil
}

// appendLine appends one line, folded. All of it is ASCII, so that any place
// will do.
func appendLine(dst []byte, name string, value []byte, width int) []byte {
	line := []byte(name + ":")
	switch {
	case len(value) == 0:
	case safe(value):
		line = append(append(line, ' '), value...)
	default:
		line = base64.StdEncoding.AppendEncode(append(line, ':', ' '), value)
	}
	for room := width; width > 0 && len(line) > room; room = width - 1 {
		dst = append(append(dst, line[:room]...), "\n "...)
		line = line[room:]
	}
	return append(append(dst, line...), '\n')
}

// safe tells whether a value may stand in clear (SAFE-STRING) and does not end
// in a space, which the eye would miss.
func safe(value []byte) bool {
	for _, c := range value {
		if c == 0 || c == '\n' || c == '\r' || c >= 0x80 {
			return false
		}
	}
	first := value[0]
	return first != ' ' && first != ':' && first != '<' && value[len(value)-1] != ' '
}
