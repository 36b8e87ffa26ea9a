package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"shaft/pkg/upstream"
)

// Followed is how the following of one claim, or of one list's search, is doing.
type Followed struct {
	ID          string // of the claim, or of the list's subscription
	URLs        []string
	State       upstream.State
	Reason      string // why it is down
	LastContact time.Time
	LastChange  time.Time // of a claim's content
	Cookie      []byte    // the latest that is durable
	Entries     int       // of a claim: shown, or held in readiness
}

// Followed tells of all claims and lists, by ID.
func (e *Engine) Followed(ctx context.Context) (out []Followed, err error) {
	err = e.do(ctx, func() {
		for id, cl := range e.claims {
			f := followed(string(id), &cl.peer, cl.source.URLs(), cl.cookie)
			f.LastChange, f.Entries = cl.lastChange(), cl.entries
			if !e.isShown(cl) {
				f.Entries = len(cl.hidden)
			}
			out = append(out, f)
		}
		for id, l := range e.lists {
			out = append(out, followed(id, &l.peer, l.sub.Source.URLs(), l.cookie))
		}
	})
	slices.SortFunc(out, func(a, b Followed) int { return cmp.Compare(a.ID, b.ID) })
	return out, err
}

func followed(id string, p *peer, urls []string, cookie []byte) Followed {
	s := p.current()
	return Followed{ID: id, URLs: urls, State: s.State, Reason: s.Reason, LastContact: s.LastContact, Cookie: slices.Clone(cookie)}
}
