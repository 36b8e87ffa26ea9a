package operator

import (
	"fmt"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// Request is a subscription as an operator gives it: LDAP URLs or the separate
// fields in Source, which make the same record (R8).
type Request struct {
	ID                string          `json:"id" api:"required"`
	Kind              string          `json:"kind,omitempty"`      // tree or list; tree where none is given
	Name              string          `json:"name" api:"required"` // local name; of a list its template
	URL               string          `json:"url,omitempty"`       // the source in one line
	URLs              []string        `json:"urls,omitempty"`      // several servers of it, in order; not beside URL
	Source            upstream.Source `json:"source"`
	ContentFilter     string          `json:"content_filter,omitempty"`
	ContentAttributes []string        `json:"content_attributes,omitempty"`
	NoDNRewrite       bool            `json:"no_dn_rewrite,omitempty"`
	KeepWarm          bool            `json:"keep_warm,omitempty"`
	ForwardBind       bool            `json:"forward_bind,omitempty"`
	// Bounds of what may go at once (R36); those of the configuration where none are given.
	GuardPercent *int `json:"guard_percent,omitempty"`
	GuardMinimum *int `json:"guard_minimum,omitempty"`
	NoGuard      bool `json:"no_guard,omitempty"`
}

// Document is what export gives and apply takes: all that operators entered (R54).
type Document struct {
	Subscriptions []Request `json:"subscriptions" api:"required"` // in the order of their claims
	// Decisions are renames and suppressions of lists' claims.
	Decisions []engine.Decision `json:"decisions,omitempty"`
}

// exported is the document of the engine's subscriptions. They are given by their
// fields, which say all; a file that comes back may use URLs instead.
func exported(d *engine.Document) Document {
	out := Document{Subscriptions: []Request{}, Decisions: d.Decisions}
	for _, s := range d.Subscriptions {
		out.Subscriptions = append(out.Subscriptions, Request{ID: s.ID, Kind: s.Kind, Name: s.Name, Source: s.Source,
			ContentFilter: s.ContentFilter, ContentAttributes: s.ContentAttributes, NoDNRewrite: s.NoDNRewrite,
			KeepWarm: s.KeepWarm, ForwardBind: s.ForwardBind, GuardPercent: s.GuardPercent, GuardMinimum: s.GuardMinimum, NoGuard: s.NoGuard})
	}
	return out
}

// records makes the engine's document, with what was repaired on the way. What
// cannot be made is left out of it and told in faults.
func (d *Document) records() (out engine.Document, warnings []string, faults engine.Faults) {
	seen := map[string]bool{}
	for i := range d.Subscriptions {
		r := &d.Subscriptions[i]
		if seen[r.ID] {
			faults = append(faults, engine.Fault{Subscription: r.ID, Field: "id", Reason: "it stands in the document twice"})
			continue
		}
		seen[r.ID] = true
		s, repaired, err := r.Subscription()
		if err != nil {
			faults = append(faults, engine.Fault{Subscription: r.ID, Field: "url", Reason: err.Error()})
			continue
		}
		for _, w := range repaired {
			warnings = append(warnings, fmt.Sprintf("%s: %s", r.ID, w))
		}
		out.Subscriptions = append(out.Subscriptions, s)
	}
	if len(faults) == 0 { // else they may be about what is left out
		out.Decisions = d.Decisions
	}
	return out, warnings, faults
}

// Subscription makes the record, with what was repaired on the way.
func (r *Request) Subscription() (engine.Subscription, []string, error) {
	s := engine.Subscription{ID: r.ID, Kind: r.Kind, Name: r.Name, Source: r.Source, ContentFilter: r.ContentFilter,
		ContentAttributes: r.ContentAttributes, NoDNRewrite: r.NoDNRewrite, KeepWarm: r.KeepWarm, ForwardBind: r.ForwardBind,
		GuardPercent: r.GuardPercent, GuardMinimum: r.GuardMinimum, NoGuard: r.NoGuard}
	if s.Kind == "" {
		s.Kind = engine.KindTree
	}
	urls := r.URLs
	switch {
	case r.URL != "" && len(urls) > 0:
		return s, nil, invalid("url and urls were given; one of the two says it")
	case r.URL != "":
		urls = []string{r.URL}
	case len(urls) == 0:
		return s, nil, nil
	}
	if field := besideURL(&r.Source); field != "" {
		return s, nil, invalid("a URL and a separate %s were given; one of the two says it", field)
	}
	src, warnings, err := upstream.ParseURLs(urls)
	if err != nil {
		return s, nil, invalid("%v", err)
	}
	given := r.Source
	given.StartTLS = given.StartTLS || src.StartTLS // a URL can ask for it too
	given.Protocol, given.Host, given.Port, given.Socket, given.Servers = src.Protocol, src.Host, src.Port, src.Socket, src.Servers
	given.Base, given.Attributes, given.Filter, given.Scope = src.Base, src.Attributes, src.Filter, src.Scope
	s.Source = given
	return s, warnings, nil
}

// besideURL names a field that a URL says already.
func besideURL(src *upstream.Source) string {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"protocol", src.Protocol != ""}, {"host", src.Host != ""}, {"port", src.Port != 0}, {"socket", src.Socket != ""},
		{"servers", len(src.Servers) > 0}, {"base", src.Base != ""}, {"attributes", len(src.Attributes) > 0},
		{"filter", src.Filter != ""}, {"scope", src.Scope != ""},
	} {
		if f.set {
			return f.name
		}
	}
	return ""
}

func invalid(format string, args ...any) error {
	return &queue.Refusal{Kind: queue.KindInvalid, Reason: fmt.Sprintf(format, args...)}
}

// The kinds of problems that arise here; the others are the core's.
const (
	kindTooLarge = "too-large" // the body
	kindMethod   = "method"    // the route takes others
	kindClosing  = "closing"   // the daemon is
	kindFailed   = "failed"    // what is no refusal
	kindBusy     = "busy"      // with another such request
)
