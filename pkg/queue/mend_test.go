package queue

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// knownOf is what an engine knows besides a state's records.
func knownOf(s *State) Known {
	k := Known{
		BaseNorm: norm(testBase), BaseText: testBase, Trees: map[string]FoundName{}, Content: map[uint32]string{}, Shown: map[uint32]bool{},
		From: func(c *Claim) string { return string(c.ID) },
	}
	for id := range s.Lists {
		k.Lists = append(k.Lists, id)
	}
	for id, c := range s.Claims {
		if c.Entry == "" {
			k.Trees[string(id)] = FoundName{c.Name, c.Norm}
		}
		if c.Good {
			k.Content[c.Number] = string(id)
			k.Shown[c.Number] = s.Names[c.Norm].Head() == id
		}
	}
	return k
}

// mended does it twice: the outcome is the same, its records load, and it has nothing to tell of itself.
func mended(t *testing.T, records map[string][]byte, k Known) (*State, string) {
	t.Helper()
	s, told, err := Mend(records, k)
	if err != nil {
		t.Fatalf("%v, told %q", err, told)
	}
	twin, again, err := Mend(records, k)
	if err != nil || !reflect.DeepEqual(s, twin) || !slices.Equal(told, again) {
		t.Fatalf("not the same twice: %v\n%q\n%q", err, told, again)
	}
	loaded, err := Load(Records(s))
	if err != nil || !reflect.DeepEqual(loaded, s) {
		t.Fatalf("what it made does not load as it is: %v", err)
	}
	next, more, err := Mend(Records(s), k)
	if err != nil || len(more) > 0 || !maps.Equal(recordTexts(next), recordTexts(s)) {
		t.Fatalf("there is more to mend: %v, %q", err, more)
	}
	return s, strings.Join(told, "\n")
}

// R33: whatever is lost, unreadable, or of an earlier time than the rest, alone or together: it is made to
// agree. Where nothing is wrong nothing changes; a queue whose record is there keeps the order of all that is left of it.
func TestMendRandom(t *testing.T) {
	hit := 0
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 71))
		s, older := NewState(), []map[string][]byte{}
		for i := range 250 {
			Apply(s, randomEvent(rnd, s)) //nolint:errcheck // refusals change nothing
			if i%25 != 0 || s.BaseNorm != norm(testBase) {
				continue
			}
			older = append(older, Records(s))
			if same, told := mended(t, Records(s), knownOf(s)); told != "" || !maps.Equal(recordTexts(same), recordTexts(s)) {
				t.Fatalf("seed %d: nothing was wrong, and %s", seed, told)
			}
			records := Records(s)
			for _, name := range slices.Sorted(maps.Keys(records)) {
				switch before := older[rnd.IntN(len(older))]; rnd.IntN(8) {
				case 0:
					delete(records, name)
				case 1:
					records[name] = records[name][:len(records[name])/2]
				case 2:
					if records[name] = before[name]; records[name] == nil {
						delete(records, name)
					}
				case 3: // what was deleted comes back
					for _, gone := range slices.Sorted(maps.Keys(before)) {
						if records[gone] == nil && rnd.IntN(4) == 0 {
							records[gone] = before[gone]
						}
					}
				}
			}
			hit++
			got, _ := mended(t, records, knownOf(s))
			checkKept(t, seed, records, got)
		}
	}
	if hit < 100 {
		t.Errorf("%d states were hit", hit)
	}
}

// checkKept verifies that queues have the order of their records.
func checkKept(t *testing.T, seed uint64, records map[string][]byte, got *State) {
	t.Helper()
	for name, value := range records {
		var was Name
		if !strings.HasPrefix(name, recordNames) || decodeStrict(value, &was) != nil {
			continue
		}
		at := -1
		for _, id := range was.Claims {
			if c := got.Claims[id]; c == nil || c.Norm != strings.TrimPrefix(name, recordNames) {
				continue
			}
			i := slices.Index(got.Names[strings.TrimPrefix(name, recordNames)].Claims, id)
			if i <= at {
				t.Errorf("seed %d: the queue of %s was %v, and is %v", seed, name, was.Claims, got.Names[was.Norm].Claims)
			}
			at = i
		}
	}
}

