package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

func (w *world) tasks() []Task {
	w.t.Helper()
	list, err := w.e.Tasks(w.t.Context())
	must(w.t, err)
	return list
}

// task is the newest of a kind, empty where there is none.
func (w *world) task(what string) Task {
	w.t.Helper()
	list := w.tasks()
	if i := slices.IndexFunc(list, func(t Task) bool { return t.What == what }); i >= 0 {
		return list[i]
	}
	return Task{}
}

// R47: whatever changes something leaves a record of who, what, why and the outcome,
// which a restart does not lose.
func TestTasksOfCommands(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	ctx := WithActor(t.Context(), Actor{Who: "anna", Why: "wanted"})
	sub := Subscription{ID: "s", Name: "cn=Here", Source: w.source(s, suffix)}
	_, err := w.e.AddSubscription(ctx, sub, true)
	must(t, err)
	if list := w.tasks(); len(list) != 0 {
		t.Errorf("a dry run left %+v", list)
	}
	added, err := w.e.AddSubscription(ctx, sub, false)
	must(t, err)
	if _, err := w.e.AddSubscription(ctx, sub, false); err == nil {
		t.Error("added twice")
	}
	w.awaitLive(name)
	removed, err := w.e.RemoveSubscription(ctx, "s", false)
	must(t, err)
	if _, err := w.e.RemoveSubscription(ctx, "s", false); err == nil {
		t.Error("removed twice")
	}
	want := []struct {
		what, who, state, outcome string
		steps                     bool
	}{
		{"subscription remove", "anna", TaskRefused, "there is no subscription", false},
		{"subscription remove", "anna", TaskDone, "its claim is gone", false},
		{"subscription add", "anna", TaskRefused, "exists already", false},
		{"first load", "shaft", TaskDone, "complete", true},
		{"subscription add", "anna", TaskDone, "as soon as it is here", true},
	}
	for range 2 {
		list := w.tasks()
		if len(list) != len(want) {
			t.Fatalf("tasks are %+v", list)
		}
		byWhat := map[string][]Task{}
		for _, task := range list {
			byWhat[task.What] = append(byWhat[task.What], task)
		}
		for _, wanted := range want {
			got := byWhat[wanted.what][0]
			byWhat[wanted.what] = byWhat[wanted.what][1:]
			if got.Who != wanted.who || got.State != wanted.state || !strings.Contains(got.Outcome, wanted.outcome) || got.Ended == nil ||
				got.Target != "s" || got.Began.IsZero() || (len(got.Steps) > 0) != wanted.steps || (got.Why == "wanted") != (got.Who == "anna") {
				t.Errorf("%+v, wanted %+v", got, wanted)
			}
			if (got.Advice != "") != (got.State == TaskRefused) {
				t.Errorf("%s, %s: the advice is %q", got.What, got.State, got.Advice)
			}
		}
		for _, id := range []uint64{added.Task, removed.Task} {
			one, err := w.e.Task(t.Context(), id)
			must(t, err)
			if one.ID != id || one.State != TaskDone || id == 0 {
				t.Errorf("task %d is %+v", id, one)
			}
		}
		w.restart()
	}
	if _, err := w.e.Task(t.Context(), 4711); err == nil {
		t.Error("a task that never was is found")
	}
	last := w.tasks()[0].ID
	if again := w.add("s", "cn=Here", w.source(s, suffix)); again.Task <= last {
		t.Errorf("id %d after %d", again.Task, last)
	}
}

// R47: a command's record costs no commit of its own.
func TestTaskRidesWithItsCommand(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("first", "cn=There", w.source(s, suffix)) // reserves ids
	w.awaitLive("cn=There")
	seq := func() (n int) {
		must(t, w.store.Journal(0, func(uint64, []byte) error { n++; return nil }))
		return n
	}
	before := seq()
	must(t, s.Add("dn: cn=new,"+suffix+"\nobjectClass: organizationalRole\ncn: new\n\n"))
	id := w.add("s", "cn=Here", w.source(s, suffix)).Task
	var stored string
	must(t, w.store.Records(taskRecord(id), func(_ string, v []byte) error { stored = string(v); return nil }))
	if !strings.Contains(stored, `"state":"done"`) || seq() <= before {
		t.Errorf("the record says %s", stored)
	}
	w.awaitLive(name)
	must(t, w.e.do(t.Context(), func() {
		for _, task := range w.e.tasks.all {
			if !task.stored {
				t.Errorf("not stored with its commit: %+v", task.Task)
			}
		}
	}))
}

// R47: what ran when the daemon was killed is said to have failed, and its id is not given
// away again.
func TestTaskInterrupted(t *testing.T) {
	w := newWorld(t)
	var id uint64
	must(t, w.e.do(t.Context(), func() {
		task := w.e.newTask(Actor{Who: "anna"}, "name resync", "cn=x")
		id = task.ID
		must(t, w.e.commit(&store.Batch{Records: []store.Record{task.record()}}))
	}))
	w.restart()
	got, err := w.e.Task(t.Context(), id)
	must(t, err)
	if got.State != TaskFailed || !strings.Contains(got.Outcome, "interrupted by a restart") || got.Advice == "" || got.Ended == nil {
		t.Errorf("%+v", got)
	}
	w.restart()
	if again, err := w.e.Task(t.Context(), id); err != nil || !again.Ended.Equal(*got.Ended) {
		t.Errorf("after another restart %+v, %v", again, err)
	}
	must(t, w.e.do(t.Context(), func() {
		if next := w.e.newTask(Actor{}, "x", "y").ID; next <= id {
			t.Errorf("id %d after %d", next, id)
		}
	}))
}

