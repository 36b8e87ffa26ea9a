package ldapd

import (
	"strings"
	"testing"

	"shaft/pkg/access"
)

// R45, R46: what is explained is what a search gives.
func TestExplainAccess(t *testing.T) {
	s, addr := serve(t, withMirror(Options{Backend: newBackend(shelf(t)), Access: []access.Rule{
		{Who: "anonymous", Subtree: vaultTop, Allow: access.None},
		{Who: "anonymous", Attributes: []string{"userPassword"}, Allow: access.None},
		{Who: "anonymous", Filter: "(objectClass=person)", Allow: access.Read},
		{Who: "dn:cn=mirror," + base, Allow: access.Sync},
	}}))
	anonymous, mirror := dial(t, addr), dial(t, addr)
	if r := mirror.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, tt := range []struct {
		as    string
		c     *client
		dn    string
		level string
		rule  int
	}{
		{"anonymous", anonymous, "uid=u1,cn=open", "read", 3},
		{"anonymous", anonymous, "UID=u1,cn=open," + base, "read", 3},
		{"anonymous", anonymous, "uid=u1," + vaultTop, "none", 1},
		{"anonymous", anonymous, base, "none", 0},
		{"dn:CN=mirror," + base, mirror, "uid=u1," + vaultTop, "sync", 4},
	} {
		e, err := s.ExplainAccess(tt.dn, []string{tt.as})
		if err != nil || e.Level != tt.level || e.Rule != tt.rule || !e.There || !strings.HasSuffix(e.DN, base) {
			t.Errorf("%s as %s: %+v, %v", tt.dn, tt.as, e, err)
			continue
		}
		got := tt.c.search(2, query{base: e.DN, attrs: []string{"*", "+"}})
		for _, a := range e.Attributes {
			shown := len(got) == 2 && got[0].attrs[a.Attribute] != nil
			if may := tt.level != "none" && a.Level != "none"; shown != may && !strings.HasSuffix(a.Attribute, "Subordinates") {
				t.Errorf("%s as %s: %+v, and shown: %v", tt.dn, tt.as, a, shown)
			}
		}
	}
	if e, err := s.ExplainAccess("cn=nowhere", []string{"anonymous"}); err != nil || e.There || e.Level != "none" || e.DN != "cn=nowhere,"+base {
		t.Errorf("%+v, %v", e, err)
	}
	for _, bad := range [][2]string{{"nonsense", "anonymous"}, {base, "everybody"}} {
		if e, err := s.ExplainAccess(bad[0], bad[1:]); err == nil {
			t.Errorf("%q: %+v", bad, e)
		}
	}
}
