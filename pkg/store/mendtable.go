package store

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/dgraph-io/badger/v4/fb"
)

// tableFile is one of badger's tables as it lies on the disk, which nobody vouches for: blocks,
// an index of them, the index's length and seal.
type tableFile struct {
	data   []byte
	blocks []span // that are sound
	lost   int    // blocks that are not; -1: nobody knows how many
	turned []int  // bits of data that were wrong, and are right now
}

type span struct{ from, to int }

// minBlock is the least that a block has beside its seal: an entry's head and its place.
const minBlock = 4 + 4 + 4

// check finds out what is sound, and puts single bits right.
func (f *tableFile) check() {
	index, ok := f.index()
	if !ok {
		f.lost = -1
		f.scan()
		return
	}
	var at fb.BlockOffset
	table := fb.GetRootAsTableIndex(index, 0)
	for i := range table.OffsetsLength() {
		table.Offsets(&at, i)
		b := span{int(at.Offset()), int(at.Offset()) + int(at.Len())}
		if b.from < b.to && b.to <= len(f.data) && f.block(b) {
			f.blocks = append(f.blocks, b)
		} else {
			f.lost++
		}
	}
}

func (f *tableFile) fix(bit int) {
	turn(f.data, bit)
	f.turned = append(f.turned, bit)
}

// index gives the index, which stands before its length and its seal.
func (f *tableFile) index() ([]byte, bool) {
	end := len(f.data)
	for size := 0; size <= maxTableSeal; size++ {
		to := end - 4 - size - 4
		if to < minBlock {
			break
		}
		seal := f.data[to+4:]
		for bit := -1; bit < 32; bit++ { // of the length, which may be wrong itself
			n := binary.BigEndian.Uint32(f.data[to:])
			if bit >= 0 {
				n ^= 1 << bit
			}
			if n < 8 || int64(n) > int64(to) {
				continue
			}
			index := f.data[to-int(n) : to]
			want := tableSeal(crcOf(index))
			if len(want) != len(seal) {
				continue
			}
			wrong := apart(want, seal)
			switch {
			case wrong == 0 && bit < 0:
				return index, true
			case wrong == 0:
				f.fix(8*(to+3-bit/8) + bit%8)
				return index, true
			case wrong == 1 && bit < 0:
				f.restore(to+4, want)
				return index, true
			}
		}
		if sum, ok := sumIn(seal); ok {
			from := to - int(min(binary.BigEndian.Uint32(f.data[to:]), uint32(to)))
			if bit, ok := flipped(f.data[from:to], sum); ok {
				f.fix(8*from + bit)
				return f.data[from:to], true
			}
		}
	}
	return nil, false
}

// restore writes what should be at a place, of which one bit is wrong.
func (f *tableFile) restore(at int, want []byte) {
	for i := range want {
		if wrong := f.data[at+i] ^ want[i]; wrong != 0 {
			f.fix(8*(at+i) + bits.TrailingZeros8(wrong))
		}
	}
}

// sumIn reads a seal.
func sumIn(seal []byte) (sum uint32, ok bool) {
	message := seal[:len(seal)-4]
	if len(message) < 2 || binary.BigEndian.Uint32(seal[len(message):]) != uint32(len(message)) || message[0] != 2<<3 {
		return 0, false
	}
	n, size := binary.Uvarint(message[1:])
	return uint32(n), size == len(message)-1 && n < 1<<32
}

// block tells whether a block with its seal is sound.
func (f *tableFile) block(b span) bool {
	stored := int(binary.BigEndian.Uint32(f.data[b.to-4:]))
	sizes := []int{stored}
	for size := range maxTableSeal + 1 {
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		to := b.to - 4 - size
		if size < 0 || size > maxTableSeal || to < b.from+minBlock {
			continue
		}
		want := tableSeal(crcOf(f.data[b.from:to]))
		if len(want) != size+4 {
			continue
		}
		switch apart(want, f.data[to:b.to]) {
		case 0:
			return f.formed(span{b.from, to})
		case 1:
			f.restore(to, want)
			return f.formed(span{b.from, to})
		}
	}
	if stored > maxTableSeal || b.to-4-stored < b.from+minBlock {
		return false
	}
	to := b.to - 4 - stored
	sum, ok := sumIn(f.data[to:b.to])
	if !ok {
		return false
	}
	bit, ok := flipped(f.data[b.from:to], sum)
	if ok {
		f.fix(8*b.from + bit)
	}
	return ok && f.formed(span{b.from, to})
}

// formed tells whether what a block says of itself fits into it.
func (f *tableFile) formed(b span) bool {
	n := int64(binary.BigEndian.Uint32(f.data[b.to-4:]))
	return n > 0 && 4*n+4 < int64(b.to-b.from)
}

// scan looks for blocks where no index says where they are: one ends where what was since the end
// of the last one has its seal.
func (f *tableFile) scan() {
	for from, to := 0, minBlock+4; to <= len(f.data); to++ {
		size := int(binary.BigEndian.Uint32(f.data[to-4 : to]))
		if size < 2 || size > maxTableSeal || to-4-size < from+minBlock {
			continue
		}
		at := to - 4 - size
		if sum, ok := sumIn(f.data[at:to]); !ok || sum != crcOf(f.data[from:at]) || !f.formed(span{from, at}) {
			continue
		}
		f.blocks = append(f.blocks, span{from, to})
		from, to = to, to+minBlock
	}
}

// record is one of a table's: the key with its version, and the value with its head, as badger
// encodes them.
type record struct{ key, value []byte }

// records reads the sound blocks, in order.
func (f *tableFile) records() (out []record) {
	for _, b := range f.blocks {
		end := b.to - 4 - int(binary.BigEndian.Uint32(f.data[b.to-4:b.to]))
		n := int(binary.BigEndian.Uint32(f.data[end-4:]))
		places := f.data[end-4-4*n : end-4]
		block := f.data[b.from : end-4-4*n]
		var base []byte
		for i := range n {
			from, to := int(binary.LittleEndian.Uint32(places[4*i:])), len(block)
			if i+1 < n {
				to = int(binary.LittleEndian.Uint32(places[4*i+4:]))
			}
			if from < 0 || from+4 > to || to > len(block) {
				break
			}
			shared, rest := int(binary.LittleEndian.Uint16(block[from:])), int(binary.LittleEndian.Uint16(block[from+2:]))
			if shared > len(base) || from+4+rest > to {
				break
			}
			key := slices.Concat(base[:shared], block[from+4:from+4+rest])
			if i == 0 {
				base = key
			}
			out = append(out, record{key, block[from+4+rest : to]})
		}
	}
	return out
}
