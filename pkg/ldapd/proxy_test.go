package ldapd

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/vjeantet/ldapserver"
)

// proxyHeader is a header of version 2; family 0x11 is TCP over IPv4.
func proxyHeader(command, family byte, rest []byte) []byte {
	b := append([]byte(proxySignature), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return append(b, rest...)
}

// ends is source, destination and their ports.
func ends(from, to string, port uint16) []byte {
	b := append(netip.MustParseAddr(from).AsSlice(), netip.MustParseAddr(to).AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, port)
	return binary.BigEndian.AppendUint16(b, 389)
}

// R56: PROXY headers, good and bad.
func TestProxyHeaders(t *testing.T) {
	v4, v6 := ends("192.0.2.7", "192.0.2.1", 4711), ends("2001:db8::7", "2001:db8::1", 4711)
	for _, tt := range []struct {
		name  string
		in    []byte
		want  string // client; "" for the connection's own
		error string
	}{
		{"IPv4", proxyHeader(1, 0x11, v4), "192.0.2.7:4711", ""},
		{"IPv6", proxyHeader(1, 0x21, v6), "[2001:db8::7]:4711", ""},
		{"IPv4 within IPv6", proxyHeader(1, 0x21, ends("::ffff:192.0.2.7", "::ffff:192.0.2.1", 1)), "192.0.2.7:1", ""},
		{"fields behind the addresses", proxyHeader(1, 0x11, append(bytes.Clone(v4), 0x04, 0, 3, 1, 2, 3)), "192.0.2.7:4711", ""},
		{"the balancer's own check", proxyHeader(0, 0, nil), "", ""},
		{"the balancer's own check with addresses", proxyHeader(0, 0x11, v4), "", ""},
		{"unspecified", proxyHeader(1, 0, nil), "", ""},
		{"a unix stream", proxyHeader(1, 0x31, make([]byte, 216)), "", ""},
		{"nothing", nil, "", "EOF"},
		{"LDAP at once", msg(1, tagExtended, extendedBody(whoAmI)), "", "does not begin"},
		{"version 1", []byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 389\r\n"), "", "does not begin"},
		{"half a header", proxyHeader(1, 0x11, v4)[:20], "", "unexpected EOF"},
		{"version 3", append([]byte(proxySignature), 0x31, 0x11, 0, 0), "", "version 3"},
		{"command 2", proxyHeader(2, 0x11, v4), "", "unknown command 2"},
		{"UDP", proxyHeader(1, 0x12, v4), "", "0x12 is no stream"},
		{"family 4", proxyHeader(1, 0x41, v4), "", "0x41 is no stream"},
		{"addresses cut off", proxyHeader(1, 0x11, v4[:11]), "", "too few"},
		{"IPv4's addresses as IPv6's", proxyHeader(1, 0x21, v4), "", "too few"},
		{"too long", proxyHeader(1, 0x11, make([]byte, maxProxy+1)), "", "at most are taken"},
	} {
		in := bytes.NewReader(append(bytes.Clone(tt.in), "rest"...))
		if strings.Contains(tt.error, "EOF") {
			in = bytes.NewReader(tt.in)
		}
		client, ok, err := readProxy(in)
		switch {
		case tt.error != "":
			if err == nil || !strings.Contains(err.Error(), tt.error) {
				t.Errorf("%s: %v", tt.name, err)
			}
		case err != nil || ok != (tt.want != "") || ok && client.String() != tt.want:
			t.Errorf("%s: %v, %v, %v", tt.name, client, ok, err)
		default:
			if rest, _ := io.ReadAll(in); string(rest) != "rest" {
				t.Errorf("%s: %q is left to be read", tt.name, rest)
			}
		}
	}
}

// FuzzProxy R56: a header is read within bounds, whatever it says.
func FuzzProxy(f *testing.F) {
	f.Add(proxyHeader(1, 0x11, ends("192.0.2.7", "192.0.2.1", 4711)))
	f.Add(proxyHeader(0, 0, nil))
	f.Add(proxyHeader(1, 0x21, make([]byte, 40)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		client, ok, err := readProxy(r)
		if ok && (err != nil || !client.IsValid()) {
			t.Errorf("%v, %v, %v", client, ok, err)
		}
		if used := len(in) - r.Len(); used > 16+maxProxy {
			t.Errorf("%d octets read", used)
		}
	})
}

// R10: behind a balancer the client's address counts, with TLS behind the header
// too; a connection without a good header is ended without a word.
func TestProxyListener(t *testing.T) {
	ca := newAuthority(t)
	log := &lines{}
	s, _ := serve(t, Options{TLS: ca.server(), MaxPerAddress: 1, Log: slog.New(slog.NewTextHandler(log, nil))})
	plain, secure := also(t, s, "pldap://127.0.0.1:0"), also(t, s, "pldaps://127.0.0.1:0")
	first, second := ends("192.0.2.7", "192.0.2.1", 1), ends("192.0.2.8", "192.0.2.1", 2)
	c := dial(t, plain)
	c.write(append(proxyHeader(1, 0x11, first), msg(1, tagExtended, extendedBody(whoAmI))...))
	if r := c.next(); r.code != 0 {
		t.Errorf("%+v", r)
	}
	c = dial(t, secure)
	c.write(proxyHeader(1, 0x11, second))
	if err := c.upgrade(ca.client()); err != nil {
		t.Fatal(err)
	}
	c.whoami(1)
	c = dial(t, plain)
	c.write(proxyHeader(1, 0x11, first))
	if r := c.next(); r.id != 0 || r.code != ldapserver.LDAPResultBusy {
		t.Errorf("a second connection of one client: %+v", r)
	}
	c.ended()
	for _, bad := range [][]byte{msg(1, tagExtended, extendedBody(whoAmI)), proxyHeader(1, 0x12, first), []byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 389\r\n")} {
		c := dial(t, plain)
		c.write(bad)
		c.ended()
	}
	if n := log.count("without a good PROXY header"); n != 3 {
		t.Errorf("%d bad headers are told of", n)
	}
}
