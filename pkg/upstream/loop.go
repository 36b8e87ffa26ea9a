package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// Attributes of a Shaft's root DSE (RFC 4512 section 5.1): its own id, and the
// ids of those that it follows, directly or through others.
const (
	attrInstance = "shaftInstance"
	attrUpstream = "shaftUpstream"
)

const (
	maxInstances  = 1000              // more than anyone chains; others are not passed on
	maxInstanceID = 128               // bytes; ids are UUIDs
	maxValues     = 10 * maxInstances // are looked at, since a message may hold millions
)

// errLoop is the reason of whoever would follow itself (R17).
var errLoop = errors.New("this is a loop")

// learn asks the server which Shaft it is and whom it follows, and refuses it
// where we are among them. A server that has no such attributes, or shows nothing
// of its root DSE, is no Shaft. Without an id of our own nothing is asked.
func (c *conn) learn(ctx context.Context, o Options) error {
	if o.Instance == "" {
		return nil
	}
	q := plain{scope: ldap.ScopeBaseObject, attributes: []string{attrInstance, attrUpstream},
		filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}}
	var own, followed []string
	entries := 0
	err := c.within(o.DialTimeout, func() error {
		return c.entries(ctx, o, q, func(m *syncrepl.Message) error {
			if entries++; entries > 1 {
				return errors.New("the server sent more than one")
			}
			own = values(m.Attrs, attrInstance)
			followed = values(m.Attrs, attrUpstream)
			return nil
		})
	})
	if err != nil && !answered(err) {
		return fmt.Errorf("read the root DSE: %w", err)
	}
	return c.judge(own, followed, o.Instance)
}

// values are the first of those of an attribute, whose name may be in either case.
func values(attrs dit.Run, name string) (out []string) {
	for {
		desc, set, rest, ok := attrs.Next()
		if !ok {
			return out
		}
		attrs = rest
		if !strings.EqualFold(string(desc), name) {
			continue
		}
		for r := ber.NewReader(set); r.More() && len(out) < maxValues; {
			value, err := r.Read(ber.OctetString)
			if err != nil {
				return out
			}
			out = append(out, string(value))
		}
	}
}

// judge looks for our own id among those that the server is, and follows.
func (c *conn) judge(own, followed []string, us string) error {
	is := func(id string) bool { return strings.EqualFold(id, us) }
	if slices.ContainsFunc(own, is) {
		return inWords(errLoop, "this is a loop: %s is this Shaft itself", c.server)
	}
	c.instances = known(append(own, followed...))
	if slices.ContainsFunc(followed, is) {
		return inWords(errLoop, "this is a loop: %s is the Shaft %s, which follows this one", c.server, strings.Join(known(own), ", "))
	}
	return nil
}

// known drops what is no id, or is there twice.
func known(ids []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, id := range ids {
		if id == "" || len(id) > maxInstanceID || seen[id] || len(out) == maxInstances {
			continue
		}
		seen[id] = true
		out = append(out, id)
	}
	return out
}

// loop is the step of a check.
func (k *check) loop(ctx context.Context) (string, error) {
	if k.o.Instance == "" {
		return "", errNoStep
	}
	if err := k.conn.learn(ctx, k.o); err != nil {
		return "", err
	}
	switch ids := k.conn.instances; len(ids) {
	case 0:
		return "the server is no Shaft", nil
	case 1:
		return fmt.Sprintf("the Shaft %s, which follows no other", ids[0]), nil
	default:
		return fmt.Sprintf("the Shaft %s, which follows %s", ids[0], strings.Join(ids[1:], ", ")), nil
	}
}
