package queue

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Apply takes one event, unless Refuses tells why not. The effects are in the
// order in which they are to be done.
func Apply(s *State, e Event) ([]Effect, error) {
	s.changed = nil
	if err := Refuses(s, e); err != nil {
		return nil, err
	}
	switch e := e.(type) {
	case BaseSet:
		s.setBase(e)
	case ClaimAdded:
		return s.addClaim(e), nil
	case ClaimRemoved:
		return s.removeClaim(e), nil
	case Refreshed:
		s.update(e.ID, func(c *Claim) { c.Good = true })
	case LinkChanged:
		s.update(e.ID, func(c *Claim) {
			c.Online, c.Reason = e.Online, strings.ToValidUTF8(e.Reason, "\uFFFD")
			if e.Online {
				c.Reason = ""
			}
		})
	}
	return nil, nil
}

// Refuses gives the error with which Apply would refuse the event now, or nil,
// and changes nothing. It is a *Refusal, but for events of an unknown type.
func Refuses(s *State, e Event) error {
	switch e := e.(type) {
	case BaseSet:
		return s.checkBase(e)
	case ClaimAdded:
		return s.checkClaim(e)
	case ClaimRemoved:
		return s.knows(e.ID)
	case Refreshed:
		return s.knows(e.ID)
	case LinkChanged:
		return s.knows(e.ID)
	}
	return fmt.Errorf("queue: unknown event %T", e)
}

func (s *State) checkBase(e BaseSet) error {
	switch {
	case e.Norm == "":
		return refuse(KindNoBase, "the base DN is empty")
	case !utf8.ValidString(e.Norm) || !utf8.ValidString(e.Text):
		return refuse(KindInvalid, "the base DN %q is not UTF-8", e.Text)
	case e.Norm != s.BaseNorm && len(s.Names) > 0:
		return refuse(KindBaseFixed, "the base DN is %q and names are stored below it: remove their subscriptions before making it %q",
			s.BaseText, e.Text)
	}
	return nil
}

func (s *State) setBase(e BaseSet) {
	if e.Norm != s.BaseNorm || e.Text != s.BaseText {
		s.BaseNorm, s.BaseText = e.Norm, e.Text
		s.touch(recordBase)
	}
}

func (s *State) addClaim(e ClaimAdded) []Effect {
	s.Claims[e.ID] = &Claim{ID: e.ID, Number: s.Next, Subscription: e.Subscription, Name: e.Name, Norm: e.Norm}
	s.Next++
	s.touch(recordNext, claimRecord(e.ID), nameRecord(e.Norm))
	n := s.Names[e.Norm]
	if n == nil {
		s.Names[e.Norm] = &Name{Norm: e.Norm, Text: e.Name, Claims: []ClaimID{e.ID}}
		return []Effect{Follow{e.ID}, Publish{e.Norm, e.ID}}
	}
	claims := append(slices.Clone(n.Claims), e.ID)
	s.Names[e.Norm] = &Name{Norm: n.Norm, Text: n.Text, Claims: claims}
	return []Effect{Probe{e.ID}}
}

// checkClaim gives the reason why the claim cannot be added, or nil.
func (s *State) checkClaim(e ClaimAdded) error {
	for _, f := range []struct{ what, text string }{
		{"id", string(e.ID)}, {"subscription", e.Subscription}, {"name", e.Name}, {"normal name", e.Norm},
	} {
		if f.text == "" {
			return refuse(KindInvalid, "the claim %q has no %s", e.ID, f.what)
		}
		if !utf8.ValidString(f.text) {
			return refuse(KindInvalid, "the %s of the claim %q is not UTF-8: %q", f.what, e.ID, f.text)
		}
	}
	switch {
	case s.BaseNorm == "":
		return refuse(KindNoBase, "no base DN is set: set base_dn before adding %q", e.Name)
	case e.Norm == s.BaseNorm:
		return refuse(KindIsBase, "the name %q is the base DN itself: give one below it", e.Name)
	case !below(e.Norm, s.BaseNorm):
		return refuse(KindOutsideBase, "the name %q is not below the base DN %q", e.Name, s.BaseText)
	case s.Claims[e.ID] != nil:
		return refuse(KindExists, "%q exists already, on the name %q: choose another id, or remove it first", e.ID, s.Claims[e.ID].Name)
	case s.Next == math.MaxUint32:
		return refuse(KindExhausted, "every claim number has been used")
	}
	return nil
}

func (s *State) removeClaim(e ClaimRemoved) []Effect {
	c := s.Claims[e.ID]
	n := s.Names[c.Norm]
	wasHead := n.Head() == e.ID
	rest := slices.DeleteFunc(slices.Clone(n.Claims), func(id ClaimID) bool { return id == e.ID })
	delete(s.Claims, e.ID)
	s.touch(claimRecord(e.ID), nameRecord(n.Norm))
	stop, drop := Stop{c.ID}, Drop{c.ID, c.Number}
	if len(rest) == 0 {
		delete(s.Names, n.Norm)
		return []Effect{Withdraw{n.Norm}, stop, drop}
	}
	next := s.Claims[rest[0]]
	s.Names[n.Norm] = &Name{Norm: n.Norm, Text: next.Name, Claims: rest}
	if !wasHead {
		return []Effect{stop, drop}
	}
	// The name shows the next claim before the old content goes from the store.
	return []Effect{stop, Stop{next.ID}, Follow{next.ID}, Publish{n.Norm, next.ID}, drop}
}

// update puts a changed copy in the claim's place, unless nothing changes.
func (s *State) update(id ClaimID, change func(*Claim)) {
	old := s.Claims[id]
	c := *old
	if change(&c); c != *old {
		s.Claims[id] = &c
		s.touch(claimRecord(id))
	}
}

// knows refuses what is about a claim that is not there.
func (s *State) knows(id ClaimID) error {
	if s.Claims[id] == nil {
		return refuse(KindNotFound, "there is no claim %q", id)
	}
	return nil
}

// below tells whether one normal form is a proper descendant of the other. In
// a normal form a bare comma is always a separator, so the text says it.
func below(norm, base string) bool { return strings.HasSuffix(norm, ","+base) }

func (s *State) touch(records ...string) {
	if s.changed == nil {
		s.changed = make(map[string]bool, len(records))
	}
	for _, r := range records {
		s.changed[r] = true
	}
}
