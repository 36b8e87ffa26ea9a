package engine

import (
	"context"
	"errors"
	"time"

	"shaft/pkg/queue"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

// RefreshOutcome is how a refresh ended.
type RefreshOutcome string

// The outcomes.
const (
	RefreshDone   RefreshOutcome = "done"   // it was complete, whether it brought anything or not
	RefreshHeld   RefreshOutcome = "held"   // it was complete, and waits for an operator's word (R36)
	RefreshBroken RefreshOutcome = "broken" // it is discarded
)

func outcomeOf(err error) RefreshOutcome {
	if errors.Is(err, upstream.ErrHeld) {
		return RefreshHeld
	}
	return RefreshBroken
}

// refreshed tells of the end of a refresh that a session brought.
func (e *Engine) refreshed(outcome RefreshOutcome, began time.Time) {
	if !began.IsZero() {
		e.o.Refreshed(outcome, time.Since(began))
	}
}

// Figures are what a monitoring system asks for again and again, all of one moment.
type Figures struct {
	At            time.Time
	BaseDN        string
	Names         []NameFigures // in no order
	Sources       []SourceFigures
	Trees, Lists  int // subscriptions
	Entries       int // served
	Values        tree.Held
	LastChange    time.Time // of the context CSN; zero: nothing is served
	SchemaClashes int
	Failed        bool // nothing is written any more
	Damage        int  // how many things were found damaged in the store at the start
	Alarms        []Alarm
}

// NameFigures are those of one name.
type NameFigures struct {
	DN            string
	State         string // of the head, as lists show it
	LastKnownGood bool
	Entries       int // shown
	Waiting       int // claims behind the head
}

// States are those that a source can be in, as lists show them.
var States = []upstream.State{upstream.Connecting, upstream.Refreshing, upstream.Live, upstream.Polling, upstream.Held, upstream.Down, upstream.Unsupported}

// What a source is followed for.
const (
	RoleHead    = "head"
	RoleWaiting = "waiting"
	RoleList    = "list" // a list's own search
)

// SourceFigures are those of one claim, or of one list's search.
type SourceFigures struct {
	ID           string // of the claim, or of the list's subscription
	Subscription string
	Name         string // DN; "" of a list
	Role         string
	URL          string // of its first server, without credentials
	State        string // as lists show it
	Online       bool
	LastContact  time.Time // zero: never
	LastChange   time.Time // zero: never, and of a list
	Entries      int       // shown, or stored; found by a list
}

// Figures tells how things stand. It holds up the writer for a few microseconds for each name;
// docs/adr has the measured figure.
func (e *Engine) Figures(ctx context.Context) (out *Figures, err error) {
	err = e.do(ctx, func() {
		e.lookAtAlarms()
		v := e.Version()
		out = &Figures{
			At: e.o.Now(), BaseDN: e.o.BaseDN.String(), Entries: v.Len(), SchemaClashes: len(e.schemaClashes()),
			Values: e.o.Memory.Held(), Failed: e.failed != nil, Damage: len(e.damage), Alarms: e.AlarmView(),
			Names: make([]NameFigures, 0, len(e.state.Names)), Sources: make([]SourceFigures, 0, len(e.claims)+len(e.lists)),
		}
		if v.CSN() != 0 {
			out.LastChange = v.CSN().Time()
		}
		for _, s := range e.subs {
			if s.Kind == KindList {
				out.Lists++
			} else {
				out.Trees++
			}
		}
		for _, n := range e.state.Names {
			out.name(e, n)
		}
		for id, l := range e.lists {
			f := e.sourceFigures(id, &l.peer, l.sub.Source.URL())
			f.Subscription, f.Role, f.Entries = id, RoleList, len(e.state.Members[id])
			out.Sources = append(out.Sources, f)
		}
	})
	return out, err
}

func (out *Figures) name(e *Engine, n *queue.Name) {
	f := NameFigures{DN: n.Text, State: string(upstream.Connecting), Waiting: len(n.Claims) - 1}
	if shown := e.placed[n.Norm]; shown != nil {
		f.Entries = shown.entries
	}
	for i, id := range n.Claims {
		cl := e.claims[id]
		if cl == nil {
			continue
		}
		s := e.sourceFigures(string(id), &cl.peer, cl.source.URL())
		s.Subscription, s.Name, s.Role, s.LastChange, s.Entries = cl.sub.ID, n.Text, RoleWaiting, cl.lastChange(), cl.entries
		if !e.isShown(cl) {
			s.Entries = len(cl.hidden)
		}
		if i == 0 {
			s.Role = RoleHead
			f.State, f.LastKnownGood = s.State, cl.gen > 0
		}
		out.Sources = append(out.Sources, s)
	}
	out.Names = append(out.Names, f)
}

func (e *Engine) sourceFigures(id string, p *peer, url string) SourceFigures {
	s := p.current()
	l := Link{State: string(s.State)}
	l.held(e.state.HoldOf(id))
	return SourceFigures{ID: id, URL: url, State: l.State, Online: s.Online(), LastContact: s.LastContact}
}
