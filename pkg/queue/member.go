package queue

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

func (s *State) checkList(id string) error {
	err := checkFields("the list "+quote(id), field{"id", id})
	if err == nil && s.BaseNorm == "" {
		err = refuse(KindNoBase, "no base DN is set: set base_dn before adding %q", id)
	}
	return first(err, s.checkID(id))
}

func (s *State) knowsList(id string) error {
	if s.Lists[id] == nil {
		return refuse(KindNotFound, "there is no list %q", id)
	}
	return nil
}

func (s *State) knowsEntry(list, entry string) error {
	if err := s.knowsList(list); err != nil {
		return err
	}
	if s.Members[list][entry] == nil {
		return refuse(KindNotFound, "the list %q has no entry %q", list, entry)
	}
	return nil
}

func (s *State) addList(id string) []Effect {
	s.Lists[id] = &List{ID: id, Next: 1}
	s.Members[id] = map[string]*Member{}
	s.touch(listRecord(id))
	return []Effect{FollowList{id}}
}

func (s *State) removeList(id string) []Effect {
	out := []Effect{StopList{id}}
	var claims []*Claim
	for entry, m := range s.Members[id] {
		claims = s.appendClaims(claims, m.Claims)
		s.touch(memberRecord(id, entry))
	}
	for entry := range s.Wishes[id] {
		s.touch(wishRecord(id, entry))
	}
	delete(s.Wishes, id)
	delete(s.Members, id)
	delete(s.Lists, id)
	s.touch(listRecord(id))
	return append(out, s.leaveAll(claims)...)
}

// updateList puts a changed copy in the list's place, unless nothing changes.
func (s *State) updateList(id string, change func(*List)) {
	l := *s.Lists[id]
	if change(&l); l != *s.Lists[id] {
		s.Lists[id] = &l
		s.touch(listRecord(id))
	}
}

// appendClaims adds the claims of a member that there are: suppressed ones are not.
func (s *State) appendClaims(to []*Claim, of []MemberClaim) []*Claim {
	for _, mc := range of {
		if c := s.Claims[mc.Claim]; c != nil {
			to = append(to, c)
		}
	}
	return to
}

// leaveAll removes claims, those that wait before heads, so that none is
// promoted that goes too; else oldest first.
func (s *State) leaveAll(claims []*Claim) (out []Effect) {
	byNumber := func(a, b *Claim) int { return cmp.Compare(a.Number, b.Number) }
	slices.SortFunc(claims, byNumber)
	var heads []*Claim
	for _, c := range claims {
		if s.Names[c.Norm].Head() == c.ID {
			heads = append(heads, c)
		} else {
			out = append(out, s.leave(c)...)
		}
	}
	for _, c := range heads {
		out = append(out, s.leave(c)...)
	}
	return out
}

// spent refuses when n new claims have no ids left.
func (l *List) spent(n int) error {
	if uint64(^l.Next) < uint64(n) {
		return refuse(KindExhausted, "every number for claims of the list %q has been used: add it anew under another id", l.ID)
	}
	return nil
}

// putMember stores a member in the place of the one that it was, if any.
func (s *State) putMember(m *Member) {
	n := len(m.Claims)
	if old := s.Members[m.List][m.Entry]; old != nil {
		n -= len(old.Claims)
	}
	s.Members[m.List][m.Entry] = m
	s.touch(memberRecord(m.List, m.Entry))
	s.updateList(m.List, func(l *List) { l.Names += n })
}

func (s *State) lose(m *Member) []Effect {
	delete(s.Members[m.List], m.Entry)
	s.touch(memberRecord(m.List, m.Entry))
	s.updateList(m.List, func(l *List) { l.Names -= len(m.Claims) })
	s.putWish(m.List, m.Entry, nil)
	return s.leaveAll(s.appendClaims(nil, m.Claims))
}

// listNumber is the N of a claim's id ID/N; 0 where it is none.
func listNumber(id ClaimID) uint32 {
	_, digits, _ := strings.Cut(string(id), "/")
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0
	}
	return uint32(n)
}
