package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

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
	bulky atomic.Int64 // bytes written to the value log since it was last collected

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
	done  chan struct{}
}

func (sw *sweeper) init() {
	sw.jobs = map[uint32]*sweepJob{}
	sw.idle.L = &sw.mu
	sw.wake, sw.quit, sw.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// add asks for a sweep of some entries of a claim, or of all of it.
func (sw *sweeper) add(claim uint32, ids []dit.UUID, all bool) {
	if !all && len(ids) == 0 {
		return
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	j := sw.jobs[claim]
	if j == nil {
		j = &sweepJob{claim: claim, done: make(chan struct{})}
		sw.jobs[claim] = j
		sw.order = append(sw.order, claim)
	}
	if all || len(j.ids)+len(ids) > maxSweepList {
		j.all, j.ids = true, nil
	}
	if !j.all {
		j.ids = append(j.ids, ids...)
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

// awaitSweep waits until no sweep of the whole claim is due, so that nothing
// of a discarded stage can come true with a later generation.
func (s *Store) awaitSweep(ctx context.Context, claim uint32) error {
	sw := &s.sweeper
	for {
		sw.mu.Lock()
		j := sw.jobs[claim]
		if j == nil && sw.now != nil && sw.now.claim == claim {
			j = sw.now
		}
		sw.mu.Unlock()
		if j == nil || !j.all {
			return nil
		}
		select {
		case <-j.done:
		case <-sw.quit:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.writable(); err != nil {
			return err
		}
	}
}

// sweep is the sweeper's goroutine.
func (s *Store) sweep() {
	sw := &s.sweeper
	defer close(sw.done)
	for {
		select {
		case <-sw.quit:
			return
		case <-sw.wake:
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
		s.collect()
	}
}

func (s *Store) report(what string, err error) {
	if err == nil || errors.Is(err, ErrClosed) || errors.Is(err, badger.ErrDBClosed) {
		return
	}
	s.log.Error("store maintenance failed", "what", what, "error", err)
}

// collect has badger rewrite a value log file that is half garbage, once a
// file's worth of large values was written.
func (s *Store) collect() {
	if s.sweeper.bulky.Load() < valueLogFileSize || s.sweeper.stopping() {
		return
	}
	s.sweeper.bulky.Store(0)
	err := s.db.RunValueLogGC(0.5)
	if err != nil && !errors.Is(err, badger.ErrNoRewrite) && !errors.Is(err, badger.ErrRejected) {
		s.report("collect value log", err)
	}
}

func (s *Store) runJob(j *sweepJob) error {
	from := contentPrefix(j.claim)
	for !s.sweeper.stopping() {
		var err error
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
// keys of a claim, and deletes them in one transaction.
type broom struct {
	s      *Store
	state  *claimState // nil: nothing of the claim counts
	active uint32      // generation being staged
	keys   [][]byte
	visits int
}

func (s *Store) broom(claim uint32) (*broom, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	b := &broom{s: s}
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

func (b *broom) look(r *content, staged bool) {
	b.visits++
	switch r.verdict {
	case live, corrupt:
		return
	case ahead:
		if !staged || r.Gen == b.active {
			return
		}
	}
	b.keys = append(b.keys, contentKey(nil, r.Key))
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
	b.s.renew(b.s.meta, nil)
	return nil
}

// sweepEntries removes the leftovers of some entries.
func (s *Store) sweepEntries(claim uint32, ids []dit.UUID) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	b, err := s.broom(claim)
	if err != nil {
		return err
	}
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := newIterator(txn, contentPrefix(claim))
	defer it.Close()
	var prefix []byte
	for _, id := range ids {
		prefix = entryPrefix(prefix[:0], claim, id)
		err := walk(it, prefix, prefix, b.claimState, func(r *content) error {
			b.look(r, false)
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
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	b, err := s.broom(claim)
	if err != nil {
		return nil, err
	}
	txn := s.db.NewTransaction(false) // the shared view may not know what was staged
	defer txn.Discard()
	prefix := contentPrefix(claim)
	it := newIterator(txn, prefix)
	defer it.Close()
	var last dit.UUID
	err = walk(it, prefix, from, b.claimState, func(r *content) error {
		if b.full() && r.UUID != last {
			next = entryPrefix(nil, claim, r.UUID)
			return errPause
		}
		last = r.UUID
		b.look(r, true)
		return nil
	})
	if err != nil && err != errPause {
		return nil, err
	}
	return next, b.out()
}

// forget ends a dropped claim once nothing is left of it.
func (s *Store) forget(claim uint32) error {
	s.writeMu.Lock()
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
