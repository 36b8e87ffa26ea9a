package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// tamper changes the store behind its back, by way of badger alone.
func tamper(t *testing.T, s *Store, fn func(txn *badger.Txn) error) *Store {
	t.Helper()
	s.sweeper.await()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(s.badgerOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// flip changes one byte in the middle of a stored value.
func flip(t *testing.T, s *Store, key []byte) *Store {
	t.Helper()
	return tamper(t, s, func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		value[len(value)/2] ^= 0x10
		return txn.Set(key, value)
	})
}

// R33: what is sound is served, what is not is told, and mended by a refresh.
func TestR33Damaged(t *testing.T) {
	key := func(i int) []byte { return contentKey(nil, Key{1, scattered(i), 1}) }
	for _, c := range []struct {
		name string
		fn   func(t *testing.T, s *Store) *Store
		left map[int]string
	}{
		{"flipped byte", func(t *testing.T, s *Store) *Store { return flip(t, s, key(2)) }, map[int]string{1: "1/101/a", 3: "1/103/c"}},
		{"missing", func(t *testing.T, s *Store) *Store {
			return tamper(t, s, func(txn *badger.Txn) error { return txn.Delete(key(2)) })
		}, map[int]string{1: "1/101/a", 3: "1/103/c"}},
		{"moved", func(t *testing.T, s *Store) *Store {
			return tamper(t, s, func(txn *badger.Txn) error {
				item, err := txn.Get(key(1))
				if err != nil {
					return err
				}
				v, err := item.ValueCopy(nil)
				if err != nil {
					return err
				}
				return txn.Set(key(2), v)
			})
		}, map[int]string{1: "1/101/a", 3: "1/103/c"}},
		{"one too many", func(t *testing.T, s *Store) *Store {
			return tamper(t, s, func(txn *badger.Txn) error {
				k := key(4)
				return txn.Set(k, seal(k, append(stamp{stampCSN, 7}.append(nil), "new"...)))
			})
		}, map[int]string{1: "1/101/a", 2: "1/102/b", 3: "1/103/c", 4: "1/7/new"}},
		{"other CSN", func(t *testing.T, s *Store) *Store {
			return tamper(t, s, func(txn *badger.Txn) error {
				return txn.Set(key(2), seal(key(2), append(stamp{stampCSN, 7}.append(nil), "b"...)))
			})
		}, map[int]string{1: "1/101/a", 2: "1/7/b", 3: "1/103/c"}},
		{"first CSN lost", func(t *testing.T, s *Store) *Store { return flip(t, s, firstKey(1, 1)) }, map[int]string{}},
		{"claim record", func(t *testing.T, s *Store) *Store { return flip(t, s, claimKey(1)) }, map[int]string{1: "1/101/a", 2: "1/102/b", 3: "1/103/c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b", 3: "c"})
			refresh(t, s, 2, 200, "other", map[int]string{1: "a"})
			s = c.fn(t, s)
			withoutSecond(t, s)
			for range 2 {
				s = open(t, s.dir, s.opts)
				if got := claimOf(s, 1); !got.Damaged || got.Cookie != nil || got.Count != len(c.left) {
					t.Errorf("claim %+v", got)
				}
				if got := entries(t, s, 1); len(got) != len(c.left) {
					t.Errorf("left: %v", got)
				} else {
					for i, want := range c.left {
						if got[scattered(i)] != want {
							t.Errorf("left: %v", got)
						}
					}
				}
				wantEntries(t, s, 2, map[int]string{1: "1/201/a"})
				commit(t, s, &Batch{Journal: [][]byte{[]byte("x")}})
				s.sweeper.await()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, s.dir, s.opts)
			var gone []int
			if c.name == "one too many" {
				gone = []int{4}
			}
			gen := refresh(t, s, 1, 300, "mended", map[int]string{1: "a", 2: "b", 3: "c"}, gone...).Gen()
			want := map[int]string{}
			for i, v := range map[int]string{1: "/301/a", 2: "/302/b", 3: "/303/c"} {
				want[i] = string('0'+rune(gen)) + v
			}
			wantEntries(t, s, 1, want)
			s = reopen(t, s)
			wantEntries(t, s, 1, want)
		})
	}
}

// A record that goes bad while the store is open is skipped, told and counted as damage.
func TestDamagedWhileOpen(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "c", map[int]string{1: "a", 2: "b"})
	key := contentKey(nil, Key{1, scattered(1), 1})
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, []byte("rubbish")) }); err != nil {
		t.Fatal(err)
	}
	commit(t, s, &Batch{})
	n := 0
	if err := s.Entries(1, func(Item) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d entries, %v", n, err)
	}
	if _, err := s.Entry(1, scattered(1)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Entry: %v", err)
	}
	commit(t, s, &Batch{Puts: []Put{{Claim: 1, UUID: scattered(3), Gen: 1, CSN: 200}}})
	if !claimOf(s, 1).Damaged {
		t.Error("not damaged")
	}
	commit(t, s, &Batch{Puts: []Put{{Claim: 1, UUID: scattered(1), Gen: 1, CSN: 201, Value: []byte("new")}}})
	if it, err := s.Entry(1, scattered(1)); err != nil || string(it.Value) != "new" {
		t.Errorf("Entry: %v, %v", it, err)
	}
}

