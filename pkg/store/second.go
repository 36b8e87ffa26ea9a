package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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
	disk
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
		if known, durable := s.claimed(id); !durable || !known.sameGeneration(state) {
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
	n, err := f.writeAt(f.f, f.buf, f.size)
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
	s.log.Error("the second copy of what was decided is not written; it is made again later, or by the next start", "file", secondName, "error", err)
	if s.second.f != nil {
		s.second.f.Close()
	}
	s.second = second{disk: s.second.disk}
	err = s.second.remove(filepath.Join(s.dir, secondName))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil { // or a power cut would bring it back
		err = s.second.syncDir(s.dir)
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

// renewSecond begins the file anew where it is not to be believed, or too large. To be believed it has to have all that badger has, and no
// other record; what it has of claims that were dropped and of generations of which nothing is left does no harm. Without it the
// store goes on.
func (s *Store) renewSecond(c copied) {
	good, behind, size, others := c.whole && c.meta.commits <= s.meta.commits, false, c.sizeOfLines(), 0
	for key := range c.ops {
		if key[0] == kindRecord {
			others++
		}
	}
	err := s.eachCopied(s.view.txn, func(key, stored []byte) error {
		if !s.isWorthy(key, stored) {
			return nil
		}
		size += int64(len(key) + len(stored) + 8)
		had := c.ops[string(key)]
		if had != nil && key[0] == kindRecord {
			others--
		}
		good = good && (bytes.Equal(had, stored) || key[0] == kindClaim && sameGeneration(key, stored, had))
		behind = behind || key[0] == kindRecord && !bytes.Equal(had, stored)
		return nil
	})
	if c.whole && behind && c.meta.commits <= s.meta.commits {
		s.damaged("the file "+secondName+", the second copy of what was decided here, lacks some of it; it is made again", "file", secondName)
	}
	good = good && err == nil && others == 0
	switch {
	case good && c.size <= 2*size+secondSlack:
		err = s.second.open(s.dir, c.size, size)
	case err == nil:
		if err = s.beginSecond(s.view, nil); err != nil && good {
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

// remakeSecond makes the file again after it could not be written. Commits wait meanwhile: there is nothing that they could be appended to.
func (s *Store) remakeSecond() {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.second.f != nil || s.writable() != nil || s.roomFor(false, 0) != nil {
		return
	}
	v, err := s.acquire()
	if err != nil {
		return
	}
	defer s.release(v)
	if err = s.beginSecond(v, nil); errors.Is(err, ErrFull) {
		return // which is told
	}
	if s.report("make the file "+secondName+" again", err); s.second.f != nil {
		s.log.Info("the second copy of what was decided is written again", "file", secondName)
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
	return errors.Join(f.truncate(f.f, size), f.sync(f.f))
}

// roomForSecond tells whether there is room for the file to be begun anew. The bytes count twice, as those of other writes do.
func (s *Store) roomForSecond(v *view) error {
	size := int64(0)
	err := s.eachLine(v.txn, func(key, stored []byte) error {
		if s.isCopied(key) {
			size += int64(len(key) + len(stored) + 8)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.roomFor(false, size)
}

// eachLine walks what the file is to have, and more of it than eachCopied: published UUIDs too.
func (s *Store) eachLine(txn *badger.Txn, fn func(key, stored []byte) error) error {
	return errors.Join(s.eachCopied(txn, fn), iterate(txn, []byte{kindPublished}, nil, fn))
}

// beginSecond writes the file anew, of what badger has as of a view; tail gives, with writeMu held until
// the file is in its place, what was appended since. Where there is a tail, what badger cannot give is an error: the file that
// is in use has it. After an error that file is as it was; an ErrFull says that there is no room for it.
func (s *Store) beginSecond(v *view, tail func() ([]byte, error)) (err error) {
	if err := s.roomForSecond(v); err != nil {
		return err
	}
	path := filepath.Join(s.dir, secondName)
	defer func() {
		if err != nil {
			s.second.remove(path + ".new") //nolint:errcheck // it is written over
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
		return s.second.write(f, b)
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
	if err := s.eachLine(v.txn, copyOf); err != nil {
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
	if err := s.second.sync(f); err != nil {
		return err
	}
	if err := s.second.rename(path+".new", path); err != nil {
		return err
	}
	if s.second.f != nil {
		s.second.f.Close()
	}
	if err := errors.Join(s.second.syncDir(s.dir), s.second.open(s.dir, size, fresh)); err != nil {
		s.withoutSecond(err)
	}
	return nil
}
