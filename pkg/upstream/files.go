package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Bounds on the files that a source names: of a password file one line is
// wanted, and a system's whole list of authorities has a quarter of a megabyte.
const (
	maxPasswordFile = 64 << 10
	maxCAFile       = 1 << 20
	maxCertFile     = 1 << 20 // of a certificate with its chain, and of a key
)

// readFile reads a regular file of at most limit bytes. Anything else is
// refused: a pipe or a device could keep a link waiting for ever.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait too
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return text, nil
}

// readPassword gives the first line of a file. An empty one is refused: a
// bind with a name and no password is anonymous (RFC 4513 section 5.1.2).
func readPassword(name string) (string, error) {
	text, err := readFile(name, maxPasswordFile)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("%s: the first line is empty", name)
	}
	return line, nil
}

func readRoots(name string) (*x509.CertPool, error) {
	text, err := readFile(name, maxCAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", name)
	}
	return roots, nil
}

// readPair reads what is shown to servers that ask who we are; errors begin
// with the field.
func readPair(certificate, key string) (tls.Certificate, error) {
	chain, err := readFile(certificate, maxCertFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	secret, err := readFile(key, maxCertFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, secret)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate and key: %s and %s: %s", certificate, key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, nil
}
