package engine

import (
	"fmt"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// lingerer is a claim that was removed and whose name shows its content still. When
// it was removed is a record (linger/NORM: RFC 3339).
type lingerer struct {
	cl    *claim
	since time.Time
}

func lingerRecord(norm string, since time.Time) store.Record {
	return store.Record{Name: recordLinger + norm, Value: []byte(since.UTC().Format(time.RFC3339Nano))}
}

// linger keeps what a removed claim's name shows; nothing else is left of the claim.
func (e *Engine) linger(cl *claim, norm string, since time.Time) {
	e.unfollow(cl)
	e.notLoading(cl)
	cl.fetched(errNotWaiting)
	if e.claims[cl.id] == cl {
		delete(e.claims, cl.id)
	}
	e.lingering[norm] = &lingerer{cl, since}
	e.retell(cl)
	e.wakeForLingers()
}

// wakeForLingers sets the timer to when the time of the first is over.
func (e *Engine) wakeForLingers() {
	if len(e.lingering) == 0 {
		return
	}
	now, next := e.o.Now(), e.o.PromotionLimit
	for _, l := range e.lingering {
		next = min(next, l.since.Add(e.o.PromotionLimit).Sub(now))
	}
	e.lingerTimer.Reset(max(0, next))
}

// endLingers takes content away whose time is over.
func (e *Engine) endLingers() {
	if e.failed != nil {
		return // what is served stays
	}
	now := e.o.Now()
	var d decisions
	over := map[string]*lingerer{}
	for norm, l := range e.lingering {
		if !now.Before(l.since.Add(e.o.PromotionLimit)) {
			d.events = append(d.events, queue.LingerEnded{Norm: norm})
			over[norm] = l
		}
	}
	e.endLinger(d)
	e.wakeForLingers()
	for norm, l := range over {
		if e.lingering[norm] == l {
			e.lingerTimer.Reset(lingerPause)
			continue
		}
		n := e.state.Names[norm]
		e.promoted(n, l, TaskFailed, fmt.Sprintf("%s shows nothing: %s has no content yet, and the time for that is over", n.Text, n.Head()))
	}
}

// lingerPause is how soon content that could not be taken away is tried again.
const lingerPause = 5 * time.Second

// promoted leaves a task that tells how it went that a name's next claim took over.
func (e *Engine) promoted(n *queue.Name, l *lingerer, state, outcome string) {
	t := e.newTask(Actor{Who: ownActor}, "promotion", n.Text)
	t.step(l.since, "removed", true, fmt.Sprintf("%s was the head", l.cl.id))
	t.step(e.o.Now(), "promote", state == TaskDone, string(n.Head()))
	if state != TaskDone {
		t.Advice = "see why its source does not answer (`shaft name show`), or switch to another claim"
	}
	var b store.Batch
	e.end(&b, t, state, outcome)
	e.later(t)
	e.log.Info("promotion", "name", n.Text, "from", l.cl.id, "to", n.Head(), "outcome", outcome)
}

func (e *Engine) endLinger(d decisions) {
	if len(d.events) == 0 || e.failed != nil {
		return
	}
	if err := e.enact(d); err != nil {
		e.log.Error("content of removed claims is served still", "names", len(d.events), "error", err)
	}
}

// loadLingers makes the claims again whose names show their content still.
func (e *Engine) loadLingers() error {
	now := e.o.Now()
	for norm, l := range e.state.Lingers {
		name, err := dit.ParseDN(e.schema, l.Name)
		if err != nil {
			e.log.Error("content of a removed claim is not shown any more: its name cannot be read", "claim", l.Claim, "error", err)
			e.overdue = append(e.overdue, queue.LingerEnded{Norm: norm})
			continue
		}
		cl := &claim{id: l.Claim, number: l.Number, sub: &Subscription{ID: l.Subscription}, name: name}
		e.byNum[l.Number] = cl
		e.lingering[norm] = &lingerer{cl, now}
	}
	var stale []store.Record
	err := e.store.Records(recordLinger, func(record string, value []byte) error {
		l := e.lingering[strings.TrimPrefix(record, recordLinger)]
		if l == nil {
			stale = append(stale, store.Record{Name: strings.Clone(record)})
			return nil
		}
		if since, err := time.Parse(time.RFC3339Nano, string(value)); err == nil && since.Before(now) {
			l.since = now.Add(since.Sub(now)) // the same, and safe from steps of the clock from now on
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.writeLater(stale)
}

// keep writes down since when content of removed claims is shown.
func (s *step) keep() {
	b := &s.ed.batch
	for _, effect := range s.effects {
		switch ef := effect.(type) {
		case queue.Lasting:
			if !s.kept[ef.Norm] {
				s.kept[ef.Norm] = true
				b.Records = append(b.Records, lingerRecord(ef.Norm, s.e.o.Now()))
			}
		case queue.Drop:
			cl := s.e.byNum[ef.Number]
			if cl == nil {
				continue
			}
			b.Records = append(b.Records, store.Record{Name: unservedRecord(ef.Number)})
			if l := s.e.lingering[cl.name.Norm()]; l != nil && l.cl == cl {
				b.Records = append(b.Records, store.Record{Name: recordLinger + cl.name.Norm()})
			}
		}
	}
}

// outlast makes true that content of claims that went is shown. Where none is, ended says so.
func (s *step) outlast() (ended decisions) {
	e := s.e
	var gone []store.Record
	for _, effect := range s.effects {
		l, ok := effect.(queue.Lasting)
		if !ok || e.state.Lingers[l.Norm] == nil {
			continue
		}
		cl := e.byNum[l.Number]
		if e.placed[l.Norm] != cl {
			ended.events = append(ended.events, queue.LingerEnded{Norm: l.Norm})
		}
		e.linger(cl, l.Norm, e.o.Now())
		gone = append(gone, store.Record{Name: recordContact + string(cl.id)})
		gone = append(gone, e.dropPoints(string(cl.id))...)
	}
	if err := e.writeRecords(gone); err != nil {
		e.log.Error("last contacts of removed claims are still stored", "error", err)
	}
	return ended
}
