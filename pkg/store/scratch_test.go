package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func newScratch(t *testing.T, o Options) *Scratch {
	t.Helper()
	s := open(t, t.TempDir(), o)
	c, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// noise makes n bytes that are like no others.
func noise(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], r.Uint64())
	rand.NewChaCha8(seed).Read(p) // gives no error
	return p
}

// Random writes, reads and frees against a map; at the end all is one free extent, which the file system has back.
func TestScratch(t *testing.T) {
	c := newScratch(t, Options{})
	r := rand.New(rand.NewPCG(1, 1))
	held := map[int64][]byte{}
	for range 400 {
		if r.IntN(5) < 3 {
			p := noise(r, 1+r.IntN(3*scratchUnit))
			at, err := c.Write(p)
			if err != nil || held[at] != nil {
				t.Fatalf("place %d: %v", at, err)
			}
			held[at] = p
		} else {
			for at, p := range held {
				c.Free(at, len(p))
				delete(held, at)
				break
			}
		}
		for at, p := range held {
			from := r.IntN(len(p))
			got := make([]byte, r.IntN(len(p)-from)+1)
			if err := c.Read(got, at+int64(from)); err != nil || !bytes.Equal(got, p[from:][:len(got)]) {
				t.Fatalf("%d bytes at %d+%d are not what was written: %v", len(got), at, from, err)
			}
			break
		}
		for i := 1; i < len(c.free); i++ {
			if c.free[i-1].at+c.free[i-1].n >= c.free[i].at {
				t.Fatalf("free are %v", c.free)
			}
		}
	}
	for at, p := range held {
		c.Free(at, len(p))
	}
	if len(c.free) != 1 || c.free[0] != (extent{0, c.end}) || c.end == 0 {
		t.Errorf("free are %v of %d", c.free, c.end)
	}
	info, err := c.f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if punch := unix.Fallocate(int(c.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1); punch == nil && onDisk(info) > 2*scratchUnit {
		t.Errorf("the file has %d bytes still", onDisk(info))
	}
}

// The file has no name, so that no crash leaves it; one that somebody left does not matter.
func TestScratchUnnamed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	path := filepath.Join(dir, scratchName)
	if err := os.WriteFile(path, []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || c.Name() != path {
		t.Errorf("%s: %v", path, err)
	}
	at, err := c.Write([]byte("kept"))
	got := make([]byte, 4)
	if err := errors.Join(err, c.Read(got, at)); err != nil || string(got) != "kept" {
		t.Errorf("%q: %v", got, err)
	}
	if err := c.Read(make([]byte, 5), at); err == nil {
		t.Error("more was read than is there")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.Free(at, 4) // as what nobody reaches any more does, whenever that is found out
	if err := c.Read(got, at); err == nil || !strings.HasPrefix(err.Error(), "read: ") {
		t.Errorf("a read after the end: %v", err)
	}
	if _, err := c.Write(got); err == nil {
		t.Error("a write after the end")
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Scratch(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("where there is a directory: %v", err)
	}
}

// The scratch leaves free what the store needs, and half as much; its place comes free after a refusal.
func TestScratchLeavesRoom(t *testing.T) {
	g := newGauge(plenty)
	c := newScratch(t, Options{Space: g.space})
	p := make([]byte, 3*scratchUnit)
	leave := c.s.reserve(100<<30) / 100 * scratchLeaves
	g.free.Store(leave + int64(len(p)) - 1)
	if _, err := c.Write(p); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), c.name) {
		t.Errorf("%v", err)
	}
	if c.s.Full() != nil {
		t.Error("content is refused where the scratch is")
	}
	g.free.Store(leave + int64(len(p)))
	if at, err := c.Write(p); err != nil || at != 0 {
		t.Errorf("at %d: %v", at, err)
	}
}

// A file system that is really full: what fits is kept, what does not is refused, and its place is not lost.
func TestScratchSmallDisk(t *testing.T) {
	s := open(t, smallDisk(t), Options{Space: newGauge(plenty).space}) // which tells of room that is not there
	c, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(1, 1))
	held := map[int64][]byte{}
	for err == nil {
		p := noise(r, 1<<20)
		var at int64
		if at, err = c.Write(p); err == nil {
			held[at] = p
		}
		if len(held) > 100 {
			t.Fatal("64 MB hold more than 100")
		}
	}
	if !errors.Is(err, unix.ENOSPC) || len(held) < 5 {
		t.Fatalf("%d blocks, then %v", len(held), err)
	}
	for at, p := range held {
		got := make([]byte, len(p))
		if err := c.Read(got, at); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("block at %d: %v", at, err)
		}
		c.Free(at, len(p))
	}
	if _, err := c.Write(noise(r, 1<<20)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Several at a time write, read and free.
func TestScratchParallel(t *testing.T) {
	c := newScratch(t, Options{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for range 50 {
				p := noise(r, 1+r.IntN(2*scratchUnit))
				got := make([]byte, len(p))
				at, err := c.Write(p)
				if err := errors.Join(err, c.Read(got, at)); err != nil || !bytes.Equal(got, p) {
					t.Errorf("block at %d: %v", at, err)
					return
				}
				c.Free(at, len(p))
			}
		})
	}
	wg.Wait()
}
