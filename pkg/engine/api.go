package engine

import (
	"context"
	"errors"

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

// Resynced is the outcome of a resync; of its dry run, which compares entryUUID and entryCSN
// by a plain search and changes nothing, an audit.
type Resynced struct {
	DN       string        `json:"dn"`
	Claim    queue.ClaimID `json:"claim"`
	Audited  bool          `json:"audited"`
	Same     int           `json:"same"`
	Missing  []string      `json:"missing"` // remote DNs that are not here; at most 100 of each
	Surplus  []string      `json:"surplus"` // that are here and not there
	Differ   []string      `json:"differ"`  // with another entryCSN or another DN
	Counts   [3]int        `json:"counts"`  // of missing, surplus, differ
	Warnings []string      `json:"warnings"`
	Task     uint64        `json:"task,omitempty"`
	DryRun   bool          `json:"dry_run,omitempty"`
}

var errNotBuilt = errors.New("not built")

// ResyncName loads a name's head again in full; its dry run is an audit.
func (e *Engine) ResyncName(ctx context.Context, dn string, dryRun bool) (*Resynced, error) {
	return nil, errNotBuilt
}
