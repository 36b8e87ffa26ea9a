package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// collectPart is the part of a file of values that has to be superseded before the log is looked at.
	collectPart = 2
	// collectFiles is how many files are rewritten at most before other work has its turn.
	collectFiles = 64
	// collectEvery is how often the log is looked at, whatever was superseded, and whether there is a second copy (see remakeSecond): that
	// takes some microseconds where nothing is to be done.
	collectEvery = 5 * time.Minute
)

// supersede counts a record that is no more; above a bound the sweeper looks for room to give back.
func (s *Store) supersede(size int64) {
	after := s.opts.valueFile / collectPart
	if now := s.sweeper.freed.Add(size); now/after == (now-size)/after {
		return
	}
	s.sweeper.mu.Lock()
	defer s.sweeper.mu.Unlock()
	s.sweeper.poke()
}

// collect has badger rewrite the files of the value log that are half garbage: once enough was superseded, and now and
// then. Badger counts as garbage what a compaction of its tables has dropped, which may be long after, or before a start.
func (s *Store) collect() {
	s.sweeper.freed.Store(0)
	for range collectFiles {
		if s.sweeper.stopping() || s.Full() != nil || s.writable() != nil {
			return
		}
		err := s.collectFile()
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, errBeingRead) {
			return
		}
		if err != nil {
			s.report("collect value log", err)
			return
		}
	}
}

// enough tells whether so much was superseded since the last time that the log is to be looked at.
func (s *Store) enough() bool { return s.sweeper.freed.Load() >= s.opts.valueFile/collectPart }

// errBeingRead says that somebody reads the store for long. Of a file that is rewritten meanwhile the room is given back only
// when he ends, and never after kill -9; and what he begins to read later, as of before, could be what is hidden again.
var errBeingRead = errors.New("store is being read")

// collectFile has the file rewritten that has the most garbage, if it is half of it. Badger looks up each of its
// entries, and writes those anew that are there, as of their own time. Nothing else is written meanwhile, for
// most of a second: what was deleted in between could show again, its old version being newer in badger's
// levels than its end; and badger looks at its memtable without a lock. What was deleted before is
// deleted once more, see hiddenName.
func (s *Store) collectFile() (err error) {
	if !s.reading.TryLock() {
		return errBeingRead
	}
	defer s.reading.Unlock()
	s.lockWrites()
	defer s.writeMu.Unlock()
	s.staging.Lock()
	defer s.staging.Unlock()
	defer func() {
		if r := recover(); r != nil {
			stop, ok := r.(stopCollecting)
			if !ok {
				panic(r)
			}
			err = stop.error
		}
	}()
	s.Unroll()
	s.hidden = &hidden{}
	err = s.db.RunValueLogGC(0.5)
	if err != nil && strings.Contains(err.Error(), "already marked for deletion") {
		err = errBeingRead // by an iterator that was there before the file was rewritten
	}
	if len(s.hidden.keys) == 0 {
		return err
	}
	if err := s.hide(s.hidden); err != nil {
		return s.fail(err)
	}
	s.renew(s.meta, nil) // the view from before does not know what was hidden again
	return err
}

// stopCollecting is the panic by which beforeRewrite keeps badger from rewriting a file. Badger has no
// other way there, and holds nothing then that is not given back.
type stopCollecting struct{ error }

// rewriting is badger's message before it reads a file of its value log to rewrite it, made on the same goroutine.
const rewriting = "Rewriting fid: %d"

// beforeRewrite makes the file sound from end to end: badger reads up to the first damaged entry, and then
// removes the file. And it notes what is hidden of it.
func (s *Store) beforeRewrite(args []any) {
	name := fmt.Sprintf("%06d.vlog", args...)
	s.mu.Lock()
	s.rewritten[name] = true
	s.mu.Unlock()
	var keys [][]byte
	m := &mender{s: s, dir: s.dir, each: func(key []byte) { keys = append(keys, bytes.Clone(key)) }}
	lost, turned, err := m.values(name, false)
	if err == nil {
		s.hidden, err = s.look(keys)
	}
	if err == nil {
		err = s.hidden.note(s.dir, s.meta.instance)
	}
	switch {
	case err != nil:
		panic(stopCollecting{err})
	case lost > 0:
		s.log.Error("store file is damaged: entries are lost, the next start has them fetched again", "file", name, "places", lost)
	case turned > 0:
		s.log.Error("store file is damaged: a bit had turned, and is right again: have the disk and the memory checked", "file", name, "bits", turned)
	}
}
