package ldapd

import (
	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// readOnly is the answer to every write that is not referred elsewhere (R43).
const readOnly = "this server is read-only: change the entry at its source"

// Origins knows where entries come from.
type Origins interface {
	// Origins gives LDAP URLs of the entry dn at its source, which need not have it,
	// when the content of a source begins at top, dn itself or an ancestor of it;
	// begins is false when none does. There are none where the content is of another claim
	// than the one with the number claim (0: of any). It is called by anyone at any time, and must not wait.
	Origins(claim uint32, top, dn dit.DN) (urls []string, begins bool)
}

// refuseWrite answers add, modify, delete and rename.
func refuseWrite(w ldapserver.ResponseWriter, _ *ldapserver.Message) {
	r := w.(*responder)
	r.err = r.c.reply(r.req, r.c.refuseWrite(r.req, r.ctl))
}

func (c *conn) refuseWrite(req *request, ctl *requestControls) result {
	refused := result{code: ldapserver.LDAPResultUnwillingToPerform, text: readOnly}
	if c.srv.opt.Origins == nil {
		return refused
	}
	text, moves := writeTarget(req)
	ver := c.srv.opt.Backend.Version()
	dn, err := dit.ParseDN(ver.Schema(), string(text))
	if err != nil {
		return result{code: ldapserver.LDAPResultInvalidDNSyntax, text: err.Error()}
	}
	if moves {
		refused.text = "this server is read-only: move the entry at its source, where the new superior has a name of its own"
		return refused
	}
	g := c.guard(ver, access.Read)
	defer g.release()
	if !ctl.manage {
		if referral := referralFor(ver, g, dn, ""); referral.code != 0 {
			return referral
		}
	}
	if urls := c.origins(ver, g, dn); len(urls) > 0 {
		return result{code: ldapserver.LDAPResultReferral, referral: urls, text: "this server is read-only; the entry comes from there"}
	}
	return refused
}

// writeTarget gives the DN that a write names; moves: a rename that has a new superior.
func writeTarget(req *request) (dn []byte, moves bool) {
	if req.op == tagDelete {
		return req.body, false
	}
	r := ber.NewReader(req.body)
	dn, _ = r.Read(ber.OctetString) // the library has decoded it before
	if req.op != tagModifyDN {
		return dn, false
	}
	for r.More() {
		tag, _, err := r.Any()
		if err != nil {
			return dn, false
		}
		moves = tag == ber.ContextPrimitive(0)
	}
	return dn, moves
}

// origins gives the URLs of an entry at its source: that of the nearest name around
// it which the client may know of.
func (c *conn) origins(ver *tree.Version, g *guard, dn dit.DN) []string {
	if c.srv.opt.Origins == nil {
		return nil
	}
	var claim uint32 // of the nearest entry that is of any
	for n := dn.Len(); n > 0; n-- {
		top := dn.Last(n)
		id, _ := ver.Find(top.Norm())
		if id == 0 || !g.knows(ver.Entry(id)) {
			continue
		}
		if claim == 0 {
			claim = ver.Row(id).Claim
		}
		if urls, begins := c.srv.opt.Origins.Origins(claim, top, dn); begins {
			return urls
		}
	}
	return nil
}

// condition refuses what a control makes conditional: an assertion that does not
// hold of the target (RFC 4528), or a copy where none is wanted (RFC 6171). Only
// what Shaft itself makes is no copy: the root DSE, the schema, the base entry, glue.
func (c *conn) condition(ver *tree.Version, g *guard, t target, ctl *requestControls, scope tree.Scope) result {
	if ctl.assert != nil {
		if refusal := c.assertion(ver, g, t, ctl.assert); refusal.code != 0 {
			return refusal
		}
	}
	if !ctl.original || t.fixed != nil || t.monitor != "" || scope == tree.Base && ver.Row(t.id).Claim == 0 {
		return result{}
	}
	if urls := c.origins(ver, g, nameOf(ver, t.id)); len(urls) > 0 {
		return result{code: ldapserver.LDAPResultReferral, referral: urls, text: "this is a copy; the entry comes from there"}
	}
	return result{code: ldapserver.LDAPResultUnwillingToPerform, text: "what is served here is a copy"}
}

// assertion evaluates a filter on the target as the client sees it.
func (c *conn) assertion(ver *tree.Version, g *guard, t target, f *dit.Filter) result {
	m := dit.Compile(ver.Schema(), undefine(*f))
	var v view
	switch {
	case t.fixed != nil:
		v = *t.fixed
	case t.monitor != "":
		var refusal result
		if v, refusal = c.monitoredView(ver, t.monitor, g); refusal.code != 0 {
			return refusal
		}
	case !g.sees(ver.Entry(t.id)):
		return result{code: ldapserver.LDAPResultInsufficientAccessRights, text: "the entry may not be read"}
	default:
		v = g.show(&c.x, ver.Entry(t.id), m.NeedsOper())
	}
	if m.Match(textOf(v.dn), v.user, v.oper) != dit.True {
		return result{code: resultAssertionFailed, text: "the assertion does not hold"}
	}
	return result{}
}
