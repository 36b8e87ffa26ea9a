package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Availability tells how often a source was there over a period (R53). Time in which Shaft
// did not run, or knew nothing of the source yet, is unknown: neither up nor down.
type Availability struct {
	Source  string    `json:"source"` // a claim, or a list's subscription
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Up      float64   `json:"up"`      // the part of the known time in which it was there, 0 to 1; 0 where none is known
	Known   float64   `json:"known"`   // the part of the period that is known, 0 to 1
	Outages int       `json:"outages"` // but for blips
	Blips   int       `json:"blips"`   // times away for less than alarm.BlipLimit
	// DownSeconds is the time away in all, LongestSeconds the longest of it at a stretch; both with blips.
	DownSeconds    float64       `json:"down_seconds"`
	LongestSeconds float64       `json:"longest_seconds"`
	Points         []SourcePoint `json:"points"` // within the period, oldest first
}

// SourcePoint is a time at which a source came back, or went.
type SourcePoint struct {
	At     time.Time `json:"at"`
	State  string    `json:"state"` // up or down
	Reason string    `json:"reason,omitempty"`
}

const (
	recordPoints = "updown/" // and the source, ":" and the chunk's number in 8 hexadecimal digits
	recordRuns   = "runs"
)

const (
	// chunkPoints are kept in one record, which each further one writes anew.
	chunkPoints = 16
	// maxChunks of a source are kept, the latest: 512 points.
	maxChunks = 32
	// maxPointReason bounds what is kept of a reason, in bytes.
	maxPointReason = 200
	// defaultPeriod is what availability is about where no beginning is given.
	defaultPeriod = 30 * 24 * time.Hour
)

// pointLog is the latest points of each source, and when this and earlier engines ran;
// the engine goroutine's.
type pointLog struct {
	sources map[string]*sourcePoints
	runs    []alarm.Run
}

// sourcePoints is the end of one source's points.
type sourcePoints struct {
	chunk  uint32
	points []alarm.Point // of that chunk
	heard  bool          // in this run
}

func chunkRecord(source string, chunk uint32) string {
	return fmt.Sprintf("%s%s:%08x", recordPoints, source, chunk)
}

// point notes what a source's link reported, and gives what is to be written: nothing, unless
// it went or came back.
func (e *Engine) point(source string, s upstream.Status) []store.Record {
	known := e.points.sources[source]
	if known == nil {
		known = &sourcePoints{}
		e.points.sources[source] = known
	}
	first := !known.heard
	known.heard = true
	up := s.Online()
	if n := len(known.points); n > 0 && known.points[n-1].Up == up {
		return nil
	}
	p := alarm.Point{At: e.o.Now().UTC(), Up: up, First: first}
	if !up {
		p.Reason = clipTo(s.Reason, maxPointReason)
	}
	var records []store.Record
	if len(known.points) == chunkPoints {
		known.chunk++
		known.points = nil
		if known.chunk >= maxChunks {
			records = append(records, store.Record{Name: chunkRecord(source, known.chunk-maxChunks)})
		}
	}
	known.points = append(known.points, p)
	return append(records, jsonRecord(chunkRecord(source, known.chunk), known.points))
}

// dropPoints forgets a source that goes.
func (e *Engine) dropPoints(source string) (records []store.Record) {
	known := e.points.sources[source]
	if known == nil {
		return nil
	}
	delete(e.points.sources, source)
	oldest := uint32(0)
	if known.chunk >= maxChunks {
		oldest = known.chunk - maxChunks + 1
	}
	for chunk := oldest; chunk <= known.chunk; chunk++ {
		records = append(records, store.Record{Name: chunkRecord(source, chunk)})
	}
	return records
}

