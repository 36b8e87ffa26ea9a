package ldapd

import (
	"bytes"

	"shaft/pkg/dit"
)

// resultAuthorizationDenied is RFC 4370 section 3.
const resultAuthorizationDenied = 123

// proxied does a request as somebody else (RFC 4370), for accounts that may.
// While it lasts the client is who it says, and nothing of what it is itself
// counts but where it comes from.
func (c *conn) proxied(req *request, ctl *requestControls, canonical bool) error {
	who, refusal := c.assumed(ctl.authzID)
	if refusal.code != 0 {
		return c.reply(req, refusal)
	}
	as := ""
	if who != nil {
		as = who.dn
	}
	c.traceOp("PROXYAUTHZ dn=%s", quoted([]byte(as)))
	own, subject := c.who, c.subject
	c.who, c.subject, c.grants = who, "", nil
	defer func() { c.who, c.subject, c.grants = own, subject, nil }()
	return c.dispatch(req, ctl, canonical)
}

// assumed gives the identity of an authzId (RFC 4513 section 5.2.1.8), nil for
// anonymous.
func (c *conn) assumed(authzID []byte) (*identity, result) {
	denied := result{code: resultAuthorizationDenied, text: "this identity may not act for another"}
	if c.who == nil || !c.who.proxy || !c.account().proxy {
		return nil, denied
	}
	if len(authzID) == 0 {
		return nil, result{}
	}
	text, ok := bytes.CutPrefix(authzID, []byte("dn:"))
	if !ok {
		denied.text = "an identity is named as dn:DN here"
		return nil, denied
	}
	dn, err := dit.ParseDN(c.srv.opt.Backend.Version().Schema(), string(text))
	switch {
	case err != nil:
		denied.text = err.Error()
		return nil, denied
	case dn.IsEmpty():
		return nil, result{}
	}
	return &identity{dn: dn.String(), norm: dn.Norm()}, result{}
}
