package tree

import (
	"hash/maphash"

	"shaft/pkg/dit"
)

// slotsPerPage makes a page of 8 KiB: small to copy, few to list.
const (
	slotsPerPage = 1024
	minSlots     = slotsPerPage
)

// slot is one place of a table; ref 0 is empty.
type slot struct{ hash, ref uint32 }

type slotPage [slotsPerPage]slot

// table is a hash table with linear probing in copy-on-write pages. It keeps
// the whole hash beside each reference, so that growing and removing look at
// nothing else; what a reference stands for is the caller's to verify. Removal
// shifts back what follows: there are no tombstones.
type table struct {
	slots  cow[slotPage]
	mask   uint32 // number of slots - 1
	n      int
	warmed uint32 // of no meaning
}

func (t *table) init(slots int) {
	t.slots = cow[slotPage]{}
	for range slots / slotsPerPage {
		t.slots.push()
	}
	t.mask, t.n = uint32(slots-1), 0
}

func (t *table) settle() { t.slots.settle() }

func (t *table) at(i uint32) slot { return t.slots.pages[i/slotsPerPage][i%slotsPerPage] }

func (t *table) set(i uint32, s slot) {
	t.slots.own(int(i / slotsPerPage))[i%slotsPerPage] = s
}

// probe finds the first slot with hash at place i or after it; ref is 0 when
// there is none. A search begins with i = hash and goes on behind what it got.
func (t *table) probe(hash, i uint32) (at, ref uint32) {
	for i &= t.mask; ; i = (i + 1) & t.mask {
		s := t.at(i)
		if s.ref == 0 || s.hash == hash {
			return i, s.ref
		}
	}
}

// warm touches the slot where a search for hash begins. Who does so for many before the first is looked for waits for
// memory once for several, and not each time.
func (t *table) warm(hash uint32) { t.warmed += t.at(hash & t.mask).ref }

// insert adds a reference; the same one must not be there.
func (t *table) insert(hash, ref uint32) {
	if slots := int(t.mask) + 1; t.n >= slots/5*4 {
		t.grow(2 * slots)
	}
	t.n++
	t.put(slot{hash, ref})
}

// reserve makes room for n more at once.
func (t *table) reserve(n int) {
	slots := int(t.mask) + 1
	for t.n+n > slots/5*4 {
		slots *= 2
	}
	if slots > int(t.mask)+1 {
		t.grow(slots)
	}
}

func (t *table) put(s slot) {
	i := s.hash & t.mask
	for t.at(i).ref != 0 {
		i = (i + 1) & t.mask
	}
	t.set(i, s)
}

func (t *table) grow(slots int) {
	old := t.slots.pages
	n := t.n
	t.init(slots)
	t.n = n
	for _, page := range old {
		for _, s := range page {
			if s.ref != 0 {
				t.put(s)
			}
		}
	}
}

// locate finds the slot of one reference.
func (t *table) locate(hash, ref uint32) (uint32, bool) {
	for i := hash; ; i++ {
		at, r := t.probe(hash, i)
		if r == ref || r == 0 {
			return at, r != 0
		}
		i = at
	}
}

// replace puts another reference in the place of one that is there.
func (t *table) replace(hash, ref, by uint32) {
	if i, ok := t.locate(hash, ref); ok {
		t.set(i, slot{hash, by})
	}
}

func (t *table) remove(hash, ref uint32) {
	hole, ok := t.locate(hash, ref)
	if !ok {
		return
	}
	t.n--
	for i := (hole + 1) & t.mask; ; i = (i + 1) & t.mask {
		s := t.at(i)
		if s.ref == 0 {
			break
		}
		if (i-s.hash)&t.mask >= (i-hole)&t.mask {
			t.set(hole, s)
			hole = i
		}
	}
	t.set(hole, slot{})
}

// seed makes the places in all tables of this process hard to guess.
var seed = maphash.MakeSeed()

func mix(x uint64) uint32 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return uint32(x ^ x>>32)
}

func rdnHash(norm []byte) uint32 { return uint32(maphash.Bytes(seed, norm)) }

func childHash(parent ID, rdn uint32) uint32 { return mix(uint64(parent)<<32 | uint64(rdn)) }

// uuidHash does not trust that a source made its UUIDs at random.
func uuidHash(u dit.UUID) uint32 {
	return uint32(maphash.Bytes(seed, u[:]))
}
