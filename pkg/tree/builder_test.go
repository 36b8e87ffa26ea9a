package tree

import (
	"fmt"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// putting puts an entry that has to get an id.
func putting(t *testing.T, b *Builder, n int, rdns string) {
	t.Helper()
	if b.Put(Row{UUID: uuid(n)}, at(t, under(rdns), "sn", "x")) == 0 {
		t.Fatalf("put %s gave no id", rdns)
	}
}

func deleting(t *testing.T, b *Builder, rdns string, subtree bool) {
	t.Helper()
	b.Delete(find(t, b.v, rdns), subtree)
}

// Each row plants entries with UUIDs from 2 on, makes one builder's changes,
// and tells what is there then and which changes were listed.
var buildings = []struct {
	name    string
	plant   string
	do      func(*testing.T, *Builder)
	names   string
	changes string
}{
	{"R7: missing parents become glue", "",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "cn=a,ou=b,ou=c") },
		"[ou=b,ou=c] [ou=c] cn=a,ou=b,ou=c", "+ou=c +ou=b,ou=c +cn=a,ou=b,ou=c"},
	{"R7: glue is replaced under its children", "cn=a,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 9, "ou=b") },
		"cn=a,ou=b ou=b", "-ou=b +ou=b"},
	{"R7: glue left childless goes, up to what is real", "ou=r cn=a,ou=b,ou=c,ou=r",
		func(t *testing.T, b *Builder) { deleting(t, b, "cn=a,ou=b,ou=c,ou=r", false) },
		"ou=r", "-cn=a,ou=b,ou=c,ou=r -ou=b,ou=c,ou=r -ou=c,ou=r"},
	{"R7: glue with another child stays", "cn=a,ou=b cn=c,ou=b",
		func(t *testing.T, b *Builder) { deleting(t, b, "cn=a,ou=b", false) },
		"[ou=b] cn=c,ou=b", "-cn=a,ou=b"},
	{"R31: a deleted parent becomes glue", "ou=b cn=a,ou=b",
		func(t *testing.T, b *Builder) { deleting(t, b, "ou=b", false) },
		"[ou=b] cn=a,ou=b", "-ou=b +ou=b"},
	{"R31: a subtree disappears, deepest first", "ou=b cn=a,ou=b cn=c,cn=a,ou=b cn=d,ou=b cn=z",
		func(t *testing.T, b *Builder) { deleting(t, b, "ou=b", true) },
		"cn=z", "-cn=d,ou=b -cn=c,cn=a,ou=b -cn=a,ou=b -ou=b"},
	{"deleting glue changes nothing", "cn=a,ou=b",
		func(t *testing.T, b *Builder) { deleting(t, b, "ou=b", false) },
		"[ou=b] cn=a,ou=b", ""},
	{"R2: the base entry never goes", "cn=a",
		func(t *testing.T, b *Builder) { deleting(t, b, "", true); deleting(t, b, "", true) },
		"", "-cn=a - +"},
	{"a put with the same UUID modifies", "cn=a",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "cn=a") },
		"cn=a", "~cn=a"},
	{"R4: a name is respelled, all below with it", "ou=b cn=a,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "OU=B") },
		"OU=B cn=a,OU=B", "~ou=b>OU=B ~cn=a,ou=b>cn=a,OU=B"},
	{"a subtree moves, its top first", "ou=b cn=a,ou=b cn=c,cn=a,ou=b cn=z",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "ou=n,cn=z") },
		"cn=a,ou=n,cn=z cn=c,cn=a,ou=n,cn=z cn=z ou=n,cn=z",
		"~ou=b>ou=n,cn=z ~cn=a,ou=b>cn=a,ou=n,cn=z ~cn=c,cn=a,ou=b>cn=c,cn=a,ou=n,cn=z"},
	{"a move out of glue takes it along", "cn=a,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "cn=a,ou=n") },
		"[ou=n] cn=a,ou=n", "+ou=n ~cn=a,ou=b>cn=a,ou=n -ou=b"},
	{"glue that moves is another", "ou=b cn=a,ou=g,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "ou=n") },
		"[ou=g,ou=n] cn=a,ou=g,ou=n ou=n", "~ou=b>ou=n -ou=g,ou=b +ou=g,ou=n ~cn=a,ou=g,ou=b>cn=a,ou=g,ou=n"},
	{"a real entry in the way is deleted, its children stay", "ou=b cn=a,ou=b cn=z",
		func(t *testing.T, b *Builder) { putting(t, b, 9, "ou=b") },
		"cn=a,ou=b cn=z ou=b", "-ou=b +ou=b"},
	{"so it is by a move", "ou=b cn=a,ou=b cn=z cn=y,cn=z",
		func(t *testing.T, b *Builder) { putting(t, b, 4, "ou=b") },
		"cn=a,ou=b cn=y,ou=b ou=b", "-ou=b ~cn=z>ou=b ~cn=y,cn=z>cn=y,ou=b"},
	{"of two children with one name the one there stays", "ou=b cn=a,ou=b cn=z cn=a,cn=z cn=i,cn=a,cn=z",
		func(t *testing.T, b *Builder) { putting(t, b, 4, "ou=b") },
		"cn=a,ou=b cn=i,cn=a,ou=b ou=b",
		"-ou=b -cn=a,cn=z ~cn=z>ou=b ~cn=i,cn=a,cn=z>cn=i,cn=a,ou=b"},
	{"but a real one rather than glue", "ou=b cn=h,cn=a,ou=b cn=z cn=a,cn=z cn=i,cn=a,cn=z",
		func(t *testing.T, b *Builder) { putting(t, b, 4, "ou=b") },
		"cn=a,ou=b cn=h,cn=a,ou=b cn=i,cn=a,ou=b ou=b",
		"-ou=b -cn=a,ou=b ~cn=z>ou=b ~cn=a,cn=z>cn=a,ou=b ~cn=i,cn=a,cn=z>cn=i,cn=a,ou=b"},
	{"a swap", "cn=a cn=k,cn=a cn=b",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "cn=b"); putting(t, b, 4, "cn=a") },
		"cn=a cn=b cn=k,cn=b", "-cn=b ~cn=a>cn=b ~cn=k,cn=a>cn=k,cn=b +cn=a"},
	{"a move below itself leaves glue", "ou=b cn=a,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "cn=n,cn=a,ou=b") },
		"[cn=a,ou=b] [ou=b] cn=a,cn=n,cn=a,ou=b cn=n,cn=a,ou=b",
		"+ou=b +cn=a,ou=b ~ou=b>cn=n,cn=a,ou=b ~cn=a,ou=b>cn=a,cn=n,cn=a,ou=b"},
	{"a move to its parent's name", "ou=b cn=a,ou=b cn=c,ou=b cn=d,cn=a,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 3, "ou=b") },
		"cn=c,ou=b cn=d,ou=b ou=b", "-ou=b ~cn=a,ou=b>ou=b ~cn=d,cn=a,ou=b>cn=d,ou=b"},
	{"a move to the base's name", "ou=b cn=a,ou=b",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "") },
		"cn=a", "- ~ou=b> ~cn=a,ou=b>cn=a"},
	{"a move of the base entry leaves glue", "cn=a",
		func(t *testing.T, b *Builder) { putting(t, b, 1, "cn=n") },
		"cn=a cn=n", "- + +cn=n"},
	{"what was added and deleted is listed as both", "",
		func(t *testing.T, b *Builder) { putting(t, b, 2, "cn=a"); deleting(t, b, "cn=a", false) },
		"", "+(gone) -cn=a"},
}

