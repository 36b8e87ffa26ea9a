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

// redoName is a file that holds one commit, the last that went through it. Badger waits for the
// disk twice in a commit, for its log and for its value log, and hands it from goroutine to
// goroutine; a write to a file whose blocks are there already waits once. So a small commit is
// written there first, and is acknowledged; badger takes it while its caller goes on. Whatever
// wants to read or write the store meanwhile waits until badger has it. Open has badger take what
// it had not.
const redoName = "redo"

const (
	// redoSize is what the file takes; larger commits go to badger at once.
	redoSize  = 256 << 10
	redoMagic = "SHREDO1\n"
	redoHead  = len(redoMagic) + 4 + 4 + 16 + 8 // checksum and length of what follows; instance, commit
)

// change to the store's keys; a nil value removes the key.
type redoOp struct{ key, value []byte }

// redo is the file. Its methods are called with writeMu held.
type redo struct {
	f    *os.File // nil: it could not be had, commits go to badger at once
	buf  []byte
	last uint64 // number of the commit that was in it at Open; 0: none of this store
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

// write makes a commit durable, if it is small enough for that; false: it is for badger alone.
func (r *redo) write(instance dit.UUID, commit uint64, ops []redoOp) (bool, error) {
	size := redoHead
	for _, op := range ops {
		size += 8 + len(op.key) + len(op.value)
	}
	if size > redoSize {
		return false, nil
	}
	b := append(r.buf[:0], redoMagic...)
	b = append(b, make([]byte, 8)...)
	b = append(b, instance[:]...)
	b = binary.BigEndian.AppendUint64(b, commit)
	b = appendOps(b, ops)
	head, rest := b[len(redoMagic):], b[len(redoMagic)+8:]
	binary.BigEndian.PutUint32(head, checksum(nil, rest))
	binary.BigEndian.PutUint32(head[4:], uint32(len(rest)))
	r.buf = b
	_, err := r.f.WriteAt(b, 0)
	return err == nil, err
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

// readRedo gives what the file holds; nothing where it holds no whole commit.
func readRedo(content []byte) (instance dit.UUID, commit uint64, ops []redoOp) {
	if len(content) < redoHead || !bytes.HasPrefix(content, []byte(redoMagic)) {
		return instance, 0, nil
	}
	head, rest := content[len(redoMagic):], content[len(redoMagic)+8:]
	n := binary.BigEndian.Uint32(head[4:])
	if n < 24 || uint64(n) > uint64(len(rest)) || checksum(nil, rest[:n]) != binary.BigEndian.Uint32(head) {
		return instance, 0, nil
	}
	rest = rest[:n]
	copy(instance[:], rest)
	commit = binary.BigEndian.Uint64(rest[16:])
	ops, ok := readOps(rest[24:])
	if !ok {
		return instance, 0, nil
	}
	return instance, commit, ops
}

// redoLast has badger take the commit that was acknowledged and not taken, if there is one.
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
	instance, commit, ops := readRedo(content)
	m, err := s.readMeta()
	if err != nil {
		// Whoever loads the meta record next says what is wrong with it. The second copy may bring this instance back
		// as of an earlier commit, of which this one is not to be the next.
		s.redo.last = commit
		return nil
	}
	if instance != m.instance {
		return nil
	}
	s.redo.last = commit
	if commit <= m.commits {
		return nil
	}
	if commit > m.commits+1 {
		return s.losing("changes that were acknowledged are lost, by what the file " + redoName + " says")
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return redoInto(txn, ops) }); err != nil {
		return fmt.Errorf("take the last commit from %s: %w", redoName, err)
	}
	s.log.Info("the last commit, which was cut off, was completed", "file", redoName)
	return nil
}

// redoGone puts a file aside that cannot be read: nobody knows whether badger has what was in it.
func (s *Store) redoGone(err error) error {
	s.log.Error("store file cannot be read", "file", redoName, "error", err)
	m := &mender{s: s, dir: s.dir}
	if err := m.losing(redoName, "cannot be read: the last change that was acknowledged may be lost"); err != nil {
		return err
	}
	return os.Remove(filepath.Join(s.dir, redoName))
}

func redoInto(txn *badger.Txn, ops []redoOp) error {
	for _, op := range ops {
		err := error(nil)
		if op.value == nil {
			err = txn.Delete(op.key)
		} else {
			err = txn.Set(op.key, op.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ahead makes a prepared commit durable without badger, if it may. A file that fails is not
// used again; badger has the word then.
func (s *Store) ahead(w *work) bool {
	if s.redo.f == nil || s.opts.written != nil {
		return false
	}
	durable, err := s.redo.write(w.meta.instance, w.meta.commits, w.ops)
	if err != nil {
		s.slower(err)
		s.redo.f.Close()
		s.redo.f = nil
	}
	return durable
}

// slower tells that the file is not used.
func (s *Store) slower(err error) {
	s.log.Error("file not written; commits take longer until the next start", "file", redoName, "error", err)
}

// follow has badger take a commit that is durable already, and lets go of writeMu. Where
// badger cannot, the store takes no more writes, nobody reads it, and the next Open tries again.
func (s *Store) follow(w *work) {
	defer s.writeMu.Unlock()
	defer w.abandon()
	if s.opts.behind != nil {
		s.opts.behind()
	}
	err := w.finish()
	if err != nil {
		s.log.Error("a commit that is acknowledged was not taken; it is when the store is opened again", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind, s.untaken = false, err
	s.caughtUp.Broadcast()
}

// catchUp waits until badger has taken what was acknowledged. It wants mu, which is given
// up meanwhile.
func (s *Store) catchUp() {
	for s.behind {
		s.caughtUp.Wait()
	}
}
