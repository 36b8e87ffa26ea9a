package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// authority makes a CA and a certificate of it for 127.0.0.1, as PEM files.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(template, parent *x509.Certificate, pub *ecdsa.PublicKey, by *ecdsa.PrivateKey) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	caKey, serverKey := newKey(), newKey()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca = write("ca.pem", "CERTIFICATE", sign(root, root, &caKey.PublicKey, caKey))
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "upstream"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert = write("cert.pem", "CERTIFICATE", sign(server, root, &serverKey.PublicKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("key.pem", "PRIVATE KEY", der)
}

const (
	reader       = "cn=reader," + ldaptest.SuSeSuffix
	readerSecret = "correct horse battery staple"
)

// guarded starts a slapd that shows its content to the reader alone.
func guarded(t *testing.T, o ldaptest.SlapdOptions) *ldaptest.Slapd {
	o.Suffix = ldaptest.SuSeSuffix
	o.LDIF = ldaptest.SuSeLDIF + "\ndn: " + reader + "\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\nuserPassword: " + readerSecret + "\n"
	o.Global = "require authc"
	return ldaptest.StartSlapd(t, o)
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// reason waits for a name's head to be down and gives what `name show` says.
func (s *shaft) reason(name string) string {
	s.t.Helper()
	eventually(s.t, time.Minute, name+" is seen down", func() bool { return s.names()[name+","+base].Head.State == "down" })
	for _, l := range strings.Split(s.run("name", "show", name), "\n") {
		if r, ok := strings.CutPrefix(l, "reason"); ok {
			return strings.TrimSpace(r)
		}
	}
	return ""
}

// R10: StartTLS and ldaps are verified against the CA given, simple bind takes its
// password from a file, and nothing of it shows anywhere.
func TestTransports(t *testing.T) {
	ca, cert, key := authority(t)
	up := guarded(t, ldaptest.SlapdOptions{CertFile: cert, KeyFile: key, CAFile: ca})
	pw := passwordFile(t, readerSecret)
	s := newShaft(t, "log: { level: debug }\nbase_dn: "+base)
	bind := []string{"--bind-dn", reader, "--password-file", pw}
	add := func(id, url string, flags ...string) string {
		url += "/" + ldaptest.SuSeSuffix
		if id == "extension" { // a URL can ask for StartTLS itself
			url += "????!StartTLS"
		}
		return s.run(slices.Concat([]string{"subscription", "add", id, "--name", "cn=" + id, "--url", url}, flags, bind)...)
	}
	said := add("plain", up.URL())
	said += add("starttls", up.URL(), "--starttls", "--ca-file", ca)
	said += add("extension", up.URL(), "--ca-file", ca)
	said += add("ldaps", up.TLSURL(), "--ca-file", ca)
	for _, id := range []string{"plain", "starttls", "extension", "ldaps"} {
		s.live("cn=" + id)
		if out := s.search("-b", "cn="+id+","+base, "(pkgName=openldap2)", "1.1"); !strings.Contains(out, "dn: pkgName=openldap2,distro=openSUSE,cn="+id) {
			t.Errorf("%s: %s", id, out)
		}
		check := s.run("subscription", "check", id)
		if strings.Contains(check, "certificate of CN=upstream") != (id != "plain") {
			t.Errorf("the check of %s says\n%s", id, check)
		}
		said += check + s.run("subscription", "show", id) + s.run("subscription", "show", id, "-o", "json")
	}
	s.stop()
	if said += s.log.String(); strings.Contains(said, readerSecret) {
		t.Errorf("the password shows in\n%s", said)
	}
}

// R10: without a certificate that the CA signed, or without TLS at all, nothing
// is sent that was asked to be encrypted: no bind, no search.
func TestTransportRefused(t *testing.T) {
	ca, cert, key := authority(t)
	stranger, _, _ := authority(t)
	tls := guarded(t, ldaptest.SlapdOptions{CertFile: cert, KeyFile: key, CAFile: ca})
	bare := guarded(t, ldaptest.SlapdOptions{})
	pw := passwordFile(t, readerSecret)
	s := newShaft(t, "base_dn: "+base)
	for _, c := range []struct{ id, url, ca, words string }{
		{"starttls", tls.URL(), stranger, "not signed by an authority in " + stranger},
		{"ldaps", tls.TLSURL(), stranger, "not signed by an authority in " + stranger},
		{"bare", bare.URL(), ca, "refused by the server"},
		{"wrongport", strings.Replace(tls.URL(), "ldap:", "ldaps:", 1), ca, "TLS"},
	} {
		args := []string{"subscription", "add", c.id, "--name", "cn=" + c.id, "--url", c.url + "/" + ldaptest.SuSeSuffix,
			"--ca-file", c.ca, "--bind-dn", reader, "--password-file", pw}
		if strings.HasPrefix(c.url, "ldap:") {
			args = append(args, "--starttls")
		}
		if out := s.run(args...); !strings.Contains(out, "FAILED") || !strings.Contains(out, c.words) {
			t.Errorf("%s: the addition says\n%s", c.id, out)
		}
		if got := s.reason("cn=" + c.id); !strings.Contains(got, c.words) {
			t.Errorf("%s: reason %q, want %q", c.id, got, c.words)
		}
	}
	for _, up := range []*ldaptest.Slapd{tls, bare} {
		if log := up.Log(); strings.Contains(log, "BIND") || strings.Contains(log, "SRCH") {
			t.Errorf("something was sent all the same:\n%s", log)
		}
	}
}

// R10: who does not bind, or with a wrong password, sees the server's reason; the
// file is read anew at each try, so that a new password is taken up.
func TestSimpleBind(t *testing.T) {
	up := guarded(t, ldaptest.SlapdOptions{})
	pw := passwordFile(t, "wrong")
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "nobody", "--name", "cn=nobody", "--url", up.URL()+"/"+ldaptest.SuSeSuffix)
	if got := s.reason("cn=nobody"); !strings.Contains(got, "authentication required") {
		t.Errorf("anonymous: %q", got)
	}
	s.run("subscription", "add", "reader", "--name", "cn=reader", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--bind-dn", reader, "--password-file", pw)
	if got := s.reason("cn=reader"); !strings.Contains(got, "invalid credentials (49)") {
		t.Errorf("wrong password: %q", got)
	}
	if err := os.WriteFile(pw, []byte(readerSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	s.live("cn=reader")
	if _, errs, code := s.try("subscription", "add", "x", "--name", "cn=x", "--url", up.URL()+"/", "--bind-dn", reader, "--password-file", "gone"); code != 1 || !strings.Contains(errs, "password_file") || !strings.Contains(errs, "no such file") {
		t.Errorf("no password file: exit %d, %s", code, errs)
	}
}
