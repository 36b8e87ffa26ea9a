package store

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"shaft/pkg/dit"
)

var errDisk = errors.New("input/output error")

// breaker fails one write of a store, the n-th, and all behind it: before anything is written, or after all of it is.
type breaker struct {
	n     atomic.Int64
	after bool
}

func (b *breaker) written(done bool) error {
	if done != b.after {
		return nil
	}
	if b.n.Add(-1) < 0 {
		return errDisk
	}
	return nil
}

// deeds are what a store does in its life, one after the other, each of which is there as a whole or not at all.
var deeds = []func(s *Store) error{
	func(s *Store) error {
		return s.Commit(&Batch{CSN: 10, Records: []Record{{"a", []byte("1")}, {"b", []byte("2")}}, Journal: [][]byte{[]byte("begun")}})
	},
	func(s *Store) error { return stageOf(s, 1, 100, 0, 20, &Batch{Records: []Record{{"a", nil}}}) },
	func(s *Store) error {
		return s.Commit(&Batch{
			CSN: 200, Puts: []Put{{Claim: 1, UUID: scattered(3), Gen: 1, CSN: 200, Value: []byte("new")}}, Deletes: []Key{{Claim: 1, UUID: scattered(4)}},
			Cookies: []Claim{{ID: 1, Cookie: []byte("200")}}, Changes: []Change{{CSN: 200, Kind: ChangeModify, UUID: scattered(3)}},
			Published: []PublishedAs{{1, scattered(3), scattered(33)}},
		})
	},
	func(s *Store) error { return stageOf(s, 1, 300, 10, 40, &Batch{}) }, // over several transactions
	func(s *Store) error { // more than one transaction holds
		b := &Batch{CSN: 9000, Published: []PublishedAs{{1, scattered(3), dit.UUID{}}}, Journal: [][]byte{[]byte("large")}}
		for i := range 8000 {
			b.Changes = append(b.Changes, Change{CSN: dit.CSN(1000 + i), Kind: ChangeModify, UUID: scattered(i), DN: strings.Repeat("d", 60)})
			if i%4 == 0 {
				b.Published = append(b.Published, PublishedAs{2, scattered(i), scattered(i + 1)})
			}
		}
		return stageOf(s, 2, 9000, 0, 5, b)
	},
	func(s *Store) error {
		return s.DropClaim(1, &Batch{CSN: 9500, Records: []Record{{"b", []byte("gone")}}})
	},
	func(s *Store) error { return stageOf(s, 1, 9600, 0, 3, &Batch{}) },
}

// stageOf is a refresh with some values that fill a transaction.
func stageOf(s *Store, claim uint32, first dit.CSN, from, to int, b *Batch) error {
	st, err := s.Stage(claim)
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		if err := st.Put(scattered(i), uint32(i), fmt.Appendf(nil, "%d%*d", first, 30_000, i)); err != nil {
			return errors.Join(err, st.Discard())
		}
	}
	if from > 0 {
		if err := st.Delete(scattered(from - 1)); err != nil {
			return errors.Join(err, st.Discard())
		}
	}
	if err := s.CommitStage(st, fmt.Append(nil, first), "server", first, b); err != nil {
		return errors.Join(err, st.Discard())
	}
	return nil
}

// standingOf is what a store says, but for its name.
func standingOf(t *testing.T, s *Store) string {
	t.Helper()
	text := all(t, s)
	_, text, _ = strings.Cut(text, " ")
	return text
}

// R33, R35, invariant 7: each write of a store fails in turn, without or with having reached the disk. Nothing more is
// written then, what is there can be read, and opened again the store has what was acknowledged, and of what
// failed all or nothing.
func TestR35EveryWriteFails(t *testing.T) {
	var model []string
	s := open(t, t.TempDir(), Options{})
	model = append(model, standingOf(t, s))
	for _, deed := range deeds {
		if err := deed(s); err != nil {
			t.Fatal(err)
		}
		model = append(model, standingOf(t, s))
		s.sweeper.await()
	}
	for _, after := range []bool{false, true} {
		failed := true
		for n := 0; failed; n++ {
			if n > 200 {
				t.Fatal("writes without end")
			}
			failed = failing(t, n, after, model)
		}
	}
}

// failing does the deeds with the n-th write failing; false where there are no as many.
func failing(t *testing.T, n int, after bool, model []string) bool {
	t.Helper()
	b := &breaker{after: after}
	b.n.Store(int64(n))
	s := open(t, t.TempDir(), Options{written: b.written})
	done := 0
	for _, deed := range deeds {
		err := deed(s)
		if err == nil {
			done++
			s.sweeper.await()
			continue
		}
		if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
			t.Fatalf("write %d fails, deed %d: %v", n, done, err)
		}
		break
	}
	taken(s)
	s.mu.Lock()
	unread := s.untaken != nil // what badger has not, and redo has, is there when the store is opened again
	s.mu.Unlock()
	if unread {
		if err := s.Records("", func(string, []byte) error { return nil }); !errors.Is(err, ErrFailed) {
			t.Errorf("write %d failed, and what is there is read without what was acknowledged: %v", n, err)
		}
	} else if now := standingOf(t, s); now != model[done] {
		t.Errorf("write %d failed (after %v), %d deeds done; is\n%.500s\nwas\n%.500s", n, after, done, now, model[done])
	}
	if done < len(deeds) && !errors.Is(s.Commit(&Batch{CSN: 99_000}), ErrFailed) {
		t.Errorf("write %d failed, and another is taken", n)
	}
	if unread {
		closeUntaken(t, s)
	} else if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, Options{})
	s.sweeper.await()
	now := standingOf(t, s)
	if now != model[done] && (done == len(deeds) || now != model[done+1]) {
		t.Errorf("write %d failed (after %v), %d deeds were done; opened again it is\n%.500s\nwas\n%.500s", n, after, done, now, model[done])
	}
	for _, c := range s.Claims() {
		if records := contentRecords(t, s, c.ID); c.Damaged || records != c.Count {
			t.Errorf("write %d failed: claim %+v, %d records", n, c, records)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	return b.n.Load() < 0
}
