package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/upstream"
)

// entered is all that operators entered, as JSON.
func (w *world) entered() string {
	w.t.Helper()
	d, err := w.e.Export(w.t.Context())
	must(w.t, err)
	text, err := json.Marshal(d)
	must(w.t, err)
	return string(text)
}

func (w *world) apply(d Document, prune bool) *Applied {
	w.t.Helper()
	out, err := w.e.Apply(w.t.Context(), d, prune, false)
	must(w.t, err)
	return out
}

// nowhere is a source that nobody serves.
func nowhere(i int) upstream.Source {
	return upstream.Source{Protocol: "ldap", Host: "127.0.0.1", Port: 1, Base: fmt.Sprintf("o=%d", i)}
}

// many is a document of n trees whose servers are away.
func many(n int) (d Document) {
	for i := range n {
		d.Subscriptions = append(d.Subscriptions, Subscription{ID: fmt.Sprint("s", i), Name: fmt.Sprintf("cn=%d", i), Source: nowhere(i)})
	}
	return d
}

// R54, R56: of 1,000 subscriptions three are wrong: they are named, and nothing
// happens; once they are right all are there.
func TestApplyAllOrNone(t *testing.T) {
	w := newWorld(t)
	w.e.o.Upstream.MinBackoff, w.e.o.Upstream.MaxBackoff = time.Hour, time.Hour
	w.add("there", "cn=1", nowhere(0))
	before := w.entered()
	w.awaitState("cn=1", "down")
	await(t, "that it is recorded", func() bool { return strings.Contains(w.stored(recordQueue)["claim/there"], "reason") })
	stored := w.stored("")
	d := many(1000)
	d.Subscriptions[17].Source.Filter = "(("
	d.Subscriptions[500].Name = "cn=x,o=elsewhere,c=xx"
	d.Subscriptions[999].ID = "s3"
	for _, dry := range []bool{true, false} {
		_, err := w.e.Apply(t.Context(), d, false, dry)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 3 {
			t.Fatalf("%v", err)
		}
		if faults[0].Subscription != "s3" || faults[0].Field != "id" || faults[1].Subscription != "s17" || faults[1].Field != "source.filter" ||
			faults[2].Subscription != "s500" || faults[2].Field != "name" {
			t.Errorf("%+v", faults)
		}
		for _, want := range []string{`subscription "s3": id: `, `subscription "s17": source.filter: `, `subscription "s500": name: `} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %q", want, err)
			}
		}
	}
	if now := w.stored(""); w.entered() != before || !maps.Equal(now, stored) {
		t.Errorf("something changed: %s", w.entered())
	}
	if got := w.tasks()[0]; got.State != TaskRefused || len(got.Steps) != 3 || got.What != "apply" {
		t.Errorf("%+v", got)
	}
	d = many(1000)
	dry, err := w.e.Apply(t.Context(), d, false, true)
	must(t, err)
	if len(dry.Added) != 1000 || len(dry.Warnings) != 1 || !strings.Contains(dry.Warnings[0], "already claimed by there") || !dry.DryRun || dry.Task != 0 {
		t.Errorf("%d would be added, with %q", len(dry.Added), dry.Warnings)
	}
	if w.entered() != before {
		t.Error("a dry run changed something")
	}
	begun := time.Now()
	out := w.apply(d, false)
	took := time.Since(begun)
	t.Logf("1,000 subscriptions in %v", took)
	if !slices.Equal(out.Added, dry.Added) || took > 20*time.Second {
		t.Errorf("%d were added in %v", len(out.Added), took)
	}
	w.checkStored()
	if n := w.name("cn=1"); n.Head.Claim != "there" || len(n.Queue) != 1 || n.Queue[0].Claim != "s1" {
		t.Errorf("the queue of a name that clashes is %+v", n)
	}
	if got := w.task("apply"); got.ID != out.Task || got.State != TaskDone || !strings.HasPrefix(got.Outcome, "1000 added, 0 changed") {
		t.Errorf("%+v", got)
	}
	if left := len(w.stored(recordPlan)) + len(w.stored(recordPlanBegun)); left != 0 {
		t.Errorf("%d records of the plan are left", left)
	}
	w.restart()
	if again := w.apply(d, false); len(again.Unchanged) != 1000 || len(again.Added) != 0 || again.Task != 0 {
		t.Errorf("applied again: %d unchanged, task %d", len(again.Unchanged), again.Task)
	}
}

// R54: what export gives makes the same subscriptions and queues elsewhere.
func TestExportAndApply(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.add("b", "cn=Here", nowhere(1))
	w.add("z", "cn=There", nowhere(2))
	w.add("a", "cn=HERE", nowhere(3))
	d, err := w.e.Export(t.Context())
	must(t, err)
	for i, want := range []string{"b", "z", "a"} {
		if got := d.Subscriptions[i].ID; got != want {
			t.Errorf("number %d is %s, not %s", i, got, want)
		}
	}
	other.apply(*d, true)
	if a, b := w.entered(), other.entered(); a != b {
		t.Errorf("exported %s, after the apply %s", a, b)
	}
	if n := other.name(name); n.Head.Claim != "b" || n.Queue[0].Claim != "a" || n.DN != "cn=Here,"+baseDN {
		t.Errorf("%+v", n)
	}
	other.restart()
}

