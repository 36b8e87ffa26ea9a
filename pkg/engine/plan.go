package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// A command that takes more than one commit is a plan: its steps are written
// down first, and one record is the point of no return (plan-begun). Before it
// nothing has happened; from it on a start goes through the steps again until all are
// done, passing over those that are. So a command is done as a whole or not at all, whatever
// the moment at which the process is killed.

const (
	recordPlan      = "plan/"      // and six digits: a JSON array of planStep
	recordPlanBegun = "plan-begun" // JSON of planBegun
)

// planStep is one step: what a subscription is to be, or that it is to go, or what is decided
// of a list's claim.
type planStep struct {
	Remove       string        `json:"remove,omitempty"` // its id
	Subscription *Subscription `json:"subscription,omitempty"`
	Decision     *Decision     `json:"decision,omitempty"`
}

// planBegun is the point of no return.
type planBegun struct {
	Task    uint64 `json:"task"`
	Steps   int    `json:"steps"`
	Outcome string `json:"outcome"` // of the task, once all is done
}

const (
	// planChunk is how many bytes of steps go into one record, about.
	planChunk = 128 << 10
	// planGroup is how many additions go into one commit.
	planGroup = 100
	// planTogether is how many decisions on lists' claims do.
	planTogether = 500
)

// execute carries a plan out, on the engine's goroutine: readers see it as one version.
func (e *Engine) execute(steps []planStep, t *task, outcome string) error {
	chunks, err := planRecords(steps)
	if err != nil {
		return err
	}
	begun := planBegun{Steps: len(steps), Outcome: outcome}
	if t != nil {
		begun.Task = t.ID
	}
	value, err := json.Marshal(&begun)
	if err != nil {
		return err
	}
	if err := e.writeRecords(chunks); err != nil {
		return err
	}
	b := store.Batch{Records: []store.Record{{Name: recordPlanBegun, Value: value}}}
	if t != nil {
		b.Records = append(b.Records, t.record())
	}
	if err := e.commit(&b); err != nil {
		return err
	}
	return e.finishPlan(steps, t, outcome)
}

func planRecords(steps []planStep) (records []store.Record, err error) {
	var chunk []planStep
	size := 0
	cut := func() {
		if len(chunk) == 0 || err != nil {
			return
		}
		var value []byte
		value, err = json.Marshal(chunk)
		records = append(records, store.Record{Name: fmt.Sprintf("%s%06d", recordPlan, len(records)), Value: value})
		chunk, size = nil, 0
	}
	for _, s := range steps {
		chunk = append(chunk, s)
		if s.Subscription != nil {
			size += 2 * s.Subscription.size()
		}
		if d := s.Decision; d != nil {
			size += 2 * (len(d.List) + len(d.Name) + len(d.Rename))
		}
		if size += 200; size >= planChunk {
			cut()
		}
	}
	cut()
	return records, err
}

