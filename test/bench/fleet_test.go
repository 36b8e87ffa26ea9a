package main

import (
	"strings"
	"testing"
	"time"
)

// A small fleet is measured on both sides, an outage and a restart included; what is counted is right.
func TestSampleFleet(t *testing.T) {
	dir := t.TempDir()
	program, err := buildShaft(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, shaft: program}
	for _, s := range []side{ours, theirs} {
		values, err := b.sampleFleet(t.Context(), s, fleetServers, 100*time.Millisecond, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(values) != len(fleetRow.figures) {
			t.Fatalf("side %d: %v", s, values)
		}
		for i, f := range fleetRow.figures {
			if v := values[i]; v < 0 || v == 0 && !strings.HasPrefix(f.name, "CPU") && !strings.HasPrefix(f.name, "connections") {
				t.Errorf("side %d: %s is %v", s, f.name, v)
			}
		}
		if n := values[4]; n != 1 {
			t.Errorf("side %d: %v connections to a server", s, n)
		}
	}
}
