package ldapd

import (
	"math/rand/v2"
	"testing"

	"shaft/pkg/dit"
)

// R40: whatever the order of the steps, their cookies grow up to the version's; by each
// everything up to its CSN has been sent, and without a count nothing newer, so that one
// who comes back with it is told of what came and went meanwhile.
func TestDateSteps(t *testing.T) {
	const from = dit.CSN(100)
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 7))
		steps := make([]step, 1+r.IntN(8))
		for i, n := range r.Perm(len(steps)) {
			if r.IntN(4) > 0 { // else a delete whose CSN is not known
				steps[i].csn = from + 1 + dit.CSN(2*n)
			}
		}
		to := from + dit.CSN(2*len(steps)+r.IntN(3))
		cookies, last := dateSteps(steps, from, to, 1, 0), ""
		for i, c := range cookies {
			at := readCookie([]byte("rid=001"+string(c)), 1, to)
			if at.unknown || at.initial || string(c) <= last {
				t.Fatalf("seed %d: cookie %q after %q", seed, c, last)
			}
			last = string(c)
			for k, s := range steps {
				if missing := k > i && (s.csn <= at.csn && s.csn != 0 || s.csn == 0 && at.csn > from); missing {
					t.Fatalf("seed %d: cookie %q of step %d covers step %d of CSN %d", seed, c, i, k, s.csn)
				}
				if k <= i && s.csn > at.csn && !at.between {
					t.Fatalf("seed %d: cookie %q of step %d says nothing of CSN %d, which was sent", seed, c, i, s.csn)
				}
			}
		}
		if want := string(cookieAt(to, 0, 1)); last != want {
			t.Fatalf("seed %d: the last cookie is %q, want %q", seed, last, want)
		}
	}
}
