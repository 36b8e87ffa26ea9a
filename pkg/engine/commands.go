package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Added is the outcome of adding a subscription.
type Added struct {
	Subscription Subscription    `json:"subscription"`
	Claim        queue.ClaimID   `json:"claim"`
	Name         string          `json:"name"`     // absolute
	Position     int             `json:"position"` // in the name's queue; 0 is the head
	Check        []upstream.Step `json:"check"`
	Found        []Found         `json:"found,omitempty"` // of a list
	Warnings     []string        `json:"warnings"`
	Task         uint64          `json:"task,omitempty"`
	DryRun       bool            `json:"dry_run,omitempty"`
}

// Checked is the outcome of a check (R14).
type Checked struct {
	ID      string          `json:"id"`
	OK      bool            `json:"ok"`
	Steps   []upstream.Step `json:"steps"`
	Entries int             `json:"entries"` // -1: not known
}

// AddSubscription checks the source, then lets it claim its name. A check that
// fails is a warning; what can never work is refused, with nothing
// changed. With dryRun nothing is changed either way.
func (e *Engine) AddSubscription(ctx context.Context, s Subscription, dryRun bool) (out *Added, err error) {
	id, err := e.command(ctx, "subscription add", s.ID, dryRun, func(t *task) error {
		out, err = e.addChecked(ctx, s, t, dryRun)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Task = id
	return out, nil
}

func (e *Engine) addChecked(ctx context.Context, s Subscription, t *task, dryRun bool) (*Added, error) {
	warnings, name, err := e.valid(&s)
	if err != nil {
		return nil, err
	}
	if s.Kind == KindList {
		return e.addListChecked(ctx, s, warnings, t, dryRun)
	}
	out := &Added{Claim: queue.ClaimID(s.ID), Name: name.String(), Warnings: append([]string{}, warnings...), DryRun: dryRun}
	ev := queue.ClaimAdded{ID: out.Claim, Subscription: s.ID, Name: name.String(), Norm: name.Norm()}
	if err := e.try(ctx, ev); err != nil {
		return nil, err
	}
	steps, entries, err := e.check(ctx, &s, t)
	if err != nil {
		return nil, err
	}
	out.Check, out.Subscription = steps, s
	out.Warnings = append(out.Warnings, checkWarnings(steps, entries)...)
	doErr := e.do(ctx, func() { err = e.add(&s, ev, out, t) })
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

func (e *Engine) addListChecked(ctx context.Context, s Subscription, warnings []string, t *task, dryRun bool) (*Added, error) {
	out := &Added{Name: s.Name, Warnings: append([]string{}, warnings...), DryRun: dryRun}
	if err := e.try(ctx, queue.ListAdded{ID: s.ID}); err != nil {
		return nil, err
	}
	steps, entries, err := e.check(ctx, &s, t)
	if err != nil {
		return nil, err
	}
	out.Check, out.Subscription = steps, s
	out.Warnings = append(out.Warnings, checkWarnings(steps, entries)...)
	if dryRun {
		if out.Found, _, err = e.preview(ctx, &s); err != nil {
			out.Warnings = append(out.Warnings, fmt.Sprintf("what the list would find is not known: %s", err))
		}
	}
	doErr := e.do(ctx, func() { err = e.addList(&s, out, t) })
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// Bounds of what an operator enters, far beyond what anyone needs.
const (
	maxName         = 4 << 10
	maxSubscription = 64 << 10
)

// try asks whether an event would be refused, before time is spent on a check.
func (e *Engine) try(ctx context.Context, ev queue.Event) (err error) {
	doErr := e.do(ctx, func() { err = queue.Refuses(e.state, ev) })
	if doErr != nil {
		return doErr
	}
	return err
}

// valid fills in a subscription's defaults and refuses what can never work; the name
// is the local one of a tree.
func (e *Engine) valid(s *Subscription) (warnings []string, name dit.DN, err error) {
	if size := s.size(); size > maxSubscription {
		return nil, name, &queue.Refusal{Kind: "invalid", Reason: fmt.Sprintf("the subscription's fields take %d bytes together; at most %d are allowed", size, maxSubscription)}
	}
	if warnings, err = s.validate(); err != nil {
		return nil, name, &queue.Refusal{Kind: "invalid", Reason: err.Error()}
	}
	if s.Kind == KindList {
		_, more, err := e.listTemplate(s.Name)
		return append(warnings, more...), name, err
	}
	name, err = e.treeName(s.Name)
	return warnings, name, err
}

// checkWarnings puts into words what a check found wanting.
func checkWarnings(steps []upstream.Step, entries int) (w []string) {
	if entries == 0 {
		w = append(w, "base, scope and filter find no entry: the name will be empty until they do")
	}
	for _, step := range steps {
		if !step.OK {
			w = append(w, fmt.Sprintf("the check failed at %s: %s; Shaft keeps trying", step.Name, step.Detail))
		}
	}
	return w
}

// check runs a source's check, outside the engine goroutine, and notes its steps.
func (e *Engine) check(ctx context.Context, s *Subscription, t *task) (steps []upstream.Step, entries int, err error) {
	var began time.Time
	if err := e.do(ctx, func() { began = e.o.Now() }); err != nil {
		return nil, -1, err
	}
	steps, entries, fatal := upstream.Check(ctx, s.Source, e.o.Upstream)
	if fatal != nil {
		return nil, -1, &queue.Refusal{Kind: "invalid", Reason: fatal.Error()}
	}
	if err := ctx.Err(); err != nil {
		return nil, -1, err // it was cut short, and nobody waits for the outcome
	}
	return steps, entries, e.do(ctx, func() { t.checked(began, steps) })
}

func (e *Engine) add(s *Subscription, ev queue.ClaimAdded, out *Added, t *task) error {
	out.Warnings = append(out.Warnings, e.overlapWarnings(ev.Norm)...)
	if n := e.state.Names[ev.Norm]; n != nil {
		out.Position = len(n.Claims)
	}
	out.Warnings = append(out.Warnings, e.clashWarnings(ev.Norm, ev.ID)...)
	if out.DryRun {
		return queue.Refuses(e.state, ev)
	}
	record, err := json.Marshal(s)
	if err != nil {
		return err
	}
	e.subs[s.ID] = s
	var b store.Batch
	b.Records = []store.Record{{Name: recordSubscription + s.ID, Value: record}}
	e.end(&b, t, TaskDone, addOutcome(out))
	if err := e.enact(decisions{events: []queue.Event{ev}, last: b.Records}); err != nil {
		delete(e.subs, s.ID)
		return err
	}
	e.log.Info("subscription added", "subscription", s.ID, "name", ev.Name, "source", s.URL, "position", out.Position)
	return nil
}

func addOutcome(out *Added) string {
	if out.Position == 0 {
		return fmt.Sprintf("%s shows its content as soon as it is here", out.Name)
	}
	return fmt.Sprintf("it waits at position %d of the queue of %s", out.Position, out.Name)
}

func (e *Engine) overlapWarnings(norm string) []string {
	var w []string
	for outer := range e.namesAbove(norm) {
		w = append(w, fmt.Sprintf("the name lies inside %s: it hides what %s has there", outer.Text, outer.Claims[0]))
	}
	inside := e.namesBelow(norm)
	for i, inner := range inside {
		if i == maxOverlapWarnings {
			w = append(w, fmt.Sprintf("%d names more lie inside this name", len(inside)-i))
			break
		}
		w = append(w, fmt.Sprintf("%s lies inside this name: it hides what this source has there", e.state.Names[inner].Text))
	}
	return w
}

// maxOverlapWarnings is how many inner names an outcome lists.
const maxOverlapWarnings = 20

// clashWarnings says at once that a name is claimed already, and how to look at it (R26).
func (e *Engine) clashWarnings(norm string, id queue.ClaimID) []string {
	n := e.state.Names[norm]
	if n == nil || slices.Contains(n.Claims, id) {
		return nil
	}
	name, claim := ShellQuoted(n.Text), ShellQuoted(string(id))
	return []string{fmt.Sprintf("%s is already claimed by %s, whose content it shows: this claim waits at position %d of its queue, until "+
		"those before it are removed. See the queue: `shaft queue show %s`; what would change: `shaft queue diff %s %s`; put it first: `shaft queue switch %s %s`",
		n.Text, n.Claims[0], len(n.Claims), name, name, claim, name, claim)}
}

// ShellQuoted is a text as a shell takes it, in quotes unless it is one plain word.
func ShellQuoted(text string) string {
	switch {
	case plainWord.MatchString(text):
		return text
	case !strings.ContainsAny(text, "\"$`\\!"):
		return `"` + text + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/=,:+-]+$`)

// CheckSubscription runs the check of a stored subscription now.
func (e *Engine) CheckSubscription(ctx context.Context, id string) (*Checked, error) {
	s, err := e.Subscription(ctx, id)
	if err != nil {
		return nil, err
	}
	steps, entries, fatal := upstream.Check(ctx, s.Source, e.o.Upstream)
	if fatal != nil {
		return nil, &queue.Refusal{Kind: "invalid", Reason: fatal.Error()}
	}
	out := &Checked{ID: id, OK: true, Steps: steps, Entries: entries}
	for _, step := range steps {
		out.OK = out.OK && step.OK
	}
	return out, nil
}

func notFound(what, id string) error {
	return &queue.Refusal{Kind: "not-found", Reason: fmt.Sprintf("there is no %s %q", what, id)}
}
