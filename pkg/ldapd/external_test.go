package ldapd

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// subject encodes RDNs, first to last as a certificate has them: o=acme before
// its cn. Each is type and value, or pairs of them.
func subject(tb testing.TB, rdns ...[]any) []byte {
	tb.Helper()
	var seq pkix.RDNSequence
	for _, list := range rdns {
		var set pkix.RelativeDistinguishedNameSET
		for i := 0; i < len(list); i += 2 {
			set = append(set, pkix.AttributeTypeAndValue{Type: list[i].(asn1.ObjectIdentifier), Value: list[i+1]})
		}
		seq = append(seq, set)
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

var (
	typeCN    = asn1.ObjectIdentifier{2, 5, 4, 3}
	typeO     = asn1.ObjectIdentifier{2, 5, 4, 10}
	typeC     = asn1.ObjectIdentifier{2, 5, 4, 6}
	typeDC    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	typeMail  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	typeOther = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}
)

// R45: a subject is the DN that people write.
func TestSubjects(t *testing.T) {
	for _, tt := range []struct {
		der  []byte
		want string // "": an error
	}{
		{subject(t), ""},
		{subject(t, []any{typeO, "acme"}, []any{typeCN, "pulley"}), "cn=pulley,o=acme"},
		{subject(t, []any{typeC, "DE"}, []any{typeO, "Acme, Inc."}, []any{typeCN, "pulley+1 "}), `cn=pulley\+1\ ,o=Acme\, Inc.,c=DE`},
		{subject(t, []any{typeDC, "org"}, []any{typeDC, "example"}, []any{typeCN, "Jürgen"}), "cn=Jürgen,dc=example,dc=org"},
		{subject(t, []any{typeCN, "a", typeO, "b"}), "cn=a+o=b"},
		{subject(t, []any{typeMail, "p@example.org"}), "email=p@example.org"},
		{subject(t, []any{typeOther, "x"}), "1.3.6.1.4.1.32473.1=x"},
		{subject(t, []any{typeOther, 5}), "1.3.6.1.4.1.32473.1=#020105"},
	} {
		got, err := subjectDN(bundled(), tt.der)
		if err != nil {
			t.Errorf("%x: %v", tt.der, err)
			continue
		}
		a, errA := dit.ParseDN(bundled(), got)
		b, errB := dit.ParseDN(bundled(), tt.want)
		if errA != nil || errB != nil || !a.Equal(b) {
			t.Errorf("%q instead of %q (%v, %v)", got, tt.want, errA, errB)
		}
	}
	for _, bad := range [][]byte{nil, {0x30}, {0x31, 0}, {0x30, 2, 0x05, 0}, {0x30, 0, 0}} {
		if got, err := subjectDN(bundled(), bad); err == nil {
			t.Errorf("%x is %q", bad, got)
		}
	}
}

// FuzzSubject R56: whatever stands in a certificate, what comes out is a DN.
func FuzzSubject(f *testing.F) {
	f.Add(subject(f, []any{typeC, "DE"}, []any{typeO, "Acme, Inc."}, []any{typeCN, " pulley ", typeMail, "x"}))
	f.Add(subject(f, []any{typeOther, 5}))
	f.Fuzz(func(t *testing.T, der []byte) {
		text, err := subjectDN(bundled(), der)
		if err != nil {
			return
		}
		if _, err := dit.ParseDN(bundled(), text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// external is a SASL bind; assertion is left out when it is "-".
func external(mechanism, assertion string) []byte {
	sasl := ber.AppendString(nil, ber.OctetString, mechanism)
	if assertion != "-" {
		sasl = ber.AppendString(sasl, ber.OctetString, assertion)
	}
	b := ber.AppendInt(nil, ber.Integer, 3)
	b = ber.AppendString(b, ber.OctetString, "")
	return ber.AppendBytes(b, authSASL, sasl)
}

// R10: SASL EXTERNAL is who the certificate or the kernel says, and nobody else.
func TestExternal(t *testing.T) {
	ca := newAuthority(t)
	s, plain := serve(t, Options{TLS: ca.server()})
	secure := also(t, s, "ldaps://127.0.0.1:0")
	path := filepath.Join(t.TempDir(), "ldapi")
	also(t, s, ldapi(path))
	pulley := ca.issue("", subject(t, []any{typeO, "acme"}, []any{typeCN, "pulley"}), time.Now().Add(time.Hour))
	nobody := ca.issue("", subject(t), time.Now().Add(time.Hour))
	unix := func() *client {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return newClient(t, nc)
	}
	upgraded := dial(t, plain)
	if r := upgraded.startTLS(100); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if err := upgraded.upgrade(ca.client(pulley)); err != nil {
		t.Fatal(err)
	}
	local := fmt.Sprintf("gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth", os.Getegid(), os.Geteuid())
	for name, at := range map[string]struct {
		c   *client
		who string
	}{
		"in the clear":            {dial(t, plain), ""},
		"without a certificate":   {dialTLS(t, secure, ca.client()), ""},
		"with an empty subject":   {dialTLS(t, secure, ca.client(nobody)), ""},
		"with a certificate":      {dialTLS(t, secure, ca.client(pulley)), "cn=pulley,o=acme"},
		"certificate by StartTLS": {upgraded, "cn=pulley,o=acme"},
		"over a unix socket":      {unix(), local},
	} {
		c, offered := at.c, at.c.search(1, query{attrs: []string{"supportedSASLMechanisms"}})[0].attrs["supportedSASLMechanisms"]
		if (len(offered) == 1 && offered[0] == "EXTERNAL") != (at.who != "") {
			t.Errorf("%s: %q is offered", name, offered)
		}
		if who := c.whoami(2); who != "" {
			t.Errorf("%s: %q before any bind", name, who)
		}
		for i, tt := range []struct {
			body []byte
			code int // when there is an identity
		}{
			{external("EXTERNAL", "-"), 0},
			{external("EXTERNAL", ""), 0},
			{external("EXTERNAL", "dn:"+strings.ToUpper(at.who)), 0},
			{external("EXTERNAL", "dn:cn=admin"), ldapserver.LDAPResultInvalidCredentials},
			{external("EXTERNAL", "dn:nonsense"), ldapserver.LDAPResultInvalidCredentials},
			{external("EXTERNAL", "u:pulley"), ldapserver.LDAPResultInvalidCredentials},
			{external("PLAIN", "x"), ldapserver.LDAPResultAuthMethodNotSupported},
			{external("", "-"), ldapserver.LDAPResultAuthMethodNotSupported},
			{ber.AppendBytes(bindBody(3, "", "")[:5:5], authSASL, []byte{5, 0}), ldapserver.LDAPResultProtocolError},
		} {
			want, who := tt.code, ""
			switch {
			case at.who == "" && tt.code != ldapserver.LDAPResultAuthMethodNotSupported && tt.code != ldapserver.LDAPResultProtocolError:
				want = ldapserver.LDAPResultInappropriateAuthentication
			case tt.code == 0:
				who = "dn:" + at.who
			}
			r := c.do(int64(10+2*i), tagBind, tt.body)
			if got := c.whoami(int64(11 + 2*i)); r.code != want || got != who {
				t.Errorf("%s, bind %d: %+v, bound as %q", name, i, r, got)
			}
		}
	}
}

// R10: OpenLDAP's tools bind with EXTERNAL, by certificates with keys of both kinds.
func TestToolsWithExternal(t *testing.T) {
	for name, ca := range map[string]*authority{"ECDSA": newAuthority(t), "RSA": newRSAAuthority(t)} {
		t.Run(name, func(t *testing.T) { toolsWithExternal(t, ca) })
	}
}

func toolsWithExternal(t *testing.T, ca *authority) {
	s, addr := serve(t, Options{TLS: ca.server()})
	path := filepath.Join(t.TempDir(), "ldapi")
	also(t, s, ldapi(path))
	pair := ca.write(t.TempDir(), ca.issue("", subject(t, []any{typeO, "acme"}, []any{typeCN, "pulley"}), time.Now().Add(time.Hour)))
	t.Setenv("LDAPTLS_CACERT", ca.file)
	if out, code := tool(t, "ldap-utils", "ldapwhoami", "-Y", "EXTERNAL", "-H", ldapi(path)); code != 0 || !strings.Contains(out, ",cn=peercred,cn=external,cn=auth") {
		t.Errorf("over a unix socket: exit %d\n%s", code, out)
	}
	if out, code := tool(t, "ldap-utils", "ldapwhoami", "-Y", "EXTERNAL", "-ZZ", "-H", "ldap://"+addr); code == 0 {
		t.Errorf("without a certificate\n%s", out)
	}
	t.Setenv("LDAPTLS_CERT", pair.Certificate)
	t.Setenv("LDAPTLS_KEY", pair.Key)
	if out, code := tool(t, "ldap-utils", "ldapwhoami", "-Y", "EXTERNAL", "-ZZ", "-H", "ldap://"+addr); code != 0 || !strings.Contains(out, "dn:cn=pulley,o=acme") {
		t.Errorf("with a certificate: exit %d\n%s", code, out)
	}
}
