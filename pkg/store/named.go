package store

import (
	"fmt"
)

// Records reads all records whose name begins with prefix, in order. A corrupt
// one ends it with an ErrCorrupt that names it.
func (s *Store) Records(prefix string, fn func(name string, value []byte) error) error {
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	return iterate(v.txn, recordKey(prefix), nil, func(key, stored []byte) error {
		name := string(key[1:])
		value, err := unseal(key, stored)
		if err != nil {
			return fmt.Errorf("record %q: %w", name, ErrCorrupt)
		}
		return fn(name, value)
	})
}

// Journal reads the journal from sequence number from on, as of the call. The
// oldest lines are dropped beyond Options.Journal. A corrupt line is logged and left out.
func (s *Store) Journal(from uint64, fn func(seq uint64, line []byte) error) error {
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	return iterate(v.txn, []byte{kindJournal}, journalKey(from), func(key, stored []byte) error {
		seq := numberOf(key)
		line, err := unseal(key, stored)
		if err != nil {
			s.log.Error("a line of the journal cannot be read; it is left out", "line", seq)
			return nil
		}
		return fn(seq, line)
	})
}
