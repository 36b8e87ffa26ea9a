package test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// oddNames are RDNs that need escapes or are written in another way than they are shown, and
// the values in them.
var oddNames = []struct{ rdn, cn string }{
	{`cn=comma\, plus\+ quote\" back\\slash`, `comma, plus+ quote" back\slash`},
	{`cn=\#hash`, "#hash"},
	{`cn=\20lead and trail\20`, " lead and trail "},
	{`cn=semi\;colon \<angle\> equal\=s`, "semi;colon <angle> equal=s"},
	{`cn=Müller 漢字 😀`, "Müller 漢字 😀"},
	{`cn=two  spaces`, "two  spaces"},
	{`cn=new\0Aline`, "new\nline"},
	{`cn=tab\09tab`, "tab\ttab"},
	{`CN=Upper Type`, "Upper Type"},
	{`2.5.4.3=by OID`, "by OID"},
	{"cn=e\u0301 combined", "e\u0301 combined"},
	{"cn=soft\u00adhyphen", "soft\u00adhyphen"},
	{"cn=" + strings.Repeat("long ", 40) + "name", strings.Repeat("long ", 40) + "name"},
}

// odd is content that is awkward to carry, as LDIF: such names, with entries below them; values that are
// large, binary, empty, or have DNs in them; options; entries that mean something to a server.
func odd() string {
	var b strings.Builder
	entry := func(rdn, class string, lines ...string) {
		fmt.Fprintf(&b, "dn:: %s\nobjectClass: %s\n", base64.StdEncoding.EncodeToString([]byte(rdn+",o=src")), class)
		for _, l := range lines {
			if name, value, _ := strings.Cut(l, "="); value == "" {
				fmt.Fprintf(&b, "%s:\n", name)
			} else {
				fmt.Fprintf(&b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
			}
		}
		b.WriteString("\n")
	}
	for _, n := range oddNames {
		entry(n.rdn, "device", "cn="+n.cn, "description="+n.cn, "seeAlso="+n.rdn+",o=src", "owner=cn=elsewhere,o=other")
		entry("cn=child,"+n.rdn, "device", "cn=child")
	}
	entry(`cn=two+serialNumber=1\+1`, "device", "cn=two", "serialNumber=1+1")
	entry(`serialNumber=2+cn=order`, "device", "cn=order", "serialNumber=2")
	entry("cn=values", "device", "objectClass=extensibleObject", "cn=values", "cn;lang-de=Werte", "cn;lang-fr=valeurs",
		"jpegPhoto="+strings.Repeat("\x00\xff\x01photo", 50_000), "description="+strings.Repeat("long ", 50_000)+".",
		"description= begins and ends with a space ", "description=two\nlines", "description=: colon", "description=<less",
		`postalAddress=One\24 Street$Two\5C Town$`, "userPassword=", "userPassword=\x00\x01", "labeledURI=http://x/%20 a label",
		"telephoneNumber=+49 (0) 1 - 2", "uniqueMember=cn=values,o=src#'0101'B", "uniqueMember=cn=other,o=src", "mail=a@b", "mail=A@c")
	members := []string{"cn=members"}
	for i := range 3000 {
		members = append(members, fmt.Sprintf(`member=cn=m%d\, x,o=src`, i))
	}
	entry("cn=members", "groupOfNames", members...)
	entry("cn=alias", "alias", "objectClass=extensibleObject", "cn=alias", "aliasedObjectName=cn=values,o=src")
	entry("cn=referral", "referral", "objectClass=extensibleObject", "cn=referral", "ref=ldap://127.0.0.1:1/o=src??sub")
	return b.String()
}

// plain is LDIF without its base64, which may hold DNs.
func plain(ldif string) string {
	lines := strings.Split(ldif, "\n")
	for i, l := range lines {
		if name, value, ok := strings.Cut(l, ":: "); ok {
			if text, err := base64.StdEncoding.DecodeString(value); err == nil {
				lines[i] = name + ": " + strings.ReplaceAll(string(text), "\n", `\0A`)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// R4, R6, R12, R40: awkward names and values come from a slapd to a Shaft, and from there to slapds and
// another Shaft, as they are, DNs in them moved along; when they are renamed too.
func TestOddContentIsMirrored(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "o=src", SessionLog: 100, LDIF: "dn: o=src\nobjectClass: organization\no: src\n"})
	up.Apply(odd())
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", up.URL()+"/o=src", "--name", "o=src", "--wait")
	second := newShaft(t, "base_dn: o=Second\nserver_id: 2")
	second.run("subscription", "add", "first", "--url", "ldap://"+s.address+"/o=src,ou=Package%20Listers", "--name", "o=src")
	persist := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist", "schemachecking=on")
	poll := mirror(t, "ldap://"+s.address, base, "type=refreshOnly", "interval=00:00:00:01", "schemachecking=off")
	check := func() {
		t.Helper()
		all := []string{"-M", "(objectClass=*)", "*", "entryUUID", "modifyTimestamp"}
		words := strings.NewReplacer("o=src,o=Second", "o=src", "o=src,"+base, "o=src")
		var source, first, other map[string]string
		defer func() {
			for dn := range source {
				if t.Failed() && (first[dn] != source[dn] || other[dn] != source[dn]) {
					t.Errorf("%s is\n%.500s\nof the first Shaft\n%.500s\nof the second\n%.500s", dn, source[dn], first[dn], other[dn])
				}
			}
			if t.Failed() {
				t.Logf("%d entries of the source, %d and %d", len(source), len(first), len(other))
			}
		}()
		eventually(t, 30*time.Second, "both Shafts have what the source has", func() bool {
			source = copied(plain(up.Search(append([]string{"-LLL", "-o", "ldif-wrap=no", "-b", "o=src"}, all...)...)))
			first = copied(words.Replace(plain(s.search(append([]string{"-b", "o=src," + base}, all...)...))))
			out, _ := second.trySearch(append([]string{"-b", "o=src,o=Second"}, all...)...)
			other = copied(words.Replace(plain(out)))
			return len(source) > 0 && maps.Equal(source, first) && maps.Equal(source, other)
		})
		s.mirrors(t, persist, base)
		s.mirrors(t, poll, base)
	}
	check()
	var renames strings.Builder
	for i, n := range oddNames {
		next := oddNames[(i+1)%len(oddNames)]
		fmt.Fprintf(&renames, "dn:: %s\nchangetype: modrdn\nnewrdn:: %s\ndeleteoldrdn: 1\n\n", base64.StdEncoding.EncodeToString([]byte(n.rdn+",o=src")),
			base64.StdEncoding.EncodeToString([]byte(strings.Replace(next.rdn, "=", "=again ", 1))))
	}
	up.Apply(renames.String())
	check()
}
