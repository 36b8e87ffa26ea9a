package ldapd

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/tree"
)

// sink is a connection that keeps nothing and has nothing to read.
type sink struct {
	net.Conn
	n atomic.Int64
}

func (s *sink) Write(p []byte) (int, error)      { s.n.Add(int64(len(p))); return len(p), nil }
func (s *sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (s *sink) Close() error                     { return nil }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// feed gives its octets once, then the end.
type feed struct {
	sink
	in *bytes.Reader
}

func (f *feed) Read(p []byte) (int, error) { return f.in.Read(p) }

// FuzzRequest R56: whatever comes in, nothing panics, and the connection ends.
func FuzzRequest(f *testing.F) {
	for _, m := range [][]byte{
		msg(1, tagSearch, query{base: base, scope: tree.Sub, filter: "(&(cn:dn:2.5.13.2:=x)(!(sn=a*b*c))(uid>=1))", attrs: []string{"*", "+", "@person"}}.body(f)),
		msg(2, tagBind, bindBody(3, "cn=mirror,"+base, "secret")),
		msg(3, tagCompare, compareBody(base, "ou", "x"), ctl("1.2.3", critical, nil)),
		msg(4, tagExtended, extendedBody(whoAmI)),
		msg(5, tagAbandon, []byte{1}),
		msg(6, tagModify, []byte("\x04\x04cn=x\x30\x10\x30\x0e\x0a\x01\x02\x30\x09\x04\x02cn\x31\x03\x04\x01x")),
		msg(7, tagAdd, []byte("\x04\x04cn=x\x30\x0e\x30\x0c\x04\x02cn\x31\x06\x04\x01x\x04\x01y")),
		msg(8, tagModifyDN, []byte("\x04\x04cn=x\x04\x04cn=y\x01\x01\x02\x80\x04cn=z")),
		msg(9, tagDelete, []byte(base)),
		msg(10, tagSearch, query{base: "", attrs: []string{"+"}}.body(f), pagedRequest(1, nil)),
		msg(11, tagSearch, query{base: base, scope: tree.Sub}.body(f), pagedRequest(1, nil)),
		msg(12, tagSearch, query{base: base}.bodyWith(nested(filterNot, 100))),
		longLengths(msg(13, tagExtended, extendedBody("1.3.6.1.1.8"))),
		{0x30, 0x84, 0x80, 0, 0, 0},
	} {
		f.Add(m)
	}
	panics := make(events, 1000)
	s, err := New(withMirror(Options{Backend: newBackend(listers(f, 30)), Log: slog.New(panics)}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s.running.Add(1)
		nc := &feed{in: bytes.NewReader(in)}
		newConn(s, nc, schemes[0]).serve()
		for len(panics) > 0 {
			if m := <-panics; m == "panic while serving" {
				t.Errorf("panic on %x", in)
			}
		}
		if limit := int64(len(in)/7+1) * 64 << 10; nc.n.Load() > limit {
			t.Errorf("%d octets in, %d out", len(in), nc.n.Load())
		}
	})
}

// FuzzCanonical: the canonical form says the same, in canonical form.
func FuzzCanonical(f *testing.F) {
	f.Add(msg(8, tagModifyDN, []byte("\x04\x04cn=x\x04\x04cn=y\x01\x01\x02\x80\x04cn=z")))
	f.Add(longLengths(msg(3, tagCompare, compareBody(base, "ou", "x"), ctl("1.2.3", critical, nil))))
	f.Fuzz(func(t *testing.T, in []byte) {
		was, err := scan(in)
		if err != nil {
			return
		}
		out, err := appendCanonical(nil, in)
		if err != nil {
			t.Fatalf("scanned, yet: %v", err)
		}
		if was && !bytes.Equal(in, out) {
			t.Errorf("%x is canonical and becomes %x", in, out)
		}
		if again, err := scan(out); err != nil || !again && !oddBooleans(out) {
			t.Errorf("%x becomes %x, which is not canonical: %v", in, out, err)
		}
	})
}

// oddBooleans tells whether there is a BOOLEAN of other than one octet, which
// has no canonical form.
func oddBooleans(b []byte) bool {
	for len(b) > 0 {
		tag, content, rest, err := ber.Next(b)
		if err != nil || tag == ber.Boolean && len(content) != 1 || tag.Constructed() && oddBooleans(content) {
			return true
		}
		b = rest
	}
	return false
}
