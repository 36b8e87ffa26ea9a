package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// R27: a revision is another whenever a queue is, and the same as long as it is.
func TestR27Revision(t *testing.T) {
	s := based(t)
	key := "cn=suse," + testBase
	if got := s.Revision(key); got != 0 {
		t.Errorf("no name has the revision %d", got)
	}
	had := map[uint64]string{0: "no name"}
	for _, e := range []Event{
		claim("suse", "SuSe"), claim("mirror", "suse"), claim("third", "suse"), QueueMoved{"third", 1}, ClaimRemoved{"third"},
		ClaimMoved{"suse", "CN=SUSE," + testBase, key}, ClaimRemoved{"suse"}, claim("suse", "SuSe"),
	} {
		mustApply(t, s, e)
		now := fmt.Sprintf("%#v", e)
		rev := s.Revision(key)
		if was, again := had[rev]; again && len(s.Names[key].Claims) != 2 {
			t.Errorf("after %s the revision is that after %s", now, was)
		}
		if rev == 0 || rev >= 1<<revisionBits {
			t.Errorf("after %s it is %d", now, rev)
		}
		had[rev] = now
		for _, fact := range []Event{Refreshed{"mirror"}, LinkChanged{ID: "mirror", Online: true}, claim("other"+fmt.Sprint(rev), "Other")} {
			if Refuses(s, fact) == nil {
				mustApply(t, s, fact)
			}
		}
		again, err := Load(Records(s))
		if err != nil || again.Revision(key) != rev || s.Revision(key) != rev {
			t.Errorf("after %s and a restart it is %d, not %d: %v", now, again.Revision(key), rev, err)
		}
	}
}

// wish is one about a name of an entry of the list l.
func wish(entry, name, to string) EntryWished {
	e := EntryWished{List: "l", Entry: entry, Wished: Wished{Name: "cn=" + name + "," + testBase, Norm: norm("cn=" + name + "," + testBase)}}
	switch to {
	case "":
	case "suppressed":
		e.Suppressed = true
	default:
		e.To, e.ToNorm = "cn="+to+","+testBase, norm("cn="+to+","+testBase)
	}
	return e
}

// R23, R27, R56: what cannot be wished is refused, and nothing has changed.
func TestWishRefusals(t *testing.T) {
	s := based(t)
	mustApply(t, s, ListAdded{"l"})
	mustApply(t, s, found("e1", "A", "a"))
	bad := wish("e2", "B", "C")
	bad.ToNorm = ""
	tests := []struct {
		what  string
		event EntryWished
		kind  string
		words string
	}{
		{"no entry", wish("", "B", "C"), KindInvalid, "no entryUUID"},
		{"no UTF-8", wish("\xff", "B", "C"), KindInvalid, "not UTF-8"},
		{"no new normal name", bad, KindInvalid, "no normal new name"},
		{"a name that is made", wish("e1", "A", "C"), KindExists, "too late"},
		{"too long", wish("e2", "B", strings.Repeat("x", maxWishBytes)), KindTooMany, "too much"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) { checkRefusal(t, s, test.event, test.kind, test.words) })
	}
	for i := 0; ; i++ {
		e := wish("e2", fmt.Sprint("many ", i), "suppressed")
		if Refuses(s, e) != nil {
			checkRefusal(t, s, e, KindTooMany, "too much")
			break
		}
		if mustApply(t, s, e); i > maxWishBytes/nameBytes {
			t.Fatal("there is no bound")
		}
	}
}

// R23, R27: what waits for a name that is full, or is full itself, makes a problem and no claim.
func TestWishForFullQueue(t *testing.T) {
	s := based(t)
	for i := range MaxQueue {
		mustApply(t, s, claim(fmt.Sprint("c", i), "Full"))
	}
	mustApply(t, s, ListAdded{"l"})
	mustApply(t, s, wish("e1", "A", "Full"))
	mustApply(t, s, found("e1", "A", "A"))
	m := s.Members["l"]["e1"]
	if len(m.Claims) != 0 || len(m.Problems) != 1 || !strings.Contains(m.Problems[0], "1000 claims already") {
		t.Errorf("%+v", m)
	}
	mustApply(t, s, ClaimRemoved{"c7"})
	mustApply(t, s, found("e1", "A", "A"))
	if q := s.Names["cn=full,"+testBase].Claims; q[len(q)-1] != "l/1" || len(s.Wishes) != 0 {
		t.Errorf("the queue ends with %s, wished is %v", q[len(q)-1], s.Wishes)
	}
}

