package ldapd

import (
	"strings"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
)

// cheap is a hash that costs a test nothing.
func cheap(password string) string {
	h := passwordHash{memory: 64, time: 1, threads: 1, salt: make([]byte, hashSalt), key: make([]byte, hashKey)}
	h.key = h.derive([]byte(password))
	return h.String()
}

func withMirror(o Options) Options {
	if o.BindDelay == 0 {
		o.BindDelay = time.Microsecond
	}
	o.Accounts = []Account{{DN: "cn=mirror," + base, PasswordHash: cheap("secret")}}
	return o
}

// R10, R47: anonymous and simple bind, and everything that is not.
func TestBind(t *testing.T) {
	_, addr := serve(t, withMirror(Options{}))
	c := dial(t, addr)
	sasl := ber.AppendInt(nil, ber.Integer, 3)
	sasl = ber.AppendString(sasl, ber.OctetString, "")
	unknown := append(ber.AppendInt(nil, ber.Integer, 3), 4, 0, 0x8a, 1, 'x')
	sasl = ber.AppendBytes(sasl, authSASL, ber.AppendString(nil, ber.OctetString, "GSSAPI"))
	for i, tt := range []struct {
		name string
		body []byte
		code int
		who  string
	}{
		{"account", bindBody(3, "cn=mirror,"+base, "secret"), 0, "dn:cn=mirror," + base},
		{"account spelt otherwise", bindBody(3, "CN = Mirror , ou=package listers", "secret"), 0, "dn:cn=mirror," + base},
		{"anonymous", bindBody(3, "", ""), 0, ""},
		{"wrong password", bindBody(3, "cn=mirror,"+base, "Secret"), 49, ""},
		{"unknown DN", bindBody(3, "cn=nobody,"+base, "secret"), 49, ""},
		{"entry that is no account", bindBody(3, base, "secret"), 49, ""},
		{"password without a DN", bindBody(3, "", "secret"), 49, ""},
		{"DN without a password", bindBody(3, "cn=mirror,"+base, ""), 53, ""},
		{"no DN", bindBody(3, "mirror", "secret"), 34, ""},
		{"version 2", bindBody(2, "", ""), 2, ""},
		{"version 128", bindBody(128, "", ""), 2, ""},
		{"SASL", sasl, 7, ""},
		{"unknown method", unknown, 7, ""},
	} {
		if r := c.do(int64(3*i+1), tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
			t.Fatalf("%s: bind before it: %+v", tt.name, r)
		}
		if r := c.do(int64(3*i+2), tagBind, tt.body); r.code != tt.code || r.op != response(tagBind) {
			t.Errorf("%s: %+v", tt.name, r)
		}
		if who := c.whoami(int64(3*i + 3)); who != tt.who {
			t.Errorf("%s: bound as %q", tt.name, who)
		}
	}
}

// R38: what is sent behind a bind is done after it, with the new identity.
func TestBindIsSerialised(t *testing.T) {
	_, addr := serve(t, withMirror(Options{}))
	c := dial(t, addr)
	var all []byte
	const rounds = 20
	for id := int64(0); id < rounds; id++ {
		all = append(all, msg(4*id+1, tagBind, bindBody(3, "cn=mirror,"+base, "secret"))...)
		all = append(all, msg(4*id+2, tagExtended, extendedBody(whoAmI))...)
		all = append(all, msg(4*id+3, tagBind, bindBody(3, "cn=mirror,"+base, "wrong"))...)
		all = append(all, msg(4*id+4, tagExtended, extendedBody(whoAmI))...)
	}
	c.write(all)
	for id := int64(1); id <= 4*rounds; id++ {
		r := c.next()
		if r.id != id {
			t.Fatalf("reply to %d instead of %d", r.id, id)
		}
		switch id % 4 {
		case 2:
			if !strings.Contains(string(r.extra), "mirror") {
				t.Fatalf("%d: not bound: %q", id, r.extra)
			}
		case 3:
			if r.code != ldapserver.LDAPResultInvalidCredentials {
				t.Fatalf("%d: %+v", id, r)
			}
		case 0:
			if strings.Contains(string(r.extra), "mirror") {
				t.Fatalf("%d: still bound: %q", id, r.extra)
			}
		}
	}
}

// R56: a bad account is named; a hash is never repeated.
func TestBadAccounts(t *testing.T) {
	good := cheap("x")
	for _, tt := range []struct {
		accounts []Account
		want     string
	}{
		{[]Account{{DN: "nonsense", PasswordHash: good}}, `account "nonsense"`},
		{[]Account{{DN: "", PasswordHash: good}}, "account 1"},
		{[]Account{{DN: "cn=a", PasswordHash: "plain"}}, `account "cn=a": password hash`},
		{[]Account{{DN: "cn=a", PasswordHash: good}, {DN: "CN=A", PasswordHash: good}}, `account "CN=A": given twice`},
	} {
		_, err := New(Options{Backend: newBackend(emptyTree()), Accounts: tt.accounts})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "plain") {
			t.Errorf("%v: %v", tt.accounts, err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no backend is accepted")
	}
}
