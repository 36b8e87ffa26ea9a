package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// work is one commit in the making: what it does to the store's keys, and copies of what it
// changes in memory, adopted once badger has it.
type work struct {
	s       *Store
	meta    meta
	claims  map[uint32]*claimState // copies of those that change
	edited  map[uint32]bool        // claims whose entries change
	seen    map[entryID]standing
	view    *view            // of entries
	entries *badger.Iterator // over content as badger has it; nil until needed
	freed   int64            // bytes of entries that are superseded
	ops     []redoOp
	bytes   int64         // that ops take of a transaction
	ahead   []PublishedAs // what was written ahead of it
}

type entryID struct {
	claim uint32
	id    dit.UUID
}

// standing is what there is of one entry, the work so far included.
type standing struct {
	live        bool
	fingerprint uint64
	gens        []uint32 // records up to the committed generation, whatever they are
	size        int64    // bytes of these
}

// begin starts a commit, unless the store takes none. Called with writeMu held.
func (s *Store) begin() (*work, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.takesNone(); err != nil { // looked at together with what is pending
		return nil, err
	}
	w := &work{s: s, meta: s.meta, claims: map[uint32]*claimState{}, edited: map[uint32]bool{}, seen: map[entryID]standing{}}
	if len(s.pending) == 0 {
		s.fresh()
	} else {
		w.meta = s.lead.meta
	}
	w.meta.commits++
	return w, nil
}

// abandon lets go of what was taken to read; harmless at any time.
func (w *work) abandon() {
	if w.entries != nil {
		w.entries.Close()
		w.s.release(w.view)
		w.entries, w.view = nil, nil
	}
}

func (w *work) set(key, value []byte) error { return w.do(redoOp{key, seal(key, value)}) }

// delete removes a key, which must stay as it is.
func (w *work) delete(key []byte) error { return w.do(redoOp{key: key}) }

// do adds to what is done, unless that is more than badger takes in one transaction.
func (w *work) do(op redoOp) error {
	w.ops = append(w.ops, op)
	w.bytes += int64(len(op.key)) + opOverhead
	if len(op.value) < valueThreshold {
		w.bytes += int64(len(op.value))
	}
	if w.bytes >= w.s.db.MaxBatchSize() || int64(len(w.ops)) >= w.s.db.MaxBatchCount() {
		return badger.ErrTxnTooBig
	}
	return nil
}

// untake gives a generation back that was taken in vain, if none was taken since.
func (s *Store) untake(claim, gen uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[claim]; c != nil && c.taken == gen {
		c.taken--
	}
}

// lookup finds a claim. Sessions make new ones (see Stage) while the writer
// works; its state is the writer's alone.
func (s *Store) lookup(id uint32) *claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[id]
}

// claim is the work's own copy of a claim's state; a claim not known begins empty.
func (w *work) claim(id uint32) *claimState {
	c := w.claims[id]
	if c == nil {
		c = &claimState{}
		*c, _ = w.s.claimed(id)
		w.claims[id] = c
	}
	return c
}

