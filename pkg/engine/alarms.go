package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"shaft/pkg/alarm"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// Alarm is one that is raised (R48).
type Alarm = alarm.Alarm

// AlarmChanged is the outcome of an acknowledgement, or of taking one back.
type AlarmChanged struct {
	Alarm  Alarm  `json:"alarm"` // as it stands after that
	Task   uint64 `json:"task,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
}

const (
	recordAlarm = "alarm/" // and its id
	recordAck   = "ack/"   // and the alarm's id
	// recordSerial is the serial that was given to an alarm last: a count, see countOf.
	recordSerial = "alarmserial"
)

// alarmLog is what is known of alarms; the engine goroutine's, but for view.
type alarmLog struct {
	state    *alarm.State
	names    map[string]*nameAlarms // those with any, by normal form
	lists    map[string]*listAlarms
	computed []alarm.Candidate
	dirty    bool            // what they are computed from may have changed
	touched  map[string]bool // names that did, by normal form
	renamed  bool            // names came, went or are spelt otherwise: any may have changed
	members  map[string]bool // lists whose found entries changed
	wake     time.Time       // when something changes by itself; zero: nothing does
	ran      time.Time       // when they were looked at last
	took     time.Duration   // and how long that took
	timer    *time.Timer
	view     atomic.Pointer[[]Alarm]
}

// nameAlarms is what was computed of a name, and from what. Names and claims are
// replaced where they change, so that the same pointers are the same facts.
type nameAlarms struct {
	name         *queue.Name
	head         *queue.Claim
	standing     standing
	outer, inner []string
	out          []alarm.Candidate
}

// standing is how it stands with what a name shows.
type standing struct{ good, lingers, emptied bool }

// listAlarms is the same of a list.
type listAlarms struct {
	list     *queue.List
	problems []alarm.Problem
	out      []alarm.Candidate
}

// touchAlarms notes that a record of the queues changed, by its name.
func (e *Engine) touchAlarms(record string) {
	l := &e.alarms
	l.dirty = true
	switch kind, id, _ := strings.Cut(record, "/"); kind {
	case "name":
		l.renamed = true
	case "linger":
		l.touched[id] = true
	case "claim":
		if c := e.state.Claims[queue.ClaimID(id)]; c != nil {
			l.touched[c.Norm] = true
		}
	case "member":
		list, _, _ := strings.Cut(id, "/")
		l.members[list] = true
	}
}

// forget has everything computed anew.
func (l *alarmLog) forget() {
	l.names, l.lists = map[string]*nameAlarms{}, map[string]*listAlarms{}
	l.touched, l.members = map[string]bool{}, map[string]bool{}
	l.dirty, l.renamed = true, true
}

// computeAlarms brings the candidates up to what is. Only names and lists of which something
// changed are looked at, unless names came or went.
func (e *Engine) computeAlarms() {
	l := &e.alarms
	if l.renamed {
		outer, inner := e.nesting()
		for norm := range l.names {
			if e.state.Names[norm] == nil {
				delete(l.names, norm)
			}
		}
		maps.DeleteFunc(e.emptied, func(norm string, _ bool) bool { return e.state.Names[norm] == nil })
		for norm, n := range e.state.Names {
			e.computeName(n, outer[norm], inner[norm])
		}
	} else {
		for norm := range l.touched {
			if n := e.state.Names[norm]; n != nil {
				var outer, inner []string
				if known := l.names[norm]; known != nil {
					outer, inner = known.outer, known.inner
				}
				e.computeName(n, outer, inner)
			}
		}
	}
	for id := range l.lists {
		if e.state.Lists[id] == nil {
			delete(l.lists, id)
		}
	}
	l.computed = l.computed[:0]
	for _, known := range l.names {
		l.computed = append(l.computed, known.out...)
	}
	for _, ql := range e.state.Lists {
		l.computed = append(l.computed, e.computeList(ql)...)
	}
	clear(l.touched)
	clear(l.members)
	l.dirty, l.renamed = false, false
}

func (e *Engine) computeName(n *queue.Name, outer, inner []string) {
	l := &e.alarms
	head, cl := e.state.Claims[n.Head()], e.claims[n.Head()]
	good := standing{cl != nil && cl.gen > 0, e.state.Lingers[n.Norm] != nil, e.emptied[n.Norm]}
	if good.good && head.Online && !head.Held.Is() && len(n.Claims) == 1 && outer == nil && inner == nil {
		delete(l.names, n.Norm) // nothing can be wrong
		return
	}
	if known := l.names[n.Norm]; known != nil && known.name == n && known.head == head && known.standing == good &&
		slices.Equal(known.outer, outer) && slices.Equal(known.inner, inner) {
		return
	}
	facts := alarm.Name{
		Norm: n.Norm, DN: n.Text, Subscription: head.Subscription, Head: linkFacts(head.Online, head.Reason),
		Held: heldFacts(head.Held), Good: good.good, Lingers: good.lingers, Emptied: good.emptied, Outer: outer, Inner: inner,
	}
	for _, id := range n.Claims {
		facts.Claims = append(facts.Claims, string(id))
	}
	l.names[n.Norm] = &nameAlarms{name: n, head: head, standing: good, outer: outer, inner: inner, out: facts.Candidates(e.o.AlarmDelays)}
}

func (e *Engine) computeList(ql *queue.List) []alarm.Candidate {
	l := &e.alarms
	known := l.lists[ql.ID]
	if known != nil && known.list == ql && !l.members[ql.ID] {
		return known.out
	}
	if known == nil {
		known = &listAlarms{}
		l.lists[ql.ID] = known
	}
	if known.list == nil || l.members[ql.ID] {
		known.problems = nil
		for _, m := range e.state.Members[ql.ID] {
			if len(m.Problems) > 0 {
				known.problems = append(known.problems, alarm.Problem{DN: m.DN, Why: strings.Join(m.Problems, "; ")})
			}
		}
		slices.SortFunc(known.problems, func(a, b alarm.Problem) int { return compareFound(a.DN, a.Why, b.DN, b.Why) })
	}
	facts := alarm.List{ID: ql.ID, Link: linkFacts(ql.Online, ql.Reason), Held: heldFacts(ql.Held), Problems: known.problems}
	known.list, known.out = ql, facts.Candidates(e.o.AlarmDelays)
	return known.out
}

// heldFacts is what waits for an operator's word: what is rejected has it.
func heldFacts(h queue.Hold) alarm.Held {
	if h.Rejected {
		return alarm.Held{}
	}
	return alarm.Held{Print: h.Print, Cause: h.Cause}
}

func linkFacts(online bool, reason string) alarm.Link {
	return alarm.Link{Online: online, Unsupported: strings.Contains(reason, notSync), Reason: reason}
}

// nesting gives, by name, what the names are called that it lies inside, and those inside it, sorted.
func (e *Engine) nesting() (outer, inner map[string][]string) {
	outer, inner = map[string][]string{}, map[string][]string{}
	for norm, n := range e.state.Names {
		for o := range e.namesAbove(norm) {
			outer[norm] = append(outer[norm], o.Text)
			inner[o.Norm] = append(inner[o.Norm], n.Text)
		}
	}
	for _, lists := range []map[string][]string{outer, inner} {
		for _, list := range lists {
			slices.Sort(list)
		}
	}
	return outer, inner
}

// lookAtAlarms brings alarms up to what is, if something may have changed, and
// writes down what did.
func (e *Engine) lookAtAlarms() {
	l := &e.alarms
	now := e.o.Now()
	if !l.dirty && (l.wake.IsZero() || now.Before(l.wake)) {
		return
	}
	l.ran = time.Now()
	if l.dirty {
		e.computeAlarms()
	}
	ch, wake := l.state.Next(l.computed, now)
	if l.wake = wake; ch.Any() {
		e.logAlarms(&ch)
		e.storeAlarms(&ch)
		l.show()
	}
	l.took = time.Since(l.ran)
}

func (l *alarmLog) show() {
	view := l.state.View()
	l.view.Store(&view)
}

// maxAlarmLines bounds how many lines of one kind the log gets at once: a server
// that goes can be the head of thousands of names.
const maxAlarmLines = 100

func (e *Engine) logAlarms(ch *alarm.Changes) {
	log := func(alarms []*Alarm, line func(a *Alarm), rest string) {
		for i, a := range alarms {
			if i == maxAlarmLines {
				e.log.Warn(rest, "more", len(alarms)-i)
				return
			}
			line(a)
		}
	}
	log(ch.Raised, func(a *Alarm) {
		e.log.Warn("alarm raised", "alarm", a.ID, "severity", a.Severity, "name", a.Name, "subscription", a.Subscription, "cause", a.Cause)
	}, "further alarms raised")
	log(ch.Changed, func(a *Alarm) {
		e.log.Warn("alarm has another cause", "alarm", a.ID, "severity", a.Severity, "name", a.Name, "subscription", a.Subscription, "cause", a.Cause)
	}, "further alarms have other causes")
	log(ch.Cleared, func(a *Alarm) {
		e.log.Info("alarm cleared", "alarm", a.ID, "name", a.Name, "subscription", a.Subscription, "since", a.Since)
	}, "further alarms cleared")
}

// storeAlarms writes what changed. What is not written is computed again at the next start.
func (e *Engine) storeAlarms(ch *alarm.Changes) {
	if e.failed != nil {
		return
	}
	var records []store.Record
	if len(ch.Raised)+len(ch.Changed) > 0 { // ahead of those that bear it: none is ever given twice
		records = append(records, e.countOf(recordSerial, e.alarms.state.Serial))
	}
	for _, a := range slices.Concat(ch.Raised, ch.Changed, ch.Reworded) {
		records = append(records, jsonRecord(recordAlarm+a.ID, a))
	}
	for _, a := range ch.Cleared {
		records = append(records, store.Record{Name: recordAlarm + a.ID})
	}
	for _, id := range ch.Acks {
		records = append(records, store.Record{Name: recordAck + id})
	}
	if err := e.writeRecords(records); err != nil {
		e.log.Error("alarms not stored", "error", err)
	}
}

// jsonRecord encodes what always can be: texts, numbers, times.
func jsonRecord(name string, v any) store.Record {
	value, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("engine: encode %s: %v", name, err))
	}
	return store.Record{Name: name, Value: value}
}

// loadAlarms reads those of earlier runs.
func (e *Engine) loadAlarms() error {
	l := &e.alarms
	l.state = alarm.NewState()
	l.forget()
	l.timer = time.NewTimer(0)
	var bad []store.Record
	each := func(prefix string, take func(value []byte) error) error {
		return e.store.Records(prefix, func(name string, value []byte) error {
			if err := take(value); err != nil {
				e.log.Error("a stored record of an alarm is malformed; it is left out", "record", name, "error", err)
				bad = append(bad, store.Record{Name: strings.Clone(name)})
			}
			return nil
		})
	}
	err := each(recordAlarm, func(value []byte) error {
		var a Alarm
		err := json.Unmarshal(value, &a)
		if err == nil {
			l.state.Alarms[a.ID] = &a
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(recordAck, func(value []byte) error {
		var a alarm.Ack
		err := json.Unmarshal(value, &a)
		if err == nil {
			l.state.Acks[a.ID] = &a
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := e.loadSerial(); err != nil {
		return err
	}
	l.show()
	return e.writeLater(bad)
}

// loadSerial reads the serial that was given last. It is no less than any that is borne.
func (e *Engine) loadSerial() error {
	s := e.alarms.state
	for _, a := range s.Alarms {
		s.Serial = max(s.Serial, a.Serial)
	}
	var instance string
	err := e.store.Records(recordSerial, func(_ string, value []byte) error {
		n, err := parseCount(value)
		if err != nil {
			e.log.Error("the stored serial of alarms is malformed; the highest that is borne counts", "error", err)
		}
		s.Serial, instance = max(s.Serial, n.last), n.instance
		return nil
	})
	s.Serial += e.lead(instance)
	return err
}

const (
	// alarmPause is how long changes are gathered at least before alarms are looked at.
	alarmPause = 100 * time.Millisecond
	// alarmShare bounds the part of the writer's time that this takes: a twentieth.
	alarmShare = 20
)

// tendAlarms looks at the alarms where it is time to, and sets the timer for the next.
func (e *Engine) tendAlarms() {
	l := &e.alarms
	wait := max(alarmPause, alarmShare*l.took) - time.Since(l.ran)
	if l.dirty && wait <= 0 || !l.wake.IsZero() && !e.o.Now().Before(l.wake) {
		e.lookAtAlarms()
		wait = max(alarmPause, alarmShare*l.took)
	}
	switch {
	case l.dirty:
		l.timer.Reset(wait)
	case !l.wake.IsZero():
		l.timer.Reset(max(alarmPause, l.wake.Sub(e.o.Now())))
	}
}

// AlarmView is what Alarms gives, as it was looked at last; for anyone at any time. It is
// not to be changed.
func (e *Engine) AlarmView() []Alarm { return *e.alarms.view.Load() }

// Alarms lists what is raised, gravest first.
func (e *Engine) Alarms(ctx context.Context) (out []Alarm, err error) {
	err = e.do(ctx, func() {
		e.lookAtAlarms()
		out = slices.Clone(e.AlarmView())
	})
	return out, err
}

// alarmsOf lists the kinds of a name's alarms, sorted.
func (e *Engine) alarmsOf(norm string) []string {
	kinds := []string{}
	if known := e.alarms.names[norm]; known != nil {
		for _, c := range known.out {
			if e.alarms.state.Alarms[c.ID] != nil {
				kinds = append(kinds, string(c.Kind))
			}
		}
	}
	slices.Sort(kinds)
	return kinds
}

// maxNote bounds an acknowledgement's note, in bytes.
const maxNote = 1024

// AckAlarm acknowledges an alarm's present cause (R50), with a note ("" for none) and until
// a time (zero: until the cause changes or goes). Refused where there is no such
// alarm, or the time is past.
func (e *Engine) AckAlarm(ctx context.Context, id, note string, until time.Time, dryRun bool) (*AlarmChanged, error) {
	return e.changeAlarm(ctx, "alarm ack", id, dryRun, func(a *Alarm) (*alarm.Ack, string, error) {
		now := e.o.Now().UTC()
		switch {
		case len(note) > maxNote:
			return nil, "", refusal("invalid", "the note has %d bytes; at most %d are kept", len(note), maxNote)
		case !utf8.ValidString(note):
			return nil, "", refusal("invalid", "the note is not UTF-8")
		case !until.IsZero() && !until.After(now):
			return nil, "", refusal("invalid", "the acknowledgement would end at %s, which is past", until.UTC().Format(time.RFC3339))
		case until.Year() > 9999:
			return nil, "", refusal("invalid", "the acknowledgement would end in the year %d; 9999 is the last that can be written", until.Year())
		}
		outcome := "acknowledged until its cause changes or goes: " + a.Cause
		if !until.IsZero() {
			outcome = fmt.Sprintf("acknowledged until %s, or its cause changes: %s", until.UTC().Format(time.RFC3339), a.Cause)
		}
		return &alarm.Ack{ID: id, Fingerprint: a.Fingerprint, Note: note, Until: until.UTC(), Who: ActorOf(ctx).Who, When: now}, outcome, nil
	})
}

// UnackAlarm takes an acknowledgement back. Refused where there is none.
func (e *Engine) UnackAlarm(ctx context.Context, id string, dryRun bool) (*AlarmChanged, error) {
	return e.changeAlarm(ctx, "alarm unack", id, dryRun, func(a *Alarm) (*alarm.Ack, string, error) {
		if !a.Acknowledged {
			return nil, "", refusal("invalid", "the alarm %s is not acknowledged", id)
		}
		return nil, "not acknowledged any more: " + a.Cause, nil
	})
}

// changeAlarm gives a raised alarm the acknowledgement that fn wants, nil for none.
func (e *Engine) changeAlarm(ctx context.Context, what, id string, dryRun bool, fn func(*Alarm) (*alarm.Ack, string, error)) (*AlarmChanged, error) {
	return onWriter(ctx, e, what, id, dryRun, func(t *task) (*AlarmChanged, error) {
		out := &AlarmChanged{DryRun: dryRun}
		return out, e.setAck(id, t, out, fn)
	})
}

func (e *Engine) setAck(id string, t *task, out *AlarmChanged, fn func(*Alarm) (*alarm.Ack, string, error)) error {
	e.lookAtAlarms()
	s := e.alarms.state
	a := s.Alarms[id]
	if a == nil {
		return notFound("alarm", id)
	}
	now := s.Acknowledged(a)
	ack, outcome, err := fn(&now)
	if err != nil {
		return err
	}
	was := s.Acks[id]
	s.SetAck(id, ack)
	out.Alarm = s.Acknowledged(a)
	if out.DryRun {
		s.SetAck(id, was)
		return nil
	}
	record := store.Record{Name: recordAck + id}
	if ack != nil {
		record = jsonRecord(record.Name, ack)
	}
	b := store.Batch{Records: []store.Record{record}}
	e.end(&b, t, TaskDone, outcome)
	if err := e.commit(&b); err != nil {
		s.SetAck(id, was)
		return err
	}
	if ack != nil && !ack.Until.IsZero() && (e.alarms.wake.IsZero() || ack.Until.Before(e.alarms.wake)) {
		e.alarms.wake = ack.Until
	}
	e.alarms.show()
	e.log.Info(what(ack), "alarm", id, "name", a.Name, "subscription", a.Subscription, "cause", a.Cause)
	return nil
}

func what(ack *alarm.Ack) string {
	if ack == nil {
		return "acknowledgement taken back"
	}
	return "alarm acknowledged"
}

func refusal(kind, format string, args ...any) error {
	return &queue.Refusal{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}

// notSync is in the reason of every source that cannot be followed.
var notSync = syncrepl.ErrNotSync.Error()
