package store

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// partStore has two claims in many tables, some entries in several generations, some deleted.
func partStore(t *testing.T) *Store {
	t.Helper()
	s := open(t, t.TempDir(), Options{})
	const n = 2 * shareFrom
	csn := dit.CSN(1)
	for _, claim := range []uint32{1, 2, 1} {
		if err := s.CommitStage(stageMany(t, s, claim, n, 200), []byte("cookie"), "", csn, &Batch{CSN: csn + n}); err != nil {
			t.Fatal(err)
		}
		csn += n + 1
	}
	gone := &Batch{CSN: csn}
	for i := range 100 {
		gone.Deletes = append(gone.Deletes, Key{Claim: 1, UUID: scattered(i * 7)})
	}
	commit(t, s, gone)
	return s
}

// Parts hold every key once, and no entry in two.
func TestParts(t *testing.T) {
	s := reopen(t, partStore(t))
	if err := s.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prefix []byte
		counts map[uint32]uint64
		least  int
	}{
		{[]byte{kindContent}, map[uint32]uint64{1: 3 * shareFrom, 2: 2 * shareFrom, 9: 5}, 4},
		{[]byte{kindContent}, map[uint32]uint64{1: 1 << 40, 2: 1 << 40, 3: 1 << 40, 4: 1 << 40}, maxParts / 2},
		{contentPrefix(1), map[uint32]uint64{1: 1 << 20}, 256},
		{contentPrefix(2), map[uint32]uint64{2: 4 * shareFrom}, 4},
		{contentPrefix(3), nil, 1},
	} {
		prefix := c.prefix
		parts := s.parts(prefix, c.counts)
		if len(parts) < c.least || len(parts) > maxParts+1 {
			t.Errorf("%d parts below %x", len(parts), prefix)
		}
		if !bytes.Equal(parts[0].from, prefix) || parts[len(parts)-1].to != nil {
			t.Errorf("parts of %x begin at %x and end before %x", prefix, parts[0].from, parts[len(parts)-1].to)
		}
		for i := 1; i < len(parts); i++ {
			if len(parts[i].from) != entryKeyLen || !bytes.Equal(parts[i-1].to, parts[i].from) || bytes.Compare(parts[i-1].from, parts[i].from) >= 0 {
				t.Errorf("part %d of %x is %x, the one before %x", i, prefix, parts[i], parts[i-1])
			}
		}
	}
}

// What several goroutines read together is what one reads.
func TestEntriesShared(t *testing.T) {
	s := partStore(t)
	for range 2 { // with what is in memory, and from tables alone
		for _, claim := range []uint32{1, 2, 3} {
			var mu sync.Mutex
			got := map[dit.UUID]string{}
			err := s.EntriesShared(claim, func(worker int, it Item) error {
				mu.Lock()
				defer mu.Unlock()
				if worker < 0 || worker >= Workers() {
					t.Errorf("worker %d of %d", worker, Workers())
				}
				if _, twice := got[it.UUID]; twice {
					t.Errorf("entry %x came twice", it.UUID)
				}
				got[it.UUID] = shown(it)
				return nil
			})
			if want := entries(t, s, claim); err != nil || !maps.Equal(got, want) {
				t.Fatalf("claim %d: %d entries together, %d by one, %v", claim, len(got), len(want), err)
			}
		}
		s = reopen(t, s)
	}
	wrong := errors.New("wrong")
	var calls atomic.Int64
	if err := s.EntriesShared(1, func(int, Item) error { calls.Add(1); return wrong }); err != wrong || calls.Load() > int64(Workers()) {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	s.Close()
	if err := s.EntriesShared(1, func(int, Item) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}

// An unreadable record makes its claim damaged, whoever meets it; at a start it is removed with
// what it hides, wherever the parts begin.
func TestPartsDamaged(t *testing.T) {
	s := reopen(t, partStore(t))
	s.Unroll()
	parts := s.parts(contentPrefix(1), map[uint32]uint64{1: 2 * shareFrom})
	if len(parts) < 2 {
		t.Fatal("one part")
	}
	var broken []dit.UUID
	for _, p := range parts[1:] { // the first entry of each
		var k Key
		err := s.db.Update(func(txn *badger.Txn) error {
			it := newIterator(txn, contentPrefix(1))
			it.Seek(p.from)
			if !it.ValidForPrefix(contentPrefix(1)) {
				it.Close()
				return nil
			}
			key := it.Item().KeyCopy(nil)
			it.Close()
			k, _ = parseContentKey(key)
			broken = append(broken, k.UUID)
			return txn.Set(key, []byte("rubbish"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	commit(t, s, &Batch{CSN: s.LastCSN() + 1}) // readers see it then
	have := claimOf(s, 1).Count
	var n atomic.Int64
	if err := s.EntriesShared(1, func(_ int, it Item) error {
		if slices.Contains(broken, it.UUID) {
			t.Errorf("entry %x came, which cannot be read", it.UUID)
		}
		n.Add(1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if int(n.Load()) != have-len(broken) || !claimOf(s, 1).Damaged || claimOf(s, 2).Damaged {
		t.Errorf("%d of %d entries came, %d are broken; %+v", n.Load(), have, len(broken), claimOf(s, 1))
	}
	s = reopen(t, s)
	if c := claimOf(s, 1); !c.Damaged || c.Count != have-len(broken) || c.Cookie != nil || len(entries(t, s, 1)) != c.Count {
		t.Errorf("after a start: %+v", c)
	}
	if c := claimOf(s, 2); c.Damaged || string(c.Cookie) != "cookie" {
		t.Errorf("the other claim: %+v", c)
	}
}

// Every part is done once; after an error none is begun.
func TestShare(t *testing.T) {
	for _, n := range []int{0, 1, 3, 1000} {
		done := make([]atomic.Int64, n)
		if err := share(n, func(worker, i int) error { done[i].Add(1); return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range done {
			if done[i].Load() != 1 {
				t.Errorf("part %d of %d was done %d times", i, n, done[i].Load())
			}
		}
	}
	wrong := errors.New("wrong")
	var begun atomic.Int64
	err := share(1000, func(_, i int) error {
		begun.Add(1)
		if i >= 10 {
			return wrong
		}
		return nil
	})
	if err != wrong || begun.Load() > int64(10+Workers()) {
		t.Errorf("%d parts begun, %v", begun.Load(), err)
	}
}
