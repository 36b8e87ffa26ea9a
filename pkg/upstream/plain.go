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

// plain is a search as RFC 4511 has it, whose entries are handed on as they came.
type plain struct {
	base       string
	scope      int
	filter     dit.Filter
	attributes []string
	page       int    // entries of a page (RFC 2696); 0: not in pages
	cookie     []byte // of the page before

	pages, empty int    // that came, and how many of these in a row had no entry
	mark         string // the first entry of one of them
}

const oidPaged = "1.2.840.113556.1.4.319"

// append encodes the request, with ManageDsaIT, and with the control of a page
// (critical) where there are pages.
func (q *plain) append(dst []byte, id int32) []byte {
	dst, msg := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, int64(id))
	dst, op := ber.Begin(dst, ber.Tag(0x63))
	dst = ber.AppendString(dst, ber.OctetString, q.base)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(q.scope))
	dst = ber.AppendInt(dst, ber.Enumerated, 0) // derefAliases: never
	dst = ber.AppendInt(dst, ber.Integer, 0)    // sizeLimit
	dst = ber.AppendInt(dst, ber.Integer, 0)    // timeLimit
	dst = ber.AppendBool(dst, ber.Boolean, false)
	dst = q.filter.Append(dst)
	dst, attrs := ber.Begin(dst, ber.Sequence)
	for _, a := range q.attributes {
		dst = ber.AppendString(dst, ber.OctetString, a)
	}
	dst = ber.End(ber.End(dst, attrs), op)
	dst, controls := ber.Begin(dst, ber.Context(0))
	dst = appendControl(dst, syncrepl.OIDManageDsaIT, false, nil)
	if q.page > 0 {
		value, seq := ber.Begin(nil, ber.Sequence)
		value = ber.AppendInt(value, ber.Integer, int64(q.page))
		value = ber.AppendBytes(value, ber.OctetString, q.cookie)
		dst = appendControl(dst, oidPaged, true, ber.End(value, seq))
	}
	return ber.End(ber.End(dst, controls), msg)
}

func appendControl(dst []byte, oid string, critical bool, value []byte) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, oid)
	if critical {
		dst = ber.AppendBool(dst, ber.Boolean, true)
	}
	if value != nil {
		dst = ber.AppendBytes(dst, ber.OctetString, value)
	}
	return ber.End(dst, mark)
}

// entries runs the search on a connection, page after page, and hands each entry
// to put. No error means that all of them came.
func (c *conn) entries(ctx context.Context, o Options, q plain, put func(*syncrepl.Message) error) error {
	for {
		more, err := c.onePage(ctx, o, &q, put)
		if err != nil || !more {
			return err
		}
	}
}

// maxPageCookie bounds the cookie of a page: servers send numbers, DNs or small states.
const maxPageCookie = 64 << 10

// onePage runs one search; more tells that q now asks for the next page.
func (c *conn) onePage(ctx context.Context, o Options, q *plain, put func(*syncrepl.Message) error) (more bool, err error) {
	s, err := c.wire.begin(ctx, false, func(id int32) []byte { return q.append(nil, id) })
	if err != nil {
		return false, err
	}
	defer s.end()
	f := &frames{ctx: ctx, search: s, patience: o.Patience}
	var m syncrepl.Message
	first, n := "", 0
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		frame, err := f.Next()
		if err != nil {
			return false, err
		}
		if err := syncrepl.Decode(frame, &m); err != nil {
			return false, fmt.Errorf("malformed message: %w", err)
		}
		switch m.Kind {
		case syncrepl.KindEntry:
			if n++; n == 1 {
				first = string(m.DN)
			}
			if err := put(&m); err != nil {
				return false, err
			}
		case syncrepl.KindDone:
			if m.Code != 0 {
				return false, &syncrepl.ResultError{Code: m.Code, Diagnostic: m.Diagnostic}
			}
			cookie, err := pageCookie(frame)
			if err != nil {
				return false, fmt.Errorf("malformed result: %w", err)
			}
			return q.turn(cookie, first, n)
		}
	}
}

// errPageLost ends a search in pages where a result does not say whether more
// follow: the server, or what is between us, does not know of pages.
var errPageLost = errors.New("the result of a page lacks the control of pages (RFC 2696)")

// maxEmptyPages bounds those in a row; some servers send one where a page took
// them too long.
const maxEmptyPages = 1000

// turn goes on to the page that cookie stands for, nil when no control came, behind one
// with n entries. Pages that never end are an error: one that begins as an
// earlier one did, in whatever cycle, meets the mark, which moves at powers of two.
func (q *plain) turn(cookie []byte, first string, n int) (more bool, err error) {
	switch {
	case q.page == 0:
		return false, nil
	case cookie == nil && (len(q.cookie) > 0 || n >= q.page):
		return false, errPageLost
	case len(cookie) == 0:
		return false, nil
	case len(cookie) > maxPageCookie:
		return false, fmt.Errorf("the server sent a page cookie of %d bytes; at most %d are taken", len(cookie), maxPageCookie)
	}
	q.cookie = slices.Clone(cookie)
	if n == 0 {
		if q.empty++; q.empty > maxEmptyPages {
			return false, fmt.Errorf("the server sent more than %d pages in a row without an entry", maxEmptyPages)
		}
		return true, nil
	}
	q.empty = 0
	if q.pages++; q.pages > 1 && first == q.mark {
		return false, fmt.Errorf("the server gives the page again that begins with %.100q", first)
	}
	if q.pages&(q.pages-1) == 0 {
		q.mark = first
	}
	return true, nil
}

// pageCookie finds the cookie in the control of a page's result, nil when there
// is no control.
func pageCookie(frame []byte) ([]byte, error) {
	_, msg, err := envelope(frame)
	if err != nil {
		return nil, err
	}
	if _, _, err := msg.Any(); err != nil {
		return nil, err
	}
	if !msg.More() {
		return nil, nil
	}
	controls, err := msg.Enter(ber.Context(0))
	for err == nil && controls.More() {
		var control ber.Reader
		if control, err = controls.Enter(ber.Sequence); err != nil {
			break
		}
		var oid, value []byte
		if oid, err = control.Read(ber.OctetString); err != nil || string(oid) != oidPaged {
			continue
		}
		if _, _, err = control.Optional(ber.Boolean); err != nil {
			break
		}
		if value, err = control.Read(ber.OctetString); err != nil {
			break
		}
		outer := ber.NewReader(value)
		seq, err := outer.Enter(ber.Sequence)
		if err != nil {
			return nil, err
		}
		if _, err := seq.Int(ber.Integer); err != nil {
			return nil, err
		}
		return seq.Read(ber.OctetString)
	}
	return nil, err
}

// isOpenLDAP tells whether the root DSE says so. A server that does not let it be
// read is taken for another one.
func (c *conn) isOpenLDAP(ctx context.Context, o Options) (yes bool) {
	q := plain{scope: ldap.ScopeBaseObject, attributes: []string{"objectClass"},
		filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}}
	o.Patience = o.DialTimeout
	err := c.entries(ctx, o, q, func(m *syncrepl.Message) error {
		yes = yes || strings.Contains(string(m.Attrs), "OpenLDAProotDSE")
		return nil
	})
	var end *syncrepl.ResultError
	if err != nil && !errors.As(err, &end) {
		c.wire.fail(err)
	}
	return yes
}
