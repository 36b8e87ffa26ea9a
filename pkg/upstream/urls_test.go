package upstream

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// R13: several URLs are one source with servers in order, and print back.
func TestR13SeveralURLsMakeOneSource(t *testing.T) {
	for _, test := range []struct {
		urls   []string
		fields Source
	}{
		{[]string{"ldap://a/dc=x"}, Source{Host: "a", Base: "dc=x"}},
		{[]string{"ldap://a/dc=x?cn,sn?one?(cn=a)", "ldap://B:1389", "ldap://[::1]:389/DC = X?CN,SN?one?(cn=a)"},
			Source{Host: "a", Base: "dc=x", Attributes: []string{"cn", "sn"}, Scope: "one", Filter: "(cn=a)",
				Servers: []Server{{Host: "b", Port: 1389}, {Host: "0:0::1"}}}},
		{[]string{"ldap://a/dc=x????!StartTLS", "ldap://b/", "ldaps://c/????", "ldap://d/dc=x??sub??StartTLS"},
			Source{Host: "a", Base: "dc=x", StartTLS: true,
				Servers: []Server{{Host: "b"}, {Protocol: "LDAPS", Host: "C"}, {Protocol: "ldap", Host: "d"}}}},
		{[]string{"ldaps://a/dc=x", "ldap://b/????!StartTLS", "ldapi://%2Frun%2Fldapi"},
			Source{Protocol: "ldaps", Host: "a", Base: "dc=x", StartTLS: true,
				Servers: []Server{{Protocol: "ldap", Host: "b"}, {Socket: "/run/ldapi"}}}},
		{[]string{"ldapi://%2Fa/dc=x", "ldaps://b"},
			Source{Socket: "/a", Base: "dc=x", Servers: []Server{{Protocol: "ldaps", Host: "b"}}}},
		{[]string{"ldaps://a/dc=x???((a=b)(c=d))", "ldaps://b/???((a=b)(c=d))", "ldaps://c/???(%26(a=b)(c=d))"},
			Source{Protocol: "ldaps", Host: "a", Base: "dc=x", Filter: "(&(a=b)(c=d))", Servers: []Server{{Host: "b"}, {Host: "c"}}}},
	} {
		got, warnings, err := ParseURLs(test.urls)
		if err != nil {
			t.Errorf("%q: %v", test.urls, err)
			continue
		}
		if repaired := strings.Contains(test.urls[0], "(("); repaired != (len(warnings) == 1) {
			t.Errorf("%q: warnings %q", test.urls, warnings)
		}
		for _, src := range []*Source{&got, &test.fields} {
			if _, err := src.Validate(); err != nil {
				t.Errorf("%q: %+v: %v", test.urls, src, err)
			}
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(test.fields)
		if string(a) != string(b) || !reflect.DeepEqual(got, test.fields) {
			t.Errorf("%q:\n  URLs   %s\n  fields %s", test.urls, a, b)
		}
		again, warnings, err := ParseURLs(got.URLs())
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(again, got) || got.URLs()[0] != got.URL() {
			t.Errorf("%q print as %q: %+v, %q, %v", test.urls, got.URLs(), again, warnings, err)
		}
		var stored Source
		if err := json.Unmarshal(a, &stored); err != nil || !reflect.DeepEqual(stored, got) {
			t.Errorf("%s is read as %+v, %v", a, stored, err)
		}
	}
}

func TestR13URLsThatDisagree(t *testing.T) {
	const first = "ldap://a/dc=x?cn?one?(a=b)"
	for _, test := range []struct {
		urls  []string
		words []string
	}{
		{nil, []string{"none was given"}},
		{[]string{"http://a"}, []string{"ldap url: protocol, column 1"}},
		{[]string{first, "ldap://"}, []string{"URL number 2: ldap url: host, column 8: missing"}},
		{[]string{"ldap:///", "ldap://b"}, []string{"URL number 1: ldap url: host"}},
		{[]string{first, "ldap://b", "ldap://c/dc=y"}, []string{"URL number 3", "the base of ldap://c differ"}},
		{[]string{first, "ldap://b/?sn"}, []string{"URL number 2", "the attributes of ldap://b"}},
		{[]string{first, "ldap://b/??sub"}, []string{"the scope of ldap://b"}},
		{[]string{first, "ldap://b/???(c=d)"}, []string{"the filter of ldap://b"}},
		{[]string{first, "ldap://b/????StartTLS"}, []string{"the extensions of ldap://b"}},
		{[]string{first, "ldap://b/????!x=s3cret"}, []string{"URL number 2", "critical extension"}},
		{[]string{first, "ldap://u:s3cret@b/"}, []string{"URL number 2", "credentials"}},
	} {
		_, _, err := ParseURLs(test.urls)
		if err == nil {
			t.Errorf("%q: accepted", test.urls)
			continue
		}
		wantReason(t, err.Error(), test.words...)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", test.urls, err)
		}
	}
}

