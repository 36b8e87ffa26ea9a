package agentx

import (
	"strings"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/upstream"
)

// column is a column of SHAFT-MIB, or a scalar, by its number and name there.
type column[R any] struct {
	number uint32
	name   string
	cell   func(r *R, now time.Time) cell
}

// tableOf makes a table of rows. The prefix is without the 1 of a table's entry.
func tableOf[R any](number uint32, columns []column[R], width int, rows []R, k func(*R) key) table {
	t := table{
		prefix: []uint32{number, 1}, width: width, rows: len(rows), key: func(row int) key { return k(&rows[row]) },
		cell: func(now time.Time, column, row int) cell { return columns[column].cell(&rows[row], now) },
	}
	for _, c := range columns {
		t.columns = append(t.columns, c.number)
	}
	return t
}

// scalars are columns of a table with one row, 0.
func scalars(number uint32, columns []column[system], s *system) table {
	t := tableOf(number, columns, 1, []system{*s}, func(*system) key { return key{} })
	t.prefix = t.prefix[:1]
	return t
}

var systemColumns = []column[system]{
	{1, "shaftVersion", func(s *system, _ time.Time) cell { return text(s.version) }},
	{2, "shaftBaseDN", func(s *system, _ time.Time) cell { return text(s.BaseDN) }},
	{3, "shaftUpTime", func(s *system, now time.Time) cell { return ticks(now.Sub(s.started)) }},
	{4, "shaftReady", func(s *system, _ time.Time) cell { return truth(s.Ready) }},
	{5, "shaftNames", func(s *system, _ time.Time) cell { return gauge(s.Status.Names) }},
	{6, "shaftEntries", func(s *system, _ time.Time) cell { return gauge(s.Entries) }},
	{7, "shaftUpstreams", func(s *system, _ time.Time) cell { return gauge(s.Subscriptions) }},
	{8, "shaftFollowers", func(s *system, _ time.Time) cell { return gauge(s.followers) }},
	{9, "shaftContextCSN", func(s *system, _ time.Time) cell { return text(s.ContextCSN) }},
	{10, "shaftFailure", func(s *system, _ time.Time) cell { return text(s.Failure) }},
	{11, "shaftAlarmsRaised", func(s *system, _ time.Time) cell { return gauge(s.raised) }},
	{12, "shaftAlarmsUnacknowledged", func(s *system, _ time.Time) cell { return gauge(s.unacknowledged) }},
	{13, "shaftAlarmsLatestSerial", func(s *system, _ time.Time) cell { return gauge(s.AlarmSerial) }},
	{14, "shaftViewAge", func(s *system, now time.Time) cell { return age(now, s.At) }},
	{15, "shaftNotificationsLost", func(s *system, _ time.Time) cell { return counter(s.lost.Load()) }},
	{16, "shaftStoreFull", func(s *system, _ time.Time) cell { return truth(s.StoreFull != "") }},
	{17, "shaftStoreFullText", func(s *system, _ time.Time) cell { return text(s.StoreFull) }},
	{18, "shaftDamage", func(s *system, _ time.Time) cell { return text(strings.Join(s.Damage, "; ")) }},
}

var upstreamColumns = []column[upstreamRow]{
	{2, "shaftUpstreamLabel", func(r *upstreamRow, _ time.Time) cell { return text(r.Label) }},
	{3, "shaftUpstreamID", func(r *upstreamRow, _ time.Time) cell { return text(r.Subscription) }},
	{4, "shaftUpstreamKind", func(r *upstreamRow, _ time.Time) cell { return enum(1 + number(r.List)) }},
	{5, "shaftUpstreamURL", func(r *upstreamRow, _ time.Time) cell { return text(r.URL) }},
	{6, "shaftUpstreamState", func(r *upstreamRow, _ time.Time) cell { return state(r.State) }},
	{7, "shaftUpstreamOnline", func(r *upstreamRow, _ time.Time) cell { return truth(r.Online) }},
	{8, "shaftUpstreamReason", func(r *upstreamRow, _ time.Time) cell { return text(r.Reason) }},
	{9, "shaftUpstreamLastContact", func(r *upstreamRow, _ time.Time) cell { return date(r.contact) }},
	{10, "shaftUpstreamContactAge", func(r *upstreamRow, now time.Time) cell { return age(now, r.contact) }},
	{11, "shaftUpstreamClaims", func(r *upstreamRow, _ time.Time) cell { return gauge(r.Claims) }},
	{12, "shaftUpstreamEntries", func(r *upstreamRow, _ time.Time) cell { return gauge(r.Entries) }},
}

