package tree

import (
	"bytes"
	"encoding/binary"
	"slices"

	"shaft/pkg/dit"
)

const (
	// blockSize is what one value block holds.
	blockSize = 1 << 20
	// ownBlock is the size from which a value gets a block of its own, so
	// that the end of a block that is left empty is a quarter at most.
	ownBlock = blockSize / 4
	// compactFloor is what Done may copy out of half-dead blocks even when
	// nothing died in its batch; beside it as much as died, so that dead
	// bytes cannot gather faster than they go.
	compactFloor = 64 << 10

	noBlock = -1
)

// A value in a block: five 32-bit numbers, then the bytes that they count. A normal form that is the
// text, as most are, is not kept again: its number is 0 then.
const (
	fieldID   = 0 // row number, for compaction; only a Builder reads it
	fieldText = 4
	fieldNorm = 8
	fieldUser = 12
	fieldOper = 16
	headSize  = 20
)

// value is one encoded value, and whatever follows it in its block.
type value []byte

func (x value) field(at int) int { return int(binary.LittleEndian.Uint32(x[at:])) }

func (x value) id() ID      { return ID(x.field(fieldID)) }
func (x value) setID(id ID) { binary.LittleEndian.PutUint32(x[fieldID:], uint32(id)) }

func (x value) size() int {
	return headSize + x.field(fieldText) + x.field(fieldNorm) + x.field(fieldUser) + x.field(fieldOper)
}

func (x value) text() []byte { return x[headSize:][:x.field(fieldText)] }

func (x value) norm() []byte {
	if n := x.field(fieldNorm); n > 0 {
		return x[headSize+x.field(fieldText):][:n]
	}
	return x.text()
}

func (x value) user() dit.Run {
	n := x.field(fieldUser)
	return dit.Run(x[headSize+x.field(fieldText)+x.field(fieldNorm):][:n:n])
}

func (x value) oper() dit.Run {
	n := x.field(fieldOper)
	return dit.Run(x[headSize+x.field(fieldText)+x.field(fieldNorm)+x.field(fieldUser):][:n:n])
}

func valueSize(text, norm []byte, user, oper dit.Run) int {
	return headSize + len(text) + len(kept(text, norm)) + len(user) + len(oper)
}

// kept is what is kept of a normal form.
func kept(text, norm []byte) []byte {
	if bytes.Equal(text, norm) {
		return nil
	}
	return norm
}

// appendValue encodes a value; text and norm are its RDN, of the base entry the whole DN.
func appendValue(dst []byte, id ID, text, norm []byte, user, oper dit.Run) []byte {
	norm = kept(text, norm)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(id))
	for _, n := range []int{len(text), len(norm), len(user), len(oper)} {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	}
	dst = append(dst, text...)
	dst = append(dst, norm...)
	dst = append(dst, user...)
	return append(dst, oper...)
}

// values are the blocks of a version. Readers look only at blocks; a Builder
// appends behind what any version shows.
type values struct {
	blocks [][]byte
	info   []blockInfo
	vacant []uint32 // numbers of blocks that are gone
	tail   int      // block that is being filled
	owned  bool     // blocks and vacant are this builder's alone
}

type blockInfo struct{ used, live uint32 } // bytes

func (v *Version) value(id ID) value {
	r := v.row(id)
	return value(v.values.blocks[r.block][r.off:])
}

// edit makes the counts writable.
func (s *values) edit() { s.info = slices.Clone(s.info) }

func (s *values) settle() { s.owned = false }

// own makes the lists of blocks writable. A block that is added at the end
// needs no copy, since readers do not look there.
func (s *values) own() {
	if !s.owned {
		s.blocks, s.vacant, s.owned = slices.Clone(s.blocks), slices.Clone(s.vacant), true
	}
}

// add takes a block over, of which used bytes are written.
func (s *values) add(block []byte, used int) int {
	if n := len(s.vacant); n > 0 {
		s.own()
		i := s.vacant[n-1]
		s.vacant = s.vacant[:n-1]
		s.blocks[i], s.info[i] = block, blockInfo{used: uint32(used)}
		return int(i)
	}
	s.blocks = append(s.blocks, block)
	s.info = append(s.info, blockInfo{used: uint32(used)})
	return len(s.blocks) - 1
}

// reserve finds room for size bytes; they do not count as alive yet.
func (s *values) reserve(size int) (block, off uint32) {
	if size >= ownBlock {
		return uint32(s.add(make([]byte, size), size)), 0
	}
	if s.tail == noBlock || int(s.info[s.tail].used)+size > blockSize {
		s.tail = s.add(make([]byte, blockSize), 0)
	}
	info := &s.info[s.tail]
	off = info.used
	info.used += uint32(size)
	return uint32(s.tail), off
}

// drop forgets a block with nothing alive in it.
func (s *values) drop(i int) {
	s.own()
	s.blocks[i], s.info[i] = nil, blockInfo{}
	s.vacant = append(s.vacant, uint32(i))
}

// store writes a value and returns where.
func (b *Builder) store(id ID, text, norm []byte, user, oper dit.Run) (block, off uint32) {
	s := &b.v.values
	size := valueSize(text, norm, user, oper)
	block, off = s.reserve(size)
	s.info[block].live += uint32(size)
	appendValue(s.blocks[block][off:off:int(off)+size], id, text, norm, user, oper)
	return block, off
}

// release counts a value as dead.
func (b *Builder) release(block, off uint32) {
	s := &b.v.values
	size := value(s.blocks[block][off:]).size()
	s.info[block].live -= uint32(size)
	b.died += size
}

// compact empties blocks of which less than half is alive, within its budget,
// and forgets the dead ones.
func (b *Builder) compact() {
	s := &b.v.values
	budget := compactFloor + b.died
	for i := range len(s.info) {
		info := s.info[i]
		if s.blocks[i] == nil || i == s.tail || info.live*2 >= info.used {
			continue
		}
		if info.live > 0 {
			budget -= b.evacuate(i, budget)
		}
		if s.info[i].live == 0 {
			s.drop(i)
		}
	}
}

// evacuate moves what lives in block i to the tail until budget is used up;
// it returns the bytes moved. Done again, it goes on where it stopped, since
// what has moved is dead here.
func (b *Builder) evacuate(i, budget int) int {
	s := &b.v.values
	moved := 0
	for off := 0; off < int(s.info[i].used) && s.info[i].live > 0 && moved < budget; {
		x := value(s.blocks[i][off:])
		size := x.size()
		id := x.id()
		if b.v.has(id) && b.v.row(id).block == uint32(i) && b.v.row(id).off == uint32(off) {
			block, to := s.reserve(size)
			copy(s.blocks[block][to:], x[:size])
			s.info[block].live += uint32(size)
			s.info[i].live -= uint32(size)
			r := b.edit(id)
			r.block, r.off = block, to
			moved += size
		}
		off += size
	}
	return moved
}
