package ldapd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
)

// also serves another URL from a server of a test, until that is closed.
func also(tb testing.TB, s *Server, url string) string {
	tb.Helper()
	l, err := Listen(url)
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.mu.Lock()
		l.Close()
		s.mu.Unlock()
		<-served
	})
	return l.Addr().String()
}

// upgrade does a client's side of the handshake.
func (c *client) upgrade(cfg *tls.Config) error {
	t := tls.Client(c.nc, cfg)
	c.nc.SetDeadline(time.Now().Add(patience))
	if err := t.Handshake(); err != nil {
		return err
	}
	c.nc, c.r = t, bufio.NewReaderSize(t, 64<<10)
	return nil
}

func (c *client) startTLS(id int64) reply {
	c.Helper()
	return c.do(id, tagExtended, extendedBody(oidStartTLS))
}

func dialTLS(tb testing.TB, addr string, cfg *tls.Config) *client {
	tb.Helper()
	c := dial(tb, addr)
	if err := c.upgrade(cfg); err != nil {
		tb.Fatal(err)
	}
	return c
}

// R10: ldaps speaks TLS 1.2 and 1.3, and nothing older or else.
func TestLdaps(t *testing.T) {
	ca := newAuthority(t)
	s, _ := serve(t, Options{TLS: ca.server()})
	addr := also(t, s, "ldaps://127.0.0.1:0")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := ca.client()
		cfg.MinVersion, cfg.MaxVersion = version, version
		c := dialTLS(t, addr, cfg)
		if got := c.nc.(*tls.Conn).ConnectionState().Version; got != version {
			t.Errorf("version 0x%x instead of 0x%x", got, version)
		}
		if who := c.whoami(1); who != "" {
			t.Errorf("bound as %q", who)
		}
		if r := c.startTLS(2); r.code != ldapserver.LDAPResultOperationsError {
			t.Errorf("StartTLS over ldaps: %+v", r)
		}
		if who := c.whoami(3); who != "" {
			t.Errorf("after it: bound as %q", who)
		}
	}
	old := ca.client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := dial(t, addr).upgrade(old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	plain := dial(t, addr)
	plain.write(msg(1, tagExtended, extendedBody(whoAmI)))
	plain.nc.SetReadDeadline(time.Now().Add(patience))
	if got, _ := io.ReadAll(plain.nc); bytes.Contains(got, []byte{0x30}) {
		t.Errorf("an answer in the clear: %x", got)
	}
}

// R38: StartTLS as RFC 4511 section 4.14 has it.
func TestStartTLS(t *testing.T) {
	ca := newAuthority(t)
	_, addr := serve(t, withMirror(Options{TLS: ca.server()}))
	c := dial(t, addr)
	if got := c.search(1, query{attrs: []string{"supportedExtension"}})[0].attrs["supportedExtension"]; len(got) != 3 || got[2] != oidStartTLS {
		t.Errorf("in the clear: %q", got)
	}
	if r := c.do(2, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	withValue := ber.AppendString(extendedBody(oidStartTLS), ber.ContextPrimitive(1), "")
	if r := c.do(3, tagExtended, withValue); r.code != ldapserver.LDAPResultProtocolError {
		t.Errorf("with a value: %+v", r)
	}
	r := c.startTLS(4)
	if r.code != 0 || !bytes.Contains(r.extra, []byte(oidStartTLS)) {
		t.Fatalf("StartTLS: %+v", r)
	}
	if err := c.upgrade(ca.client()); err != nil {
		t.Fatal(err)
	}
	if who := c.whoami(5); who != "dn:cn=mirror,"+base {
		t.Errorf("under TLS: %q", who)
	}
	if got := c.search(6, query{attrs: []string{"supportedExtension"}})[0].attrs["supportedExtension"]; len(got) != 2 {
		t.Errorf("under TLS: %q", got)
	}
	if r := c.startTLS(7); r.code != ldapserver.LDAPResultOperationsError {
		t.Errorf("a second time: %+v", r)
	}
	if got := c.search(8, query{base: base, scope: 2}); len(got) != 8 {
		t.Errorf("a search under TLS: %d replies", len(got))
	}
}

// R38: a request that was sent in the clear behind StartTLS never counts as said
// under TLS: StartTLS is refused, and the session stays in the clear.
func TestStartTLSWithInputBehindItIsRefused(t *testing.T) {
	ca := newAuthority(t)
	_, addr := serve(t, Options{TLS: ca.server()})
	c := dial(t, addr)
	c.write(append(msg(1, tagExtended, extendedBody(oidStartTLS)), msg(2, tagExtended, extendedBody(whoAmI))...))
	if r := c.next(); r.id != 1 || r.code != ldapserver.LDAPResultOperationsError {
		t.Errorf("StartTLS: %+v", r)
	}
	if r := c.next(); r.id != 2 || r.code != 0 {
		t.Errorf("behind it: %+v", r)
	}
	c.write(append(msg(3, tagExtended, extendedBody(oidStartTLS)), 0x30)) // one octet is enough
	if r := c.next(); r.id != 3 || r.code != ldapserver.LDAPResultOperationsError {
		t.Errorf("StartTLS with half a request behind it: %+v", r)
	}
	c = dial(t, addr)
	if r := c.startTLS(1); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	c.write(msg(2, tagExtended, extendedBody(whoAmI))) // instead of a handshake
	c.nc.SetReadDeadline(time.Now().Add(patience))
	if got, _ := io.ReadAll(c.nc); bytes.Contains(got, []byte{byte(tagExtendedRe)}) {
		t.Errorf("answered in the clear: %x", got)
	}
}

// R38: StartTLS is refused while a search is outstanding, and granted after it.
func TestStartTLSWhileBusy(t *testing.T) {
	ca := newAuthority(t)
	g := newGate()
	files := ca.server()
	s, addr := serve(t, Options{Backend: newBackend(listers(t, 500)), Now: g.now})
	g.arm()
	c := dial(t, addr)
	c.write(msg(1, tagSearch, long.body(t)))
	<-g.reached
	if err := s.SetTLS(files); err != nil {
		t.Fatal(err)
	}
	c.write(msg(2, tagExtended, extendedBody(oidStartTLS)))
	r := c.next()
	for r.op == tagEntry {
		r = c.next()
	}
	if r.id != 2 || r.code != ldapserver.LDAPResultOperationsError {
		t.Errorf("while busy: %+v", r)
	}
	close(g.open)
	c.until(1)
	if r := c.startTLS(3); r.code != 0 {
		t.Fatalf("afterwards: %+v", r)
	}
	if err := c.upgrade(ca.client()); err != nil {
		t.Fatal(err)
	}
	c.whoami(4)
}

// R10: a client's certificate is verified if it shows one: an expired one, and
// one of another authority, end the handshake, of ldaps and behind StartTLS.
func TestClientCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	s, plain := serve(t, Options{TLS: ca.server()})
	secure := also(t, s, "ldaps://127.0.0.1:0")
	for _, tt := range []struct {
		name string
		pair tls.Certificate
		good bool
	}{
		{"valid", ca.valid("pulley"), true},
		{"expired", ca.issue("pulley", nil, time.Now().Add(-time.Minute)), false},
		{"of another authority", other.valid("pulley"), false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, addr := range []string{secure, plain} {
				cfg := ca.client()
				cfg.MinVersion, cfg.MaxVersion = version, version
				// Whoever the server asks for: the client shows what it has.
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.pair, nil }
				c := dial(t, addr)
				if addr == plain {
					if r := c.startTLS(1); r.code != 0 {
						t.Fatalf("StartTLS: %+v", r)
					}
				}
				err := c.upgrade(cfg)
				if err == nil { // with TLS 1.3 the server's word comes behind the handshake
					c.write(msg(2, tagExtended, extendedBody(whoAmI)))
					_, err = c.read()
				}
				if (err == nil) != tt.good {
					t.Errorf("%s certificate, TLS 0x%x, StartTLS %v: %v", tt.name, version, addr == plain, err)
				}
			}
		}
	}
}

