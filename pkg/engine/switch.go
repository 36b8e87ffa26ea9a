package engine

import (
	"context"

	"shaft/pkg/queue"
)

// Switched is the outcome of a switch (R28).
type Switched struct {
	DN         string          `json:"dn"`
	Claim      queue.ClaimID   `json:"claim"`  // the head from now on
	From       queue.ClaimID   `json:"from"`   // the head until now
	Queue      []queue.ClaimID `json:"queue"`  // head first
	Effect     string          `json:"effect"` // in words: what followed from it
	Warnings   []string        `json:"warnings"`
	Forced     bool            `json:"forced,omitempty"`
	Difference *Difference     `json:"difference,omitempty"` // in totals; none where nothing was fetched
	Revision   uint64          `json:"revision"`
	Task       uint64          `json:"task,omitempty"`
	DryRun     bool            `json:"dry_run,omitempty"`
}

// Switch puts another claim first in the queue of dn (R28). Its full content is fetched
// aside first; where that fails the switch is refused with the reason and nothing
// changes. With force it goes on all the same, which needs a reason (Actor.Why); where nothing
// was fetched the name is empty then. revision is as for MoveInQueue. A
// dry run fetches nothing.
func (e *Engine) Switch(ctx context.Context, dn string, claim queue.ClaimID, force bool, revision uint64, dryRun bool) (*Switched, error) {
	return nil, errNotBuilt
}
