package upstream

import (
	"context"

	"shaft/pkg/syncrepl"
)

// follower is the sink of a sync search on its way to the feed's: it counts, and
// tells the link when the refresh is over.
type follower struct {
	syncrepl.Sink
	link     *linkImpl
	conn     *lease
	frames   *frames
	ctx      context.Context
	delta    bool // a cookie was sent
	persists bool // the search goes on behind the refresh
	live     bool // the refresh is over
}

// Put implements syncrepl.Sink.
func (f *follower) Put(e syncrepl.Entry) error {
	if !f.live {
		f.link.entries.Add(1)
	}
	return f.Sink.Put(e)
}

// RefreshDone implements syncrepl.Sink.
func (f *follower) RefreshDone(end syncrepl.End) error {
	if err := f.Sink.RefreshDone(end); err != nil {
		return err
	}
	f.live = true
	f.frames.patience = 0
	f.frames.search.settle()
	f.conn.refreshed()
	if f.persists {
		f.link.set(Live, "")
	}
	return nil
}
