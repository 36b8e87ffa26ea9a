package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shaft/pkg/engine"
)

func (c *cli) status(ctx context.Context, _ []string) error {
	return show(c, func(s engine.Status) {
		var alarms []string
		for _, kind := range slices.Sorted(maps.Keys(s.Alarms)) {
			alarms = append(alarms, fmt.Sprintf("%s:%d", kind, s.Alarms[kind]))
		}
		rows := [][]string{
			{"base DN", orDash(s.BaseDN)}, {"version", s.Version}, {"ready", fmt.Sprint(s.Ready)}, {"names", fmt.Sprint(s.Names)},
			{"entries", fmt.Sprint(s.Entries)}, {"subscriptions", fmt.Sprint(s.Subscriptions)}, {"alarms", cmp.Or(strings.Join(alarms, " "), "none")},
			{"context CSN", orDash(s.ContextCSN)},
		}
		for _, c := range s.SchemaClashes {
			rows = append(rows, []string{"SCHEMA CLASH", strings.TrimSpace(c.Server + " " + c.Reason)})
		}
		for _, words := range s.Damage {
			rows = append(rows, []string{"DAMAGE", words})
		}
		if len(s.Damage) > 0 {
			rows = append(rows, []string{"TO DO", "have the disk and the memory checked; look whether `shaft subscription list` and `shaft queue show` say what was decided, and bring back what is missing with `shaft apply` of the last export"})
		}
		if s.Failure != "" {
			rows = append(rows, []string{"FAILURE", s.Failure})
		}
		c.table(rows)
	})(c.client.Status(ctx))
}

func (c *cli) nameList(ctx context.Context, _ []string) error {
	return show(c, func(list []engine.Name) {
		rows := [][]string{{"NAME", "HEAD", "STATE", "GOOD", "ENTRIES", "WAITING", "LAST CONTACT", "ALARMS"}}
		for _, n := range list {
			rows = append(rows, []string{n.DN, n.Head.Claim, n.Head.State, good(&n), fmt.Sprint(n.Entries),
				fmt.Sprint(len(n.Queue)), orDash(n.Head.LastContact), orDash(strings.Join(n.Alarms, ","))})
		}
		c.table(rows)
	})(c.client.Names(ctx))
}

// good says whether a name has last-known-good content of its head, or shows that of
// one that was removed.
func good(n *engine.Name) string {
	if n.Lingering != nil {
		return "lingers"
	}
	return yesNo(n.LastKnownGood)
}

// printLingering says what a name shows while its head has no content yet.
func (c *cli) printLingering(l *engine.Lingering) {
	if l != nil {
		c.line("it shows the content of %s, which was removed, until its head's is here, or until %s", l.Claim, stamp(l.Until))
	}
}

func (c *cli) nameShow(ctx context.Context, args []string) error {
	return show(c, func(n engine.Name) {
		rows := [][]string{{"name", n.DN}, {"head", n.Head.Claim}, {"source", n.Head.URL}, {"server", orDash(n.Head.Server)},
			{"state", n.Head.State}, {"reason", orDash(n.Head.Reason)}, {"last known good", yesNo(n.LastKnownGood)}, {"entries", fmt.Sprint(n.Entries)},
			{"last contact", orDash(n.Head.LastContact)}, {"last change", orDash(n.Head.LastChange)},
			{"waiting", fmt.Sprint(len(n.Queue))}, {"revision", fmt.Sprint(n.Revision)}, {"overlaps", orDash(strings.Join(n.Overlaps, "; "))},
			{"alarms", orDash(strings.Join(n.Alarms, ","))}}
		c.table(rows)
		c.printLingering(n.Lingering)
	})(c.client.Name(ctx, args[0]))
}

func (c *cli) nameResync(ctx context.Context, args []string) error {
	return show(c, func(r engine.Resynced) {
		if r.DryRun || r.Audited {
			c.printAudit(&r)
		}
		if !r.DryRun {
			c.line("%s is being loaded again in full, from %s: shaft task show %d", r.DN, r.Claim, r.Task)
		}
		c.printWarnings(r.Warnings)
	})(c.client.Resync(ctx, args[0], c.dry))
}

// printAudit tells how the content compares with the source's.
func (c *cli) printAudit(r *engine.Resynced) {
	c.line("%s, by %s: %s alike", r.DN, r.Claim, plural(r.Same, "entry", "entries"))
	for i, group := range []struct {
		words string
		dns   []string
	}{
		{"at the source and not here", r.Missing}, {"here and not at the source", r.Surplus}, {"different", r.Differ},
	} {
		if r.Counts[i] == 0 {
			continue
		}
		c.line("%s %s:", plural(r.Counts[i], "entry", "entries"), group.words)
		c.printSomeOf(group.dns, r.Counts[i])
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *cli) nameRemove(ctx context.Context, args []string) error {
	return show(c, c.printRemoved)(c.client.RemoveName(ctx, args[0], c.dry))
}

func (c *cli) queueShow(ctx context.Context, args []string) error {
	return show(c, func(q Queue) {
		rows := [][]string{{"POSITION", "CLAIM", "ONLINE", "STATE", "ENTRIES", "LAST CONTACT", "SOURCE", "REASON"}}
		for i, l := range q.Claims {
			position := fmt.Sprint(i)
			if i == 0 {
				position = "head"
			}
			rows = append(rows, []string{position, l.Claim, yesNo(l.Online), l.State, held(&l, i == 0), orDash(l.LastContact), l.URL, orDash(l.Reason)})
		}
		c.table(rows)
		c.printLingering(q.Lingering)
		c.line("revision %d", q.Revision)
	})(c.client.Queue(ctx, args[0]))
}

// held is how much of a claim's content is here; one that waits and is not kept warm may
// have none.
func held(l *engine.Link, head bool) string {
	if head || l.KeepWarm || l.Entries > 0 {
		return fmt.Sprint(l.Entries)
	}
	return "-"
}
