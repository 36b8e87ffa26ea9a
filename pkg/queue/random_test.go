package queue

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// steps is how long the random histories are, all together; "make test-long" has long ones.
var steps = flag.Int("steps", 16_000, "steps of the random histories")

// historySteps is how long one of them is: it begins with nothing, and the ids and names are
// few, so that a longer one meets nothing new.
const historySteps = 500

// R21, R23, R24, R27, R28, R30, R31, R33, R34, R36: random histories keep the invariants, whatever
// comes in which order, and whenever it all stops and begins again: after each event Check
// holds, the state is what its records say and what the journal replays to, an error changed
// nothing, facts from upstream moved nobody, and what the effects have built is what Resume asks
// for. Numbers and ids are never used again, content and renames stay with their claims. What a
// name shows goes only for the next one's content, or with the name.
func TestRandomHistories(t *testing.T) {
	taken := map[string]int{}
	for seed := range uint64(max(1, *steps/historySteps)) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 24))
			h := newHistory(t, rnd, taken)
			for range historySteps {
				h.step(randomEvent(rnd, h.state))
			}
			h.checkAll()
		})
	}
	for _, what := range append(slices.Collect(maps.Keys(decoders)), "follow", "probe", "stop", "drop", "publish", "withdraw",
		"move", "reload", "lasting", "granted", "restart", "crash", "half") {
		if taken[what] < *steps/800 {
			t.Errorf("%d of %s: the histories are too tame", taken[what], what)
		}
	}
	if taken["refused"] < *steps/8 {
		t.Errorf("%d events refused: the histories are too tame", taken["refused"])
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
		text := []string{"ou=Package Listers", "OU=package listers", "o=Else"}[rnd.IntN(3)]
		return BaseSet{Norm: norm(text), Text: text}
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
