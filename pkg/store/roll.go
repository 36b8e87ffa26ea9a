package store

import (
	"cmp"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// roll is where the entries lie that Open has counted: who reads a claim's content then finds it without another walk,
// and reads it in the order in which it was changed, which is about the order of the files of values: memory that is read
// from end to end comes faster. Nothing may write to the value log while it is there, since badger may then move the file
// that it writes to in memory, nor change content. It has next to no pointers, for collections of garbage come while it is read.
type roll struct {
	lists []*rollList      // in order of claims
	it    *badger.Iterator // keeps the files of values mapped
	v     *view
}

// rollList is what of a claim lies in one part of the count.
type rollList struct {
	claim   uint32
	entries []rolled
	copies  []byte         // of values that lie in no file of values
	anchor  unsafe.Pointer // into one of these files: where others lie is counted from it
}

// rolled is a live entry.
type rolled struct {
	id     dit.UUID
	csn    dit.CSN
	at     int // of what badger has: in copies, or counted from the anchor
	size   uint32
	gen    uint32
	copied bool
}

// rollCopies is how many bytes a roll may hold copies of: most small values, and what was not staged. With more of
// them there is no roll.
const rollCopies = 32 << 20

// rollChunk is how many entries in their order one goroutine reads.
const rollChunk = 4096

// rolling counts what a roll that is being made holds of copies.
type rolling struct {
	limit  int64
	copied atomic.Int64
}

func (r *rolling) over() bool { return r.copied.Load() > r.limit }

// expect makes room for what one part has of a claim's entries, if their UUIDs are spread evenly: lists that grow are
// copied over and over.
func (l *rollList) expect(count uint64) {
	n := count / sharesOf(count)
	l.entries = make([]rolled, 0, min(n+n/8, 2*shareFrom))
}

// add enters a live record.
func (l *rollList) add(r *rolling, c *content, csn dit.CSN) {
	if r.over() {
		l.entries, l.copies = nil, nil
		return
	}
	e := rolled{id: c.UUID, csn: csn, size: uint32(len(c.stored)), gen: c.Gen}
	if c.mapped == nil {
		r.copied.Add(int64(len(c.stored)))
		e.at, e.copied = len(l.copies), true
		l.copies = append(l.copies, c.stored...)
	} else {
		lies := unsafe.Pointer(unsafe.SliceData(c.mapped))
		if l.anchor == nil {
			l.anchor = lies
		}
		e.at = int(uintptr(lies) - uintptr(l.anchor))
	}
	l.entries = append(l.entries, e)
}

// stored is what badger has of an entry, with its checksum.
func (l *rollList) stored(e *rolled) []byte {
	if e.copied {
		return l.copies[e.at:][:e.size]
	}
	return unsafe.Slice((*byte)(unsafe.Add(l.anchor, e.at)), e.size)
}

// keepRoll keeps what the parts of a count have entered until Unroll.
func (s *Store) keepRoll(r *rolling, v *view, it *badger.Iterator, parts []partCensus) {
	kept := &roll{it: it, v: v}
	for i := range parts {
		kept.lists = append(kept.lists, parts[i].rolled...)
	}
	s.rollMu.Lock()
	s.roll = kept
	s.rollMu.Unlock()
	if r.over() {
		s.Unroll()
	}
}

// Unroll gives back what Open has kept so that content is read soon afterwards. Whatever writes content does so too.
func (s *Store) Unroll() {
	s.rollMu.Lock()
	defer s.rollMu.Unlock()
	if s.roll != nil {
		s.roll.it.Close()
		s.release(s.roll.v)
		s.roll = nil
	}
}

// rollRank is what entries of a roll are ordered by.
type rollRank struct {
	csn     dit.CSN
	list, i uint32
}

// order gives a claim's entries in the order of their CSNs.
func (r *roll) order(claim uint32) []rollRank {
	from, _ := slices.BinarySearchFunc(r.lists, claim, func(l *rollList, claim uint32) int { return cmp.Compare(l.claim, claim) })
	n, to := 0, from
	for ; to < len(r.lists) && r.lists[to].claim == claim; to++ {
		n += len(r.lists[to].entries)
	}
	all := make([]rollRank, 0, n)
	for at := from; at < to; at++ {
		for i, e := range r.lists[at].entries {
			all = append(all, rollRank{e.csn, uint32(at), uint32(i)})
		}
	}
	slices.SortFunc(all, func(a, b rollRank) int { return cmp.Compare(a.csn, b.csn) })
	return all
}

// fromRoll is EntriesShared where there is a roll; ok is false where there is none.
func (s *Store) fromRoll(state *claimState, claim uint32, redated dit.CSN, fn func(worker int, it Item) error) (ok bool, err error) {
	s.rollMu.RLock()
	defer s.rollMu.RUnlock()
	if s.roll == nil {
		return false, nil
	}
	lists := s.roll.lists
	chunks := slices.Collect(slices.Chunk(s.roll.order(claim), rollChunk))
	return true, share(len(chunks), func(worker, i int) error {
		var (
			c   content
			key []byte
		)
		for _, r := range chunks[i] {
			l := lists[r.list]
			e := &l.entries[r.i]
			c = content{Key: Key{claim, e.id, e.gen}, room: c.room}
			key = contentKey(key[:0], c.Key)
			c.read(key, l.stored(e))
			if err := s.give(&c, state, redated, func(it Item) error { return fn(worker, it) }); err != nil {
				return err
			}
		}
		return nil
	})
}
