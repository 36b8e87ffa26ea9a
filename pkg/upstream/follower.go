package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// Knower is what a sink may be besides: it tells whether an entry is part of the
// content already. It is asked before Put, and only about entries that may have
// others below them. "No" is always right, and costs a search.
type Knower interface {
	Knows(id dit.UUID) bool
}

// maxNewcomers bounds the subtrees that are fetched at the end of one refresh. More
// of them are a reason for a full load.
const maxNewcomers = 1000

// follower is the sink of a sync search on its way to the feed's: it counts,
// tells the link when the refresh is over, and fetches what the server leaves
// out. slapd, and others, send of a subtree that is moved into the scope its top
// alone: the entries below have not changed. So where an entry comes that is not
// known and that has subordinates, what is below it is read by a plain search, and put
// before the cookie that covers it; in a refresh, before its end.
//
// The sign is hasSubordinates, or numSubordinates: a server that has it says TRUE
// of a new container only when something was added below it before the message was
// written. Where a server has neither, nothing is fetched: some answer no other search
// beside a sync search.
type follower struct {
	syncrepl.Sink
	link     *linkImpl
	conn     *lease
	frames   *frames
	ctx      context.Context
	delta    bool // a cookie was sent
	persists bool // the search goes on behind the refresh
	began    bool // the server has taken the search: it sends content
	live     bool // the refresh is over

	newcomers []newcomer // tops whose subtrees are to be fetched at the end of the refresh
}

// begins notes that content comes: until then the server may yet refuse the search, and
// was not there in between.
func (f *follower) begins() {
	if f.began {
		return
	}
	f.began = true
	if f.persists && !f.live && f.link.status.Load().State != Polling {
		f.link.set(Refreshing, "")
	}
}

// Present implements syncrepl.Sink.
func (f *follower) Present(ids []dit.UUID) error {
	f.begins()
	return f.Sink.Present(ids)
}

// Delete implements syncrepl.Sink.
func (f *follower) Delete(ids []dit.UUID) error {
	f.begins()
	return f.Sink.Delete(ids)
}

// Put implements syncrepl.Sink.
func (f *follower) Put(e syncrepl.Entry) error {
	f.begins()
	if !f.live {
		f.link.entries.Add(1)
	}
	if !f.partial(e) {
		return f.Sink.Put(e)
	}
	top := newcomer{string(e.DN), e.UUID}
	if err := f.Sink.Put(e); err != nil {
		return err
	}
	if f.live {
		return f.fetch(top)
	}
	if len(f.newcomers) == maxNewcomers {
		return fmt.Errorf("more than %d new subtrees: %w", maxNewcomers, syncrepl.ErrReload)
	}
	f.newcomers = append(f.newcomers, top)
	return nil
}

// newcomer is the top of a subtree to fetch.
type newcomer struct {
	dn string
	id dit.UUID
}

// partial tells whether e may be the top of a subtree of which it alone is sent.
func (f *follower) partial(e syncrepl.Entry) bool {
	if !f.live && !f.delta || !f.link.src.deep() {
		return false
	}
	knower, ok := f.Sink.(Knower)
	if !ok {
		return false
	}
	has, _ := firstValue(e.Attrs, "hasSubordinates")
	count, counted := firstValue(e.Attrs, "numSubordinates")
	if !bytes.EqualFold(has, []byte("TRUE")) && (!counted || string(count) == "0") {
		return false
	}
	return !knower.Knows(e.UUID)
}

// deep tells whether the scope takes subtrees.
func (s *Source) deep() bool { return s.Scope != "base" && s.Scope != "one" }

// RefreshDone implements syncrepl.Sink.
func (f *follower) RefreshDone(end syncrepl.End) error {
	for _, top := range f.newcomers {
		if err := f.fetch(top); err != nil {
			return err
		}
	}
	f.newcomers = nil
	if err := f.Sink.RefreshDone(end); err != nil {
		return err
	}
	f.live = true
	f.link.refused = 0
	f.frames.patience = 0
	f.frames.search.settle()
	f.conn.refreshed()
	if f.persists {
		f.link.set(Live, "")
	}
	return nil
}

// fetch puts what is below top, while the sync search's messages wait. Where that
// search has other UUIDs than a plain one shows, as of a 389-ds that plays
// OpenLDAP, it has to give the entries itself.
func (f *follower) fetch(top newcomer) error {
	f.frames.search.fallBehind(true)
	defer f.frames.search.fallBehind(false)
	request, err := syncRequest(f.link.src, nil)
	if err != nil {
		return err
	}
	q := plain{base: top.dn, scope: ldap.ScopeWholeSubtree, filter: request.Filter, attributes: request.Attributes}
	f.link.fetches.Add(1)
	err = f.conn.entries(f.ctx, f.link.o, q, func(m *syncrepl.Message) error {
		id, err := f.link.src.uuidOf(m)
		if err != nil {
			return err
		}
		if id != top.id && string(m.DN) == top.dn {
			return fmt.Errorf("a plain search gives %.100q another UUID: %w", top.dn, syncrepl.ErrReload)
		}
		return f.Sink.Put(syncrepl.Entry{UUID: id, DN: m.DN, Attrs: m.Attrs})
	})
	var end *syncrepl.ResultError
	if !errors.As(err, &end) {
		return err
	}
	// With 32 it has moved on, or something above it has, of which no message names it.
	return fmt.Errorf("fetch what was moved to %.100q: %w: %w", top.dn, end, syncrepl.ErrReload)
}
