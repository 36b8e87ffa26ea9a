package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// BackedUp is what a backup holds.
type BackedUp struct {
	Records uint64
	LeftOut uint64 // records that could not be read: a restore has the claims whose entries they were fetched again
	Bytes   int64
}

// Backup writes all that counts as of the call to w: claims with their content,
// cookies, named records, published UUIDs, the journal. What a refresh has staged and
// not committed is not in it, nor is the change log, which means nothing after a
// restore. The store goes on meanwhile. It holds a piece of 256 KiB, or of one larger
// value; what is replaced meanwhile stays on disk until it ends, so whoever reads
// slowly is to be cut off by w or ctx. Instance and ContextCSN of the header are filled
// in here; sid is the server ID that the latter bears.
func (s *Store) Backup(ctx context.Context, w io.Writer, h BackupHeader, sid int) (BackedUp, error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	states, v, err := s.snapshotAll()
	if err != nil {
		return BackedUp{}, fmt.Errorf("back up store %s: %w", s.dir, err)
	}
	defer s.release(v)
	h.Instance = v.meta.instance.String()
	if v.meta.last != 0 {
		h.ContextCSN = string(v.meta.last.Append(nil, sid))
	}
	p, err := newPieceWriter(w, h)
	if err == nil {
		b := &backup{ctx: ctx, s: s, v: v, p: p, states: states}
		err = b.run()
	}
	if err != nil {
		return BackedUp{}, fmt.Errorf("back up store %s: %w", s.dir, err)
	}
	if p.end.leftOut > 0 {
		s.log.Error("backup without what could not be read", "records", p.end.leftOut)
	}
	return BackedUp{Records: p.end.records, LeftOut: p.end.leftOut, Bytes: p.written}, nil
}

// snapshotAll gives copies of all claims and the view that belongs to them.
func (s *Store) snapshotAll() (map[uint32]claimState, *view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.acquireLocked()
	if err != nil {
		return nil, nil, err
	}
	states := make(map[uint32]claimState, len(s.claims))
	for id, c := range s.claims {
		if c.durable {
			states[id] = c.claimState
		}
	}
	return states, v, nil
}

// backup is one in the making.
type backup struct {
	ctx    context.Context
	s      *Store
	v      *view
	p      *pieceWriter
	states map[uint32]claimState
}

func (b *backup) run() error {
	if err := b.put(metaKey, b.v.meta.encode()); err != nil {
		return err
	}
	for _, id := range sortedKeys(b.states) {
		if err := b.claim(id); err != nil {
			return err
		}
	}
	for _, kind := range []byte{kindRecord, kindPublished, kindJournal} {
		if err := b.all(kind); err != nil {
			return err
		}
	}
	if err := b.content(); err != nil {
		return err
	}
	return b.p.finish()
}

func (b *backup) add(key, stored []byte) error {
	if err := b.ctx.Err(); err != nil {
		return context.Cause(b.ctx)
	}
	return b.p.record(key, stored)
}

func (b *backup) put(key, value []byte) error { return b.add(key, seal(key, value)) }

func (b *backup) claim(id uint32) error {
	c := b.states[id]
	if err := b.put(claimKey(id), c.encode()); err != nil {
		return err
	}
	for _, f := range c.firsts {
		if err := b.put(firstKey(id, f.gen), binary.BigEndian.AppendUint64(nil, uint64(f.first))); err != nil {
			return err
		}
	}
	return nil
}

// all copies the records of a kind. A named one that cannot be read ends the
// backup: a store without it is not to be opened.
func (b *backup) all(kind byte) error {
	return iterate(b.v.txn, []byte{kind}, nil, func(key, stored []byte) error {
		_, err := unseal(key, stored)
		switch {
		case err != nil && kind == kindRecord:
			return fmt.Errorf("record %q: %w", key[1:], ErrCorrupt)
		case err != nil:
			b.p.end.leftOut++
			return nil
		}
		return b.add(key, stored)
	})
}

// content copies the entries that count, in the order of the store.
func (b *backup) content() error {
	prefix := []byte{kindContent}
	it := newIterator(b.v.txn, prefix)
	defer it.Close()
	state := func(id uint32) *claimState {
		if c, ok := b.states[id]; ok {
			return &c
		}
		return nil
	}
	return walk(it, prefix, prefix, state, func(r *content) error {
		switch r.verdict {
		case corrupt:
			b.s.markDamaged(r.Key)
			b.p.end.leftOut++
		case live:
			return b.add(it.Item().Key(), r.stored)
		}
		return nil
	})
}
