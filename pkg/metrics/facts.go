package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// family is one metric by its labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// families are all that facts tells.
var families []family

func add(kind prometheus.ValueType, name, help string, labels []string) family {
	f := family{prometheus.NewDesc("shaft_"+name, help, labels, nil), kind}
	families = append(families, f)
	return f
}

func gauge(name, help string, labels ...string) family {
	return add(prometheus.GaugeValue, name, help, labels)
}

func counter(name, help string, labels ...string) family {
	return add(prometheus.CounterValue, name, help, labels)
}

// Of the whole.
var (
	figuresTime   = gauge("figures_timestamp_seconds", "When the writer told what is shown here of names, sources and alarms. It stands still while the writer does not answer.")
	baseInfo      = gauge("base_info", "The base DN; always 1.", "base_dn")
	subscriptions = gauge("subscriptions", "Subscriptions, by kind: tree, list.", "kind")
	entries       = gauge("entries", "Entries that are served.")
	values        = gauge("values_bytes", "What the values of entries take, by place: memory, or the disk where memory holds no more of them.", "place")
	valuesLimit   = gauge("values_memory_limit_bytes", "How much of values is kept in memory.")
	changeTime    = gauge("last_change_timestamp_seconds", "When the newest change of what is served was made: the context CSN's time.")
	schemaClashes = gauge("schema_clashes", "Definitions of servers that contradict what is known; 100 stands for more, too.")
	names         = gauge("names", "Names, by the state of their heads.", "state")
)

// Of each name.
var (
	nameGood    = gauge("name_last_known_good", "Whether the name's head has content (1), or the name waits for its first (0).", "name")
	nameEntries = gauge("name_entries", "Entries that the name shows.", "name")
	nameWaiting = gauge("name_waiting_claims", "Claims that wait behind the name's head.", "name")
)

// Of each source: a claim's, or a list's own search.
var (
	sourceInfo    = gauge("source_info", "What a source is followed for, by its role: head, waiting, list; always 1. A list has no name.", "source", "subscription", "name", "role", "url")
	sourceUp      = gauge("source_up", "Whether the source answers, and can be followed.", "source")
	sourceState   = gauge("source_state", "The state that the source is in; always 1, and of this state alone.", "source", "state")
	sourceAge     = gauge("source_contact_age_seconds", "Seconds since the source was last heard of, by Shaft's clock. Absent: never.", "source")
	sourceChange  = gauge("source_last_change_timestamp_seconds", "When the newest change of the source's content arrived. Absent: there is none, or it is a list.", "source")
	sourceEntries = gauge("source_entries", "Entries of the source's that are shown, or stored; entries that a list finds.", "source")
)

// Of alarms.
var (
	alarms       = gauge("alarms", "Alarms that are raised, by kind.", "kind", "severity")
	alarmInfo    = gauge("alarm_info", "An alarm that is raised; always 1. Its cause stays as it was told first until the serial is another.", "alarm", "kind", "severity", "name", "subscription", "serial", "fingerprint", "cause")
	alarmSince   = gauge("alarm_since_timestamp_seconds", "When what the alarm tells of began.", "alarm")
	alarmAcknown = gauge("alarm_acknowledged", "Whether an operator has acknowledged the alarm's present cause.", "alarm")
)

// Of the store.
var (
	storeFailed  = gauge("store_failed", "Whether a write failed, so that nothing more is written and what is served stands still.")
	storeDamage  = gauge("store_damage", "How many things the start found damaged in the store; the status has them in words.")
	storeSize    = gauge("store_size_bytes", "What the store takes on disk.")
	storeFree    = gauge("store_filesystem_free_bytes", "What is free on the store's file system.")
	storeSystem  = gauge("store_filesystem_size_bytes", "How large the store's file system is.")
	storeReserve = gauge("store_reserve_bytes", "What is kept free on the store's file system: with less, content is refused.")
	storeFull    = gauge("store_full", "Whether content is refused since the file system is nearly full.")
	storeChanges = gauge("store_change_log_entries", "Changes that the store remembers for followers that come back.")
)

