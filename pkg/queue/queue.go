// Package queue is the core: who claims which name, in what order, and what
// must happen next. It decides and does nothing else: no time, no disk, no
// network, no goroutines, no logs. Facts and commands come in as events, what
// is to be done goes out as effects (like raft's Ready).
//
//	effects, err := queue.Apply(state, event)
//
// Apply validates first and changes then: after an error the state is as it
// was, byte for byte. It is deterministic; the journal of events, replayed on
// an empty State, gives the stored one as long as normal forms stay what they are
// (see Renorm).
//
// The order of a queue is the operators' alone. What comes from upstream, that
// a server is down or that a refresh completed, is noted and moves nothing. A
// list's search adds and removes claims: to the end of queues, and out of them.
//
// A tree's subscription has one claim, which bears its id. A list's has members,
// the entries that its search finds, and a claim ID/N for each name that each of
// them expands to; what an operator suppressed is remembered with the member,
// and is no claim. What was decided of a claim before the entry is found is a wish. A name that comes from a server and cannot be is the member's
// problem, in words, never a refusal of the rest.
package queue

// ClaimID names a claim: the subscription's id for a tree, ID/N for a list's.
type ClaimID string

// Claim is one subtree's claim on a local name. Apply never changes a Claim
// that it has put into a State, it puts another in its place: whoever got one
// may keep it and read it while events go on.
type Claim struct {
	ID           ClaimID `json:"id"`
	Number       uint32  `json:"number"` // of its content in the store; never used again
	Subscription string  `json:"subscription"`
	Name         string  `json:"name"`             // the DN as given, absolute
	Norm         string  `json:"norm"`             // its normal form: what queues are keyed by
	Good         bool    `json:"good"`             // a refresh completed: there is last-known-good content
	Online       bool    `json:"online"`           // the last link fact
	Reason       string  `json:"reason,omitempty"` // why it is down, in words; empty before the first link fact
	Entry        string  `json:"entry,omitempty"`  // of a list's claim: the found entry's UUID
	Base         string  `json:"base,omitempty"`   // of a list's claim: its remote base, the found entry's DN
	Reload       bool    `json:"reload,omitempty"` // Base changed since the last refresh that completed: its cookie is void
	// Renamed: of a list's claim: an operator gave it its name, and no template takes it away (R21, R27).
	Renamed bool `json:"renamed,omitempty"`
	Held    Hold `json:"held,omitzero"` // a refresh that was not taken (R36)
}

// Name is one published name with its queue, head first. Never empty. Like a
// Claim it is replaced, never changed.
type Name struct {
	Norm   string    `json:"norm"`
	Text   string    `json:"text"` // as the head gave it
	Claims []ClaimID `json:"claims"`
}

// Head is the claim whose content the name shows.
func (n *Name) Head() ClaimID { return n.Claims[0] }

// State is everything decided so far. Only Apply and Renorm change it.
type State struct {
	BaseNorm string // "" until set
	BaseText string // the base DN as given
	Claims   map[ClaimID]*Claim
	Names    map[string]*Name              // by Norm
	Lists    map[string]*List              // by their subscriptions' ids
	Members  map[string]map[string]*Member // by list, each of which has a map, then by the entry's UUID
	Wishes   map[string]map[string]*Wish   // by list, no empty map among them, then by the entry's UUID
	Lingers  map[string]*Linger            // by Norm
	Next     uint32                        // next claim number; the first is 1

	changed map[string]bool // names of the records that the last Apply or Renorm touched
}

// NewState is the state before the first event: no base, no claims.
func NewState() *State {
	return &State{
		Claims: make(map[ClaimID]*Claim),
		Names:  make(map[string]*Name),
		Lists:  make(map[string]*List), Members: make(map[string]map[string]*Member),
		Wishes:  make(map[string]map[string]*Wish),
		Lingers: make(map[string]*Linger),
		Next:    1,
	}
}
