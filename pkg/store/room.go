package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFull marks a write that is refused since the file system is nearly full, and a store that is
// not opened since it is quite full. It is a refusal: nothing was changed, and the next write may
// go well.
var ErrFull = errors.New("the disk is nearly full")

// Badger writes into files that are mapped into memory: where the file system has no block for a
// page, the process dies of SIGBUS, and nothing can catch that. So writes are refused while there
// is still room for what badger does by itself, which is to flush memtables (three of 8 MB) and to
// compact: two at a time, each of a table with what it overlaps, all in all no more than a quarter
// of a large store, or all of a small one.
const (
	minReserve   = 128 << 20
	maxReserve   = 1 << 30
	reserveShare = 4 // of the store's size, beside minReserve
	// smallShare is the part of a small file system that the reserve takes at most.
	smallShare = 2
	// flushRoom is what writing a memtable as a table takes, while its log is there still: what
	// is decided and remembered, some kB, is written down to an eighth of the reserve, and to this.
	flushRoom  = 10 << 20
	factsShare = 8
	// inodeReserve is how many files there has to be room for, some dozens being in the making.
	inodeReserve = 64
)

// DefaultBallast is what Options.Ballast should be: room for flushing and compacting at a start.
const DefaultBallast = 64 << 20

// ballastShare is the part of a small file system that the ballast takes at most.
const ballastShare = 8

// roomPoll is how often a sweeper looks that waits for room.
const roomPoll = time.Second

// Space is what a file system has room for, in bytes, as one sees it who is not root. Files are
// the inodes that are free; negative where there is no bound.
type Space struct{ Free, Total, Files int64 }

// room keeps the disk from filling up.
type room struct {
	ballast string // path of the ballast file; "": none

	mu   sync.Mutex
	held bool // the ballast is there
	full bool // content is refused

	flight atomic.Int64 // bytes of stages that are being written

	sizeMu sync.Mutex
	size   int64 // of the files, as the disk has them
	sized  time.Time
}

// sizeEvery is how often the files are looked at for the reserve: they grow by some MB a second at most.
const sizeEvery = time.Minute

// spaceOf asks the file system.
func spaceOf(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("free space of %s: %w", dir, err)
	}
	out := Space{Free: int64(st.Bavail) * st.Bsize, Total: int64(st.Blocks) * st.Bsize, Files: -1}
	if st.Files > 0 {
		out.Files = int64(st.Ffree)
	}
	return out, nil
}

// reserve is the room below which content is refused.
func (s *Store) reserve(total int64) int64 {
	r := &s.room
	r.sizeMu.Lock()
	defer r.sizeMu.Unlock()
	now := s.opts.Now()
	if age := now.Sub(r.sized); r.sized.IsZero() || age < 0 || age >= sizeEvery {
		size, err := sizeOf(s.dir, func(name string) bool {
			return slices.Contains([]string{".sst", ".vlog", ".mem"}, filepath.Ext(name))
		})
		if err == nil { // else what was there before will do
			r.size = size
		}
		r.sized = now
	}
	return min(minReserve+r.size/reserveShare, maxReserve, total/smallShare)
}

// brim is the room below which nothing is written at all. To open a store takes twice as
// much: what a crash left of memtables is flushed then.
func brim(reserve int64) int64 { return max(reserve/factsShare, flushRoom) }

// makeRoom looks before the store is opened: with too little room for that the ballast goes.
func (s *Store) makeRoom() error {
	r := &s.room
	if s.opts.Ballast > 0 {
		r.ballast = filepath.Join(s.dir, ballastName)
		if info, err := os.Stat(r.ballast); err == nil {
			r.held = onDisk(info) >= info.Size() // a copy may have left out its zeros
		}
	}
	return s.roomToOpen(0)
}

// roomToOpen tells whether there is what opening takes, and some bytes more.
func (s *Store) roomToOpen(more int64) error {
	r := &s.room
	sp, err := s.opts.Space()
	if err != nil {
		return err
	}
	need := 2*brim(s.reserve(sp.Total)) + more
	if sp.Free < need && r.held {
		s.dropBallast()
		if sp, err = s.opts.Space(); err != nil {
			return err
		}
	}
	if sp.Free < need || sp.short() {
		return fmt.Errorf("%w: %s, and at least %s and %d files are needed to open the store: delete something else on that file system or make it larger, then start again; nothing is lost",
			ErrFull, sp, mega(need), inodeReserve)
	}
	return nil
}

