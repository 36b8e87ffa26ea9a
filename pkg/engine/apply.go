package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shaft/pkg/queue"
)

// Applied is the outcome of an apply: all of it, or nothing of it.
type Applied struct {
	Added     []string `json:"added"`
	Changed   []string `json:"changed"`
	Removed   []string `json:"removed"`
	Unchanged []string `json:"unchanged"`
	// Decisions counts those on lists' claims that become true; see Decision.
	Decisions int      `json:"decisions,omitempty"`
	Warnings  []string `json:"warnings"`
	Task      uint64   `json:"task,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
}

const (
	// maxDocument bounds the subscriptions of one document.
	maxDocument = 10_000
	// maxFaults is how many faults are told of one document, maxApplyWarnings how many warnings.
	maxFaults, maxApplyWarnings = 1000, 1000
)

// Apply makes the subscriptions and the decisions on lists' claims those of the document: all, or none where one is
// wrong, over a crash too. What the document lacks stays, unless prune. No
// source is asked; the links say what does not answer. The error is Faults
// where the document is wrong.
func (e *Engine) Apply(ctx context.Context, d Document, prune, dryRun bool) (out *Applied, err error) {
	number, err := e.command(ctx, "apply", fmt.Sprintf("%d subscriptions", len(d.Subscriptions)), dryRun, func(t *task) error {
		out, err = e.apply(ctx, d, prune, t, dryRun)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Task = number
	return out, nil
}

func (e *Engine) apply(ctx context.Context, d Document, prune bool, t *task, dryRun bool) (*Applied, error) {
	p := &applying{
		e: e, out: &Applied{Added: []string{}, Changed: []string{}, Removed: []string{}, Unchanged: []string{}, Warnings: []string{}, DryRun: dryRun},
	}
	if err := p.validate(ctx, d); err != nil {
		return nil, err
	}
	var err error
	doErr := e.do(ctx, func() {
		p.compare(prune)
		p.try()
		p.decisions(prune)
		if len(p.faults) > 0 {
			slices.SortStableFunc(p.faults, func(a, b Fault) int { return p.at[a.Subscription] - p.at[b.Subscription] })
			err = p.faults
			return
		}
		if dryRun || len(p.steps) == 0 {
			return
		}
		err = e.execute(p.steps, t, fmt.Sprintf("%d added, %d changed, %d removed, %d as they were; %d decisions on claims of lists",
			len(p.out.Added), len(p.out.Changed), len(p.out.Removed), len(p.out.Unchanged), p.out.Decisions))
	})
	if doErr != nil {
		return nil, doErr
	}
	if err == nil && len(p.steps) == 0 && t != nil {
		t.void = true
	}
	return p.out, err
}

// applying is a document on its way: what is wrong with it, and what it comes to.
type applying struct {
	e      *Engine
	next   []*Subscription // those that are valid by themselves
	at     map[string]int  // of each id, its place in the document
	faults Faults
	events []planned
	steps  []planStep
	trial  *queue.State // in which all that was planned is done
	wanted []wanted     // the decisions that are valid by themselves
	out    *Applied
}

// planned is an event, and on whose behalf.
type planned struct {
	id string
	ev queue.Event
}

func (p *applying) fault(id, field, reason string) {
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, Fault{Subscription: id, Field: field, Reason: reason})
	}
}

func (p *applying) warn(format string, args ...any) {
	switch n := len(p.out.Warnings); {
	case n < maxApplyWarnings:
		p.out.Warnings = append(p.out.Warnings, fmt.Sprintf(format, args...))
	case n == maxApplyWarnings:
		p.out.Warnings = append(p.out.Warnings, "there are more warnings than are shown")
	}
}

// validate looks at each subscription by itself, the files that it names included.
func (p *applying) validate(ctx context.Context, d Document) error {
	if n := len(d.Subscriptions); n > maxDocument {
		return Faults{{Reason: fmt.Sprintf("the document has %d subscriptions; at most %d are allowed", n, maxDocument)}}
	}
	p.at = make(map[string]int, len(d.Subscriptions))
	for i := range d.Subscriptions {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := d.Subscriptions[i]
		if first, twice := p.at[s.ID]; twice {
			p.fault(s.ID, "id", fmt.Sprintf("it is in the document twice: as number %d and number %d", first+1, i+1))
			continue
		}
		p.at[s.ID] = i
		warnings, _, err := p.e.valid(&s)
		if err != nil {
			field, reason := faultField(err)
			p.fault(s.ID, field, reason)
			continue
		}
		for _, w := range warnings {
			p.warn("%s: %s", s.ID, w)
		}
		p.next = append(p.next, &s)
	}
	return p.validateDecisions(ctx, d.Decisions)
}

// sourceFields are those by whose names the errors of a source begin.
var sourceFields = []string{
	"protocol", "host", "port", "socket", "servers", "base", "attributes", "filter", "scope", "starttls", "bind_dn", "password_file",
	"ca_file", "sasl_external", "certificate", "key", "poll",
}

// faultField takes the name of the field from an error's text where it is there.
func faultField(err error) (field, reason string) {
	var refusal *queue.Refusal
	reason = err.Error()
	if errors.As(err, &refusal) && (refusal.Kind == queue.KindOutsideBase || refusal.Kind == queue.KindIsBase) {
		return "name", reason
	}
	if name, rest, ok := strings.Cut(reason, ": "); ok && slices.Contains(sourceFields, name) {
		return "source." + name, rest
	}
	return "", reason
}

// compare finds out what is to be removed, changed and added, in this order.
func (p *applying) compare(prune bool) {
	e := p.e
	if prune {
		for _, id := range slices.Sorted(maps.Keys(e.subs)) {
			if _, stays := p.at[id]; !stays {
				p.remove(id)
			}
		}
	}
	var added []*Subscription
	for _, s := range p.next {
		old := e.subs[s.ID]
		if old == nil {
			added = append(added, s)
			continue
		}
		a, err := e.altered(old, s)
		switch {
		case err != nil:
			p.fault(s.ID, "", err.Error())
		case len(a.fields) == 0:
			p.out.Unchanged = append(p.out.Unchanged, s.ID)
		default:
			if a.move != nil {
				p.events = append(p.events, planned{s.ID, *a.move})
			}
			p.steps = append(p.steps, planStep{Subscription: s})
			p.out.Changed = append(p.out.Changed, s.ID)
		}
	}
	for _, s := range added {
		ev, err := e.addition(s)
		if err != nil {
			p.fault(s.ID, "name", err.Error())
			continue
		}
		p.events = append(p.events, planned{s.ID, ev})
		p.steps = append(p.steps, planStep{Subscription: s})
		p.out.Added = append(p.out.Added, s.ID)
	}
}

func (p *applying) remove(id string) {
	p.out.Removed = append(p.out.Removed, id)
	p.steps = append(p.steps, planStep{Remove: id})
	if p.e.state.Lists[id] != nil {
		p.events = append(p.events, planned{id, queue.ListRemoved{ID: id}})
	} else {
		p.events = append(p.events, planned{id, queue.ClaimRemoved{ID: queue.ClaimID(id)}})
	}
}

// try has the queues take all of it in a copy, so that what they refuse is known
// before anything happens, and which names clash (R26).
func (p *applying) try() {
	p.trial = p.e.state.Clone()
	trial := p.trial
	for _, pl := range p.events {
		norm := ""
		switch ev := pl.ev.(type) {
		case queue.ClaimAdded:
			norm = ev.Norm
		case queue.ClaimMoved:
			norm = ev.Norm
		}
		n := trial.Names[norm]
		if _, err := queue.Apply(trial, pl.ev); err != nil {
			p.fault(pl.id, "", err.Error())
			continue
		}
		if n != nil && !slices.Contains(n.Claims, queue.ClaimID(pl.id)) {
			p.warn("%s: %s is already claimed by %s: this claim waits at position %d of its queue (`shaft queue show %s`)",
				pl.id, n.Text, n.Head(), len(n.Claims), ShellQuoted(n.Text))
		}
	}
}
