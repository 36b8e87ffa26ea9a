package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ldapd"
)

// R47: operators as the file has them, and what they are over LDAP.
func TestR47Operators(t *testing.T) {
	h := hash(t)
	cfg, err := ParseConfig("shaft.yaml", []byte("accounts: [ { dn: cn=x, password_hash: '"+h+"', proxy: true } ]\n"+
		"operators:\n  - { name: anna, role: operator, password_hash: '"+h+"' }\n"+
		"  - { name: V.1@x-y, role: viewer, password_hash: '"+h+"' }\n  - { name: root, role: admin, password_hash: '"+h+"' }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Operator{{"anna", RoleOperator, h}, {"V.1@x-y", RoleViewer, h}, {"root", RoleAdmin, h}}; !slices.Equal(cfg.Operators, want) {
		t.Errorf("read %+v", cfg.Operators)
	}
	want := []ldapd.Account{
		{DN: "cn=x", PasswordHash: h, Proxy: true},
		{DN: "cn=anna,cn=operators", PasswordHash: h, Proxy: true, Operator: true},
		{DN: "cn=V.1@x-y,cn=operators", PasswordHash: h, Operator: true},
		{DN: "cn=root,cn=operators", PasswordHash: h, Proxy: true, Operator: true},
	}
	if got := cfg.identities(); !slices.Equal(got, want) || len(cfg.Accounts) != 1 {
		t.Errorf("identities %+v", got)
	}
}

// R47, R56: what is wrong with an operator is told at its place, a hash is not repeated.
func TestBadOperators(t *testing.T) {
	h := hash(t)
	good := "role: viewer, password_hash: '" + h + "'"
	for text, want := range map[string]string{
		"operators: anna": "1:12: a list",
		"operators: [ { role: viewer, password_hash: '" + h + "' } ]":                  "1:14: an operator needs a name",
		"operators: [ { name: anna, password_hash: '" + h + "' } ]":                    "1:14: an operator needs a role: viewer, operator or admin",
		"operators: [ { name: anna, role: viewer } ]":                                  "1:14: an operator needs a password_hash",
		"operators: [ { name: anna, role: root, password_hash: '" + h + "' } ]":        `1:34: role "root": viewer, operator and admin are known`,
		"operators: [ { name: anna, role: [ admin ], password_hash: '" + h + "' } ]":   "1:34: a text",
		"operators: [ { name: anna, role: admin, password_hash: geheim } ]":            "1:56: password hash is not of the form",
		"operators: [ { name: anna, role: admin, password_hash: [ x ] } ]":             "1:56: a text",
		"operators: [ { name: 'a,b', " + good + " } ]":                                 `1:22: operator "a,b": 1 to 64 letters`,
		"operators: [ { name: '', " + good + " } ]":                                    `1:22: operator "": 1 to 64 letters`,
		"operators: [ { name: " + strings.Repeat("x", 65) + ", " + good + " } ]":       "1:22: operator \"xxx",
		"operators: [ { name: anna, dn: cn=x, " + good + " } ]":                        `an operator has no key "dn"`,
		"operators:\n - { name: anna, " + good + " }\n - { name: Anna, " + good + " }": `3:12: the operator "Anna" stands here twice`,
		"base_dn: CN=Operators":      `1:10: "CN=Operators" is where operators have their DNs`,
		"base_dn: ou=x,cn=operators": "1:10: \"ou=x,cn=operators\" is where operators have their DNs",
		"accounts: [ { dn: 'cn=anna,cn=operators', password_hash: '" + h + "' } ]":             "1:19: \"cn=anna,cn=operators\" is below cn=operators, where operators have their DNs",
		"accounts: [ { dn: 'cn=a,CN=operators', password_hash: '" + h + "' } ]\noperators: []": "1:19",
	} {
		_, err := ParseConfig("shaft.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseConfig("shaft.yaml", []byte("base_dn: cn=operators,o=x")); err != nil {
		t.Errorf("a base DN that only looks like it: %v", err)
	}
}

// R47, R55: an operator binds over LDAP, acts for another as far as the role goes, and
// is gone with a reload that drops it.
func TestR47OperatorsBind(t *testing.T) {
	one, err := ldapd.HashPassword("one")
	if err != nil {
		t.Fatal(err)
	}
	operators := "operators:\n - { name: anna, role: operator, password_hash: '" + one + "' }\n - { name: vera, role: viewer, password_hash: '" + one + "' }\n"
	d, path, _, _ := reloadable(t, plainConfig+operators)
	for name, want := range map[string]uint16{"anna": ldap.LDAPResultSuccess, "vera": 123} {
		c, err := ldap.DialURL(d.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		dn := "cn=" + name + ",cn=operators"
		if err := c.Bind(dn, "one"); err != nil {
			t.Fatal(err)
		}
		who, err := c.WhoAmI(nil)
		if err != nil || who.AuthzID != "dn:"+dn {
			t.Errorf("%s is %+v, %v", name, who, err)
		}
		who, err = c.WhoAmI([]ldap.Control{ldap.NewControlString("2.16.840.1.113730.3.4.18", true, "dn:cn=somebody")})
		if want == ldap.LDAPResultSuccess && (err != nil || who.AuthzID != "dn:cn=somebody") || want != ldap.LDAPResultSuccess && !ldap.IsErrorWithCode(err, want) {
			t.Errorf("%s acting for another: %+v, %v", name, who, err)
		}
	}
	if err := bindAs(t, d, "cn=anna,cn=operators", "two"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("a wrong password: %v", err)
	}
	rewrite(t, path, plainConfig)
	d.Reload(path)
	if err := bindAs(t, d, "cn=vera,cn=operators", "one"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("an operator that went: %v", err)
	}
}
