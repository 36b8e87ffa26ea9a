package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"shaft/pkg/dit"
)

// withoutSecond takes the second copy away of a store that is closed.
func withoutSecond(t *testing.T, s *Store) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.dir, secondName)); err != nil {
		t.Fatal(err)
	}
}

// R33, R56: what is damaged in one place is made good from the other: a record, what the store knows of
// itself and of a claim, and when a generation began. It is told once; the next start has nothing to tell.
func TestR33SecondCopy(t *testing.T) {
	missing := func(key []byte) func(t *testing.T, s *Store) *Store {
		return func(t *testing.T, s *Store) *Store {
			return tamper(t, s, func(txn *badger.Txn) error { return txn.Delete(key) })
		}
	}
	flipped := func(key []byte) func(t *testing.T, s *Store) *Store {
		return func(t *testing.T, s *Store) *Store { return flip(t, s, key) }
	}
	second := func(fn func(data []byte) []byte) func(t *testing.T, s *Store) *Store {
		return func(t *testing.T, s *Store) *Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(s.dir, secondName)
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, fn(data), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	for _, c := range []struct {
		name  string
		fn    func(t *testing.T, s *Store) *Store
		words string // "" for nothing to tell
		lossy bool   // content is fetched again
	}{
		{"a record", flipped(recordKey("a")), "taken from the file records", false},
		{"a claim", flipped(claimKey(1)), "taken from the file records", false},
		{"a generation's first CSN", flipped(firstKey(1, 1)), "taken from the file records", false},
		{"meta", flipped(metaKey), "knows of itself cannot be read", true},
		{"meta missing", missing(metaKey), "knows of itself is missing", true},
		{"the copy, a bit", second(func(d []byte) []byte { d[len(d)/2] ^= 4; return d }), "is damaged; it is made again", false},
		{"the copy, its head", second(func(d []byte) []byte { d[2] ^= 4; return d }), "is damaged; it is made again", false},
		{"the copy, half", second(func(d []byte) []byte { return d[:len(d)/2] }), "it is made again", false},
		{"the copy, a third", second(func(d []byte) []byte { return d[:len(d)/3] }), "it is made again", false},
		{"the copy, empty", second(func(d []byte) []byte { return nil }), "is damaged; it is made again", false},
		{"the copy, an append that a power cut left", second(func(d []byte) []byte { return append(d, 1, 2, 3, 4, 0, 0, 1, 0, 7) }), "", false},
		{"the copy missing", func(t *testing.T, s *Store) *Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			withoutSecond(t, s)
			return s
		}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			commit(t, s, &Batch{Records: []Record{{"a", []byte("old")}, {"b", []byte("b")}, {"gone", []byte("x")}}})
			refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b"})
			commit(t, s, &Batch{Records: []Record{{"a", []byte("new")}, {"gone", nil}}})
			last, instance := s.LastCSN(), s.Instance()
			s = c.fn(t, s)
			for i := range 2 {
				s = open(t, s.dir, s.opts)
				if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": "new", "b": "b"}) {
					t.Errorf("start %d: records %v", i, got)
				}
				if s.Instance() != instance || s.LastCSN() < last {
					t.Errorf("start %d: instance %v was %v, CSN %d was %d", i, s.Instance(), instance, s.LastCSN(), last)
				}
				if got := claimOf(s, 1); got.Damaged != c.lossy || got.Count != 2 || !c.lossy && string(got.Cookie) != "cookie" {
					t.Errorf("start %d: claim %+v", i, got)
				}
				told := strings.Join(s.Mended(), "\n")
				if i == 0 && (!strings.Contains(told, c.words) || c.words == "" && told != "") || i == 1 && told != "" {
					t.Errorf("start %d: told %q", i, told)
				}
				s.sweeper.await()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			// And the copy is whole again: the same once more, from the other side.
			s = flip(t, open(t, s.dir, s.opts), recordKey("a"))
			if s = open(t, s.dir, s.opts); records(t, s, "")["a"] != "new" {
				t.Errorf("the copy was not made again: %v", records(t, s, ""))
			}
		})
	}
}

