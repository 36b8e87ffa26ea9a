package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shaft/pkg/dit"
)

// bulk is a value of some bytes that a stage has written to the value log.
func bulk(text string, i, size int) string {
	return fmt.Sprintf("%s %d %s", text, i, strings.Repeat(string(rune('a'+i%26)), size))
}

// bulks are many, by number.
func bulks(text string, from, to, size int) map[int]string {
	out := map[int]string{}
	for i := from; i < to; i++ {
		out[i] = bulk(text, i, size)
	}
	return out
}

// whole reads a claim's values in full.
func whole(t *testing.T, s *Store, claim uint32) map[dit.UUID]string {
	t.Helper()
	got := map[dit.UUID]string{}
	if err := s.Entries(claim, func(it Item) error { got[it.UUID] = string(it.Value); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func byUUID(values ...map[int]string) map[dit.UUID]string {
	out := map[dit.UUID]string{}
	for _, m := range values {
		for i, v := range m {
			out[scattered(i)] = v
		}
	}
	return out
}

func valueFiles(t *testing.T, s *Store) []string {
	t.Helper()
	names, err := (&mender{dir: s.dir}).files("", ".vlog")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What a stage writes is in the value log from bulkThreshold on, and nothing else is below valueThreshold.
func TestStagedValuesGoToTheValueLog(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "", map[int]string{1: bulk("staged", 1, bulkThreshold), 2: bulk("little", 2, bulkThreshold/2)})
	commit(t, s, &Batch{
		CSN: 200, Puts: []Put{{Claim: 1, UUID: scattered(3), Gen: 1, CSN: 200, Value: []byte(bulk("single", 3, 4000))}},
		Records: []Record{{"r", []byte(bulk("record", 4, 4000))}},
	})
	data, _ := readSparse(t, filepath.Join(s.dir, valueFiles(t, s)[0]))
	for text, want := range map[string]bool{"staged": true, "little": false, "single": false, "record": false} {
		if bytes.Contains(data, []byte(text)) != want {
			t.Errorf("%s: in the value log %v, want %v", text, !want, want)
		}
	}
	if n := len(whole(t, reopen(t, s), 1)); n != 3 {
		t.Errorf("%d entries", n)
	}
}

// halfGarbage is a store with a file of values of which every entry but each tenth was replaced.
func halfGarbage(t *testing.T, o Options) (s *Store, want map[dit.UUID]string) {
	t.Helper()
	o.memTable, o.valueFile = 1<<20, 1<<20
	s = open(t, t.TempDir(), o)
	old := bulks("old", 0, 2000, 500)
	refresh(t, s, 1, 1000, "", old)
	next := map[int]string{}
	for i := range old {
		if i%10 != 0 {
			next[i] = bulk("new", i, 400)
		}
	}
	refresh(t, s, 1, 10_000, "cookie", next)
	maps.Copy(old, next)
	for i := range levelZeroTables + 1 { // what is in memory gets into tables, and these are merged
		commit(t, s, &Batch{CSN: dit.CSN(15_000 + i)})
		s = reopen(t, s)
	}
	if err := s.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	if len(valueFiles(t, s)) < 3 {
		t.Fatalf("files %v", valueFiles(t, s))
	}
	return s, byUUID(old)
}

// R33: files of values that are mostly garbage are removed, and what was alive in them is where it was, now and after a start.
func TestR33Collect(t *testing.T) {
	s, want := halfGarbage(t, Options{})
	before := valueFiles(t, s)
	it := newIterator(s.view.txn, contentPrefix(1)) // a reader that began before
	it.Rewind()
	s.collect()
	for n := 0; it.Valid(); it.Next() {
		key := it.Item().Key()
		err := it.Item().Value(func(v []byte) error { _, err := unseal(key, v); return err })
		if n++; err != nil {
			t.Fatalf("record %d of a reader: %v", n, err)
		}
	}
	it.Close()
	after := valueFiles(t, s)
	for _, name := range before[:1] {
		if _, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			t.Errorf("%s is there still, of %v: %v", name, before, after)
		}
	}
	for range 2 {
		if got := whole(t, s, 1); !maps.Equal(got, want) || claimOf(s, 1).Damaged {
			t.Errorf("%d entries, want %d: %+v", len(got), len(want), claimOf(s, 1))
		}
		s = reopen(t, s)
	}
}

// R33: before badger reads a file of values to its first damaged entry and removes it, a bit that turned is put right, and
// of what is damaged otherwise only that is lost: the next start says so, and has the claim fetched again.
func TestR33CollectDamaged(t *testing.T) {
	for _, c := range []struct {
		what string
		fn   func(d []byte)
		lost int // entries at most
	}{
		{"nothing", func([]byte) {}, 0},
		{"a bit of a value", func(d []byte) { turn(d, 8*(len(d)/3)) }, 0},
		{"a bit of a length", func(d []byte) { turn(d, 8*(logHead+3)) }, 0},
		{"a value", func(d []byte) { clear(d[logHead+100 : logHead+140]) }, 1},
		{"a head", func(d []byte) { copy(d[logHead:], "rubbish rubbish rubbish") }, 1},
		{"a page", func(d []byte) { clear(d[8192:12288]) }, 10},
		{"the end", func(d []byte) { clear(d[len(d)-4096:]) }, 10},
	} {
		t.Run(c.what, func(t *testing.T) {
			var log bytes.Buffer
			s, want := halfGarbage(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			name := valueFiles(t, s)[0]
			path := filepath.Join(s.dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.fn(data)
			if err := os.WriteFile(path, data, 0o600); err != nil { // into the file that badger has mapped
				t.Fatal(err)
			}
			s.collect()
			if _, err := os.Stat(path); err == nil {
				t.Fatalf("%s is there still", name)
			}
			if told := strings.Contains(log.String(), "store file is damaged"); told != (c.what != "nothing") {
				t.Errorf("log: %s", &log)
			}
			s = reopen(t, s)
			got := whole(t, s, 1)
			for id, v := range got {
				if want[id] != v {
					t.Errorf("%x is %.30q, was %.30q", id, v, want[id])
				}
			}
			lost := len(want) - len(got)
			if lost > c.lost || claimOf(s, 1).Damaged != (lost > 0) {
				t.Errorf("%d entries are lost, at most %d: %+v", lost, c.lost, claimOf(s, 1))
			}
		})
	}
}

// R33: a file of values that cannot be looked at is not collected, and the store goes on.
func TestCollectUnreadable(t *testing.T) {
	var log bytes.Buffer
	s, want := halfGarbage(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	path := filepath.Join(s.dir, valueFiles(t, s)[0])
	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	s.collect()
	if !strings.Contains(log.String(), "collect value log") {
		t.Errorf("log: %s", &log)
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	commit(t, s, &Batch{CSN: 20_000})
	if got := whole(t, s, 1); !maps.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	s.collect()
	if _, err := os.Stat(path); err == nil {
		t.Error("not collected afterwards")
	}
}

// R33, R56: full reloads of content that changes each time give back the room of what they replace.
func TestReloadsGiveRoomBack(t *testing.T) {
	const (
		n     = 4000
		size  = 600
		loads = 10
	)
	s := open(t, t.TempDir(), Options{memTable: 1 << 20, valueFile: 1 << 20})
	largest := int64(0)
	for load := range loads {
		refresh(t, s, 1, dit.CSN(1+load*n), "", bulks(strconv.Itoa(load), 0, n, size))
		s.sweeper.await()
		if err := s.db.Flatten(1); err != nil { // what badger may be late with
			t.Fatal(err)
		}
		s.collect() // as the sweeper does, which may not be there yet
		used, err := sizeOf(s.dir, func(name string) bool { return filepath.Ext(name) == ".vlog" })
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, used)
	}
	if got := whole(t, s, 1); !maps.Equal(got, byUUID(bulks(strconv.Itoa(loads-1), 0, n, size))) {
		t.Errorf("%d entries", len(got))
	}
	// What three memtables and two files of values hold beside the content, of which garbage is half; 26 MB were written.
	if most := int64(9 * n * size); largest > most {
		t.Errorf("values took %d bytes, at most %d", largest, most)
	}
}

// R35: badger says only in its log that the value log could not be synced: the commit fails all the same, and the store takes no more.
func TestR35ValueLogSyncFails(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{CSN: 1, Puts: []Put{{Claim: 1, UUID: scattered(1), Value: []byte("kept")}}})
	unmapLastPage(t, filepath.Join(s.dir, valueFiles(t, s)[0]))
	st := begin(t, s, 1, bulks("v", 2, 3, 500))
	err := s.CommitStage(st, nil, "", 100, &Batch{})
	if err == nil || !strings.Contains(err.Error(), ErrFailed.Error()) || !strings.Contains(err.Error(), "sync value log") {
		t.Errorf("error %v", err)
	}
	if err := s.Commit(&Batch{CSN: 200}); err == nil {
		t.Error("another commit went well")
	}
	wantEntries(t, s, 1, map[int]string{1: "0/0/kept"})
}

// unmapLastPage takes away the last page of where a file is mapped, which nobody has written to: to sync the mapping fails then.
func unmapLastPage(t *testing.T, path string) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), path) {
			continue
		}
		_, to, _ := strings.Cut(strings.Fields(line)[0], "-")
		end, err := strconv.ParseUint(to, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		page := uintptr(os.Getpagesize())
		if _, _, e := unix.Syscall(unix.SYS_MUNMAP, uintptr(end)-page, page, 0); e != 0 {
			t.Fatal(e)
		}
		return
	}
	t.Fatalf("%s is not mapped", path)
}

// While a file of values is collected nothing else is written: a commit and a stage wait.
func TestCollectAlone(t *testing.T) {
	s, want := halfGarbage(t, Options{})
	var reports []string
	s.log = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) { reports = append(reports, string(p)) }), nil))
	s.staging.RLock() // a stage's transaction that is being written
	done := make(chan struct{})
	go func() { defer close(done); s.collect() }()
	for s.staging.TryRLock() { // until it waits for that
		s.staging.RUnlock()
		select {
		case <-done:
			t.Fatal("it did not wait")
		default:
			runtime.Gosched()
		}
	}
	if s.writeMu.TryLock() {
		s.writeMu.Unlock()
		t.Error("a commit need not wait for it")
	}
	s.mu.Lock()
	begun := len(s.rewritten)
	s.mu.Unlock()
	if begun > 0 {
		t.Error("it has begun before it waited")
	}
	s.staging.RUnlock()
	<-done
	if got := whole(t, s, 1); !maps.Equal(got, want) || len(reports) > 0 {
		t.Errorf("%d entries, want %d; told %q", len(got), len(want), reports)
	}
}

