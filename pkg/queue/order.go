package queue

import "slices"

// QueueMoved: the operator puts a claim that waits at another place of its queue
// (R27). The first that waits has position 1; those in between make room.
// Refused for the head, for the head's place, and for one that is not there:
// who is the head is a switch's business.
type QueueMoved struct {
	ID       ClaimID `json:"id"`
	Position int     `json:"position"`
}

func (QueueMoved) event() string { return "queue-moved" }

func (s *State) checkPlace(e QueueMoved) error {
	if err := s.knows(e.ID); err != nil {
		return err
	}
	n := s.Names[s.Claims[e.ID].Norm]
	at, last := slices.Index(n.Claims, e.ID), len(n.Claims)-1
	switch {
	case at == 0:
		return refuse(KindIsHead, "%q is the head of %q: changing the head is a switch to another claim, which checks that claim's content first",
			e.ID, n.Text)
	case e.Position == 0:
		return refuse(KindIsHead, "position 0 of %q is the head's, %q: changing the head is a switch, which checks the content of %q first; those that wait have the positions 1 to %d",
			n.Text, n.Head(), e.ID, last)
	case e.Position < 0 || e.Position > last:
		return refuse(KindInvalid, "the queue of %q has no position %d: those that wait have the positions 1 to %d", n.Text, e.Position, last)
	case e.Position == at:
		return refuse(KindSamePlace, "%q stands at position %d of the queue of %q already", e.ID, at, n.Text)
	}
	return nil
}

// place puts a claim at a position of its queue. All that wait are probed, so that nothing
// follows from it.
func (s *State) place(e QueueMoved) {
	n := s.Names[s.Claims[e.ID].Norm]
	rest := slices.DeleteFunc(slices.Clone(n.Claims), func(id ClaimID) bool { return id == e.ID })
	s.setQueue(n.Norm, slices.Insert(rest, e.Position, e.ID))
}
