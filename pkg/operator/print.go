package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

// table prints aligned columns.
func (c *cli) table(rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, printable(cell))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // nobody is left to tell
}

// line prints one line.
func (c *cli) line(format string, args ...any) {
	fmt.Fprintln(c.out, printable(fmt.Sprintf(format, args...)))
}

func (c *cli) status(ctx context.Context, _ []string) error {
	s, raw, err := c.client.Status(ctx)
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		var alarms []string
		for _, kind := range slices.Sorted(maps.Keys(s.Alarms)) {
			alarms = append(alarms, fmt.Sprintf("%s:%d", kind, s.Alarms[kind]))
		}
		rows := [][]string{
			{"base DN", orDash(s.BaseDN)}, {"version", s.Version}, {"ready", fmt.Sprint(s.Ready)}, {"names", fmt.Sprint(s.Names)},
			{"entries", fmt.Sprint(s.Entries)}, {"subscriptions", fmt.Sprint(s.Subscriptions)}, {"alarms", cmp.Or(strings.Join(alarms, " "), "none")},
			{"context CSN", orDash(s.ContextCSN)},
		}
		if s.Failure != "" {
			rows = append(rows, []string{"FAILURE", s.Failure})
		}
		c.table(rows)
	})
}

func orDash(s string) string { return cmp.Or(s, "-") }

func (c *cli) printAdded(a engine.Added) {
	did := "added"
	if a.DryRun {
		did = "would be added"
	}
	c.printSteps(a.Check)
	if a.Position == 0 {
		c.line("%s %s: it publishes %s", a.Claim, did, a.Name)
	} else {
		c.line("%s %s: it waits at position %d for %s", a.Claim, did, a.Position, a.Name)
	}
	for _, w := range a.Warnings {
		c.line("warning: %s", w)
	}
}

func (c *cli) printSteps(steps []upstream.Step) {
	rows := [][]string{}
	for _, s := range steps {
		mark := "ok"
		if !s.OK {
			mark = "FAILED"
		}
		rows = append(rows, []string{s.Name, mark, fmt.Sprintf("%d ms", s.Millis), s.Detail})
	}
	c.table(rows)
}

func (c *cli) subscriptionList(ctx context.Context, _ []string) error {
	list, raw, err := c.client.Subscriptions(ctx)
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		rows := [][]string{{"ID", "KIND", "NAME", "SOURCE"}}
		for _, s := range list {
			rows = append(rows, []string{s.ID, s.Kind, s.Name, s.URL})
		}
		c.table(rows)
	})
}

func (c *cli) subscriptionShow(ctx context.Context, args []string) error {
	s, raw, err := c.client.Subscription(ctx, args[0])
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		src := s.Source
		rows := [][]string{{"id", s.ID}, {"kind", s.Kind}, {"name", s.Name}, {"source", s.URL}, {"base", src.Base},
			{"scope", src.Scope}, {"filter", src.Filter}, {"attributes", orAll(src.Attributes)}, {"StartTLS", fmt.Sprint(src.StartTLS)},
			{"bind DN", orDash(src.BindDN)}, {"password file", orDash(src.PasswordFile)}, {"CA file", orDash(src.CAFile)},
			{"DN values moved", fmt.Sprint(!s.NoDNRewrite)}}
		c.table(rows)
	})
}

func orAll(attrs []string) string {
	if len(attrs) == 0 {
		return "all"
	}
	return strings.Join(attrs, ", ")
}

func (c *cli) subscriptionRemove(ctx context.Context, args []string) error {
	r, raw, err := c.client.Remove(ctx, args[0], c.dry)
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		did := "removed"
		if r.DryRun {
			did = "would be removed"
		}
		c.line("%s %s; its claim on %s goes", r.ID, did, strings.Join(r.Names, "; "))
		for _, w := range r.Warnings {
			c.line("warning: %s", w)
		}
	})
}

func (c *cli) subscriptionCheck(ctx context.Context, args []string) error {
	r, raw, err := c.client.Check(ctx, args[0])
	if err != nil {
		return err
	}
	if err := c.show(raw, func() { c.printSteps(r.Steps) }); err != nil {
		return err
	}
	if !r.OK {
		return fmt.Errorf("the check of %s failed at %s", r.ID, r.Steps[len(r.Steps)-1].Name)
	}
	return nil
}

func (c *cli) nameList(ctx context.Context, _ []string) error {
	list, raw, err := c.client.Names(ctx)
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		rows := [][]string{{"NAME", "HEAD", "STATE", "GOOD", "ENTRIES", "WAITING", "LAST CONTACT", "ALARMS"}}
		for _, n := range list {
			rows = append(rows, []string{n.DN, n.Head.Claim, n.Head.State, yesNo(n.LastKnownGood), fmt.Sprint(n.Entries),
				fmt.Sprint(len(n.Queue)), orDash(n.Head.LastContact), orDash(strings.Join(n.Alarms, ","))})
		}
		c.table(rows)
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (c *cli) nameShow(ctx context.Context, args []string) error {
	n, raw, err := c.client.Name(ctx, args[0])
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		rows := [][]string{{"name", n.DN}, {"head", n.Head.Claim}, {"source", n.Head.URL}, {"state", n.Head.State},
			{"reason", orDash(n.Head.Reason)}, {"last known good", yesNo(n.LastKnownGood)}, {"entries", fmt.Sprint(n.Entries)},
			{"last contact", orDash(n.Head.LastContact)}, {"last change", orDash(n.Head.LastChange)},
			{"waiting", fmt.Sprint(len(n.Queue))}, {"overlaps", orDash(strings.Join(n.Overlaps, "; "))},
			{"alarms", orDash(strings.Join(n.Alarms, ","))}}
		c.table(rows)
	})
}

func (c *cli) queueShow(ctx context.Context, args []string) error {
	q, raw, err := c.client.Queue(ctx, args[0])
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		rows := [][]string{{"POSITION", "CLAIM", "ONLINE", "STATE", "SOURCE", "REASON"}}
		for i, l := range q.Claims {
			position := fmt.Sprint(i)
			if i == 0 {
				position = "head"
			}
			rows = append(rows, []string{position, l.Claim, yesNo(l.Online), l.State, l.URL, orDash(l.Reason)})
		}
		c.table(rows)
	})
}
