package queue

import (
	"maps"
	"slices"
)

// Effect is something to be done, after the state is durable. Doing one twice is harmless.
type Effect interface{ effect() }

// Follow: keep a full session on the claim's source.
type Follow struct{ Claim ClaimID }

// Probe: only ask whether the claim's source is there (R32).
type Probe struct{ Claim ClaimID }

// Stop: neither follow nor probe.
type Stop struct{ Claim ClaimID }

// Drop: remove the claim's content from the store.
type Drop struct {
	Claim  ClaimID
	Number uint32
}

// Publish: the name is to show the claim's content from now on (nothing while it
// has none).
type Publish struct {
	Norm  string
	Claim ClaimID
}

// Withdraw: the name is to go from the tree.
type Withdraw struct{ Norm string }

// FollowList: keep a session on the list's search.
type FollowList struct{ List string }

// StopList: end it.
type StopList struct{ List string }

// Move: the claim's name is now To; content that was published under From moves
// along. Only the spelling is another where both are the same. It comes first of the
// effects of a move; Withdraw or Publish of From, and Publish of To or Probe, follow it.
type Move struct {
	Claim    ClaimID
	From, To string // normal forms
}

// Reload: the remote base of a claim that is followed is another: its cookie is
// void, its content is loaded in full again; what is served stays until that is
// complete.
type Reload struct{ Claim ClaimID }

func (Follow) effect()   {}
func (Probe) effect()    {}
func (Stop) effect()     {}
func (Drop) effect()     {}
func (Publish) effect()  {}
func (Withdraw) effect() {}

func (FollowList) effect() {}
func (StopList) effect()   {}
func (Move) effect()       {}
func (Reload) effect()     {}

// follow gives the effects that begin to follow a claim.
func follow(c *Claim) []Effect {
	if c.Reload {
		return []Effect{Follow{c.ID}, Reload{c.ID}}
	}
	return []Effect{Follow{c.ID}}
}

// promote gives the effects that make a claim that was probed the head.
func promote(c *Claim) []Effect {
	out := append([]Effect{Stop{c.ID}}, follow(c)...)
	return append(out, Publish{c.Norm, c.ID})
}

// Resume lists every effect that is due in this state, as after a restart:
// name by name in the order of their normal forms, heads followed and
// published, waiting claims probed; then content that lasts, then the lists, by their ids. Content of
// claims that are gone is not named here but where it lasts; whoever keeps it drops what
// neither State.Claims nor State.Lingers has.
func Resume(s *State) []Effect {
	var out []Effect
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		n := s.Names[norm]
		out = append(append(out, follow(s.Claims[n.Head()])...), Publish{norm, n.Head()})
		for _, id := range n.Claims[1:] {
			out = append(out, Probe{id})
		}
	}
	for _, norm := range slices.Sorted(maps.Keys(s.Lingers)) {
		l := s.Lingers[norm]
		out = append(out, Lasting{norm, l.Claim, l.Number})
	}
	for _, id := range slices.Sorted(maps.Keys(s.Lists)) {
		out = append(out, FollowList{id})
	}
	return out
}
