package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"shaft/pkg/dit"
)

// gauge is a file system that has as much room as a test says.
type gauge struct {
	free, total, files atomic.Int64
	once               atomic.Bool // after the next look there is nothing free any more
}

func newGauge(free int64) *gauge {
	g := &gauge{}
	g.free.Store(free)
	g.total.Store(100 << 30)
	g.files.Store(-1)
	return g
}

func (g *gauge) space() (Space, error) {
	sp := Space{Free: g.free.Load(), Total: g.total.Load(), Files: g.files.Load()}
	if g.once.Swap(false) {
		g.free.Store(0)
	}
	return sp, nil
}

const plenty = 50 << 30

// R33, R35: content is refused where the disk is nearly full, facts are taken down to half the reserve;
// nothing is lost, it goes on by itself with some more room, and each change is told once.
func TestR33NearlyFull(t *testing.T) {
	g := newGauge(plenty)
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Space: g.space, Log: slog.New(slog.NewTextHandler(&log, nil))})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b"})
	const batch = 1 << 10 // what those here are smaller than
	csn := dit.CSN(200)
	for _, c := range []struct {
		free           int64
		content, facts bool
	}{
		{minReserve + batch, true, true},
		{minReserve - 1, false, true},
		{minReserve + batch, false, true}, // not yet
		{minReserve/8 + batch, false, true},
		{minReserve/8 - 1, false, false},
		{0, false, false},
		{minReserve/8 + batch, false, true},
		{minReserve + minReserve/4 - 1, false, true},
		{minReserve + minReserve/4, true, true},
		{minReserve + batch, true, true},
	} {
		g.free.Store(c.free)
		csn++
		content := s.Commit(&Batch{CSN: csn, Puts: []Put{{Claim: 1, UUID: scattered(3), Gen: 1, CSN: csn, Value: []byte("c")}}})
		csn++
		facts := s.Commit(&Batch{CSN: csn, Records: []Record{{"fact", fmt.Append(nil, c.free)}}})
		_, stage := s.Stage(2)
		for what, got := range map[string]struct {
			err  error
			want bool
		}{"content": {content, c.content}, "facts": {facts, c.facts}, "stage": {stage, c.content}} {
			if (got.err == nil) != got.want || got.err != nil && (!errors.Is(got.err, ErrFull) || errors.Is(got.err, ErrFailed)) {
				t.Errorf("%d bytes free, %s: %v", c.free, what, got.err)
			}
		}
		if words := s.FullWords(); (words == "") != c.content || !c.content && !strings.Contains(words, mega(c.free)) {
			t.Errorf("%d bytes free, in words: %q", c.free, words)
		}
	}
	s.sweeper.await() // it looks for room too
	g.files.Store(inodeReserve - 1)
	if err := s.Full(); !errors.Is(err, ErrFull) || !strings.Contains(s.FullWords(), "room for 63 files") {
		t.Errorf("without inodes: %v, %q", err, s.FullWords())
	}
	g.files.Store(inodeReserve)
	g.free.Store(plenty)
	if err := s.Full(); err != nil {
		t.Error(err)
	}
	s.sweeper.await()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "the disk is nearly full"); n != 2 || strings.Count(log.String(), "room on the disk again") != 2 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
	s = open(t, s.dir, Options{})
	if got := entries(t, s, 1); len(got) != 3 || s.LastCSN() < 200 {
		t.Errorf("%v, CSN %d", got, s.LastCSN())
	}
}

