package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"shaft/pkg/dit"
)

// redoName is a file that holds the commits that badger has yet to take. Badger waits for the
// disk twice in a commit, for its log and for its value log, and hands it from goroutine to
// goroutine; a write to a file whose blocks are there already waits once. So a small commit is
// written there first, and is acknowledged; badger takes it later, together with those that come
// meanwhile (see redo.go). Open has badger take what it had not.
//
// Commits lie one behind the other, each in a frame that begins a page: what a torn write spoils was not
// acknowledged. The checksum of a frame goes on from that of the frame before, so that nothing else passes
// for the next one: neither what is left of an earlier round nor what somebody wrote into a value. Once badger has
// all of them the next frame is the first again.
const redoName = "redo"

const (
	// redoSize is what the file takes: room for some hundred commits of one change each.
	redoSize = 1 << 20
	// redoLargest is the largest frame; a larger commit goes to badger at once.
	redoLargest = redoSize / 4
	redoPage    = 4 << 10
	redoMagic   = "SHREDO1\n"
	redoBody    = len(redoMagic) + 4 + 4 // behind the checksum and the length of what follows
	redoHead    = redoBody + 16 + 8      // instance, commit
)

// change to the store's keys; a nil value removes the key.
type redoOp struct{ key, value []byte }

// redo is the file. Its methods are called with writeMu held.
type redo struct {
	disk
	f    *os.File // nil: it could not be had, commits go to badger at once
	buf  []byte
	end  int64  // where the next frame begins
	sum  uint32 // checksum of the frame before
	last uint64 // number of the last commit that was in it at Open; 0: none of this store
}

// open makes the file where it is not there, with all its blocks written.
func (r *redo) open(dir string) error {
	path := filepath.Join(dir, redoName)
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && info.Size() != redoSize { // what it was may have been kept, under another name
		if err = r.remove(path); err != nil {
			return err
		}
		err = fs.ErrNotExist
	}
	if err != nil {
		if err := r.writeWhole(path, make([]byte, redoSize)); err != nil {
			return err
		}
		if err := r.syncDir(dir); err != nil {
			return err
		}
	}
	r.f, err = os.OpenFile(path, os.O_RDWR|unix.O_DSYNC, 0)
	return err
}

func (r *redo) close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// sizeOfFrame is what ops take, with the rest of the last page.
func sizeOfFrame(ops []redoOp) int64 {
	size := redoHead
	for _, op := range ops {
		size += 8 + len(op.key) + len(op.value)
	}
	return pages(int64(size))
}

// pages is a size with the rest of the last page.
func pages(size int64) int64 { return (size + redoPage - 1) / redoPage * redoPage }

// restart has the next frame be the first. Badger has to have all others.
func (r *redo) restart() { r.end, r.sum = 0, 0 }

// write makes a commit durable, which there is to be room for.
func (r *redo) write(instance dit.UUID, commit uint64, ops []redoOp) error {
	b := append(r.buf[:0], redoMagic...)
	b = append(b, make([]byte, redoBody-len(redoMagic))...)
	b = append(b, instance[:]...)
	b = binary.BigEndian.AppendUint64(b, commit)
	b = appendOps(b, ops)
	head, rest := b[len(redoMagic):], b[redoBody:]
	sum := checksum(r.before(), rest)
	binary.BigEndian.PutUint32(head, sum)
	binary.BigEndian.PutUint32(head[4:], uint32(len(rest)))
	r.buf = b
	if _, err := r.writeAt(r.f, b, r.end); err != nil {
		return err
	}
	r.end, r.sum = r.end+sizeOfFrame(ops), sum
	return nil
}

// before is what the checksum of the next frame begins with; the first one's is of itself alone.
func (r *redo) before() []byte {
	if r.end == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint32(nil, r.sum)
}

func appendOps(dst []byte, ops []redoOp) []byte {
	for _, op := range ops {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(op.key)))
		n := uint32(0)
		if op.value != nil {
			n = uint32(len(op.value)) + 1
		}
		dst = binary.BigEndian.AppendUint32(dst, n)
		dst = append(append(dst, op.key...), op.value...)
	}
	return dst
}

