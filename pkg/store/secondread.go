package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// copied is what the file was found to have.
type copied struct {
	meta  meta
	ops   map[string][]byte // stored values; neither meta's nor published UUIDs
	lines []redoOp          // published UUIDs, later ones count
	size  int64             // of the frames that are sound; behind it may be what is left of an append
	there bool              // the file is
	whole bool              // all that it was begun with can be read, and nothing behind it is damaged
	part  bool              // damaged or behind, and of this store: what is sound of it may be outdated
	newer bool              // a later Shaft wrote it
}

// readSecond reads the file's content, as far as it is sound.
func readSecond(content []byte) (c copied) {
	c.there, c.ops = true, map[string][]byte{}
	begun, damaged := false, !bytes.HasPrefix(content, []byte(secondMagic))
	rest := content[min(len(secondMagic), len(content)):]
	for len(rest) > 0 {
		ops, end := frameAt(rest)
		if end == 0 {
			next := nextFrame(rest)
			if next == 0 {
				break
			}
			damaged, rest = true, rest[next:]
			continue
		}
		rest = rest[end:]
		for _, op := range ops {
			switch {
			case len(op.key) == 0:
				begun = true
			case op.key[0] == kindMeta:
				value, err := unseal(metaKey, op.value)
				if err == nil {
					err = c.meta.decode(value)
				}
				if err != nil {
					c.newer = errors.Is(err, ErrNewer)
					return c
				}
			case op.key[0] == kindPublished:
				c.lines = append(c.lines, op)
			case op.value == nil:
				delete(c.ops, string(op.key))
			default:
				c.ops[string(op.key)] = op.value
			}
		}
	}
	// What a power cut leaves of an append is no damage, and was not acknowledged.
	c.size = int64(len(content) - len(rest))
	c.whole = begun && !damaged && cutOff(rest)
	return c
}

// frameAt reads the frame that some bytes begin with; an end of 0: it is not sound.
func frameAt(rest []byte) (ops []redoOp, end int) {
	if len(rest) < secondHead {
		return nil, 0
	}
	n := uint64(binary.BigEndian.Uint32(rest[4:]))
	if n > uint64(len(rest)-secondHead) {
		return nil, 0
	}
	end = secondHead + int(n)
	ops, ok := readOps(rest[secondHead:end]) // which costs less, where this is none
	if !ok || checksum(nil, rest[4:end]) != binary.BigEndian.Uint32(rest) {
		return nil, 0
	}
	return ops, end
}

// nextFrame finds the sound frame that follows one that is not; 0: there is none.
func nextFrame(rest []byte) int {
	for at := 1; at < len(rest); at++ {
		if _, end := frameAt(rest[at:]); end > 0 {
			return at
		}
	}
	return 0
}

// cutOff tells of what is behind the last sound frame whether an append that was cut off can have left it. A frame of which
// one bit is wrong is none.
func cutOff(rest []byte) bool {
	if len(rest) < secondHead {
		return true
	}
	want, n, there := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:]), uint64(len(rest)-secondHead)
	if uint64(n) < there {
		return false
	}
	for bit := range 32 {
		if other := n ^ 1<<bit; uint64(other) <= there && checksum(binary.BigEndian.AppendUint32(nil, other), rest[secondHead:secondHead+int(other)]) == want {
			return false
		}
	}
	if uint64(n) > there {
		return true
	}
	wrong := checksum(nil, rest[4:]) ^ want
	_, turned := flipped(rest[4:], want)
	return !turned && wrong&(wrong-1) != 0
}

// sizeOfLines is what published UUIDs take once the file is begun anew: of a UUID only the last line counts. It does not compare keys, of
// which there may be as many as entries: that two have one hash makes it wrong by one line.
func (c *copied) sizeOfLines() (size int64) {
	seed, sizes := maphash.MakeSeed(), make(map[uint64]int64, len(c.lines))
	for _, op := range c.lines {
		n, hash := int64(0), maphash.Bytes(seed, op.key)
		if op.value != nil {
			n = int64(len(op.key) + len(op.value) + 8)
		}
		size += n - sizes[hash]
		sizes[hash] = n
	}
	return size
}

