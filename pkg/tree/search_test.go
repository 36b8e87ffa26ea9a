package tree

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

func matcher(t testing.TB, filter string) *dit.Matcher {
	t.Helper()
	f, err := dit.ParseFilter(filter)
	if err != nil {
		t.Fatal(err)
	}
	return dit.Compile(bundled(), f)
}

// found lists what a search gives, in its order, below the base.
func found(v *Version, q Query) string {
	var out []string
	for c := v.Search(q); c.Next(); {
		name := strings.TrimSuffix(string(c.Entry().DN()), baseDN)
		out = append(out, strings.TrimSuffix(name, ",")+".")
	}
	return strings.Join(out, " ")
}

// R38: scopes, in the order of a walk.
func TestScopes(t *testing.T) {
	v := grow(t, planted(t), "ou=b", "cn=a,ou=b", "cn=c,cn=a,ou=b", "cn=d,ou=b", "cn=z")
	for _, c := range []struct {
		base  string
		scope Scope
		want  string
	}{
		{"", Base, "."},
		{"", One, "ou=b. cn=z."},
		{"", Sub, ". ou=b. cn=a,ou=b. cn=c,cn=a,ou=b. cn=d,ou=b. cn=z."},
		{"", Subordinate, "ou=b. cn=a,ou=b. cn=c,cn=a,ou=b. cn=d,ou=b. cn=z."},
		{"ou=b", Base, "ou=b."},
		{"ou=b", One, "cn=a,ou=b. cn=d,ou=b."},
		{"ou=b", Sub, "ou=b. cn=a,ou=b. cn=c,cn=a,ou=b. cn=d,ou=b."},
		{"ou=b", Subordinate, "cn=a,ou=b. cn=c,cn=a,ou=b. cn=d,ou=b."},
		{"cn=z", One, ""},
		{"cn=z", Sub, "cn=z."},
		{"cn=z", Subordinate, ""},
	} {
		id := find(t, v, c.base)
		for _, m := range []*dit.Matcher{nil, matcher(t, "(objectClass=*)")} {
			if got := found(v, Query{Base: id, Scope: c.scope, Matcher: m}); got != c.want {
				t.Errorf("scope %d below %q: %s, want %s", c.scope, c.base, got, c.want)
			}
		}
	}
	if got := found(v, Query{Base: 999, Scope: Sub}) + found(Empty(options()), Query{Scope: Sub}); got != "" {
		t.Errorf("searches of nothing found %s", got)
	}
}

// R4: names are found in any spelling that is equal.
func TestFind(t *testing.T) {
	v := grow(t, planted(t), "cn=A  b,ou=x", `cn=q\,r+sn=S,ou=x`)
	for _, c := range []struct{ text, want, matched string }{
		{under("CN=a b , OU=X"), under("cn=A  b,ou=x"), ""},
		{under("2.5.4.3=A B,ou=x"), under("cn=A  b,ou=x"), ""},
		{under(`sn=s+cn=Q\2cR,ou=x`), under(`cn=q\,r+sn=S,ou=x`), ""},
		{under("cn=no,ou=x"), "", under("ou=x")},
		{under("cn=no,cn=nor,ou=x"), "", under("ou=x")},
		{under("cn=no"), "", baseDN},
		{"OU=base, DC=Example", baseDN, ""},
		{"dc=example", "", ""},
		{"cn=x,ou=other,dc=example", "", ""},
	} {
		id, matched := v.Find(dn(t, c.text).Norm())
		var got [2]string
		for i, x := range []ID{id, matched} {
			if x != 0 {
				got[i] = string(v.Entry(x).DN())
			}
		}
		if c.want != "" {
			c.matched = c.want
		}
		if got != [2]string{c.want, c.matched} {
			t.Errorf("find %s: %q, want %q and %q", c.text, got, c.want, c.matched)
		}
	}
	for _, norm := range []string{"", ",", "," + v.base, ",," + v.base, "=," + v.base} {
		if id, _ := v.Find(norm); id != 0 {
			t.Errorf("%q was found", norm)
		}
	}
}

// A step looks at no more than it is told to, in a walk and among candidates.
func TestStep(t *testing.T) {
	var rdns []string
	for i := range 90 {
		rdns = append(rdns, fmt.Sprintf("cn=e%d", i))
	}
	v := grow(t, planted(t), rdns...)
	for _, filter := range []string{"(description=none)", "(&(sn=1)(description=none))", "(&(sn=1)(cn=x))"} {
		c := v.Search(Query{Base: v.Root(), Scope: Sub, Matcher: matcher(t, filter)})
		if found, done := c.Step(5); found || done {
			t.Errorf("%s: found %v, done %v after five looks", filter, found, done)
		}
		if found, done := c.Step(1000); found || !done {
			t.Errorf("%s: found %v, done %v after all", filter, found, done)
		}
	}
	c := v.Search(Query{Base: v.Root(), Scope: Sub})
	for i := range 91 {
		if found, done := c.Step(1); !found || done {
			t.Fatalf("entry %d: found %v, done %v", i, found, done)
		}
	}
	if found, done := c.Step(1); found || !done || c.Next() {
		t.Error("a cursor goes on behind its end")
	}
}

