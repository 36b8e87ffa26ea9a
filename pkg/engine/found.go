package engine

import (
	"shaft/pkg/queue"
)

// Found is what a list makes of one found entry.
type Found struct {
	Entry    string      `json:"entry"` // entryUUID
	DN       string      `json:"dn"`    // remote
	Names    []FoundName `json:"names"`
	Problems []string    `json:"problems,omitempty"` // why names are not made (R20)
}

// FoundName is one name of a found entry.
type FoundName struct {
	Name       string        `json:"name"`
	Claim      queue.ClaimID `json:"claim,omitempty"` // none in a dry run
	Outcome    string        `json:"outcome"`         // appears, clashes, suppressed, fails
	Detail     string        `json:"detail,omitempty"`
	Suppressed bool          `json:"suppressed,omitempty"`
}
