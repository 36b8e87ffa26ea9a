package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// innerPlaces are names that come and go: one in another, one beside.
var innerPlaces = []string{"cn=0,ou=a," + name, "cn=1,cn=0,ou=a," + name, "cn=1,ou=b," + name}

func innerSuffix(i int) string { return fmt.Sprint("cn=inner", i) }

// R7, R12, R16, R33, R35: names inside come and go while the outer source is
// refreshed and changes; whenever all is quiet the tree is what the sources say, and
// when the last of them went the outer source's content is whole.
func TestRandomInnerNames(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomInnerNames(t, seed)
		})
	}
}

// inners is the world with the names inside that there are.
type inners struct {
	*world
	outer *ldaptest.Server
	at    []*ldaptest.Server // for innerPlaces
	on    []bool
	r     *rand.Rand
}

func randomInnerNames(t *testing.T, seed uint64) {
	in := &inners{world: newWorld(t), on: make([]bool, len(innerPlaces)), r: rand.New(rand.NewPCG(seed, 21))}
	in.outer = serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, PresentPhase: seed%2 == 1})
	for i := range innerPlaces {
		in.at = append(in.at, serve(t, ldaptest.Options{Suffix: innerSuffix(i), LDIF: subtree(innerSuffix(i), fmt.Sprint("inner", i), 4)}))
	}
	in.add("s", "cn=Here", in.source(in.outer, suffix))
	in.awaitEqual(in.outer, suffix, name)
	from := in.e.Version().CSN()
	for range 10 {
		in.round(rand.New(rand.NewPCG(in.r.Uint64(), 22)))
		in.settled()
		if in.r.IntN(4) == 0 {
			in.restart()
		}
	}
	for i := range innerPlaces {
		if in.on[i] {
			in.toggle(i)
		}
	}
	in.awaitEqual(in.outer, suffix, name)
	in.awaitLive(name)
	in.check()
	in.checkStored()
	in.checkLog(from)
	in.restart()
	must(t, in.e.do(t.Context(), func() {
		for id, cl := range in.e.claims {
			if len(cl.hidden)+len(cl.inner) > 0 {
				t.Errorf("claim %s still hides %d entries below %q", id, len(cl.hidden), cl.inner)
			}
		}
	}))
	if left := in.stored(recordUnhide); len(left) > 0 {
		t.Errorf("names are noted as gone: %q", left)
	}
}

// round has the outer source write, break and refresh while names come and go;
// now and then a refresh is held up until they have.
func (in *inners) round(r *rand.Rand) {
	in.t.Helper()
	release := func() {}
	switch in.r.IntN(3) {
	case 0: // names change during a refresh that has begun
		held, goOn := make(chan struct{}, 100), make(chan struct{})
		script(in.outer, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			held <- struct{}{}
			select {
			case <-goOn:
			case <-q.Done:
			}
			return false, nil
		})
		in.outer.Down()
		randomWrites(in.t, in.r, in.outer)
		must(in.t, in.outer.Up())
		<-held
		release = func() { close(goOn); in.outer.SetScript(nil) }
	case 1: // in the midst of its messages
		in.outer.CutAfter(in.r.IntN(10))
		in.outer.Stall()
		release = in.outer.Resume
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 4 {
			randomWrites(in.t, r, in.outer)
			if r.IntN(3) == 0 {
				in.outer.Down()
				randomWrites(in.t, r, in.outer)
				if err := in.outer.Up(); err != nil {
					in.t.Error(err)
				}
			}
		}
	})
	for range 1 + in.r.IntN(4) {
		i := in.r.IntN(len(innerPlaces))
		in.toggle(i)
		if in.on[i] && in.r.IntN(2) == 0 {
			in.awaitLive(innerPlaces[i])
		}
	}
	if in.r.IntN(5) == 0 { // a restart with all of it under way
		in.restart()
	}
	release()
	wg.Wait()
	in.outer.CutAfter(-1)
}

func (in *inners) toggle(i int) {
	in.t.Helper()
	id := fmt.Sprint("inner", i)
	if in.on[i] = !in.on[i]; in.on[i] {
		in.add(id, innerPlaces[i], in.source(in.at[i], innerSuffix(i)))
	} else {
		in.remove(id)
	}
}

// settled waits until the tree is what all sources say together.
func (in *inners) settled() {
	in.t.Helper()
	want := in.upstreamContent(in.outer, suffix, name)
	for i, place := range innerPlaces {
		if !in.on[i] {
			continue
		}
		maps.DeleteFunc(want, func(dn, _ string) bool { return dn == place || strings.HasSuffix(dn, ","+place) })
		maps.Copy(want, in.upstreamContent(in.at[i], innerSuffix(i), place))
	}
	deadline := time.Now().Add(10 * time.Second)
	await(in.t, "the merged tree", func() bool {
		got := in.content()
		if time.Now().After(deadline) {
			in.t.Fatalf("names %v: %s%+v", in.on, differences(want, got), in.name(name).Head)
		}
		return maps.Equal(got, want)
	})
	in.check()
	in.checkStored()
}
