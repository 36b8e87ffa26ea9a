package engine

import (
	"errors"
	"fmt"
	"time"

	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// act has the links do what the queues decided, after it is durable. It may be
// done twice without harm. What effects mean to content, enact has done, but for
// Publish: content shows as it comes.
func (e *Engine) act(effects []queue.Effect) {
	for _, id := range touched(effects) {
		e.engage(id)
	}
	e.engageLists(effects)
}

func (e *Engine) upstreamOptions(cl *claim) upstream.Options {
	o := e.o.Upstream
	o.Log = e.log.With("claim", string(cl.id))
	return o
}

func (e *Engine) follow(cl *claim) {
	if cl == nil || cl.feed != nil || e.claims[cl.id] != cl { // it went, and its name shows its content still
		return
	}
	cl.stop()
	if e.isLost(cl) {
		return
	}
	cl.feed = &feed{e: e, claim: cl}
	cl.setLink(upstream.Follow(cl.source, cl.feed, e.upstreamOptions(cl)))
}

// isLost tells of a claim whether its subscription is lost: it is down, and says why.
func (e *Engine) isLost(cl *claim) bool {
	if cl.sub.Lost {
		s := e.lostStatus(cl.sub)
		cl.setStatus(s)
		e.inbox.tell(report{claim: cl, status: s})
	}
	return cl.sub.Lost
}

func (e *Engine) lostStatus(sub *Subscription) upstream.Status {
	return upstream.Status{State: upstream.Down, Reason: lostWords(sub.ID), Since: e.o.Now()}
}

// refollow ends a session that brought what cannot be applied. Another begins,
// from the last durable cookie; its first try is refused, so that the link says
// why and waits as after any failure.
func (e *Engine) refollow(cl *claim, why error) {
	e.log.Error("changes not applied, the session begins again", "claim", cl.id, "error", why)
	e.unfollow(cl)
	cl.refused = fmt.Errorf("what the server sent could not be applied: %w", why)
	e.follow(cl)
}

func (e *Engine) probe(cl *claim) {
	if cl == nil || (cl.link != nil && cl.feed == nil) {
		return
	}
	e.unfollow(cl)
	e.notLoading(cl)
	if e.isLost(cl) {
		return
	}
	cl.setLink(upstream.Probe(cl.source, e.o.ProbeEvery, func(s upstream.Status) {
		cl.setStatus(s)
		e.inbox.tell(report{claim: cl, status: s})
	}, e.upstreamOptions(cl)))
}

func (e *Engine) unfollow(cl *claim) {
	if cl == nil {
		return
	}
	cl.feed = nil // what the session still hands over is refused
	cl.stop()
	e.inbox.forget(cl)
}

// forget drops what is held in memory of a claim whose removal is durable.
func (e *Engine) forget(cl *claim) {
	e.pub.drop(cl.number)
	e.notLoading(cl)
	if e.isShown(cl) {
		if e.state.Names[cl.name.Norm()] != nil {
			e.emptied[cl.name.Norm()] = true
		}
		e.unplace(cl.name.Norm())
	}
	if e.claims[cl.id] == cl {
		delete(e.claims, cl.id)
	}
	delete(e.byNum, cl.number)
	for norm, l := range e.lingering {
		if l.cl == cl {
			delete(e.lingering, norm)
		}
	}
	cl.fetched(errNotWaiting)
}

// bringBack is unhide with its mark in the store, which a crash leaves behind.
func (e *Engine) bringBack(norm string) {
	err := e.unhide(norm)
	if err == nil {
		err = e.commit(&store.Batch{Records: []store.Record{{Name: recordUnhide + norm}}})
	}
	if err != nil {
		e.log.Error("content hidden by a removed name did not come back", "name", norm, "error", err)
	}
}

// takeReports turns link reports into facts for the queues, and remembers when
// a server was last there.
func (e *Engine) takeReports() {
	var d decisions
	var contacts []store.Record // and points of up and down
	for _, r := range e.inbox.takeReports() {
		if e.failed != nil || r.status.State == upstream.Connecting {
			continue
		}
		if r.list != nil {
			contacts = append(contacts, e.tellList(&d, r.list, r.status)...)
		} else {
			contacts = append(contacts, e.tellClaim(&d, r.claim, r.status)...)
		}
	}
	err := e.writeRecords(contacts)
	if err == nil && len(d.events) > 0 {
		err = e.enact(d)
	}
	if err != nil {
		e.log.Error("link states not recorded", "error", err)
	}
}

// tellClaim adds what a claim's link reported to the facts, and gives what is to be
// remembered of it.
func (e *Engine) tellClaim(d *decisions, cl *claim, s upstream.Status) []store.Record {
	qc := e.state.Claims[cl.id]
	if qc == nil || e.claims[cl.id] != cl {
		return nil
	}
	e.learnInstances(cl.sub, s)
	points := e.point(string(cl.id), s)
	online, reason := s.Online(), s.Reason
	if online {
		reason = ""
	} else {
		e.loadFailed(cl, reason)
	}
	if s.NoBase && qc.Entry != "" {
		e.baseGone(e.lists[qc.Subscription])
	}
	e.tellFetched(cl, s)
	if qc.Online == online && qc.Reason == reason {
		return points
	}
	d.events = append(d.events, queue.LinkChanged{ID: cl.id, Online: online, Reason: reason})
	if online {
		return points
	}
	return append(points, contactRecord(cl.id, s.LastContact)...)
}

// tellFetched tells those who await a claim's content what its link says. What the flip said
// already they know; they may have come between it and the report.
func (e *Engine) tellFetched(cl *claim, s upstream.Status) {
	switch s.State {
	case upstream.Live, upstream.Polling:
		cl.fetched(nil)
	case upstream.Held:
		if h := e.holdOf(string(cl.id)); h != nil {
			e.tellHeld(h)
		}
	case upstream.Down, upstream.Unsupported:
		cl.fetched(errors.New(s.Reason))
	}
}

func contactRecord(id queue.ClaimID, t time.Time) []store.Record {
	if t.IsZero() {
		return nil
	}
	return []store.Record{{Name: recordContact + string(id), Value: []byte(t.UTC().Format(time.RFC3339Nano))}}
}

// rememberContacts keeps the last contacts over a restart.
func (e *Engine) rememberContacts() {
	var b store.Batch
	for id, cl := range e.claims {
		b.Records = append(b.Records, contactRecord(id, cl.current().LastContact)...)
	}
	for id, l := range e.lists {
		b.Records = append(b.Records, contactRecord(queue.ClaimID(id), l.current().LastContact)...)
	}
	b.Records = append(b.Records, e.lastTasks()...)
	if e.failed == nil && len(b.Records) > 0 {
		if err := e.writeRecords(b.Records); err != nil {
			e.log.Error("last contacts and tasks not stored", "error", err)
		}
	}
}
