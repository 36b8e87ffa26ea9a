package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// Room for garbage is the heap's own size while that is small, and a tenth of a large one.
func TestCollectPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 100, 1 << 20: 100, 64 << 20: 100, 128 << 20: 50, 256 << 20: 25, 640 << 20: 10, 1 << 30: 10, 1 << 50: 10,
	} {
		if got := collectPercent(live); got != want {
			t.Errorf("%d bytes alive: %d percent, want %d", live, got, want)
		}
	}
}

// A collection sets what the next one waits for, and so do those after it.
func TestCollector(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	gogc := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	new(collector).await()
	large := make([]byte, 4*collectRoom)
	collectUntil(t, func() bool { return gogc() < 30 })
	runtime.KeepAlive(large)
	large = nil
	collectUntil(t, func() bool { return gogc() == 100 })
}

// collectUntil collects garbage until done says so.
func collectUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s")
		}
	}
}

// Memory is given back at the beginning and after refreshes, until the end.
func TestRest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	refreshed, given, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		rest(ctx, refreshed, time.Millisecond, func() { given <- struct{}{} })
	}()
	<-given
	for range 3 {
		refreshed <- struct{}{}
		<-given
	}
	cancel()
	<-over
}
