package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

const (
	// maxFoundBytes bounds what a refresh of a list's search gathers in memory: as
	// many members as there may be, with names of common length.
	maxFoundBytes = 64 << 20
	// maxFoundPending is how many changes a session gathers before it hands them
	// over, even though more input is waiting.
	maxFoundPending = 500
)

// listFeed takes one list's sessions, one after the other, from its link: what is
// found is expanded to names and gathered, a refresh until its end, and handed to
// the writer. All methods but Report run on the link's goroutine.
type listFeed struct {
	*expander
	e    *Engine
	list *list

	ctx     context.Context
	server  string
	refresh *gathering    // while refreshing
	began   time.Time     // zero: it is a dry run
	pending []queue.Event // of the persist stage
	bytes   int
	cookie  []byte // that covers what is pending; nil: none came
}

// gathering is one refresh of a list's search. Nothing of it is true before its end.
type gathering struct {
	known map[string]bool // members when it began, by entryUUID
	found map[string]queue.EntryFound
	seen  map[string]bool // said to be unchanged
	gone  map[string]bool
	bytes int
}

func newGathering() *gathering {
	return &gathering{known: map[string]bool{}, found: map[string]queue.EntryFound{}, seen: map[string]bool{}, gone: map[string]bool{}}
}

// Begin implements upstream.Feed. A cookie belongs to the server that gave it,
// unless it is of OpenLDAP's form (R13), and to the search as it was.
func (f *listFeed) Begin(ctx context.Context, server string) (cookie []byte, sink syncrepl.Sink, err error) {
	f.ctx, f.server, f.began = ctx, server, time.Now()
	f.pending, f.bytes, f.cookie = nil, 0, nil
	f.refresh = newGathering()
	doErr := f.e.do(ctx, func() {
		if err = f.current(); err != nil {
			return
		}
		l := f.list
		_, portable := syncrepl.ParseCookie(l.cookie)
		if (l.server == server || portable) && l.search == f.e.searchSum(l.sub) {
			cookie = slices.Clone(l.cookie)
		}
		for id := range f.e.state.Members[l.id] {
			f.refresh.known[id] = true
		}
	})
	if err = cmp.Or(doErr, err); err != nil {
		return nil, nil, err
	}
	return cookie, f, nil
}

// current tells why the session is not to go on, or nil; on the engine goroutine.
func (f *listFeed) current() error {
	if f.list.feed != f {
		return errNotFollowed
	}
	return f.e.failed
}

// Forget implements upstream.Feed.
func (f *listFeed) Forget(ctx context.Context) error {
	return f.e.do(ctx, func() { f.list.cookie = nil })
}

// End implements upstream.Feed.
func (f *listFeed) End(err error) {
	if f.refresh != nil {
		f.e.refreshed(outcomeOf(err), f.began)
		f.refresh = nil
	}
}

// Report implements upstream.Feed.
func (f *listFeed) Report(s upstream.Status) {
	f.list.setStatus(s)
	f.e.inbox.tell(report{list: f.list, status: s})
}

// Put implements syncrepl.Sink.
func (f *listFeed) Put(in syncrepl.Entry) error {
	found, err := f.found(in)
	if err != nil {
		return err
	}
	if f.refresh != nil {
		return f.refresh.put(found)
	}
	return f.add(found, foundSize(&found))
}

// foundSize is about what a found entry takes in memory.
func foundSize(found *queue.EntryFound) int {
	n := 200 + len(found.DN)
	for _, name := range found.Names {
		n += 32 + len(name.Name) + len(name.Norm)
	}
	for _, p := range found.Problems {
		n += 16 + len(p)
	}
	return n
}

func (g *gathering) put(found queue.EntryFound) error {
	if old, ok := g.found[found.Entry]; ok {
		g.bytes -= foundSize(&old)
	}
	g.bytes += foundSize(&found)
	if len(g.found) >= queue.MaxMembers || g.bytes > maxFoundBytes {
		return fmt.Errorf("the list finds more than %d entries, or %d bytes of names: give it a narrower filter or base", queue.MaxMembers, maxFoundBytes)
	}
	g.found[found.Entry] = found
	delete(g.gone, found.Entry)
	return nil
}

