package schema

import (
	"bytes"
	"strings"
	"testing"
)

// R4: types are found by name or OID, in any case.
func TestR4AttributeByAnyName(t *testing.T) {
	s := Bundled()
	cn := s.Attribute("cn")
	for _, desc := range []string{"CN", "commonName", "COMMONNAME", "2.5.4.3", "OID.2.5.4.3", "oid.2.5.4.3", "cn;lang-en", "2.5.4.3;x;y"} {
		if s.Attribute(desc) != cn || s.AttributeBytes([]byte(desc)) != cn {
			t.Errorf("%s is not cn", desc)
		}
	}
	if cn.Key() != "cn" || cn.Unknown {
		t.Errorf("cn: %+v", cn)
	}
}

func TestUnknownAttribute(t *testing.T) {
	s := Bundled()
	for _, desc := range []string{"fooBar;lang-de", "FOOBAR"} {
		a := s.AttributeBytes([]byte(desc))
		if !a.Unknown || a.Key() != "foobar" || a.OID != "" || a.Operational() || a.IsDN() ||
			a.Equality != s.Rule("caseIgnoreMatch") || a.Ordering != s.Rule("caseIgnoreOrderingMatch") ||
			a.Substr != s.Rule("caseIgnoreSubstringsMatch") || a.Syntax != SyntaxDirectoryString {
			t.Errorf("%s: %+v", desc, a)
		}
		if subs := s.Subtypes(a); len(subs) != 1 || subs[0] != a {
			t.Errorf("subtypes of %s: %v", desc, subs)
		}
	}
	if a := s.Attribute("OID.1.2.3"); a.Key() != "1.2.3" || a.OID != "1.2.3" || len(a.Names) != 0 {
		t.Errorf("1.2.3: %+v", a)
	}
	long := strings.Repeat("x", 1000)
	if a := s.Attribute(long); a.Key() != long {
		t.Errorf("a long name became %q", a.Key())
	}
	if a := s.Attribute(""); !a.Unknown || a.Key() != "" {
		t.Errorf("the empty name: %+v", a)
	}
}

func TestSubtypes(t *testing.T) {
	s := Bundled()
	got := map[string]bool{}
	for _, a := range s.Subtypes(s.Attribute("name")) {
		got[a.Key()] = true
	}
	for _, key := range []string{"name", "cn", "sn", "ou", "c", "ipserviceprotocol"} {
		if !got[key] {
			t.Errorf("%s is missing", key)
		}
	}
	if got["description"] || got["mail"] {
		t.Errorf("too many: %v", got)
	}
	if subs := s.Subtypes(s.Attribute("uid")); len(subs) != 1 {
		t.Errorf("uid has %d", len(subs))
	}
}

func TestClasses(t *testing.T) {
	s := Bundled()
	org, person := s.ObjectClass("2.5.6.4"), s.ObjectClass("PERSON")
	if org == nil || org != s.ObjectClass("Organization") || s.ObjectClass("nothing") != nil {
		t.Fatal("lookup of classes")
	}
	got := map[string]bool{}
	for _, c := range s.Subclasses(person) {
		got[c.Name()] = true
	}
	for _, name := range []string{"person", "organizationalPerson", "inetOrgPerson", "residentialPerson", "pilotPerson"} {
		if !got[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if len(got) != 5 {
		t.Errorf("subclasses of person: %v", got)
	}
	if len(s.Subclasses(&ObjectClass{})) != 1 {
		t.Error("a class of no schema has other subclasses than itself")
	}
	if pilot := s.ObjectClass("pilotOrganization"); !pilot.DerivesFrom(org) || !pilot.DerivesFrom(s.ObjectClass("organizationalUnit")) ||
		org.DerivesFrom(pilot) {
		t.Error("pilotOrganization derives from two")
	}
}

// R6: whether the classes of an entry allow the attribute of its RDN.
func TestR6Allows(t *testing.T) {
	s := Bundled()
	tests := []struct {
		classes, attr string
		want          bool
	}{
		{"top person", "cn", true},
		{"top person", "commonName;lang-en", true},
		{"top person", "objectClass", true},
		{"top person", "mail", false},
		{"top INETORGPERSON", "mail", true},
		{"inetOrgPerson", "telephoneNumber", true},
		{"2.5.6.6", "sn", true},
		{"noSuchClass", "cn", false},
		{"noSuchClass person", "cn", true},
		{"", "cn", false},
		{"device extensibleObject", "mail", true},
		{"device extensibleObject", "noSuchType", true},
		{"device extensibleObject", "entryUUID", false},
		{"device", "noSuchType", false},
		{"subentry", "subtreeSpecification", true},
	}
	for _, tt := range tests {
		if got := s.Allows(strings.Fields(tt.classes), s.Attribute(tt.attr)); got != tt.want {
			t.Errorf("%q allow %s: %v", tt.classes, tt.attr, got)
		}
	}
	if !s.Allows([]string{"person"}, Bundled().Attribute("cn")) {
		t.Error("the type of an equal schema is not allowed")
	}
}

func TestStructuralClass(t *testing.T) {
	s := Bundled()
	tests := []struct{ classes, want string }{
		{"top person organizationalPerson inetOrgPerson", "inetOrgPerson"},
		{"INETORGPERSON person top", "INETORGPERSON"},
		{"top posixAccount account", "account"},
		{"organization dcObject top", "organization"},
		{"person device", "person"},
		{"device person inetOrgPerson", "device"},
		{"person 2.5.6.6", "person"},
		{"top dcObject", ""},
		{"noSuchClass", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := s.StructuralClass(strings.Fields(tt.classes)); got != tt.want {
			t.Errorf("of %q: %q, want %q", tt.classes, got, tt.want)
		}
	}
}

func TestNormalizeOID(t *testing.T) {
	s := Bundled()
	tests := []struct{ in, want string }{
		{"Person", "2.5.6.6"},
		{"cn", "2.5.4.3"},
		{"caseIgnoreMatch", "2.5.13.2"},
		{"2.5.6.6", "2.5.6.6"},
		{"NoSuch", "nosuch"},
		{"1.2.3", "1.2.3"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := s.NormalizeOID([]byte("<"), []byte(tt.in)); !bytes.Equal(got, []byte("<"+tt.want)) {
			t.Errorf("%q: %q", tt.in, got)
		}
	}
}

func TestLookupMakesNoGarbage(t *testing.T) {
	s := Bundled()
	desc := []byte("TelephoneNumber;lang-en")
	dst := make([]byte, 0, 64)
	allocs := testing.AllocsPerRun(100, func() {
		if s.AttributeBytes(desc).Unknown || s.Attribute("mail").Unknown || s.ObjectClass("inetOrgPerson") == nil {
			t.Fatal("not found")
		}
		s.NormalizeOID(dst, desc[:15])
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkAttributeBytes(b *testing.B) {
	s := Bundled()
	desc := []byte("telephoneNumber")
	b.ReportAllocs()
	for b.Loop() {
		if s.AttributeBytes(desc).Unknown {
			b.Fatal("not found")
		}
	}
}
