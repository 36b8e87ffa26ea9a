package syncrepl

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"shaft/pkg/dit"
)

// Entry is what a consumer hands on. Its slices are good until Put returns.
type Entry struct {
	UUID  dit.UUID // never zero
	DN    []byte
	Attrs []byte // verbatim PartialAttributeList content; lengths may not be minimal
}

// End says how a refresh stage ended.
type End struct {
	// Cookie that stands for the content after the refresh; nil: none given.
	// The one that was sent, when the provider had no change to tell.
	Cookie []byte
	// Complete: what was neither put nor named present since the search began
	// is gone (there was a present phase, or no cookie was sent).
	Complete bool
}

// Sink takes one session's content, in the order of the wire. An error from it ends
// the session and is returned by Consume as it is. Between the search and
// RefreshDone everything belongs to the refresh and is to be staged. Slices are
// good until the call returns.
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
	ErrReload = errors.New("a full reload is needed")
	// ErrNotSync: the server does not speak RFC 4533 here (12, entries or a
	// done without their controls).
	ErrNotSync = errors.New("the server does not offer content synchronization (RFC 4533) here")
)

// ResultError is a search that ended with a result that it should not end
// with: any but success, and success itself where a search should go on.
type ResultError struct {
	Code       int
	Diagnostic string
}

func (e *ResultError) Error() string {
	if e.Diagnostic == "" {
		return fmt.Sprintf("the search ended with result %d", e.Code)
	}
	return fmt.Sprintf("the search ended with result %d: %s", e.Code, e.Diagnostic)
}

// Options of a consumer.
type Options struct {
	Sent []byte // the cookie that the search carried
	Mode Mode
	// NewCookieEnds takes a newcookie during the refresh as its end, for a server
	// that sends no other (ApacheDS).
	NewCookieEnds bool
	// Identify makes up the UUID of an entry that comes without one; nil: such an
	// entry ends the session.
	Identify func(dn []byte) (dit.UUID, error)
}

