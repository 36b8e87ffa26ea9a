package store

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// halfDeleted is halfGarbage of whose entries in the file that is collected each second one is deleted, which badger has not merged yet.
func halfDeleted(t *testing.T) (s *Store, want map[dit.UUID]string) {
	t.Helper()
	s, want = halfGarbage(t, Options{})
	b := &Batch{CSN: 20_000}
	for i := 0; i < 2000; i += 20 {
		b.Deletes = append(b.Deletes, Key{Claim: 1, UUID: scattered(i)})
		delete(want, scattered(i))
	}
	commit(t, s, b)
	return reopen(t, s), want // what ends them is in a table, what is written from now on is not
}

func wantWhole(t *testing.T, s *Store, what string, want map[dit.UUID]string) {
	t.Helper()
	if got := whole(t, s, 1); !maps.Equal(got, want) || claimOf(s, 1).Damaged {
		t.Errorf("%s: %d entries, want %d: %+v", what, len(got), len(want), claimOf(s, 1))
	}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// R33: what is deleted stays so when the file of values that it stood in is rewritten, also where badger has not merged both yet.
func TestR33CollectDeleted(t *testing.T) {
	s, want := halfDeleted(t)
	path := filepath.Join(s.dir, valueFiles(t, s)[0])
	s.collect()
	if isThere(path) || isThere(filepath.Join(s.dir, hiddenName)) {
		t.Error("the file of values, or what was noted, is there still")
	}
	wantWhole(t, s, "collected", want)
	if err := s.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, "merged", want)
	wantWhole(t, reopen(t, s), "merged and started", want)
}

// R33: so does it after kill -9 between the two steps, and what was written again since then is not deleted.
func TestR33CollectDeletedKilled(t *testing.T) {
	s, want := halfDeleted(t)
	killed := ""
	s.opts.written = func(done bool) error {
		if killed == "" && !done { // badger has moved what it found, and nothing is hidden again
			err := s.db.Flatten(1)
			killed = copyFiles(t, s.dir)
			return err
		}
		return nil
	}
	s.collect()
	note := filepath.Join(killed, hiddenName)
	if killed == "" || !isThere(note) {
		t.Fatal("nothing was noted")
	}
	small := Options{memTable: 1 << 20, valueFile: 1 << 20}
	again := open(t, copyFiles(t, killed), small)
	wantWhole(t, again, "killed", want)
	wantWhole(t, reopen(t, again), "killed, and started again", want)

	t.Run("written since", func(t *testing.T) {
		aside := filepath.Join(t.TempDir(), "note")
		if err := os.Rename(note, aside); err != nil {
			t.Fatal(err)
		}
		s := open(t, killed, small) // one that does not know of it
		put := Put{Claim: 1, UUID: scattered(0), Gen: 1, CSN: 30_000, Value: []byte("again")}
		commit(t, s, &Batch{CSN: 30_000, Puts: []Put{put}})
		if err := errors.Join(s.Close(), os.Rename(aside, note)); err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(want)
		want[put.UUID] = "again"
		s = open(t, killed, small)
		if got := whole(t, s, 1); !maps.Equal(got, want) {
			t.Errorf("%d entries, want %d", len(got), len(want))
		}
		if isThere(note) {
			t.Error("the note is there still")
		}
	})
}

// What was noted and cannot be read is told, and no reason not to start; another store's means nothing.
func TestHiddenUnreadable(t *testing.T) {
	foreign := t.TempDir()
	if err := (&hidden{version: 1 << 60, keys: [][]byte{recordKey("r"), contentKey(nil, Key{Claim: 1, UUID: scattered(1)})}}).note(foreign, dit.UUID{1}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(foreign, hiddenName))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		content []byte
		told    bool
	}{
		"another store's": {whole, false},
		"a bit":           {append(slices.Clone(whole[:40]), whole[40]^1), true},
		"empty":           {nil, true},
	} {
		s := open(t, t.TempDir(), Options{})
		commit(t, s, &Batch{CSN: 10, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 10, Value: []byte("v")}}, Records: []Record{{"r", []byte("v")}}})
		if err := os.WriteFile(filepath.Join(s.dir, hiddenName), c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
		if told := len(s.Mended()) > 0; told != c.told || told && !strings.Contains(s.Mended()[0], hiddenName) {
			t.Errorf("%s: told %q", what, s.Mended())
		}
		wantEntries(t, s, 1, map[int]string{1: "0/10/v"})
		if got := records(t, s, ""); got["r"] != "v" {
			t.Errorf("%s: records %v", what, got)
		}
	}
}

// Whatever bit is turned, and wherever it ends, what is noted is read as it was written or not at all.
func TestHiddenDamage(t *testing.T) {
	h := &hidden{version: 77, keys: [][]byte{[]byte("a"), []byte("longer key"), {}}}
	dir := t.TempDir()
	if err := h.note(dir, dit.UUID{9}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, hiddenName))
	if err != nil {
		t.Fatal(err)
	}
	if got, id, ok := readHidden(b); !ok || id != (dit.UUID{9}) || got.version != 77 || !slices.EqualFunc(got.keys, h.keys, bytes.Equal) {
		t.Fatalf("read %+v %v %v", got, id, ok)
	}
	for n := range b {
		if _, _, ok := readHidden(b[:n]); ok {
			t.Errorf("%d bytes of %d are read", n, len(b))
		}
		for bit := range 8 {
			turned := slices.Clone(b)
			turned[n] ^= 1 << bit
			if _, _, ok := readHidden(turned); ok {
				t.Errorf("bit %d of byte %d", bit, n)
			}
		}
	}
}

func FuzzHidden(f *testing.F) {
	dir := f.TempDir()
	if err := (&hidden{version: 1, keys: [][]byte{[]byte("key")}}).note(dir, dit.UUID{1}); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, hiddenName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte(hiddenMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, _, ok := readHidden(b); ok && len(h.keys)*4 > len(b) {
			t.Errorf("%d keys of %d bytes", len(h.keys), len(b))
		}
	})
}
