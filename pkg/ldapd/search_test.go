package ldapd

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

func names(list []reply) []string {
	var dns []string
	for _, r := range list[:len(list)-1] {
		dns = append(dns, r.dn)
	}
	slices.Sort(dns)
	return dns
}

// R1: without a base DN every search answers noSuchObject, but the root DSE and cn=Subschema answer.
func TestR1EmptyTree(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(emptyTree())})
	c := dial(t, addr)
	for i, q := range []query{
		{base: base}, {base: base, scope: tree.Sub}, {base: "dc=org", scope: tree.One}, {base: "cn=a,dc=org", scope: tree.Subordinate},
		{scope: tree.Sub}, {scope: tree.One}, {scope: tree.Subordinate}, {base: base, filter: "(|)"},
	} {
		got := c.search(int64(i+1), q)
		if len(got) != 1 || got[0].code != ldapserver.LDAPResultNoSuchObject || got[0].matched != "" {
			t.Errorf("%+v: %+v", q, got)
		}
	}
	if got := c.search(90, query{attrs: []string{"+"}}); len(got) != 2 || got[0].attrs["namingContexts"] != nil {
		t.Errorf("root DSE: %+v", got)
	}
	if got := c.search(91, query{base: "cn=subschema"}); len(got) != 2 || got[0].dn != "cn=Subschema" {
		t.Errorf("cn=Subschema: %+v", got)
	}
	if r := c.do(92, tagCompare, compareBody(base, "ou", "x")); r.code != ldapserver.LDAPResultNoSuchObject {
		t.Errorf("compare: %+v", r)
	}
}

// R38: scopes and filters.
func TestScopesAndFilters(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	debian := "cn=Debian," + base
	user := func(i string) string { return "cn=User " + i + "," + debian }
	users := []string{user("0"), user("1"), user("2"), user("3"), user("4")}
	for i, tt := range []struct {
		q    query
		want []string
	}{
		{query{base: base}, []string{base}},
		{query{base: "OU = package   listers"}, []string{base}},
		{query{base: "2.5.4.11=Package Listers"}, []string{base}},
		{query{base: base, scope: tree.One}, []string{debian}},
		{query{base: debian, scope: tree.One}, users},
		{query{base: base, scope: tree.Sub}, append([]string{debian, base}, users...)},
		{query{base: base, scope: tree.Subordinate}, append([]string{debian}, users...)},
		{query{base: debian, scope: tree.Base, filter: "(cn=debian)"}, []string{debian}},
		{query{base: debian, scope: tree.Base, filter: "(cn=suse)"}, nil},
		{query{base: base, scope: tree.Sub, filter: "(uid=U3)"}, []string{user("3")}},
		{query{base: base, scope: tree.Sub, filter: "(name=user 3)"}, []string{user("3")}},
		{query{base: base, scope: tree.Sub, filter: "(mail=u1@*)"}, []string{user("1")}},
		{query{base: base, scope: tree.Sub, filter: "(&(uid=*)(!(|(uid=u0)(uid=u1)(uid=u2))))"}, []string{user("3"), user("4")}},
		{query{base: base, scope: tree.Sub, filter: "(cn~=debian)"}, []string{debian}},
		{query{base: base, scope: tree.Sub, filter: "(nosuchattribute=x)"}, nil},
		{query{base: base, scope: tree.Sub, filter: "(entryDN=" + debian + ")"}, []string{debian}},
		{query{base: base, scope: tree.Sub, filter: "(&(hasSubordinates=FALSE)(uid=u2))"}, []string{user("2")}},
		{query{base: base, scope: tree.Sub, filter: "(structuralObjectClass=organizationalUnit)"}, []string{base}},
		{query{base: base, scope: tree.Sub, filter: "(createTimestamp>=20300101000000Z)"}, nil},
	} {
		got := c.search(int64(i+1), tt.q)
		slices.Sort(tt.want)
		if last := got[len(got)-1]; last.code != 0 || last.op != tagSearchDone || !slices.Equal(names(got), tt.want) {
			t.Errorf("%+v: %q %+v", tt.q, names(got), last)
		}
	}
}

