package tree

import (
	"math/bits"
	"slices"
)

const (
	// smallPosting ids are kept as one list.
	smallPosting = 64
	// chunkIDs is what one chunk covers; from denseChunk ids on it is a
	// bitset, which is no larger then.
	chunkIDs   = 1 << 16
	denseChunk = 4096
)

// posting is a set of ids. Lists are never changed where a version may look:
// an id at the end is appended behind what others see, else the list is
// copied; bitsets are copied by the first Builder that changes them.
type posting struct {
	ids    []ID    // ascending; nil once there are chunks
	chunks []chunk // ascending
	epoch  uint64  // of the Builder that owns chunks
	count  uint32
}

// chunk holds the ids with the upper half high, as their lower halves.
type chunk struct {
	list  []uint16 // ascending
	set   *[chunkIDs / 64]uint64
	epoch uint64 // of the Builder that owns set
	high  uint16
	count uint32
}

// add puts id, which is not in it, into the set.
func (p *posting) add(id ID, epoch uint64) {
	p.count++
	if p.chunks == nil {
		if len(p.ids) < smallPosting {
			p.ids = insert(p.ids, id)
			return
		}
		p.epoch = epoch
		for _, old := range p.ids {
			p.addChunked(old, epoch)
		}
		p.ids = nil
	}
	p.own(epoch)
	p.addChunked(id, epoch)
}

func (p *posting) own(epoch uint64) {
	if p.epoch != epoch {
		p.chunks, p.epoch = slices.Clone(p.chunks), epoch
	}
}

func (p *posting) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(p.chunks, uint16(id>>16), func(c chunk, high uint16) int {
		return int(c.high) - int(high)
	})
}

func (p *posting) addChunked(id ID, epoch uint64) {
	i, ok := p.find(id)
	if !ok {
		p.chunks = slices.Insert(p.chunks, i, chunk{high: uint16(id >> 16)})
	}
	c, low := &p.chunks[i], uint16(id)
	c.count++
	if c.set == nil && c.count <= denseChunk {
		c.list = insert(c.list, low)
		return
	}
	c.own(epoch)
	c.set[low/64] |= 1 << (low % 64)
}

// own makes a bitset for writing, out of the list if it was one.
func (c *chunk) own(epoch uint64) {
	if c.set != nil && c.epoch == epoch {
		return
	}
	set := new([chunkIDs / 64]uint64)
	if c.set != nil {
		*set = *c.set
	}
	for _, low := range c.list {
		set[low/64] |= 1 << (low % 64)
	}
	c.set, c.list, c.epoch = set, nil, epoch
}

// remove takes id, which is in it, out of the set.
func (p *posting) remove(id ID, epoch uint64) {
	p.count--
	if p.chunks == nil {
		p.ids = without(p.ids, id)
		return
	}
	p.own(epoch)
	i, ok := p.find(id)
	if !ok {
		return
	}
	c, low := &p.chunks[i], uint16(id)
	c.count--
	switch {
	case c.count == 0:
		p.chunks = slices.Delete(p.chunks, i, i+1)
	case c.set == nil:
		c.list = without(c.list, low)
	default:
		c.own(epoch)
		c.set[low/64] &^= 1 << (low % 64)
	}
}

// append adds the ids of the set to dst, ascending.
func (p *posting) append(dst []ID) []ID {
	dst = append(dst, p.ids...)
	for i := range p.chunks {
		c := &p.chunks[i]
		high := ID(c.high) << 16
		for _, low := range c.list {
			dst = append(dst, high|ID(low))
		}
		if c.set == nil {
			continue
		}
		for w, word := range c.set {
			for ; word != 0; word &= word - 1 {
				dst = append(dst, high|ID(w*64+bits.TrailingZeros64(word)))
			}
		}
	}
	return dst
}

// insert gives a list with x in its place; readers of the old one see no change.
func insert[T ID | uint16](list []T, x T) []T {
	if n := len(list); n == 0 || list[n-1] < x {
		return append(list, x)
	}
	i, _ := slices.BinarySearch(list, x)
	out := make([]T, 0, len(list)+1+len(list)/4)
	return append(append(append(out, list[:i]...), x), list[i:]...)
}

// without gives a copy of list that lacks x.
func without[T ID | uint16](list []T, x T) []T {
	i, ok := slices.BinarySearch(list, x)
	if !ok {
		return list
	}
	return append(append(make([]T, 0, len(list)), list[:i]...), list[i+1:]...)
}
