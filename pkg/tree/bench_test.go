package tree

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"shaft/pkg/dit"
)

// bulk is a tree of n persons in 100 units, at depth 4 below the root of all names.
func bulk(tb testing.TB, n int) *Version {
	tb.Helper()
	v := planted(tb)
	const batch = 20000
	for from := 0; from < n; from += batch {
		p := NewPack(bundled(), options().Index, nil)
		refs := make([]Ref, 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			refs = append(refs, p.Add(person(i)))
		}
		b := edit(v)
		b.Adopt(p)
		for i, ref := range refs {
			b.PutRef(Row{UUID: spread(from + i), CSN: dit.CSN(from + i + 2)}, p, ref)
		}
		v = b.Done()
	}
	return v
}

// spread is a UUID as a server makes them, without order.
func spread(n int) dit.UUID { return dit.NewUUIDv5(dit.UUID{}, fmt.Append(nil, n)) }

var personTail = strings.ToLower(baseDN)

// person is an entry of about 700 bytes.
func person(i int) Value {
	rdn := fmt.Sprintf("uid=user%d", i)
	text := fmt.Sprintf("%s,ou=unit%d,%s", rdn, i%100, baseDN)
	var r dit.Run
	r = dit.AppendAttr(r, "objectClass", "top", "person", "organizationalPerson", "inetOrgPerson")
	r = dit.AppendAttr(r, "uid", fmt.Sprintf("user%d", i))
	r = dit.AppendAttr(r, "sn", fmt.Sprintf("Surname%d", i%1000))
	r = dit.AppendAttr(r, "cn", fmt.Sprintf("Given%d Surname%d", i, i%1000))
	r = dit.AppendAttr(r, "mail", fmt.Sprintf("user%d@example.org", i))
	r = dit.AppendAttr(r, "description", strings.Repeat("some words about them ", 18))
	return Value{
		Norm: fmt.Appendf(nil, "%s,ou=unit%d,%s", rdn, i%100, personTail), Text: []byte(text), RDNLen: len(rdn),
		User: r, Oper: dit.AppendAttr(nil, "structuralObjectClass", "inetOrgPerson"),
	}
}

var (
	hundred = sync.OnceValue(func() *Version { return bulk(shared{}, 100_000) })
	million = sync.OnceValue(func() *Version { return bulk(shared{}, 1_000_000) })
)

// shared stands in for the test in trees that several benchmarks use.
type shared struct{ testing.TB }

func (shared) Helper()           {}
func (shared) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// BenchmarkPack is what a refresh costs an entry off the builder.
func BenchmarkPack(b *testing.B) {
	v := person(12345)
	p := NewPack(bundled(), options().Index, nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10000 == 0 {
			p = NewPack(bundled(), options().Index, nil)
		}
		p.Add(v)
	}
}

// BenchmarkBulkLoad is what the builder does for each of 100,000 entries of a
// pack, and what bookkeeping keeps of them.
func BenchmarkBulkLoad(b *testing.B) {
	const n = 100_000
	empty := planted(b)
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{UUID: spread(i), CSN: dit.CSN(i + 2)}
	}
	var v *Version
	for range b.N {
		b.StopTimer()
		p := NewPack(bundled(), options().Index, nil)
		refs := make([]Ref, n)
		for i := range refs {
			refs[i] = p.Add(person(i))
		}
		b.StartTimer()
		e := edit(empty)
		e.Adopt(p)
		for i, ref := range refs {
			e.PutRef(rows[i], p, ref)
		}
		v = e.Done()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
	reportMemory(b, v)
}

