package engine

import (
	"context"
	"time"
)

// Availability tells how often a source was there over a period (R53). Time in which Shaft
// did not run, or did not look at the source, is unknown: neither up nor down.
type Availability struct {
	Source  string    `json:"source"` // a claim, or a list
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Up      float64   `json:"up"`      // of the time that is known, 0 to 1; 1 where none is
	Known   float64   `json:"known"`   // of the period, 0 to 1
	Outages int       `json:"outages"` // but for blips
	Blips   int       `json:"blips"`   // times down for less than BlipLimit
	// DownSeconds is in all, blips included; LongestSeconds is the longest time down at a stretch.
	DownSeconds    float64       `json:"down_seconds"`
	LongestSeconds float64       `json:"longest_seconds"`
	Points         []SourcePoint `json:"points"`
}

// SourcePoint is a point at which a source changed, oldest first.
type SourcePoint struct {
	At     time.Time `json:"at"`
	State  string    `json:"state"` // up, down, unknown
	Reason string    `json:"reason,omitempty"`
}

// Availability reckons how often a source (a subscription, or a claim) was there
// from one time to another.
func (e *Engine) Availability(ctx context.Context, source string, from, to time.Time) (*Availability, error) {
	return nil, errNotBuilt
}
