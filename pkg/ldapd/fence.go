package ldapd

import (
	"errors"
	"fmt"

	"github.com/vjeantet/goldap/message"
	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// This file is all that uses the library's message types and router. What goes
// in is a canonical copy of the operation under message ID 1, free of controls;
// what comes out is an operation, whose envelope is written here. So none of
// the library's faults in message IDs, framing, BER and controls is reached.

// routes maps the operations that are not on the hot path to their handlers.
func routes() *ldapserver.RouteMux {
	m := ldapserver.NewRouteMux()
	m.Compare(handleCompare)
	m.Add(refuseWrite)
	m.Modify(refuseWrite)
	m.Delete(refuseWrite)
	m.Extended(handleWhoAmI).RequestName(ldapserver.NoticeOfWhoAmI)
	m.Extended(handleStartTLS).RequestName(ldapserver.NoticeOfStartTLS)
	m.Cancel(handleCancel) // else the library would look at its own connection
	m.NotFound(refuseOther)
	return m
}

// responder answers one routed request; handlers take their connection from it.
type responder struct {
	c   *conn
	req *request
	ctl *requestControls
	err error
}

// Write sends an operation as the library encodes it, within our envelope.
func (r *responder) Write(op message.ProtocolOp) {
	encoded, err := message.NewLDAPMessageWithProtocolOp(op).Write()
	if err != nil {
		r.err = err
		return
	}
	outer := ber.NewReader(encoded.Bytes())
	m, err := outer.Enter(ber.Sequence)
	if err == nil {
		_, _, err = m.Any() // the message ID, which the library has wrong
	}
	if err != nil {
		r.err = err
		return
	}
	tag, element, err := m.Raw()
	if err != nil || tag != response(r.req.op) {
		r.err = fmt.Errorf("reply of tag 0x%02x to a request of 0x%02x: %w", byte(tag), byte(r.req.op), err)
		return
	}
	r.c.out = append(appendEnvelope(r.c.out[:0], r.req.id, len(element)), element...)
	r.err = r.c.send()
}

// handleRouted passes a request through the library's decoder and router.
func (c *conn) handleRouted(req *request, ctl *requestControls, canonical bool) error {
	m, err := decodeRouted(req, canonical)
	if err != nil {
		return c.reply(req, result{code: ldapserver.LDAPResultProtocolError, text: "the request cannot be decoded"})
	}
	r := &responder{c: c, req: req, ctl: ctl}
	c.srv.mux.ServeLDAP(r, &ldapserver.Message{LDAPMessage: &m})
	return r.err
}

// decodeRouted has the library decode the operation; its panics are errors.
func decodeRouted(req *request, canonical bool) (m message.LDAPMessage, err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("decode: %v", e)
		}
	}()
	body := req.body
	if !canonical && req.op.Constructed() {
		if body, err = appendCanonical(nil, body); err != nil {
			return m, err
		}
	}
	frame := ber.AppendHeader(nil, ber.Sequence, 3+ber.HeaderLen(len(body))+len(body))
	frame = ber.AppendInt(frame, ber.Integer, 1)
	frame = ber.AppendBytes(frame, req.op, body)
	return message.ReadLDAPMessage(message.NewBytes(0, frame))
}

func handleCompare(w ldapserver.ResponseWriter, m *ldapserver.Message) {
	r, req := w.(*responder), m.GetCompareRequest()
	r.err = r.c.reply(r.req, r.c.compare(r.ctl, string(req.Entry()), string(req.Ava().AttributeDesc()), string(req.Ava().AssertionValue())))
}

// compare is an equality filter on one entry (RFC 4511 section 4.10).
func (c *conn) compare(ctl *requestControls, dn, attr, value string) result {
	ver := c.srv.opt.Backend.Version()
	g := c.guard(ver, access.Compare)
	defer g.release()
	t, refusal := c.findTarget(ver, []byte(dn), ctl, g)
	if refusal.code == 0 {
		refusal = c.condition(ver, g, t, ctl, tree.Base)
	}
	if refusal.code != 0 {
		return refusal
	}
	var v view
	if t.fixed != nil {
		v = *t.fixed
	} else if t.monitor != "" {
		if v, refusal = c.monitoredView(ver, t.monitor, g); refusal.code != 0 {
			return refusal
		}
	} else {
		v = c.dressed(&c.x, g, ver, ver.Entry(t.id), true)
	}
	s := ver.Schema()
	present := dit.Compile(s, dit.Filter{Op: dit.FilterPresent, Attr: attr})
	there := present.Match(string(v.dn), v.user, v.oper) == dit.True
	if present.Always() { // of objectClass, which may be hidden
		there = len(v.user.Values(s, s.Attribute(attr))) > 0
	}
	if !there {
		return result{code: ldapserver.LDAPResultNoSuchAttribute, text: "the entry has no such attribute"}
	}
	if s.Attribute(attr).Equality == nil {
		return result{code: ldapserver.LDAPResultInappropriateMatching, text: "the attribute has no equality rule"}
	}
	equal := dit.Compile(s, dit.Filter{Op: dit.FilterEquality, Attr: attr, Value: []byte(value)})
	switch equal.Match(string(v.dn), v.user, v.oper) {
	case dit.True:
		return result{code: ldapserver.LDAPResultCompareTrue}
	case dit.False:
		return result{code: ldapserver.LDAPResultCompareFalse}
	}
	return result{code: ldapserver.LDAPResultInvalidAttributeSyntax, text: "the value is not of the attribute's syntax"}
}

// handleWhoAmI is RFC 4532. The library cannot give a reply a value.
func handleWhoAmI(w ldapserver.ResponseWriter, m *ldapserver.Message) {
	r := w.(*responder)
	if req := m.GetExtendedRequest(); req.RequestValue() != nil {
		r.err = r.c.reply(r.req, result{code: ldapserver.LDAPResultProtocolError, text: "who am I takes no value"})
		return
	}
	authzID := ""
	if r.c.who != nil {
		authzID = "dn:" + r.c.who.dn
	}
	value := ber.AppendString(nil, ber.ContextPrimitive(11), authzID)
	r.c.out = appendReply(r.c.out[:0], r.req.id, tagExtendedRe, result{}, value, nil)
	r.err = r.c.send()
}

// refuseOther answers what the router has no route for: rename, and extended
// operations that are not supported (RFC 4511 section 4.12).
func refuseOther(w ldapserver.ResponseWriter, m *ldapserver.Message) {
	r := w.(*responder)
	switch m.ProtocolOp().(type) {
	case message.ModifyDNRequest:
		refuseWrite(w, m)
	case message.ExtendedRequest:
		res := ldapserver.NewExtendedResponse(ldapserver.LDAPResultProtocolError)
		res.SetDiagnosticMessage("unsupported extended operation")
		w.Write(res)
	default:
		r.err = errors.New("request without a route")
	}
}
