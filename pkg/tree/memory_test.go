package tree

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// memoryScratch keeps blocks in a map, gives places that are free again to others, and fails when told to.
type memoryScratch struct {
	mu     sync.Mutex
	blocks map[int64][]byte
	free   []int64
	fails  error // of writes and reads
	spoilt bool  // nothing is where it was

	writes, reads, read atomic.Int64 // read are bytes
}

// scratchStep lies between the places of two blocks: larger than any.
const scratchStep = 1 << 30

func (s *memoryScratch) Write(block []byte) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return 0, s.fails
	}
	if s.blocks == nil {
		s.blocks = map[int64][]byte{}
	}
	at := int64(len(s.blocks)+len(s.free)) * scratchStep
	if n := len(s.free); n > 0 {
		at, s.free = s.free[n-1], s.free[:n-1]
	}
	s.blocks[at] = bytes.Clone(block)
	s.writes.Add(1)
	return at, nil
}

func (s *memoryScratch) Read(p []byte, at int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	block := s.blocks[at/scratchStep*scratchStep]
	if off := int(at % scratchStep); off+len(p) > len(block) || copy(p, block[off:]) < len(p) {
		return errors.New("a read beyond the block's end")
	}
	s.reads.Add(1)
	s.read.Add(int64(len(p)))
	return nil
}

func (s *memoryScratch) Free(at int64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.blocks[at]) != n && !s.spoilt {
		panic(fmt.Sprintf("%d bytes of %d are given up at %d", n, len(s.blocks[at]), at))
	}
	delete(s.blocks, at)
	s.free = append(s.free, at)
}

func (s *memoryScratch) Name() string { return "the map" }

func (s *memoryScratch) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// flip turns bits in all that is kept, beginning with the byte at off in each block.
func (s *memoryScratch) flip(off int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.blocks {
		b[off] ^= 0x10
	}
}

// swap puts each block in the place of another.
func (s *memoryScratch) swap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoilt = true
	places := slices.Sorted(maps.Keys(s.blocks))
	last := s.blocks[places[len(places)-1]]
	for _, at := range places {
		s.blocks[at], last = last, s.blocks[at]
	}
}

func (s *memoryScratch) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blocks)
}

// empties waits until nothing is kept any more, once no version is: places come free by collections of garbage.
func (s *memoryScratch) empties(t *testing.T, m *Memory) {
	t.Helper()
	eventually(t, func() bool {
		inside, outside := heldBy(m)
		return s.left() == 0 && inside == 0 && outside == 0
	})
}

func heldBy(m *Memory) (inside, outside int64) {
	h := m.Held()
	return h.Inside, h.Outside
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("it does not come true")
		}
	}
}

// wide is an entry of some 20 kB, so that 50 fill a block.
func wide(t testing.TB, i, round int) Value {
	return at(t, under(fmt.Sprintf("cn=e%d", i)), "sn", fmt.Sprint(i%5), "description", fmt.Sprintf("%d %d %s", i, round, strings.Repeat("w", 20_000)))
}

// wideTree holds n such entries, put one by one.
func wideTree(t testing.TB, m *Memory, n int) *Version {
	t.Helper()
	b := edit(plantedIn(t, m))
	for i := range n {
		b.Put(Row{UUID: uuid(i + 2)}, wide(t, i, 0))
	}
	return b.Done()
}

func sameWide(t *testing.T, v *Version, n, round int) {
	t.Helper()
	for i := range n {
		e := v.Entry(v.ByUUID(uuid(i + 2)))
		if want := wide(t, i, round); !bytes.Equal(e.User(), want.User) || !bytes.Equal(e.Oper(), want.Oper) || !bytes.Equal(e.DN(), want.Text) {
			t.Fatalf("%s is not what was put", want.Text)
		}
	}
}