// finishPlan goes through the steps of a plan that has begun, and removes it. A
// step that is refused, which it was not when the plan was made, is told in the task.
func (e *Engine) finishPlan(steps []planStep, t *task, outcome string) error {
	var failed []error
	err := e.asOne(func() error {
		for len(steps) > 0 {
			n := e.additions(steps)
			var err error
			if n > 0 {
				err = e.addAll(steps[:n])
			} else if n = decided(steps); n > 0 {
				err = e.decideAll(steps[:n])
			} else {
				n, err = 1, e.doStep(&steps[0])
			}
			if e.failed != nil {
				return e.failed // a start on a working disk goes on from here
			}
			if err != nil {
				e.log.Error("a step of a plan was refused", "error", err)
				failed = append(failed, err)
			}
			steps = steps[n:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := errors.Join(failed...); err != nil {
		outcome = "some steps could not be carried out: " + err.Error()
	}
	return errors.Join(append(failed, e.dropPlan(t, outcome, len(failed) == 0))...)
}

// dropPlan removes a plan and says how its task ended.
func (e *Engine) dropPlan(t *task, outcome string, good bool) error {
	b := store.Batch{Records: []store.Record{{Name: recordPlanBegun}}}
	state := TaskDone
	if !good {
		state = TaskFailed
	}
	e.end(&b, t, state, outcome)
	if err := e.commit(&b); err != nil {
		return err
	}
	var chunks []store.Record
	err := e.store.Records(recordPlan, func(name string, _ []byte) error {
		chunks = append(chunks, store.Record{Name: strings.Clone(name)})
		return nil
	})
	if err != nil {
		return err
	}
	return e.writeRecords(chunks)
}

// additions counts the steps at the beginning that add something and fit into one
// commit.
func (e *Engine) additions(steps []planStep) (n int) {
	size := 0
	for n < len(steps) && n < planGroup && size < planChunk {
		s := steps[n].Subscription
		if s == nil || e.exists(s.ID) {
			break
		}
		size += s.size()
		n++
	}
	return n
}

// exists tells whether a subscription has its claim, or its list.
func (e *Engine) exists(id string) bool {
	return e.state.Claims[queue.ClaimID(id)] != nil || e.state.Lists[id] != nil
}

// addAll adds subscriptions that are not there yet.
func (e *Engine) addAll(steps []planStep) error {
	var d decisions
	var b store.Batch
	for _, step := range steps {
		s := step.Subscription
		ev, err := e.addition(s)
		if err == nil {
			err = e.record(&b, s)
		}
		if err != nil {
			return err
		}
		d.events = append(d.events, ev)
		e.subs[s.ID] = s
		if s.Kind == KindList {
			e.lists[s.ID] = &list{id: s.ID, sub: s}
		}
	}
	d.first = b.Records
	err := e.enact(d)
	if err != nil {
		for _, step := range steps {
			if s := step.Subscription; !e.exists(s.ID) {
				delete(e.lists, s.ID)
			}
		}
	}
	return err
}

// addition is the event that adds a subscription which was found valid.
func (e *Engine) addition(s *Subscription) (queue.Event, error) {
	if s.Kind == KindList {
		return queue.ListAdded{ID: s.ID}, nil
	}
	name, err := e.localName(s.Name)
	if err != nil {
		return nil, err
	}
	return queue.ClaimAdded{ID: queue.ClaimID(s.ID), Subscription: s.ID, Name: name.String(), Norm: name.Norm()}, nil
}

// doStep removes or changes a subscription, unless that is done already.
func (e *Engine) doStep(step *planStep) error {
	if step.Remove != "" {
		if e.subs[step.Remove] == nil {
			return nil
		}
		return e.drop(step.Remove, nil)
	}
	a, err := e.altered(e.subs[step.Subscription.ID], step.Subscription)
	if err != nil || len(a.fields) == 0 {
		return err
	}
	return e.alter(a, nil, nil)
}

// resumePlan goes on with a plan that a crash cut off, and removes what was left
// of one that had not begun.
func (e *Engine) resumePlan() error {
	var begun *planBegun
	whole := true
	err := e.store.Records(recordPlanBegun, func(_ string, value []byte) error {
		begun = &planBegun{}
		whole = json.Unmarshal(value, begun) == nil
		return nil
	})
	if err != nil {
		return err
	}
	var steps []planStep
	stray := false
	err = e.store.Records(recordPlan, func(_ string, value []byte) error {
		stray = true
		var chunk []planStep
		whole = json.Unmarshal(value, &chunk) == nil && whole
		steps = append(steps, chunk...)
		return nil
	})
	switch {
	case err != nil:
		return err
	case begun == nil && !stray:
		return nil
	case begun == nil:
		return e.dropPlan(nil, "", true)
	case !whole || len(steps) != begun.Steps:
		e.lost("a command was cut off by the end of the process (task %d), and cannot be carried on: what it was to do is not whole any more. Look at what it has done, and give it again", begun.Task)
		return e.dropPlan(e.taskOf(begun.Task), "cut off by the end of the process, and its steps are lost to damage of the store", false)
	}
	e.log.Warn("a command was cut off by the end of the process; it is carried on", "task", begun.Task, "steps", begun.Steps)
	t := e.taskOf(begun.Task)
	if t != nil {
		t.Advice = ""
		t.step(e.o.Now(), "resume", true, "cut off by the end of the process, and carried on by the next start")
	}
	if err := e.finishPlan(steps, t, begun.Outcome); err != nil && e.failed == nil {
		e.log.Error("a plan was carried on with faults", "error", err)
	}
	return e.failed
}

// taskOf finds a task; nil where there is none.
func (e *Engine) taskOf(id uint64) *task {
	if i := slices.IndexFunc(e.tasks.all, func(t *task) bool { return t.ID == id }); i >= 0 {
		return e.tasks.all[i]
	}
	return nil
}