// R33, R56: what becomes of each kind of record that is lost, and that it is told.
func TestR33Mend(t *testing.T) {
	state := func(t *testing.T) *State {
		s := based(t)
		for _, e := range []Event{
			claim("suse", "SuSe"), claim("mirror", "SuSe"), claim("debian", "Debian"), Refreshed{"suse"},
			ListAdded{"l"}, found("e1", "SuSe", "Own"), found("e2", "Gone"), ClaimSuppressed{"l/3"},
			ClaimMoved{"l/2", "cn=Else," + testBase, norm("cn=Else," + testBase)},
			Switched{"mirror", true},
		} {
			mustApply(t, s, e)
		}
		return s
	}
	suse, other := nameRecord(norm("cn=SuSe,"+testBase)), nameRecord(norm("cn=Else,"+testBase))
	for _, c := range []struct {
		gone  []string
		words string
		look  func(s *State) any
		want  any
	}{
		{[]string{"base"}, "it is the configured one", func(s *State) any { return s.BaseText }, testBase},
		{[]string{"next"}, "", func(s *State) any { return s.Next }, uint32(6)},
		{[]string{"claim/mirror"}, "the claim mirror on", func(s *State) any { return s.Names[s.Claims["mirror"].Norm].Claims }, []ClaimID{"mirror", "suse", "l/1"}},
		{[]string{"claim/suse"}, "with the content that it had", func(s *State) any { return s.Claims["suse"].Number }, uint32(1)},
		{[]string{"claim/suse", "claim/mirror"}, "its content is fetched anew", func(s *State) any { return s.Names[s.Claims["suse"].Norm].Claims }, []ClaimID{"mirror", "suse", "l/1"}},
		{[]string{"claim/l/2", other}, "", func(s *State) any { return s.Claims["l/2"].Name }, "cn=Own," + testBase},
		{[]string{"claim/l/2"}, "the claim l/2 on", func(s *State) any { return s.Claims["l/2"].Renamed }, true},
		{[]string{suse}, "it is 1 of 1 now", func(s *State) any { return s.Names[s.Claims["suse"].Norm].Head() }, ClaimID("suse")}, // whose content was shown
		{[]string{"list/l"}, "it is searched anew", func(s *State) any { return s.Lists["l"].Names }, 3},
		{[]string{"member/l/e1"}, "stays until its next search", func(s *State) any { return len(s.Members["l"]["e1"].Claims) }, 2},
		{[]string{"member/l/e1", "list/l", "claim/l/1"}, "searched anew", func(s *State) any { return len(s.Members["l"]["e1"].Claims) }, 1},
		{[]string{"member/l/e2"}, "", func(s *State) any { return s.Lists["l"].Names }, 2}, // the suppression is nowhere else
	} {
		t.Run(fmt.Sprint(c.gone), func(t *testing.T) {
			s := state(t)
			k := knownOf(s)
			k.Shown = map[uint32]bool{s.Claims["suse"].Number: true}
			records := Records(s)
			for _, name := range c.gone {
				if records[name] == nil {
					t.Fatalf("no record %q in %v", name, slices.Sorted(maps.Keys(records)))
				}
				delete(records, name)
			}
			got, told := mended(t, records, k)
			if !strings.Contains(told, c.words) || !reflect.DeepEqual(c.look(got), c.want) {
				t.Errorf("told %q, got %v, want %v", told, c.look(got), c.want)
			}
		})
	}
}

// Content of one source in two places: the head's is that which was shown.
func TestMendContent(t *testing.T) {
	s := based(t)
	for _, e := range []Event{claim("a", "X"), claim("b", "X"), Refreshed{"a"}, Switched{"b", true}} {
		mustApply(t, s, e)
	}
	records := Records(s)
	delete(records, "claim/a")
	delete(records, "claim/b")
	k := knownOf(s)
	k.Content, k.Shown = map[uint32]string{1: "x", 2: "x", 3: "y"}, map[uint32]bool{2: true, 3: true}
	k.From = func(*Claim) string { return "x" }
	got, _ := mended(t, records, k)
	if a, b := got.Claims["a"].Number, got.Claims["b"].Number; a != 1 || b != 2 || got.Names[norm("cn=X,"+testBase)].Head() != "b" || got.Next != 4 {
		t.Errorf("a has %d, b %d, next %d", a, b, got.Next)
	}
}

