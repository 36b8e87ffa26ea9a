package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// floodRequests are sent without a read.
const floodRequests = 20_000

// floodOf has them at a scope: of the base alone, where kernels may hold all answers,
// or of everything, where nobody does.
func floodOf(scope int64) []byte {
	var out []byte
	for id := range int64(floodRequests) {
		out = append(out, searchMessage(id+1, base, scope, anything)...)
	}
	return out
}

// push writes until nothing goes any more for a moment, and gives what is left.
func (c *rawClient) push(out []byte) (rest []byte, err error) {
	const moment = 200 * time.Millisecond
	for len(out) > 0 {
		c.nc.SetWriteDeadline(time.Now().Add(moment))
		n, err := c.nc.Write(out)
		out = out[n:]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
	return nil, nil
}

// floodBout sends 20,000 searches, reads only when no more can be sent, and gets every answer.
func floodBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	rest, err := c.push(s.flood)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- c.send(rest) }()
	for id := int64(1); id <= floodRequests && err == nil; id++ {
		var got rawReply
		if got, _, err = c.last(id); err == nil && got.code != 0 {
			err = fmt.Errorf("search %d of %d: %d %s", id, floodRequests, got.code, got.text)
		}
	}
	if err != nil {
		c.close()
	}
	return errors.Join(err, <-sent)
}

// muteTime is how long a client reads nothing: the server waits a minute for it to take something.
const muteTime = 90 * time.Second

// muteBout sends as much and never reads; after a while the server has cut it.
func muteBout(ctx context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.push(s.deluge); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(muteTime):
	}
	c.nc.SetReadDeadline(time.Now().Add(limit))
	const buffered = 64 << 20 // far beyond what kernels hold for a connection
	n, err := io.CopyN(io.Discard, c.nc, buffered)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a client that read nothing for %v is still connected, and %d octets came, %w", muteTime, n, err)
	}
	return nil
}

// halfOpenBout begins something and says no more: a message, a handshake, nothing.
func halfOpenBout(ctx context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	switch r.IntN(4) {
	case 0: // nothing at all: it may stay
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		c.reset()
		return nil
	case 1:
		if err := c.send(extendedMessage(1, oidStartTLS)); err != nil {
			return err
		}
		if m, _, err := c.last(1); err != nil || m.code != 0 {
			return fmt.Errorf("StartTLS: %d, %w", m.code, err)
		}
		if r.IntN(2) == 0 {
			c.send([]byte{0x16, 3, 1, 1, 0, 1}) //nolint:errcheck // half a hello
		}
		_, err := io.Copy(io.Discard, c.nc)
		return notLate(err)
	}
	begun := [][]byte{{0x30}, {0x30, 0x82, 0x01}, searchMessage(1, base, 2, anything)[:20]}[r.IntN(3)]
	if err := c.send(begun); err != nil {
		return err
	}
	return unfinished(c)
}

// unfinished wants the notice that ends a request which does not get complete.
func unfinished(c *rawClient) error {
	m, err := c.next()
	if err != nil || m.id != 0 || m.code != 52 || !strings.Contains(m.text, "not complete within") {
		return fmt.Errorf("an unfinished request: %d to %d, %s, %w", m.code, m.id, m.text, err)
	}
	return c.ended()
}

// slowBout sends a byte a second.
func slowBout(ctx context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	m := searchMessage(1, base, 2, anything)
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := range len(m) - 1 {
			c.nc.Write(m[i : i+1]) //nolint:errcheck // it ends when the server says so
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return unfinished(c)
}

// strippingBout tries to have something count under TLS that was said in the clear, or the other way round.
func strippingBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	start := extendedMessage(1, oidStartTLS)
	switch r.IntN(4) {
	case 0: // a request behind it in the same segment: StartTLS is refused
		if err := c.send(append(start, extendedMessage(2, oidWhoAmI)...)); err != nil {
			return err
		}
		if m, _, err := c.last(1); err != nil || m.code != 1 {
			return fmt.Errorf("StartTLS with a request behind it: %d, %w", m.code, err)
		}
		m, _, err := c.last(2)
		if err != nil || m.code != 0 {
			return fmt.Errorf("the request behind StartTLS: %d, %w", m.code, err)
		}
		return nil
	case 1: // a request instead of a handshake: not answered
		if err := c.send(start); err != nil {
			return err
		}
		if m, _, err := c.last(1); err != nil || m.code != 0 {
			return fmt.Errorf("StartTLS: %d, %w", m.code, err)
		}
		c.send(extendedMessage(2, oidWhoAmI)) //nolint:errcheck // it may be cut already
		c.nc.SetReadDeadline(time.Now().Add(limit))
		got, err := io.ReadAll(c.in)
		if bytes.Contains(got, []byte{byte(opExtendedRe)}) {
			return fmt.Errorf("answered in the clear: %x", got)
		}
		return notLate(err)
	case 2: // twice
		if err := c.upgrade(s.tls()); err != nil {
			return err
		}
		if err := c.send(extendedMessage(2, oidStartTLS)); err != nil {
			return err
		}
		if m, _, err := c.last(2); err != nil || m.code != 1 {
			return fmt.Errorf("StartTLS under TLS: %d, %w", m.code, err)
		}
		_, err := c.whoAmI(3)
		return err
	}
	old := s.tls()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := c.upgrade(old); err == nil {
		return errors.New("TLS 1.1 is spoken")
	}
	return nil
}

