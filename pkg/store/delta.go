package store

import (
	"bytes"
	"context"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// computeStep is how many entries are looked up between two looks at the
// context: some milliseconds.
const computeStep = 1024

// compute brings the stage's delta up to its fresh marks. It begins anew if the
// claim's live content was edited since. Called with mu held; after an error it
// may be called again.
func (st *Stage) compute(ctx context.Context, txn *badger.Txn, c *claimState, edits uint64) error {
	if !st.delta.valid || st.delta.edits != edits {
		st.fresh = append(st.marks, st.fresh...)
		st.marks, st.delta = nil, delta{}
	} else if len(st.fresh) == 0 {
		return nil
	}
	st.fresh = lastOfEach(st.fresh)
	d := st.delta
	d.edits, d.valid = edits, true
	it := newIterator(txn, contentPrefix(st.claim))
	defer it.Close()
	added := make([]mark, 0, len(st.fresh))
	var prefix []byte
	for i, m := range st.fresh {
		if i%computeStep == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		stale := false
		if before, known := st.marked(m.id); known {
			d.take(st.gen, before, -1)
			stale = !before.deleted() && m.deleted()
		} else {
			added = append(added, m)
			prefix = entryPrefix(prefix[:0], st.claim, m.id)
			var err error
			if stale, err = d.replace(it, prefix, c); err != nil {
				return err
			}
			stale = stale || m.deleted()
		}
		if stale {
			d.stale = append(d.stale, m.id)
		}
		d.take(st.gen, &m, 1)
	}
	for i := range st.fresh {
		if before, known := st.marked(st.fresh[i].id); known {
			*before = st.fresh[i]
		}
	}
	st.marks, st.fresh, st.delta = mergeMarks(st.marks, added), nil, d
	st.delta.put, st.delta.highest = ordinals(st.marks)
	return nil
}

// marked finds an entry among the marks that are counted.
func (st *Stage) marked(id dit.UUID) (*mark, bool) {
	at, known := slices.BinarySearchFunc(st.marks, id, func(m mark, id dit.UUID) int { return bytes.Compare(m.id[:], id[:]) })
	if !known {
		return nil, false
	}
	return &st.marks[at], true
}

// take adds what a mark brings, or takes it away again (n is -1).
func (d *delta) take(gen uint32, m *mark, n int64) {
	if !m.deleted() {
		d.count += n
		d.sum ^= fingerprint(m.id, gen, m.stamp())
	}
}

// replace takes away what there is live of the entry with that prefix; old
// tells whether there are any records of it, which the commit leaves to be swept.
func (d *delta) replace(it *badger.Iterator, prefix []byte, c *claimState) (old bool, err error) {
	if c.gen == 0 && c.count == 0 {
		return false, nil
	}
	err = walk(it, prefix, prefix, func(uint32) *claimState { return c }, func(r *content) error {
		old = old || r.verdict != ahead
		if r.verdict == live {
			d.count--
			d.sum ^= r.fingerprint()
		}
		return nil
	})
	return old, err
}

// ordinals tells whether marks put anything with an ordinal, and the highest.
func ordinals(marks []mark) (put bool, highest uint32) {
	for i := range marks {
		if n, ok := marks[i].ordinal(); ok {
			put, highest = true, max(highest, n)
		}
	}
	return put, highest
}

// lastOfEach sorts marks by UUID and keeps the last of each.
func lastOfEach(marks []mark) []mark {
	slices.SortStableFunc(marks, func(a, b mark) int { return bytes.Compare(a.id[:], b.id[:]) })
	kept := marks[:0]
	for i, m := range marks {
		if i+1 == len(marks) || marks[i+1].id != m.id {
			kept = append(kept, m)
		}
	}
	return kept
}

// mergeMarks merges b into a; both are sorted and no entry is in both.
func mergeMarks(a, b []mark) []mark {
	if len(a) == 0 {
		return b
	}
	i, j := len(a)-1, len(b)-1
	a = append(a, b...)
	for at := len(a) - 1; j >= 0; at-- {
		if i >= 0 && bytes.Compare(a[i].id[:], b[j].id[:]) > 0 {
			a[at] = a[i]
			i--
		} else {
			a[at] = b[j]
			j--
		}
	}
	return a
}

// idsOf lists the entries of marks; an entry may be there more than once.
func idsOf(lists ...[]mark) (ids []dit.UUID) {
	for _, marks := range lists {
		for i := range marks {
			ids = append(ids, marks[i].id)
		}
	}
	return ids
}
