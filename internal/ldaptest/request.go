package ldaptest

import (
	"errors"
	"fmt"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// Protocol operations (RFC 4511 section 4.2 on).
const (
	opBind         = ber.Tag(0x60)
	opBindResponse = ber.Tag(0x61)
	opUnbind       = ber.Tag(0x42)
	opSearch       = ber.Tag(0x63)
	opEntry        = ber.Tag(0x64)
	opDone         = ber.Tag(0x65)
	opAbandon      = ber.Tag(0x50)
	opExtended     = ber.Tag(0x77)
	opExtResponse  = ber.Tag(0x78)
)

// request is one decoded LDAP message; its slices alias the frame.
type request struct {
	id       int64
	op       ber.Tag
	body     []byte
	controls []control
}

type control struct {
	oid      string
	critical bool
	value    []byte
}

func decodeRequest(frame []byte) (m request, err error) {
	outer := ber.NewReader(frame)
	msg, err := outer.Enter(ber.Sequence)
	if err != nil {
		return m, err
	}
	if m.id, err = msg.Int(ber.Integer); err != nil {
		return m, err
	}
	if m.op, m.body, err = msg.Any(); err != nil || !msg.More() {
		return m, err
	}
	controls, err := msg.Enter(ber.Context(0))
	if err != nil {
		return m, err
	}
	for controls.More() {
		one, err := controls.Enter(ber.Sequence)
		if err != nil {
			return m, err
		}
		c, err := decodeControl(one)
		if err != nil {
			return m, err
		}
		m.controls = append(m.controls, c)
	}
	return m, nil
}

func decodeControl(r ber.Reader) (c control, err error) {
	oid, err := r.Read(ber.OctetString)
	if err != nil {
		return c, err
	}
	c.oid = string(oid)
	if r.Peek() == ber.Boolean {
		if c.critical, err = r.Bool(ber.Boolean); err != nil {
			return c, err
		}
	}
	c.value, _, err = r.Optional(ber.OctetString)
	return c, err
}

// find gives the control of an OID, nil if there is none.
func (m request) find(oid string) *control {
	for i := range m.controls {
		if m.controls[i].oid == oid {
			return &m.controls[i]
		}
	}
	return nil
}

// result encodes an LDAPResult message; more is appended behind its three fields.
func result(id int64, op ber.Tag, code int, matched, words string, more ...byte) []byte {
	dst, msg := ber.Begin(nil, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, id)
	dst, body := ber.Begin(dst, op)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(code))
	dst = ber.AppendString(dst, ber.OctetString, matched)
	dst = ber.AppendString(dst, ber.OctetString, words)
	dst = append(dst, more...)
	dst = ber.End(dst, body)
	return ber.End(dst, msg)
}

// searchBody is a decoded SearchRequest.
type searchBody struct {
	base      string
	scope     int
	deref     int
	sizeLimit int
	typesOnly bool
	filter    dit.Filter
	attrs     []string
}

func decodeSearch(body []byte) (q searchBody, err error) {
	r := ber.NewReader(body)
	base, err := r.Read(ber.OctetString)
	if err != nil {
		return q, err
	}
	q.base = string(base)
	var n [4]int64
	for i, tag := range []ber.Tag{ber.Enumerated, ber.Enumerated, ber.Integer, ber.Integer} {
		if n[i], err = r.Int(tag); err != nil {
			return q, err
		}
	}
	q.scope, q.deref, q.sizeLimit = int(n[0]), int(n[1]), int(n[2])
	if q.scope < 0 || q.scope > 3 {
		return q, fmt.Errorf("scope %d does not exist", q.scope)
	}
	if q.typesOnly, err = r.Bool(ber.Boolean); err != nil {
		return q, err
	}
	tag, filter, err := r.Any()
	if err != nil {
		return q, err
	}
	if q.filter, err = dit.DecodeFilter(byte(tag), filter); err != nil {
		return q, err
	}
	attrs, err := r.Enter(ber.Sequence)
	if err != nil {
		return q, err
	}
	for attrs.More() {
		a, err := attrs.Read(ber.OctetString)
		if err != nil {
			return q, err
		}
		q.attrs = append(q.attrs, string(a))
	}
	if r.More() {
		return q, errors.New("a search with more than eight fields")
	}
	return q, nil
}