// The bound is kept but for what is being filled; a smaller one moves blocks at once, a larger one lets new
// ones stay; what nobody holds any more gives its places back.
func TestMemoryBound(t *testing.T) {
	const n = 600 // 12 MB
	s := &memoryScratch{}
	m := NewMemory(4*blockSize, s, func(err error) { t.Error(err) })
	v := wideTree(t, m, n)
	inside, outside := heldBy(m)
	if inside > 6*blockSize || outside < 6*blockSize || m.Bound() != 4*blockSize {
		t.Errorf("%d bytes are in memory, %d outside", inside, outside)
	}
	sameWide(t, verified(t, v), n, 0)
	m.SetBound(blockSize)
	if inside, _ = heldBy(m); inside > 2*blockSize {
		t.Errorf("%d bytes are in memory under a bound of %d", inside, blockSize)
	}
	sameWide(t, v, n, 0)

	m.SetBound(1 << 40)
	writes := s.writes.Load()
	old := v
	b := edit(v)
	for i := range n {
		b.Put(Row{UUID: uuid(i + 2)}, wide(t, i, 1))
	}
	v = b.Done()
	sameWide(t, verified(t, v), n, 1)
	sameWide(t, old, n, 0)
	if s.writes.Load() != writes {
		t.Errorf("%d blocks were moved under a large bound", s.writes.Load()-writes)
	}
	old, b = nil, nil
	eventually(t, func() bool { _, outside := heldBy(m); return outside == 0 && s.left() == 0 })
	sameWide(t, v, n, 1)
	v = nil
	s.empties(t, m)
}

// A version that was made and never published leaves the one before as it is, though blocks that both
// fill may have left memory.
func TestMemoryThrownAway(t *testing.T) {
	s := &memoryScratch{}
	m := NewMemory(0, s, func(err error) { t.Error(err) })
	v := wideTree(t, m, 20)
	for round := range 3 {
		b := edit(v)
		for i := range 100 {
			b.Put(Row{UUID: uuid(i + 2)}, wide(t, i, round+1))
		}
		sameWide(t, verified(t, b.Done()), 100, round+1)
		sameWide(t, verified(t, v), 20, 0)
	}
}

// A pack that is filled does not take more memory than the bound either, and may be put entry by entry.
func TestMemoryPack(t *testing.T) {
	const n = 600
	s := &memoryScratch{}
	m := NewMemory(2*blockSize, s, func(err error) { t.Error(err) })
	p := NewPack(bundled(), options().Index, m)
	var refs []Ref
	most := int64(0)
	for i := range n {
		refs = append(refs, p.Add(wide(t, i, 0)))
		inside, _ := heldBy(m)
		most = max(most, inside)
	}
	if most > 3*blockSize || string(p.Text(refs[0])) != string(wide(t, 0, 0).Text) {
		t.Errorf("%d bytes are in memory, the first entry is %s", most, p.Text(refs[0]))
	}
	b := edit(plantedIn(t, m))
	b.Adopt(p)
	reads := s.reads.Load()
	for i := n - 1; i >= 0; i-- {
		b.PutRef(Row{UUID: uuid(i + 2)}, p, refs[i])
	}
	if s.reads.Load() != reads {
		t.Errorf("%d reads to put what was adopted", s.reads.Load()-reads)
	}
	b.PutRef(Row{UUID: uuid(2)}, p, refs[0]) // a copy
	v := verified(t, b.Done())
	sameWide(t, v, n, 0)
	b = edit(v)
	b.PutRef(Row{UUID: uuid(3)}, p, refs[1]) // which this one has not adopted
	sameWide(t, verified(t, b.Done()), n, 0)
}