// R38, R39: attribute selection, operational attributes, typesOnly.
func TestSelection(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	user := []string{"description", "mail", "objectClass", "sn", "uid", "cn"}
	for i, tt := range []struct {
		attrs   []string
		want    []string
		without string
	}{
		{nil, user, "entryUUID"},
		{[]string{"*"}, user, "entryUUID"},
		{[]string{"1.1"}, nil, "cn"},
		{[]string{"1.1", "cn"}, []string{"cn"}, "sn"},
		{[]string{"MAIL", "2.5.4.4"}, []string{"mail", "sn"}, "cn"},
		{[]string{"name"}, []string{"cn", "sn"}, "uid"},
		{[]string{"entryDN", "hasSubordinates"}, []string{"entryDN", "hasSubordinates"}, "cn"},
		{[]string{"+"}, []string{"entryUUID", "entryCSN", "entryDN", "hasSubordinates", "subschemaSubentry", "structuralObjectClass", "createTimestamp"}, "cn"},
		{[]string{"*", "entryUUID"}, append([]string{"entryUUID"}, user...), "entryCSN"},
		{[]string{"@person"}, []string{"cn", "sn", "objectClass", "description"}, "mail"},
		{[]string{"nosuchattribute"}, nil, "cn"},
	} {
		for _, scope := range []tree.Scope{tree.Base, tree.Sub} {
			got := c.search(int64(i+1), query{base: "cn=User 1,cn=Debian," + base, scope: scope, attrs: tt.attrs})
			if len(got) != 2 {
				t.Fatalf("%q: %+v", tt.attrs, got)
			}
			e := got[0].attrs
			for _, a := range tt.want {
				if len(e[a]) == 0 {
					t.Errorf("%q: no %s in %v", tt.attrs, a, e)
				}
			}
			if e[tt.without] != nil || tt.want == nil && len(e) > 0 {
				t.Errorf("%q: too much: %v", tt.attrs, e)
			}
		}
	}
	got := c.search(90, query{base: "cn=Debian," + base, attrs: []string{"*", "+"}, typesOnly: true})
	for name, values := range got[0].attrs {
		if len(values) != 0 {
			t.Errorf("typesOnly: %s has values %q", name, values)
		}
	}
	if len(got[0].attrs) < 8 {
		t.Errorf("typesOnly: only %v", slices.Collect(maps.Keys(got[0].attrs)))
	}
	if got := c.search(91, query{base: base, attrs: []string{"contextCSN"}}); len(got[0].attrs["contextCSN"]) != 1 {
		t.Errorf("no contextCSN on the base entry: %+v", got)
	}
}

// R38, R56: what has no such entry, or no sense.
func TestSearchRefusals(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for i, tt := range []struct {
		base    string
		scope   tree.Scope
		code    int
		matched string
	}{
		{"cn=x,cn=y,cn=Debian," + base, tree.Base, 32, "cn=Debian," + base},
		{"cn=x," + base, tree.Sub, 32, base},
		{"dc=org", tree.Sub, 32, ""},
		{"", tree.Sub, 32, ""},
		{"", tree.One, 32, ""},
		{"nonsense", tree.Base, 34, ""},
		{"cn=a,,cn=b", tree.Sub, 34, ""},
		{"cn=a\xff\xfe," + base, tree.Base, 32, base},
	} {
		got := c.search(int64(i+1), query{base: tt.base, scope: tt.scope})
		if len(got) != 1 || got[0].code != tt.code && got[0].code != 34 || got[0].code != 34 && got[0].matched != tt.matched {
			t.Errorf("%q: %+v", tt.base, got)
		}
	}
}

// R38: size limits, the client's and the server's; what was found so far is sent.
func TestSizeLimit(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 50)), SizeLimit: 40})
	c := dial(t, addr)
	for i, tt := range []struct {
		limit int64
		n     int
		code  int
	}{{0, 40, 4}, {39, 39, 4}, {100, 40, 4}, {1, 1, 4}} {
		got := c.search(int64(i+1), query{base: base, scope: tree.Sub, sizeLimit: tt.limit})
		if len(got)-1 != tt.n || got[len(got)-1].code != tt.code {
			t.Errorf("limit %d: %d entries, %+v", tt.limit, len(got)-1, got[len(got)-1])
		}
	}
	if got := c.search(9, query{base: base, scope: tree.Sub, sizeLimit: 1, filter: "(uid=u7)"}); len(got) != 2 || got[1].code != 0 {
		t.Errorf("exactly the limit: %+v", got)
	}
}

// R38: compare, computed attributes included.
func TestCompare(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	user := "cn=User 1,cn=Debian," + base
	for i, tt := range []struct {
		dn, attr, value string
		code            int
		matched         string
	}{
		{user, "cn", "USER  1", 6, ""},
		{user, "2.5.4.3", "user 1", 6, ""},
		{user, "name", "user 1", 6, ""},
		{user, "cn", "User 2", 5, ""},
		{user, "telephoneNumber", "1", 16, ""},
		{user, "nosuchattribute", "1", 16, ""},
		{user, "entryDN", strings.ToUpper(user), 6, ""},
		{user, "hasSubordinates", "FALSE", 6, ""},
		{user, "hasSubordinates", "TRUE", 5, ""},
		{user, "structuralObjectClass", "inetOrgPerson", 6, ""},
		{user, "hasSubordinates", "perhaps", 21, ""},
		{"", "supportedFeatures", "1.3.6.1.4.1.4203.1.5.1", 6, ""},
		{"", "supportedLDAPVersion", "3", 18, ""},
		{"cn=Subschema", "cn", "subschema", 6, ""},
		{"cn=x," + base, "cn", "x", 32, base},
		{"nonsense", "cn", "x", 34, ""},
	} {
		if r := c.do(int64(i+1), tagCompare, compareBody(tt.dn, tt.attr, tt.value)); r.code != tt.code || r.matched != tt.matched {
			t.Errorf("%s %s=%s: %+v", tt.dn, tt.attr, tt.value, r)
		}
	}
}