var nameColumns = []column[nameRow]{
	{2, "shaftNameLabel", func(r *nameRow, _ time.Time) cell { return text(r.Label) }},
	{3, "shaftNameDN", func(r *nameRow, _ time.Time) cell { return text(r.DN) }},
	{4, "shaftNameState", func(r *nameRow, _ time.Time) cell { return state(r.Head.State) }},
	{5, "shaftNameOnline", func(r *nameRow, _ time.Time) cell { return truth(r.Head.Online) }},
	{6, "shaftNameLastKnownGood", func(r *nameRow, _ time.Time) cell { return truth(r.LastKnownGood) }},
	{7, "shaftNameClaim", func(r *nameRow, _ time.Time) cell { return text(r.Head.Claim) }},
	{8, "shaftNameSubscription", func(r *nameRow, _ time.Time) cell { return text(r.Head.Subscription) }},
	{9, "shaftNameURL", func(r *nameRow, _ time.Time) cell { return text(r.Head.URL) }},
	{10, "shaftNameReason", func(r *nameRow, _ time.Time) cell { return text(r.Head.Reason) }},
	{11, "shaftNameLastContact", func(r *nameRow, _ time.Time) cell { return date(r.contact) }},
	{12, "shaftNameContactAge", func(r *nameRow, now time.Time) cell { return age(now, r.contact) }},
	{13, "shaftNameLastChange", func(r *nameRow, _ time.Time) cell { return date(r.change) }},
	{14, "shaftNameEntries", func(r *nameRow, _ time.Time) cell { return gauge(r.Entries) }},
	{15, "shaftNameQueued", func(r *nameRow, _ time.Time) cell { return gauge(len(r.Queue)) }},
	{16, "shaftNameLingering", func(r *nameRow, _ time.Time) cell { return truth(r.Lingering != nil) }},
	{17, "shaftNameAlarms", func(r *nameRow, _ time.Time) cell { return gauge(len(r.Raised)) }},
	{18, "shaftNameSeverity", func(r *nameRow, _ time.Time) cell { return enum(r.worst()) }},
}

var queueColumns = []column[queueRow]{
	{2, "shaftQueueClaim", func(r *queueRow, _ time.Time) cell { return text(r.Claim) }},
	{3, "shaftQueueSubscription", func(r *queueRow, _ time.Time) cell { return text(r.Subscription) }},
	{4, "shaftQueueURL", func(r *queueRow, _ time.Time) cell { return text(r.URL) }},
	{5, "shaftQueueState", func(r *queueRow, _ time.Time) cell { return state(r.State) }},
	{6, "shaftQueueOnline", func(r *queueRow, _ time.Time) cell { return truth(r.Online) }},
	{7, "shaftQueueReason", func(r *queueRow, _ time.Time) cell { return text(r.Reason) }},
	{8, "shaftQueueLastContact", func(r *queueRow, _ time.Time) cell { return date(r.contact) }},
	{9, "shaftQueueKeepWarm", func(r *queueRow, _ time.Time) cell { return truth(r.KeepWarm) }},
	{10, "shaftQueueEntries", func(r *queueRow, _ time.Time) cell { return gauge(r.Entries) }},
}

// condition has the columns that tell of one alarm, nil while it is not raised.
func condition[R any](first uint32, prefix string, of func(*R) *alarm.Alarm) []column[R] {
	facts := func(r *R) *alarm.Alarm {
		if a := of(r); a != nil {
			return a
		}
		return &alarm.Alarm{}
	}
	return []column[R]{
		{first, prefix + "State", func(r *R, _ time.Time) cell { return enum(conditionOf(of(r))) }},
		{first + 1, prefix + "Serial", func(r *R, _ time.Time) cell { return gauge(facts(r).Serial) }},
		{first + 2, prefix + "Text", func(r *R, _ time.Time) cell { return text(facts(r).Text) }},
		{first + 3, prefix + "Fingerprint", func(r *R, _ time.Time) cell { return text(facts(r).Fingerprint) }},
		{first + 4, prefix + "Generation", func(r *R, _ time.Time) cell { return gauge(facts(r).Generation) }},
		{first + 5, prefix + "Since", func(r *R, _ time.Time) cell { return date(facts(r).Since) }},
	}
}

