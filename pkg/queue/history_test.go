package queue

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// fullCheck is how many steps there are between looks at everything. In between only what an
// event touched is looked at: values are replaced, never changed, so that pointers tell.
const fullCheck = 50

// history applies events and checks after each.
type history struct {
	t       *testing.T
	rnd     *rand.Rand
	state   *State
	twin    *State            // what the journal's lines make, one by one, without a restart
	records map[string][]byte // kept by Dirty alone
	world   *world
	taken   map[string]int // how many of each event and effect, and of what else happens
	steps   int
}

func newHistory(t *testing.T, rnd *rand.Rand, taken map[string]int) *history {
	return &history{
		t: t, rnd: rnd, state: NewState(), twin: NewState(), records: map[string][]byte{}, world: newWorld(), taken: taken,
	}
}

// fail ends the test with the step at which it happened.
func (h *history) fail(e Event, format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("step %d, %#v: %s", h.steps, e, fmt.Sprintf(format, args...))
}

func (h *history) step(e Event) {
	h.steps++
	was := h.state.Clone()
	if h.steps%fullCheck == 0 {
		h.checkAll()
		text := showRecords(was)
		defer func() {
			if now := showRecords(was); now != text {
				h.fail(e, "who holds what was there finds it changed, from %s to %s", text, now)
			}
		}()
	}
	would := Refuses(h.state, e)
	if d := changes(was, h.state); len(d) > 0 {
		h.fail(e, "asking whether it is refused changed %q", d)
	}
	effects, err := Apply(h.state, e)
	if !sameError(would, err) {
		h.fail(e, "refused with %v, foretold was %v", err, would)
	}
	if err != nil {
		h.taken["refused"]++
		if d := changes(was, h.state); len(d) > 0 || h.state.Next != was.Next || len(Dirty(h.state)) > 0 || len(effects) > 0 {
			h.fail(e, "refused (%v), yet changed are %q, dirty %q, effects %v", err, d, Dirty(h.state), effects)
		}
		if _, twinErr := Apply(h.twin, e); !sameError(err, twinErr) {
			h.fail(e, "refused with %v, and replayed with %v", err, twinErr)
		}
		return
	}
	h.count(e, effects)
	h.checkTwin(e, effects)
	if err := Check(h.state); err != nil {
		h.fail(e, "%v", err)
	}
	h.checkDirty(e, was)
	h.checkQueues(e, was)
	h.checkClaims(e, was)
	h.checkMembers(e, was)
	h.checkLingers(e, was, effects)
	h.checkMoves(e, was, effects)
	h.act(e, effects)
}

func (h *history) count(e Event, effects []Effect) {
	h.taken[e.event()]++
	for _, effect := range effects {
		what, _, _ := strings.Cut(showEffect(effect), " ")
		h.taken[what]++
	}
}

func sameError(a, b error) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error())
}

// changes names the records in which two states differ that were one, but for "next".
func changes(was, now *State) []string {
	var out []string
	if was.BaseNorm != now.BaseNorm || was.BaseText != now.BaseText {
		out = append(out, recordBase)
	}
	out = changed(out, was.Claims, now.Claims, claimRecord)
	out = changed(out, was.Names, now.Names, nameRecord)
	out = changed(out, was.Lists, now.Lists, listRecord)
	out = changed(out, was.Lingers, now.Lingers, lingerRecord)
	for _, s := range []*State{was, now} {
		for list := range s.Lists {
			if s == was || was.Lists[list] == nil {
				out = changed(out, was.Members[list], now.Members[list], func(entry string) string { return memberRecord(list, entry) })
				out = changed(out, was.Wishes[list], now.Wishes[list], func(entry string) string { return wishRecord(list, entry) })
			}
		}
	}
	return out
}

// changed adds the records of what is not the same thing in both.
func changed[K comparable, V any](to []string, was, now map[K]*V, record func(K) string) []string {
	for k, v := range now {
		if was[k] != v {
			to = append(to, record(k))
		}
	}
	for k := range was {
		if now[k] == nil {
			to = append(to, record(k))
		}
	}
	return to
}

// checkTwin replays the event from its line in the journal, and looks whether it does the
// same there. What is found again as it was changes nothing.
func (h *history) checkTwin(e Event, effects []Effect) {
	line, err := EncodeEvent(e)
	if err != nil {
		h.fail(e, "%v", err)
	}
	again, err := DecodeEvent(line)
	if err != nil {
		h.fail(e, "%s: %v", line, err)
	}
	twinEffects, err := Apply(h.twin, again)
	if err != nil || !slices.Equal(effects, twinEffects) || !maps.EqualFunc(Dirty(h.state), Dirty(h.twin), bytes.Equal) {
		h.fail(e, "replayed it does %v, %v, dirty %q, and did %v, dirty %q", twinEffects, err, Dirty(h.twin), effects, Dirty(h.state))
	}
	if _, ok := e.(EntryFound); !ok {
		return
	}
	if effects, err := Apply(h.twin, e); err != nil || len(effects) > 0 || len(Dirty(h.twin)) > 0 {
		h.fail(e, "found again as it was: %v, effects %v, dirty %q", err, effects, Dirty(h.twin))
	}
}

