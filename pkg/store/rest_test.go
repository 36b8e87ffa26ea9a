package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]mapping{
		"7f10-7f20 rw-s 00000000 fe:00 123                        /var/lib/shaft/000001.sst": {0x7f10, 0x7f20, "/var/lib/shaft/000001.sst"},
		"7f10-7f20 r--s 00000000 fe:00 123 /a b/000001.sst (deleted)":                        {0x7f10, 0x7f20, "/a b/000001.sst (deleted)"},
		"7f10-7f20 rw-p 00000000 fe:00 123                        /var/lib/shaft/000001.sst": {},
		"c000000000-c000400000 rw-p 00000000 00:00 0 ":                                       {},
		"7ffd-7ffe rw-p 00000000 00:00 0                          [stack]":                   {},
		"7f20-7f10 rw-s 00000000 fe:00 123                        /a":                        {},
		"7fxx-7f10 rw-s 00000000 fe:00 123                        /a":                        {},
		"": {}, "7f10": {}, "7f10-7f20 rw-s": {},
	} {
		got, ok := parseMapping(line)
		if ok != (want != mapping{}) || ok && got != want {
			t.Errorf("%q: %+v, %v", line, got, ok)
		}
	}
}

// residentTables sums what of the tables of a store counts as memory of this process, in kB.
func residentTables(t *testing.T, s *Store) (kb int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for line := range strings.Lines(string(smaps)) {
		if m, ok := parseMapping(strings.TrimSuffix(line, "\n")); ok {
			ours = strings.HasPrefix(m.path, s.dir) && (strings.HasSuffix(m.path, ".sst") || strings.HasSuffix(m.path, ".vlog"))
		} else if strings.Contains(line, "-") && !strings.Contains(line, ":  ") {
			ours = false
		}
		var n int
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &n); err == nil && ours {
			kb += n
		}
	}
	return kb
}

// What was read goes out of the process' memory, and is read as before; also while content is
// read and tables are merged.
func TestRest(t *testing.T) {
	s := reopen(t, partStore(t))
	want := entries(t, s, 1)
	if kb := residentTables(t, s); kb < 1000 {
		t.Fatalf("%d kB of tables are in memory after all was read", kb)
	}
	for deadline := time.Now().Add(30 * time.Second); ; { // badger may be reading them at this moment
		if err := s.Rest(); err != nil {
			t.Fatal(err)
		}
		if kb := residentTables(t, s); kb <= 500 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d kB of tables are in memory after a rest", kb)
		}
	}
	merged := make(chan error, 1)
	go func() { merged <- s.db.Flatten(2) }()
	for over := false; !over; {
		select {
		case err := <-merged:
			if over = true; err != nil {
				t.Error(err)
			}
		default:
		}
		if err := s.Rest(); err != nil {
			t.Fatal(err)
		}
		if got := entries(t, s, 1); !maps.Equal(got, want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
	}
	s.Close()
	if err := s.Rest(); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}

// While a refresh is written the file of values that it goes into goes out of the process' memory too, unless somebody else
// writes at that moment; what was written is read as before, and writing goes on.
func TestRestBesides(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	st := stageMany(t, s, 1, 4000, 1000)
	before := residentTables(t, s)
	if before < 3000 {
		t.Fatalf("%d kB of values are in memory once they were written", before)
	}
	for name, lock := range map[string]sync.Locker{"a commit": &s.writeMu, "a stage": s.staging.RLocker()} {
		lock.Lock()
		err := s.restBesides()
		lock.Unlock()
		if kb := residentTables(t, s); err != nil || kb < before/2 {
			t.Errorf("beside %s: %d kB of %d are in memory, %v", name, kb, before, err)
		}
	}
	if err := s.restBesides(); err != nil {
		t.Fatal(err)
	}
	if kb := residentTables(t, s); kb > before/4 {
		t.Errorf("%d kB of %d are in memory after a rest", kb, before)
	}
	if err := st.Put(scattered(4000), 4000, []byte("one more")); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitStage(st, nil, "", 1, &Batch{CSN: 5000}); err != nil {
		t.Fatal(err)
	}
	if n := len(whole(t, reopen(t, s), 1)); n != 4001 {
		t.Errorf("%d entries", n)
	}
}

// A refresh of more than restEvery rests as it is written.
func TestStageRests(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	st := stageMany(t, s, 1, 3*restEvery/10_000, 10_000)
	if kb := residentTables(t, s); kb > 2*restEvery>>10 {
		t.Errorf("%d kB of %d are in memory", kb, 3*restEvery>>10)
	}
	if err := s.CommitStage(st, nil, "", 1, &Batch{CSN: 50_000}); err != nil {
		t.Fatal(err)
	}
	if n := len(whole(t, s, 1)); n != 3*restEvery/10_000 {
		t.Errorf("%d entries", n)
	}
}
