package store

import (
	"fmt"
	"maps"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// census is what a walk over a claim's content found.
type census struct {
	count, sum uint64
	gens       map[uint32]bool // with entries dated by ordinal
	top        uint32          // newest generation of any record
	leftovers  bool
	corrupt    int
}

// check compares every claim's content with its count and checksum. Records
// that cannot be read are removed; leftovers are left to the sweeper.
func (s *Store) check(txn *badger.Txn) error {
	found, bad, err := s.count(txn)
	if err != nil {
		return err
	}
	r := s.purge()
	defer r.abandon()
	for i := len(bad) - 1; i >= 0; i-- { // what a record hides goes before it
		if err := r.drop(bad[i]); err != nil {
			return err
		}
	}
	for id, c := range found {
		if s.claims[id] == nil { // content that no claim record speaks for
			s.claims[id] = &claim{claimState: claimState{gen: c.top + 1, floor: c.top + 1, dropped: true}}
		}
	}
	for _, id := range sortedKeys(s.claims) {
		if err := s.settleClaim(r, id, found[id]); err != nil {
			return err
		}
	}
	return r.flush()
}

// count walks all content, in parts. bad are the keys of entries that cannot be read,
// with what they hide, and of what was not committed where nobody knows the generation that was.
func (s *Store) count(txn *badger.Txn) (found map[uint32]*census, bad [][]byte, err error) {
	prefix := []byte{kindContent}
	counts := map[uint32]uint64{}
	for id, c := range s.claims {
		counts[id] = c.count
	}
	parts := s.parts(prefix, counts)
	counted := make([]partCensus, len(parts))
	v, err := s.acquire()
	if err != nil {
		return nil, nil, err
	}
	it, rolling := newIterator(v.txn, nil), &rolling{limit: s.opts.rollCopies}
	err = share(len(parts), func(_, i int) error { return s.countPart(txn, prefix, parts[i], rolling, &counted[i]) })
	s.keepRoll(rolling, v, it, counted)
	found = map[uint32]*census{}
	for i := range counted {
		bad = append(bad, counted[i].bad...)
		for id, c := range counted[i].found {
			if found[id] == nil {
				found[id] = c
			} else {
				found[id].add(c)
			}
		}
	}
	return found, bad, err
}

// partCensus is what count finds in one part.
type partCensus struct {
	found  map[uint32]*census
	bad    [][]byte
	rolled []*rollList
}

// add joins what was found of a claim in another part.
func (c *census) add(more *census) {
	c.count += more.count
	c.sum ^= more.sum
	maps.Copy(c.gens, more.gens)
	c.top = max(c.top, more.top)
	c.leftovers = c.leftovers || more.leftovers
	c.corrupt += more.corrupt
}

func (s *Store) countPart(txn *badger.Txn, prefix []byte, p part, rolling *rolling, into *partCensus) error {
	into.found = map[uint32]*census{}
	var (
		c      *census
		owner  *claimState
		broken entryID
		list   *rollList
	)
	state := func(id uint32) *claimState {
		c, owner, list = &census{gens: map[uint32]bool{}}, nil, &rollList{claim: id}
		into.found[id], into.rolled = c, append(into.rolled, list)
		if known := s.claims[id]; known != nil {
			owner = &known.claimState
			list.expect(known.count)
		}
		return owner
	}
	return walkPart(txn, prefix, p, state, func(r *content) error {
		c.top = max(c.top, r.Gen)
		entry := entryID{r.Claim, r.UUID}
		var csn dit.CSN
		if r.verdict == live {
			var ok bool
			if csn, ok = owner.dated(r); !ok {
				r.verdict = corrupt
			}
		}
		if r.verdict == corrupt {
			broken = entry
			c.corrupt++
		}
		switch {
		case c.corrupt > 0 && entry == broken, r.verdict == ahead && owner.gen == anyGeneration: // it would count from now on
			into.bad = append(into.bad, contentKey(nil, r.Key))
		case r.verdict == live:
			c.count++
			c.sum ^= r.fingerprint()
			list.add(rolling, r, csn)
			if r.stamp.kind == stampOrdinal {
				c.gens[r.Gen] = true
			}
		default:
			c.leftovers = true
		}
		return nil
	})
}

// settleClaim brings a claim's record in line with what was found.
func (s *Store) settleClaim(r *run, id uint32, found *census) error {
	c := s.claims[id]
	if found == nil {
		found = &census{}
	}
	guessed := c.gen == anyGeneration
	if guessed {
		c.gen = found.top
	}
	c.taken = max(c.gen, found.top)
	if found.leftovers || c.dropped {
		s.sweeper.add(&sweepJob{claim: id, all: true, void: found.top > c.gen})
	}
	if c.dropped {
		return nil
	}
	kept := c.firsts[:0]
	for _, f := range c.firsts {
		if found.gens[f.gen] {
			kept = append(kept, f)
			continue
		}
		if err := r.drop(firstKey(id, f.gen)); err != nil {
			return err
		}
	}
	c.firsts = kept
	if !s.lossy && !guessed && found.corrupt == 0 && found.count == c.count && found.sum == c.sum {
		return nil
	}
	s.log.Error("claim is damaged", "claim", id, "corrupt", found.corrupt,
		"count", found.count, "expected", c.count, "checksum", fmt.Sprintf("%016x", found.sum))
	c.damaged, c.cookie = true, nil
	c.count, c.sum = found.count, found.sum
	return r.set(claimKey(id), c.encode())
}
