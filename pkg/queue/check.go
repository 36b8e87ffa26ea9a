package queue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Check verifies the invariants: each claim stands in the one queue of its
// name, no queue is empty, numbers are unique and below Next, names lie below
// the base and are spelt as their heads spell them. Each claim of a list is
// that of one name of one member, which has it but where it is suppressed. It
// stands on that name unless an operator renamed it. What lingers does so on a
// name that has a queue, under a number of its own.
func Check(s *State) error {
	if len(s.Names)+len(s.Lists) > 0 && s.BaseNorm == "" {
		return fmt.Errorf("%d names and %d lists are stored and no base DN", len(s.Names), len(s.Lists))
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
	if err := s.checkNames(); err != nil {
		return err
	}
	if err := s.checkLists(); err != nil {
		return err
	}
	return first(s.checkLingers(), s.checkWishes())
}

// checkWishes looks at what is wished of claims that are not there.
func (s *State) checkWishes() error {
	for _, id := range slices.Sorted(maps.Keys(s.Wishes)) {
		if s.Lists[id] == nil || len(s.Wishes[id]) == 0 {
			return fmt.Errorf("something is wished of the list %q, and there is no such list, or nothing is", id)
		}
		for _, entry := range slices.Sorted(maps.Keys(s.Wishes[id])) {
			w := s.Wishes[id][entry]
			if entry == "" || w.List != id || w.Entry != entry || len(w.Names) == 0 || !valid(entry) {
				return fmt.Errorf("the wish under %q of the list %q calls itself %q of %q, or is for nothing", entry, id, w.Entry, w.List)
			}
			norms := map[string]bool{}
			for _, n := range w.Names {
				if n.nothing() || norms[n.Norm] || !below(n.Norm, s.BaseNorm) || !valid(n.Name, n.Norm, n.To, n.ToNorm) ||
					(n.To == "") != (n.ToNorm == "") || n.To != "" && !below(n.ToNorm, s.BaseNorm) {
					return fmt.Errorf("the wish for %q of the entry %q of the list %q is there twice, for nothing, or not below the base",
						n.Name, entry, id)
				}
				norms[n.Norm] = true
			}
		}
	}
	return nil
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
		case c.Entry == "" && (c.Subscription != string(id) || c.Base != "" || strings.Contains(string(id), "/")):
			return fmt.Errorf("the claim %q of %q, based on %q, is neither a tree's nor a found entry's", id, c.Subscription, c.Base)
		case !c.Held.check(c.Good):
			return fmt.Errorf("what is held of the claim %q has no fingerprint or cause, or there is no content", id)
		case !valid(string(id), c.Subscription, c.Name, c.Norm, c.Reason, c.Entry, c.Base):
			return fmt.Errorf("the claim %q is not UTF-8 throughout", id)
		}
		numbers[c.Number] = id
	}
	for _, norm := range slices.Sorted(maps.Keys(s.Lingers)) {
		l := s.Lingers[norm]
		if other, taken := numbers[l.Number]; taken {
			return fmt.Errorf("the claim %q has the number %d of %q, which was removed", other, l.Number, l.Claim)
		}
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

func (s *State) checkLists() error {
	claims := map[ClaimID]bool{}
	for _, id := range slices.Sorted(maps.Keys(s.Members)) {
		l := s.Lists[id]
		switch {
		case l == nil:
			return fmt.Errorf("the list %q has members, and there is no such list", id)
		case id == "" || l.ID != id || strings.Contains(id, "/") || !valid(id, l.Reason):
			return fmt.Errorf("the list under %q calls itself %q, or is not UTF-8 throughout", id, l.ID)
		case s.Claims[ClaimID(id)] != nil:
			return fmt.Errorf("%q is both a tree and a list", id)
		case !l.Held.check(l.Good):
			return fmt.Errorf("what is held of the list %q has no fingerprint or cause, or there is no content", id)
		case l.Next == 0:
			return fmt.Errorf("the next claim of the list %q is 0", id)
		case l.Online && l.Reason != "":
			return fmt.Errorf("the list %q is online, yet down because of %q", id, l.Reason)
		}
		names := 0
		for _, entry := range slices.Sorted(maps.Keys(s.Members[id])) {
			m := s.Members[id][entry]
			if entry == "" || m.List != id || m.Entry != entry || m.DN == "" || !valid(entry, m.DN) || !valid(m.Problems...) {
				return fmt.Errorf("the member under %q of the list %q calls itself %q of %q, at %q, or is not UTF-8 throughout",
					entry, id, m.Entry, m.List, m.DN)
			}
			if err := s.checkMember(l, m, claims); err != nil {
				return err
			}
			names += len(m.Claims)
		}
		if l.Names != names {
			return fmt.Errorf("the list %q says that it makes %d names, and its members have %d", id, l.Names, names)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Lists)) {
		if s.Members[id] == nil {
			return fmt.Errorf("the list %q has no map of members", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Claims)) {
		if c := s.Claims[id]; c.Entry != "" && !claims[id] {
			return fmt.Errorf("the claim %q is of no member of the list %q", id, c.Subscription)
		}
	}
	return nil
}

// checkMember holds a member against its claims, and notes them.
func (s *State) checkMember(l *List, m *Member, noted map[ClaimID]bool) error {
	for _, mc := range m.Claims {
		c, n := s.Claims[mc.Claim], listNumber(mc.Claim)
		switch {
		case n == 0 || n >= l.Next || !strings.HasPrefix(string(mc.Claim), l.ID+"/"):
			return fmt.Errorf("the entry %q of the list %q has the claim %q, and the next is %d", m.Entry, l.ID, mc.Claim, l.Next)
		case noted[mc.Claim]:
			return fmt.Errorf("the claim %q of the list %q is there twice", mc.Claim, l.ID)
		case mc.Name == "" || !below(mc.Norm, s.BaseNorm) || !valid(mc.Name, mc.Norm):
			return fmt.Errorf("the claim %q is made for the name %q, which is not below the base", mc.Claim, mc.Norm)
		case c != nil && !c.Renamed && (c.Name != mc.Name || c.Norm != mc.Norm):
			return fmt.Errorf("the claim %q is on %q, its template makes %q, and no operator renamed it", mc.Claim, c.Name, mc.Name)
		case mc.Suppressed != (c == nil):
			return fmt.Errorf("the claim %q of the list %q is to be suppressed (%v), and is there (%v)", mc.Claim, l.ID, mc.Suppressed, c != nil)
		case c != nil && (c.Subscription != l.ID || c.Entry != m.Entry || c.Base != m.DN):
			return fmt.Errorf("the claim %q is of %q, entry %q at %q, and its member is of %q, entry %q at %q",
				mc.Claim, c.Subscription, c.Entry, c.Base, l.ID, m.Entry, m.DN)
		}
		noted[mc.Claim] = true
	}
	return nil
}

func valid(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(t string) bool { return !utf8.ValidString(t) })
}
