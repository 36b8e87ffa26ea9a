package ldaptest

import (
	"errors"
	"fmt"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

var errCut = errors.New("cut on demand")

// cutNow counts a message of a sync search down.
func (s *Server) cutNow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut < 0 {
		return false
	}
	s.cut--
	return s.cut < 0
}

// refresh is what one refresh stage says, gathered at one moment.
type refresh struct {
	code    int // not success: this alone
	words   string
	deleted []dit.UUID
	entries []sent
	present []dit.UUID
	phase   syncrepl.Kind // which message ends it
	cookie  []byte        // nil: none, as slapd does when nothing changed
	next    int           // number of the first change after it
	base    dit.UUID
}

// sent is one entry, encoded.
type sent struct {
	uuid  dit.UUID
	dn    string
	attrs []byte
}

// synchronize answers a sync search as slapd does.
func (q *search) synchronize(p *syncrepl.Provider) error {
	r := q.gather()
	if r.code != success {
		return p.Fail(r.code, r.words)
	}
	if limit := q.limit(); limit > 0 && len(r.entries) > limit {
		r.entries, r.code = r.entries[:limit], sizeLimitExceeded
	}
	if len(r.deleted) > 0 {
		if err := p.IDs(true, r.deleted, nil); err != nil {
			return err
		}
	}
	for _, e := range r.entries {
		if err := p.Entry(syncrepl.StateAdd, e.uuid, e.dn, e.attrs, nil); err != nil {
			return err
		}
		q.conn.server.count(func(st *Stats) { st.RefreshEntries++ })
	}
	if r.code != success { // as slapd ends it: no control beside the result
		return p.Fail(r.code, "")
	}
	if len(r.present) > 0 {
		if err := p.IDs(false, r.present, nil); err != nil {
			return err
		}
	}
	present := r.phase == syncrepl.KindRefreshPresent
	if q.sync.Mode == syncrepl.RefreshOnly {
		return p.Done(r.cookie, !present)
	}
	end := p.EndDelete
	if present {
		end = p.EndPresent
	}
	if err := end(r.cookie, true); err != nil {
		return err
	}
	return q.persist(p, r)
}

// gather decides what the refresh says: all with no cookie, else a delete or a
// present phase from the state that the cookie stands for.
func (q *search) gather() (r refresh) {
	s := q.conn.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.content
	base := c.byDN[q.dn.Norm()]
	if base == nil {
		return refresh{code: noSuchObject}
	}
	r = refresh{phase: syncrepl.KindRefreshDelete, next: c.dropped + len(c.changes), base: base.uuid}
	r.cookie = q.cookie(c.last)
	cookie, known := syncrepl.ParseCookie(q.sync.Cookie)
	since, ours := s.stateOf(cookie)
	switch {
	case len(q.sync.Cookie) == 0 || known && len(cookie.CSNs) == 0:
		r.entries = q.since(c, 0)
	case !known:
		r.entries, r.cookie = q.since(c, 0), []byte{}
	case since > c.last:
		return refresh{code: unwillingToPerform, words: "consumer state is newer than provider!"}
	case since == c.last:
		r.cookie = nil
	case !ours || since < c.since || s.o.PresentPhase:
		r.entries = q.since(c, since)
		r.present = q.unchanged(c, since)
		r.phase = syncrepl.KindRefreshPresent
	default:
		r.entries, r.deleted = q.difference(c, since)
	}
	return r
}

// stateOf finds the CSN of this server in a cookie.
func (s *Server) stateOf(cookie syncrepl.Cookie) (since dit.CSN, ours bool) {
	for _, text := range cookie.CSNs {
		csn, _, sid, _, err := dit.ParseCSN([]byte(text))
		if err == nil && sid == s.o.SID {
			return csn, true
		}
	}
	return 0, false
}

// cookie makes this server's cookie, with the rid of the follower.
func (q *search) cookie(csn dit.CSN) []byte {
	s := q.conn.server
	c := syncrepl.Cookie{SID: -1, CSNs: []string{s.content.csnText(csn)}}
	if theirs, ok := syncrepl.ParseCookie(q.sync.Cookie); ok {
		c.RID = theirs.RID
	}
	if s.o.SID != 0 {
		c.SID = s.o.SID
	}
	return []byte(c.String())
}

