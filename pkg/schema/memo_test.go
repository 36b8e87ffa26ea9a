package schema

import (
	"fmt"
	"strings"
	"testing"
)

// R4: a memo finds what the schema finds, however often, in whatever spelling.
func TestR4MemoFindsTheSame(t *testing.T) {
	s := Bundled()
	descs := []string{
		"cn", "CN", "Cn", "cn;lang-en", "cn;lang-de", "commonName", "2.5.4.3", "OID.2.5.4.3", "sn", "c", "l", "o", "ou", "uid",
		"mail", "Mail", "member", "structuralObjectClass", "entryUUID", "userCertificate;binary", "", ";", ";x", "n", "foo", "FOO;x", "1.2.3",
		strings.Repeat("x", maxMemoName), strings.Repeat("x", maxMemoName+1), strings.Repeat("y", 1000), "cn\x00", "\x00",
	}
	for _, d := range s.defs {
		if d.kind == defAttribute {
			descs = append(append(descs, d.names...), d.oid)
		}
	}
	m := NewMemo(s)
	for range 3 {
		for _, desc := range descs {
			for range 2 {
				got, want := m.Attribute([]byte(desc)), s.Attribute(desc)
				if got != want && !(got.Unknown && want.Unknown && got.Key() == want.Key()) {
					t.Fatalf("%q is %q, want %q", desc, got.Key(), want.Key())
				}
			}
		}
	}
}

// What the memo was shown may be written over.
func TestMemoKeepsItsOwnBytes(t *testing.T) {
	m := NewMemo(Bundled())
	desc := []byte("mail")
	for range 2 * minMemoSlots {
		copy(desc, "mail")
		if a := m.Attribute(desc); a.Key() != "mail" {
			t.Fatalf("mail is %q", a.Key())
		}
		copy(desc, "host")
		if a := m.Attribute(desc); a.Key() != "host" {
			t.Fatalf("host is %q", a.Key())
		}
	}
}

// A memo for a few look-ups takes no memory, a used one makes no garbage even for
// unknown types, and none grows beyond its bound.
func TestMemoMemory(t *testing.T) {
	m := NewMemo(Bundled())
	for range minMemoSlots / 2 {
		m.Attribute([]byte("cn"))
		m.Attribute([]byte("dc"))
	}
	if m.slots != nil {
		t.Errorf("%d slots for two types", len(m.slots))
	}
	descs := [][]byte{[]byte("cn"), []byte("sn"), []byte("noSuchType"), []byte("mail"), []byte("telephoneNumber;lang-en")}
	ask := func() {
		for _, desc := range descs {
			m.Attribute(desc)
		}
	}
	for range 100 {
		ask()
	}
	if allocs := testing.AllocsPerRun(100, ask); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if n := len(m.slots); n > 4*minMemoSlots {
		t.Errorf("%d slots for five types", n)
	}
	for i := range 100 * maxMemoSlots {
		m.Attribute(fmt.Appendf(nil, "x-made-up-%d", i))
	}
	if n := len(m.slots); n != maxMemoSlots {
		t.Errorf("%d slots in the end", n)
	}
	ask()
	if a := m.Attribute(descs[3]); a.Key() != "mail" {
		t.Errorf("mail is %q", a.Key())
	}
}

// Types of an entry, asked for as they come from the wire.
func BenchmarkMemo(b *testing.B) {
	var descs [][]byte
	for _, desc := range strings.Fields(`objectClass cn sn givenName displayName uid uidNumber gidNumber homeDirectory loginShell mail
		telephoneNumber title departmentNumber employeeNumber l st postalCode description manager structuralObjectClass entryUUID creatorsName
		createTimestamp entryCSN modifiersName modifyTimestamp`) {
		descs = append(descs, []byte(desc))
	}
	s := Bundled()
	m := NewMemo(s)
	for _, bench := range []struct {
		name string
		find func([]byte) *AttributeType
	}{{"memo", m.Attribute}, {"schema", s.AttributeBytes}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i == len(descs) {
					i = 0
				}
				if bench.find(descs[i]).Unknown {
					b.Fatal("not found")
				}
			}
		})
	}
}
