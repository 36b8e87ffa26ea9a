package engine

import (
	"context"
	"fmt"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

// Members lists what a list found, by DN.
func (e *Engine) Members(ctx context.Context, id string) (out []Found, err error) {
	doErr := e.do(ctx, func() {
		if s := e.subs[id]; s == nil || s.Kind != KindList {
			err = notFound("list", id)
			return
		}
		out = []Found{}
		for _, m := range e.membersOf(id) {
			out = append(out, foundOf(e.state, m))
		}
	})
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// foundOf says what became of a member.
func foundOf(s *queue.State, m *queue.Member) Found {
	out := Found{Entry: m.Entry, DN: m.DN, Names: []FoundName{}, Problems: m.Problems}
	for _, mc := range m.Claims {
		out.Names = append(out.Names, foundName(s, mc))
	}
	return out
}

func foundName(s *queue.State, mc queue.MemberClaim) FoundName {
	out := FoundName{Name: mc.Name, Claim: mc.Claim, Outcome: "appears"}
	c := s.Claims[mc.Claim]
	switch {
	case mc.Suppressed:
		out.Outcome, out.Suppressed = "suppressed", true
		return out
	case c == nil:
		out.Outcome = "fails"
		return out
	case c.Renamed:
		out.Detail = fmt.Sprintf("renamed to %s", c.Name)
	}
	if n := s.Names[c.Norm]; n.Head() != mc.Claim {
		out.Outcome = "clashes"
		waits := fmt.Sprintf("it waits at position %d behind %s", slices.Index(n.Claims, mc.Claim), n.Head())
		if out.Detail != "" {
			waits = out.Detail + "; " + waits
		}
		out.Detail = waits
	}
	return out
}

// SourceState tells how a subscription's source is doing: a tree's claim, of a
// list its own search (whose Claim is empty).
func (e *Engine) SourceState(ctx context.Context, id string) (out *Link, err error) {
	doErr := e.do(ctx, func() {
		s, l := e.subs[id], e.lists[id]
		switch {
		case s == nil:
			err = notFound("subscription", id)
		case l != nil:
			got := e.standing(l.current())
			got.Subscription, got.URL = id, s.URL
			got.held(e.state.HoldOf(id))
			out = &got
		default:
			got := e.link(queue.ClaimID(id))
			out = &got
		}
	})
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// addList adds a list that was checked.
func (e *Engine) addList(s *Subscription, out *Added, t *task) error {
	ev := queue.ListAdded{ID: s.ID}
	if out.DryRun {
		return queue.Refuses(e.state, ev)
	}
	var b store.Batch
	if err := e.record(&b, s); err != nil {
		return err
	}
	e.end(&b, t, TaskDone, "names appear as its search finds entries")
	e.subs[s.ID] = s
	e.lists[s.ID] = &list{id: s.ID, sub: s}
	if err := e.enact(decisions{events: []queue.Event{ev}, last: b.Records}); err != nil {
		delete(e.subs, s.ID)
		delete(e.lists, s.ID)
		return err
	}
	e.log.Info("subscription added", "subscription", s.ID, "template", s.Name, "source", s.URL)
	return nil
}

// preview is what a list would find and make of it, against the live source: the
// search is done once by the code that follows it, and decided on a copy of the
// queues (R22). Of a list that is there it is what a change would come to, with the
// names that the list would lose.
func (e *Engine) preview(ctx context.Context, s *Subscription) (found []Found, goes []string, err error) {
	x, err := e.expander(s)
	if err != nil {
		return nil, nil, err
	}
	p := &previewFeed{listFeed: listFeed{expander: x, e: e}}
	if err := upstream.Collect(ctx, searchSource(s), p, e.o.Upstream); err != nil {
		return nil, nil, err
	}
	if p.done == nil {
		return nil, nil, fmt.Errorf("the search of the list %s ended without an end of its refresh", s.ID)
	}
	var copied *queue.State
	if err := e.do(ctx, func() { copied = e.state.Clone() }); err != nil {
		return nil, nil, err
	}
	before := namesOf(copied, s.ID)
	if found, err = decideFound(copied, s.ID, p.done); err != nil {
		return nil, nil, err
	}
	after := namesOf(copied, s.ID)
	for norm, name := range before {
		if _, stays := after[norm]; !stays {
			goes = append(goes, name)
		}
	}
	slices.Sort(goes)
	return found, goes, nil
}

// namesOf gives the names that a list lays claim to, by their normal forms.
func namesOf(s *queue.State, list string) map[string]string {
	out := map[string]string{}
	for _, m := range s.Members[list] {
		for _, mc := range m.Claims {
			if c := s.Claims[mc.Claim]; c != nil {
				out[c.Norm] = c.Name
			}
		}
	}
	return out
}

// decideFound plays a complete refresh on a copy of the queues.
func decideFound(s *queue.State, id string, g *gathering) (out []Found, err error) {
	if s.Lists[id] == nil {
		if _, err := queue.Apply(s, queue.ListAdded{ID: id}); err != nil {
			return nil, err
		}
	}
	for entry := range s.Members[id] {
		if _, came := g.found[entry]; !came {
			g.gone[entry] = true
		}
	}
	failed := map[string]error{}
	for _, ev := range refreshEvents(s, id, g) {
		found, isFound := ev.(queue.EntryFound)
		if _, err := queue.Apply(s, ev); err != nil {
			if !isFound {
				return nil, err
			}
			failed[found.Entry] = err
		}
	}
	out = []Found{}
	for entry, found := range g.found {
		f := Found{Entry: entry, DN: found.DN, Names: []FoundName{}, Problems: found.Problems}
		if m := s.Members[id][entry]; m != nil && failed[entry] == nil {
			f = foundOf(s, m)
		}
		if err := failed[entry]; err != nil {
			for _, n := range found.Names {
				f.Names = append(f.Names, FoundName{Name: n.Name, Outcome: "fails", Detail: err.Error()})
			}
		}
		for i := range f.Names {
			f.Names[i].Claim = "" // it is decided when it is done
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Found) int { return compareFound(a.DN, a.Entry, b.DN, b.Entry) })
	return out, nil
}

// previewFeed takes one refresh, and keeps it.
type previewFeed struct {
	listFeed
	done *gathering
}

// Begin implements upstream.Feed.
func (p *previewFeed) Begin(ctx context.Context, server string) ([]byte, syncrepl.Sink, error) {
	p.ctx, p.server, p.refresh = ctx, server, newGathering()
	return nil, p, nil
}

// Forget implements upstream.Feed.
func (p *previewFeed) Forget(context.Context) error { return nil }

// Report implements upstream.Feed.
func (p *previewFeed) Report(upstream.Status) {}

// Present implements syncrepl.Sink: without a cookie nothing is known.
func (p *previewFeed) Present([]dit.UUID) error { return nil }

// RefreshDone implements syncrepl.Sink.
func (p *previewFeed) RefreshDone(syncrepl.End) error {
	p.done = p.refresh
	return nil
}
