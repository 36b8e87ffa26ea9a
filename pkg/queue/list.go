package queue

import "slices"

// List is one list subscription: a search whose found entries are members, each
// of which lays a claim on every name that it expands to. Like a Claim it is
// replaced, never changed.
type List struct {
	ID     string `json:"id"`     // the subscription's
	Next   uint32 `json:"next"`   // N of the next claim ID/N; never used again
	Names  int    `json:"names"`  // that its members expand to, those suppressed included
	Good   bool   `json:"good"`   // a refresh of the search completed
	Online bool   `json:"online"` // the last link fact
	Reason string `json:"reason,omitempty"`
	Held   Hold   `json:"held,omitzero"` // a refresh that was not taken (R36)
}

// Member is one found entry, known by its UUID. Replaced, never changed.
type Member struct {
	List   string        `json:"list"`
	Entry  string        `json:"entry"`            // entryUUID, in its text form
	DN     string        `json:"dn"`               // remote, as sent: the remote base of its claims
	Claims []MemberClaim `json:"claims,omitempty"` // oldest first
	// Problems says why names were not made, in words (R20).
	Problems []string `json:"problems,omitempty"`
}

// claim gives the name that one of the member's claims is made for.
func (m *Member) claim(id ClaimID) MemberClaim {
	return m.Claims[slices.IndexFunc(m.Claims, func(mc MemberClaim) bool { return mc.Claim == id })]
}

// MemberClaim is one name that the entry expands to. The claim itself may stand
// on another name, or spell it otherwise, when an operator renamed it.
type MemberClaim struct {
	Claim      ClaimID `json:"claim"`
	Name       string  `json:"name"` // the expanded name, absolute
	Norm       string  `json:"norm"` // its normal form
	Suppressed bool    `json:"suppressed,omitempty"`
}

// FoundName is a name that a found entry expands to.
type FoundName struct {
	Name string `json:"name"` // absolute
	Norm string `json:"norm"`
}

// Bounds of what a list brings. The store takes about a megabyte and 4,000 records
// at once, and events go together: the records that EntryFound or EntryLost
// changes and its journal line are less than 3,000 and 768 KiB, unless many of
// the queues are long. ListRemoved has no such bound: where a list has many
// members, or wishes, they are to be taken back before.
const (
	MaxNames   = 550     // of one entry; more are a problem of it. All may be replaced by as many others at once
	MaxMembers = 100_000 // of one list; more are refused. And names of all of them
	MaxQueue   = 1_000   // claims on one name, as each that joins writes the queue anew

	maxEntryBytes = 560 << 10 // of the records of one entry's names, roughly
	nameBytes     = 480       // of what a name takes there beyond texts
	maxDN         = 8 << 10   // of a found entry's DN
	maxProblems   = 30        // lines kept for one entry
	maxProblem    = 300       // bytes of each
)

// ListAdded: a list subscription begins, with no members. Refused where a list
// or a tree has the id, or it holds a "/".
type ListAdded struct {
	ID string `json:"id"`
}

// ListRemoved: it ends, its claims go (R16), and what was wished of them.
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
// and one came the claim moves, with number and content, unless that would be
// below itself. Where an operator renamed a claim, the template's word changes
// nothing but what the member remembers. Another DN reloads what stays.
// Suppressed names stay suppressed. What was wished of a new name is granted. A name that cannot be is no refusal: it
// becomes one of the member's problems, and the others go on.
type EntryFound struct {
	List     string      `json:"list"`
	Entry    string      `json:"entry"`
	DN       string      `json:"dn"`
	Names    []FoundName `json:"names,omitempty"`
	Problems []string    `json:"problems,omitempty"`
}

// EntryLost: the entry is not found any more; its claims go, and what was wished of them.
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

// ClaimMoved: the operator puts the claim on another name, with number and
// content; it joins the end of a queue that is there. Refused onto itself in the
// same spelling, below its own name, outside the base (R27).
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
