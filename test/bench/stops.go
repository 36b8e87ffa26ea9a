package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// holdEnv in the environment makes this program one that holds memory, computes nothing of use on
// each core, and collects garbage: "COLLECTIONS MIB". What a collection stops it for is the machine's.
const holdEnv = "SHAFT_BENCH_HOLD"

// holdPause is between two of its collections, so that other threads have had their turn.
const holdPause = 10 * time.Millisecond

// stopsEach is how many stops a collection has.
const stopsEach = 2

// held is how often a Shaft has collected garbage, and what it held in the end, MiB.
type held struct {
	collections int
	memory      float64
}

// holdBeside is holdMemory while a client has everything of the provider, as a first refresh has: who collects shares the
// cores with the provider then.
func (b *bench) holdBeside(ctx context.Context) ([]float64, error) {
	var over atomic.Bool
	given := make(chan error, 1)
	go func() {
		var err error
		for err == nil && !over.Load() {
			_, _, err = b.given()
		}
		given <- err
	}()
	stops, err := b.holdMemory(ctx)
	over.Store(true)
	return stops, errors.Join(err, <-given)
}

// holdMemory gives the stops, in ms, of a process that holds what the last Shaft held, and collects as often.
func (b *bench) holdMemory(ctx context.Context) ([]float64, error) {
	dir, err := b.tempDir("hold")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(dir, []string{traceStops, fmt.Sprintf("%s=%d %.0f", holdEnv, b.held.collections, b.held.memory)}, self)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
	stops, err := collectorStops(p.log)
	if want := stopsEach * b.held.collections; err == nil && len(stops) < want {
		err = fmt.Errorf("%d stops of a program that holds memory, want %d\n%s", len(stops), want, p.tail())
	}
	return stops, err
}

// hold is the process of holdMemory, as the environment says.
func hold(what string) error {
	var collections, mib int
	if _, err := fmt.Sscanf(what, "%d %d", &collections, &mib); err != nil {
		return fmt.Errorf("%s: %q: %w", holdEnv, what, err)
	}
	debug.SetGCPercent(-1)
	blocks := make([][]byte, mib) // without pointers, as Shaft holds content
	for i := range blocks {
		blocks[i] = make([]byte, 1<<20)
		for at := 0; at < len(blocks[i]); at += os.Getpagesize() {
			blocks[i][at] = 1 // else the kernel has no page for it
		}
	}
	var over atomic.Bool
	var computing sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		computing.Go(func() {
			for !over.Load() {
			}
		})
	}
	for range collections {
		runtime.GC()
		time.Sleep(holdPause)
	}
	over.Store(true)
	computing.Wait()
	runtime.KeepAlive(blocks)
	return nil
}

// traceStops in a Go program's environment has it tell of each collection of garbage in its log.
const traceStops = "GODEBUG=gctrace=1"

// collectorStops are the times in ms that collections of garbage stopped a Go program
// for, by the trace in its log.
func collectorStops(log string) ([]float64, error) {
	b, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	return parseStops(string(b))
}

// parseStops reads lines as
//
//	gc 7 @0.4s 2%: 0.018+1.2+0.003 ms clock, 0.03+0.5/1.1/0+0.007 ms cpu, …
//
// The first time and the third are those of stops.
func parseStops(trace string) (stops []float64, err error) {
	for line := range strings.Lines(trace) {
		if !strings.HasPrefix(line, "gc ") {
			continue
		}
		_, rest, ok := strings.Cut(line, "%: ")
		times, _, isClock := strings.Cut(rest, " ms clock")
		parts := strings.Split(times, "+")
		if !ok || !isClock || len(parts) != 3 {
			continue // of another shape: what another part of the program logs
		}
		for _, text := range []string{parts[0], parts[2]} {
			ms, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("trace of collections: %q: %w", line, err)
			}
			stops = append(stops, ms)
		}
	}
	return stops, nil
}
