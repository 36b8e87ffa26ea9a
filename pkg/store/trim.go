package store

import (
	"shaft/pkg/dit"
)

// trimKeys is how many records one trimming transaction removes.
const trimKeys = 512

// slack is how far a log may grow beyond its limit before it is trimmed, so
// that trimming is seldom.
func slack(limit int) uint64 { return uint64(limit) + uint64(limit/16) }

// scheduleTrim wakes the sweeper when the change log or the journal is too long.
func (s *Store) scheduleTrim(m meta) {
	if m.logCount <= slack(s.opts.ChangeLog) && m.journalNext-m.journalFirst <= slack(s.opts.Journal) {
		return
	}
	s.sweeper.mu.Lock()
	defer s.sweeper.mu.Unlock()
	s.sweeper.trim = true
	s.sweeper.poke()
}

// trimLogs cuts both logs to their limits, step by step.
func (s *Store) trimLogs() error {
	for more := true; more && !s.sweeper.stopping(); {
		err := s.awaitRoom()
		if err != nil {
			return err
		}
		if more, err = s.trimStep(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) trimStep() (more bool, err error) {
	s.lockWrites()
	defer s.writeMu.Unlock()
	w, err := s.begin()
	if err != nil {
		return false, err
	}
	defer w.abandon()
	n, err := w.trimChanges(uint64(s.opts.ChangeLog))
	if err != nil {
		return false, err
	}
	for n < trimKeys && w.meta.journalNext-w.meta.journalFirst > uint64(s.opts.Journal) {
		if err := w.delete(journalKey(w.meta.journalFirst)); err != nil {
			return false, err
		}
		w.meta.journalFirst++
		n++
	}
	if n == 0 {
		return false, nil
	}
	if err := w.complete(); err != nil {
		return false, s.fail(err)
	}
	return n >= trimKeys, w.finish()
}

// trimChanges removes the oldest chunks while the rest is no less than limit.
func (w *work) trimChanges(limit uint64) (n int, err error) {
	it := newIterator(w.s.view.txn, []byte{kindChanges})
	defer it.Close()
	// What was trimmed before is still there as deletions; they are not to be met again.
	for it.Seek(changesKey(w.meta.logFrom + 1)); it.Valid() && n < trimKeys && w.meta.logCount > limit; it.Next() {
		key := it.Item().KeyCopy(nil)
		var count uint64
		err := it.Item().Value(func(stored []byte) error {
			if value, err := unseal(key, stored); err == nil {
				count, _ = chunkCount(value)
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		if err := w.delete(key); err != nil {
			return n, err
		}
		w.meta.logCount -= min(count, w.meta.logCount)
		w.meta.logFrom = max(w.meta.logFrom, dit.CSN(numberOf(key)))
		n++
	}
	if n == 0 && w.meta.logCount > limit { // corrupt chunks had been counted
		w.meta.logCount = 0
		n++
	}
	return n, nil
}
