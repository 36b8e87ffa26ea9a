package operator

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
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
	poll       time.Duration
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
	fs.DurationVar(&c.add.poll, "poll", 0, "`interval` at which a server without SyncRepl is read (never)")
	fs.BoolVar(&s.NewCookieEnds, "newcookie-ends-refresh", false, "take a newcookie as the end of a refresh (ApacheDS)")
	fs.BoolVar(&s.UUIDFromDN, "uuid-from-dn", false, "make up a UUID from the DN of an entry without one")
	fs.BoolVar(&r.NoDNRewrite, "no-dn-rewrite", false, "leave DN values inside the subtree as they are")
	fs.BoolVar(&c.wait, "wait", false, "wait for the end of the first refresh; exit 1 if the source goes down")
	c.changeFlags(fs)
}

// request makes the request of the flags.
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
	case a.poll < 0:
		return r, usage("--poll %s: an interval is not negative", a.poll)
	case a.list:
		r.Kind = engine.KindList
	}
	if len(r.URLs) == 1 {
		r.URL, r.URLs = r.URLs[0], nil
	}
	r.Source.Attributes, r.ContentAttributes = commas(a.attributes), commas(a.content)
	r.Source.Poll = upstream.Interval(a.poll)
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
	if err != nil {
		return err
	}
	if err := c.show(raw, func() { c.printAdded(out) }); err != nil {
		return err
	}
	if c.dry || out.Position > 0 || !c.wait && (!c.terminal || c.json) {
		return nil
	}
	return c.watch(ctx, &out)
}

