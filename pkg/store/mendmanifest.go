package store

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The manifest says which tables there are: a head of 8 bytes, and sets of changes, each with its length and
// its CRC-32C before it. A set is a message whose field 1 is a change; a change's fields are a table's id
// (1), whether it is removed (2), its level (3), and others that are not used here.
const (
	manifestHead    = 8
	setHead         = 8
	manifestVersion = 8
)

// manifestMagic begins a manifest, with the version of an application (none) and of badger behind it.
var manifestMagic = []byte{'B', 'd', 'g', 'r', 0, 0, 0, manifestVersion}

// manifest is one that nobody vouches for.
type manifest struct {
	data   []byte
	end    int // of what is sound
	tables map[uint64]bool
	turned []int
	newer  bool // of a badger that is not this one
	broken bool // what it says cannot be told
}

func (m *manifest) check() {
	m.tables = map[uint64]bool{}
	if len(m.data) < manifestHead {
		m.broken = true
		return
	}
	head := m.data[:manifestHead]
	if bytes.Equal(head[:6], manifestMagic[:6]) && binary.BigEndian.Uint16(head[6:]) > manifestVersion {
		m.newer = true
		return
	}
	switch apart(head, manifestMagic) {
	case 0:
	case 1:
		for i, want := range manifestMagic {
			for bit := range 8 {
				if (head[i]^want)>>bit&1 != 0 {
					m.fix(8*i + bit)
				}
			}
		}
	default:
		m.broken = true
		return
	}
	m.end = manifestHead
	for at := manifestHead; len(m.data)-at >= setHead; {
		end, ok := m.set(at)
		if !ok && m.right(at) {
			end, ok = m.set(at)
		}
		if !ok { // the last may be cut off by a crash; then it was not told to anybody
			m.broken = end <= len(m.data) || m.more(at)
			return
		}
		if !m.apply(m.data[at+setHead : end]) {
			m.broken = true
			return
		}
		at = end
		m.end = at
	}
}

func (m *manifest) fix(bit int) {
	turn(m.data, bit)
	m.turned = append(m.turned, bit)
}

// set tells where the set at a place ends, by what it says, and whether it is whole and sound.
func (m *manifest) set(at int) (end int, ok bool) {
	n := int(binary.BigEndian.Uint32(m.data[at:]))
	end = at + setHead + n
	return end, end <= len(m.data) && crcOf(m.data[at+setHead:end]) == binary.BigEndian.Uint32(m.data[at+4:])
}

func (m *manifest) right(at int) bool {
	for bit := 8 * at; bit < 8*(at+setHead); bit++ {
		turn(m.data, bit)
		if _, ok := m.set(at); ok {
			m.turned = append(m.turned, bit)
			return true
		}
		turn(m.data, bit)
	}
	end, _ := m.set(at)
	if end > len(m.data) {
		return false
	}
	bit, ok := flipped(m.data[at+setHead:end], binary.BigEndian.Uint32(m.data[at+4:]))
	if ok {
		m.fix(8*(at+setHead) + bit)
	}
	return ok
}

// more tells whether there is a sound set behind a place.
func (m *manifest) more(at int) bool {
	for at++; len(m.data)-at > setHead; at++ {
		if end, ok := m.set(at); ok && end > at+setHead && (&manifest{tables: map[uint64]bool{}}).apply(m.data[at+setHead:end]) {
			return true
		}
	}
	return false
}

// field reads one of a message: a number, or bytes.
func field(src []byte) (id int, n uint64, body, rest []byte, ok bool) {
	tag, size := binary.Uvarint(src)
	if size <= 0 {
		return 0, 0, nil, nil, false
	}
	src = src[size:]
	if n, size = binary.Uvarint(src); size <= 0 {
		return 0, 0, nil, nil, false
	}
	src = src[size:]
	switch tag & 7 {
	case 0:
		return int(tag >> 3), n, nil, src, true
	case 2:
		if n > uint64(len(src)) {
			return 0, 0, nil, nil, false
		}
		return int(tag >> 3), 0, src[:n], src[n:], true
	}
	return 0, 0, nil, nil, false
}

// apply takes one set.
func (m *manifest) apply(set []byte) bool {
	for len(set) > 0 {
		id, _, change, rest, ok := field(set)
		if !ok {
			return false
		}
		if set = rest; id != 1 {
			continue
		}
		var table, removed uint64
		for len(change) > 0 {
			id, n, _, rest, ok := field(change)
			if !ok {
				return false
			}
			switch change = rest; id {
			case 1:
				table = n
			case 2:
				removed = n
			}
		}
		if removed == 1 {
			delete(m.tables, table)
		} else {
			m.tables[table] = true
		}
	}
	return true
}

// manifestSet is a set of one change for each table: of its removal, or its creation at level 0,
// where it does not matter which keys a table has.
func manifestSet(tables []uint64, remove bool) []byte {
	slices.Sort(tables)
	var set []byte
	for _, id := range tables {
		change := binary.AppendUvarint([]byte{1 << 3}, id)
		if remove {
			change = append(change, 2<<3, 1)
		}
		set = append(binary.AppendUvarint(append(set, 1<<3|2), uint64(len(change))), change...)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(len(set)))
	return append(binary.BigEndian.AppendUint32(out, crcOf(set)), set...)
}
