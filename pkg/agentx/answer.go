package agentx

import (
	"slices"
	"time"

	"github.com/posteo/go-agentx/pdu"
	"github.com/posteo/go-agentx/value"
)

// Errors of SNMP (RFC 3416) that replies may bear beside AgentX's own.
const (
	errGeneral      pdu.Error = 5
	errCommitFailed pdu.Error = 14
	errUndoFailed   pdu.Error = 15
	errNotWritable  pdu.Error = 17
)

// answer makes the reply to a request; false where there is none to be made.
func (d *Door) answer(m *message) (reply pdu.Response, due bool) {
	if m.fault != nil {
		return pdu.Response{Error: pdu.ErrorParse}, true
	}
	v, now := d.view.Load(), d.o.Now()
	switch m.Type {
	case pdu.TypeGet:
		for i := range m.ranges {
			reply.Variables = append(reply.Variables, d.get(v, m.ranges[i].From.GetIdentifier(), now))
		}
	case pdu.TypeGetNext:
		for i := range m.ranges {
			reply.Variables = append(reply.Variables, d.next(v, &m.ranges[i], now))
		}
	case pdu.TypeGetBulk:
		reply.Variables = d.bulk(v, m, now)
	case pdu.TypeTestSet:
		reply.Error, reply.Index = errNotWritable, 1
	case pdu.TypeCommitSet:
		reply.Error = errCommitFailed
	case pdu.TypeUndoSet:
		reply.Error = errUndoFailed
	case pdu.TypeCleanupSet:
		return reply, false
	default:
		reply.Error = errGeneral
	}
	return reply, true
}

func (d *Door) get(v *view, oid value.OID, now time.Time) (out pdu.Variable) {
	rel, _, under := below(oid, d.objects)
	var c cell
	var object, found bool
	if under {
		c, object, found = v.get(rel, now)
	}
	switch {
	case found:
		out.Set(oid, c.kind, c.value)
	case object:
		out.Set(oid, pdu.VariableTypeNoSuchInstance, nil)
	default:
		out.Set(oid, pdu.VariableTypeNoSuchObject, nil)
	}
	return out
}

// next answers a search range: its beginning counts where it says so, its end does not.
func (d *Door) next(v *view, r *pdu.Range, now time.Time) (out pdu.Variable) {
	from, to := r.From.GetIdentifier(), r.To.GetIdentifier()
	rel, before, under := below(from, d.objects)
	if under || before {
		if at, c, found := v.next(rel, r.From.GetInclude(), now); found {
			oid := slices.Concat(d.objects, at)
			if len(to) == 0 || slices.Compare(oid, to) < 0 {
				out.Set(oid, c.kind, c.value)
				return out
			}
		}
	}
	out.Set(from, pdu.VariableTypeEndOfMIBView, nil)
	return out
}

// bulk answers GetBulk (RFC 2741, 7.2.3.3): each of the first ranges once, the others again
// and again, side by side, until all are at their end or the reply is large.
func (d *Door) bulk(v *view, m *message, now time.Time) (out pdu.Variables) {
	once := min(int(m.bulk[0]), len(m.ranges))
	for i := range m.ranges[:once] {
		out = append(out, d.next(v, &m.ranges[i], now))
	}
	rest := m.ranges[once:]
	for size := 0; m.bulk[1] > 0 && len(rest) > 0 && size < maxReply; m.bulk[1]-- {
		ended := true
		for i := range rest {
			got := d.next(v, &rest[i], now)
			size += sizeOf(&got)
			ended = ended && got.Type == pdu.VariableTypeEndOfMIBView
			rest[i].From = got.Name
			out = append(out, got)
		}
		if ended {
			break
		}
	}
	return out
}

// sizeOf is about how many bytes a variable takes.
func sizeOf(v *pdu.Variable) int {
	n := 8 + v.Name.ByteSize()
	if text, is := v.Value.(string); is {
		n += len(text)
	}
	return n
}