// claimed is a claim's state as of the last commit that was acknowledged, and whether it has a record by then.
func (s *Store) claimed(id uint32) (state claimState, durable bool) {
	if s.lead != nil && s.lead.claims[id] != nil {
		return *s.lead.claims[id], true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[id]; c != nil {
		return c.claimState, c.durable
	}
	return state, false
}

// standing looks up what there is of an entry.
func (w *work) standing(id entryID) (standing, error) {
	if st, ok := w.seen[id]; ok {
		return st, nil
	}
	if lead := w.s.lead; lead != nil {
		if st, ok := lead.seen[id]; ok {
			return st, nil
		}
	}
	if w.entries == nil {
		w.view = w.s.hold()
		w.entries = newIterator(w.view.txn, []byte{kindContent})
	}
	var st standing
	prefix := entryPrefix(make([]byte, 0, entryKeyLen), id.claim, id.id)
	owner := func(uint32) *claimState { return w.claim(id.claim) }
	err := walk(w.entries, prefix, prefix, owner, func(r *content) error {
		if r.verdict == ahead {
			return nil
		}
		st.gens = append(st.gens, r.Gen)
		st.size += r.size
		if r.verdict == live {
			st.live, st.fingerprint = true, r.fingerprint()
		}
		return nil
	})
	return st, err
}

// remove takes away all that stands of an entry, leftovers included, and its
// part in the claim's count.
func (w *work) remove(id entryID) error {
	st, err := w.standing(id)
	if err != nil {
		return err
	}
	for _, gen := range st.gens {
		if err := w.delete(contentKey(nil, Key{id.claim, id.id, gen})); err != nil {
			return err
		}
	}
	w.freed += st.size
	c := w.claim(id.claim)
	if st.live {
		c.count--
		c.sum ^= st.fingerprint
	}
	w.edited[id.claim] = true
	w.seen[id] = standing{}
	return nil
}

func (w *work) put(p *Put) error {
	c := w.claim(p.Claim)
	if p.Gen > c.gen || p.Gen < c.floor {
		return fmt.Errorf("put to claim %d at generation %d, which is not committed", p.Claim, p.Gen)
	}
	id := entryID{p.Claim, p.UUID}
	if err := w.remove(id); err != nil {
		return err
	}
	stamp := stamp{stampCSN, uint64(p.CSN)}
	key := contentKey(nil, Key{p.Claim, p.UUID, p.Gen})
	value := appendContent(make([]byte, 0, 9+len(p.Value)+crcLen), stamp, p.Value)
	if err := w.set(key, value); err != nil {
		return err
	}
	fp := fingerprint(p.UUID, p.Gen, stamp)
	c.count++
	c.sum ^= fp
	w.seen[id] = standing{live: true, fingerprint: fp, gens: []uint32{p.Gen}, size: int64(len(key) + len(value) + crcLen)}
	w.meta.last = max(w.meta.last, p.CSN)
	return nil
}

// apply writes a batch into the work. b.size has been checked.
func (w *work) apply(b *Batch) error {
	for _, k := range b.Deletes {
		if err := w.remove(entryID{k.Claim, k.UUID}); err != nil {
			return err
		}
	}
	for i := range b.Puts {
		if err := w.put(&b.Puts[i]); err != nil {
			return err
		}
	}
	for _, k := range b.Cookies {
		c := w.claim(k.ID)
		c.cookie, c.server, c.dropped = slices.Clone(k.Cookie), k.Server, false
	}
	for _, r := range b.Records {
		if err := w.record(r); err != nil {
			return err
		}
	}
	for _, line := range b.Journal {
		key := journalKey(w.meta.journalNext)
		if err := w.set(key, slices.Clone(line)); err != nil {
			return err
		}
		w.meta.journalNext++
	}
	w.meta.last = max(w.meta.last, b.CSN)
	return nil
}

func (w *work) record(r Record) error {
	if r.Value == nil {
		return w.delete(recordKey(r.Name))
	}
	return w.set(recordKey(r.Name), slices.Clone(r.Value))
}

// finish makes all of it durable in badger, and the store's state.
func (w *work) finish() error {
	w.s.drain()
	if err := w.s.failure(); err != nil { // it builds on what badger has refused
		return err
	}
	return w.s.take([]*work{w})
}

// complete writes the claims and meta.
func (w *work) complete() error {
	w.abandon()
	for id, c := range w.claims {
		if err := w.set(claimKey(id), c.encode()); err != nil {
			return err
		}
	}
	return w.set(metaKey, w.meta.encode())
}

// adopt makes works that badger has the store's state.
func (s *Store) adopt(works []*work) {
	last := works[len(works)-1].meta
	s.renew(last, func() {
		for _, w := range works {
			for id, state := range w.claims {
				s.adoptClaim(id, *state, w.edited[id])
			}
		}
	})
	for _, w := range works {
		s.supersede(w.freed)
	}
	s.scheduleTrim(last)
}

func (s *Store) adoptClaim(id uint32, state claimState, edited bool) {
	c := s.claims[id]
	if c == nil {
		c = &claim{}
		s.claims[id] = c
	}
	state.damaged = state.damaged || c.damaged && state.gen == c.gen
	c.claimState, c.durable = state, true
	if edited {
		c.edits++
	}
}

// prepare is what Commit, CommitStage and DropClaim have in common; special does
// what is theirs. Nothing is written ahead before all else was found good. The work is
// to be abandoned after all, and nothing but a failure to write may keep it from being finished.
func (s *Store) prepare(b *Batch, special func(w *work) error) (*work, error) {
	size, err := b.size()
	if err != nil {
		return nil, err
	}
	w, err := s.begin()
	if err != nil {
		return nil, err
	}
	if err := s.roomFor(len(b.Puts) > 0, b.bytes()); err != nil {
		return nil, err
	}
	if err := w.checkCSNs(b); err != nil {
		return nil, err
	}
	if special != nil || len(b.Puts)+len(b.Deletes) > 0 || b.bytes() >= valueThreshold/2 { // about: of that size values go to files that are being read
		s.Unroll()
	}
	if err := w.fill(b, size, special); err != nil {
		w.abandon()
		return nil, err
	}
	s.copy(w)
	return w, nil
}

func (w *work) fill(b *Batch, size int, special func(w *work) error) error {
	if special != nil {
		if err := special(w); err != nil {
			return err
		}
	}
	if err := w.apply(b); err != nil {
		return err
	}
	if size+b.bulk() > MaxBatchBytes || len(b.Changes)+len(b.Published) > maxBatchLines {
		w.s.drain()
		if err := w.s.writeAhead(b); err != nil {
			return w.s.fail(err)
		}
		w.ahead = b.Published
	} else if err := w.inline(b); err != nil {
		return err
	}
	w.countChanges(b.Changes)
	if err := w.complete(); err != nil {
		return w.s.fail(err)
	}
	return nil
}

// commit makes a batch durable in badger. Called with writes locked (see lockWrites).
func (s *Store) commit(b *Batch, special func(w *work) error) error {
	began := time.Now()
	w, err := s.prepare(b, special)
	if err != nil {
		return err
	}
	if err := w.finish(); err != nil {
		return err
	}
	s.opts.Committed(time.Since(began))
	return nil
}

// Commit makes b durable (fsynced) as a whole before it returns: a small one in the file
// redo, with badger taking it afterwards. A batch that is refused (ErrTooBig, a CSN that goes
// back, a generation not committed, a name too long) has changed nothing; a failure to write
// is an ErrFailed.
func (s *Store) Commit(b *Batch) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	began := time.Now()
	w, err := s.prepare(b, nil)
	switch {
	case err != nil:
	case s.ahead(w):
		s.hand(w)
	default:
		err = w.finish()
	}
	if err != nil {
		return fmt.Errorf("commit to store %s: %w", s.dir, err)
	}
	s.opts.Committed(time.Since(began))
	return nil
}

