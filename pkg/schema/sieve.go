package schema

import "encoding/binary"

const (
	sieveBits = 1 << sieveLog
	sieveLog  = 12
)

// Sieve tells at a glance of most attribute descriptions that they name none of some types. The zero Sieve
// has none. It is safe for concurrent use once it is filled.
type Sieve struct{ bits [sieveBits / 64]uint64 }

// DNs has the types whose values are DNs (AttributeType.IsDN).
func (s *Schema) DNs() *Sieve { return &s.dns }

// Add has the sieve let a's names and OID through.
func (v *Sieve) Add(a *AttributeType) {
	v.add(a.OID)
	v.add(a.key)
	for _, name := range a.Names {
		v.add(name)
	}
}

func (v *Sieve) add(name string) {
	for _, form := range []string{name, "oid." + name} { // see unfound
		at, _ := sieveAt([]byte(form))
		v.bits[at/64] |= 1 << (at % 64)
	}
}

// Has tells whether desc may be of one of the types: in any case, and with options; where it is of none,
// the answer is nearly always false.
func (v *Sieve) Has(desc []byte) bool {
	at, plain := sieveAt(desc)
	return !plain || v.bits[at/64]&(1<<(at%64)) != 0
}

// sieveAt goes by a name's first eight bytes, whether letters are large or small; it is not plain where options
// may begin among them.
func sieveAt(name []byte) (at uint32, plain bool) {
	var x uint64
	switch n := len(name); {
	case n >= 8:
		x = binary.LittleEndian.Uint64(name)
	case n >= 4:
		x = uint64(binary.LittleEndian.Uint32(name)) | uint64(binary.LittleEndian.Uint32(name[n-4:]))<<32
	case n > 0:
		x = uint64(name[0]) | uint64(name[n/2])<<8 | uint64(name[n-1])<<16
	}
	const ones = 0x0101010101010101
	x |= ' ' * ones
	semicolon := x ^ ';'*ones // a byte that is 0 is one
	return uint32(x * 0x9e3779b97f4a7c15 >> (64 - sieveLog)), (semicolon-ones)&^semicolon&(0x80*ones) == 0
}
