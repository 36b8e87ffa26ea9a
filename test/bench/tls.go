package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	// tlsClients is how many connections are being made at the same time.
	tlsClients = 8
	// acceptLoop in the environment makes this program the bare accept loop of
	// crypto/tls, on that address, with the certificate in acceptDir.
	acceptLoop = "SHAFT_BENCH_ACCEPT"
	acceptDir  = "SHAFT_BENCH_ACCEPT_DIR"
)

// unbind is a whole request: what follows the handshake.
var unbind = []byte{0x30, 0x05, 0x02, 0x01, 0x01, 0x42, 0x00}

// tlsRow is how many connections with TLS are made in a second: TCP, handshake,
// unbind, and the end that the server makes of it.
func tlsRow(name, title string, resume bool) row {
	return row{
		name:  name,
		title: func(options) string { return title },
		sides: [2]string{"Shaft", "crypto/tls"},
		figures: []figure{{"connections/s", rate}, {"CPU µs a connection", cost}, {"CPU cores used", neutral},
			{"CPU cores used by the generator", neutral}},
		floors: map[string]float64{"connections/s": 0.65, "CPU µs a connection": 0.75},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) { return b.sampleTLS(ctx, s, resume) },
	}
}

func (b *bench) sampleTLS(ctx context.Context, s side, resume bool) ([]float64, error) {
	dir, err := b.tempDir("tls")
	if err != nil {
		return nil, err
	}
	pool, err := writePair(dir)
	if err != nil {
		return nil, err
	}
	p, address, profiles, err := b.tlsServer(s, dir)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	err = p.await("it takes TLS", patience, func() (bool, error) {
		err := tlsOnce(address, &tls.Config{RootCAs: pool}, nil)
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	m, err := tlsLoad(ctx, address, pool, resume, func(now func() counted) (m measured, err error) {
		if err := profiles.mark(p, "warm-up"); err != nil {
			return m, err
		}
		if m, err = measureWindow(ctx, p, b.window, now); err != nil {
			return m, err
		}
		if err := m.answered(); err != nil {
			return m, err
		}
		return m, profiles.mark(p, b.profileName())
	})
	n := float64(m.counted.requests)
	return []float64{n / m.wall, m.cpu / n * 1e6, m.cpu / m.wall, m.generator / m.wall}, err
}

// tlsServer starts a Shaft that serves ldaps, or the accept loop.
func (b *bench) tlsServer(s side, dir string) (p *process, address string, _ *profiles, err error) {
	if address, err = freeAddress(); err != nil {
		return nil, "", nil, err
	}
	if s == theirs {
		self, err := os.Executable()
		if err != nil {
			return nil, "", nil, err
		}
		p, err := startProcess(dir, []string{acceptLoop + "=" + address, acceptDir + "=" + dir}, self)
		return p, address, nil, err
	}
	more := fmt.Sprintf("tls: { certificate: %q, key: %q }\n", filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	c, err := b.startShaft(more, "ldaps://"+address)
	if err != nil {
		return nil, "", nil, err
	}
	return c.process, address, c.profiles, nil
}

// tlsLoad makes connections as long as window runs.
func tlsLoad(ctx context.Context, address string, pool *x509.CertPool, resume bool, window func(now func() counted) (measured, error)) (m measured, err error) {
	l := load{connections: make([][]query, tlsClients), warmUp: warmUp}
	err = l.drive(ctx, func(ctx context.Context, i int, n *counters) error {
		c := &tls.Config{RootCAs: pool}
		if resume {
			c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		return tlsConnect(ctx, address, c, n)
	}, func(now func() counted) error {
		m, err = window(now)
		return err
	})
	return m, err
}

// tlsConnect makes connections, one after the other, until ctx is done. All but
// the first of them have to be resumed where the client can.
func tlsConnect(ctx context.Context, address string, c *tls.Config, n *counters) error {
	for first := true; ctx.Err() == nil; first = false {
		var resumed atomic.Bool
		if err := tlsOnce(address, c, &resumed); err != nil {
			return err
		}
		if want := c.ClientSessionCache != nil && !first; resumed.Load() != want {
			return fmt.Errorf("a session was resumed: %v, want %v", resumed.Load(), want)
		}
		n.requests.Add(1)
	}
	return nil
}

// tlsOnce makes a connection and sees it ended by the server.
func tlsOnce(address string, c *tls.Config, resumed *atomic.Bool) error {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	c = c.Clone()
	c.ServerName = "127.0.0.1"
	t := tls.Client(nc, c)
	if err := t.Handshake(); err != nil {
		return err
	}
	if resumed != nil {
		resumed.Store(t.ConnectionState().DidResume)
	}
	if _, err := t.Write(unbind); err != nil {
		return err
	}
	if n, err := t.Read(make([]byte, 64)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the unbind: %d bytes, %w", n, err)
	}
	return nil
}

const certFile, keyFile = "cert.pem", "key.pem"

// writePair makes a certificate for 127.0.0.1 that signs itself, on P-256, and
// gives the pool with it.
func writePair(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	err = errors.Join(os.WriteFile(filepath.Join(dir, certFile), certPEM, 0o600), os.WriteFile(filepath.Join(dir, keyFile), keyPEM, 0o600))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool, nil
}

// acceptTLS is the least that a server with TLS can do: accept, shake hands, read,
// close. It runs until ctx is done.
func acceptTLS(ctx context.Context, address, dir string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			nc.Read(make([]byte, 4<<10)) //nolint:errcheck // the client sees what it lacks
		}()
	}
}