// readOps reads them back; false where there is anything else.
func readOps(rest []byte) (ops []redoOp, ok bool) {
	for len(rest) > 0 {
		if len(rest) < 8 {
			return nil, false
		}
		k, v := uint64(binary.BigEndian.Uint32(rest)), uint64(binary.BigEndian.Uint32(rest[4:]))
		if rest = rest[8:]; k+max(v, 1)-1 > uint64(len(rest)) {
			return nil, false
		}
		op := redoOp{key: rest[:k:k]}
		if rest = rest[k:]; v > 0 {
			op.value = rest[: v-1 : v-1]
			rest = rest[v-1:]
		}
		ops = append(ops, op)
	}
	return ops, true
}

// redoFrame is a commit as the file has it.
type redoFrame struct {
	commit uint64
	ops    []redoOp
	turned int64 // byte of the file with a bit that was wrong; -1: none
}

// redoRead is what the file holds: commits in order, and whose they are.
type redoRead struct {
	instance dit.UUID
	frames   []redoFrame
	// beyond is the largest number of a commit behind these that goes on from one that is damaged, or from
	// an older round; 0: there is none.
	beyond uint64
}

// last is the largest number of a commit of which there is something; 0: there is none.
func (c *redoRead) last() uint64 {
	if len(c.frames) == 0 {
		return c.beyond
	}
	return max(c.beyond, c.frames[len(c.frames)-1].commit)
}

// dropTorn leaves out a last frame that a bit was put right in and that is no commit all the same: of a large one that a kill tore
// that is taken for a bit once in a few thousand times. What others follow is sealed by theirs.
func (c *redoRead) dropTorn() {
	n := len(c.frames) - 1
	if n < 0 || c.beyond > 0 || c.frames[n].turned < 0 {
		return
	}
	for _, op := range c.frames[n].ops {
		if op.value != nil && !isSealed(op.key, op.value) {
			c.frames = c.frames[:n]
			return
		}
	}
}

// readRedo puts bits of content right that turned.
func readRedo(content []byte) (c redoRead) {
	var r redo
	for r.end+int64(redoHead) <= int64(len(content)) {
		of, frame, sum, ok := r.readRight(content[r.end:])
		if !ok || len(c.frames) > 0 && (of != c.instance || frame.commit != c.last()+1) {
			break
		}
		c.instance, c.frames = of, append(c.frames, frame)
		r.end, r.sum = r.end+sizeOfFrame(frame.ops), sum
	}
	for last := c.last(); r.end+int64(redoHead) <= int64(len(content)); r.end += redoPage {
		of, number, ok := r.behind(content)
		if !ok || number <= max(last, c.beyond) || len(c.frames) > 0 && (of != c.instance || number > last+redoSize/redoPage) {
			continue
		}
		c.beyond = number
		if len(c.frames) == 0 {
			c.instance = of
		}
	}
	return c
}

// behind gives the number of the commit behind the next one, whatever that is, if it goes on from it: where the last write has torn
// one, none does.
func (r *redo) behind(content []byte) (instance dit.UUID, commit uint64, ok bool) {
	head := content[r.end+int64(len(redoMagic)):]
	next := redo{sum: binary.BigEndian.Uint32(head), end: r.end + pages(int64(redoBody)+int64(binary.BigEndian.Uint32(head[4:])))}
	if next.end+int64(redoHead) > int64(len(content)) {
		return instance, 0, false
	}
	instance, frame, _, ok := next.read(content[next.end:])
	return instance, frame.commit, ok
}

// read reads the next frame.
func (r *redo) read(content []byte) (instance dit.UUID, frame redoFrame, sum uint32, ok bool) {
	if !bytes.HasPrefix(content, []byte(redoMagic)) {
		return instance, frame, 0, false
	}
	want, rest := sealedRedo(content)
	if rest == nil {
		return instance, frame, 0, false
	}
	if sum = checksum(r.before(), rest); sum != want {
		return instance, frame, 0, false
	}
	copy(instance[:], rest)
	frame.commit, frame.turned = binary.BigEndian.Uint64(rest[16:]), -1
	frame.ops, ok = readOps(rest[24:])
	return instance, frame, sum, ok
}

