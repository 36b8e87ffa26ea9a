package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// R52: what the store takes, what there is, and how long commits took, those that went well.
func TestR52Usage(t *testing.T) {
	var commits atomic.Int64
	s := open(t, t.TempDir(), Options{Committed: func(took time.Duration) {
		if took <= 0 {
			t.Errorf("a commit took %v", took)
		}
		commits.Add(1)
	}})
	before, err := s.Usage()
	if err != nil || before.Size == 0 || before.Free == 0 || before.Total < before.Free || before.Changes != 0 {
		t.Fatalf("an empty store: %+v, %v", before, err)
	}
	begun := commits.Load()
	commit(t, s, &Batch{CSN: 3, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 3, Value: bytes.Repeat([]byte("x"), 1<<20)}},
		Changes: []Change{{CSN: 3, Kind: ChangeAdd, UUID: scattered(1)}}})
	if err := s.DropClaim(1, &Batch{CSN: 4}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(&Batch{CSN: 1, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 1}}}); err == nil {
		t.Error("a CSN that goes back was taken")
	}
	if n := commits.Load() - begun; n != 2 {
		t.Errorf("%d commits were told of, want 2", n)
	}
	after, err := s.Usage()
	if err != nil || after.Size < before.Size+1<<19 || after.Changes != 1 {
		t.Errorf("with a megabyte: %+v, before %+v; %v", after, before, err)
	}
}

// R52: what is kept free, and whether content is refused for it.
func TestR52UsageOfANearlyFullDisk(t *testing.T) {
	g := newGauge(plenty)
	s := open(t, t.TempDir(), Options{Space: g.space})
	for _, c := range []struct {
		free int64
		full bool
	}{{plenty, false}, {minReserve, false}, {minReserve - 1, true}, {plenty, false}} {
		g.free.Store(c.free)
		u, err := s.Usage()
		if err != nil || u.Free != c.free || u.Total != 100<<30 || u.Reserve != minReserve || u.Full != c.full {
			t.Errorf("%d free: %+v, %v", c.free, u, err)
		}
	}
}

// A directory that went away is an error that names it.
func TestUsageWithoutDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir, Options{})
	s.dir = filepath.Join(dir, "gone")
	if _, err := s.Usage(); err == nil || !strings.Contains(err.Error(), s.dir) || !os.IsNotExist(unwrapped(err)) {
		t.Errorf("got %v", err)
	}
	s.dir = dir
}

func unwrapped(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}
