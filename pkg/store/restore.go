package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// restoreLead is how far ahead of the clock, and of the backup, the CSNs of a
// restored store begin. What was given out after the backup is lost, and a cookie
// of that time must never look like one of the time after: this covers clocks
// that went up to two hours ahead in the lost time (a wrong daylight saving
// time, twice), and what one loads in seconds.
const restoreLead = 2 * time.Hour

// ErrNotEmpty says that a directory holds a store already.
var ErrNotEmpty = errors.New("there is a store already")

// RestoreOptions of a restore.
type RestoreOptions struct {
	Log    *slog.Logger          // nil: none
	Now    func() time.Time      // nil: time.Now
	Force  bool                  // a store that is there is moved aside
	DryRun bool                  // what was built and checked is thrown away
	Space  func() (Space, error) // what the file system has room for; nil: asks it
	// Accept looks at the header before anything is written; an error ends the restore.
	Accept func(BackupHeader) error
}

func (o *RestoreOptions) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// lookEvery is how many bytes of a backup are written before it is looked whether there is
// still room for as much, and for what badger has not written yet: the process would die of
// a disk that is full.
const lookEvery = 4 << 20

// Restored is what a restore brought.
type Restored struct {
	Header   BackupHeader
	Instance dit.UUID // new
	CSN      dit.CSN  // from which the sequence goes on
	Claims   int
	Entries  int // of all claims
	Damaged  int // claims that are fetched again in full
	LeftOut  uint64
	Aside    string // where the files of the store that was there are; "" for none. Of a dry run: dir, where there are any
}

// Restore makes the store in dir from a backup. It is built and checked in a
// directory below dir and then takes its place, which one rename decides: killed at
// any moment, dir holds what it held, or all of the backup (the next Open
// finishes what is left to do). A store that is there is an ErrNotEmpty, or moved
// into a directory of its own below dir. ErrLocked says that dir is in use,
// ErrBackup or ErrNewer what is wrong with the backup.
//
// The restored store is another instance. Everything in it counts as changed
// since, at a CSN above all that was given out before: what followers were told
// in the time that is lost nobody knows, so that each gets all of it again.
func Restore(dir string, backup io.Reader, o RestoreOptions) (*Restored, error) {
	o.setDefaults()
	out, err := restore(dir, backup, o)
	if err != nil {
		return nil, fmt.Errorf("restore store %s: %w", dir, err)
	}
	return out, nil
}

func restore(dir string, from io.Reader, o RestoreOptions) (out *Restored, err error) {
	if err := checkOwner(dir, os.Geteuid()); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	m := mover{dir: dir, lock: lock, now: o.Now, rename: os.Rename}
	if _, err := m.finish(); err != nil {
		return nil, err
	}
	there, err := storeFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 && !o.Force {
		return nil, fmt.Errorf("%w, %s among others; --force moves it aside", ErrNotEmpty, there[0])
	}
	temp := filepath.Join(dir, restoreTemp)
	defer os.RemoveAll(temp) // it is gone where all went well
	if out, err = build(temp, from, o); err != nil {
		return nil, err
	}
	if o.DryRun {
		if len(there) > 0 {
			out.Aside = dir
		}
		return out, nil
	}
	if err := syncFiles(temp); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, filepath.Join(dir, restoreWhole)); err != nil {
		return nil, err
	}
	out.Aside, err = m.finish()
	return out, err
}

// checkOwner refuses a directory of somebody else: what root writes the daemon
// could not read.
func checkOwner(dir string, euid int) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != euid {
		return fmt.Errorf("the directory belongs to user %d, and this is run by user %d: run it as the user that the daemon runs as", st.Uid, euid)
	}
	return nil
}

