package ldapd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
)

// oidStartTLS is the name of request and response (RFC 4511 section 4.14).
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

var errHandshake = errors.New("TLS handshake")

// open is what comes before the first message: the balancer's header, the count
// of connections from one address, and TLS, as the listener has it. All of it
// has to be done within OpenTimeout.
func (c *conn) open() (err error) {
	c.arm(c.srv.opt.OpenTimeout)
	c.mute = c.via.tls
	if c.via.proxy {
		client, ok, err := readProxy(c.raw)
		if err != nil {
			c.log.Warn("connection without a good PROXY header", "error", err)
			return err
		}
		if ok {
			c.peer = client
			c.log = c.log.With("client", client.String())
		}
	}
	if c.cred, err = peerCred(c.raw); err != nil {
		return fmt.Errorf("peer of the socket: %w", err)
	}
	from := originOf(c.peer.Addr(), c.cred)
	if !c.srv.admit(c, from) {
		c.log.Warn("connection refused: too many from one address", "from", from.String(), "limit", c.srv.opt.MaxPerAddress)
		return &disconnect{ldapserver.LDAPResultBusy, "too many connections from your address"}
	}
	c.traceAccept()
	if c.via.tls {
		cfg := c.srv.tlsConfig()
		if cfg == nil {
			return errors.New("no certificate is configured")
		}
		if err := c.handshake(cfg); err != nil {
			return err
		}
	}
	c.disarm()
	c.in = make([]byte, firstBuffer)
	return nil
}

// arm bounds all reading and writing until disarm.
func (c *conn) arm(wait time.Duration) {
	c.raw.SetDeadline(time.Now().Add(wait))
	if c.shutting.Load() {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// disarm ends that. A shutdown meanwhile is not lost: the next read looks for it.
func (c *conn) disarm() {
	c.raw.SetDeadline(time.Time{})
	c.deadline = false
}

// handshake puts TLS around the socket; nothing else uses the connection then.
func (c *conn) handshake(cfg *tls.Config) error {
	c.mute = true
	t := tls.Server(c.raw, cfg)
	if err := t.Handshake(); err != nil {
		c.log.Info("TLS handshake failed", "error", err)
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	c.nc, c.tls, c.mute, c.grants = t, t, false, nil
	c.w.swap(t)
	c.traceTLS()
	if shown := t.ConnectionState().PeerCertificates; len(shown) > 0 { // and verified
		subject, err := subjectDN(c.srv.opt.Backend.Version().Schema(), shown[0].RawSubject)
		if err != nil {
			c.log.Warn("client certificate that names nobody", "error", err)
		}
		c.subject = subject
	}
	return nil
}

func handleStartTLS(w ldapserver.ResponseWriter, m *ldapserver.Message) {
	r := w.(*responder)
	req := m.GetExtendedRequest()
	r.err = r.c.startTLS(r.req, req.RequestValue() != nil)
}

// startTLS answers the request and, when it is granted, does the handshake. It
// is granted to a session in the clear that has nothing outstanding. What came
// in the same breath was sent in the clear by whoever could: it must not count
// as said under TLS, and a client that waits as it must sends nothing.
func (c *conn) startTLS(req *request, value bool) error {
	cfg := c.srv.tlsConfig()
	refusal := result{code: ldapserver.LDAPResultOperationsError}
	switch {
	case cfg == nil:
		refusal = result{code: ldapserver.LDAPResultProtocolError, text: "TLS is not configured"}
	case value:
		refusal = result{code: ldapserver.LDAPResultProtocolError, text: "StartTLS takes no value"}
	case c.tls != nil:
		refusal.text = "TLS is already in place"
	case c.busy():
		refusal.text = "other operations are outstanding"
	case c.r < c.n:
		refusal.text = "more was sent behind the request"
	default:
		refusal.code = ldapserver.LDAPResultSuccess
	}
	name := ber.AppendString(nil, ber.ContextPrimitive(10), oidStartTLS)
	c.out = appendReply(c.out[:0], req.id, tagExtendedRe, refusal, name, nil)
	if err := c.send(); err != nil || refusal.code != ldapserver.LDAPResultSuccess {
		return err
	}
	if err := c.w.flush(true); err != nil {
		return err
	}
	c.flushed = true
	c.running.Wait() // an operation that has answered may not be quite over
	c.arm(c.srv.opt.OpenTimeout)
	if err := c.handshake(cfg); err != nil {
		return err
	}
	c.disarm()
	return nil
}
