package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode"
)

// listForm normalises each line of a postal address (RFC 4517 section 3.3.28)
// with line and joins the lines by '$'; a '$' or '\' within a line stays escaped.
func listForm(line normalizer) normalizer {
	return func(dst, v []byte) ([]byte, error) {
		start := len(dst)
		for i, part := range bytes.Split(v, []byte("$")) {
			if i > 0 {
				dst = append(dst, '$')
			}
			var err error
			if dst, err = appendLine(dst, part, line); err != nil {
				return dst[:start], err
			}
		}
		return dst, nil
	}
}

// appendLine appends one line: unescaped, normalised, escaped again.
func appendLine(dst, part []byte, line normalizer) ([]byte, error) {
	start := len(dst)
	dst, err := line(dst, unescapeLine(part))
	if err != nil {
		return dst, err
	}
	return escapeLine(dst, start), nil
}

func unescapeLine(part []byte) []byte {
	if bytes.IndexByte(part, '\\') < 0 {
		return part
	}
	out := make([]byte, 0, len(part))
	for len(part) > 0 {
		switch {
		case bytes.HasPrefix(part, []byte(`\24`)):
			out, part = append(out, '$'), part[3:]
		case bytes.HasPrefix(part, []byte(`\5c`)), bytes.HasPrefix(part, []byte(`\5C`)):
			out, part = append(out, '\\'), part[3:]
		default:
			out, part = append(out, part[0]), part[1:]
		}
	}
	return out
}

// escapeLine escapes '$' and '\' in what follows start.
func escapeLine(dst []byte, start int) []byte {
	if !bytes.ContainsAny(dst[start:], `$\`) {
		return dst
	}
	form := bytes.Clone(dst[start:])
	dst = dst[:start]
	for _, c := range form {
		switch c {
		case '$':
			dst = append(dst, `\24`...)
		case '\\':
			dst = append(dst, `\5c`...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// caseIgnoreListPiece prepares a piece of a substring assertion on a list. Its
// '$' and '\' are characters, so that no piece spans two lines.
func caseIgnoreListPiece(dst, v []byte, initial, final bool) ([]byte, error) {
	start := len(dst)
	dst, err := caseIgnorePiece(dst, v, initial, final)
	if err != nil {
		return dst, err
	}
	return escapeLine(dst, start), nil
}

// bitRule makes the rules of [MS-ADTS] 3.1.1.3.4.4: and wants all bits of the
// assertion, or wants any.
func bitRule(test func(value, mask int64) bool) func(value, assertion []byte) (bool, error) {
	return func(value, assertion []byte) (bool, error) {
		v, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return false, fmt.Errorf("bit rule: value: %w", errInteger)
		}
		mask, err := strconv.ParseInt(string(assertion), 10, 64)
		if err != nil {
			return false, fmt.Errorf("bit rule: assertion: %w", errInteger)
		}
		return test(v, mask), nil
	}
}

func allBits(value, mask int64) bool { return value&mask == mask }
func anyBits(value, mask int64) bool { return value&mask != 0 }

// wordRule tells whether the assertion is one of the words of the value, as
// split cuts it (RFC 4517 sections 4.2.18 and 4.2.32).
func wordRule(split func(rune) bool) func(value, assertion []byte) (bool, error) {
	return func(value, assertion []byte) (bool, error) {
		v, err := caseIgnore(nil, value)
		if err != nil {
			return false, err
		}
		want, err := caseIgnore(nil, assertion)
		if err != nil {
			return false, err
		}
		for _, word := range bytes.FieldsFunc(v, split) {
			if bytes.Equal(word, want) {
				return true, nil
			}
		}
		return false, nil
	}
}

func betweenWords(r rune) bool { return r == ' ' }

func betweenKeywords(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) }

var errNoComponent = errors.New("value has no first component")

// firstComponent takes the first component of a value like "( 2.5.4.3 NAME …",
// or the value itself if it has no parenthesis.
func firstComponent(v []byte) (component, rest []byte, err error) {
	v = bytes.TrimLeft(v, " ")
	if len(v) > 0 && v[0] == '(' {
		v = bytes.TrimLeft(v[1:], " ")
	}
	end := bytes.IndexAny(v, " )")
	if len(v) > 0 && v[0] == '\'' {
		v = v[1:]
		if end = bytes.IndexByte(v, '\''); end < 0 {
			return nil, nil, errNoComponent
		}
		return v[:end], v[end+1:], nil
	}
	if end < 0 {
		end = len(v)
	}
	if end == 0 {
		return nil, nil, errNoComponent
	}
	return v[:end], v[end:], nil
}

// firstComponentRule compares the value's first component by an equality rule.
func firstComponentRule(n normalizer) func(value, assertion []byte) (bool, error) {
	return func(value, assertion []byte) (bool, error) {
		first, _, err := firstComponent(value)
		if err != nil {
			return false, err
		}
		v, err := n(nil, first)
		if err != nil {
			return false, err
		}
		a, err := n(nil, assertion)
		if err != nil {
			return false, err
		}
		return bytes.Equal(v, a), nil
	}
}

// objectIdentifierFirst matches a definition by its OID, or by one of the
// names that it gives itself.
func objectIdentifierFirst(value, assertion []byte) (bool, error) {
	first, rest, err := firstComponent(value)
	if err != nil {
		return false, err
	}
	if bytes.EqualFold(first, assertion) {
		return true, nil
	}
	for _, name := range namesIn(rest) {
		if bytes.EqualFold(name, assertion) {
			return true, nil
		}
	}
	return false, nil
}

// namesIn gives the quoted strings that follow NAME in a definition.
func namesIn(def []byte) [][]byte {
	_, after, ok := bytes.Cut(def, []byte(" NAME "))
	if !ok {
		return nil
	}
	var names [][]byte
	after = bytes.TrimLeft(after, " ")
	list := len(after) > 0 && after[0] == '('
	for {
		after = bytes.TrimLeft(after, " (")
		if len(after) == 0 || after[0] != '\'' {
			return names
		}
		end := bytes.IndexByte(after[1:], '\'')
		if end < 0 {
			return names
		}
		names = append(names, after[1:1+end])
		after = after[end+2:]
		if !list {
			return names
		}
	}
}
