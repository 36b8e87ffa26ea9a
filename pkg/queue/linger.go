package queue

import (
	"fmt"
	"maps"
	"slices"
)

// Linger is the content of a head that was removed while others waited: the name
// shows it until the next one's content is there, or the time for that is over
// (R30). Whoever shows content says so with LingerEnded.
type Linger struct {
	Norm         string  `json:"norm"`
	Name         string  `json:"name"`  // as the claim spelt it
	Claim        ClaimID `json:"claim"` // that it was of; another may bear the id by now
	Number       uint32  `json:"number"`
	Subscription string  `json:"subscription"`
}

// LingerEnded: the name shows the content of a removed head no more. Refused where
// it shows none.
type LingerEnded struct {
	Norm string `json:"norm"`
}

func (LingerEnded) event() string { return "linger-ended" }

// Lasting: the name goes on showing the content of a claim that was removed, until
// LingerEnded.
type Lasting struct {
	Norm   string
	Claim  ClaimID
	Number uint32
}

func (Lasting) effect() {}

func (s *State) checkLingerEnded(e LingerEnded) error {
	if s.Lingers[e.Norm] == nil {
		return refuse(KindNotFound, "the name %q shows no content of a claim that was removed", e.Norm)
	}
	return nil
}

// outlast keeps the content of a head that goes, if it has any and the name does
// not show that of an earlier one still; else it is dropped.
func (s *State) outlast(c *Claim) Effect {
	if !c.Good || s.Lingers[c.Norm] != nil {
		return Drop{c.ID, c.Number}
	}
	s.Lingers[c.Norm] = &Linger{Norm: c.Norm, Name: c.Name, Claim: c.ID, Number: c.Number, Subscription: c.Subscription}
	s.touch(lingerRecord(c.Norm))
	return Lasting{c.Norm, c.ID, c.Number}
}

// endLinger drops what a name shows of a claim that was removed, if it does.
func (s *State) endLinger(norm string) []Effect {
	l := s.Lingers[norm]
	if l == nil {
		return nil
	}
	delete(s.Lingers, norm)
	s.touch(lingerRecord(norm))
	return []Effect{Drop{l.Claim, l.Number}}
}

// renormLingers takes what lingers along to the normal forms of today, with the heads
// that it stands in for. Where its own text is another name by now, or the head
// waits behind another one, it goes: its place is not its own any more.
func (s *State) renormLingers(was *State, norm func(text string) (string, error)) error {
	s.Lingers = make(map[string]*Linger, len(was.Lingers))
	for old, l := range was.Lingers {
		to, err := norm(l.Name)
		if err != nil {
			return fmt.Errorf("the name %q that the removed claim %q had: %w", l.Name, l.Claim, err)
		}
		head := was.Names[old].Head()
		if s.Claims[head].Norm != to || s.Names[to].Head() != head {
			continue
		}
		if to != old {
			moved := *l
			moved.Norm, l = to, &moved
		}
		s.Lingers[to] = l
	}
	return nil
}

// checkLingers looks at what is shown of claims that were removed. Their numbers are
// nobody else's.
func (s *State) checkLingers() error {
	numbers := make(map[uint32]ClaimID, len(s.Lingers))
	for _, norm := range slices.Sorted(maps.Keys(s.Lingers)) {
		l := s.Lingers[norm]
		switch {
		case l.Norm != norm || l.Claim == "" || l.Name == "" || l.Subscription == "" || !valid(norm, l.Name, string(l.Claim), l.Subscription):
			return fmt.Errorf("what is shown of a removed claim under %q calls itself %q, of %q", norm, l.Norm, l.Claim)
		case s.Names[norm] == nil:
			return fmt.Errorf("content of the removed claim %q is shown under %q, and there is no such name", l.Claim, norm)
		case l.Number == 0 || l.Number >= s.Next:
			return fmt.Errorf("the removed claim %q has the number %d, and the next is %d", l.Claim, l.Number, s.Next)
		case numbers[l.Number] != "":
			return fmt.Errorf("the removed claims %q and %q both have the number %d", numbers[l.Number], l.Claim, l.Number)
		}
		numbers[l.Number] = l.Claim
	}
	return nil
}
