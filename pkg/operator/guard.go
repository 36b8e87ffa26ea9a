package operator

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"shaft/pkg/engine"
)

func (a *api) guard(c *call) (any, error) { return a.engine.HeldRefreshes(c.Context()) }

func (a *api) approve(c *call) (any, error) {
	return a.engine.ApproveHeld(c.Context(), c.PathValue("claim"), c.revision, c.dryRun)
}

func (a *api) reject(c *call) (any, error) {
	return a.engine.RejectHeld(c.Context(), c.PathValue("claim"), c.revision, c.dryRun)
}

// Held lists the refreshes that are held, the latest first, rejected ones too.
func (c *Client) Held(ctx context.Context) ([]engine.HeldRefresh, []byte, error) {
	return ask[[]engine.HeldRefresh](ctx, c, "GET", "/guard", nil)
}

// Approve takes what is held of a claim or a list; with dry it only says what would go.
func (c *Client) Approve(ctx context.Context, of string, dry bool) (engine.HoldDecided, []byte, error) {
	return ask[engine.HoldDecided](ctx, c, "POST", "/guard/"+segment(of)+"/approve"+dryRun(dry), nil)
}

// Reject discards what is held of a claim or a list; with dry it only says so.
func (c *Client) Reject(ctx context.Context, of string, dry bool) (engine.HoldDecided, []byte, error) {
	return ask[engine.HoldDecided](ctx, c, "POST", "/guard/"+segment(of)+"/reject"+dryRun(dry), nil)
}

func (c *cli) guardFlags(fs *flag.FlagSet) {
	fs.Uint64Var(&c.revision, "revision", 0, "refuse if another set would go than that of revision `N`, as `guard list` printed it (0: whatever it is)")
	c.changeFlags(fs)
}

func (c *cli) guardList(ctx context.Context, _ []string) error {
	return show(c, func(list []engine.HeldRefresh) {
		if len(list) == 0 {
			c.line("no refresh is held")
		}
		for i := range list {
			if i > 0 {
				c.line("")
			}
			c.printHeld(&list[i])
		}
	})(c.client.Held(ctx))
}

// printHeld shows one as a block of its own: whoever decides on it wants all of it.
func (c *cli) printHeld(h *engine.HeldRefresh) {
	what, where := "claim", h.Name
	if h.Waits {
		where += " (it waits there)"
	}
	if h.List {
		what, where = "list", "its names"
	}
	rows := [][]string{
		{what, h.Of}, {"of", where}, {"held since", stamp(h.Since)}, {"seen last", stamp(h.LastSeen)}, {"from", orDash(h.Server)},
		{"would go", fmt.Sprintf("%d of %d%s", h.Removed, h.Total, heldBeside(h))},
		{"would come", fmt.Sprintf("%d added, %d changed", h.Added, h.Changed)},
		{"revision", fmt.Sprint(h.Revision)},
	}
	if h.Rejected {
		text := "yes"
		if h.At != nil {
			text = fmt.Sprintf("%s, by %s", stamp(*h.At), h.By)
		}
		if h.Why != "" {
			text += ": " + shorten(h.Why, outcomeShown)
		}
		rows = append(rows, []string{"rejected", text})
	}
	c.table(rows)
	c.line("what would go:")
	for _, dn := range h.Goes {
		c.line("  %s", dn)
	}
	if h.More > 0 {
		c.line("  … and %d more", h.More)
	}
	c.line("to take it: shaft guard approve %s --revision %d", h.Of, h.Revision)
	if !h.Rejected {
		c.line("to stay with what is served: shaft guard reject %s --revision %d", h.Of, h.Revision)
	}
}

// heldBeside says what else counted.
func heldBeside(h *engine.HeldRefresh) string {
	var more []string
	if h.Before > 0 {
		more = append(more, fmt.Sprintf("%d went within the minute before", h.Before))
	}
	if h.Content > 0 {
		more = append(more, fmt.Sprintf("with %d entries of content", h.Content))
	}
	if len(more) == 0 {
		return ""
	}
	return " (" + strings.Join(more, "; ") + ")"
}

func (c *cli) guardApprove(ctx context.Context, args []string) error {
	return c.heldDecided("approved")(c.client.Approve(ctx, args[0], c.dry))
}

func (c *cli) guardReject(ctx context.Context, args []string) error {
	return c.heldDecided("rejected")(c.client.Reject(ctx, args[0], c.dry))
}

func (c *cli) heldDecided(done string) func(engine.HoldDecided, []byte, error) error {
	return show(c, func(out engine.HoldDecided) {
		c.line("%s: %s", out.Of, would(out.DryRun, done))
		c.printDecision(out.Effect, out.Warnings)
	})
}