// R43: writes are refused with a clear text.
func TestR43WritesAreRefused(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	add := "\x04\x04cn=x\x30\x0e\x30\x0c\x04\x02cn\x31\x06\x04\x01x\x04\x01y"
	modify := "\x04\x04cn=x\x30\x10\x30\x0e\x0a\x01\x02\x30\x09\x04\x02cn\x31\x03\x04\x01x"
	for id, op := range []struct {
		tag  ber.Tag
		body string
	}{
		{tagAdd, add}, {tagModify, modify}, {tagDelete, base},
		{tagModifyDN, "\x04\x04cn=x\x04\x04cn=y\x01\x01\xff\x80\x04cn=z"},
	} {
		r := c.do(int64(id+1), op.tag, []byte(op.body))
		if r.code != ldapserver.LDAPResultUnwillingToPerform || !strings.Contains(r.text, "read-only") || r.op != response(op.tag) {
			t.Errorf("operation 0x%02x: %+v", byte(op.tag), r)
		}
	}
}

// R39: the root DSE says what works, and only objectClass unless more is asked for.
func TestR39RootDSE(t *testing.T) {
	_, addr := serve(t, Options{VendorVersion: "1.2.3"})
	c := dial(t, addr)
	if got := c.search(1, query{}); len(got) != 2 || len(got[0].attrs) != 1 || got[0].dn != "" || got[0].attrs["objectClass"][0] != "top" {
		t.Errorf("user attributes: %+v", got)
	}
	e := c.search(2, query{attrs: []string{"+"}})[0].attrs
	for name, want := range map[string][]string{
		"namingContexts": {base}, "supportedLDAPVersion": {"3"}, "vendorName": {"Shaft"}, "vendorVersion": {"1.2.3"},
		"subschemaSubentry": {"cn=Subschema"}, "supportedControl": {oidPaged, oidManageDsaIT, syncrepl.OIDSyncRequest, oidSort, oidAssertion, oidValues, oidSubentries, oidNoCopy, oidProxied}, "supportedExtension": {whoAmI, string(ldapserver.NoticeOfCancel)},
		"supportedFeatures": {"1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.2", "1.3.6.1.4.1.4203.1.5.3"},
	} {
		if !slices.Equal(e[name], want) {
			t.Errorf("%s: %q, want %q", name, e[name], want)
		}
	}
	if got := c.search(3, query{attrs: []string{"namingcontexts"}}); len(got[0].attrs) != 1 {
		t.Errorf("by name: %+v", got)
	}
	if got := c.search(4, query{filter: "(supportedFeatures=1.3.6.1.4.1.4203.1.5.1)"}); len(got) != 2 {
		t.Errorf("filter that matches: %+v", got)
	}
	if got := c.search(5, query{filter: "(supportedFeatures=1.2.3)"}); len(got) != 1 || got[0].code != 0 {
		t.Errorf("filter that does not: %+v", got)
	}
}

// R39: cn=Subschema holds the schema, on request.
func TestR39Subschema(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	e := c.search(1, query{base: "cn=Subschema", filter: "(objectClass=subschema)"})[0]
	if len(e.attrs) != 2 || !slices.Contains(e.attrs["objectClass"], "subschema") {
		t.Errorf("user attributes: %+v", e)
	}
	all := c.search(2, query{base: "CN=subschema", attrs: []string{"+"}})[0].attrs
	for _, name := range []string{"attributeTypes", "objectClasses", "ldapSyntaxes", "matchingRules"} {
		if len(all[name]) < 10 {
			t.Errorf("%s has %d values", name, len(all[name]))
		}
	}
	if !slices.ContainsFunc(all["objectClasses"], func(s string) bool { return strings.Contains(s, "'inetOrgPerson'") }) {
		t.Error("no inetOrgPerson")
	}
	if got := c.search(3, query{base: "cn=Subschema", scope: tree.One}); len(got) != 1 || got[0].code != 0 {
		t.Errorf("below it: %+v", got)
	}
	if got := c.search(4, query{base: "cn=x,cn=Subschema"}); got[0].code != 32 {
		t.Errorf("below it by name: %+v", got)
	}
}

// A new version is what the next request sees, its naming context too.
func TestNewVersion(t *testing.T) {
	b := newBackend(emptyTree())
	_, addr := serve(t, Options{Backend: b})
	c := dial(t, addr)
	if got := c.search(1, query{base: base}); got[0].code != 32 {
		t.Errorf("before: %+v", got)
	}
	c.search(2, query{attrs: []string{"+"}})
	b.v.Store(listers(t, 1))
	if got := c.search(3, query{base: base}); len(got) != 2 {
		t.Errorf("after: %+v", got)
	}
	if got := c.search(4, query{attrs: []string{"+"}}); !slices.Equal(got[0].attrs["namingContexts"], []string{base}) {
		t.Errorf("naming context: %+v", got)
	}
}
