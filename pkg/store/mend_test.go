package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/pkg/dit"
)

// A hit is a file of a store with what a test does to it.
type hit struct {
	file string
	what string
	fn   func(data []byte) []byte // nil data: the file is to go
}

// sample is a store's files with something of everything in them: tables, logs in use, large
// values and commits that badger has yet to take; a copy without Close, as kill -9 leaves it, and its clean twin.
func sample(t *testing.T) (crashed, clean string, want *Store) {
	t.Helper()
	s := open(t, t.TempDir(), Options{})
	puts := map[int]string{}
	for i := range 400 {
		puts[i] = fmt.Sprintf("%d:%s", i, strings.Repeat("x", 2*i))
	}
	refresh(t, s, 1, 1000, "one", puts)
	refresh(t, s, 2, 2000, "two", map[int]string{1: "a", 2: "b"})
	commit(t, s, &Batch{CSN: 3000, Puts: []Put{{Claim: 1, UUID: scattered(1000), Gen: 1, CSN: 3000, Value: bytes.Repeat([]byte("L"), 100_000)}}})
	s = reopen(t, s) // into a table
	take := make(chan struct{})
	for i := range 30 {
		if i == 26 {
			s.sweeper.await()
			s.opts.behind = func() { <-take }
		}
		csn := dit.CSN(4000 + i)
		acknowledge(t, s, &Batch{
			CSN: csn, Journal: [][]byte{fmt.Append(nil, i)}, Records: []Record{{fmt.Sprint("r", i%7), fmt.Append(nil, i)}},
			Puts:    []Put{{Claim: 2, UUID: scattered(i % 5), Gen: 1, CSN: csn, Value: fmt.Append(nil, "later ", i)}},
			Changes: []Change{{CSN: csn, Kind: ChangeModify, UUID: scattered(i % 5)}}, Cookies: []Claim{{ID: 2, Cookie: fmt.Append(nil, "c", i)}},
		})
		if i < 26 {
			taken(s)
		}
	}
	crashed, clean = filepath.Join(t.TempDir(), "crashed"), filepath.Join(t.TempDir(), "clean")
	copyStore(t, s.dir, crashed)
	close(take)
	taken(s)
	s.sweeper.await()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copyStore(t, s.dir, clean)
	return crashed, clean, open(t, s.dir, Options{})
}

// copyStore copies the files of a store, which are sparse.
func copyStore(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(stored(t, from), lockName) {
		data, size := readSparse(t, filepath.Join(from, name))
		writeSparse(t, filepath.Join(to, name), data, size)
	}
}

// readSparse gives what a file has before the zeros at its end, with some of these, and its size.
func readSparse(t *testing.T, path string) (data []byte, size int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const most = 1 << 20 // what is in a file of a sample
	data = make([]byte, min(info.Size(), most))
	if _, err := io.ReadFull(f, data); err != nil {
		t.Fatal(err)
	}
	return data[:min(len(data), len(bytes.TrimRight(data, "\x00"))+64)], info.Size()
}

func writeSparse(t *testing.T, path string, data []byte, size int64) {
	t.Helper()
	err := os.WriteFile(path, data, 0o600)
	if err == nil {
		err = os.Truncate(path, size)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// strike makes a copy of a store and damages a file of it.
func strike(t *testing.T, from string, h hit) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "hit")
	copyStore(t, from, dir)
	path := filepath.Join(dir, h.file)
	data, size := readSparse(t, path)
	hit := h.fn(data)
	if hit == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if len(hit) != len(data) {
		size = int64(len(hit))
	}
	writeSparse(t, path, hit, size)
	return dir
}

// all is everything that a store has, as text.
func all(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, s.Instance(), s.LastCSN(), journal(t, s, 0), records(t, s, ""), published(t, s))
	for _, c := range s.Claims() {
		fmt.Fprintf(&b, "%+v %v\n", c, entries(t, s, c.ID))
	}
	s.mu.Lock()
	from := s.meta.logFrom
	s.mu.Unlock()
	log, ok := changes(t, s, from)
	fmt.Fprintln(&b, log, ok)
	return b.String()
}

