package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/syncrepl"
)

const (
	// pageSize is how many entries a page of a poll has: servers allow 500 or
	// 1000, and a page is read in no time.
	pageSize = 500

	// syncEvery is how many polls go by until the server is asked for SyncRepl
	// again: often enough to gain it soon, seldom enough to cost next to nothing.
	syncEvery = 10
)

// pollable tells whether a session ended because the server does not let itself
// be followed, where the source allows polls. 53 is what some say to
// refreshAndPersist alone.
func (l *linkImpl) pollable(err error) bool {
	return l.src.Poll > 0 && refusesSync(err)
}

// refusesSync tells whether a sync search failed for what it is.
func refusesSync(err error) bool {
	var end *syncrepl.ResultError
	if errors.Is(err, syncrepl.ErrNotSync) {
		return true
	}
	return !errors.Is(err, syncrepl.ErrReload) && errors.As(err, &end) &&
		(end.Code == ldap.LDAPResultUnwillingToPerform || end.Code == ldap.LDAPResultProtocolError)
}

// polls reads the source again and again, until it is time to ask for SyncRepl
// again; false when ctx ended.
func (l *linkImpl) polls(ctx context.Context, feed Feed, pauses *backoff) bool {
	every := time.Duration(l.src.Poll)
	for range syncEvery {
		err := l.readOnce(ctx, feed, false)
		if ctx.Err() != nil {
			return false
		}
		pause := every
		if errors.Is(err, ErrHeld) {
			l.set(Held, "")
		} else if err == nil {
			pauses.reset()
			l.set(Polling, "")
		} else {
			l.down(err)
			pause = min(every, pauses.pause())
		}
		if !l.sleep(ctx, pause, nil) {
			return false
		}
	}
	return true
}

// readOnce brings the content up to date, and ends: by a refresh where the server
// has that, else by a plain search of everything. With whole no cookie is sent.
func (l *linkImpl) readOnce(ctx context.Context, feed Feed, whole bool) error {
	err := l.read(ctx, feed, whole)
	if errors.Is(err, errAlone) || errors.Is(err, errFull) {
		l.alone = l.alone || errors.Is(err, errAlone)
		err = l.read(ctx, feed, whole)
	}
	return searchError(l.src, err)
}

func (l *linkImpl) read(ctx context.Context, feed Feed, whole bool) error {
	c, err := l.o.lease(ctx, l.src, l.alone, l.touch)
	if err != nil {
		return err
	}
	defer c.leave()
	l.arrive(c)
	defer l.depart()
	err = l.refreshOnce(ctx, c, feed, whole)
	if errors.Is(err, syncrepl.ErrReload) && !whole {
		err = l.refreshOnce(ctx, c, feed, true)
	}
	if refusesSync(err) && ctx.Err() == nil && c.wire.cause() == nil {
		err = l.readPlain(ctx, c, feed)
	}
	return err
}

// refreshOnce runs a sync search in the mode refreshOnly. A cookie is sent only
// where it has OpenLDAP's form: of a refresh with another one, 389-ds says that
// what it did not name is gone, and it names changes alone.
func (l *linkImpl) refreshOnce(ctx context.Context, c *lease, feed Feed, whole bool) error {
	if whole {
		if err := feed.Forget(ctx); err != nil {
			return err
		}
	}
	cookie, sink, err := feed.Begin(ctx, c.server)
	if err != nil {
		return err
	}
	if _, ours := syncrepl.ParseCookie(cookie); len(cookie) > 0 && !ours {
		feed.End(nil)
		return l.refreshOnce(ctx, c, feed, true)
	}
	s, _, err := l.consume(ctx, c, syncrepl.RefreshOnly, cookie, sink)
	if s != nil {
		s.end()
	}
	feed.End(err)
	return err
}

// readPlain loads everything by a plain search, in pages where the server has
// them. The engine finds what differs.
func (l *linkImpl) readPlain(ctx context.Context, c *lease, feed Feed) error {
	err := l.loadPlain(ctx, c, feed, pageSize)
	var end *syncrepl.ResultError
	if errors.Is(err, errPageLost) || errors.As(err, &end) && (end.Code == ldap.LDAPResultUnavailableCriticalExtension || end.Code == ldap.LDAPResultUnwillingToPerform) {
		err = l.loadPlain(ctx, c, feed, 0)
	}
	return err
}

func (l *linkImpl) loadPlain(ctx context.Context, c *lease, feed Feed, page int) error {
	request, err := syncRequest(l.src, nil)
	if err != nil {
		return err
	}
	if err := feed.Forget(ctx); err != nil {
		return err
	}
	_, sink, err := feed.Begin(ctx, c.server)
	if err != nil {
		return err
	}
	q := plain{base: request.Base, scope: request.Scope, filter: request.Filter, attributes: l.src.identified(request.Attributes), page: page}
	l.entries.Store(0)
	err = c.entries(ctx, l.o, q, func(m *syncrepl.Message) error {
		id, err := l.src.uuidOf(m)
		if err != nil {
			return err
		}
		l.entries.Add(1)
		return sink.Put(syncrepl.Entry{UUID: id, DN: m.DN, Attrs: m.Attrs})
	})
	if err == nil {
		err = sink.RefreshDone(syncrepl.End{Complete: true})
	}
	if err == nil {
		err = sink.Flush()
	}
	feed.End(err)
	return err
}

// identified adds the attributes that say which entry it is, where a server gives
// them only to those who name them.
func (s *Source) identified(attributes []string) []string {
	return append(attributes[:len(attributes):len(attributes)], attrEntryUUID, attrUniqueID, attrObjectGUID)
}
