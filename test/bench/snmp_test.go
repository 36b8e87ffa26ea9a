package main

import (
	"testing"
)

// A walk on each side counts each cell once, and takes time.
func TestSampleSNMP(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	for _, s := range []side{ours, theirs} {
		values, err := b.sampleSNMP(t.Context(), s, 300)
		if err != nil {
			t.Fatal(err)
		}
		if len(values) != len(snmpRow.figures) || values[0] <= 0 || values[1] <= 0 || values[2] < 0 {
			t.Errorf("side %d: %v", s, values)
		}
	}
	w, err := madeUp(snmpNames).Watched(t.Context())
	if err != nil || len(w.Names) != snmpNames || w.Names[7].Number != 8 || w.Names[7].Label != "cn=name 7" {
		t.Errorf("%d names, %v", len(w.Names), err)
	}
}
