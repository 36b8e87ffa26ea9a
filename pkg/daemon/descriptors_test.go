package daemon

import (
	"math"
	"testing"
)

// Clients cannot take the descriptors that the store needs.
func TestConnectionsWithinFiles(t *testing.T) {
	for _, c := range []struct {
		wanted int
		files  uint64
		want   int
	}{{10000, math.MaxUint64, 10000}, {10000, 1 << 20, 10000}, {10000, 10512, 10000}, {10000, 10511, 9999}, {10000, 4096, 3584},
		{10000, 1024, 512}, {10000, 256, 128}, {3, 256, 3}, {1, 0, 1}} {
		if got := within(c.wanted, c.files); got != c.want {
			t.Errorf("%d wanted of %d files: %d, want %d", c.wanted, c.files, got, c.want)
		}
	}
}
