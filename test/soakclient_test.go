package test

import (
	"bufio"
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
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// Tags and OIDs that the hostile clients need.
var (
	opBind       = ber.Application(0)
	opBound      = ber.Application(1)
	opUnbind     = ber.Tag(0x42)
	opSearch     = ber.Application(3)
	opEntry      = ber.Application(4)
	opSearched   = ber.Application(5)
	opAbandon    = ber.Tag(0x50)
	opReference  = ber.Application(19)
	opExtended   = ber.Application(23)
	opExtendedRe = ber.Application(24)
	opMore       = ber.Application(25)
)

const (
	oidWhoAmI   = "1.3.6.1.4.1.4203.1.11.3"
	oidStartTLS = "1.3.6.1.4.1.1466.20037"
)

// rawClient speaks LDAP message by message, right or wrong.
type rawClient struct {
	nc net.Conn
	in *bufio.Reader
}

func rawDial(address string) (*rawClient, error) {
	nc, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return nil, err
	}
	return &rawClient{nc, bufio.NewReaderSize(nc, 16<<10)}, nil
}

func (c *rawClient) close() { c.nc.Close() }

// reset ends the connection as a crash of the client's machine does.
func (c *rawClient) reset() {
	c.nc.(*net.TCPConn).SetLinger(0)
	c.nc.Close()
}

func (c *rawClient) send(messages ...[]byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(limit))
	for _, m := range messages {
		if _, err := c.nc.Write(m); err != nil {
			return err
		}
	}
	return nil
}

// rawReply is as much of a message as is looked at.
type rawReply struct {
	id   int64
	op   ber.Tag
	code int64 // of an LDAPResult
	text string
	body ber.Reader // behind the LDAPResult; all of other messages
}

// next reads a message. What is no LDAPMessage, and what a server may not send, is an error.
func (c *rawClient) next() (r rawReply, err error) {
	c.nc.SetReadDeadline(time.Now().Add(limit))
	frame := make([]byte, 2, 512)
	if _, err := io.ReadFull(c.in, frame); err != nil {
		return r, err
	}
	for {
		n, err := ber.FrameLen(frame, 16<<20)
		if err != nil {
			return r, fmt.Errorf("the server's message %x…: %w", frame, err)
		}
		if n > 0 && n == len(frame) {
			return parseRaw(frame)
		}
		more := make([]byte, max(1, n-len(frame)))
		if _, err := io.ReadFull(c.in, more); err != nil {
			return r, fmt.Errorf("within a message: %w", err)
		}
		frame = append(frame, more...)
	}
}

func parseRaw(frame []byte) (r rawReply, err error) {
	outer := ber.NewReader(frame)
	m, err := outer.Enter(ber.Sequence)
	if err != nil {
		return r, err
	}
	if r.id, err = m.Int(ber.Integer); err != nil {
		return r, err
	}
	r.op = m.Peek()
	if r.body, err = m.Enter(r.op); err != nil {
		return r, err
	}
	switch r.op {
	case opEntry, opReference, opMore:
		return r, nil
	case opBound, opSearched, opExtendedRe, ber.Application(7), ber.Application(9), ber.Application(11), ber.Application(13), ber.Application(15):
	default:
		return r, fmt.Errorf("a server does not send %x", frame)
	}
	if r.code, err = r.body.Int(ber.Enumerated); err != nil {
		return r, err
	}
	if _, err := r.body.Read(ber.OctetString); err != nil {
		return r, err
	}
	text, err := r.body.Read(ber.OctetString)
	r.text = string(text)
	if r.code == 80 {
		err = fmt.Errorf("the result is other (80): %s", text)
	}
	return r, err
}

// last skips entries and gives the result of a request.
func (c *rawClient) last(id int64) (r rawReply, entries int, err error) {
	for {
		if r, err = c.next(); err != nil {
			return r, entries, err
		}
		switch {
		case r.id == 0:
			return r, entries, fmt.Errorf("notice of disconnection %d: %s", r.code, r.text)
		case r.id != id:
			return r, entries, fmt.Errorf("a reply to %d while waiting for %d", r.id, id)
		case r.op == opEntry:
			entries++
		case r.op != opReference && r.op != opMore:
			return r, entries, nil
		}
	}
}

