package engine

import (
	"context"
	"errors"

	"shaft/pkg/queue"
)

var errNotBuilt = errors.New("not built yet")

// Difference is what a switch would change in what is served (R29).
type Difference struct {
	DN      string            `json:"dn"`
	Head    queue.ClaimID     `json:"head"`
	Claim   queue.ClaimID     `json:"claim"`
	Added   int               `json:"added"` // entries
	Changed int               `json:"changed"`
	Removed int               `json:"removed"`
	Same    int               `json:"same"`
	Entries []EntryDifference `json:"entries,omitempty"` // by DN, parents first; at most MaxDifferences
	More    int               `json:"more,omitempty"`    // that Entries leaves out
	Task    uint64            `json:"task,omitempty"`
}

// MaxDifferences is how many entries a Difference names.
const MaxDifferences = 1000

// EntryDifference is one entry that differs.
type EntryDifference struct {
	DN         string                `json:"dn"`
	What       string                `json:"what"`                 // "added", "changed" or "removed"
	Attributes []AttributeDifference `json:"attributes,omitempty"` // of a changed one
}

// AttributeDifference is an attribute whose values differ. Values that are no text
// are given in base64, behind "base64:", as are those that begin so.
type AttributeDifference struct {
	Name    string   `json:"name"`
	Removed []string `json:"removed,omitempty"` // values that only the head has
	Added   []string `json:"added,omitempty"`   // that only the claim has
}

// QueueDiff fetches a waiting claim's full content aside and compares it with what the
// name dn shows (R29). Nothing that is served changes.
func (e *Engine) QueueDiff(ctx context.Context, dn string, claim queue.ClaimID) (*Difference, error) {
	return nil, errNotBuilt
}
