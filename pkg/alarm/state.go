package alarm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is what is raised, acknowledged and about to be raised. An *Alarm or *Ack in it
// is replaced, never changed. The alarms in it say nothing of acknowledgements: see View.
type State struct {
	Alarms  map[string]*Alarm
	Acks    map[string]*Ack
	Serial  uint32               // the one that was given last
	pending map[string]time.Time // when candidates came that are not raised yet
}

// NewState has nothing raised.
func NewState() *State {
	return &State{Alarms: map[string]*Alarm{}, Acks: map[string]*Ack{}, pending: map[string]time.Time{}}
}

// Changes is what Next made of a state.
type Changes struct {
	Raised   []*Alarm
	Changed  []*Alarm // another cause, and so another generation
	Reworded []*Alarm // the same cause in other words
	Cleared  []*Alarm // as they were
	Acks     []string // ids whose acknowledgement has ended
}

// Any tells whether there is a change.
func (c *Changes) Any() bool {
	return len(c.Raised)+len(c.Changed)+len(c.Reworded)+len(c.Cleared)+len(c.Acks) > 0
}

// Next brings the state up to what was computed. wake is when it changes by itself, if nothing
// else does before: a candidate has lasted long enough, or an acknowledgement ends; zero
// where nothing waits.
func (s *State) Next(computed []Candidate, now time.Time) (ch Changes, wake time.Time) {
	there := make(map[string]bool, len(computed))
	for i := range computed {
		c := &computed[i]
		there[c.ID] = true
		if old := s.Alarms[c.ID]; old != nil {
			s.follow(old, c, &ch)
			continue
		}
		a, due := s.arise(c, now)
		if a == nil {
			wake = sooner(wake, due)
			continue
		}
		ch.Raised = append(ch.Raised, a)
	}
	s.clear(there, &ch)
	wake = sooner(wake, s.endAcks(now, &ch))
	for _, list := range [][]*Alarm{ch.Raised, ch.Changed, ch.Reworded, ch.Cleared} {
		slices.SortFunc(list, order)
	}
	for _, list := range [][]*Alarm{ch.Raised, ch.Changed} {
		for _, a := range list {
			s.number(a)
		}
	}
	return ch, wake
}

// number gives a new cause the next serial.
func (s *State) number(a *Alarm) {
	s.Serial++
	a.Serial, a.Text = s.Serial, fmt.Sprintf("#%d: %s", s.Serial, a.Cause)
}

// arise raises a candidate that has lasted long enough; else it says when that is.
func (s *State) arise(c *Candidate, now time.Time) (a *Alarm, due time.Time) {
	since, waits := s.pending[c.ID]
	if !waits || since.After(now) {
		since = now
	}
	if due = since.Add(c.Delay); due.After(now) {
		s.pending[c.ID] = since
		return nil, due
	}
	delete(s.pending, c.ID)
	a = &Alarm{
		ID: c.ID, Kind: c.Kind, Severity: c.Kind.Severity(), Name: c.Name, Subscription: c.Subscription,
		Since: since.UTC(), Cause: c.Cause, Fingerprint: c.Fingerprint, Generation: 1,
	}
	s.Alarms[c.ID] = a
	return a, due
}

// clear takes out what is not so any more.
func (s *State) clear(there map[string]bool, ch *Changes) {
	for id := range s.pending {
		if !there[id] {
			delete(s.pending, id)
		}
	}
	for id, a := range s.Alarms {
		if !there[id] {
			delete(s.Alarms, id)
			ch.Cleared = append(ch.Cleared, a)
		}
	}
}

// endAcks takes out acknowledgements whose cause is another by now, or whose time has come,
// and says when the next ends.
func (s *State) endAcks(now time.Time, ch *Changes) (next time.Time) {
	for id, ack := range s.Acks {
		a, forEver := s.Alarms[id], ack.Until.IsZero()
		switch {
		case a == nil && forEver, a != nil && a.Fingerprint != ack.Fingerprint, !forEver && !now.Before(ack.Until):
			ch.Acks = append(ch.Acks, id)
		case !forEver:
			next = sooner(next, ack.Until)
		}
	}
	slices.Sort(ch.Acks)
	for _, id := range ch.Acks {
		delete(s.Acks, id)
	}
	return next
}

// sooner gives the earlier of two times; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// follow brings a raised alarm up to what was computed.
func (s *State) follow(a *Alarm, c *Candidate, ch *Changes) {
	switch {
	case c.Vague && strings.HasPrefix(a.Fingerprint, c.Fingerprint):
		return
	case a.Cause == c.Cause && a.Fingerprint == c.Fingerprint && a.Name == c.Name && a.Subscription == c.Subscription:
		return
	}
	b := *a
	b.Name, b.Subscription, b.Cause = c.Name, c.Subscription, c.Cause
	if b.Fingerprint == c.Fingerprint {
		ch.Reworded = append(ch.Reworded, &b)
	} else {
		b.Fingerprint = c.Fingerprint
		b.Generation++
		ch.Changed = append(ch.Changed, &b)
	}
	s.Alarms[b.ID] = &b
}

// Acknowledged gives a raised alarm with what is known of its acknowledgement.
func (s *State) Acknowledged(a *Alarm) Alarm {
	out := *a
	if ack := s.Acks[a.ID]; ack != nil && ack.Fingerprint == a.Fingerprint {
		out.Acknowledged, out.Note, out.AcknowledgedBy, out.AcknowledgedAt = true, ack.Note, ack.Who, &ack.When
		if !ack.Until.IsZero() {
			out.Until = &ack.Until
		}
	}
	return out
}

// View lists what is raised, with acknowledgements, gravest first.
func (s *State) View() []Alarm {
	out := make([]Alarm, 0, len(s.Alarms))
	for _, a := range s.Alarms {
		out = append(out, s.Acknowledged(a))
	}
	slices.SortFunc(out, func(a, b Alarm) int { return order(&a, &b) })
	return out
}

// order is gravest first, then by kind and subject.
func order(a, b *Alarm) int {
	return cmp.Or(kinds[a.Kind].rank-kinds[b.Kind].rank, strings.Compare(a.Name, b.Name),
		strings.Compare(a.Subscription, b.Subscription), strings.Compare(a.ID, b.ID))
}

// SetAck gives an alarm an acknowledgement in the place of the one that it had; nil: none.
func (s *State) SetAck(id string, ack *Ack) {
	if ack == nil {
		delete(s.Acks, id)
		return
	}
	s.Acks[id] = ack
}
