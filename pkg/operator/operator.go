// Package operator is the one service behind every door that an operator has:
// commands and queries over the engine, spoken as JSON over HTTP on the control
// socket, the client for it, and the command line made of that client.
//
//	GET    /api/v1/status
//	GET    /api/v1/subscriptions          POST (add; ?dry_run=true)
//	GET    /api/v1/subscriptions/{id}     DELETE (?dry_run=true)
//	POST   /api/v1/subscriptions/{id}/check
//	GET    /api/v1/names                  /api/v1/names/{dn}
//	GET    /api/v1/queues/{dn}
//
// A refusal is application/problem+json (RFC 9457). Whoever may open the
// control socket is admin; the socket's mode is the lock.
package operator

import (
	"context"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

// Engine is what this package asks of the engine; *engine.Engine has it.
type Engine interface {
	Status(context.Context) (*engine.Status, error)
	Subscriptions(context.Context) ([]engine.Subscription, error)
	Subscription(ctx context.Context, id string) (*engine.Subscription, error)
	AddSubscription(ctx context.Context, s engine.Subscription, dryRun bool) (*engine.Added, error)
	RemoveSubscription(ctx context.Context, id string, dryRun bool) (*engine.Removed, error)
	CheckSubscription(ctx context.Context, id string) (*engine.Checked, error)
	Names(context.Context) ([]engine.Name, error)
	Name(ctx context.Context, dn string) (*engine.Name, error)
}

// Request is what adding a subscription takes: an LDAP URL or the separate
// fields in Source, which make the same record (R8).
type Request struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	URL         string          `json:"url,omitempty"`
	Source      upstream.Source `json:"source"`
	NoDNRewrite bool            `json:"no_dn_rewrite,omitempty"`
}

// Subscription makes the record, with what was repaired on the way.
func (r *Request) Subscription() (engine.Subscription, []string, error) {
	s := engine.Subscription{ID: r.ID, Kind: engine.KindTree, Name: r.Name, Source: r.Source, NoDNRewrite: r.NoDNRewrite}
	if r.URL == "" {
		return s, nil, nil
	}
	given := r.Source
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"protocol", given.Protocol != ""}, {"host", given.Host != ""}, {"port", given.Port != 0}, {"base", given.Base != ""},
		{"attributes", len(given.Attributes) > 0}, {"filter", given.Filter != ""}, {"scope", given.Scope != ""},
	} {
		if f.set {
			return s, nil, invalid("a URL and a separate %s were given; one of the two says it", f.name)
		}
	}
	src, warnings, err := upstream.ParseURL(r.URL)
	if err != nil {
		return s, nil, invalid("%v", err)
	}
	src.StartTLS = src.StartTLS || given.StartTLS // the URL can ask for it too
	src.BindDN, src.PasswordFile, src.CAFile = given.BindDN, given.PasswordFile, given.CAFile
	s.Source = src
	return s, warnings, nil
}

// Queue is one name's queue, head first.
type Queue struct {
	DN     string        `json:"dn"`
	Claims []engine.Link `json:"claims"`
}
