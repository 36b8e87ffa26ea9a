package ldapd

import (
	"slices"
	"sync/atomic"

	"shaft/pkg/ber"
)

// kind is what a request is counted as, by the names of cn=Monitor.
type kind int

const (
	kindBind kind = iota
	kindUnbind
	kindSearch
	kindCompare
	kindModify
	kindModrdn
	kindAdd
	kindDelete
	kindAbandon
	kindExtended
	kinds
)

var kindNames = [kinds]string{"Bind", "Unbind", "Search", "Compare", "Modify", "Modrdn", "Add", "Delete", "Abandon", "Extended"}

// requestKinds and replyKinds say what the tag of an operation counts as, plus one.
var requestKinds = [256]kind{
	tagBind: kindBind + 1, tagUnbind: kindUnbind + 1, tagSearch: kindSearch + 1, tagCompare: kindCompare + 1,
	tagModify: kindModify + 1, tagModifyDN: kindModrdn + 1, tagAdd: kindAdd + 1, tagDelete: kindDelete + 1,
	tagAbandon: kindAbandon + 1, tagExtended: kindExtended + 1,
}

var replyKinds = func() (all [256]kind) {
	for _, op := range []ber.Tag{tagBind, tagSearch, tagCompare, tagModify, tagModifyDN, tagAdd, tagDelete, tagExtended} {
		all[response(op)] = requestKinds[op]
	}
	return all
}()

// traffic is what was sent.
type traffic struct {
	bytes, pdus, entries, referrals uint64
	completed                       [kinds]uint64 // by their replies
	failed                          []failure     // how many of those had another result than success
}

// failure counts replies of one kind with one result. A connection has few of them.
type failure struct {
	kind kind
	code int
	n    uint64
}

// fail counts n more replies of a kind with a result that is not success.
func (t *traffic) fail(k kind, code int, n uint64) {
	for i := range t.failed {
		if f := &t.failed[i]; f.kind == k && f.code == code {
			f.n += n
			return
		}
	}
	t.failed = append(t.failed, failure{k, code, n})
}

// resultOf reads the result code of a reply's content, an LDAPResult (RFC 4511 section 4.1.9).
func resultOf(body []byte) (code int) {
	_, header, n, err := element(body)
	if err != nil {
		return 0
	}
	for _, o := range body[header : header+n] {
		code = code<<8 | int(o)
	}
	return code
}

func (t *traffic) add(o *traffic) {
	t.bytes += o.bytes
	t.pdus += o.pdus
	t.entries += o.entries
	t.referrals += o.referrals
	for k, n := range o.completed {
		t.completed[k] += n
	}
	for _, f := range o.failed {
		t.fail(f.kind, f.code, f.n)
	}
}

// outgoing is one message of ours: its ID, the tag and content of its operation.
type outgoing struct {
	id   int32
	tag  ber.Tag
	body []byte
}

// nextOutgoing takes a message off p, which holds whole ones of our own making.
func nextOutgoing(p []byte) (m outgoing, rest []byte) {
	_, header, n, err := element(p)
	if err != nil {
		return m, nil
	}
	msg, rest := p[header:header+n], p[header+n:]
	_, header, n, err = element(msg)
	if err != nil {
		return m, nil
	}
	for _, o := range msg[header : header+n] {
		m.id = m.id<<8 | int32(o)
	}
	msg = msg[header+n:]
	tag, header, n, err := element(msg)
	if err != nil {
		return m, nil
	}
	m.tag, m.body = tag, msg[header:header+n]
	return m, rest
}

// count adds whole messages of our own making.
func (t *traffic) count(p []byte) {
	t.bytes += uint64(len(p))
	for len(p) > 0 {
		var m outgoing
		m, p = nextOutgoing(p)
		t.pdus++
		switch m.tag {
		case tagEntry:
			t.entries++
		case tagReference:
			t.referrals++
		default:
			if k := replyKinds[m.tag]; k > 0 && m.id != 0 { // a notice answers nothing
				t.completed[k-1]++
				if code := resultOf(m.body); code != 0 {
					t.fail(k-1, code, 1)
				}
			}
		}
	}
}

// meter counts one connection's requests. What it sends is counted by its writer.
type meter struct {
	initiated  [kinds]atomic.Uint64
	unanswered atomic.Uint64 // searches that ended without a word
	lastRead   atomic.Int64  // UnixNano
	reading    atomic.Bool   // waiting for input
}

// totals are what cn=Monitor tells of all connections.
type totals struct {
	sent      traffic
	initiated [kinds]uint64
	completed [kinds]uint64
}

func (t *totals) add(o *totals) {
	t.sent.add(&o.sent)
	for k := range kinds {
		t.initiated[k] += o.initiated[k]
		t.completed[k] += o.completed[k]
	}
}

func sum(list *[kinds]uint64) (n uint64) {
	for _, v := range list {
		n += v
	}
	return n
}

// totals are what this connection has done so far.
func (c *conn) totals() *totals {
	t := &totals{}
	c.w.mu.Lock()
	t.sent = c.w.total
	t.sent.failed = slices.Clone(t.sent.failed)
	c.w.mu.Unlock()
	t.completed = t.sent.completed
	t.completed[kindSearch] += c.meter.unanswered.Load()
	for k := range kinds {
		t.initiated[k] = c.meter.initiated[k].Load()
	}
	t.completed[kindUnbind], t.completed[kindAbandon] = t.initiated[kindUnbind], t.initiated[kindAbandon]
	return t
}

// retireMeter adds what a connection that is over has done to what others did
// before; what it left unfinished is finished. The server's lock is held.
func (s *Server) retireMeter(c *conn) {
	t := c.totals()
	t.completed = t.initiated
	s.past.add(t)
}
