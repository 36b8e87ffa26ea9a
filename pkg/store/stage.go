package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// A stage's writes go out in transactions of stageBytes; stageFlight of them
// may be waiting for the disk while the next is filled.
const (
	stageBytes  = 512 << 10
	stageFlight = 2

	// firstBuffer is what a stage takes at first, and twice as much each time that is
	// full: a thousand small refreshes at a time are not to take half a gigabyte.
	firstBuffer = 8 << 10

	// restEvery is after how many bytes the store lets go of the files' pages that they went into.
	restEvery = 16 << 20
)

var errDiscarded = errors.New("stage was discarded")

// Stage is a refresh being written beside the live content. It is for one
// goroutine, not the single writer's, and never seen before CommitStage. It
// keeps 24 bytes in memory for each entry staged, and up to 1.5 MB of buffers.
type Stage struct {
	s     *Store
	claim uint32
	gen   uint32
	slabs chan *slab // those not in flight

	mu    sync.Mutex
	fill  *slab  // nil: none taken
	marks []mark // that delta counts, in order of UUID
	fresh []mark // staged since, in the order of staging
	over  error  // why it takes no more: discarded, committed, a failed write
	delta delta
	since int // bytes since the store let go of pages
}

// mark is one staged change: n is the ordinal of an entry, or with markCSN its CSN, or
// markDeleted.
type mark struct {
	id dit.UUID
	n  uint64
}

const (
	markDeleted = 1 << 63
	markCSN     = 1 << 62
)

func (m *mark) deleted() bool { return m.n == markDeleted }

// ordinal is that of an entry which is put with one.
func (m *mark) ordinal() (n uint32, ok bool) { return uint32(m.n), m.n < markCSN }

func (m *mark) stamp() stamp {
	switch {
	case m.n == markDeleted:
		return stamp{kind: stampTombstone}
	case m.n >= markCSN:
		return stamp{stampCSN, m.n - markCSN}
	}
	return stamp{stampOrdinal, m.n}
}

// delta is what a stage's marks change in its claim's count and checksum.
type delta struct {
	edits   uint64 // of the claim, when it was computed
	count   int64
	sum     uint64
	put     bool       // there are entries with ordinals
	highest uint32     // of the ordinals
	stale   []dit.UUID // entries with records to be swept after the commit
	valid   bool       // computed at all
}

// slab holds the keys and values of one transaction.
type slab struct {
	buf     []byte
	entries []badger.Entry
	size    int // what badger counts, generously
}

