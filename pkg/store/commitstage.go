package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"shaft/pkg/dit"
)

var errCommitted = errors.New("stage was committed")

// CommitStage is the point of no return of a refresh: the stage's generation,
// cookie and server, FirstCSN for its ordinals, and batch b (records, journal,
// published map, changes of any number: written ahead and valid only with it).
// It syncs the stage first: after Sync, what was staged since is all there is to do.
// What it supersedes is swept afterwards in the background. After
// a refusal (see Commit) the stage is as it was.
func (s *Store) CommitStage(st *Stage, cookie []byte, server string, first dit.CSN, b *Batch) error {
	err := st.Sync(context.Background())
	if err == nil {
		err = s.commitStage(st, cookie, server, first, b)
	}
	if err != nil {
		return fmt.Errorf("commit refresh to store %s: %w", s.dir, err)
	}
	st.mu.Lock()
	stale := st.delta.stale
	st.mu.Unlock()
	st.end(errCommitted, stale)
	return nil
}

func (s *Store) commitStage(st *Stage, cookie []byte, server string, first dit.CSN, b *Batch) error {
	s.lockWrites()
	defer s.writeMu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over != nil {
		return st.over
	}
	if st.fill != nil {
		return errors.New("an entry was staged during the commit")
	}
	s.renew(s.meta, nil) // b may touch entries just staged
	c := s.lookup(st.claim)
	if err := st.compute(context.Background(), s.view.txn, &c.claimState, c.edits); err != nil {
		return err
	}
	d := &st.delta
	return s.commit(b, func(w *work) error {
		state := w.claim(st.claim)
		state.gen, state.dropped, state.damaged = st.gen, false, false
		state.cookie, state.server = slices.Clone(cookie), server
		state.count += uint64(d.count)
		state.sum ^= d.sum
		w.edited[st.claim] = true
		if !d.put {
			return nil
		}
		state.firsts = append(state.firsts, genFirst{st.gen, first})
		w.meta.last = max(w.meta.last, first+dit.CSN(d.highest))
		return w.set(firstKey(st.claim, st.gen), binary.BigEndian.AppendUint64(nil, uint64(first)))
	})
}