// R33: what a kill left of an append is cut off before anything is appended behind it: that is found again.
func TestR33SecondCutOff(t *testing.T) {
	for _, torn := range [][]byte{
		appendFrame(nil, []redoOp{{recordKey("a"), make([]byte, 20_000)}})[:9_000],
		appendFrame(nil, []redoOp{{recordKey("a"), make([]byte, 20)}})[:20],
		{1, 2, 3},
	} {
		s := open(t, t.TempDir(), Options{})
		commit(t, s, &Batch{Records: []Record{{"a", []byte("old")}, {"b", []byte("b")}}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(s.dir, secondName), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(torn)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		s = open(t, s.dir, s.opts)
		for i := range 3 {
			commit(t, s, &Batch{Records: []Record{{"a", fmt.Append(nil, i)}}})
		}
		told := s.Mended()
		s = flip(t, s, recordKey("a"))
		s = open(t, s.dir, s.opts)
		if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": "2", "b": "b"}) || len(told) > 0 || len(s.Mended()) != 1 {
			t.Errorf("%d bytes were left: records %v, told %q and %q", len(torn), got, told, s.Mended())
		}
	}
}

// R33, R56: what is damaged in both places is named, and the rest is there.
func TestR33BothCopies(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}, {"b", []byte("2")}}})
	s = flip(t, s, recordKey("a"))
	withoutSecond(t, s)
	s = open(t, s.dir, s.opts)
	if got := records(t, s, ""); !maps.Equal(got, map[string]string{"b": "2"}) {
		t.Errorf("records %v", got)
	}
	if told := s.Mended(); len(told) != 1 || !strings.Contains(told[0], "the record a cannot be read") || !strings.Contains(log.String(), told[0]) {
		t.Errorf("told %q, log %s", told, &log)
	}
}

// A loss is settled only when the second copy is of then: a start that is cut off before does all of it again.
func TestSecondBeforeSettled(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}}})
	s = flip(t, s, metaKey)
	withoutSecond(t, s)
	if err := os.MkdirAll(filepath.Join(s.dir, secondName+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	looked := &looking{path: filepath.Join(s.dir, mendingName)}
	open(t, s.dir, Options{Log: slog.New(slog.NewTextHandler(looked, nil))})
	if _, err := os.Stat(looked.path); looked.times != 1 || !looked.there || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("as the copy was made: %+v; afterwards: %v", looked, err)
	}
}

// looking looks whether a file is there when the second copy is not written.
type looking struct {
	path  string
	times int
	there bool
}

func (l *looking) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("second copy of what was decided is not written")) {
		_, err := os.Stat(l.path)
		l.times, l.there = l.times+1, err == nil
	}
	return len(line), nil
}

