package operator

import (
	"context"
	"flag"
	"fmt"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// Switch says which waiting claim is to be shown from now on (R28).
type Switch struct {
	Claim queue.ClaimID `json:"claim" api:"required"`
	// Force goes on where its content cannot be fetched; that needs a reason.
	Force bool `json:"force,omitempty"`
}

// Diff says which waiting claim's content is to be compared with what is shown (R29).
type Diff struct {
	Claim queue.ClaimID `json:"claim" api:"required"`
}

func (a *api) switchTo(c *call) (any, error) {
	s := c.body.(*Switch)
	switch {
	case s.Claim == "":
		return nil, invalid("request body: \"claim\" is missing: the one that is to be shown")
	case s.Force && engine.ActorOf(c.Context()).Why == "":
		return nil, invalid("a switch that is forced needs a reason, in the header %s: it may leave the name empty, and is kept with the task", ReasonHeader)
	}
	return a.engine.Switch(c.Context(), c.PathValue("dn"), s.Claim, s.Force, c.revision, c.dryRun)
}

func (a *api) diff(c *call) (any, error) {
	d := c.body.(*Diff)
	if d.Claim == "" {
		return nil, invalid("request body: \"claim\" is missing: the one whose content is to be compared")
	}
	return a.engine.QueueDiff(c.Context(), c.PathValue("dn"), d.Claim)
}

// Switch puts another claim first; with dry it only says what would follow.
func (c *Client) Switch(ctx context.Context, dn string, s Switch, dry bool) (engine.Switched, []byte, error) {
	return ask[engine.Switched](ctx, c, "POST", "/queues/"+segment(dn)+"/switch"+dryRun(dry), s)
}

// Diff fetches a waiting claim's content and compares it with what is shown.
func (c *Client) Diff(ctx context.Context, dn string, d Diff) (engine.Difference, []byte, error) {
	return ask[engine.Difference](ctx, c, "POST", "/queues/"+segment(dn)+"/diff", d)
}

func (c *cli) switchFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.force, "force", false, "go on if its content cannot be fetched: the name may be empty then; needs --reason")
	c.queueFlags(fs)
	fs.StringVar(&c.why, "reason", "", "the reason, kept with the task; the same as --why")
}

func (c *cli) queueSwitch(ctx context.Context, args []string) error {
	if c.force && c.why == "" {
		return usage("--force needs --reason TEXT: a switch that is forced may leave the name empty, and the task tells why")
	}
	return show(c, c.printSwitched)(fetching(ctx, c, "switching to", args[0], args[1], func() (engine.Switched, []byte, error) {
		return c.client.Switch(ctx, args[0], Switch{Claim: queue.ClaimID(args[1]), Force: c.force}, c.dry)
	}))
}

func (c *cli) queueDiff(ctx context.Context, args []string) error {
	return show(c, c.printDifference)(fetching(ctx, c, "comparing with", args[0], args[1], func() (engine.Difference, []byte, error) {
		return c.client.Diff(ctx, args[0], Diff{Claim: queue.ClaimID(args[1])})
	}))
}

// fetching asks what has the daemon fetch a waiting claim's content, and shows on a
// terminal how far that is.
func fetching[T any](ctx context.Context, c *cli, doing, dn, claim string, ask func() (T, []byte, error)) (out T, raw []byte, err error) {
	if !c.rewrites() || c.dry {
		return ask()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, raw, err = ask()
	}()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-done:
			c.endLine()
			return out, raw, err
		case <-tick.C:
			c.rewrite(doing + " " + claim + c.fetched(ctx, dn, claim))
		}
	}
}

// fetched says how far the fetch of a claim's content is, while it is fetched.
func (c *cli) fetched(ctx context.Context, dn, claim string) string {
	q, _, err := c.client.Queue(ctx, dn)
	if err != nil {
		return "" // what was asked for says what is wrong
	}
	for _, l := range q.Claims {
		switch far := progress(l.RefreshEntries, l.RefreshRate); {
		case l.Claim != claim:
		case far != "":
			return ": " + far
		case l.State == string(upstream.Connecting):
			return ": " + l.State
		}
	}
	return ""
}

func (c *cli) printSwitched(s engine.Switched) {
	c.line("%s: %s %s in the place of %s", s.DN, s.Claim, would(s.DryRun, "shown"), s.From)
	if s.Difference != nil {
		c.line("%s", totals(s.Difference))
	}
	c.printDecision(s.Effect, s.Warnings)
	c.printQueue(s.Queue)
}

// totals counts what differs.
func totals(d *engine.Difference) string {
	return fmt.Sprintf("%s added, %d changed, %d removed, %d alike", plural(d.Added, "entry", "entries"), d.Changed, d.Removed, d.Same)
}

// Bounds of what is shown of a difference to people; -o json has all of it.
const (
	maxValuesShown = 20  // of one entry
	maxValueShown  = 100 // characters
)

func (c *cli) printDifference(d engine.Difference) {
	c.line("%s: %s in the place of %s", d.DN, d.Claim, d.Head)
	c.line("%s", totals(&d))
	shown := d.Entries[:min(len(d.Entries), maxShown)]
	for i := range shown {
		e := &shown[i]
		c.line("%-7s  %s", e.What, e.DN)
		lines := valueLines(e.Attributes)
		for _, text := range lines[:min(len(lines), maxValuesShown)] {
			c.line("%s", text)
		}
		if rest := len(lines) - maxValuesShown; rest > 0 {
			c.line("           … and %d more values (-o json prints them)", rest)
		}
	}
	if rest := len(d.Entries) + d.More - len(shown); rest > 0 {
		c.line("… and %d more (-o json prints the first %d)", rest, engine.MaxDifferences)
	}
}

// valueLines are the values that one has and the other has not, by attribute.
func valueLines(attributes []engine.AttributeDifference) (lines []string) {
	for _, a := range attributes {
		for _, v := range a.Removed {
			lines = append(lines, fmt.Sprintf("         - %s: %s", a.Name, shorten(v, maxValueShown)))
		}
		for _, v := range a.Added {
			lines = append(lines, fmt.Sprintf("         + %s: %s", a.Name, shorten(v, maxValueShown)))
		}
	}
	return lines
}