// A batch that would take of the reserve is refused, whatever part of it is large, and one that leaves it is not.
func TestRoomForTheBatch(t *testing.T) {
	g := newGauge(plenty)
	s := open(t, t.TempDir(), Options{Space: g.space})
	const size = 1 << 20
	name := bytes.Repeat([]byte("x"), size/64)
	var changed []Change
	for i := range 64 {
		changed = append(changed, Change{CSN: dit.CSN(100 + i), Kind: ChangeModify, UUID: scattered(i), DN: string(name)})
	}
	value := bytes.Repeat([]byte("x"), size)
	for what, c := range map[string]struct {
		b    Batch
		need int64
	}{
		"value":   {Batch{CSN: 300, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 300, Value: value}}}, minReserve},
		"record":  {Batch{Records: []Record{{"n", value}}}, minReserve / 8},
		"changes": {Batch{CSN: 200, Changes: changed}, minReserve / 8},
	} {
		g.free.Store(c.need + 2*size)
		if err := s.Commit(&c.b); !errors.Is(err, ErrFull) || errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	g.free.Store(plenty)
	if err := s.Full(); err != nil { // what was refused before is forgotten
		t.Fatal(err)
	}
	g.free.Store(minReserve + 3*size)
	commit(t, s, &Batch{CSN: 300, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 300, Value: value}}})
	s.room.flight.Add(size)
	if _, err := s.Stage(2); err != nil {
		t.Error(err)
	}
	s.room.flight.Add(size)
	if _, err := s.Stage(3); !errors.Is(err, ErrFull) {
		t.Errorf("with stages that write as much: %v", err)
	}
}

// A refresh for which there is no room is refused as a whole; what it left is swept away before
// another is committed.
func TestFullInTheMidstOfARefresh(t *testing.T) {
	g := newGauge(plenty)
	s := open(t, t.TempDir(), Options{Space: g.space})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b"})
	st, err := s.Stage(1)
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("x"), 64<<10)
	for i := 0; err == nil; i++ {
		if i == 20 {
			g.free.Store(0)
		}
		if i > 40 {
			t.Fatal("it goes on")
		}
		err = st.Put(scattered(10+i), uint32(i), large)
	}
	if !errors.Is(err, ErrFull) || !errors.Is(s.CommitStage(st, []byte("new"), "", 200, &Batch{}), ErrFull) {
		t.Errorf("refused: %v", err)
	}
	if err := st.Discard(); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, s, 1, map[int]string{1: "1/101/a", 2: "1/102/b"})
	g.free.Store(plenty)
	refresh(t, s, 1, 300, "later", map[int]string{2: "c"}, 1)
	s.sweeper.await()
	if n := contentRecords(t, s, 1); n != 1 {
		t.Errorf("%d records", n)
	}
	s = reopen(t, s)
	if got := entries(t, s, 1); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}

// The sweeper waits for room, and does not forget; Close does not wait for it.
func TestSweeperWaitsForRoom(t *testing.T) {
	g := newGauge(plenty)
	s := open(t, t.TempDir(), Options{Space: g.space})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a", 2: "b"})
	s.sweeper.await()
	g.once.Store(true) // for the drop there is room, for the sweep there is none
	if err := s.DropClaim(1, &Batch{}); err != nil {
		t.Fatal(err)
	}
	g.free.Store(flushRoom) // else badger is not closed
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !s.sweeper.busy {
		t.Error("it did not wait")
	}
	g.free.Store(plenty)
	s = open(t, s.dir, s.opts)
	s.sweeper.await()
	if n := contentRecords(t, s, 1); n != 0 || len(s.Claims()) != 0 {
		t.Errorf("%d records, claims %v", n, s.Claims())
	}
}

