package queue

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// R21, R23, R24, R27, R28, R30, R31, R34: random histories keep the invariants, whatever comes in which
// order: after each event Check holds, the state is what its records say and
// what the journal replays to, an error changed nothing, facts from upstream
// moved nobody, and what the effects have built is what Resume asks for.
// Numbers and ids are never used again, content and renames stay with their claims. What a
// name shows goes only for the next one's content, or with the name.
func TestRandomHistories(t *testing.T) {
	taken, refused := map[string]int{}, 0
	for seed := range uint64(32) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			h := history{
				t: t, state: NewState(), world: newWorld(), records: map[string][]byte{},
				numbers: map[uint32]bool{}, ids: map[ClaimID]bool{}, taken: taken,
			}
			rnd := rand.New(rand.NewPCG(seed, 24))
			for range 450 {
				h.step(randomEvent(rnd, h.state))
			}
			h.replay()
			refused += h.refused
		})
	}
	for _, what := range append(slices.Collect(maps.Keys(decoders)), "follow", "probe", "stop", "drop", "publish", "withdraw", "move", "reload", "lasting", "granted") {
		if taken[what] < 20 {
			t.Errorf("%d of %s: the histories are too tame", taken[what], what)
		}
	}
	if refused < 2000 {
		t.Errorf("%d events refused: the histories are too tame", refused)
	}
}

// randomEvent draws from few ids and names, so that they meet.
func randomEvent(rnd *rand.Rand, s *State) Event {
	id := ClaimID(fmt.Sprint("c", rnd.IntN(12)))
	if ids := slices.Sorted(maps.Keys(s.Claims)); len(ids) > 0 && rnd.IntN(2) == 0 {
		id = ids[rnd.IntN(len(ids))]
	}
	if rnd.IntN(8) == 0 {
		return randomHold(rnd, s, string(id))
	}
	f := randomName(rnd)
	switch k := rnd.IntN(100); {
	case k < 3:
		return BaseSet{Norm: []string{testBase, testBase, "o=else"}[rnd.IntN(3)], Text: "ou=Package Listers"}
	case k < 20:
		return ClaimAdded{ID: id, Subscription: string(id), Name: f.Name, Norm: f.Norm}
	case k < 27:
		return ClaimRemoved{id}
	case k < 34:
		return Refreshed{id}
	case k < 38:
		return LinkChanged{ID: id, Online: true}
	case k < 42:
		return LinkChanged{ID: id, Reason: []string{"refused", "timeout", "bad \xff"}[rnd.IntN(3)]}
	case k < 52:
		return ClaimMoved{id, f.Name, f.Norm}
	case k < 57:
		return ClaimSuppressed{id}
	case k < 62:
		return QueueMoved{id, rnd.IntN(6) - 1}
	case k < 69:
		return Switched{id, rnd.IntN(3) == 0}
	case k < 75:
		if norms := slices.Sorted(maps.Keys(s.Lingers)); len(norms) > 0 && rnd.IntN(4) > 0 {
			return LingerEnded{norms[rnd.IntN(len(norms))]}
		}
		return LingerEnded{f.Norm}
	}
	return randomListEvent(rnd, s)
}

// randomName is below the base as a rule.
func randomName(rnd *rand.Rand) FoundName {
	name := []string{"A", "a", "B", "C", "D", "x,cn=A", "y,cn=x,cn=a", "stray"}[rnd.IntN(8)]
	dn := "cn=" + name + "," + testBase
	if name == "stray" && rnd.IntN(2) == 0 {
		dn = []string{"cn=stray,o=nowhere", testBase, "", "\xff," + testBase}[rnd.IntN(4)]
	}
	return FoundName{dn, norm(dn)}
}

