package store

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"shaft/pkg/dit"
)

// atZero is a clock for stores whose change log shall begin at CSN 0.
func atZero() time.Time { return time.UnixMicro(0) }

func open(tb testing.TB, dir string, o Options) *Store {
	tb.Helper()
	if o.Now == nil {
		o.Now = atZero
	}
	s, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// reopen closes a store, after its sweeper is done, and opens it again.
func reopen(tb testing.TB, s *Store) *Store {
	tb.Helper()
	s.sweeper.await()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return open(tb, s.dir, s.opts)
}

// closeUntaken closes a store whose badger lacks what the file redo has, which that tells.
func closeUntaken(tb testing.TB, s *Store) {
	tb.Helper()
	if err := s.Close(); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "in the file redo alone") {
		tb.Fatalf("closed with %v", err)
	}
}

func commit(tb testing.TB, s *Store, b *Batch) {
	tb.Helper()
	if err := s.Commit(b); err != nil {
		tb.Fatal(err)
	}
	taken(s)
}

// taken waits until badger has all that is acknowledged, for tests that look inside.
func taken(s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
}

// shown is an entry as text: generation, CSN, value.
func shown(it Item) string { return fmt.Sprintf("%d/%d/%.40s", it.Gen, it.CSN, it.Value) }

// entries reads a claim by UUID, checks that Entry gives the same and that the
// claim's count agrees.
func entries(tb testing.TB, s *Store, claim uint32) map[dit.UUID]string {
	tb.Helper()
	got := map[dit.UUID]string{}
	err := s.Entries(claim, func(it Item) error {
		if it.Claim != claim {
			tb.Errorf("entry of claim %d", it.Claim)
		}
		got[it.UUID] = shown(it)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	checked := 0
	for id, want := range got {
		if checked++; checked > 50 {
			break
		}
		it, err := s.Entry(claim, id)
		if err != nil || it == nil || shown(*it) != want {
			tb.Errorf("Entry(%x) = %v, %v, want %s", id, it, err, want)
		}
	}
	if shared := together(tb, s, claim); !maps.Equal(shared, got) {
		tb.Errorf("claim %d: %d entries together, %d by one", claim, len(shared), len(got))
	}
	if c := claimOf(s, claim); c.Count != len(got) {
		tb.Errorf("claim %d counts %d entries, has %d", claim, c.Count, len(got))
	}
	return got
}

func claimOf(s *Store, id uint32) Claim {
	for _, c := range s.Claims() {
		if c.ID == id {
			return c
		}
	}
	return Claim{}
}

func wantEntries(tb testing.TB, s *Store, claim uint32, want map[int]string) {
	tb.Helper()
	byID := map[dit.UUID]string{}
	for i, text := range want {
		byID[scattered(i)] = text
	}
	if got := entries(tb, s, claim); !maps.Equal(got, byID) {
		tb.Errorf("claim %d holds %v, want %v", claim, got, want)
	}
	if claimOf(s, claim).Damaged {
		tb.Errorf("claim %d is damaged", claim)
	}
}

// contentRecords counts what stands of a claim, leftovers and all.
func contentRecords(tb testing.TB, s *Store, claim uint32) (n int) {
	tb.Helper()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	err := iterate(txn, contentPrefix(claim), nil, func(_, _ []byte) error { n++; return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func changes(tb testing.TB, s *Store, after dit.CSN) (got []Change, ok bool) {
	tb.Helper()
	ok, err := s.Changes(after, func(c Change) error { got = append(got, c); return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return got, ok
}

func published(tb testing.TB, s *Store) map[dit.UUID]dit.UUID {
	tb.Helper()
	got := map[dit.UUID]dit.UUID{}
	err := s.Published(func(claim uint32, upstream, published dit.UUID) error {
		got[upstream] = published
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func records(tb testing.TB, s *Store, prefix string) map[string]string {
	tb.Helper()
	got := map[string]string{}
	if err := s.Records(prefix, func(name string, v []byte) error { got[name] = string(v); return nil }); err != nil {
		tb.Fatal(err)
	}
	return got
}

func journal(tb testing.TB, s *Store, from uint64) (got []string) {
	tb.Helper()
	err := s.Journal(from, func(seq uint64, line []byte) error {
		got = append(got, fmt.Sprintf("%d:%s", seq, line))
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}
