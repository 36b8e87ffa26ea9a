package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

func (w *world) availability(source string) *Availability {
	w.t.Helper()
	out, err := w.e.Availability(w.t.Context(), source, time.Time{}, time.Time{})
	must(w.t, err)
	return out
}

// R53: outages and blips are counted over restarts, in which nobody looked, and over a clock that is set back;
// what goes takes its history along.
func TestAvailability(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	clock := newHands()
	w := newWorld(t)
	w.close()
	w.now = clock.now
	w.open()
	w.add("one", "cn=Here", w.source(s, suffix))
	noted := func(up bool) { // before the clock moves
		t.Helper()
		await(t, "it is noted", func() bool {
			points, err := w.e.pointsOf("one")
			must(t, err)
			return len(points) > 0 && points[len(points)-1].Up == up
		})
	}
	noted(true)
	start := clock.now()
	away := func(d time.Duration) {
		s.Down()
		noted(false)
		clock.move(d)
		must(t, s.Up())
		noted(true)
	}
	run := func(d time.Duration) { // no longer than between two beats, each
		for ; d > 0; d -= time.Minute {
			clock.move(time.Minute)
			must(t, w.e.do(t.Context(), w.e.beat))
		}
	}
	run(10 * time.Minute)
	away(10 * time.Second)
	run(10 * time.Minute)
	away(2 * time.Minute)
	run(8 * time.Minute)
	w.close()
	clock.move(time.Hour) // nobody looked
	w.open()
	w.awaitLive(name)
	noted(true)
	run(9*time.Minute + 50*time.Second)
	want := Availability{Source: "one", Outages: 1, Blips: 1, DownSeconds: 130, LongestSeconds: 120}
	got := w.availability("one")
	if got.Outages != want.Outages || got.Blips != want.Blips || got.DownSeconds != want.DownSeconds || got.LongestSeconds != want.LongestSeconds {
		t.Errorf("%+v, wanted %+v", got, want)
	}
	looked := clock.now().Sub(start).Seconds() - 3600
	if up := (looked - 130) / looked; got.Up < up-1e-9 || got.Up > up+1e-9 {
		t.Errorf("up for %f, wanted %f", got.Up, up)
	}
	if known := looked / (30 * 24 * 3600); got.Known < known-1e-9 || got.Known > known+1e-9 {
		t.Errorf("known for %f, wanted %f", got.Known, known)
	}
	var states []string
	for _, p := range got.Points {
		states = append(states, p.State)
		if (p.State == "down") != (p.Reason != "") {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(states, []string{"up", "down", "up", "down", "up"}) {
		t.Errorf("%q", states)
	}

	clock.move(-20 * time.Minute) // set back, and an outage then
	away(time.Minute)
	if got := w.availability("one"); got.Up <= 0 || got.Up > 1 || got.Known > 1 || got.DownSeconds < 60 {
		t.Errorf("after the clock was set back: %+v", got)
	}
	if _, err := w.e.RemoveSubscription(t.Context(), "one", false); err != nil {
		t.Fatal(err)
	}
	if left := w.recordNames(recordPoints); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
}

// R53: a source that went, or came back, while Shaft did not run is unknown until it is seen.
func TestAvailabilityOverAStop(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	await(t, "its name is there", func() bool { return len(w.names()) == 1 })
	w.awaitLive("cn=A")
	s.Down()
	w.restart()
	await(t, "both are seen down", func() bool {
		n := 0
		for _, source := range []string{"l", "l/1"} {
			if p := w.availability(source).Points; len(p) > 1 && p[len(p)-1].State == "down" {
				n++
			}
		}
		return n == 2
	})
	for _, source := range []string{"l", "l/1"} {
		points, err := w.e.pointsOf(source)
		must(t, err)
		if len(points) < 2 || !points[0].First || !points[0].Up {
			t.Errorf("%s: %+v", source, points)
		}
	}
	if _, err := w.e.RemoveSubscription(t.Context(), "l", false); err != nil {
		t.Fatal(err)
	}
	if left := w.recordNames(recordPoints); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
}

// R53: what is kept of a source is bounded, over restarts too, and in order.
func TestPointsAreBounded(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	const total = chunkPoints*maxChunks + 100
	flap := func(n int) {
		t.Helper()
		must(t, w.e.do(t.Context(), func() {
			for range n {
				for _, state := range []upstream.State{upstream.Down, upstream.Live} {
					must(t, w.e.writeRecords(w.e.point("one", upstream.Status{State: state, Reason: strings.Repeat("why", 100)})))
				}
			}
		}))
	}
	flap(total / 4)
	w.restart()
	w.awaitLive(name)
	flap(total / 4)
	if n := len(w.recordNames(recordPoints)); n != maxChunks {
		t.Errorf("%d records", n)
	}
	points, err := w.e.pointsOf("one")
	must(t, err)
	if len(points) <= chunkPoints*(maxChunks-1) || len(points) > chunkPoints*maxChunks {
		t.Errorf("%d points", len(points))
	}
	for i, p := range points {
		if i > 0 && (p.At.Before(points[i-1].At) || p.Up == points[i-1].Up) || len(p.Reason) > maxPointReason+len("…") {
			t.Errorf("point %d: %+v", i, p)
		}
	}
	if _, err := w.e.RemoveSubscription(t.Context(), "one", false); err != nil {
		t.Fatal(err)
	}
	if left := w.recordNames(recordPoints); len(left) > 0 {
		t.Errorf("%d left in the store", len(left))
	}
}

func TestAvailabilityRefused(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	now := time.Now()
	for _, c := range []struct {
		source   string
		from, to time.Time
		want     string
	}{
		{"two", time.Time{}, time.Time{}, `not-found: there is no claim or list "two"`},
		{"one", now.Add(time.Hour), time.Time{}, "invalid: the period ends at"},
		{"one", now, now.Add(-time.Hour), "invalid: the period ends at"},
	} {
		var r *queue.Refusal
		_, err := w.e.Availability(t.Context(), c.source, c.from, c.to)
		if !errors.As(err, &r) || !strings.HasPrefix(fmt.Sprintf("%s: %s", r.Kind, r.Reason), c.want) {
			t.Errorf("%s: %v, wanted %s", c.source, err, c.want)
		}
	}
}
