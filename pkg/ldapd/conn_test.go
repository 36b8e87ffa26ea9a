package ldapd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/tree"
)

// events is a log handler that tells a test of each record's message.
type events chan string

func (events) Enabled(_ context.Context, l slog.Level) bool    { return l != LevelStats }
func (e events) Handle(_ context.Context, r slog.Record) error { e <- r.Message; return nil }
func (e events) WithAttrs([]slog.Attr) slog.Handler            { return e }
func (e events) WithGroup(string) slog.Handler                 { return e }

func (e events) await(tb testing.TB, message string) {
	tb.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-e:
			if m == message {
				return
			}
		case <-timeout:
			tb.Fatalf("never logged: %s", message)
		}
	}
}

// serveUnix serves on a unix socket, whose buffers are small and fixed, so
// that a client that does not read is soon noticed.
func serveUnix(tb testing.TB, o Options) (*Server, func() *client) {
	tb.Helper()
	s, _ := serve(tb, o)
	path := filepath.Join(tb.TempDir(), "s")
	l, err := Listen(ldapi(path))
	if err != nil {
		tb.Fatal(err)
	}
	go s.Serve(l) // ends with the server
	return s, func() *client {
		nc, err := net.Dial("unix", path)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { nc.Close() })
		return &client{tb, nc, bufio.NewReaderSize(nc, 64<<10)}
	}
}

// gate is a clock that lets the reader's part of one search with a time limit
// pass, and stops the goroutine that goes on with it until it is opened.
type gate struct {
	calls   atomic.Int64
	reached chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{reached: make(chan struct{}), open: make(chan struct{})} }

// arm counts from here on: a server looks at the clock when it is made, too.
func (g *gate) arm() { g.calls.Store(0) }

func (g *gate) now() time.Time {
	if g.calls.Add(1) == 1+inlineSteps+1 {
		close(g.reached)
		<-g.open
	}
	return time.Unix(1_700_000_000, 0)
}

var long = query{base: base, scope: tree.Sub, timeLimit: 1000}

// R38: abandon finds what was sent before it, at once; busy is said beyond the
// limit; other operations go on meanwhile.
func TestAbandonAndBusy(t *testing.T) {
	g := newGate()
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 500)), Now: g.now, MaxOperations: 1})
	g.arm()
	c := dial(t, addr)
	c.write(msg(1, tagSearch, long.body(t)))
	<-g.reached
	c.write(msg(2, tagSearch, query{base: base, scope: tree.Sub}.body(t)))
	var busy reply
	for busy = c.next(); busy.op == tagEntry; busy = c.next() {
	}
	if busy.id != 2 || busy.code != ldapserver.LDAPResultBusy {
		t.Errorf("second long search: %+v", busy)
	}
	if got := c.search(3, query{base: base}); len(got) != 2 {
		t.Errorf("base search beside it: %+v", got)
	}
	c.write(msg(4, tagAbandon, []byte{99}))
	c.write(msg(5, tagAbandon, []byte{1}))
	c.whoami(6) // so the abandon has been read
	close(g.open)
	var got []reply
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); { // the abandoned one ends at its next look at its context
		if got = c.search(7, query{base: base, scope: tree.Sub}); got[len(got)-1].code != ldapserver.LDAPResultBusy {
			break
		}
	}
	if len(got) != 503 {
		t.Errorf("a search after the abandoned one: %d messages, %+v", len(got), got[len(got)-1])
	}
}

// R38: a search abandoned by the message behind it in the same segment ends without a word.
func TestAbandonInTheSameWrite(t *testing.T) {
	_, open := serveUnix(t, Options{Backend: newBackend(listers(t, 20_000))})
	c := open()
	var all []byte
	all = append(all, msg(1, tagSearch, query{base: base, scope: tree.Sub}.body(t))...)
	all = append(all, msg(2, tagAbandon, []byte{1})...)
	all = append(all, msg(3, tagExtended, extendedBody(whoAmI))...)
	c.write(all)
	seen := false
	for !seen {
		r := c.next()
		if r.id == 1 && r.op == tagSearchDone {
			t.Fatalf("the abandoned search was answered: %+v", r)
		}
		seen = r.id == 3
	}
	c.whoami(4)
}

// R38: a bind abandons what still runs, and waits for it to end.
func TestBindAbandonsWhatRuns(t *testing.T) {
	g := newGate()
	s, addr := serve(t, withMirror(Options{Backend: newBackend(listers(t, 500)), Now: g.now}))
	g.arm()
	c := dial(t, addr)
	c.write(msg(1, tagSearch, long.body(t)))
	<-g.reached
	c.write(append(msg(2, tagBind, bindBody(3, "cn=mirror,"+base, "secret")), msg(3, tagExtended, extendedBody(whoAmI))...))
	for !s.allCancelled() {
		runtime.Gosched()
	}
	close(g.open)
	var r reply
	for r = c.next(); r.op == tagEntry; r = c.next() {
	}
	if r.id != 2 || r.code != 0 {
		t.Errorf("behind the search: %+v", r)
	}
	if r := c.next(); r.id != 3 || !strings.Contains(string(r.extra), "mirror") {
		t.Errorf("behind the bind: %+v", r)
	}
}

