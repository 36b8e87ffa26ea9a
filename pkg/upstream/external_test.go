package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// reader is who may read the slapd of these tests, beside its rootdn.
const reader = "cn=reader,dc=example,dc=org"

// guarded starts a slapd that lets reader read and nobody else, and takes the
// holder of a certificate for shaft, and this process at its socket, for it.
func guarded(t *testing.T, verify string) (s *ldaptest.Slapd, ca *issuer, caFile string) {
	t.Helper()
	ca, caFile = authority(t)
	certificate, key := ca.files(t, "127.0.0.1")
	return ldaptest.StartSlapd(t, ldaptest.SlapdOptions{
		Suffix: "dc=example,dc=org", LDIF: slapdLDIF, LDAPI: true,
		CAFile: caFile, CertFile: certificate, KeyFile: key,
		Global: fmt.Sprintf("TLSVerifyClient %s\nauthz-regexp ^cn=shaft$ %s\nauthz-regexp ^gidNumber=%d[+]uidNumber=%d,cn=peercred,cn=external,cn=auth$ %s",
			verify, reader, os.Getgid(), os.Getuid(), reader),
		Access: "access to * by dn.exact=" + reader + " read by * none",
	}), ca, caFile
}

// R10: SASL EXTERNAL over ldapi, and with a certificate over ldaps and StartTLS, is
// the identity that a real slapd gives access to.
func TestR10External(t *testing.T) {
	noLeak(t)
	s, ca, caFile := guarded(t, "demand")
	certificate, key := ca.files(t, "shaft")
	stranger, strangerKey := ca.files(t, "stranger")
	local := Source{Protocol: "ldapi", Socket: s.Socket, Base: "dc=example,dc=org", SASLExternal: true}
	ldaps := Source{Protocol: "ldaps", Host: "127.0.0.1", Port: s.TLSPort, Base: local.Base, CAFile: caFile, SASLExternal: true,
		CertFile: certificate, KeyFile: key}
	startTLS := ldaps
	startTLS.Protocol, startTLS.StartTLS, startTLS.Port = "ldap", true, s.Port
	anonymous, other := ldaps, ldaps
	anonymous.SASLExternal = false
	other.CertFile, other.KeyFile = stranger, strangerKey
	for _, test := range []struct {
		name   string
		src    Source
		steps  string
		bind   string // what the step says
		number int
	}{
		{"ldapi", local, "connect+ bind+ syncrepl+ base+ entries+", "SASL EXTERNAL as dn:" + reader, 2},
		{"ldaps", ldaps, "resolve+ connect+ tls+ bind+ syncrepl+ base+ entries+", "SASL EXTERNAL as dn:" + reader, 2},
		{"StartTLS", startTLS, "resolve+ connect+ tls+ bind+ syncrepl+ base+ entries+", "SASL EXTERNAL as dn:" + reader, 2},
		{"certificate without a bind", anonymous, "resolve+ connect+ tls+ bind+ base-", "anonymous", -1},
		{"someone else's certificate", other, "resolve+ connect+ tls+ bind+ base-", "SASL EXTERNAL as dn:cn=stranger", -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			steps, n, fatal := Check(t.Context(), test.src, quick())
			if names(steps) != test.steps || n != test.number || fatal != nil {
				t.Fatalf("%s: %d, %v\n%+v", names(steps), n, fatal, steps)
			}
			for _, step := range steps {
				if step.Name == "bind" && step.Detail != test.bind {
					t.Errorf("bound as %s, want %s", step.Detail, test.bind)
				}
			}
			if test.number < 0 {
				return
			}
			r := newRecorder()
			if _, err := test.src.Validate(); err != nil {
				t.Fatal(err)
			}
			follow(t, test.src, r, quick())
			first := test.src.first()
			r.happens(t, "begin "+first.address()+" ")
			r.await(t, Live)
			if _, puts := r.count(); puts != 2 {
				t.Errorf("%d entries", puts)
			}
		})
	}
	s.Stop()
	_, err := open(t.Context(), local, quick().withDefaults(), func() {})
	if err == nil || !strings.Contains(err.Error(), "connect to "+s.Socket+": ") {
		t.Errorf("without a server: %v", err)
	}
}

