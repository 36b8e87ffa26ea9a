package tree

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// Values of all sizes come back as they were put, by Put and by a pack.
func TestValues(t *testing.T) {
	for _, size := range []int{0, 1, 300, 70000, ownBlock, blockSize, 3 * blockSize} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			v := at(t, under("cn=a+sn=B"), "description", strings.Repeat("x", size))
			b := edit(planted(t))
			b.Put(Row{UUID: uuid(2)}, v)
			p := NewPack(bundled(), options().Index, nil)
			other := at(t, under("cn=b"), "description", strings.Repeat("y", size))
			ref := p.Add(other)
			b.Adopt(p)
			b.PutRef(Row{UUID: uuid(3)}, p, ref)
			got := verified(t, b.Done())
			for n, want := range map[int]Value{2: v, 3: other} {
				e := got.Entry(got.ByUUID(uuid(n)))
				if !bytes.Equal(e.DN(), want.Text) || !bytes.Equal(e.User(), want.User) || !bytes.Equal(e.Oper(), want.Oper) {
					t.Errorf("%s is not what was put", want.Text)
				}
			}
		})
	}
}

// A pack of many blocks; refs put twice, in any order, and by a builder that did not adopt it.
func TestPack(t *testing.T) {
	p := NewPack(bundled(), options().Index, nil)
	var refs []Ref
	const n = 3000
	for i := range n {
		v := at(t, under(fmt.Sprintf("cn=e%d,ou=g", i)), "sn", fmt.Sprint(i%7), "description", strings.Repeat("z", 1000))
		refs = append(refs, p.Add(v))
	}
	used := 0
	for i := range p.blocks {
		used += p.blocks[i].used
	}
	if len(p.blocks) < 3 || used < n*1000 || used > 2*n*1000 {
		t.Fatalf("%d blocks, %d bytes", len(p.blocks), used)
	}
	if got, none := string(p.Text(refs[7])), p.Text(n); got != under("cn=e7,ou=g") || none != nil {
		t.Errorf("text of a ref is %q, of none %q", got, none)
	}
	if got := string(p.Text(refs[n-1])); got != under(fmt.Sprintf("cn=e%d,ou=g", n-1)) || len(p.sections) != (n-1)/packItems+1 {
		t.Errorf("text of the last ref is %q, in %d sections", got, len(p.sections))
	}
	b := edit(planted(t))
	b.Adopt(p)
	for i := n - 1; i >= 0; i -= 2 {
		b.PutRef(Row{UUID: uuid(i + 2)}, p, refs[i])
	}
	for i := range 10 {
		b.PutRef(Row{UUID: uuid(n - i + 1)}, p, refs[n-1-i])
	}
	v := verified(t, b.Done())
	b = edit(v)
	for i := range n {
		b.PutRef(Row{UUID: uuid(i + 2)}, p, refs[i])
	}
	v = verified(t, b.Done())
	if v.Len() != n+2 {
		t.Errorf("%d entries", v.Len())
	}
	for i := range n {
		e := v.Entry(v.ByUUID(uuid(i + 2)))
		if want := under(fmt.Sprintf("cn=e%d,ou=g", i)); string(e.DN()) != want || len(e.User()) < 1000 {
			t.Fatalf("%s has %d bytes, want %s", e.DN(), len(e.User()), want)
		}
	}
}

// A pack put at the base's name keeps the base's spelling.
func TestPackAtBase(t *testing.T) {
	p := NewPack(bundled(), nil, nil)
	ref := p.Add(at(t, strings.ToUpper(baseDN), "description", "new"))
	b := edit(planted(t))
	b.Adopt(p)
	b.PutRef(Row{UUID: uuid(1)}, p, ref)
	v := verified(t, b.Done())
	if e := v.Entry(v.Root()); string(e.DN()) != baseDN || !bytes.Contains(e.User(), []byte("new")) {
		t.Errorf("base entry %s: %q", e.DN(), e.User())
	}
}

// Memory of what is replaced and removed comes back, while what lives stays whole.
func TestCompaction(t *testing.T) {
	v := planted(t)
	const n = 400
	value := func(i, round int) Value {
		return at(t, under(fmt.Sprintf("cn=e%d", i)), "sn", fmt.Sprint(i%5), "description", fmt.Sprintf("%d %s", round, strings.Repeat("z", 20000)))
	}
	for round := range 6 {
		for part := range 8 {
			b := edit(v)
			for i := range n {
				if i%8 == part || i%50 == round {
					b.Put(Row{UUID: uuid(i + 2)}, value(i, round))
				}
			}
			v = b.Done()
		}
		verified(t, v)
		total, live := 0, 0
		for i, block := range v.values.blocks {
			if block != nil {
				total += block.size
			}
			live += int(v.values.info[i].live)
		}
		if total > 3*live+2*blockSize {
			t.Errorf("round %d: %d bytes in blocks for %d alive", round, total, live)
		}
	}
	for i := range n {
		e := v.Entry(v.ByUUID(uuid(i + 2)))
		if want := value(i, 5); !bytes.Equal(e.User(), want.User) {
			t.Fatalf("%s has been mixed up", e.DN())
		}
	}
	b := edit(v)
	b.Delete(v.Root(), true)
	v = verified(t, b.Done())
	for i, block := range v.values.blocks {
		if block != nil && i != v.values.tail {
			t.Errorf("block %d is kept: %+v", i, v.values.info[i])
		}
	}
	if v.Len() != 1 || v.high > n+2 {
		t.Errorf("%d entries, row numbers up to %d", v.Len(), v.high)
	}
}

// R38: the operational attributes that are made when read.
func TestComputed(t *testing.T) {
	b := edit(planted(t))
	b.Put(Row{UUID: uuid(2), CSN: 1_000_000}, at(t, under("cn=a")))
	v := b.Done()
	want := func(id int, csn, name, context, has, num string) string {
		var r dit.Run
		for _, kv := range [][2]string{{"entryUUID", uuid(id).String()}, {"entryCSN", csn}, {"entryDN", name},
			{"subschemaSubentry", "cn=Subschema"}, {"contextCSN", context}, {"hasSubordinates", has}, {"numSubordinates", num}} {
			if kv[1] != "" {
				r = dit.AppendAttr(r, kv[0], kv[1])
			}
		}
		return string(r)
	}
	const first, second = "19700101000000.000001Z#000000#001#000000", "19700101000001.000000Z#000000#001#000000"
	if got := v.Entry(v.ByUUID(uuid(2))).AppendComputed(nil); string(got) != want(2, second, under("cn=a"), "", "FALSE", "0") {
		t.Errorf("entry has %q", got)
	}
	base := want(1, first, baseDN, second, "TRUE", "1")
	if got := v.Entry(v.Root()).AppendComputed(nil); string(got) != base {
		t.Errorf("base has %q, want %q", got, base)
	}
}

// An entry that is not there is empty.
func TestNoEntry(t *testing.T) {
	v := planted(t)
	for _, id := range []ID{0, 2, 1 << 20} {
		e := v.Entry(id)
		if e.ID() != 0 || e.Row() != (Row{}) || len(e.DN())+len(e.User())+len(e.Oper())+len(e.AppendComputed(nil)) != 0 {
			t.Errorf("entry %d is %s: %+v", id, e.DN(), e.Row())
		}
		if v.Parent(id) != 0 || v.Children(id) != 0 || v.Norm(id) != "" {
			t.Errorf("entry %d has relatives", id)
		}
	}
}
