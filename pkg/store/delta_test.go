package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"shaft/pkg/dit"
)

// However a stage is cut up by Syncs, its delta is what one look at all of it
// gives, and the commit bears it out.
func TestDeltaGrows(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := open(t, t.TempDir(), Options{})
		model := map[int]string{}
		for i := range 20 {
			model[i] = fmt.Sprintf("1/%d/old", 100+i)
		}
		old := map[int]string{}
		for i := range model {
			old[i] = "old"
		}
		refresh(t, s, 1, 100, "", old)
		st := begin(t, s, 1, nil)
		for step := range 60 {
			i, ordinal := random.IntN(40), uint32(step)
			if random.IntN(3) == 0 {
				if err := st.Delete(scattered(i)); err != nil {
					t.Fatal(err)
				}
				delete(model, i)
			} else {
				if err := st.Put(scattered(i), ordinal, []byte("new")); err != nil {
					t.Fatal(err)
				}
				model[i] = fmt.Sprintf("2/%d/new", 200+step)
			}
			if random.IntN(8) == 0 {
				if err := st.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := st.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		grown := st.delta
		st.delta = delta{} // so that the next begins anew
		if err := st.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		once := st.delta
		if grown.count != once.count || grown.sum != once.sum || grown.put != once.put || grown.highest != once.highest {
			t.Errorf("seed %d: delta %+v, at once %+v", seed, grown, once)
		}
		for _, id := range once.stale {
			if !slices.Contains(grown.stale, id) {
				t.Errorf("seed %d: entry %s would not be swept", seed, id)
			}
		}
		st.delta = grown
		if err := s.CommitStage(st, nil, "", 200, &Batch{}); err != nil {
			t.Fatal(err)
		}
		wantEntries(t, s, 1, model)
		s = reopen(t, s)
		wantEntries(t, s, 1, model)
		if n := contentRecords(t, s, 1); n != len(model) {
			t.Errorf("seed %d: %d records left of %d entries", seed, n, len(model))
		}
	}
}

// After Sync the commit looks up only what was staged since.
func TestDeltaIsNotBegunAnew(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	st := begin(t, s, 1, map[int]string{1: "a", 2: "b"})
	if err := st.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.delta.count += 1000 // would be lost
	for _, i := range []int{1, 3} {
		if err := st.Delete(scattered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CommitStage(st, nil, "", 5, &Batch{}); err != nil {
		t.Fatal(err)
	}
	if got := claimOf(s, 1).Count; got != 1001 {
		t.Errorf("count %d: the delta was computed anew", got)
	}
}

// A Sync whose context ends stops looking up, and may be called again.
func TestSyncIsCancelled(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "", map[int]string{1: "a", 2: "b"})
	st := begin(t, s, 1, map[int]string{2: "B"}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.Sync(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrFailed) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.CommitStage(st, nil, "", 200, &Batch{}); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, s, 1, map[int]string{2: "2/202/B"})
}

// Swept waits for what a discarded stage left, as long as its context lets it,
// and for no other sweep.
func TestSwept(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "", map[int]string{1: "a"})
	s.sweeper.await()
	st := begin(t, s, 1, map[int]string{1: "x", 2: "y"})
	if err := st.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}

	s.writeMu.Lock() // holds the sweeper up
	if err := st.Discard(); err != nil {
		t.Fatal(err)
	}
	s.sweeper.add(&sweepJob{claim: 2, all: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Swept(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("with the sweep held up: %v", err)
	}
	if err := s.Swept(t.Context(), 2); err != nil {
		t.Errorf("a sweep that nothing depends on: %v", err)
	}
	s.writeMu.Unlock()

	if err := s.Swept(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if n := contentRecords(t, s, 1); n != 1 {
		t.Errorf("%d records after the sweep, want 1", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.sweeper.jobs[1] = &sweepJob{claim: 1, void: true}
	if err := s.Swept(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// What a crash left of a stage is swept before the next generation, and an
// empty stage leaves nothing to sweep.
func TestSweptAfterCrash(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "", map[int]string{1: "a"})
	st := begin(t, s, 1, map[int]string{2: "y"})
	if err := st.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.sweeper.halt() // nothing of it is swept before the restart
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, s.opts)
	if err := s.Swept(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if n := contentRecords(t, s, 1); n != 1 {
		t.Errorf("%d records after the sweep, want 1", n)
	}
	if err := begin(t, s, 1, nil).Discard(); err != nil {
		t.Fatal(err)
	}
	if s.sweeper.voidJob(1) != nil {
		t.Error("an empty stage is swept")
	}
}

// BenchmarkCommitStageAfterSync is what the writer is held up when a little is
// staged after the Sync of 100,000 entries.
func BenchmarkCommitStageAfterSync(b *testing.B) {
	const n = 100_000
	b.ReportAllocs()
	s := open(b, b.TempDir(), Options{})
	for i := range b.N {
		b.StopTimer()
		st, err := s.Stage(1)
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if err := st.Put(scattered(i), uint32(i), []byte("value")); err != nil {
				b.Fatal(err)
			}
		}
		if err := st.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := st.Delete(scattered(7)); err != nil {
			b.Fatal(err)
		}
		if err := s.CommitStage(st, nil, "", dit.CSN(i+1)*2*n, &Batch{}); err != nil {
			b.Fatal(err)
		}
	}
}
