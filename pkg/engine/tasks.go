package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Actor is who wants a change, for the record (R47).
type Actor struct {
	Who string // "uid 0 (root) over the control socket", a login, "shaft" itself
	Why string // the reason given; "" for none
}

type actorKey struct{}

// WithActor marks the commands that run under ctx.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ownActor is who begins what no command asked for.
const ownActor = "shaft"

// ActorOf gives who runs a command under ctx: Shaft itself where WithActor said nothing.
func ActorOf(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	a.Who = cmp.Or(a.Who, ownActor)
	return a
}

// Task is the record of one change, by any door or by Shaft itself (R47).
type Task struct {
	ID      uint64     `json:"id"`
	What    string     `json:"what"`   // "subscription add", "full load", "list change"
	Target  string     `json:"target"` // a subscription, a claim or a name
	Who     string     `json:"who"`
	Why     string     `json:"why,omitempty"`
	Began   time.Time  `json:"began"`
	Ended   *time.Time `json:"ended,omitempty"`
	State   string     `json:"state"` // TaskRunning, TaskDone, TaskRefused or TaskFailed
	Steps   []TaskStep `json:"steps"`
	Outcome string     `json:"outcome,omitempty"` // in words
	Advice  string     `json:"advice,omitempty"`  // what to do about a failure
	Entries int        `json:"entries,omitempty"` // progress of a refresh: taken so far
	Rate    float64    `json:"rate,omitempty"`    // entries a second
}

// TaskStep is one step of a task.
type TaskStep struct {
	At     time.Time `json:"at"`
	Name   string    `json:"name"`
	OK     bool      `json:"ok"`
	Detail string    `json:"detail,omitempty"`
}

// The states of a task. A refused one has changed nothing.
const (
	TaskRunning = "running"
	TaskDone    = "done"
	TaskRefused = "refused"
	TaskFailed  = "failed"
)

const (
	// maxTasks are kept; the oldest that have ended go first.
	maxTasks = 1000
	// maxOwnTasks of them may be Shaft's own, so that those push no command's out.
	maxOwnTasks = 500
	// maxTaskSteps bounds one record: the first and the latest are kept.
	maxTaskSteps = 100
	// maxTaskText bounds each text in a record, in bytes.
	maxTaskText = 1024
	// taskIDs are reserved with one commit; a crash loses those that were not used.
	taskIDs = 64
)

const (
	recordTask    = "task/"    // and the id in 16 hexadecimal digits
	recordTaskIDs = "task-ids" // the first id that was not given away, in decimal
)

func taskRecord(id uint64) string { return fmt.Sprintf("%s%016x", recordTask, id) }

// task is one that is known, under way or past. Its methods are for the engine's
// goroutine; those of a nil task, which a dry run has, do nothing.
type task struct {
	Task
	stored bool // the batch that says how it ended was given its record
	void   bool // it turned out that nothing was to be done: no record is kept
	load   *load
}

// taskLog is what is known of tasks; the engine goroutine's.
type taskLog struct {
	all      []*task // by id
	next     uint64
	reserved uint64 // ids below it are
	// unwritten are tasks of Shaft's own whose records ride with the next commit.
	unwritten []*task
	gone      []store.Record // removals that do the same
	loads     map[string]*load
	bursts    map[string]*burst
}

// newTask begins one.
func (e *Engine) newTask(a Actor, what, target string) *task {
	l := &e.tasks
	if l.next >= l.reserved && e.failed == nil {
		l.reserved = l.next + taskIDs
		b := store.Batch{Records: []store.Record{{Name: recordTaskIDs, Value: strconv.AppendUint(nil, l.reserved, 10)}}}
		if err := e.commit(&b); err != nil {
			e.log.Error("ids of tasks not reserved", "error", err)
		}
	}
	t := &task{Task: Task{
		ID: l.next, What: what, Target: clip(target), Who: clip(a.Who), Why: clip(a.Why), Began: e.o.Now().UTC(),
		State: TaskRunning, Steps: []TaskStep{},
	}}
	l.next++
	l.all = append(l.all, t)
	e.trimTasks()
	return t
}

func clip(text string) string { return clipTo(text, maxTaskText) }

