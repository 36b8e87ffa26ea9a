package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// conn is a connection to a server that is ready for requests.
type conn struct {
	wire *wire
	ldap *ldap.Conn
	goes sync.WaitGroup // the keeper
	stop func() bool    // ends the watch over the context

	// server is which of the source's servers this is: "host:port", or the
	// path of a socket. Cookies are kept by it.
	server string
	// instances are the Shaft that the server is and those that it follows
	// (R17); none for other servers.
	instances []string
}

// open goes through the places where the source is to be had, until one lets us
// in. Ending ctx closes the connection, at any time. The error says of each place
// why it was not to be had.
func open(ctx context.Context, src Source, o Options, contact func()) (*conn, error) {
	var failed tries
	servers, tried := src.servers(), 0
	for i, at := range servers {
		places, err := at.places(ctx, o)
		if err != nil {
			failed = append(failed, err)
		}
		for _, p := range fair(places, tried, len(servers)-1-i) {
			tried++
			c, err := p.open(ctx, src, o, contact)
			if err == nil {
				return c, nil
			}
			if ctx.Err() != nil {
				return nil, err
			}
			failed = append(failed, p.fail(err))
		}
	}
	return nil, failed.err()
}

// open connects, speaks TLS where the source has it, binds, and looks whether
// this is a loop.
func (p *place) open(ctx context.Context, src Source, o Options, contact func()) (*conn, error) {
	if !o.Pool.pace(ctx) {
		return nil, context.Cause(ctx)
	}
	raw, err := p.connect(ctx, o)
	if err != nil {
		return nil, err
	}
	secured, err := p.secure(ctx, raw, src, o)
	if err != nil {
		return nil, err
	}
	c := newConn(ctx, secured, raw, o, contact)
	c.server = p.address
	err = c.bind(src, o)
	if err == nil {
		err = c.learn(ctx, o)
	}
	if err == nil {
		err = c.readSubschema(ctx, o)
	}
	if err != nil {
		err = p.hint(src, c.wire.cause() != nil, err)
		c.close()
		return nil, err
	}
	return c, nil
}

// connect resolves the host and opens the socket.
func (p *place) connect(ctx context.Context, o Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	if p.network() == "unix" {
		info, err := os.Stat(p.address)
		if err == nil && info.Mode().Type() != os.ModeSocket {
			err = errors.New("not a socket")
		}
		if err != nil {
			return nil, p.connectError(o, err)
		}
	}
	raw, err := o.Dial(ctx, p.network(), p.address)
	if err != nil {
		return nil, p.connectError(o, err)
	}
	if err := watchPeer(raw, o); err != nil {
		raw.Close()
		return nil, fmt.Errorf("connect to %s: set keepalive: %w", p.address, err)
	}
	return raw, nil
}

// secure speaks TLS on raw where the source asks for it, and closes raw when
// that fails. Nothing else is sent before it has succeeded.
func (p *place) secure(ctx context.Context, raw net.Conn, src Source, o Options) (net.Conn, error) {
	if !src.encrypted(p.server) {
		return raw, nil
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	secured, err := p.negotiate(raw, src, o)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return secured, nil
}

func (p *place) negotiate(raw net.Conn, src Source, o Options) (net.Conn, error) {
	config, err := tlsConfig(src, p.server.Host, func() { p.asked = true })
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if err := raw.SetDeadline(time.Now().Add(o.DialTimeout)); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if p.server.Protocol != protocolLDAPS {
		if err := startTLS(raw); err != nil {
			return nil, fmt.Errorf("StartTLS: %w", waited(err, o.DialTimeout))
		}
	}
	secured := tls.Client(raw, config)
	if err := secured.Handshake(); err != nil {
		return nil, p.tlsError(src, o, err)
	}
	return secured, raw.SetDeadline(time.Time{})
}

// newConn starts go-ldap's side of a connection.
func newConn(ctx context.Context, secured, raw net.Conn, o Options, contact func()) *conn {
	c := &conn{wire: newWire(secured, raw, o, contact)}
	c.ldap = ldap.NewConn(c.wire, secured != raw)
	c.ldap.Start()
	c.stop = context.AfterFunc(ctx, func() { c.wire.fail(context.Cause(ctx)) })
	return c
}

// bind binds with the password that the file holds now, or leaves it to the
// server to see in certificate or socket who we are (RFC 4422 appendix A). Without
// either the session stays anonymous, and nothing is sent.
func (c *conn) bind(src Source, o Options) error {
	if src.SASLExternal {
		if err := c.within(o.DialTimeout, c.ldap.ExternalBind); err != nil {
			return fmt.Errorf("SASL EXTERNAL bind: %w", requestError(err))
		}
		return nil
	}
	if src.BindDN == "" {
		return nil
	}
	password, err := readPassword(src.PasswordFile)
	if err != nil {
		return fmt.Errorf("bind: password file: %w", err)
	}
	err = c.within(o.DialTimeout, func() error { return c.ldap.Bind(src.BindDN, password) })
	if err != nil {
		return fmt.Errorf("bind as %s: %w", src.BindDN, requestError(err))
	}
	return nil
}

// within runs a request of go-ldap's, and closes the connection when it takes
// longer than d: go-ldap's own timeout loses messages of other requests, and a
// deadline on the socket is not felt while the wire waits for the consumer. The
// reason why a connection broke comes from the wire: go-ldap tells only that it did.
func (c *conn) within(d time.Duration, request func() error) error {
	timer := time.AfterFunc(d, func() { c.wire.fail(os.ErrDeadlineExceeded) })
	err := request()
	timer.Stop()
	if err != nil && !answered(err) {
		select { // what could not be sent: the reader is about to learn why
		case <-c.wire.closed:
		case <-time.After(politeness):
			c.wire.fail(err)
		}
	}
	if cause := c.wire.cause(); cause != nil {
		return waited(cause, d)
	}
	return err
}

// answered tells whether an error is a result that the server sent.
func answered(err error) bool {
	var answer *ldap.Error
	var end *syncrepl.ResultError
	return errors.As(err, &answer) && answer.ResultCode < ldap.ErrorNetwork || errors.As(err, &end)
}

// close ends the session politely where the socket takes it, and waits for
// what was begun on it.
func (c *conn) close() {
	c.stop()
	if c.wire.cause() == nil {
		c.wire.unbind()
	}
	c.wire.Close()
	c.ldap.Close()
	c.goes.Wait()
}

// politeness is how long an unbind may wait for room in the socket's buffer, a
// request that failed for the reason, and one that is not wanted any more until it
// has gone out.
const politeness = 100 * time.Millisecond

// unbind sends an UnbindRequest (RFC 4511 section 4.3), which has no answer.
func (w *wire) unbind() {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, math.MaxInt32) // which no search of ours has
	msg = ber.AppendBytes(msg, ber.Tag(0x42), nil)
	msg = ber.End(msg, mark)
	if w.SetWriteDeadline(time.Now().Add(politeness)) == nil {
		w.Conn.Write(msg) //nolint:errcheck // the connection is closed next, whatever became of it
	}
}

// requestError puts the answer to a request in words.
func requestError(err error) error {
	var answer *ldap.Error
	if answered(err) && errors.As(err, &answer) {
		return resultError(int(answer.ResultCode), answer.Err.Error(), err)
	}
	return err
}
