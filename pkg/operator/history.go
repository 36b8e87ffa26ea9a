package operator

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// History is what happened to a name over a period, and how often the source of
// its head was there (R53).
type History struct {
	DN         string             `json:"dn"`         // as it was asked for
	Happenings []engine.Happening `json:"happenings"` // newest first
	// Availability is of the head's source; none where the name is gone.
	Availability *engine.Availability `json:"availability,omitempty"`
}

func (a *api) history(c *call) (any, error) {
	dn := c.PathValue("dn")
	list, err := a.engine.History(c.Context(), dn)
	if err != nil {
		return nil, err
	}
	out := History{DN: dn, Happenings: slices.DeleteFunc(slices.Clone(list), func(h engine.Happening) bool { return !c.within(h.At) })}
	n, err := a.engine.Name(c.Context(), dn)
	if err == nil {
		out.DN = n.DN
		out.Availability, err = a.engine.Availability(c.Context(), n.Head.Claim, c.from, c.to)
	}
	var refusal *queue.Refusal
	if errors.As(err, &refusal) && refusal.Kind == queue.KindNotFound {
		return out, nil // the name is gone, or its head just went
	}
	return out, err
}

// within tells whether a time lies in the period that was asked for.
func (c *call) within(at time.Time) bool {
	return !at.Before(c.from) && (c.to.IsZero() || !at.After(c.to))
}

func (a *api) availability(c *call) (any, error) {
	return a.engine.Availability(c.Context(), c.PathValue("source"), c.from, c.to)
}

// History tells what happened to a name from one time to another; zero times are
// the ends of what is known.
func (c *Client) History(ctx context.Context, dn string, from, to time.Time) (History, []byte, error) {
	return ask[History](ctx, c, "GET", "/names/"+segment(dn)+"/history"+period(from, to), nil)
}

// period is the query of a time from one to another.
func period(from, to time.Time) string {
	query := url.Values{}
	if !from.IsZero() {
		query.Set(fromParam.name, from.UTC().Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		query.Set(toParam.name, to.UTC().Format(time.RFC3339Nano))
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

func (c *cli) periodFlags(fs *flag.FlagSet) {
	for name, at := range map[string]*time.Time{"from": &c.from, "to": &c.to} {
		fs.Func(name, "one end of the period: a `TIME` as RFC 3339 has it, or so long ago, such as 720h", func(text string) (err error) {
			*at, err = c.timeOf(text, -1)
			return err
		})
	}
}

func (c *cli) nameHistory(ctx context.Context, args []string) error {
	return show(c, func(h History) {
		rows := [][]string{{"AT", "CLAIM", "WHAT", "WHY"}}
		for _, h := range h.Happenings {
			rows = append(rows, []string{stamp(h.At), string(h.Claim), h.What, orDash(h.Why)})
		}
		c.table(rows)
		if h.Availability != nil {
			c.line("")
			c.printAvailability(h.Availability)
		}
	})(c.client.History(ctx, args[0], c.from, c.to))
}

func (c *cli) printAvailability(a *engine.Availability) {
	rounded := func(seconds float64) string {
		return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
	}
	period := a.To.Sub(a.From).Seconds()
	rows := [][]string{{"source", a.Source}, {"from", stamp(a.From)}, {"to", stamp(a.To)},
		{"known", fmt.Sprintf("%s of %s", rounded(a.Known*period), rounded(period))}}
	if a.Known > 0 {
		rows = append(rows, []string{"up", fmt.Sprintf("%.3f %% of that", 100*a.Up)},
			[]string{"down", fmt.Sprintf("%s, the longest time %s", rounded(a.DownSeconds), rounded(a.LongestSeconds))},
			[]string{"outages", fmt.Sprintf("%d, and %s", a.Outages, plural(a.Blips, "blip", "blips"))})
	}
	c.table(rows)
}
