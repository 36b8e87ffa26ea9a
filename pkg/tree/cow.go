package tree

import "slices"

// cow is an array in pages of type P that versions share. A Builder copies a
// page, and the list of pages, before its first write to it; what it owns it
// writes in place, so that a bulk load is linear.
type cow[P any] struct {
	pages []*P
	owned []uint64 // a bit a page; nil: not even the list is ours
}

// own gives page i for writing.
func (c *cow[P]) own(i int) *P {
	c.ownList()
	word, bit := i>>6, uint64(1)<<(i&63)
	if c.owned[word]&bit == 0 {
		p := new(P)
		*p = *c.pages[i]
		c.pages[i] = p
		c.owned[word] |= bit
	}
	return c.pages[i]
}

// push adds an empty page, owned.
func (c *cow[P]) push() {
	c.ownList()
	i := len(c.pages)
	c.pages = append(c.pages, new(P))
	if i>>6 == len(c.owned) {
		c.owned = append(c.owned, 0)
	}
	c.owned[i>>6] |= 1 << (i & 63)
}

func (c *cow[P]) ownList() {
	if c.owned == nil {
		c.pages = slices.Clone(c.pages)
		c.owned = make([]uint64, len(c.pages)/64+1)
	}
}

// settle gives up ownership: what stands here is published.
func (c *cow[P]) settle() { c.owned = nil }