// lines is a log to look into.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

// R10, R56: a changed certificate is served from the next handshake on; one that
// cannot be used leaves the old one, and is told of once.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	first, second := ca.valid("first"), ca.valid("second")
	log := &lines{}
	var clock atomic.Int64
	s, _ := serve(t, Options{TLS: ca.write(dir, first), Log: slog.New(slog.NewTextHandler(log, nil)),
		Now: func() time.Time { return time.Unix(clock.Add(10), 0) }})
	addr := also(t, s, "ldaps://127.0.0.1:0")
	served := func(want string) {
		t.Helper()
		cert := dialTLS(t, addr, ca.client()).nc.(*tls.Conn).ConnectionState().PeerCertificates[0]
		if cert.Subject.CommonName != want {
			t.Errorf("%q is served, not %q", cert.Subject.CommonName, want)
		}
	}
	served("first")
	key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ca.write(dir, second)
	served("second")
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	served("second")
	served("second")
	if n := log.count("cannot be used; the old one stays"); n != 1 {
		t.Errorf("the bad pair is told of %d times", n)
	}
	if err := s.SetTLS(TLSFiles{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}); err == nil {
		t.Error("a bad pair is taken")
	}
	os.Remove(filepath.Join(dir, "cert.pem"))
	served("second")
	ca.write(dir, first)
	served("first")
	if n := log.count("was read again"); n != 2 {
		t.Errorf("read again %d times", n)
	}
}

// R56: what is wrong with TLS files is named.
func TestBadTLSFiles(t *testing.T) {
	ca := newAuthority(t)
	good := ca.server()
	other := ca.server()
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, maxPEM+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files TLSFiles
		want  string
	}{
		{TLSFiles{Certificate: good.Certificate}, "both a certificate and a key"},
		{TLSFiles{ClientCA: good.ClientCA}, "both a certificate and a key"},
		{TLSFiles{Certificate: "/nowhere/x", Key: good.Key}, "TLS certificate: open /nowhere/x"},
		{TLSFiles{Certificate: good.Certificate, Key: "/nowhere/x"}, "TLS key: open /nowhere/x"},
		{TLSFiles{Certificate: good.Certificate, Key: other.Key}, "does not match"},
		{TLSFiles{Certificate: large, Key: good.Key}, "longer than 4 MiB"},
		{TLSFiles{Certificate: good.Certificate, Key: good.Key, ClientCA: "/nowhere/x"}, "TLS client CA: open /nowhere/x"},
		{TLSFiles{Certificate: good.Certificate, Key: good.Key, ClientCA: good.Key}, "no certificate in"},
	} {
		if _, err := New(Options{Backend: newBackend(emptyTree()), TLS: tt.files}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.files, err)
		}
	}
	s, addr := serve(t, Options{})
	dial(t, addr).whoami(1)
	l, err := Listen("ldaps://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err == nil || !strings.Contains(err.Error(), "no certificate is configured") {
		t.Errorf("ldaps without a certificate: %v", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener stays open")
	}
}