// facts is gathered when it is asked for, with the lock of Metrics held.
type facts struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (facts) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c facts) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	c.m.look()
	if f := c.m.known.figures; f != nil {
		out.figures(f)
		now := c.m.o.Now()
		for i := range f.Sources {
			out.source(&f.Sources[i], now)
		}
		out.alarms(f.Alarms)
	}
	if u := c.m.known.usage; u != nil {
		out.tell(storeSize, float64(u.Size))
		out.tell(storeFree, float64(u.Free))
		out.tell(storeSystem, float64(u.Total))
		out.tell(storeReserve, float64(u.Reserve))
		out.truth(storeFull, u.Full)
		out.tell(storeChanges, float64(u.Changes))
	}
	if c.m.watched.LDAP != nil {
		if f := c.m.watched.LDAP(); f != nil {
			out.ldap(f)
		}
	}
}

// sink is where metrics go.
type sink chan<- prometheus.Metric

// tell sends a value; labels that are no UTF-8 are made so.
func (s sink) tell(f family, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = utf8Text(l)
	}
	s <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...)
}

func utf8Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (s sink) truth(f family, v bool, labels ...string) {
	n := 0.0
	if v {
		n = 1
	}
	s.tell(f, n, labels...)
}

// time sends a time that is not zero.
func (s sink) time(f family, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.tell(f, float64(t.UnixMilli())/1000, labels...)
	}
}

func (s sink) figures(f *engine.Figures) {
	s.time(figuresTime, f.At)
	s.tell(baseInfo, 1, f.BaseDN)
	s.tell(subscriptions, float64(f.Trees), engine.KindTree)
	s.tell(subscriptions, float64(f.Lists), engine.KindList)
	s.tell(entries, float64(f.Entries))
	s.tell(values, float64(f.Values.Inside), "memory")
	s.tell(values, float64(f.Values.Outside), "disk")
	s.tell(valuesLimit, float64(f.Values.Bound))
	s.time(changeTime, f.LastChange)
	s.tell(schemaClashes, float64(f.SchemaClashes))
	s.truth(storeFailed, f.Failed)
	s.tell(storeDamage, float64(f.Damage))
	counts := map[string]int{}
	for i := range f.Names {
		n := &f.Names[i]
		counts[n.State]++
		s.truth(nameGood, n.LastKnownGood, n.DN)
		s.tell(nameEntries, float64(n.Entries), n.DN)
		s.tell(nameWaiting, float64(n.Waiting), n.DN)
	}
	for _, state := range engine.States {
		s.tell(names, float64(counts[string(state)]), string(state))
	}
}

func (s sink) source(f *engine.SourceFigures, now time.Time) {
	s.tell(sourceInfo, 1, f.ID, f.Subscription, f.Name, f.Role, f.URL)
	s.truth(sourceUp, f.Online, f.ID)
	s.tell(sourceState, 1, f.ID, f.State)
	if !f.LastContact.IsZero() {
		s.tell(sourceAge, max(0, now.Sub(f.LastContact).Seconds()), f.ID)
	}
	s.time(sourceChange, f.LastChange, f.ID)
	s.tell(sourceEntries, float64(f.Entries), f.ID)
}

// maxCause bounds a cause in a label, in bytes.
const maxCause = 1024

func (s sink) alarms(list []engine.Alarm) {
	counts := map[alarm.Kind]int{}
	for i := range list {
		a := &list[i]
		counts[a.Kind]++
		_, cause, _ := strings.Cut(a.Text, ": ")
		s.tell(alarmInfo, 1, a.ID, string(a.Kind), string(a.Severity), a.Name, a.Subscription, fmt.Sprint(a.Serial), a.Fingerprint, clip(cause))
		s.time(alarmSince, a.Since, a.ID)
		s.truth(alarmAcknown, a.Acknowledged, a.ID)
	}
	for _, k := range alarm.Kinds() {
		s.tell(alarms, float64(counts[k]), string(k), string(k.Severity()))
	}
}

func clip(cause string) string {
	if len(cause) <= maxCause {
		return cause
	}
	return strings.ToValidUTF8(cause[:maxCause], "") + "…"
}

// maxPeers bounds the followers' places that are told apart; the rest are one.
const maxPeers = 100

// lags is the longest lag of each place that followers come from.
func lags(list []followerLag) map[string]time.Duration {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b followerLag) int { return cmp.Compare(a.connection, b.connection) })
	out := map[string]time.Duration{}
	for _, f := range list {
		peer := f.peer
		if _, known := out[peer]; !known && len(out) >= maxPeers {
			peer = "other"
		}
		out[peer] = max(out[peer], f.lag)
	}
	return out
}
