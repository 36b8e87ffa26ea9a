package tree

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unsafe"

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

// A value in a block: five 32-bit numbers, then the bytes that four of them count. A normal form that is the
// text, as most are, is not kept again: its number is 0 then.
const (
	fieldSum  = 0 // checksum, in the scratch; 0 in memory
	fieldText = 4
	fieldNorm = 8
	fieldUser = 12
	fieldOper = 16
	headSize  = 20
)

// value is one encoded value, and whatever follows it in its block.
type value []byte

func (x value) field(at int) int { return int(binary.LittleEndian.Uint32(x[at:])) }

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
func appendValue(dst []byte, text, norm []byte, user, oper dit.Run) []byte {
	norm = kept(text, norm)
	for _, n := range []int{0, len(text), len(norm), len(user), len(oper)} {
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
	blocks []*block
	info   []blockInfo
	vacant []uint32 // numbers of blocks that are gone
	full   []uint32 // those that this builder adds nothing to any more
	tail   int      // block that is being filled
	owned  bool     // blocks and vacant are this builder's alone
}

// blockInfo is what a version has of a block: bytes, and how many values.
type blockInfo struct{ used, live, count uint32 }

func (v *Version) value(id ID) value {
	r := v.row(id)
	return v.values.blocks[r.block].value(r.off)
}

// valueBy is value for somebody who has a window.
func (v *Version) valueBy(w *window, id ID) value {
	r := v.row(id)
	return w.value(v.values.blocks[r.block], r.off)
}

// edit makes the counts writable.
func (s *values) edit() { s.info = slices.Clone(s.info) }

func (s *values) settle() { s.owned, s.full = false, nil }

// own makes the lists of blocks writable. A block that is added at the end
// needs no copy, since readers do not look there.
func (s *values) own() {
	if !s.owned {
		s.blocks, s.vacant, s.owned = slices.Clone(s.blocks), slices.Clone(s.vacant), true
	}
}

// add takes a block over, of which used bytes are written: count values.
func (s *values) add(b *block, used, count int) int {
	info := blockInfo{used: uint32(used), count: uint32(count)}
	if n := len(s.vacant); n > 0 {
		s.own()
		i := s.vacant[n-1]
		s.vacant = s.vacant[:n-1]
		s.blocks[i], s.info[i] = b, info
		return int(i)
	}
	s.blocks = append(s.blocks, b)
	s.info = append(s.info, info)
	return len(s.blocks) - 1
}

// reserve finds room for count values of size bytes together; they do not count as alive yet. Their
// rows are not known.
func (b *Builder) reserve(size, count int) place {
	s := &b.v.values
	m := b.v.opt.Memory
	if size >= ownBlock {
		n := s.add(m.take(make([]byte, size)), size, count)
		s.blocks[n].ids = make([]ID, count)
		s.full = append(s.full, uint32(n))
		return place{block: uint32(n)}
	}
	if s.tail == noBlock || s.blocks[s.tail].full || int(s.info[s.tail].used)+size > blockSize {
		if s.tail != noBlock {
			s.full = append(s.full, uint32(s.tail))
		}
		s.tail = s.add(m.take(make([]byte, blockSize)), 0, 0)
	}
	info, to := &s.info[s.tail], s.blocks[s.tail]
	at := place{block: uint32(s.tail), off: info.used, number: info.count}
	info.used += uint32(size)
	info.count += uint32(count)
	to.ids = append(to.ids[:at.number], make([]ID, count)...)
	return at
}

// drop forgets a block with nothing alive in it.
func (s *values) drop(i int) {
	s.own()
	s.blocks[i], s.info[i] = nil, blockInfo{}
	s.vacant = append(s.vacant, uint32(i))
}

// bound hands over to the bound of the memory what this builder adds nothing to any more.
func (b *Builder) bound() {
	s := &b.v.values
	for _, i := range s.full {
		if to := s.blocks[i]; to != nil && int(i) != s.tail {
			b.v.opt.Memory.fill(to, int(s.info[i].used))
		}
	}
}

// store writes a value and returns where.
func (b *Builder) store(id ID, text, norm []byte, user, oper dit.Run) (block, off uint32) {
	s := &b.v.values
	size := valueSize(text, norm, user, oper)
	at := b.reserve(size, 1)
	to := s.blocks[at.block]
	appendValue(to.bytes()[at.off:at.off:int(at.off)+size], text, norm, user, oper)
	to.ids[at.number] = id
	s.info[at.block].live += uint32(size)
	return at.block, at.off
}

// release counts a value as dead.
func (b *Builder) release(block, off uint32) {
	s := &b.v.values
	size := b.w.value(s.blocks[block], off).size()
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
	from := s.blocks[i]
	off := uint32(0)
	for n := 0; off < s.info[i].used && s.info[i].live > 0 && moved < budget; n++ {
		x := b.w.value(from, off)
		size := x.size()
		if id := from.ids[n]; b.v.has(id) && b.v.row(id).block == uint32(i) && b.v.row(id).off == off {
			at := b.reserve(size, 1)
			copy(s.blocks[at.block].bytes()[at.off:], x[:size])
			clear(s.blocks[at.block].bytes()[at.off+fieldSum:][:4])
			s.blocks[at.block].ids[at.number] = id
			s.info[at.block].live += uint32(size)
			s.info[i].live -= uint32(size)
			r := b.edit(id)
			r.block, r.off = at.block, at.off
			moved += size
		}
		off += uint32(size)
	}
	return moved
}

// block0 is the memory of a block of whatever size.
func block0(p *byte) *[1 << 40]byte { return (*[1 << 40]byte)(unsafe.Pointer(p)) }
