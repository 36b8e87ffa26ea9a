package engine

import (
	"context"
	"fmt"
	"slices"

	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// Removed is the outcome of removing a subscription, or one name.
type Removed struct {
	ID         string   `json:"id"`
	Names      []string `json:"names"`                // that lost a claim
	Suppressed bool     `json:"suppressed,omitempty"` // the claim of a list: its entry is found still, and makes it no more
	Warnings   []string `json:"warnings"`
	Task       uint64   `json:"task,omitempty"`
	DryRun     bool     `json:"dry_run,omitempty"`
}

// maxTakeovers is how many promotions the warnings of a removal name.
const maxTakeovers = 20

// RemoveSubscription removes a subscription with its claims, and nothing else (R16).
func (e *Engine) RemoveSubscription(ctx context.Context, id string, dryRun bool) (out *Removed, err error) {
	return onWriter(ctx, e, "subscription remove", id, dryRun, func(t *task) (*Removed, error) { return e.remove(id, t, dryRun) })
}

// RemoveName removes the head's subscription if it is a tree, and suppresses the
// claim if it is a list's (R23); revision is as for MoveInQueue.
func (e *Engine) RemoveName(ctx context.Context, dn string, revision uint64, dryRun bool) (*Removed, error) {
	name, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	return onWriter(ctx, e, "name remove", name.String(), dryRun, func(t *task) (*Removed, error) {
		if err := e.asSeen(name.String(), name.Norm(), revision); err != nil {
			return nil, err
		}
		n := e.state.Names[name.Norm()]
		if n == nil {
			return nil, notFound("name", name.String())
		}
		c := e.state.Claims[n.Head()]
		if c.Entry == "" {
			return e.remove(c.Subscription, t, dryRun)
		}
		out := e.losses(string(c.ID), []*queue.Claim{c})
		out.DryRun, out.Suppressed = dryRun, true
		out.Warnings = append(out.Warnings, fmt.Sprintf(
			"%s is of the list %s, which finds its entry still: it stays suppressed until that goes, or it is lifted (`shaft queue lift %s`)", c.ID, c.Subscription, c.ID))
		out.Warnings = append(out.Warnings, forgottenRename(c)...)
		ev := queue.ClaimSuppressed{ID: c.ID}
		if dryRun {
			return out, queue.Refuses(e.state, ev)
		}
		var b store.Batch
		e.end(&b, t, TaskDone, fmt.Sprintf("the claim %s is suppressed", c.ID))
		return out, e.enact(decisions{events: []queue.Event{ev}, last: b.Records})
	})
}

func (e *Engine) remove(id string, t *task, dryRun bool) (*Removed, error) {
	if e.subs[id] == nil {
		return nil, notFound("subscription", id)
	}
	claims := e.claimsIn(id)
	out := e.losses(id, claims)
	out.DryRun = dryRun
	if dryRun {
		return out, nil
	}
	return out, e.drop(id, t)
}

func removedWords(claims int) string {
	if claims == 1 {
		return "its claim is gone"
	}
	return fmt.Sprintf("its %d claims are gone", claims)
}

// claimsIn lists a subscription's claims by age.
func (e *Engine) claimsIn(id string) (out []*queue.Claim) {
	if c := e.state.Claims[queue.ClaimID(id)]; c != nil {
		return []*queue.Claim{c}
	}
	for _, m := range e.state.Members[id] {
		for _, mc := range m.Claims {
			if c := e.state.Claims[mc.Claim]; c != nil {
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b *queue.Claim) int { return int(a.Number) - int(b.Number) })
	return out
}

// losses says what the removal of claims means to names.
func (e *Engine) losses(id string, claims []*queue.Claim) *Removed {
	out := &Removed{ID: id, Names: []string{}, Warnings: []string{}}
	goes := map[queue.ClaimID]bool{}
	for _, c := range claims {
		goes[c.ID] = true
	}
	more := 0
	for _, c := range claims {
		n := e.state.Names[c.Norm]
		out.Names = append(out.Names, c.Name)
		next := slices.IndexFunc(n.Claims, func(id queue.ClaimID) bool { return !goes[id] })
		switch {
		case n.Head() != c.ID || next < 0:
		case len(out.Warnings) == maxTakeovers:
			more++
		default:
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s takes over %s", n.Claims[next], n.Text))
		}
	}
	if more > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("on %d more names the next claim takes over", more))
	}
	return out
}

// drop removes a subscription with all its claims.
func (e *Engine) drop(id string, t *task) error {
	claims := e.claimsIn(id)
	var b store.Batch
	e.end(&b, t, TaskDone, removedWords(len(claims)))
	var err error
	if e.lists[id] != nil {
		err = e.removeList(id, b.Records...)
	} else {
		b.Records = append(b.Records, store.Record{Name: recordSubscription + id})
		err = e.enact(decisions{events: []queue.Event{queue.ClaimRemoved{ID: queue.ClaimID(id)}}, last: b.Records})
	}
	if err != nil {
		return err
	}
	delete(e.subs, id)
	e.forgetInstances(id)
	e.dropLoads(id)
	e.log.Info("subscription removed", "subscription", id, "claims", len(claims))
	return nil
}
