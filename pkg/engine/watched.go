package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"shaft/pkg/alarm"
)

// Watched is what a monitor that knows rows by numbers sees, all of one moment.
type Watched struct {
	Status             // its Failure without what is in StoreFull
	StoreFull   string // why no content is taken until there is room on the disk, see store.FullWords
	At          time.Time
	Names       []WatchedName   // by number
	Sources     []WatchedSource // subscriptions, by number
	AlarmSerial uint32          // the latest that was given, see Alarm.Serial
}

// WatchedName is one name.
type WatchedName struct {
	Numbered
	Name
	Raised  []Alarm
	Changes uint32 // how often its head's source went or came back
}

// WatchedSource is one subscription, with how a tree's claim or a list's search is doing.
type WatchedSource struct {
	Numbered
	Link
	List   bool
	Claims int     // that it lays
	Raised []Alarm // of a list
}

// Watched tells how things stand. Names and subscriptions that are seen for the first time
// get their numbers, which are stored before they are told; one of which the number
// cannot be stored is left out.
func (e *Engine) Watched(ctx context.Context) (out *Watched, err error) {
	err = e.do(ctx, func() {
		status := e.status() // looks at the alarms
		out = &Watched{Status: *status, At: e.o.Now(), AlarmSerial: e.alarms.state.Serial}
		if e.failed == nil {
			out.Failure, out.StoreFull = "", status.Failure
		} else {
			out.StoreFull = e.store.FullWords()
		}
		e.numberAll()
		overlaps, links := e.overlaps(), map[string]*Link{}
		for norm, n := range e.state.Names {
			id, there := e.numbers.of[numberedName+norm]
			if !there {
				continue
			}
			w := WatchedName{Numbered: id, Name: e.name(n, overlaps[norm])}
			if known := e.alarms.names[norm]; known != nil {
				w.Raised = e.raised(known.out)
			}
			links[w.Head.Claim] = &w.Head
			for i := range w.Queue {
				links[w.Queue[i].Claim] = &w.Queue[i]
			}
			if p := e.points.sources[w.Head.Claim]; p != nil {
				w.Changes = p.chunk*chunkPoints + uint32(len(p.points))
			}
			out.Names = append(out.Names, w)
		}
		out.Sources = e.watchedSources(links)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out.Names, func(a, b WatchedName) int { return cmp.Compare(a.Number, b.Number) })
	slices.SortFunc(out.Sources, func(a, b WatchedSource) int { return cmp.Compare(a.Number, b.Number) })
	return out, nil
}

// watchedSources describes the subscriptions; links are those of the claims that stand in queues.
func (e *Engine) watchedSources(links map[string]*Link) (out []WatchedSource) {
	type laid struct{ claims, entries int }
	by := map[string]laid{}
	for id, cl := range e.claims {
		if link := links[string(id)]; link != nil {
			by[cl.sub.ID] = laid{by[cl.sub.ID].claims + 1, by[cl.sub.ID].entries + link.Entries}
		}
	}
	for id, s := range e.subs {
		number, there := e.numbers.of[numberedSource+id]
		if !there {
			continue
		}
		w := WatchedSource{Numbered: number, Claims: by[id].claims}
		if l := e.lists[id]; l != nil {
			w.List, w.Link = true, e.standing(l.current())
			w.held(e.state.HoldOf(id))
			if known := e.alarms.lists[id]; known != nil {
				w.Raised = e.raised(known.out)
			}
		} else if link := links[id]; link != nil {
			w.Link = *link
		}
		w.Subscription, w.URL, w.Entries = id, s.URL, by[id].entries
		out = append(out, w)
	}
	return out
}

// raised are those of the candidates that are alarms.
func (e *Engine) raised(candidates []alarm.Candidate) (out []Alarm) {
	s := e.alarms.state
	for i := range candidates {
		if a := s.Alarms[candidates[i].ID]; a != nil {
			out = append(out, s.Acknowledged(a))
		}
	}
	return out
}