// R33: files of badger that are of an older time, or gone: records are those of the copy, which is of the last moment.
func TestR33PutBack(t *testing.T) {
	for _, gone := range []bool{false, true} {
		s := open(t, t.TempDir(), Options{})
		commit(t, s, &Batch{CSN: 5, Records: []Record{{"a", []byte("old")}, {"gone", []byte("x")}}})
		s = reopen(t, s)
		back := copyFiles(t, s.dir)
		commit(t, s, &Batch{CSN: 10, Records: []Record{{"a", []byte("new")}, {"gone", nil}}})
		commit(t, s, &Batch{CSN: 20, Records: []Record{{"c", []byte("3")}}, Published: []PublishedAs{{1, scattered(1), scattered(2)}, {1, scattered(3), scattered(4)}}})
		var many []PublishedAs
		for i := range maxBatchLines + 1 { // written ahead
			many = append(many, PublishedAs{2, scattered(i), scattered(i + 1)})
		}
		commit(t, s, &Batch{CSN: 25, Published: append(many, PublishedAs{1, scattered(3), dit.UUID{}})})
		lines := published(t, s)
		commit(t, s, &Batch{CSN: 30})
		instance := s.Instance()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := storeFiles(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if gone && name != secondName {
				err = errors.Join(err, os.Remove(filepath.Join(s.dir, name)))
			}
		}
		if !gone {
			err = os.Rename(filepath.Join(s.dir, secondName), filepath.Join(back, secondName))
			err = errors.Join(err, os.Remove(filepath.Join(back, redoName)))
		} else {
			back = s.dir
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			s = open(t, back, Options{})
			if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": "new", "c": "3"}) || s.Instance() != instance || s.LastCSN() < 20 {
				t.Errorf("gone %v, start %d: %v, CSN %d", gone, i, got, s.LastCSN())
			}
			if got := published(t, s); !maps.Equal(got, lines) || len(got) != maxBatchLines+1 {
				t.Errorf("gone %v, start %d: %d published UUIDs, there were %d", gone, i, len(got), len(lines))
			}
			if told := s.Mended(); (len(told) > 0) != (i == 0) {
				t.Errorf("gone %v, start %d: told %q", gone, i, told)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Bounded size: the file is begun anew once it has outgrown what is in it, while commits go on. What has
// no copy is not in it.
func TestSecondStaysSmall(t *testing.T) {
	s := open(t, t.TempDir(), Options{Uncopied: []string{"bulk/"}})
	path := filepath.Join(s.dir, secondName)
	value := bytes.Repeat([]byte("v"), 50_000)
	commit(t, s, &Batch{Records: []Record{{"bulk/1", bytes.Repeat([]byte("B"), 900_000)}}})
	const rounds = 100
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { // whoever reads meanwhile
		defer wg.Done()
		for range rounds {
			s.Records("", func(string, []byte) error { return nil }) //nolint:errcheck // it is for the race detector
		}
	}()
	for i := range rounds {
		commit(t, s, &Batch{Records: []Record{{fmt.Sprint("r", i%3), append(fmt.Append(nil, i), value...)}}})
	}
	wg.Wait()
	s.sweeper.await()
	s.tendSecond() // where the last commit came behind the sweeper's look
	info, err := os.Stat(path)
	if err != nil || info.Size() > 3*3*int64(len(value))+secondSlack {
		t.Fatalf("%d bytes, %v", info.Size(), err)
	}
	want := records(t, s, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := readSecond(content)
	if len(want) != 4 || !c.whole || len(c.ops) != 3 || bytes.Contains(content, []byte("BBBB")) {
		t.Fatalf("%d records, whole %v, copied %d", len(want), c.whole, len(c.ops))
	}
	for key, stored := range c.ops {
		if value, err := unseal([]byte(key), stored); err != nil || string(value) != want[key[1:]] {
			t.Errorf("%s is not what is stored, %v", key[1:], err)
		}
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	s = open(t, s.dir, s.opts)
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was begun is left: %v", err)
	}
}

// A copy that cannot be written keeps nothing from being committed, and is gone: nobody believes what lags behind.
func TestSecondNotWritten(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}}})
	s.second.f.Close()
	commit(t, s, &Batch{Records: []Record{{"a", []byte("2")}}})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("3")}}})
	if _, err := os.Stat(filepath.Join(s.dir, secondName)); !errors.Is(err, fs.ErrNotExist) || strings.Count(log.String(), "second copy") != 1 {
		t.Errorf("the file is there: %v; log %s", err, &log)
	}
	s = reopen(t, s)
	if got := records(t, s, ""); got["a"] != "3" || s.second.f == nil {
		t.Errorf("%v", got)
	}
}