// loadPoints reads the end of every source's points, and begins a run. Sources that are
// gone are forgotten.
func (e *Engine) loadPoints() error {
	e.points.sources = map[string]*sourcePoints{}
	var bad []store.Record
	err := e.store.Records(recordPoints, func(name string, value []byte) error {
		source, chunk, err := cutChunk(name)
		var points []alarm.Point
		if err == nil {
			err = json.Unmarshal(value, &points)
		}
		if err == nil && e.state.Claims[queue.ClaimID(source)] == nil && e.state.Lists[source] == nil {
			bad = append(bad, store.Record{Name: strings.Clone(name)})
			return nil
		}
		if err != nil {
			e.log.Error("a stored record of up and down is malformed; it is left out", "record", name, "error", err)
			bad = append(bad, store.Record{Name: strings.Clone(name)})
			return nil
		}
		if old := e.points.sources[source]; old == nil || old.chunk <= chunk {
			e.points.sources[source] = &sourcePoints{chunk: chunk, points: points}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = e.store.Records(recordRuns, func(name string, value []byte) error {
		if err := json.Unmarshal(value, &e.points.runs); err != nil {
			e.log.Error("when Shaft ran is not known: the stored record is malformed", "record", name, "error", err)
			e.points.runs = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.points.runs = alarm.Extend(e.points.runs, true, e.o.Now().UTC())
	return e.writeLater(append(bad, jsonRecord(recordRuns, e.points.runs)))
}

// cutChunk takes the name of a chunk's record apart.
func cutChunk(name string) (source string, chunk uint32, err error) {
	source, number, ok := strings.Cut(strings.TrimPrefix(name, recordPoints), ":")
	n, err := strconv.ParseUint(number, 16, 32)
	if !ok || err != nil {
		return "", 0, errors.New("the name is malformed")
	}
	return strings.Clone(source), uint32(n), nil
}

// beat notes that the engine still runs.
func (e *Engine) beat() {
	e.points.runs = alarm.Extend(e.points.runs, false, e.o.Now().UTC())
	if e.failed != nil {
		return
	}
	e.dropVoidHolds()
	if err := e.writeRecords([]store.Record{jsonRecord(recordRuns, e.points.runs)}); err != nil {
		e.log.Error("that Shaft runs was not noted", "error", err)
	}
}

// Availability reckons how often a source (a claim, or a list's subscription) was there
// from one time to another; zero is 30 days before the end, and now, which is the latest. Of what is more
// than a few hundred changes back nothing is known any more.
func (e *Engine) Availability(ctx context.Context, source string, from, to time.Time) (out *Availability, err error) {
	doErr := e.do(ctx, func() { out, err = e.availability(source, from, to) })
	if doErr != nil {
		return nil, doErr
	}
	return out, err
}

func (e *Engine) availability(source string, from, to time.Time) (*Availability, error) {
	if e.state.Claims[queue.ClaimID(source)] == nil && e.state.Lists[source] == nil {
		return nil, notFound("claim or list", source)
	}
	now := e.o.Now().UTC()
	if to.IsZero() || to.After(now) {
		to = now
	}
	if from.IsZero() {
		from = to.Add(-defaultPeriod)
	}
	from, to = from.UTC(), to.UTC()
	if !from.Before(to) {
		return nil, refusal("invalid", "the period ends at %s, which is not after its beginning, %s", to.Format(time.RFC3339), from.Format(time.RFC3339))
	}
	points, err := e.pointsOf(source)
	if err != nil {
		return nil, err
	}
	runs := alarm.Extend(e.points.runs, false, now)
	r := alarm.Reckon(points, runs, from, to)
	out := &Availability{
		Source: source, From: from, To: to, Outages: r.Outages, Blips: r.Blips, Points: []SourcePoint{},
		DownSeconds: r.Down.Seconds(), LongestSeconds: r.Longest.Seconds(),
		Known: float64(r.Up+r.Down) / float64(to.Sub(from)),
	}
	if known := r.Up + r.Down; known > 0 {
		out.Up = float64(r.Up) / float64(known)
	}
	for _, p := range points {
		if p.At.Before(from) || !p.At.Before(to) {
			continue
		}
		state := "down"
		if p.Up {
			state = "up"
		}
		out.Points = append(out.Points, SourcePoint{At: p.At, State: state, Reason: p.Reason})
	}
	return out, nil
}

// pointsOf reads a source's points, oldest first.
func (e *Engine) pointsOf(source string) (points []alarm.Point, err error) {
	err = e.store.Records(recordPoints+source+":", func(name string, value []byte) error {
		var chunk []alarm.Point
		if err := json.Unmarshal(value, &chunk); err != nil {
			return fmt.Errorf("stored %s: %w", name, err)
		}
		points = append(points, chunk...)
		return nil
	})
	return slices.Clip(points), err
}
