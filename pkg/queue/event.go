package queue

import "fmt"

// Event is a fact or a command. Events have a JSON form for the journal:
// {"event":"claim-added", …}; see EncodeEvent.
type Event interface{ event() string }

// BaseSet: the base DN is known. Refused when names are stored under another;
// the same one again changes at most its spelling.
type BaseSet struct {
	Norm string `json:"norm"`
	Text string `json:"text"`
}

// ClaimAdded: a tree's subscription lays claim to a name; the claim joins the end of its queue (R24).
// Refused when the id is taken or holds a "/", the name is not below the base, or is the base.
type ClaimAdded struct {
	ID           ClaimID `json:"id"`
	Subscription string  `json:"subscription"` // the same as ID
	Name         string  `json:"name"`         // absolute, as given
	Norm         string  `json:"norm"`
}

// ClaimRemoved: a tree's claim goes (R16, R31); if it was the head, the next in the
// queue is promoted, whether or not its server answers (R30). Refused for a
// list's claim, see ClaimSuppressed.
type ClaimRemoved struct {
	ID ClaimID `json:"id"`
}

// Refreshed: a refresh of the claim completed; its content is durable.
type Refreshed struct {
	ID ClaimID `json:"id"`
}

// LinkChanged: the claim's server answers, or does not and Reason says why.
type LinkChanged struct {
	ID     ClaimID `json:"id"`
	Online bool    `json:"online"`
	Reason string  `json:"reason"`
}

func (BaseSet) event() string      { return "base-set" }
func (ClaimAdded) event() string   { return "claim-added" }
func (ClaimRemoved) event() string { return "claim-removed" }
func (Refreshed) event() string    { return "refreshed" }
func (LinkChanged) event() string  { return "link-changed" }

// The kinds of a Refusal.
const (
	KindExists      = "exists"       // the id is taken
	KindNotFound    = "not-found"    // there is no such claim, list or entry
	KindOutsideBase = "outside-base" // the name is not below the base DN (R3)
	KindNoBase      = "no-base"      // no base DN is set (R1)
	KindIsBase      = "is-base"      // the name is the base DN itself
	KindBaseFixed   = "base-fixed"   // names are stored under another base DN (R1)
	KindInvalid     = "invalid"      // a field is empty or not UTF-8, or the claim is not of that sort
	KindExhausted   = "exhausted"    // every claim number has been used
	KindOfList      = "of-list"      // the claim is a list's: it is suppressed, not removed
	KindSameName    = "same-name"    // the claim stands there already, in that spelling (R27)
	KindBelowItself = "below-itself" // the name lies below the claim's own (R27)
	KindTooMany     = "too-many"     // a list, or a queue, is full
	KindIsHead      = "is-head"      // the place of the head, which only a switch gives
	KindNoContent   = "no-content"   // nothing was fetched of the claim
	KindSamePlace   = "same-place"   // the claim stands at that position already
	KindStale       = "stale"        // the queue is not the one that the command was made for
)

// Refusal is why an event was not taken; nothing has changed. Reason is for
// the operator, Kind (one of the constants) for code.
type Refusal struct{ Kind, Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}
