package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// work is one commit in the making: a transaction, and copies of what it
// changes in memory, adopted once it is durable.
type work struct {
	s       *Store
	txn     *badger.Txn
	meta    meta
	claims  map[uint32]*claimState // copies of those that change
	edited  map[uint32]bool        // claims whose entries change
	seen    map[entryID]standing
	entries *badger.Iterator // over content as of the last commit; nil until needed
	freed   int64            // bytes of entries that are superseded
	ops     []redoOp         // all that txn does
	ahead   []PublishedAs    // what was written ahead of it
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

// begin starts a commit. Called with writeMu held.
func (s *Store) begin() *work {
	w := &work{s: s, meta: s.meta, claims: map[uint32]*claimState{}, edited: map[uint32]bool{}, seen: map[entryID]standing{}}
	w.meta.commits++
	w.txn = s.db.NewTransaction(true)
	return w
}

// abandon lets go of what begin took; harmless after finish.
func (w *work) abandon() {
	if w.entries != nil {
		w.entries.Close()
		w.entries = nil
	}
	w.txn.Discard()
}

func (w *work) set(key, value []byte) error {
	value = seal(key, value)
	w.ops = append(w.ops, redoOp{key, value})
	return w.txn.Set(key, value)
}

// delete removes a key, which must stay as it is.
func (w *work) delete(key []byte) error {
	w.ops = append(w.ops, redoOp{key: key})
	return w.txn.Delete(key)
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
		if known := w.s.lookup(id); known != nil {
			*c = known.claimState
		}
		w.claims[id] = c
	}
	return c
}

// standing looks up what there is of an entry.
func (w *work) standing(id entryID) (standing, error) {
	if st, ok := w.seen[id]; ok {
		return st, nil
	}
	if w.entries == nil {
		w.entries = newIterator(w.s.view.txn, []byte{kindContent})
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
	w.seen[id] = standing{live: true, fingerprint: fp, gens: []uint32{p.Gen}}
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

// finish makes all of it durable, and the store's state.
func (w *work) finish() error {
	if err := w.s.durable(w.txn); err != nil {
		return w.s.fail(err)
	}
	w.s.adopt(w)
	return nil
}

// complete writes the claims and meta.
func (w *work) complete() error {
	if w.entries != nil {
		w.entries.Close()
		w.entries = nil
	}
	for id, c := range w.claims {
		if err := w.set(claimKey(id), c.encode()); err != nil {
			return err
		}
	}
	return w.set(metaKey, w.meta.encode())
}

// adopt makes a durable work the store's state.
func (s *Store) adopt(w *work) {
	s.renew(w.meta, func() {
		for id, state := range w.claims {
			c := s.claims[id]
			if c == nil {
				c = &claim{}
				s.claims[id] = c
			}
			state.damaged = state.damaged || c.damaged && state.gen == c.gen
			c.claimState, c.durable = *state, true
			if w.edited[id] {
				c.edits++
			}
		}
	})
	s.supersede(w.freed)
	s.scheduleTrim(w.meta)
}

// prepare is what Commit, CommitStage and DropClaim have in common; special does
// what is theirs. Nothing is written ahead before all else was found good. The work is
// to be abandoned after all, and nothing but a failure to write may keep it from being finished.
func (s *Store) prepare(b *Batch, special func(w *work) error) (*work, error) {
	size, err := b.size()
	if err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	if err := s.roomFor(len(b.Puts) > 0, b.bytes()); err != nil {
		return nil, err
	}
	if err := s.checkCSNs(b); err != nil {
		return nil, err
	}
	if special != nil || len(b.Puts)+len(b.Deletes) > 0 || b.bytes() >= valueThreshold {
		s.Unroll()
	}
	w := s.begin()
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

// commit makes a batch durable in badger. Called with writeMu held.
func (s *Store) commit(b *Batch, special func(w *work) error) error {
	began := time.Now()
	w, err := s.prepare(b, special)
	if err != nil {
		return err
	}
	defer w.abandon()
	if err := w.finish(); err != nil {
		return err
	}
	s.opts.Committed(time.Since(began))
	return nil
}

// Commit makes b durable (fsynced) as a whole before it returns: a small one in the redo
// file, with badger taking it afterwards. A batch that is refused (ErrTooBig, a CSN that goes
// back, a generation not committed, a name too long) has changed nothing; a failure to write
// is an ErrFailed.
func (s *Store) Commit(b *Batch) error {
	s.writeMu.Lock()
	began := time.Now()
	w, err := s.prepare(b, nil)
	if err == nil && s.ahead(w) {
		s.mu.Lock()
		s.behind = true
		s.mu.Unlock()
		go s.follow(w)
	} else {
		if err == nil {
			err = w.finish()
			w.abandon()
		}
		s.writeMu.Unlock()
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
	s.writeMu.Lock()
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
