package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
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
	redoHead    = len(redoMagic) + 4 + 4 + 16 + 8 // checksum and length of what follows; instance, commit
)

// change to the store's keys; a nil value removes the key.
type redoOp struct{ key, value []byte }

// redo is the file. Its methods are called with writeMu held.
type redo struct {
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
	if err != nil || info.Size() != redoSize {
		if err := writeWhole(path, make([]byte, redoSize)); err != nil {
			return err
		}
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	r.f, err = os.OpenFile(path, os.O_RDWR|unix.O_DSYNC, 0)
	return err
}

func writeWhole(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
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
	b = append(b, make([]byte, 8)...)
	b = append(b, instance[:]...)
	b = binary.BigEndian.AppendUint64(b, commit)
	b = appendOps(b, ops)
	head, rest := b[len(redoMagic):], b[len(redoMagic)+8:]
	sum := r.checksum(rest)
	binary.BigEndian.PutUint32(head, sum)
	binary.BigEndian.PutUint32(head[4:], uint32(len(rest)))
	r.buf = b
	if _, err := r.f.WriteAt(b, r.end); err != nil {
		return err
	}
	r.end, r.sum = r.end+sizeOfFrame(ops), sum
	return nil
}

// checksum is that of the next frame; the first one's is of itself alone.
func (r *redo) checksum(rest []byte) uint32 {
	if r.end == 0 {
		return checksum(nil, rest)
	}
	return checksum(binary.BigEndian.AppendUint32(nil, r.sum), rest)
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

func readRedo(content []byte) (c redoRead) {
	var r redo
	for r.end+int64(redoHead) <= int64(len(content)) {
		of, frame, sum, ok := r.read(content[r.end:])
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
	next := redo{sum: binary.BigEndian.Uint32(head), end: r.end + pages(int64(len(redoMagic)+8)+int64(binary.BigEndian.Uint32(head[4:])))}
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
	head, rest := content[len(redoMagic):], content[len(redoMagic)+8:]
	n := binary.BigEndian.Uint32(head[4:])
	if n < 24 || uint64(n) > uint64(len(rest)) {
		return instance, frame, 0, false
	}
	rest = rest[:n]
	if sum = r.checksum(rest); sum != binary.BigEndian.Uint32(head) {
		return instance, frame, 0, false
	}
	copy(instance[:], rest)
	frame.commit = binary.BigEndian.Uint64(rest[16:])
	frame.ops, ok = readOps(rest[24:])
	return instance, frame, sum, ok
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
	if c.last() == 0 {
		return nil
	}
	m, err := s.readMeta()
	if err != nil {
		// Whoever loads the meta record next says what is wrong with it. The second copy may bring this instance back
		// as of an earlier commit, of which none of these is to be the next.
		s.redo.last = c.last()
		return nil
	}
	if c.instance != m.instance {
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
		taken++
	}
	if taken > 0 {
		s.log.Info("the last commits, which were cut off, were completed", "file", redoName, "commits", taken)
	}
	if c.beyond > m.commits {
		return s.losing(lost)
	}
	return nil
}

// redoGone puts a file aside that cannot be read: nobody knows whether badger has what was in it.
func (s *Store) redoGone(err error) error {
	s.log.Error("store file cannot be read", "file", redoName, "error", err)
	m := &mender{s: s, dir: s.dir}
	if err := m.losing(redoName, "cannot be read: the last changes that were acknowledged may be lost"); err != nil {
		return err
	}
	return os.Remove(filepath.Join(s.dir, redoName))
}
