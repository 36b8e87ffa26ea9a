package ldapd

import (
	"github.com/vjeantet/goldap/message"
	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
)

// handleCancel is RFC 3909. The operation's own goroutine answers, both for
// the operation and for the cancel.
func handleCancel(w ldapserver.ResponseWriter, m *ldapserver.Message) {
	r := w.(*responder)
	code := resultTooLate
	id, ok := cancelID(m.GetExtendedRequest())
	switch op := r.c.operation(id); {
	case !ok:
		code = ldapserver.LDAPResultProtocolError
	case op == nil:
		code = resultNoSuchOperation
	case r.c.cancel(op, r.req.id):
		return
	}
	r.err = r.c.reply(r.req, result{code: code, text: cancelTexts[code]})
}

// cancelTexts say why an operation was cancelled or not.
var cancelTexts = map[int]string{
	ldapserver.LDAPResultProtocolError: "a cancel names the message ID of one operation",
	resultCanceled:                     "the operation was cancelled, as the client asked",
	resultNoSuchOperation:              "no such operation is under way that can be cancelled",
	resultTooLate:                      "the operation is at its end",
}

// cancelID reads the value of a cancel: a SEQUENCE of the message ID.
func cancelID(req message.ExtendedRequest) (id int32, ok bool) {
	if req.RequestValue() == nil {
		return 0, false
	}
	outer := ber.NewReader([]byte(*req.RequestValue()))
	seq, err := outer.Enter(ber.Sequence)
	if err != nil || outer.More() {
		return 0, false
	}
	v, err := seq.Int(ber.Integer)
	return int32(v), err == nil && v >= 0 && v <= 1<<31-1 && !seq.More()
}

func (c *conn) operation(id int32) *operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops[id]
}

// cancel ends an operation on behalf of a cancel request, which is answered
// with its end; false when it is at its end already.
func (c *conn) cancel(op *operation, by int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ops[op.id] != op || op.canceller != 0 || op.cancelled.Load() {
		return false
	}
	op.canceller = by
	op.end()
	return true
}

// finishCancel is the last that an operation's goroutine does: it frees the
// operation's place, and answers the cancel that ended it.
func (c *conn) finishCancel(op *operation) {
	c.retire(op)
	c.mu.Lock()
	by := op.canceller
	c.mu.Unlock()
	if by == 0 {
		if !op.answered {
			c.meter.unanswered.Add(1)
			c.trace.drop(op.id)
		}
		return
	}
	var out []byte
	code := ldapserver.LDAPResultSuccess
	if op.answered {
		code = resultTooLate
	} else {
		out = appendReply(out, op.id, tagSearchDone, result{code: resultCanceled, text: cancelTexts[resultCanceled]}, nil, nil)
	}
	out = appendReply(out, by, tagExtendedRe, result{code: code, text: cancelTexts[code]}, nil, nil)
	if c.w.send(out, false) == nil {
		c.w.flush(false)
	}
}
