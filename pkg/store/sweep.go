package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// The sweeper holds the writer up for one step at a time: so many keys
// deleted or met, some milliseconds.
const (
	sweepKeys   = 256
	sweepVisits = 2048
)

// maxSweepList bounds the entries listed for one claim; beyond it the whole
// claim is walked.
const maxSweepList = 1 << 17

// sweeper is the store's one goroutine: it removes leftovers, trims the change
// log and the journal, and has badger collect its value log.
type sweeper struct {
	freed atomic.Int64 // bytes that were superseded since the value log was last collected

	mu    sync.Mutex // taken after Store.mu
	jobs  map[uint32]*sweepJob
	order []uint32 // claims with a job, oldest first
	now   *sweepJob
	trim  bool
	busy  bool
	idle  sync.Cond // broadcast when there is nothing left to do
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// sweepJob is what is to be looked at in one claim: some entries, or all.
type sweepJob struct {
	claim uint32
	ids   []dit.UUID
	all   bool
	void  bool // there are records of a stage that ended, which a later generation would make true
	done  chan struct{}
}

func (sw *sweeper) init() {
	sw.jobs = map[uint32]*sweepJob{}
	sw.idle.L = &sw.mu
	sw.wake, sw.quit, sw.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// add asks for a sweep, together with what is due of the same claim.
func (sw *sweeper) add(more *sweepJob) {
	if !more.all && len(more.ids) == 0 {
		return
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	j := sw.jobs[more.claim]
	if j == nil {
		j = &sweepJob{claim: more.claim, done: make(chan struct{})}
		sw.jobs[j.claim] = j
		sw.order = append(sw.order, j.claim)
	}
	j.void = j.void || more.void
	if more.all || len(j.ids)+len(more.ids) > maxSweepList {
		j.all, j.ids = true, nil
	}
	if !j.all {
		j.ids = append(j.ids, more.ids...)
	}
	sw.poke()
}

func (sw *sweeper) poke() {
	sw.busy = true
	select {
	case sw.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest job; nil when there is none.
func (sw *sweeper) next() (j *sweepJob, trim bool) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	trim, sw.trim = sw.trim, false
	if len(sw.order) > 0 {
		j = sw.jobs[sw.order[0]]
		delete(sw.jobs, j.claim)
		sw.order = sw.order[1:]
		sw.now = j
	} else if !trim {
		sw.busy = false
		sw.idle.Broadcast()
	}
	return j, trim
}

func (sw *sweeper) finish(j *sweepJob) {
	sw.mu.Lock()
	sw.now = nil
	sw.mu.Unlock()
	close(j.done)
}

func (sw *sweeper) stopping() bool {
	select {
	case <-sw.quit:
		return true
	default:
		return false
	}
}

// halt stops the sweeper after its present step.
func (sw *sweeper) halt() {
	sw.once.Do(func() { close(sw.quit) })
	<-sw.done
}

// await blocks until nothing is left to sweep or trim.
func (sw *sweeper) await() {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	for sw.busy {
		sw.idle.Wait()
	}
}

// Swept waits until nothing is left of the claim's stages that were discarded or
// cut off: with a later generation it would come true, so that CommitStage waits
// too. Whoever stages on the goroutine that commits calls it elsewhere before.
func (s *Store) Swept(ctx context.Context, claim uint32) error {
	if err := s.swept(ctx, claim); err != nil {
		return fmt.Errorf("sweep claim %d: %w", claim, err)
	}
	return nil
}

func (s *Store) swept(ctx context.Context, claim uint32) error {
	for {
		j := s.sweeper.voidJob(claim)
		if j == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-j.done:
		case <-s.sweeper.quit:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.writable(); err != nil {
			return err
		}
	}
}

// voidJob is the sweep that is to end before the claim's next generation is
// committed; nil when there is none.
func (sw *sweeper) voidJob(claim uint32) *sweepJob {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if j := sw.now; j != nil && j.claim == claim && j.void {
		return j
	}
	if j := sw.jobs[claim]; j != nil && j.void {
		return j
	}
	return nil
}

// sweep is the sweeper's goroutine.
func (s *Store) sweep() {
	sw := &s.sweeper
	defer close(sw.done)
	tick := s.opts.due
	if tick == nil {
		clock := time.NewTicker(collectEvery)
		defer clock.Stop()
		tick = clock.C
	}
	for {
		due := false
		select {
		case <-sw.quit:
			return
		case <-sw.wake:
		case <-tick:
			due = true
		}
		for !sw.stopping() {
			j, trim := sw.next()
			if j == nil && !trim {
				break
			}
			if trim {
				s.report("trim logs", s.trimLogs())
			}
			if j != nil {
				s.report("sweep leftovers", s.runJob(j))
				sw.finish(j)
			}
		}
		s.tendSecond()
		if due {
			s.remakeSecond()
		}
		if due || s.enough() {
			s.collect()
		}
	}
}

func (s *Store) report(what string, err error) {
	if err == nil || errors.Is(err, ErrClosed) || errors.Is(err, badger.ErrDBClosed) {
		return
	}
	s.log.Error("store maintenance failed", "what", what, "error", err)
}

func (s *Store) runJob(j *sweepJob) error {
	from := contentPrefix(j.claim)
	for !s.sweeper.stopping() {
		err := s.awaitRoom()
		if err != nil {
			return err
		}
		if j.all {
			from, err = s.sweepRange(j.claim, from)
		} else {
			n := min(len(j.ids), sweepKeys)
			err = s.sweepEntries(j.claim, j.ids[:n])
			j.ids = j.ids[n:]
		}
		switch {
		case err != nil:
			return err
		case j.all && from == nil:
			return s.forget(j.claim)
		case !j.all && len(j.ids) == 0:
			return nil
		}
	}
	return nil
}

// broom is one step of a sweep: with the writer held up it collects the dead
// keys of a claim, and deletes them in one transaction. It reads a transaction
// of its own, since the shared view may not know what was staged; one that
// began before the claim's stage was looked up knows nothing of a later stage.
type broom struct {
	s      *Store
	txn    *badger.Txn
	state  *claimState // nil: nothing of the claim counts
	active uint32      // generation being staged
	keys   [][]byte
	freed  int64 // bytes of what has them
	visits int
}

func (s *Store) broom(claim uint32) (*broom, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	b := &broom{s: s, txn: s.db.NewTransaction(false)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[claim]; c != nil {
		b.state = &c.claimState
		if c.stage != nil {
			b.active = c.stage.gen
		}
	}
	return b, nil
}

func (b *broom) look(r *content) {
	b.visits++
	switch r.verdict {
	case live, corrupt:
		return
	case ahead:
		if r.Gen == b.active {
			return
		}
	}
	b.keys = append(b.keys, contentKey(nil, r.Key))
	b.freed += r.size
}

func (b *broom) full() bool { return len(b.keys) >= sweepKeys || b.visits >= sweepVisits }

func (b *broom) claimState(uint32) *claimState { return b.state }

// out deletes what was collected. A tombstone goes with what it hides, or
// after it.
func (b *broom) out() error {
	if len(b.keys) == 0 {
		return nil
	}
	r := b.s.purge()
	defer r.abandon()
	for i := len(b.keys) - 1; i >= 0; i-- {
		if err := r.drop(b.keys[i]); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return b.s.fail(err)
	}
	b.s.sweeper.freed.Add(b.freed)
	b.s.renew(b.s.meta, nil)
	return nil
}

// sweepEntries removes the leftovers of some entries.
func (s *Store) sweepEntries(claim uint32, ids []dit.UUID) error {
	s.lockWrites()
	defer s.writeMu.Unlock()
	b, err := s.broom(claim)
	if err != nil {
		return err
	}
	defer b.txn.Discard()
	it := newIterator(b.txn, contentPrefix(claim))
	defer it.Close()
	var prefix []byte
	for _, id := range ids {
		prefix = entryPrefix(prefix[:0], claim, id)
		err := walk(it, prefix, prefix, b.claimState, func(r *content) error {
			b.look(r)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return b.out()
}

var errPause = errors.New("step is full")

// sweepRange removes leftovers of a claim from a key on, as many as one step
// takes, and gives the key to go on from; nil at the end.
func (s *Store) sweepRange(claim uint32, from []byte) (next []byte, err error) {
	s.lockWrites()
	defer s.writeMu.Unlock()
	b, err := s.broom(claim)
	if err != nil {
		return nil, err
	}
	defer b.txn.Discard()
	prefix := contentPrefix(claim)
	it := newIterator(b.txn, prefix)
	defer it.Close()
	var last dit.UUID
	err = walk(it, prefix, from, b.claimState, func(r *content) error {
		if b.full() && r.UUID != last {
			next = entryPrefix(nil, claim, r.UUID)
			return errPause
		}
		last = r.UUID
		b.look(r)
		return nil
	})
	if err != nil && err != errPause {
		return nil, err
	}
	return next, b.out()
}

// forget ends a dropped claim once nothing is left of it.
func (s *Store) forget(claim uint32) error {
	s.lockWrites()
	defer s.writeMu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	s.mu.Lock()
	c := s.claims[claim]
	s.sweeper.mu.Lock()
	again := s.sweeper.jobs[claim] != nil
	s.sweeper.mu.Unlock()
	gone := c != nil && c.stage == nil && !again && (c.dropped || !c.durable)
	if gone {
		delete(s.claims, claim)
	}
	s.mu.Unlock()
	if !gone || !c.durable {
		return nil
	}
	r := s.purge()
	defer r.abandon()
	prefix := firstKey(claim, 0)[:5]
	err := iterate(s.view.txn, prefix, nil, func(key, _ []byte) error { return r.drop(key) })
	if err == nil {
		err = r.drop(claimKey(claim))
	}
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}
