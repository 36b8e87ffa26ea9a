package ldapd

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"shaft/pkg/schema"
)

// R17: the root DSE tells who this Shaft is and whom it follows, as both are
// when it is asked.
func TestR17RootDSENamesInstances(t *testing.T) {
	var upstreams atomic.Pointer[[]string]
	upstreams.Store(&[]string{})
	_, addr := serve(t, Options{Instance: func() string { return "one" }, Upstreams: func() []string { return *upstreams.Load() }})
	c := dial(t, addr)
	for i, c2 := range []struct {
		upstreams []string
		query     query
		found     int // entries
		want      map[string][]string
	}{
		{nil, query{attrs: []string{"+"}}, 1, map[string][]string{"shaftInstance": {"one"}, "vendorName": {"Shaft"}}},
		{[]string{"two", "three"}, query{attrs: []string{"+"}}, 1, map[string][]string{"shaftInstance": {"one"}, "shaftUpstream": {"two", "three"}}},
		{[]string{"two"}, query{attrs: []string{"shaftinstance", schema.Arc + ".4.2"}}, 1, map[string][]string{"shaftInstance": {"one"}, "shaftUpstream": {"two"}}},
		{[]string{"two"}, query{}, 1, map[string][]string{"objectClass": {"top"}}},
		{[]string{"two", "three"}, query{filter: "(shaftUpstream=THREE)"}, 1, map[string][]string{"objectClass": {"top"}}},
		{[]string{"two"}, query{filter: "(shaftUpstream=three)"}, 0, nil},
		{nil, query{attrs: []string{"shaftUpstream"}}, 1, nil},
	} {
		upstreams.Store(&c2.upstreams)
		got := c.search(int64(i+1), c2.query)
		if len(got) != c2.found+1 || got[c2.found].code != 0 {
			t.Errorf("%+v: %+v", c2.query, got)
			continue
		}
		for name, want := range c2.want {
			if !slices.Equal(got[0].attrs[name], want) {
				t.Errorf("%+v: %s is %q, want %q", c2.query, name, got[0].attrs[name], want)
			}
		}
		if _, told := got[0].attrs["shaftUpstream"]; told != (c2.want["shaftUpstream"] != nil) {
			t.Errorf("%+v: %+v", c2.query, got[0])
		}
	}
	types := c.search(90, query{base: "cn=Subschema", attrs: []string{"attributeTypes"}})[0].attrs["attributeTypes"]
	for _, name := range []string{"shaftInstance", "shaftUpstream"} {
		if !slices.ContainsFunc(types, func(d string) bool { return strings.Contains(d, "'"+name+"'") && strings.Contains(d, schema.Arc+".4.") }) {
			t.Errorf("cn=Subschema has no %s", name)
		}
	}
}

// A server that was told of no instance, and one whose store has none yet, say nothing.
func TestR17NoInstance(t *testing.T) {
	for _, instance := range []func() string{nil, func() string { return "" }} {
		_, addr := serve(t, Options{Instance: instance})
		e := dial(t, addr).search(1, query{attrs: []string{"+"}})[0].attrs
		if len(e["vendorName"]) != 1 || len(e["shaftInstance"])+len(e["shaftUpstream"]) != 0 {
			t.Errorf("root DSE %+v", e)
		}
	}
}

// R55: accounts are replaced under way: the next bind sees them, and a bad list
// changes nothing.
func TestR55SetAccounts(t *testing.T) {
	s, addr := serve(t, withMirror(Options{}))
	c := dial(t, addr)
	mirror := bindBody(3, "cn=mirror,"+base, "secret")
	if r := c.do(1, tagBind, mirror); r.code != 0 {
		t.Fatalf("bind: %+v", r)
	}
	for _, bad := range [][]Account{
		{{DN: "nonsense", PasswordHash: cheap("x")}},
		{{DN: "cn=a", PasswordHash: "x"}},
		{{DN: "cn=a", PasswordHash: cheap("x")}, {DN: "CN=A", PasswordHash: cheap("x")}},
	} {
		if err := s.SetAccounts(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	if r := c.do(2, tagBind, mirror); r.code != 0 {
		t.Errorf("after lists that were refused: %+v", r)
	}
	if err := s.SetAccounts([]Account{{DN: "cn=other", PasswordHash: cheap("more")}}); err != nil {
		t.Fatal(err)
	}
	if who := c.whoami(3); who != "dn:cn=mirror,"+base {
		t.Errorf("who is bound becomes %q", who)
	}
	if r := c.do(4, tagBind, mirror); r.code != 49 {
		t.Errorf("an account that went: %+v", r)
	}
	if r := c.do(5, tagBind, bindBody(3, "CN=Other", "more")); r.code != 0 {
		t.Errorf("an account that came: %+v", r)
	}
}
