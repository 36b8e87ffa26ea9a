package engine

import (
	"fmt"
	"slices"
	"time"

	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

// act carries out what the queues decided, after it is durable. Each effect may
// be carried out twice without harm.
func (e *Engine) act(effects []queue.Effect) {
	for _, effect := range effects {
		switch ef := effect.(type) {
		case queue.Follow:
			e.follow(e.claims[ef.Claim])
		case queue.Probe:
			e.probe(e.claims[ef.Claim])
		case queue.Stop:
			e.unfollow(e.claims[ef.Claim])
		case queue.Drop:
			e.forget(e.claims[ef.Claim])
		case queue.Publish:
			// Content shows as it comes: load has put what is stored into the
			// tree, a refresh does the rest.
		case queue.Withdraw:
			// The name's content went in the commit that removed its claim.
		}
	}
}

func (e *Engine) upstreamOptions(cl *claim) upstream.Options {
	o := e.o.Upstream
	o.Log = e.log.With("claim", string(cl.id))
	return o
}

func (e *Engine) follow(cl *claim) {
	if cl == nil || cl.feed != nil {
		return
	}
	cl.stop()
	cl.feed = &feed{e: e, claim: cl}
	cl.link = upstream.Follow(cl.source, cl.feed, e.upstreamOptions(cl))
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
	cl.link = upstream.Probe(cl.source, e.o.ProbeEvery, func(s upstream.Status) {
		cl.setStatus(s)
		e.inbox.tell(report{cl, s})
	}, e.upstreamOptions(cl))
}

func (e *Engine) unfollow(cl *claim) {
	if cl == nil {
		return
	}
	cl.feed = nil // what the session still hands over is refused
	cl.stop()
	e.inbox.forget(cl)
}

// takeAway is the edit that removes a claim's content from the tree.
func (e *Engine) takeAway(cl *claim) *edit {
	ed := e.edit(cl)
	if top, _ := ed.b.Find(cl.name.Norm()); top != 0 {
		var rows []tree.ID
		ed.b.Walk(top, func(id tree.ID) {
			if ed.b.Row(id).Claim == cl.number {
				rows = append(rows, id)
			}
		})
		for _, at := range slices.Backward(rows) {
			ed.b.Delete(at, false)
		}
	}
	ed.settle()
	ed.deletes = nil // DropClaim removes all of it
	return ed
}

// commitDrop makes a claim's removal durable and publishes it: its content, what
// was decided of it, and the change log's lines in one commit.
func (e *Engine) commitDrop(ed *edit, cl *claim) error {
	if err := e.glueAhead(ed); err != nil {
		return err
	}
	ed.finishBatch()
	b := &ed.batch
	b.Published = e.pub.lines(cl.number)
	b.Records = append(b.Records, store.Record{Name: recordContact + string(cl.id)})
	if e.hides(cl.name.Norm()) {
		b.Records = append(b.Records, store.Record{Name: recordUnhide + cl.name.Norm(), Value: []byte{1}})
	}
	if err := e.outcome(e.store.DropClaim(cl.number, b)); err != nil {
		return err
	}
	e.publish(ed)
	if ed.ahead {
		e.dropGlue(ed)
	}
	return nil
}

// forget drops what is held in memory of a claim whose removal is durable, and
// brings back what its name hid.
func (e *Engine) forget(cl *claim) {
	if cl == nil {
		return
	}
	e.pub.drop(cl.number)
	e.notLoading(cl)
	delete(e.claims, cl.id)
	delete(e.byNum, cl.number)
	e.renestAt(cl.name.Norm())
	e.bringBack(cl.name.Norm())
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
	for _, r := range e.inbox.takeReports() {
		qc := e.state.Claims[r.claim.id]
		if qc == nil || e.claims[r.claim.id] != r.claim || e.failed != nil || r.status.State == upstream.Connecting {
			continue
		}
		e.learnInstances(r.claim.sub, r.status)
		online, reason := r.status.Online(), r.status.Reason
		if !online {
			e.loadFailed(r.claim, reason)
		}
		if online {
			reason = ""
		}
		if qc.Online == online && qc.Reason == reason {
			continue
		}
		var b store.Batch
		if !online {
			b.Records = contactRecord(r.claim.id, r.status.LastContact)
		}
		effects, err := e.decide(&b, queue.LinkChanged{ID: r.claim.id, Online: online, Reason: reason})
		if err == nil {
			err = e.commit(&b)
		}
		if err != nil {
			e.log.Error("link state not recorded", "claim", r.claim.id, "error", err)
			e.restate()
			continue
		}
		e.act(effects)
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
	b.Records = append(b.Records, e.lastTasks()...)
	if e.failed == nil && len(b.Records) > 0 {
		if err := e.writeRecords(b.Records); err != nil {
			e.log.Error("last contacts and tasks not stored", "error", err)
		}
	}
}
