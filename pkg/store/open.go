package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/y"

	"shaft/pkg/dit"
)

const (
	memTableSize = 8 << 20
	// levelZeroTables is how many flushed memtables are merged: what they supersede of the value log
	// is known only then. Keys and small records are cheap to merge.
	levelZeroTables = 2
	// valueLogFileSize bounds one value too.
	valueLogFileSize = 64 << 20
	// valueThreshold is from where on any value goes to the value log: rare ones
	// (photos, revocation lists), so that compaction does not copy them. What a
	// refresh stages has a bound of its own, bulkThreshold.
	valueThreshold = 64 << 10
)

// badgerOptions keep memory small (three memtables of 8 MB, no block cache)
// and every commit fsynced. Table checksums are verified by mend, before badger
// opens any: by itself it would not notice bit rot, which reads as a missing key then.
func (s *Store) badgerOptions() badger.Options {
	return badger.DefaultOptions(s.dir).
		WithSyncWrites(true).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithMemTableSize(s.opts.memTable).
		WithBaseTableSize(s.opts.memTable / 2).
		WithNumMemtables(2).
		WithNumLevelZeroTables(levelZeroTables).
		WithNumCompactors(2).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithChecksumVerificationMode(options.NoVerification).
		WithValueLogFileSize(s.opts.valueFile).
		WithValueThreshold(valueThreshold).
		WithVerifyValueChecksum(true).
		WithLogger(badgerLog{s})
}

// Open opens or creates the store in dir (created with mode 0700), checks each
// claim's count and checksum, and begins to sweep what an interrupted refresh
// left. Unreadable records are removed and make their claim Damaged. After an error the directory may be
// free only when the process ends.
func Open(dir string, o Options) (*Store, error) {
	o.setDefaults()
	if o.Space == nil {
		o.Space = func() (Space, error) { return spaceOf(dir) }
	}
	s := &Store{dir: dir, log: o.Log, opts: o, claims: map[uint32]*claim{}, stopped: make(chan struct{}), hurried: make(chan struct{}, 1), rewritten: map[string]bool{}}
	s.caughtUp.L = &s.mu
	s.redo.disk, s.second.disk = o.disk, o.disk
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	go s.sweep()
	return s, nil
}

func (s *Store) open() (err error) {
	if s.lock, err = lockDir(s.dir); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		s.Unroll()
		if s.view != nil {
			s.view.txn.Discard()
		}
		if s.db != nil {
			err = errors.Join(err, s.closeBadger())
		}
		s.redo.close()
		s.second.close()
		s.unlock()
	}()
	if err := s.finishRestore(); err != nil {
		return err
	}
	if err := s.makeRoom(); err != nil {
		return err
	}
	removed, err := removeEmptyLogs(s.dir)
	if err != nil {
		return err
	}
	if len(removed) > 0 {
		s.log.Warn("empty logs of an interrupted run removed", "files", removed)
	}
	if err := s.mend(); err != nil {
		return err
	}
	if err := s.say(stateBetween); err != nil {
		return err
	}
	if s.db, err = badger.Open(s.badgerOptions()); err != nil {
		s.db = nil
		return openError(err)
	}
	if err := s.say(stateOpen); err != nil {
		return err
	}
	s.sweeper.init()
	if err := s.Full(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	if err := s.redoLast(); err != nil {
		return err
	}
	s.redoHolds = false
	if err := s.hideAgain(); err != nil {
		return err
	}
	s.openRedo()
	c, err := s.openSecond()
	if err != nil {
		return err
	}
	if err := s.settleRecords(c); err != nil {
		return fmt.Errorf("settle records: %w", err)
	}
	return s.load(c)
}

// openError says which of our errors badger's stands for. Badger does not
// wrap what it met, so the text has to tell.
func openError(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "Cannot acquire directory lock"):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case strings.Contains(text, y.ErrChecksumMismatch.Error()):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// load reads what is kept in memory.
func (s *Store) load(c copied) error {
	m, err := s.loadMeta(c)
	if err != nil {
		return err
	}
	s.renew(m, nil)
	txn := s.view.txn
	if err := s.loadClaims(txn, c); err != nil {
		return fmt.Errorf("read claims: %w", err)
	}
	if err := s.check(txn); err != nil {
		return fmt.Errorf("check content: %w", err)
	}
	if err := s.dropUncommittedChanges(txn); err != nil {
		return err
	}
	if err := s.settlePublished(txn); err != nil {
		return err
	}
	if s.lossy {
		if err := s.settled(m, c); err != nil {
			return fmt.Errorf("settle what was lost: %w", err)
		}
	} else {
		s.renew(m, nil)
		s.renewSecond(c)
	}
	s.scheduleTrim(m)
	return nil
}

