package schema

import "strings"

// macros are the names that objectidentifier directives give to OIDs, in lower
// case; the values are numeric.
type macros map[string]string

// expand makes a numeric OID of "1.2.3", "macro" or "macro:1.2".
func (m macros) expand(w word) (string, error) {
	text := strings.TrimSpace(w.text)
	if isOID(text) {
		return text, nil
	}
	name, suffix, tail := strings.Cut(text, ":")
	oid, ok := m[strings.ToLower(name)]
	switch {
	case !ok && isName(name):
		return "", w.at.errorf("unknown OID macro %q", name)
	case !ok || tail && !isOID("1."+suffix):
		return "", w.at.errorf("bad OID %q", w.text)
	case tail:
		oid += "." + suffix
	}
	return oid, nil
}

// isOID checks a numeric OID, leading zeros let through.
func isOID(text string) bool {
	digits := 0
	for i := 0; i < len(text); i++ {
		switch {
		case isDigit(text[i]):
			digits++
		case text[i] == '.' && digits > 0:
			digits = 0
		default:
			return false
		}
	}
	return digits > 0
}

// compareOIDs orders OIDs by their numbers.
func compareOIDs(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}