// BenchmarkLoad is what the builder does at a start for each of 300,000 entries of a pack, and what bookkeeping but the index
// keeps of them.
func BenchmarkLoad(b *testing.B) {
	const n = 300_000
	refs := make([]Ref, n)
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{UUID: spread(100 + i), CSN: dit.CSN(100 + i + 2)}
	}
	parents := bulk(b, 100)
	var v *Version
	for range b.N {
		b.StopTimer()
		p := NewPack(bundled(), options().Index, nil)
		for i := range refs {
			refs[i] = p.Add(person(100 + i))
		}
		b.StartTimer()
		e := edit(parents)
		e.Adopt(p)
		left := e.Load(n, func(i int) (Row, *Pack, Ref) { return rows[i], p, refs[i] }, nil)
		v = e.Done()
		if len(left) > 0 {
			b.Fatalf("%d are left", len(left))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
	reportMemory(b, v)
}

// BenchmarkMemory tells the bookkeeping's bytes an entry at a million.
func BenchmarkMemory(b *testing.B) {
	v := million()
	for b.Loop() {
		reportMemory(b, v)
	}
}

// BenchmarkCollect is a garbage collection with a million entries alive.
func BenchmarkCollect(b *testing.B) {
	v := million()
	for b.Loop() {
		runtime.GC()
	}
	runtime.KeepAlive(v)
}

func reportMemory(b *testing.B, v *Version) {
	const rowBytes, slotBytes, pointer = 80, 8, 8
	n := float64(v.Len())
	rows := len(v.rows.pages) * (rowsPerPage*rowBytes + pointer)
	tables := (len(v.children.slots.pages) + len(v.uuids.slots.pages)) * (slotsPerPage*slotBytes + pointer)
	index := len(v.index.keys.slots.pages) * (slotsPerPage*slotBytes + pointer)
	for i := range v.index.high {
		p := v.index.posting(i)
		index += 64 + 4*cap(p.ids)
		for _, c := range p.chunks {
			index += 48 + 2*cap(c.list)
			if c.set != nil {
				index += chunkIDs / 8
			}
		}
	}
	values := 0
	for _, block := range v.values.blocks {
		if block != nil {
			values += block.size
		}
	}
	b.ReportMetric(float64(rows+tables)/n, "B/entry")
	b.ReportMetric(float64(index)/n, "indexB/entry")
	b.ReportMetric(float64(values)/n, "valueB/entry")
}

func BenchmarkFind(b *testing.B) {
	v := hundred()
	norms := make([]string, 1024)
	for i := range norms {
		norms[i] = string(person(i * 97).Norm)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if id, _ := v.Find(norms[i%1024]); id == 0 {
			b.Fatal("not found")
		}
	}
}

func BenchmarkScan(b *testing.B) {
	v := hundred()
	b.ReportAllocs()
	for b.Loop() {
		n, size := 0, 0
		for c := v.Search(Query{Base: v.Root(), Scope: Sub}); c.Next(); n++ {
			size += len(c.Entry().DN())
		}
		if n != v.Len() || size == 0 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*v.Len()), "ns/entry")
}

func BenchmarkSearch(b *testing.B) {
	v := hundred()
	for _, c := range []struct {
		name, filter string
		want         int
	}{
		{"indexed uid", "(uid=user4711)", 1},
		{"indexed sn", "(&(objectClass=inetOrgPerson)(sn=surname77))", 100},
		{"entryUUID", "(entryUUID=" + spread(4711).String() + ")", 1},
		{"walk", "(mail=user4711@example.org)", 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := matcher(b, c.filter)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for cur := v.Search(Query{Base: v.Root(), Scope: Sub, Matcher: m}); cur.Next(); n++ {
				}
				if n != c.want {
					b.Fatalf("%d found, want %d", n, c.want)
				}
			}
		})
	}
}

// BenchmarkPutDone is one change and its publication, in trees of two sizes.
func BenchmarkPutDone(b *testing.B) {
	for name, tree := range map[string]func() *Version{"100000": hundred, "1000000": million} {
		b.Run(name, func(b *testing.B) {
			v := tree()
			n := v.Len() - 200
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := edit(v)
				k := i * 7919 % n
				if e.Put(Row{UUID: spread(k)}, person(k)) == 0 {
					b.Fatal("not put")
				}
				v = e.Done()
			}
		})
	}
}