func (s *Store) loadMeta(c copied) (meta, error) {
	if s.lossy {
		return s.loadDamaged(c)
	}
	m, err := s.readMeta()
	if errors.Is(err, badger.ErrKeyNotFound) {
		return s.create()
	}
	return m, err
}

func (s *Store) readMeta() (m meta, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(metaKey)
		if err != nil {
			return err
		}
		return item.Value(func(stored []byte) error {
			value, err := unseal(metaKey, stored)
			if err != nil {
				return err
			}
			if err := m.decode(value); err == errForm {
				return corruptKey(metaKey)
			} else if err != nil {
				return err
			}
			return nil
		})
	})
	return m, err
}

// create begins a store, which holds nothing yet.
func (s *Store) create() (meta, error) {
	m := meta{logFrom: dit.CSN(s.opts.Now().UnixMicro()), journalFirst: 1, journalNext: 1, instance: randomUUID()}
	m.namespace = m.instance
	return m, s.db.Update(func(txn *badger.Txn) error {
		return txn.Set(metaKey, seal(metaKey, m.encode()))
	})
}

// randomUUID makes one of version 4 (RFC 4122 section 4.4).
func randomUUID() (u dit.UUID) {
	rand.Read(u[:]) // it never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// anyGeneration stands for a committed generation that nobody knows: the newest that there is, until it is
// found. Of what an interrupted refresh left, removals and entries that kept their CSN count then too, others do not: only
// a commit gives them one, and what they would have replaced counts. All is fetched again.
const anyGeneration = math.MaxUint32

func (s *Store) loadClaims(txn *badger.Txn, copies copied) error {
	err := iterate(txn, []byte{kindClaim}, nil, func(key, stored []byte) error {
		c := &claim{durable: true}
		value, err := unseal(key, stored)
		if err == nil {
			err = c.decode(value)
		}
		if err != nil || len(key) != 5 {
			s.log.Error("claim record is corrupt: of its content what is newest counts", "claim", numberOf(key))
			c.claimState = claimState{gen: anyGeneration, damaged: true}
		}
		s.claims[uint32(numberOf(key))] = c
		return nil
	})
	if err == nil && s.lossy && !copies.whole {
		err = s.guessClaims(txn)
	}
	if err != nil {
		return err
	}
	return iterate(txn, []byte{kindFirst}, nil, func(key, stored []byte) error {
		value, err := unseal(key, stored)
		if err != nil || len(key) != 9 || len(value) != 8 {
			return nil // the entries that need it are found damaged
		}
		if c := s.claims[binary.BigEndian.Uint32(key[1:])]; c != nil {
			c.firsts = append(c.firsts, genFirst{binary.BigEndian.Uint32(key[5:]), dit.CSN(binary.BigEndian.Uint64(value))})
		}
		return nil
	})
}

// guessClaims finds claims of which only content is left.
func (s *Store) guessClaims(txn *badger.Txn) error {
	it := newIterator(txn, []byte{kindContent})
	defer it.Close()
	for it.Seek([]byte{kindContent}); it.Valid(); {
		key := it.Item().Key()
		if len(key) < 5 {
			it.Next()
			continue
		}
		id := binary.BigEndian.Uint32(key[1:])
		if s.claims[id] == nil {
			s.log.Error("claim record is missing: of its content what is newest counts", "claim", id)
			s.claims[id] = &claim{claimState: claimState{gen: anyGeneration, damaged: true}, durable: true}
		}
		if id == math.MaxUint32 {
			break
		}
		it.Seek(contentPrefix(id + 1))
	}
	return nil
}

// dropUncommittedChanges removes change log chunks of a commit that never came.
func (s *Store) dropUncommittedChanges(txn *badger.Txn) error {
	r := s.purge()
	defer r.abandon()
	from := changesKey(s.meta.last + 1)
	if s.lossy {
		from = nil
	}
	err := iterate(txn, []byte{kindChanges}, from, func(key, _ []byte) error { return r.drop(key) })
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return fmt.Errorf("drop uncommitted changes: %w", err)
	}
	return nil
}
