package store

import (
	"github.com/dgraph-io/badger/v4"
)

// view is a read transaction with the meta record that belongs to it, shared
// by all readers until the next commit: one of their own costs 40 µs.
type view struct {
	txn  *badger.Txn
	meta meta
	refs int // readers, and one for being the store's; guarded by Store.mu
}

// acquire gives the current view to a reader, who calls release when done.
func (s *Store) acquire() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acquireLocked()
}

func (s *Store) acquireLocked() (*view, error) {
	s.catchUp()
	if s.closed {
		return nil, ErrClosed
	}
	if s.untaken != nil {
		return nil, s.untaken
	}
	return s.holdLocked(), nil
}

// hold gives the current view to the writer, who calls release when done.
func (s *Store) hold() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holdLocked()
}

func (s *Store) holdLocked() *view {
	s.view.refs++
	s.readers.Add(1)
	return s.view
}

func (s *Store) release(v *view) {
	s.mu.Lock()
	v.refs--
	last := v.refs == 0
	s.mu.Unlock()
	if last {
		v.txn.Discard()
	}
	s.readers.Done()
}

// renew puts a view of what was just committed in the place of the last one.
// Called by one at a time: with writes locked, or as badger takes what is pending; also is called inside the lock, so that what it
// changes in memory and the view are seen together.
func (s *Store) renew(m meta, also func()) {
	next := &view{txn: s.db.NewTransaction(false), meta: m, refs: 1}
	s.mu.Lock()
	old := s.view
	s.view, s.meta = next, m
	if also != nil {
		also()
	}
	last := false
	if old != nil {
		old.refs--
		last = old.refs == 0
	}
	s.mu.Unlock()
	if last {
		old.txn.Discard()
	}
}

// iterate walks the keys that begin with prefix, from key from on (nil: all). What it gives is a copy, good until fn returns, see walkTo.
func iterate(txn *badger.Txn, prefix, from []byte, fn func(key, stored []byte) error) error {
	it := newIterator(txn, prefix)
	defer it.Close()
	if from == nil {
		from = prefix
	}
	var (
		buf []byte
		err error
	)
	for it.Seek(from); it.Valid(); it.Next() {
		if buf, err = it.Item().ValueCopy(buf); err != nil {
			return err
		}
		if err = fn(it.Item().Key(), buf); err != nil {
			return err
		}
	}
	return nil
}

func newIterator(txn *badger.Txn, prefix []byte) *badger.Iterator {
	return txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
}
