package tree

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

const baseDN = "ou=Base,dc=example"

var bundled = sync.OnceValue(schema.Bundled)

func options() Options {
	return Options{
		Schema: bundled(), SID: 1, Subschema: "cn=Subschema",
		Index: []string{"uid", "sn", "objectClass", "entryUUID"},
	}
}

// uuid makes a UUID out of a number.
func uuid(n int) (u dit.UUID) {
	binary.BigEndian.PutUint64(u[8:], uint64(n))
	u[0] = 0xee
	return u
}

func dn(t testing.TB, text string) dit.DN {
	t.Helper()
	d, err := dit.ParseDN(bundled(), text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// at makes a value with a DN; attrs are pairs of name and value.
func at(t testing.TB, text string, attrs ...string) Value {
	t.Helper()
	d := dn(t, text)
	v := Value{Norm: []byte(d.Norm()), Text: []byte(d.String()), RDNLen: len(d.RDN(0).Text)}
	for i := 0; i < len(attrs); i += 2 {
		v.User = dit.AppendAttr(v.User, attrs[i], attrs[i+1])
	}
	v.Oper = dit.AppendAttr(nil, "structuralObjectClass", "person")
	return v
}

// under names an entry below the base of the tests.
func under(rdns string) string {
	if rdns == "" {
		return baseDN
	}
	return rdns + "," + baseDN
}

// glueFor is what the tests' builders use: its UUID comes from the name.
func glueFor(d dit.DN) (Row, Value) {
	return Row{UUID: dit.NewUUIDv5(dit.UUID{}, []byte(d.Norm()))},
		Value{User: dit.AppendAttr(nil, "objectClass", "glue")}
}

// edit begins a builder with glue.
func edit(v *Version) *Builder {
	b := v.Edit()
	b.Glue = glueFor
	return b
}

// planted is a tree with its base entry, glue of UUID 1.
func planted(t testing.TB) *Version {
	t.Helper()
	return plantedIn(t, nil)
}

// plantedIn is planted, its values bounded.
func plantedIn(t testing.TB, m *Memory) *Version {
	t.Helper()
	o := options()
	o.Memory = m
	b := edit(Empty(o))
	if b.SetRoot(Row{UUID: uuid(1)}, at(t, baseDN, "objectClass", "organizationalUnit")) == 0 {
		t.Fatal("no root")
	}
	return b.Done()
}

// grow puts entries with UUIDs from 2 on.
func grow(t testing.TB, v *Version, rdns ...string) *Version {
	t.Helper()
	b := edit(v)
	for i, r := range rdns {
		if b.Put(Row{UUID: uuid(i + 2)}, at(t, under(r), "objectClass", "person", "sn", fmt.Sprint(i%3))) == 0 {
			t.Fatalf("put %s gave no id", r)
		}
	}
	return verified(t, b.Done())
}

// names lists the DNs of a version below the base, glue in brackets.
func names(v *Version) string {
	var out []string
	for c := v.Search(Query{Base: v.Root(), Scope: Subordinate}); c.Next(); {
		name := strings.TrimSuffix(string(c.Entry().DN()), ","+baseDN)
		if c.Entry().Row().Glue {
			name = "[" + name + "]"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func find(t testing.TB, v *Version, rdns string) ID {
	t.Helper()
	id, _ := v.Find(dn(t, under(rdns)).Norm())
	if id == 0 {
		t.Fatalf("%s is not there; there is: %s", rdns, names(v))
	}
	return id
}

// changes prints a builder's changes: +added ~modified -deleted, moves as old>new.
func changes(b *Builder) string {
	var out []string
	short := func(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, baseDN), ",") }
	for _, c := range b.Changes() {
		switch {
		case c.Kind == Deleted:
			out = append(out, "-"+short(c.OldDN))
		case c.ID == 0:
			out = append(out, "+(gone)")
		case c.Kind == Added:
			out = append(out, "+"+short(string(b.Entry(c.ID).DN())))
		default:
			s := "~"
			if c.OldDN != "" {
				s += short(c.OldDN) + ">"
			}
			out = append(out, s+short(string(b.Entry(c.ID).DN())))
		}
	}
	return strings.Join(out, " ")
}

// verified checks that everything in a version agrees with everything else, its index included if there is one.
func verified(t testing.TB, v *Version) *Version {
	t.Helper()
	live := make([]uint32, len(v.values.blocks))
	keys := map[uint32][]ID{}
	maker := newKeyer(v.opt.Schema, v.opt.Index)
	count := 0
	var kinds kindCounts
	for id := ID(1); id <= v.high; id++ {
		if !v.has(id) {
			continue
		}
		count++
		kinds.add(v.Kind(id), 1)
		r, x := v.row(id), v.value(id)
		live[r.block] += uint32(x.size())
		if !slices.Contains(v.values.blocks[r.block].ids, id) {
			t.Fatalf("the block of %d's value does not know it", id)
		}
		ks := maker.keys(nil, x.user(), x.oper())
		for _, k := range ks {
			keys[k] = append(keys[k], id)
		}
		if found, _ := v.Find(v.Norm(id)); found != id || v.ByUUID(r.uuid) != id {
			t.Fatalf("%q is %d, but found as %d, by UUID as %d", v.Norm(id), id, found, v.ByUUID(r.uuid))
		}
		if r.csn > v.csn || r.glue() && r.kids == 0 && id != v.root {
			t.Fatalf("%q: CSN %d of %d, glue %v with %d children", v.Norm(id), r.csn, v.csn, r.glue(), r.kids)
		}
		verifyLinks(t, v, id)
	}
	if v.kinds != kinds {
		t.Fatalf("%v of each kind, but counted as %v", kinds, v.kinds)
	}
	if v.count != count || v.uuids.n != count || v.children.n != max(count-1, 0) || v.Indexed() && v.index.keys.n != len(keys) || !v.Indexed() && v.index.keys.n != 0 {
		t.Fatalf("%d entries, but Len %d, %d UUIDs, %d children, %d of %d keys",
			count, v.count, v.uuids.n, v.children.n, v.index.keys.n, len(keys))
	}
	if !v.Indexed() {
		clear(keys)
	}
	for k, want := range keys {
		if got := v.index.append(nil, k); !slices.Equal(got, want) || v.index.count(k) != len(want) {
			t.Fatalf("index has %v for a key of %v", got, want)
		}
	}
	for i, info := range v.values.info {
		if info.live != live[i] || info.used < live[i] || v.values.blocks[i] == nil && live[i] > 0 {
			t.Fatalf("block %d: %+v, but %d bytes are alive", i, info, live[i])
		}
	}
	return v
}

func verifyLinks(t testing.TB, v *Version, id ID) {
	t.Helper()
	kids, last := 0, ID(0)
	for c := v.row(id).first; c != 0; c = v.row(c).next {
		if kids++; v.row(c).parent != id || v.row(c).prev != last {
			t.Fatalf("%d is not linked as a child of %d", c, id)
		}
		last = c
	}
	if kids != v.Children(id) || last != v.row(id).last {
		t.Fatalf("%d has %d children, links to %d", id, v.Children(id), kids)
	}
}
