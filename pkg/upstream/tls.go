package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"shaft/pkg/ber"
)

// tlsConfig verifies the server against the URL's host (RFC 4513 section
// 3.1.3) and the source's CA file, or the system's roots. Where the server asks
// for a certificate, asked is called and the source's is shown, whatever
// authorities the server says it trusts: it is the one that the operator named.
func tlsConfig(src Source, host string, asked func()) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if src.CAFile != "" {
		roots, err := readRoots(src.CAFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		config.RootCAs = roots
	}
	var own tls.Certificate
	if src.CertFile != "" {
		var err error
		if own, err = readPair(src.CertFile, src.KeyFile); err != nil {
			return nil, err
		}
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked()
		return &own, nil
	}
	return config, nil
}

// maxStartTLSAnswer bounds the one message that is read before TLS.
const maxStartTLSAnswer = 64 << 10

// startTLS asks for TLS (RFC 4511 section 4.14). The caller set a deadline.
// go-ldap's StartTLS cannot be used: it keeps the TLS connection to itself, and
// so the stream that the wire has to cut.
func startTLS(conn net.Conn) error {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, 1)
	msg, op := ber.Begin(msg, ber.Tag(0x77)) // ExtendedRequest, [APPLICATION 23]
	msg = ber.AppendString(msg, ber.ContextPrimitive(0), oidStartTLS)
	msg = ber.End(ber.End(msg, op), mark)
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	frame, err := readFrame(conn)
	if err != nil {
		return err
	}
	id, answer, err := envelope(frame)
	if err != nil {
		return fmt.Errorf("malformed answer: %w", err)
	}
	if id == 0 {
		if err := unsolicited(answer); err != nil {
			return err
		}
	}
	body, err := answer.Enter(tagExtendedResponse)
	if err != nil || id != 1 {
		return errors.New("the answer is not one to StartTLS")
	}
	code, text, err := result(&body)
	if err != nil {
		return fmt.Errorf("malformed answer: %w", err)
	}
	if code != 0 {
		return fmt.Errorf("refused by the server: %w", resultError(code, text, nil))
	}
	return nil
}

// readFrame reads exactly one message. More octets behind it would be an
// attempt to have plain text taken for what came over TLS.
func readFrame(conn net.Conn) ([]byte, error) {
	buf := make([]byte, 4096)
	for end := 0; ; {
		n, err := conn.Read(buf[end:])
		end += n
		size, ferr := ber.FrameLen(buf[:end], maxStartTLSAnswer)
		switch {
		case ferr != nil:
			return nil, fmt.Errorf("malformed answer: %w", ferr)
		case size > 0 && end > size:
			return nil, errors.New("the server sent more than an answer before TLS")
		case size > 0 && end == size:
			return buf[:size], nil
		case err != nil:
			return nil, err
		case end == len(buf):
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}
