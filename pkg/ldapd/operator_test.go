package ldapd

import (
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/tree"
)

// R47, R39: an operator sees all of cn=Monitor whatever the access rules say of it; of the
// tree it sees what they give to its DN and to users, and who acts as it has no more.
func TestR47OperatorOverLDAP(t *testing.T) {
	o := watched(t)
	o.Accounts = append(o.Accounts, Account{DN: "cn=anna,cn=operators", PasswordHash: cheap("a"), Operator: true, Proxy: true},
		Account{DN: "cn=vera,cn=operators", PasswordHash: cheap("v"), Operator: true})
	o.Access = []access.Rule{
		{Who: "users", Subtree: monitorDN, Attributes: []string{"cn"}, Allow: access.Compare},
		{Who: "dn:cn=anna,cn=operators", Subtree: base, Allow: access.Read},
		{Who: "anonymous", Allow: access.None},
		{Who: "users", Allow: access.None},
	}
	s, addr := serve(t, o)
	c := dial(t, addr)
	counts := func(id int64, controls ...[]byte) (monitored, served int) {
		return len(c.search(id, query{base: monitorDN, scope: tree.Sub, attrs: []string{"+"}}, controls...)) - 1,
			len(c.search(id+1, query{base: base, scope: tree.Sub}, controls...)) - 1
	}
	entries := len(listed(t))
	for i, tt := range []struct {
		dn, password      string
		monitored, served bool
	}{
		{"cn=anna,cn=operators", "a", true, true},
		{"cn=vera,cn=operators", "v", true, false},
		{"cn=mirror," + base, "secret", false, false},
	} {
		id := int64(10 * (i + 1))
		if r := c.do(id, tagBind, bindBody(3, tt.dn, tt.password)); r.code != 0 || c.whoami(id+1) != "dn:"+tt.dn {
			t.Fatalf("bind as %s: %+v", tt.dn, r)
		}
		m, s := counts(id + 2)
		if (m > 20) != tt.monitored || (s == entries) != tt.served || !tt.served && s != 0 {
			t.Errorf("%s sees %d entries below cn=Monitor and %d of %d", tt.dn, m, s, entries)
		}
		want := 16 // the attribute is hidden
		if tt.monitored {
			want = 6
		}
		if r := c.do(id+4, tagCompare, compareBody("cn=Operations,cn=Monitor", "objectClass", "monitorContainer")); r.code != want {
			t.Errorf("%s compares: %+v", tt.dn, r)
		}
	}
	as := func(dn string) []byte { return ctl(oidProxied, critical, []byte("dn:"+dn)) }
	if got := c.search(50, query{base: base}, as("cn=anna,cn=operators")); got[0].code != 123 {
		t.Errorf("who may not act for another: %+v", got)
	}
	c.do(51, tagBind, bindBody(3, "cn=anna,cn=operators", "a"))
	if m, s := counts(52, as("cn=vera,cn=operators")); m != 0 || s != 0 {
		t.Errorf("acting as an operator: %d entries below cn=Monitor, %d of the tree", m, s)
	}
	if m, s := counts(54); m < 20 || s != entries {
		t.Errorf("itself again: %d and %d", m, s)
	}
	if err := s.SetAccounts([]Account{{DN: "cn=anna,cn=operators", PasswordHash: cheap("a")}}); err != nil {
		t.Fatal(err)
	}
	if m, s := counts(56); m != 0 || s != entries {
		t.Errorf("operator no more: %d and %d", m, s)
	}
	if got := c.search(58, query{base: base}, as("cn=vera,cn=operators")); got[0].code != 123 {
		t.Errorf("one that may not act for others any more: %+v", got)
	}
}

// listed is what everybody may see without rules.
func listed(t *testing.T) []reply {
	_, addr := serve(t, watched(t))
	all := dial(t, addr).search(1, query{base: base, scope: tree.Sub})
	return all[:len(all)-1]
}
