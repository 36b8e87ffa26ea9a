package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Changed is the outcome of changing a subscription.
type Changed struct {
	Subscription Subscription    `json:"subscription"`
	Fields       []string        `json:"fields"` // that differ now
	Effect       string          `json:"effect"` // in words: what follows from it
	Check        []upstream.Step `json:"check"`
	Found        []Found         `json:"found,omitempty"` // of a list, in a dry run
	Goes         []string        `json:"goes,omitempty"`  // names that the list loses then; where they move, the new ones are in Found
	Warnings     []string        `json:"warnings"`
	Task         uint64          `json:"task,omitempty"`
	DryRun       bool            `json:"dry_run,omitempty"`
}

// alteration is a subscription's change, validated and ready to be carried out.
type alteration struct {
	next   *Subscription
	fields []string
	then   consequence
	move   *queue.ClaimMoved // of a tree whose name is another now
	words  string            // the outcome, where effect does not tell it
}

// SetSubscription changes fields of a subscription: by their names on the command
// line, each with its new value; "" takes it back to its default. An unknown
// field, and a value with which the subscription could not have been added, is
// refused. Where content comes from another place, or other content, the old is served
// until the new is complete (R35).
func (e *Engine) SetSubscription(ctx context.Context, id string, fields map[string]string, dryRun bool) (out *Changed, err error) {
	number, err := e.command(ctx, "subscription set", id, dryRun, func(t *task) error {
		out, err = e.set(ctx, id, fields, t, dryRun)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Task = number
	return out, nil
}

func (e *Engine) set(ctx context.Context, id string, fields map[string]string, t *task, dryRun bool) (*Changed, error) {
	old, err := e.Subscription(ctx, id)
	if err != nil {
		return nil, err
	}
	next := *old
	repaired, err := setFields(&next, fields)
	if err != nil {
		return nil, &queue.Refusal{Kind: "invalid", Reason: err.Error()}
	}
	a, warnings, err := e.alteration(old, &next)
	if err != nil {
		return nil, err
	}
	out := &Changed{
		Subscription: next, Fields: a.fields, Effect: a.effect(), Check: []upstream.Step{}, DryRun: dryRun,
		Warnings: append(append([]string{}, repaired...), warnings...),
	}
	if len(a.fields) == 0 {
		if t != nil {
			t.void = true
		}
		return out, nil
	}
	if a.move != nil {
		if err := e.try(ctx, *a.move); err != nil {
			return nil, err
		}
	}
	if a.asks() {
		steps, entries, err := e.check(ctx, &next, t)
		if err != nil {
			return nil, err
		}
		out.Check = steps
		out.Warnings = append(out.Warnings, checkWarnings(steps, entries)...)
	}
	if dryRun && next.Kind == KindList && (a.then == replace || a.searches()) {
		if out.Found, out.Goes, err = e.preview(ctx, &next); err != nil {
			out.Warnings = append(out.Warnings, fmt.Sprintf("what the list would find is not known: %s", err))
		}
	}
	err = nil
	doErr := e.do(ctx, func() {
		if a.move != nil {
			out.Warnings = append(out.Warnings, e.clashWarnings(a.move.Norm, queue.ClaimID(id))...)
		}
		if !dryRun {
			err = e.alter(a, old, t)
		}
	})
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// alteration validates what a subscription is to become, outside the engine's goroutine.
func (e *Engine) alteration(old, next *Subscription) (a *alteration, warnings []string, err error) {
	warnings, _, err = e.valid(next)
	if err != nil {
		return nil, nil, err
	}
	a, err = e.altered(old, next)
	return a, warnings, err
}

// altered compares two valid subscriptions of one id.
func (e *Engine) altered(old, next *Subscription) (*alteration, error) {
	if next.Kind != old.Kind {
		return nil, &queue.Refusal{Kind: "invalid", Reason: fmt.Sprintf(
			"%s is a %s and cannot become a %s: remove it and add it anew", old.ID, old.Kind, next.Kind)}
	}
	a := &alteration{next: next}
	a.fields, a.then = fieldsChanged(old, next)
	if next.Kind == KindTree && slices.Contains(a.fields, "name") {
		was, err := e.localName(old.Name)
		if err != nil {
			return nil, err
		}
		name, err := e.localName(next.Name)
		if err != nil {
			return nil, err
		}
		if was.String() != name.String() {
			a.move = &queue.ClaimMoved{ID: queue.ClaimID(next.ID), Name: name.String(), Norm: name.Norm()}
		}
	}
	return a, nil
}

// asks tells whether the source is worth a check before the change: it is
// reached, or searched, in another way.
func (a *alteration) asks() bool {
	return slices.ContainsFunc(a.fields, func(f string) bool {
		return fields[f].then != nothing && !slices.Contains([]string{"name", "no-dn-rewrite", "poll", "content-filter", "content-attributes"}, f)
	})
}

// effect says in words what follows.
func (a *alteration) effect() string {
	var also []string
	rest := slices.DeleteFunc(slices.Clone(a.fields), func(f string) bool { return fields[f].then == nothing })
	if slices.Contains(a.fields, "keep-warm") && a.next.KeepWarm {
		also = append(also, "what waits is followed in full from now on")
	} else if slices.Contains(a.fields, "keep-warm") {
		also = append(also, "what waits is only probed from now on")
	}
	if slices.Contains(a.fields, "forward-bind") && a.next.ForwardBind {
		also = append(also, "who binds as one of its entries is asked for there from now on")
	} else if slices.Contains(a.fields, "forward-bind") {
		also = append(also, "nobody binds as one of its entries from now on")
	}
	if a.guards() {
		also = append(also, "the new bounds count from now on, also for what is held")
	}
	switch {
	case len(also) == 0:
		return a.follows()
	case len(rest) == 0:
		return strings.Join(also, "; ") + "; what is served stays"
	}
	return a.follows() + "; " + strings.Join(also, "; ")
}

// follows says what follows for what is served.
func (a *alteration) follows() string {
	list := a.next.Kind == KindList
	switch {
	case len(a.fields) == 0:
		return "nothing changed: every field has that value already"
	case list && a.then == replace:
		return "the list's search is done again, and its names follow"
	case list && a.searches():
		return "the list's search is done again in full; what it finds as before keeps its content until that is loaded again"
	case a.then == reload:
		return "the content is loaded again in full; what is served stays until that is complete"
	case a.move != nil && a.contents():
		return "the name moves with its content, which is then loaded again in full; what is served stays until that is complete"
	case a.move != nil:
		return "the name moves with its content"
	case a.then == replace:
		return "only the way the name is written changes"
	}
	return "the session begins again with the new settings; what is served stays"
}

// searches tells whether a list's own search is another.
func (a *alteration) searches() bool {
	return slices.ContainsFunc(a.fields, func(f string) bool {
		return fields[f].then == reload && !strings.HasPrefix(f, "content-") && f != "no-dn-rewrite"
	})
}

// restarts tells whether sessions and probes begin again: a name alone moves what
// there is.
func (a *alteration) restarts() bool {
	return slices.ContainsFunc(a.fields, func(f string) bool { return fields[f].then != nothing && f != "name" })
}

// guards tells whether the bounds of what may go at once are others: what is held is
// asked for again.
func (a *alteration) guards() bool {
	return slices.ContainsFunc(a.fields, func(f string) bool { return slices.Contains(guardFields, f) })
}

// contents tells whether content is loaded again.
func (a *alteration) contents() bool {
	return slices.ContainsFunc(a.fields, func(f string) bool { return fields[f].then == reload })
}

// alter carries a change out, on the engine's goroutine: one commit, then the
// sessions that it concerns begin again. was is what the change was made of, nil
// where that is what there is now.
func (e *Engine) alter(a *alteration, was *Subscription, t *task) error {
	if now := e.subs[a.next.ID]; was != nil && (now == nil || !sameSubscription(now, was)) {
		return &queue.Refusal{Kind: queue.KindExists, Reason: fmt.Sprintf("%s was changed meanwhile by somebody else: look at it and try again", a.next.ID)}
	}
	var b store.Batch
	if err := e.record(&b, a.next); err != nil {
		return err
	}
	e.end(&b, t, TaskDone, cmp.Or(a.words, a.effect()))
	var events []queue.Event
	if a.move != nil {
		events = append(events, *a.move)
	}
	if a.contents() || a.then == replace && a.next.Kind == KindList {
		events = append(events, e.holdsEnd(a.next.ID)...)
	}
	if err := e.enact(decisions{events: events, first: b.Records}); err != nil {
		return err
	}
	e.adopt(a)
	e.log.Info("subscription changed", "subscription", a.next.ID, "fields", strings.Join(a.fields, ","))
	return nil
}

// record adds a subscription's record to a batch.
func (e *Engine) record(b *store.Batch, s *Subscription) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	b.Records = append(b.Records, store.Record{Name: recordSubscription + s.ID, Value: value})
	return nil
}

// adopt has a durable change take effect: whatever session, probe or search is another now
// begins again. A session whose content may be another finds its cookie void (see origin).
func (e *Engine) adopt(a *alteration) {
	e.subs[a.next.ID] = a.next
	if l := e.lists[a.next.ID]; l != nil && a.then == nothing && !(a.guards() && e.holdOf(l.id) != nil) {
		l.sub = a.next
	} else if l != nil {
		e.unfollowList(l)
		l.sub = a.next
		e.followList(l)
	}
	for _, cl := range e.claimsOf(a.next.ID) {
		linked := cl.link != nil || cl.sub.Lost
		if linked && (a.restarts() || a.guards() && e.holdOf(string(cl.id)) != nil) {
			e.unfollow(cl)
		}
		cl.sub = a.next
		if cl.link == nil { // else only the name is another
			cl.source, cl.raw = contentSource(a.next, e.state.Claims[cl.id]), a.next.NoDNRewrite
		}
		e.retell(cl)
		if linked {
			e.engage(cl.id)
		}
	}
}

// claimsOf lists a subscription's claims, by id.
func (e *Engine) claimsOf(id string) (out []*claim) {
	if cl := e.claims[queue.ClaimID(id)]; cl != nil {
		return []*claim{cl}
	}
	for _, cid := range e.claimIDs() {
		if cl := e.claims[cid]; cl.sub.ID == id {
			out = append(out, cl)
		}
	}
	return out
}

// sameSubscription tells whether two records say the same.
func sameSubscription(a, b *Subscription) bool {
	names, _ := fieldsChanged(a, b)
	return len(names) == 0 && a.Kind == b.Kind
}