func stored(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.IsDir() && f.Name() != lockName && f.Name() != "LOCK" {
			names = append(names, f.Name())
		}
	}
	return names
}

// R33, R56: any one bit that turns in any file of the store is put right: nothing at all is lost, and
// what happened is told. A sample of bits is tried here, more in TestEveryBit.
func TestR33AnyBitTurns(t *testing.T) {
	crashed, clean, s := sample(t)
	want := all(t, s)
	random := rand.New(rand.NewPCG(3, 4))
	for _, from := range []string{crashed, clean} {
		for _, name := range stored(t, from) {
			if ext := filepath.Ext(name); from == clean && ext != ".sst" && ext != ".vlog" {
				continue // the same as in the other
			}
			data, _ := readSparse(t, filepath.Join(from, name))
			used := len(bytes.TrimRight(data, "\x00"))
			for range 3 {
				bit := random.IntN(8*min(used+40, len(data)) + 1)
				if bit >= 8*len(data) {
					continue
				}
				if name == badgerManifest && (bit/8 == 6 || bit/8 == 7) && data[6]<<1|data[7] < 255 {
					continue // the version, see TestNewerManifest
				}
				dir := strike(t, from, hit{file: name, fn: func(data []byte) []byte { turn(data, bit); return data }})
				var log bytes.Buffer
				s, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: atZero})
				if err != nil {
					t.Fatalf("%s, bit %d: %v", name, bit, err)
				}
				if got := all(t, s); got != want {
					t.Errorf("%s, bit %d of %d: is\n%.600s\nwas\n%.600s", name, bit, 8*used, got, want)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if t.Failed() {
					t.Fatalf("log: %s", &log)
				}
				os.RemoveAll(dir)
			}
		}
	}
}

// R33, R56: a file of the store is cut, missing, or full of rubbish. The store opens all the same, or says
// in words that it does not; every claim that is left is either whole or will be fetched again, no entry
// is one that never was, named records are all there, and the last CSN does not go back.
func TestR33FilesTruncatedMissingRubbish(t *testing.T) {
	crashed, _, s := sample(t)
	last, decided, instance := s.LastCSN(), records(t, s, ""), s.Instance()
	had, states := map[string]bool{"a": true, "b": true}, map[uint32]string{}
	for _, c := range s.Claims() {
		states[c.ID] = fmt.Sprint(entries(t, s, c.ID))
		for _, text := range entries(t, s, c.ID) {
			had[valueOf(text)] = true
		}
	}
	now := func() time.Time { return time.UnixMicro(1 << 40) }
	trimmed := func(d []byte) int { return len(bytes.TrimRight(d, "\x00")) }
	for _, h := range []hit{
		{what: "missing", fn: func([]byte) []byte { return nil }},
		{what: "empty", fn: func([]byte) []byte { return []byte{} }},
		{what: "half", fn: func(d []byte) []byte { return d[:trimmed(d)/2] }},
		{what: "cut in its head", fn: func(d []byte) []byte { return d[:5] }},
		{what: "almost all", fn: func(d []byte) []byte { return d[:max(0, trimmed(d)-3)] }},
		{what: "rubbish", fn: func(d []byte) []byte {
			n := trimmed(d)
			for i := n / 3; i < n/3+min(64, n/2); i++ {
				d[i] ^= byte(0x55 + i)
			}
			return d
		}},
	} {
		for _, name := range stored(t, crashed) {
			if ext := filepath.Ext(name); h.what == "cut in its head" && ext != ".vlog" && ext != ".mem" {
				continue // half of it says the same
			}
			h.file = name
			dir := strike(t, crashed, h)
			var log bytes.Buffer
			s, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: now})
			if err != nil {
				t.Errorf("%s %s: %v\n%s", name, h.what, err, &log)
				continue
			}
			if got := records(t, s, ""); !maps.Equal(got, decided) || s.Instance() != instance {
				t.Errorf("%s %s: records are %v of %v, they were %v of %v", name, h.what, got, s.Instance(), decided, instance)
			}
			if s.LastCSN() < last {
				t.Errorf("%s %s: CSN %d after %d", name, h.what, s.LastCSN(), last)
			}
			for _, c := range s.Claims() {
				got := entries(t, s, c.ID)
				for _, text := range got {
					if !had[valueOf(text)] && !strings.Contains(text, "later") {
						t.Errorf("%s %s: claim %d has %s", name, h.what, c.ID, text)
					}
				}
				if !c.Damaged && fmt.Sprint(got) != states[c.ID] {
					t.Errorf("%s %s: claim %d is not what it was, and nobody says so", name, h.what, c.ID)
				}
			}
			if h.what == "rubbish" || h.what == "cut in its head" { // after the others it is no other store
				refresh(t, s, 2, s.LastCSN()+10, "again", map[int]string{1: "z"}, 0, 2, 3, 4)
				s = reopen(t, s)
				if got := entries(t, s, 2); len(got) != 1 || claimOf(s, 2).Damaged || s.lossy {
					t.Errorf("%s %s: not mended by a refresh: %v", name, h.what, got)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, mendingName)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %s: the mark stays: %v", name, h.what, err)
			}
			if t.Failed() {
				t.Fatalf("log: %s", &log)
			}
			os.RemoveAll(dir)
		}
	}
}

