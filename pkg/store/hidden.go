package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"shaft/pkg/dit"
)

// hiddenName is a file that is there while badger rewrites a file of its value log that holds keys
// which are deleted, until they are deleted once more. Badger has an entry of that file still, and writes it anew as
// of its own time, above its end, if the two have not met in a compaction yet; and the end goes once it
// reaches the last level. The file says which keys these are: a crash may come between.
const hiddenName = "collecting"

const (
	hiddenMagic = "SHCOLL1\n"
	hiddenHead  = len(hiddenMagic) + 4 + 16 + 8 // checksum of what follows; instance, version
	// hiddenPart is how many keys of a file a goroutine looks up at a time, and a transaction deletes.
	hiddenPart = 1024
)

// hidden are keys that are deleted as of one of badger's versions.
type hidden struct {
	version uint64
	keys    [][]byte
}

// look finds, of the entries of a file of the value log by their keys with badger's versions behind them, those that are
// deleted and that badger has nevertheless: their ends are newer. One that is superseded by another which is alive does not matter:
// what is alive stays until something newer is above both. Nobody writes meanwhile.
func (s *Store) look(entries [][]byte) (*hidden, error) {
	slices.SortFunc(entries, bytes.Compare)
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	parts := slices.Collect(slices.Chunk(entries, hiddenPart))
	found := make([][][]byte, len(parts))
	err := share(len(parts), func(_, i int) error {
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
		defer it.Close()
		for _, e := range parts[i] {
			if isHidden(it, e) {
				found[i] = append(found[i], y.ParseKey(e))
			}
		}
		return nil
	})
	return &hidden{version: txn.ReadTs(), keys: slices.Concat(found...)}, err
}

func isHidden(it *badger.Iterator, entry []byte) bool {
	key, version := y.ParseKey(entry), y.ParseTs(entry)
	deleted := false
	for it.Seek(key); it.Valid() && bytes.Equal(it.Item().Key(), key); it.Next() {
		switch {
		case it.Item().IsDeletedOrExpired():
			deleted = true
		case !deleted:
			return false
		case it.Item().Version() == version:
			return true
		}
	}
	return false
}

// note makes durable which keys are hidden, before badger rewrites what they hide.
func (h *hidden) note(dir string, instance dit.UUID) error {
	if len(h.keys) == 0 {
		return nil
	}
	b := append([]byte(hiddenMagic), 0, 0, 0, 0)
	b = append(b, instance[:]...)
	b = binary.BigEndian.AppendUint64(b, h.version)
	for _, key := range h.keys {
		b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
		b = append(b, key...)
	}
	binary.BigEndian.PutUint32(b[len(hiddenMagic):], checksum(nil, b[len(hiddenMagic)+4:]))
	return writeDurably(filepath.Join(dir, hiddenName), b)
}

// readHidden gives what the file says; false if that is not what was written.
func readHidden(b []byte) (h *hidden, instance dit.UUID, ok bool) {
	if len(b) < hiddenHead || !bytes.HasPrefix(b, []byte(hiddenMagic)) {
		return nil, instance, false
	}
	b = b[len(hiddenMagic):]
	if binary.BigEndian.Uint32(b) != checksum(nil, b[4:]) {
		return nil, instance, false
	}
	copy(instance[:], b[4:])
	h = &hidden{version: binary.BigEndian.Uint64(b[20:])}
	for b = b[28:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, instance, false
		}
		n := uint64(binary.BigEndian.Uint32(b))
		if b = b[4:]; n > uint64(len(b)) {
			return nil, instance, false
		}
		h.keys = append(h.keys, b[:n:n])
		b = b[n:]
	}
	return h, instance, true
}

// hide deletes the keys once more, and then nothing has to be known of them any more. Called with writeMu held.
func (s *Store) hide(h *hidden) error {
	r := s.purge()
	defer r.abandon()
	for part := range slices.Chunk(h.keys, hiddenPart) {
		for _, key := range part {
			if err := r.drop(key); err != nil {
				return err
			}
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
	err := os.Remove(filepath.Join(s.dir, hiddenName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// hideAgain does what a crash kept collectFile from, at Open: badger may have merged the ends of these keys with nothing
// by now, so that they show.
func (s *Store) hideAgain() error {
	path := filepath.Join(s.dir, hiddenName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	h, instance, ok := readHidden(b)
	if err != nil || !ok {
		s.damaged("the file "+hiddenName+" cannot be read: entries that were deleted may come back, until their claims are found damaged and fetched again", "file", hiddenName, "error", err)
		return os.Remove(path)
	}
	m, err := s.readMeta()
	if err != nil || instance != m.instance {
		return nil // as in redoLast
	}
	if h, err = s.since(h); err == nil {
		err = s.hide(h)
	}
	if err != nil {
		return fmt.Errorf("delete again what %s names: %w", hiddenName, err)
	}
	return nil
}

// since leaves out keys that were written after they were noted, as by a Shaft that does not know the file.
func (s *Store) since(h *hidden) (*hidden, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	left := &hidden{version: h.version}
	for _, key := range h.keys {
		item, err := txn.Get(key)
		if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return nil, err
		}
		if err != nil || item.Version() <= h.version {
			left.keys = append(left.keys, key)
		}
	}
	return left, nil
}