var clashColumns = append(condition(1, "shaftClash", func(r *nameRow) *alarm.Alarm { return r.of(alarm.Clash) }),
	column[nameRow]{7, "shaftClashQueued", func(r *nameRow, _ time.Time) cell { return gauge(len(r.Queue)) }},
)

var downColumns = append(condition(1, "shaftDown", func(r *nameRow) *alarm.Alarm { return r.of(alarm.Down) }),
	column[nameRow]{7, "shaftDownSeconds", func(r *nameRow, now time.Time) cell {
		if a := r.of(alarm.Down); a != nil {
			return age(now, a.Since)
		}
		return gauge(0)
	}},
	column[nameRow]{8, "shaftDownOutages", func(r *nameRow, _ time.Time) cell { return gauge(r.past.Outages) }},
	column[nameRow]{9, "shaftDownBlips", func(r *nameRow, _ time.Time) cell { return gauge(r.past.Blips) }},
	column[nameRow]{10, "shaftDownAway", func(r *nameRow, _ time.Time) cell { return gauge(int64(r.past.DownSeconds)) }},
	column[nameRow]{11, "shaftDownUp", func(r *nameRow, _ time.Time) cell { return gauge(int64(r.past.Up * 10000)) }},
	column[nameRow]{12, "shaftDownKnown", func(r *nameRow, _ time.Time) cell { return gauge(int64(r.past.Known * 10000)) }},
	column[nameRow]{13, "shaftDownLastDown", func(r *nameRow, _ time.Time) cell { return date(r.past.lastDown) }},
	column[nameRow]{14, "shaftDownLastUp", func(r *nameRow, _ time.Time) cell { return date(r.past.lastUp) }},
)

var noLKGColumns = condition(1, "shaftNoLkg", func(r *nameRow) *alarm.Alarm { return r.of(alarm.NoLKG) })

var alarmColumns = append([]column[alarmRow]{
	{3, "shaftAlarmLabel", func(r *alarmRow, _ time.Time) cell { return text(r.label) }},
	{4, "shaftAlarmSubjectKind", func(r *alarmRow, _ time.Time) cell { return enum(1 + number(r.list)) }},
	{5, "shaftAlarmSeverity", func(r *alarmRow, _ time.Time) cell { return enum(severities[r.kind.Severity()]) }},
}, condition(6, "shaftAlarm", func(r *alarmRow) *alarm.Alarm { return r.alarm })...)

// conditionOf gives the value of ShaftCondition: fine, raised or acknowledged.
func conditionOf(a *alarm.Alarm) int {
	if a == nil {
		return 1
	}
	return 2 + number(a.Acknowledged)
}

// severities are the values of ShaftSeverity, none being 1.
var severities = map[alarm.Severity]int{alarm.Warning: 2, alarm.Average: 3, alarm.High: 4, alarm.Disaster: 5}

// states are the values of ShaftSourceState.
var states = map[upstream.State]int{
	upstream.Connecting: 1, upstream.Refreshing: 2, upstream.Live: 3, upstream.Polling: 4, upstream.Held: 5, upstream.Down: 6, upstream.Unsupported: 7,
}

// state is a source's; one of which nothing is known yet is being connected to.
func state(s string) cell { return enum(max(1, states[upstream.State(s)])) }

// kindNumbers are the values of ShaftKind. Notifications of a kind are 2n-1 and, of its end, 2n.
var kindNumbers = map[alarm.Kind]uint32{
	alarm.NoLKG: 1, alarm.HeldRefresh: 2, alarm.Down: 3, alarm.NotSyncRepl: 4, alarm.Clash: 5, alarm.Overlap: 6, alarm.NameError: 7,
}

// Kinds that can be wrong with a name, and with a list, by number.
var (
	nameKinds = []alarm.Kind{alarm.NoLKG, alarm.HeldRefresh, alarm.Down, alarm.NotSyncRepl, alarm.Clash, alarm.Overlap}
	listKinds = []alarm.Kind{alarm.HeldRefresh, alarm.Down, alarm.NotSyncRepl, alarm.NameError}
)

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
