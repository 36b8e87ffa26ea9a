package queue

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
)

// R24, R31, R34: random histories keep the invariants, whatever comes in which
// order: after each event Check holds, the state is what its records say and
// what the journal replays to, an error changed nothing, facts from upstream
// moved nobody, and what the effects have built is what Resume asks for.
func TestRandomHistories(t *testing.T) {
	taken, refused := 0, 0
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			h := history{t: t, state: NewState(), world: newWorld(), records: map[string][]byte{}}
			rnd := rand.New(rand.NewPCG(seed, 24))
			for range 300 {
				h.step(randomEvent(rnd))
			}
			h.replay()
			taken, refused = taken+h.taken, refused+h.refused
		})
	}
	if taken < 2000 || refused < 2000 {
		t.Errorf("%d events taken and %d refused: the histories are too tame", taken, refused)
	}
}

// randomEvent draws from few ids and names, so that they meet.
func randomEvent(rnd *rand.Rand) Event {
	id := ClaimID(fmt.Sprint("c", rnd.IntN(12)))
	name := []string{"A", "a", "B", "C", "x,cn=A", "y,cn=x,cn=a"}[rnd.IntN(6)]
	switch k := rnd.IntN(100); {
	case k < 3:
		return BaseSet{Norm: []string{testBase, testBase, "o=else"}[rnd.IntN(3)], Text: "ou=Package Listers"}
	case k < 40:
		e := claim(string(id), name)
		if k < 5 {
			e.Norm = "cn=stray,o=nowhere"
		}
		return e
	case k < 60:
		return ClaimRemoved{id}
	case k < 75:
		return Refreshed{id}
	case k < 88:
		return LinkChanged{ID: id, Online: true}
	}
	return LinkChanged{ID: id, Reason: []string{"refused", "timeout", "bad \xff"}[rnd.IntN(3)]}
}

// world is what carrying out effects builds.
type world struct {
	sessions  map[ClaimID]string // "follow" or "probe"
	published map[string]ClaimID
}

func newWorld() world {
	return world{map[ClaimID]string{}, map[string]ClaimID{}}
}

func (w world) act(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Follow:
			w.sessions[e.Claim] = "follow"
		case Probe:
			w.sessions[e.Claim] = "probe"
		case Stop:
			delete(w.sessions, e.Claim)
		case Publish:
			w.published[e.Norm] = e.Claim
		case Withdraw:
			delete(w.published, e.Norm)
		}
	}
}

// history applies events and checks after each.
type history struct {
	t              *testing.T
	state          *State
	world          world
	records        map[string][]byte // kept by Dirty alone
	journal        [][]byte
	taken, refused int
}

func (h *history) step(e Event) {
	t := h.t
	t.Helper()
	before, names := showRecords(h.state), maps.Clone(h.state.Names)
	twin, err := Load(Records(h.state))
	if err != nil {
		t.Fatal(err)
	}
	would := Refuses(h.state, e)
	if after := showRecords(h.state); after != before {
		t.Fatalf("%#v: asking whether it is refused made %s of %s", e, after, before)
	}
	effects, err := Apply(h.state, e)
	if fmt.Sprint(would) != fmt.Sprint(err) {
		t.Fatalf("%#v: refused with %v, foretold was %v", e, err, would)
	}
	twinEffects, twinErr := Apply(twin, e)
	if !reflect.DeepEqual(effects, twinEffects) || fmt.Sprint(err) != fmt.Sprint(twinErr) || showRecords(h.state) != showRecords(twin) {
		t.Fatalf("%#v: not deterministic: %v %v, %v %v", e, effects, err, twinEffects, twinErr)
	}
	if err != nil {
		h.refused++
		if after := showRecords(h.state); after != before {
			t.Fatalf("%#v: refused (%v), yet %s became %s", e, err, before, after)
		}
		return
	}
	h.taken++
	line, err := EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	h.journal = append(h.journal, line)
	h.checkState(e, names)
	h.checkEffects(e, effects)
}

// checkState looks at what the event made of the state.
func (h *history) checkState(e Event, names map[string]*Name) {
	t := h.t
	t.Helper()
	if err := Check(h.state); err != nil {
		t.Fatalf("after %#v: %v", e, err)
	}
	switch e.(type) {
	case Refreshed, LinkChanged:
		if !reflect.DeepEqual(names, h.state.Names) {
			t.Fatalf("%#v moved somebody", e)
		}
	}
	for name, value := range Dirty(h.state) {
		if h.records[name] = value; value == nil {
			delete(h.records, name)
		}
	}
	all := Records(h.state)
	if h.state.Next == 1 {
		delete(all, recordNext) // not written before the first claim
	}
	if !maps.EqualFunc(h.records, all, bytes.Equal) {
		t.Fatalf("after %#v the dirty records add up to %q, not to %q", e, h.records, all)
	}
}

// checkEffects carries the effects out, twice, and compares with what a
// restart would do; a Drop names a claim that is gone.
func (h *history) checkEffects(e Event, effects []Effect) {
	t := h.t
	t.Helper()
	h.world.act(effects)
	h.world.act(effects)
	fresh := newWorld()
	fresh.act(Resume(h.state))
	if !reflect.DeepEqual(h.world, fresh) {
		t.Fatalf("after %#v the effects built %v, and a restart builds %v", e, h.world, fresh)
	}
	for _, effect := range effects {
		if d, ok := effect.(Drop); ok && (h.state.Claims[d.Claim] != nil || d.Number == 0) {
			t.Fatalf("%#v drops %+v, which is there", e, d)
		}
	}
}

// replay runs the journal on an empty state.
func (h *history) replay() {
	s := NewState()
	for _, line := range h.journal {
		e, err := DecodeEvent(line)
		if err != nil {
			h.t.Fatalf("%s: %v", line, err)
		}
		mustApply(h.t, s, e)
	}
	if showRecords(s) != showRecords(h.state) {
		h.t.Errorf("the journal replays to %s, and the state was %s", showRecords(s), showRecords(h.state))
	}
}
