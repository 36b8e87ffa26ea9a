package operator

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"shaft/pkg/engine"
)

// param is a parameter of the query.
type param struct {
	name, help string
	schema     object
	read       func(c *call, value string) error
	many       bool // it may be given several times, and is read for each
}

// maxLimit is more tasks than are kept.
const maxLimit = 1 << 20

var (
	dryRunParam = boolParam("dry_run", "say what would happen, change nothing", func(c *call) *bool { return &c.dryRun })
	pruneParam  = boolParam("prune", "remove subscriptions that the document lacks", func(c *call) *bool { return &c.prune })
	fromParam   = timeParam("from", "nothing before this time (as far back as is known; availability: 30 days before the end)", func(c *call) *time.Time { return &c.from })
	toParam     = timeParam("to", "nothing after this time (now)", func(c *call) *time.Time { return &c.to })
	limitParam  = param{name: "limit", help: "at most so many, the newest",
		schema: object{"type": "integer", "minimum": 1, "maximum": maxLimit},
		read: func(c *call, value string) (err error) {
			c.limit, err = strconv.Atoi(value)
			if err != nil || c.limit < 1 || c.limit > maxLimit {
				return invalid("query: limit is a number from 1 to %d, not %q", maxLimit, value)
			}
			return nil
		}}
)

func boolParam(name, help string, field func(*call) *bool) param {
	return param{name: name, help: help, schema: object{"type": "boolean", "default": false}, read: func(c *call, value string) error {
		if value != "true" && value != "false" {
			return invalid("query: %s is true or false, not %q", name, value)
		}
		*field(c) = value == "true"
		return nil
	}}
}

func timeParam(name, help string, field func(*call) *time.Time) param {
	return param{name: name, help: help, schema: object{"type": "string", "format": "date-time"}, read: func(c *call, value string) (err error) {
		if *field(c), err = time.Parse(time.RFC3339, value); err != nil {
			return invalid("query: %s is a time as RFC 3339 has it, 2026-01-02T15:04:05Z, not %q", name, value)
		}
		return nil
	}}
}

// readQuery reads the parameters that a route has. What it does not know is
// refused: a dry run that is misspelt must not become a real one.
func (c *call) readQuery(params []param) error {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return invalid("query: %v", err)
	}
	for name, values := range query {
		i := slices.IndexFunc(params, func(p param) bool { return p.name == name })
		if i < 0 {
			return invalid("query: there is no parameter %q", name)
		}
		if !params[i].many {
			values = []string{strings.Join(values, ", ")}
		}
		for _, value := range values {
			if err := params[i].read(c, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// readMatch reads If-Match (RFC 9110, 13.1.1): an ETag as a queue was given with, or *,
// which is whatever there is. Where a route has no use for it, it is refused: who
// sends it counts on it.
func (c *call) readMatch(taken bool) (err error) {
	values := c.Header.Values("If-Match")
	text := strings.Join(values, ", ")
	switch {
	case len(values) == 0:
		return nil
	case !taken && c.Method != http.MethodGet:
		return invalid("If-Match is not taken here; it is for what changes a queue")
	case !taken, text == "*":
		return nil
	}
	digits, ok := strings.CutPrefix(text, `"`)
	digits, closed := strings.CutSuffix(digits, `"`)
	c.revision, err = strconv.ParseUint(digits, 10, 64)
	if !ok || !closed || err != nil || c.revision == 0 {
		return invalid("If-Match: one ETag as the queue was given with, such as \"42\", is needed, not %.200q", text)
	}
	return nil
}

// revisionOf gives the revision of the queue that an answer shows, which is its ETag.
func revisionOf(answer any) (revision uint64, ok bool) {
	switch v := answer.(type) {
	case *engine.Name:
		return v.Revision, true
	case engine.Name: // the table of routes has it so
		return v.Revision, true
	case Queue:
		return v.Revision, true
	}
	return 0, false
}

func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }
