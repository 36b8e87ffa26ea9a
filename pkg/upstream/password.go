package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ber"
)

// bindsAtOnce is how many passwords are tried at one source's servers at a time: few
// enough for a server to bear beside its work, and one that hangs ties up no more.
const bindsAtOnce = 8

// tagBindResponse is [APPLICATION 1], RFC 4511 section 4.2.2.
const tagBindResponse = ber.Tag(0x61)

// Refused is a server's word that a password is not the entry's, or that the entry may
// not bind.
type Refused struct {
	Code  int // RFC 4511 appendix A.1
	Words string
}

func (r *Refused) Error() string { return r.Words }

// Confidential tells whether all of the source's servers are spoken to over TLS or a
// unix socket.
func (s *Source) Confidential() bool {
	return !slices.ContainsFunc(s.servers(), func(at Server) bool { return at.Protocol != protocolLDAPI && !s.encrypted(at) })
}

// Passwords tries passwords of entries at the servers that these come from. The zero
// value is ready; it is safe for concurrent use. Nothing of a password is kept.
type Passwords struct {
	mu    sync.Mutex
	lines map[string]*line // by the source's servers
}

// line is where tries at one source's servers stand.
type line struct {
	turns chan struct{}
	users int // who tries or waits; Passwords' to lock
}

// Try binds as dn, by simple bind on a connection of its own, and tells what came of it:
// nil, *Refused, or why none of the servers could be asked. It takes no longer than
// Options.DialTimeout, the wait for a turn included. A source that is not Confidential
// is not asked.
func (p *Passwords) Try(ctx context.Context, src Source, dn string, password []byte, o Options) error {
	o = o.withDefaults()
	switch {
	case !src.Confidential():
		return errors.New("passwords are sent over TLS and unix sockets alone")
	case dn == "" || len(password) == 0:
		return errors.New("without a name and a password nothing is authenticated")
	}
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	leave, err := p.enter(ctx, src)
	if err != nil {
		return err
	}
	defer leave()
	return tryPassword(ctx, src, dn, password, o)
}

// enter waits for a turn at the source's servers.
func (p *Passwords) enter(ctx context.Context, src Source) (leave func(), err error) {
	var addresses []string
	for _, at := range src.servers() {
		addresses = append(addresses, at.url())
	}
	key := strings.Join(addresses, " ")
	p.mu.Lock()
	if p.lines == nil {
		p.lines = map[string]*line{}
	}
	l := p.lines[key]
	if l == nil {
		l = &line{turns: make(chan struct{}, bindsAtOnce)}
		p.lines[key] = l
	}
	l.users++
	p.mu.Unlock()
	gone := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(p.lines, key)
		}
	}
	select {
	case l.turns <- struct{}{}:
		return func() { <-l.turns; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, fmt.Errorf("%d binds wait for %s already: %w", bindsAtOnce, addresses[0], context.Cause(ctx))
	}
}

// tryPassword goes through the places where the source is to be had, until one gives an
// answer. Each has its share of the time that is left.
func tryPassword(ctx context.Context, src Source, dn string, password []byte, o Options) error {
	var failed tries
	servers, tried := src.servers(), 0
	for i, at := range servers {
		behind := len(servers) - 1 - i
		resolving, cancel := share(ctx, behind+2)
		places, err := at.places(resolving, o)
		cancel()
		if err != nil {
			failed = append(failed, err)
		}
		places = fair(places, tried, behind)
		for j := range places {
			tried++
			one, cancel := share(ctx, len(places)-j+behind)
			err := places[j].try(one, src, dn, password, o)
			cancel()
			var no *Refused
			if err == nil || errors.As(err, &no) || ctx.Err() != nil {
				return err
			}
			failed = append(failed, places[j].fail(err))
		}
	}
	return failed.err()
}

// share is a fair part of the time that is left, when there are so many to have one.
func share(ctx context.Context, among int) (context.Context, context.CancelFunc) {
	end, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(among))
}

// try asks at one place.
func (p *place) try(ctx context.Context, src Source, dn string, password []byte, o Options) error {
	end, _ := ctx.Deadline()
	o.DialTimeout = time.Until(end)
	raw, err := p.connect(ctx, o)
	if err != nil {
		return err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	secured, err := p.secure(ctx, raw, src, o)
	if err == nil {
		var code int
		var text string
		if code, text, err = simpleBind(secured, dn, password); err == nil {
			return judgeBind(code, text)
		}
	}
	if ctx.Err() != nil {
		return inWords(errors.Join(ctx.Err(), err), "no answer within %v", o.DialTimeout.Round(time.Millisecond))
	}
	return p.hint(src, true, err)
}

// simpleBind does one bind, and takes leave.
func simpleBind(c net.Conn, dn string, password []byte) (code int, text string, err error) {
	msg := make([]byte, 0, len(dn)+len(password)+64) // it does not grow, which would leave copies
	msg, mark := ber.Begin(msg, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, 1)
	msg, body := ber.Begin(msg, ber.Tag(0x60))
	msg = ber.AppendInt(msg, ber.Integer, 3)
	msg = ber.AppendString(msg, ber.OctetString, dn)
	msg = ber.AppendBytes(msg, ber.ContextPrimitive(0), password)
	msg = ber.End(ber.End(msg, body), mark)
	_, err = c.Write(msg)
	clear(msg[:cap(msg)])
	if err != nil {
		return 0, "", lost(err)
	}
	if code, text, err = bindAnswer(c); err == nil {
		c.Write([]byte{0x30, 5, 2, 1, 2, 0x42, 0}) //nolint:errcheck // an unbind; the connection is closed next, whatever became of it
	}
	return code, text, err
}

// judgeBind tells the refusals of a password from what says nothing of it.
func judgeBind(code int, text string) error {
	switch code {
	case ldap.LDAPResultSuccess:
		return nil
	case ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultNoSuchObject,
		ldap.LDAPResultNoSuchAttribute, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultInsufficientAccessRights,
		ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform: // the last two of accounts that are locked
		return &Refused{code, resultText(code, text)}
	}
	return fmt.Errorf("bind: %w", resultError(code, text, nil))
}

// bindAnswer reads messages up to the answer to the bind. A caller has seen to a time
// after which reading fails.
func bindAnswer(c net.Conn) (code int, text string, err error) {
	var buf []byte
	for {
		size, err := ber.FrameLen(buf, maxStartTLSAnswer)
		if err == nil && len(buf) > 0 && buf[0] != byte(ber.Sequence) {
			err = errors.New("it is not LDAP")
		}
		if err != nil {
			return 0, "", fmt.Errorf("malformed answer: %w", err)
		}
		if size == 0 || len(buf) < size {
			buf = slices.Grow(buf, 512)
			n, err := c.Read(buf[len(buf):cap(buf)])
			if buf = buf[:len(buf)+n]; n == 0 && err != nil {
				return 0, "", lost(err)
			}
			continue
		}
		id, answer, err := envelope(buf[:size])
		switch {
		case err != nil:
			return 0, "", fmt.Errorf("malformed answer: %w", err)
		case id == 0:
			if err := unsolicited(answer); err != nil {
				return 0, "", err
			}
			buf = buf[size:]
			continue
		}
		body, err := answer.Enter(tagBindResponse)
		if err != nil || id != 1 {
			return 0, "", errors.New("the answer is not one to a bind")
		}
		if code, text, err = result(&body); err != nil {
			return 0, "", fmt.Errorf("malformed answer: %w", err)
		}
		return code, text, nil
	}
}
