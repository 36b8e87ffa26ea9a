package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Renorm computes every normal form anew from the texts, as norm has them with
// the schema of today; it is for a state that was just loaded. Names that now
// coincide become one: queue by queue, in the order of their heads' numbers,
// the claims join its end. Claims of one queue whose names now differ part in
// the same order. What lingers goes along with the head that it stands in for, where
// that is the head still. Dirty lists what has changed, nothing as a rule; Resume what is due.
//
// After an error (of norm, or what Check says of the outcome) the state is as
// it was.
func Renorm(s *State, norm func(text string) (string, error)) error {
	s.changed = nil
	next := *s
	next.Claims, next.Names = maps.Clone(s.Claims), map[string]*Name{}
	if s.BaseNorm != "" {
		var err error
		if next.BaseNorm, err = norm(s.BaseText); err != nil {
			return fmt.Errorf("the base DN %q: %w", s.BaseText, err)
		}
	}
	byHead := func(a, b *Name) int { return cmp.Compare(s.Claims[a.Head()].Number, s.Claims[b.Head()].Number) }
	for _, n := range slices.SortedFunc(maps.Values(s.Names), byHead) {
		for _, id := range n.Claims {
			c := *s.Claims[id]
			var err error
			if c.Norm, err = norm(c.Name); err != nil {
				return fmt.Errorf("the name %q of the claim %q: %w", c.Name, id, err)
			}
			if c != *s.Claims[id] {
				next.Claims[id] = &c
			}
			next.join(&c)
		}
	}
	if err := first(next.renormMembers(norm), next.renormWishes(norm), next.renormLingers(s, norm)); err != nil {
		return err
	}
	if err := Check(&next); err != nil {
		return fmt.Errorf("with normal forms as they are now: %w", err)
	}
	next.touchAll(s)
	*s = next
	return nil
}

// renormMembers does the same for the names that found entries expand to. Two
// of one entry may be one now: the next time that it is found, one will do.
func (s *State) renormMembers(norm func(text string) (string, error)) error {
	was := s.Members
	s.Members = make(map[string]map[string]*Member, len(was))
	for list, members := range was {
		s.Members[list] = maps.Clone(members)
		for entry, old := range members {
			m := *old
			m.Claims = slices.Clone(m.Claims)
			for i := range m.Claims {
				mc := &m.Claims[i]
				var err error
				if mc.Norm, err = norm(mc.Name); err != nil {
					return fmt.Errorf("the name %q that the list %q makes for the claim %q: %w", mc.Name, list, mc.Claim, err)
				}
			}
			if !slices.Equal(m.Claims, old.Claims) {
				s.Members[list][entry] = &m
			}
		}
	}
	return nil
}

// renormWishes does the same for what is wished of claims that are not there; of two
// for one name the first counts.
func (s *State) renormWishes(norm func(text string) (string, error)) error {
	was := s.Wishes
	s.Wishes = make(map[string]map[string]*Wish, len(was))
	for list, wishes := range was {
		s.Wishes[list] = maps.Clone(wishes)
		for entry, old := range wishes {
			w := Wish{List: list, Entry: entry}
			for _, n := range old.Names {
				var err, toErr error
				n.Norm, err = norm(n.Name)
				if n.To != "" {
					n.ToNorm, toErr = norm(n.To)
				}
				if err := first(err, toErr); err != nil {
					return fmt.Errorf("the name %q that is wished of the list %q: %w", n.Name, list, err)
				}
				if !slices.ContainsFunc(w.Names, func(had Wished) bool { return had.Norm == n.Norm }) {
					w.Names = append(w.Names, n)
				}
			}
			if !slices.Equal(w.Names, old.Names) {
				s.Wishes[list][entry] = &w
			}
		}
	}
	return nil
}

// join puts a claim at the end of its queue.
func (s *State) join(c *Claim) {
	n := s.Names[c.Norm]
	if n == nil {
		n = &Name{Norm: c.Norm, Text: c.Name}
		s.Names[c.Norm] = n
	}
	n.Claims = append(n.Claims, c.ID)
}

// touchAll touches every record in which the state differs from what it was.
func (s *State) touchAll(was *State) {
	if s.BaseNorm != was.BaseNorm {
		s.touch(recordBase)
	}
	for id, c := range s.Claims {
		if *c != *was.Claims[id] {
			s.touch(claimRecord(id))
		}
	}
	for norm, n := range s.Names {
		if old := was.Names[norm]; old == nil || old.Text != n.Text || !slices.Equal(old.Claims, n.Claims) {
			s.touch(nameRecord(norm))
		}
	}
	for list, members := range s.Members {
		for entry, m := range members {
			if m != was.Members[list][entry] {
				s.touch(memberRecord(list, entry))
			}
		}
	}
	for list, wishes := range s.Wishes {
		for entry, w := range wishes {
			if w != was.Wishes[list][entry] {
				s.touch(wishRecord(list, entry))
			}
		}
	}
	for norm, l := range s.Lingers {
		if l != was.Lingers[norm] {
			s.touch(lingerRecord(norm))
		}
	}
	for norm := range was.Lingers {
		if s.Lingers[norm] == nil {
			s.touch(lingerRecord(norm))
		}
	}
	for norm := range was.Names {
		if s.Names[norm] == nil {
			s.touch(nameRecord(norm))
		}
	}
}