// R56: what is corrupt is named.
func TestR56CorruptRecords(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	commit(t, s, &Batch{
		CSN: 1, Records: []Record{{"good", []byte("1")}, {"zbad", []byte("2")}}, Journal: [][]byte{[]byte("line")},
		Changes: []Change{{CSN: 1}}, Published: []PublishedAs{{1, scattered(1), scattered(2)}, {1, scattered(3), scattered(4)}},
	})
	for _, key := range [][]byte{journalKey(1), changesKey(1), publishedKey(1, scattered(1))} {
		s = open(t, flip(t, s, key).dir, s.opts)
	}
	zbad := recordKey("zbad")
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(zbad, []byte("rubbish")) }); err != nil {
		t.Fatal(err)
	}
	commit(t, s, &Batch{})
	n := 0
	if err := s.Records("", func(string, []byte) error { n++; return nil }); n != 1 || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"zbad"`) {
		t.Errorf("records: %d, %v", n, err)
	}
	if err := s.Journal(0, nil); err != nil || !strings.Contains(log.String(), "line=1") {
		t.Errorf("journal: %v, log %s", err, &log)
	}
	if _, err := s.Changes(0, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("changes: %v", err)
	}
	if got := published(t, s); len(got) != 1 || !strings.Contains(log.String(), "published UUID left out") {
		t.Errorf("published: %v, log %s", got, &log)
	}
}

// A second opener is told, with the directory's name; the first is not hurt.
func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	s := open(t, dir, Options{})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v", err)
	}
	commit(t, s, &Batch{CSN: 1})
	s = reopen(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Something else that opens it with badger is noticed too.
	db, err := badger.Open(s.badgerOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("open while badger is: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Logs of 0 bytes, as a kill leaves them, do not keep the store from opening.
func TestEmptyLogsAreRemoved(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	commit(t, s, &Batch{CSN: 1, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 1, Value: []byte("x")}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s = open(t, s.dir, s.opts)
		wantEntries(t, s, 1, map[int]string{1: "0/1/x"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), name) {
			t.Errorf("%s: log %s", name, &log)
		}
	}
}

func TestUnusableMeta(t *testing.T) {
	for _, c := range []struct {
		name string
		fn   func(txn *badger.Txn) error
		want error // nil: it opens, with words
	}{
		{"newer", func(txn *badger.Txn) error {
			return txn.Set(metaKey, seal(metaKey, append(binary.BigEndian.AppendUint32(nil, formatVersion+1), "who knows"...)))
		}, ErrNewer},
		{"short", func(txn *badger.Txn) error { return txn.Set(metaKey, seal(metaKey, []byte{0, 0, 0, 1})) }, nil},
		{"no checksum", func(txn *badger.Txn) error { return txn.Set(metaKey, []byte("x")) }, nil},
		{"missing", func(txn *badger.Txn) error { return txn.Delete(metaKey) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			commit(t, s, &Batch{CSN: 70, Records: []Record{{"a", []byte("b")}}})
			was := s.Instance()
			s = tamper(t, s, c.fn)
			if c.want != nil {
				for range 2 { // the lock is let go each time
					if _, err := Open(s.dir, Options{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), s.dir) {
						t.Errorf("error %v, want %v", err, c.want)
					}
				}
				return
			}
			whole := copyFiles(t, s.dir)
			s = open(t, whole, Options{})
			if s.Instance() != was || s.LastCSN() <= 70 || len(records(t, s, "")) != 1 || len(s.Mended()) == 0 {
				t.Errorf("with the second copy: instance %v, it was %v; CSN %d, %v, told %q", s.Instance(), was, s.LastCSN(), records(t, s, ""), s.Mended())
			}
			if s = reopen(t, s); len(s.Mended()) > 0 || s.Instance() != was {
				t.Errorf("at the second start: told %q, instance %v", s.Mended(), s.Instance())
			}
		})
	}
}

func TestKeysAndCodecs(t *testing.T) {
	k := Key{7, scattered(3), 9}
	if got, ok := parseContentKey(contentKey(nil, k)); !ok || got != k {
		t.Errorf("content key: %+v", got)
	}
	if bytes.Compare(contentKey(nil, Key{7, scattered(3), 10}), contentKey(nil, k)) >= 0 {
		t.Error("the newer generation does not come first")
	}
	for _, p := range []stamp{{stampCSN, 1 << 60}, {stampOrdinal, 1<<32 - 1}, {kind: stampTombstone}} {
		src := p.append(nil)
		if p.kind != stampTombstone {
			src = append(src, "value"...)
		}
		got, value, err := parseStamp(src)
		if err != nil || got != p || p.kind != stampTombstone && string(value.bytes) != "value" {
			t.Errorf("stamp %+v: %+v %q %v", p, got, value.bytes, err)
		}
	}
	for _, bad := range []string{"", "c", "cxxxxxxx", "oxxx", "tx", "z12345678", "\xf4", "\xef1234", "\xef1234\x00xx", "\xef1234\x02xx", "\xe312345678"} {
		if _, _, err := parseStamp([]byte(bad)); err == nil {
			t.Errorf("stamp %q is taken", bad)
		}
	}
	m := meta{instance: scattered(1), last: 1, commits: 2, logFrom: 3, logCount: 4, journalFirst: 5, journalNext: 6, namespace: scattered(7), redated: 8}
	var back meta
	if err := back.decode(m.encode()); err != nil || back != m {
		t.Errorf("meta: %+v, %v", back, err)
	}
	for _, c := range []claimState{{}, {gen: 1, floor: 2, dropped: true, cookie: []byte("c"), server: "s", count: 3, sum: 4}, {damaged: true, server: "x"}} {
		var got claimState
		if err := got.decode(c.encode()); err != nil || string(got.encode()) != string(c.encode()) || got.server != c.server {
			t.Errorf("claim: %+v, %v", got, err)
		}
		for i := range 29 {
			if err := got.decode(c.encode()[:i]); err == nil {
				t.Errorf("claim of %d bytes is taken", i)
			}
		}
	}
	if _, err := unseal([]byte("k"), seal([]byte("other"), []byte("v"))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("value under another key: %v", err)
	}
}