// certificateBout shows a certificate: one that has expired, one of another authority, a good one.
func certificateBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	which := r.IntN(3)
	cfg := s.tls()
	cfg.MaxVersion = []uint16{tls.VersionTLS12, tls.VersionTLS13}[r.IntN(2)]
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.shown[which], nil }
	err = c.upgrade(cfg)
	if err == nil { // with TLS 1.3 the server's word comes behind the handshake
		_, err = c.whoAmI(2)
	}
	if which > 0 {
		if err == nil {
			return fmt.Errorf("certificate %d of the bad ones is taken", which)
		}
		return notLate(err)
	}
	if err != nil {
		return err
	}
	if err := c.send(bindMessage(3, "", ber.Context(3), ber.AppendString(nil, ber.OctetString, "EXTERNAL"))); err != nil {
		return err
	}
	if m, _, err := c.last(3); err != nil || m.code != 0 {
		return fmt.Errorf("EXTERNAL: %d %s, %w", m.code, m.text, err)
	}
	if who, err := c.whoAmI(4); err != nil || !strings.EqualFold(who, "dn:cn=good") {
		return fmt.Errorf("after EXTERNAL: %q, %w", who, err)
	}
	return nil
}

// guessBout tries a wrong password: it is wrong, or there are too many.
func guessBout(ctx context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	dn := soakAccount
	if r.IntN(2) == 0 {
		dn = fmt.Sprintf("cn=nobody %d,%s", r.IntN(1000), base)
	}
	if err := c.send(bindMessage(1, dn, ber.ContextPrimitive(0), fmt.Append(nil, r.Uint64()))); err != nil {
		return err
	}
	m, _, err := c.last(1)
	if err != nil || m.code != 49 && m.code != 51 {
		return fmt.Errorf("a wrong password: %d %s, %w", m.code, m.text, err)
	}
	return nil
}

// vanishBout asks for a lot, abandons or follows it, and is gone.
func vanishBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	for id := range int64(r.IntN(8)) {
		var controls [][]byte
		if r.IntN(2) == 0 {
			controls = append(controls, controlOf(syncrepl.OIDSyncRequest, true, syncValue(3, "")))
		}
		c.send(searchMessage(id+1, base, 2, anything, controls...)) //nolint:errcheck // it is going to be gone anyway
		if r.IntN(2) == 0 {
			c.send(rawMessage(id+100, opAbandon, []byte{byte(id + 1)})) //nolint:errcheck // the same
		}
	}
	if r.IntN(2) == 0 { // with something read
		c.send(extendedMessage(200, oidWhoAmI)) //nolint:errcheck // the same
		if _, err := c.next(); err != nil {
			return err
		}
	}
	if r.IntN(2) == 0 {
		c.close()
	} else {
		c.reset()
	}
	return nil
}

// goodBout is a client that does nothing wrong, and is served all the while.
func goodBout(ctx context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	for id := int64(1); id < 50 && ctx.Err() == nil; id++ {
		begin := time.Now()
		scope := []int64{0, 0, 0, 2}[r.IntN(4)]
		if err := c.send(searchMessage(id, base, scope, anything)); err != nil {
			return err
		}
		m, n, err := c.last(id)
		if err != nil || m.code != 0 || scope == 0 && n != 1 || n < 1 {
			return fmt.Errorf("scope %d: %d entries, %d %s, %w", scope, n, m.code, m.text, err)
		}
		if took := int64(time.Since(begin)); took > s.slowest.Load() {
			s.slowest.Store(took)
		}
	}
	return nil
}
