package tree

import (
	"hash/maphash"

	"shaft/pkg/dit"
)

// slotsPerPage makes a page of 8 KiB: small to copy, few to list.
const slotsPerPage = 1024

// growLeast places, 512 KiB, or as many as there are if those are fewer, are what a table grows by at least.
const growLeast = 64 * slotsPerPage

// slot is one place of a table; ref 0 is empty.
type slot struct{ hash, ref uint32 }

type slotPage [slotsPerPage]slot

// table is a hash table with linear probing in copy-on-write pages. It keeps
// the whole hash beside each reference, so that growing and removing look at
// nothing else; what a reference stands for is the caller's to verify. Removal
// shifts back what follows: there are no tombstones.
//
// All slots in use stand in the order of their hashes, whatever number of places there is: a search ends at a hash
// that is greater, so that four fifths may be in use, and a large table grows by a quarter, copied from one end to the other.
// Behind the places where searches begin are some for what was shifted there; the last slot of all is empty.
type table struct {
	slots  cow[slotPage]
	homes  uint32 // number of places where searches begin
	n      int
	warmed uint32 // of no meaning
}

// init makes an empty table of so many places, in whole pages.
func (t *table) init(places int) {
	pages := max(places+slotsPerPage-1, slotsPerPage) / slotsPerPage
	t.slots = cow[slotPage]{}
	for range pages + 1 {
		t.slots.push()
	}
	t.homes, t.n = uint32(pages*slotsPerPage), 0
}

func (t *table) settle() { t.slots.settle() }

func (t *table) at(i uint32) slot { return t.slots.pages[i/slotsPerPage][i%slotsPerPage] }

func (t *table) set(i uint32, s slot) {
	t.slots.own(int(i / slotsPerPage))[i%slotsPerPage] = s
	if int(i+1) == len(t.slots.pages)*slotsPerPage {
		t.slots.push()
	}
}

// home is the place where a search for hash begins.
func (t *table) home(hash uint32) uint32 { return uint32(uint64(hash) * uint64(t.homes) >> 32) }

// probe finds the first slot with hash at place i or after it; ref is 0 when
// there is none. A search begins at home, and goes on behind what it got.
func (t *table) probe(hash, i uint32) (at, ref uint32) {
	for ; ; i++ {
		s := t.at(i)
		if s.ref == 0 || s.hash > hash {
			return i, 0
		}
		if s.hash == hash {
			return i, s.ref
		}
	}
}

// first is the reference of the first slot with hash, 0 when there is none.
func (t *table) first(hash uint32) (ref uint32) {
	_, ref = t.probe(hash, t.home(hash))
	return ref
}

// warm touches the slot where a search for hash begins. Who does so for many before the first is looked for waits for
// memory once for several, and not each time.
func (t *table) warm(hash uint32) { t.warmed += t.at(t.home(hash)).ref }

// insert adds a reference; the same one must not be there.
func (t *table) insert(hash, ref uint32) {
	if places := int(t.homes); t.n >= places/5*4 {
		t.grow(places + max(places/4, min(places, growLeast)))
	}
	t.n++
	i := t.home(hash)
	for s := t.at(i); s.ref != 0 && s.hash <= hash; s = t.at(i) {
		i++
	}
	for s := (slot{hash, ref}); s.ref != 0; i++ {
		next := t.at(i)
		t.set(i, s)
		s = next
	}
}

// reserve makes room for n more at once.
func (t *table) reserve(n int) {
	if places := (t.n + n + 3) / 4 * 5; places > int(t.homes) {
		t.grow(places)
	}
}

func (t *table) grow(places int) {
	old, n := t.slots.pages, t.n
	t.init(places)
	t.n = n
	next := uint32(0)
	for _, page := range old {
		for _, s := range page {
			if s.ref != 0 {
				i := max(next, t.home(s.hash))
				t.set(i, s)
				next = i + 1
			}
		}
	}
}

// locate finds the slot of one reference.
func (t *table) locate(hash, ref uint32) (uint32, bool) {
	for i := t.home(hash); ; i++ {
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
	i, ok := t.locate(hash, ref)
	if !ok {
		return
	}
	t.n--
	for {
		s := t.at(i + 1)
		if s.ref == 0 || t.home(s.hash) == i+1 {
			break
		}
		t.set(i, s)
		i++
	}
	t.set(i, slot{})
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
