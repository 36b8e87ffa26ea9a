package ldapd

import (
	"bytes"
	"fmt"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

const (
	// verifyAtOnce bounds the memory and CPU that password checks take at one
	// time, for the whole server.
	verifyAtOnce = 2
	// verifyWait is how long a bind waits for its turn; then it is told busy.
	verifyWait = 10 * time.Second
)

// identity is whom a bind has authenticated.
type identity struct {
	dn   string // as configured, or derived
	norm string
	// proxy: it may act for others (RFC 4370).
	proxy bool
	// operator: all of cn=Monitor is shown to it.
	operator bool
}

type account struct {
	identity
	hash passwordHash
}

// accounts are the identities of simple bind, by normal DN.
type accounts struct {
	byDN  map[string]*account
	dummy passwordHash // what an unknown DN's password is checked against
	turns chan struct{}
}

func newAccounts(s *schema.Schema, list []Account) (*accounts, error) {
	a := &accounts{
		byDN:  map[string]*account{},
		turns: make(chan struct{}, verifyAtOnce),
		dummy: passwordHash{memory: hashMemory, time: hashTime, threads: hashThreads},
	}
	for i, in := range list {
		dn, err := dit.ParseDN(s, in.DN)
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", in.DN, err)
		}
		if dn.IsEmpty() {
			return nil, fmt.Errorf("account %d: the DN is empty", i+1)
		}
		if a.byDN[dn.Norm()] != nil {
			return nil, fmt.Errorf("account %q: given twice", in.DN)
		}
		hash, err := parseHash(in.PasswordHash)
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", in.DN, err)
		}
		a.byDN[dn.Norm()] = &account{identity{dn.String(), dn.Norm(), in.Proxy, in.Operator}, hash}
		if i == 0 {
			a.dummy = hash
		}
	}
	a.dummy.salt, a.dummy.key = make([]byte, hashSalt), make([]byte, hashKey)
	return a, nil
}

// check verifies a password; an unknown DN takes as long as a known one. busy:
// too many others are being checked.
func (a *accounts) check(norm string, password []byte) (who *identity, busy bool) {
	timer := time.NewTimer(verifyWait)
	defer timer.Stop()
	select {
	case a.turns <- struct{}{}:
	case <-timer.C:
		return nil, true
	}
	defer func() { <-a.turns }()
	acc, hash := a.byDN[norm], a.dummy
	if acc != nil {
		hash = acc.hash
	}
	if !hash.verify(password) || acc == nil {
		return nil, false
	}
	return &acc.identity, false
}

// account is what the accounts of now say of whom a bind has authenticated: what a reload
// takes from it is taken at once.
func (c *conn) account() identity {
	if acc := c.srv.accounts.Load().byDN[c.who.norm]; acc != nil {
		return acc.identity
	}
	return identity{}
}

// bindRequest is read here and not by the library, which gives neither the
// version nor SASL's fields, and fails on methods that it does not know.
type bindRequest struct {
	version  int64
	name     []byte
	method   ber.Tag
	password []byte // of a simple bind; the content of SASL credentials
}

const (
	authSimple = ber.Tag(0x80)
	authSASL   = ber.Tag(0xa3)
)

func decodeBind(body []byte) (b bindRequest, err error) {
	r := ber.NewReader(body)
	if b.version, err = r.Int(ber.Integer); err != nil {
		return b, fmt.Errorf("bind version: %w", err)
	}
	if b.name, err = r.Read(ber.OctetString); err != nil {
		return b, fmt.Errorf("bind name: %w", err)
	}
	if b.method, b.password, err = r.Any(); err != nil {
		return b, fmt.Errorf("bind authentication: %w", err)
	}
	return b, nil
}

// notGood is all that a bind says that fails, the one result without a text, as slapd has it: whether it is the DN or the
// password stays open.
var notGood = result{code: ldapserver.LDAPResultInvalidCredentials}

// goingDown is told to who waits while the connection ends.
var goingDown = result{code: ldapserver.LDAPResultUnavailable, text: "the connection is being closed"}

// handleBind does a bind, from start to end, before the next message is read.
// What is still running is abandoned (RFC 4511 section 4.2.1); whatever the
// outcome, the identity of before is gone (RFC 4513 section 4).
func (c *conn) handleBind(req *request) error {
	c.abandonAll()
	c.running.Wait()
	c.who, c.grants = nil, nil
	c.pages.clear()
	res := c.bind(req.body)
	c.grants = nil
	c.showWho()
	return c.reply(req, res)
}

