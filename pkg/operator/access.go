package operator

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"shaft/pkg/access"
)

// maxAs is how many things can be said of one client: its DN, certificate and address.
const maxAs = 3

var asParam = param{name: "as", many: true, help: "who asks: anonymous, users, dn:DN, subject:DN, peer:ADDRESS; given again, for more of the same client",
	schema: object{"type": "array", "items": object{"type": "string"}, "minItems": 1, "maxItems": maxAs},
	read: func(c *call, value string) error {
		if c.as = append(c.as, value); len(c.as) > maxAs {
			return invalid("query: as is given more than %d times", maxAs)
		}
		return nil
	}}

func (a *api) explainAccess(c *call) (any, error) {
	if len(c.as) == 0 {
		return nil, invalid("query: as is needed: anonymous, users, dn:DN, subject:DN or peer:ADDRESS")
	}
	return a.engine.ExplainAccess(c.Context(), c.PathValue("dn"), c.as)
}

// ExplainAccess tells what somebody may do with an entry, and which rules say so.
func (c *Client) ExplainAccess(ctx context.Context, dn string, as []string) (access.Explanation, []byte, error) {
	return ask[access.Explanation](ctx, c, "GET", "/access/"+segment(dn)+"?"+url.Values{asParam.name: as}.Encode(), nil)
}

func (c *cli) asFlags(fs *flag.FlagSet) {
	fs.Func("as", "who asks: `WHO` is anonymous, users, dn:DN, subject:DN or peer:ADDRESS; given again, for more of the same client", func(text string) error {
		c.as = append(c.as, text)
		return nil
	})
}

func (c *cli) accessExplain(ctx context.Context, args []string) error {
	if len(c.as) == 0 {
		return fmt.Errorf("%w: --as is needed: anonymous, users, dn:DN, subject:DN or peer:ADDRESS", ErrUsage)
	}
	return show(c, func(e access.Explanation) {
		entry := e.DN
		if !e.There {
			entry += " (not there)"
		}
		c.table([][]string{{"entry", entry}, {"as", strings.Join(e.As, " ")}, {"may", e.Level + byRule(e.Rule, len(e.Rules))}})
		if len(e.Rules) > 0 {
			c.line("")
			rows := [][]string{{"RULE", "SAYS", "MATCHES"}}
			for _, r := range e.Rules {
				matches := "yes"
				if !r.Matches {
					matches = "no: " + r.Why
				}
				rows = append(rows, []string{strconv.Itoa(r.Rule), r.Says, matches})
			}
			c.table(rows)
		}
		if len(e.Attributes) > 0 {
			c.line("")
			rows := [][]string{{"ATTRIBUTE", "MAY"}}
			for _, a := range e.Attributes {
				rows = append(rows, []string{a.Attribute, a.Level + byRule(a.Rule, len(e.Rules))})
			}
			c.table(rows)
		}
	})(c.client.ExplainAccess(ctx, args[0], c.as))
}

// byRule says which rule it was.
func byRule(rule, all int) string {
	switch {
	case all == 0:
		return ": there are no rules"
	case rule == 0:
		return ": no rule gives more"
	}
	return fmt.Sprintf(", by rule %d", rule)
}
