package operator

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"shaft/pkg/engine"
)

// outcomeShown is how many characters of an outcome a list has room for.
const outcomeShown = 48

// tasksShown is how many tasks a list has unless it is told.
const tasksShown = 50

func (c *cli) limitFlag(fs *flag.FlagSet) {
	fs.IntVar(&c.limit, "limit", tasksShown, "at most so many")
}

func (c *cli) taskList(ctx context.Context, _ []string) error {
	if c.limit < 1 || c.limit > maxLimit {
		return usage("--limit is a number from 1 to %d", maxLimit)
	}
	return show(c, func(list []engine.Task) {
		rows := [][]string{{"ID", "BEGAN", "WHAT", "TARGET", "WHO", "STATE", "OUTCOME"}}
		for _, t := range list {
			outcome := t.Outcome
			if t.State == engine.TaskRunning {
				outcome = progress(t.Entries, t.Rate)
			}
			who, _, _ := strings.Cut(t.Who, " over ") // the door is told by `task show`
			rows = append(rows, []string{fmt.Sprint(t.ID), stamp(t.Began), t.What, t.Target, who, t.State, orDash(shorten(outcome, outcomeShown))})
		}
		c.table(rows)
	})(c.client.Tasks(ctx, c.limit))
}

func (c *cli) taskShow(ctx context.Context, args []string) error {
	return show(c, func(t engine.Task) {
		ended := "-"
		if t.Ended != nil {
			ended = stamp(*t.Ended)
		}
		rows := [][]string{{"id", fmt.Sprint(t.ID)}, {"what", t.What}, {"target", t.Target}, {"who", t.Who}, {"why", orDash(t.Why)},
			{"began", stamp(t.Began)}, {"ended", ended}, {"state", t.State}, {"outcome", orDash(t.Outcome)}}
		if t.Entries > 0 {
			rows = append(rows, []string{"progress", progress(t.Entries, t.Rate)})
		}
		if t.Advice != "" {
			rows = append(rows, []string{"what to do", t.Advice})
		}
		c.table(rows)
		rows = nil
		for _, s := range t.Steps {
			rows = append(rows, []string{stamp(s.At), s.Name, okOrFailed(s.OK), s.Detail})
		}
		if rows != nil {
			c.line("")
			c.table(rows)
		}
	})(c.client.Task(ctx, args[0]))
}

// progress says how far a refresh is; nothing where nothing has come.
func progress(entries int, rate float64) string {
	if entries == 0 {
		return ""
	}
	text := plural(entries, "entry", "entries")
	if rate >= 1 {
		text += fmt.Sprintf(", %.0f a second", rate)
	}
	return text
}
