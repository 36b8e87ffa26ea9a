package upstream

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// R8: a URL and the separate fields make the same record.
func TestR8URLAndFieldsMakeOneRecord(t *testing.T) {
	for _, test := range []struct {
		url    string
		fields Source
	}{
		{"ldap://packages.suse.com/o=SuSe,c=DE",
			Source{Protocol: "ldap", Host: "packages.suse.com", Base: "o=SuSe,c=DE"}},
		{"LDAPS://Packages.Debian.ORG:389/cn=Wheezy,dc=debian,dc=org??SUB",
			Source{Protocol: "ldaps", Host: "packages.debian.org", Port: 389, Base: "cn=Wheezy,dc=debian,dc=org"}},
		{"ldap://packages.redhat.com:389/o=RedHat,c=US??sub?(distro=*)",
			Source{Host: "packages.redhat.com", Port: 389, Base: "o=RedHat,c=US", Filter: "(distro=*)", Scope: "sub"}},
		{"ldap://[2001:DB8::1]:1389/dc=x?cn,sn;lang-en?one?(%26(a=b)(c=d%3f))",
			Source{Protocol: "ldap", Host: "2001:db8:0::1", Port: 1389, Base: "dc=x",
				Attributes: []string{"cn", "sn;lang-en"}, Scope: "one", Filter: "(&(a=b)(c=d?))"}},
		{"ldaps://h/dc=x????", Source{Protocol: "LDAPS", Host: "H", Base: "dc=x"}},
		{"ldaps://[::1]:636/dc=x", Source{Protocol: "LDAPS", Host: "0::1", Base: "dc=x"}},
		{"ldap://127.0.0.1/dc=x", Source{Host: "127.0.0.1", Port: 389, Base: "dc=x"}},
		{"ldap://LocalHost/dc=x", Source{Host: "localhost", Port: 389, Base: "dc=x"}},
		{"ldapi://%2Frun%2Fldapi/dc=x??one", Source{Protocol: "ldapi", Socket: "/run/ldapi", Base: "dc=x", Scope: "ONE"}},
		{"LDAPI://%2frun%2fldapi/dc=x???", Source{Socket: "/run/ldapi", Base: "dc=x"}},
		{"ldap://h:1/dc=x?cn?base?(objectclass=*)?x-StartTLS", Source{Host: "h", Port: 1, Base: "dc=x", Attributes: []string{"cn"}, Scope: "base", StartTLS: true}},
		{"ldap://h/dc=x????!StartTLS", Source{Host: "h", Base: "dc=x", StartTLS: true}},
	} {
		got, _, err := ParseURL(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if _, err := got.Validate(); err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
		if _, err := test.fields.Validate(); err != nil {
			t.Errorf("%s: fields: %v", test.url, err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(test.fields)
		if string(a) != string(b) || !reflect.DeepEqual(got, test.fields) {
			t.Errorf("%s:\n  URL    %s\n  fields %s", test.url, a, b)
		}
	}
}

// R8: scope defaults to sub, attributes to all, filter to (objectClass=*).
func TestR8Defaults(t *testing.T) {
	src, warnings, err := ParseURL("ldap://h")
	want := Source{Protocol: "ldap", Host: "h", Scope: "sub", Filter: "(objectClass=*)"}
	if err != nil || len(warnings) > 0 || !reflect.DeepEqual(src, want) {
		t.Errorf("got %+v, %v, %v", src, warnings, err)
	}
	if warnings, err := src.Validate(); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "no base was given") {
		t.Errorf("got %+v, %v, %v", src, warnings, err)
	}
	for protocol, want := range map[string]string{"ldap": "h:389", "ldaps": "h:636"} {
		src := Source{Protocol: protocol, Host: "h", Base: "dc=x"}
		warnings, err := src.Validate()
		first := src.first()
		if err != nil || len(warnings) > 0 || src.Port != 0 || first.address() != want {
			t.Errorf("got %+v at %s, %v, %v", src, first.address(), warnings, err)
		}
	}
}

// R9: a list without its & is repaired, ldaps on 389 is obeyed; both are said.
func TestR9RepairsAndWarns(t *testing.T) {
	const odd, good = "((objectClass=LinuxDistribution)(cn=*))", "(&(objectClass=LinuxDistribution)(cn=*))"
	src, warnings, err := ParseURL("ldaps://all.dpkg.org:389/dc=all,dc=dpkg,dc=org???" + odd)
	if err != nil || src.Filter != good || len(warnings) != 1 || !strings.Contains(warnings[0], good) {
		t.Fatalf("got %+v, %q, %v", src, warnings, err)
	}
	warnings, err = src.Validate()
	if err != nil || src.Protocol != "ldaps" || src.Port != 389 || len(warnings) != 1 || !strings.Contains(warnings[0], "389") {
		t.Errorf("got %+v, %q, %v", src, warnings, err)
	}
	src = Source{Host: "h", Base: "dc=x", Filter: odd}
	warnings, err = src.Validate()
	if err != nil || src.Filter != good || len(warnings) != 1 || !strings.Contains(warnings[0], odd) {
		t.Errorf("got %+v, %q, %v", src, warnings, err)
	}
	if warnings, err = src.Validate(); err != nil || len(warnings) != 0 {
		t.Errorf("a second look: %q, %v", warnings, err)
	}
}

func TestValidateWarnsOfUselessCA(t *testing.T) {
	_, caFile := authority(t)
	src := Source{Host: "h", Base: "dc=x", CAFile: caFile}
	if warnings, err := src.Validate(); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "ca_file") {
		t.Errorf("got %q, %v", warnings, err)
	}
}

// R10: no credentials in a URL, given or printed, nor in the error about them.
func TestR10URLHoldsNoCredentials(t *testing.T) {
	src := Source{Host: "h", Base: "dc=x", BindDN: "cn=shaft,dc=x", PasswordFile: write(t, "s3cret\n")}
	if _, err := src.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := src.URL(); got != "ldap://h/dc=x??sub" {
		t.Errorf("URL() = %s", got)
	}
	for _, text := range []string{"ldap://cn=shaft:s3cret@h/dc=x", "ldap://shaft:s3cret/x@h/dc=x", "ldaps://s3cret@[::1]/"} {
		_, _, err := ParseURL(text)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestURLPrints(t *testing.T) {
	for in, want := range map[string]string{
		"ldap://h":                     "ldap://h/??sub",
		"ldap://h/?":                   "ldap://h/??sub",
		"ldap://h:389/o=a b,c=US?":     "ldap://h:389/o=a%20b,c=US??sub",
		"ldap://h:0389/":               "ldap://h:389/??sub",
		"ldaps://1.2.3.4:636/":         "ldaps://1.2.3.4/??sub",
		"ldapi://%2Fa%20b%3A%40/o=x":   "ldapi://%2Fa%20b%3A%40/o=x??sub",
		"ldaps://h:389/o=Question%3f":  "ldaps://h:389/o=Question%3F??sub",
		"ldap://h/o=x?cn,*??(cn=é)":    "ldap://h/o=x?cn,*?sub?(cn=%C3%A9)",
		"ldap://h/o=An%20Ex%5C2C%20I.": "ldap://h/o=An%20Ex%5C2C%20I.??sub",
		"ldap://[::1]/??subordinate":   "ldap://[::1]/??subordinate",
		"ldap://[fe80::1%25eth0]:3/":   "ldap://[fe80::1%25eth0]:3/??sub",
		"ldap://h/????x-starttls=1":    "ldap://h/??sub??!StartTLS",
		"ldap://h/???(o=%5c00%5c04)":   "ldap://h/??sub?(o=%5C00%5C04)",
	} {
		src, _, err := ParseURL(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := src.URL(); got != want {
			t.Errorf("%s prints as %s, want %s", in, got, want)
		}
	}
}

// R56: what is wrong in a URL is refused with the part and the column.
func TestParseURLRefuses(t *testing.T) {
	for _, test := range []struct{ url, part, column, words string }{
		{"", "protocol", "1", "does not begin"},
		{"ldap:/h", "protocol", "1", "does not begin"},
		{"http://h/", "protocol", "1", "none of ldap, ldaps and ldapi"},
		{"ldapi:///o=x", "host", "9", "name the path of the socket"},
		{"ldapi:///run/ldapi", "host", "9", "name the path of the socket"},
		{"ldapi://run/ldapi", "host", "9", "does not begin with /"},
		{"ldapi://%2Frun%2Fldapi:389/o=x", "host", "23", "no port"},
		{"ldapi://user@%2Frun/o=x", "host", "9", "credentials"},
		{"ldapi://%2Frun%00/o=x", "host", "15", "zero byte"},
		{"ldapi://%2F" + strings.Repeat("x", 107) + "/o=x", "host", "9", "longer than 107"},
		{"ldap:///o=x", "host", "8", "missing: name the server"},
		{"ldap:///dc=example,dc=org", "host", "8", "not looked up from the base"},
		{"ldap://h?cn", "host", "9", `"/" wanted`},
		{"ldap://a b/", "host", "8", "' '"},
		{"ldap://a%2eb/", "host", "8", "'%'"},
		{"ldap://h:0/", "host", "10", "port"},
		{"ldap://h:65536/", "host", "10", "port"},
		{"ldap://h:x/", "host", "10", "port"},
		{"ldap://::1/", "host", "8", "missing"},
		{"ldap://[::1/", "host", "8", `without "]"`},
		{"ldap://[1.2.3.4]/", "host", "9", "not an IPv6"},
		{"ldap://[::1]x/", "host", "13", "port wanted"},
		{"ldap://[::1]:x/", "host", "14", "port"},
		{"ldap://[fe80::1%25e%5d]/", "host", "8", "does not belong"},
		{"ldap://h/o=x%2", "base", "13", "hexadecimal"},
		{"ldap://h/o=x%zz", "base", "13", "hexadecimal"},
		{"ldap://h/o=x%00", "base", "13", "zero byte"},
		{"ldap://h/o=x%ff", "base", "10", "UTF-8"},
		{"ldap://h/o=x,nonsense", "base", "", ""},
		{"ldap://h/o=x?cn,,sn", "attributes", "17", "empty"},
		{"ldap://h/o=x?cn,1x", "attributes", "17", "1x"},
		{"ldap://h/o=x?cn;l%20x", "attributes", "14", "option"},
		{"ldap://h/o=x??two", "scope", "15", "two"},
		{"ldap://h/o=x???(%26(a=b)(c", "filter", "", ""},
		{"ldap://h/o=x????!bindname=cn%3dx", "extensions", "17", "critical"},
		{"ldap://h/o=x????a,!b", "extensions", "19", "critical"},
		{"ldap://h/o=x????,", "extensions", "17", "name of an extension"},
		{"ldaps://h/o=x????StartTLS", "extensions", "18", "ldaps"},
		{"ldapi://%2Fl/o=x????!StartTLS", "extensions", "21", "ldapi"},
		{"ldap://h/o=x????a?", "extensions", "18", "too many"},
		{"ldap://h/cn=" + strings.Repeat("x", maxText), "base", "10", "longer than 16384"},
		{"ldap://h/?" + strings.Repeat("a,", 1000) + "a", "attributes", "11", "more than 1000"},
		{"ldap://h/?" + strings.Repeat(strings.Repeat("a", 200)+",", 100) + "a", "attributes", "11", "longer than 16384"},
		{"ldap://h/???(cn=" + strings.Repeat("x", maxText) + ")", "filter", "13", "longer than 16384"},
	} {
		_, _, err := ParseURL(test.url)
		if err == nil {
			t.Errorf("%s: accepted", test.url)
			continue
		}
		if !strings.HasPrefix(err.Error(), "ldap url: "+test.part+", column "+test.column) || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", test.url, err)
		}
	}
}

// The column of what is wrong in an encoded part is that of the URL as written.
func TestParseURLPlacesErrorsInTheEncodedText(t *testing.T) {
	plain, encoded := "ldap://h/???(cn=a)(b", "ldap://h/???%28cn=%61)(b"
	_, _, a := ParseURL(plain)
	_, _, b := ParseURL(encoded)
	if a == nil || b == nil {
		t.Fatal("accepted")
	}
	if want := strings.Replace(a.Error(), "column 19", "column 23", 1); want == a.Error() || b.Error() != want {
		t.Errorf("plain: %v\nencoded: %v", a, b)
	}
}

func TestParseURLIgnoresUnknownExtensionsAloud(t *testing.T) {
	src, warnings, err := ParseURL("ldap://h/????e-bindname=cn=Manager%2cdc=x,1.2.3")
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "e-bindname") || strings.Contains(warnings[0], "Manager") {
		t.Errorf("got %+v, %q, %v", src, warnings, err)
	}
}

// R56: each field, wrong in turn, is refused by its name.
func TestValidateRefuses(t *testing.T) {
	password, missing := write(t, "s3cret\n"), filepath.Join(t.TempDir(), "none")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, key := pairFiles(t, "h")
	_, otherKey := pairFiles(t, "h")
	for _, test := range []struct {
		src   Source
		words string
	}{
		{Source{}, "host: missing: name the server"},
		{Source{Base: "dc=example,dc=org"}, "host: missing: name the server"},
		{Source{Protocol: "http", Host: "h"}, `protocol: "http"`},
		{Source{Host: strings.Repeat("h", 256)}, "host: longer"},
		{Source{Host: "h/x"}, "host: character '/'"},
		{Source{Host: "h", Port: -1}, "port: -1"},
		{Source{Host: "h", Port: 65536}, "port: 65536"},
		{Source{Protocol: "ldapi"}, "socket: missing"},
		{Source{Protocol: "ldapi", Host: "h", Socket: "/x"}, "host: not together with ldapi"},
		{Source{Protocol: "ldapi", Port: 1, Socket: "/x"}, "port: not together with ldapi"},
		{Source{Protocol: "ldapi", Socket: "x"}, `socket: "x" does not begin`},
		{Source{Protocol: "ldapi", Socket: "/" + strings.Repeat("x", 107)}, "socket: longer than 107"},
		{Source{Protocol: "ldapi", Socket: "/x\x00"}, "socket: zero byte"},
		{Source{Protocol: "ldap", Host: "h", Socket: "/x"}, "socket: only together"},
		{Source{Protocol: "ldapi", Socket: "/x", StartTLS: true}, "starttls: not together with ldapi"},
		{Source{Host: "h", Servers: []Server{{}}}, "servers: number 1: host: missing"},
		{Source{Host: "h", Servers: []Server{{Host: "a"}, {Host: "b", Port: 70000}}}, "servers: number 2: port: 70000"},
		{Source{Host: "h", Servers: []Server{{Protocol: "http", Host: "a"}}}, `servers: number 1: protocol: "http"`},
		{Source{Host: "h", Servers: []Server{{Host: "a"}, {Host: "H", Port: 389}}}, "servers: ldap://h:389 is there twice"},
		{Source{Host: "h", Servers: make([]Server, maxServers)}, "servers: more than 16"},
		{Source{Host: "h", Servers: []Server{{Protocol: "ldaps", Host: "a"}}}, "servers: of ldap://h and ldaps://a only one is protected"},
		{Source{Protocol: "ldaps", Host: "h", Servers: []Server{{Protocol: "ldap", Host: "a"}}}, "servers: of ldaps://h and ldap://a only one is protected"},
		{Source{Socket: "/x", Servers: []Server{{Host: "a"}}}, "servers: of ldapi://%2Fx and ldap://a only one is protected"},
		{Source{Host: "h", Base: "nonsense"}, "base: "},
		{Source{Host: "h", Base: "cn=" + strings.Repeat("x", maxText)}, "base: longer"},
		{Source{Host: "h", Filter: "(a=b"}, "filter: "},
		{Source{Host: "h", Filter: "((a=b)(c=d)"}, "filter: "},
		{Source{Host: "h", Filter: "(a=" + strings.Repeat("x", maxText) + ")"}, "filter: longer"},
		{Source{Host: "h", Attributes: []string{"a b"}}, `attributes: "a b"`},
		{Source{Host: "h", Attributes: strings.Split(strings.Repeat("a,", 1000)+"a", ",")}, "attributes: more than 1000"},
		{Source{Host: "h", Attributes: []string{strings.Repeat("a", maxText+1)}}, "attributes: longer"},
		{Source{Host: "h", Scope: "tree"}, `scope: "tree"`},
		{Source{Host: "h", Protocol: "ldaps", StartTLS: true}, "starttls: "},
		{Source{Host: "h", BindDN: "nonsense", PasswordFile: password}, "bind_dn: "},
		{Source{Host: "h", BindDN: "cn=" + strings.Repeat("x", maxText), PasswordFile: password}, "bind_dn: longer"},
		{Source{Host: "h", BindDN: "cn=x"}, "bind_dn: given without"},
		{Source{Host: "h", PasswordFile: password}, "password_file: given without"},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: missing}, "password_file: open " + missing},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: strings.Repeat("x", 5000)}, "password_file: longer than 4096"},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: write(t, "\nx\n")}, "first line is empty"},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: write(t, strings.Repeat("x", 1<<17))}, "more than 65536 bytes"},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: pipe}, pipe + ": not a regular file"},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: "/dev/zero"}, "/dev/zero: not a regular file"},
		{Source{Host: "h", BindDN: "cn=x", PasswordFile: t.TempDir()}, "not a regular file"},
		{Source{Host: "h", StartTLS: true, CAFile: pipe}, "ca_file: " + pipe + ": not a regular file"},
		{Source{Host: "h", StartTLS: true, CAFile: write(t, strings.Repeat("x", 1<<20+1))}, "more than 1048576 bytes"},
		{Source{Host: "h", StartTLS: true, CAFile: missing}, missing},
		{Source{Host: "h", StartTLS: true, CAFile: password}, "no PEM certificate"},
		{Source{Host: "h", StartTLS: true, CertFile: certificate}, "certificate: given without a key"},
		{Source{Host: "h", StartTLS: true, KeyFile: key}, "key: given without a certificate"},
		{Source{Host: "h", StartTLS: true, CertFile: missing, KeyFile: key}, "certificate: open " + missing},
		{Source{Host: "h", StartTLS: true, CertFile: certificate, KeyFile: missing}, "key: open " + missing},
		{Source{Host: "h", StartTLS: true, CertFile: certificate, KeyFile: otherKey}, "does not match"},
		{Source{Host: "h", StartTLS: true, CertFile: key, KeyFile: key}, "certificate and key: "},
		{Source{Host: "h", StartTLS: true, CertFile: certificate, KeyFile: password}, "certificate and key: "},
		{Source{Host: "h", StartTLS: true, CertFile: certificate, KeyFile: pipe}, "key: " + pipe + ": not a regular file"},
		{Source{Host: "h", SASLExternal: true}, "sasl_external: ldap://h would not know who we are"},
		{Source{Host: "h", SASLExternal: true, StartTLS: true}, "sasl_external: ldap://h would not"},
		{Source{Host: "h", SASLExternal: true, CertFile: certificate, KeyFile: key}, "sasl_external: ldap://h would not"},
		{Source{Socket: "/x", SASLExternal: true, Servers: []Server{{Protocol: "ldaps", Host: "h"}}}, "sasl_external: ldaps://h would not"},
		{Source{Socket: "/x", SASLExternal: true, BindDN: "cn=x", PasswordFile: password}, "sasl_external: not together with a bind_dn"},
		{Source{Host: "h", Poll: Interval(time.Second - 1)}, "poll: 999.999999ms is less than 1s"},
		{Source{Host: "h", Poll: -1}, "poll: "},
	} {
		if _, err := test.src.Validate(); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%.300v: %v, want %q", test.src, err, test.words)
		} else if strings.Contains(err.Error(), "s3cret") || len(err.Error()) > 6000 {
			t.Errorf("%.300v: says too much: %v", test.src, err)
		}
	}
}