// R47: the record is bounded; running tasks and the commands of operators stay
// longer than what Shaft did by itself.
func TestTasksAreBounded(t *testing.T) {
	w := newWorld(t)
	e := w.e
	make := func(who string, n int, state string) (first uint64) {
		must(t, e.do(t.Context(), func() {
			for i := range n {
				task := e.newTask(Actor{Who: who}, "x", fmt.Sprint(i))
				if i == 0 {
					first = task.ID
				}
				for range maxTaskSteps + 10 {
					task.step(time.Now(), "step", true, strings.Repeat("x", 2*maxTaskText))
				}
				if len(task.Steps) > maxTaskSteps || len(task.Steps[0].Detail) > 2*maxTaskText {
					t.Errorf("%d steps", len(task.Steps))
				}
				task.Steps = nil
				if state != TaskRunning {
					var b store.Batch
					e.end(&b, task, state, "")
					must(t, e.commit(&b))
				}
			}
		}))
		return first
	}
	running := make("anna", 1, TaskRunning)
	commands := make("anna", 300, TaskDone)
	make(ownActor, maxOwnTasks+50, TaskDone)
	list := w.tasks()
	if len(list) != 301+maxOwnTasks || list[len(list)-1].ID != running || list[len(list)-2].ID != commands {
		t.Errorf("%d tasks, the oldest are %+v", len(list), list[len(list)-2:])
	}
	make("anna", maxTasks, TaskDone)
	if list = w.tasks(); len(list) != maxTasks || list[len(list)-1].ID != running {
		t.Errorf("%d tasks, the oldest is %+v", len(list), list[len(list)-1])
	}
	must(t, e.do(t.Context(), func() {
		if n := len(e.tasks.gone); n > 64 {
			t.Errorf("%d removals wait", n)
		}
	}))
	w.restart()
	if n := len(w.stored(recordTask)); n >= maxTasks+10 {
		t.Errorf("%d tasks are stored", n)
	}
}

// R47: changes of a list that follow each other are one task, with counts.
func TestListChangesAreGathered(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	say := func(m membership) {
		must(t, w.e.do(t.Context(), func() {
			w.e.o.Now = func() time.Time { return now }
			var b store.Batch
			w.e.members(&b, "dpkg", m)
			must(t, w.e.commit(&b))
		}))
	}
	say(membership{})
	for range 100 {
		say(membership{Appeared: 3, Went: 1})
		now = now.Add(gather / 2)
	}
	say(membership{Moved: 1, Failed: 2})
	list := w.tasks()
	if len(list) != 1 || list[0].Outcome != "names: 300 appeared, 100 went, 1 moved, 2 could not be made" {
		t.Fatalf("%+v", list)
	}
	now = now.Add(gather + 1)
	say(membership{Went: 1})
	if list = w.tasks(); len(list) != 2 || list[0].State != TaskDone {
		t.Errorf("%+v", list)
	}
	must(t, w.e.do(t.Context(), func() { w.e.o.Now = time.Now }))
}

// cut ends a full load in the middle.
func cut(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
	return true, errors.Join(p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil), errors.New("cut"))
}

// R47: a load whose server goes is tried again as one task, and says so.
func TestLoadTask(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	script(s, cut)
	w.add("s", "cn=Here", w.source(s, suffix))
	await(t, "a failed try", func() bool {
		got := w.task("first load")
		return len(got.Steps) > 0 && !got.Steps[0].OK
	})
	if got := w.task("first load"); got.State != TaskRunning || got.Target != "s" || got.Who != ownActor {
		t.Errorf("%+v", got)
	}
	s.SetScript(nil)
	w.awaitLive(name)
	got := w.task("first load")
	if got.State != TaskDone || got.Ended == nil || len(w.tasks()) != 2 {
		t.Errorf("%+v", w.tasks())
	}
	before := got
	must(t, w.e.do(t.Context(), func() {
		cl := w.e.claims["s"]
		cl.cookie = nil
		w.e.unfollow(cl)
		w.e.follow(cl)
	}))
	await(t, "the second load of one claim", func() bool {
		got := w.task("first load")
		return got.State == TaskDone && len(got.Steps) > len(before.Steps)
	})
	if got := w.task("first load"); got.Outcome != before.Outcome {
		t.Errorf("one claim that was loaded twice: %q", got.Outcome)
	}
	script(s, cut)
	must(t, w.e.do(t.Context(), func() {
		cl := w.e.claims["s"]
		cl.cookie = nil
		w.e.unfollow(cl)
		w.e.follow(cl)
	}))
	await(t, "another load", func() bool { return len(w.tasks()) == 3 || w.task("first load").State == TaskRunning })
	if _, err := w.e.RemoveSubscription(context.Background(), "s", false); err != nil {
		t.Fatal(err)
	}
	for _, task := range w.tasks() {
		if task.State == TaskRunning {
			t.Errorf("after the removal %+v", task)
		}
	}
}
