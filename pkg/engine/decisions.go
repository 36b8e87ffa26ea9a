package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
)

// wanted is a valid decision of a document.
type wanted struct {
	Decision
	made, to dit.DN
}

// validateDecisions looks at each decision by itself.
func (p *applying) validateDecisions(ctx context.Context, list []Decision) error {
	if n := len(list); n > maxDecisions {
		return Faults{{Reason: fmt.Sprintf("the document has %d decisions; at most %d are allowed", n, maxDecisions)}}
	}
	had := make(map[string]bool, len(list))
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		w := wanted{Decision: list[i]}
		var err error
		if w.made, w.to, err = w.valid(p.e); err != nil {
			p.fault(w.List, "decisions", fmt.Sprintf("number %d, %s: %s", i+1, &w.Decision, err))
			continue
		}
		key := w.key(w.made.Norm())
		if had[key] {
			p.fault(w.List, "decisions", fmt.Sprintf("number %d, %s: it is in the document twice", i+1, &w.Decision))
			continue
		}
		had[key] = true
		p.wanted = append(p.wanted, w)
	}
	return nil
}

// decisions has the queues take the document's decisions in the copy that has its
// subscriptions, and those back that the document lacks where it is to be all there is.
func (p *applying) decisions(prune bool) {
	if prune {
		p.lacking()
	}
	for i := range p.wanted {
		w := &p.wanted[i]
		if p.trial.Lists[w.List] == nil {
			p.fault(w.List, "decisions", fmt.Sprintf("%s: there is no list %q, neither here nor in the document", &w.Decision, w.List))
			continue
		}
		p.decision(w)
	}
}

// lacking adds what there is of decisions and the document has not, to be taken back. It
// comes before the others, as a name that is freed may be another's.
func (p *applying) lacking() {
	had := make(map[string]bool, len(p.wanted))
	for i := range p.wanted {
		had[p.wanted[i].key(p.wanted[i].made.Norm())] = true
	}
	var back []wanted
	for _, d := range decisionsOf(p.trial) {
		d.Rename, d.Suppressed = "", false
		w := wanted{Decision: d}
		var err error
		if w.made, _, err = w.valid(p.e); err == nil && !had[w.key(w.made.Norm())] {
			back = append(back, w)
		}
	}
	p.wanted = append(back, p.wanted...)
}

func (p *applying) decision(w *wanted) {
	events := w.carry(p.trial, w.made, w.to)
	if len(events) == 0 {
		return
	}
	for _, ev := range events {
		if moved, ok := ev.(queue.ClaimMoved); ok {
			if n := p.trial.Names[moved.Norm]; n != nil && !slices.Contains(n.Claims, moved.ID) {
				p.warn("%s: %s is already claimed by %s: it waits at position %d of its queue", &w.Decision, n.Text, n.Head(), len(n.Claims))
			}
		}
		if _, err := queue.Apply(p.trial, ev); err != nil {
			p.fault(w.List, "decisions", fmt.Sprintf("%s: %s", &w.Decision, err))
			return
		}
		if _, waits := ev.(queue.EntryWished); waits && (w.Rename != "" || w.Suppressed) {
			p.warn("%s waits until the list %s finds the entry", &w.Decision, w.List)
		}
	}
	p.out.Decisions++
	p.steps = append(p.steps, planStep{Decision: &w.Decision})
}

// decided counts the steps at the beginning that are decisions and go into few commits.
func decided(steps []planStep) (n int) {
	for n < len(steps) && n < planTogether && steps[n].Decision != nil {
		n++
	}
	return n
}

// decideAll makes decisions true, unless they are; one that is refused keeps no other back.
func (e *Engine) decideAll(steps []planStep) error {
	trial := e.state.Clone()
	var events []queue.Event
	var refused []error
	for _, step := range steps {
		made, to, err := step.Decision.valid(e)
		if err != nil {
			refused = append(refused, fmt.Errorf("%s: %w", step.Decision, err))
			continue
		}
		for _, ev := range step.Decision.carry(trial, made, to) {
			if _, err := queue.Apply(trial, ev); err != nil {
				refused = append(refused, fmt.Errorf("%s: %w", step.Decision, err))
				break
			}
			events = append(events, ev)
		}
	}
	if len(events) > 0 {
		refused = append(refused, e.enact(decisions{events: events}))
	}
	return errors.Join(refused...)
}