// R38: the time limit, the client's and the server's; what was found so far is sent.
func TestTimeLimit(t *testing.T) {
	var clock atomic.Int64
	tick := func() time.Time { return time.Unix(clock.Add(1), 0) }
	for name, limit := range map[string]struct {
		server time.Duration
		client int64
	}{"client": {0, 30}, "server": {30 * time.Second, 0}, "the lower": {time.Hour, 30}} {
		_, addr := serve(t, Options{Backend: newBackend(listers(t, 500)), Now: tick, TimeLimit: limit.server})
		got := dial(t, addr).search(1, query{base: base, scope: tree.Sub, timeLimit: limit.client})
		if last := got[len(got)-1]; last.code != ldapserver.LDAPResultTimeLimitExceeded || len(got) < 20 || len(got) > 40 {
			t.Errorf("%s: %d messages, %+v", name, len(got), last)
		}
	}
}

// R42: a client that does not read costs a bounded amount of memory, is cut
// after the write timeout, and is alone with it.
func TestR42SlowReaderIsCut(t *testing.T) {
	log := make(events, 100)
	s, open := serveUnix(t, Options{Backend: newBackend(listers(t, 20_000)), WriteTimeout: 200 * time.Millisecond, Log: slog.New(log)})
	slow, quick := open(), open()
	log.await(t, "connection opened")
	log.await(t, "connection opened")
	slow.write(msg(1, tagSearch, query{base: base, scope: tree.Sub}.body(t)))
	for id := int64(1); id <= 100; id++ {
		if got := quick.search(id, query{base: base}); len(got) != 2 {
			t.Fatalf("the other connection: %+v", got)
		}
	}
	log.await(t, "connection closed")
	s.mu.Lock()
	left := len(s.conns)
	s.mu.Unlock()
	if left > 1 {
		t.Errorf("%d connections left", left)
	}
	quick.whoami(101)
}

// R42: 20,000 requests without reading a reply keep memory bounded, and are all answered once the client reads.
func TestR42PipeliningWithoutReading(t *testing.T) {
	s, open := serveUnix(t, Options{})
	c := open()
	const n = 20_000
	var all []byte
	for id := int64(1); id <= n; id++ {
		all = append(all, msg(id, tagSearch, query{base: "cn=Debian," + base}.body(t))...)
	}
	c.nc.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent, err := c.nc.Write(all)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the server took %d octets of %d: %v", sent, len(all), err)
	}
	s.mu.Lock()
	for conn := range s.conns {
		conn.w.mu.Lock()
		if waiting := len(conn.w.buf) + cap(conn.w.spare); waiting > 2*writeHigh {
			t.Errorf("%d octets wait for a client that does not read", waiting)
		}
		conn.w.mu.Unlock()
	}
	s.mu.Unlock()
	go func() {
		c.nc.SetWriteDeadline(time.Now().Add(patience))
		c.nc.Write(all[sent:])
	}()
	for id := int64(1); id <= n; id++ {
		if got := c.until(id); len(got) != 2 {
			t.Fatalf("request %d: %+v", id, got)
		}
	}
}

// R38: many long searches at once on one connection, each whole, none mixed up with another.
func TestConcurrentSearchesOnOneConnection(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 2000))})
	c := dial(t, addr)
	const n = 12
	for id := int64(1); id <= n; id++ {
		c.write(msg(id, tagSearch, query{base: base, scope: tree.Sub, attrs: []string{"*", "+"}}.body(t)))
		c.write(msg(id+n, tagSearch, query{base: base}.body(t)))
	}
	count := map[int64]int{}
	for done := 0; done < 2*n; {
		r := c.next()
		if r.op == tagEntry {
			count[r.id]++
			continue
		}
		done++
		if want := map[bool]int{true: 2002, false: 1}[r.id <= n]; r.code != 0 || count[r.id] != want {
			t.Errorf("search %d: %d entries, %+v", r.id, count[r.id], r)
		}
	}
}

