package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
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
