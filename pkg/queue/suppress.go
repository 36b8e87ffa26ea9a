package queue

import (
	"slices"
	"strings"
)

// suppressed gives the member that has the claim suppressed, and which of its
// claims that is; nil where there is none.
func (s *State) suppressed(id ClaimID) (*Member, int) {
	list, _, _ := strings.Cut(string(id), "/")
	for _, m := range s.Members[list] {
		i := slices.IndexFunc(m.Claims, func(mc MemberClaim) bool { return mc.Claim == id && mc.Suppressed })
		if i >= 0 {
			return m, i
		}
	}
	return nil, 0
}

// Suppressed gives the member that has a claim suppressed, and the name that the claim
// would be on; false where no such claim is suppressed.
func (s *State) Suppressed(id ClaimID) (*Member, MemberClaim, bool) {
	m, i := s.suppressed(id)
	if m == nil {
		return nil, MemberClaim{}, false
	}
	return m, m.Claims[i], true
}

func (s *State) checkSuppress(id ClaimID) error {
	if c := s.Claims[id]; c == nil {
		if m, _ := s.suppressed(id); m != nil {
			return refuse(KindInvalid, "the claim %q is suppressed already", id)
		}
	} else if c.Entry == "" {
		return refuse(KindInvalid, "%q is the claim of a tree, and only a list's can be suppressed: remove its subscription", id)
	}
	return s.knows(id)
}

func (s *State) checkLift(id ClaimID) error {
	if s.Claims[id] != nil {
		return refuse(KindInvalid, "the claim %q is not suppressed", id)
	}
	m, i := s.suppressed(id)
	if m == nil {
		return s.knows(id)
	}
	return first(s.full(m.Claims[i].Norm), s.spent(1))
}

func (s *State) suppress(c *Claim) []Effect {
	s.mark(s.Members[c.Subscription][c.Entry], c.ID, true)
	return s.leave(c)
}

func (s *State) lift(id ClaimID) []Effect {
	m, i := s.suppressed(id)
	mc := m.Claims[i]
	s.mark(m, id, false)
	return s.enter(Claim{ID: id, Subscription: m.List, Name: mc.Name, Norm: mc.Norm, Entry: m.Entry, Base: m.DN})
}

// mark puts a changed copy in the member's place.
func (s *State) mark(old *Member, id ClaimID, suppressed bool) {
	m := *old
	m.Claims = slices.Clone(m.Claims)
	for i := range m.Claims {
		if m.Claims[i].Claim == id {
			m.Claims[i].Suppressed = suppressed
		}
	}
	s.putMember(&m)
}
