package daemon

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"shaft/pkg/store"
)

// Content is held in blocks without pointers, so that a collection of garbage takes no longer the
// more there is of it. To let the heap grow to twice its size before the next one, as Go does by
// itself, would waste memory: collectRoom is left for garbage, and of a large heap the share collectLeast.
const (
	collectRoom  = 64 << 20
	collectLeast = 10  // percent of what is alive
	collectMost  = 100 // as Go does
)

// collectPercent is GOGC for so many bytes alive.
func collectPercent(live uint64) int {
	return int(min(max(collectRoom*100/max(live, 1), collectLeast), collectMost))
}

// collector sets GOGC after each collection by what is alive.
type collector struct{ percent int }

// collected goes with each collection, which tells that one is over.
type collected struct{ c *collector }

var startCollector sync.Once

// tendCollector begins to, once in a process, unless the environment sets GOGC.
func tendCollector() {
	if os.Getenv("GOGC") == "" {
		startCollector.Do(func() { new(collector).await() })
	}
}

func (c *collector) await() {
	runtime.SetFinalizer(&collected{c}, func(end *collected) {
		end.c.tend()
		end.c.await()
	})
}

func (c *collector) tend() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	if p := collectPercent(live[0].Value.Uint64()); p != c.percent {
		c.percent = p
		debug.SetGCPercent(p)
	}
}

// restAfter is how long refreshes are over before what they took for a while is given back: one
// often comes with others. Besides it is looked every restEvery whether there is something to give back.
const (
	restAfter = 250 * time.Millisecond
	restEvery = 10 * time.Second
)

// rest calls giveBack at its beginning, when no refresh has ended for a while after one did, and else
// now and then.
func rest(ctx context.Context, refreshed <-chan struct{}, after, every time.Duration, giveBack func(refreshed bool)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-refreshed:
			due = true
			timer.Reset(after)
		case <-timer.C:
			giveBack(due)
			due = false
			timer.Reset(every)
		}
	}
}

// giver gives memory back to the system.
type giver struct{ left uint64 } // of the heap, the least since the last time

// By a 32nd and spareLeast the heap has grown before something is given back: a collection is made for it, of some
// milliseconds, and what is taken again has to be cleared by the kernel.
const (
	spareShare = 32
	spareLeast = 4 << 20
)

// spare tells whether a heap of so many bytes may have something to give.
func (g *giver) spare(heap uint64) bool {
	if heap < g.left { // content has gone, or somebody else gave
		g.left = heap
	}
	return heap > g.left+g.left/spareShare+spareLeast
}

// heapHeld is what the heap has of the system, in use or not.
func heapHeld() (sum uint64) {
	of := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(of)
	for _, s := range of {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}

func (g *giver) give() {
	if g.spare(heapHeld()) {
		debug.FreeOSMemory()
		g.left = heapHeld()
	}
}

// giveBack gives memory that is free to the system, and, where a refresh or the start has read
// them, lets the pages of the store's tables go.
func (d *Daemon) giveBack(st *store.Store) func(refreshed bool) {
	var g giver
	return func(refreshed bool) {
		g.give()
		if !refreshed {
			return
		}
		if err := st.Rest(); err != nil && !errors.Is(err, store.ErrClosed) {
			d.log.Warn("pages of the store stay in memory", "error", err)
		}
	}
}
