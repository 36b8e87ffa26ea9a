package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// R36: what cannot be held, rejected or ended is refused with its kind, and changes nothing.
func TestHoldRefusals(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("suse", "SuSe"))
	mustApply(t, s, Refreshed{"suse"})
	mustApply(t, s, claim("empty", "Empty"))
	mustApply(t, s, ListAdded{"l"})
	tests := []struct {
		name  string
		event Event
		kind  string
		words string
	}{
		{"unknown", RefreshHeld{"nobody", "aa", "words"}, KindNotFound, "no claim and no list"},
		{"no id", RefreshHeld{"", "aa", "words"}, KindNotFound, "no claim and no list"},
		{"no fingerprint", RefreshHeld{"suse", "", "words"}, KindInvalid, "has no fingerprint"},
		{"no cause", RefreshHeld{"suse", "aa", ""}, KindInvalid, "has no cause"},
		{"fingerprint not UTF-8", RefreshHeld{"suse", "\xff", "words"}, KindInvalid, "not UTF-8"},
		{"long cause", RefreshHeld{"suse", "aa", strings.Repeat("x", maxHoldCause+1)}, KindInvalid, "at most"},
		{"no content", RefreshHeld{"empty", "aa", "words"}, KindInvalid, "no content yet"},
		{"a list without content", RefreshHeld{"l", "aa", "words"}, KindInvalid, "no content yet"},
		{"reject nothing", HoldRejected{"suse", "aa"}, KindNotHeld, "no refresh"},
		{"reject of nobody", HoldRejected{"nobody", "aa"}, KindNotFound, "no claim and no list"},
		{"end nothing", HoldEnded{"suse"}, KindNotHeld, "no refresh"},
	}
	for _, test := range tests {
		before := showRecords(s)
		_, err := Apply(s, test.event)
		refusal, ok := err.(*Refusal)
		if !ok || refusal.Kind != test.kind || !strings.Contains(refusal.Reason, test.words) {
			t.Errorf("%s: %v", test.name, err)
		}
		if after := showRecords(s); after != before {
			t.Errorf("%s: was refused and changed the state", test.name)
		}
	}
}

// R36: a cause may come with what a server sent, and is text all the same.
func TestHoldCauseIsText(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("suse", "SuSe"))
	mustApply(t, s, Refreshed{"suse"})
	mustApply(t, s, RefreshHeld{"suse", "aa", "it would remove cn=\xff"})
	if h := s.HoldOf("suse"); h.Cause != "it would remove cn=\uFFFD" || !h.Is() {
		t.Errorf("%+v", h)
	}
	if h := s.HoldOf("nobody"); h.Is() {
		t.Errorf("of nobody %+v", h)
	}
}

// R36: what is held is part of the claim's and of the list's record, and goes with a refresh.
func TestHoldDirty(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("suse", "SuSe"))
	mustApply(t, s, Refreshed{"suse"})
	mustApply(t, s, ListAdded{"l"})
	mustApply(t, s, ListRefreshed{"l"})
	steps := []struct {
		event Event
		dirty string
		held  bool
	}{
		{RefreshHeld{"suse", "aa", "words"}, "claim/suse", true},
		{RefreshHeld{"suse", "aa", "words"}, "", true},
		{HoldRejected{"suse", "aa"}, "claim/suse", true},
		{RefreshHeld{"suse", "aa", "words"}, "", true},
		{Refreshed{"suse"}, "claim/suse", false},
		{RefreshHeld{"l", "aa", "words"}, "list/l", true},
		{HoldEnded{"l"}, "list/l", false},
	}
	for i, step := range steps {
		mustApply(t, s, step.event)
		dirty := Dirty(s)
		if len(dirty) > 1 || step.dirty != "" && dirty[step.dirty] == nil || step.dirty == "" && len(dirty) > 0 {
			t.Errorf("step %d: %q changed, not %s", i, dirty, step.dirty)
		}
		if held := strings.Contains(string(dirty[step.dirty]), `"held"`); step.dirty != "" && held != step.held {
			t.Errorf("step %d: %s", i, dirty[step.dirty])
		}
	}
}

// R36: records that hold what cannot be are refused at the start, by their names.
func TestLoadHolds(t *testing.T) {
	s := based(t)
	mustApply(t, s, claim("suse", "SuSe"))
	mustApply(t, s, Refreshed{"suse"})
	mustApply(t, s, ListAdded{"l"})
	mustApply(t, s, ListRefreshed{"l"})
	mustApply(t, s, RefreshHeld{"suse", "aa", "words"})
	mustApply(t, s, RefreshHeld{"l", "aa", "words"})
	tests := []struct{ record, from, to, words string }{
		{"claim/suse", `"cause":"words"`, `"cause":""`, "held of the claim"},
		{"claim/suse", `"print":"aa"`, `"print":""`, "held of the claim"},
		{"claim/suse", `"good":true`, `"good":false`, "held of the claim"},
		{"claim/suse", `"cause":`, `"because":`, "unknown field"},
		{"list/l", `"cause":"words"`, `"cause":""`, "held of the list"},
		{"list/l", `"good":true`, `"good":false`, "held of the list"},
	}
	for _, test := range tests {
		records := Records(s)
		text := strings.Replace(string(records[test.record]), test.from, test.to, 1)
		if text == string(records[test.record]) {
			t.Fatalf("%s lacks %s: %s", test.record, test.from, text)
		}
		records[test.record] = []byte(text)
		if _, err := Load(records); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s with %s: %v", test.record, test.to, err)
		}
	}
}

// randomHold draws an event of holds, of a claim or of a list.
func randomHold(rnd *rand.Rand, s *State, id string) Event {
	if rnd.IntN(3) == 0 {
		id = fmt.Sprint("l", rnd.IntN(3))
	}
	for _, known := range slices.Sorted(maps.Keys(s.Claims)) { // mostly one that is held
		if s.HoldOf(string(known)).Is() && rnd.IntN(3) > 0 {
			id = string(known)
		}
	}
	print := []string{"aa", "bb"}[rnd.IntN(2)]
	switch rnd.IntN(5) {
	case 0:
		return HoldEnded{id}
	case 1, 2:
		if h := s.HoldOf(id); h.Is() && rnd.IntN(2) == 0 {
			print = h.Print
		}
		return HoldRejected{id, print}
	}
	return RefreshHeld{id, print, "bad \xff"}
}
