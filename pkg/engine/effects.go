package engine

import (
	"fmt"
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
			e.drop(e.claims[ef.Claim])
		case queue.Publish:
			// Content shows as it comes: load has put what is stored into the
			// tree, a refresh does the rest.
		case queue.Withdraw:
			// The name's content went with its last claim's Drop.
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
	cl.link = upstream.Follow(cl.sub.Source, cl.feed, e.upstreamOptions(cl))
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
	cl.link = upstream.Probe(cl.sub.Source, e.o.ProbeEvery, func(s upstream.Status) {
		cl.setStatus(s)
		e.inbox.tell(report{cl.id, s})
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

// drop removes a claim's content from the tree and from the store.
func (e *Engine) drop(cl *claim) {
	if cl == nil {
		return
	}
	ed := e.edit(cl)
	if top, _ := ed.b.Find(cl.name.Norm()); top != 0 {
		var rows []tree.ID
		ed.b.Walk(top, func(id tree.ID) {
			if ed.b.Row(id).Claim == cl.number {
				rows = append(rows, id)
			}
		})
		for i := len(rows) - 1; i >= 0; i-- {
			ed.b.Delete(rows[i], false)
		}
	}
	ed.settle()
	ed.deletes = nil // all of it goes at once
	if e.failed != nil || e.glueAhead(ed) != nil {
		return
	}
	ed.finishBatch()
	ed.batch.Published = e.pub.drop(cl.number)
	ed.batch.Records = append(ed.batch.Records, store.Record{Name: recordContact + string(cl.id)})
	if err := e.store.DropClaim(cl.number, &ed.batch); err != nil {
		e.fail(err)
		return
	}
	e.publish(ed)
	if ed.ahead {
		e.dropGlue(ed)
	}
	delete(e.claims, cl.id)
	delete(e.byNum, cl.number)
	e.renest()
	if err := e.unhide(cl.name.Norm()); err != nil {
		e.log.Error("content hidden by a removed name did not come back", "name", cl.name.String(), "error", err)
	}
}

// takeReports turns link reports into facts for the queues, and remembers when
// a server was last there.
func (e *Engine) takeReports() {
	for _, r := range e.inbox.takeReports() {
		qc := e.state.Claims[r.claim]
		if qc == nil || e.failed != nil || r.status.State == upstream.Connecting {
			continue
		}
		online, reason := r.status.Online(), r.status.Reason
		if online {
			reason = ""
		}
		if qc.Online == online && qc.Reason == reason {
			continue
		}
		var b store.Batch
		if !online {
			b.Records = contactRecord(r.claim, r.status.LastContact)
		}
		effects, err := e.decide(&b, queue.LinkChanged{ID: r.claim, Online: online, Reason: reason})
		if err == nil {
			err = e.commit(&b)
		}
		if err != nil {
			e.log.Error("link state not recorded", "claim", r.claim, "error", err)
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
	if e.failed == nil && len(b.Records) > 0 {
		if err := e.store.Commit(&b); err != nil {
			e.log.Error("last contacts not stored", "error", err)
		}
	}
}
