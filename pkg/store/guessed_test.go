package store

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// R33: where the record of a claim is lost in both places, what is newest of its content counts.
func TestR33ClaimGuessed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b", 3: "c"})
	refresh(t, s, 1, 200, "cookie", map[int]string{1: "A"}, 2)
	refresh(t, s, 7, 300, "cookie", map[int]string{1: "z"})
	s.sweeper.await()
	s = tamper(t, s, func(txn *badger.Txn) error {
		return errors.Join(txn.Delete(claimKey(1)), txn.Delete(claimKey(7)), txn.Delete(metaKey))
	})
	withoutSecond(t, s)
	for i := range 2 {
		s = open(t, s.dir, s.opts)
		for claim, want := range map[uint32]map[int]string{1: {1: "A", 3: "c"}, 7: {1: "z"}} {
			got := entries(t, s, claim)
			if len(got) != len(want) {
				t.Errorf("start %d: claim %d holds %v", i, claim, got)
			}
			for n, value := range want {
				if text := got[scattered(n)]; text == "" || valueOf(text) != value {
					t.Errorf("start %d: claim %d holds %v", i, claim, got)
				}
			}
		}
		if got := claimOf(s, 1); !got.Damaged || got.Generation != 2 || got.Cookie != nil || s.LastCSN() < 301 {
			t.Errorf("start %d: %+v, CSN %d", i, got, s.LastCSN())
		}
		s.sweeper.await()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// R33: nor does what an interrupted refresh staged take the place of what was committed, or have it lost.
func TestR33ClaimGuessedWhileStaged(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b", 3: "c"})
	refresh(t, s, 1, 200, "cookie", map[int]string{1: "A", 4: "D"})
	s.sweeper.await()
	st := begin(t, s, 1, map[int]string{1: "x", 2: "y", 5: "z"})
	if err := st.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = tamper(t, s, func(txn *badger.Txn) error { return errors.Join(txn.Delete(claimKey(1)), txn.Delete(metaKey)) })
	withoutSecond(t, s)
	want := map[dit.UUID]string{scattered(1): "2/A", scattered(2): "1/b", scattered(3): "1/c", scattered(4): "2/D"}
	for i := range 2 {
		s = open(t, s.dir, s.opts)
		s.sweeper.await()
		got := map[dit.UUID]string{}
		for id, text := range entries(t, s, 1) {
			gen, rest, _ := strings.Cut(text, "/")
			_, value, _ := strings.Cut(rest, "/")
			got[id] = gen + "/" + value
		}
		if !maps.Equal(got, want) || !claimOf(s, 1).Damaged || contentRecords(t, s, 1) != len(want) {
			t.Errorf("start %d: %v, %d records, %+v", i, got, contentRecords(t, s, 1), claimOf(s, 1))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, s.dir, s.opts)
	refresh(t, s, 1, s.LastCSN()+1, "cookie", map[int]string{1: "new"}, 4)
	if got := entries(t, s, 1); len(got) != 3 || valueOf(got[scattered(1)]) != "new" {
		t.Errorf("refreshed: %v", got)
	}
}