// R24: wishes follow the normal forms of today; of two that have become one the first counts.
func TestRenormWishes(t *testing.T) {
	s := coloured(t)
	mustApply(t, s, ListAdded{"l"})
	for _, w := range []Wished{
		{Name: "color=Blue,color=All,o=X", Norm: "color=blue,color=all,o=x", To: "color=Sky,color=All,o=X", ToNorm: "color=sky,color=all,o=x"},
		{Name: "colour=blue,color=All,o=X", Norm: "colour=blue,color=all,o=x", Suppressed: true},
	} {
		mustApply(t, s, EntryWished{"l", "e1", w})
	}
	records := Records(s)
	if err := Renorm(s, british); err != nil {
		t.Fatal(err)
	}
	got := s.Wishes["l"]["e1"].Names
	if len(got) != 1 || got[0].Norm != "colour=blue,colour=all,o=x" || got[0].ToNorm != "colour=sky,colour=all,o=x" {
		t.Errorf("%+v", got)
	}
	checkDirty(t, s, records)
}

// A stored wish that does not agree with itself is an error that names it.
func TestLoadWishes(t *testing.T) {
	s := based(t)
	mustApply(t, s, ListAdded{"l"})
	mustApply(t, s, wish("e1", "A", "B"))
	good := Records(s)
	if again, err := Load(good); err != nil || len(again.Wishes["l"]) != 1 {
		t.Fatalf("%v", err)
	}
	tests := []struct{ name, value, words string }{
		{"wish/l/e1", `{"list":"l","entry":"e2","names":[{"name":"a","norm":"cn=a,` + testBase + `","suppressed":true}]}`, `"e2"`},
		{"wish/l/e1", `{"list":"l","entry":"e1","names":[]}`, "for nothing"},
		{"wish/l/e1", `{"list":"l","entry":"e1","names":[{"name":"a","norm":"o=else","suppressed":true}]}`, "not below"},
		{"wish/l/e1", `{"list":"l","entry":"e1","names":[{"name":"a","norm":"cn=a,` + testBase + `"}]}`, "for nothing"},
		{"wish/no/e1", `{"list":"no","entry":"e1","names":[{"name":"a","norm":"cn=a,` + testBase + `","suppressed":true}]}`, `no such list`},
		{"wish/l/e1", `{"list":"l"`, "byte"},
	}
	for _, test := range tests {
		records := maps.Clone(good)
		records[test.name] = []byte(test.value)
		if _, err := Load(records); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v, want %q", test.value, err, test.words)
		}
	}
}

// R27: whatever places are given, the queue is always the same claims, and the head the same.
func TestR27Places(t *testing.T) {
	s := based(t)
	for i := range 6 {
		mustApply(t, s, claim(fmt.Sprint("c", i), "A"))
	}
	rnd := rand.New(rand.NewPCG(27, 4))
	for range 200 {
		e := QueueMoved{ClaimID(fmt.Sprint("c", rnd.IntN(6))), rnd.IntN(7)}
		if Refuses(s, e) != nil {
			continue
		}
		if effects := mustApply(t, s, e); len(effects) > 0 {
			t.Fatalf("%#v: %v", e, effects)
		}
		n := s.Names["cn=a,"+testBase]
		sorted := slices.Sorted(slices.Values(n.Claims))
		if n.Head() != "c0" || n.Claims[e.Position] != e.ID || len(slices.Compact(sorted)) != 6 {
			t.Fatalf("%#v: %v", e, n.Claims)
		}
	}
}