// Stage begins the next generation of a claim; an unfinished one is discarded.
func (s *Store) Stage(claimID uint32) (*Stage, error) {
	err := s.writable()
	if err == nil {
		err = s.roomFor(true, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("stage claim %d: %w", claimID, err)
	}
	s.Unroll()
	s.mu.Lock()
	var unfinished *Stage
	if c := s.claims[claimID]; c != nil {
		unfinished = c.stage
	}
	s.mu.Unlock()
	if unfinished != nil {
		if err := unfinished.Discard(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("stage claim %d: %w", claimID, ErrClosed)
	}
	c := s.claims[claimID]
	if c == nil {
		c = &claim{}
		s.claims[claimID] = c
	}
	if c.stage != nil {
		return nil, fmt.Errorf("stage claim %d: it is being staged", claimID)
	}
	c.taken = max(c.taken, c.gen) + 1
	st := &Stage{s: s, claim: claimID, gen: c.taken, slabs: make(chan *slab, stageFlight+1)}
	for range stageFlight + 1 {
		st.slabs <- nil
	}
	c.stage = st
	return st, nil
}

// Gen is the generation being staged.
func (st *Stage) Gen() uint32 { return st.gen }

// Put writes an entry; its CSN will be the commit's first CSN plus ordinal. Of
// several for the same entry the last counts. Writes go out in transactions of
// their own, at most two in flight; their errors show at the next Put or Sync.
func (st *Stage) Put(id dit.UUID, ordinal uint32, value []byte) error {
	return st.add(mark{id, uint64(ordinal)}, value)
}

// PutAt writes an entry that keeps the CSN that it has.
func (st *Stage) PutAt(id dit.UUID, csn dit.CSN, value []byte) error {
	return st.add(mark{id, markCSN + uint64(csn)}, value)
}

// Delete stages a removal.
func (st *Stage) Delete(id dit.UUID) error {
	return st.add(mark{id, markDeleted}, nil)
}

func (st *Stage) add(m mark, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("stage claim %d: value of %d bytes, at most %d: %w", st.claim, len(value), MaxValue, ErrTooBig)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.fill != nil && st.fill.size > 0 && st.fill.size+recordSize(value) > stageBytes {
		st.flush()
	}
	if st.over != nil {
		return fmt.Errorf("stage claim %d: %w", st.claim, st.over)
	}
	if st.fill == nil {
		if st.fill = <-st.slabs; st.fill == nil {
			st.fill = &slab{}
		}
	}
	st.fill.add(Key{st.claim, m.id, st.gen}, m.stamp(), value)
	st.fresh = append(st.fresh, m)
	return nil
}

func recordSize(value []byte) int {
	return contentKeyLen + 9 + len(value) + crcLen + recordOverhead
}

// add encodes one record.
func (b *slab) add(k Key, p stamp, value []byte) {
	need := recordSize(value)
	if cap(b.buf)-len(b.buf) < need { // the entries before stay where they are
		b.buf = make([]byte, 0, max(need, min(stageBytes, max(2*cap(b.buf), firstBuffer))))
	}
	start := len(b.buf)
	b.buf = contentKey(b.buf, k)
	at := len(b.buf)
	b.buf = appendContent(b.buf, p, value)
	b.buf = binary.BigEndian.AppendUint32(b.buf, checksum(b.buf[start:at], b.buf[at:]))
	end := len(b.buf)
	b.entries = append(b.entries, badger.Entry{Key: b.buf[start:at:at], Value: b.buf[at:end:end]})
	b.size += end - start + recordOverhead
}

// flush sends the slab being filled on its way.
func (st *Stage) flush() {
	b := st.fill
	if b == nil {
		return
	}
	st.fill = nil
	err := st.s.writable()
	if err == nil {
		err = st.s.roomFor(true, int64(b.size))
	}
	if err != nil {
		st.slabs <- nil
		st.give(err)
		return
	}
	if st.since += b.size; st.since >= restEvery {
		st.since = 0
		st.settle(stageFlight) // the other is b
		st.s.report("let go of pages", st.s.restBesides())
	}
	st.s.staging.RLock()
	txn := st.s.db.NewTransaction(true)
	for i := range b.entries {
		toValueLog(&b.entries[i])
		if err := txn.SetEntry(&b.entries[i]); err != nil {
			txn.Discard()
			st.s.staging.RUnlock()
			st.slabs <- nil
			st.give(err)
			return
		}
	}
	st.s.room.flight.Add(int64(b.size))
	landed := func(err error) {
		st.s.staging.RUnlock()
		st.s.room.flight.Add(-int64(b.size))
		if err != nil {
			st.s.fail(err)
		}
		st.slabs <- b.recycle()
	}
	if st.s.opts.written != nil {
		go func() { landed(st.s.durable(txn)) }() // as badger does
		return
	}
	txn.CommitWith(landed)
}

// recycle empties a slab for the next transaction; one that a large value
// made big is given to the garbage collector.
func (b *slab) recycle() *slab {
	if cap(b.buf) > stageBytes {
		return nil
	}
	clear(b.entries)
	return &slab{buf: b.buf[:0], entries: b.entries[:0]}
}

// give ends the stage with its first error.
func (st *Stage) give(err error) {
	if st.over == nil {
		st.over = err
	}
}

// settle waits until that many slabs are not in flight: nothing of the stage is with all that are not in hand.
func (st *Stage) settle(n int) {
	var idle []*slab
	for range n {
		idle = append(idle, <-st.slabs)
	}
	for _, b := range idle {
		st.slabs <- b
	}
}

// Sync waits until everything staged is durable, and nothing is left of earlier
// stages of the claim (see Swept). It also looks up what the staged entries
// replace, so that CommitStage has to look at those alone that come after it.
// With ctx done it returns early; the stage can then only be synced again or
// discarded.
func (st *Stage) Sync(ctx context.Context) error {
	if err := st.sync(ctx); err != nil {
		return fmt.Errorf("stage claim %d: %w", st.claim, err)
	}
	return nil
}

func (st *Stage) sync(ctx context.Context) error {
	if err := st.s.swept(ctx, st.claim); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over != nil {
		return st.over
	}
	st.flush()
	st.settle(stageFlight + 1)
	if err := st.s.writable(); err != nil {
		st.give(err)
	}
	if st.over != nil {
		return st.over
	}
	state, v, err := st.s.snapshot(st.claim)
	if err != nil {
		return err
	}
	defer st.s.release(v)
	return st.compute(ctx, v.txn, &state.claimState, state.edits)
}

// Discard throws the stage away; what it wrote is swept in the background.
func (st *Stage) Discard() error {
	st.end(errDiscarded, nil)
	return nil
}

// end makes the stage take no more, waits for what is in flight, takes it off
// its claim and has swept what it leaves: the records of the entries in stale
// if it was committed, of those it staged otherwise.
func (st *Stage) end(why error, stale []dit.UUID) {
	st.mu.Lock()
	st.give(why)
	if st.fill != nil {
		st.fill = nil
		st.slabs <- nil
	}
	st.settle(stageFlight + 1)
	ids := stale
	if why != errCommitted {
		ids = idsOf(st.marks, st.fresh)
	}
	st.marks, st.fresh = nil, nil
	st.mu.Unlock()

	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if c := st.s.claims[st.claim]; c != nil && c.stage == st {
		c.stage = nil
		st.s.sweeper.add(&sweepJob{claim: st.claim, ids: ids, all: c.dropped || !c.durable, void: why != errCommitted})
	}
}
