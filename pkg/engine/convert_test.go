package engine

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

// converterTo converts from dc=example,dc=org to cn=Here,o=shaft.
func converterTo(tb testing.TB) *converter {
	tb.Helper()
	to, err := dit.ParseDN(schema.Bundled(), "cn=Here,o=shaft")
	if err != nil {
		tb.Fatal(err)
	}
	c, err := newConverter(schema.Bundled(), &claim{name: to, source: upstream.Source{Base: "dc=example,dc=org"}})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// wirePerson is an entry of some 600 bytes as slapd sends it.
func wirePerson(i int) syncrepl.Entry {
	const admin = "cn=admin,dc=example,dc=org"
	uid := fmt.Sprintf("anna.maier.%07d", i)
	var r dit.Run
	add := func(desc string, values ...string) { r = dit.AppendAttr(r, desc, values...) }
	add("objectClass", "top", "person", "organizationalPerson", "inetOrgPerson")
	add("uid", uid)
	add("cn", "Anna Maier")
	add("sn", "Maier")
	add("givenName", "Anna")
	add("displayName", "Anna Maier")
	add("mail", uid+"@example.org")
	add("employeeNumber", fmt.Sprint(i))
	add("employeeType", "permanent")
	add("telephoneNumber", fmt.Sprintf("+49 030 %07d", i))
	add("street", fmt.Sprintf("Am Markt %d", i%100))
	add("l", "Görlitz")
	add("manager", fmt.Sprintf("uid=boss,ou=unit %d,dc=example,dc=org", i/10_000))
	add("description", "quiet harbour signal ledger copper orchard window granite lantern meadow quiet")
	add("structuralObjectClass", "inetOrgPerson")
	add("entryUUID", "5b8a61f2-0000-103f-8000-0123456789ab")
	add("creatorsName", admin)
	add("createTimestamp", "20260101000000Z")
	add("entryCSN", "20260101000000.000000Z#000000#000#000000")
	add("modifiersName", admin)
	add("modifyTimestamp", "20260101000000Z")
	return syncrepl.Entry{UUID: dit.UUID{byte(i), byte(i >> 8), byte(i >> 16), 1}, DN: fmt.Appendf(nil, "uid=%s,ou=unit %d,dc=example,dc=org", uid, i/10_000), Attrs: r}
}

// randomEntry is one with attributes in any order, with options, DNs inside and outside the base, lengths that are not
// minimal, and now and then without what its RDN says.
func randomEntry(r *rand.Rand) syncrepl.Entry {
	parent := []string{"dc=example,dc=org", "ou=A,dc=example,dc=org", "ou=a, dc=Example,dc=org", `cn=x\, y,ou=A,dc=example,dc=org`}[r.IntN(4)]
	e := syncrepl.Entry{UUID: dit.UUID{1, byte(r.IntN(256))}, DN: fmt.Appendf(nil, "%s,%s", pick(r, "cn=Anna", "CN=anna", "uid=a+cn=Anna", `cn=An\6ea`), parent)}
	var list []dit.Run
	add := func(desc string, values ...string) { list = append(list, dit.AppendAttr(nil, desc, values...)) }
	add(pick(r, "objectClass", "objectclass", "2.5.4.0"), "top", pick(r, "person", "groupOfNames"))
	if r.IntN(4) > 0 {
		add("cn", pick(r, "Anna", "anna", "Bela"), "x")
	}
	add("sn", "Maier")
	add(pick(r, "sn;lang-de", "sn;LANG-de", "description", "unknownThing"), "Maier")
	for _, desc := range []string{"manager", "member", "creatorsName", "modifiersName", "seeAlso;x-a"} {
		if r.IntN(2) == 0 {
			add(desc, pick(r, "uid=boss,dc=example,dc=org", "UID=Boss,DC=example,DC=org", "cn=admin,dc=elsewhere", "no DN"), "cn=other,"+parent)
		}
	}
	if r.IntN(2) == 0 {
		add("structuralObjectClass", "person")
	}
	add("modifyTimestamp", fmt.Sprintf("2026010100%04dZ", r.IntN(3000)))
	add("entryCSN", fmt.Sprintf("20260101000000.%06dZ#000000#000#000000", r.IntN(1000)))
	add(strings.Repeat("long", 1+r.IntN(40)), "x")
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for i, one := range list {
		if n := len(one) - 2; i%3 == 0 && one[1] < 0x80 { // a length in more octets than it takes
			one = append([]byte{one[0], 0x82, 0, byte(n)}, one[2:]...)
		}
		e.Attrs = append(e.Attrs, one...)
	}
	return e
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// TestConverterRemembers: what a converter remembers of earlier entries changes nothing.
func TestConverterRemembers(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	used := converterTo(t)
	for i := range 150 {
		e := randomEntry(r)
		fresh := converterTo(t)
		fresh.dn.Siblings = false
		if err, want := used.convert(e), fresh.convert(e); err != nil || want != nil {
			t.Fatalf("entry %d, %s: %v, %v", i, e.DN, err, want)
		}
		got, want := used.change(nil, e.UUID), fresh.change(nil, e.UUID)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("entry %d, %s:\n%+v\n%+v", i, e.DN, got, want)
		}
		rec, err := decodeRecord(got.record)
		if err == nil {
			err = fresh.restore(rec)
		}
		if err != nil {
			t.Fatal(err)
		}
		// What is stored comes back as the same, by Rebase of all attributes.
		if !reflect.DeepEqual(fresh.change(nil, e.UUID), got) {
			t.Fatalf("entry %d, %s comes back as\n%+v\nand was\n%+v", i, e.DN, fresh.change(nil, e.UUID), got)
		}
	}
}

func BenchmarkConvert(b *testing.B) {
	c := converterTo(b)
	entries := make([]syncrepl.Entry, 4096)
	for i := range entries {
		entries[i] = wirePerson(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := c.convert(entries[i%len(entries)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConvertAndPack(b *testing.B) {
	c := converterTo(b)
	entries := make([]syncrepl.Entry, 4096)
	for i := range entries {
		entries[i] = wirePerson(i)
	}
	b.ReportAllocs()
	var p *tree.Pack
	for i := 0; b.Loop(); i++ {
		if i%len(entries) == 0 {
			p = tree.NewPack(schema.Bundled(), []string{"objectClass", "uid", "mail", "cn", "entryUUID"}, nil)
		}
		if err := c.convert(entries[i%len(entries)]); err != nil {
			b.Fatal(err)
		}
		p.Add(tree.Value{Norm: c.norm, Text: c.text, RDNLen: c.rdnLen, User: c.user, Oper: c.oper})
	}
}