// R38: Close says goodbye, with the right OID, and waits.
func TestCloseSendsNotice(t *testing.T) {
	s, open := serveUnix(t, Options{})
	a, b := open(), open()
	a.whoami(1)
	b.write([]byte{0x30}) // in the middle of a message
	b2 := open()
	b2.whoami(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- s.Close(ctx) }()
	for _, c := range []*client{a, b2} {
		r := c.next()
		if r.id != 0 || r.code != ldapserver.LDAPResultUnavailable || !bytes.HasSuffix(r.extra, []byte(oidNotice)) {
			t.Errorf("notice: %+v", r)
		}
		c.ended()
		c.nc.Close()
	}
	b.nc.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := s.Close(ctx); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	l, err := Listen("ldap://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

// R42: a client that does not read cannot hold up Close beyond its context.
func TestCloseIsBounded(t *testing.T) {
	log := make(events, 100)
	s, err := New(Options{Backend: newBackend(listers(t, 20_000)), Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(ldapi(path))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &client{t, nc, bufio.NewReader(nc)}
	c.write(msg(1, tagSearch, query{base: base, scope: tree.Sub}.body(t)))
	if r := c.next(); r.op != tagEntry {
		t.Fatalf("%+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if len(s.conns) != 0 {
		t.Errorf("%d connections left", len(s.conns))
	}
}

// R42: connections beyond the limit are told so.
func TestMaxConns(t *testing.T) {
	_, addr := serve(t, Options{MaxConns: 1})
	a := dial(t, addr)
	a.whoami(1)
	b := dial(t, addr)
	if r := b.next(); r.id != 0 || r.code != ldapserver.LDAPResultBusy {
		t.Errorf("second connection: %+v", r)
	}
	b.ended()
	a.whoami(2)
}

// R42: an idle connection is cut when the operator says so, one with work to do is not.
func TestIdleTimeout(t *testing.T) {
	_, addr := serve(t, Options{IdleTimeout: 500 * time.Millisecond})
	c := dial(t, addr)
	c.whoami(1)
	if r := c.next(); r.id != 0 || r.code != ldapserver.LDAPResultUnavailable || !strings.Contains(r.text, "idle") {
		t.Errorf("%+v", r)
	}
	c.ended()
}

// broken panics on one DN's sake: once it is told to.
type broken struct {
	*backend
	now atomic.Bool
}

func (b *broken) Version() *tree.Version {
	if b.now.Load() {
		panic("broken")
	}
	return b.backend.Version()
}

// R15: a panic ends its session and nothing else.
func TestPanicEndsOneSession(t *testing.T) {
	log := make(events, 100)
	b := &broken{backend: newBackend(listers(t, 1))}
	_, addr := serve(t, Options{Backend: b, Log: slog.New(log)})
	c, other := dial(t, addr), dial(t, addr)
	other.whoami(1)
	b.now.Store(true)
	c.write(msg(1, tagSearch, query{base: base}.body(t)))
	c.ended()
	log.await(t, "panic while serving")
	b.now.Store(false)
	if got := other.search(2, query{base: base}); len(got) != 2 {
		t.Errorf("the other session: %+v", got)
	}
}

// R56: large requests make the buffer grow, and small ones shrink it again.
func TestLargeRequests(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for id, size := range []int{5000, 70_000, 1_000_000} {
		f := ber.AppendString(nil, ber.OctetString, "cn")
		f = ber.AppendBytes(f, ber.OctetString, bytes.Repeat([]byte("x"), size))
		c.write(msg(int64(id+1), tagSearch, query{base: base}.bodyWith(ber.AppendBytes(nil, 0xa3, f))))
		if got := c.until(int64(id + 1)); len(got) != 1 || got[0].code != 0 {
			t.Errorf("%d octets: %+v", size, got)
		}
		c.whoami(int64(id + 100))
	}
}

// slowConn takes what is written one piece at a time.
type slowConn struct {
	net.Conn
	mu  sync.Mutex
	got []byte
	in  chan struct{}
	err error
}

func (s *slowConn) SetWriteDeadline(time.Time) error { return nil }
func (s *slowConn) Close() error                     { return nil }
func (s *slowConn) Write(p []byte) (int, error) {
	<-s.in
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.got = append(s.got, p...)
	return len(p), nil
}

// R42: the writer combines what comes while it writes, keeps order, blocks
// beyond its bound, and passes an error on to all who wait.
func TestWriter(t *testing.T) {
	conn := &slowConn{in: make(chan struct{})}
	w := newWriter(conn, time.Second, &trace{})
	piece := bytes.Repeat([]byte("x"), writeBatch/2)
	var producers sync.WaitGroup
	for range 8 {
		producers.Go(func() {
			for range 10 {
				if err := w.send(piece, false); err != nil {
					t.Error(err)
				}
			}
			if err := w.flush(false); err != nil {
				t.Error(err)
			}
		})
	}
	writes := 0
	finished := make(chan struct{})
	go func() { producers.Wait(); close(finished) }()
	for ended := false; !ended; {
		select {
		case conn.in <- struct{}{}:
			writes++
			w.mu.Lock()
			if len(w.buf) > writeHigh {
				t.Errorf("%d octets wait", len(w.buf))
			}
			w.mu.Unlock()
		case <-finished:
			ended = true
		}
	}
	if len(conn.got) != 80*len(piece) || writes >= 80 {
		t.Errorf("%d octets in %d writes", len(conn.got), writes)
	}
	conn.err = errors.New("gone")
	close(conn.in)
	for range 2 {
		if err := w.send(slices.Concat(piece, piece), true); err == nil {
			err = w.flush(true)
			if err == nil {
				t.Error("no error")
			}
		}
	}
}

// allCancelled tells whether every operation that runs was told to end.
func (s *Server) allCancelled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		for _, op := range c.ops {
			if !op.cancelled.Load() {
				c.mu.Unlock()
				return false
			}
		}
		c.mu.Unlock()
	}
	return true
}