// R33: a file that cannot be begun anew goes on as it was: where badger has a record no more, it has the only copy.
func TestR33SecondIsKept(t *testing.T) {
	for _, lost := range []bool{true, false} {
		s := open(t, t.TempDir(), Options{})
		path := filepath.Join(s.dir, secondName)
		commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}, {"b", []byte("0")}}})
		if lost {
			key := recordKey("a")
			stored := seal(key, []byte("1"))
			stored[len(stored)/2] ^= 4
			if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, stored) }); err != nil {
				t.Fatal(err)
			}
		} else if err := os.MkdirAll(filepath.Join(path+".new", "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		commit(t, s, &Batch{Records: []Record{{"b", []byte("2")}}})
		begunAt(s, -secondSlack) // so that it is too large
		s.tendSecond()
		if _, err := os.Stat(path + ".new"); lost && !errors.Is(err, fs.ErrNotExist) || s.second.f == nil || s.second.isOutgrown() {
			t.Errorf("lost %v: what was begun is there: %v; the file is %+v", lost, err, s.second)
		}
		commit(t, s, &Batch{Records: []Record{{"b", []byte("3")}}})
		if err := os.RemoveAll(path + ".new"); err != nil {
			t.Fatal(err)
		}
		if !lost {
			s = flip(t, s, recordKey("a"))
		}
		s = reopen(t, s)
		if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": "1", "b": "3"}) {
			t.Errorf("lost %v: %v, told %q", lost, got, s.Mended())
		}
	}
}

// begunAt has the file pass for one that was of a size when it was begun.
func begunAt(s *Store, size int64) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.second.fresh = size
}

// R33: nor does a start that cannot begin a large file anew do without it.
func TestR33SecondIsKeptAtStart(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	begunAt(s, 1<<30) // so that it grows
	path := filepath.Join(s.dir, secondName)
	for i := range 3 * secondSlack / 2 / 100_000 {
		commit(t, s, &Batch{Records: []Record{{"a", append(fmt.Append(nil, i), make([]byte, 100_000)...)}}})
	}
	commit(t, s, &Batch{Records: []Record{{"a", []byte("last")}, {"b", []byte("b")}}})
	if err := os.MkdirAll(filepath.Join(path+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if info, err := os.Stat(path); err != nil || info.Size() < secondSlack || !strings.Contains(log.String(), "cannot be begun anew") {
		t.Fatalf("%v, %v, log %s", info, err, &log)
	}
	commit(t, s, &Batch{Records: []Record{{"b", []byte("c")}}})
	if err := os.RemoveAll(path + ".new"); err != nil {
		t.Fatal(err)
	}
	s = flip(t, s, recordKey("b"))
	s = open(t, s.dir, s.opts)
	if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": "last", "b": "c"}) || s.second.size > secondSlack {
		t.Errorf("%v, told %q, %d bytes", got, s.Mended(), s.second.size)
	}
}

// Of published UUIDs the last line counts, however often they were changed: a start begins the file anew where the others are most of it.
func TestSecondCountsLastLines(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	begunAt(s, 1<<30) // so that it grows
	for i := range 20 {
		var many []PublishedAs
		for n := range 2_000 {
			p := PublishedAs{1, scattered(n), scattered(n + 1 + i)}
			if i%2 == 1 {
				p.Published = dit.UUID{}
			}
			many = append(many, p)
		}
		commit(t, s, &Batch{Published: many})
	}
	commit(t, s, &Batch{Published: []PublishedAs{{1, scattered(7), scattered(8)}}})
	before := s.second.size
	if s = reopen(t, s); before < secondSlack || s.second.size > secondSlack/8 {
		t.Errorf("%d bytes, were %d", s.second.size, before)
	}
	if got := published(t, s); len(got) != 1 || got[scattered(7)] != scattered(8) {
		t.Errorf("%d published UUIDs", len(got))
	}
}

// A commit of the persist stage, which changes entries and a cookie, costs no append.
func TestSecondOfContent(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b"})
	size := s.second.size
	commit(t, s, &Batch{CSN: 500, Puts: []Put{{Claim: 1, UUID: scattered(1), Gen: 1, CSN: 500, Value: []byte("c")}}, Cookies: []Claim{{ID: 1, Cookie: []byte("d")}}})
	if taken(s); s.second.size != size {
		t.Errorf("%d bytes were appended", s.second.size-size)
	}
	refresh(t, s, 1, 600, "cookie", map[int]string{1: "a", 2: "b"})
	if s.second.size == size {
		t.Error("a refresh is not in it")
	}
}

// R33: a file that has all that badger has is kept where it cannot be begun anew, whatever it has of claims and generations that are
// gone; one that has not, or has a record more, is not.
func TestR33SecondIsBelieved(t *testing.T) {
	for _, c := range []struct {
		what string
		fn   func(t *testing.T, s *Store) *Store
		want map[string]string // after badger's record "a" is damaged
	}{
		{"a full reload", func(t *testing.T, s *Store) *Store {
			refresh(t, s, 1, 300, "cookie", map[int]string{1: "A", 2: "B"})
			return reopen(t, s)
		}, map[string]string{"a": "1"}},
		{"a claim dropped", func(t *testing.T, s *Store) *Store {
			if err := s.DropClaim(1, &Batch{}); err != nil {
				t.Fatal(err)
			}
			return reopen(t, s)
		}, map[string]string{"a": "1"}},
		{"a record more", func(t *testing.T, s *Store) *Store {
			commit(t, s, &Batch{Records: []Record{{"b", []byte("2")}}})
			s = tamper(t, s, func(txn *badger.Txn) error { return txn.Delete(recordKey("b")) })
			return open(t, s.dir, s.opts)
		}, map[string]string{}},
		{"another record", func(t *testing.T, s *Store) *Store {
			key := recordKey("a")
			s = tamper(t, s, func(txn *badger.Txn) error { return txn.Set(key, seal(key, []byte("2"))) })
			return open(t, s.dir, s.opts)
		}, map[string]string{}},
	} {
		s := open(t, t.TempDir(), Options{})
		commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}}})
		refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b"})
		path := filepath.Join(s.dir, secondName)
		if err := os.MkdirAll(filepath.Join(path+".new", "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		s = c.fn(t, s)
		if there := isThere(path); there != (len(c.want) > 0) || there != (s.second.f != nil) {
			t.Errorf("%s: the file is there: %v", c.what, there)
		}
		s = flip(t, s, recordKey("a"))
		s = open(t, s.dir, s.opts)
		if got := records(t, s, ""); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v, told %q", c.what, got, c.want, s.Mended())
		}
	}
}

