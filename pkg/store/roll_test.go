package store

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"shaft/pkg/dit"
)

// rollStore has two claims, with values in the value log and beside their keys, some entries in several generations, some
// deleted, and is just opened.
func rollStore(t *testing.T) *Store {
	t.Helper()
	s := open(t, t.TempDir(), Options{})
	csn := dit.CSN(1)
	for _, claim := range []uint32{1, 7, 1} {
		st, err := s.Stage(claim)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if claim == 7 || csn == 1 || i%3 == 0 {
				value := strings.Repeat(fmt.Sprint(csn, i, " "), 1+i%2*100)
				if err := st.Put(scattered(i), uint32(99-i), []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.CommitStage(st, []byte("cookie"), "", csn, &Batch{CSN: csn + 100}); err != nil {
			t.Fatal(err)
		}
		csn += 101
	}
	commit(t, s, &Batch{CSN: csn, Deletes: []Key{{Claim: 1, UUID: scattered(9)}, {Claim: 7, UUID: scattered(8)}}})
	return reopen(t, s)
}

// together reads a claim as EntriesShared gives it.
func together(t testing.TB, s *Store, claim uint32) map[dit.UUID]string {
	t.Helper()
	var mu sync.Mutex
	got := map[dit.UUID]string{}
	last := map[int]dit.CSN{}
	err := s.EntriesShared(claim, func(worker int, it Item) error {
		mu.Lock()
		defer mu.Unlock()
		if s.roll != nil && it.CSN < last[worker] {
			t.Errorf("CSN %d comes after %d", it.CSN, last[worker])
		}
		last[worker] = it.CSN
		got[it.UUID] = shown(it)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return got
}

// What a start has kept is what a walk meets, in the order of CSNs; what writes content ends it, and what writes a record does not.
func TestRoll(t *testing.T) {
	for what, write := range map[string]func(s *Store){
		"a record": func(s *Store) { commit(t, s, &Batch{Records: []Record{{"name", []byte("value")}}}) },
		"a large record": func(s *Store) {
			commit(t, s, &Batch{Records: []Record{{"name", bytes.Repeat([]byte("x"), valueThreshold)}}})
		},
		"a put": func(s *Store) {
			commit(t, s, &Batch{CSN: s.LastCSN() + 1, Puts: []Put{{Claim: 1, UUID: scattered(1), Gen: 2, CSN: s.LastCSN() + 1, Value: []byte("new")}}})
		},
		"a delete": func(s *Store) {
			commit(t, s, &Batch{CSN: s.LastCSN() + 1, Deletes: []Key{{Claim: 1, UUID: scattered(1)}}})
		},
		"a stage": func(s *Store) {
			if _, err := s.Stage(1); err != nil {
				t.Fatal(err)
			}
		},
		"a dropped claim": func(s *Store) {
			if err := s.DropClaims([]uint32{7}, &Batch{CSN: s.LastCSN() + 1}); err != nil {
				t.Fatal(err)
			}
		},
		"Unroll": func(s *Store) { s.Unroll() },
	} {
		s := rollStore(t)
		if s.roll == nil {
			t.Fatal("no roll")
		}
		for range 2 {
			for claim, want := range map[uint32]int{1: 99, 2: 0, 7: 99} {
				got := together(t, s, claim)
				if len(got) != want {
					t.Fatalf("before %s: %d entries of claim %d, want %d", what, len(got), claim, want)
				}
				s.rollMu.Lock() // a walk, though there is a roll
				kept := s.roll
				s.roll = nil
				s.rollMu.Unlock()
				if walked := together(t, s, claim); !maps.Equal(got, walked) {
					t.Errorf("claim %d: %d entries, a walk gives %d others", claim, len(got), len(walked))
				}
				s.rollMu.Lock()
				s.roll = kept
				s.rollMu.Unlock()
			}
		}
		write(s)
		if (s.roll != nil) != (what == "a record") {
			t.Errorf("after %s there is a roll: %v", what, s.roll != nil)
		}
		for _, claim := range []uint32{1, 7} {
			if got, want := together(t, s, claim), entries(t, s, claim); !maps.Equal(got, want) {
				t.Errorf("after %s: %d entries together, %d by one", what, len(got), len(want))
			}
		}
	}
}

// With too much that would have to be copied there is no roll.
func TestRollBound(t *testing.T) {
	s := rollStore(t)
	s.opts.rollCopies = 1000
	s = reopen(t, s)
	if s.roll != nil {
		t.Error("it holds more than it may")
	}
	if got, want := together(t, s, 1), entries(t, s, 1); !maps.Equal(got, want) {
		t.Errorf("%d entries together, %d by one", len(got), len(want))
	}
}

// R33: a value that is damaged after it was counted is not given, and makes its claim damaged.
func TestR33RollDamaged(t *testing.T) {
	s := rollStore(t)
	want := entries(t, s, 7)
	value := []byte(strings.Repeat(fmt.Sprint(102, 51, " "), 101))
	found := false
	for _, name := range valueFiles(t, s) {
		path := filepath.Join(s.dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, value)
		if at < 0 {
			continue
		}
		found = true
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{data[at+100] ^ 1}, int64(at+100)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if !found {
		t.Fatal("the value is in no file of values")
	}
	got := together(t, s, 7)
	delete(want, scattered(51))
	if !maps.Equal(got, want) || !claimOf(s, 7).Damaged || claimOf(s, 1).Damaged {
		t.Errorf("%d entries of %d, %+v", len(got), len(want), claimOf(s, 7))
	}
	if n := len(together(t, s, 1)); n != 99 {
		t.Errorf("%d entries of the other claim", n)
	}
}

// Room is made for what a part has of a claim, and for no more whatever its record says.
func TestRollExpects(t *testing.T) {
	for _, tt := range []struct {
		count uint64
		room  int
	}{{0, 0}, {7, 7}, {shareFrom, shareFrom + shareFrom/8}, {100 * shareFrom, shareFrom + shareFrom/8}, {1 << 60, 2 * shareFrom}} {
		var l rollList
		l.expect(tt.count)
		if n := cap(l.entries); n < tt.room || n > tt.room+1 {
			t.Errorf("%d entries: room for %d, want %d", tt.count, n, tt.room)
		}
	}
}
