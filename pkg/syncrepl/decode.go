package syncrepl

import (
	"fmt"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// Responses of a search (RFC 4511 sections 4.5.2 and 4.13) and the alternatives
// of a Sync Info value.
const (
	opEntry        = ber.Tag(0x64)
	opDone         = ber.Tag(0x65)
	opReference    = ber.Tag(0x73)
	opIntermediate = ber.Tag(0x79)

	infoNewCookie      = ber.Tag(0x80)
	infoRefreshDelete  = ber.Tag(0xa1)
	infoRefreshPresent = ber.Tag(0xa2)
	infoIDSet          = ber.Tag(0xa3)
)

// Decode decodes one LDAP message frame of a sync search, by tag, never by
// position. An error names what is malformed and where: offsets count from the
// start of the frame, or of the control value named. m.IDs is used again; an
// empty or absent UUID of an entry is the zero UUID, any other length an error.
func Decode(frame []byte, m *Message) error {
	*m = Message{IDs: m.IDs[:0]}
	outer := ber.NewReader(frame)
	msg, err := outer.Enter(ber.Sequence)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if outer.More() {
		return fmt.Errorf("message: offset %d: more than one element", outer.Offset())
	}
	if m.MessageID, err = msg.Int(ber.Integer); err != nil {
		return fmt.Errorf("message ID: %w", err)
	}
	if err := decodeOp(&msg, m); err != nil {
		return err
	}
	if err := decodeControls(&msg, m); err != nil {
		if m.Kind == KindEntry {
			return fmt.Errorf("entry %.100q: %w", m.DN, err)
		}
		return err
	}
	return nil
}

func decodeOp(msg *ber.Reader, m *Message) error {
	at, tag := msg.Offset(), msg.Peek()
	op, err := msg.Enter(tag)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	switch tag {
	case opEntry:
		m.Kind = KindEntry
		return decodeEntry(op, m)
	case opReference:
		m.Kind = KindReference
		return nil
	case opDone:
		m.Kind = KindDone
		return decodeDone(op, m)
	case opIntermediate:
		m.Kind = KindOther
		return decodeIntermediate(op, m)
	}
	return fmt.Errorf("message: offset %d: tag %02x does not answer a search", at, byte(tag))
}

func decodeEntry(op ber.Reader, m *Message) (err error) {
	if m.DN, err = op.Read(ber.OctetString); err != nil {
		return fmt.Errorf("entry name: %w", err)
	}
	if m.Attrs, err = op.Read(ber.Sequence); err != nil {
		return fmt.Errorf("entry %.100q: attributes: %w", m.DN, err)
	}
	return nil
}

func decodeDone(op ber.Reader, m *Message) error {
	code, err := op.Int(ber.Enumerated)
	if err != nil {
		return fmt.Errorf("result code: %w", err)
	}
	if _, err := op.Read(ber.OctetString); err != nil {
		return fmt.Errorf("matched DN of a result: %w", err)
	}
	text, err := op.Read(ber.OctetString)
	if err != nil {
		return fmt.Errorf("diagnostic message of a result: %w", err)
	}
	m.Code = int(code)
	if len(text) > maxDiagnostic {
		text = text[:maxDiagnostic]
	}
	m.Diagnostic = string(text)
	return nil
}

// maxDiagnostic bounds what is kept of a server's words: they end up in a status line.
const maxDiagnostic = 1024

func decodeIntermediate(op ber.Reader, m *Message) error {
	name, _, err := op.Optional(ber.ContextPrimitive(0))
	if err != nil {
		return fmt.Errorf("intermediate response: %w", err)
	}
	value, _, err := op.Optional(ber.ContextPrimitive(1))
	if err != nil {
		return fmt.Errorf("intermediate response: %w", err)
	}
	if string(name) != OIDSyncInfo {
		return nil
	}
	if err := decodeInfo(value, m); err != nil {
		return fmt.Errorf("sync info: %w", err)
	}
	return nil
}

func decodeInfo(value []byte, m *Message) error {
	r := ber.NewReader(value)
	tag := r.Peek()
	body, err := r.Enter(tag)
	if err != nil {
		return err
	}
	if r.More() {
		return fmt.Errorf("offset %d: more than one element", r.Offset())
	}
	switch tag {
	case infoNewCookie:
		m.Kind, m.HasCookie = KindNewCookie, true
		m.Cookie = value[body.Offset():r.Offset()]
		return nil
	case infoRefreshDelete:
		m.Kind, m.RefreshDone = KindRefreshDelete, true
		return decodeParts(body, m, &m.RefreshDone, nil)
	case infoRefreshPresent:
		m.Kind, m.RefreshDone = KindRefreshPresent, true
		return decodeParts(body, m, &m.RefreshDone, nil)
	case infoIDSet:
		m.Kind = KindIDSet
		return decodeParts(body, m, &m.RefreshDeletes, &m.IDs)
	}
	return fmt.Errorf("offset 0: unknown tag %02x", byte(tag))
}

// decodeParts reads what Sync Done and the constructed Sync Info values are made
// of: an optional cookie, an optional flag and, when ids is given, the set.
func decodeParts(r ber.Reader, m *Message, flag *bool, ids *[]dit.UUID) (err error) {
	var seen once
	hasSet := false
	for r.More() {
		at, tag := r.Offset(), r.Peek()
		switch {
		case tag == ber.OctetString:
			m.Cookie, err = r.Read(tag)
			m.HasCookie = true
		case tag == ber.Boolean:
			*flag, err = r.Bool(tag)
		case tag == ber.Set && ids != nil:
			hasSet = true
			err = decodeSet(&r, ids)
		default:
			err = fmt.Errorf("offset %d: unexpected tag %02x", at, byte(tag))
		}
		if err != nil {
			return err
		}
		if err := seen.check(tag, at); err != nil {
			return err
		}
	}
	if ids != nil && !hasSet {
		return fmt.Errorf("offset %d: no set of UUIDs", r.Offset())
	}
	return nil
}

func decodeSet(r *ber.Reader, ids *[]dit.UUID) error {
	set, err := r.Enter(ber.Set)
	if err != nil {
		return err
	}
	for set.More() {
		at := set.Offset()
		id, err := set.Read(ber.OctetString)
		if err != nil {
			return err
		}
		if len(id) != len(dit.UUID{}) {
			return fmt.Errorf("offset %d: UUID of %d octets", at, len(id))
		}
		*ids = append(*ids, dit.UUID(id))
	}
	return nil
}

func decodeControls(msg *ber.Reader, m *Message) error {
	if !msg.More() {
		return nil
	}
	controls, err := msg.Enter(tagControls)
	if err != nil {
		return fmt.Errorf("controls: %w", err)
	}
	for controls.More() {
		oid, value, err := nextControl(&controls)
		if err != nil {
			return fmt.Errorf("controls: %w", err)
		}
		switch {
		case string(oid) == OIDSyncState && (m.Kind == KindEntry || m.Kind == KindReference):
			if err := decodeState(value, m); err != nil {
				return fmt.Errorf("sync state: %w", err)
			}
		case string(oid) == OIDSyncDone && m.Kind == KindDone:
			if err := decodeSyncDone(value, m); err != nil {
				return fmt.Errorf("sync done: %w", err)
			}
		}
	}
	return nil
}

// nextControl takes one Control (RFC 4511 section 4.1.11); value is empty when absent.
func nextControl(controls *ber.Reader) (oid, value []byte, err error) {
	c, err := controls.Enter(ber.Sequence)
	if err != nil {
		return nil, nil, err
	}
	if oid, err = c.Read(ber.OctetString); err != nil {
		return nil, nil, err
	}
	if c.Peek() == ber.Boolean {
		if _, err := c.Bool(ber.Boolean); err != nil {
			return nil, nil, err
		}
	}
	value, _, err = c.Optional(ber.OctetString)
	return oid, value, err
}

func decodeState(value []byte, m *Message) error {
	if m.HasState {
		return fmt.Errorf("a second one")
	}
	m.HasState = true
	outer := ber.NewReader(value)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return err
	}
	state, hasID := int64(-1), false
	for r.More() {
		at, tag := r.Offset(), r.Peek()
		switch {
		case tag == ber.Enumerated && state < 0:
			if state, err = r.Int(tag); err == nil && (state < int64(StatePresent) || state > int64(StateDelete)) {
				err = fmt.Errorf("offset %d: state %d does not exist", at, state)
			}
		case tag == ber.OctetString && !hasID:
			hasID = true
			err = decodeUUID(&r, m)
		case tag == ber.OctetString && !m.HasCookie:
			m.HasCookie = true
			m.Cookie, err = r.Read(tag)
		default:
			err = fmt.Errorf("offset %d: unexpected tag %02x", at, byte(tag))
		}
		if err != nil {
			return err
		}
	}
	if state < 0 {
		return fmt.Errorf("offset %d: no state", r.Offset())
	}
	m.State = State(state)
	return nil
}

func decodeUUID(r *ber.Reader, m *Message) error {
	at := r.Offset()
	id, err := r.Read(ber.OctetString)
	if err != nil {
		return err
	}
	if len(id) == 0 {
		return nil
	}
	if len(id) != len(m.UUID) {
		return fmt.Errorf("offset %d: UUID of %d octets", at, len(id))
	}
	m.UUID = dit.UUID(id)
	return nil
}

func decodeSyncDone(value []byte, m *Message) error {
	if m.HasSyncDone {
		return fmt.Errorf("a second one")
	}
	m.HasSyncDone = true
	outer := ber.NewReader(value)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return err
	}
	return decodeParts(r, m, &m.RefreshDeletes, nil)
}
