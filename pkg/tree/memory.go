package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"
)

// Scratch keeps blocks that are to leave memory, for as long as the process lives. Write and Free are
// called by one goroutine or another, but for one block once; Read by any number at a time.
type Scratch interface {
	// Write keeps a copy of a block and says where; after an error it keeps nothing.
	Write(block []byte) (at int64, err error)
	// Read fills p from a place within what Write was given.
	Read(p []byte, at int64) error
	// Free gives up the n bytes of one block, which nobody reads any more.
	Free(at int64, n int)
	// Name says where it keeps things, for error texts.
	Name() string
}

// ReadError is what a reader of a value panics with that cannot be read back from the scratch: there is
// nothing right to go on with. Who runs a request or a change recovers from it.
type ReadError struct {
	Scratch string // its Name
	Err     error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("values cannot be read back from %s: %v", e.Scratch, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// AsReadError tells whether what was recovered is a ReadError; anything else but nil panics again.
func AsReadError(recovered any) error {
	if recovered == nil {
		return nil
	}
	if e, ok := recovered.(*ReadError); ok {
		return e
	}
	panic(recovered)
}

var errDamaged = errors.New("what is there is not what was written: its checksum does not match")

// Memory bounds what values take of the memory: where their blocks are more than that, those that were
// filled first go to a scratch. Several trees and packs may share one. A nil Memory has no bound.
type Memory struct {
	scratch Scratch
	report  func(error)

	bound, inside, outside atomic.Int64 // bytes
	serials                atomic.Uint64

	mu      sync.Mutex            // one block goes at a time
	queue   []weak.Pointer[block] // full and in memory, oldest first, or gone
	pruneAt int
	copied  []byte // of the block that goes
	failing bool
}

// NewMemory bounds values to so many bytes. Report is told when a block could not be moved to the
// scratch, once, and with nil when one could again; what cannot be moved stays in memory.
func NewMemory(bound int64, scratch Scratch, report func(error)) *Memory {
	m := &Memory{scratch: scratch, report: report}
	m.bound.Store(bound)
	return m
}

// SetBound changes the bound. With a smaller one it returns when blocks have been moved; a larger one
// is filled by what comes.
func (m *Memory) SetBound(bytes int64) {
	m.bound.Store(bytes)
	for m.moveOldest() {
	}
}

// Bound is the bound, in bytes.
func (m *Memory) Bound() int64 { return m.bound.Load() }

// Held is how many bytes blocks take in memory and in the scratch, those included that older versions
// alone have, and those that the next collection of garbage will find; and what the bound is.
type Held struct{ Inside, Outside, Bound int64 }

// Held tells what there is; of a nil Memory nothing.
func (m *Memory) Held() Held {
	if m == nil {
		return Held{}
	}
	return Held{m.inside.Load(), m.outside.Load(), m.bound.Load()}
}

// block holds encoded values, one after the other. What was written into it never changes; that it
// goes from memory to the scratch no reader notices.
type block struct {
	mem  atomic.Pointer[byte] // the first of size bytes; nil once they are in the scratch
	size int
	ids  []ID // the row of each value, in their order, 0: not put; a Builder's business alone
	full bool // nothing is added any more, and used is set
	used int

	serial uint64 // of its checksums; set before mem is nil
	held   *holding
}

// holding is what is to be given up when nobody can reach a block any more.
type holding struct {
	m    *Memory
	size int
	at   int64
	out  int // bytes in the scratch, at at; 0: in memory
}

// take makes a block of a buffer.
func (m *Memory) take(buf []byte) *block {
	b := &block{size: cap(buf)}
	buf = buf[:cap(buf)]
	b.mem.Store(&buf[0])
	if m != nil {
		m.inside.Add(int64(b.size))
		b.held = &holding{m: m, size: b.size}
		runtime.AddCleanup(b, (*holding).release, b.held)
	}
	return b
}

func (h *holding) release() {
	if h.out == 0 {
		h.m.inside.Add(-int64(h.size))
		return
	}
	h.m.outside.Add(-int64(h.out))
	h.m.scratch.Free(h.at, h.out)
}

// trimEach is how many blocks go at most when one is full, so that who fills blocks makes room for them,
// and gains on a bound that was exceeded, without being kept for long.
const trimEach = 2

// fill says that nothing is added to a block any more, of which used bytes are written.
func (m *Memory) fill(b *block, used int) {
	if b.full {
		return
	}
	b.full, b.used = true, used
	if m == nil {
		return
	}
	m.mu.Lock()
	if len(m.queue) >= m.pruneAt {
		m.queue = slices.DeleteFunc(m.queue, func(w weak.Pointer[block]) bool { return w.Value() == nil })
		m.pruneAt = 2*len(m.queue) + 64
	}
	m.queue = append(m.queue, weak.Make(b))
	m.mu.Unlock()
	for range trimEach {
		if !m.moveOldest() {
			break
		}
	}
}

// moveOldest moves one block to the scratch; false if there is no need to, or none can be moved.
func (m *Memory) moveOldest() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.inside.Load() > m.bound.Load() && len(m.queue) > 0 {
		b := m.queue[0].Value()
		if b == nil {
			m.queue = m.queue[1:]
			continue
		}
		err := m.move(b)
		if failing := err != nil; failing != m.failing {
			m.failing = failing
			m.report(err)
		}
		if err != nil {
			return false
		}
		m.queue = m.queue[1:]
		return true
	}
	return false
}

// move writes a block to the scratch, with a checksum in each value, and lets go of its memory. Who
// has read from that goes on with it.
func (m *Memory) move(b *block) error {
	serial := m.serials.Add(1)
	m.copied = append(m.copied[:0], b.bytes()[:b.used]...)
	for off := 0; off < b.used; {
		x := value(m.copied[off:])
		n := x.size()
		binary.LittleEndian.PutUint32(x[fieldSum:], x[:n].sum(serial, off))
		off += n
	}
	at, err := m.scratch.Write(m.copied)
	if cap(m.copied) > blockSize {
		m.copied = nil
	}
	if err != nil {
		return fmt.Errorf("values stay in memory, which holds more than it should: %w", err)
	}
	b.serial, b.held.at, b.held.out = serial, at, b.used
	m.inside.Add(-int64(b.size))
	m.outside.Add(int64(b.used))
	b.mem.Store(nil)
	return nil
}

// bytes are those of a block in memory.
func (b *block) bytes() []byte { return block0(b.mem.Load())[:b.size:b.size] }

// value is the one at off, and whatever follows it.
func (b *block) value(off uint32) value {
	if p := b.mem.Load(); p != nil {
		return value(block0(p)[off:b.size])
	}
	return b.fetch(int(off))
}

// firstRead is how much is read of a value of which not even the size is known: most are smaller.
const firstRead = 2 << 10

// fetch reads one value of a block in the scratch.
func (b *block) fetch(off int) value {
	return b.checked(off, b.readValue(off, firstRead))
}

// readValue reads n bytes, or as many as the value at off has if those are more, or as there are.
func (b *block) readValue(off, n int) value {
	x := b.read(off, n)
	if len(x) >= headSize && value(x).size() > len(x) {
		x = b.read(off, value(x).size())
	}
	return x
}

// read reads bytes of a block in the scratch into a slice of their own.
func (b *block) read(off, n int) value {
	x := make(value, max(min(n, b.used-off), 0))
	err := b.held.m.scratch.Read(x, b.held.at+int64(off))
	runtime.KeepAlive(b) // else its place may be another's meanwhile
	if err != nil {
		panic(&ReadError{b.held.m.scratch.Name(), err})
	}
	return x
}

// checked cuts the value off that begins x, which was read from off.
func (b *block) checked(off int, x value) value {
	if len(x) >= headSize {
		if n := x.size(); n <= len(x) && uint32(x.field(fieldSum)) == x[:n].sum(b.serial, off) {
			return x[:n:n]
		}
	}
	panic(&ReadError{b.held.m.scratch.Name(), errDamaged})
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of a value in the scratch, which tells as well that it is the one that was looked for.
func (x value) sum(serial uint64, off int) uint32 {
	return crc32.Update(mix(serial<<32^uint64(off)), castagnoli, x[fieldSum+4:])
}

// windowMost is how much a window reads at once of values that lie one behind the other.
const windowMost = 256 << 10

// window is how one goroutine reads values, so that several looks at one, or at those that follow it in
// a block, are not as many reads of the scratch.
type window struct {
	b    *block
	off  int // in the block, of buf
	buf  value
	size int // of the last read
	last int // offset of x in the block
	x    value
}

// value is block.value.
func (w *window) value(b *block, off uint32) value {
	if p := b.mem.Load(); p != nil {
		return value(block0(p)[off:b.size])
	}
	return w.fetch(b, int(off))
}

func (w *window) fetch(b *block, off int) value {
	if w.b != b || w.last != off {
		if !w.has(b, off) {
			w.read(b, off)
		}
		w.x, w.last = b.checked(off, w.buf[off-w.off:]), off
	}
	return w.x
}

// has tells whether the whole value is in buf.
func (w *window) has(b *block, off int) bool {
	if w.b != b || off < w.off || off+headSize > w.off+len(w.buf) {
		return false
	}
	return off+w.buf[off-w.off:].size() <= w.off+len(w.buf)
}

// read moves the window: a larger one if this is about where the last one ended.
func (w *window) read(b *block, off int) {
	if end := w.last + len(w.x); w.b == b && off >= end && off-end < w.size {
		w.size = min(4*w.size, windowMost)
	} else {
		w.size = firstRead
	}
	w.b, w.x = nil, nil // should it panic
	buf := b.readValue(off, w.size)
	w.b, w.off, w.buf, w.last = b, off, buf, -1
}
