package ldapd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// TLSFiles names PEM files. The zero value is no TLS.
type TLSFiles struct {
	Certificate string // the server's, with what leads to its authority behind it
	Key         string
	ClientCA    string // authorities of client certificates; "": none is asked for
}

// maxPEM bounds each file: a bundle of all public authorities has 0.2 MiB.
const maxPEM = 4 << 20

// lookEvery is how often at most the files are looked at for a change: no more
// than a few calls of the system each second, however many clients connect.
const lookEvery = time.Second

// LoadTLS reads the files into what a listener needs: TLS 1.2 or 1.3, and a
// client's certificate verified if it shows one: those of a connection are good.
func LoadTLS(f TLSFiles) (*tls.Config, error) {
	if f.Certificate == "" || f.Key == "" {
		return nil, errors.New("TLS needs both a certificate and a key")
	}
	cert, err := readPEM(f.Certificate)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	key, err := readPEM(f.Key)
	if err != nil {
		return nil, fmt.Errorf("TLS key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", f.Certificate, f.Key, err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if f.ClientCA == "" {
		return cfg, nil
	}
	ca, err := readPEM(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("TLS client CA: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("TLS client CA: no certificate in %s", f.ClientCA)
	}
	// No authorities are named to the client (tls.Config.ClientCAs): GnuTLS, and with it Debian's OpenLDAP, then keeps an RSA certificate to itself in
	// TLS 1.3.
	cfg.ClientAuth = tls.RequestClientCert
	cfg.VerifyConnection = func(s tls.ConnectionState) error { return verifyClient(s.PeerCertificates, authorities) }
	return cfg, nil
}

// verifyClient looks whether a certificate that a client showed, which it need not, is good and of one of these authorities.
func verifyClient(shown []*x509.Certificate, authorities *x509.CertPool) error {
	if len(shown) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("the client's certificate: %w", err)
	}
	return nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(text) > maxPEM {
		err = fmt.Errorf("%s is longer than %d MiB", path, maxPEM>>20)
	}
	return text, err
}

// keyring is the TLS configuration of now. A change of a file is found by the
// first handshake behind it, so that nothing runs while nobody connects.
type keyring struct {
	mu     sync.Mutex
	files  TLSFiles
	config *tls.Config // nil: no TLS
	seen   [3]stamp    // of the files, when they were last read
	looked time.Time
}

// stamp is what a file's change is told by.
type stamp struct {
	info os.FileInfo // nil: it cannot be looked at
}

func stamps(f TLSFiles) (s [3]stamp) {
	for i, path := range []string{f.Certificate, f.Key, f.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			s[i].info = info
		}
	}
	return s
}

func (a stamp) same(b stamp) bool {
	if a.info == nil || b.info == nil {
		return a.info == b.info
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime())
}

// set takes over files; after an error all is as before.
func (k *keyring) set(f TLSFiles) error {
	seen := stamps(f) // before they are read: a change in between is found later
	var cfg *tls.Config
	if f != (TLSFiles{}) {
		var err error
		if cfg, err = LoadTLS(f); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files, k.config, k.seen, k.looked = f, cfg, seen, time.Time{}
	return nil
}

// get gives the configuration, read again if a file has changed; nil without
// TLS. The error is of files that changed and cannot be used: it is told once,
// and what was good goes on.
func (k *keyring) get(clock func() time.Time) (cfg *tls.Config, reloaded bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config == nil {
		return nil, false, nil
	}
	now := clock()
	if now.Sub(k.looked) < lookEvery {
		return k.config, false, nil
	}
	k.looked = now
	seen := stamps(k.files)
	if seen[0].same(k.seen[0]) && seen[1].same(k.seen[1]) && seen[2].same(k.seen[2]) {
		return k.config, false, nil
	}
	k.seen = seen
	fresh, err := LoadTLS(k.files)
	if err != nil {
		return k.config, false, err
	}
	k.config = fresh
	return fresh, true, nil
}

// SetTLS replaces certificate, key and client authorities, also where the files
// are the same and their content is not; the zero value ends TLS for connections
// to come. After an error all is as before.
func (s *Server) SetTLS(f TLSFiles) error { return s.keys.set(f) }

// tlsConfig is for the next handshake; nil without TLS.
func (s *Server) tlsConfig() *tls.Config {
	cfg, reloaded, err := s.keys.get(s.opt.Now)
	if err != nil {
		s.opt.Log.Error("TLS certificate changed and cannot be used; the old one stays", "error", err)
	}
	if reloaded {
		s.opt.Log.Info("TLS certificate changed and was read again")
	}
	return cfg
}
