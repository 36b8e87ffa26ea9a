package upstream

import (
	"context"
	"fmt"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// session connects and follows until something ends it. lived tells whether
// the refresh was completed.
func (l *linkImpl) session(ctx context.Context, feed Feed) (lived bool, err error) {
	c, err := open(ctx, l.src, l.o, l.touch)
	if err != nil {
		return false, err
	}
	defer c.close()
	cookie, sink, err := feed.Begin(ctx, c.server)
	if err != nil {
		return false, err
	}
	lived, err = l.consume(ctx, c, cookie, sink)
	feed.End(err)
	return lived, err
}

// consume sends the sync search and hands on what comes.
func (l *linkImpl) consume(ctx context.Context, c *conn, cookie []byte, sink syncrepl.Sink) (lived bool, err error) {
	request, err := syncRequest(l.src, cookie)
	if err != nil {
		return false, err
	}
	c.wire.following.Store(true)
	if _, err := c.wire.Write(syncrepl.AppendSearch(nil, syncID, request)); err != nil {
		return false, lost(err)
	}
	l.set(Refreshing, "")
	f := newFrames(c, l.o)
	err = syncrepl.Consume(ctx, f, syncrepl.Options{Sent: cookie, Mode: request.Mode}, &liveSink{sink, f, l})
	if f.err != nil {
		err = f.err
	}
	if err == nil {
		err = fmt.Errorf("search: the server ended it")
	}
	return f.live, searchError(l.src, err)
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

// liveSink tells the link when the refresh is over.
type liveSink struct {
	syncrepl.Sink
	frames *frames
	link   *linkImpl
}

func (s *liveSink) RefreshDone(end syncrepl.End) error {
	if err := s.Sink.RefreshDone(end); err != nil {
		return err
	}
	s.frames.live = true
	s.link.set(Live, "")
	return nil
}
