package dit

import (
	"bytes"
	"unicode/utf8"
)

// scanner takes the text of a DN apart, one AVA after the other.
type scanner struct {
	text []byte
	pos  int
	buf  []byte // unescaped value, used again for each
}

// rawAVA is one AVA as it stands; its slices are good until the next one.
type rawAVA struct {
	typ     []byte // without "OID."
	written []byte // the value as written, in RFC 4514's form
	value   []byte // unescaped
}

// Classes of bytes in a DN's text.
const (
	inType   = 1 << iota // may stand in an attribute type
	isBlank              // dropped around separators
	endsRun              // ends a run of plain value bytes
	escapes              // may follow a backslash by itself
	inNorm               // is escaped in a normal form wherever it stands
	notPlain             // ends a run of plain bytes in EscapeValue
)

var class = func() (t [256]uint8) {
	set := func(chars string, bits uint8) {
		for i := range len(chars) {
			t[chars[i]] |= bits
		}
	}
	set("0123456789-._", inType)
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= inType
		t[c-'a'+'A'] |= inType
	}
	set(" \t\r\n", isBlank)
	set("\x00\"+,;<>\\", endsRun)
	set(" \"#+,;<=>\\", escapes)
	set("\"#+,;<=>\\\x7f", inNorm)
	set("\"+,;<>\\\x7f", notPlain)
	for c := range 0x20 {
		t[c] |= inNorm | notPlain
	}
	for c := 0x80; c < 0x100; c++ {
		t[c] |= notPlain
	}
	return t
}()

const hexDigits = "0123456789abcdef"

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func (sc *scanner) fail(at int, msg string) error {
	return &SyntaxError{What: "DN", Text: string(sc.text), Column: at + 1, Msg: msg}
}

func (sc *scanner) blanks() {
	for sc.pos < len(sc.text) && class[sc.text[sc.pos]]&isBlank != 0 {
		sc.pos++
	}
}

// next reads one AVA and the separator behind it: ',' (for ';' too), '+', or 0
// at the end of the text.
func (sc *scanner) next() (a rawAVA, sep byte, err error) {
	sc.blanks()
	if a.typ, err = sc.attributeType(); err != nil {
		return a, 0, err
	}
	sc.blanks()
	if sc.pos == len(sc.text) || sc.text[sc.pos] != '=' {
		return a, 0, sc.fail(sc.pos, "expected '=' after the attribute type")
	}
	sc.pos++
	sc.blanks()
	switch {
	case sc.pos == len(sc.text):
	case sc.text[sc.pos] == '#':
		err = sc.hexValue(&a)
	case sc.text[sc.pos] == '"':
		err = sc.quotedValue(&a)
	default:
		err = sc.stringValue(&a)
	}
	if err != nil {
		return a, 0, err
	}
	if sc.pos == len(sc.text) {
		return a, 0, nil
	}
	sep = sc.text[sc.pos]
	switch sep {
	case ';':
		sep = ','
	case ',', '+':
	case '"', '<', '>':
		return a, 0, sc.fail(sc.pos, "in a value this character is written with a backslash before it")
	default:
		return a, 0, sc.fail(sc.pos, "expected ',' or '+' after the value")
	}
	sc.pos++
	return a, sep, nil
}

// attributeType reads a short name or a numeric OID.
func (sc *scanner) attributeType() ([]byte, error) {
	start := sc.pos
	for sc.pos < len(sc.text) && class[sc.text[sc.pos]]&inType != 0 {
		sc.pos++
	}
	typ := sc.text[start:sc.pos]
	if len(typ) > 4 && typ[3] == '.' && bytes.EqualFold(typ[:4], []byte("OID.")) {
		start, typ = start+4, typ[4:]
	}
	switch {
	case len(typ) == 0:
		return nil, sc.fail(start, "expected an attribute type")
	case typ[0] >= 'A':
		if i := bytes.IndexByte(typ, '.'); i >= 0 {
			return nil, sc.fail(start+i, "a short attribute name has no dots")
		}
	case !isNumericOID(typ):
		return nil, sc.fail(start, "expected an attribute name or OID")
	}
	return typ, nil
}

func isNumericOID(b []byte) bool {
	digit := false
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			digit = true
		case c == '.' && digit:
			digit = false
		default:
			return false
		}
	}
	return digit
}

