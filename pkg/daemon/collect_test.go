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

// Memory is given back at the beginning, after refreshes, and now and then, until the end.
func TestRest(t *testing.T) {
	for _, every := range []time.Duration{time.Hour, time.Millisecond} {
		ctx, cancel := context.WithCancel(t.Context())
		refreshed, given, over := make(chan struct{}), make(chan bool), make(chan struct{})
		go func() {
			defer close(over)
			rest(ctx, refreshed, time.Millisecond, every, func(refreshed bool) {
				select {
				case given <- refreshed:
				case <-ctx.Done():
				}
			})
		}()
		if !<-given {
			t.Error("nothing at the beginning")
		}
		if every == time.Hour {
			for range 3 {
				refreshed <- struct{}{}
				if !<-given {
					t.Error("a refresh was not told of")
				}
			}
		}
		for range 3 {
			if every < time.Hour && <-given {
				t.Error("there was no refresh")
			}
		}
		cancel()
		<-over
	}
}

// What became garbage is given back once, and nothing is done where the heap has not grown.
func TestGiver(t *testing.T) {
	var g giver
	large := make([]byte, 64<<20)
	g.give()
	runtime.KeepAlive(large)
	with := g.left
	if g.spare(with) || g.spare(with+with/spareShare) || !g.spare(with+with/spareShare+spareLeast+1) {
		t.Errorf("spare is wrong after %d bytes", with)
	}
	large = make([]byte, 80<<20) // what was there is garbage now
	g.give()
	runtime.KeepAlive(large)
	if g.left > with+32<<20 || g.left < 80<<20 {
		t.Errorf("the heap has %d MiB, after %d", g.left>>20, with>>20)
	}
	if less := g.left / 2; g.spare(less) || !g.spare(less+less/spareShare+spareLeast+1) { // content has gone
		t.Errorf("spare is wrong with %d bytes, half of what it was", less)
	}
}