// The ballast is made where there is room, given back when the room ends and at a start without room,
// and made again; a start without either is refused in words.
func TestBallast(t *testing.T) {
	g := newGauge(plenty)
	var log bytes.Buffer
	o := Options{Space: g.space, Ballast: 1 << 20, Log: slog.New(slog.NewTextHandler(&log, nil))}
	s := open(t, t.TempDir(), o)
	path := filepath.Join(s.dir, ballastName)
	held := func() bool {
		info, err := os.Stat(path)
		if err == nil && info.Size() != 1<<20 {
			t.Errorf("ballast of %d bytes", info.Size())
		}
		return err == nil
	}
	for i, c := range []struct {
		free int64
		want bool
	}{
		{plenty, true}, {minReserve, true}, {minReserve / 8, true}, {minReserve/8 - 1, false},
		{minReserve, false}, {minReserve + minReserve/4, false}, {plenty, true},
	} {
		g.free.Store(c.free)
		s.Full()
		if held() != c.want {
			t.Errorf("%d: %d bytes free, ballast there: %v", i, c.free, held())
		}
	}
	s = reopen(t, s)
	if err := s.Close(); err != nil || !held() {
		t.Fatal("not kept over a restart", err)
	}
	g.free.Store(minReserve/4 - 1)
	if _, err := Open(s.dir, o); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), s.dir) || !strings.Contains(err.Error(), "needed to open the store") || held() {
		t.Errorf("a start without room: %v", err)
	}
	s = nil
	o.Space = func() (Space, error) {
		sp, err := g.space()
		if !held() {
			sp.Free += 1 << 20
		}
		return sp, err
	}
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, filepath.Dir(path), o)
	if held() || !errors.Is(s.Full(), ErrFull) {
		t.Error("started on the ballast, and it is there")
	}
	g.free.Store(plenty)
	if err := s.Full(); err != nil || !held() {
		t.Errorf("with room again: %v, ballast %v", err, held())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	writeSparse(t, path, nil, 1<<20) // a copy that left out its zeros
	s = open(t, filepath.Dir(path), o)
	if err := s.Full(); err != nil || !held() {
		t.Errorf("with a ballast of holes: %v", err)
	}
	if n, err := sizeOf(s.dir, func(name string) bool { return name == ballastName }); err != nil || n < 1<<20 {
		t.Errorf("it takes %d bytes, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "ballast file removed") {
		t.Errorf("log: %s", &log)
	}
}

// smallDisk mounts a file system of 64 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("shaft-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64m,mode=0700"); err != nil {
		t.Fatalf("a test of full disks has to mount a small file system, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves free bytes of a file system, by way of a file of zeros.
func fill(t *testing.T, dir string, free int64) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	sp, err := spaceOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := sp.Free - free; n > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
			t.Fatal(err)
		}
	}
}

// R33, R35: on a file system of 64 MB that is written full by refreshes, by single changes and by
// somebody else, what was acknowledged is there, over restarts on the full disk too, and writing
// goes on when there is room. Without the reserve badger dies of SIGBUS, and this test with it.
func TestR33SmallDisk(t *testing.T) {
	dir := smallDisk(t)
	s := open(t, dir, Options{Ballast: DefaultBallast})
	random := rand.New(rand.NewPCG(1, 2))
	value := func() []byte {
		b := make([]byte, 8<<10)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	csn, acked := dit.CSN(0), map[int]string{}
	change := func(n int) error {
		csn++
		v := value()
		err := s.Commit(&Batch{CSN: csn, Puts: []Put{{Claim: 1, UUID: scattered(n), CSN: csn, Value: v}}})
		if err == nil {
			acked[n] = fmt.Sprintf("0/%d/%.40s", csn, v)
		}
		return err
	}
	load := func() (err error) { // of another claim, until the disk is full
		st, err := s.Stage(2)
		for i := 0; err == nil && i < 1<<20; i++ {
			err = st.Put(scattered(i), uint32(i), value())
		}
		if st != nil {
			st.Discard()
		}
		return err
	}
	round := func(name string) {
		t.Helper()
		wantEntries(t, s, 1, acked)
		if err := s.Close(); err != nil {
			t.Fatal(name, err)
		}
		s = open(t, dir, s.opts)
		wantEntries(t, s, 1, acked)
		if s.LastCSN() > csn {
			t.Errorf("%s: CSN %d after %d", name, s.LastCSN(), csn)
		}
	}
	for i := range 20 {
		if err := change(i); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := load(); !errors.Is(err, ErrFull) {
			t.Fatalf("a load without end: %v", err)
		}
	}
	round("after loads")
	s.sweeper.await()
	for i := range 1 << 14 { // the same entries over and over
		err := change(i % 50)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 1<<14-1 {
			t.Fatal("changes without end have room")
		}
	}
	round("after changes")
	for _, free := range []int64{24 << 20, 21 << 20} {
		fill(t, dir, free)
		if err := change(1); !errors.Is(err, ErrFull) {
			t.Fatalf("with %d bytes free: %v", free, err)
		}
		round("filled")
	}
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	round("with room")
}
