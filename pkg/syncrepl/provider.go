package syncrepl

import "shaft/pkg/dit"

// MaxIDSet is how many UUIDs a provider puts into one syncIdSet, as slapd does.
const MaxIDSet = 256

// Provider writes the answers of one sync search. It keeps no state of the
// content and does not check the order of the calls; not for concurrent use.
type Provider struct {
	// ID is the message ID of the search.
	ID int64
	// Write takes one whole message, good until it returns.
	Write func(frame []byte) error

	buf []byte
}

// Send encodes m with the search's message ID and writes it.
func (p *Provider) Send(m Message) error {
	m.MessageID = p.ID
	p.buf = m.Append(p.buf[:0])
	return p.Write(p.buf)
}

// Entry sends an entry in a state: attrs is the content of a
// PartialAttributeList, empty for StatePresent and StateDelete. cookie is nil
// for none, as in a refresh stage.
func (p *Provider) Entry(state State, id dit.UUID, dn string, attrs, cookie []byte) error {
	return p.Send(Message{Kind: KindEntry, HasState: true, State: state, UUID: id,
		DN: []byte(dn), Attrs: attrs, Cookie: cookie, HasCookie: cookie != nil})
}

// IDs sends UUIDs that are gone (deleted) or unchanged, at most MaxIDSet a
// message; the cookie goes with the last one.
func (p *Provider) IDs(deleted bool, ids []dit.UUID, cookie []byte) error {
	for len(ids) > MaxIDSet {
		if err := p.Send(Message{Kind: KindIDSet, RefreshDeletes: deleted, IDs: ids[:MaxIDSet]}); err != nil {
			return err
		}
		ids = ids[MaxIDSet:]
	}
	return p.Send(Message{Kind: KindIDSet, RefreshDeletes: deleted, IDs: ids, Cookie: cookie, HasCookie: cookie != nil})
}

// NewCookie sends a cookie alone.
func (p *Provider) NewCookie(cookie []byte) error {
	return p.Send(Message{Kind: KindNewCookie, Cookie: cookie, HasCookie: true})
}

// EndPresent ends a present phase, and with done the refresh stage.
func (p *Provider) EndPresent(cookie []byte, done bool) error {
	return p.Send(Message{Kind: KindRefreshPresent, RefreshDone: done, Cookie: cookie, HasCookie: cookie != nil})
}

// EndDelete ends a delete phase, and with done the refresh stage.
func (p *Provider) EndDelete(cookie []byte, done bool) error {
	return p.Send(Message{Kind: KindRefreshDelete, RefreshDone: done, Cookie: cookie, HasCookie: cookie != nil})
}

// Done ends a refreshOnly search with success; refreshDeletes is FALSE when the
// last phase was a present phase (RFC 4533 section 3.3.2).
func (p *Provider) Done(cookie []byte, refreshDeletes bool) error {
	return p.Send(Message{Kind: KindDone, HasSyncDone: true, RefreshDeletes: refreshDeletes,
		Cookie: cookie, HasCookie: cookie != nil})
}

// Fail ends the search with a result code and words.
func (p *Provider) Fail(code int, diagnostic string) error {
	return p.Send(Message{Kind: KindDone, Code: code, Diagnostic: diagnostic})
}
