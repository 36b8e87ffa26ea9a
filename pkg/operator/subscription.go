package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

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
	return show(c, func(out engine.Changed) {
		c.printSteps(out.Check)
		did := "stays as it is"
		if len(out.Fields) > 0 {
			did = would(out.DryRun, "changed") + ": " + strings.Join(out.Fields, ", ")
		}
		c.line("%s %s", out.Subscription.ID, did)
		if out.Effect != "" {
			c.line("%s", out.Effect)
		}
		if len(out.Goes) > 0 {
			c.line("would go: %d", len(out.Goes))
			c.printSome(out.Goes)
		}
		c.printFound(out.Found, out.DryRun)
		c.printWarnings(out.Warnings)
	})(c.client.Set(ctx, args[0], fields, c.dry))
}

func (c *cli) subscriptionList(ctx context.Context, _ []string) error {
	return show(c, func(list []engine.Subscription) {
		rows := [][]string{{"ID", "KIND", "NAME", "SOURCE"}}
		for _, s := range list {
			rows = append(rows, []string{s.ID, s.Kind, s.Name, s.URL})
		}
		c.table(rows)
	})(c.client.Subscriptions(ctx))
}

func (c *cli) subscriptionShow(ctx context.Context, args []string) error {
	s, raw, err := c.client.Subscription(ctx, args[0])
	if err != nil || c.json {
		return show[engine.Subscription](c, nil)(s, raw, err)
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

func (c *cli) printSubscription(s *engine.Subscription, link *engine.Link) {
	src := &s.Source
	rows := [][]string{{"id", s.ID}, {"kind", s.Kind}}
	if s.Kind == engine.KindList {
		rows = append(rows, []string{"template", s.Name})
	} else {
		rows = append(rows, []string{"name", s.Name})
	}
	rows = append(rows, []string{"source", s.URL}, []string{"server", orDash(link.Server)}, []string{"state", link.State},
		[]string{"reason", orDash(link.Reason)}, []string{"last contact", orDash(link.LastContact)})
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
	if s.ForwardBind {
		rows = append(rows, []string{"binds", "of its entries are forwarded"})
	}
	c.table(append(rows, []string{"DN values moved", yesNo(!s.NoDNRewrite)}, []string{"kept warm", yesNo(s.KeepWarm)}, []string{"guard", guardWords(s)}))
}

// guardWords says how much may go at once.
func guardWords(s *engine.Subscription) string {
	var own []string
	if s.GuardPercent != nil {
		own = append(own, fmt.Sprintf("%d %%", *s.GuardPercent))
	}
	if s.GuardMinimum != nil {
		own = append(own, fmt.Sprintf("at least %d", *s.GuardMinimum))
	}
	switch {
	case s.NoGuard:
		return "off"
	case len(own) > 0:
		return strings.Join(own, ", ")
	}
	return "as configured"
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
	return show(c, c.printRemoved)(c.client.Remove(ctx, args[0], c.dry))
}

func (c *cli) printRemoved(r engine.Removed) {
	did := "removed"
	if r.Suppressed {
		did = "suppressed"
	}
	did = would(r.DryRun, did)
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
	if err := show(c, func(r engine.Checked) { c.printSteps(r.Steps) })(r, raw, err); err != nil {
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
