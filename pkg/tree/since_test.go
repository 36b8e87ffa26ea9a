package tree

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"shaft/pkg/dit"
)

// Invariant 10: what lies between two versions is what a comparison of all entries finds,
// however many versions lie between them, and in either direction.
func TestSince(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	csns := func(v *Version) map[dit.UUID]dit.CSN {
		all := map[dit.UUID]dit.CSN{}
		for c := v.Search(Query{Base: v.Root(), Scope: Sub}); c.Next(); {
			all[c.Entry().Row().UUID] = c.Entry().Row().CSN
		}
		return all
	}
	versions := []*Version{Empty(options()), planted(t)}
	for range 60 {
		b := edit(versions[len(versions)-1])
		for range 1 + r.IntN(40) {
			n := 2 + r.IntN(900)
			name := under("cn=" + string(rune('a'+n%26)) + string(rune('a'+n/26%26)))
			if r.IntN(3) == 0 {
				name = "cn=x," + name
			}
			if id := b.ByUUID(uuid(n)); id != 0 && r.IntN(2) == 0 {
				b.Delete(id, r.IntN(2) == 0)
			} else {
				b.Put(Row{UUID: uuid(n)}, at(t, name, "cn", "x"))
			}
		}
		versions = append(versions, b.Done())
	}
	for range 200 {
		from, to := versions[r.IntN(len(versions))], versions[r.IntN(len(versions))]
		before, after := csns(from), csns(to)
		want := map[dit.UUID]bool{}
		for u, c := range before {
			want[u] = after[u] != c
		}
		for u, c := range after {
			want[u] = before[u] != c
		}
		maps.DeleteFunc(want, func(_ dit.UUID, differs bool) bool { return !differs })
		got := map[dit.UUID]bool{}
		to.Since(from, func(u dit.UUID) { got[u] = true })
		if !maps.Equal(got, want) {
			t.Fatalf("%d of %d differ; missing or too many: %v", len(got), len(want), slices.Collect(maps.Keys(got)))
		}
	}
	versions[5].Since(versions[5], func(u dit.UUID) { t.Errorf("%s differs from itself", u) })
}

// Two versions of a large tree that differ in one entry share all other pages.
func BenchmarkSince(b *testing.B) {
	t := edit(Empty(options()))
	t.SetRoot(Row{UUID: uuid(1)}, at(b, baseDN))
	for n := range 100_000 {
		t.Put(Row{UUID: uuid(n + 2)}, at(b, under("cn="+uuid(n).String())))
	}
	old := t.Done()
	t = edit(old)
	t.Put(Row{UUID: uuid(50_000)}, at(b, under("cn="+uuid(49_998).String()), "sn", "x"))
	v := t.Done()
	for b.Loop() {
		n := 0
		if v.Since(old, func(dit.UUID) { n++ }); n != 1 {
			b.Fatal(n)
		}
	}
}
