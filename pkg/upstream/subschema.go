package upstream

import (
	"context"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/syncrepl"
)

// Subschemas takes what servers say of their schema (RFC 4512 section 4.4). Both
// may be called by any goroutine, and must not wait.
type Subschemas interface {
	// Due tells whether the server's is to be read, which it then is once.
	Due(server string) bool
	// Take gets the definitions, in the order of the server.
	Take(server string, list []schema.Learned)
}

const (
	attrSubschema    = "subschemaSubentry"
	defaultSubschema = "cn=Subschema"
	// maxDefinitions is ten times what slapd has with all its schema files.
	maxDefinitions = 20000
)

// readSubschema has the server's schema taken, where that is due. A server that does
// not show it is none the worse; one that does not answer ends the connection,
// and is not asked again with the next.
func (c *conn) readSubschema(ctx context.Context, o Options) error {
	if o.Subschemas == nil || !o.Subschemas.Due(c.server) {
		return nil
	}
	at := ""
	if err := c.baseEntry(ctx, o, "", []string{attrSubschema}, func(m *syncrepl.Message) {
		if dns := values(m.Attrs, attrSubschema); len(dns) > 0 {
			at = dns[0]
		}
	}); err != nil {
		return err
	}
	if at == "" {
		at = defaultSubschema
	}
	var list []schema.Learned
	kinds := []string{"ldapSyntaxes", "attributeTypes", "objectClasses"}
	err := c.baseEntry(ctx, o, at, kinds, func(m *syncrepl.Message) {
		for _, kind := range kinds {
			for _, text := range values(m.Attrs, kind) {
				if len(list) < maxDefinitions {
					list = append(list, schema.Learned{Kind: kind, Text: text})
				}
			}
		}
	})
	if err == nil && len(list) > 0 {
		o.Subschemas.Take(c.server, list)
	}
	return err
}

// baseEntry reads one entry, if the server shows it.
func (c *conn) baseEntry(ctx context.Context, o Options, base string, attributes []string, take func(*syncrepl.Message)) error {
	q := plain{base: base, scope: ldap.ScopeBaseObject, attributes: attributes,
		filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}}
	err := c.within(o.DialTimeout, func() error {
		return c.entries(ctx, o, q, func(m *syncrepl.Message) error { take(m); return nil })
	})
	if err != nil && answered(err) {
		return nil
	}
	return err
}
