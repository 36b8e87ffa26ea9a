package engine

import (
	"math/rand/v2"
	"testing"

	"shaft/pkg/dit"
)

// TestStagedList holds a list against maps, with few UUIDs and DNs so that most come again.
func TestStagedList(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l stagedList
	ids, dns := map[dit.UUID]int{}, map[uint64]int{}
	dead := map[int]bool{}
	id := func() dit.UUID { n := r.IntN(3000); return dit.UUID{byte(n), byte(n >> 8)} }
	dn := func() uint64 { return uint64(r.IntN(2000)) << 31 } // few places for all of them
	for i := range 3*stagedChunk + 10 {
		u, d := id(), dn()
		if l.add(staged{id: u, dn: d, ordinal: uint32(r.IntN(1 << 20))}); l.n != i+1 {
			t.Fatalf("%d entries with number %d", l.n, i)
		}
		ids[u], dns[d] = i, i
		if kill := r.IntN(i + 1); r.IntN(4) == 0 {
			l.at(kill).dead, dead[kill] = true, true
		}
		u, d = id(), dn()
		want, known := ids[u]
		if at, ok := l.byID(u); ok != (known && !dead[want]) || ok && at != want {
			t.Fatalf("by UUID %s: %d, %v; want %d, %v", u, at, ok, want, known)
		}
		want, known = dns[d]
		if at, ok := l.byDN(d); ok != known || ok && at != want {
			t.Fatalf("by DN %x: %d, %v; want %d, %v", d, at, ok, want, known)
		}
	}
	order := l.sorted(byOrdinal)
	if len(order) != l.n-len(dead) {
		t.Errorf("%d of %d entries are listed, %d are dead", len(order), l.n, len(dead))
	}
	for i, at := range order {
		if dead[int(at)] || i > 0 && l.at(int(order[i-1])).ordinal > l.at(int(at)).ordinal {
			t.Fatalf("entry %d is listed at %d", at, i)
		}
	}
}