// checkDirty looks whether all that changed is dirty, and brings the records up to date.
func (h *history) checkDirty(e Event, was *State) {
	dirty := Dirty(h.state)
	for _, name := range changes(was, h.state) {
		if _, ok := dirty[name]; !ok {
			h.fail(e, "%q changed, and dirty are %q", name, dirty)
		}
	}
	for name, value := range dirty {
		if h.records[name] = value; value == nil {
			delete(h.records, name)
		}
	}
}

// checkAll looks at the whole state: the records that Dirty brought up to date are its records,
// and those of what the journal replays to.
func (h *history) checkAll() {
	for what, s := range map[string]*State{"the state": h.state, "what the journal replays to": h.twin} {
		all := Records(s)
		if s.Next == 1 {
			delete(all, recordNext) // not written before the first claim
		}
		if !maps.EqualFunc(h.records, all, bytes.Equal) {
			h.t.Fatalf("step %d: the dirty records add up to %q, and %s is %q", h.steps, h.records, what, all)
		}
	}
}

// act carries the effects out, all of them twice; or it all stops before the last, and begins
// anew with the records.
func (h *history) act(e Event, effects []Effect) {
	switch e := e.(type) {
	case Refreshed: // its content went in with it
		h.world.refreshed(h.state.Claims[e.ID])
	}
	switch k := h.rnd.IntN(50); {
	case k == 0:
		h.taken["crash"]++
		h.restart()
	case k == 1:
		h.taken["half"]++
		h.world.act(h.state, effects[:h.rnd.IntN(len(effects)+1)])
		h.restart()
	default:
		h.world.act(h.state, effects)
		h.world.act(h.state, effects)
		if k == 2 {
			h.taken["restart"]++
			h.restart()
		}
	}
	if err := h.world.check(h.state); err != nil {
		h.fail(e, "the effects are %v: %v", effects, err)
	}
}

// restart goes on with what the records say.
func (h *history) restart() {
	s, err := Load(h.records)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := Renorm(s, plain); err != nil || len(Dirty(s)) > 0 {
		h.t.Fatalf("step %d: %v, at the start dirty are %q", h.steps, err, Dirty(s))
	}
	h.state = s
	h.world.restart(s)
}

// checkQueues looks at who stands where.
func (h *history) checkQueues(e Event, was *State) {
	switch e := e.(type) {
	case Refreshed, LinkChanged, ListRefreshed, ListLinkChanged, LingerEnded, EntryWished, RefreshHeld, HoldRejected, HoldEnded:
		for norm, n := range h.state.Names {
			if was.Names[norm] != n {
				h.fail(e, "it moved somebody at %q", norm)
			}
		}
	case QueueMoved:
		h.checkPlaced(e, e.ID, e.Position, was)
	case Switched:
		h.checkPlaced(e, e.ID, 0, was)
		if c := was.Claims[e.ID]; was.Names[c.Norm].Head() == e.ID || !c.Good && !e.Forced {
			h.fail(e, "it was taken, of %+v", c)
		}
	default:
		h.checkOrder(e, was)
	}
}

// checkOrder looks whether those who were in a queue and still are stand before
// all others, in the order in which they stood.
func (h *history) checkOrder(e Event, was *State) {
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
			h.fail(e, "the queue of %q was %q and is %q", norm, had, n.Claims)
		}
	}
}

