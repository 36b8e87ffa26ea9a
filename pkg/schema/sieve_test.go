package schema

import (
	"slices"
	"strings"
	"testing"
)

// R4: a sieve lets through whatever the schema takes for one of its types, in any spelling, and few else.
func TestR4SieveIsSound(t *testing.T) {
	s := Bundled()
	descs := []string{"", ";", ";x", "foo", "foo;x", "oid.foo", "1.2.3", "oid.1.2.3", "\x1b", "cn\x00", strings.Repeat("x", 1000)}
	for _, d := range s.defs {
		if d.kind != defAttribute {
			continue
		}
		for _, name := range append(slices.Clone(d.names), d.oid) {
			for _, form := range []string{name, strings.ToUpper(name), strings.ToLower(name), "oid." + name, "OID." + name} {
				descs = append(descs, form, form+";binary", form+";x-very-long-option;lang-de")
			}
		}
	}
	for _, wanted := range [][]string{nil, {"objectClass"}, {"cn", "sn", "c", "2.5.4.4"}, {"FOO", "1.2.3", "uid", "mail"}} {
		var sieve Sieve
		keys := map[string]bool{}
		for _, name := range wanted {
			sieve.Add(s.Attribute(name))
			keys[s.Attribute(name).Key()] = true
		}
		through := checkSieve(t, s, &sieve, descs, func(a *AttributeType) bool { return keys[a.Key()] })
		if through > len(descs)/5 { // those with options within eight bytes are let through always
			t.Errorf("%q: %d of %d are let through in vain", wanted, through, len(descs))
		}
	}
	checkSieve(t, s, s.DNs(), descs, (*AttributeType).IsDN)
}

// checkSieve tells how many were let through that are not in.
func checkSieve(t *testing.T, s *Schema, sieve *Sieve, descs []string, in func(*AttributeType) bool) (vain int) {
	t.Helper()
	for _, desc := range descs {
		has, want := sieve.Has([]byte(desc)), in(s.Attribute(desc))
		if want && !has {
			t.Errorf("%q does not get through", desc)
		}
		if has && !want {
			vain++
		}
	}
	return vain
}

func BenchmarkSieve(b *testing.B) {
	s := Bundled()
	descs := [][]byte{[]byte("objectClass"), []byte("uid"), []byte("cn"), []byte("telephoneNumber"), []byte("manager")}
	for i := range b.N {
		s.DNs().Has(descs[i%len(descs)])
	}
}
