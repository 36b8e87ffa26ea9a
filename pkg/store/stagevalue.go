package store

import (
	"bytes"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// Value reads back what the stage holds for an entry, once Sync has made it
// durable; nil for one it deletes. It is an error to ask for one not staged.
func (st *Stage) Value(id dit.UUID) ([]byte, error) {
	v, err := st.s.acquire() // holds off Close; the view itself may be too old
	if err != nil {
		return nil, fmt.Errorf("stage claim %d: %w", st.claim, err)
	}
	defer st.s.release(v)
	key := contentKey(nil, Key{st.claim, id, st.gen})
	var value []byte
	err = st.s.db.View(func(txn *badger.Txn) error {
		it := newIterator(txn, key)
		defer it.Close() // until then the file is there that the value is in, see collectFile
		if it.Rewind(); !it.Valid() {
			return badger.ErrKeyNotFound
		}
		return it.Item().Value(func(stored []byte) error {
			sealed, err := unseal(key, stored)
			if err != nil {
				return err
			}
			_, b, err := parseStamp(sealed)
			if err != nil {
				return err
			}
			if b.packed {
				value, err = unpack(nil, b.bytes)
			} else {
				value = bytes.Clone(b.bytes)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("stage claim %d: read entry %s: %w", st.claim, id, err)
	}
	return value, nil
}