// Present implements syncrepl.Sink. An entry that is not known can only be had by
// a full load.
func (f *listFeed) Present(ids []dit.UUID) error {
	g := f.refresh
	if g == nil {
		return nil
	}
	for _, id := range ids {
		entry := memberID(id)
		if _, came := g.found[entry]; came {
			continue
		}
		if !g.known[entry] {
			return fmt.Errorf("the server says that entry %s is unchanged, which is not known here: %w", id, syncrepl.ErrReload)
		}
		g.seen[entry] = true
	}
	return nil
}

// Delete implements syncrepl.Sink.
func (f *listFeed) Delete(ids []dit.UUID) error {
	for _, id := range ids {
		entry := memberID(id)
		if g := f.refresh; g != nil {
			if old, ok := g.found[entry]; ok {
				g.bytes -= foundSize(&old)
			}
			delete(g.found, entry)
			delete(g.seen, entry)
			if g.known[entry] {
				g.gone[entry] = true
			}
			continue
		}
		if err := f.add(queue.EntryLost{List: f.list.id, Entry: entry}, 100); err != nil {
			return err
		}
	}
	return nil
}

// RefreshDone implements syncrepl.Sink: the writer makes all of it true.
func (f *listFeed) RefreshDone(end syncrepl.End) error {
	if err := checkCookie(end.Cookie); err != nil {
		return err
	}
	g := f.refresh
	if end.Complete {
		for entry := range g.known {
			if _, came := g.found[entry]; !came && !g.seen[entry] {
				g.gone[entry] = true
			}
		}
	}
	err := f.hand(func() error { return f.e.listRefreshed(f.list, g, end.Cookie, f.server) })
	var held *verdict
	if errors.As(err, &held) {
		return f.hold(held)
	}
	if err == nil {
		f.refresh = nil
		f.e.refreshed(RefreshDone, f.began)
	}
	return err
}

// Cookie implements syncrepl.Sink.
func (f *listFeed) Cookie(c []byte) error {
	if f.refresh != nil {
		return nil
	}
	f.cookie = slices.Clone(c)
	return checkCookie(c)
}

// Flush implements syncrepl.Sink.
func (f *listFeed) Flush() error {
	if len(f.pending) == 0 && f.cookie == nil {
		return nil
	}
	events, cookie := f.pending, f.cookie
	f.pending, f.bytes, f.cookie = nil, 0, nil
	return f.hand(func() error {
		if err := f.e.guardList(f.list, events); err != nil {
			return err
		}
		return f.e.listChanged(f.list, events, cookie, f.server)
	})
}

func (f *listFeed) add(ev queue.Event, size int) error {
	f.pending = append(f.pending, ev)
	f.bytes += size
	if len(f.pending) >= maxFoundPending || f.bytes >= handOver {
		return f.Flush()
	}
	return nil
}

// hand has the writer do something for this session.
func (f *listFeed) hand(fn func() error) (err error) {
	doErr := f.e.do(f.ctx, func() {
		if err = f.current(); err == nil {
			err = fn()
		}
	})
	return cmp.Or(doErr, err)
}

// listRefreshed makes a refresh of a list's search true.
func (e *Engine) listRefreshed(l *list, g *gathering, cookie []byte, server string) error {
	events := append(refreshEvents(e.state, l.id, g), queue.ListRefreshed{ID: l.id})
	if err := e.movedAlong(l.id, events); err != nil {
		return err
	}
	if err := e.judgeList(l, events, cookie, server); err != nil {
		return err
	}
	return e.listChanged(l, events, cookie, server)
}

// refreshEvents are what a refresh means to the queues. What is known and changed
// comes first, so that claims move while names still have those that go; then what is
// gone; then what is new.
func refreshEvents(s *queue.State, list string, g *gathering) (events []queue.Event) {
	var changed, fresh []queue.EntryFound
	for entry, found := range g.found {
		m := s.Members[list][entry]
		switch {
		case m == nil:
			fresh = append(fresh, found)
		case !sameMember(m, &found):
			changed = append(changed, found)
		}
	}
	byDN := func(a, b queue.EntryFound) int { return compareFound(a.DN, a.Entry, b.DN, b.Entry) }
	slices.SortFunc(changed, byDN)
	slices.SortFunc(fresh, byDN)
	for _, found := range changed {
		events = append(events, found)
	}
	for _, entry := range slices.Sorted(maps.Keys(g.gone)) {
		if s.Members[list][entry] != nil {
			events = append(events, queue.EntryLost{List: list, Entry: entry})
		}
	}
	for _, found := range fresh {
		events = append(events, found)
	}
	return events
}

