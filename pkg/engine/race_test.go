//go:build race

package engine

import "time"

// Sizes and times under the race detector, which is some ten times slower.
const (
	largeRefresh = 20_000
	floodChanges = 4_000
	soon         = 5 * time.Second
)
