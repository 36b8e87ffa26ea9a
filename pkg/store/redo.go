package store

import (
	"errors"
	"maps"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// takeAfter is how long a commit that is durable in the file redo waits for others before badger takes
// them together, if nobody wants to read what it says: its two waits for the disk are not to come between
// commits that follow each other.
const takeAfter = time.Second

// lead is what commits that are acknowledged have made of the store, as far as they changed it: of all since badger
// had everything, or the file was full. The next commit builds on it. Guarded by writeMu.
type lead struct {
	meta   meta
	claims map[uint32]*claimState
	seen   map[entryID]standing
}

// fresh has the next commit build on what badger has, which is everything.
func (s *Store) fresh() {
	s.lead = nil
	s.redo.restart()
}

// lockWrites takes writeMu for who writes to badger himself: badger has then all that was
// acknowledged, or the store has failed.
func (s *Store) lockWrites() {
	s.writeMu.Lock()
	s.drain()
}

// drain waits until badger has all. Called with writeMu held.
func (s *Store) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
}

// catchUp waits until badger has taken what is acknowledged by now. It wants mu, which is given
// up meanwhile.
func (s *Store) catchUp() {
	if len(s.pending) == 0 {
		return
	}
	for last := s.pending[len(s.pending)-1].meta.commits; len(s.pending) > 0 && s.pending[0].meta.commits <= last; {
		s.hurry()
		s.caughtUp.Wait()
	}
}

// hurry has badger take what is pending now.
func (s *Store) hurry() {
	select {
	case s.hurried <- struct{}{}:
	default:
	}
}

// ahead makes a prepared commit durable without badger, if it may. A file that fails is not
// used again; badger has the word then.
func (s *Store) ahead(w *work) bool {
	size := sizeOfFrame(w.ops)
	if s.redo.f == nil || size > redoLargest {
		return false
	}
	if s.redo.end+size > redoSize {
		s.drain()
		if s.failure() != nil {
			return false
		}
		s.fresh()
	}
	if err := s.redo.write(w.meta.instance, w.meta.commits, w.ops); err != nil {
		s.drain()
		s.redoHolds = s.failure() != nil
		s.slower(errors.Join(err, s.say(stateOpen)))
		return false
	}
	return true
}

// openRedo has commits go to the file from now on, if it can be had.
func (s *Store) openRedo() {
	err := s.redo.open(s.dir)
	s.redoHolds = err == nil
	if err = errors.Join(err, s.say(stateOpen)); err != nil {
		s.redoHolds = false
		s.slower(err)
	}
}

// slower has the file not be used any more, and tells.
func (s *Store) slower(err error) {
	s.redo.close() //nolint:errcheck // of what is told
	s.redo.f = nil
	s.log.Error("file not written; commits take longer until the next start", "file", redoName, "error", err)
}

// hand leaves a commit that is durable to badger. Called with writeMu held.
func (s *Store) hand(w *work) {
	if s.lead == nil {
		s.lead = &lead{claims: map[uint32]*claimState{}, seen: map[entryID]standing{}}
	}
	s.lead.meta = w.meta
	maps.Copy(s.lead.claims, w.claims)
	maps.Copy(s.lead.seen, w.seen)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, w)
	if half := int64(redoSize / 2); s.redo.end > half && s.redo.end-sizeOfFrame(w.ops) <= half {
		s.hurry()
	}
	if !s.taking {
		s.taking = true
		go s.takePending()
	}
}

// takePending has badger take commits until it has all. Where badger cannot, the store takes no more
// writes, nobody reads it, and the next Open tries again.
func (s *Store) takePending() {
	timer := time.NewTimer(takeAfter)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.hurried:
		}
		s.mu.Lock()
		works := s.together()
		s.mu.Unlock()
		if s.opts.behind != nil {
			s.opts.behind()
		}
		err := s.take(works)
		s.mu.Lock()
		s.pending = s.pending[len(works):]
		if err != nil {
			s.log.Error("commits that are acknowledged were not taken; they are when the store is opened again", "error", err)
			s.pending, s.untaken = nil, err
		}
		s.caughtUp.Broadcast()
		s.taking = len(s.pending) > 0
		more := s.taking
		s.mu.Unlock()
		if !more {
			return
		}
		timer.Reset(takeAfter)
	}
}

// together gives the oldest of the pending commits, as many as one transaction has room for by half; the first in any case.
func (s *Store) together() []*work {
	n, keys, bytes := 0, 0, int64(0)
	for _, w := range s.pending {
		keys, bytes = keys+len(w.ops), bytes+w.bytes
		if n > 0 && (int64(keys) > s.db.MaxBatchCount()/2 || bytes > s.db.MaxBatchSize()/2) {
			break
		}
		n++
	}
	return s.pending[:n:n]
}

// take makes works, of which each builds on the one before, durable in badger as a whole, and the store's state.
func (s *Store) take(works []*work) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for _, w := range works {
		if err := redoInto(txn, w.ops); err != nil {
			return s.fail(err)
		}
	}
	if err := s.durable(txn); err != nil {
		return s.fail(err)
	}
	s.adopt(works)
	return nil
}

func redoInto(txn *badger.Txn, ops []redoOp) error {
	for _, op := range ops {
		err := error(nil)
		if op.value == nil {
			err = txn.Delete(op.key)
		} else {
			err = txn.Set(op.key, op.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
