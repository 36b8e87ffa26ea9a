package main

import (
	"regexp"
	"testing"
	"time"
)

// R41: changes of one entry, and of different ones, reach all followers that read, on both sides; what is sent is
// counted. Followers that wait are measured.
func TestFanOut(t *testing.T) {
	b, err := newBench(t.Context(), options{rounds: 1, entries: 80, window: time.Second, seed: 1, only: regexp.MustCompile("")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	b.row = "fan"
	for _, c := range []struct {
		s     side
		one   bool
		least float64 // messages
	}{{ours, true, 10}, {ours, false, 700}, {theirs, false, 700}} { // of one entry Shaft sends the newest state
		b.round++
		figures, err := b.sampleFanOut(t.Context(), c.s, fan{one: c.one, changes: 70, followers: 12, mute: 2})
		if err != nil {
			t.Fatalf("%s, one entry %v: %v", c.s, c.one, err)
		}
		if sent := figures[4]; sent < c.least || figures[2] <= 0 {
			t.Errorf("%s, one entry %v: %v", c.s, c.one, figures)
		}
	}
	if kB, err := b.idleFollowers(t.Context(), ours, 100); err != nil || kB > 500 {
		t.Errorf("%v kB a follower, %v", kB, err)
	}
}

// A present phase that names too few has failed.
func TestPresentPhase(t *testing.T) {
	p := smallProvider(t, "")
	csn, err := contextCSN(p.address, suffix)
	if err != nil {
		t.Fatal(err)
	}
	e, err := edit(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.nc.Close()
	if err := e.describe(p.content.rdns(0)+","+suffix, "new"); err != nil {
		t.Fatal(err)
	}
	all := p.content.total()
	for want, good := range map[int]bool{all - 1: true, all + 1: false} {
		n, err := presentPhase(p.address, suffix, "rid=001,csn="+csn, want)
		if n < 3 || (err == nil) != good {
			t.Errorf("%d wanted: %d messages, %v", want, n, err)
		}
	}
}