// R33: a bit turns in a log of values: it is put right, and all is as it was.
func TestR33LargeValueTurns(t *testing.T) {
	_, clean, s := sample(t)
	before := entries(t, s, 1)
	for _, bit := range []int{3, 8*logHead + 1, 8*logHead + 8*2, 8 * 5_000, 8 * 200_000} {
		dir := strike(t, clean, hit{file: "000001.vlog", fn: func(d []byte) []byte { turn(d, bit); return d }})
		s := open(t, dir, Options{})
		got := entries(t, s, 1)
		if !maps.Equal(got, before) || claimOf(s, 1).Damaged || claimOf(s, 2).Damaged || len(s.mended) != 1 {
			t.Errorf("bit %d: %d entries, claim 2 %+v, told %q", bit, len(got), claimOf(s, 2), s.mended)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// R33: damage in the newest log of large values, which badger would cut there: a bit is put right, and of more the
// values behind it stay.
func TestR33NewestLargeValues(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	const size = 100_000
	for i := range 3 {
		commit(t, s, &Batch{CSN: dit.CSN(1 + i), Puts: []Put{{Claim: 1, UUID: scattered(i), CSN: dit.CSN(1 + i), Value: bytes.Repeat([]byte{byte('a' + i)}, size)}}})
	}
	for _, c := range []struct {
		what    string
		fn      func(d []byte) []byte
		left    []int
		damaged bool
	}{
		{"nothing", func(d []byte) []byte { return d }, []int{0, 1, 2}, false},
		{"a bit", func(d []byte) []byte { turn(d, 8*size*3/2); return d }, []int{0, 1, 2}, false},
		{"more", func(d []byte) []byte { clear(d[size*3/2 : size*3/2+64]); return d }, []int{0, 2}, true},
	} {
		s := open(t, strike(t, s.dir, hit{file: "000001.vlog", fn: c.fn}), Options{})
		got := map[dit.UUID]string{}
		err := s.Entries(1, func(it Item) error { got[it.UUID] = string(it.Value); return nil })
		if err != nil || len(got) != len(c.left) || claimOf(s, 1).Damaged != c.damaged || (len(s.mended) > 0) != (c.what != "nothing") {
			t.Errorf("%s: %d values, %v, claim damaged %v, told %q", c.what, len(got), err, claimOf(s, 1).Damaged, s.mended)
		}
		for _, i := range c.left {
			if got[scattered(i)] != strings.Repeat(string(rune('a'+i)), size) {
				t.Errorf("%s: value %d is %.20q", c.what, i, got[scattered(i)])
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// valueOf is an entry as shown, without its generation and its CSN.
func valueOf(shown string) string { return strings.SplitN(shown, "/", 3)[2] }

// Every bit of a table, of a log and of a manifest is found where it turned, or does not matter.
func TestEveryBit(t *testing.T) {
	crashed, _, _ := sample(t)
	for _, name := range stored(t, crashed) {
		data, _ := readSparse(t, filepath.Join(crashed, name))
		var check func(data []byte) (turned []int, lost bool)
		ext, step := filepath.Ext(name), 1
		switch {
		case name == badgerManifest:
			check = func(data []byte) ([]int, bool) {
				m := &manifest{data: data}
				m.check()
				return m.turned, m.broken || m.end < len(data)
			}
		case ext == ".sst":
			step = len(data)/200 | 1
			check = func(data []byte) ([]int, bool) {
				f := &tableFile{data: data}
				f.check()
				return f.turned, f.lost != 0
			}
		case ext == ".mem":
			step = len(data)/200 | 1
			check = func(data []byte) ([]int, bool) {
				f := &logFile{data: data}
				f.check()
				return f.turned, f.cut || len(f.lost) > 0
			}
		default:
			continue
		}
		if turned, lost := check(data); len(turned) > 0 || lost {
			t.Fatalf("%s is damaged as it is: %v, %v", name, turned, lost)
		}
		right := bytes.Clone(data)
		used := len(data)
		if ext == ".mem" {
			used -= 64
		}
		for bit := 0; bit < 8*used; bit += step {
			if name == badgerManifest && bit/8 >= 6 && bit/8 < 8 || ext == ".mem" && bit/8 >= 8 && bit/8 < logHead {
				continue // the version; what encryption would begin with, which means nothing
			}
			turn(data, bit)
			turned, lost := check(data)
			if lost || len(turned) != 1 || turned[0] != bit || !bytes.Equal(data, right) {
				t.Fatalf("%s, bit %d of %d: found %v, lost %v", name, bit, 8*used, turned, lost)
			}
		}
	}
}

// R56: a manifest of a newer badger is refused as a newer store, and left alone.
func TestNewerManifest(t *testing.T) {
	_, clean, _ := sample(t)
	dir := strike(t, clean, hit{file: badgerManifest, fn: func(d []byte) []byte { d[7] = manifestVersion + 1; return d }})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "9") {
		t.Errorf("error %v", err)
	}
	path := filepath.Join(dir, badgerManifest)
	data, err := os.ReadFile(path)
	if err != nil || data[7] != manifestVersion+1 {
		t.Errorf("changed: %x, %v", data[:8], err)
	}
}

// R33: the characters of a pattern in the directory's name are none; what a kill left there is whole.
func TestR33DirOfAnyName(t *testing.T) {
	crashed, _, s := sample(t)
	dir := filepath.Join(t.TempDir(), "x[1]*")
	copyStore(t, crashed, dir)
	got := open(t, dir, Options{})
	if all(t, got) != all(t, s) || len(got.mended) > 0 {
		t.Errorf("told %q; it is\n%.600s", got.mended, all(t, got))
	}
}

// R33: killed while a damaged file is replaced, the store knows at the next start that content was lost.
func TestMendingCutOff(t *testing.T) {
	_, clean, s := sample(t)
	dir := strike(t, clean, hit{file: badgerManifest, fn: func(d []byte) []byte { return d }})
	if err := os.WriteFile(filepath.Join(dir, mendingName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, mendingName+"-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	last := s.LastCSN()
	s = open(t, dir, Options{})
	if ok, err := s.Changes(last-1, nil); ok || err != nil || s.LastCSN() < last {
		t.Errorf("the change log is taken for whole: %v, %v, CSN %d", ok, err, s.LastCSN())
	}
	for _, c := range s.Claims() {
		if !c.Damaged || c.Cookie != nil || c.Count == 0 {
			t.Errorf("claim %+v", c)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, mendingName+"-1")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("leftovers", err)
	}
}
