package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// R6: values inside the moved subtree move, in whatever spelling; what is left
// of it stays as written. Others, and what is no DN, stay byte for byte.
func TestR6MoveValues(t *testing.T) {
	const from, to = "dc=debian,dc=org", "cn=Debian Wheezy,ou=Package Listers"
	tests := []struct {
		name     string
		from, to string
		in, want []string
	}{
		{"below", from, to, []string{"manager: cn=Anna,dc=debian,dc=org"},
			[]string{"manager: cn=Anna,cn=Debian Wheezy,ou=Package Listers"}},
		{"the base", from, to, []string{"seeAlso: dc=debian,dc=org"}, []string{"seeAlso: cn=Debian Wheezy,ou=Package Listers"}},
		{"spelt otherwise", from, to, []string{"member: CN=Anna  Maria , DC=Debian, domainComponent = ORG"},
			[]string{"member: CN=Anna  Maria,cn=Debian Wheezy,ou=Package Listers"}},
		{"by OID and escapes", from, to, []string{`member: cn=a\2cb,0.9.2342.19200300.100.1.25=debian,dc=o\72g`},
			[]string{`member: cn=a\2cb,cn=Debian Wheezy,ou=Package Listers`}},
		{"in hexadecimal", from, to, []string{"member: cn=a,dc=debian,dc=#04036f7267"},
			[]string{"member: cn=a,cn=Debian Wheezy,ou=Package Listers"}},
		{"outside", from, to, []string{"member: cn=x, dc=suse,dc=ORG", "member: dc=org", "member: cn=y,o=Else"}, nil},
		{"tail of a name", from, to, []string{"member: cn=x,dc=xdebian,dc=org", `member: cn=x\,dc=debian,dc=org`}, nil},
		{"some of them", from, to,
			[]string{"cn: x", "member: cn=x,o=Else", "member: cn=y,dc=debian,dc=org", "member: cn=z,o=Else", "sn: z"},
			[]string{"cn: x", "member: cn=x,o=Else", "member: cn=y,cn=Debian Wheezy,ou=Package Listers", "member: cn=z,o=Else", "sn: z"}},
		{"no DNs", from, to, []string{"member: dc=debian,dc=org,", "member: ,dc=debian,dc=org", "member: debian"}, nil},
		{"not of DN syntax", from, to, []string{"description: cn=x,dc=debian,dc=org"}, nil},
		{"with options", from, to, []string{"member;x-y: cn=x,dc=debian,dc=org"},
			[]string{"member;x-y: cn=x,cn=Debian Wheezy,ou=Package Listers"}},
		{"optional UID", from, to,
			[]string{"uniqueMember: cn=x,dc=debian,dc=org#'0101'B", "uniqueMember: cn=y,dc=debian,dc=org", "uniqueMember: cn=z,o=Else#'1'B"},
			[]string{"uniqueMember: cn=x,cn=Debian Wheezy,ou=Package Listers#'0101'B",
				"uniqueMember: cn=y,cn=Debian Wheezy,ou=Package Listers", "uniqueMember: cn=z,o=Else#'1'B"}},
		{"empty UID", from, to, []string{"uniqueMember: dc=debian,dc=org#''B"},
			[]string{"uniqueMember: cn=Debian Wheezy,ou=Package Listers#''B"}},
		{"no UID", from, to, []string{"uniqueMember: cn=x,dc=debian,dc=org#'2'B", "uniqueMember: #'B", "member: dc=debian,dc=org#'1'B"}, nil},
		{"everything", "", to, []string{"member: cn=x,o=y", "seeAlso: "},
			[]string{"member: cn=x,o=y,cn=Debian Wheezy,ou=Package Listers", "seeAlso: cn=Debian Wheezy,ou=Package Listers"}},
		{"to the root", from, "", []string{"member: cn=x,dc=debian,dc=org"}, []string{"member: cn=x"}},
		{"a last RDN of two", "cn=b+ou=a", "o=z", []string{"member: cn=x,OU=A+CN=B"}, []string{"member: cn=x,o=z"}},
		{"a last RDN not of letters", "cn=1.3.6,supportedFeatures=1.3.6", "o=z", []string{"member: supportedFeatures=1.3.6"}, nil},
		{"a value that stands there already", from, "o=Z",
			[]string{"member: CN=x,O=z", "member: cn=x,dc=debian,dc=org", "member: cn=y,dc=debian,dc=org", "member: cn=w,o=z"},
			[]string{"member: CN=x,O=z", "member: cn=y,o=Z", "member: cn=w,o=z"}},
		{"within itself", "o=z", "ou=a,o=z", []string{"member: cn=x,o=z", "member: ou=a,o=z"},
			[]string{"member: cn=x,ou=a,o=z", "member: ou=a,ou=a,o=z"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := NewMove(bundled, parseDN(t, test.from), parseDN(t, test.to), true)
			in := run(test.in...)
			for _, when := range []string{"at first", "again"} {
				out, moved := m.Rebase(dit.Run("before"), in)
				out, ok := bytes.CutPrefix(out, []byte("before"))
				if !ok {
					t.Fatal("what stood in dst is gone")
				}
				if got := show(t, out); moved != (test.want != nil) || !slices.Equal(got, test.want) {
					t.Errorf("%s: %v, got  %q\nwant %q", when, moved, got, test.want)
				}
			}
		})
	}
}

