package engine

import (
	"fmt"
	"time"

	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// What Shaft does by itself and is worth knowing is a task too: a full load of
// content, and changes of a list's membership. They are gathered, so that a
// list with hundreds of found entries is one task and not hundreds.

// load is the full loads of one subscription's claims that are one task: those that
// are under way at one time, or followed each other within gather.
type load struct {
	task    *task
	pending map[*claim]bool
	failing map[*claim]bool // whose latest session ended before its load was complete
	done    map[*claim]int  // how many of its loads are complete; never 0
	entries int             // of those
}

// gather is how soon after the end of such a task the next thing of its kind
// still belongs to it.
const gather = 10 * time.Second

// loading notes that a session begins that fetches all of a claim's content.
func (e *Engine) loading(cl *claim) {
	l := cl.load
	if l == nil {
		l = e.tasks.loads[cl.sub.ID]
		if l != nil && len(l.pending) == 0 && e.o.Now().Sub(*l.task.Ended) > gather {
			l = nil
		}
	}
	if l == nil {
		what := "full load"
		if cl.gen == 0 {
			what = "first load"
		}
		l = newLoad(e.newTask(Actor{Who: ownActor}, what, cl.sub.ID))
		e.tasks.loads[cl.sub.ID] = l
	}
	l.join(cl)
	if l.failing[cl] {
		delete(l.failing, cl)
		l.task.step(e.o.Now(), "load", true, fmt.Sprintf("%s: begun again", cl.id))
	}
}

// newLoad makes a task one of loading. A command's own is joined by no other load.
func newLoad(t *task) *load {
	t.load = &load{task: t, pending: map[*claim]bool{}, failing: map[*claim]bool{}, done: map[*claim]int{}}
	return t.load
}

func (l *load) join(cl *claim) {
	l.task.State, l.task.Ended = TaskRunning, nil
	l.pending[cl], cl.load = true, l
}

// loaded prepares the end of a claim's load: where it is the last of its task, the
// record is added to b. revert takes that back where b's commit failed.
func (e *Engine) loaded(b *store.Batch, cl *claim) (revert func()) {
	l := cl.load
	if l == nil {
		return func() {}
	}
	was := l.task.Task
	entries := cl.current().Entries
	delete(l.pending, cl)
	cl.load = nil
	l.done[cl]++
	l.entries += entries
	l.task.Entries = l.entries
	l.task.step(e.o.Now(), "load", true, fmt.Sprintf("%s: complete", cl.id))
	if len(l.pending) == 0 {
		e.endLoad(b, l)
	}
	return func() {
		l.task.Task = was
		l.join(cl)
		if l.done[cl]--; l.done[cl] == 0 {
			delete(l.done, cl)
		}
		l.entries -= entries
	}
}

// endLoad ends a load of which nothing is pending.
func (e *Engine) endLoad(b *store.Batch, l *load) {
	state, outcome := TaskDone, "the content is complete"
	switch {
	case len(l.done) == 0:
		state, outcome = TaskFailed, "given up: the claim went, or is not followed any more"
	case len(l.done) > 1:
		outcome = fmt.Sprintf("the content of %d claims is complete", len(l.done))
	}
	e.end(b, l.task, state, outcome)
	if took := l.task.Ended.Sub(l.task.Began).Seconds(); took > 0 && l.task.Entries > 0 {
		l.task.Rate = float64(l.task.Entries) / took
	}
}

// loadFailed notes that a session ended before its load was complete; the link
// tries again, and the task goes on.
func (e *Engine) loadFailed(cl *claim, reason string) {
	l := cl.load
	if l == nil || l.failing[cl] {
		return
	}
	l.failing[cl] = true
	l.task.step(e.o.Now(), "load", false, fmt.Sprintf("%s: %s; it is tried again", cl.id, reason))
}

// notLoading takes a claim out of its load: it went, or only waits now.
func (e *Engine) notLoading(cl *claim) {
	l := cl.load
	if l == nil {
		return
	}
	delete(l.pending, cl)
	cl.load = nil
	if len(l.pending) == 0 {
		e.endLoad(&store.Batch{}, l)
		e.later(l.task)
	}
}

// progress fills in how far a running task's loads are.
func (l *load) progress(e *Engine, t *Task) {
	t.Entries = l.entries
	for cl := range l.pending {
		if s := cl.current(); s.State == upstream.Refreshing {
			n, rate := e.pace(s)
			t.Entries += n
			t.Rate += rate
		}
	}
}

// pace is how many entries a refresh has taken so far, and how many a second.
func (e *Engine) pace(s upstream.Status) (entries int, rate float64) {
	if took := e.o.Now().Sub(s.Since).Seconds(); took > 0 {
		rate = float64(s.Entries) / took
	}
	return s.Entries, rate
}

// burst is the latest task of changes of a list's membership.
type burst struct {
	task   *task
	counts membership
}

// membership counts what changes of a list's found entries came to, in names.
type membership struct{ Appeared, Went, Moved, Failed int }

// members notes changes of a list's membership in the batch that makes them: one
// task for all that follow each other within gather.
func (e *Engine) members(b *store.Batch, list string, m membership) {
	if m == (membership{}) {
		return
	}
	old := e.tasks.bursts[list]
	if old == nil || e.o.Now().Sub(*old.task.Ended) > gather {
		old = &burst{task: e.newTask(Actor{Who: ownActor}, "list change", list)}
		e.tasks.bursts[list] = old
	}
	c := &old.counts
	c.Appeared, c.Went, c.Moved, c.Failed = c.Appeared+m.Appeared, c.Went+m.Went, c.Moved+m.Moved, c.Failed+m.Failed
	e.end(b, old.task, TaskDone, fmt.Sprintf("names: %d appeared, %d went, %d moved, %d could not be made",
		c.Appeared, c.Went, c.Moved, c.Failed))
}

// dropLoads forgets what a subscription that goes had under way.
func (e *Engine) dropLoads(id string) {
	delete(e.tasks.loads, id)
	delete(e.tasks.bursts, id)
}