// whoAmI tells what the server says; it shows that the connection lives.
func (c *rawClient) whoAmI(id int64) (string, error) {
	if err := c.send(extendedMessage(id, oidWhoAmI)); err != nil {
		return "", err
	}
	r, _, err := c.last(id)
	if err != nil {
		return "", err
	}
	if r.op != opExtendedRe || r.code != 0 {
		return "", fmt.Errorf("who am I: %d %s", r.code, r.text)
	}
	who, _, err := r.body.Optional(ber.ContextPrimitive(11))
	return string(who), err
}

// ended wants the end of the connection, and no more messages before it.
func (c *rawClient) ended() error {
	r, err := c.next()
	if err == nil {
		return fmt.Errorf("instead of the end: %d to %d, %s", r.code, r.id, r.text)
	}
	return notLate(err)
}

// notLate passes ends of connections of any kind, and keeps a wait that took too long.
func notLate(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing comes within %v, not even the end", limit)
	}
	return nil
}

// upgrade does StartTLS.
func (c *rawClient) upgrade(cfg *tls.Config) error {
	if err := c.send(extendedMessage(1, oidStartTLS)); err != nil {
		return err
	}
	r, _, err := c.last(1)
	if err != nil || r.code != 0 {
		return fmt.Errorf("StartTLS: %d %s, %w", r.code, r.text, err)
	}
	c.nc.SetDeadline(time.Now().Add(limit))
	t := tls.Client(c.nc, cfg)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.nc, c.in = t, bufio.NewReader(t)
	return nil
}

func rawMessage(id int64, op ber.Tag, body []byte, controls ...[]byte) []byte {
	m := ber.AppendInt(nil, ber.Integer, id)
	m = ber.AppendBytes(m, op, body)
	if len(controls) > 0 {
		var all []byte
		for _, c := range controls {
			all = append(all, c...)
		}
		m = ber.AppendBytes(m, ber.Context(0), all)
	}
	return ber.AppendBytes(nil, ber.Sequence, m)
}

func extendedMessage(id int64, oid string) []byte {
	return rawMessage(id, opExtended, ber.AppendString(nil, ber.ContextPrimitive(0), oid))
}

func controlOf(oid string, critical bool, value []byte) []byte {
	c := ber.AppendString(nil, ber.OctetString, oid)
	if critical {
		c = ber.AppendBool(c, ber.Boolean, true)
	}
	return ber.AppendBytes(nil, ber.Sequence, ber.AppendBytes(c, ber.OctetString, value))
}

// searchMessage asks for all user attributes; the filter is encoded.
func searchMessage(id int64, base string, scope int64, filter []byte, controls ...[]byte) []byte {
	b := ber.AppendString(nil, ber.OctetString, base)
	b = ber.AppendInt(b, ber.Enumerated, scope)
	b = ber.AppendInt(b, ber.Enumerated, 0)
	b = ber.AppendInt(b, ber.Integer, 0)
	b = ber.AppendInt(b, ber.Integer, 0)
	b = ber.AppendBool(b, ber.Boolean, false)
	b = append(b, filter...)
	return rawMessage(id, opSearch, ber.AppendBytes(b, ber.Sequence, nil), controls...)
}

var anything = dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}.Append(nil)

func bindMessage(id int64, dn string, choice ber.Tag, credentials []byte) []byte {
	b := ber.AppendInt(nil, ber.Integer, 3)
	b = ber.AppendString(b, ber.OctetString, dn)
	return rawMessage(id, opBind, ber.AppendBytes(b, choice, credentials))
}

// issuer is an authority that signs what it is asked to.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	template := i.template("Soak CA", time.Now().Add(24*time.Hour))
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	pair := i.sign(t, template)
	i.cert, i.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return i
}

func (i *issuer) template(name string, end time.Time) *x509.Certificate {
	i.n++
	return &x509.Certificate{SerialNumber: big.NewInt(i.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

// sign gives a pair; the first one signs itself.
func (i *issuer) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := i.cert, i.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// pair signs a certificate for a name until an end.
func (i *issuer) pair(t *testing.T, name string, end time.Time) *tls.Certificate {
	t.Helper()
	p := i.sign(t, i.template(name, end))
	return &p
}

// files writes a server's pair and the authority's certificate.
func (i *issuer) files(t *testing.T, dir string) (ca, cert, key string) {
	t.Helper()
	p := i.pair(t, "soaked", time.Now().Add(24*time.Hour))
	der, err := x509.MarshalPKCS8PrivateKey(p.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("soak-ca.pem", "CERTIFICATE", i.cert.Raw), write("soak-cert.pem", "CERTIFICATE", p.Certificate[0]), write("soak-key.pem", "PRIVATE KEY", der)
}
