package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// secondName is a file with a second copy of what no source can give again: named records, published UUIDs, and of each
// claim which generation counts. Badger's files are one place, however many copies they held: a small store's
// records lie in one table. Where any of them is damaged the records are those of this file, which is of one
// moment, the last; what badger's tables still have may be of several. Where this file is damaged it
// is made again of badger's.
//
// A commit that changes any of it is appended and on disk before badger or redo has it, so that the file is
// never behind, and ahead by the one commit that was not acknowledged. Begun anew, it is what badger has, in frames
// of which the last says that they are all.
//
//	SHSECND1
//	4 bytes CRC-32C of what follows, 4 bytes length, operations (see redoOp): again and again
const secondName = "records"

const (
	secondMagic = "SHSECND1"
	secondHead  = 4 + 4
	// secondFrame is how much goes into one frame as the file is begun anew.
	secondFrame = 256 << 10
	// secondSlack is by how much the file outgrows what is in it, once over, before it is begun anew.
	secondSlack = 1 << 20
)

// secondEnd is the key of an operation that ends what badger had.
var secondEnd = []byte{}

// second is the file as it is written. Its methods are called with writeMu held.
type second struct {
	f     *os.File // nil: there is none
	size  int64
	fresh int64 // size when it was begun
	buf   []byte
}

// isCopied tells whether the file has a key, but for meta, which is in each frame.
func (s *Store) isCopied(key []byte) bool {
	switch key[0] {
	case kindClaim, kindFirst, kindPublished:
		return true
	case kindRecord:
		return !slices.ContainsFunc(s.opts.Uncopied, func(prefix string) bool { return bytes.HasPrefix(key[1:], []byte(prefix)) })
	}
	return false
}

// isWorthy tells whether what is stored belongs into the file: what cannot be read does not.
func (s *Store) isWorthy(key, stored []byte) bool {
	_, err := unseal(key, stored)
	return err == nil && s.isCopied(key)
}

// copy appends a prepared commit, if it changes what the file has. A file that fails is removed: one
// that lags behind would be believed.
func (s *Store) copy(w *work) {
	if s.second.f == nil || !s.isWorthACopy(w) {
		return
	}
	var ops []redoOp
	for _, op := range w.ops {
		if op.key[0] == kindMeta || s.isCopied(op.key) {
			ops = append(ops, op)
		}
	}
	for _, p := range w.ahead {
		key := publishedKey(p.Claim, p.Upstream)
		op := redoOp{key: key}
		if line := (publishedLine{after: p.Published}); !p.Published.IsZero() {
			op.value = seal(key, line.encode())
		}
		ops = append(ops, op)
	}
	if err := s.second.append(ops); err != nil {
		s.withoutSecond(err)
	}
	if s.second.isOutgrown() {
		s.sweeper.mu.Lock()
		defer s.sweeper.mu.Unlock()
		s.sweeper.poke()
	}
}

// isOutgrown tells that most of the file is what later frames say anew.
func (f *second) isOutgrown() bool { return f.f != nil && f.size > 2*f.fresh+secondSlack }

// isWorthACopy tells whether a commit changes more than cookies and counts. One that is in the journal is, whatever it
// changes: by the number of its line a file is known that is behind.
func (s *Store) isWorthACopy(w *work) bool {
	for _, op := range w.ops {
		if op.key[0] == kindJournal || op.key[0] != kindClaim && s.isCopied(op.key) {
			return true
		}
	}
	if len(w.ahead) > 0 {
		return true
	}
	for id, state := range w.claims {
		if known := s.lookup(id); known == nil || !known.durable || !known.claimState.sameGeneration(state) {
			return true
		}
	}
	return false
}

func (c *claimState) sameGeneration(o *claimState) bool {
	return c.gen == o.gen && c.floor == o.floor && c.dropped == o.dropped
}

func (f *second) append(ops []redoOp) error {
	f.buf = appendFrame(f.buf[:0], ops)
	n, err := f.f.WriteAt(f.buf, f.size)
	f.size += int64(n)
	if cap(f.buf) > 4*secondFrame {
		f.buf = nil
	}
	return err
}

func appendFrame(dst []byte, ops []redoOp) []byte {
	at := len(dst)
	dst = appendOps(append(dst, make([]byte, secondHead)...), ops)
	binary.BigEndian.PutUint32(dst[at+4:], uint32(len(dst)-at-secondHead))
	binary.BigEndian.PutUint32(dst[at:], checksum(nil, dst[at+4:]))
	return dst
}

