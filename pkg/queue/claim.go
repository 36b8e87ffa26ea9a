package queue

import (
	"math"
	"slices"
	"strings"
)

// field is one text of an event, for the words of a refusal.
type field struct{ what, text string }

// checkFields refuses a field that is empty or not UTF-8; whose says of what.
func checkFields(whose string, fields ...field) error {
	for _, f := range fields {
		if f.text == "" {
			return refuse(KindInvalid, "%s has no %s", whose, f.what)
		}
		if !valid(f.text) {
			return refuse(KindInvalid, "the %s of %s is not UTF-8: %q", f.what, whose, f.text)
		}
	}
	return nil
}

// checkID refuses an id that a subscription has already, or cannot have: the
// "/" parts a list's id from the numbers of its claims.
func (s *State) checkID(id string) error {
	if strings.Contains(id, "/") {
		return refuse(KindInvalid, "the id %q holds a \"/\", which only the ids of a list's claims do: choose another", id)
	}
	if c := s.Claims[ClaimID(id)]; c != nil {
		return refuse(KindExists, "%q exists already, on the name %q: choose another id, or remove it first", id, c.Name)
	}
	if s.Lists[id] != nil {
		return refuse(KindExists, "%q exists already, as a list: choose another id, or remove it first", id)
	}
	return nil
}

// unfit gives the reason why no claim can be on the name, or nil.
func (s *State) unfit(name, norm string) error {
	switch {
	case s.BaseNorm == "":
		return refuse(KindNoBase, "no base DN is set: set base_dn before adding %q", name)
	case norm == s.BaseNorm:
		return refuse(KindIsBase, "the name %q is the base DN itself: give one below it", name)
	case !below(norm, s.BaseNorm):
		return refuse(KindOutsideBase, "the name %q is not below the base DN %q", name, s.BaseText)
	}
	return nil
}

// full refuses one more claim in a queue that is as long as may be.
func (s *State) full(norm string) error {
	if n := s.Names[norm]; n != nil && len(n.Claims) >= MaxQueue {
		return refuse(KindTooMany, "the name %q has %d claims already, and more are not taken", n.Text, len(n.Claims))
	}
	return nil
}

// spent refuses when n new claims have no numbers left.
func (s *State) spent(n int) error {
	if uint64(math.MaxUint32-s.Next) < uint64(n) {
		return refuse(KindExhausted, "every claim number has been used")
	}
	return nil
}

// first gives the first error that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkClaim gives the reason why a tree's claim cannot be added, or nil.
func (s *State) checkClaim(e ClaimAdded) error {
	err := checkFields("the claim "+quote(string(e.ID)), field{"id", string(e.ID)}, field{"subscription", e.Subscription},
		field{"name", e.Name}, field{"normal name", e.Norm})
	if err == nil && e.Subscription != string(e.ID) {
		err = refuse(KindInvalid, "the claim %q of the tree %q must bear its id", e.ID, e.Subscription)
	}
	return first(err, s.unfit(e.Name, e.Norm), s.checkID(string(e.ID)), s.full(e.Norm), s.spent(1))
}

func (s *State) checkRemove(e ClaimRemoved) error {
	if err := s.knows(e.ID); err != nil {
		return err
	}
	if c := s.Claims[e.ID]; c.Entry != "" {
		return refuse(KindOfList, "%q is a claim of the list %q, which would make it again: suppress it, or remove the list's subscription",
			e.ID, c.Subscription)
	}
	return nil
}

func (s *State) checkMove(e ClaimMoved) error {
	if err := s.knows(e.ID); err != nil {
		return err
	}
	err := checkFields("the move of the claim "+quote(string(e.ID)), field{"name", e.Name}, field{"normal name", e.Norm})
	if err = first(err, s.unfit(e.Name, e.Norm)); err != nil {
		return err
	}
	c := s.Claims[e.ID]
	switch {
	case below(e.Norm, c.Norm):
		return refuse(KindBelowItself, "the name %q lies below %q, where the claim %q is now: a subtree cannot move below itself",
			e.Name, c.Name, e.ID)
	case c.Norm != e.Norm:
		return s.full(e.Norm)
	case c.Name == e.Name:
		return refuse(KindSameName, "the claim %q is on the name %q already", e.ID, e.Name)
	}
	return nil
}