// R2, R4, R7, R31: puts, moves and deletes, one by one.
func TestBuilding(t *testing.T) {
	for _, c := range buildings {
		t.Run(c.name, func(t *testing.T) {
			v := grow(t, planted(t), strings.Fields(c.plant)...)
			before := dump(v)
			b := edit(v)
			c.do(t, b)
			if got := changes(b); got != c.changes {
				t.Errorf("changes: %s\nwant:    %s", got, c.changes)
			}
			last := v.CSN()
			for _, ch := range b.Changes() {
				if ch.Row.CSN <= last {
					t.Errorf("change %+v, CSN before was %d", ch, last)
				}
				last = ch.Row.CSN
			}
			next := verified(t, b.Done())
			if got := names(next); got != c.names {
				t.Errorf("there is: %s\nwant:     %s", got, c.names)
			}
			if next.CSN() != last {
				t.Errorf("CSN %d, newest change %d", next.CSN(), last)
			}
			if dump(v) != before {
				t.Error("the version before has changed")
			}
		})
	}
}

// What cannot be put is not, and nothing breaks.
func TestRefusedPuts(t *testing.T) {
	v := grow(t, planted(t), "cn=a", "cn=b,cn=a")
	b := v.Edit() // no glue to be had
	for name, c := range map[string]struct {
		n int
		v Value
	}{
		"outside the base":    {9, at(t, "cn=x,dc=other")},
		"above the base":      {9, at(t, "dc=example")},
		"suffix by accident":  {9, at(t, "cn=x,cou=Base,dc=example")},
		"no DN":               {9, Value{}},
		"no glue":             {9, at(t, under("cn=x,cn=y"))},
		"no glue for a move":  {2, at(t, under("cn=x,cn=y"))},
		"no glue for oneself": {2, at(t, under("cn=x,cn=a"))},
		"no glue at the base": {1, at(t, under("cn=x"))},
	} {
		if id := b.Put(Row{UUID: uuid(c.n)}, c.v); id != 0 {
			t.Errorf("%s: put as %d", name, id)
		}
	}
	b.Delete(find(t, v, "cn=a"), false)
	b.Delete(0, true)
	b.Delete(1<<20, true)
	b.SetRow(1<<20, Row{})
	b.Walk(1<<20, func(ID) { t.Error("walked nothing") })
	if id := b.SetRoot(Row{}, at(t, "dc=other")); id != 0 {
		t.Error("a second root")
	}
	if id := b.PutRef(Row{}, NewPack(v.Schema(), nil, nil), 3); id != 0 {
		t.Error("a ref of nothing was put")
	}
	b.Glue = glueFor
	if id := b.Put(Row{UUID: uuid(9)}, at(t, under(strings.Repeat("cn=x,", maxGlue+1)+"cn=y"))); id != 0 {
		t.Error("put below too much glue")
	}
	bad := at(t, under("cn=x,cn=y"))
	bad.Text = []byte("cn=x,=,")
	if id := b.Put(Row{UUID: uuid(9)}, bad); id != 0 {
		t.Error("put with a text that is no DN")
	}
	if got := changes(b); got != "" {
		t.Errorf("changes: %s", got)
	}
	if got := names(verified(t, b.Done())); got != "cn=a cn=b,cn=a" {
		t.Errorf("there is: %s", got)
	}
	if id := Empty(options()).Edit().Put(Row{UUID: uuid(3)}, at(t, under("cn=a"))); id != 0 {
		t.Error("put into a tree without base")
	}
}

