package dit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// sameParts compares the structure of a DN with what go-ldap reads.
func sameParts(d DN, o *ldap.DN) error {
	if d.Len() != len(o.RDNs) {
		return fmt.Errorf("%d RDNs, go-ldap %d", d.Len(), len(o.RDNs))
	}
	for i, rdn := range o.RDNs {
		avas := d.RDN(i).AVAs()
		if len(avas) != len(rdn.Attributes) {
			return fmt.Errorf("RDN %d: %d AVAs, go-ldap %d", i, len(avas), len(rdn.Attributes))
		}
		for j, a := range rdn.Attributes {
			if avas[j].Type != a.Type || string(avas[j].Value) != a.Value {
				return fmt.Errorf("RDN %d: %s=%q, go-ldap %s=%q", i, avas[j].Type, avas[j].Value, a.Type, a.Value)
			}
		}
	}
	return nil
}

// randomDN makes a DN and says what it made: types and values in order.
func randomDN(r *rand.Rand) string {
	types := []string{"cn", "OU", "dc", "sn", "uid", "2.5.4.3", "made-up"}
	pieces := []string{"a", "B", " b", "é", `\,`, `\+`, `\=`, `\"`, `\\`, `\20`, `\2c`, `\C3\A9`, "#", "=", "0", `\<`, `\ `, "x y"}
	var b strings.Builder
	for i := range 1 + r.IntN(5) {
		if i > 0 {
			b.WriteString([]string{",", ", ", " ,", " , "}[r.IntN(4)])
		}
		for j := range 1 + r.IntN(3)/2 {
			if j > 0 {
				b.WriteString([]string{"+", " + "}[r.IntN(2)])
			}
			b.WriteString(types[r.IntN(len(types))])
			b.WriteString("=v")
			for range r.IntN(6) {
				b.WriteString(pieces[r.IntN(len(pieces))])
			}
		}
	}
	return b.String()
}

// R4: go-ldap takes DNs apart likewise.
func TestR4DNAsGoLDAP(t *testing.T) {
	r := rand.New(rand.NewPCG(4514, 1))
	for range 5000 {
		text := randomDN(r)
		o, err := ldap.ParseDN(text)
		if err != nil {
			t.Fatalf("go-ldap refuses %q: %v", text, err)
		}
		if err := sameParts(mustDN(t, text), o); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// knownDifference tells the texts that go-ldap reads otherwise than RFC 4514,
// RFC 2253 or this package's doc say, by what they hold.
func knownDifference(text string) bool {
	switch {
	case strings.ContainsAny(text, "\"#<>;\x00"):
		// It knows no quotes, lets '<', '>', ';' and NUL stand bare, and
		// decodes a #hex value only when it is BER.
		return true
	case !utf8.ValidString(text):
		return true // it puts U+FFFD for what is not UTF-8
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) && r != ' ' }):
		return true // blank are to it a space between parts, and all that Unicode calls so around a whole
	case strings.Contains(strings.ToLower(text), "oid."):
		return true // no prefix
	}
	return false
}