// R16, R54: without prune nothing goes; with it what the document lacks goes, and
// what is in it otherwise is changed, live.
func TestApplyChanges(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("goes", "cn=Here", w.source(s, suffix))
	w.add("stays", "cn=There", w.source(s, suffix))
	w.awaitLive("cn=There")
	w.awaitLive(name)
	d := Document{Subscriptions: []Subscription{
		{ID: "stays", Name: "cn=There", Source: w.source(s, suffix), NoDNRewrite: true},
		{ID: "new", Name: "cn=Here", Source: w.source(s, suffix)},
	}}
	dry, err := w.e.Apply(t.Context(), d, false, true)
	must(t, err)
	if len(dry.Warnings) != 1 || len(dry.Removed) != 0 || !slices.Equal(dry.Changed, []string{"stays"}) || !slices.Equal(dry.Added, []string{"new"}) {
		t.Errorf("%+v", dry)
	}
	out := w.apply(d, true)
	if !slices.Equal(out.Removed, []string{"goes"}) || len(out.Warnings) != 0 || !slices.Equal(out.Changed, []string{"stays"}) {
		t.Errorf("%+v", out)
	}
	w.awaitLive(name)
	if n := w.name(name); n.Head.Claim != "new" {
		t.Errorf("%+v", n)
	}
	sub, err := w.e.Subscription(t.Context(), "stays")
	must(t, err)
	if !sub.NoDNRewrite {
		t.Error("the change is not there")
	}
	w.check()
	w.checkStored()
	w.awaitLive("cn=There")
	w.restart()
}

// R56: a document is bounded, and may be empty.
func TestApplyBounds(t *testing.T) {
	w := newWorld(t)
	var faults Faults
	if _, err := w.e.Apply(t.Context(), Document{Subscriptions: make([]Subscription, maxDocument+1)}, false, false); !errors.As(err, &faults) || len(faults) != 1 {
		t.Errorf("%.200v", err)
	}
	if _, err := w.e.Apply(t.Context(), Document{Subscriptions: make([]Subscription, maxFaults+10)}, false, true); !errors.As(err, &faults) || len(faults) != maxFaults {
		t.Errorf("%d faults", len(faults))
	}
	w.add("s", "cn=Here", nowhere(1))
	if out := w.apply(Document{}, false); len(out.Removed) != 0 {
		t.Errorf("%+v", out)
	}
	if out := w.apply(Document{}, true); !slices.Equal(out.Removed, []string{"s"}) {
		t.Errorf("%+v", out)
	}
	if w.entered() != `{"subscriptions":[]}` {
		t.Error(w.entered())
	}
}

// R54, R56: killed at any moment, an apply is done as a whole or not at all, and its
// task says so.
func TestApplyCrashes(t *testing.T) {
	w := newWorld(t)
	w.e.o.Upstream.MinBackoff, w.e.o.Upstream.MaxBackoff = time.Hour, time.Hour
	for i := range 5 {
		w.add(fmt.Sprint("old", i), fmt.Sprintf("cn=old%d", i), nowhere(i))
	}
	before := w.entered()
	d := many(planGroup + 20)
	changed := Subscription{ID: "old0", Name: "cn=moved", Source: nowhere(99)}
	d.Subscriptions = append([]Subscription{changed}, d.Subscriptions...)
	copies, stop := w.crashing(9)
	out := w.apply(d, true)
	stop()
	after := w.entered()
	if len(out.Removed) != 4 || len(out.Changed) != 1 {
		t.Errorf("%+v", out)
	}
	none, all := 0, 0
	for i, dir := range copies.dirs {
		c := &world{t: t, dir: dir, schema: w.schema}
		c.open()
		switch now := c.entered(); now {
		case before:
			none++
			if all > 0 {
				t.Errorf("copy %d has nothing of it, an earlier one all", i)
			}
		case after:
			all++
			task := c.task("apply")
			if task.ID != out.Task || task.State != TaskDone || !strings.Contains(task.Outcome, "120 added") {
				t.Errorf("copy %d: the task is %+v", i, task)
			}
		default:
			t.Errorf("copy %d has a part: %.300s", i, now)
		}
		if left := len(c.stored(recordPlan)) + len(c.stored(recordPlanBegun)); left != 0 {
			t.Errorf("copy %d: %d records of the plan are left", i, left)
		}
		c.checkStored()
		c.close()
	}
	if none < 1 || all < 3 {
		t.Errorf("of %d copies %d are before it and %d after", len(copies.dirs), none, all)
	}
}
