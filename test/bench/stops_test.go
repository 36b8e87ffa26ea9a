package main

import (
	"slices"
	"testing"
)

func TestParseStops(t *testing.T) {
	for trace, want := range map[string][]float64{
		"": nil,
		"gc 1 @0.1s 0%: 0.018+1.2+0.003 ms clock, 0.03+0.5/1.1/0+0.007 ms cpu, 4->4->0 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P\n": {0.018, 0.003},
		"gc 2 @0.1s 0%: 0.018+99+0.5 ms clock, 0.03 ms cpu\ntime=1 level=INFO msg=serving\ngc 3 @9s 0%: 0.2+1+0.1 ms clock, x\n":        {0.018, 0.5, 0.2, 0.1},
		"gc was here\ngc 3 @9s 0%: 7 ms clock\n": nil,
	} {
		if got, err := parseStops(trace); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", trace, got, err, want)
		}
	}
	if _, err := parseStops("gc 1 @0.1s 0%: a+b+c ms clock, 0 ms cpu\n"); err == nil {
		t.Error("times that are no numbers are taken")
	}
}

// A program that holds memory collects as often as it is told to, and says what stopped it.
func TestHoldMemory(t *testing.T) {
	b := &bench{dir: t.TempDir(), held: held{collections: 5, memory: 3}}
	stops, err := b.holdMemory(t.Context())
	if err != nil || len(stops) != 5*stopsEach || slices.Max(stops) <= 0 {
		t.Errorf("%v, %v", stops, err)
	}
	b.held.memory = -1
	if stops, err := b.holdMemory(t.Context()); err == nil {
		t.Errorf("less than nothing is held, with stops of %v", stops)
	}
	if err := hold("five of them"); err == nil {
		t.Error("words are taken for numbers")
	}
}

// The ratio of sides that differ by little is that of the median round, not of the medians.
func TestPaired(t *testing.T) {
	r := result{figures: []figure{{"CPU s", cost}}, paired: true}
	r.samples[ours] = [][]float64{{1}, {10}, {3}}
	r.samples[theirs] = [][]float64{{1.1}, {9}, {4.5}}
	if sides, times := r.compare(0); number(times) != "1.10" || sides[ours].median != 3 {
		t.Errorf("%v, %v", sides, times)
	}
	r.paired = false
	if _, times := r.compare(0); number(times) != "1.50" {
		t.Errorf("of medians: %v", times)
	}
}
