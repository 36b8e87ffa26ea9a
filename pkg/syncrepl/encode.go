package syncrepl

import (
	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// Append encodes the message as Decode reads it, with the fields that its kind
// has: a cookie when HasCookie, the state and done controls when HasState and
// HasSyncDone. A reference has no URL, KindOther neither name nor value.
func (m *Message) Append(dst []byte) []byte {
	dst, msg := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, m.MessageID)
	switch m.Kind {
	case KindEntry:
		size := ber.HeaderLen(len(m.DN)) + len(m.DN) + ber.HeaderLen(len(m.Attrs)) + len(m.Attrs)
		dst = ber.AppendHeader(dst, opEntry, size)
		dst = ber.AppendBytes(dst, ber.OctetString, m.DN)
		dst = ber.AppendBytes(dst, ber.Sequence, m.Attrs)
		dst = m.appendState(dst)
	case KindReference:
		dst = ber.AppendHeader(dst, opReference, 0)
		dst = m.appendState(dst)
	case KindDone:
		dst = m.appendDone(dst)
	default:
		dst = m.appendIntermediate(dst)
	}
	return ber.End(dst, msg)
}

// AppendState adds the controls of an entry's message, for a provider that has
// the operation encoded already; a nil cookie is none.
func AppendState(dst []byte, s State, id dit.UUID, cookie []byte) []byte {
	m := Message{HasState: true, State: s, UUID: id, Cookie: cookie, HasCookie: cookie != nil}
	return m.appendState(dst)
}

func (m *Message) appendState(dst []byte) []byte {
	if !m.HasState {
		return dst
	}
	return appendControl(dst, OIDSyncState, func(dst []byte) []byte {
		dst = ber.AppendInt(dst, ber.Enumerated, int64(m.State))
		dst = ber.AppendBytes(dst, ber.OctetString, m.UUID[:])
		return m.appendCookie(dst)
	})
}

func (m *Message) appendDone(dst []byte) []byte {
	dst, op := ber.Begin(dst, opDone)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(m.Code))
	dst = ber.AppendString(dst, ber.OctetString, "")
	dst = ber.AppendString(dst, ber.OctetString, m.Diagnostic)
	dst = ber.End(dst, op)
	if !m.HasSyncDone {
		return dst
	}
	return appendControl(dst, OIDSyncDone, func(dst []byte) []byte {
		// Said where it is FALSE too: slapd lets an ID set of deletes before decide otherwise,
		// and would then remove nothing of what was not named.
		return ber.AppendBool(m.appendCookie(dst), ber.Boolean, m.RefreshDeletes)
	})
}

func (m *Message) appendIntermediate(dst []byte) []byte {
	dst, op := ber.Begin(dst, opIntermediate)
	if m.Kind != KindOther {
		dst = ber.AppendString(dst, ber.ContextPrimitive(0), OIDSyncInfo)
		var value int
		dst, value = ber.Begin(dst, ber.ContextPrimitive(1))
		dst = m.appendInfo(dst)
		dst = ber.End(dst, value)
	}
	return ber.End(dst, op)
}

func (m *Message) appendInfo(dst []byte) []byte {
	var mark int
	switch m.Kind {
	case KindNewCookie:
		return ber.AppendBytes(dst, infoNewCookie, m.Cookie)
	case KindIDSet:
		dst, mark = ber.Begin(dst, infoIDSet)
		dst = m.appendCookie(dst)
		// Said where it is FALSE too: slapd lets the set before decide otherwise.
		dst = ber.AppendBool(dst, ber.Boolean, m.RefreshDeletes)
		dst = ber.AppendHeader(dst, ber.Set, len(m.IDs)*(2+len(m.UUID)))
		for i := range m.IDs {
			dst = ber.AppendBytes(dst, ber.OctetString, m.IDs[i][:])
		}
		return ber.End(dst, mark)
	case KindRefreshDelete:
		dst, mark = ber.Begin(dst, infoRefreshDelete)
	default:
		dst, mark = ber.Begin(dst, infoRefreshPresent)
	}
	dst = m.appendCookie(dst)
	if !m.RefreshDone {
		dst = ber.AppendBool(dst, ber.Boolean, false)
	}
	return ber.End(dst, mark)
}

func (m *Message) appendCookie(dst []byte) []byte {
	if !m.HasCookie {
		return dst
	}
	return ber.AppendBytes(dst, ber.OctetString, m.Cookie)
}

// appendControl adds the controls of a message: the one, not critical, whose
// value is a SEQUENCE of what value appends.
func appendControl(dst []byte, oid string, value func([]byte) []byte) []byte {
	dst, controls := ber.Begin(dst, tagControls)
	dst, control := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, oid)
	dst, octets := ber.Begin(dst, ber.OctetString)
	dst, seq := ber.Begin(dst, ber.Sequence)
	dst = value(dst)
	dst = ber.End(dst, seq)
	dst = ber.End(dst, octets)
	dst = ber.End(dst, control)
	return ber.End(dst, controls)
}
