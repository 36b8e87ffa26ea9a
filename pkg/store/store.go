// Package store keeps everything durable in badger: content by claim and
// generation, cookies, named records, the journal and the change log. It does
// not know what a record means.
//
//	s, err := store.Open(dir, store.Options{Log: log})
//	err = s.Commit(&store.Batch{CSN: csn, Puts: puts, Cookies: cookies})
//	err = s.Entries(claim, func(it store.Item) error { … })
//
// # Key layout
//
//	m                      meta: format version, instance ids, CSNs, log bounds
//	c claim                claim: committed generation, cookie, count, checksum
//	e claim uuid ^gen      content: one entry's value, packed (see pack.go), written at generation gen
//	g claim gen            first CSN of a refresh's entries (see Stage)
//	p claim uuid           published UUID where it is not the upstream's own
//	r name                 a named record
//	j seq                  journal
//	l csn                  change log: a chunk of changes, csn that of its last
//
// Numbers are big-endian; a generation is complemented, so that the newest
// comes first. Every value ends with a CRC-32C of key and value.
//
// An entry may stand under several generations: the newest that is not above
// its claim's committed generation counts, the others are leftovers of a
// refresh (superseded, or never committed), swept after the commit and at Open.
// So a refresh writes each changed entry once, and one small record makes all
// of it true. A staged delete is a tombstone, swept together with what it hides.
//
// A small commit is durable in the file redo before badger takes it, see redoName. Of named records there
// is a second copy in a file of its own, see secondName.
//
// What is too much for one transaction is written ahead: change log chunks
// count only up to the last CSN in meta, published lines carry the number of
// the commit that makes them true and what held before it.
package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// ErrCorrupt marks a record whose checksum or form is wrong; ErrLocked that another process
// holds the directory; ErrNewer that the store was written by a newer Shaft; ErrClosed a use
// after Close. ErrFailed marks the error of the write that failed, and of every write after it,
// with what was the cause: nobody knows what is on disk, the store is read-only until it is
// opened again. Where it does not hold all that was acknowledged, which Open puts right, reading is
// an ErrFailed too. Any other error of a write but ErrClosed is a refusal: it has changed nothing,
// and the next may go well.
var (
	ErrCorrupt = errors.New("store is corrupt")
	ErrLocked  = errors.New("store is in use by another process")
	ErrNewer   = errors.New("store was written by a newer version")
	ErrClosed  = errors.New("store is closed")
	ErrFailed  = errors.New("store takes no more writes")
)

// Options of a store.
type Options struct {
	Log       *slog.Logger     // nil: none
	ChangeLog int              // changes kept (and up to a sixteenth more); 0: 1,000,000
	Journal   int              // journal lines kept (and up to a sixteenth more); 0: 100,000
	Now       func() time.Time // when a store is created, before which its change log knows nothing; nil: time.Now
	// Committed is told how long each commit took until it was durable, if it did not fail; nil: nobody is.
	Committed func(took time.Duration)
	// Ballast is the size of a file that holds room for a start on a full disk (less on a small
	// file system); 0: none.
	Ballast int64
	Space   func() (Space, error) // what the file system has room for; nil: it is asked
	// Uncopied are how names of records begin of which no second copy is kept, since they can be
	// done without and take much room.
	Uncopied []string

	// written is told of each transaction, before it is written and, unless that fails, afterwards; an
	// error is taken for badger's. For tests; nil: badger has the word.
	written func(done bool) error
	// disk is the way to the files redo and records, and to what shaft.lock says. For tests.
	disk disk
	// behind is called before badger takes commits that are acknowledged. For tests.
	behind func()
	// memTable and valueFile are the sizes of a memtable and of a file of the value log; 0: memTableSize, valueLogFileSize.
	// For tests.
	memTable, valueFile int64
	// due comes in the place of a clock that ticks each collectEvery, for what the sweeper looks at now and then. For tests.
	due <-chan time.Time
	// rollCopies bounds what a roll holds copies of, in bytes; 0: rollCopies. For tests.
	rollCopies int64
}

// durable writes a transaction of an open store.
func (s *Store) durable(txn *badger.Txn) error {
	if err := s.failure(); err != nil { // nothing comes behind what is missing
		return err
	}
	if s.opts.written == nil {
		return errors.Join(txn.Commit(), s.failure())
	}
	if err := s.opts.written(false); err != nil {
		return err
	}
	if err := errors.Join(txn.Commit(), s.failure()); err != nil {
		return err
	}
	return s.opts.written(true)
}

// failure is the first failure to write, which may be one that badger only tells to its log.
func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ChangeLog <= 0 {
		o.ChangeLog = 1_000_000
	}
	if o.Journal <= 0 {
		o.Journal = 100_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.memTable == 0 {
		o.memTable = memTableSize
	}
	if o.valueFile == 0 {
		o.valueFile = valueLogFileSize
	}
	if o.rollCopies == 0 {
		o.rollCopies = rollCopies
	}
	if o.Committed == nil {
		o.Committed = func(time.Duration) {}
	}
}