// since lists what is covered and newer.
func (q *search) since(c *content, csn dit.CSN) (out []sent) {
	for _, e := range c.sorted() {
		if e.csn > csn && q.covers(e) {
			out = append(out, q.encode(e))
		}
	}
	return out
}

func (q *search) encode(e *entry) sent {
	return sent{e.uuid, e.dn.String(), q.attributes(e)}
}

func (q *search) unchanged(c *content, csn dit.CSN) (out []dit.UUID) {
	for _, e := range c.sorted() {
		if e.csn <= csn && q.covers(e) {
			out = append(out, e.uuid)
		}
	}
	return out
}

// difference replays the changes: what they touched and is covered now is sent,
// all else that they touched is named deleted, whether it was known or not.
func (q *search) difference(c *content, since dit.CSN) (entries []sent, deleted []dit.UUID) {
	seen := map[dit.UUID]bool{}
	for _, ch := range slices.Backward(c.changes) {
		if ch.csn <= since {
			break
		}
		e := ch.after
		if e == nil {
			e = ch.before
		}
		if seen[e.uuid] {
			continue
		}
		seen[e.uuid] = true
		if now := c.byUUID[e.uuid]; q.covers(now) {
			entries = append(entries, q.encode(now))
		} else {
			deleted = append(deleted, e.uuid)
		}
	}
	slices.Reverse(entries)
	slices.Reverse(deleted)
	return entries, deleted
}

// persist sends each change as it comes, until the search ends.
func (q *search) persist(p *syncrepl.Provider, r refresh) error {
	s := q.conn.server
	s.count(func(st *Stats) { st.Persisting++ })
	defer s.count(func(st *Stats) { st.Persisting-- })
	for next := r.next; ; {
		messages, moved, err := q.news(next, r.base)
		if err != nil {
			return p.Fail(refreshRequired, err.Error())
		}
		for _, m := range messages {
			if err := p.Send(m); err != nil {
				return err
			}
			if len(m.Attrs) > 0 {
				s.count(func(st *Stats) { st.PersistEntries++ })
			}
			if m.Kind == syncrepl.KindDone {
				return nil
			}
			if m.HasCookie {
				next++
			}
		}
		if len(messages) > 0 {
			continue
		}
		select {
		case <-moved:
		case <-q.op.ctx.Done():
			return q.op.ctx.Err()
		}
	}
}

// maxNews bounds how many changes are encoded at a time.
const maxNews = 256

// news encodes the changes from number next on, and gives what tells of more.
func (q *search) news(next int, base dit.UUID) (out []syncrepl.Message, moved <-chan struct{}, err error) {
	s := q.conn.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.content
	if next < c.dropped {
		return nil, nil, fmt.Errorf("%d changes were missed", c.dropped-next)
	}
	for _, ch := range c.changes[next-c.dropped : min(len(c.changes), next-c.dropped+maxNews)] {
		m := q.message(ch)
		out = append(out, m)
		if ch.before != nil && ch.after != nil && ch.before.uuid == base && !ch.before.dn.Equal(ch.after.dn) {
			return append(out, syncrepl.Message{Kind: syncrepl.KindDone, Code: refreshRequired, Diagnostic: "search base has changed"}), s.moved, nil
		}
	}
	return out, s.moved, nil
}

// message tells one change as it looks through the search. It wants the lock.
func (q *search) message(ch change) syncrepl.Message {
	m := syncrepl.Message{Kind: syncrepl.KindEntry, HasState: true, Cookie: q.cookie(ch.csn), HasCookie: true}
	was, is := q.covers(ch.before), q.covers(ch.after)
	switch {
	case is:
		m.State = syncrepl.StateModify
		if !was {
			m.State = syncrepl.StateAdd
		}
		m.UUID, m.DN, m.Attrs = ch.after.uuid, []byte(ch.after.dn.String()), q.attributes(ch.after)
	case was && ch.after != nil:
		m.State, m.UUID, m.DN = syncrepl.StateDelete, ch.after.uuid, []byte(ch.after.dn.String())
	case was:
		m.State, m.UUID, m.DN = syncrepl.StateDelete, ch.before.uuid, []byte(ch.before.dn.String())
	default:
		m = syncrepl.Message{Kind: syncrepl.KindNewCookie, Cookie: m.Cookie, HasCookie: true}
	}
	return m
}
