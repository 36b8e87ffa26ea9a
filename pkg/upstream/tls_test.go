package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// issuer is a certificate authority made for a test.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority makes one and writes its certificate to a file.
func authority(t *testing.T) (*issuer, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return &issuer{cert, key}, file
}

// issue makes the TLS side of a server at that address or name.
func (i *issuer) issue(t *testing.T, host string, end time.Time) *tls.Config {
	t.Helper()
	return i.issueFrom(t, host, time.Now().Add(-2*time.Hour), end)
}

func (i *issuer) issueFrom(t *testing.T, host string, begin, end time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host},
		NotBefore: begin, NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, &key.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// pairFiles writes a certificate for that name, and its key.
func pairFiles(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	ca, _ := authority(t)
	return ca.files(t, name)
}

// files writes a certificate of the authority for that name, and its key.
func (i *issuer) files(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	pair := i.issue(t, name, time.Now().Add(time.Hour)).Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))),
		write(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// R10: with TLS asked for, nothing is bound before the server has proved itself.
func TestR10NoBindWithoutVerifiedTLS(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	_, otherFile := authority(t)
	later := time.Now().Add(time.Hour)
	good := ca.issue(t, "127.0.0.1", later)
	for _, test := range []struct {
		name   string
		server *server
		caFile string
		mode   string // ldaps or starttls
		reason []string
	}{
		{"unknown authority", &server{config: good}, otherFile, "both", []string{"TLS", "not signed by an authority in", otherFile}},
		{"not the system's", &server{config: good}, "", "both", []string{"TLS", "not signed by an authority that the system knows"}},
		{"wrong host", &server{config: ca.issue(t, "elsewhere.example", later)}, caFile, "both", []string{"TLS: the certificate is not for 127.0.0.1"}},
		{"expired", &server{config: ca.issue(t, "127.0.0.1", time.Now().Add(-time.Hour))}, caFile, "both", []string{"TLS: the certificate of CN=127.0.0.1 has expired at 20"}},
		{"not yet valid", &server{config: ca.issueFrom(t, "127.0.0.1", later, later.Add(time.Hour))}, caFile, "both", []string{"TLS: the certificate of CN=127.0.0.1 is not valid before 20"}},
		{"TLS 1.1", &server{config: with(good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })}, caFile, "both", []string{"TLS: the server does not speak TLS 1.2, nor what is newer"}},
		{"certificate demanded by TLS 1.2", &server{config: with(good, func(c *tls.Config) { c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12 })}, caFile, "both", []string{"TLS: refused by the server: ", "; the server asked for a certificate of ours: give certificate and key"}},
		{"certificate demanded by TLS 1.3", &server{config: with(good, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })}, caFile, "both", []string{"certificate of ours: give certificate and key"}},
		{"plain text behind ldaps", &server{greet: func(s *session) { s.send(notice(2, "what?")) }}, caFile, "ldaps", []string{"does not speak TLS on port"}},
		{"hangs up", &server{greet: func(s *session) { s.Close() }}, caFile, "both", []string{"the server"}},
		{"StartTLS refused", &server{startTLS: answerStartTLS(2, "no such thing")}, caFile, "starttls", []string{"StartTLS: refused by the server", "(2)", "no such thing"}},
		{"StartTLS unavailable", &server{startTLS: answerStartTLS(52, "")}, caFile, "starttls", []string{"StartTLS", "unavailable (52)"}},
		{"notice", &server{startTLS: func(s *session, r request) { s.send(notice(52, "going down")) }}, caFile, "starttls", []string{"StartTLS", "going down"}},
		{"another answer", &server{startTLS: func(s *session, r request) { s.send(response(r.id+1, tagExtendedResponse, 0, "")) }}, caFile, "starttls", []string{"not one to StartTLS"}},
		{"garbage", &server{startTLS: func(s *session, r request) {
			s.send([]byte("HTTP/1.0 400 Bad Request\r\n" + strings.Repeat("X: x\r\n", 20)))
		}}, caFile, "starttls", []string{"StartTLS", "answer"}},
		{"plain text slipped in", &server{startTLS: func(s *session, r request) {
			s.send(append(response(r.id, tagExtendedResponse, 0, ""), response(1, 0x61, 0, "")...))
		}}, caFile, "starttls", []string{"more than an answer"}},
	} {
		for _, mode := range []string{"ldaps", "starttls"} {
			if test.mode != "both" && test.mode != mode {
				continue
			}
			t.Run(test.name+"/"+mode, func(t *testing.T) {
				s := listen(t, &server{config: test.server.config, ldaps: mode == "ldaps" && test.server.config != nil,
					startTLS: test.server.startTLS, greet: test.server.greet})
				src := s.source()
				src.Protocol, src.StartTLS = "ldap", mode == "starttls"
				if mode == "ldaps" {
					src.Protocol = "ldaps"
				}
				src.CAFile = test.caFile
				src.BindDN, src.PasswordFile = "cn=shaft", write(t, "s3cret\n")
				r := newRecorder()
				l := Follow(src, r, quick())
				down := r.await(t, Down)
				l.Close()
				wantReason(t, down.Reason, test.reason...)
				if n := s.binds.Load(); n != 0 {
					t.Errorf("%d binds were sent", n)
				}
			})
		}
	}
}

// with changes a copy.
func with(c *tls.Config, change func(*tls.Config)) *tls.Config {
	c = c.Clone()
	change(c)
	return c
}

func answerStartTLS(code int, text string) func(*session, request) {
	return func(s *session, r request) { s.send(response(r.id, tagExtendedResponse, code, text)) }
}

// R10: ldap, StartTLS and ldaps, anonymous and with a password.
func TestR10TransportsAndBinds(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	for _, mode := range []string{"ldap", "ldaps", "starttls"} {
		for _, bind := range []bool{false, true} {
			s := listen(t, &server{config: ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour)), ldaps: mode == "ldaps",
				sync: func(s *session, r request) { s.refresh(3, "c1") }})
			src := s.source()
			src.CAFile, src.StartTLS = caFile, mode == "starttls"
			if bind {
				src.BindDN, src.PasswordFile = "cn=shaft", write(t, "s3cret\nno more\n")
			}
			r := newRecorder()
			l := Follow(src, r, quick())
			r.await(t, Live)
			l.Close()
			if _, puts := r.count(); puts != 3 {
				t.Errorf("%s: %d entries", mode, puts)
			}
			want := map[bool]string{true: "s3cret"}[bind]
			s.mu.Lock()
			if s.password != want || (s.binds.Load() == 1) != bind {
				t.Errorf("%s: password %q, %d binds", mode, s.password, s.binds.Load())
			}
			s.mu.Unlock()
		}
	}
}

// The password file is read again at each connect.
func TestR10PasswordFileIsReadAgain(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{bindCode: 49})
	src := s.source()
	src.BindDN, src.PasswordFile = "cn=shaft", write(t, "")
	c, r := newClock(), newRecorder()
	o := quick()
	o.After = c.after
	follow(t, src, r, o)
	c.next(t)
	wantReason(t, r.await(t, Down).Reason, "password file", "empty")
	rewrite(t, src.PasswordFile, "new\n")
	c.end(t)
	c.next(t)
	wantReason(t, r.await(t, Down).Reason, "bind as cn=shaft", "invalid credentials (49)")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.password != "new" {
		t.Errorf("bound with %q", s.password)
	}
}
