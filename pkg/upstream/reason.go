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

// connectError says why there is no socket.
func connectError(src Source, o Options, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return inWords(err, "resolve %s: no such host", src.Host)
	case errors.As(err, &dns) && dns.IsTimeout:
		return inWords(err, "resolve %s: the name servers do not answer", src.Host)
	case errors.As(err, &dns):
		return inWords(err, "resolve %s: %s", src.Host, dns.Err)
	case isTimeout(err):
		return inWords(err, "connect to %s: no answer within %v", src.server(), o.DialTimeout)
	}
	return inWords(err, "connect to %s: %s", src.server(), plainCause(err))
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
func tlsError(src Source, o Options, err error) error {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		alert     tls.AlertError
	)
	switch {
	case errors.As(err, &record):
		return inWords(err, "TLS: the server does not speak TLS on port %d", src.Port)
	case errors.As(err, &authority) && src.CAFile != "":
		return inWords(err, "TLS: the certificate is not signed by an authority in %s", src.CAFile)
	case errors.As(err, &authority):
		return inWords(err, "TLS: the certificate is not signed by an authority that the system knows: give a ca_file")
	case errors.As(err, &alert):
		return inWords(err, "TLS: refused by the server: %s", alert.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return inWords(err, "TLS: the server closed the connection during the handshake")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return inWords(err, "TLS: no answer within %v", o.DialTimeout)
	}
	return inWords(err, "TLS: %s", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "tls: "), "failed to verify certificate: "))
}

// lost says why an open connection broke. Errors that are in words already
// stay as they are.
func lost(err error) error {
	switch {
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
		return inWords(err, "search: the base DN %q is not there: %s", src.Base, text)
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		return inWords(err, "search: the server gives only a part of the content: %s", text)
	}
	return inWords(err, "search: %s", text)
}
