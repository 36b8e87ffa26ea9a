package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// readsBack looks at a claim in all ways that there are to read one.
func readsBack(t *testing.T, s *Store, claim uint32, want map[dit.UUID]string) {
	t.Helper()
	if got := whole(t, s, claim); !maps.Equal(got, want) {
		t.Errorf("claim %d has %d entries, want %d, or others", claim, len(got), len(want))
	}
	var mu sync.Mutex
	shared := map[dit.UUID]string{}
	err := s.EntriesShared(claim, func(_ int, it Item) error {
		mu.Lock()
		defer mu.Unlock()
		shared[it.UUID] = string(it.Value)
		return nil
	})
	if err != nil || !maps.Equal(shared, want) {
		t.Errorf("claim %d, shared: %d entries, %v", claim, len(shared), err)
	}
	for id, value := range want {
		if it, err := s.Entry(claim, id); err != nil || string(it.Value) != value {
			t.Errorf("%x: %v, %v", id, it, err)
		}
	}
	if c := claimOf(s, claim); c.Damaged || c.Count != len(want) {
		t.Errorf("claim %+v", c)
	}
}

// R12: entries that are packed read back as they were, staged or committed by themselves, after a restart and from a
// backup, and those of other forms among them.
func TestPackedEntries(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	want := map[int]string{0: "", 1: "short"}
	for i, value := range samplesAll(20) {
		want[i+2] = string(value)
	}
	st := begin(t, s, 1, want)
	if err := st.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, value := range want {
		if got, err := st.Value(scattered(i)); err != nil || string(got) != value {
			t.Fatalf("entry %d as staged: %d bytes, want %d, %v", i, len(got), len(value), err)
		}
	}
	if err := s.CommitStage(st, []byte("cookie"), "ldap://a", 100, &Batch{}); err != nil {
		t.Fatal(err)
	}
	b := &Batch{CSN: 1000}
	for i, value := range samplesAll(2) {
		want[500+i] = string(value)
		b.Puts = append(b.Puts, Put{Claim: 1, UUID: scattered(500 + i), Gen: 1, CSN: 1000, Value: value})
	}
	commit(t, s, b)
	readsBack(t, s, 1, byUUID(want))
	packed, all := 0, 0
	txn := s.db.NewTransaction(false)
	err := iterate(txn, contentPrefix(1), nil, func(_, stored []byte) error {
		if all++; stored[0]&stampPacked != 0 {
			packed++
		}
		return nil
	})
	txn.Discard()
	if err != nil || all != len(want) || packed != 6*22 { // all but what is random or short
		t.Errorf("%d of %d are packed, %v", packed, all, err)
	}
	s = reopen(t, s)
	readsBack(t, s, 1, byUUID(want))
	dir := filepath.Join(t.TempDir(), "restored")
	restored(t, dir, backupOf(t, s), RestoreOptions{Now: atZero})
	readsBack(t, open(t, dir, Options{}), 1, byUUID(want))
}

// R12: a store, and a backup, that were written when no value was packed are read, and written on.
func TestUnpackedStore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	want := map[int]string{}
	for i := range 3 {
		want[i] = string(samples[i].entry(r, i))
	}
	want[3] = string(samples[4].entry(r, 3))
	dirs := []string{t.TempDir(), filepath.Join(t.TempDir(), "restored")}
	if err := os.CopyFS(dirs[0], os.DirFS(filepath.Join("testdata", "version2"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dirs[0], "backup")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("testdata", "version2", "backup"))
	if err != nil {
		t.Fatal(err)
	}
	restored(t, dirs[1], text, RestoreOptions{Now: atZero})
	for _, dir := range dirs {
		s := open(t, dir, Options{})
		readsBack(t, s, 1, byUUID(want))
		next := maps.Clone(want)
		next[1], next[9] = string(samples[0].entry(r, 1)), string(samples[0].entry(r, 9))
		last := s.LastCSN()
		refresh(t, s, 1, last+1, "next", map[int]string{1: next[1], 9: next[9]})
		readsBack(t, s, 1, byUUID(next))
		s = reopen(t, s)
		readsBack(t, s, 1, byUUID(next))
	}
}

// A store is told from one in which no value is packed as soon as one may be: a program that cannot read it refuses it.
func TestPackedStoreIsNewer(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: string(sampleMany(samples[0], 1)[0])})
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it, err := txn.Get(metaKey)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := it.ValueCopy(nil)
	if err != nil || binary.BigEndian.Uint32(stored) != 3 {
		t.Errorf("meta %x, %v", stored, err)
	}
}

// R33: a packed value of which the checksum is right and the form is not damages its claim: the others are read. One with
// words that are not known is found at the start, what else cannot be unpacked as it is read.
func TestPackedValueIsWrong(t *testing.T) {
	value := sampleMany(samples[0], 1)[0]
	packed := appendContent(nil, stamp{stampCSN, 100}, value)
	number := bytes.Clone(packed)
	number[9] = wordsNumber + 1
	for name, c := range map[string]struct {
		record  []byte
		atStart bool
	}{
		"other words":  {number, true},
		"cut off":      {packed[:len(packed)-1], false},
		"nothing else": {packed[:9], true},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			commit(t, s, &Batch{CSN: 100, Puts: []Put{
				{Claim: 1, UUID: scattered(1), CSN: 100, Value: value}, {Claim: 1, UUID: scattered(2), CSN: 100, Value: value},
			}})
			s = tamper(t, s, func(txn *badger.Txn) error {
				key := contentKey(nil, Key{1, scattered(1), 0})
				return txn.Set(key, seal(key, bytes.Clone(c.record)))
			})
			s = open(t, s.dir, s.opts)
			if got := claimOf(s, 1).Damaged; got != c.atStart {
				t.Errorf("damaged at the start: %v", got)
			}
			if it, err := s.Entry(1, scattered(1)); it != nil || !c.atStart && !errors.Is(err, ErrCorrupt) {
				t.Errorf("the entry: %v, %v", it, err)
			}
			if got := whole(t, s, 1); len(got) != 1 || got[scattered(2)] != string(value) || !claimOf(s, 1).Damaged {
				t.Errorf("%d entries, claim %+v", len(got), claimOf(s, 1))
			}
		})
	}
}
