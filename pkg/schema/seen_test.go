package schema

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestSeen asks for descriptions in orders that change, among them more than are kept and longer ones.
func TestSeen(t *testing.T) {
	made := 0
	s := NewSeen(func(desc []byte) string { made++; return strings.ToUpper(string(desc)) })
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 50_000 {
		desc := fmt.Sprintf("attr%d", r.IntN(1+i/50))
		if i%100 == 0 {
			desc = strings.Repeat(desc, 20)
		}
		if got := *s.Of([]byte(desc)); got != strings.ToUpper(desc) {
			t.Fatalf("of %q: %q", desc, got)
		}
		if len(s.byDesc) > maxSeen {
			t.Fatalf("%d are kept", len(s.byDesc))
		}
	}
	made = 0
	for i := range 1000 {
		s.Of(fmt.Appendf(nil, "same%d", i%20))
	}
	if made != 20 {
		t.Errorf("20 descriptions were made %d times", made)
	}
}

// TestSeenNoGarbage: what is known costs no memory, in whatever order.
func TestSeenNoGarbage(t *testing.T) {
	s := NewSeen(func(desc []byte) int { return len(desc) })
	names := [][]byte{[]byte("cn"), []byte("sn"), []byte("objectClass"), []byte("cn")}
	n := testing.AllocsPerRun(100, func() {
		for _, name := range names {
			s.Of(name)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
