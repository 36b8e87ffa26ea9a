// Package store keeps everything durable in badger: content by claim and
// generation, cookies, named records, the journal and the change log. It does
// not know what a record means.
//
// # Key layout
//
//	m                      meta: format version, instance id, last CSN
//	c claim                claim: committed generation, cookie, count, checksum
//	e claim uuid gen       content: one entry's value, written at generation gen
//	g claim gen            first CSN of a refresh's entries (see Stage)
//	p claim uuid           published UUID where it is not the upstream's own
//	r name                 a named record
//	j seq                  journal
//	l csn                  change log: the changes of one commit
//
// Numbers are big-endian. Every value ends with a CRC-32C of key and value.
//
// An entry may stand under several generations: the newest that is not above
// its claim's committed generation counts, the others are leftovers of a
// refresh (superseded, or never committed), swept after the commit and at Open.
// So a refresh writes each changed entry once, and one small record makes all
// of it true.
package store

import (
	"context"
	"errors"
	"log/slog"

	"shaft/pkg/dit"
)

// ErrCorrupt marks a record whose checksum or form is wrong; ErrLocked that another process
// holds the directory; ErrNewer that the store was written by a newer Shaft.
var (
	ErrCorrupt = errors.New("store is corrupt")
	ErrLocked  = errors.New("store is in use by another process")
	ErrNewer   = errors.New("store was written by a newer version")
)

// Options of a store.
type Options struct {
	Log       *slog.Logger
	ChangeLog int // changes kept; 0: 1,000,000
	Journal   int // journal lines kept; 0: 100,000
}

// Store is one badger directory. Its methods are safe for concurrent use, but
// Commit is the single writer's.
type Store struct{ impl storeImpl }

type storeImpl struct{}

// Open opens or creates the store in dir (created with mode 0700), sweeps what
// an interrupted refresh left, and checks each claim's count and checksum.
func Open(dir string, o Options) (*Store, error) { panic("todo") }
func (s *Store) Close() error                    { panic("todo") }

// Instance is the random id given at creation.
func (s *Store) Instance() dit.UUID { panic("todo") }

// LastCSN is the newest CSN of any commit.
func (s *Store) LastCSN() dit.CSN { panic("todo") }

// Claim is the durable state of one claim's content.
type Claim struct {
	ID         uint32
	Generation uint32 // committed; 0: nothing yet
	Cookie     []byte
	Server     string // that gave the cookie
	Count      int    // entries
	Damaged    bool   // at Open: count or checksum did not agree, or records were corrupt
}

func (s *Store) Claims() []Claim { panic("todo") }

// Item is one stored entry as read back.
type Item struct {
	Claim uint32
	UUID  dit.UUID // upstream's
	Gen   uint32
	CSN   dit.CSN
	Value []byte // good until the callback returns
}

// Entries calls fn for each live entry of the claim, in UUID order.
func (s *Store) Entries(claim uint32, fn func(Item) error) error { panic("todo") }

// Entry reads one; nil when absent.
func (s *Store) Entry(claim uint32, id dit.UUID) (*Item, error) { panic("todo") }

// Published calls fn for each stored map (claim, upstream UUID) → published UUID.
func (s *Store) Published(fn func(claim uint32, upstream, published dit.UUID) error) error {
	panic("todo")
}

// Records reads all records whose name begins with prefix, in order.
func (s *Store) Records(prefix string, fn func(name string, value []byte) error) error { panic("todo") }

// Journal reads the journal from sequence number from on.
func (s *Store) Journal(from uint64, fn func(seq uint64, line []byte) error) error { panic("todo") }

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

// Changes reads the change log after the given CSN; ok is false when the log
// no longer reaches back that far.
func (s *Store) Changes(after dit.CSN, fn func(Change) error) (ok bool, err error) { panic("todo") }

// Put is an entry to be written.
type Put struct {
	Claim  uint32
	UUID   dit.UUID
	Gen    uint32 // of the record it replaces or creates
	OldGen uint32 // of a record to remove with it, when not Gen; 0: none
	CSN    dit.CSN
	Value  []byte
}

// Key names a stored entry.
type Key struct {
	Claim uint32
	UUID  dit.UUID
	Gen   uint32
}

// Record is a named record; a nil Value removes it.
type Record struct {
	Name  string
	Value []byte
}

// PublishedAs is a line of the published-UUID map; a zero Published removes it.
type PublishedAs struct {
	Claim               uint32
	Upstream, Published dit.UUID
}

// Batch is one atomic commit. Its size is bounded by MaxBatch: beyond that
// Commit fails with ErrTooBig and has changed nothing.
type Batch struct {
	CSN       dit.CSN // newest CSN in it; 0: no new one
	Puts      []Put
	Deletes   []Key
	Cookies   []Claim // Cookie, Server of each; Generation, Count ignored
	Records   []Record
	Journal   [][]byte
	Changes   []Change
	Published []PublishedAs
}

// Bounds of a batch, beyond a single change of any size.
const (
	MaxBatchChanges = 1000
	MaxBatchBytes   = 1 << 20
)

var ErrTooBig = errors.New("batch too big for one transaction")

// Commit makes b durable (fsynced) as a whole before it returns. After a
// failure other than ErrTooBig the store takes no more writes.
func (s *Store) Commit(b *Batch) error { panic("todo") }

// Stage is a refresh being written beside the live content. It is for one
// goroutine, not the single writer's, and never seen before CommitStage.
type Stage struct{ impl stageImpl }

type stageImpl struct{}

// Stage begins the next generation of a claim; an unfinished one is discarded.
func (s *Store) Stage(claim uint32) (*Stage, error) { panic("todo") }

// Gen is the generation being staged.
func (st *Stage) Gen() uint32 { panic("todo") }

// Put writes an entry; its CSN will be the commit's first CSN plus ordinal.
// Writes go out in transactions of their own, at most two in flight.
func (st *Stage) Put(id dit.UUID, ordinal uint32, value []byte) error { panic("todo") }

// Delete stages a removal.
func (st *Stage) Delete(id dit.UUID) error { panic("todo") }

// Sync waits until everything staged is durable.
func (st *Stage) Sync(ctx context.Context) error { panic("todo") }

// Discard throws the stage away.
func (st *Stage) Discard() error { panic("todo") }

// CommitStage is the point of no return of a refresh: the stage's generation,
// cookie and server, FirstCSN for its ordinals, and batch b (records, journal,
// published map, changes of any number: written ahead and valid only with it).
// superseded lists the old records of entries put or deleted, swept afterwards
// in the background.
func (s *Store) CommitStage(st *Stage, cookie []byte, server string, first dit.CSN, b *Batch, superseded []Key) error {
	panic("todo")
}

// DropClaim removes all content of a claim: one record in b makes it true, the
// sweep follows in the background (and at Open).
func (s *Store) DropClaim(claim uint32, b *Batch) error { panic("todo") }