// Full tells why content is refused, an ErrFull, or nil. It looks, and says in the log when that
// changes. Its text is always the same: it becomes the reason of sessions.
func (s *Store) Full() error {
	sp, err := s.opts.Space()
	if err != nil {
		return err
	}
	return s.judge(sp)
}

// FullWords says what there is and what is needed, for an operator; "" while there is room.
func (s *Store) FullWords() string {
	sp, err := s.opts.Space()
	if err != nil {
		return err.Error()
	}
	if err = s.judge(sp); err == nil {
		return ""
	}
	reserve := s.reserve(sp.Total)
	return fmt.Sprintf("%v (%s has %s; it has to be %s): delete something else there, or make it larger",
		err, s.dir, sp, mega(reserve+reserve/4))
}

var errContent = fmt.Errorf("%w: what is served stays, nothing is taken from sources until there is room again, and then it goes on by itself", ErrFull)

// judge finds out whether content may be written. Once refused, it is so until there is a quarter more
// room than the reserve.
func (s *Store) judge(sp Space) error {
	r := &s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	reserve := s.reserve(sp.Total)
	enough := reserve
	if r.full {
		enough += reserve / 4
	}
	short := sp.Free < enough || sp.short()
	if short != r.full {
		r.full = short
		at := []any{"dir", s.dir, "free", sp.Free, "reserve", reserve, "files", sp.Files}
		if short {
			s.log.Error("the disk is nearly full: serving goes on, nothing is taken from sources until there is room", at...)
		} else {
			s.log.Info("there is room on the disk again: writing goes on", at...)
		}
	}
	if short {
		if r.held && sp.Free < brim(reserve) {
			s.dropBallast()
		}
		return errContent
	}
	if size := ballastSize(s.opts.Ballast, sp.Total); r.ballast != "" && !r.held && sp.Free > enough+2*size {
		s.makeBallast(size)
	}
	return nil
}

// roomFor tells whether a write of some bytes may be made: content has to leave the reserve, what is decided
// and remembered a part of it. The bytes, and those that stages are writing, count twice: badger
// has them in a log and in a table.
func (s *Store) roomFor(content bool, bytes int64) error {
	sp, err := s.opts.Space()
	if err != nil {
		return err
	}
	full, need := s.judge(sp), s.reserve(sp.Total)
	if !content {
		full, need = nil, brim(need)
	}
	if left := sp.Free - 2*(bytes+s.room.flight.Load()); full == nil && (left < need || sp.short()) {
		return errContent
	}
	return full
}

// roomToClose tells whether badger can write its memtable as a table, which it does as it closes.
func (s *Store) roomToClose() bool {
	sp, err := s.opts.Space()
	return err != nil || sp.Free >= flushRoom
}

// awaitRoom waits until small writes may be made, for the sweeper, which must not give up.
func (s *Store) awaitRoom() error {
	tick := time.NewTicker(roomPoll)
	defer tick.Stop()
	for s.roomFor(false, 0) != nil {
		select {
		case <-tick.C:
		case <-s.sweeper.quit:
			return ErrClosed
		}
	}
	return nil
}

func ballastSize(want, total int64) int64 { return min(want, total/ballastShare) }

// makeBallast takes the room that a start on a full disk gives back.
func (s *Store) makeBallast(size int64) {
	r := &s.room
	f, err := os.OpenFile(r.ballast, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), f.Close())
	}
	if err != nil {
		s.log.Warn("no ballast file: a start on a full disk may fail", "path", r.ballast, "error", err)
		os.Remove(r.ballast)
		r.ballast = "" // this run does not try again
		return
	}
	r.held = true
}

func (s *Store) dropBallast() {
	r := &s.room
	r.held = false
	if err := os.Remove(r.ballast); err != nil {
		s.log.Error("ballast file not removed", "path", r.ballast, "error", err)
		return
	}
	s.log.Warn("ballast file removed: the store needs its room", "path", r.ballast)
}

func (sp Space) short() bool { return sp.Files >= 0 && sp.Files < inodeReserve }

func (sp Space) String() string {
	text := mega(sp.Free) + " free of " + mega(sp.Total)
	if sp.Files >= 0 && sp.short() {
		text += fmt.Sprintf(", room for %d files", sp.Files)
	}
	return text
}

func mega(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
