package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// session connects and follows until something ends it. lived tells whether
// the refresh was completed.
func (l *linkImpl) session(ctx context.Context, feed Feed) (lived bool, err error) {
	// A search that was refused alone is tried alone every other time: a server that was
	// busy then may take few searches of a connection all the same.
	c, err := l.o.lease(ctx, l.src, l.alone || l.refused > 0 && l.refused%2 == 0, l.touch)
	if err != nil {
		return false, err
	}
	l.arrive(c)
	defer l.depart()
	cookie, sink, err := feed.Begin(ctx, c.server)
	if err != nil {
		c.leave()
		return false, err
	}
	s, lived, err := l.consume(ctx, c, syncrepl.RefreshAndPersist, cookie, sink)
	if errors.Is(err, errAlone) {
		l.alone = true
	}
	rests := c.rests(s)
	if s != nil && !rests {
		s.end()
	}
	feed.End(err)
	if rests {
		return lived, err
	}
	if errors.Is(err, syncrepl.ErrReload) {
		linger(ctx)
	}
	c.leave()
	return lived, err
}

// parting is how long a connection on which no search rests is kept when the server
// wants a full reload, for the same reason.
const parting = 100 * time.Millisecond

func linger(ctx context.Context) {
	timer := time.NewTimer(parting)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// consume sends the sync search and hands on what comes. In the mode refreshOnly
// no error is a complete refresh. The search is the caller's to end; nil: none was begun.
func (l *linkImpl) consume(ctx context.Context, c *lease, mode syncrepl.Mode, cookie []byte, sink syncrepl.Sink) (s *search, lived bool, err error) {
	request, err := syncRequest(l.src, cookie)
	if err != nil {
		return nil, false, err
	}
	request.Mode = mode
	s, err = c.wire.begin(ctx, true, func(id int32) []byte { return syncrepl.AppendSearch(nil, id, request) })
	if err != nil {
		return nil, false, err
	}
	f := &frames{ctx: ctx, search: s, patience: l.o.Patience}
	follower := &follower{Sink: sink, link: l, conn: c, frames: f, ctx: ctx, delta: len(cookie) > 0, persists: mode == syncrepl.RefreshAndPersist}
	l.entries.Store(0)
	err = syncrepl.Consume(ctx, f, l.src.consumer(mode, cookie), follower)
	if f.err != nil {
		err = f.err
	}
	if err == nil && mode == syncrepl.RefreshAndPersist {
		err = fmt.Errorf("search: the server ended it")
	}
	var end *syncrepl.ResultError
	if !follower.live && errors.As(err, &end) && (end.Code == ldap.LDAPResultBusy || end.Code == ldap.LDAPResultAdminLimitExceeded) {
		if l.refused > 0 || c.refused() {
			l.refused++
		}
	}
	return s, follower.live, searchError(l.src, err)
}

// consumer are the options that src is read with.
func (s *Source) consumer(mode syncrepl.Mode, cookie []byte) syncrepl.Options {
	o := syncrepl.Options{Sent: cookie, Mode: mode, NewCookieEnds: s.NewCookieEnds}
	if s.UUIDFromDN {
		o.Identify = uuidOfDN
	}
	return o
}

// syncRequest is the search that follows src.
func syncRequest(src Source, cookie []byte) (syncrepl.Request, error) {
	filter, err := dit.ParseFilter(src.Filter)
	if err != nil {
		return syncrepl.Request{}, fmt.Errorf("filter: %w", err)
	}
	scope, err := scopeNumber(src.Scope)
	if err != nil {
		return syncrepl.Request{}, fmt.Errorf("scope: %w", err)
	}
	if len(cookie) == 0 {
		cookie = nil
	}
	return syncrepl.Request{
		Base: src.Base, Scope: scope, Filter: filter, Attributes: requested(src.Attributes),
		Mode: syncrepl.RefreshAndPersist, Cookie: cookie, ReloadHint: true,
	}, nil
}

// requested is what the search asks for: beyond what is published, the object
// classes and the operational attributes (R11).
func requested(attributes []string) []string {
	if len(attributes) == 0 {
		return []string{"*", "+"}
	}
	asked := append([]string(nil), attributes...)
	for _, more := range []string{"objectClass", "+"} {
		if !containsFold(asked, more) {
			asked = append(asked, more)
		}
	}
	return asked
}

func containsFold(list []string, s string) bool {
	for _, one := range list {
		if strings.EqualFold(one, s) {
			return true
		}
	}
	return false
}
