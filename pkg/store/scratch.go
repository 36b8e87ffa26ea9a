package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// scratchName is a file for what does not fit into memory. It has a name for a moment only: what is in it
// ends with the process, and no start ever reads it.
const scratchName = "scratch"

// scratchUnit is what places in the scratch are multiples of, so that what is left between them can be
// given back to the file system.
const scratchUnit = 64 << 10

// scratchLeaves is what the scratch leaves free, in percent of the store's reserve: content comes first, also
// where it was refused and waits for a quarter more.
const scratchLeaves = 150

// Scratch is room on the store's file system that lasts as long as the process. Its methods are safe for
// concurrent use; Close comes after all of them but Free.
type Scratch struct {
	s    *Store
	f    *os.File
	name string

	mu     sync.Mutex
	free   []extent // between places, by their beginning
	end    int64
	closed bool
}

// extent is a part of the file: n bytes at at.
type extent struct{ at, n int64 }

// Scratch makes the file, which goes by itself with the process.
func (s *Store) Scratch() (*Scratch, error) {
	path := filepath.Join(s.dir, scratchName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("file for what does not fit into memory: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return nil, errors.Join(fmt.Errorf("file for what does not fit into memory: %w", err), f.Close())
	}
	return &Scratch{s: s, f: f, name: path}, nil
}

// Name is the path that the file had.
func (c *Scratch) Name() string { return c.name }

// Write keeps a copy of p and says where. It is refused where the file system would be left with less
// than the store itself should find; after any error nothing is kept.
func (c *Scratch) Write(p []byte) (at int64, err error) {
	sp, err := c.s.opts.Space()
	if err != nil {
		return 0, err
	}
	if leave := c.s.reserve(sp.Total) / 100 * scratchLeaves; sp.Free-int64(len(p)) < leave {
		return 0, fmt.Errorf("%s is not written: %w (%s; %s stay free)", c.name, ErrFull, sp, mega(leave))
	}
	at = c.take(units(len(p)))
	if _, err := c.f.WriteAt(p, at); err != nil {
		c.give(extent{at, units(len(p))})
		return 0, fmt.Errorf("write: %w", err)
	}
	return at, nil
}

// Read fills p from what was written at at, or from behind its beginning.
func (c *Scratch) Read(p []byte, at int64) error {
	if _, err := c.f.ReadAt(p, at); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

// Free gives a place up, and its room back to the file system, where that takes it.
func (c *Scratch) Free(at int64, n int) { c.give(extent{at, units(n)}) }

// Close gives all of it up.
func (c *Scratch) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.f.Close()
}

func units(n int) int64 { return (int64(n) + scratchUnit - 1) / scratchUnit * scratchUnit }

// take finds n bytes: the first place that is large enough, or the end.
func (c *Scratch) take(n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.free {
		e := &c.free[i]
		if e.n < n {
			continue
		}
		at := e.at
		e.at, e.n = e.at+n, e.n-n
		if e.n == 0 {
			c.free = slices.Delete(c.free, i, i+1)
		}
		return at
	}
	at := c.end
	c.end += n
	return at
}

// give puts an extent among those that are free, and makes one of it and its neighbours.
func (c *Scratch) give(e extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	// Where it cannot be done the room is used again, and given back at the end.
	_ = unix.Fallocate(int(c.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.at, e.n)
	i, _ := slices.BinarySearchFunc(c.free, e, func(a, b extent) int { return cmp.Compare(a.at, b.at) })
	c.free = slices.Insert(c.free, i, e)
	if i+1 < len(c.free) && e.at+e.n == c.free[i+1].at {
		c.free[i].n += c.free[i+1].n
		c.free = slices.Delete(c.free, i+1, i+2)
	}
	if i > 0 && c.free[i-1].at+c.free[i-1].n == e.at {
		c.free[i-1].n += c.free[i].n
		c.free = slices.Delete(c.free, i, i+1)
	}
}
