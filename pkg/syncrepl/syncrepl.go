// Package syncrepl speaks RFC 4533 (LDAP content synchronization): the codec of
// its controls and Sync Info messages, a consumer session and a provider session.
// It knows nothing of rewriting, queues or storage.
package syncrepl

import (
	"context"

	"shaft/pkg/dit"
)

// OIDs of RFC 4533 and of ManageDsaIT (RFC 3296), which a sync search carries.
const (
	OIDSyncRequest = "1.3.6.1.4.1.4203.1.9.1.1"
	OIDSyncState   = "1.3.6.1.4.1.4203.1.9.1.2"
	OIDSyncDone    = "1.3.6.1.4.1.4203.1.9.1.3"
	OIDSyncInfo    = "1.3.6.1.4.1.4203.1.9.1.4"
	OIDManageDsaIT = "2.16.840.1.113730.3.4.2"
)

// Mode of a sync search.
type Mode int

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

// AppendSearch encodes the SearchRequest message with the Sync (critical) and
// ManageDsaIT controls.
func AppendSearch(dst []byte, messageID int32, r Request) []byte { panic("todo") }

// ---- decoding

// Kind of a message in a sync stream.
type Kind int

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

// State of an entry message.
type State int

const (
	StatePresent State = iota
	StateAdd
	StateModify
	StateDelete
)

// Message is one decoded message. Its slices alias the frame.
type Message struct {
	MessageID      int64
	Kind           Kind
	State          State
	UUID           dit.UUID
	DN             []byte
	Attrs          []byte // content of the PartialAttributeList as received
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

// Decode decodes one LDAP message frame of a sync search, by tag, never by
// position. An error names what is malformed and where.
func Decode(frame []byte, m *Message) error { panic("todo") }

// ---- consumer

// Entry is what a consumer hands on. Its slices are good until Put returns.
type Entry struct {
	UUID  dit.UUID
	State State // StateAdd or StateModify
	DN    []byte
	Attrs []byte // verbatim PartialAttributeList content; lengths may not be minimal
}

// End says how a refresh stage ended.
type End struct {
	Cookie []byte // nil: none given
	// Complete: what was neither put nor named present since the search began
	// is gone (there was a present phase, or no cookie was sent).
	Complete bool
}

// Sink takes one session's content, in the order of the wire. An error from it ends
// the session and is returned by Run as it is. Between the search and
// RefreshDone everything belongs to the refresh and is to be staged.
type Sink interface {
	Put(e Entry) error
	Present(ids []dit.UUID) error // refresh only: still there, unchanged
	Delete(ids []dit.UUID) error
	RefreshDone(end End) error
	// Cookie covers everything taken before it (persist stage only).
	Cookie(c []byte) error
	// Flush says that no more input is waiting: hand on what was gathered.
	Flush() error
}

// Frames gives the frames of one search's responses, each good until the next
// call; Buffered tells whether another one is there without waiting.
type Frames interface {
	Next() ([]byte, error)
	Buffered() bool
}

// Outcomes of a session that callers branch on.
var (
	// ErrReload: the provider wants, or the state of things demands, a full
	// reload: forget the cookie and search again (4096, an empty cookie after
	// one was sent, 53 for a cookie that is newer than the provider).
	ErrReload error
	// ErrNotSync: the server does not speak RFC 4533 here (12, entries or a
	// done without their controls).
	ErrNotSync error
)

// ResultError is a search that ended with a result other than success.
type ResultError struct {
	Code       int
	Diagnostic string
}

func (e *ResultError) Error() string { panic("todo") }

// Options of a consumer.
type Options struct {
	Sent []byte // the cookie that the search carried
	Mode Mode
}

// Consume reads the stream of one search until it ends, and hands it to sink.
// For RefreshOnly a nil error is a complete refresh; for RefreshAndPersist it
// never returns nil. A stream that ends early is an error, never a refresh.
func Consume(ctx context.Context, frames Frames, o Options, sink Sink) error { panic("todo") }

// ---- cookies

// Cookie is OpenLDAP's cookie form, rid=NNN[,sid=HHH],csn=A[;B…].
type Cookie struct {
	RID  int
	SID  int // -1: none
	CSNs []string
}

// ParseCookie reads it; ok is false for any other cookie, which is opaque bytes.
func ParseCookie(b []byte) (c Cookie, ok bool) { panic("todo") }
func (c Cookie) String() string                { panic("todo") }

// MergeCookie joins a persist stage's cookie with the one held: CSNs by server
// ID, the newer wins (slapd with a serverID sends only the one that moved).
// A cookie of another form replaces the held one.
func MergeCookie(held, got []byte) []byte { panic("todo") }
