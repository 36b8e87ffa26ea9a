package store

import (
	"bytes"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// maxWorkers is how many goroutines read content at a start at most: beyond that the memory is
// the limit.
const maxWorkers = 8

// maxParts is how many parts content is cut into for them at most, so that none waits long for the last:
// to begin with one takes 0.1 ms.
const maxParts = 512

// shareFrom is from how many entries on a claim's content is cut, and how many a part of it is to
// have: few are read sooner than that is thought of.
const shareFrom = 4096

// Workers is how many goroutines EntriesShared uses at most.
func Workers() int { return min(runtime.GOMAXPROCS(0), maxWorkers) }

// part is a range of content keys, from is in it and to is not; nil to: no end. It holds whole entries.
type part struct{ from, to []byte }

// parts cuts the content whose keys begin with prefix: where badger's tables begin and end, since
// those tell how keys are spread, and where UUIDs do by their first byte, since there may be one table.
func (s *Store) parts(prefix []byte, counts map[uint32]uint64) []part {
	var cuts [][]byte
	for _, t := range s.db.Tables() {
		for _, key := range [][]byte{t.Left, t.Right} {
			if len(key) >= contentKeyLen && bytes.HasPrefix(key, prefix) {
				cuts = append(cuts, bytes.Clone(key[:entryKeyLen]))
			}
		}
	}
	for claim, n := range counts {
		n = sharesOf(n)
		for i := uint64(1); i < n; i++ {
			cuts = append(cuts, entryPrefix(nil, claim, dit.UUID{byte(i * 256 / n)}))
		}
	}
	slices.SortFunc(cuts, bytes.Compare)
	cuts = slices.CompactFunc(cuts, bytes.Equal)
	out := []part{{from: prefix}}
	step := (len(cuts) + maxParts - 1) / maxParts
	for i := 0; i < len(cuts); i += step {
		out[len(out)-1].to = cuts[i]
		out = append(out, part{from: cuts[i]})
	}
	return out
}

// sharesOf is into how many parts a claim of so many entries is cut by their UUIDs.
func sharesOf(count uint64) uint64 { return max(min(count/shareFrom, 256), 1) }

// share calls fn for each part, by several goroutines at a time, each of which has a number. No
// part is begun after an error; the error of the first such part is returned.
func share(n int, fn func(worker, part int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		wg     sync.WaitGroup
		errs   = make([]error, n)
	)
	for worker := range min(Workers(), n) {
		wg.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[i] = fn(worker, i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// walkPart is walk within a part.
func walkPart(txn *badger.Txn, prefix []byte, p part, state func(uint32) *claimState, fn func(*content) error) error {
	it := newIterator(txn, prefix)
	defer it.Close()
	return walkTo(it, prefix, p.from, p.to, state, fn)
}

// EntriesShared is Entries by up to Workers goroutines at a time: fn is told which of them, from 0 on, calls
// it. Those of one are in no order over all.
func (s *Store) EntriesShared(claim uint32, fn func(worker int, it Item) error) error {
	s.reading.RLock()
	defer s.reading.RUnlock()
	state, v, err := s.snapshot(claim)
	if err != nil {
		return err
	}
	defer s.release(v)
	if state == nil {
		return nil
	}
	if ok, err := s.fromRoll(&state.claimState, claim, v.meta.redated, fn); ok {
		return err
	}
	prefix := contentPrefix(claim)
	parts := []part{{from: prefix}}
	if state.count >= shareFrom {
		parts = s.parts(prefix, map[uint32]uint64{claim: state.count})
	}
	return share(len(parts), func(worker, i int) error {
		return walkPart(v.txn, prefix, parts[i], func(uint32) *claimState { return &state.claimState }, func(r *content) error {
			return s.give(r, &state.claimState, v.meta.redated, func(it Item) error { return fn(worker, it) })
		})
	})
}

// give calls fn for a record that is a live entry, and notes one that is corrupt.
func (s *Store) give(r *content, state *claimState, redated dit.CSN, fn func(Item) error) error {
	switch r.verdict {
	case corrupt:
		s.markDamaged(r.Key)
	case live:
		item, ok := state.item(r, redated)
		if !ok {
			s.markDamaged(r.Key)
			return nil
		}
		return fn(item)
	}
	return nil
}
