package ldapd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"
)

// R56: connections from one address are counted, on TCP and on a unix socket,
// and a place is free again when its connection is over.
func TestConnectionsPerAddress(t *testing.T) {
	s, addr := serve(t, Options{MaxPerAddress: 2})
	path := filepath.Join(t.TempDir(), "ldapi")
	also(t, s, ldapi(path))
	for _, at := range [][2]string{{"tcp", addr}, {"unix", path}} {
		open := func() *client {
			nc, err := net.Dial(at[0], at[1])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			return newClient(t, nc)
		}
		first, second := open(), open()
		first.whoami(1)
		second.whoami(1)
		third := open()
		if r := third.next(); r.id != 0 || r.code != ldapserver.LDAPResultBusy || !strings.Contains(r.text, "from your address") {
			t.Errorf("%s: third connection: %+v", at[0], r)
		}
		third.ended()
		first.write(msg(2, tagUnbind, nil))
		first.ended()
		// The place is free once the server has finished with the connection,
		// which is a moment after the client has seen its end.
		for deadline := time.Now().Add(patience); ; {
			c := open()
			c.write(msg(1, tagExtended, extendedBody(whoAmI)))
			if r := c.next(); r.id == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the place is never free again")
			}
		}
	}
}

// R56: what one client has counts as one.
func TestOrigins(t *testing.T) {
	of := func(ip string) origin { return originOf(netip.MustParseAddr(ip), nil) }
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if (of(tt.a) == of(tt.b)) != tt.same {
			t.Errorf("%s and %s: same %v", tt.a, tt.b, !tt.same)
		}
	}
	root := originOf(netip.Addr{}, &syscall.Ucred{})
	if user := originOf(netip.Addr{}, &syscall.Ucred{Uid: 7}); user == root || user.String() != "uid 7" {
		t.Errorf("%v and %v", user, root)
	}
}

// R56: a request has to be complete in time, however its octets trickle in, and
// a notice says so; a client that waits between requests is left alone.
func TestUnfinishedRequest(t *testing.T) {
	const limit = 50 * time.Millisecond
	_, addr := serve(t, Options{RequestTimeout: limit})
	idle := dial(t, addr)
	idle.whoami(1)
	c := dial(t, addr)
	request := msg(1, tagExtended, extendedBody(whoAmI))
	began := time.Now()
	tick := time.NewTicker(limit / 20)
	defer tick.Stop()
	ended := make(chan reply, 1)
	go func() {
		r, err := c.read()
		if err != nil {
			r.text = err.Error()
		}
		ended <- r
	}()
	for i := 0; ; i++ {
		select {
		case r := <-ended:
			if r.id != 0 || r.code != ldapserver.LDAPResultUnavailable || !strings.Contains(r.text, "not complete within 50ms") {
				t.Errorf("%+v", r)
			}
			if took := time.Since(began); took < limit {
				t.Errorf("cut after %v", took)
			}
			idle.whoami(2)
			return
		case <-tick.C:
			if i < len(request)-1 {
				c.nc.Write(request[i : i+1])
			}
		}
	}
}

// R56: a connection that never gets as far as its first message is ended:
// silence where TLS or a PROXY header is to come, and half of either.
func TestHalfOpenConnections(t *testing.T) {
	ca := newAuthority(t)
	s, plain := serve(t, Options{TLS: ca.server(), OpenTimeout: 50 * time.Millisecond})
	secure, proxied := also(t, s, "ldaps://127.0.0.1:0"), also(t, s, "pldap://127.0.0.1:0")
	for name, at := range map[string]struct {
		addr string
		send []byte
	}{
		"silence before TLS":      {secure, nil},
		"half a hello":            {secure, []byte{0x16, 3, 1, 1, 0, 1}},
		"silence before a header": {proxied, nil},
		"half a header":           {proxied, []byte(proxySignature)},
	} {
		c := dial(t, at.addr)
		c.write(at.send)
		c.nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.read(); err == nil {
			t.Errorf("%s: answered", name)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: still open", name)
		}
	}
	c := dial(t, plain)
	if r := c.startTLS(1); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if _, err := c.read(); err == nil {
		t.Error("StartTLS without a handshake: answered")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("StartTLS without a handshake: still open")
	}
}

// R56: a shutdown ends a handshake that nobody goes on with.
func TestCloseDuringHandshake(t *testing.T) {
	ca := newAuthority(t)
	s, _ := serve(t, Options{TLS: ca.server(), OpenTimeout: patience})
	secure := also(t, s, "ldaps://127.0.0.1:0")
	c := dial(t, secure)
	c.write([]byte{0x16})
	began := time.Now()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if got, err := io.ReadAll(c.nc); len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("said in the clear: %x, %v", got, err)
	}
}
