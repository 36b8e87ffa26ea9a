package queue

import "slices"

// Switched: an operator puts a claim that waits in the head's place, and the head
// first among those that wait (R28). Whoever says so has seen to it that the claim's
// content is there; without content it is refused, unless it is Forced.
type Switched struct {
	ID     ClaimID `json:"id"`
	Forced bool    `json:"forced,omitempty"`
}

func (Switched) event() string { return "switched" }

func (s *State) checkSwitch(e Switched) error {
	if err := s.knows(e.ID); err != nil {
		return err
	}
	c := s.Claims[e.ID]
	n := s.Names[c.Norm]
	switch {
	case n.Head() == e.ID:
		return refuse(KindIsHead, "%q is the head of %q already", e.ID, n.Text)
	case !c.Good && !e.Forced:
		return refuse(KindNoContent, "%q has no content: a switch to it would leave %q empty", e.ID, n.Text)
	}
	return nil
}

func (s *State) swap(c *Claim) []Effect {
	n := s.Names[c.Norm]
	was := n.Head()
	rest := slices.DeleteFunc(slices.Clone(n.Claims), func(id ClaimID) bool { return id == c.ID })
	s.setQueue(n.Norm, slices.Insert(rest, 0, c.ID))
	return append([]Effect{Stop{was}, Probe{was}}, promote(c)...)
}