// openSecond reads the file of an earlier run, and finds out by it whether anything is lost of which nothing
// else tells.
func (s *Store) openSecond() (c copied, err error) {
	m, metaErr := s.readMeta()
	if errors.Is(metaErr, ErrNewer) {
		return c, metaErr
	}
	path := filepath.Join(s.dir, secondName)
	os.Remove(path + ".new") //nolint:errcheck // of a start that was cut off; it is written over
	content, err := os.ReadFile(path)
	if err == nil {
		c = readSecond(content)
		if c.newer {
			return c, fmt.Errorf("file %s: %w", secondName, ErrNewer)
		}
		if !c.whole {
			const words = "(the second copy of what was decided here) is damaged; it is made again"
			m := &mender{s: s, dir: s.dir}
			if err := m.aside(secondName, words); err != nil { // which a start does without
				s.damaged(secondName+" "+words, "file", secondName, "not_kept", err)
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.damaged("the file "+secondName+", the second copy of what was decided here, cannot be read; it is made again", "error", err)
	}
	switch {
	case errors.Is(metaErr, badger.ErrKeyNotFound):
		empty, err := s.isEmpty()
		if err != nil || empty && !c.whole {
			return c, err // it is new
		}
		return c, s.losing("what the store knows of itself is missing")
	case errors.Is(metaErr, ErrCorrupt):
		return c, s.losing("what the store knows of itself cannot be read")
	case metaErr != nil:
		return c, metaErr
	case c.there && !c.whole:
		c.part = c.meta.instance == m.instance
	case c.whole && c.meta.instance != m.instance:
		c.whole = false // of another store
	case c.whole && c.meta.journalNext < m.journalNext: // as where a Shaft that knows no such file has run since
		c.whole, c.part = false, true
		s.damaged("the file "+secondName+", the second copy of what was decided here, is older than the rest, and not believed; it is made again", "file", secondName)
	case c.whole && c.meta.commits > m.commits+1: // the last was not acknowledged
		return c, s.losing("changes that were acknowledged are lost, by what the file " + secondName + " says")
	}
	return c, nil
}

// isEmpty tells whether nothing at all is stored.
func (s *Store) isEmpty() (empty bool, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		it := newIterator(txn, nil)
		defer it.Close()
		it.Rewind()
		empty = !it.Valid()
		return nil
	})
	return empty, err
}

// losing notes that content is lost, before anything is done about it.
func (s *Store) losing(words string) error {
	if s.lossy {
		return nil // and told
	}
	s.lossy = true
	s.damaged(words)
	return writeDurably(filepath.Join(s.dir, mendingName), nil)
}

// settleRecords makes badger's records good: all are those of the second copy where anything is lost, else
// single ones that cannot be read. What is in neither is removed, and told.
func (s *Store) settleRecords(c copied) error {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	r := s.purge()
	defer r.abandon()
	all := s.lossy && c.whole
	seen, changed, gone := map[string]bool{}, 0, 0
	err := s.eachCopied(txn, func(key, stored []byte) error {
		seen[string(key)] = true
		_, err := unseal(key, stored)
		want := c.ops[string(key)]
		part := c.part && key[0] == kindRecord && want != nil && s.isWorthy(key, want)
		had := want != nil && c.whole
		switch {
		case all && key[0] == kindRecord && s.isCopied(key) && !bytes.Equal(stored, want), all && key[0] == kindClaim && !sameGeneration(key, stored, want):
			changed++
		case err != nil && (key[0] == kindRecord || had):
			switch changed++; {
			case part:
				gone++
				s.damaged("the record "+shownKey(key)+" cannot be read, and is taken from what is sound of the file "+secondName+": it may be outdated", "record", shownKey(key))
			case !had:
				gone++
				want = nil
				s.damaged("the record "+shownKey(key)+" cannot be read, and there is no second copy of it: it is lost", "record", shownKey(key))
			}
		default:
			return nil
		}
		return r.settle(bytes.Clone(key), want)
	})
	if err != nil {
		return err
	}
	if all {
		for _, key := range slices.Sorted(maps.Keys(c.ops)) {
			if !seen[key] {
				changed++
				if err := r.settle([]byte(key), c.ops[key]); err != nil {
					return err
				}
			}
		}
	}
	if all {
		n, err := r.settlePublished(txn, c)
		if changed += n; err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	switch {
	case all:
		s.damaged("what was decided here is taken from the file "+secondName+", its second copy", "records", len(c.ops), "made_good", changed)
	case changed > gone:
		s.damaged("records that cannot be read are taken from the file "+secondName+", their second copy", "made_good", changed-gone)
	case s.lossy:
		s.damaged("there is no whole second copy of what was decided here: see whether all of it is there")
	}
	return nil
}

// settlePublished has the published UUIDs be those of the second copy.
func (r *run) settlePublished(txn *badger.Txn, c copied) (changed int, err error) {
	want := map[string][]byte{}
	for _, op := range c.lines {
		if want[string(op.key)] = op.value; op.value == nil {
			delete(want, string(op.key))
		}
	}
	err = iterate(txn, []byte{kindPublished}, nil, func(key, stored []byte) error {
		value := want[string(key)]
		delete(want, string(key))
		if bytes.Equal(value, stored) {
			return nil
		}
		changed++
		return r.settle(bytes.Clone(key), value)
	})
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if err == nil {
			changed++
			err = r.settle([]byte(key), want[key])
		}
	}
	return changed, err
}

// settle writes a stored value as it is, or removes the key.
func (r *run) settle(key, stored []byte) error {
	if stored == nil {
		return r.drop(key)
	}
	value, err := unseal(key, stored)
	if err != nil {
		return err
	}
	return r.set(key, bytes.Clone(value))
}

// sameGeneration tells of a stored claim record whether its copy has the same content count.
func sameGeneration(key, stored, copy []byte) bool {
	var states [2]claimState
	for i, b := range [][]byte{stored, copy} {
		value, err := unseal(key, b)
		if err != nil || states[i].decode(value) != nil {
			return false
		}
	}
	return states[0].sameGeneration(&states[1])
}

func shownKey(key []byte) string { return strings.ToValidUTF8(string(key[1:]), "?") }