func compareFound(dnA, idA, dnB, idB string) int {
	return cmp.Or(strings.Compare(dnA, dnB), strings.Compare(idA, idB))
}

// sameMember tells whether a found entry is as it was.
func sameMember(m *queue.Member, found *queue.EntryFound) bool {
	if m.DN != found.DN || len(m.Claims) != len(found.Names) || !slices.Equal(m.Problems, found.Problems) {
		return false
	}
	names := make(map[string]string, len(m.Claims))
	for _, mc := range m.Claims {
		names[mc.Norm] = mc.Name
	}
	for _, n := range found.Names {
		if names[n.Norm] != n.Name {
			return false
		}
	}
	return true
}

// listChanged makes changes of a list's membership true, in their order, and the
// cookie that covers them with the last; nil: none came.
func (e *Engine) listChanged(l *list, events []queue.Event, cookie []byte, server string) error {
	events = e.ofMembers(l.id, events)
	if err := e.movedAlong(l.id, events); err != nil {
		return err
	}
	d := decisions{events: events, counted: l.id}
	was := *l.memory()
	if cookie != nil {
		l.cookie, l.server, l.search = cookie, server, e.searchSum(l.sub)
		d.last = []store.Record{l.record()}
	}
	if len(events) == 0 && d.last == nil {
		return nil
	}
	err := e.enact(d)
	if err != nil {
		l.cookie, l.server, l.search = was.Cookie, was.Server, was.Search
	}
	return err
}

func (l *list) memory() *listCookie { return &listCookie{l.cookie, l.server, l.search} }

// movedAlong demands a full search where a found entry has another DN and others below
// it are not spoken of: servers send an entry that moved, not what moved with it. In
// the persist stage they are to be spoken of later; a refresh has no order.
func (e *Engine) movedAlong(list string, events []queue.Event) error {
	last := -1
	if n := len(events) - 1; n >= 0 {
		if _, refreshed := events[n].(queue.ListRefreshed); refreshed {
			last = n
		}
	}
	told := map[string]int{} // the event that spoke of an entry last
	dns := map[string]string{}
	for entry, m := range e.state.Members[list] {
		dns[entry] = m.DN
	}
	type move struct {
		from dit.DN
		when int
	}
	var moves []move
	for i, ev := range events {
		when := max(i, last)
		switch ev := ev.(type) {
		case queue.EntryLost:
			told[ev.Entry] = when
			delete(dns, ev.Entry)
		case queue.EntryFound:
			if old, known := dns[ev.Entry]; known && old != ev.DN {
				dn, err := dit.ParseDN(e.schema, old)
				if err != nil {
					return err
				}
				moves = append(moves, move{dn, when})
			}
			told[ev.Entry], dns[ev.Entry] = when, ev.DN
		}
	}
	if len(moves) == 0 {
		return nil
	}
	for entry, text := range dns {
		dn, err := dit.ParseDN(e.schema, text)
		if err != nil {
			return err
		}
		when, spoken := told[entry]
		for _, m := range moves {
			if (!spoken || when < m.when) && dn.Under(m.from) {
				return fmt.Errorf("a found entry moved with %q, which is above it: %w", m.from, syncrepl.ErrReload)
			}
		}
	}
	return nil
}

// ofMembers leaves out what is said to be gone and is not known.
func (e *Engine) ofMembers(list string, events []queue.Event) []queue.Event {
	there := map[string]bool{}
	return slices.DeleteFunc(events, func(ev queue.Event) bool {
		switch ev := ev.(type) {
		case queue.EntryFound:
			there[ev.Entry] = true
		case queue.EntryLost:
			is, said := there[ev.Entry]
			there[ev.Entry] = false
			return said && !is || !said && e.state.Members[list][ev.Entry] == nil
		}
		return false
	})
}
