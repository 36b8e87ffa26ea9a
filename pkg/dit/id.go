package dit

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
)

// UUID is an entryUUID (RFC 4530) in its 16 octets.
type UUID [16]byte

// uuidLen is the length of a UUID's text.
const uuidLen = 36

// ParseUUID reads the text form of RFC 4122, digits in either case.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	if len(text) != uuidLen {
		return UUID{}, fmt.Errorf("UUID %q: %d characters, expected %d", shorten(text), len(text), uuidLen)
	}
	at := 0
	for i := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			if text[at] != '-' {
				return UUID{}, fmt.Errorf("UUID %q: expected '-' at column %d", text, at+1)
			}
			at++
		}
		hi, lo := unhex(text[at]), unhex(text[at+1])
		if hi < 0 || lo < 0 {
			return UUID{}, fmt.Errorf("UUID %q: expected two hex digits at column %d", text, at+1)
		}
		u[i] = byte(hi<<4 | lo)
		at += 2
	}
	return u, nil
}

// String gives the text form of RFC 4122, in lower case.
func (u UUID) String() string { return string(u.Append(nil)) }

// Append appends the text form.
func (u UUID) Append(dst []byte) []byte {
	dst = hex.AppendEncode(dst, u[:4])
	for i := 4; i < 10; i += 2 {
		dst = append(dst, '-')
		dst = hex.AppendEncode(dst, u[i:i+2])
	}
	dst = append(dst, '-')
	return hex.AppendEncode(dst, u[10:])
}

// IsZero tells whether u is the nil UUID.
func (u UUID) IsZero() bool { return u == UUID{} }

// NewUUIDv5 makes the UUID of a name within a namespace: the same each time
// (RFC 4122 section 4.3, SHA-1).
func NewUUIDv5(namespace UUID, name []byte) UUID {
	h := sha1.New()
	h.Write(namespace[:])
	h.Write(name)
	var u UUID
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u
}
