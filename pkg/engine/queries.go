package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// Status is the daemon at a glance.
type Status struct {
	BaseDN        string         `json:"base_dn"`
	Version       string         `json:"version"`
	Names         int            `json:"names"`
	Entries       int            `json:"entries"`
	Subscriptions int            `json:"subscriptions"`
	Alarms        map[string]int `json:"alarms"` // by kind
	ContextCSN    string         `json:"context_csn"`
	Followers     int            `json:"followers"`
	Ready         bool           `json:"ready"`
	Failure       string         `json:"failure,omitempty"` // why nothing is written any more, or no content until there is room on the disk
	// Damage is what was found damaged in the store at the start, and what was done about it.
	Damage []string `json:"damage,omitempty"`
	// SchemaClashes are definitions of servers that contradict what is known; the first 100.
	SchemaClashes []SchemaClash `json:"schema_clashes,omitempty"`
}

// Link is one claim with its source, as lists show it.
type Link struct {
	Claim        string `json:"claim"`
	Subscription string `json:"subscription"`
	URL          string `json:"url"`
	Server       string `json:"server,omitempty"` // the latest that was connected to, "host:port" or a socket
	Online       bool   `json:"online"`
	State        string `json:"state"`
	Reason       string `json:"reason,omitempty"`
	LastContact  string `json:"last_contact,omitempty"` // RFC 3339
	LastChange   string `json:"last_change,omitempty"`  // RFC 3339
	KeepWarm     bool   `json:"keep_warm,omitempty"`    // followed in full while it waits (R32)
	Entries      int    `json:"entries,omitempty"`      // shown; of one that waits: stored
	// Of a refresh that is under way: entries taken so far, and how many a second.
	RefreshEntries int     `json:"refresh_entries,omitempty"`
	RefreshRate    float64 `json:"refresh_rate,omitempty"`
}

// Name is one published name.
type Name struct {
	DN            string   `json:"dn"`
	Head          Link     `json:"head"`
	LastKnownGood bool     `json:"last_known_good"`
	Entries       int      `json:"entries"`
	Queue         []Link   `json:"queue"`    // waiting, in order
	Revision      uint64   `json:"revision"` // of the queue: another whenever the queue is, see queue.State.Revision
	Alarms        []string `json:"alarms"`
	Overlaps      []string `json:"overlaps"` // names inside it, or around it
	// Lingering is what the name shows until its head has content; nil: the head's own.
	Lingering *Lingering `json:"lingering,omitempty"`
}

// Lingering is the content of a head that was removed, shown until the next one's
// is here or the time for that is over (R30, Options.PromotionLimit).
type Lingering struct {
	Claim        queue.ClaimID `json:"claim"` // that it was of
	Subscription string        `json:"subscription"`
	Until        time.Time     `json:"until"` // when it goes in any case
}

// Status tells how things stand.
func (e *Engine) Status(ctx context.Context) (out *Status, err error) {
	err = e.do(ctx, func() { out = e.status() })
	return out, err
}

func (e *Engine) status() *Status {
	v := e.Version()
	out := &Status{
		BaseDN: e.o.BaseDN.String(), Names: len(e.state.Names), Entries: v.Len(),
		SchemaClashes: e.schemaClashes(), Subscriptions: len(e.subs), Alarms: map[string]int{}, Ready: true,
	}
	if v.CSN() != 0 {
		out.ContextCSN = string(v.CSN().Append(nil, e.o.ServerID))
	}
	e.lookAtAlarms()
	for _, a := range e.alarms.state.Alarms {
		out.Alarms[string(a.Kind)]++
	}
	if e.failed != nil {
		out.Failure = e.failed.Error()
	} else {
		out.Failure = e.store.FullWords()
	}
	out.Damage = e.damage
	return out
}

