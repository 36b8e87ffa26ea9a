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

func (Follow) effect()   {}
func (Probe) effect()    {}
func (Stop) effect()     {}
func (Drop) effect()     {}
func (Publish) effect()  {}
func (Withdraw) effect() {}

// Resume lists every effect that is due in this state, as after a restart:
// name by name in the order of their normal forms, heads followed and
// published, waiting claims probed. Content of claims that are gone is not
// named here; whoever keeps it drops what State.Claims lacks.
func Resume(s *State) []Effect {
	var out []Effect
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		n := s.Names[norm]
		out = append(out, Follow{n.Head()}, Publish{norm, n.Head()})
		for _, id := range n.Claims[1:] {
			out = append(out, Probe{id})
		}
	}
	return out
}
