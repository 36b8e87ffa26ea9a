package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
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

func (s *Switched) asTask(id uint64) { s.Task = id }

// Switch puts another claim first in the queue of dn (R28). Its full content is fetched
// aside first; where that fails the switch is refused with the reason and nothing
// changes. With force it goes on all the same, with what was fetched before, which needs a
// reason (Actor.Why); where that is nothing the name is empty until something is. revision is
// as for MoveInQueue. A dry run fetches nothing.
func (e *Engine) Switch(ctx context.Context, dn string, claim queue.ClaimID, force bool, revision uint64, dryRun bool) (out *Switched, err error) {
	name, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	if force && ActorOf(ctx).Why == "" {
		return nil, &queue.Refusal{Kind: queue.KindInvalid, Reason: "a forced switch needs a reason, for the record: say why (--reason TEXT)"}
	}
	id, err := e.command(ctx, "queue switch", name.String(), dryRun, func(t *task) error {
		if out, err = e.switchPlan(ctx, name, claim, revision); err != nil || dryRun {
			return err
		}
		was := out.Revision
		failed, err := e.aside(ctx, name, claim, t)
		if err == nil && failed == nil {
			out.Difference, err = e.difference(ctx, name, claim, false)
		}
		if err != nil {
			return err
		}
		doErr := e.do(ctx, func() { err = e.enactSwitch(name, was, failed, force, out, t) })
		return errors.Join(doErr, err)
	})
	if err != nil {
		return nil, err
	}
	out.Task, out.Forced, out.DryRun = id, force, dryRun
	return out, nil
}

// switchPlan says what a switch would come to, or why there can be none.
func (e *Engine) switchPlan(ctx context.Context, name dit.DN, claim queue.ClaimID, revision uint64) (out *Switched, err error) {
	doErr := e.do(ctx, func() {
		var n *queue.Name
		if n, err = e.standsIn(name.String(), name.Norm(), claim, revision); err != nil {
			return
		}
		if err = queue.Refuses(e.state, queue.Switched{ID: claim, Forced: true}); err != nil {
			return
		}
		after := e.state.Clone()
		if _, err = queue.Apply(after, queue.Switched{ID: claim, Forced: true}); err != nil {
			return
		}
		out = &Switched{
			DN: n.Text, Claim: claim, From: n.Head(), Warnings: []string{}, Revision: e.state.Revision(n.Norm),
			Queue:  slices.Clone(after.Names[n.Norm].Claims),
			Effect: fmt.Sprintf("%s shows the content of %s, once that is fetched; %s waits at position 1", n.Text, claim, n.Head()),
		}
	})
	return out, errors.Join(doErr, err)
}

// aside fetches a candidate's content; failed is why it could not be had, err why the command
// is to end.
func (e *Engine) aside(ctx context.Context, name dit.DN, claim queue.ClaimID, t *task) (failed, err error) {
	failed = e.fetchAside(ctx, claim, t)
	var refusal *queue.Refusal
	if ctx.Err() != nil || errors.Is(failed, ErrClosed) || errors.As(failed, &refusal) {
		return nil, failed
	}
	if errors.Is(failed, errNotWaiting) {
		return nil, &queue.Refusal{Kind: queue.KindStale, Reason: fmt.Sprintf("%s: %v", name, failed)}
	}
	return failed, nil
}

// enactSwitch makes a switch true, on the engine's goroutine. failed is why the
// candidate's content was not fetched just now.
func (e *Engine) enactSwitch(name dit.DN, was uint64, failed error, force bool, out *Switched, t *task) error {
	if err := e.asSeen(name.String(), name.Norm(), was); err != nil {
		return err
	}
	if failed != nil && !force {
		return &queue.Refusal{Kind: queue.KindNoContent, Reason: fmt.Sprintf(
			"%s keeps the content of %s: that of %s could not be fetched: %v", out.DN, out.From, out.Claim, failed)}
	}
	d := out.Difference
	empties := d != nil && d.Removed > 0 && d.Added+d.Changed+d.Same == 0
	if empties && !force {
		return &queue.Refusal{Kind: queue.KindNoContent, Reason: fmt.Sprintf(
			"%s keeps the content of %s: the source of %s answers and gives no entry, and all %d would go (force goes on all the same)",
			out.DN, out.From, out.Claim, d.Removed)}
	}
	cl := e.claims[out.Claim]
	out.Effect = fmt.Sprintf("%s shows the content of %s; %s waits at position 1", out.DN, out.Claim, out.From)
	lingers := e.lingering[name.Norm()]
	switch {
	case empties:
		out.Warnings = append(out.Warnings, fmt.Sprintf("the source of %s gives no entry: %s is empty until it does", out.Claim, out.DN))
	case failed != nil && cl.gen == 0 && lingers != nil:
		until := lingers.since.Add(e.o.PromotionLimit).UTC().Format(time.RFC3339)
		out.Warnings = append(out.Warnings, fmt.Sprintf("nothing of %s could be fetched (%v): %s shows what %s left until something is, and after %s nothing",
			out.Claim, failed, out.DN, lingers.cl.id, until))
		out.Effect = fmt.Sprintf("%s goes on showing what %s left, until the content of %s is here, or %s; %s waits at position 1",
			out.DN, lingers.cl.id, out.Claim, until, out.From)
	case failed != nil && cl.gen == 0:
		out.Warnings = append(out.Warnings, fmt.Sprintf("nothing of %s could be fetched (%v): %s is empty until something is", out.Claim, failed, out.DN))
		out.Effect = fmt.Sprintf("%s shows nothing, until the content of %s is here; %s waits at position 1", out.DN, out.Claim, out.From)
	case failed != nil:
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s could not be asked now (%v): its content is as it was when that was last possible", out.Claim, failed))
	}
	var b store.Batch
	e.end(&b, t, TaskDone, out.Effect)
	err := e.enact(decisions{events: []queue.Event{queue.Switched{ID: out.Claim, Forced: force}}, last: b.Records})
	if err != nil {
		return err
	}
	if cl.gen > 0 && !e.isShown(cl) { // the log says why
		out.Warnings = append(out.Warnings, fmt.Sprintf(
			"%s is decided, but the content of %s is not shown yet: see the log and `shaft status`; the next start tries again", out.Claim, out.Claim))
	}
	e.log.Info("switch", "name", out.DN, "from", out.From, "to", out.Claim, "forced", force)
	out.Queue = slices.Clone(e.state.Names[name.Norm()].Claims)
	out.Revision = e.state.Revision(name.Norm())
	return nil
}
