package ldaptest

import (
	"errors"
	"fmt"
	"io"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// Extended operations.
const (
	oidStartTLS = "1.3.6.1.4.1.1466.20037"
	oidWhoAmI   = "1.3.6.1.4.1.4203.1.11.3"
	oidCancel   = "1.3.6.1.1.8"
)

// Result codes (RFC 4511 section 4.1.9, RFC 3909).
const (
	success             = 0
	operationsError     = 1
	protocolError       = 2
	sizeLimitExceeded   = 4
	authMethodNotSupp   = 7
	unavailableCritical = 12
	noSuchObject        = 32
	invalidCredentials  = 49
	insufficientAccess  = 50
	busy                = 51
	unwillingToPerform  = 53
	canceled            = 118
	noSuchOperation     = 119
	refreshRequired     = 4096
	invalidDNSyntax     = 34
)

// refused are the operations that change or compare, and the tags of their answers.
var refused = map[ber.Tag]ber.Tag{0x66: 0x67, 0x68: 0x69, 0x4a: 0x6b, 0x6c: 0x6d, 0x6e: 0x6f}

// dispatch answers a request or starts its search; an error ends the connection.
func (c *conn) dispatch(m request) error {
	switch m.op {
	case opBind:
		return c.bind(m)
	case opUnbind:
		return io.EOF
	case opAbandon:
		id := ber.NewReader(ber.AppendBytes(nil, ber.Integer, m.body))
		n, err := id.Int(ber.Integer)
		c.stop(n, false)
		return err
	case opExtended:
		return c.extended(m)
	case opSearch:
		return c.search(m)
	}
	answer, ok := refused[m.op]
	if !ok {
		return fmt.Errorf("operation %02x does not exist", byte(m.op))
	}
	return c.send(result(m.id, answer, unwillingToPerform, "", "this server is read only"))
}

func (c *conn) bind(m request) error {
	r := ber.NewReader(m.body)
	if _, err := r.Int(ber.Integer); err != nil {
		return err
	}
	name, err := r.Read(ber.OctetString)
	if err != nil {
		return err
	}
	c.bound = ""
	password, simple, err := r.Optional(ber.ContextPrimitive(0))
	if err != nil {
		return err
	}
	code, words := c.check(string(name), string(password), simple)
	if code == success {
		c.bound = string(name)
		c.server.count(func(st *Stats) { st.Binds++ })
	}
	return c.send(result(m.id, opBindResponse, code, "", words))
}

func (c *conn) check(name, password string, simple bool) (code int, words string) {
	s := c.server
	switch {
	case !simple:
		return authMethodNotSupp, "simple binds only"
	case name == "" && password == "":
		return success, ""
	case password == "":
		return unwillingToPerform, "unauthenticated bind (DN with no password) disallowed"
	}
	dn, err := dit.ParseDN(s.o.Schema, name)
	if err != nil {
		return invalidDNSyntax, "invalid DN"
	}
	for account, secret := range s.o.Accounts {
		if a, err := dit.ParseDN(s.o.Schema, account); err == nil && a.Equal(dn) && secret == password {
			return success, ""
		}
	}
	return invalidCredentials, ""
}

func (c *conn) extended(m request) error {
	r := ber.NewReader(m.body)
	oid, err := r.Read(ber.ContextPrimitive(0))
	if err != nil {
		return err
	}
	value, _, err := r.Optional(ber.ContextPrimitive(1))
	if err != nil {
		return err
	}
	switch string(oid) {
	case oidWhoAmI:
		who := ""
		if c.bound != "" {
			who = "dn:" + c.bound
		}
		return c.send(result(m.id, opExtResponse, success, "", "", ber.AppendString(nil, ber.ContextPrimitive(11), who)...))
	case oidStartTLS:
		if c.server.o.TLS == nil || c.out != c.raw {
			return c.send(result(m.id, opExtResponse, protocolError, "", "StartTLS is not offered"))
		}
		err := c.startTLS(result(m.id, opExtResponse, success, "", ""))
		if errors.Is(err, errStartTLS) {
			return c.send(result(m.id, opExtResponse, operationsError, "", err.Error()))
		}
		return err
	case oidCancel:
		return c.cancelOp(m.id, value)
	}
	return c.send(result(m.id, opExtResponse, protocolError, "", "unsupported extended operation"))
}

func (c *conn) cancelOp(id int64, value []byte) error {
	outer := ber.NewReader(value)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return err
	}
	target, err := r.Int(ber.Integer)
	if err != nil {
		return err
	}
	if !c.stop(target, true) {
		return c.send(result(id, opExtResponse, noSuchOperation, "", ""))
	}
	return c.send(result(id, opExtResponse, success, "", ""))
}
