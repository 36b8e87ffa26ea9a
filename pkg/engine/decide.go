package engine

import (
	"context"
	"fmt"
	"slices"

	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// Decided is the outcome of a decision about one claim.
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

// MoveInQueue puts a claim that waits for the name dn at another position of its queue (R27):
// the first that waits has position 1. The place of the head is refused, since
// only a switch changes the head. A revision that is not 0 is that of the queue for
// which the command is meant: where it is another by now the command is refused.
func (e *Engine) MoveInQueue(ctx context.Context, dn string, claim queue.ClaimID, position int, revision uint64, dryRun bool) (*Decided, error) {
	name, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	return onWriter(ctx, e, "queue move", name.String(), dryRun, func(t *task) (*Decided, error) {
		n, err := e.standsIn(name.String(), name.Norm(), claim, revision)
		if err != nil {
			return nil, err
		}
		out := &Decided{
			Claim: claim, DN: n.Text, Warnings: []string{},
			Effect: fmt.Sprintf("%s waits at position %d of the queue of %s; what the name shows stays", claim, position, n.Text),
		}
		return out, e.enactOne(queue.QueueMoved{ID: claim, Position: position}, n.Norm, out, t, dryRun)
	})
}

// SuppressClaim takes a list's claim out of its queue until it is lifted or its
// entry goes (R23); revision is as for MoveInQueue.
func (e *Engine) SuppressClaim(ctx context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*Decided, error) {
	return onWriter(ctx, e, "queue suppress", string(id), dryRun, func(t *task) (*Decided, error) {
		ev := queue.ClaimSuppressed{ID: id}
		if err := queue.Refuses(e.state, ev); err != nil {
			return nil, err
		}
		c := e.state.Claims[id]
		if err := e.asSeen(c.Name, c.Norm, revision); err != nil {
			return nil, err
		}
		n := e.state.Names[c.Norm]
		out := &Decided{Claim: id, DN: n.Text, Effect: e.leaveWords(c), Warnings: append([]string{}, forgottenRename(c)...)}
		return out, e.enactOne(ev, c.Norm, out, t, dryRun)
	})
}

// forgottenRename warns that a claim loses the name that an operator gave it.
func forgottenRename(c *queue.Claim) []string {
	if !c.Renamed {
		return nil
	}
	return []string{fmt.Sprintf("%s was renamed to %s: when it is lifted it is on the name that the list makes for it", c.ID, c.Name)}
}

// LiftClaim ends a suppression: the claim joins the end of its queue (R23);
// revision is as for MoveInQueue.
func (e *Engine) LiftClaim(ctx context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*Decided, error) {
	return onWriter(ctx, e, "queue lift", string(id), dryRun, func(t *task) (*Decided, error) {
		ev := queue.ClaimLifted{ID: id}
		if err := queue.Refuses(e.state, ev); err != nil {
			return nil, err
		}
		_, mc, _ := e.state.Suppressed(id)
		if err := e.asSeen(mc.Name, mc.Norm, revision); err != nil {
			return nil, err
		}
		out := &Decided{Claim: id, DN: mc.Name, Warnings: append([]string{}, e.overlapWarnings(mc.Norm)...)}
		out.Warnings = append(out.Warnings, e.clashWarnings(mc.Norm, id)...)
		out.Effect = fmt.Sprintf("%s shows the content of %s as soon as it is here", mc.Name, id)
		if n := e.state.Names[mc.Norm]; n != nil {
			out.Effect = fmt.Sprintf("%s waits at position %d of the queue of %s", id, len(n.Claims), n.Text)
		}
		return out, e.enactOne(ev, mc.Norm, out, t, dryRun)
	})
}

// enactOne carries one decision about a name out, or only tells what it would come to.
func (e *Engine) enactOne(ev queue.Event, norm string, out *Decided, t *task, dryRun bool) error {
	out.DryRun = dryRun
	then := e.state
	if dryRun {
		then = e.state.Clone()
		if _, err := queue.Apply(then, ev); err != nil {
			return err
		}
	} else {
		var b store.Batch
		e.end(&b, t, TaskDone, out.Effect)
		if err := e.enact(decisions{events: []queue.Event{ev}, last: b.Records}); err != nil {
			return err
		}
	}
	out.Queue, out.Revision = []queue.ClaimID{}, then.Revision(norm)
	if n := then.Names[norm]; n != nil {
		out.Queue = slices.Clone(n.Claims)
	}
	return nil
}

// standsIn gives the queue of a name, in which the claim has to stand.
func (e *Engine) standsIn(text, norm string, claim queue.ClaimID, revision uint64) (*queue.Name, error) {
	if err := e.asSeen(text, norm, revision); err != nil {
		return nil, err
	}
	n := e.state.Names[norm]
	if n == nil {
		return nil, notFound("name", text)
	}
	if slices.Contains(n.Claims, claim) {
		return n, nil
	}
	where := "there is no such claim"
	if c := e.state.Claims[claim]; c != nil {
		where = "it is on " + c.Name
	} else if _, mc, ok := e.state.Suppressed(claim); ok {
		where = "it is suppressed, from " + mc.Name
	}
	return nil, &queue.Refusal{Kind: queue.KindNotFound, Reason: fmt.Sprintf(
		"the claim %q is not in the queue of %s, which is %s: %s", claim, n.Text, queueWords(n.Claims), where)}
}

// leaveWords says what becomes of a name that a claim leaves.
func (e *Engine) leaveWords(c *queue.Claim) string {
	n := e.state.Names[c.Norm]
	switch {
	case n.Head() != c.ID:
		return fmt.Sprintf("%s waits for %s no more; what the name shows stays", c.ID, n.Text)
	case len(n.Claims) == 1:
		return fmt.Sprintf("%s goes from the tree: nobody else claims it", n.Text)
	}
	next := n.Claims[1]
	if cl := e.claims[next]; cl != nil && cl.gen > 0 {
		return fmt.Sprintf("%s takes over %s, with the content that it has", next, n.Text)
	}
	return fmt.Sprintf("%s takes over %s, which is empty until its content is here", next, n.Text)
}
