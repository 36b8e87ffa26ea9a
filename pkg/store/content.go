package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// verdict on one content record.
type verdict byte

const (
	live      verdict = iota // the entry as it stands
	tombstone                // newest of its entry, which is deleted
	corrupt                  // newest of its entry, and unreadable
	leftover                 // older than what decides, or of no generation that counts
	ahead                    // above the committed generation
)

// content is one record met on a walk.
type content struct {
	Key
	verdict verdict
	size    int64  // of the record in bytes, about
	stamp   stamp  // of a live record
	body    body   // of a live record; good until the callback returns
	stored  []byte // what body is in, with its checksum; as good
	mapped  []byte // stored where it lies in a file of values, nil where it lies elsewhere; good while an iterator is open and nothing is written
	room    []byte // that value unpacks into
}

// value is that of a live record, good until the callback returns; ok is false where it cannot be unpacked.
func (c *content) value() (value []byte, ok bool) {
	if !c.body.packed {
		return c.body.bytes, true
	}
	value, err := unpack(c.room[:0], c.body.bytes)
	if err == nil {
		c.room = value
	}
	return value, err == nil
}

func (c *content) fingerprint() uint64 { return fingerprint(c.UUID, c.Gen, c.stamp) }

// walk calls fn for every content record whose key begins with prefix, in
// order of claim and UUID, newest generation first. state gives a claim's state;
// nil means that nothing of the claim counts.
func walk(it *badger.Iterator, prefix, from []byte, state func(uint32) *claimState, fn func(*content) error) error {
	return walkTo(it, prefix, from, nil, state, fn)
}

// walkTo is walk up to a key that is not met any more; nil: to the end. It copies what it reads: badger gives a value
// with its file locked, and who read another one of that file then, or took long, would stop who writes, for good or for as long.
func walkTo(it *badger.Iterator, prefix, from, to []byte, state func(uint32) *claimState, fn func(*content) error) error {
	var (
		c       content
		decided bool // a newer record of the same entry was met that counts
		owner   *claimState
		first   = true
		buf     []byte
	)
	for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
		item := it.Item()
		if to != nil && bytes.Compare(item.Key(), to) >= 0 {
			break
		}
		k, ok := parseContentKey(item.Key())
		if !ok {
			return corruptKey(item.Key())
		}
		if first || k.Claim != c.Claim {
			owner = state(k.Claim)
		}
		if first || k.UUID != c.UUID || k.Claim != c.Claim {
			decided = false
		}
		first = false
		c = content{Key: k, verdict: leftover, size: item.EstimatedSize(), room: c.room}
		switch {
		case owner == nil || k.Gen < owner.floor:
		case k.Gen > owner.gen:
			c.verdict = ahead
		case !decided:
			decided = true
			err := item.Value(func(stored []byte) error {
				buf = append(buf[:0], stored...)
				if item.EstimatedSize() > item.KeySize()+int64(len(stored)) { // badger counts the head of an entry of the value log
					c.mapped = stored
				}
				return nil
			})
			if err != nil {
				return err
			}
			c.read(item.Key(), buf)
			if c.verdict == live && owner.gen == anyGeneration {
				if _, ok := owner.dated(&c); !ok {
					c.verdict, decided = ahead, false
				}
			}
		}
		if err := fn(&c); err != nil {
			return err
		}
	}
	return nil
}

// read judges the record that decides over its entry.
func (c *content) read(key, stored []byte) {
	c.verdict, c.stored = live, stored
	sealed, err := unseal(key, stored)
	if err == nil {
		c.stamp, c.body, err = parseStamp(sealed)
	}
	switch {
	case err != nil:
		c.verdict = corrupt
	case c.stamp.kind == stampTombstone:
		c.verdict = tombstone
	}
}

// dated gives the CSN of a live record; false when its generation's first CSN is lost.
func (c *claimState) dated(r *content) (dit.CSN, bool) {
	if r.stamp.kind != stampOrdinal {
		return dit.CSN(r.stamp.n), true
	}
	first, ok := c.first(r.Gen)
	return first + dit.CSN(r.stamp.n), ok
}

// item makes an item of a live record, dated not before redated; false when that cannot be.
func (c *claimState) item(r *content, redated dit.CSN) (Item, bool) {
	changed, ok := c.dated(r)
	if !ok {
		return Item{}, false
	}
	value, ok := r.value()
	return Item{Claim: r.Claim, UUID: r.UUID, Gen: r.Gen, CSN: max(changed, redated), Changed: changed, Value: value}, ok
}

// snapshot gives a copy of a claim and the view that belongs to it; nil when
// there is no such claim.
func (s *Store) snapshot(id uint32) (*claim, *view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.acquireLocked()
	if err != nil {
		return nil, nil, err
	}
	if c := s.claims[id]; c != nil {
		state := *c
		return &state, v, nil
	}
	return nil, v, nil
}

// markDamaged remembers that a record of the claim turned out unreadable.
func (s *Store) markDamaged(k Key) {
	s.mu.Lock()
	first := false
	if c := s.claims[k.Claim]; c != nil && !c.damaged {
		c.damaged, first = true, true
	}
	s.mu.Unlock()
	if first {
		s.log.Error("store record is corrupt", "claim", k.Claim, "uuid", fmt.Sprintf("%x", k.UUID[:]), "generation", k.Gen)
	}
}

// Entries calls fn for each live entry of the claim, in UUID order, as of the
// call. A corrupt one is skipped and makes the claim Damaged.
func (s *Store) Entries(claim uint32, fn func(Item) error) error {
	state, v, err := s.snapshot(claim)
	if err != nil {
		return err
	}
	defer s.release(v)
	if state == nil {
		return nil
	}
	prefix := contentPrefix(claim)
	it := newIterator(v.txn, prefix)
	defer it.Close()
	return walk(it, prefix, prefix, func(uint32) *claimState { return &state.claimState }, func(r *content) error {
		return s.give(r, &state.claimState, v.meta.redated, fn)
	})
}

// Entry reads one; nil when absent. Its Value is the caller's. A corrupt one is
// an ErrCorrupt and makes the claim Damaged.
func (s *Store) Entry(claim uint32, id dit.UUID) (*Item, error) {
	state, v, err := s.snapshot(claim)
	if err != nil {
		return nil, err
	}
	defer s.release(v)
	if state == nil {
		return nil, nil
	}
	prefix := entryPrefix(make([]byte, 0, contentKeyLen), claim, id)
	it := newIterator(v.txn, prefix)
	defer it.Close()
	from := binary.BigEndian.AppendUint32(prefix, ^state.gen)
	var found *Item
	err = walk(it, prefix, from, func(uint32) *claimState { return &state.claimState }, func(r *content) error {
		switch r.verdict {
		case corrupt:
			s.markDamaged(r.Key)
			return corruptKey(it.Item().Key())
		case live:
			item, ok := state.item(r, v.meta.redated)
			if !ok {
				s.markDamaged(r.Key)
				return corruptKey(it.Item().Key())
			}
			item.Value = append([]byte(nil), item.Value...)
			found = &item
		}
		return nil
	})
	return found, err
}

// Claims lists the claims that have or had content, in order of ID.
func (s *Store) Claims() []Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	list := make([]Claim, 0, len(s.claims))
	for _, id := range sortedKeys(s.claims) {
		c := s.claims[id]
		if c.dropped || !c.durable {
			continue
		}
		list = append(list, Claim{
			ID: id, Generation: c.gen, Cookie: append([]byte(nil), c.cookie...), Server: c.server,
			Count: int(c.count), Damaged: c.damaged,
		})
	}
	return list
}
