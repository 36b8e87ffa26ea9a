package tree

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A table against a map, with few hashes so that runs are long, over several
// versions that share pages.
func TestTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var tab table
	tab.init(1)
	want := map[slot]bool{}
	var refs []slot
	for round := range 20 {
		old, was := tab, len(want)
		old.settle()
		tab.settle()
		for range 400 {
			if n := len(refs); n > 0 && rnd.IntN(3) == 0 {
				i := rnd.IntN(n)
				s := refs[i]
				tab.remove(s.hash, s.ref)
				delete(want, s)
				refs[i] = refs[n-1]
				refs = refs[:n-1]
				continue
			}
			s := slot{hash: rnd.Uint32() % 500 << 22, ref: uint32(len(want)) + uint32(round)<<16 + 1}
			if round%2 == 0 {
				s.hash = rnd.Uint32()
			}
			if want[s] {
				continue
			}
			want[s] = true
			refs = append(refs, s)
			tab.insert(s.hash, s.ref)
		}
		checkTable(t, &tab, want)
		if n := countSlots(&old); n != was {
			t.Fatalf("an old version has %d references, had %d", n, was)
		}
	}
	tab.remove(1, 1) // is not there
	tab.replace(1, 1, 2)
	s := refs[0]
	tab.replace(s.hash, s.ref, 1<<30)
	if _, ok := tab.locate(s.hash, 1<<30); !ok {
		t.Error("replaced reference is not there")
	}
}

func checkTable(t *testing.T, tab *table, want map[slot]bool) {
	t.Helper()
	for s := range want {
		if at, ok := tab.locate(s.hash, s.ref); !ok || tab.at(at) != s {
			t.Fatalf("%+v is not there", s)
		}
	}
	if n := countSlots(tab); n != len(want) || tab.n != n {
		t.Fatalf("%d references, count is %d, want %d", n, tab.n, len(want))
	}
	var before slot
	for i := range uint32(len(tab.slots.pages) * slotsPerPage) {
		s := tab.at(i)
		switch {
		case s.ref == 0:
		case s.hash < before.hash && before.ref != 0:
			t.Fatalf("%+v is at %d, behind %+v", s, i, before)
		case i < tab.home(s.hash), i > tab.home(s.hash) && tab.at(i-1).ref == 0:
			t.Fatalf("%+v is at %d, where no search from %d gets", s, i, tab.home(s.hash))
		}
		if s.ref != 0 {
			before = s
		}
	}
	if last := len(tab.slots.pages)*slotsPerPage - 1; tab.at(uint32(last)).ref != 0 {
		t.Fatal("no search ends at the last slot")
	}
}

// References that find no place of their own at the end of a table stand behind it.
func TestTableEnd(t *testing.T) {
	var tab table
	tab.init(1)
	want := map[slot]bool{}
	for i := range uint32(3 * slotsPerPage) {
		s := slot{hash: ^uint32(0) - i%3, ref: i + 1}
		want[s] = true
		tab.insert(s.hash, s.ref)
	}
	checkTable(t, &tab, want)
	for s := range want {
		if s.ref%2 == 0 {
			tab.remove(s.hash, s.ref)
			delete(want, s)
		}
	}
	checkTable(t, &tab, want)
	tab.reserve(100 * slotsPerPage)
	checkTable(t, &tab, want)
}

// Of a large table that grew by itself at least three fifths are in use, of one for which room was made all that may be.
func TestTableRoom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var grown, made table
	grown.init(1)
	made.init(1)
	const n = 1 << 20
	made.reserve(n)
	room := len(made.slots.pages)
	for i := range uint32(n) {
		hash := rnd.Uint32()
		grown.insert(hash, i+1)
		made.insert(hash, i+1)
		if i > 4*growLeast && grown.n*5 < int(grown.homes)*3 {
			t.Fatalf("%d of %d places are in use", grown.n, grown.homes)
		}
	}
	if len(made.slots.pages) != room {
		t.Errorf("%d pages became %d", room, len(made.slots.pages))
	}
	if most := n/4*5 + 3*slotsPerPage; room*slotsPerPage > most {
		t.Errorf("%d pages, %d places would do", room, most)
	}
}

func countSlots(tab *table) (n int) {
	for _, p := range tab.slots.pages {
		for _, s := range p {
			if s.ref != 0 {
				n++
			}
		}
	}
	return n
}

// A posting through all its forms: one list, chunks of lists, bitsets; in
// order and at random; with versions that must not change.
func TestPosting(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, spread := range []uint32{200, 9000, 1 << 18} {
		var p posting
		want := map[ID]bool{}
		for epoch := range uint64(30) {
			old, was := p, p.append(nil)
			for range 400 {
				id := ID(1 + rnd.Uint32N(spread))
				if epoch < 10 {
					id = ID(epoch*400) + ID(len(want)%400) + 1
				}
				switch {
				case want[id] && (epoch > 20 || rnd.IntN(2) == 0):
					p.remove(id, epoch+1)
					delete(want, id)
				case !want[id]:
					p.add(id, epoch+1)
					want[id] = true
				}
			}
			got := p.append(nil)
			if len(got) != len(want) || int(p.count) != len(got) || !slices.IsSorted(got) {
				t.Fatalf("%d ids, count %d, want %d", len(got), p.count, len(want))
			}
			for _, id := range got {
				if !want[id] {
					t.Fatalf("%d does not belong", id)
				}
			}
			if !slices.Equal(old.append(nil), was) {
				t.Fatal("an old version has changed")
			}
		}
		for id := range want {
			p.remove(id, 99)
		}
		if got := p.append(nil); len(got) != 0 || p.count != 0 {
			t.Errorf("%d ids left", len(got))
		}
	}
}

// The numbers of postings that are empty are used again.
func TestIndexReusesPostings(t *testing.T) {
	var x index
	x.init()
	for round := range uint64(5) {
		for k := range uint32(300) {
			for id := range ID(3) {
				x.add(k*7919, id+1, round)
			}
		}
		for k := range uint32(300) {
			if got := x.append(nil, k*7919); !slices.Equal(got, []ID{1, 2, 3}) || x.count(k*7919) != 3 {
				t.Fatalf("key %d has %v", k, got)
			}
			for id := range ID(3) {
				x.remove(k*7919, id+1, round)
			}
			x.remove(k*7919, 9, round)
			if x.count(k*7919) != 0 || x.append(nil, k*7919) != nil {
				t.Fatalf("key %d is not empty", k)
			}
		}
	}
	if x.high != 300 || x.keys.n != 0 {
		t.Errorf("%d postings and %d keys in the end", x.high, x.keys.n)
	}
}
