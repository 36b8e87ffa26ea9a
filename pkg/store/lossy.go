package store

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// What is done when some of the content was lost to damage: what is left may be older than what was served,
// and nobody knows where. So all claims are fetched again in full, numbers go on beyond any that can
// have been given, and followers are told by what there is, since the change log has gaps.

// What was lost had numbers of the clock, which may have been ahead by clockLead; where the
// sequence is further ahead than that already, as after a restore, one for each change that is
// lost, and lossLead is for ten million. It stays below restoreLead, so that a backup can be
// restored in the place of a store that was restored and damaged before.
const (
	clockLead = time.Hour
	lossLead  = 10 * time.Second
)

// loadDamaged gives the meta record of a store that lost content: the newer of badger's and its second copy, or it
// makes one.
func (s *Store) loadDamaged(c copied) (meta, error) {
	m, err := s.readMeta()
	if errors.Is(err, ErrNewer) {
		return m, err
	}
	if c.whole && (err != nil || c.meta.commits > m.commits) {
		m, err = c.meta, nil
	}
	if err != nil {
		m = meta{instance: randomUUID()}
		m.namespace = m.instance
		s.damaged("the store's own record is lost: it has another shaftInstance now")
	}
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := newIterator(txn, nil)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		err := it.Item().Value(func(stored []byte) error {
			m.reach(key, stored)
			return nil
		})
		if err != nil {
			return m, err
		}
	}
	m.commits = max(m.commits, s.redo.last) // what is in the file is not to pass for the next one some day
	m.journalFirst = max(m.journalFirst, 1)
	m.journalNext = max(m.journalNext, m.journalFirst)
	m.last = max(m.last+dit.CSN(lossLead/time.Microsecond), dit.CSNAt(s.opts.Now().Add(clockLead)))
	m.redated, m.logFrom, m.logCount = m.last, m.last, 0
	return m, nil
}

// reach puts the record's numbers beyond those of a key that is there.
func (m *meta) reach(key, stored []byte) {
	switch key[0] {
	case kindJournal:
		if m.journalFirst == 0 {
			m.journalFirst = numberOf(key)
		}
		m.journalNext = max(m.journalNext, numberOf(key)+1)
	case kindChanges:
		m.last = max(m.last, dit.CSN(numberOf(key)))
	case kindPublished:
		if line, err := readPublished(key, stored); err == nil {
			m.commits = max(m.commits, line.commit)
		}
	case kindContent:
		if value, err := unseal(key, stored); err == nil {
			if at, _, err := parseStamp(value); err == nil && at.kind == stampCSN {
				m.last = max(m.last, dit.CSN(at.n))
			}
		}
	case kindFirst: // of a refresh of that many entries at most
		if value, err := unseal(key, stored); err == nil && len(value) == 8 {
			m.last = max(m.last, dit.CSN(binary.BigEndian.Uint64(value)))
		}
	}
}

// settled makes durable that content was lost, and has the second copy be of then, after all else that Open does about it. Where
// it is cut off before the file goes, all of that is done again.
func (s *Store) settled(m meta, c copied) error {
	err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(metaKey, seal(metaKey, m.encode())) })
	if err != nil {
		return err
	}
	s.renew(m, nil)
	s.renewSecond(c)
	s.lossy = false
	if err := os.Remove(filepath.Join(s.dir, mendingName)); err != nil {
		return err
	}
	return syncDir(s.dir)
}
