// Package alarm says what an operator has to look at, as a function of what is:
// facts about names, their heads and lists come in, alarms come out. It is pure:
// what time it is, is told to it; what it finds is kept by others.
//
//	candidates := alarm.Compute(input)
//	changes := state.Next(candidates, now)
//
// An alarm has a fingerprint of its cause: a change that says nothing new (a port
// number, the order of a queue) leaves it as it is, another cause begins a new
// generation of it. An acknowledgement covers one cause, and ends with it.
//
// Reckon tells from change points and from the times in which somebody looked how
// often a source was there.
package alarm

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// Kind says what is wrong (R48).
type Kind string

// The kinds, in the order in which lists show them.
const (
	NoLKG       Kind = "no-lkg"       // a name whose head has never had content
	HeldRefresh Kind = "held"         // a completed refresh is held, since it would remove too much (R36)
	Down        Kind = "down"         // a head's or a list's server does not answer, or refuses (R49)
	NotSyncRepl Kind = "not-syncrepl" // it answers, but cannot be followed
	Clash       Kind = "clash"        // several claims on one name
	Overlap     Kind = "overlap"      // a name inside another
	NameError   Kind = "name-error"   // a list's found entries that make no name (R20)
)

// Severity says how much it matters.
type Severity string

// The severities, least first.
const (
	Warning  Severity = "warning"
	Average  Severity = "average"
	High     Severity = "high"
	Disaster Severity = "disaster"
)

// kinds are all of them, in their order.
var kinds = map[Kind]struct {
	rank     int
	severity Severity
}{
	NoLKG:       {0, Disaster},
	HeldRefresh: {1, High},
	Down:        {2, Average},
	NotSyncRepl: {3, Average},
	Clash:       {4, Warning},
	Overlap:     {5, Warning},
	NameError:   {6, Warning},
}

// Kinds lists all of them, in their order.
func Kinds() []Kind {
	return slices.SortedFunc(maps.Keys(kinds), func(a, b Kind) int { return kinds[a].rank - kinds[b].rank })
}

// Severity of the alarms of a kind.
func (k Kind) Severity() Severity { return kinds[k].severity }

// Alarm is one that is raised.
type Alarm struct {
	ID           string    `json:"id"` // of kind and subject: the same whenever the same is wrong again
	Kind         Kind      `json:"kind"`
	Severity     Severity  `json:"severity"`
	Name         string    `json:"name"`         // the name's DN; "" where the alarm is a list's
	Subscription string    `json:"subscription"` // of the head, or of the list
	Since        time.Time `json:"since"`        // when what is wrong began; a changed cause does not move it
	Cause        string    `json:"cause"`        // in words
	Fingerprint  string    `json:"fingerprint"`  // of what an acknowledgement covers
	// Generation counts the causes since the alarm was raised, from 1.
	Generation int `json:"generation"`
	// Serial is the cause's number, of one count for all alarms: another at each change of the
	// cause, also where that is what it once was.
	Serial uint32 `json:"serial"`
	// Text is "#", the serial, ": " and the cause as it was told when that was given; it changes
	// with the serial alone, so that a monitor that compares texts notices each change.
	Text           string     `json:"text"`
	Acknowledged   bool       `json:"acknowledged"`
	Note           string     `json:"note"`                      // of the acknowledgement
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"` // who
	AcknowledgedAt *time.Time `json:"acknowledged_at,omitempty"`
	Until          *time.Time `json:"until,omitempty"` // when the acknowledgement ends by itself; nil: with its cause
}

// Ack is an acknowledgement of one alarm's cause (R50). Without Until it goes when the
// alarm does; with it, it covers the same cause until then, should that go and come back.
type Ack struct {
	ID          string    `json:"id"`          // the alarm's
	Fingerprint string    `json:"fingerprint"` // its cause's
	Note        string    `json:"note,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Who         string    `json:"who"`
	When        time.Time `json:"when"`
}

// hash stands for texts: short enough to be typed, and found for no other by chance
// or by a server's will.
func hash(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		h.Write([]byte(t))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// idOf names the alarm of a kind about a name (its normal form) or a list.
func idOf(k Kind, what, subject string) string { return string(k) + "-" + hash(what, subject) }
