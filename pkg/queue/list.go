package queue

// List is one list subscription: a search whose found entries are members, each
// of which lays a claim on every name that it expands to. Like a Claim it is
// replaced, never changed.
type List struct {
	ID     string `json:"id"`     // the subscription's
	Next   uint32 `json:"next"`   // N of the next claim ID/N; never used again
	Good   bool   `json:"good"`   // a refresh of the search completed
	Online bool   `json:"online"` // the last link fact
	Reason string `json:"reason,omitempty"`
}

// Member is one found entry, known by its UUID. Replaced, never changed.
type Member struct {
	List   string        `json:"list"`
	Entry  string        `json:"entry"` // entryUUID, in its text form
	DN     string        `json:"dn"`    // remote, as sent: the remote base of its claims
	Claims []MemberClaim `json:"claims,omitempty"`
	// Problems says why names were not made, in words (R20).
	Problems []string `json:"problems,omitempty"`
}

// MemberClaim is one name that the entry expands to. The claim itself may stand
// on another name, when an operator renamed it.
type MemberClaim struct {
	Claim      ClaimID `json:"claim"`
	Norm       string  `json:"norm"` // of the expanded name
	Suppressed bool    `json:"suppressed,omitempty"`
}

// FoundName is a name that a found entry expands to.
type FoundName struct {
	Name string `json:"name"` // absolute
	Norm string `json:"norm"`
}

// ListAdded: a list subscription begins, with no members.
type ListAdded struct {
	ID string `json:"id"`
}

// ListRemoved: it ends, and its claims go (R16).
type ListRemoved struct {
	ID string `json:"id"`
}

// ListRefreshed: a refresh of the list's search completed; its members are those found.
type ListRefreshed struct {
	ID string `json:"id"`
}

// ListLinkChanged: the list's server answers, or does not and Reason says why.
type ListLinkChanged struct {
	ID     string `json:"id"`
	Online bool   `json:"online"`
	Reason string `json:"reason"`
}

// EntryFound: the list's search found an entry, or found it changed (R18 to R21). Names
// that are new add claims ID/N, names that went remove theirs; when one went
// and one came the claim moves, with number and content. Another DN reloads
// what stays. Suppressed names stay suppressed.
type EntryFound struct {
	List     string      `json:"list"`
	Entry    string      `json:"entry"`
	DN       string      `json:"dn"`
	Names    []FoundName `json:"names,omitempty"`
	Problems []string    `json:"problems,omitempty"`
}

// EntryLost: the entry is not found any more; its claims go.
type EntryLost struct {
	List  string `json:"list"`
	Entry string `json:"entry"`
}

// ClaimSuppressed: the operator wants no claim of this found entry on this name,
// until it is lifted or the entry goes (R23). Refused for a tree's claim.
type ClaimSuppressed struct {
	ID ClaimID `json:"id"`
}

// ClaimLifted ends a suppression: the claim joins the end of its queue, under its
// old id and a new number.
type ClaimLifted struct {
	ID ClaimID `json:"id"`
}

// ClaimMoved: the claim stands on another name, with number and content; it joins
// the end of a queue that is there. Refused onto itself in the same spelling, below its own name, outside
// the base (R27).
type ClaimMoved struct {
	ID   ClaimID `json:"id"`
	Name string  `json:"name"` // absolute
	Norm string  `json:"norm"`
}

func (ListAdded) event() string       { return "list-added" }
func (ListRemoved) event() string     { return "list-removed" }
func (ListRefreshed) event() string   { return "list-refreshed" }
func (ListLinkChanged) event() string { return "list-link-changed" }
func (EntryFound) event() string      { return "entry-found" }
func (EntryLost) event() string       { return "entry-lost" }
func (ClaimSuppressed) event() string { return "claim-suppressed" }
func (ClaimLifted) event() string     { return "claim-lifted" }
func (ClaimMoved) event() string      { return "claim-moved" }

// FollowList: keep a session on the list's search.
type FollowList struct{ List string }

// StopList: end it.
type StopList struct{ List string }

// Move: the claim's name is now To; content that was published under From moves
// along. It comes first of the effects of a move; Withdraw or Publish of From, and
// Publish of To or Probe, follow it.
type Move struct {
	Claim    ClaimID
	From, To string // normal forms
}

// Reload: the claim's remote base is another: its cookie is void, its content is
// loaded in full again; what is served stays until that is complete.
type Reload struct{ Claim ClaimID }

func (FollowList) effect() {}
func (StopList) effect()   {}
func (Move) effect()       {}
func (Reload) effect()     {}