// clipTo cuts a text to a number of bytes.
func clipTo(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// trimTasks drops the oldest that have ended where there are too many.
func (e *Engine) trimTasks() {
	l := &e.tasks
	own := 0
	for _, t := range l.all {
		if t.Who == ownActor {
			own++
		}
	}
	over, overOwn := len(l.all)-maxTasks, own-maxOwnTasks
	if over <= 0 && overOwn <= 0 {
		return
	}
	l.all = slices.DeleteFunc(l.all, func(t *task) bool {
		mine := t.Who == ownActor
		if t.State == TaskRunning || over <= 0 && (overOwn <= 0 || !mine) {
			return false
		}
		over--
		if mine {
			overOwn--
		}
		l.unwritten = slices.DeleteFunc(l.unwritten, func(u *task) bool { return u == t })
		l.gone = append(l.gone, store.Record{Name: taskRecord(t.ID)})
		return true
	})
}

// step notes what was done.
func (t *task) step(at time.Time, name string, ok bool, detail string) {
	if t == nil {
		return
	}
	if n := len(t.Steps); n >= maxTaskSteps {
		t.Steps = slices.Delete(t.Steps, maxTaskSteps/2, maxTaskSteps/2+1)
	}
	t.Steps = append(t.Steps, TaskStep{At: at.UTC(), Name: clip(name), OK: ok, Detail: clip(detail)})
}

// checked notes the steps of a check that began at a time, one behind the other.
func (t *task) checked(began time.Time, steps []upstream.Step) {
	for _, s := range steps {
		began = began.Add(time.Duration(s.Millis) * time.Millisecond)
		t.step(began, s.Name, s.OK, s.Detail)
	}
}

// end says how a task ended, and adds its record to the batch that makes that so.
func (e *Engine) end(b *store.Batch, t *task, state, outcome string) {
	if t == nil {
		return
	}
	now := e.o.Now().UTC()
	t.State, t.Ended, t.Outcome, t.stored = state, &now, clip(outcome), true
	b.Records = append(b.Records, t.record())
}

func (t *task) record() store.Record {
	value, err := json.Marshal(&t.Task)
	if err != nil {
		panic(fmt.Sprintf("engine: encode a task: %v", err)) // texts, numbers and times always can be
	}
	return store.Record{Name: taskRecord(t.ID), Value: value}
}

// command runs a change as a task, on the caller's goroutine. What fn leaves
// unsaid of how it ended is filled in and written; where fn's own commit carried
// the record (see end), there is no other. A dry run leaves no task.
func (e *Engine) command(ctx context.Context, what, target string, dryRun bool, fn func(t *task) error) (uint64, error) {
	if dryRun {
		return 0, fn(nil)
	}
	var t *task
	if err := e.do(ctx, func() { t = e.newTask(ActorOf(ctx), what, target) }); err != nil {
		return 0, err
	}
	err := fn(t)
	var id uint64
	doErr := e.do(context.WithoutCancel(ctx), func() {
		e.settle(t, err)
		if !t.void {
			id = t.ID
		}
	})
	if err == nil && doErr != nil && !errors.Is(doErr, ErrClosed) {
		err = doErr
	}
	return id, err
}

// onWriter runs a change on the engine's goroutine, as a task whose number its
// outcome bears.
func onWriter[O interface{ asTask(id uint64) }](ctx context.Context, e *Engine, what, target string, dryRun bool, fn func(t *task) (O, error)) (out O, err error) {
	id, err := e.command(ctx, what, target, dryRun, func(t *task) (err error) {
		doErr := e.do(ctx, func() { out, err = fn(t) })
		return cmp.Or(doErr, err)
	})
	if err != nil {
		var none O
		return none, err
	}
	out.asTask(id)
	return out, nil
}

func (r *Removed) asTask(id uint64)      { r.Task = id }
func (d *Decided) asTask(id uint64)      { d.Task = id }
func (r *Renamed) asTask(id uint64)      { r.Task = id }
func (a *AlarmChanged) asTask(id uint64) { a.Task = id }

// settle writes how a command ended, unless its commit did.
func (e *Engine) settle(t *task, err error) {
	var refusal *queue.Refusal
	var faults Faults
	state, outcome := TaskDone, cmp.Or(t.Outcome, "done")
	switch {
	case err == nil && (t.stored || t.load != nil): // or it goes on until its load is complete
		return
	case err == nil && t.void:
		e.tasks.all = slices.DeleteFunc(e.tasks.all, func(o *task) bool { return o == t })
		return
	case errors.As(err, &refusal):
		state, outcome = TaskRefused, err.Error()
		t.Advice = refusalAdvice[refusal.Kind]
	case errors.As(err, &faults):
		state, outcome = TaskRefused, fmt.Sprintf("%d faults in the document; nothing has changed", len(faults))
		t.Advice = "correct what the steps name, and try again"
		for _, f := range faults[:min(len(faults), maxTaskSteps)] {
			t.step(e.o.Now(), "validate", false, f.String())
		}
	case errors.Is(err, context.Canceled):
		state, outcome = TaskFailed, "interrupted: whoever asked for it went away before the end"
		t.Advice = e.failureAdvice(err)
	case err != nil:
		state, outcome = TaskFailed, err.Error()
		t.Advice = e.failureAdvice(err)
	}
	var b store.Batch
	e.end(&b, t, state, outcome)
	if e.failed != nil {
		return // it is known until the end of this run
	}
	if err := e.commit(&b); err != nil {
		e.log.Error("a task's record was not written", "task", t.ID, "error", err)
	}
}

// refusalAdvice says what to do about a refusal whose reason does not.
var refusalAdvice = map[string]string{
	"invalid":             "correct what the reason names, and try again",
	"not-found":           "see `shaft subscription list` and `shaft name list` for what there is",
	queue.KindExists:      "choose another id, or change the one that is there with `shaft subscription set`",
	queue.KindOutsideBase: "give a name below the base DN",
	queue.KindNoBase:      "set base_dn in the configuration and start again",
	queue.KindIsBase:      "give a name below the base DN",
	queue.KindNoContent:   "see `shaft queue show` for how its source is doing; a switch with --force --reason TEXT goes on without",
}

func (e *Engine) failureAdvice(err error) string {
	switch {
	case e.failed != nil:
		return "the store takes no more writes: look at the disk, then start Shaft again"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "nothing was changed; try again"
	}
	return "nothing was changed; the log has more, and it may be tried again"
}

// later has the record of a task of Shaft's own ride with the next commit.
func (e *Engine) later(t *task) {
	if !slices.Contains(e.tasks.unwritten, t) {
		e.tasks.unwritten = append(e.tasks.unwritten, t)
	}
}

// ride adds to a small batch what waits for one; landed forgets that once the
// batch is durable.
func (e *Engine) ride(b *store.Batch) (landed func()) {
	const lines = 32 // far below a batch's bounds, with records of the greatest size
	l := &e.tasks
	n, m := min(len(l.unwritten), lines/4), min(len(l.gone), lines)
	if n+m == 0 || len(b.Puts)+len(b.Records) > lines {
		return func() {}
	}
	for _, t := range l.unwritten[:n] {
		b.Records = append(b.Records, t.record())
	}
	b.Records = append(b.Records, l.gone[:m]...)
	return func() { l.unwritten, l.gone = l.unwritten[n:], l.gone[m:] }
}

// Tasks lists tasks, newest first.
func (e *Engine) Tasks(ctx context.Context) (out []Task, err error) {
	out = []Task{}
	err = e.do(ctx, func() {
		for _, t := range slices.Backward(e.tasks.all) {
			out = append(out, e.shown(t))
		}
	})
	return out, err
}

// Task gives one.
func (e *Engine) Task(ctx context.Context, id uint64) (out *Task, err error) {
	doErr := e.do(ctx, func() {
		for _, t := range e.tasks.all {
			if t.ID == id {
				got := e.shown(t)
				out = &got
				return
			}
		}
		err = notFound("task", strconv.FormatUint(id, 10))
	})
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

// shown is a task as it stands now, in memory of its own.
func (e *Engine) shown(t *task) Task {
	out := t.Task
	out.Steps = slices.Clone(t.Steps)
	if t.State == TaskRunning && t.load != nil {
		t.load.progress(e, &out)
	}
	return out
}

// loadTasks reads the tasks of earlier runs. One that was running then is not any more.
func (e *Engine) loadTasks() error {
	l := &e.tasks
	l.next, l.loads, l.bursts = 1, map[string]*load{}, map[string]*burst{}
	err := e.store.Records(recordTask, func(name string, value []byte) error {
		t := &task{stored: true}
		if err := json.Unmarshal(value, &t.Task); err != nil {
			e.log.Error("a stored task is malformed; it is left out", "record", name, "error", err)
			l.gone = append(l.gone, store.Record{Name: strings.Clone(name)})
			return nil
		}
		l.next = max(l.next, t.ID+1)
		l.all = append(l.all, t)
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range l.all {
		if t.State == TaskRunning {
			now := e.o.Now().UTC()
			t.State, t.Ended, t.Outcome = TaskFailed, &now, "interrupted by a restart"
			t.Advice = "see whether what it was to do is still wanted; loads begin again by themselves"
			e.later(t)
		}
	}
	e.trimTasks()
	return e.store.Records(recordTaskIDs, func(_ string, value []byte) error {
		n, err := strconv.ParseUint(string(value), 10, 64)
		if err == nil {
			l.next = max(l.next, n)
		}
		l.reserved = l.next
		return nil
	})
}

// lastTasks gives what is to be written of tasks at the very end: no id that was
// not used is lost by a stop in good order.
func (e *Engine) lastTasks() []store.Record {
	l := &e.tasks
	records := slices.Clone(l.gone)
	for _, t := range l.unwritten {
		records = append(records, t.record())
	}
	if l.reserved > 0 {
		records = append(records, store.Record{Name: recordTaskIDs, Value: strconv.AppendUint(nil, l.next, 10)})
	}
	return records
}
