package queue

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Check verifies the invariants: each claim stands in the one queue of its
// name, no queue is empty, numbers are unique and below Next, names lie below
// the base and are spelt as their heads spell them.
func Check(s *State) error {
	if len(s.Names) > 0 && s.BaseNorm == "" {
		return fmt.Errorf("%d names are stored and no base DN", len(s.Names))
	}
	if s.BaseNorm == "" && s.BaseText != "" {
		return fmt.Errorf("the base DN %q has no normal form", s.BaseText)
	}
	if s.Next == 0 {
		return fmt.Errorf("the next claim number is 0")
	}
	if err := s.checkClaims(); err != nil {
		return err
	}
	return s.checkNames()
}

func (s *State) checkClaims() error {
	numbers := make(map[uint32]ClaimID, len(s.Claims))
	for _, id := range slices.Sorted(maps.Keys(s.Claims)) {
		c := s.Claims[id]
		other, taken := numbers[c.Number]
		switch {
		case id == "" || c.ID != id:
			return fmt.Errorf("the claim under %q calls itself %q", id, c.ID)
		case c.Subscription == "" || c.Name == "":
			return fmt.Errorf("the claim %q lacks a subscription or a name", id)
		case !below(c.Norm, s.BaseNorm):
			return fmt.Errorf("the claim %q on %q is not below the base %q", id, c.Norm, s.BaseNorm)
		case s.Names[c.Norm] == nil:
			return fmt.Errorf("the claim %q stands in no queue: there is no name %q", id, c.Norm)
		case c.Number == 0 || c.Number >= s.Next:
			return fmt.Errorf("the claim %q has the number %d, and the next is %d", id, c.Number, s.Next)
		case taken:
			return fmt.Errorf("the claims %q and %q both have the number %d", other, id, c.Number)
		case c.Online && c.Reason != "":
			return fmt.Errorf("the claim %q is online, yet down because of %q", id, c.Reason)
		case !valid(string(id), c.Subscription, c.Name, c.Norm, c.Reason):
			return fmt.Errorf("the claim %q is not UTF-8 throughout", id)
		}
		numbers[c.Number] = id
	}
	return nil
}

func (s *State) checkNames() error {
	if !valid(s.BaseNorm, s.BaseText) {
		return fmt.Errorf("the base DN %q is not UTF-8", s.BaseNorm)
	}
	queued := make(map[ClaimID]bool, len(s.Claims))
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		n := s.Names[norm]
		if n.Norm != norm {
			return fmt.Errorf("the name under %q calls itself %q", norm, n.Norm)
		}
		if len(n.Claims) == 0 {
			return fmt.Errorf("the queue of %q is empty", norm)
		}
		for _, id := range n.Claims {
			c := s.Claims[id]
			if c == nil {
				return fmt.Errorf("the queue of %q holds %q, and there is no such claim", norm, id)
			}
			if c.Norm != norm {
				return fmt.Errorf("the queue of %q holds %q, whose name is %q", norm, id, c.Norm)
			}
			if queued[id] {
				return fmt.Errorf("the queue of %q holds %q twice", norm, id)
			}
			queued[id] = true
		}
		if head := s.Claims[n.Head()]; n.Text != head.Name {
			return fmt.Errorf("the name %q is spelt %q, and its head says %q", norm, n.Text, head.Name)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Claims)) {
		if !queued[id] {
			return fmt.Errorf("the claim %q stands in no queue", id)
		}
	}
	return nil
}

func valid(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(t string) bool { return !utf8.ValidString(t) })
}