// DropClaim is DropClaims of one.
func (s *Store) DropClaim(claim uint32, b *Batch) error { return s.DropClaims([]uint32{claim}, b) }

// DropClaims removes all content and the cookies of claims, and commits b: one
// record for each makes it true, the sweep follows in the background (and at Open). The
// claims' published lines stay, unless b removes them. Their stages are discarded.
func (s *Store) DropClaims(claims []uint32, b *Batch) error {
	s.lockWrites()
	defer s.writeMu.Unlock()
	var stages []*Stage
	tops := make([]uint32, len(claims)) // generations that no stage has taken, or will take
	s.mu.Lock()
	for i, id := range claims {
		tops[i] = 1
		if c := s.claims[id]; c != nil {
			c.taken = max(c.taken, c.gen) + 1
			tops[i] = c.taken
			if c.stage != nil {
				stages = append(stages, c.stage)
			}
		}
	}
	s.mu.Unlock()
	err := s.commit(b, func(w *work) error {
		for i, id := range claims {
			*w.claim(id) = claimState{gen: tops[i], floor: tops[i], dropped: true}
			w.edited[id] = true
		}
		return nil
	})
	if err != nil {
		for i, id := range claims {
			s.untake(id, tops[i])
		}
		return fmt.Errorf("drop claims %d from store %s: %w", claims, s.dir, err)
	}
	for _, stage := range stages {
		stage.end(errDiscarded, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range claims {
		s.sweeper.add(&sweepJob{claim: id, all: true})
	}
	return nil
}

func sortedKeys[V any](m map[uint32]V) []uint32 { return slices.Sorted(maps.Keys(m)) }
