package agentx

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posteo/go-agentx/pdu"
	"github.com/posteo/go-agentx/value"
)

// notice is an alarm that was raised, or its end, to be notified.
type notice struct {
	alarmRow           // of the end: without the alarm
	at       time.Time // when it was seen
}

// trapOID is snmpTrapOID.0 (RFC 3416, 4.2.6).
var trapOID = value.OID{1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0}

// notified are the columns of the alarm table that a notification bears, in the MIB's order.
var notified = []string{"shaftAlarmLabel", "shaftAlarmState", "shaftAlarmSeverity", "shaftAlarmSerial", "shaftAlarmText", "shaftAlarmSince"}

// variables are a notification's.
func (n *notice) variables(arc value.OID) pdu.Variables {
	which := 2 * kindNumbers[n.kind]
	if n.alarm != nil {
		which--
	}
	var vars pdu.Variables
	vars.Add(trapOID, pdu.VariableTypeObjectIdentifier, slices.Concat(arc, value.OID{0, which}).String())
	for _, name := range notified {
		i := slices.IndexFunc(alarmColumns, func(c column[alarmRow]) bool { return c.name == name })
		c := alarmColumns[i].cell(&n.alarmRow, n.at)
		vars.Add(slices.Concat(arc, value.OID{1, 8, 1, alarmColumns[i].number, n.key[0], n.key[1]}), c.kind, c.value)
	}
	return vars
}

// differences are what is to be notified between two views: what was raised or has another
// cause, by serial, then what ended. With no view before, it is what nobody has
// acknowledged: those that were notified before the start may not have arrived.
func differences(before, after *view) (out []notice) {
	for id, n := range after.alarms {
		var old notice
		if before != nil {
			old = before.alarms[id]
		} else if n.alarm.Acknowledged {
			continue
		}
		if old.alarm == nil || old.alarm.Serial != n.alarm.Serial {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b notice) int { return cmp.Compare(a.alarm.Serial, b.alarm.Serial) })
	if before == nil {
		return out
	}
	began := len(out)
	for id, n := range before.alarms {
		if _, there := after.alarms[id]; !there {
			n.alarm, n.at = nil, after.at
			out = append(out, n)
		}
	}
	slices.SortFunc(out[began:], func(a, b notice) int { return strings.Compare(a.label, b.label) })
	return out
}

// maxNotices bounds how many notifications wait for the SNMP agent: what a monitor that reads
// tables once a minute anyway can make something of. Of more, the oldest are given up.
const maxNotices = 1024

// outbox keeps notifications until the SNMP agent has taken them.
type outbox struct {
	mu      sync.Mutex
	waiting []notice
	taken   uint64        // how many have left the front
	wake    chan struct{} // has room for one
	lost    atomic.Uint64
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put adds notices, and tells how many were given up for them.
func (o *outbox) put(list []notice) (lost int) {
	if len(list) == 0 {
		return 0
	}
	o.mu.Lock()
	o.waiting = append(o.waiting, list...)
	if lost = len(o.waiting) - maxNotices; lost > 0 {
		o.waiting = slices.Clone(o.waiting[lost:])
		o.taken += uint64(lost)
		o.lost.Add(uint64(lost))
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return max(lost, 0)
}

// first gives the oldest, with a number to take it out by.
func (o *outbox) first() (n notice, number uint64, there bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return n, 0, false
	}
	return o.waiting[0], o.taken, true
}

// done takes the oldest out, and tells so, unless that was given up meanwhile.
func (o *outbox) done(number uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.taken != number {
		return false
	}
	o.waiting = o.waiting[1:]
	o.taken++
	return true
}

// drop gives the oldest up.
func (o *outbox) drop(number uint64) {
	if o.done(number) {
		o.lost.Add(1)
	}
}
