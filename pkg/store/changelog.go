package store

import (
	"encoding/binary"
	"fmt"

	"shaft/pkg/dit"
)

// ChangeKind in the change log.
type ChangeKind byte

const (
	ChangeAdd ChangeKind = iota + 1
	ChangeModify
	ChangeDelete
)

// Change is one line of the change log: what followers that come back need.
type Change struct {
	CSN  dit.CSN
	Kind ChangeKind
	UUID dit.UUID // published
	DN   string   // delete: the DN it had; modify: the old DN when it moved
}

// A chunk of the change log is one record, of at most these many changes and
// (but for a single long DN) bytes: small enough to stay out of the value log.
const (
	maxChunkChanges = 512
	maxChunkBytes   = 32 << 10
)

const changeHead = 1 + 8 + 16 + 4

func (c *Change) append(dst []byte) []byte {
	dst = append(dst, byte(c.Kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.CSN))
	dst = append(dst, c.UUID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.DN)))
	return append(dst, c.DN...)
}

func parseChange(src []byte) (c Change, rest []byte, err error) {
	if len(src) < changeHead {
		return c, nil, errForm
	}
	c.Kind = ChangeKind(src[0])
	c.CSN = dit.CSN(binary.BigEndian.Uint64(src[1:]))
	copy(c.UUID[:], src[9:])
	n := uint64(binary.BigEndian.Uint32(src[25:]))
	src = src[changeHead:]
	if n > uint64(len(src)) {
		return c, nil, errForm
	}
	c.DN = string(src[:n])
	return c, src[n:], nil
}

// A chunk's value begins with the number of its changes.
func chunkCount(value []byte) (uint64, error) {
	if len(value) < 4 {
		return 0, errForm
	}
	return uint64(binary.BigEndian.Uint32(value)), nil
}

// chunk takes as many changes from the front as make one record. Those of one
// CSN stay together, since the key is the last CSN.
func chunk(changes []Change) (key, value []byte, rest []Change) {
	value = make([]byte, 4, 256)
	n := 0
	for n < len(changes) {
		c := &changes[n]
		full := n == maxChunkChanges || n > 0 && len(value)+changeHead+len(c.DN) > maxChunkBytes
		if full && c.CSN != changes[n-1].CSN {
			break
		}
		value = c.append(value)
		n++
	}
	binary.BigEndian.PutUint32(value, uint32(n))
	return changesKey(changes[n-1].CSN), value, changes[n:]
}

// checkCSNs refuses a batch whose sequence does not grow.
func (w *work) checkCSNs(b *Batch) error {
	last := w.meta.last
	if b.CSN != 0 && b.CSN <= last {
		return fmt.Errorf("CSN %d is not above %d", b.CSN, last)
	}
	for i := range b.Changes {
		csn := b.Changes[i].CSN
		if csn <= w.meta.last || csn < last {
			return fmt.Errorf("change %d: CSN %d is not above %d", i, csn, last)
		}
		last = csn
	}
	return nil
}

// countChanges notes in meta what of the change log the work adds.
func (w *work) countChanges(changes []Change) {
	if n := len(changes); n > 0 {
		w.meta.logCount += uint64(n)
		w.meta.last = max(w.meta.last, changes[n-1].CSN)
	}
}

// Changes reads the change log after the given CSN, as of the call; ok is
// false, and nothing was read, when the log does not reach back that far: it
// begins with the store's creation, and keeps Options.ChangeLog changes.
func (s *Store) Changes(after dit.CSN, fn func(Change) error) (ok bool, err error) {
	v, err := s.acquire()
	if err != nil {
		return false, err
	}
	defer s.release(v)
	if after < v.meta.logFrom {
		return false, nil
	}
	if after >= v.meta.last {
		return true, nil
	}
	err = iterate(v.txn, []byte{kindChanges}, changesKey(after+1), func(key, stored []byte) error {
		if dit.CSN(numberOf(key)) > v.meta.last {
			return nil
		}
		value, err := unseal(key, stored)
		if err != nil {
			return err
		}
		return eachChange(key, value, func(c Change) error {
			if c.CSN <= after {
				return nil
			}
			return fn(c)
		})
	})
	return true, err
}

func eachChange(key, value []byte, fn func(Change) error) error {
	n, err := chunkCount(value)
	if err != nil {
		return corruptKey(key)
	}
	rest := value[4:]
	for ; n > 0; n-- {
		var c Change
		if c, rest, err = parseChange(rest); err != nil {
			return corruptKey(key)
		}
		if err := fn(c); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return corruptKey(key)
	}
	return nil
}