// withoutSecond goes on without the file.
func (s *Store) withoutSecond(err error) {
	s.log.Error("the second copy of what was decided is not written; the next start makes it again", "file", secondName, "error", err)
	if s.second.f != nil {
		s.second.f.Close()
	}
	s.second = second{}
	err = os.Remove(filepath.Join(s.dir, secondName))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil { // or a power cut would bring it back
		err = syncDir(s.dir)
	}
	if err != nil {
		s.log.Error("a second copy that is not up to date is still there: remove it", "file", secondName, "error", err)
	}
}

func (f *second) close() error {
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}

// copied is what the file was found to have.
type copied struct {
	meta  meta
	ops   map[string][]byte // stored values; neither meta's nor published UUIDs
	lines []redoOp          // published UUIDs, later ones count
	size  int64             // of the frames that are sound; behind it may be what is left of an append
	there bool              // the file is
	whole bool              // all that it was begun with can be read, and nothing behind it is damaged
	part  bool              // damaged, and of this store: what is sound of it may be outdated
}

// readSecond reads the file's content, as far as it is sound.
func readSecond(content []byte) (c copied) {
	c.there, c.ops = true, map[string][]byte{}
	if !bytes.HasPrefix(content, []byte(secondMagic)) {
		return c
	}
	begun := false
	rest := content[len(secondMagic):]
	for len(rest) >= secondHead {
		n := binary.BigEndian.Uint32(rest[4:])
		if uint64(n) > uint64(len(rest)-secondHead) {
			break
		}
		frame := rest[4 : secondHead+n]
		ops, ok := readOps(frame[4:])
		if checksum(nil, frame) != binary.BigEndian.Uint32(rest) || !ok {
			break
		}
		rest = rest[secondHead+n:]
		for _, op := range ops {
			switch {
			case len(op.key) == 0:
				begun = true
			case op.key[0] == kindMeta:
				value, err := unseal(metaKey, op.value)
				if err != nil || c.meta.decode(value) != nil {
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
	c.whole = begun && (len(rest) == 0 || cutOff(rest))
	return c
}

// cutOff tells of a frame that is no whole one whether it is the last.
func cutOff(rest []byte) bool {
	return len(rest) < secondHead || uint64(binary.BigEndian.Uint32(rest[4:])) >= uint64(len(rest)-secondHead)
}

// openSecond reads the file of an earlier run, and finds out by it whether anything is lost of which nothing
// else tells.
func (s *Store) openSecond() (c copied, err error) {
	path := filepath.Join(s.dir, secondName)
	os.Remove(path + ".new") //nolint:errcheck // of a start that was cut off; it is written over
	content, err := os.ReadFile(path)
	if err == nil {
		if c = readSecond(content); !c.whole {
			const words = "(the second copy of what was decided here) is damaged; it is made again"
			m := &mender{s: s, dir: s.dir}
			if err := m.aside(secondName, words); err != nil { // which a start does without
				s.damaged(secondName+" "+words, "file", secondName, "not_kept", err)
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.damaged("the file "+secondName+", the second copy of what was decided here, cannot be read; it is made again", "error", err)
	}
	m, err := s.readMeta()
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		empty, err := s.isEmpty()
		if err != nil || empty && !c.whole {
			return c, err // it is new
		}
		return c, s.losing("what the store knows of itself is missing")
	case errors.Is(err, ErrCorrupt):
		return c, s.losing("what the store knows of itself cannot be read")
	case err != nil:
		return c, err
	case c.there && !c.whole:
		c.part = c.meta.instance == m.instance
	case c.whole && c.meta.instance != m.instance:
		c.whole = false // of another store
	case c.whole && c.meta.journalNext < m.journalNext: // as where a Shaft that knows no such file has run since
		c.whole = false
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

// eachCopied walks what the file is to have, and named records that it is not to have. Published UUIDs, of which there may
// be one for each entry, are not among it: a start does without looking at them.
func (s *Store) eachCopied(txn *badger.Txn, fn func(key, stored []byte) error) error {
	for _, kind := range []byte{kindClaim, kindFirst, kindRecord} {
		if err := iterate(txn, []byte{kind}, nil, fn); err != nil {
			return err
		}
	}
	return nil
}

// sizeOfLines is what published UUIDs take once the file is begun anew: of a UUID only the last line counts. It puts lines in
// order of their keys.
func (c *copied) sizeOfLines() (size int64) {
	slices.SortStableFunc(c.lines, func(a, b redoOp) int { return bytes.Compare(a.key, b.key) })
	for i, op := range c.lines {
		if op.value != nil && (i+1 == len(c.lines) || !bytes.Equal(c.lines[i+1].key, op.key)) {
			size += int64(len(op.key) + len(op.value) + 8)
		}
	}
	return size
}

// renewSecond begins the file anew where it is not what badger has, or too large. Without it the
// store goes on.
func (s *Store) renewSecond(c copied) {
	same, behind, size, n := c.whole, false, c.sizeOfLines(), 0
	err := s.eachCopied(s.view.txn, func(key, stored []byte) error {
		if !s.isWorthy(key, stored) {
			return nil
		}
		n++
		size += int64(len(key) + len(stored) + 8)
		had := c.ops[string(key)]
		same = same && (bytes.Equal(had, stored) || key[0] == kindClaim && sameGeneration(key, stored, had))
		behind = behind || key[0] == kindRecord && !bytes.Equal(had, stored)
		return nil
	})
	if c.whole && behind && c.meta.commits <= s.meta.commits {
		s.damaged("the file "+secondName+", the second copy of what was decided here, lacks some of it; it is made again", "file", secondName)
	}
	same = same && err == nil && n == len(c.ops) && c.meta.commits <= s.meta.commits
	switch {
	case same && c.size <= 2*size+secondSlack:
		err = s.second.open(s.dir, c.size, size)
	case err == nil:
		if err = s.beginSecond(s.view, nil); err != nil && same {
			s.notBegun(err)
			err = s.second.open(s.dir, c.size, c.size)
		}
	}
	if err != nil {
		s.withoutSecond(err)
	}
}

// tendSecond begins a file anew that has outgrown what is in it. Commits go on meanwhile.
func (s *Store) tendSecond() {
	s.writeMu.Lock()
	from, outgrown := s.second.size, s.second.isOutgrown() && s.writable() == nil
	v, err := s.acquire()
	s.writeMu.Unlock()
	if err != nil {
		return
	}
	defer s.release(v)
	if !outgrown {
		return
	}
	locked := false
	err = s.beginSecond(v, func() ([]byte, error) {
		s.writeMu.Lock()
		if locked = true; s.second.f == nil {
			return nil, os.ErrClosed
		}
		since := make([]byte, s.second.size-from)
		_, err := s.second.f.ReadAt(since, from)
		return since, err
	})
	if !locked {
		s.writeMu.Lock()
	}
	defer s.writeMu.Unlock()
	if err != nil && s.second.f != nil {
		s.second.fresh = s.second.size // not again at the next commit
		s.notBegun(err)
	}
}

func (s *Store) notBegun(err error) {
	s.log.Error("the second copy of what was decided cannot be begun anew; it goes on as it is, larger than it has to be", "file", secondName, "error", err)
}

// open cuts the file to its sound frames: whatever is appended behind others is not read.
func (f *second) open(dir string, size, fresh int64) (err error) {
	f.f, err = os.OpenFile(filepath.Join(dir, secondName), os.O_RDWR|unix.O_DSYNC, 0)
	f.size, f.fresh = size, fresh
	if err != nil {
		return err
	}
	info, err := f.f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	return errors.Join(f.f.Truncate(size), f.f.Sync())
}

// beginSecond writes the file anew, of what badger has as of a view; tail gives, with writeMu held until
// the file is in its place, what was appended since. Where there is a tail, what badger cannot give is an error: the file that
// is in use has it. After an error that file is as it was.
func (s *Store) beginSecond(v *view, tail func() ([]byte, error)) (err error) {
	path := filepath.Join(s.dir, secondName)
	defer func() {
		if err != nil {
			os.Remove(path + ".new") //nolint:errcheck // it is written over
		}
	}()
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	write := func(b []byte) error {
		size += int64(len(b))
		_, err := f.Write(b)
		return err
	}
	if err := write([]byte(secondMagic)); err != nil {
		return err
	}
	ops, bytesOf := []redoOp{{metaKey, seal(metaKey, v.meta.encode())}}, 0
	cut := func() error {
		err := write(appendFrame(nil, ops))
		ops, bytesOf = nil, 0
		return err
	}
	copyOf := func(key, stored []byte) error {
		if !s.isWorthy(key, stored) {
			if tail != nil && s.isCopied(key) {
				return corruptKey(key)
			}
			return nil
		}
		ops = append(ops, redoOp{bytes.Clone(key), bytes.Clone(stored)})
		if bytesOf += len(key) + len(stored); bytesOf < secondFrame {
			return nil
		}
		return cut()
	}
	if err := errors.Join(s.eachCopied(v.txn, copyOf), iterate(v.txn, []byte{kindPublished}, nil, copyOf)); err != nil {
		return err
	}
	ops = append(ops, redoOp{key: secondEnd})
	if err := cut(); err != nil {
		return err
	}
	fresh := size
	if tail != nil {
		more, err := tail()
		if err == nil {
			err = write(more)
		}
		if err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if s.second.f != nil {
		s.second.f.Close()
	}
	if err := errors.Join(syncDir(s.dir), s.second.open(s.dir, size, fresh)); err != nil {
		s.withoutSecond(err)
	}
	return nil
}