// Whatever go-ldap reads is read likewise, except for knownDifference and what
// it takes for an attribute type, which may be anything.
func FuzzDNAsGoLDAP(f *testing.F) {
	for _, seed := range []string{"cn=a,dc=b", `cn=a\,b+sn=x\20 ,dc=c`, `uid=\c3\a4\00`, "cn=", "cn=a\\  , dc=x", "cn = a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if knownDifference(text) {
			return
		}
		o, err := ldap.ParseDN(text)
		if err != nil {
			return
		}
		d, err := ParseDN(testSchema, text)
		if err != nil && strings.Contains(err.Error(), "attribute") {
			return
		}
		if err != nil {
			t.Fatalf("go-ldap reads %q, not so here: %v", text, err)
		}
		if err := sameParts(d, o); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// slapdn runs OpenLDAP's DN parser with its standard schema over each DN and
// gives their normal forms; "" where it refuses one.
func slapdn(t *testing.T, texts []string) []string {
	t.Helper()
	tool := "/usr/sbin/slapdn"
	if _, err := os.Stat(tool); err != nil {
		t.Fatalf("%v; apt-get install slapd", err)
	}
	conf := filepath.Join(t.TempDir(), "slapd.conf")
	var text strings.Builder
	for _, name := range []string{"core", "cosine", "inetorgperson"} {
		fmt.Fprintf(&text, "include /etc/ldap/schema/%s.schema\n", name)
	}
	if err := os.WriteFile(conf, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(texts))
	for i, text := range texts {
		var said, complaint bytes.Buffer
		c := exec.Command(tool, "-N", "-f", conf, text)
		c.Stdout, c.Stderr = &said, &complaint
		if err := c.Run(); err == nil {
			out[i] = strings.TrimSuffix(said.String(), "\n")
		} else if !strings.Contains(complaint.String(), "check failed") {
			t.Fatalf("slapdn %q: %v: %s", text, err, complaint.String())
		}
	}
	return out
}

// slapdNames are DNs in groups: what stands in one is near to one another,
// equal or not.
var slapdNames = [][]string{
	{"cn=a,dc=b", "CN=A, DC=B", "cn = a , dc = b", "cn=a;dc=b", "2.5.4.3=A,dc=b", "commonName=a,domainComponent=b", `cn=\61,dc=b`, `cn="a",dc=b`, `cn=a\20,dc=b`, `cn=\ a,dc=b`, "cn=a"},
	{"cn=a b", "cn=a  b", "cn=A   B  ", `cn=a\20b`, `cn=a\20\20b`, "cn=ab", `cn=a\ \ b`},
	{"cn=a+sn=b", "sn=b+cn=a", "SN=B + CN=A", "cn=a,sn=b", "cn=a+sn=c", `cn=a\+sn\=b`, "cn=a+sn=b+uid=c", "uid=c+sn=b+cn=a"},
	{`cn=a\,b`, `cn=a\2Cb`, `cn=a\2cB`, `cn="a,b"`, `cn=a\;b`, `cn=a\3bb`},
	{"cn=a=b", `cn=a\=b`, `cn=a\3Db`, "cn=a#b", `cn=a\23b`, `cn=a\\b`, `cn=a\5cb`},
	{"cn=é", "cn=É", `cn=\c3\a9`, `cn=\C3\89`, "cn=e", "cn=e\u0301", "cn=Ａ", "cn=A"},
	{"dc=Example,dc=com", "dc=example,dc=COM", "dc=example, dc=com", "dc=example.com"},
	{"seeAlso=cn=A", "seeAlso=CN=a", `seeAlso=cn=a\,dc=b`, `seeAlso=CN=A\2c dc=B`},
	{`telephoneNumber=\+1 2-3`, `telephoneNumber=\+123`, `telephoneNumber=\2b1 23`, `telephoneNumber=\+124`},
	{"serialNumber=A 1", "serialNumber=a  1", "serialNumber=a1", "o=Acme\\, Inc.", `o="Acme, Inc."`, `o=acme\2c  inc.`},
}

// R4: two names are the same here exactly when they are to OpenLDAP.
func TestR4DNAsSlapd(t *testing.T) {
	for _, group := range slapdNames {
		theirs := slapdn(t, group)
		ours := make([]DN, len(group))
		for i, text := range group {
			if theirs[i] == "" {
				t.Errorf("slapdn refuses %q", text)
			}
			ours[i] = mustDN(t, text)
		}
		for i := range group {
			for j := range i {
				if same := theirs[i] == theirs[j]; ours[i].Equal(ours[j]) != same {
					t.Errorf("%q and %q: slapdn %v (%q, %q); %q, %q", group[i], group[j],
						same, theirs[i], theirs[j], ours[i].Norm(), ours[j].Norm())
				}
			}
		}
	}
}

// What OpenLDAP takes for no DN at all is none here either; it also refuses
// values that are not of their type's syntax, types that its schema lacks and a
// type twice in an RDN, which are let pass here.
func TestR4DNRefusedAsSlapd(t *testing.T) {
	broken := []string{"cn=a,", "cn=a,,dc=x", "x", "=a", `cn=\xx`, "cn=#zz", "cn=a <b>", `cn=a"b`, `cn="a`, "cn=a+"}
	for i, norm := range slapdn(t, broken) {
		if _, err := ParseDN(testSchema, broken[i]); err == nil || norm != "" {
			t.Errorf("%q: %v; slapdn %q", broken[i], err, norm)
		}
	}
	odd := []string{"c=xyz", "made-up=x", "cn=a+cn=b", "cn=", `cn=\e9`, "OID.2.5.4.3=a"}
	for i, norm := range slapdn(t, odd) {
		if _, err := ParseDN(testSchema, odd[i]); err != nil || norm != "" {
			t.Errorf("%q: %v; slapdn %q", odd[i], err, norm)
		}
	}
}