// enter puts a new claim at the end of its queue and gives it its number.
func (s *State) enter(c Claim) []Effect {
	c.Number = s.Next
	s.Next++
	s.touch(recordNext)
	s.put(&c)
	if s.line(&c) {
		return append(follow(&c), Publish{c.Norm, c.ID})
	}
	return []Effect{Probe{c.ID}}
}

// leave removes a claim. Of a head the content stays until the next one's is there,
// or the time for that is over (see Linger).
func (s *State) leave(c *Claim) []Effect {
	wasHead, next := s.unline(c)
	delete(s.Claims, c.ID)
	s.touch(claimRecord(c.ID))
	stop, drop := Stop{c.ID}, Drop{c.ID, c.Number}
	switch {
	case !wasHead:
		return []Effect{stop, drop}
	case next == nil:
		return append([]Effect{Withdraw{c.Norm}, stop, drop}, s.endLinger(c.Norm)...)
	}
	return append(append([]Effect{stop}, promote(next)...), s.outlast(c))
}

// move renames a claim for an operator. A list's stays renamed, whatever its
// template makes, until an operator takes it back to just that.
func (s *State) move(e ClaimMoved) []Effect {
	if c := s.Claims[e.ID]; c.Entry != "" {
		mc := s.Members[c.Subscription][c.Entry].claim(e.ID)
		s.update(e.ID, func(c *Claim) { c.Renamed = e.Name != mc.Name })
	}
	return s.rename(s.Claims[e.ID], e.Name, e.Norm)
}

// rename puts a claim on another name, or spells its name anew.
func (s *State) rename(old *Claim, name, norm string) []Effect {
	c := *old
	c.Name, c.Norm = name, norm
	out := []Effect{Move{c.ID, old.Norm, norm}}
	if norm == old.Norm {
		s.put(&c)
		if n := s.Names[norm]; n.Head() == c.ID {
			s.setQueue(norm, n.Claims)
		}
		return out
	}
	wasHead, next := s.unline(old)
	s.put(&c)
	isHead := s.line(&c)
	if wasHead {
		if next == nil {
			out = append(append(out, Withdraw{old.Norm}), s.endLinger(old.Norm)...)
		} else {
			out = append(out, promote(next)...)
		}
	}
	switch {
	case isHead && wasHead:
		out = append(out, Publish{norm, c.ID})
	case isHead:
		out = append(out, promote(&c)...)
	case wasHead:
		out = append(out, Stop{c.ID}, Probe{c.ID})
	}
	return out
}

// put stores a claim, in the place of the one that it was.
func (s *State) put(c *Claim) {
	s.Claims[c.ID] = c
	s.touch(claimRecord(c.ID))
}

// line puts a claim at the end of its queue, and tells whether it is the head.
func (s *State) line(c *Claim) bool {
	var before []ClaimID
	if n := s.Names[c.Norm]; n != nil {
		before = n.Claims
	}
	s.setQueue(c.Norm, append(slices.Clone(before), c.ID))
	return before == nil
}

// unline takes a claim out of its queue; next is who follows it as the head,
// nil where it was none or nobody is left.
func (s *State) unline(c *Claim) (wasHead bool, next *Claim) {
	n := s.Names[c.Norm]
	wasHead = n.Head() == c.ID
	rest := slices.DeleteFunc(slices.Clone(n.Claims), func(id ClaimID) bool { return id == c.ID })
	if len(rest) == 0 {
		delete(s.Names, n.Norm)
		s.touch(nameRecord(n.Norm))
		return wasHead, nil
	}
	s.setQueue(n.Norm, rest)
	if wasHead {
		next = s.Claims[rest[0]]
	}
	return wasHead, next
}

// setQueue stores a queue; the name is spelt as the head spells it.
func (s *State) setQueue(norm string, claims []ClaimID) {
	s.Names[norm] = &Name{Norm: norm, Text: s.Claims[claims[0]].Name, Claims: claims}
	s.touch(nameRecord(norm))
}
