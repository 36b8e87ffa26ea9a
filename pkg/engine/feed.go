package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

// feed takes one claim's sessions, one after the other, from its link: the
// refresh is staged, what persists is gathered for the writer. All methods but
// Report run on the link's goroutine.
type feed struct {
	e     *Engine
	claim *claim

	ctx     context.Context
	server  string
	conv    *converter
	gone    bool      // the session ends since the found entry is not in its place
	refresh *refresh  // while refreshing
	began   time.Time // zero: it plays what was held
	pending []change
	bytes   int
}

// handOver is how much a session gathers before it goes to the writer even
// though more input is waiting.
const handOver = 64 << 10

var errNotFollowed = errors.New("the claim is not followed any more")

// Begin implements upstream.Feed. A cookie belongs to the server that gave it,
// unless it is of OpenLDAP's form (R13), and to the source as it was (see origin).
func (f *feed) Begin(ctx context.Context, server string) ([]byte, syncrepl.Sink, error) {
	conv, err := newConverter(f.e.schema, f.claim)
	if err != nil {
		return nil, nil, err
	}
	f.ctx, f.server, f.conv, f.began = ctx, server, conv, time.Now()
	f.pending, f.bytes, f.gone = nil, 0, false
	var cookie []byte
	doErr := f.e.do(ctx, func() {
		if f.claim.feed != f {
			err = errNotFollowed
		} else {
			err = cmp.Or(f.e.failed, f.claim.refused, f.e.store.Full())
			f.claim.refused = nil
		}
		if err != nil {
			return
		}
		cookie = slices.Clone(f.claim.cookie)
		if _, portable := syncrepl.ParseCookie(cookie); f.claim.server != server && !portable || f.claim.taken != f.claim.origin() {
			cookie = nil
		}
		f.e.inbox.takeOf(f.claim) // of the session before: it comes again by the cookie
		f.refresh = f.e.newRefresh(f)
		f.refresh.sent = len(cookie) > 0
		if !f.refresh.sent && f.e.holdOf(string(f.claim.id)) == nil {
			f.e.loading(f.claim)
		}
	})
	if err = cmp.Or(doErr, err); err != nil {
		return nil, nil, err
	}
	return cookie, f, nil
}

// Forget implements upstream.Feed: the next Begin gives no cookie. The stored
// one stays until a full load has taken its place, so a crash loses nothing. What the
// session said before holds, and nobody says it again, since without a cookie the next one
// begins with what is there: so Forget waits until the writer has taken it. It cannot have the
// writer take it at once: a change that is refused ends this link, which would wait for itself.
func (f *feed) Forget(ctx context.Context) error {
	for said := true; said; {
		var err error
		if doErr := f.e.do(ctx, func() { said, err = f.forget() }); doErr != nil || err != nil {
			return cmp.Or(doErr, err)
		}
	}
	return nil
}

// forget drops the cookie, unless something that was said waits for the writer.
func (f *feed) forget() (said bool, err error) {
	switch {
	case f.claim.feed != f:
		return false, errNotFollowed
	case f.e.failed != nil:
		return false, f.e.failed
	case f.e.inbox.has(f.claim):
		return true, nil
	}
	f.claim.cookie = nil
	return false, nil
}

// End implements upstream.Feed.
func (f *feed) End(err error) {
	if f.refresh != nil {
		f.e.refreshed(outcomeOf(err), f.began)
		f.refresh.discard()
		f.refresh = nil
	}
}

// Report implements upstream.Feed. A found entry that is not in its place is as good
// as no base: its list may have to be asked.
func (f *feed) Report(s upstream.Status) {
	if s.State == upstream.Down && f.gone {
		s.NoBase, f.gone = true, false
	}
	f.claim.setStatus(s)
	f.e.inbox.tell(report{claim: f.claim, status: s})
}

// Put implements syncrepl.Sink.
func (f *feed) Put(e syncrepl.Entry) error {
	if err := f.conv.convert(e); err != nil {
		return err
	}
	if entry := f.claim.entry; !entry.IsZero() && e.UUID != entry && f.conv.depth == 0 {
		return f.foundGone()
	}
	if f.refresh != nil {
		return f.refresh.put(e.UUID)
	}
	return f.add(f.conv.change(f.claim, e.UUID))
}

// Present implements syncrepl.Sink.
func (f *feed) Present(ids []dit.UUID) error {
	if f.refresh == nil {
		return nil
	}
	return f.refresh.present(ids)
}

// Delete implements syncrepl.Sink.
func (f *feed) Delete(ids []dit.UUID) error {
	if entry := f.claim.entry; !entry.IsZero() && f.claim.wholeSubtrees() && slices.Contains(ids, entry) {
		return f.foundGone()
	}
	if f.refresh != nil {
		return f.refresh.delete(ids)
	}
	for _, id := range ids {
		if err := f.add(change{claim: f.claim, op: opDelete, id: id}); err != nil {
			return err
		}
	}
	return nil
}

// RefreshDone implements syncrepl.Sink: the writer publishes what was staged.
func (f *feed) RefreshDone(end syncrepl.End) error {
	if err := checkCookie(end.Cookie); err != nil {
		return err
	}
	r := f.refresh
	if entry := f.claim.entry; !entry.IsZero() && f.claim.wholeSubtrees() && end.Complete && r.leavesOut(entry) {
		return f.foundGone()
	}
	if err := r.finish(f.ctx, end); err != nil {
		return err
	}
	f.refresh = nil
	f.e.refreshed(RefreshDone, f.began)
	return nil
}

// errFoundGone ends a session that says that a found entry is gone, or elsewhere, or has
// another one in its place: of that its list has the word, and until then the content
// stays (R35). With a filter for the content it may only have left that.
var errFoundGone = errors.New("the found entry is gone from its place on the server; the content stays until the list's search says what became of it")

func (f *feed) foundGone() error {
	f.gone = true
	return errFoundGone
}

// Cookie implements syncrepl.Sink.
func (f *feed) Cookie(c []byte) error {
	if f.refresh != nil {
		return nil
	}
	if err := checkCookie(c); err != nil {
		return err
	}
	return f.add(change{claim: f.claim, op: opCookie, cookie: slices.Clone(c), server: f.server})
}

// maxCookie bounds what is stored of a server's cookie: 4096 CSNs of OpenLDAP's
// form, the most there can be, take 168 KB.
const maxCookie = 256 << 10

func checkCookie(c []byte) error {
	if len(c) > maxCookie {
		return fmt.Errorf("the server sent a cookie of %d bytes; at most %d are taken", len(c), maxCookie)
	}
	return nil
}

// Flush implements syncrepl.Sink.
func (f *feed) Flush() error {
	if len(f.pending) == 0 {
		return nil
	}
	changes := f.pending
	f.pending, f.bytes = nil, 0
	return f.e.inbox.push(f.ctx, f.claim, changes)
}

func (f *feed) add(c change) error {
	c.feed = f
	f.pending = append(f.pending, c)
	f.bytes += c.size()
	if f.bytes >= handOver {
		return f.Flush()
	}
	return nil
}
