package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// list is what the engine holds at run time of one list: its own search. What it
// found is the queues' (State.Members).
type list struct {
	peer
	id string

	// Owned by the engine goroutine; sub changes only while no session runs.
	sub    *Subscription
	cookie []byte
	server string // that gave the cookie
	search string // what was searched and expanded then
	feed   *listFeed
	// window and content are what went in the persist stage: found entries, and of their content.
	window, content window
	again           time.Time // when it was last searched in full because a claim's base was gone
}

// searchAgain is how often at most a list is searched in full because the bases of
// its claims are gone.
const searchAgain = time.Minute

// baseGone deals with a found entry that is not where it was. When an entry above
// found ones gets another name, and is not found itself, servers say nothing: only a
// full search tells where they are now.
func (e *Engine) baseGone(l *list) {
	now := e.o.Now()
	if l == nil || l.feed == nil || now.Sub(l.again) < searchAgain && now.After(l.again) {
		return
	}
	e.log.Info("the base of a list's claim is gone: the list is searched in full", "list", l.id)
	l.again, l.cookie = now, nil
	e.unfollowList(l)
	e.followList(l)
}

// listCookie is a list's record: the cookie of its search and what that is good for.
type listCookie struct {
	Cookie []byte `json:"cookie"`
	Server string `json:"server"`
	Search string `json:"search"` // see searchSum
}

// searchSource is a list's own search: besides its attributes it asks for those that
// the template needs (R11).
func searchSource(sub *Subscription) upstream.Source {
	src := sub.Source
	t, err := parseTemplate(sub.Name)
	if err != nil || len(src.Attributes) == 0 {
		return src
	}
	src.Attributes = slices.Clone(src.Attributes)
	for _, name := range t.Attributes() {
		if !slices.ContainsFunc(src.Attributes, func(a string) bool { return strings.EqualFold(a, name) }) {
			src.Attributes = append(src.Attributes, name)
		}
	}
	return src
}

// searchSum stands for all that decides what a list finds and what it makes of that:
// with another the cookie is void.
func (e *Engine) searchSum(sub *Subscription) string {
	src := searchSource(sub)
	return originOf(&src, false).Sum + " " + sub.Name + " " + e.o.BaseDN.String()
}

func (l *list) record() store.Record {
	value, err := json.Marshal(l.memory())
	if err != nil {
		panic(fmt.Sprintf("engine: encode a cookie: %v", err)) // bytes and texts always can be
	}
	return store.Record{Name: recordListCookie + l.id, Value: value}
}

// loadLists reads what is known of the lists' searches; one whose removal was begun
// is removed.
func (e *Engine) loadLists() error {
	for id := range e.state.Lists {
		sub := e.subs[id]
		if sub == nil {
			return notWhole("list %s: its subscription is not there", id) // mendState has put one there
		}
		e.lists[id] = &list{id: id, sub: sub}
	}
	err := e.records(recordListCookie, func(name string, value []byte) error {
		l := e.lists[strings.TrimPrefix(name, recordListCookie)]
		if l == nil {
			return nil
		}
		var c listCookie
		if err := json.Unmarshal(value, &c); err != nil {
			e.log.Error("a list's stored cookie is malformed: its search is done in full", "list", l.id, "error", err)
			return nil
		}
		l.cookie, l.server, l.search = c.Cookie, c.Server, c.Search
		return nil
	})
	if err != nil {
		return err
	}
	return e.store.Records(recordListGone, func(name string, _ []byte) error {
		e.goneLists = append(e.goneLists, strings.TrimPrefix(strings.Clone(name), recordListGone))
		return nil
	})
}

// engageLists has the lists' links do what the queues decided.
func (e *Engine) engageLists(effects []queue.Effect) {
	for _, effect := range effects {
		switch ef := effect.(type) {
		case queue.FollowList:
			e.followList(e.lists[ef.List])
		case queue.StopList:
			if l := e.lists[ef.List]; l != nil {
				e.unfollowList(l)
			}
		}
	}
}

func (e *Engine) followList(l *list) {
	if l == nil || l.feed != nil || e.state.Lists[l.id] == nil {
		return
	}
	x, err := e.expander(l.sub)
	if err != nil || l.sub.Lost {
		s := e.lostStatus(l.sub)
		if !l.sub.Lost {
			s.Reason = err.Error()
		}
		l.setStatus(s)
		e.inbox.tell(report{list: l, status: s})
		return
	}
	l.feed = &listFeed{e: e, list: l, expander: x}
	o := e.o.Upstream
	o.Log = e.log.With("list", l.id)
	l.setLink(upstream.Follow(searchSource(l.sub), l.feed, o))
}

func (e *Engine) unfollowList(l *list) {
	l.feed = nil // what the session still hands over is refused
	l.stop()
	e.inbox.forgetList(l)
}

// removeList ends a list: its found entries go in as many commits as they need, then
// the list itself. A mark has a start after a crash go on with it.
func (e *Engine) removeList(id string, last ...store.Record) error {
	l := e.lists[id]
	e.unfollowList(l)
	d := decisions{
		first: []store.Record{{Name: recordListGone + id, Value: []byte{1}}},
		last: append(last, store.Record{Name: recordSubscription + id}, store.Record{Name: recordListCookie + id},
			store.Record{Name: recordListGone + id}, store.Record{Name: recordContact + id}),
	}
	for _, m := range e.membersOf(id) {
		d.events = append(d.events, queue.EntryLost{List: id, Entry: m.Entry})
	}
	d.events = append(append(d.events, takenBack(e.state, id)...), queue.ListRemoved{ID: id})
	if err := e.enact(d); err != nil {
		// What went before comes back, by a search in full.
		l.cookie = nil
		err = errors.Join(err, e.writeRecords([]store.Record{{Name: recordListGone + id}, {Name: recordListCookie + id}}))
		e.followList(l)
		return err
	}
	delete(e.lists, id)
	delete(e.subs, id)
	if err := e.writeRecords(e.dropPoints(id)); err != nil {
		e.log.Error("the history of up and down of a removed list is still stored", "list", id, "error", err)
	}
	return nil
}

// membersOf lists what a list found, by remote DN.
func (e *Engine) membersOf(id string) (out []*queue.Member) {
	for _, m := range e.state.Members[id] {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *queue.Member) int { return compareFound(a.DN, a.Entry, b.DN, b.Entry) })
	return out
}

// tellList does the same for a list's.
func (e *Engine) tellList(d *decisions, l *list, s upstream.Status) []store.Record {
	ql := e.state.Lists[l.id]
	if ql == nil || e.lists[l.id] != l {
		return nil
	}
	e.learnInstances(l.sub, s)
	points := e.point(l.id, s)
	online, reason := s.Online(), s.Reason
	if online {
		reason = ""
	}
	if ql.Online == online && ql.Reason == reason {
		return points
	}
	d.events = append(d.events, queue.ListLinkChanged{ID: l.id, Online: online, Reason: reason})
	if online {
		return points
	}
	return append(points, contactRecord(queue.ClaimID(l.id), s.LastContact)...)
}

// memberID is the text form in which the queues know a found entry.
func memberID(id dit.UUID) string { return id.String() }
