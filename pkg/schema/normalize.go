package schema

import (
	"bytes"
	"errors"
	"fmt"
)

type normalizer = func(dst, value []byte) ([]byte, error)

func caseIgnore(dst, v []byte) ([]byte, error) { return prepare(dst, v, true, &wholeValue) }
func caseExact(dst, v []byte) ([]byte, error)  { return prepare(dst, v, false, &wholeValue) }

func caseIgnoreWhole(dst, v []byte) ([]byte, error) { return prepare(dst, v, true, &substrValue) }
func caseExactWhole(dst, v []byte) ([]byte, error)  { return prepare(dst, v, false, &substrValue) }

func caseIgnorePiece(dst, v []byte, initial, final bool) ([]byte, error) {
	return prepare(dst, v, true, pieceForm(initial, final))
}

func caseExactPiece(dst, v []byte, initial, final bool) ([]byte, error) {
	return prepare(dst, v, false, pieceForm(initial, final))
}

// ia5 refuses what is not IA5 (ASCII) before n has its turn.
func ia5(n normalizer) normalizer {
	return func(dst, v []byte) ([]byte, error) {
		if err := checkIA5(v); err != nil {
			return dst, err
		}
		return n(dst, v)
	}
}

type pieceNormalizer = func(dst, piece []byte, initial, final bool) ([]byte, error)

func ia5Piece(n pieceNormalizer) pieceNormalizer {
	return func(dst, v []byte, initial, final bool) ([]byte, error) {
		if err := checkIA5(v); err != nil {
			return dst, err
		}
		return n(dst, v, initial, final)
	}
}

var errIA5 = errors.New("value is not ASCII")

func checkIA5(v []byte) error {
	for _, c := range v {
		if c >= 0x80 {
			return errIA5
		}
	}
	return nil
}

func numericString(dst, v []byte) ([]byte, error) { return prepare(dst, v, true, &numericForm) }

func telephoneNumber(dst, v []byte) ([]byte, error) { return prepare(dst, v, true, &telephoneForm) }

// anyPiece makes a piece normaliser of a form in which position means nothing.
func anyPiece(n normalizer) pieceNormalizer {
	return func(dst, v []byte, _, _ bool) ([]byte, error) { return n(dst, v) }
}

func octets(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

var errBoolean = errors.New("value is not TRUE or FALSE")

func boolean(dst, v []byte) ([]byte, error) {
	switch {
	case bytes.EqualFold(v, []byte("TRUE")):
		return append(dst, "TRUE"...), nil
	case bytes.EqualFold(v, []byte("FALSE")):
		return append(dst, "FALSE"...), nil
	}
	return dst, errBoolean
}

var errBitString = errors.New("value is not a bit string ('0101'B)")

// bitString checks the form of RFC 4517 section 3.3.2. Trailing zero bits
// count: without a named bit list they are significant.
func bitString(dst, v []byte) ([]byte, error) {
	if len(v) < 3 || v[0] != '\'' || v[len(v)-2] != '\'' || v[len(v)-1]|0x20 != 'b' {
		return dst, errBitString
	}
	bits := v[1 : len(v)-2]
	for _, c := range bits {
		if c != '0' && c != '1' {
			return dst, errBitString
		}
	}
	dst = append(dst, '\'')
	dst = append(dst, bits...)
	return append(dst, "'B"...), nil
}

// maxDigits bounds an integer, so that its length fits four hexadecimal digits.
const maxDigits = 0xffff

var errInteger = errors.New("value is not an integer")

// integer gives a printable form whose byte order is the numbers' order: '1'
// (0 or more) or '0' (less), the count of digits in four hexadecimal digits,
// the digits. Below zero count and digits are complemented.
func integer(dst, v []byte) ([]byte, error) {
	digits := v
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		digits = v[1:]
	}
	if len(digits) == 0 {
		return dst, errInteger
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return dst, errInteger
		}
	}
	digits = bytes.TrimLeft(digits, "0")
	if len(digits) > maxDigits {
		return dst, fmt.Errorf("integer of %d digits; at most %d are understood", len(digits), maxDigits)
	}
	if len(digits) == 0 {
		negative = false
	}
	return appendOrdered(dst, digits, negative), nil
}

func appendOrdered(dst, digits []byte, negative bool) []byte {
	const hex = "0123456789abcdef"
	n := len(digits)
	sign, top := byte('1'), byte(0)
	if negative {
		sign, top, n = '0', 9, maxDigits-n
	}
	dst = append(dst, sign, hex[n>>12], hex[n>>8&15], hex[n>>4&15], hex[n&15])
	for _, c := range digits {
		if negative {
			c = '0' + top - (c - '0')
		}
		dst = append(dst, c)
	}
	return dst
}

var errUUID = errors.New("value is not a UUID (RFC 4530)")

// uuid lowers the hexadecimal digits of a UUID's text; the order of the forms
// is that of the 16 octets.
func uuid(dst, v []byte) ([]byte, error) {
	if len(v) != 36 {
		return dst, errUUID
	}
	for i, c := range v {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return dst, errUUID
			}
		default:
			if !isHex(c) {
				return dst, errUUID
			}
		}
	}
	return appendLower(dst, v), nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func appendLower(dst, v []byte) []byte {
	for _, c := range v {
		dst = append(dst, lower(c))
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

var errCSN = errors.New("value is not a change sequence number")

// csn gives OpenLDAP's present form (draft-chu-ldap-csn), also to the form that
// OpenLDAP 2.3 wrote (no fraction, two digits of server ID). Its byte order is
// the order of changes.
func csn(dst, v []byte) ([]byte, error) {
	parts := bytes.Split(v, []byte("#"))
	if len(parts) != 4 || !isCSNTime(parts[0]) || !allHex(parts[1], 6) || !allHex(parts[3], 6) {
		return dst, errCSN
	}
	sid := parts[2]
	if !allHex(sid, 3) && !allHex(sid, 2) {
		return dst, errCSN
	}
	dst = append(dst, parts[0][:14]...)
	if len(parts[0]) == 15 {
		dst = append(dst, ".000000Z#"...)
	} else {
		dst = append(dst, parts[0][14:]...)
		dst = append(dst, '#')
	}
	dst = appendLower(dst, parts[1])
	dst = append(dst, '#')
	if len(sid) == 2 {
		dst = append(dst, '0')
	}
	dst = appendLower(dst, sid)
	dst = append(dst, '#')
	return appendLower(dst, parts[3]), nil
}

func isCSNTime(t []byte) bool {
	if len(t) != 15 && len(t) != 22 || t[len(t)-1] != 'Z' || len(t) == 22 && t[14] != '.' {
		return false
	}
	for i, c := range t[:len(t)-1] {
		if i != 14 && !isDigit(c) {
			return false
		}
	}
	return true
}

func allHex(v []byte, n int) bool {
	for _, c := range v {
		if !isHex(c) {
			return false
		}
	}
	return len(v) == n
}

// csnSID gives the server ID of a change sequence number, or of an assertion
// that is only that.
func csnSID(dst, v []byte) ([]byte, error) {
	if allHex(v, 3) {
		return appendLower(dst, v), nil
	}
	whole, err := csn(nil, v)
	if err != nil {
		return dst, err
	}
	return append(dst, whole[30:33]...), nil
}
