package agentx

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// system is Shaft as a whole.
type system struct {
	*engine.Watched
	version                string
	started                time.Time
	followers              int
	raised, unacknowledged int
	lost                   *atomic.Uint64
}

type upstreamRow struct {
	*engine.WatchedSource
	contact time.Time
}

type nameRow struct {
	*engine.WatchedName
	contact, change time.Time
	past            *past
}

type queueRow struct {
	*engine.Link
	key     key
	contact time.Time
}

// alarmRow is one kind of alarm about one name or list.
type alarmRow struct {
	key   key
	kind  alarm.Kind
	label string
	list  bool
	alarm *alarm.Alarm // nil: it is not raised
}

// of gives the name's alarm of a kind, nil if there is none.
func (r *nameRow) of(k alarm.Kind) *alarm.Alarm { return ofKind(r.Raised, k) }

func ofKind(list []engine.Alarm, k alarm.Kind) *alarm.Alarm {
	for i := range list {
		if list[i].Kind == k {
			return &list[i]
		}
	}
	return nil
}

// worst is the highest severity of what is not acknowledged.
func (r *nameRow) worst() int {
	worst := 1
	for _, a := range r.Raised {
		if !a.Acknowledged {
			worst = max(worst, severities[a.Severity])
		}
	}
	return worst
}

// viewOf makes a view of what is watched; sys has what the engine does not know, pasts
// how often sources were there.
func viewOf(w *engine.Watched, sys system, pasts map[string]*past) *view {
	v := &view{at: w.At, alarms: map[string]notice{}}
	sys.Watched = w
	names, queued := nameRows(w, pasts)
	upstreams := make([]upstreamRow, len(w.Sources))
	for i := range w.Sources {
		upstreams[i] = upstreamRow{&w.Sources[i], moment(w.Sources[i].LastContact)}
	}
	alarms := alarmRows(w)
	for i := range alarms {
		r := &alarms[i]
		if r.alarm == nil {
			continue
		}
		sys.raised++
		sys.unacknowledged += number(!r.alarm.Acknowledged)
		v.alarms[r.alarm.ID] = notice{*r, w.At}
	}
	byName := func(r *nameRow) key { return key{r.Number} }
	v.tables = []table{
		scalars(1, systemColumns, &sys),
		tableOf(2, upstreamColumns, 1, upstreams, func(r *upstreamRow) key { return key{r.Number} }),
		tableOf(3, nameColumns, 1, names, byName),
		tableOf(4, queueColumns, 2, queued, func(r *queueRow) key { return r.key }),
		tableOf(5, clashColumns, 1, names, byName),
		tableOf(6, downColumns, 1, names, byName),
		tableOf(7, noLKGColumns, 1, names, byName),
		tableOf(8, alarmColumns, 2, alarms, func(r *alarmRow) key { return r.key }),
	}
	return v
}

func nameRows(w *engine.Watched, pasts map[string]*past) (names []nameRow, queued []queueRow) {
	names = make([]nameRow, len(w.Names))
	for i := range w.Names {
		n := &w.Names[i]
		names[i] = nameRow{n, moment(n.Head.LastContact), moment(n.Head.LastChange), nothingKnown}
		if p := pasts[n.Head.Claim]; p != nil {
			names[i].past = p
		}
		for j := range n.Queue {
			queued = append(queued, queueRow{&n.Queue[j], key{n.Number, uint32(j + 1)}, moment(n.Queue[j].LastContact)})
		}
	}
	return names, queued
}

func alarmRows(w *engine.Watched) (rows []alarmRow) {
	rows = make([]alarmRow, 0, len(nameKinds)*len(w.Names))
	add := func(id engine.Numbered, list bool, kinds []alarm.Kind, raised []engine.Alarm) {
		for _, k := range kinds {
			rows = append(rows, alarmRow{key{id.Number, kindNumbers[k]}, k, id.Label, list, ofKind(raised, k)})
		}
	}
	for i := range w.Names {
		add(w.Names[i].Numbered, false, nameKinds, w.Names[i].Raised)
	}
	for i := range w.Sources {
		if s := &w.Sources[i]; s.List {
			add(s.Numbered, true, listKinds, s.Raised)
		}
	}
	slices.SortFunc(rows, func(a, b alarmRow) int {
		return cmp.Or(cmp.Compare(a.key[0], b.key[0]), cmp.Compare(a.key[1], b.key[1]))
	})
	return rows
}

// moment reads a time as lists show it; zero where there is none.
func moment(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
