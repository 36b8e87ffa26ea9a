package ldapd

import (
	"crypto/tls"
	"strings"
)

// This file tells who is at the other end, in the words of slapd's stats log.

// traceOp adds a line to those of the request that the reader is at.
func (c *conn) traceOp(format string, args ...any) {
	if c.trace.on() {
		c.trace.line("op=%d "+format, append([]any{c.trace.next - 1}, args...)...)
	}
}

// showWho lets onlookers see whom the connection is bound as.
func (c *conn) showWho() {
	if c.who == nil {
		c.boundAs.Store(nil)
		return
	}
	c.boundAs.Store(&c.who.dn)
}

// traceBound tells of a bind that succeeded, by whatever mechanism.
func (c *conn) traceBound(mechanism string) {
	if mechanism == mechExternal {
		who := quoted([]byte(c.who.dn))
		c.traceOp("BIND authcid=%s authzid=%s", who, who)
	}
	c.traceOp("BIND dn=%s mech=%s bind_ssf=0 ssf=%d", quoted([]byte(c.who.dn)), mechanism, c.strength())
}

// localStrength is what slapd takes a unix socket for (slapd.conf(5), localSSF).
const localStrength = 71

// strength is the connection's security strength factor: the bits of its cipher's key.
func (c *conn) strength() int {
	switch {
	case c.tls != nil:
		return cipherBits(c.tls.ConnectionState().CipherSuite)
	case c.cred != nil:
		return localStrength
	}
	return 0
}

func cipherBits(suite uint16) int {
	name := tls.CipherSuiteName(suite)
	if strings.Contains(name, "256_") || strings.Contains(name, "CHACHA20") {
		return 256
	}
	return 128 // all others that crypto/tls speaks
}

// traceTLS tells how the connection is encrypted.
func (c *conn) traceTLS() {
	if !c.trace.seen || !c.trace.on() {
		return
	}
	state := c.tls.ConnectionState()
	bits := cipherBits(state.CipherSuite)
	c.trace.line("fd=%d TLS established tls_ssf=%d ssf=%d tls_proto=%s tls_cipher=%s", c.trace.fd, bits, bits,
		strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), tls.CipherSuiteName(state.CipherSuite))
}
