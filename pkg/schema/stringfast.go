package schema

import (
	"unicode"
	"unicode/utf8"
)

// tableEnd bounds the code points with an entry in the tables: Latin, Greek,
// Cyrillic. Text of these alone is prepared without normalising it as a whole.
const tableEnd = 0x530

// singles holds, for a code point that prepares to a single one whatever stands
// around it, that one; else 0. Combining marks are not among them, so that text
// of such code points has nothing to compose.
type singles [tableEnd]rune

var (
	foldedSingles = newSingles(true)
	keptSingles   = newSingles(false)
)

func newSingles(fold bool) *singles {
	table := &singles{}
	for r := rune(' '); r < tableEnd; r++ {
		if unicode.In(r, unicode.M) {
			continue
		}
		form, err := preparedText([]byte(string(r)), fold)
		if err != nil {
			continue
		}
		if to, n := utf8.DecodeRune(form); n > 0 && n == len(form) && !unicode.In(to, unicode.M) {
			table[r] = to
		}
	}
	return table
}

// stackText is the length up to which text is prepared on the stack.
const stackText = 128

// prepareSingles appends v prepared if it is of single code points only.
func prepareSingles(dst, v []byte, fold bool, sp *spaces) ([]byte, bool) {
	table := keptSingles
	if fold {
		table = foldedSingles
	}
	var buf [stackText]byte
	text := buf[:0]
	for len(v) > 0 {
		r, n := utf8.DecodeRune(v)
		if r >= tableEnd || table[r] == 0 {
			return dst, false
		}
		text = utf8.AppendRune(text, table[r])
		v = v[n:]
	}
	return appendSpaced(dst, text, false, sp), true
}
