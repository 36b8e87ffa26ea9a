package upstream

import (
	"errors"
	"sync/atomic"
	"testing"
)

// aloneOn is a search on a connection that others may join, and a wire without a server.
func aloneOn(t *testing.T) (s *search, joined *atomic.Bool) {
	t.Helper()
	joined = new(atomic.Bool)
	w := &wire{
		others: joined.Load, searches: map[int32]*search{}, unwanted: make(chan int32, 10),
		fresh: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	w.shared.Store(true)
	s = &search{w: w, id: syncID, sync: true, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	w.searches[s.id] = s
	return s, joined
}

// refreshLarge delivers more than a shared connection takes of one refresh, to a
// consumer that takes it at once.
func refreshLarge(t *testing.T, s *search) {
	t.Helper()
	run := make([]byte, chunkSize)
	for range maxSharedRefresh/chunkSize + 2 {
		if err := s.deliver(run); err != nil {
			t.Fatal(err)
		}
		if _, err := s.take(nil); err != nil {
			t.Fatal(err)
		}
	}
}

// R15: a large refresh that is alone on its connection is not given up, none joins it
// before it is over, and what came then is not held against it when others have joined.
func TestR15LargeRefreshAloneStays(t *testing.T) {
	s, joined := aloneOn(t)
	refreshLarge(t, s)
	if !s.w.large.Load() {
		t.Error("others may join amid it")
	}
	s.settle()
	if s.w.large.Load() {
		t.Error("none may join after it")
	}
	joined.Store(true)
	if err := s.deliver(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.take(nil); err != nil || len(got) != 1000 {
		t.Errorf("a change after the refresh: %d octets, %v", len(got), err)
	}
}

// What still comes of a search that was given up does not keep others from the connection.
func TestGivenUpSearchKeepsNobodyAway(t *testing.T) {
	s, joined := aloneOn(t)
	refreshLarge(t, s)
	joined.Store(true)
	if err := s.deliver(make([]byte, chunkSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.take(nil); !errors.Is(err, errAlone) {
		t.Fatalf("it ended with %v", err)
	}
	joined.Store(false)
	if err := s.deliver(make([]byte, chunkSize)); err != nil {
		t.Fatal(err)
	}
	s.end()
	if s.w.large.Load() {
		t.Error("none may join any more")
	}
}

// R15: a search that is alone may be as slow as it is, until another joins.
func TestR15StalledAloneIsGivenUpWhenAnotherJoins(t *testing.T) {
	s, _ := aloneOn(t)
	looks := 0
	s.w.others = func() bool { looks++; return looks > 3 } // two deliveries, and a second of waiting
	for _, n := range []int{searchBuffer, 1} {
		if err := s.deliver(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.take(nil); !errors.Is(err, errAlone) {
		t.Errorf("it ended with %v", err)
	}
}
