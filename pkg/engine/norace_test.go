//go:build !race

package engine

import "time"

// Sizes and times without the race detector.
const (
	largeRefresh = 100_000
	floodChanges = 20_000
	soon         = time.Second
)
