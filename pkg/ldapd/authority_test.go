package ldapd

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	make func() crypto.Signer // a key of the same kind
	pool *x509.CertPool
	file string // its own certificate
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	return authorityWith(tb, func() crypto.Signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		return key
	})
}

// newRSAAuthority has RSA keys.
func newRSAAuthority(tb testing.TB) *authority {
	tb.Helper()
	return authorityWith(tb, func() crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			tb.Fatal(err)
		}
		return key
	})
}

func authorityWith(tb testing.TB, key func() crypto.Signer) *authority {
	tb.Helper()
	a := &authority{TB: tb, key: key(), make: key, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	a.file = writePEM(tb, filepath.Join(tb.TempDir(), "ca.pem"), "CERTIFICATE", der)
	return a
}

func writePEM(tb testing.TB, path, kind string, der []byte) string {
	tb.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// issue makes a certificate with that subject (DER, or nil for a common name
// alone) that ends then; it is good for 127.0.0.1 and for clients.
func (a *authority) issue(name string, subject []byte, end time.Time) tls.Certificate {
	a.Helper()
	key := a.make()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, RawSubject: subject,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		a.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// valid is issue for a certificate that holds for an hour.
func (a *authority) valid(name string) tls.Certificate {
	return a.issue(name, nil, time.Now().Add(time.Hour))
}

// write puts a pair into the files of a directory.
func (a *authority) write(dir string, pair tls.Certificate) (f TLSFiles) {
	a.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.Fatal(err)
	}
	f.Certificate = writePEM(a, filepath.Join(dir, "cert.pem"), "CERTIFICATE", pair.Certificate[0])
	f.Key = writePEM(a, filepath.Join(dir, "key.pem"), "PRIVATE KEY", der)
	return f
}

// server gives files for a server that verifies the authority's clients.
func (a *authority) server() TLSFiles {
	a.Helper()
	f := a.write(a.TempDir(), a.valid("server"))
	f.ClientCA = a.file
	return f
}

// client is a client's configuration; with a certificate, if given.
func (a *authority) client(pairs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", Certificates: pairs}
}