// stringValue reads an unquoted value.
func (sc *scanner) stringValue(a *rawAVA) error {
	text, start := sc.text, sc.pos
	i := start
	for i < len(text) && class[text[i]]&endsRun == 0 {
		i++
	}
	end := i
	if i < len(text) && text[i] == '\\' {
		keep, err := sc.unescape(start, i)
		if err != nil {
			return err
		}
		i, end = sc.pos, sc.pos
		for end > keep && class[text[end-1]]&isBlank != 0 {
			end--
		}
		a.value = sc.buf[:len(sc.buf)-(i-end)]
	} else {
		for end > start && class[text[end-1]]&isBlank != 0 {
			end--
		}
		a.value = text[start:end]
	}
	a.written = text[start:end]
	sc.pos = i
	return nil
}

// unescape copies a value with escapes to sc.buf, up to its separator, where
// it leaves sc.pos. Bytes before keep belong to the last escape or stand before it.
func (sc *scanner) unescape(start, i int) (keep int, err error) {
	text := sc.text
	sc.buf = append(sc.buf[:0], text[start:i]...)
	for i < len(text) {
		c := text[i]
		if class[c]&endsRun == 0 {
			sc.buf = append(sc.buf, c)
			i++
			continue
		}
		if c != '\\' {
			break
		}
		v, n, err := sc.escape(i)
		if err != nil {
			return 0, err
		}
		sc.buf = append(sc.buf, v)
		i += n
		keep = i
	}
	sc.pos = i
	return keep, nil
}

// escape reads the escape at i: \ and a special byte, or two hex digits.
func (sc *scanner) escape(i int) (v byte, n int, err error) {
	text := sc.text
	if i+1 < len(text) && class[text[i+1]]&escapes != 0 {
		return text[i+1], 2, nil
	}
	if i+2 < len(text) {
		if hi, lo := unhex(text[i+1]), unhex(text[i+2]); hi >= 0 && lo >= 0 {
			return byte(hi<<4 | lo), 3, nil
		}
	}
	return 0, 0, sc.fail(i, "a backslash needs a special character or two hex digits behind it")
}

// quotedValue reads a value in RFC 2253's quotes.
func (sc *scanner) quotedValue(a *rawAVA) error {
	open := sc.pos
	sc.buf = sc.buf[:0]
	for i := open + 1; i < len(sc.text); {
		switch c := sc.text[i]; c {
		case '"':
			sc.pos = i + 1
			sc.blanks()
			a.value = sc.buf
			a.written = appendEscaped(nil, a.value)
			return nil
		case '\\':
			v, n, err := sc.escape(i)
			if err != nil {
				return err
			}
			sc.buf = append(sc.buf, v)
			i += n
		case 0:
			return sc.fail(i, "a NUL must be written as \\00")
		default:
			sc.buf = append(sc.buf, c)
			i++
		}
	}
	return sc.fail(open, "the quote is not closed")
}

// hexValue reads a #hex value: the BER of the value. That of a string or of
// any other primitive type stands for its content, all else for itself.
func (sc *scanner) hexValue(a *rawAVA) error {
	start := sc.pos
	sc.buf = sc.buf[:0]
	i := start + 1
	for ; i+1 < len(sc.text); i += 2 {
		hi, lo := unhex(sc.text[i]), unhex(sc.text[i+1])
		if hi < 0 || lo < 0 {
			break
		}
		sc.buf = append(sc.buf, byte(hi<<4|lo))
	}
	if len(sc.buf) == 0 {
		return sc.fail(start, "a value that begins with '#' needs pairs of hex digits")
	}
	sc.pos = i
	a.written, a.value = sc.text[start:i], sc.buf
	if content, rest, ok := element(sc.buf, sc.buf[0]); ok && len(rest) == 0 && sc.buf[0]&0x20 == 0 {
		a.value = content
	}
	sc.blanks()
	return nil
}

// appendEscaped is EscapeValue on bytes.
func appendEscaped(dst, v []byte) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		edge := c == ' ' && (i == 0 || i == len(v)-1) || c == '#' && i == 0
		switch {
		case class[c]&notPlain == 0 && !edge:
			dst = append(dst, c)
			i++
		case edge || class[c]&escapes != 0:
			dst = append(dst, '\\', c)
			i++
		default:
			_, n := utf8.DecodeRune(v[i:])
			if n > 1 {
				dst = append(dst, v[i:i+n]...)
			} else {
				dst = append(dst, '\\', hexDigits[c>>4], hexDigits[c&15])
			}
			i += n
		}
	}
	return dst
}
