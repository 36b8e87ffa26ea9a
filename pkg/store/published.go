package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// publishedLine is a line of the published map as stored: one that is settled,
// or one written ahead, true from a commit on.
type publishedLine struct {
	commit uint64   // the commit's number; 0: settled
	after  dit.UUID // from it on; zero: removed
	before dit.UUID // until then; zero: none
}

func (l *publishedLine) encode() []byte {
	if l.commit == 0 {
		return append([]byte(nil), l.after[:]...)
	}
	dst := binary.BigEndian.AppendUint64(nil, l.commit)
	dst = append(dst, l.after[:]...)
	return append(dst, l.before[:]...)
}

func (l *publishedLine) decode(src []byte) error {
	switch len(src) {
	case 16:
		copy(l.after[:], src)
	case 8 + 16 + 16:
		l.commit = binary.BigEndian.Uint64(src)
		copy(l.after[:], src[8:])
		copy(l.before[:], src[24:])
	default:
		return errForm
	}
	return nil
}

// at is what the line says as of a commit; zero: nothing.
func (l *publishedLine) at(commit uint64) dit.UUID {
	if l.commit > commit {
		return l.before
	}
	return l.after
}

func readPublished(key, stored []byte) (l publishedLine, err error) {
	value, err := unseal(key, stored)
	if err != nil {
		return l, err
	}
	if len(key) != 1+4+16 || l.decode(value) != nil {
		return l, corruptKey(key)
	}
	return l, nil
}

// Published calls fn for each stored map (claim, upstream UUID) → published
// UUID. A corrupt line is logged and left out.
func (s *Store) Published(fn func(claim uint32, upstream, published dit.UUID) error) error {
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	return iterate(v.txn, []byte{kindPublished}, nil, func(key, stored []byte) error {
		line, err := readPublished(key, stored)
		if err != nil {
			s.log.Error("published UUID left out", "error", err)
			return nil
		}
		published := line.at(v.meta.commits)
		if published.IsZero() {
			return nil
		}
		return fn(binary.BigEndian.Uint32(key[1:]), dit.UUID(key[5:]), published)
	})
}

// publishedNow is what the map says of an entry before the commit in the making.
func (s *Store) publishedNow(key []byte) (dit.UUID, error) {
	item, err := s.view.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return dit.UUID{}, nil
	}
	if err != nil {
		return dit.UUID{}, err
	}
	var line publishedLine
	err = item.Value(func(stored []byte) error {
		line, err = readPublished(key, stored)
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		return dit.UUID{}, nil
	}
	return line.at(s.meta.commits), err
}

// settlePublished clears at Open what a commit that never came wrote ahead,
// and the removals that came true.
func (s *Store) settlePublished(txn *badger.Txn) error {
	p := s.purge()
	defer p.abandon()
	err := iterate(txn, []byte{kindPublished}, nil, func(key, stored []byte) error {
		line, err := readPublished(key, stored)
		if err != nil || line.commit == 0 {
			return nil // corrupt ones are Published's to report
		}
		settled := publishedLine{after: line.at(s.meta.commits)}
		switch {
		case settled.after.IsZero():
			return p.drop(key)
		case line.commit > s.meta.commits:
			return p.set(append([]byte(nil), key...), settled.encode())
		}
		return nil
	})
	if err == nil {
		err = p.flush()
	}
	if err != nil {
		return fmt.Errorf("settle published UUIDs: %w", err)
	}
	return nil
}