// R38: which searches go by the index, and that they give what a walk gives.
func TestPlans(t *testing.T) {
	rdns := []string{"ou=small", "cn=a,ou=small", "ou=big"}
	for i := range 200 {
		rdns = append(rdns, fmt.Sprintf("cn=e%d,ou=big", i))
	}
	v := grow(t, planted(t), rdns...)
	// A second tree has the same entries and no index to be led astray by.
	o := options()
	o.Index = nil
	b := edit(Empty(o))
	b.SetRoot(Row{UUID: uuid(1)}, at(t, baseDN, "objectClass", "organizationalUnit"))
	plain := grow(t, b.Done(), rdns...)

	u := v.Row(find(t, v, "cn=e7,ou=big")).UUID.String()
	for _, c := range []struct {
		filter, base string
		scope        Scope
		indexed      bool
	}{
		{"(sn=1)", "", Sub, true},
		{"(sn=1)", "ou=big", Sub, true},
		{"(sn=1)", "ou=big", One, true},
		{"(sn=1)", "ou=small", Sub, false},
		{"(sn=1)", "ou=small", One, false},
		{"(sn=1)", "cn=e1,ou=big", Base, false},
		{"(sn=nobody)", "", Sub, true},
		{"(sn=nobody)", "cn=e1,ou=big", Base, true},
		{"(objectClass=person)", "ou=big", Subordinate, false},
		{"(|(sn=1)(sn=2))", "", Sub, true},
		{"(|(sn=1)(cn=e1))", "", Sub, false},
		{"(&(objectClass=person)(sn=1))", "", Sub, true},
		{"(&(cn=*)(sn=1))", "ou=big", Subordinate, true},
		{"(!(sn=1))", "", Sub, false},
		{"(cn=e1)", "", Sub, false},
		{"(entryUUID=" + u + ")", "", Sub, true},
		{"(entryUUID=" + strings.ToUpper(u) + ")", "ou=big", One, true},
		{"(entryUUID=" + u + ")", "ou=small", Sub, true},
		{"(entryUUID=" + uuid(9999).String() + ")", "", Sub, true},
		{"(entryUUID=no)", "", Sub, true},
		{"(entryDN=" + under("CN=E9, ou=big") + ")", "", Sub, true},
		{"(entryDN=" + under("cn=none") + ")", "", Sub, true},
		{"(|(entryUUID=" + u + ")(entryDN=" + under("CN=E9,ou=big") + ")(sn=nobody))", "", Sub, true},
		{"(hasSubordinates=TRUE)", "", Sub, false},
		{"(structuralObjectClass=person)", "", Sub, false},
	} {
		q := Query{Base: find(t, v, c.base), Scope: c.scope, Matcher: matcher(t, c.filter)}
		cur := v.Search(q)
		if cur.indexed != c.indexed {
			t.Errorf("%s scope %d below %q: by index %v", c.filter, c.scope, c.base, cur.indexed)
		}
		got := strings.Fields(found(v, q))
		q.Base = find(t, plain, c.base)
		want := strings.Fields(found(plain, q))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s scope %d below %q: %v, want %v", c.filter, c.scope, c.base, got, want)
		}
	}
}

// Names deeper and longer than the walk's first buffer.
func TestDeepNames(t *testing.T) {
	long := strings.Repeat("n", 200)
	rdns, last := []string{}, ""
	for i := range 30 {
		last = strings.TrimSuffix(fmt.Sprintf("cn=%d%s,%s", i, long, last), ",")
		rdns = append(rdns, last)
	}
	v := grow(t, planted(t), append(rdns, "cn=end")...)
	var got []string
	for c := v.Search(Query{Base: v.Root(), Scope: Subordinate}); c.Next(); {
		got = append(got, string(c.Entry().DN()))
	}
	for i, r := range append(rdns, "cn=end") {
		if got[i] != under(r) {
			t.Fatalf("entry %d is %s", i, got[i])
		}
	}
}

// R38: what a matcher is given: the DN for :dn filters, operational attributes,
// stored and computed, only where it looks at them.
func TestMatching(t *testing.T) {
	v := grow(t, planted(t), "ou=b", "cn=a,ou=b", "cn=c,cn=a,ou=b", "cn=d,ou=g")
	for _, c := range []struct {
		filter, base string
		scope        Scope
		want         string
	}{
		{"(ou:dn:=B)", "", Sub, "ou=b. cn=a,ou=b. cn=c,cn=a,ou=b."},
		{"(ou:dn:=b)", "ou=b", Subordinate, "cn=a,ou=b. cn=c,cn=a,ou=b."},
		{"(&(sn=1)(ou:dn:=b))", "", Sub, "cn=a,ou=b."},
		{"(structuralObjectClass=person)", "ou=b", One, "cn=a,ou=b."},
		{"(hasSubordinates=TRUE)", "", Sub, ". ou=b. cn=a,ou=b. ou=g."},
		{"(numSubordinates=2)", "", Sub, "."},
		{"(numSubordinates>=1)", "ou=b", Sub, "ou=b. cn=a,ou=b."},
		{"(!(hasSubordinates=TRUE))", "", Sub, "cn=c,cn=a,ou=b. cn=d,ou=g."},
		{"(contextCSN=*)", "", Sub, "."},
		{"(entryCSN=*)", "cn=d,ou=g", Base, "cn=d,ou=g."},
		{"(subschemaSubentry=CN=subschema)", "ou=g", Sub, "ou=g. cn=d,ou=g."},
		{"(objectClass=glue)", "", Sub, "ou=g."},
		{"(unknownAttribute=x)", "", Sub, ""},
		{"(&)", "ou=b", One, "cn=a,ou=b."},
		{"(|)", "", Sub, ""},
	} {
		got := found(v, Query{Base: find(t, v, c.base), Scope: c.scope, Matcher: matcher(t, c.filter)})
		if got != c.want {
			t.Errorf("%s scope %d below %q: %s, want %s", c.filter, c.scope, c.base, got, c.want)
		}
	}
}
