package engine

import (
	"context"
	"time"

	"shaft/pkg/alarm"
)

// Alarm is one that is raised (R48).
type Alarm = alarm.Alarm

// AlarmChanged is the outcome of an acknowledgement, or of taking one back.
type AlarmChanged struct {
	Alarm  Alarm  `json:"alarm"` // as it stands after that
	Task   uint64 `json:"task,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Alarms lists what is raised, gravest first.
func (e *Engine) Alarms(ctx context.Context) ([]Alarm, error) { return nil, errNotBuilt }

// AckAlarm acknowledges an alarm's present cause (R50), with a note ("" for none) and until
// a time (zero: until the cause changes or goes). Refused where there is no such
// alarm, or the time is past.
func (e *Engine) AckAlarm(ctx context.Context, id, note string, until time.Time, dryRun bool) (*AlarmChanged, error) {
	return nil, errNotBuilt
}

// UnackAlarm takes an acknowledgement back. Refused where there is none.
func (e *Engine) UnackAlarm(ctx context.Context, id string, dryRun bool) (*AlarmChanged, error) {
	return nil, errNotBuilt
}