// Comparing the text tells whether a source wants every entry.
func TestValidateWritesAllEntries(t *testing.T) {
	for text, want := range map[string]string{
		"": AllEntries, AllEntries: AllEntries, "(objectclass=*)": AllEntries, " (OBJECTCLASS=*) ": AllEntries, "(2.5.4.0=*)": AllEntries,
		"(objectClass=person)": "(objectClass=person)", "(cn=*)": "(cn=*)", "(!(objectClass=*))": "(!(objectClass=*))",
	} {
		src := Source{Host: "h", Base: "dc=x", Filter: text}
		if warnings, err := src.Validate(); src.Filter != want || err != nil || len(warnings) > 0 {
			t.Errorf("%q: %q, %q, %v", text, src.Filter, warnings, err)
		}
	}
}

func TestReadPassword(t *testing.T) {
	for text, want := range map[string]string{"a\n": "a", "a": "a", "a b \r\nrest\n": "a b ", "é\n\n": "é"} {
		if got, err := readPassword(write(t, text)); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func FuzzParseURL(f *testing.F) {
	for _, text := range []string{
		"ldap://h/o=x,c=DE?cn,*?one?(cn=a%20b)?x,!StartTLS", "ldaps://[fe80::1%25e]:389/???((a=b)(c=d))",
		"ldap://h", "ldap://h/o=Question%3f", "ldap://h:1/cn=%23x??base", "ldapi://%2Frun%2Fldapi/dc=x????", "ldapi://%2F%3a%40%20",
		"ldap://localhost:389", "ldaps://[::ffff:1.2.3.4]:636/",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		src, _, err := ParseURL(text)
		if err != nil {
			return
		}
		if _, err := src.Validate(); err != nil {
			t.Fatalf("%q: parsed, yet not valid: %v", text, err)
		}
		again, warnings, err := ParseURL(src.URL())
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(src, again) {
			t.Fatalf("%q: %+v prints as %q: %+v, %q, %v", text, src, src.URL(), again, warnings, err)
		}
	})
}

func rewrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