// Half-dead blocks outside are emptied as others are.
func TestMemoryCompaction(t *testing.T) {
	const n = 400
	s := &memoryScratch{}
	m := NewMemory(2*blockSize, s, func(err error) { t.Error(err) })
	v := wideTree(t, m, n)
	for round := range 6 {
		for part := range 8 {
			b := edit(v)
			for i := part; i < n; i += 8 {
				b.Put(Row{UUID: uuid(i + 2)}, wide(t, i, round))
			}
			v = b.Done()
		}
		sameWide(t, verified(t, v), n, round)
		total, live := 0, 0
		for i, b := range v.values.blocks {
			if b != nil {
				total += b.size
				live += int(v.values.info[i].live)
			}
		}
		if total > 3*live+2*blockSize {
			t.Errorf("round %d: %d bytes in blocks for %d alive", round, total, live)
		}
	}
	eventually(t, func() bool { _, outside := heldBy(m); return outside < 3*n*20_100 })
	sameWide(t, v, n, 5)
}

// What cannot be moved stays in memory, and is tried again; that is told once.
func TestScratchFull(t *testing.T) {
	full := errors.New("no space left")
	var told []error
	s := &memoryScratch{fails: full}
	m := NewMemory(0, s, func(err error) { told = append(told, err) })
	v := wideTree(t, m, 300)
	s.fail(nil)
	sameWide(t, v, 300, 0) // nothing is read
	if _, outside := heldBy(m); outside != 0 || len(told) != 1 || !errors.Is(told[0], full) {
		t.Fatalf("%d bytes outside, told was %v", outside, told)
	}
	b := edit(v)
	for i := range 300 {
		b.Put(Row{UUID: uuid(1000 + i)}, wide(t, 1000+i, 0))
	}
	v = b.Done()
	if inside, _ := heldBy(m); inside > 2*blockSize || len(told) != 2 || told[1] != nil {
		t.Errorf("%d bytes are in memory, told was %v", inside, told)
	}
	sameWide(t, verified(t, v), 300, 0)
}