// Consume reads the stream of one search until it ends, and hands it to sink.
// For RefreshOnly a nil error is a complete refresh; for RefreshAndPersist it
// never returns nil. A stream that ends early is an error, never a refresh.
//
// It waits in frames.Next only: to end it, cancel ctx and close the connection.
// The error is then ctx's cause.
func Consume(ctx context.Context, frames Frames, o Options, sink Sink) error {
	c := consumer{sink: sink, o: o, cookie: o.Sent}
	var m Message
	for !c.ended {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		frame, err := frames.Next()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s stage: %w", c.stage(), err)
		}
		if err := Decode(frame, &m); err != nil {
			return fmt.Errorf("%s stage: malformed message: %w", c.stage(), err)
		}
		if err := c.take(&m); err != nil {
			return c.last(err)
		}
		if c.gathered && (c.ended || !frames.Buffered()) {
			c.gathered = false
			if err := sink.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// consumer is the state of one search.
type consumer struct {
	sink Sink
	o    Options

	persist  bool   // the refresh is done
	present  bool   // a present phase was seen
	changed  bool   // the refresh said something of the content
	cookie   []byte // persist: the one held; refresh: the one sent or told of since
	told     bool   // refresh: cookie was told of
	gathered bool   // something was handed on since the last Flush
	refused  bool   // the sink did not take the latest
	ended    bool
	one      [1]dit.UUID

	// Persist stage: the entry that the latest message with a cookie was of, and that cookie.
	latest   dit.UUID
	latestBy []byte
}

// last ends the session with err. What the persist stage said before that holds.
func (c *consumer) last(err error) error {
	if !c.persist || !c.gathered || c.refused {
		return err
	}
	return errors.Join(err, c.sink.Flush())
}

// did notes whether the sink took what it was given.
func (c *consumer) did(err error) error {
	c.refused = err != nil
	return err
}

func (c *consumer) stage() string {
	if c.persist {
		return "persist"
	}
	return "refresh"
}

// take handles one message: its content first, then the cookie that covers it.
func (c *consumer) take(m *Message) error {
	switch m.Kind {
	case KindEntry:
		return c.then(c.entry(m), m)
	case KindReference:
		return c.then(c.reference(m), m)
	case KindIDSet:
		return c.then(c.idSet(m), m)
	case KindNewCookie:
		return c.lastCookie(m)
	case KindRefreshDelete, KindRefreshPresent:
		return c.refresh(m)
	case KindDone:
		return c.done(m)
	}
	return nil
}

func (c *consumer) then(err error, m *Message) error {
	if err != nil || !m.HasCookie {
		return err
	}
	return c.newCookie(m)
}

func (c *consumer) entry(m *Message) error {
	if !m.HasState {
		return fmt.Errorf("entry %.100q without a Sync State control: %w", m.DN, ErrNotSync)
	}
	if err := c.identify(m); err != nil {
		return err
	}
	if err := c.order(m); err != nil {
		return err
	}
	switch {
	case m.State == StateDelete:
		c.one[0] = m.UUID
		return c.remove(c.one[:])
	case m.State == StatePresent && len(m.Attrs) == 0:
		c.one[0] = m.UUID
		return c.stay(c.one[:])
	}
	c.changed, c.gathered = true, true
	return c.did(c.sink.Put(Entry{UUID: m.UUID, DN: m.DN, Attrs: m.Attrs}))
}

// order refuses a change that is older than the one of the same entry right before it: of
// what came between the two nobody knows whether it is to be believed.
func (c *consumer) order(m *Message) error {
	if !c.persist || !m.HasCookie {
		return nil
	}
	if m.UUID == c.latest && olderCookie(m.Cookie, c.latestBy) {
		return fmt.Errorf("persist stage: of entry %s an older change came behind a newer one: %w", m.UUID, ErrReload)
	}
	c.latest, c.latestBy = m.UUID, append(c.latestBy[:0], m.Cookie...)
	return nil
}

// identify gives an entry without a UUID the one that is made up for its DN,
// where that is allowed.
func (c *consumer) identify(m *Message) (err error) {
	if !m.UUID.IsZero() {
		return nil
	}
	if c.o.Identify == nil {
		return fmt.Errorf("%s stage: entry %.100q has no entryUUID", c.stage(), m.DN)
	}
	if m.UUID, err = c.o.Identify(m.DN); err != nil {
		return fmt.Errorf("%s stage: entry %.100q has no entryUUID, and none is made up for it: %w", c.stage(), m.DN, err)
	}
	return nil
}

// reference: what the provider names as a reference is no entry of the content,
// and no longer one if it was.
func (c *consumer) reference(m *Message) error {
	if !m.HasState || m.UUID.IsZero() || m.State == StatePresent {
		return nil
	}
	c.one[0] = m.UUID
	return c.remove(c.one[:])
}

func (c *consumer) idSet(m *Message) error {
	if len(m.IDs) == 0 {
		return nil
	}
	if m.RefreshDeletes {
		return c.remove(m.IDs)
	}
	return c.stay(m.IDs)
}

func (c *consumer) remove(ids []dit.UUID) error {
	c.changed, c.gathered = true, true
	return c.did(c.sink.Delete(ids))
}

// stay: in the persist stage there is nothing to tell of what is unchanged, unless the refresh
// took what it did not name for gone: then its end came too early.
func (c *consumer) stay(ids []dit.UUID) error {
	if c.persist && c.present {
		return fmt.Errorf("persist stage: entries are said to be unchanged behind the end of a present phase: %w", ErrReload)
	}
	if c.persist {
		return nil
	}
	c.present, c.changed, c.gathered = true, true, true
	return c.did(c.sink.Present(ids))
}

// newCookie keeps a cookie until the refresh ends, and hands it on after that.
// An empty one after the refresh says nothing.
func (c *consumer) newCookie(m *Message) error {
	if !c.persist {
		c.cookie, c.told = bytes.Clone(m.Cookie), true
		return nil
	}
	if emptyCookie(m.Cookie) {
		return nil
	}
	c.cookie = MergeCookie(c.cookie, m.Cookie)
	c.gathered = true
	return c.did(c.sink.Cookie(c.cookie))
}

// lastCookie is a cookie that comes alone: where the operator said so, it ends
// the refresh.
func (c *consumer) lastCookie(m *Message) error {
	ends := c.o.NewCookieEnds && !c.persist && c.o.Mode == RefreshAndPersist
	if err := c.newCookie(m); err != nil || !ends {
		return err
	}
	return c.refreshDone()
}

func (c *consumer) refresh(m *Message) error {
	if c.persist {
		return errors.New("persist stage: the refresh ended a second time")
	}
	if m.Kind == KindRefreshPresent {
		c.present = true
	}
	if m.HasCookie {
		c.cookie, c.told = bytes.Clone(m.Cookie), true
	}
	if !m.RefreshDone || c.o.Mode == RefreshOnly {
		return nil
	}
	return c.refreshDone()
}

// refreshDone ends the refresh stage. A provider that was sent a cookie and has
// content to tell, but no cookie for it, did not know the one it was sent: what
// it left out is not what stayed.
func (c *consumer) refreshDone() error {
	hadCookie := !emptyCookie(c.o.Sent)
	if hadCookie && (emptyCookie(c.cookie) || !c.told && (c.changed || c.present)) {
		return fmt.Errorf("refresh stage: it ended without a cookie, though one was sent: %w", ErrReload)
	}
	if hadCookie && c.told && !c.present && !sameForm(c.o.Sent, c.cookie) {
		return fmt.Errorf("refresh stage: its cookie is of another kind than the one that was sent: %w", ErrReload)
	}
	end := End{Complete: c.present || !hadCookie}
	if c.told && !emptyCookie(c.cookie) || hadCookie {
		end.Cookie = c.cookie
	}
	c.cookie = end.Cookie
	c.persist = true
	c.gathered = true
	return c.did(c.sink.RefreshDone(end))
}

func (c *consumer) done(m *Message) error {
	result := &ResultError{Code: m.Code, Diagnostic: m.Diagnostic}
	switch {
	case m.Code == ResultRefreshRequired:
		return fmt.Errorf("%s stage: %w: %w", c.stage(), result, ErrReload)
	case m.Code == ResultUnwillingToPerform && !c.persist && !emptyCookie(c.o.Sent):
		return fmt.Errorf("refresh stage: the cookie was refused: %w: %w", result, ErrReload)
	case m.Code == ResultUnavailableCriticalExtension && !c.persist:
		return fmt.Errorf("%w: %w", result, ErrNotSync)
	case m.Code != ResultSuccess:
		return fmt.Errorf("%s stage: %w", c.stage(), result)
	case !m.HasSyncDone && !c.persist:
		return fmt.Errorf("a result without a Sync Done control: %w", ErrNotSync)
	case c.o.Mode != RefreshOnly:
		return fmt.Errorf("%s stage: %w", c.stage(), result)
	}
	if m.HasCookie {
		c.cookie, c.told = bytes.Clone(m.Cookie), true
	}
	if !m.RefreshDeletes && !c.present && !emptyCookie(c.o.Sent) {
		// 389-ds says so of changes alone; nothing was named that stayed.
		return fmt.Errorf("refresh stage: a present phase that named nothing: %w", ErrReload)
	}
	if !m.RefreshDeletes {
		c.present = true // RFC 4533 section 3.3.2: it was a present phase
	}
	c.ended = true
	return c.refreshDone()
}
