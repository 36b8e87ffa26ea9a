package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

// glance is how often a refresh is looked at while somebody watches.
const glance = 200 * time.Millisecond

// watch follows the first refresh of what was added until its source is live or
// down. On a terminal one line shows how far it is. An interrupt ends the
// watching, and nothing else.
func (c *cli) watch(ctx context.Context, a *engine.Added) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		link, _, err := c.client.SourceState(ctx, a.Subscription.ID)
		if err == nil && settled(link.State) {
			return c.watched(ctx, a, &link)
		}
		if err == nil && c.rewrites() {
			text := fmt.Sprintf("%s: %s", a.Subscription.ID, link.State)
			if far := progress(link.RefreshEntries, link.RefreshRate); far != "" {
				text += ", " + far
			}
			c.rewrite(text)
		}
		if ctx.Err() != nil {
			return c.unwatched(a)
		}
		if err != nil {
			c.endLine()
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return c.unwatched(a)
		}
	}
}

// settled tells the states that a first refresh ends in.
func settled(state string) bool {
	return state != string(upstream.Connecting) && state != string(upstream.Refreshing)
}

// watched says how the refresh ended. To have been added is what counts, unless
// the end was to be waited for.
func (c *cli) watched(ctx context.Context, a *engine.Added, link *engine.Link) error {
	c.endLine()
	if state := upstream.State(link.State); state == upstream.Down || state == upstream.Unsupported {
		text := fmt.Sprintf("%s is %s: %s; the subscription stays, and Shaft keeps trying", a.Subscription.ID, link.State, orDash(link.Reason))
		if c.wait {
			return errors.New(text)
		}
		c.line("%s", text)
		return nil
	}
	if c.json {
		return nil
	}
	text := fmt.Sprintf("%s is %s", a.Subscription.ID, link.State)
	if a.Subscription.Kind == engine.KindList {
		found, _, err := c.client.Members(ctx, a.Subscription.ID)
		if err != nil {
			return err
		}
		c.line("%s: %s found", text, plural(len(found), "entry", "entries"))
		return nil
	}
	if a.Position > 0 {
		c.line("%s: %s, held in readiness", text, plural(link.Entries, "entry", "entries"))
		return nil
	}
	n, _, err := c.client.Name(ctx, a.Name)
	if err != nil {
		return err
	}
	c.line("%s: %s", text, plural(n.Entries, "entry", "entries"))
	return nil
}

// unwatched ends the watching alone.
func (c *cli) unwatched(a *engine.Added) error {
	c.endLine()
	text := fmt.Sprintf("not watched any longer; the subscription stays: shaft subscription show %s", a.Subscription.ID)
	if c.wait {
		return errors.New(text)
	}
	c.line("%s", text)
	return nil
}

// rewrites tells whether one line of the terminal is written again and again.
func (c *cli) rewrites() bool { return c.terminal && !c.json }

// rewrite writes the line anew; \x1b[K (ECMA-48, EL) clears what is left of it.
func (c *cli) rewrite(text string) { fmt.Fprintf(c.out, "\r%s\x1b[K", printable(text)) }

// endLine clears the line that was rewritten.
func (c *cli) endLine() {
	if c.rewrites() {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
}
