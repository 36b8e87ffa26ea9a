package alarm

import (
	"slices"
	"time"
)

// Point is a change of a source: from then on it is up, or down.
type Point struct {
	At     time.Time `json:"at"`
	Up     bool      `json:"up"`
	Reason string    `json:"reason,omitempty"` // why it went down
	// First: nothing was known of the source before, in the run in which this was seen.
	First bool `json:"first,omitempty"`
}

// Run is a time in which somebody looked.
type Run struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"` // the last that is known of it
}

// Beat is how often a run is extended; what a crash cuts off its end is less than that.
const Beat = time.Minute

// maxSilence is how long a run may go without a beat: longer, and the machine slept.
const maxSilence = 5 * time.Minute

// MaxRuns bounds the runs that are remembered, the latest.
const MaxRuns = 500

// Extend notes that somebody looks now. A run that begins, a clock that went back and
// a machine that slept begin another.
func Extend(runs []Run, begins bool, now time.Time) []Run {
	runs = slices.Clone(runs)
	if n := len(runs); !begins && n > 0 && !now.Before(runs[n-1].End) && now.Sub(runs[n-1].End) <= maxSilence {
		runs[n-1].End = now
		return runs
	}
	runs = append(runs, Run{Start: now, End: now})
	return runs[max(0, len(runs)-MaxRuns):]
}

// BlipLimit is how long a source may be away and that is no outage, but a blip: a
// restart of its server, in good order.
const BlipLimit = 30 * time.Second

// Reckoned says how often a source was there over a period.
type Reckoned struct {
	Up, Down       time.Duration // the rest is not known
	Outages, Blips int
	Longest        time.Duration // time down at a stretch, blips included
}

// Reckon goes through a source's points and the runs in which it was looked at. Time
// outside of runs is unknown, and so is what lies before the first point. Down,
// unknown, down is one outage, and as long as it was seen to be. Whether an outage is
// a blip is told by all of it, also what lies outside the period.
func Reckon(points []Point, runs []Run, from, to time.Time) Reckoned {
	points, runs = monotone(points, runs)
	r := reckoning{from: from, to: to}
	known, up := false, false
	for _, run := range runs {
		at := run.Start
		for len(points) > 0 && points[0].At.Before(run.Start) { // of a run that is forgotten
			known, up = true, points[0].Up
			points = points[1:]
		}
		for len(points) > 0 && !points[0].At.After(run.End) {
			p := points[0]
			points = points[1:]
			if known && !p.First {
				r.span(up, at, p.At)
			}
			known, up, at = true, p.Up, p.At
		}
		if known {
			r.span(up, at, run.End)
		}
	}
	r.endOutage()
	return r.out
}

// monotone gives points and runs whose times do not go back: what claims to be later
// than what followed it, since the clock was set back, is taken to be of that time.
func monotone(points []Point, runs []Run) ([]Point, []Run) {
	points, runs = slices.Clone(points), slices.Clone(runs)
	for i := len(points) - 2; i >= 0; i-- {
		points[i].At = earlier(points[i].At, points[i+1].At)
	}
	for i := len(runs) - 1; i >= 0; i-- {
		if i+1 < len(runs) {
			runs[i].End = earlier(runs[i].End, runs[i+1].Start)
		}
		runs[i].Start = earlier(runs[i].Start, runs[i].End)
	}
	return points, runs
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// reckoning sums up spans of time.
type reckoning struct {
	from, to time.Time
	out      Reckoned
	down     time.Duration // of the outage that is under way, all of it
	inside   time.Duration // and what of that lies in the period
}

func (r *reckoning) span(up bool, start, end time.Time) {
	clipped := max(0, earlier(end, r.to).Sub(latest(start, r.from)))
	if up {
		r.endOutage()
		r.out.Up += clipped
		return
	}
	r.down += end.Sub(start)
	r.inside += clipped
}

func (r *reckoning) endOutage() {
	switch {
	case r.inside == 0:
	case r.down < BlipLimit:
		r.out.Blips++
	default:
		r.out.Outages++
	}
	r.out.Down += r.inside
	r.out.Longest = max(r.out.Longest, r.inside)
	r.down, r.inside = 0, 0
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
