package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/syncrepl"
)

// worded is an error with a text for operators; what it came from stays inside.
type worded struct {
	text string
	err  error
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.err }

func inWords(err error, format string, args ...any) error {
	return &worded{fmt.Sprintf(format, args...), err}
}

// tries are the reasons of a source's places, in the order of the tries.
type tries []error

// fail names the place in its error, where it does not already, and adds why SRV
// records were of no help.
func (p *place) fail(err error) error {
	if p.srv != nil {
		err = inWords(err, "%s (SRV records of %s: %s)", err, p.server.Host, dnsCause(p.srv))
	}
	if strings.Contains(err.Error(), p.address) {
		return err
	}
	return &placed{p.address, err}
}

// placed is an error with the place where it happened.
type placed struct {
	address string
	err     error
}

func (e *placed) Error() string { return e.address + ": " + e.err.Error() }
func (e *placed) Unwrap() error { return e.err }

// minReason is what is left at least, in characters, for the reason of one of
// several places.
const minReason = 60

// err is the reason of one place as it is, or that of several in short.
func (t tries) err() error {
	if len(t) == 1 {
		if one, ok := t[0].(*placed); ok {
			return one.err
		}
		return t[0]
	}
	room := max(minReason, maxReason/len(t)-2)
	return inWords(errors.Join(t...), "none of %d servers is to be had: %s", len(t), t.text(room))
}

// text is all of them, each with at most room characters.
func (t tries) text(room int) string {
	var texts []string
	for _, err := range t {
		texts = append(texts, printable(err.Error(), room))
	}
	return strings.Join(texts, "; ")
}

// connectError says why there is no socket.
func (p *place) connectError(o Options, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return inWords(err, "resolve %s: %s", p.host(), dnsCause(err))
	case isTimeout(err):
		return inWords(err, "connect to %s: no answer within %v", p.address, o.DialTimeout)
	}
	return inWords(err, "connect to %s: %s", p.address, plainCause(err))
}

// dnsCause says why a name gave nothing.
func dnsCause(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case isTimeout(err):
		return "the name servers do not answer"
	case errors.As(err, &dns):
		return dns.Err
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// plainCause leaves out the addresses and operations that package net puts
// before what went wrong.
func plainCause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// tlsError says why there is no encryption.
func (p *place) tlsError(src Source, o Options, err error) error {
	return p.hint(src, true, p.tlsReason(src, o, err))
}

// hint adds to why a connection was lost that the server had asked for a
// certificate: servers of TLS 1.2 say so by other names, those of TLS 1.3 when
// we take the handshake for done, or hang up.
func (p *place) hint(src Source, lost bool, err error) error {
	const words = "give certificate and key"
	if !lost || !p.asked || src.CertFile != "" || strings.Contains(err.Error(), words) {
		return err
	}
	return inWords(err, "%s; the server asked for a certificate of ours: %s", err, words)
}

func (p *place) tlsReason(src Source, o Options, err error) error {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		host      x509.HostnameError
	)
	alert := alertText(err)
	switch {
	case errors.As(err, &record):
		return inWords(err, "TLS: the server does not speak TLS on port %s", p.address[strings.LastIndexByte(p.address, ':')+1:])
	case errors.As(err, &authority) && src.CAFile != "":
		return inWords(err, "TLS: the certificate is not signed by an authority in %s", src.CAFile)
	case errors.As(err, &authority):
		return inWords(err, "TLS: the certificate is not signed by an authority that the system knows: give a ca_file")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return inWords(err, "TLS: %s", validity(invalid.Cert))
	case errors.As(err, &host):
		return inWords(err, "TLS: the certificate is not for %s: %s", p.server.Host, strings.TrimPrefix(host.Error(), "x509: "))
	case alert == alertVersion, strings.Contains(err.Error(), "server selected unsupported protocol version"):
		return inWords(err, "TLS: the server does not speak TLS 1.2, nor what is newer")
	case alert != "":
		return inWords(err, "TLS: refused by the server: %s", alert)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return inWords(err, "TLS: the server closed the connection during the handshake; does it speak TLS on this port?")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return inWords(err, "TLS: no answer within %v", o.DialTimeout)
	}
	return inWords(err, "TLS: %s", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "tls: "), "failed to verify certificate: "))
}

