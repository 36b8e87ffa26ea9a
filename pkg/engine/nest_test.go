package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/schema"
)

// bare is an engine that holds names alone: no store, no goroutine.
func bare() *Engine {
	e := &Engine{schema: schema.Bundled(), state: queue.NewState(), claims: map[queue.ClaimID]*claim{}, byNum: map[uint32]*claim{}, placed: map[string]*claim{}, subs: map[string]*Subscription{}}
	must := func(ev queue.Event) {
		if _, err := queue.Apply(e.state, ev); err != nil {
			panic(err)
		}
	}
	must(queue.BaseSet{Norm: "o=x", Text: "o=x"})
	e.renest()
	return e
}

func (e *Engine) bareAdd(t testing.TB, id, name string, gen uint32) {
	t.Helper()
	dn, err := dit.ParseDN(e.schema, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queue.Apply(e.state, queue.ClaimAdded{ID: queue.ClaimID(id), Subscription: id, Name: name, Norm: dn.Norm()}); err != nil {
		t.Fatal(err)
	}
	sub := &Subscription{ID: id}
	e.subs[id] = sub
	e.claims[queue.ClaimID(id)] = &claim{id: queue.ClaimID(id), sub: sub, name: dn, gen: gen}
	e.barePlace(dn.Norm())
}

// barePlace has a name show its head's content, if it has some.
func (e *Engine) barePlace(norm string) {
	delete(e.placed, norm)
	if n := e.state.Names[norm]; n != nil && e.claims[n.Head()].gen > 0 {
		e.placed[norm] = e.claims[n.Head()]
	}
}

// R7: the inner names that are kept up to date name by name are those that are
// computed anew.
func TestRandomNesting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	e := bare()
	name := func() string {
		dn := "o=x"
		for range 1 + r.IntN(4) {
			dn = fmt.Sprintf("cn=%d,%s", r.IntN(3), dn)
		}
		return dn
	}
	for i := range 3000 {
		ids := slices.Sorted(maps.Keys(e.claims))
		switch what := r.IntN(3); {
		case what == 0 || len(ids) == 0:
			dn := name()
			e.bareAdd(t, fmt.Sprint("s", i), dn, uint32(r.IntN(2)))
			e.renestAt(e.claims[queue.ClaimID(fmt.Sprint("s", i))].name.Norm())
		case what == 1:
			cl := e.claims[ids[r.IntN(len(ids))]]
			cl.gen = 1
			e.barePlace(cl.name.Norm())
			e.renestAt(cl.name.Norm())
		case len(ids) > 20 || r.IntN(2) == 0:
			cl := e.claims[ids[r.IntN(len(ids))]]
			if _, err := queue.Apply(e.state, queue.ClaimRemoved{ID: cl.id}); err != nil {
				t.Fatal(err)
			}
			delete(e.claims, cl.id)
			e.barePlace(cl.name.Norm())
			e.renestAt(cl.name.Norm())
		}
		kept := map[queue.ClaimID][]string{}
		for id, cl := range e.claims {
			kept[id] = cl.inner
		}
		all := e.overlaps()
		for norm := range e.state.Names {
			if one := e.overlapsOf(norm); !slices.Equal(one, all[norm]) {
				t.Fatalf("step %d: %s overlaps %q, or %q", i, norm, one, all[norm])
			}
		}
		was := e.nest
		e.renest()
		for id, cl := range e.claims {
			if !slices.Equal(kept[id], cl.inner) {
				t.Fatalf("step %d: %s has the inner names %q, computed anew %q", i, cl.name, kept[id], cl.inner)
			}
			for _, dn := range []string{"cn=5," + cl.name.Norm(), name()} {
				slow := slices.ContainsFunc(cl.inner, func(inner string) bool { return underNorm(dn, inner) })
				if hiddenBy(cl.inner, []byte(dn)) != slow {
					t.Fatalf("step %d: %s in %q is hidden: %v", i, dn, cl.inner, !slow)
				}
			}
		}
		if !maps.Equal(was.below, e.nest.below) || !maps.Equal(was.known, e.nest.known) {
			t.Fatalf("step %d: counted %v, anew %v", i, was.below, e.nest.below)
		}
	}
}

// manyNames is an engine of n names, a tenth of which lie inside others.
func manyNames(t testing.TB, n int) *Engine {
	e := bare()
	for i := range n {
		dn := fmt.Sprintf("cn=%d,ou=%d,o=x", i, i%100)
		if i%10 == 0 {
			dn = fmt.Sprintf("cn=inner,cn=%d,ou=%d,o=x", i+1, (i+1)%100)
		}
		e.bareAdd(t, fmt.Sprint("s", i), dn, 1)
	}
	e.o.Now = time.Now
	e.renest()
	return e
}

func (e *Engine) allNames() (out []Name) {
	overlaps := e.overlaps()
	for norm, n := range e.state.Names {
		out = append(out, e.name(n, overlaps[norm]))
	}
	return out
}

// R15: what one name needs does not grow with the number of names, and a list of all
// of them with its length alone.
func TestManyNames(t *testing.T) {
	small, large := manyNames(t, 1000), manyNames(t, 10_000)
	once := func(e *Engine) time.Duration {
		least := time.Hour
		for range 5 {
			begun := time.Now()
			if e.allNames() == nil {
				t.Fatal("no names")
			}
			e.renest()
			least = min(least, time.Since(begun))
		}
		return least
	}
	if a, b := once(small), once(large); b > 60*a { // compared pair by pair it is 100 times as much, or more
		t.Errorf("1,000 names take %v, 10,000 take %v", a, b)
	}
}

func BenchmarkNames(b *testing.B) {
	e := manyNames(b, 10_000)
	for b.Loop() {
		e.allNames()
	}
}

func BenchmarkRenest(b *testing.B) {
	e := manyNames(b, 10_000)
	for b.Loop() {
		e.renest()
	}
}

func BenchmarkRenestAt(b *testing.B) {
	e := manyNames(b, 10_000)
	for b.Loop() {
		e.renestAt("cn=1,ou=1,o=x")
	}
}