func randomListEvent(rnd *rand.Rand, s *State) Event {
	list := fmt.Sprint("l", rnd.IntN(3))
	switch k := rnd.IntN(43); {
	case k < 4:
		return ListAdded{list}
	case k < 5:
		return ListRemoved{list}
	case k < 6:
		return ListRefreshed{list}
	case k < 8:
		return ListLinkChanged{ID: list, Online: k < 7, Reason: "timeout \xff"}
	case k < 13:
		e := ClaimLifted{ClaimID(fmt.Sprint(list, "/", 1+rnd.IntN(20)))}
		for _, entry := range slices.Sorted(maps.Keys(s.Members[list])) {
			for _, mc := range s.Members[list][entry].Claims {
				if mc.Suppressed {
					e.ID = mc.Claim
				}
			}
		}
		return e
	case k < 17:
		return EntryLost{list, fmt.Sprint("e", rnd.IntN(4))}
	case k < 22:
		return randomWish(rnd, list)
	}
	e := EntryFound{List: list, Entry: fmt.Sprint("e", rnd.IntN(4)), DN: []string{"cn=1,o=up", "cn=2,o=up", ""}[min(rnd.IntN(20)/10, 2)]}
	for range rnd.IntN(4) {
		e.Names = append(e.Names, randomName(rnd))
	}
	if w := s.Wishes[list][e.Entry]; w != nil && rnd.IntN(2) == 0 {
		e.Names = append(e.Names, FoundName{w.Names[0].Name, w.Names[0].Norm})
	}
	if rnd.IntN(4) == 0 {
		e.Problems = []string{"no value", "bad \xff"}[:1+rnd.IntN(2)]
	}
	return e
}

func randomWish(rnd *rand.Rand, list string) EntryWished {
	name, to := randomName(rnd), randomName(rnd)
	e := EntryWished{List: list, Entry: fmt.Sprint("e", rnd.IntN(6)), Wished: Wished{Name: name.Name, Norm: name.Norm}}
	switch rnd.IntN(4) {
	case 0:
		e.Suppressed = true
	case 1, 2:
		e.To, e.ToNorm = to.Name, to.Norm
	}
	return e
}

// world is what carrying out effects builds.
type world struct {
	sessions  map[ClaimID]string // "follow", "reload" or "probe"
	published map[string]ClaimID
	lists     map[string]bool
	lasting   map[string]uint32 // numbers, by normal form
}

func newWorld() world {
	return world{map[ClaimID]string{}, map[string]ClaimID{}, map[string]bool{}, map[string]uint32{}}
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
		case Reload:
			w.sessions[e.Claim] = "reload"
		case FollowList:
			w.lists[e.List] = true
		case StopList:
			delete(w.lists, e.List)
		case Lasting:
			w.lasting[e.Norm] = e.Number
		case Drop:
			maps.DeleteFunc(w.lasting, func(_ string, n uint32) bool { return n == e.Number })
		}
	}
}

// history applies events and checks after each.
type history struct {
	t       *testing.T
	state   *State
	world   world
	records map[string][]byte // kept by Dirty alone
	journal [][]byte
	numbers map[uint32]bool  // ever given to a claim
	ids     map[ClaimID]bool // ever given to a claim of a list that is there
	taken   map[string]int   // how many of each event and effect
	refused int
}

func (h *history) step(e Event) {
	t := h.t
	t.Helper()
	before := showRecords(h.state)
	was := h.snapshot()
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
	h.taken[e.event()]++
	for _, effect := range effects {
		what, _, _ := strings.Cut(showEffect(effect), " ")
		h.taken[what]++
	}
	line, err := EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	h.journal = append(h.journal, line)
	h.checkState(e, was)
	h.checkClaims(e, was)
	h.checkEffects(e, was, effects)
	h.checkLingers(e, was, effects)
	if _, ok := e.(EntryFound); !ok {
		return
	}
	if effects := mustApply(t, twin, e); len(effects) > 0 || len(Dirty(twin)) > 0 {
		t.Fatalf("%#v, found again as it was: effects %v, dirty %q", e, effects, Dirty(twin))
	}
}

// snapshot keeps what the state was: what it points to is replaced, never changed.
func (h *history) snapshot() *State {
	return h.state.Clone()
}