// Subscriptions lists all, by id.
func (e *Engine) Subscriptions(ctx context.Context) (out []Subscription, err error) {
	out = []Subscription{}
	err = e.do(ctx, func() {
		for _, s := range e.subs {
			out = append(out, *s)
		}
	})
	slices.SortFunc(out, func(a, b Subscription) int { return strings.Compare(a.ID, b.ID) })
	return out, err
}

// Subscription gives one.
func (e *Engine) Subscription(ctx context.Context, id string) (out *Subscription, err error) {
	doErr := e.do(ctx, func() {
		s := e.subs[id]
		if s == nil {
			err = notFound("subscription", id)
			return
		}
		got := *s
		out = &got
	})
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// Names lists all names, by DN.
func (e *Engine) Names(ctx context.Context) (out []Name, err error) {
	out = []Name{}
	err = e.do(ctx, func() {
		e.lookAtAlarms()
		overlaps := e.overlaps()
		for _, n := range e.state.Names {
			out = append(out, e.name(n, overlaps[n.Norm]))
		}
	})
	slices.SortFunc(out, func(a, b Name) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.DN), strings.ToLower(b.DN)), strings.Compare(a.DN, b.DN))
	})
	return out, err
}

// Name gives one, by its DN (relative or absolute).
func (e *Engine) Name(ctx context.Context, dn string) (out *Name, err error) {
	parsed, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	doErr := e.do(ctx, func() {
		e.lookAtAlarms()
		n := e.state.Names[parsed.Norm()]
		if n == nil {
			err = notFound("name", parsed.String())
			return
		}
		got := e.name(n, e.overlapsOf(n.Norm))
		e.told.note(got.Revision, n)
		out = &got
	})
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// name describes a queue; on the engine goroutine.
func (e *Engine) name(n *queue.Name, overlaps []string) Name {
	head := e.claims[n.Claims[0]]
	out := Name{
		DN: n.Text, Head: e.link(n.Claims[0]), LastKnownGood: head != nil && head.gen > 0,
		Queue: []Link{}, Alarms: e.alarmsOf(n.Norm), Overlaps: append([]string{}, overlaps...),
		Revision: e.state.Revision(n.Norm),
	}
	if shown := e.placed[n.Norm]; shown != nil {
		out.Entries = shown.entries
	}
	if l := e.lingering[n.Norm]; l != nil {
		out.Lingering = &Lingering{Claim: l.cl.id, Subscription: l.cl.sub.ID, Until: l.since.Add(e.o.PromotionLimit).UTC()}
	}
	for _, id := range n.Claims[1:] {
		out.Queue = append(out.Queue, e.link(id))
	}
	return out
}

func (e *Engine) link(id queue.ClaimID) Link {
	cl := e.claims[id]
	if cl == nil {
		return Link{Claim: string(id)}
	}
	out := e.standing(cl.current())
	out.Claim, out.Subscription, out.URL = string(id), cl.sub.ID, cl.source.URL()
	out.KeepWarm, out.Entries = cl.sub.KeepWarm, cl.entries
	if !e.isShown(cl) {
		out.Entries = len(cl.hidden)
	}
	out.held(e.state.HoldOf(string(id)))
	out.LastChange = stamp(cl.lastChange())
	return out
}

// held shows that a refresh waits for an operator's word, unless the source is away.
func (l *Link) held(h queue.Hold) {
	if s := upstream.State(l.State); !h.Is() || s == upstream.Down || s == upstream.Unsupported {
		return
	}
	l.State, l.Reason = string(upstream.Held), h.Cause
	if h.Rejected {
		l.Reason = "rejected: " + h.Cause
	}
}

// standing is how a source is doing, of no claim yet.
func (e *Engine) standing(s upstream.Status) Link {
	out := Link{Server: s.Server, Online: s.Online(), State: string(s.State), Reason: s.Reason, LastContact: stamp(s.LastContact)}
	if s.State == upstream.Refreshing {
		out.RefreshEntries, out.RefreshRate = e.pace(s)
	}
	return out
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
