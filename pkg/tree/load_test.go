package tree

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"shaft/pkg/dit"
)

// loadCase is a random tree in the order of a start, with entries that have no parent, DNs that are
// taken, and UUIDs that two have.
func loadCase(r *rand.Rand, n int) (rows []Row, values []Value) {
	names := []string{baseDN}
	norms := []string{personTail}
	depths := []int{0}
	type item struct {
		row   Row
		v     Value
		depth int
	}
	var items []item
	for i := range n {
		at := r.IntN(len(names))
		rdn := fmt.Sprintf("uid=User%d", r.IntN(3*n))
		text, norm := rdn+","+names[at], fmt.Sprintf("uid=user%s,%s", rdn[len("uid=User"):], norms[at])
		if r.IntN(20) == 0 { // its parent is nobody's
			text, norm = rdn+",ou=None,"+names[at], fmt.Sprintf("uid=user%s,ou=none,%s", rdn[len("uid=User"):], norms[at])
		}
		u := spread(i)
		if r.IntN(20) == 0 {
			u = spread(r.IntN(n))
		}
		v := person(r.IntN(5))
		v.Norm, v.Text, v.RDNLen = []byte(norm), []byte(text), len(rdn)
		items = append(items, item{Row{UUID: u, CSN: dit.CSN(1000 + r.IntN(10*n)), Hash: uint64(i), Claim: 7}, v, depths[at] + 1})
		names, norms, depths = append(names, text), append(norms, norm), append(depths, depths[at]+1)
	}
	slices.SortStableFunc(items, func(a, b item) int {
		if a.depth != b.depth {
			return a.depth - b.depth
		}
		return int(a.row.CSN) - int(b.row.CSN)
	})
	for _, x := range items {
		rows, values = append(rows, x.row), append(values, x.v)
	}
	return rows, values
}

// What Load makes is what Put makes, entry by entry; what it leaves can be put.
func TestLoad(t *testing.T) {
	allLeft, allOthers := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		rows, values := loadCase(r, 1+r.IntN(3*tableBatch))
		replaced := func(b *Builder, i int) dit.UUID {
			u := dit.NewUUIDv5(dit.UUID{1}, fmt.Append(nil, i))
			if b.ByUUID(u) != 0 {
				t.Fatal("the replacement is taken")
			}
			return u
		}
		var m *Memory
		if seed%5 == 1 {
			m = NewMemory(0, &memoryScratch{}, func(err error) { t.Error(err) })
		}
		pack := NewPack(bundled(), options().Index, m)
		refs := make([]Ref, len(rows))
		for i := range values {
			refs[i] = pack.Add(values[i])
		}
		b := edit(plantedIn(t, m))
		b.Adopt(pack)
		put := map[int]bool{}
		others := map[int]dit.UUID{}
		left := b.Load(len(rows), func(i int) (Row, *Pack, Ref) {
			put[i] = true
			return rows[i], pack, refs[i]
		}, func(i int) dit.UUID {
			others[i] = replaced(b, i)
			return others[i]
		})
		if len(put) != len(rows) || !slices.IsSorted(left) {
			t.Fatalf("seed %d: %d of %d entries were asked for, left are %v", seed, len(put), len(rows), left)
		}
		taken := map[string]bool{}
		for i := range rows {
			if !slices.Contains(left, i) {
				if taken[string(values[i].Norm)] {
					t.Fatalf("seed %d: %s was put twice", seed, values[i].Norm)
				}
				taken[string(values[i].Norm)] = true
			}
		}
		for _, i := range left {
			if id, _ := b.Find(string(values[i].Norm)); id == 0 && b.v.has(b.v.parentOf(values[i].Norm)) {
				t.Fatalf("seed %d: %s was left though it has a parent and nobody has its name", seed, values[i].Norm)
			}
		}
		loaded := indexed(t, verified(t, b.Done()))

		want := edit(planted(t))
		for i := range rows {
			if slices.Contains(left, i) {
				continue
			}
			row := rows[i]
			if u, ok := others[i]; ok {
				row.UUID = u
			}
			if want.Put(row, values[i]) == 0 {
				t.Fatalf("seed %d: entry %d has no place", seed, i)
			}
		}
		sameTree(t, loaded, want.Done())
		allLeft, allOthers = allLeft+len(left), allOthers+len(others)
	}
	if allLeft == 0 || allOthers == 0 {
		t.Errorf("%d entries were left, %d had the UUID of another: nothing was tried", allLeft, allOthers)
	}
}

// indexed gives a version that was loaded its index, after which it is the same tree.
func indexed(t *testing.T, v *Version) *Version {
	t.Helper()
	if v.Indexed() {
		t.Fatal("what is loaded has an index already")
	}
	x := v.Index()
	if err := x.Reach(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	with := x.Into(v)
	if !with.Indexed() || v.Indexed() || with.Number() != v.Number() {
		t.Fatalf("indexed: %v, before it %v; numbers %d and %d", with.Indexed(), v.Indexed(), with.Number(), v.Number())
	}
	return verified(t, with)
}

// parentOf finds the entry above a name; 0 when there is none.
func (v *Version) parentOf(norm []byte) ID {
	c := cargoOf(Value{Norm: norm})
	id, _ := v.Find(string(norm[c.normCut+1:]))
	return id
}

// sameTree compares everything that a reader can ask for, in order.
func sameTree(t *testing.T, got, want *Version) {
	t.Helper()
	if got.Len() != want.Len() || got.Kinds() != want.Kinds() || got.CSN() != want.CSN() {
		t.Fatalf("%d entries, kinds %b, CSN %d; want %d, %b, %d", got.Len(), got.Kinds(), got.CSN(), want.Len(), want.Kinds(), want.CSN())
	}
	a, b := got.root, want.root
	for a != 0 && b != 0 {
		x, y := got.Entry(a), want.Entry(b)
		if string(x.DN()) != string(y.DN()) || x.Row() != y.Row() || string(x.User()) != string(y.User()) || string(x.Oper()) != string(y.Oper()) {
			t.Fatalf("%s %+v, want %s %+v", x.DN(), x.Row(), y.DN(), y.Row())
		}
		if got.ByUUID(x.Row().UUID) != a {
			t.Fatalf("%s is not found by its UUID", x.DN())
		}
		if id, _ := got.Find(got.Norm(a)); id != a {
			t.Fatalf("%s is not found by its DN", x.DN())
		}
		for _, key := range got.keys.keys(nil, x.User(), x.Oper()) {
			if !slices.Contains(got.index.append(nil, key), a) || got.index.count(key) != want.index.count(key) {
				t.Fatalf("%s is not found by its keys", x.DN())
			}
		}
		a, b = got.after(a, got.root), want.after(b, want.root)
	}
	if a != b {
		t.Fatalf("one goes on after the other's end: %d, %d", a, b)
	}
}

// A pack of another builder, or none, is left.
func TestLoadStrangePack(t *testing.T) {
	p := NewPack(bundled(), options().Index, nil)
	ref := p.Add(person(1))
	edit(planted(t)).Adopt(p)
	b := edit(planted(t))
	left := b.Load(2, func(i int) (Row, *Pack, Ref) { return Row{UUID: spread(i), CSN: 5}, p, ref + Ref(i) }, nil)
	if !slices.Equal(left, []int{0, 1}) {
		t.Errorf("left are %v", left)
	}
	if v := b.Done(); v.Len() != planted(t).Len() {
		t.Errorf("%d entries", v.Len())
	}
}
