package rewrite

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// R5: the moved base entry.
func TestR5Base(t *testing.T) {
	tests := []struct {
		name     string
		from, to string
		in, want []string
	}{
		{"value added, the old stays", "cn=Wheezy,dc=debian,dc=org", "cn=Debian Wheezy,ou=p",
			[]string{"objectClass: device", "cn: Wheezy"}, []string{"objectClass: device", "cn: Wheezy", "cn: Debian Wheezy"}},
		{"attribute added that the classes allow", "o=SuSe,c=DE", "ou=SuSe,ou=p",
			[]string{"objectClass: inetOrgPerson", "o: SuSe"}, []string{"objectClass: inetOrgPerson", "o: SuSe", "ou: SuSe"}},
		{"attribute added that the classes do not allow", "o=SuSe,c=DE", "cn=SuSe,ou=p",
			[]string{"objectClass: top", "objectClass: organization", "o: SuSe"},
			[]string{"objectClass: top", "objectClass: organization", "objectClass: extensibleObject", "o: SuSe", "cn: SuSe"}},
		{"extensibleObject is there already", "o=SuSe", "cn=SuSe,ou=p",
			[]string{"objectClass: organization", "objectClass: EXTENSIBLEOBJECT", "o: SuSe"},
			[]string{"objectClass: organization", "objectClass: EXTENSIBLEOBJECT", "o: SuSe", "cn: SuSe"}},
		{"classes that nobody knows", "distro=RHEL,o=RedHat", "cn=RHEL,ou=p",
			[]string{"objectClass: linuxDistribution", "distro: RHEL"},
			[]string{"objectClass: linuxDistribution", "objectClass: extensibleObject", "distro: RHEL", "cn: RHEL"}},
		{"SINGLE-VALUE is replaced", "dc=debian,dc=org", "dc=wheezy,ou=p",
			[]string{"objectClass: domain", "dc: debian", "description: x"},
			[]string{"objectClass: domain", "dc: wheezy", "description: x"}},
		{"SINGLE-VALUE that is right stays as written", "dc=debian,dc=org", "dc=Debian,ou=p",
			[]string{"objectClass: domain", "dc: debian"}, []string{"objectClass: domain", "dc: debian"}},
		{"present in another spelling and name", "cn=X,o=y", "cn=x  Y,ou=p",
			[]string{"objectClass: device", "commonName: X y"}, []string{"objectClass: device", "commonName: X y"}},
		{"options do not make an RDN's value", "cn=x,o=y", "cn=z,ou=p",
			[]string{"objectClass: device", "cn;lang-en: z", "cn: x"},
			[]string{"objectClass: device", "cn;lang-en: z", "cn: x", "cn: z"}},
		{"multi-valued RDN", "cn=x,o=y", "cn=z+serialNumber=7+cn=w,ou=p",
			[]string{"objectClass: device", "cn: x"},
			[]string{"objectClass: device", "cn: x", "cn: z", "cn: w", "serialNumber: 7"}},
		{"multi-valued RDN of a new type", "cn=x,o=y", "l=z+l=w,ou=p",
			[]string{"objectClass: device", "cn: x"}, []string{"objectClass: device", "cn: x", "l: z", "l: w"}},
		{"escaped value", "cn=x,o=y", `cn=a\2c b,ou=p`,
			[]string{"objectClass: device", "cn: x"}, []string{"objectClass: device", "cn: x", "cn: a, b"}},
		{"DN values move too (R6)", "cn=x,o=y", "cn=x,ou=p",
			[]string{"objectClass: groupOfNames", "cn: x", "member: cn=a,cn=x,o=y"},
			[]string{"objectClass: groupOfNames", "cn: x", "member: cn=a,cn=x,ou=p"}},
		{"nowhere", "cn=x,o=y", "cn=x,o=y",
			[]string{"objectClass: device", "cn: x", "seeAlso: cn=a,o=y"}, []string{"objectClass: device", "cn: x", "seeAlso: cn=a,o=y"}},
		{"no classes at all", "cn=x,o=y", "cn=z,ou=p", []string{"cn: x"}, []string{"cn: x", "cn: z", "objectClass: extensibleObject"}},
		{"nothing at all", "cn=x,o=y", "", []string{"cn: x"}, []string{"cn: x"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := NewMove(bundled, parseDN(t, test.from), parseDN(t, test.to), true)
			for range 2 { // the second time with used buffers
				out := m.Base(dit.Run("before"), run(test.in...))
				out = bytes.TrimPrefix(out, []byte("before"))
				if got := show(t, out); !slices.Equal(got, test.want) {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
			}
		})
	}
}

// R5: with DN values switched off the RDN is dealt with all the same.
func TestR5BaseWithoutValues(t *testing.T) {
	m := NewMove(bundled, parseDN(t, "cn=x,o=y"), parseDN(t, "cn=z,ou=p"), false)
	got := show(t, m.Base(nil, run("objectClass: device", "cn: x", "owner: cn=x,o=y")))
	if want := []string{"objectClass: device", "cn: x", "cn: z", "owner: cn=x,o=y"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEnsureRDN(t *testing.T) {
	tests := []struct{ rdn, in, want string }{
		{"cn=a", "cn: b|sn: c", "cn: b|cn: a|sn: c"},
		{"cn=a", "sn: c", "sn: c|cn: a"},
		{"cn=a", "cn:  A |sn: c", "cn:  A |sn: c"},
		{"uid=1+cn=a", "cn: a", "cn: a|uid: 1"},
		{"dc=a", "dc: b", "dc: b|dc: a"},
		{"cn=a", "name: a", "name: a|cn: a"},
	}
	for _, test := range tests {
		rdn := parseDN(t, test.rdn).RDN(0)
		got := strings.Join(show(t, EnsureRDN(nil, run(strings.Split(test.in, "|")...), bundled, rdn)), "|")
		if got != test.want {
			t.Errorf("%s in %s: got %s, want %s", test.rdn, test.in, got, test.want)
		}
	}
}

// R7: an entry that only holds a name together is valid: one structural
// class, all that its classes must have, nothing that they do not allow, and
// the RDN's values.
func TestR7Glue(t *testing.T) {
	tests := []struct{ rdn, want string }{
		{"ou=Lists", "objectClass: top|objectClass: organizationalUnit|ou: Lists"},
		{"o=Acme", "objectClass: top|objectClass: organization|o: Acme"},
		{"c=DE", "objectClass: top|objectClass: country|c: DE"},
		{"l=Berlin", "objectClass: top|objectClass: locality|l: Berlin"},
		{"dc=org", "objectClass: top|objectClass: domain|dc: org"},
		{"cn=Debian", "objectClass: top|objectClass: organizationalRole|cn: Debian"},
		{"uid=anna", "objectClass: top|objectClass: account|uid: anna"},
		{"ou=a+l=b", "objectClass: top|objectClass: organizationalUnit|ou: a|l: b"},
		{"cn=a+uid=b", "objectClass: top|objectClass: organizationalRole|objectClass: extensibleObject|cn: a|uid: b"},
		{"distro=RHEL", "objectClass: top|objectClass: locality|objectClass: extensibleObject|distro: RHEL"},
		{"mail=a@b", "objectClass: top|objectClass: locality|objectClass: extensibleObject|mail: a@b"},
	}
	for _, test := range tests {
		rdn := parseDN(t, test.rdn).RDN(0)
		glue := Glue(bundled, rdn)
		if got := strings.Join(show(t, glue), "|"); got != test.want {
			t.Errorf("%s: got %s, want %s", test.rdn, got, test.want)
		}
		names := classes(bundled, glue)
		if bundled.StructuralClass(names) != names[1] {
			t.Errorf("%s: the structural class of %q is %q", test.rdn, names, bundled.StructuralClass(names))
		}
		for _, must := range bundled.ObjectClass(names[1]).Must {
			if len(glue.Values(bundled, must)) == 0 {
				t.Errorf("%s: %s lacks its %s", test.rdn, names[1], must.Key())
			}
		}
		if !allowsAll(bundled, names, rdn.AVAs()) {
			t.Errorf("%s: not allowed by %q", test.rdn, names)
		}
	}
	for key, class := range glueClasses {
		if c := bundled.ObjectClass(class); c == nil || c.Kind != schema.Structural {
			t.Errorf("%s: the class %s is unknown or not structural", key, class)
		}
		if bundled.Attribute(key).Key() != key {
			t.Errorf("%s is no type's key", key)
		}
	}
}
