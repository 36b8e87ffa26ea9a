package tree

// postingBit marks a reference in the index's table that is the number of a
// posting; without it, it is the only id with that key.
const postingBit = 1 << 31

const postingsPerPage = 128

type postingPage [postingsPerPage]posting

// index leads from keys to the entries that have them.
type index struct {
	keys     table
	postings cow[postingPage]
	high     uint32 // number of postings in use or free
	free     uint32 // first free posting + 1, linked by count; 0: none
}

func (x *index) init() {
	x.keys.init(1)
	x.postings.push()
}

func (x *index) settle() {
	x.keys.settle()
	x.postings.settle()
}

func (x *index) posting(n uint32) *posting {
	return &x.postings.pages[n/postingsPerPage][n%postingsPerPage]
}

func (x *index) edit(n uint32) *posting {
	return &x.postings.own(int(n / postingsPerPage))[n%postingsPerPage]
}

// count tells how many entries have a key.
func (x *index) count(key uint32) int {
	ref := x.keys.first(key)
	switch {
	case ref == 0:
		return 0
	case ref&postingBit == 0:
		return 1
	}
	return int(x.posting(ref &^ postingBit).count)
}

// append adds the ids that have a key, ascending.
func (x *index) append(dst []ID, key uint32) []ID {
	ref := x.keys.first(key)
	switch {
	case ref == 0:
		return dst
	case ref&postingBit == 0:
		return append(dst, ID(ref))
	}
	return x.posting(ref &^ postingBit).append(dst)
}

// add notes that id has key; it did not.
func (x *index) add(key uint32, id ID, epoch uint64) {
	ref := x.keys.first(key)
	switch {
	case ref == 0:
		x.keys.insert(key, uint32(id))
	case ref&postingBit != 0:
		x.edit(ref&^postingBit).add(id, epoch)
	default:
		n := x.alloc()
		p := x.edit(n)
		*p = posting{}
		p.add(ID(ref), epoch)
		p.add(id, epoch)
		x.keys.replace(key, ref, n|postingBit)
	}
}

// remove notes that id no longer has key.
func (x *index) remove(key uint32, id ID, epoch uint64) {
	ref := x.keys.first(key)
	switch {
	case ref == 0:
	case ref&postingBit == 0:
		if ref == uint32(id) {
			x.keys.remove(key, ref)
		}
	default:
		n := ref &^ postingBit
		p := x.edit(n)
		p.remove(id, epoch)
		if p.count == 0 {
			x.keys.remove(key, ref)
			*p = posting{count: x.free}
			x.free = n + 1
		}
	}
}

func (x *index) alloc() uint32 {
	if n := x.free; n != 0 {
		x.free = x.posting(n - 1).count
		return n - 1
	}
	n := x.high
	x.high++
	if int(n/postingsPerPage) == len(x.postings.pages) {
		x.postings.push()
	}
	return n
}

// change changes an entry's keys from before to after, both ascending.
func (x *index) change(id ID, before, after []uint32, epoch uint64) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0] < after[0]:
			x.remove(before[0], id, epoch)
			before = before[1:]
		case len(before) == 0 || after[0] < before[0]:
			x.add(after[0], id, epoch)
			after = after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
}