// sealedRedo gives a frame's checksum and what that is of; nil where its length makes no sense.
func sealedRedo(content []byte) (sum uint32, rest []byte) {
	head, rest := content[len(redoMagic):], content[redoBody:]
	n := binary.BigEndian.Uint32(head[4:])
	if int64(n) < int64(redoHead-redoBody) || uint64(n) > uint64(len(rest)) {
		return 0, nil
	}
	return binary.BigEndian.Uint32(head), rest[:n:n]
}

// readRight reads the next frame, and puts a single bit right in it if that is what is wrong. What a torn write leaves is
// taken for such a frame by chance alone: once in 2^32 for each bit of it.
func (r *redo) readRight(content []byte) (instance dit.UUID, frame redoFrame, sum uint32, ok bool) {
	if instance, frame, sum, ok = r.read(content); ok {
		return instance, frame, sum, true
	}
	for bit := range r.suspects(content) {
		turn(content, bit)
		if instance, frame, sum, ok = r.read(content); ok {
			frame.turned = r.end + int64(bit/8)
			return instance, frame, sum, true
		}
		turn(content, bit)
	}
	return instance, frame, 0, false
}

// suspects are the bits of a frame that one may have turned of: each that is not under the checksum, or of it, and the one that
// the checksum names.
func (r *redo) suspects(content []byte) iter.Seq[int] {
	return func(yield func(bit int) bool) {
		if want, rest := sealedRedo(content); rest != nil {
			before := r.before()
			bit, ok := flipped(append(before, rest...), want)
			if bit -= 8 * len(before); ok && bit >= 0 && !yield(8*redoBody+bit) {
				return
			}
		}
		for bit := range 8 * redoBody {
			if !yield(bit) {
				return
			}
		}
	}
}

// redoLast has badger take the commits that were acknowledged and not taken.
func (s *Store) redoLast() error {
	content, err := os.ReadFile(filepath.Join(s.dir, redoName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) { // which is put right without a loss
		return err
	}
	if err != nil {
		return s.redoGone(err)
	}
	c := readRedo(content)
	c.dropTorn()
	if c.last() == 0 {
		return nil
	}
	m, err := s.readMeta()
	switch {
	case errors.Is(err, badger.ErrKeyNotFound), errors.Is(err, ErrCorrupt):
		// Whoever loads the meta record next says what is wrong with it. The second copy may bring this instance back
		// as of an earlier commit, of which none of these is to be the next.
		s.redo.last = c.last()
		return nil
	case err != nil:
		return err
	case c.instance != m.instance:
		return nil
	}
	s.redo.last = c.last()
	const lost = "changes that were acknowledged are lost, by what the file " + redoName + " says"
	if len(c.frames) > 0 && c.frames[0].commit > m.commits+1 {
		return s.losing(lost)
	}
	taken := 0
	for _, frame := range c.frames {
		if frame.commit <= m.commits {
			continue
		}
		if err := s.db.Update(func(txn *badger.Txn) error { return redoInto(txn, frame.ops) }); err != nil {
			return fmt.Errorf("take commit %d from %s: %w", frame.commit, redoName, err)
		}
		if taken++; frame.turned >= 0 {
			s.damaged("a bit had turned in "+redoName+", and is right again: have the disk and the memory checked", "file", redoName, "byte", frame.turned)
		}
	}
	if taken > 0 {
		s.log.Info("the last commits, which were cut off, were completed", "file", redoName, "commits", taken)
	}
	if c.beyond > m.commits {
		return s.losing(lost)
	}
	return nil
}

// redoGone puts a file aside that cannot be read. Nobody knows whether badger has what was in it, unless the store was closed with that.
func (s *Store) redoGone(err error) error {
	s.log.Error("store file cannot be read", "file", redoName, "error", err)
	m := &mender{s: s, dir: s.dir}
	if s.redoHolds {
		if err := m.losing(redoName, "cannot be read: the last changes that were acknowledged may be lost"); err != nil {
			return err
		}
	} else {
		const words = "cannot be read, and is made again: nothing that was in it is lost"
		if err := m.aside(redoName, words); err != nil { // which a start does without
			s.damaged(redoName+" "+words, "file", redoName, "not_kept", err)
		}
	}
	return s.redo.remove(filepath.Join(s.dir, redoName))
}
