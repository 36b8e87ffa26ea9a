// Package syncrepl speaks RFC 4533 (LDAP content synchronization): the codec of
// its controls and Sync Info messages, a consumer session and a provider session.
// It knows nothing of rewriting, queues or storage, and opens no connection.
//
// A consumer writes the search and hands the frames that answer it to Consume,
// which calls a Sink in the order of the wire:
//
//	conn.Write(syncrepl.AppendSearch(nil, 2, syncrepl.Request{Base: base, Scope: 2,
//		Filter: all, Attributes: []string{"*", "+"}, Mode: syncrepl.RefreshAndPersist, Cookie: held}))
//	err := syncrepl.Consume(ctx, frames, syncrepl.Options{Mode: syncrepl.RefreshAndPersist, Sent: held}, sink)
//
// A provider reads the request's control with ParseRequest and answers through
// a Provider.
package syncrepl

import "shaft/pkg/dit"

// OIDs of RFC 4533 and of ManageDsaIT (RFC 3296), which a sync search carries.
const (
	OIDSyncRequest = "1.3.6.1.4.1.4203.1.9.1.1"
	OIDSyncState   = "1.3.6.1.4.1.4203.1.9.1.2"
	OIDSyncDone    = "1.3.6.1.4.1.4203.1.9.1.3"
	OIDSyncInfo    = "1.3.6.1.4.1.4203.1.9.1.4"
	OIDManageDsaIT = "2.16.840.1.113730.3.4.2"
)

// Result codes that mean something of their own to a sync search.
const (
	ResultSuccess                      = 0
	ResultUnavailableCriticalExtension = 12
	ResultUnwillingToPerform           = 53
	ResultRefreshRequired              = 4096 // e-syncRefreshRequired, RFC 4533 section 2.6
)

// Mode of a sync search.
type Mode int

// The modes of RFC 4533 section 2.2; 0 and 2 do not exist.
const (
	RefreshOnly       Mode = 1
	RefreshAndPersist Mode = 3
)

// Request is one sync search.
type Request struct {
	Base       string
	Scope      int // 0 base, 1 one, 2 sub, 3 subordinate
	Filter     dit.Filter
	Attributes []string
	Mode       Mode
	Cookie     []byte // nil: none
	ReloadHint bool
}

// Kind of a message in a sync stream.
type Kind int

// The kinds of message that a sync search is answered with.
const (
	KindEntry          Kind = iota // SearchResultEntry with a Sync State
	KindReference                  // SearchResultReference with a Sync State
	KindNewCookie                  // Sync Info
	KindRefreshDelete              // Sync Info
	KindRefreshPresent             // Sync Info
	KindIDSet                      // Sync Info syncIdSet
	KindDone                       // SearchResultDone
	KindOther                      // an intermediate response of another kind: ignored
)

// State of an entry message (RFC 4533 section 2.3).
type State int

// The states, numbered as on the wire.
const (
	StatePresent State = iota
	StateAdd
	StateModify
	StateDelete
)

// Message is one decoded message. Its slices alias the frame, IDs apart.
type Message struct {
	MessageID      int64
	Kind           Kind
	State          State
	UUID           dit.UUID // zero when the control has none
	DN             []byte
	Attrs          []byte // content of the PartialAttributeList as received, unchecked
	Cookie         []byte
	HasCookie      bool
	RefreshDone    bool // refreshDelete, refreshPresent: DEFAULT TRUE
	RefreshDeletes bool // syncIdSet, Sync Done
	IDs            []dit.UUID
	Code           int // Done: resultCode
	Diagnostic     string
	HasSyncDone    bool // Done: the control was there
	HasState       bool // Entry: the control was there
}
