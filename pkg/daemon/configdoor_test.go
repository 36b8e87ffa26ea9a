package daemon

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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair writes cert.pem and key.pem, signed by themselves, into a directory.
func pair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// R10: listeners, certificates and limits as the file has them.
func TestConfigOfTheDoor(t *testing.T) {
	path := write(t, `listen: [ "ldaps://127.0.0.1", "pldaps://127.0.0.1:1636", "pldap://:1389" ]
tls: { certificate: cert.pem, key: key.pem, client_ca: cert.pem }
limits: { connections: 200, per_address: 20, idle: 90s, request: 2m }
`)
	dir := filepath.Dir(path)
	pair(t, dir, "ours")
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.Listen, []string{"ldaps://127.0.0.1", "pldaps://127.0.0.1:1636", "pldap://:1389"}) ||
		cfg.TLS.Certificate != filepath.Join(dir, "cert.pem") || cfg.TLS.Key != filepath.Join(dir, "key.pem") || cfg.TLS.ClientCA != cfg.TLS.Certificate ||
		cfg.Limits != (Limits{200, 20, 90 * time.Second, 2 * time.Minute}) {
		t.Errorf("read %+v", cfg)
	}
}

// R56: what is wrong with them is told with its place.
func TestConfigMistakesOfTheDoor(t *testing.T) {
	for text, want := range map[string]string{
		"tls: { certificate: cert.pem }":                                     ":1:6: TLS needs both",
		"tls: { certificate: cert.pem, key: gone.pem }":                      ":1:6: TLS key: open ",
		"tls: { certificate: cert.pem, key: cert.pem }":                      ":1:6: TLS certificate ",
		"tls: { certificate: cert.pem, key: key.pem, client_ca: base.ldif }": ":1:6: TLS client CA: no certificate in ",
		"tls: { certificate: '', key: key.pem }":                             ":1:21: the path is empty",
		"tls: { certificate: cert.pem, key: key.pem, ca: cert.pem }":         `:1:45: tls has no key "ca"`,
		"tls: cert.pem":                              ":1:6: tls is to be a mapping",
		"listen: [ 'pldaps://127.0.0.1' ]":           ":1:11: \"pldaps://127.0.0.1\" needs a certificate",
		"limits: { connections: 0 }":                 ":1:24: a number from 1 to",
		"limits: { idle: 5 }":                        ":1:17: a time span from 1s to 24h",
		"limits: { idle: 10ms }":                     ":1:17: a time span from 1s",
		"limits: { request: [ 1s ] }":                ":1:20: a time span from 1s",
		"limits: { colour: red }":                    `:1:11: limits has no key "colour"`,
		"tls: {}\nlisten: [ 'ldaps://127.0.0.1:0' ]": ":2:11: \"ldaps://127.0.0.1:0\" needs",
	} {
		path := write(t, text)
		pair(t, filepath.Dir(path), "ours")
		if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// R10, R55: a reload takes a new certificate, keeps the old one when the new
// pair does not fit, and does not leave listeners without any.
func TestReloadOfCertificates(t *testing.T) {
	text := strings.Replace(plainConfig, "'ldap:", "'ldaps:", 1) + "tls: { certificate: cert.pem, key: key.pem }\n"
	dir := t.TempDir()
	path := filepath.Join(dir, "shaft.yaml")
	rewrite(t, path, text)
	pair(t, dir, "first")
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	log := new(lockedBuffer)
	d, err := Start(cfg, Options{Log: NewLogger(log, cfg)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	served := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(d.Addresses()[0], "ldaps://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, step := range []struct {
		text, pair, serves, says string
	}{
		{text, "second", "second", "configuration reloaded"},
		{strings.Replace(text, "key.pem", "base.ldif", 1), "", "second", "configuration not reloaded"},
		{strings.Replace(plainConfig, "'ldap:", "'ldap:", 1), "", "second", "listeners that stand open need a certificate"},
		{text, "third", "third", "configuration reloaded"},
	} {
		before := len(log.String())
		rewrite(t, path, step.text)
		if step.pair != "" {
			pair(t, dir, step.pair)
		}
		d.Reload(path)
		if said := log.String()[before:]; !strings.Contains(said, step.says) {
			t.Errorf("no %q in\n%s", step.says, said)
		}
		if got := served(); got != step.serves {
			t.Errorf("%q is served, not %q", got, step.serves)
		}
	}
}
