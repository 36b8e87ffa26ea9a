package store

import (
	"github.com/dgraph-io/badger/v4"
)

// maxAheadBytes and maxAheadKeys bound the transactions of what has no single
// one to go into; badger's hold 1.2 MB and 13,000 keys.
const (
	maxAheadBytes = 512 << 10
	maxAheadKeys  = 4000
)

// run is a sequence of transactions: keys set and dropped, committed whenever
// they fill one. Called with writeMu held.
type run struct {
	s     *Store
	txn   *badger.Txn
	bytes int
	keys  int
}

func (s *Store) purge() *run { return &run{s: s} }

func (r *run) room(n int) (err error) {
	if r.keys >= maxAheadKeys || r.keys > 0 && r.bytes+n > maxAheadBytes {
		err = r.flush()
	}
	if r.txn == nil {
		r.txn = r.s.db.NewTransaction(true)
	}
	r.keys++
	r.bytes += n + recordOverhead
	return err
}

// set seals and writes a value; key and value must stay as they are.
func (r *run) set(key, value []byte) error {
	if err := r.room(len(key) + len(value)); err != nil {
		return err
	}
	return r.txn.Set(key, seal(key, value))
}

// drop deletes a key, which is copied.
func (r *run) drop(key []byte) error {
	if err := r.room(len(key)); err != nil {
		return err
	}
	return r.txn.Delete(append([]byte(nil), key...))
}

func (r *run) flush() error {
	if r.txn == nil {
		return nil
	}
	txn := r.txn
	r.txn, r.keys, r.bytes = nil, 0, 0
	return r.s.durable(txn)
}

func (r *run) abandon() {
	if r.txn != nil {
		r.txn.Discard()
		r.txn = nil
	}
}

// writeAhead writes the batch's changes and published lines so that they come
// true with the next commit.
func (s *Store) writeAhead(b *Batch) error {
	r := s.purge()
	defer r.abandon()
	for rest := b.Changes; len(rest) > 0; {
		var key, value []byte
		if key, value, rest = chunk(rest); value != nil {
			if err := r.set(key, value); err != nil {
				return err
			}
		}
	}
	for _, p := range b.Published {
		key := publishedKey(p.Claim, p.Upstream)
		before, err := s.publishedNow(key)
		if err != nil {
			return err
		}
		line := publishedLine{commit: s.meta.commits + 1, after: p.Published, before: before}
		if err := r.set(key, line.encode()); err != nil {
			return err
		}
	}
	return r.flush()
}

// inline writes the batch's changes and published lines into its own transaction.
func (w *work) inline(b *Batch) error {
	for rest := b.Changes; len(rest) > 0; {
		var key, value []byte
		key, value, rest = chunk(rest)
		if err := w.set(key, value); err != nil {
			return err
		}
	}
	for _, p := range b.Published {
		key := publishedKey(p.Claim, p.Upstream)
		if p.Published.IsZero() {
			if err := w.delete(key); err != nil {
				return err
			}
			continue
		}
		line := publishedLine{after: p.Published}
		if err := w.set(key, line.encode()); err != nil {
			return err
		}
	}
	return nil
}

// bulk is the bytes of what can be written ahead.
func (b *Batch) bulk() int {
	n := len(b.Published) * (1 + 4 + 16 + 40 + recordOverhead)
	for i := range b.Changes {
		n += changeHead + len(b.Changes[i].DN)
	}
	return n
}
