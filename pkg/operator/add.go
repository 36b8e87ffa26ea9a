package operator

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

// addFlags are the flags of `subscription add`.
type addFlags struct {
	request    Request
	list       bool
	attributes string
	content    string // attributes
}

func (c *cli) addFlags(fs *flag.FlagSet) {
	r, s := &c.add.request, &c.add.request.Source
	fs.StringVar(&r.Name, "name", "", "local name, relative to the base DN or absolute; of a list its template")
	fs.Func("url", "LDAP `URL` of the source: ldap://host[:port]/base?attributes?scope?filter; again for further servers, in order", func(text string) error {
		r.URLs = append(r.URLs, text)
		return nil
	})
	fs.StringVar(&s.Protocol, "protocol", "", "ldap or ldaps; ldapi is given as a URL")
	fs.StringVar(&s.Host, "host", "", "server")
	fs.IntVar(&s.Port, "port", 0, "port (389, or 636 for ldaps)")
	fs.StringVar(&s.Base, "base", "", "remote base DN")
	fs.StringVar(&c.add.attributes, "attributes", "", "attributes to take, separated by commas (all)")
	fs.StringVar(&s.Filter, "filter", "", "filter ((objectClass=*))")
	fs.StringVar(&s.Scope, "scope", "", "base, one, sub or subordinate (sub)")
	fs.BoolVar(&c.add.list, "list", false, "a list: each entry found becomes a subtree of its own, named by the template")
	fs.StringVar(&r.ContentFilter, "content-filter", "", "of a list: filter of the subtrees' content ((objectClass=*))")
	fs.StringVar(&c.add.content, "content-attributes", "", "of a list: attributes of the subtrees' content, separated by commas (all)")
	fs.BoolVar(&s.StartTLS, "starttls", false, "StartTLS on ldap, required")
	fs.StringVar(&s.BindDN, "bind-dn", "", "DN for simple bind")
	fs.StringVar(&s.PasswordFile, "password-file", "", "file with its password")
	fs.BoolVar(&s.SASLExternal, "sasl-external", false, "bind by SASL EXTERNAL: with a certificate, or over ldapi")
	fs.StringVar(&s.CAFile, "ca-file", "", "CA certificates (PEM) instead of the system's")
	fs.StringVar(&s.CertFile, "certificate", "", "certificate (PEM) to show to the server")
	fs.StringVar(&s.KeyFile, "key", "", "its key (PEM)")
	fs.TextVar(&s.Poll, "poll", upstream.Interval(0), "`interval` at which a server without SyncRepl is read, as 5m (never)")
	fs.BoolVar(&s.NewCookieEnds, "newcookie-ends-refresh", false, "take a newcookie as the end of a refresh (ApacheDS)")
	fs.BoolVar(&s.UUIDFromDN, "uuid-from-dn", false, "make up a UUID from the DN of an entry without one")
	fs.BoolVar(&r.NoDNRewrite, "no-dn-rewrite", false, "leave DN values inside the subtree as they are")
	fs.BoolVar(&r.ForwardBind, "forward-bind", false, "let who binds as one of its entries be judged by the source (over TLS or a socket alone)")
	fs.Func("guard-percent", "hold a refresh that would remove more than `N` % of the entries (guard in the configuration)", bound(&r.GuardPercent))
	fs.Func("guard-minimum", "and more than `N` of them (guard in the configuration)", bound(&r.GuardMinimum))
	fs.BoolVar(&r.NoGuard, "no-guard", false, "hold no refresh, whatever it removes")
	fs.BoolVar(&r.KeepWarm, "keep-warm", false, "follow what waits in a queue in full, so that its content is there when it is its turn (its server is only probed)")
	fs.BoolVar(&c.wait, "wait", false, "wait for the end of the first refresh; exit 1 if the source goes down")
	c.changeFlags(fs)
}

// bound reads a number that may be missing.
func bound(to **int) func(string) error {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("a number from 0 on is needed")
		}
		*to = &n
		return nil
	}
}

// make makes the request of the flags.
func (a *addFlags) make(id string) (Request, error) {
	r := a.request
	r.ID = id
	switch {
	case r.Name == "":
		return r, usage("--name is needed: where the subtree is to be")
	case len(r.URLs) == 0 && r.Source.Host == "":
		return r, usage("--url, or --protocol and --host and --base, say where the subtree is")
	case !a.list && (r.ContentFilter != "" || a.content != ""):
		return r, usage("--content-filter and --content-attributes are for a --list; a subtree has --filter and --attributes")
	case r.Source.Poll < 0:
		return r, usage("--poll %s: an interval is not negative", time.Duration(r.Source.Poll))
	case a.list:
		r.Kind = engine.KindList
	}
	if len(r.URLs) == 1 {
		r.URL, r.URLs = r.URLs[0], nil
	}
	r.Source.Attributes, r.ContentAttributes = commas(a.attributes), commas(a.content)
	for _, file := range files(&r.Source) {
		var err error
		if *file, err = absolute("", *file); err != nil {
			return r, err
		}
	}
	return r, nil
}

func commas(text string) []string {
	if text == "" {
		return nil
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func (c *cli) subscriptionAdd(ctx context.Context, args []string) error {
	r, err := c.add.make(args[0])
	if err != nil {
		return err
	}
	out, raw, err := c.client.Add(ctx, r, c.dry)
	if err := show(c, c.printAdded)(out, raw, err); err != nil {
		return err
	}
	if c.dry || out.Position > 0 && !r.KeepWarm || !c.wait && (!c.terminal || c.json) {
		return nil
	}
	return c.watch(ctx, &out)
}

func (c *cli) printAdded(a engine.Added) {
	c.printSteps(a.Check)
	did := would(a.DryRun, "added")
	switch {
	case a.Subscription.Kind == engine.KindList:
		c.line("%s %s: it makes names of the template %s", a.Subscription.ID, did, a.Subscription.Name)
	case a.Position == 0:
		c.line("%s %s: it publishes %s", a.Claim, did, a.Name)
	default:
		c.line("%s %s: it waits at position %d for %s", a.Claim, did, a.Position, a.Name)
	}
	c.printFound(a.Found, a.DryRun)
	c.printWarnings(a.Warnings)
}
