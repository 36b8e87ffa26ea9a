package schema

import (
	"encoding/binary"
	"math/bits"
)

const (
	// minMemoSlots is room for the types in a DN.
	minMemoSlots = 8
	// maxMemoSlots bounds a memo to 10 KiB; all entries of an upstream seldom
	// have more than fifty types together.
	maxMemoSlots = 256
	// maxMemoName is the longest description kept; nearly all are shorter.
	maxMemoName = 31
)

// Memo finds attribute types for one who asks for the same ones over and over:
// it keeps what was found for a description, as it is spelled and with its
// options, so that asking again costs a comparison. What the schema lacks is kept
// as well, and makes no garbage then. A memo begins without memory, grows while it
// misses, to 10 KiB at most, and forgets what is in the way of something newer. Not
// safe for concurrent use.
type Memo struct {
	schema *Schema
	slots  []memoSlot // none at first, then a power of two
	misses int        // since slots was made
}

// memoSlot is one of the two in which a description may be.
type memoSlot struct {
	found *AttributeType // nil: the slot is empty
	size  uint8
	name  [maxMemoName]byte
}

// NewMemo makes a memo for what s knows.
func NewMemo(s *Schema) *Memo { return &Memo{schema: s} }

// Attribute is Schema.Attribute.
func (m *Memo) Attribute(desc []byte) *AttributeType {
	if n := uint32(len(m.slots)); n > 0 {
		i := memoHash(desc) & (n - 1)
		if slot := &m.slots[i]; slot.holds(desc) {
			return slot.found
		}
		if slot := &m.slots[i^1]; slot.holds(desc) {
			return slot.found
		}
	}
	return m.miss(desc)
}

func (slot *memoSlot) holds(desc []byte) bool {
	return int(slot.size) == len(desc) && string(slot.name[:slot.size]) == string(desc) && slot.found != nil
}

// miss asks the schema and keeps the answer. One who asks for a few types and no
// more gets no table. A table that is large enough misses each type once; in one
// that was asked in vain twice for each slot, types are in each other's way.
func (m *Memo) miss(desc []byte) *AttributeType {
	found := m.schema.AttributeBytes(desc)
	if m.misses++; m.misses > max(minMemoSlots, 2*len(m.slots)) && len(m.slots) < maxMemoSlots {
		m.slots, m.misses = make([]memoSlot, max(minMemoSlots, 2*len(m.slots))), 0
	}
	if len(desc) > maxMemoName || len(m.slots) == 0 {
		return found
	}
	i := memoHash(desc) & uint32(len(m.slots)-1)
	if m.slots[i].found != nil && m.slots[i^1].found == nil {
		i ^= 1
	}
	slot := &m.slots[i]
	slot.found, slot.size = found, uint8(copy(slot.name[:], desc))
	return found
}

// memoHash takes a description's length and its first and last eight bytes.
func memoHash(desc []byte) uint32 {
	n := len(desc)
	var first, last uint64
	switch {
	case n >= 8:
		first, last = binary.LittleEndian.Uint64(desc), binary.LittleEndian.Uint64(desc[n-8:])
	case n >= 4:
		first, last = uint64(binary.LittleEndian.Uint32(desc)), uint64(binary.LittleEndian.Uint32(desc[n-4:]))
	case n > 0:
		first, last = uint64(desc[0]), uint64(desc[n/2])<<8|uint64(desc[n-1])
	}
	return uint32((first ^ bits.RotateLeft64(last, 29) ^ uint64(n)) * 0x9e3779b97f4a7c15 >> 32)
}