// Glue never gets a UUID that is taken.
func TestGlueUUIDs(t *testing.T) {
	b := planted(t).Edit()
	b.Glue = func(dit.DN) (Row, Value) { return Row{UUID: uuid(1), Claim: 7}, Value{} }
	b.Put(Row{UUID: uuid(2)}, at(t, under("cn=a,cn=b,cn=c")))
	v := verified(t, b.Done())
	if v.Len() != 4 || v.Row(find(t, v, "cn=b,cn=c")).Claim != 7 {
		t.Errorf("%d entries: %s", v.Len(), names(v))
	}
}

func TestSetRow(t *testing.T) {
	v := grow(t, planted(t), "cn=a")
	b := edit(v)
	id := find(t, v, "cn=a")
	row := b.Row(id)
	b.SetRow(id, Row{Hash: 1, Claim: 2, Gen: 3})
	row.Hash, row.Claim, row.Gen = 1, 2, 3
	if got := b.Row(id); got != row || len(b.Changes()) != 0 {
		t.Errorf("row %+v, want %+v; changes %s", got, row, changes(b))
	}
	b.SetRow(id, Row{CSN: 99})
	b.SetCSN(7)
	if v := b.Done(); v.CSN() != 99 || v.Row(id).CSN != 99 {
		t.Errorf("CSN %d", v.CSN())
	}
}

