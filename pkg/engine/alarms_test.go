package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/alarm"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// alarmed waits until what is raised is what is wanted: kinds with names or subscriptions.
func (w *world) alarmed(want ...string) (alarms []Alarm) {
	w.t.Helper()
	var got []string
	ok := func() bool {
		alarms, got = w.alarms(), nil
		for _, a := range alarms {
			subject, _, _ := strings.Cut(a.Name, ",")
			if subject == "" {
				subject = a.Subscription
			}
			got = append(got, string(a.Kind)+" "+subject)
		}
		return slices.Equal(got, want)
	}
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			w.t.Fatalf("raised %q, wanted %q", got, want)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return alarms
}

func (w *world) alarms() []Alarm {
	w.t.Helper()
	out, err := w.e.Alarms(w.t.Context())
	must(w.t, err)
	return out
}

func (w *world) ack(id, note string, until time.Time) *AlarmChanged {
	w.t.Helper()
	out, err := w.e.AckAlarm(WithActor(w.t.Context(), Actor{Who: "anna", Why: "ticket 7"}), id, note, until, false)
	must(w.t, err)
	return out
}

// R48, R50: a clash is raised at once and acknowledged; that, its since and its generation last over a
// restart; another rival raises it again, and when the rivals go so does it, from the store too.
func TestAlarmOfClash(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.alarmed()
	w.add("two", "cn=Here", w.source(s, suffix))
	clash := w.alarmed("clash cn=Here")[0]
	if clash.Name != name || clash.Subscription != "one" || clash.Severity != alarm.Warning || clash.Cause != "one is shown, 1 claim waits: two" ||
		clash.Acknowledged || clash.Generation != 1 || clash.Serial != 1 || clash.Text != "#1: "+clash.Cause || time.Since(clash.Since) > time.Minute {
		t.Errorf("%+v", clash)
	}
	out := w.ack(clash.ID, "we know", time.Time{})
	if !out.Alarm.Acknowledged || out.Alarm.Note != "we know" || out.Alarm.AcknowledgedBy != "anna" || out.Task == 0 || out.Alarm.Until != nil {
		t.Errorf("%+v", out)
	}
	task, err := w.e.Task(t.Context(), out.Task)
	must(t, err)
	if task.What != "alarm ack" || task.Who != "anna" || task.Why != "ticket 7" || task.State != TaskDone || !strings.Contains(task.Outcome, "1 claim waits: two") {
		t.Errorf("%+v", task)
	}
	w.restart()
	if a := w.alarmed("clash cn=Here")[0]; !a.Acknowledged || a.Note != "we know" || !a.Since.Equal(clash.Since) || a.ID != clash.ID || a.Generation != 1 || a.Serial != 1 {
		t.Errorf("after a restart %+v, before it %+v", a, clash)
	}
	w.add("three", "cn=Here", w.source(s, suffix))
	await(t, "it has another cause", func() bool { return w.alarms()[0].Generation == 2 })
	w.restart()
	if a := w.alarms()[0]; a.Acknowledged || a.Generation != 2 || a.Serial != 2 || !a.Since.Equal(clash.Since) || a.Fingerprint == clash.Fingerprint {
		t.Errorf("%+v", a)
	}
	if n := w.name(name); !slices.Equal(n.Alarms, []string{"clash"}) {
		t.Errorf("%+v", n)
	}
	status, err := w.e.Status(t.Context())
	must(t, err)
	if status.Alarms["clash"] != 1 || len(status.Alarms) != 1 {
		t.Errorf("%+v", status.Alarms)
	}
	for _, id := range []string{"two", "three"} {
		_, err := w.e.RemoveSubscription(t.Context(), id, false)
		must(t, err)
	}
	w.alarmed()
	w.restart()
	w.alarmed()
	if left := w.recordNames(recordAlarm, recordAck); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
	w.add("two", "cn=Here", w.source(s, suffix))
	if a := w.alarmed("clash cn=Here")[0]; a.Serial <= 2 { // R51: none is given twice, over a restart without an alarm too
		t.Errorf("%+v", a)
	}
}

func (w *world) recordNames(prefixes ...string) (names []string) {
	for _, prefix := range prefixes {
		must(w.t, w.store.Records(prefix, func(name string, _ []byte) error {
			names = append(names, strings.Clone(name))
			return nil
		}))
	}
	return names
}