func (c *cli) printAdded(a engine.Added) {
	c.printSteps(a.Check)
	did := "added"
	if a.DryRun {
		did = "would be added"
	}
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

// printWarnings prints each on a line of its own.
func (c *cli) printWarnings(warnings []string) {
	for _, w := range warnings {
		c.line("warning: %s", w)
	}
}

func (c *cli) printSteps(steps []upstream.Step) {
	rows := [][]string{}
	for _, s := range steps {
		rows = append(rows, []string{s.Name, okOrFailed(s.OK), fmt.Sprintf("%d ms", s.Millis), s.Detail})
	}
	c.table(rows)
}

func okOrFailed(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

// fileFields of a subscription hold paths.
var fileFields = []string{"password_file", "ca_file", "certificate", "key"}

func (c *cli) subscriptionSet(ctx context.Context, args []string) error {
	fields := Fields{}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
		before, twice := fields[name]
		switch {
		case ok && twice && name == fieldURL:
			value = before + " " + value // further servers
		case !ok || name == "" || twice:
			return usage("%q: FIELD=VALUE is needed, each field once", arg)
		}
		if slices.Contains(fileFields, name) {
			var err error
			if value, err = absolute("", value); err != nil {
				return err
			}
		}
		fields[name] = value
	}
	out, raw, err := c.client.Set(ctx, args[0], fields, c.dry)
	if err != nil {
		return err
	}
	return c.show(raw, func() {
		c.printSteps(out.Check)
		did := "changed"
		if out.DryRun {
			did = "would be changed"
		}
		if len(out.Fields) == 0 {
			c.line("%s is like that already", out.Subscription.ID)
		} else {
			c.line("%s %s: %s", out.Subscription.ID, did, strings.Join(out.Fields, ", "))
		}
		if out.Effect != "" {
			c.line("%s", out.Effect)
		}
		c.printFound(out.Found, out.DryRun)
		c.printWarnings(out.Warnings)
	})
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
	if err != nil || c.json {
		return c.orShow(raw, err)
	}
	link, _, err := c.client.SourceState(ctx, s.ID)
	if err != nil {
		return err
	}
	var found []engine.Found
	if s.Kind == engine.KindList {
		if found, _, err = c.client.Members(ctx, s.ID); err != nil {
			return err
		}
	}
	c.printSubscription(&s, &link)
	if s.Kind == engine.KindList {
		c.line("")
		c.line("%s", plural(len(found), "entry found", "entries found"))
		c.printFound(found, false)
	}
	return nil
}

// orShow prints the answer as it came, unless there is none.
func (c *cli) orShow(raw []byte, err error) error {
	if err != nil {
		return err
	}
	return c.show(raw, func() {})
}

func (c *cli) printSubscription(s *engine.Subscription, link *engine.Link) {
	src := &s.Source
	rows := [][]string{{"id", s.ID}, {"kind", s.Kind}}
	if s.Kind == engine.KindList {
		rows = append(rows, []string{"template", s.Name})
	} else {
		rows = append(rows, []string{"name", s.Name})
	}
	rows = append(rows, []string{"source", s.URL}, []string{"state", link.State}, []string{"reason", orDash(link.Reason)},
		[]string{"last contact", orDash(link.LastContact)})
	for _, server := range src.Servers {
		rows = append(rows, []string{"further server", address(server)})
	}
	rows = append(rows, []string{"base", src.Base}, []string{"scope", src.Scope}, []string{"filter", src.Filter},
		[]string{"attributes", orAll(src.Attributes)})
	if s.Kind == engine.KindList {
		rows = append(rows, []string{"content filter", cmp.Or(s.ContentFilter, upstream.AllEntries)},
			[]string{"content attributes", orAll(s.ContentAttributes)})
	}
	rows = append(rows, []string{"StartTLS", yesNo(src.StartTLS)}, []string{"bind", identity(src)})
	for _, file := range [][]string{{"password file", src.PasswordFile}, {"CA file", src.CAFile},
		{"certificate", src.CertFile}, {"key", src.KeyFile}} {
		if file[1] != "" {
			rows = append(rows, file)
		}
	}
	if src.Poll > 0 {
		rows = append(rows, []string{"polled every", time.Duration(src.Poll).String()})
	}
	if src.NewCookieEnds {
		rows = append(rows, []string{"end of a refresh", "a newcookie too"})
	}
	if src.UUIDFromDN {
		rows = append(rows, []string{"UUIDs", "of the DN where there is none"})
	}
	c.table(append(rows, []string{"DN values moved", yesNo(!s.NoDNRewrite)}))
}

// identity says as whom a source is asked.
func identity(src *upstream.Source) string {
	switch {
	case src.SASLExternal:
		return "SASL EXTERNAL"
	case src.BindDN != "":
		return src.BindDN
	}
	return "anonymous"
}

func address(s upstream.Server) string {
	one := upstream.Source{Protocol: s.Protocol, Host: s.Host, Port: s.Port, Socket: s.Socket}
	text, _, _ := strings.Cut(one.URL(), "?")
	return strings.TrimSuffix(text, "/")
}

func (c *cli) subscriptionRemove(ctx context.Context, args []string) error {
	r, raw, err := c.client.Remove(ctx, args[0], c.dry)
	if err != nil {
		return err
	}
	return c.show(raw, func() { c.printRemoved(&r) })
}

func (c *cli) printRemoved(r *engine.Removed) {
	did := "removed"
	if r.DryRun {
		did = "would be removed"
	}
	switch {
	case len(r.Names) == 0:
		c.line("%s %s; it has no claim", r.ID, did)
	case len(r.Names) == 1:
		c.line("%s %s; its claim on %s goes", r.ID, did, r.Names[0])
	default:
		c.line("%s %s; its claims on %d names go:", r.ID, did, len(r.Names))
		c.printSome(r.Names)
	}
	c.printWarnings(r.Warnings)
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
		return fmt.Errorf("the check of %s failed at %s", r.ID, failedAt(r.Steps))
	}
	return nil
}

// failedAt names the first step that failed.
func failedAt(steps []upstream.Step) string {
	for _, s := range steps {
		if !s.OK {
			return s.Name
		}
	}
	return "its end"
}
