package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// faults fail a step of a store at its own files: the n-th alone, or it and all behind it.
type faults struct {
	onward bool

	mu    sync.Mutex
	n     int
	steps []string // that were taken, and those that failed
}

func (f *faults) failing(step string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == -1 || f.onward && f.n < 0 {
		f.steps = append(f.steps, step+": failed")
		return errDisk
	}
	f.steps = append(f.steps, step)
	return nil
}

func (f *faults) met() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n < 0
}

// R33, R35: each write, sync, rename and removal at the files redo and records, and each word in shaft.lock, fails in turn, once and
// from then on, with half of what was to be written there. None of them is needed to take a commit, and none costs one: killed or closed, the store
// has everything.
func TestR35EveryFileFails(t *testing.T) {
	deeds := slices.Concat(deeds[:4], deeds[5:]) // without the one that is large
	var want string
	none := &faults{n: 1 << 30}
	withFaults(t, none, deeds, &want)
	for n := range none.steps {
		for _, onward := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, onward %v", n, onward), func(t *testing.T) {
				t.Parallel()
				f := &faults{onward: onward, n: n}
				if withFaults(t, f, deeds, &want); !f.met() {
					t.Error("no step failed")
				}
				if t.Failed() {
					t.Log(strings.Join(f.steps, "\n"))
				}
			})
		}
	}
}

// withFaults does the deeds beside faults, and wants the store to say the same as ever, which is what it says the first time.
func withFaults(t *testing.T, f *faults, deeds []func(*Store) error, want *string) {
	t.Helper()
	same := func(how string, s *Store) {
		t.Helper()
		now := standingOf(t, s)
		if *want == "" {
			*want = now
		}
		if now != *want {
			t.Errorf("%s it is\n%.500s\nwant\n%.500s", how, now, *want)
		}
	}
	dir := t.TempDir()
	s, err := Open(dir, Options{Now: atZero, valueFile: 1 << 20, disk: disk{f.failing}})
	if err != nil {
		if !errors.Is(err, errDisk) || !f.met() {
			t.Fatal(err)
		}
		dir = copyFiles(t, dir) // badger may be as it was
		if s, err = Open(dir, Options{Now: atZero, valueFile: 1 << 20}); err != nil {
			t.Fatalf("it starts no more: %v", err)
		}
	}
	for i, deed := range deeds {
		if err := deed(s); err != nil {
			t.Fatalf("deed %d: %v", i, err)
		}
	}
	killed := copyFiles(t, dir)
	same("open", s)
	if err := s.Close(); err != nil && !errors.Is(err, errDisk) {
		t.Error(err)
	}
	closed := copyFiles(t, dir)
	s.db.Close() //nolint:errcheck // which a Close that failed has left to the end of the process
	for how, dir := range map[string]string{"closed": closed, "killed": killed} {
		s, err := Open(dir, Options{Now: atZero, valueFile: 1 << 20})
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		same(how+", and opened again", s)
		for _, words := range s.Mended() {
			if !strings.Contains(words, "the second copy of what was decided here") || !strings.Contains(words, "it is made again") {
				t.Errorf("%s: %s", how, words)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
