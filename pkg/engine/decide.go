package engine

import (
	"context"
	"errors"

	"shaft/pkg/queue"
)

// Renamed is the outcome of putting a claim on another name.
type Renamed struct {
	Claim    queue.ClaimID `json:"claim"`
	From     string        `json:"from"`     // the name that it was on
	To       string        `json:"to"`       // the name that it is on now
	Position int           `json:"position"` // in the queue of To; 0 is the head
	Effect   string        `json:"effect"`   // in words: what follows from it
	Warnings []string      `json:"warnings"`
	Revision uint64        `json:"revision"` // of the queue of To, as it is now
	Task     uint64        `json:"task,omitempty"`
	DryRun   bool          `json:"dry_run,omitempty"`
}

// Decided is the outcome of any other decision about one claim.
type Decided struct {
	Claim    queue.ClaimID   `json:"claim"`
	DN       string          `json:"dn"`     // the name that it is about
	Queue    []queue.ClaimID `json:"queue"`  // of the name from now on, head first; none where the name goes
	Effect   string          `json:"effect"` // in words: what follows from it
	Warnings []string        `json:"warnings"`
	Revision uint64          `json:"revision"` // of the queue, as it is now; 0 where the name goes
	Task     uint64          `json:"task,omitempty"`
	DryRun   bool            `json:"dry_run,omitempty"`
}

var errNotBuilt = errors.New("not built")

// RenameName puts a claim of the name dn on the name newDN; "" is the head (R27).
func (e *Engine) RenameName(ctx context.Context, dn, newDN string, claim queue.ClaimID, revision uint64, dryRun bool) (*Renamed, error) {
	return nil, errNotBuilt
}

// MoveInQueue puts a claim that waits at a position of its queue; the first that waits has position 1 (R27).
func (e *Engine) MoveInQueue(ctx context.Context, dn string, claim queue.ClaimID, position int, revision uint64, dryRun bool) (*Decided, error) {
	return nil, errNotBuilt
}

// SuppressClaim takes a list's claim out of its queue until it is lifted or its entry goes (R23).
func (e *Engine) SuppressClaim(ctx context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*Decided, error) {
	return nil, errNotBuilt
}

// LiftClaim ends a suppression: the claim joins the end of its queue (R23).
func (e *Engine) LiftClaim(ctx context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*Decided, error) {
	return nil, errNotBuilt
}