// R50: what cannot be acknowledged is refused with nothing changed, and a dry run changes nothing.
func TestAckRefused(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.add("two", "cn=Here", w.source(s, suffix))
	id := w.alarmed("clash cn=Here")[0].ID
	for want, do := range map[string]func() error{
		`not-found: there is no alarm "clash-0"`: func() error {
			_, err := w.e.AckAlarm(t.Context(), "clash-0", "", time.Time{}, false)
			return err
		},
		`not-found: there is no alarm ""`:                   func() error { _, err := w.e.UnackAlarm(t.Context(), "", false); return err },
		"invalid: the alarm " + id + " is not acknowledged": func() error { _, err := w.e.UnackAlarm(t.Context(), id, false); return err },
		"invalid: the acknowledgement would end at 2001-02-03T04:05:06Z, which is past": func() error {
			_, err := w.e.AckAlarm(t.Context(), id, "", time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), false)
			return err
		},
		"invalid: the acknowledgement would end in the year 10000; 9999 is the last that can be written": func() error {
			_, err := w.e.AckAlarm(t.Context(), id, "", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), false)
			return err
		},
		"invalid: the note has 1025 bytes; at most 1024 are kept": func() error {
			_, err := w.e.AckAlarm(t.Context(), id, strings.Repeat("x", 1025), time.Time{}, false)
			return err
		},
		"invalid: the note is not UTF-8": func() error { _, err := w.e.AckAlarm(t.Context(), id, "\xff", time.Time{}, false); return err },
	} {
		var r *queue.Refusal
		if err := do(); !errors.As(err, &r) || r.Kind+": "+r.Reason != want {
			t.Errorf("%v, wanted %s", err, want)
		}
	}
	dry, err := w.e.AckAlarm(t.Context(), id, "x", time.Time{}, true)
	must(t, err)
	if !dry.DryRun || !dry.Alarm.Acknowledged || dry.Task != 0 || w.alarms()[0].Acknowledged {
		t.Errorf("%+v", dry)
	}
	w.ack(id, "x", time.Time{})
	dry, err = w.e.UnackAlarm(t.Context(), id, true)
	must(t, err)
	if dry.Alarm.Acknowledged || !w.alarms()[0].Acknowledged {
		t.Errorf("%+v", dry)
	}
	out, err := w.e.UnackAlarm(t.Context(), id, false)
	must(t, err)
	if out.Alarm.Acknowledged || out.Task == 0 || w.alarms()[0].Acknowledged || w.e.AlarmView()[0].Acknowledged {
		t.Errorf("%+v", out)
	}
	if left := w.recordNames(recordAck); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
}

// hands is a clock that is set.
type hands struct{ at atomic.Int64 }

func newHands() *hands {
	h := &hands{}
	h.at.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).UnixNano())
	return h
}

func (h *hands) now() time.Time            { return time.Unix(0, h.at.Load()) }
func (h *hands) move(by time.Duration)     { h.at.Add(int64(by)) }
func (h *hands) since(at time.Time) string { return h.now().Sub(at).String() }

// R49, R50: a head that is down is an alarm once that lasts, from when it began, and stays the same one however
// the server says it; one that only waits is none. Its acknowledgement ends at its time.
func TestAlarmOfDown(t *testing.T) {
	one := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	two := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	clock := newHands()
	w := newWorld(t)
	w.close()
	w.now, w.delays = clock.now, alarm.Delays{}
	w.open()
	w.add("one", "cn=Here", w.source(one, suffix))
	w.awaitLive(name)
	w.add("two", "cn=Here", w.source(two, suffix))
	w.alarmed("clash cn=Here")
	two.Down()
	await(t, "the one that waits is seen down", func() bool { return w.name(name).Queue[0].State == "down" })
	clock.move(time.Hour)
	w.alarmed("clash cn=Here")

	one.Down()
	refused := func() bool { return strings.Contains(w.name(name).Head.Reason, "connect to") }
	await(t, "the head is seen down", refused)
	w.alarmed("clash cn=Here")
	clock.move(alarm.DownDelay - 1)
	w.alarmed("clash cn=Here")
	clock.move(1)
	down := w.alarmed("down cn=Here", "clash cn=Here")[0]
	if got := clock.since(down.Since); got != alarm.DownDelay.String() || down.Severity != alarm.Average || !strings.Contains(down.Cause, "one: connect") {
		t.Errorf("since %s: %+v", got, down)
	}
	w.ack(down.ID, "rebuilt", clock.now().Add(time.Hour))
	clock.move(time.Minute)
	w.restart()
	await(t, "it is tried again", refused)
	if a := w.alarmed("down cn=Here", "clash cn=Here")[0]; a.Generation != 1 || !a.Acknowledged || !a.Since.Equal(down.Since) {
		t.Errorf("%+v", a)
	}
	must(t, one.Up())
	w.alarmed("clash cn=Here")
	one.Down()
	await(t, "the head is seen down", refused)
	w.alarms()
	clock.move(alarm.DownDelay)
	if a := w.alarmed("down cn=Here", "clash cn=Here")[0]; !a.Acknowledged || !a.Since.After(down.Since) {
		t.Errorf("within its time: %+v", a)
	}
	clock.move(time.Hour)
	if a := w.alarmed("down cn=Here", "clash cn=Here")[0]; a.Acknowledged {
		t.Errorf("past its time: %+v", a)
	}
	if left := w.recordNames(recordAck); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
}

