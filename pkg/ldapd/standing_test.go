package ldapd

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

const (
	topNorm = "cn=debian,ou=package listers"
	topDN   = "cn=Debian," + base
)

// named is a tree with one name, whose content is claim 7's, and a Standing that
// knows it.
func named(tb testing.TB) Options {
	tb.Helper()
	b := emptyTree().Edit()
	csn := dit.CSNAt(time.Unix(1_700_000_000, 0))
	b.NextCSN = func() dit.CSN { csn++; return csn }
	b.SetRoot(tree.Row{UUID: number(1)}, value(tb, base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"), class("organizationalUnit")))
	b.Put(tree.Row{UUID: number(2), Claim: 7}, value(tb, topDN, attrs("objectClass", "applicationProcess", "cn", "Debian"), class("applicationProcess")))
	b.Put(tree.Row{UUID: number(3), Claim: 7}, value(tb, "cn=in,"+topDN, attrs("objectClass", "applicationProcess", "cn", "in"), class("applicationProcess")))
	return Options{Backend: newBackend(b.Done()), Standing: func(norm string) (Standing, bool) {
		return Standing{Subscription: "wheezy", SourceURL: "ldap://example.org/dc=debian", Stale: true,
			LastContact: time.Unix(1_700_000_000, 999), LastChange: time.Unix(1_600_000_000, 0)}, norm == topNorm
	}}
}

var standingWant = map[string]string{
	"shaftSubscription": "wheezy", "shaftSourceURL": "ldap://example.org/dc=debian",
	"shaftLastContact": "20231114221320Z", "shaftLastChange": "20200913122640Z", "shaftStale": "TRUE",
}

// R37: the top entry of a name tells of its source, to whoever asks for it by "+",
// name or OID, in whatever scope; no other entry does, and nobody is told unasked.
func TestR37Standing(t *testing.T) {
	_, addr := serve(t, named(t))
	c := dial(t, addr)
	for i, tt := range []struct {
		query query
		want  []string
	}{
		{query{base: topDN, attrs: []string{"+"}}, []string{"shaftSubscription", "shaftSourceURL", "shaftLastContact", "shaftLastChange", "shaftStale"}},
		{query{base: topDN, attrs: []string{"*", "+"}}, []string{"shaftSubscription", "shaftSourceURL", "shaftLastContact", "shaftLastChange", "shaftStale"}},
		{query{base: base, scope: tree.Sub, attrs: []string{"+"}}, []string{"shaftSubscription", "shaftSourceURL", "shaftLastContact", "shaftLastChange", "shaftStale"}},
		{query{base: base, scope: tree.One, attrs: []string{"SHAFTSTALE", "cn"}}, []string{"shaftStale"}},
		{query{base: topDN, filter: "(cn=debian)", attrs: []string{schema.Arc + ".4.5"}}, []string{"shaftLastContact"}},
		{query{base: topDN}, nil},
		{query{base: topDN, attrs: []string{"*", "entryUUID"}}, nil},
	} {
		told := []string{}
		for _, r := range c.search(int64(i+1), tt.query) {
			for name, want := range standingWant {
				values := r.attrs[name]
				if len(values) == 0 {
					continue
				}
				told = append(told, name)
				if r.dn != topDN || !slices.Equal(values, []string{want}) {
					t.Errorf("%+v: %s of %s is %q, want %q", tt.query, name, r.dn, values, want)
				}
			}
		}
		slices.Sort(told)
		slices.Sort(tt.want)
		if !slices.Equal(told, tt.want) {
			t.Errorf("%+v: told %q, want %q", tt.query, told, tt.want)
		}
	}
	for i, tt := range []struct {
		dn, attr, value string
		code            int
	}{
		{topDN, "shaftStale", "true", 6},
		{topDN, "shaftSubscription", "other", 5},
		{"cn=in," + topDN, "shaftStale", "TRUE", 16},
	} {
		if r := c.do(int64(50+i), tagCompare, compareBody(tt.dn, tt.attr, tt.value)); r.code != tt.code {
			t.Errorf("compare %s on %s: %+v", tt.attr, tt.dn, r)
		}
	}
}

// What a filter says of them is undefined: neither it nor its contrary matches.
func TestStandingInFilters(t *testing.T) {
	_, addr := serve(t, named(t))
	c := dial(t, addr)
	for i, tt := range []struct {
		filter string
		found  int
	}{
		{"(shaftStale=TRUE)", 0}, {"(!(shaftStale=TRUE))", 0}, {"(shaftStale=*)", 0}, {"(!(shaftSubscription=*))", 0},
		{"(!(" + schema.Arc + ".4.6>=20200101000000Z))", 0}, {"(!(oid." + schema.Arc + ".4.3=x))", 0},
		{"(|(cn=Debian)(shaftSubscription=w*))", 1}, {"(&(cn=Debian)(!(shaftLastChange;x-y<=2)))", 0},
		{"(!(shaftInstance=x))", 3},
	} {
		if got := c.search(int64(i+1), query{base: base, scope: tree.Sub, filter: tt.filter}); len(got) != tt.found+1 || got[tt.found].code != 0 {
			t.Errorf("%s: %+v, want %d entries", tt.filter, got, tt.found)
		}
	}
}

// R37: a sync search never sees them, and cannot look at them.
func TestR37NoStandingInSyncSearches(t *testing.T) {
	_, addr := serve(t, named(t))
	c := dial(t, addr)
	c.follow(1, syncSearch{query: query{base: base, scope: tree.Sub, attrs: []string{"*", "+", "shaftStale"}}, mode: syncrepl.RefreshOnly})
	entries := 0
	for {
		m := c.mustMessage()
		if bytes.Contains(bytes.ToLower(m.Attrs), []byte("shaft")) {
			t.Errorf("a follower gets %q", m.Attrs)
		}
		if m.Kind == syncrepl.KindDone {
			break
		}
		if m.Kind == syncrepl.KindEntry {
			entries++
		}
	}
	if entries != 3 {
		t.Errorf("%d entries", entries)
	}
	c.follow(2, syncSearch{query: query{base: base, scope: tree.Sub, filter: "(!(shaftStale=TRUE))"}, mode: syncrepl.RefreshOnly})
	if m := c.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != 53 {
		t.Errorf("a sync search that looks at shaftStale: %+v", m)
	}
}

// R45: the access rules hold for them as for any attribute.
func TestR45StandingUnderAccessRules(t *testing.T) {
	o := named(t)
	o.Access = []access.Rule{{Who: "anonymous", Attributes: []string{"shaftSourceURL"}, Allow: access.None}, {Who: "anonymous", Allow: access.Read}}
	_, addr := serve(t, o)
	c := dial(t, addr)
	e := c.search(1, query{base: topDN, attrs: []string{"+"}})[0]
	if len(e.attrs["shaftSubscription"]) != 1 || len(e.attrs["shaftSourceURL"]) != 0 {
		t.Errorf("%+v", e)
	}
	if r := c.do(2, tagCompare, compareBody(topDN, "shaftSourceURL", "ldap://example.org/dc=debian")); r.code != 16 {
		t.Errorf("compare of what is hidden: %+v", r)
	}
	if r := c.do(3, tagCompare, compareBody(topDN, "shaftStale", "TRUE")); r.code != 6 {
		t.Errorf("compare of what is not: %+v", r)
	}
}