// A tree of which only its queue is left has the one content that is nobody's; where there is more than one such tree or
// content nobody knows, and no number is given twice.
func TestMendOnlyNamed(t *testing.T) {
	for _, c := range []struct {
		lost    []string
		content map[uint32]string
		want    map[string]uint32
	}{
		{[]string{"a"}, map[uint32]string{1: "x", 2: "b"}, map[string]uint32{"a": 1, "b": 2}},
		{[]string{"a"}, map[uint32]string{1: "", 2: "b"}, map[string]uint32{"a": 1, "b": 2}},
		{[]string{"a"}, map[uint32]string{1: "x", 2: "b", 3: "y"}, map[string]uint32{"b": 2}},
		{[]string{"a"}, map[uint32]string{2: "b"}, map[string]uint32{"b": 2}},
		{[]string{"a", "b"}, map[uint32]string{1: "x"}, map[string]uint32{}},
	} {
		s := based(t)
		for _, e := range []Event{claim("a", "X"), claim("b", "Y"), Refreshed{"a"}, Refreshed{"b"}} {
			mustApply(t, s, e)
		}
		records, k := Records(s), knownOf(s)
		k.Content, k.Next = c.content, 9
		k.From = func(*Claim) string { return "" }
		for _, id := range c.lost {
			delete(records, "claim/"+id)
			delete(k.Trees, id)
		}
		got, told := mended(t, records, k)
		numbers := map[string]uint32{}
		for id, c := range got.Claims {
			numbers[string(id)] = c.Number
		}
		if !maps.Equal(numbers, c.want) || got.Next != 9 || len(got.Names) != len(c.want) || told == "" {
			t.Errorf("lost %v with content %v: numbers %v, next %d, told %q", c.lost, c.content, numbers, got.Next, told)
		}
	}
}

// R33: a sound record of a kind or with a field that this version does not know, as after a way back to an older one, is
// not damage, wherever else there is some.
func TestMendNewer(t *testing.T) {
	for _, c := range []struct {
		name, value string
		newer       bool
	}{
		{"claim/suse", `{"id":"suse","colour":"green"}`, true},
		{"next", `{"first":7}`, false},
		{"base", `{"norm":"o=x","text":"o=x","more":{}}`, true},
		{"member/l/e", `{"list":"l","entry":"e","claims":[{"claim":"l/1","since":1}]}`, true},
		{"colours", `["green"]`, true},
		{"colours/suse", `{}`, true},
		{"colours/suse", `{`, false},
		{"claim/suse", `{"id":"suse","colour":"gre`, false},
		{"claim/suse", `{"id":7,"colour":"green"}`, false},
		{"claim/suse", `{"colour":"green"} {}`, false},
	} {
		records := Records(sample(t))
		records[c.name] = []byte(c.value)
		if _, err := Load(records); err == nil || errors.Is(err, ErrNewer) != c.newer {
			t.Errorf("%s %s: loading: %v", c.name, c.value, err)
		}
		records["alarm"] = []byte("{rubbish")
		_, told, err := Mend(records, Known{BaseNorm: norm(testBase), BaseText: testBase, From: func(*Claim) string { return "" }})
		if errors.Is(err, ErrNewer) != c.newer || c.newer && !strings.Contains(err.Error(), c.name) || !c.newer && err != nil {
			t.Errorf("%s %s: mending: %v, told %q", c.name, c.value, err, told)
		}
	}
}

// Without any base nothing is thrown away: that is the one thing that an operator has to say.
func TestMendWithoutBase(t *testing.T) {
	records := Records(sample(t))
	delete(records, "base")
	if _, _, err := Mend(records, Known{}); err == nil || !strings.Contains(err.Error(), "set base_dn") {
		t.Errorf("error %v", err)
	}
	if s, told, err := Mend(nil, Known{}); err != nil || len(told) > 0 || s.Next != 1 {
		t.Errorf("of nothing: %v, %q", err, told)
	}
}

// FuzzMend: whatever the records say, the outcome agrees with itself.
func FuzzMend(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("base\x00{\"norm\":\"ou=package listers\",\"text\":\"ou=Package Listers\"}"))
	f.Add([]byte("claim/a\x00{\"id\":\"a\",\"number\":4294967295,\"subscription\":\"a\",\"name\":\"cn=a\",\"norm\":\"cn=a,ou=package listers\"}"))
	f.Add([]byte("member/l/e\x00{\"list\":\"l\",\"entry\":\"e\",\"dn\":\"o=x\",\"claims\":[{\"claim\":\"l/4294967295\",\"name\":\"cn=a\",\"norm\":\"cn=a,ou=package listers\"}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records := map[string][]byte{}
		for _, line := range strings.Split(string(data), "\n") {
			name, value, _ := strings.Cut(line, "\x00")
			records[name] = []byte(value)
		}
		k := Known{BaseNorm: norm(testBase), BaseText: testBase, From: func(*Claim) string { return "x" }, Content: map[uint32]string{7: "x", 9: "x"}, Trees: map[string]FoundName{"t": {"cn=T," + testBase, norm("cn=T," + testBase)}}, Lists: []string{"l"}}
		s, _, err := Mend(records, k)
		if errors.Is(err, ErrNewer) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(Records(s)); err != nil {
			t.Fatal(err)
		}
	})
}