// R48: a blip raises nothing.
func TestBlipIsNoAlarm(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	clock := newHands()
	w := newWorld(t)
	w.close()
	w.now, w.delays = clock.now, alarm.Delays{}
	w.open()
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	for range 3 {
		s.Down()
		await(t, "it is seen down", func() bool { return w.name(name).Head.State == "down" })
		w.alarmed()
		clock.move(alarm.DownDelay - time.Second)
		must(t, s.Up())
		w.awaitLive(name)
		clock.move(time.Hour)
		w.alarmed()
	}
}

// R48: a server that cannot be followed, over a restart too; what was never loaded is a disaster.
func TestAlarmOfNoSync(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF, NoSync: true})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	before := w.alarmed("no-lkg cn=Here", "not-syncrepl cn=Here")
	if before[0].Severity != alarm.Disaster || !strings.Contains(before[0].Cause, "content synchronization") {
		t.Errorf("%+v", before[0])
	}
	s.SetScript(func(q ldaptest.Search, _ *syncrepl.Provider) (bool, error) { // it is silent, so that nothing but what is stored tells of it
		<-q.Done
		return true, nil
	})
	w.restart()
	if after := w.e.AlarmView(); len(after) != 2 || after[1].ID != before[1].ID || !after[1].Since.Equal(before[1].Since) {
		t.Errorf("%+v, before %+v", after, before)
	}
	s.Down()
	w.alarmed("no-lkg cn=Here", "down cn=Here")
}

// R20, R49: what a list finds and cannot name is one alarm of the list's, and so is its server that is away.
func TestAlarmOfList(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B") + distro("c")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	bad := w.alarmed("name-error l")[0]
	if bad.Name != "" || bad.Subscription != "l" || !strings.HasPrefix(bad.Cause, "1 found entry lacks a name or more: cn=c,o=Lists: ") {
		t.Errorf("%+v", bad)
	}
	w.ack(bad.ID, "c is no distro", time.Time{})
	must(t, s.Add(distro("d")))
	await(t, "another entry fails", func() bool {
		alarms := w.alarms()
		return len(alarms) == 1 && alarms[0].Generation == 2 && !alarms[0].Acknowledged && strings.HasPrefix(alarms[0].Cause, "2 found entries")
	})
	for _, cn := range []string{"c", "d"} {
		must(t, s.Modify("cn="+cn+",o=Lists", "l", strings.ToUpper(cn)))
	}
	await(t, "all four have content", func() bool {
		names := w.names()
		return len(names) == 4 && !slices.ContainsFunc(names, func(n Name) bool { return !n.LastKnownGood })
	})
	w.alarmed()
	s.Down()
	w.alarmed("down l", "down cn=A", "down cn=B", "down cn=C", "down cn=D")
	w.restart()
	must(t, s.Up())
	w.alarmed()
}

func (w *world) names() []Name {
	w.t.Helper()
	names, err := w.e.Names(w.t.Context())
	must(w.t, err)
	return names
}