// R33: nothing is collected while a backup is written, of which the room would not be given back after kill -9, and nobody is
// told of that as of a failure; afterwards it is.
func TestCollectBesideBackup(t *testing.T) {
	var log bytes.Buffer
	s, want := halfGarbage(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	path := filepath.Join(s.dir, valueFiles(t, s)[0])
	calls := 0
	_, err := s.Backup(context.Background(), failingWriter(func() error {
		calls++
		s.collect()
		s.collect()
		_, err := os.Stat(path)
		return err
	}), BackupHeader{}, 1)
	if err != nil || calls == 0 {
		t.Errorf("%v, after %d calls", err, calls)
	}
	err = s.EntriesShared(1, func(int, Item) error {
		s.collect()
		_, err := os.Stat(path)
		return err
	})
	if err != nil || log.Len() > 0 {
		t.Errorf("%v, told %q", err, &log)
	}
	s.collect()
	if isThere(path) {
		t.Error("not collected afterwards")
	}
	wantWhole(t, s, "collected", want)
}

// R33: what badger finds out late, or found out before a start, is collected too, without another byte that is superseded.
func TestCollectNowAndThen(t *testing.T) {
	s, want := halfGarbage(t, Options{})
	path := filepath.Join(s.dir, valueFiles(t, s)[0])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	due := make(chan time.Time)
	s = open(t, s.dir, Options{memTable: 1 << 20, valueFile: 1 << 20, due: due})
	for range 2 { // the sweeper, which is for the second, has done what the first was for
		due <- time.Time{}
	}
	if isThere(path) {
		t.Fatal("it is there still")
	}
	wantWhole(t, s, "collected", want)
}

// Files of values that are not written to any more go out of the process' memory, and are read as before; also while they are collected.
func TestRestValues(t *testing.T) {
	s, want := halfGarbage(t, Options{})
	whole(t, s, 1)
	before := residentTables(t, s)
	if err := s.Rest(); err != nil {
		t.Fatal(err)
	}
	if after := residentTables(t, s); after > before/4 {
		t.Errorf("%d kB of %d kB are in memory after a rest", after, before)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.collect() }()
	for range 50 {
		if err := s.Rest(); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if got := whole(t, s, 1); !maps.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }
