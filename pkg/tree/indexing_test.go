package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// loadedPeople is a tree of people as a start loads it, not Indexed.
func loadedPeople(t *testing.T, n int) *Version {
	t.Helper()
	p := NewPack(bundled(), nil, nil)
	for i := range n {
		p.Add(at(t, under(fmt.Sprintf("uid=u%d", i)), "objectClass", "person", "uid", fmt.Sprintf("u%d", i), "sn", fmt.Sprint(i%3)))
	}
	b := edit(planted(t))
	b.Adopt(p)
	left := b.Load(n, func(i int) (Row, *Pack, Ref) { return Row{UUID: uuid(i + 2), CSN: dit.CSN(10 + i)}, p, Ref(i) }, nil)
	if len(left) != 0 {
		t.Fatalf("left are %v", left)
	}
	return verified(t, b.Done())
}

// foundBy lists what a search of everything finds, and tells whether it used the index.
func foundBy(t *testing.T, v *Version, filter string) (dns []string, byIndex bool) {
	t.Helper()
	c := v.Search(Query{Base: v.Root(), Scope: Sub, Matcher: matcher(t, filter)})
	for c.Next() {
		dns = append(dns, string(c.Entry().DN()))
	}
	slices.Sort(dns)
	return dns, c.indexed
}

// What is loaded answers at once, by walks; changes meanwhile are in the index that comes then, and
// what was read before stays as it was.
func TestIndexing(t *testing.T) {
	first := loadedPeople(t, 3*rowsPerPage)
	x := first.Index()
	if n := x.Behind(first); n != len(first.rows.pages) {
		t.Errorf("%d pages are behind, of %d", n, len(first.rows.pages))
	}
	if err := x.Reach(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	b := edit(first)
	b.Put(Row{UUID: uuid(2)}, at(t, under("uid=u0"), "uid", "u0", "uid", "another"))
	b.Put(Row{UUID: uuid(3)}, at(t, under("uid=u1,ou=elsewhere"), "uid", "u1"))
	b.Delete(b.ByUUID(uuid(4)), false)
	b.Put(Row{UUID: uuid(9999)}, at(t, under("uid=new"), "uid", "new"))
	last := verified(t, b.Done())
	if n := x.Behind(last); n == 0 || n > 2 {
		t.Errorf("%d pages are behind a change of two", n)
	}
	if err := x.Reach(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	indexed := verified(t, x.Into(last))
	b = edit(indexed)
	b.Put(Row{UUID: uuid(8888)}, at(t, under("cn=later"), "uid", "later"))
	after := verified(t, b.Done())
	for _, tt := range []struct {
		filter     string
		then, last []string
	}{
		{"(uid=u0)", []string{"uid=u0"}, []string{"uid=u0"}},
		{"(uid=another)", nil, []string{"uid=u0"}},
		{"(uid=u1)", []string{"uid=u1"}, []string{"uid=u1,ou=elsewhere"}},
		{"(uid=u2)", []string{"uid=u2"}, nil},
		{"(uid=new)", nil, []string{"uid=new"}},
		{"(&(uid=u5)(sn=2))", []string{"uid=u5"}, []string{"uid=u5"}},
		{"(|(uid=u5)(uid=u2))", []string{"uid=u2", "uid=u5"}, []string{"uid=u5"}},
	} {
		for _, of := range []struct {
			name  string
			v     *Version
			want  []string
			index bool
		}{{"loaded", first, tt.then, false}, {"changed", last, tt.last, false}, {"indexed", indexed, tt.last, true}, {"later", after, tt.last, true}} {
			got, byIndex := foundBy(t, of.v, tt.filter)
			for i := range got {
				got[i] = strings.TrimSuffix(got[i], ","+baseDN)
			}
			if !slices.Equal(got, of.want) || byIndex != of.index {
				t.Errorf("%s in what is %s: %q, want %q; by the index: %v", tt.filter, of.name, got, of.want, byIndex)
			}
		}
	}
	if _, byIndex := foundBy(t, first, "(entryUUID="+fmt.Sprint(uuid(7))+")"); !byIndex {
		t.Error("the table of UUIDs was not used, which is there from the first on")
	}
}

// Another block that takes a number which was given up is not taken for the one before.
func TestIndexingNumbersTakenAgain(t *testing.T) {
	large := func(uid string) Value {
		return at(t, under("cn=large"), "uid", uid, "description", strings.Repeat(uid, ownBlock))
	}
	put := func(v *Version, uid string) *Version {
		b := edit(v)
		b.Put(Row{UUID: uuid(99999)}, large(uid))
		return verified(t, b.Done())
	}
	v := put(loadedPeople(t, 3), "a")
	x := v.Index()
	if err := x.Reach(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	was := *v.row(v.ByUUID(uuid(99999)))
	v = put(put(v, "b"), "c")
	if is := v.row(v.ByUUID(uuid(99999))); is.block != was.block || is.off != was.off {
		t.Fatalf("the value is at %d in block %d, was at %d in block %d: nothing was tried", is.off, is.block, was.off, was.block)
	}
	if err := x.Reach(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	verified(t, x.Into(v))
}

// Who stops waits for no more than a page.
func TestIndexingStopped(t *testing.T) {
	v := loadedPeople(t, 3*rowsPerPage)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Index().Reach(ctx, v); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// Nothing loaded, nothing to be made.
func TestLoadNothing(t *testing.T) {
	b := edit(planted(t))
	b.Load(0, nil, nil)
	if v := verified(t, b.Done()); !v.Indexed() {
		t.Error("the index is gone")
	}
}

// A search misses the index where it would walk far, and the index could answer.
func TestMisses(t *testing.T) {
	v := loadedPeople(t, longWalk)
	ou := v.Root()
	u0, _ := v.Find(dn(t, under("uid=u0")).Norm())
	for _, tt := range []struct {
		filter string
		base   ID
		scope  Scope
		misses bool
	}{
		{"(uid=u1)", ou, Sub, true},
		{"(uid=u1)", ou, One, true},
		{"(uid=u1)", ou, Subordinate, true},
		{"(uid=u1)", ou, Base, false},
		{"(uid=u1)", u0, Sub, false},
		{"(uid=u1)", v.high + 1, Sub, false},
		{"(&(description=x)(uid=u1))", ou, Sub, true},
		{"(|(description=x)(uid=u1))", ou, Sub, false},
		{"(description=x)", ou, Sub, false},
		{"(objectClass=*)", ou, Sub, false},
		{"(entryUUID=" + fmt.Sprint(uuid(3)) + ")", ou, Sub, false},
	} {
		q := Query{Base: tt.base, Scope: tt.scope, Matcher: matcher(t, tt.filter)}
		if got := v.Misses(q); got != tt.misses {
			t.Errorf("%s, scope %d of %d: %v", tt.filter, tt.scope, tt.base, got)
		}
		if x := indexed(t, v); x.Misses(q) {
			t.Errorf("%s misses the index though it is there", tt.filter)
		}
	}
	if v.Misses(Query{Base: ou, Scope: Sub}) || loadedPeople(t, 100).Misses(Query{Base: ou, Scope: Sub, Matcher: matcher(t, "(uid=u1)")}) {
		t.Error("a search of everything, or a short one, misses it")
	}
}