// checkState looks at what the event made of the state.
func (h *history) checkState(e Event, was *State) {
	t := h.t
	t.Helper()
	if err := Check(h.state); err != nil {
		t.Fatalf("after %#v: %v", e, err)
	}
	switch e.(type) {
	case Refreshed, LinkChanged, ListRefreshed, ListLinkChanged:
		if !reflect.DeepEqual(was.Names, h.state.Names) {
			t.Fatalf("%#v moved somebody", e)
		}
	}
	switch e := e.(type) {
	case QueueMoved:
		h.checkPlaced(e, e.ID, e.Position, was)
	case Switched:
		h.checkPlaced(e, e.ID, 0, was)
		if c := was.Claims[e.ID]; was.Names[c.Norm].Head() == e.ID || !c.Good && !e.Forced {
			t.Fatalf("%#v was taken, of %+v", e, c)
		}
	default:
		h.checkOrder(e, was)
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

// checkOrder looks whether those who were in a queue and still are stand before
// all others, in the order in which they stood.
func (h *history) checkOrder(e Event, was *State) {
	h.t.Helper()
	for norm, n := range h.state.Names {
		var stay, had []ClaimID
		if old := was.Names[norm]; old != nil {
			had = old.Claims
		}
		for _, id := range had {
			if slices.Contains(n.Claims, id) {
				stay = append(stay, id)
			}
		}
		if !slices.Equal(stay, n.Claims[:len(stay)]) {
			h.t.Fatalf("%#v: the queue of %q was %q and is %q", e, norm, had, n.Claims)
		}
	}
}

// checkPlaced looks whether only the one claim stands elsewhere, at the position.
func (h *history) checkPlaced(e Event, id ClaimID, position int, was *State) {
	h.t.Helper()
	for norm, old := range was.Names {
		n, want := h.state.Names[norm], old.Claims
		if moved := norm == h.state.Claims[id].Norm; moved {
			want = slices.DeleteFunc(slices.Clone(old.Claims), func(other ClaimID) bool { return other == id })
			want = slices.Insert(want, position, id)
			if h.state.Revision(norm) == was.Revision(norm) {
				h.t.Fatalf("%#v: the revision of %q is still %d", e, norm, was.Revision(norm))
			}
		}
		if !slices.Equal(n.Claims, want) {
			h.t.Fatalf("%#v: the queue of %q was %q and is %q", e, norm, old.Claims, n.Claims)
		}
	}
}

// shown is the number of the content that a name shows: of its head, or what lingers; 0 where
// it shows none.
func shown(s *State, norm string) uint32 {
	if l := s.Lingers[norm]; l != nil {
		return l.Number
	}
	if n := s.Names[norm]; n != nil && s.Claims[n.Head()].Good {
		return s.Claims[n.Head()].Number
	}
	return 0
}

// numbersOf is what there is content of in the store, at most.
func numbersOf(s *State) map[uint32]bool {
	out := make(map[uint32]bool, len(s.Claims)+len(s.Lingers))
	for _, c := range s.Claims {
		out[c.Number] = true
	}
	for _, l := range s.Lingers {
		out[l.Number] = true
	}
	return out
}

// checkLingers looks whether what lingers is what the name showed last, whether a head that
// is removed goes on being shown, and whether exactly what nobody needs any more is dropped.
func (h *history) checkLingers(e Event, was *State, effects []Effect) {
	t := h.t
	t.Helper()
	ended, _ := e.(LingerEnded)
	for norm, n := range was.Names {
		now, before := h.state.Names[norm], shown(was, norm)
		stays := now != nil && slices.Contains(n.Claims, now.Head())
		head := h.state.Claims[n.Head()]
		gone := head == nil || head.Number != was.Claims[n.Head()].Number
		lasts := stays && before != 0 && (gone || was.Lingers[norm] != nil) && ended.Norm != norm
		l := h.state.Lingers[norm]
		if (l != nil) != lasts || l != nil && l.Number != before {
			t.Fatalf("%#v: %q showed %d, and what lingers there is %+v; it is to be there: %v", e, norm, before, l, lasts)
		}
		if l != nil && l != was.Lingers[norm] && !slices.Contains(effects, Effect(Lasting{norm, n.Head(), before})) {
			t.Fatalf("%#v: %+v lingers, effects %v", e, l, effects)
		}
	}
	left := numbersOf(was)
	for n := range numbersOf(h.state) {
		delete(left, n)
	}
	for _, effect := range effects {
		if d, ok := effect.(Drop); ok && !left[d.Number] {
			t.Fatalf("%#v drops %+v, which is needed or was dropped", e, d)
		} else if ok {
			delete(left, d.Number)
		}
	}
	if len(left) > 0 {
		t.Fatalf("%#v: nobody needs the numbers %v, effects %v", e, left, effects)
	}
}

// checkClaims looks at each claim: numbers and ids are new or were its own, what
// it has it keeps, an operator's rename beats the template.
func (h *history) checkClaims(e Event, was *State) {
	t := h.t
	t.Helper()
	if l, ok := e.(ListAdded); ok { // a list of its own, though its id was there before
		maps.DeleteFunc(h.ids, func(id ClaimID, _ bool) bool { return strings.HasPrefix(string(id), l.ID+"/") })
	}
	for id, c := range h.state.Claims {
		old := was.Claims[id]
		switch {
		case (old == nil || old.Number != c.Number) && h.numbers[c.Number]:
			t.Fatalf("%#v: the claim %q has the number %d, which was used before", e, id, c.Number)
		case old != nil && old.Number != c.Number:
			t.Fatalf("%#v: the claim %q was number %d and is %d", e, id, old.Number, c.Number)
		case old != nil && old.Good && !c.Good:
			t.Fatalf("%#v: the claim %q lost its content", e, id)
		}
		h.numbers[c.Number] = true
	}
	for list, members := range h.state.Members {
		for entry, m := range members {
			old := map[ClaimID]MemberClaim{}
			if o := was.Members[list][entry]; o != nil {
				for _, mc := range o.Claims {
					old[mc.Claim] = mc
				}
			}
			for _, mc := range m.Claims {
				_, there := old[mc.Claim]
				h.checkGranted(e, was, mc, there)
				if !there && h.ids[mc.Claim] {
					t.Fatalf("%#v: the id %q was used before", e, mc.Claim)
				}
				h.ids[mc.Claim] = true
				c := was.Claims[mc.Claim]
				if _, found := e.(EntryFound); found && c != nil && c.Renamed && h.state.Claims[c.ID].Name != c.Name {
					t.Fatalf("%#v: the claim %q, which an operator renamed %q, is %q", e, c.ID, c.Name, h.state.Claims[c.ID].Name)
				}
			}
		}
	}
}

// checkGranted looks whether a claim that was made now is as it was wished, if it was,
// and the wish is forgotten.
func (h *history) checkGranted(e Event, was *State, mc MemberClaim, there bool) {
	h.t.Helper()
	found, ok := e.(EntryFound)
	if !ok || there {
		return
	}
	w, _ := was.wished(found.List, found.Entry, mc.Norm)
	c := h.state.Claims[mc.Claim]
	if mc.Suppressed != w.Suppressed || !w.Suppressed && c.Renamed != (w.To != "" && w.To != mc.Name) || !w.Suppressed && w.To != "" && c.Name != w.To {
		h.t.Fatalf("%#v: %+v was wished, and made is %+v, %+v", e, w, mc, c)
	}
	if w, still := h.state.wished(found.List, found.Entry, mc.Norm); still {
		h.t.Fatalf("%#v: granted, %+v is wished still", e, w)
	}
	if !w.nothing() {
		h.taken["granted"]++
	}
}

// checkEffects carries the effects out, twice, and compares with what a
// restart would do; a Move names what was and is.
func (h *history) checkEffects(e Event, was *State, effects []Effect) {
	t := h.t
	t.Helper()
	if r, ok := e.(Refreshed); ok && h.world.sessions[r.ID] == "reload" {
		h.world.sessions[r.ID] = "follow"
	}
	h.world.act(effects)
	h.world.act(effects)
	fresh := newWorld()
	fresh.act(Resume(h.state))
	if !reflect.DeepEqual(h.world, fresh) {
		t.Fatalf("after %#v the effects built %v, and a restart builds %v", e, h.world, fresh)
	}
	for _, effect := range effects {
		if m, ok := effect.(Move); ok && (m.From != was.Claims[m.Claim].Norm || m.To != h.state.Claims[m.Claim].Norm) {
			t.Fatalf("%#v: %+v, from %q to %q", e, m, was.Claims[m.Claim].Norm, h.state.Claims[m.Claim].Norm)
		}
	}
	for id, c := range h.state.Claims {
		old := was.Claims[id]
		if moved := old != nil && old.Name != c.Name; moved != slices.Contains(effects, Effect(Move{id, normOf(old), c.Norm})) {
			t.Fatalf("%#v: %q was %+v and is %+v, effects %v", e, id, old, c, effects)
		}
	}
}

func normOf(c *Claim) string {
	if c == nil {
		return ""
	}
	return c.Norm
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
