package operator

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable makes a text safe for a terminal and for one cell of a table: what
// does not print (control characters, among them line ends and escape
// sequences, and marks that turn the writing direction) is written as \xx for
// each of its bytes, as RFC 4514 has it in DNs.
func printable(text string) string {
	return escape(text, unicode.IsPrint)
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	return escape(text, func(c rune) bool { return c == '\n' || unicode.IsPrint(c) })
}

func escape(text string, prints func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		if prints(c) && (c != utf8.RuneError || size > 1) {
			b.WriteString(text[i : i+size])
		} else {
			for _, octet := range []byte(text[i : i+size]) {
				fmt.Fprintf(&b, `\%02x`, octet)
			}
		}
		i += size
	}
	return b.String()
}

// shorten cuts a text to n characters, and shows that it did.
func shorten(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
