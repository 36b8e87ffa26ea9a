// Package queue is the core: who claims which name, in what order, and what
// must happen next. It decides and does nothing else: no time, no disk, no
// network, no goroutines, no logs. Facts and commands come in as events, what
// is to be done goes out as effects (like raft's Ready).
//
//	effects, err := queue.Apply(state, event)
//
// Apply validates first and changes then: after an error the state is as it
// was, byte for byte. It is deterministic; the journal of events, replayed on
// an empty State, gives the stored one.
package queue

// ClaimID names a claim: the subscription's id for a tree, ID/N for a list's.
type ClaimID string

// Claim is one subtree's claim on a local name.
type Claim struct {
	ID           ClaimID `json:"id"`
	Number       uint32  `json:"number"` // of its content in the store; never used again
	Subscription string  `json:"subscription"`
	Name         string  `json:"name"`             // the DN as given, absolute
	Norm         string  `json:"norm"`             // its normal form: what queues are keyed by
	Good         bool    `json:"good"`             // a refresh completed: there is last-known-good content
	Online       bool    `json:"online"`           // the last link fact
	Reason       string  `json:"reason,omitempty"` // why it is down, in words
}

// Name is one published name with its queue, head first. Never empty.
type Name struct {
	Norm   string    `json:"norm"`
	Text   string    `json:"text"` // as the head gave it
	Claims []ClaimID `json:"claims"`
}

// State is everything decided so far. Only Apply changes it.
type State struct {
	BaseNorm string // "" until set
	Claims   map[ClaimID]*Claim
	Names    map[string]*Name // by Norm
	Next     uint32           // next claim number
}

func NewState() *State { panic("todo") }

// Event is a fact or a command. Events have a JSON form for the journal:
// {"event":"claim-added", …}; see EncodeEvent.
type Event interface{ event() string }

// BaseSet: the base DN is known. Refused when names are stored under another.
type BaseSet struct{ Norm, Text string }

// ClaimAdded: a subscription lays claim to a name; the claim joins the end of its queue (R24).
// Refused when the id is taken, the name is not below the base, or is the base.
type ClaimAdded struct {
	ID           ClaimID
	Subscription string
	Name, Norm   string
}

// ClaimRemoved: the claim goes (R16, R31); the next in the queue is promoted.
type ClaimRemoved struct{ ID ClaimID }

// Refreshed: a refresh of the claim completed; its content is durable.
type Refreshed struct{ ID ClaimID }

// LinkChanged: the claim's server answers, or does not.
type LinkChanged struct {
	ID     ClaimID
	Online bool
	Reason string
}

// Effect is something to be done, after the state is durable. Doing one twice is harmless.
type Effect interface{ effect() }

// Follow: keep a full session on the claim's source. Probe: only ask whether it is
// there. Stop: neither. Drop: remove its content from the store.
type Follow struct{ Claim ClaimID }
type Probe struct{ Claim ClaimID }
type Stop struct{ Claim ClaimID }
type Drop struct {
	Claim  ClaimID
	Number uint32
}

// Publish: the name is to show the claim's content from now on (nothing while it
// has none). Withdraw: the name is to go from the tree.
type Publish struct {
	Norm  string
	Claim ClaimID
}
type Withdraw struct{ Norm string }

// Refusal is why a command was not done; nothing has changed. Reason is for
// the operator, Kind for code: "exists", "not-found", "outside-base", "no-base", "is-base", "base-fixed".
type Refusal struct{ Kind, Reason string }

func (r *Refusal) Error() string { return r.Reason }

// Apply takes one event. The effects are in the order in which they are to be done.
func Apply(s *State, e Event) ([]Effect, error) { panic("todo") }

// Resume lists every effect that is due in this state, as after a restart.
func Resume(s *State) []Effect { panic("todo") }

// Dirty lists the records that the last Apply changed, for the store: names as
// Records gives them. A record that is gone has a nil value.
func Dirty(s *State, e Event) map[string][]byte { panic("todo") }

// Records gives the whole state as named records (base, next, claim/ID,
// name/NORM), and Load reads it back; unknown or inconsistent records are errors.
func Records(s *State) map[string][]byte             { panic("todo") }
func Load(records map[string][]byte) (*State, error) { panic("todo") }

// EncodeEvent and DecodeEvent are the journal's form.
func EncodeEvent(e Event) ([]byte, error) { panic("todo") }
func DecodeEvent(b []byte) (Event, error) { panic("todo") }

// Overlaps lists the pairs of names of which one lies inside the other (R7):
// outer norm, inner norm, sorted.
func Overlaps(s *State) [][2]string { panic("todo") }

// Check verifies the invariants: each claim in one queue, no empty queues,
// numbers unique and below Next, norms under the base.
func Check(s *State) error { panic("todo") }
