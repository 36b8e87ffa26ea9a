package ldapd

import (
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// oidNotice is the name of the notice of disconnection (RFC 4511 section 4.4.1).
const oidNotice = "1.3.6.1.4.1.1466.20036"

// result is an LDAPResult (RFC 4511 section 4.1.9), its referral included.
type result struct {
	code    int
	matched []byte
	text    string
	// referral are URIs, for the result code referral alone.
	referral []string
}

func (r result) size() int {
	n := ber.HeaderLen(1) + 1 + // no code that we send needs a second octet
		ber.HeaderLen(len(r.matched)) + len(r.matched) +
		ber.HeaderLen(len(r.text)) + len(r.text)
	if len(r.referral) > 0 {
		urls := urlsLen(r.referral)
		n += ber.HeaderLen(urls) + urls
	}
	return n
}

func (r result) append(dst []byte) []byte {
	dst = ber.AppendInt(dst, ber.Enumerated, int64(r.code))
	dst = ber.AppendBytes(dst, ber.OctetString, r.matched)
	dst = ber.AppendString(dst, ber.OctetString, r.text)
	if len(r.referral) > 0 {
		dst = appendURLs(ber.AppendHeader(dst, ber.Context(3), urlsLen(r.referral)), r.referral)
	}
	return dst
}

func urlsLen(urls []string) (n int) {
	for _, u := range urls {
		n += ber.HeaderLen(len(u)) + len(u)
	}
	return n
}

func appendURLs(dst []byte, urls []string) []byte {
	for _, u := range urls {
		dst = ber.AppendString(dst, ber.OctetString, u)
	}
	return dst
}

// appendEnvelope begins a message whose ID is followed by n octets.
func appendEnvelope(dst []byte, id int32, n int) []byte {
	dst = ber.AppendHeader(dst, ber.Sequence, 2+intLen(id)+n)
	return ber.AppendInt(dst, ber.Integer, int64(id))
}

func intLen(v int32) int {
	n := 1
	for v > 0x7f {
		v >>= 8
		n++
	}
	return n
}

// appendReply adds a whole reply; extra is what follows the LDAPResult within
// the operation, controls the content of the reply's controls.
func appendReply(dst []byte, id int32, tag ber.Tag, r result, extra, controls []byte) []byte {
	body := r.size() + len(extra)
	n := ber.HeaderLen(body) + body
	if controls != nil {
		n += ber.HeaderLen(len(controls)) + len(controls)
	}
	dst = appendEnvelope(dst, id, n)
	dst = ber.AppendHeader(dst, tag, body)
	dst = append(r.append(dst), extra...)
	if controls != nil {
		dst = ber.AppendBytes(dst, ber.Context(0), controls)
	}
	return dst
}

// appendNotice adds a notice of disconnection.
func appendNotice(dst []byte, code int, text string) []byte {
	name := ber.AppendString(nil, ber.ContextPrimitive(10), oidNotice)
	return appendReply(dst, 0, tagExtendedRe, result{code: code, text: text}, name, nil)
}

// view is an entry as a search or compare sees it. oper holds the computed
// attributes too, or nothing when they were not asked for.
type view struct {
	dn         []byte
	user, oper dit.Run
}

// scratch is what a goroutine needs to assemble entries without garbage.
type scratch struct {
	oper, attrs []byte
}

// view gives an entry of the tree; its oper run is good until the next call.
func (x *scratch) view(e tree.Entry, oper bool) view {
	v := view{dn: e.DN(), user: e.User()}
	if oper {
		x.oper = e.AppendComputed(append(dit.Run(x.oper[:0]), e.Oper()...))
		v.oper = x.oper
	}
	return v
}

// appendEntry adds a SearchResultEntry.
func (x *scratch) appendEntry(dst []byte, id int32, v view, sel *dit.Selection, typesOnly bool) []byte {
	attrs := x.selected(v, sel, typesOnly)
	body := entrySize(v.dn, attrs)
	dst = appendEnvelope(dst, id, ber.HeaderLen(body)+body)
	return appendEntryOp(dst, v.dn, attrs)
}

// selected gives the attributes to send. The common case, all user attributes,
// is the entry's run as it is; else it is good until the next call.
func (x *scratch) selected(v view, sel *dit.Selection, typesOnly bool) []byte {
	if sel.AllUser && !typesOnly && len(v.oper) == 0 {
		return v.user
	}
	x.attrs = sel.Append(x.attrs[:0], v.user, false, typesOnly)
	if len(v.oper) > 0 {
		x.attrs = sel.Append(x.attrs, v.oper, true, typesOnly)
	}
	return x.attrs
}

func entrySize(dn, attrs []byte) int {
	return ber.HeaderLen(len(dn)) + len(dn) + ber.HeaderLen(len(attrs)) + len(attrs)
}

// appendEntryOp adds the SearchResultEntry without its envelope.
func appendEntryOp(dst, dn, attrs []byte) []byte {
	dst = ber.AppendHeader(dst, tagEntry, entrySize(dn, attrs))
	dst = ber.AppendBytes(dst, ber.OctetString, dn)
	return ber.AppendBytes(dst, ber.Sequence, attrs)
}