// R10: no server is spoken to with less protection than another.
func TestR10AllServersOrNoneAreEncrypted(t *testing.T) {
	for _, urls := range [][]string{
		{"ldaps://a/dc=x", "ldap://b"}, {"ldap://a/dc=x", "ldaps://b"}, {"ldap://a/dc=x????StartTLS", "ldapi://%2Fb"},
		{"ldap://a/dc=x", "ldapi://%2Fb"}, {"ldapi://%2Fb/dc=x", "ldap://a"}, {"ldaps://a/dc=x", "ldaps://c", "ldap://b"},
	} {
		src, _, err := ParseURLs(urls)
		if err != nil {
			t.Errorf("%q: %v", urls, err)
			continue
		}
		protected := src.StartTLS
		if _, err := src.Validate(); protected != (err == nil) || err != nil && !strings.Contains(err.Error(), "only one is protected") {
			t.Errorf("%q: %v", urls, err)
		}
		src.StartTLS = slices.ContainsFunc(src.servers(), func(at Server) bool { return at.Protocol == "ldap" })
		if _, err := src.Validate(); err != nil {
			t.Errorf("%q with StartTLS: %v", urls, err)
		}
	}
}

// What is stored already, with the port that was filled in then, is obeyed: the
// port stands, so that no SRV records are asked for.
func TestStoredSourcesKeepTheirPort(t *testing.T) {
	for text, want := range map[string]string{
		`{"protocol":"ldap","host":"h","port":389,"base":"dc=x","filter":"(objectClass=*)","scope":"sub"}`:   "ldap://h:389/dc=x??sub",
		`{"protocol":"ldaps","host":"h","port":636,"base":"dc=x","filter":"(objectClass=*)","scope":"sub"}`:  "ldaps://h:636/dc=x??sub",
		`{"protocol":"ldap","host":"::1","port":389,"base":"dc=x","filter":"(objectClass=*)","scope":"sub"}`: "ldap://[::1]/dc=x??sub",
	} {
		var src Source
		if err := json.Unmarshal([]byte(text), &src); err != nil {
			t.Fatal(err)
		}
		before := src.first()
		warnings, err := src.Validate()
		after := src.first()
		if err != nil || len(warnings) > 0 || src.URL() != want || before.address() != after.address() {
			t.Errorf("%s: %s at %s, %q, %v", text, src.URL(), after.address(), warnings, err)
		}
	}
}

func FuzzParseURLs(f *testing.F) {
	f.Add("ldap://a/dc=x????StartTLS", "ldaps://b", "ldap://c/dc=x")
	f.Add("ldapi://%2Fa/", "ldaps://[::1]", "ldap://c/????!StartTLS")
	f.Add("ldap://a/o=x?cn?one?(a=b)", "ldap://b/O=X?CN", "ldap://c:1")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		src, _, err := ParseURLs([]string{a, b, c})
		if err != nil {
			return
		}
		if _, err := src.Validate(); err != nil {
			return // servers that do not go together
		}
		again, _, err := ParseURLs(src.URLs())
		if err != nil || !reflect.DeepEqual(src, again) {
			t.Fatalf("%q %q %q: %+v prints as %q: %+v, %v", a, b, c, src, src.URLs(), again, err)
		}
	})
}