// R33: the file takes no room that the store has not got, and once there is some again, a file that could not be written is made again
// while the store is in use.
func TestR33SecondIsMadeAgain(t *testing.T) {
	g, due := newGauge(plenty), make(chan time.Time)
	look := func() {
		for range 2 { // the sweeper, which is for the second, has done what the first was for
			due <- time.Time{}
		}
	}
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Space: g.space, due: due, Log: slog.New(slog.NewTextHandler(&log, nil))})
	path := filepath.Join(s.dir, secondName)
	value := bytes.Repeat([]byte("v"), 1<<20)
	commit(t, s, &Batch{Records: []Record{{"a", value}}, Published: []PublishedAs{{1, scattered(1), scattered(2)}}})
	s.writeMu.Lock()
	s.withoutSecond(unix.ENOSPC)
	s.writeMu.Unlock()
	g.free.Store(minReserve/factsShare + 2<<20) // what it takes is some bytes more
	look()
	if isThere(path) || isThere(path+".new") {
		t.Error("it is made again without room")
	}
	commit(t, s, &Batch{Records: []Record{{"b", []byte("1")}}})
	g.free.Store(plenty)
	look()
	commit(t, s, &Batch{Records: []Record{{"b", []byte("2")}, {"c", []byte("3")}}})
	look() // nothing is to be done
	s = flip(t, s, recordKey("b"))
	if n, again := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "is written again"); n != 2 || again != 1 { // the other: the disk is nearly full
		t.Errorf("told %d errors, and %d times that it is there:\n%s", n, again, &log)
	}
	s = open(t, s.dir, Options{})
	if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": string(value), "b": "2", "c": "3"}) || len(s.Mended()) != 1 {
		t.Errorf("%d records, told %q", len(got), s.Mended())
	}
	content, err := os.ReadFile(path)
	if c := readSecond(content); err != nil || !c.whole || len(c.lines) != 1 {
		t.Errorf("%v, whole %v, %d published UUIDs", err, c.whole, len(c.lines))
	}
}
