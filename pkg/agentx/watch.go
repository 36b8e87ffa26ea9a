package agentx

import (
	"context"
	"time"

	"shaft/pkg/engine"
)

const (
	// watchShare bounds the part of the engine's time that views cost, a twentieth, unless
	// the view were older than watchRest then: a busy machine makes all seem to cost much.
	watchShare = 20
	watchRest  = 15 * time.Second
	// watchWait bounds how long the engine may take to answer. The view gets old
	// meanwhile, which it shows itself.
	watchWait = 30 * time.Second
)

// watch makes views.
func (d *Door) watch(ctx context.Context) {
	var before *view
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		v, err := d.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.o.Log.Warn("what SNMP shows gets old: the engine does not tell how things stand", "error", err)
		default:
			if d.view.Swap(v) == nil {
				close(d.seen)
			}
			if lost := d.outbox.put(differences(before, v)); lost > 0 {
				d.o.Log.Warn("SNMP notifications given up, since too many wait for the SNMP agent", "notifications", lost)
			}
			before = v
		}
		timer.Reset(max(d.o.Pace, min(watchRest, watchShare*time.Since(began))))
	}
}

func (d *Door) look(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, watchWait)
	defer cancel()
	w, err := d.o.Source.Watched(ctx)
	if err != nil {
		return nil, err
	}
	d.pasts.follow(ctx, w, d.o.Source, d.o.Now)
	sys := system{version: d.o.Version, started: d.started, lost: &d.outbox.lost}
	if d.o.Followers != nil {
		sys.followers = d.o.Followers()
	}
	return viewOf(w, sys, d.pasts.of), nil
}

// past is how often a source was there (R53).
type past struct {
	*engine.Availability
	lastDown, lastUp time.Time // within the period
	taken            time.Time
	changes          uint32 // see engine.WatchedName.Changes
}

// nothingKnown is the past of a source before it has been reckoned.
var nothingKnown = &past{Availability: &engine.Availability{}}

// pasts are those of the heads, reckoned little by little.
type pasts struct{ of map[string]*past }

const (
	// pastAge is how old a past may get: a period of 30 days changes slowly.
	pastAge = 10 * time.Minute
	// pastsAtOnce bounds how many are reckoned for one view; each costs the engine some
	// tens of microseconds.
	pastsAtOnce = 200
)

// follow brings the pasts up to what is watched: those whose source went or came first.
func (p *pasts) follow(ctx context.Context, w *engine.Watched, s Source, now func() time.Time) {
	heads := make(map[string]*past, len(w.Names))
	var due, old []*engine.WatchedName
	for i := range w.Names {
		n := &w.Names[i]
		known := p.of[n.Head.Claim]
		switch {
		case known == nil || known.changes != n.Changes:
			due = append(due, n)
		case now().Sub(known.taken) > pastAge:
			old = append(old, n)
		}
		if known != nil {
			heads[n.Head.Claim] = known
		}
	}
	p.of = heads
	due = append(due, old...)
	for _, n := range due[:min(len(due), pastsAtOnce)] {
		a, err := s.Availability(ctx, n.Head.Claim, time.Time{}, time.Time{})
		if err != nil {
			continue // it went meanwhile, or it is asked about again
		}
		got := &past{Availability: a, taken: now(), changes: n.Changes}
		for _, point := range a.Points {
			if point.State == "up" {
				got.lastUp = point.At
			} else {
				got.lastDown = point.At
			}
		}
		p.of[n.Head.Claim] = got
	}
}