// checkPlaced looks whether only the one claim stands elsewhere, at the position.
func (h *history) checkPlaced(e Event, id ClaimID, position int, was *State) {
	for norm, old := range was.Names {
		n, want := h.state.Names[norm], old.Claims
		if moved := norm == h.state.Claims[id].Norm; moved {
			want = slices.DeleteFunc(slices.Clone(old.Claims), func(other ClaimID) bool { return other == id })
			want = slices.Insert(want, position, id)
			if h.state.Revision(norm) == was.Revision(norm) {
				h.fail(e, "the revision of %q is still %d", norm, was.Revision(norm))
			}
		}
		if !slices.Equal(n.Claims, want) {
			h.fail(e, "the queue of %q was %q and is %q", norm, old.Claims, n.Claims)
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
	ended, _ := e.(LingerEnded)
	for norm, n := range was.Names {
		now, before := h.state.Names[norm], shown(was, norm)
		stays := now != nil && slices.Contains(n.Claims, now.Head())
		head := h.state.Claims[n.Head()]
		gone := head == nil || head.Number != was.Claims[n.Head()].Number
		lasts := stays && before != 0 && (gone || was.Lingers[norm] != nil) && ended.Norm != norm
		l := h.state.Lingers[norm]
		if (l != nil) != lasts || l != nil && l.Number != before {
			h.fail(e, "%q showed %d, and what lingers there is %+v; it is to be there: %v", norm, before, l, lasts)
		}
		if l != nil && l != was.Lingers[norm] && !slices.Contains(effects, Effect(Lasting{norm, n.Head(), before})) {
			h.fail(e, "%+v lingers, effects %v", l, effects)
		}
	}
	left := numbersOf(was)
	for n := range numbersOf(h.state) {
		delete(left, n)
	}
	for _, effect := range effects {
		if d, ok := effect.(Drop); ok && !left[d.Number] {
			h.fail(e, "it drops %+v, which is needed or was dropped", d)
		} else if ok {
			delete(left, d.Number)
		}
	}
	if len(left) > 0 {
		h.fail(e, "nobody needs the numbers %v, effects %v", left, effects)
	}
}

// checkClaims looks at each claim: numbers are new or were its own, what it has it keeps.
func (h *history) checkClaims(e Event, was *State) {
	for id, c := range h.state.Claims {
		old := was.Claims[id]
		switch {
		case old == c:
		case (old == nil || old.Number != c.Number) && c.Number < was.Next:
			h.fail(e, "the claim %q has the number %d, which was used before", id, c.Number)
		case old != nil && old.Number != c.Number:
			h.fail(e, "the claim %q was number %d and is %d", id, old.Number, c.Number)
		case old != nil && old.Good && !c.Good:
			h.fail(e, "the claim %q lost its content", id)
		case old != nil:
			if c.Base == old.Base { // else it is void: the source is another
				h.checkHold(e, string(id), old.Held, c.Held)
			} else if c.Held.Is() {
				h.fail(e, "held of %q, whose base is another, is %+v", id, c.Held)
			}
		}
	}
}

// checkHold looks whether only who held it, rejects it or takes a refresh changes what is held.
func (h *history) checkHold(e Event, of string, was, now Hold) {
	want := was
	switch e := e.(type) {
	case RefreshHeld:
		if e.Of == of {
			want = Hold{Print: e.Print, Cause: clean(e.Cause), Rejected: was.Rejected && was.Print == e.Print}
		}
	case HoldRejected:
		want.Rejected = want.Rejected || e.Of == of
	case HoldEnded:
		if e.Of == of {
			want = Hold{}
		}
	case Refreshed:
		if string(e.ID) == of {
			want = Hold{}
		}
	case ListRefreshed:
		if e.ID == of {
			want = Hold{}
		}
	}
	if now != want {
		h.fail(e, "held of %q was %+v, is %+v, and is to be %+v", of, was, now, want)
	}
}

// checkMembers looks at what lists have: ids are new, an operator's rename beats the template.
func (h *history) checkMembers(e Event, was *State) {
	for list, members := range h.state.Members {
		next := uint32(1) // a list of its own, though its id was there before
		if l := was.Lists[list]; l != nil {
			next = l.Next
			h.checkHold(e, list, l.Held, h.state.Lists[list].Held)
		}
		for entry, m := range members {
			old := was.Members[list][entry]
			if old == m {
				continue
			}
			for _, mc := range m.Claims {
				there := old != nil && slices.ContainsFunc(old.Claims, func(o MemberClaim) bool { return o.Claim == mc.Claim })
				h.checkGranted(e, was, mc, there)
				if !there && listNumber(mc.Claim) < next {
					h.fail(e, "the id %q was used before", mc.Claim)
				}
				c := was.Claims[mc.Claim]
				if _, found := e.(EntryFound); found && c != nil && c.Renamed && h.state.Claims[c.ID].Name != c.Name {
					h.fail(e, "the claim %q, which an operator renamed %q, is %q", c.ID, c.Name, h.state.Claims[c.ID].Name)
				}
			}
		}
	}
}

// checkGranted looks whether a claim that was made now is as it was wished, if it was,
// and the wish is forgotten.
func (h *history) checkGranted(e Event, was *State, mc MemberClaim, there bool) {
	found, ok := e.(EntryFound)
	if !ok || there {
		return
	}
	w, _ := was.wished(found.List, found.Entry, mc.Norm)
	c := h.state.Claims[mc.Claim]
	if mc.Suppressed != w.Suppressed || !w.Suppressed && c.Renamed != (w.To != "" && w.To != mc.Name) || !w.Suppressed && w.To != "" && c.Name != w.To {
		h.fail(e, "%+v was wished, and made is %+v, %+v", w, mc, c)
	}
	if w, still := h.state.wished(found.List, found.Entry, mc.Norm); still {
		h.fail(e, "granted, %+v is wished still", w)
	}
	if !w.nothing() {
		h.taken["granted"]++
	}
}

// checkMoves looks whether each claim whose name is another moves, and no other.
func (h *history) checkMoves(e Event, was *State, effects []Effect) {
	moves := map[Move]bool{}
	for _, effect := range effects {
		if m, ok := effect.(Move); ok {
			moves[m] = true
		}
	}
	for id, c := range h.state.Claims {
		if old := was.Claims[id]; old != nil && old.Name != c.Name {
			if m := (Move{id, old.Norm, c.Norm}); !moves[m] {
				h.fail(e, "%q was %+v and is %+v, effects %v", id, old, c, effects)
			} else {
				delete(moves, m)
			}
		}
	}
	if len(moves) > 0 {
		h.fail(e, "nothing asks for %v", moves)
	}
}
