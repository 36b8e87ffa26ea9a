package engine

import (
	"cmp"
	"hash/maphash"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// staged is an entry that is new or changed.
type staged struct {
	id         dit.UUID
	ref        tree.Ref // in the refresh's pack; of a hidden one where its normal form begins in norms
	hash       uint64
	dn, parent uint64 // of the normal forms, see hashDN
	normLen    int32
	rdnNormLen int32
	ordinal    uint32
	depth      uint16
	hidden     bool
	late       bool
	dead       bool // the same entry came again, or was deleted
}

// stagedSeed makes it hard to find DNs and UUIDs that share a place.
var stagedSeed = maphash.MakeSeed()

// hashDN is by what staged entries are found: of a DN's normal form.
func hashDN(norm []byte) uint64 { return maphash.Bytes(stagedSeed, norm) }

// stagedChunk is how many entries a stagedList makes room for at once: a list that grows as one piece is
// copied over and over, and leaves four times itself as garbage.
const stagedChunk = 1024

// stagedList holds what was staged, by number from 0 on, and finds it by UUID and by DN. The zero list is empty.
type stagedList struct {
	chunks   [][]staged
	n        int
	ids, dns finder
}

// at gives entry i; good until the next add.
func (l *stagedList) at(i int) *staged { return &l.chunks[i/stagedChunk][i%stagedChunk] }

// add appends an entry, which is found from now on instead of others with its UUID or its DN.
func (l *stagedList) add(it staged) {
	i := l.n
	if i%stagedChunk == 0 {
		room := stagedChunk
		if i == 0 {
			room = 0 // most refreshes bring little
		}
		l.chunks = append(l.chunks, make([]staged, 0, room))
	}
	last := &l.chunks[i/stagedChunk]
	*last = append(*last, it)
	l.n++
	l.ids.set(hashID(it.id), i, func(other int) bool { return l.at(other).id == it.id })
	l.dns.set(uint32(it.dn), i, func(other int) bool { return l.at(other).dn == it.dn })
}

// sorted lists the entries that are not dead, stably.
func (l *stagedList) sorted(compare func(a, b *staged) int) []int32 {
	order := make([]int32, 0, l.n)
	for i := range l.n {
		if !l.at(i).dead {
			order = append(order, int32(i))
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compare(l.at(int(a)), l.at(int(b))) })
	return order
}

// byOrdinal is the order in which what was staged is dated.
func byOrdinal(a, b *staged) int { return cmp.Compare(a.ordinal, b.ordinal) }

func hashID(id dit.UUID) uint32 { return uint32(maphash.Bytes(stagedSeed, id[:])) }

// byID finds the entry with a UUID, as it was added last; ok is false for one that is dead.
func (l *stagedList) byID(id dit.UUID) (i int, ok bool) {
	i, ok = l.ids.find(hashID(id), func(i int) bool { return l.at(i).id == id })
	return i, ok && !l.at(i).dead
}

// byDN finds the entry that was added last with a DN, dead or not.
func (l *stagedList) byDN(dn uint64) (i int, ok bool) {
	return l.dns.find(uint32(dn), func(i int) bool { return l.at(i).dn == dn })
}

// finder is a table of numbers with linear probing. It keeps a hash beside each, so that growing
// looks at nothing else; what a number stands for is the caller's to compare.
type finder struct {
	slots []finderSlot // none at first, then a power of two
	n     int
}

// finderSlot is one place: a number and 1, or 0 where it is empty.
type finderSlot struct{ hash, next uint32 }

// minFinder is the room that a table begins with.
const minFinder = 16

// find gives the number with a hash for which is says yes.
func (t *finder) find(hash uint32, is func(int) bool) (i int, ok bool) {
	if t.n == 0 {
		return 0, false
	}
	at := t.probe(hash, is)
	return int(t.slots[at].next) - 1, t.slots[at].next != 0
}

// set puts a number in, in the place of the one for which is says yes.
func (t *finder) set(hash uint32, i int, is func(int) bool) {
	if t.n >= len(t.slots)/5*4 {
		t.grow()
	}
	at := t.probe(hash, is)
	if t.slots[at].next == 0 {
		t.n++
	}
	t.slots[at] = finderSlot{hash, uint32(i) + 1}
}

// probe gives the place of the number for which is says yes, or the empty one where it would go.
func (t *finder) probe(hash uint32, is func(int) bool) uint32 {
	mask := uint32(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s.next == 0 || s.hash == hash && is(int(s.next)-1) {
			return at
		}
	}
}

func (t *finder) grow() {
	old := t.slots
	t.slots = make([]finderSlot, max(minFinder, 2*len(old)))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.next == 0 {
			continue
		}
		at := s.hash & mask
		for t.slots[at].next != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = s
	}
}