func (c *conn) bind(body []byte) result {
	b, err := decodeBind(body)
	if err != nil {
		return result{code: ldapserver.LDAPResultProtocolError, text: err.Error()}
	}
	defer clear(b.password) // in the connection's buffer, where it would stay for a while
	switch {
	case b.version != 3:
		return result{code: ldapserver.LDAPResultProtocolError, text: "only LDAP version 3 is spoken here"}
	case b.method == authSASL:
		return c.bindSASL(b.password)
	case b.method != authSimple:
		return result{code: ldapserver.LDAPResultAuthMethodNotSupported, text: "unknown authentication method"}
	}
	dns, err := c.parseDN(c.srv.opt.Backend.Version().Schema(), b.name)
	if err != nil {
		return result{code: ldapserver.LDAPResultInvalidDNSyntax, text: err.Error()}
	}
	switch {
	case dns.Len() == 0 && len(b.password) == 0:
		return result{}
	case dns.Len() == 0:
		return notGood
	case len(b.password) == 0:
		return result{code: ldapserver.LDAPResultUnwillingToPerform, text: "a DN without a password is not authenticated"}
	}
	// What was answered before is not held back by the time that this takes.
	if c.w.flush(true) != nil {
		return goingDown
	}
	return c.bindSimple(string(dns.NormFrom(0)), b.password)
}

// bindSimple checks a password, when it is its turn: that of an account or operator
// here, that of an entry where the entry comes from.
func (c *conn) bindSimple(norm string, password []byte) result {
	slow := &c.srv.slow
	wait, ok := slow.reserve(c.origin, norm, c.srv.opt.Now())
	if wait > 0 {
		c.log.Info("bind slowed", "dn", norm, "wait", wait, "refused", !ok)
	}
	if !ok {
		return result{code: ldapserver.LDAPResultBusy, text: "too many failed binds; try again later"}
	}
	if !c.await(wait) {
		return goingDown
	}
	accounts := c.srv.accounts.Load()
	if accounts.byDN[norm] == nil {
		if b, ok := c.forwarded(norm); ok {
			return c.forward(b, password)
		}
	}
	who, busy := accounts.check(norm, password)
	if busy {
		return result{code: ldapserver.LDAPResultBusy, text: "too many binds at once"}
	}
	if who == nil {
		slow.failed(c.origin, norm, c.srv.opt.Now())
		return notGood
	}
	slow.passed(c.origin, norm)
	c.who = who
	c.traceBound(mechSimple)
	return result{}
}

// mechExternal is the one SASL mechanism (RFC 4422 appendix A).
const mechExternal = "EXTERNAL"

// mechSimple is how slapd's log calls a simple bind.
const mechSimple = "SIMPLE"

// bindSASL takes the identity that TLS or the unix socket has established (RFC
// 4513 section 5.2.3).
func (c *conn) bindSASL(credentials []byte) result {
	r := ber.NewReader(credentials)
	mechanism, err := r.Read(ber.OctetString)
	if err != nil {
		return result{code: ldapserver.LDAPResultProtocolError, text: "SASL mechanism: " + err.Error()}
	}
	assertion, _, err := r.Optional(ber.OctetString)
	if err != nil {
		return result{code: ldapserver.LDAPResultProtocolError, text: "SASL credentials: " + err.Error()}
	}
	if string(mechanism) != mechExternal {
		return result{code: ldapserver.LDAPResultAuthMethodNotSupported, text: "EXTERNAL is the only SASL mechanism"}
	}
	text := c.external()
	if text == "" {
		return result{code: ldapserver.LDAPResultInappropriateAuthentication,
			text: "neither a client certificate nor a unix socket says who this is"}
	}
	s := c.srv.opt.Backend.Version().Schema()
	dn, err := dit.ParseDN(s, text)
	if err != nil {
		return result{code: ldapserver.LDAPResultOther, text: err.Error()}
	}
	if len(assertion) > 0 { // whoever asserts an identity may assert his own
		wanted, found := bytes.CutPrefix(assertion, []byte("dn:"))
		asserted, err := c.parseDN(s, wanted)
		if !found || err != nil || string(asserted.NormFrom(0)) != dn.Norm() {
			return result{code: ldapserver.LDAPResultInvalidCredentials, text: "another identity than one's own cannot be assumed"}
		}
	}
	c.who = &identity{dn: text, norm: dn.Norm()}
	c.traceBound(mechExternal)
	return result{}
}

// external is the DN that EXTERNAL gives: the verified certificate's subject,
// else the unix socket's user; "" for neither.
func (c *conn) external() string {
	switch {
	case c.subject != "":
		return c.subject
	case c.cred != nil:
		return peerDN(c.cred)
	}
	return ""
}