// validity says how a certificate's time stands, of which we know that it is
// not now.
func validity(cert *x509.Certificate) string {
	if time.Now().Before(cert.NotBefore) {
		return fmt.Sprintf("the certificate of %s is not valid before %s", cert.Subject, cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the certificate of %s has expired at %s", cert.Subject, cert.NotAfter.UTC().Format(time.RFC3339))
}

// Alerts of package tls that are put in other words.
const (
	alertVersion     = "protocol version not supported"
	alertCertificate = "certificate required"
)

// alertText is what the server said in a TLS alert (RFC 8446 section 6), "" when
// it sent none.
func alertText(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}

// lost says why an open connection broke. Errors that are in words already
// stay as they are. A server of TLS 1.3 says only now that it wants a certificate.
func lost(err error) error {
	alert := alertText(err)
	switch {
	case alert == alertCertificate:
		return inWords(err, "TLS: the server wants a certificate of ours: give certificate and key")
	case alert != "":
		return inWords(err, "connection lost: TLS alert from the server: %s", alert)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return inWords(err, "connection lost: closed by the server")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return inWords(err, "connection lost: reset by the server")
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded):
		return inWords(err, "connection lost: the server does not answer any more")
	}
	return err
}

// waited is lost for a request that had d for its answer.
func waited(err error, d time.Duration) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return inWords(err, "no answer within %v", d)
	}
	return lost(err)
}

// Bounds, in characters, on how much of a server's own text is repeated, and on
// a reason as a whole: what a server sent may be part of it anywhere, and it goes
// to logs, to the journal and to terminals.
const (
	maxDiagnostic = 200
	maxReason     = 512
)

// printable cuts a text to a number of characters, the last of them "…" then,
// and puts spaces for what would upset a terminal and U+FFFD for what is no UTF-8.
func printable(text string, limit int) string {
	var b strings.Builder
	for n := 1; text != ""; n++ {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case n == limit && size < len(text):
			return b.String() + "…"
		case !unicode.IsPrint(r):
			r = ' '
		}
		b.WriteRune(r)
		text = text[size:]
	}
	return b.String()
}

// resultText puts an LDAP result (RFC 4511 appendix A) in words, with the
// server's text in short.
func resultText(code int, diagnostic string) string {
	name := "unknown result"
	if code >= 0 && code < 1<<16 {
		if known, ok := ldap.LDAPResultCodeMap[uint16(code)]; ok {
			name = strings.ToLower(known)
		}
	}
	text := fmt.Sprintf("%s (%d)", name, code)
	if diagnostic = strings.TrimSpace(printable(diagnostic, maxDiagnostic)); diagnostic != "" {
		text += ": " + diagnostic
	}
	return text
}

func resultError(code int, diagnostic string, err error) error {
	return inWords(err, "%s", resultText(code, diagnostic))
}

// searchError puts the end of a search in words.
func searchError(src Source, err error) error {
	var end *syncrepl.ResultError
	if errors.Is(err, syncrepl.ErrNotSync) || !errors.As(err, &end) {
		return err
	}
	text := resultText(end.Code, end.Diagnostic)
	if errors.Is(err, syncrepl.ErrReload) {
		return inWords(err, "search: the server wants a full reload: %s", text)
	}
	switch end.Code {
	case ldap.LDAPResultNoSuchObject:
		return inWords(errors.Join(errNoBase, err), "search: the base DN %q is not there: %s", src.Base, text)
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		return inWords(err, "search: the server gives only a part of the content: %s", text)
	}
	return inWords(err, "search: %s", text)
}