// What cannot be read back ends the reader; nothing wrong is ever given.
func TestScratchUnreadable(t *testing.T) {
	broken := errors.New("input/output error")
	for name, spoil := range map[string]func(*memoryScratch){
		"error":                func(s *memoryScratch) { s.fail(broken) },
		"a bit of the sum":     func(s *memoryScratch) { s.flip(fieldSum) },
		"a bit of a length":    func(s *memoryScratch) { s.flip(fieldUser + 1) },
		"a large length":       func(s *memoryScratch) { s.flip(fieldText + 3) },
		"a bit of the content": func(s *memoryScratch) { s.flip(headSize + 100) },
		"other blocks":         func(s *memoryScratch) { s.swap() },
		"lost":                 func(s *memoryScratch) { s.mu.Lock(); s.spoilt = true; clear(s.blocks); s.mu.Unlock() },
	} {
		t.Run(name, func(t *testing.T) {
			s := &memoryScratch{}
			v := wideTree(t, NewMemory(0, s, func(err error) { t.Error(err) }), 150)
			id := ID(0)
			for at := ID(1); at <= v.high; at++ {
				if r := v.row(at); v.has(at) && at != v.root && r.off == 0 && v.values.blocks[r.block].mem.Load() == nil {
					id = at
				}
			}
			if id == 0 {
				t.Fatal("nothing is outside")
			}
			norm := v.Norm(id)
			spoil(s)
			for what, read := range map[string]func(){
				"entry":  func() { v.Entry(id).User() },
				"find":   func() { v.Find(norm) },
				"walk":   func() { readAll(v, Query{Base: v.Root(), Scope: Sub}) },
				"filter": func() { readAll(v, Query{Base: v.Root(), Scope: Sub, Matcher: matcher(t, "(description=*x)")}) },
				"change": func() { edit(v).Put(v.Row(id), at(t, norm, "description", "new")) },
			} {
				err := recovered(read)
				if e, ok := errors.AsType[*ReadError](err); !ok || e.Scratch != "the map" || !strings.Contains(e.Error(), "the map") {
					t.Errorf("%s: %v", what, err)
				}
				if name == "error" && !errors.Is(err, broken) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
	if err := recovered(func() {}); err != nil {
		t.Error(err)
	}
}

func recovered(fn func()) (err error) {
	defer func() { err = AsReadError(recover()) }()
	fn()
	return nil
}

// Another panic is not taken for a failed read.
func TestAsReadError(t *testing.T) {
	defer func() {
		if e := recover(); e != "another" {
			t.Errorf("%v was recovered", e)
		}
	}()
	_ = recovered(func() { panic("another") })
}

func readAll(v *Version, q Query) (n int) {
	for c := v.Search(q); c.Next(); n++ {
		c.Entry().User()
	}
	return n
}

// A scan over values that lie one behind the other reads much at once, one in another order reads each value
// once; what is larger than a read comes whole.
func TestWindow(t *testing.T) {
	s := &memoryScratch{}
	m := NewMemory(0, s, func(err error) { t.Error(err) })
	b := edit(plantedIn(t, m))
	const n = 20_000
	for i := range n {
		b.Put(Row{UUID: spread(i)}, person(100*i))
	}
	v := b.Done()
	_, outside := heldBy(m)
	count := func(fn func()) (reads, bytes int64) {
		reads, bytes = s.reads.Load(), s.read.Load()
		fn()
		return s.reads.Load() - reads, s.read.Load() - bytes
	}
	reads, bytes := count(func() {
		if got := readAll(v, Query{Base: v.Root(), Scope: Sub, Matcher: matcher(t, "(description=some*)")}); got != n {
			t.Errorf("%d entries", got)
		}
	})
	if blocks := s.writes.Load(); reads > 20*blocks+200 || bytes > outside*3/2 {
		t.Errorf("%d reads of %d bytes for a scan of %d blocks", reads, bytes, blocks)
	}
	reads, bytes = count(func() {
		for i := range 1000 {
			e := v.Entry(v.ByUUID(spread(i * 7 % 1000)))
			if len(e.User()) < 100 || len(e.Oper()) == 0 {
				t.Fatal("nothing was read")
			}
		}
	})
	if reads > 1000 || bytes > 1000*firstRead {
		t.Errorf("%d reads of %d bytes for 1,000 entries", reads, bytes)
	}
}

// fileScratch keeps blocks in a file, one behind the other.
type fileScratch struct {
	f   *os.File
	end int64
}

func (s *fileScratch) Write(p []byte) (int64, error) {
	at := s.end
	s.end += int64(len(p))
	_, err := s.f.WriteAt(p, at)
	return at, err
}

func (s *fileScratch) Read(p []byte, at int64) error { _, err := s.f.ReadAt(p, at); return err }
func (s *fileScratch) Free(int64, int)               {}
func (s *fileScratch) Name() string                  { return s.f.Name() }

// BenchmarkOutside is a search by DN, and a scan of everything with its values, of 100,000 entries of which none
// is in memory: in the order in which they lie there, as after a refresh, and in another, as after a start.
func BenchmarkOutside(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "scratch"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	m := NewMemory(0, &fileScratch{f: f}, func(err error) { b.Error(err) })
	const n = 100_000
	for name, step := range map[string]int{"in order": 1, "in another": 7919} {
		p := NewPack(bundled(), options().Index, m)
		refs := make([]Ref, n)
		for i := range refs {
			refs[i*step%n] = p.Add(person(100 * (i * step % n)))
		}
		e := edit(plantedIn(b, m))
		e.Adopt(p)
		for i, ref := range refs {
			e.PutRef(Row{UUID: spread(i)}, p, ref)
		}
		v := e.Done()
		b.Run("scan "+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := readAll(v, Query{Base: v.Root(), Scope: Sub}); got != v.Len() {
					b.Fatal(got)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*v.Len()), "ns/entry")
		})
		b.Run("find "+name, func(b *testing.B) {
			norms := make([]string, 1024)
			for i := range norms {
				norms[i] = string(person(100 * (i * 97 % n)).Norm)
			}
			for i := 0; b.Loop(); i++ {
				id, _ := v.Find(norms[i%1024])
				if len(v.Entry(id).User()) == 0 {
					b.Fatal("not found")
				}
			}
		})
	}
}
