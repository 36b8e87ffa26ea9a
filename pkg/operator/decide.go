package operator

import (
	"context"
	"flag"
	"strconv"
	"strings"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// Rename says where a name, or one claim on it, is to be from now on (R27).
type Rename struct {
	To    string        `json:"to" api:"required"` // relative to the base DN or absolute
	Claim queue.ClaimID `json:"claim,omitempty"`   // the head where none is given
}

// Move says where in its queue a waiting claim is to stand (R27).
type Move struct {
	Claim    queue.ClaimID `json:"claim" api:"required"`
	Position int           `json:"position" api:"required"` // 1 is the first that waits
}

func (a *api) rename(c *call) (any, error) {
	r := c.body.(*Rename)
	if r.To == "" {
		return nil, invalid("request body: \"to\" is missing: the name that it is to have")
	}
	return a.engine.RenameName(c.Context(), c.PathValue("dn"), r.To, r.Claim, c.revision, c.dryRun)
}

func (a *api) move(c *call) (any, error) {
	m := c.body.(*Move)
	if m.Claim == "" || m.Position < 1 {
		return nil, invalid("request body: a claim and a position are needed; the first that waits has position 1")
	}
	return a.engine.MoveInQueue(c.Context(), c.PathValue("dn"), m.Claim, m.Position, c.revision, c.dryRun)
}

func (a *api) suppress(c *call) (any, error) {
	return a.engine.SuppressClaim(c.Context(), queue.ClaimID(c.PathValue("claim")), c.revision, c.dryRun)
}

func (a *api) lift(c *call) (any, error) {
	return a.engine.LiftClaim(c.Context(), queue.ClaimID(c.PathValue("claim")), c.revision, c.dryRun)
}

// Rename puts a claim of a name on another name; with dry it only says what would follow.
func (c *Client) Rename(ctx context.Context, dn string, r Rename, dry bool) (engine.Renamed, []byte, error) {
	return ask[engine.Renamed](ctx, c, "POST", "/names/"+segment(dn)+"/rename"+dryRun(dry), r)
}

// Move puts a waiting claim at another position; with dry it only says what would follow.
func (c *Client) Move(ctx context.Context, dn string, m Move, dry bool) (engine.Decided, []byte, error) {
	return ask[engine.Decided](ctx, c, "POST", "/queues/"+segment(dn)+"/move"+dryRun(dry), m)
}

// Suppress takes a list's claim out of its queue; with dry it only says what would follow.
func (c *Client) Suppress(ctx context.Context, claim string, dry bool) (engine.Decided, []byte, error) {
	return ask[engine.Decided](ctx, c, "POST", "/claims/"+segment(claim)+"/suppress"+dryRun(dry), nil)
}

// Lift ends a suppression; with dry it only says what would follow.
func (c *Client) Lift(ctx context.Context, claim string, dry bool) (engine.Decided, []byte, error) {
	return ask[engine.Decided](ctx, c, "POST", "/claims/"+segment(claim)+"/lift"+dryRun(dry), nil)
}

// queueFlags are those of the commands that change a queue.
func (c *cli) queueFlags(fs *flag.FlagSet) {
	fs.Uint64Var(&c.revision, "revision", 0, "refuse if the queue is not at revision `N` any more, as `queue show` printed it (0: whatever it is)")
	c.changeFlags(fs)
}

func (c *cli) renameFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.claim, "claim", "", "the `claim` to rename, waiting or not (the head)")
	c.queueFlags(fs)
}

func (c *cli) nameRename(ctx context.Context, args []string) error {
	return show(c, func(out engine.Renamed) {
		c.line("%s %s from %s to %s", out.Claim, would(out.DryRun, "renamed"), out.From, out.To)
		c.printDecision(out.Effect, out.Warnings)
	})(c.client.Rename(ctx, args[0], Rename{To: args[1], Claim: queue.ClaimID(c.claim)}, c.dry))
}

func (c *cli) queueMove(ctx context.Context, args []string) error {
	position, err := strconv.Atoi(args[2])
	if err != nil || position < 1 {
		return usage("%q: a position is a number; the first that waits has 1", args[2])
	}
	return c.decided("moved")(c.client.Move(ctx, args[0], Move{Claim: queue.ClaimID(args[1]), Position: position}, c.dry))
}

func (c *cli) queueSuppress(ctx context.Context, args []string) error {
	return c.decided("suppressed")(c.client.Suppress(ctx, args[0], c.dry))
}

func (c *cli) queueLift(ctx context.Context, args []string) error {
	return c.decided("lifted")(c.client.Lift(ctx, args[0], c.dry))
}

// decided prints what was done with a claim, and the queue from then on.
func (c *cli) decided(done string) func(engine.Decided, []byte, error) error {
	return show(c, func(out engine.Decided) {
		c.line("%s: %s %s", out.DN, out.Claim, would(out.DryRun, done))
		c.printDecision(out.Effect, out.Warnings)
		c.printQueue(out.Queue)
	})
}

// printQueue names the claims from now on, head first.
func (c *cli) printQueue(ids []queue.ClaimID) {
	if len(ids) == 0 {
		return
	}
	claims := make([]string, len(ids))
	for i, id := range ids {
		claims[i] = string(id)
	}
	c.line("its queue: %s", strings.Join(claims, ", "))
}

func (c *cli) printDecision(effect string, warnings []string) {
	if effect != "" {
		c.line("%s", effect)
	}
	c.printWarnings(warnings)
}
