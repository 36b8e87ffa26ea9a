package store

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

const (
	// collectPart is the part of a file of values that has to be superseded before the log is looked at.
	collectPart = 2
	// collectFiles is how many files are rewritten at most before other work has its turn.
	collectFiles = 64
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

// collect has badger rewrite the files of the value log that are half garbage, once enough was superseded. Badger
// counts as garbage what a compaction of its tables has dropped.
func (s *Store) collect() {
	freed := s.sweeper.freed.Load()
	if freed < s.opts.valueFile/collectPart || s.sweeper.stopping() || s.Full() != nil {
		return
	}
	s.sweeper.freed.Add(-freed)
	for range collectFiles {
		if s.sweeper.stopping() {
			return
		}
		err := s.collectFile()
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return
		}
		if err != nil {
			s.report("collect value log", err)
			return
		}
	}
}

// collectFile has the file rewritten that has the most garbage, if it is half of it. Badger looks up each of its
// entries, and writes those anew that are there, as of their own time. Nothing else is written meanwhile, for
// most of a second: what was deleted in between could show again, its old version being newer in badger's
// levels than its end; and badger looks at its memtable without a lock.
func (s *Store) collectFile() (err error) {
	s.writeMu.Lock()
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
	return s.db.RunValueLogGC(0.5)
}

// stopCollecting is the panic by which beforeRewrite keeps badger from rewriting a file. Badger has no
// other way there, and holds nothing then that is not given back.
type stopCollecting struct{ error }

// rewriting is badger's message before it reads a file of its value log to rewrite it, made on the same goroutine.
const rewriting = "Rewriting fid: %d"

// beforeRewrite makes the file sound from end to end: badger reads up to the first damaged entry, and then
// removes the file.
func (s *Store) beforeRewrite(args []any) {
	name := fmt.Sprintf("%06d.vlog", args...)
	s.mu.Lock()
	s.rewritten[name] = true
	s.mu.Unlock()
	m := &mender{s: s, dir: s.dir}
	lost, turned, err := m.values(name, false)
	switch {
	case err != nil:
		panic(stopCollecting{err})
	case lost > 0:
		s.log.Error("store file is damaged: entries are lost, the next start has them fetched again", "file", name, "places", lost)
	case turned > 0:
		s.log.Error("store file is damaged: a bit had turned, and is right again: have the disk and the memory checked", "file", name, "bits", turned)
	}
}