// R6: it can be switched off.
func TestR6SwitchedOff(t *testing.T) {
	m := NewMove(bundled, parseDN(t, "o=x"), parseDN(t, "o=y"), false)
	in := run("member: cn=a,o=x", "owner: o=x")
	if out, moved := m.Rebase(nil, in); moved || out != nil {
		t.Errorf("moved to %q", show(t, out))
	}
}

// What a Move remembers of values never serves another one, is not kept from what
// it was given, and does not make garbage.
func TestMoveRemembers(t *testing.T) {
	m := NewMove(bundled, parseDN(t, "dc=org"), parseDN(t, "o=z"), true)
	long := strings.Repeat("x", 2000)
	var in, out dit.Run
	for round := range 3 {
		if round == 2 {
			m.RememberMore()
		}
		for i := range 100 {
			for _, rdn := range []string{fmt.Sprintf("cn=a%d", i), fmt.Sprintf("cn=the one with number %d", i), fmt.Sprintf("cn=%s%d", long, i), "c=" + fmt.Sprint(i%10)} {
				in = dit.AppendAttr(in[:0], "member", rdn+",dc=org", rdn+",dc=com", rdn+",o=z", "dc=org")
				var moved bool
				out, moved = m.Rebase(out[:0], in)
				want := []string{"member: " + rdn + ",o=z", "member: " + rdn + ",dc=com", "member: o=z"}
				if got := show(t, out); !moved || !slices.Equal(got, want) {
					t.Fatalf("got  %q\nwant %q", got, want)
				}
			}
		}
	}
	in = run("member: cn=x,dc=org", "creatorsName: cn=admin,dc=org", "modifiersName: cn=admin,dc=org", "manager: uid=anna,dc=com")
	if allocs := testing.AllocsPerRun(100, func() { out, _ = m.Rebase(out[:0], in) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// The glance at the last byte never rejects what the parser finds inside.
func TestOutsideIsSound(t *testing.T) {
	tails := []string{
		"dc=org", "DC=ORG", `dc=o\72g`, `dc=or\67`, `dc=or\g`, "dc=#04036f7267", "dc=#04036F7267", `dc="org"`, "dc=org ", "dc=org\t",
		"dc=or", "dc=g", "dc=orgg", "dc=com", "dc=or67", "0.9.2342.19200300.100.1.25=org", "c=de", "dc=", "g", "",
	}
	for _, from := range []string{"dc=org", "dc=debian,dc=org", "DC=ORG", "dc=com", "c=de", "o=1", "cn=a+o=g", "supportedFeatures=1.2"} {
		m := NewMove(bundled, parseDN(t, from), parseDN(t, "o=z"), true)
		for _, tail := range tails {
			for _, head := range []string{"", "cn=x,", "dc=debian,", `cn=#,`, `cn=\#,`} {
				value := []byte(head + tail)
				if m.atFrom.outside(value) && m.dn.Parse(value) == nil && m.dn.Under(m.from) {
					t.Errorf("%q lies inside %q and is rejected", value, from)
				}
			}
		}
	}
	m := NewMove(bundled, parseDN(t, "dc=debian,dc=org"), parseDN(t, "o=z"), true)
	if !m.atFrom.outside([]byte("cn=x,dc=example,dc=com")) || m.atFrom.outside([]byte("cn=x,dc=suse,dc=org")) {
		t.Error("the glance sees nothing, or too much")
	}
}

// FuzzRebase: no panic on any attributes; what comes out is well formed; there
// and back again is where it began, as far as DNs are compared.
func FuzzRebase(f *testing.F) {
	f.Add("dc=debian,dc=org", "cn=Debian,ou=p", []byte(run("member: cn=x,dc=debian,dc=org", "cn: y")))
	f.Add("o=x", "ou=y,o=x", []byte(run("uniqueMember: cn=a,o=x#'01'B", "uniqueMember: o=x")))
	f.Add("", "o=z", []byte(run("seeAlso: ", "member: cn=a\\2c,o=#0401ff")))
	f.Add("cn=a+ou=b", "o=z", []byte(run("member: ou=B+cn=A", "member: no DN")))
	f.Fuzz(func(t *testing.T, from, to string, in []byte) {
		if dit.Run(in).Check() != nil {
			return
		}
		a, err := dit.ParseDN(bundled, from)
		if err != nil {
			return
		}
		b, err := dit.ParseDN(bundled, to)
		if err != nil {
			return
		}
		there := NewMove(bundled, a, b, true)
		out, moved := there.Rebase(nil, in)
		if !moved {
			if len(out) != 0 {
				t.Fatalf("nothing moved, yet %q came out", out)
			}
			return
		}
		if err := out.Check(); err != nil {
			t.Fatal(err)
		}
		if again, _ := there.Rebase(nil, in); !bytes.Equal(again, out) {
			t.Fatalf("%q, and then %q", out, again)
		}
		back := NewMove(bundled, b, a, true)
		if _, stood := back.Rebase(nil, in); stood || a.Len() == 0 || b.Len() == 0 {
			return // what stood at the new place would be moved too
		}
		returned, moved := back.Rebase(nil, out)
		if got, want := normals(t, returned), normals(t, in); !moved || !slices.Equal(got, want) {
			t.Fatalf("there and back: %q, want %q", got, want)
		}
	})
}

// normals lists a run's values in their equality form.
func normals(t *testing.T, r dit.Run) []string {
	var out []string
	for _, line := range show(t, r) {
		desc, value, _ := strings.Cut(line, ": ")
		out = append(out, desc+": "+normal(bundled, bundled.Attribute(desc), []byte(value)))
	}
	return out
}

// R6's cost on an entry of thirteen attributes, four of them of DN syntax: each has another
// manager, all were made by one.
func BenchmarkRebase(b *testing.B) {
	entries := func(base string) (out []dit.Run) {
		for i := range 64 {
			out = append(out, run("objectClass: top", "objectClass: inetOrgPerson", "cn: Anna Meier", "sn: Meier", "givenName: Anna", "uid: anna",
				"mail: anna@example.org", "telephoneNumber: +49 30 123456", "description: maintains the package lists",
				fmt.Sprintf("manager: uid=person%d,ou=people,%s", i, base), "seeAlso: cn=lists,ou=groups,"+base,
				"creatorsName: cn=admin,"+base, "modifiersName: cn=admin,"+base))
		}
		return out
	}
	for _, bench := range []struct {
		name   string
		values bool
		in     []dit.Run
	}{
		{"switched off", false, entries("dc=debian,dc=org")},
		{"outside, other tail", true, entries("dc=suse,dc=com")},
		{"outside, same tail", true, entries("dc=suse,dc=org")},
		{"inside", true, entries("dc=debian,dc=org")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := NewMove(bundled, parseDN(b, "dc=debian,dc=org"), parseDN(b, "cn=Debian Wheezy,ou=Package Listers"), bench.values)
			var out dit.Run
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.in[0])))
			for i := 0; b.Loop(); i++ {
				out, _ = m.Rebase(out[:0], bench.in[i%len(bench.in)])
			}
		})
	}
}

func BenchmarkRebaseGroup(b *testing.B) {
	var lines []string
	for i := range 10000 {
		lines = append(lines, fmt.Sprintf("member: uid=user%d,ou=people,dc=debian,dc=org", i))
	}
	in := run(lines...)
	m := NewMove(bundled, parseDN(b, "dc=debian,dc=org"), parseDN(b, "cn=Debian Wheezy,ou=Package Listers"), true)
	var out dit.Run
	b.ReportAllocs()
	for b.Loop() {
		out, _ = m.Rebase(out[:0], in)
	}
}
