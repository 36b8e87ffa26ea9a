package tree

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// R42: readers go over versions all the time while thousands of changes are
// made, packs adopted and blocks compacted; each version stays as it was. Worth
// most with -race.
func TestReadersBesideBuilder(t *testing.T) {
	readersBesideBuilder(t, nil)
}

// The same while blocks leave memory under them, and come to lie where others lay.
func TestReadersBesideBuilderOutside(t *testing.T) {
	s := &memoryScratch{}
	readersBesideBuilder(t, NewMemory(2*blockSize, s, func(err error) { t.Error(err) }))
	if s.writes.Load() == 0 || s.reads.Load() == 0 {
		t.Error("nothing was moved")
	}
}

func readersBesideBuilder(t *testing.T, mem *Memory) {
	const entries = 300
	var current atomic.Pointer[Version]
	v := plantedIn(t, mem)
	current.Store(v)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var walks atomic.Int64
	for n := range 3 {
		wg.Go(func() {
			m := matcher(t, []string{"(objectClass=*)", "(sn=3)", "(hasSubordinates=TRUE)"}[n])
			for {
				if err := readWhole(current.Load(), Query{Scope: Sub, Matcher: m}); err != nil {
					t.Error(err)
				}
				walks.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for round := 0; round < 60 || walks.Load() < 12; round++ {
		b := edit(v)
		p := NewPack(bundled(), options().Index, mem)
		rows, refs := []Row{}, []Ref{}
		for range 40 {
			n := rnd.IntN(entries)
			v := at(t, under(fmt.Sprintf("cn=e%d,ou=g%d", n, rnd.IntN(5))), "sn", fmt.Sprint(n%5),
				"description", strings.Repeat("d", 4000+n))
			rows, refs = append(rows, Row{UUID: uuid(n + 2)}), append(refs, p.Add(v))
		}
		b.Adopt(p)
		for i := range rows {
			b.PutRef(rows[i], p, refs[i])
		}
		for range 5 {
			b.Delete(b.ByUUID(uuid(2+rnd.IntN(entries))), rnd.IntN(2) == 0)
		}
		v = b.Done()
		current.Store(v)
	}
	close(stop)
	wg.Wait()
	verified(t, v)
}

// readWhole reads all that a search gives and checks it against the version's own tables.
func readWhole(v *Version, q Query) error {
	q.Base = v.Root()
	for c := v.Search(q); c.Next(); {
		e := c.Entry()
		id, _ := v.Find(v.Norm(e.ID()))
		if id != e.ID() || v.ByUUID(e.Row().UUID) != id {
			return fmt.Errorf("%s is %d, but found as %d", e.DN(), e.ID(), id)
		}
		if err := e.User().Check(); err != nil {
			return fmt.Errorf("%s: %w", e.DN(), err)
		}
		if err := e.AppendComputed(nil).Check(); err != nil {
			return fmt.Errorf("%s: %w", e.DN(), err)
		}
	}
	return nil
}
