package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
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

// RenameName puts a claim of the name dn on the name newDN; "" is the head. Its content moves
// along without a refetch, in one step for readers and with its entryUUIDs; where
// newDN is claimed already it joins the end of that queue. A tree's subscription has the new
// name from then on; a list's claim keeps it whatever the list finds, until the
// claim goes (R27). A revision that is not 0 is that of the queue of dn for which the command
// is meant: where it is another by now the command is refused.
func (e *Engine) RenameName(ctx context.Context, dn, newDN string, claim queue.ClaimID, revision uint64, dryRun bool) (out *Renamed, err error) {
	from, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	to, err := e.treeName(newDN)
	if err != nil {
		return nil, err
	}
	return onWriter(ctx, e, "name rename", from.String(), dryRun, func(t *task) (*Renamed, error) {
		return e.rename(from, to, newDN, claim, revision, t, dryRun)
	})
}

func (e *Engine) rename(from, to dit.DN, text string, claim queue.ClaimID, revision uint64, t *task, dryRun bool) (*Renamed, error) {
	if n := e.state.Names[from.Norm()]; n != nil {
		claim = cmp.Or(claim, n.Head())
	}
	n, err := e.standsIn(from.String(), from.Norm(), claim, revision)
	if err != nil {
		return nil, err
	}
	c := e.state.Claims[claim]
	ev := queue.ClaimMoved{ID: claim, Name: to.String(), Norm: to.Norm()}
	if err := queue.Refuses(e.state, ev); err != nil {
		return nil, err
	}
	out := &Renamed{
		Claim: claim, From: c.Name, To: ev.Name, Position: e.positionAt(c, ev.Norm), Effect: e.renameWords(c, ev),
		Warnings: e.renameWarnings(c, ev), DryRun: dryRun,
	}
	if dryRun {
		then := e.state.Clone()
		_, err := queue.Apply(then, ev)
		out.Revision = then.Revision(ev.Norm)
		return out, err
	}
	if err := e.enactRename(c, ev, text, out.Effect, t); err != nil {
		return nil, err
	}
	out.Revision = e.state.Revision(ev.Norm)
	e.log.Info("claim renamed", "claim", claim, "from", n.Text, "to", ev.Name, "position", out.Position)
	return out, nil
}

// enactRename moves a list's claim, or changes a tree's subscription.
func (e *Engine) enactRename(c *queue.Claim, ev queue.ClaimMoved, text, words string, t *task) error {
	if c.Entry != "" {
		var b store.Batch
		e.end(&b, t, TaskDone, words)
		return e.enact(decisions{events: []queue.Event{ev}, last: b.Records})
	}
	old := e.subs[c.Subscription]
	next := *old
	next.Name = text
	a, err := e.altered(old, &next)
	if err != nil {
		return err
	}
	a.words = words
	return e.alter(a, nil, t)
}

// positionAt is where a claim stands in a queue once it is renamed into it.
func (e *Engine) positionAt(c *queue.Claim, norm string) int {
	n := e.state.Names[norm]
	switch {
	case n == nil:
		return 0
	case c.Norm == norm:
		return slices.Index(n.Claims, c.ID)
	}
	return len(n.Claims)
}

// renameWords says what follows from a rename, for the name that is left and the one
// that is taken.
func (e *Engine) renameWords(c *queue.Claim, ev queue.ClaimMoved) string {
	if c.Norm == ev.Norm {
		return fmt.Sprintf("only the way the name is written changes, to %s", ev.Name)
	}
	was, cl := e.state.Names[c.Norm], e.claims[c.ID]
	loaded, isHead := cl != nil && cl.gen > 0, was.Head() == c.ID
	var here string
	switch n := e.state.Names[ev.Norm]; {
	case n != nil && isHead && loaded:
		here = fmt.Sprintf("%s waits at position %d of the queue of %s, and its content is not shown any more", c.ID, len(n.Claims), n.Text)
	case n != nil:
		here = fmt.Sprintf("%s waits at position %d of the queue of %s", c.ID, len(n.Claims), n.Text)
	case isHead && loaded:
		here = fmt.Sprintf("%s is %s now, with all its content", was.Text, ev.Name)
	case loaded:
		here = fmt.Sprintf("%s shows the content of %s", ev.Name, c.ID)
	default:
		here = fmt.Sprintf("%s shows the content of %s as soon as it is here", ev.Name, c.ID)
	}
	if isHead && len(was.Claims) == 1 && e.state.Names[ev.Norm] == nil {
		return here
	}
	return here + "; " + e.leaveWords(c)
}

// renameWarnings says what an operator may not expect of a rename: that the name is claimed,
// and what lies inside it, or around it.
func (e *Engine) renameWarnings(c *queue.Claim, ev queue.ClaimMoved) []string {
	out := []string{}
	if c.Norm != ev.Norm {
		out = append(out, e.overlapWarnings(ev.Norm)...)
	}
	return append(out, e.clashWarnings(ev.Norm, c.ID)...)
}
