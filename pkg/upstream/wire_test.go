package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// pipe is a loopback connection: the far end, and a wire that a goroutine
// reads as go-ldap does. What is for go-ldap comes from plain. A search was
// begun, whose messages f gives.
func pipe(t testing.TB, o Options) (far net.Conn, c *conn, f *frames, plain chan []byte) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	c = &conn{wire: newWire(near, near, o.withDefaults(), func() {})}
	f = &frames{ctx: context.Background(), search: nobody(c.wire)}
	plain = make(chan []byte, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(plain)
		for {
			p := make([]byte, 16)
			n, err := c.wire.Read(p)
			if err != nil {
				return
			}
			plain <- p[:n]
		}
	}()
	t.Cleanup(func() { far.Close(); c.wire.Close(); <-done })
	return far, c, f, plain
}

// nobody begins a search without sending anything.
func nobody(w *wire) *search {
	s, err := w.begin(context.Background(), true, func(int32) []byte { return nil })
	if err != nil {
		panic(err)
	}
	return s
}

// searching begins a sync search.
func searching(t *testing.T, c *conn) *search {
	t.Helper()
	s, err := c.wire.begin(t.Context(), true, func(id int32) []byte {
		return syncrepl.AppendSearch(nil, id, syncrepl.Request{Base: "dc=example,dc=org", Mode: syncrepl.RefreshAndPersist})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The stream is cut right however TCP cuts it.
func TestWireCutsTheStream(t *testing.T) {
	var stream, wantPlain []byte
	var want []string
	for i := range 40 {
		m := entry(i)
		m.MessageID = int64(syncID)
		if i%10 == 3 {
			m.Attrs = append(m.Attrs, bytes.Repeat(m.Attrs, 200*i/3)...) // up to 1.7 MB
		}
		frame := m.Append(nil)
		want = append(want, string(frame))
		stream = append(stream, frame...)
		if i%3 == 0 {
			p := response(int64(i+1), tagExtendedResponse, 0, strings.Repeat("x", i))
			wantPlain = append(wantPlain, p...)
			stream = append(stream, p...)
		}
	}
	for _, step := range []int{1, 2, 7, 700, 40_000, len(stream)} {
		if step == 1 {
			step = 3
		}
		far, _, f, plain := pipe(t, Options{})
		go func() {
			for rest := stream; len(rest) > 0; {
				n := min(step, len(rest))
				if step < 700 && len(rest) < len(stream)-5000 {
					n = min(50_000, len(rest)) // the first messages tell enough
				}
				far.Write(rest[:n])
				rest = rest[n:]
			}
			far.Close()
		}()
		for i, w := range want {
			got, err := f.Next()
			if err != nil {
				t.Fatalf("step %d, message %d: %v", step, i, err)
			}
			if string(got) != w {
				t.Fatalf("step %d, message %d is not what was sent", step, i)
			}
		}
		if _, err := f.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("step %d: at the end: %v", step, err)
		}
		var got []byte
		for p := range plain {
			got = append(got, p...)
		}
		if !bytes.Equal(got, wantPlain) {
			t.Errorf("step %d: %d octets for go-ldap, want %d", step, len(got), len(wantPlain))
		}
	}
}

// A message over the limit ends the session when its length is read, before
// anything is allocated for it.
func TestWireRefusesLargeMessages(t *testing.T) {
	far, c, f, _ := pipe(t, Options{MaxMessage: 1 << 20})
	far.Write([]byte{0x30, 0x83, 0x10, 0x00, 0x00})
	_, err := f.Next()
	if err == nil || !strings.Contains(err.Error(), "1048581 bytes") || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("got %v", err)
	}
	if n := len(c.wire.buf); n != chunkSize {
		t.Errorf("buffer of %d bytes", n)
	}
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// A length alone makes no room: the buffer grows with what comes.
func TestWireGrowsWithTheData(t *testing.T) {
	far, c, f, _ := pipe(t, Options{})
	far.Write(append([]byte{0x30, 0x84, 0x03, 0xff, 0x00, 0x00, 2, 4}, make([]byte, 100_000)...))
	far.Close()
	if _, err := f.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if n := len(c.wire.buf); n > 256<<10 {
		t.Errorf("buffer of %d bytes", n)
	}
}

func TestWireRefuses(t *testing.T) {
	many, mark := ber.Begin(nil, ber.Sequence)
	many = ber.AppendInt(many, ber.Integer, 5)
	many = ber.End(append(many, bytes.Repeat([]byte{4, 0}, maxPlainElements+1)...), mark)
	deep := []byte{4, 0}
	for range maxPlainDepth + 1 {
		deep = ber.AppendBytes(nil, ber.Sequence, deep)
	}
	deep = ber.AppendBytes(nil, ber.Sequence, append([]byte{2, 1, 5}, deep...))
	large := ber.AppendBytes(nil, ber.Sequence, append([]byte{2, 1, 5}, ber.AppendBytes(nil, ber.OctetString, make([]byte, maxPlainSize))...))
	other := notice(0, "")
	other = bytes.Replace(other, []byte(oidDisconnection), []byte(strings.Repeat("1", len(oidDisconnection))), 1)
	for _, test := range []struct {
		name  string
		frame []byte
		words string // empty: it is let go
	}{
		{"a search not sent", (&syncrepl.Message{MessageID: int64(syncID) + 1, Kind: syncrepl.KindDone}).Append(nil), "before it was sent"},
		{"another notification", other, ""},
		{"a notice", notice(80, "oops"), "ended the session: other (80): oops"},
		{"ID 0 and no notification", searchEntry(0, "dc=x"), "no notification"},
		{"a cut notice", []byte{0x30, 8, 2, 1, 0, 0x78, 3, 0x0a, 1, 0}, "malformed notification"},
		{"no message ID", []byte{0x30, 2, 4, 0}, "malformed LDAP message"},
		{"no sequence", []byte{4, 2, 2, 0}, "not an LDAP message"},
		{"indefinite length", []byte{0x30, 0x80, 2, 1, 1}, "not taken as an LDAP message"},
		{"malformed inside", []byte{0x30, 7, 2, 1, 5, 0x30, 2, 4, 9}, "malformed LDAP message"},
		{"many elements", many, "elements"},
		{"deep", deep, "nested deeper"},
		{"large", large, "enough"},
	} {
		t.Run(test.name, func(t *testing.T) {
			far, _, f, plain := pipe(t, Options{})
			go func() {
				far.Write(test.frame)
				far.Write(response(9, 0x61, 0, ""))
				if test.words == "" {
					far.Close()
				}
			}()
			_, err := f.Next()
			if test.words == "" {
				if !errors.Is(err, io.EOF) || len(<-plain) == 0 {
					t.Errorf("got %v", err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A plain request goes on beside the sync search, on the same connection.
func TestPlainRequestsBesideTheSearch(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{
		sync:    func(s *session, r request) { s.refresh(100, "c") },
		unbound: make(chan struct{}, 1),
	})
	o := quick().withDefaults()
	c, err := open(context.Background(), s.source(), o, func() {})
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{ctx: context.Background(), search: searching(t, c), patience: patience}
	asked := make(chan error, 10)
	go func() {
		for range cap(asked) {
			asked <- c.findBase(context.Background(), s.source(), o)
		}
	}()
	for i := range 101 {
		if _, err := f.Next(); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	for range cap(asked) {
		if err := next(t, asked); err != nil {
			t.Error(err)
		}
	}
	c.close()
	select {
	case <-s.unbound:
	case <-time.After(patience):
		t.Error("closed without an unbind")
	}
}

// R15: a plain request ends in time even when the wire waits for a consumer of
// the search that does not read; an abandoned search is in nobody's way.
func TestR15RequestsBesideAStalledSearch(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(10_000, "c") }})
	for _, abandon := range []bool{false, true} {
		o := quick().withDefaults()
		c, err := open(context.Background(), s.source(), o, func() {})
		if err != nil {
			t.Fatal(err)
		}
		f := &frames{ctx: context.Background(), search: searching(t, c), patience: patience}
		if _, err := f.Next(); err != nil {
			t.Fatal(err)
		}
		if abandon {
			f.search.end()
		}
		if !abandon {
			o.DialTimeout = 50 * time.Millisecond
		}
		err = c.findBase(context.Background(), s.source(), o)
		if abandon && err != nil || !abandon && (err == nil || !strings.Contains(err.Error(), "no answer within 50ms")) {
			t.Errorf("abandoned %v: %v", abandon, err)
		}
		c.close()
	}
}

// R15: what is read ahead of a consumer that does not read is bounded.
func TestR15ReadAheadIsBounded(t *testing.T) {
	far, _, f, _ := pipe(t, Options{})
	m := entry(1)
	m.MessageID = int64(syncID)
	block := bytes.Repeat(m.Append(nil), 100)
	total := 0
	for {
		far.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := far.Write(block)
		total += n
		if err != nil {
			break
		}
		if total > 64<<20 {
			t.Fatal("the wire reads on without a consumer")
		}
	}
	f.search.mu.Lock()
	defer f.search.mu.Unlock()
	if n := len(f.search.in); n > searchBuffer || n == 0 {
		t.Errorf("%d bytes read ahead", n)
	}
}

// BenchmarkFrames is one entry of some 700 bytes over loopback, the sender's
// work included.
func BenchmarkFrames(b *testing.B) {
	far, _, f, _ := pipe(b, Options{})
	m := entry(1)
	m.MessageID = int64(syncID)
	frame := m.Append(nil)
	block := bytes.Repeat(frame, 1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	go func() {
		for {
			if _, err := far.Write(block); err != nil {
				return
			}
		}
	}()
	b.ResetTimer()
	for range b.N {
		if _, err := f.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