// R48: names inside names, as Name tells of them, are alarms of all of them; they go with what is inside.
func TestAlarmOfOverlap(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("outer", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.add("inner", "cn=In,cn=Here", w.source(s, suffix))
	both := w.alarmed("overlap cn=Here", "overlap cn=In")
	if !strings.Contains(both[0].Cause, "1 name lies inside it: cn=In,cn=Here") || !strings.Contains(both[1].Cause, "it lies inside cn=Here") {
		t.Errorf("%+v", both)
	}
	w.add("other", "cn=Too,cn=Here", w.source(s, suffix))
	three := w.alarmed("overlap cn=Here", "overlap cn=In", "overlap cn=Too")
	if three[0].Generation != 2 || three[1].Generation != 1 {
		t.Errorf("%+v", three)
	}
	for _, n := range w.names() {
		if !slices.Equal(n.Alarms, []string{"overlap"}) || len(n.Overlaps) == 0 {
			t.Errorf("%+v", n)
		}
	}
	_, err := w.e.RemoveSubscription(t.Context(), "outer", false)
	must(t, err)
	w.alarmed()
}

// Stored records that are damaged are left out, with the alarm raised anew.
func TestAlarmRecordsDamaged(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.add("two", "cn=Here", w.source(s, suffix))
	id := w.alarmed("clash cn=Here")[0].ID
	w.ack(id, "x", time.Time{})
	w.close()
	st, err := store.Open(w.dir, store.Options{})
	must(t, err)
	must(t, st.Commit(&store.Batch{Records: []store.Record{
		{Name: recordAlarm + id, Value: []byte("{")}, {Name: recordAck + id, Value: []byte(`{"until":"never"}`)},
		{Name: recordRuns, Value: []byte("x")}, {Name: recordPoints + "one:00000000", Value: []byte("x")}, {Name: recordPoints + "odd", Value: []byte("[]")},
		{Name: recordPoints + "gone:00000000", Value: []byte("[]")},
	}}))
	must(t, st.Close())
	w.open()
	if a := w.alarmed("clash cn=Here")[0]; a.Acknowledged || a.ID != id {
		t.Errorf("%+v", a)
	}
	if _, err := w.e.Availability(t.Context(), "one", time.Time{}, time.Time{}); err != nil {
		t.Error(err)
	}
	if left := w.recordNames(recordPoints+"odd", recordPoints+"gone", recordAck); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
}

// manyHeads is an engine with so many heads, and nothing else, of which some are down.
func manyHeads(n int, down func(i int) bool) *Engine {
	e := &Engine{o: Options{Now: time.Now, AlarmDelays: alarm.Delays{Down: -1}}, state: queue.NewState(), claims: map[queue.ClaimID]*claim{}}
	e.alarms.state = alarm.NewState()
	e.alarms.forget()
	for i := range n {
		id := queue.ClaimID(fmt.Sprintf("l/%d", i))
		norm := fmt.Sprintf("cn=debian %d,ou=package listers", i)
		c := &queue.Claim{ID: id, Subscription: "l", Name: norm, Norm: norm, Good: true, Online: !down(i)}
		if down(i) {
			c.Reason = "connect to 127.0.0.1:389: connection refused"
		}
		e.state.Claims[id] = c
		e.state.Names[norm] = &queue.Name{Norm: norm, Text: norm, Claims: []queue.ClaimID{id}}
		e.claims[id] = &claim{id: id, gen: 1, name: dit.DN{}}
	}
	return e
}

// What changed is computed, the rest is kept, and all that is down is told of.
func TestAlarmsOfManyNames(t *testing.T) {
	e := manyHeads(1000, func(i int) bool { return i < 10 })
	e.computeAlarms()
	if len(e.alarms.computed) != 10 {
		t.Fatalf("%d alarms", len(e.alarms.computed))
	}
	kept := e.alarms.names["cn=debian 5,ou=package listers"].out
	c := *e.state.Claims["l/7"]
	c.Online = true
	e.state.Claims["l/7"] = &c
	e.touchAlarms("claim/l/7")
	e.computeAlarms()
	if again := e.alarms.names["cn=debian 5,ou=package listers"].out; len(e.alarms.computed) != 9 || &again[0] != &kept[0] {
		t.Errorf("%d alarms", len(e.alarms.computed))
	}
	for i := 10; i < 1000; i++ {
		delete(e.state.Names, fmt.Sprintf("cn=debian %d,ou=package listers", i))
	}
	e.touchAlarms("name/x")
	e.computeAlarms()
	if len(e.alarms.computed) != 9 || len(e.alarms.names) != 9 {
		t.Errorf("%d alarms of %d names", len(e.alarms.computed), len(e.alarms.names))
	}
}

// BenchmarkAlarms is one look at 10,000 names of which one changed, with none or all down.
func BenchmarkAlarms(b *testing.B) {
	for what, down := range map[string]bool{"all up": false, "all down": true} {
		e := manyHeads(10_000, func(int) bool { return down })
		b.Run(what, func(b *testing.B) {
			e.computeAlarms()
			e.alarms.state.Next(e.alarms.computed, time.Now())
			for b.Loop() {
				c := *e.state.Claims["l/7"]
				e.state.Claims["l/7"] = &c
				e.touchAlarms("claim/l/7")
				e.computeAlarms()
				e.alarms.state.Next(e.alarms.computed, time.Now())
			}
		})
	}
}