// A CSN that is given is kept, the others come from NextCSN.
func TestCSNs(t *testing.T) {
	b := edit(planted(t))
	next := dit.CSN(100)
	b.NextCSN = func() dit.CSN { next++; return next }
	b.Put(Row{UUID: uuid(2)}, at(t, under("cn=a,ou=g")))
	b.Put(Row{UUID: uuid(3), CSN: 50}, at(t, under("cn=b")))
	v := b.Done()
	for rdns, want := range map[string]dit.CSN{"ou=g": 101, "cn=a,ou=g": 102, "cn=b": 50} {
		if got := v.Row(find(t, v, rdns)).CSN; got != want {
			t.Errorf("%s has CSN %d, want %d", rdns, got, want)
		}
	}
	if v.CSN() != 102 {
		t.Errorf("version has CSN %d", v.CSN())
	}
	b = v.Edit()
	b.SetCSN(500)
	if v := verified(t, b.Done()); v.CSN() != 500 {
		t.Errorf("version has CSN %d after SetCSN", v.CSN())
	}
}

// A builder that is given up leaves no trace, in what it was begun on or in what comes next.
func TestForgottenBuilder(t *testing.T) {
	v := grow(t, planted(t), "ou=b", "cn=a,ou=b", "cn=c,ou=b", "cn=d")
	was := dump(v)
	for n := range 5 {
		b := edit(v)
		for i := range 30 {
			b.Put(Row{UUID: uuid(100*n + i + 10)}, at(t, under(fmt.Sprintf("cn=n%d-%d,ou=b", n, i)), "sn", "1"))
		}
		b.Delete(find(t, v, "ou=b"), n%2 == 1)
		b.Put(Row{UUID: uuid(5)}, at(t, under("cn=d,cn=e")))
		if n < 4 && dump(v) != was {
			t.Fatal("a builder that was given up has changed its version")
		}
		if n == 4 {
			v = verified(t, b.Done())
		}
	}
	if v.Len() != 36 {
		t.Errorf("%d entries: %s", v.Len(), names(v))
	}
}

// What Changes has listed stays at its place, so that a caller can go on from there.
func TestChangesInParts(t *testing.T) {
	b := edit(planted(t))
	for i := range 5 {
		putting(t, b, i+2, fmt.Sprintf("cn=e%d", i))
	}
	if got := changes(b); got != "+cn=e0 +cn=e1 +cn=e2 +cn=e3 +cn=e4" {
		t.Fatal(got)
	}
	deleting(t, b, "cn=e1", false)
	putting(t, b, 9, "cn=x")
	deleting(t, b, "cn=x", false)
	putting(t, b, 4, "cn=new")
	list := b.Changes()
	if len(list) != 9 || list[1].ID != 0 || list[1].Row.UUID != uuid(3) || list[2].ID != find(t, b.v, "cn=new") {
		t.Errorf("changes %+v", list)
	}
	for i, want := range []string{under("cn=e1"), "", under("cn=x"), under("cn=e2")} {
		if list[5+i].OldDN != want {
			t.Errorf("change %d was %s, want %s", 5+i, list[5+i].OldDN, want)
		}
	}
}