// Store is one badger directory. Its methods are safe for concurrent use, but
// Commit is the single writer's.
type Store struct {
	dir  string
	log  *slog.Logger
	opts Options
	lock *os.File
	db   *badger.DB
	room room
	// Of Open: content was lost to damage, and what was done about damage, in words.
	lossy  bool
	mended []string

	// writeMu serialises what changes live content: badger detects no
	// conflicts here. It is taken before mu.
	writeMu sync.Mutex
	redo    redo
	// redoHolds: of the file redo it is not sure that badger has all that is acknowledged and in it; what shaft.lock says
	// with the next say.
	redoHolds bool
	second    second
	lead      *lead // nil: badger has all
	// staging is held shared by each transaction of a stage until it is written. It is
	// taken after writeMu.
	staging sync.RWMutex

	mu       sync.Mutex // guards what follows; written only with writeMu held as well, or as badger takes what is pending
	meta     meta
	claims   map[uint32]*claim
	view     *view
	failed   error         // an ErrFailed with the first failure to write
	stopped  chan struct{} // closed with it
	closed   bool
	readers  sync.WaitGroup
	pending  []*work // acknowledged, in the file redo; badger has yet to take them, oldest first
	taking   bool    // somebody sees to that
	untaken  error   // an ErrFailed: it never will, and who would read does not find those commits
	caughtUp sync.Cond
	hurried  chan struct{} // holds a token when somebody waits for that
	sweeper  sweeper
	// reading is held shared by who reads one view for long: no file of the value log is rewritten meanwhile. It is taken
	// before writeMu.
	reading sync.RWMutex
	// hidden is what is to be deleted once more when a file of the value log was rewritten; guarded by writeMu.
	hidden *hidden
	// roll is there from Open until Unroll. rollMu is taken after writeMu, and held shared by who reads it.
	rollMu sync.RWMutex
	roll   *roll
	// rewritten are the files of the value log that badger removes, or has.
	rewritten map[string]bool
}

// claim is a claim's durable state and what goes on beside it.
type claim struct {
	claimState
	durable bool   // has a record
	stage   *Stage // being written, or nil
	taken   uint32 // newest generation given to a stage
	edits   uint64 // commits that touched the content since Open
}

// Mended tells in words what was found damaged at Open, and what was done about it.
func (s *Store) Mended() []string { return slices.Clone(s.mended) }

// Instance is the random id given at creation, or when it was restored.
func (s *Store) Instance() dit.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.instance
}

// Namespace is the random id given at creation, which outlives a restore: for UUIDs
// that are to stay.
func (s *Store) Namespace() dit.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.namespace
}

// Redated is the CSN that no entry is older than since the store was restored (see
// Restore); 0 when it never was.
func (s *Store) Redated() dit.CSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.redated
}

// LastCSN is the newest CSN of any commit; 0 before the first. It never goes back.
func (s *Store) LastCSN() dit.CSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	return s.meta.last
}

// Close waits for readers, what is being written and the sweeper, and closes
// the store. Unfinished stages are lost. After an error, or where the disk has no room to close it, the directory may be free only when the
// process ends.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var stages []*Stage
	for _, c := range s.claims {
		if c.stage != nil {
			stages = append(stages, c.stage)
		}
	}
	s.mu.Unlock()

	s.Unroll()
	s.sweeper.halt()
	for _, st := range stages {
		st.end(ErrClosed, nil)
	}
	s.readers.Wait()
	s.lockWrites()
	defer s.writeMu.Unlock()
	s.view.txn.Discard()
	var err error
	if s.roomToClose() {
		err = s.closeBadger()
	} else { // all is in the logs, as after kill -9
		s.log.Warn("store is left as it is: there is no room on the disk to close it", "dir", s.dir)
	}
	s.mu.Lock()
	untaken := s.untaken
	s.mu.Unlock()
	if untaken != nil {
		untaken = fmt.Errorf("changes that were acknowledged are in the file %s alone until this version opens the store again: %w", redoName, untaken)
	}
	if err = errors.Join(err, untaken, s.redo.close(), s.second.close(), s.unlock()); err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, err)
	}
	return nil
}

// unlock gives the directory back, unless badger goes on with its files: then it is free when the process ends.
func (s *Store) unlock() error {
	if s.db != nil && !s.db.IsClosed() {
		return nil
	}
	return s.lock.Close()
}

// closeBadger closes badger. Where that cannot be said before, all is left in the logs, as after kill -9: badger removes them, and the
// next start would miss them.
func (s *Store) closeBadger() error {
	if err := s.say(stateBetween); err != nil {
		return err
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	// Badger may have refused what was pending, or a start has not come as far as to give it that.
	s.redoHolds = s.redoHolds && (s.failure() != nil || s.redo.f == nil)
	return s.say(stateClosed)
}

// writable tells why the store takes no writes, or nil.
func (s *Store) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takesNone()
}

// takesNone is writable for who holds mu.
func (s *Store) takesNone() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.failed != nil:
		return s.failed
	}
	return nil
}

// fail makes the store read-only: after a failed write nobody knows what is on
// disk. It gives the ErrFailed of err.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(err, ErrFailed) {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if s.failed == nil {
		s.failed = err
		close(s.stopped)
	}
	return err
}

// Stopped is closed when the store takes no more writes, see Failure: a commit that went well may be
// behind that, so that who waits for the next one to be told waits long.
func (s *Store) Stopped() <-chan struct{} { return s.stopped }

// Failure is an ErrFailed with the first failure to write, or nil.
func (s *Store) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
