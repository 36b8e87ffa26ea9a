package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// Document is what export prints and apply takes: all that operators entered (R54).
type Document struct {
	Subscriptions []Subscription `json:"subscriptions"` // in the order of their claims
}

// Fault is one thing that is wrong with a document.
type Fault struct {
	Subscription string `json:"subscription,omitempty"` // none where the document itself is wrong
	Field        string `json:"field,omitempty"`        // by its name in JSON, "source.filter"
	Reason       string `json:"reason"`                 // in words
}

// Faults is why a document was refused: all that is wrong with it, in the
// document's order. Nothing has changed.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (f Fault) String() string {
	text := f.Reason
	if f.Field != "" {
		text = f.Field + ": " + text
	}
	if f.Subscription != "" {
		text = fmt.Sprintf("subscription %.200q: %s", f.Subscription, text)
	}
	return text
}

// Applied is the outcome of an apply: all of it, or nothing of it.
type Applied struct {
	Added     []string `json:"added"`
	Changed   []string `json:"changed"`
	Removed   []string `json:"removed"`
	Unchanged []string `json:"unchanged"`
	Warnings  []string `json:"warnings"`
	Task      uint64   `json:"task,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
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

// Export gives all that operators entered.
func (e *Engine) Export(ctx context.Context) (*Document, error) { return nil, errNotBuilt }

// Apply makes the subscriptions those of the document: all, or none where one is
// wrong; the error is Faults then, all of them. What the document lacks stays, unless prune.
func (e *Engine) Apply(ctx context.Context, d Document, prune, dryRun bool) (*Applied, error) {
	return nil, errNotBuilt
}

// ResyncName loads a name's head again in full; its dry run is an audit.
func (e *Engine) ResyncName(ctx context.Context, dn string, dryRun bool) (*Resynced, error) {
	return nil, errNotBuilt
}

// RemoveName removes the head's subscription if it is a tree, and suppresses the
// claim if it is a list's (R23).
func (e *Engine) RemoveName(ctx context.Context, dn string, dryRun bool) (*Removed, error) {
	return nil, errNotBuilt
}
