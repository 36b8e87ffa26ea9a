package ldapd

import (
	"context"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/dit"
)

// Binds knows which entries bind with the passwords that they have at their sources.
type Binds interface {
	// ForwardsBinds tells whether the content of a source begins at top, and whether
	// its entries, of the claim with that number, may bind. It is called by anyone at any
	// time, and must not wait.
	ForwardsBinds(claim uint32, top dit.DN) (forwards, begins bool)
	// Bind has the source whose content begins at top judge a password of its entry dn,
	// of the claim with that number: the content of another claim does not judge it. An error tells why it could not be asked. It is called by anyone at any time, keeps
	// nothing of the password, and ends soon after ctx.
	Bind(ctx context.Context, claim uint32, top, dn dit.DN, password []byte) (right bool, err error)
}

// binder is an entry that binds, and where the content that it is of begins.
type binder struct {
	claim   uint32
	top, dn dit.DN
}

// forwarded finds the entry that binds: one from a source that judges passwords, of which
// whoever is connected may know. false: there is none.
func (c *conn) forwarded(norm string) (b binder, ok bool) {
	if c.srv.opt.Binds == nil {
		return b, false
	}
	ver := c.srv.opt.Backend.Version()
	id, _ := ver.Find(norm)
	if id == 0 || ver.Row(id).Claim == 0 {
		return b, false
	}
	g := c.guard(ver, access.Compare)
	defer g.release()
	if !g.knows(ver.Entry(id)) {
		return b, false
	}
	b.claim, b.dn = ver.Row(id).Claim, nameOf(ver, id)
	for n := b.dn.Len(); n > 0; n-- {
		b.top = b.dn.Last(n)
		if forwards, begins := c.srv.opt.Binds.ForwardsBinds(b.claim, b.top); begins {
			return b, forwards
		}
	}
	return b, false
}

// forward has an entry's password judged where the entry comes from.
func (c *conn) forward(b binder, password []byte) result {
	if !c.confidential() {
		return result{code: ldapserver.LDAPResultConfidentialityRequired, text: "the password of this entry is sent on to its source: use TLS"}
	}
	norm := b.dn.Norm()
	right, err := c.srv.opt.Binds.Bind(stopping{context.Background(), c.stopping}, b.claim, b.top, b.dn, password)
	switch {
	case err != nil:
		c.log.Warn("bind not forwarded", "dn", b.dn.String(), "error", err)
		return result{code: ldapserver.LDAPResultUnavailable, text: "the server that this entry comes from cannot be asked; try again later"}
	case !right:
		c.srv.slow.failed(c.origin, norm, c.srv.opt.Now())
		return notGood
	}
	c.srv.slow.passed(c.origin, norm)
	c.who = &identity{dn: b.dn.String(), norm: norm}
	c.traceBound(mechSimple)
	return result{}
}

// confidential tells whether nobody between here and the client reads along: TLS, a
// unix socket, or the same machine. What a balancer says is its client's is none of these.
func (c *conn) confidential() bool {
	return c.tls != nil || c.cred != nil || !c.via.proxy && c.peer.Addr().IsLoopback()
}

// stopping is the context of what ends when the connection is to shut down.
type stopping struct {
	context.Context
	stop <-chan struct{}
}

func (s stopping) Done() <-chan struct{} { return s.stop }

func (s stopping) Err() error {
	select {
	case <-s.stop:
		return context.Canceled
	default:
		return nil
	}
}