// R10: a real slapd that wants a certificate gets none, and the reason says so.
func TestR10SlapdWantsACertificate(t *testing.T) {
	noLeak(t)
	s, _, caFile := guarded(t, "demand")
	src := Source{Protocol: "ldaps", Host: "127.0.0.1", Port: s.TLSPort, Base: "dc=example,dc=org", CAFile: caFile,
		BindDN: s.RootDN(), PasswordFile: write(t, ldaptest.SlapdPassword)}
	for _, startTLS := range []bool{false, true} {
		if startTLS {
			src.Protocol, src.StartTLS, src.Port = "ldap", true, s.Port
		}
		_, err := open(t.Context(), src, quick().withDefaults(), func() {})
		if err == nil {
			t.Fatal("let in")
		}
		wantReason(t, err.Error(), "certificate of ours: give certificate and key")
		if log := s.Log(); strings.Contains(log, "BIND dn=") {
			t.Errorf("a bind arrived:\n%s", log)
		}
	}
}

// R10: certificate and key are read again at each connect, and shown whatever
// authorities the server names.
func TestR10CertificateIsReadAgain(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	shown := make(chan string, 10)
	config := with(ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour)), func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAnyClientCert, x509.NewCertPool()
		c.ClientCAs.AddCert(ca.cert)
		c.VerifyConnection = func(s tls.ConnectionState) error {
			shown <- s.PeerCertificates[0].Subject.CommonName
			return nil
		}
	})
	s := listen(t, &server{config: config, ldaps: true})
	src := s.source()
	src.CAFile, src.SASLExternal = caFile, true
	src.CertFile, src.KeyFile = pairFiles(t, "first")
	if _, err := src.Validate(); err != nil {
		t.Fatal(err)
	}
	second, secondKey := pairFiles(t, "second")
	for _, want := range []string{"first", "second"} {
		c, err := open(t.Context(), src, quick().withDefaults(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		c.close()
		if got := next(t, shown); got != want {
			t.Errorf("%s was shown, want %s", got, want)
		}
		rename(t, second, src.CertFile)
		if want == "first" {
			_, err := open(t.Context(), src, quick().withDefaults(), func() {})
			if err == nil || !strings.Contains(err.Error(), "certificate and key") || s.binds.Load() != 1 {
				t.Errorf("certificate and key do not match: %v, %d binds", err, s.binds.Load())
			}
		}
		rename(t, secondKey, src.KeyFile)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, to, string(text))
}

// R10: what is not a socket is not taken for one, whatever it is.
func TestR10PeerMustBeASocket(t *testing.T) {
	noLeak(t)
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	for path, words := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory", write(t, "x"): "not a socket", dir: "not a socket",
		"/dev/null": "not a socket", stale: "connection refused",
	} {
		src := Source{Socket: path, Base: "dc=x"}
		if _, err := src.Validate(); err != nil {
			t.Fatal(err) // it may come later
		}
		steps, _, fatal := Check(context.Background(), src, quick())
		if names(steps) != "connect-" || fatal != nil || steps[0].Detail != "connect to "+path+": "+words {
			t.Errorf("%s: %+v, %v", path, steps, fatal)
		}
	}
}

// R10: the secrets that files hold are in no text that a source makes.
func TestR10SecretsStayInTheirFiles(t *testing.T) {
	certificate, key := pairFiles(t, "h")
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(pem), "\n")[1]
	src := Source{Protocol: "ldaps", Host: "127.0.0.1", Port: 1, Base: "dc=x", BindDN: "cn=a", PasswordFile: write(t, secret),
		CertFile: certificate, KeyFile: key}
	steps, _, fatal := Check(t.Context(), src, quick())
	src.CertFile = key // the key where the certificate belongs
	_, verr := src.Validate()
	for _, text := range []string{fmt.Sprintf("%+v %v", steps, fatal), fmt.Sprint(verr), fmt.Sprintf("%+v", src), src.URL()} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret is in %s", text)
		}
	}
	if verr == nil || strings.Contains(src.URL(), "cn=a") {
		t.Errorf("%v, %s", verr, src.URL())
	}
}