// build writes a store of its own from a backup, and opens it once, which checks it.
func build(dir string, from io.Reader, o RestoreOptions) (*Restored, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, log: o.Log, opts: Options{Space: o.Space, Now: o.Now, Log: o.Log}}
	s.opts.setDefaults()
	if s.opts.Space == nil {
		s.opts.Space = func() (Space, error) { return spaceOf(dir) }
	}
	db, err := badger.Open(s.badgerOptions().WithSyncWrites(false))
	if err != nil {
		return nil, err
	}
	s.db = db
	b := &building{o: o, s: s, batch: db.NewWriteBatch()}
	end, err := readBackup(from, b.header, b.record)
	if err == nil {
		err = b.finish()
	}
	b.batch.Cancel()
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	out := &Restored{Header: b.head, LeftOut: end.leftOut}
	return out, out.look(dir, o)
}

// look opens the store that was built, and says what is in it.
func (out *Restored) look(dir string, o RestoreOptions) error {
	s, err := Open(dir, Options{Log: o.Log, Now: o.Now, Space: o.Space})
	if err != nil {
		return err
	}
	out.Instance, out.CSN = s.Instance(), s.LastCSN()
	for _, c := range s.Claims() {
		out.Claims++
		out.Entries += c.Count
		if c.Damaged {
			out.Damaged++
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, lockName)) // the directory that it goes into has one
}

// building is a store on its way from a backup.
type building struct {
	o     RestoreOptions
	s     *Store // its directory and database alone
	batch *badger.WriteBatch
	since int // bytes, since there was room
	head  BackupHeader
	meta  *meta
}

func (b *building) header(h BackupHeader) error {
	b.head = h
	if b.o.Accept != nil {
		if err := b.o.Accept(h); err != nil {
			return err
		}
	}
	return b.room()
}

// room refuses to go on with less room than the store will need to take writes.
func (b *building) room() error {
	b.since = 0
	sp, err := b.s.opts.Space()
	if err != nil {
		return err
	}
	if need := b.s.reserve(sp.Total); sp.Free < need || sp.short() {
		return fmt.Errorf("%w: %s, and %s have to stay free: the restore has changed nothing; delete something else there or make it larger", ErrFull, sp, mega(need))
	}
	return nil
}

func (b *building) record(key, stored []byte) error {
	value, err := unseal(key, stored)
	if err != nil || len(key) == 0 || bytes.IndexByte([]byte{kindMeta, kindClaim, kindFirst, kindContent, kindRecord, kindPublished, kindJournal}, key[0]) < 0 {
		return fmt.Errorf("record %x is none of a store: %w", key[:min(len(key), 32)], ErrBackup)
	}
	if b.since += len(key) + len(stored); b.since >= lookEvery {
		if err := b.flush(); err != nil {
			return err
		}
		if err := b.room(); err != nil {
			return err
		}
	}
	if key[0] != kindMeta {
		return b.batch.Set(bytes.Clone(key), bytes.Clone(stored))
	}
	var m meta
	switch err := m.decode(value); {
	case errors.Is(err, ErrNewer):
		return err
	case err != nil || b.meta != nil || len(key) != len(metaKey):
		return fmt.Errorf("its meta record is wrong: %w", ErrBackup)
	}
	b.meta = &m
	return nil
}

// flush has badger write what was gathered, of which large values have no bound of its own.
func (b *building) flush() error {
	err := b.batch.Flush()
	b.batch = b.s.db.NewWriteBatch()
	return err
}

// finish writes the meta record, by which the store is another instance whose
// sequence begins anew, above all that was given out in the time that is lost.
func (b *building) finish() error {
	if b.meta == nil {
		return fmt.Errorf("it has no meta record: %w", ErrBackup)
	}
	m := *b.meta
	m.instance = randomUUID()
	m.last = max(dit.CSNAt(b.o.Now()), m.last) + dit.CSN(restoreLead/time.Microsecond)
	m.redated, m.logFrom, m.logCount = m.last, m.last, 0
	if err := b.batch.Set(metaKey, seal(metaKey, m.encode())); err != nil {
		return err
	}
	return b.batch.Flush()
}

// syncFiles has all files of a directory on disk, and the directory.
func syncFiles(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := syncFile(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return syncFile(dir)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
