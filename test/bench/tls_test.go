package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// bareLoop is the accept loop, until the test ends.
func bareLoop(t *testing.T) (address string, pool *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	pool, err := writePair(dir)
	if err != nil {
		t.Fatal(err)
	}
	if address, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- acceptTLS(ctx, address, dir) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p := &process{exited: make(chan struct{})}
	err = p.await("the loop listens", patience, func() (bool, error) {
		err := tlsOnce(address, &tls.Config{RootCAs: pool}, nil)
		return err == nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return address, pool
}

// Connections are made, resumed where that is wanted and only there, and counted.
func TestTLSLoad(t *testing.T) {
	address, pool := bareLoop(t)
	for _, resume := range []bool{false, true} {
		m, err := tlsLoad(t.Context(), address, pool, resume, func(now func() counted) (measured, error) {
			return measured{counted: now()}, nil
		})
		if err != nil || m.counted.requests < tlsClients {
			t.Errorf("resume %v: %+v, %v", resume, m, err)
		}
	}
}

// Who does not resume is found out, and so is a server that is not the one.
func TestTLSOnce(t *testing.T) {
	address, pool := bareLoop(t)
	var resumed atomic.Bool
	c := &tls.Config{RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, want := range []bool{false, true} {
		if err := tlsOnce(address, c, &resumed); err != nil || resumed.Load() != want {
			t.Errorf("connection %d: resumed %v, %v", i, resumed.Load(), err)
		}
	}
	n := counters{}
	if err := tlsConnect(t.Context(), address, c, &n); err == nil || !strings.Contains(err.Error(), "resumed: true, want false") {
		t.Errorf("a session that is resumed too early: %v", err)
	}
	if err := tlsOnce(address, &tls.Config{RootCAs: x509.NewCertPool()}, nil); err == nil {
		t.Error("a strange certificate is taken")
	}
	if err := tlsOnce(silent(t), &tls.Config{RootCAs: pool}, nil); err == nil {
		t.Error("a server without TLS is taken")
	}
}

// silent takes one connection and ends it.
func silent(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		if nc, err := l.Accept(); err == nil {
			nc.Close()
		}
	}()
	return l.Addr().String()
}
