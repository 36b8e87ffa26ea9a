package queue

import (
	"fmt"
	"strconv"
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
	switch e := asText(e).(type) {
	case BaseSet:
		s.setBase(e)
	case ClaimAdded:
		return s.enter(Claim{ID: e.ID, Subscription: e.Subscription, Name: e.Name, Norm: e.Norm}), nil
	case ClaimRemoved:
		return s.leave(s.Claims[e.ID]), nil
	case ClaimMoved:
		return s.move(e), nil
	case QueueMoved:
		s.place(e)
	case Switched:
		return s.swap(s.Claims[e.ID]), nil
	case LingerEnded:
		return s.endLinger(e.Norm), nil
	case Refreshed:
		s.update(e.ID, func(c *Claim) { c.Good, c.Reload, c.Held = true, false, Hold{} })
	case LinkChanged:
		s.update(e.ID, func(c *Claim) { c.Online, c.Reason = link(e.Online, e.Reason) })
	case RefreshHeld, HoldRejected, HoldEnded:
		s.hold(e)
	default:
		return s.applyList(e), nil
	}
	return nil, nil
}

// applyList takes the events of lists.
func (s *State) applyList(e Event) []Effect {
	switch e := e.(type) {
	case ListAdded:
		return s.addList(e.ID)
	case ListRemoved:
		return s.removeList(e.ID)
	case ListRefreshed:
		s.updateList(e.ID, func(l *List) { l.Good, l.Held = true, Hold{} })
	case ListLinkChanged:
		s.updateList(e.ID, func(l *List) { l.Online, l.Reason = link(e.Online, e.Reason) })
	case EntryFound:
		return s.find(e)
	case EntryLost:
		return s.lose(s.Members[e.List][e.Entry])
	case ClaimSuppressed:
		return s.suppress(s.Claims[e.ID])
	case ClaimLifted:
		return s.lift(e.ID)
	case EntryWished:
		s.wish(e)
	}
	return nil
}

// link gives the state of a link as it is kept: one that is up has no reason.
func link(online bool, reason string) (bool, string) {
	if online {
		return true, ""
	}
	return false, reason
}

// Refuses gives the error with which Apply would refuse the event now, or nil,
// and changes nothing. It is a *Refusal, but for events of an unknown type.
func Refuses(s *State, e Event) error {
	switch e := asText(e).(type) {
	case BaseSet:
		return s.checkBase(e)
	case ClaimAdded:
		return s.checkClaim(e)
	case ClaimRemoved:
		return s.checkRemove(e)
	case ClaimMoved:
		return s.checkMove(e)
	case QueueMoved:
		return s.checkPlace(e)
	case Switched:
		return s.checkSwitch(e)
	case LingerEnded:
		return s.checkLingerEnded(e)
	case Refreshed:
		return s.knows(e.ID)
	case LinkChanged:
		return s.knows(e.ID)
	case RefreshHeld:
		return s.checkHeld(e)
	case HoldRejected:
		return s.checkReject(e)
	case HoldEnded:
		return s.checkHold(e.Of)
	case ListAdded:
		return s.checkList(e.ID)
	case ListRemoved:
		return s.knowsList(e.ID)
	case ListRefreshed:
		return s.knowsList(e.ID)
	case ListLinkChanged:
		return s.knowsList(e.ID)
	case EntryFound:
		return s.checkFound(e)
	case EntryLost:
		return s.knowsEntry(e.List, e.Entry)
	case ClaimSuppressed:
		return s.checkSuppress(e.ID)
	case ClaimLifted:
		return s.checkLift(e.ID)
	case EntryWished:
		return s.checkWish(e)
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
	case e.Norm != s.BaseNorm && len(s.Lists) > 0:
		return refuse(KindBaseFixed, "the base DN is %q and lists place what they find below it: remove their subscriptions before making it %q",
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

func quote(text string) string { return strconv.Quote(text) }

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
