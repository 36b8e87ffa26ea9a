package ldaptest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// startRelayed starts a server that tells of entries 0 to 3, and a relay to it.
func startRelayed(t *testing.T) *Relay {
	t.Helper()
	s := start(t, Options{Suffix: DebianSuffix, LDIF: DebianLDIF})
	s.SetScript(func(q Search, p *syncrepl.Provider) (handled bool, err error) {
		for i := range 4 {
			err = errors.Join(err, p.Entry(syncrepl.StateAdd, dit.UUID{1}, fmt.Sprint(i), nil, nil))
		}
		if q.Sync != nil {
			<-q.Done
		}
		return true, err
	})
	r, err := StartRelay(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// nothingWithin is how long nothing has to come before nothing more is said to come.
const nothingWithin = 50 * time.Millisecond

// heard follows through a relay: it gives the names of that many entries, in the order in which they came, or of those
// before the connection ends, and how that ended.
func heard(t *testing.T, r *Relay, scope, most int) (got string, conn *ear, err error) {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	conn = newEar(nc)
	search := syncrepl.AppendSearch(nil, 7, syncrepl.Request{Base: DebianSuffix, Scope: scope, Mode: syncrepl.RefreshAndPersist,
		Filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}})
	for _, part := range [][]byte{search[:5], search[5:]} {
		if _, err := conn.Write(part); err != nil {
			return "", conn, err
		}
	}
	got, err = conn.listen(most, patience)
	return got, conn, err
}

// ear is a connection that is listened to.
type ear struct {
	net.Conn
	in *bufio.Reader
}

func newEar(nc net.Conn) *ear { return &ear{nc, bufio.NewReader(nc)} }

// listen gives the names of the next entries.
func (e *ear) listen(most int, within time.Duration) (got string, err error) {
	for len(got) < most {
		e.SetReadDeadline(time.Now().Add(within))
		frame, err := readFrame(e.in)
		if err != nil {
			return got, err
		}
		var m syncrepl.Message
		if err := syncrepl.Decode(frame, &m); err != nil {
			return got, err
		}
		got += string(m.DN)
	}
	return got, nil
}

// Each fault does what its name says, to the message that it is meant for.
func TestRelay(t *testing.T) {
	r := startRelayed(t)
	for _, c := range []struct {
		fault *Fault
		want  string
		ends  bool // else nothing more comes
		fired int
	}{
		{nil, "0123", false, 0},
		{&Fault{Kind: CloseBefore, At: 2}, "01", true, 1},
		{&Fault{Kind: CloseBefore}, "", true, 1},
		{&Fault{Kind: CloseBefore, At: 9}, "0123", false, 0},
		{&Fault{Kind: CloseWithin, At: 3}, "012", true, 1},
		{&Fault{Kind: CloseAfter, At: 1}, "01", true, 1},
		{&Fault{Kind: Stall, At: 1}, "0", false, 1},
		{&Fault{Kind: StallWithin, At: 1}, "0", false, 1},
		{&Fault{Kind: Delay, At: 1}, "0123", false, 1},
		{&Fault{Kind: Swap, At: 1}, "0213", false, 1},
		{&Fault{Kind: Swap, At: 3}, "012", false, 0},
		{&Fault{Kind: Twice, At: 1}, "01123", false, 1},
		{&Fault{Kind: Refuse}, "", true, 0},
		{&Fault{Kind: CloseWithin, Of: Replies, At: 3}, "012", true, 1},
		{&Fault{Kind: Swap, Of: Replies, At: 1}, "0213", false, 1},
		{&Fault{Kind: Swap, Of: Replies, At: 3}, "012", false, 1},
		{&Fault{Kind: CloseBefore, Of: Requests}, "", true, 1},
		{&Fault{Kind: CloseWithin, Of: Requests}, "", true, 1},
		{&Fault{Kind: CloseBefore, Of: Requests, At: 1}, "0123", false, 0},
		{&Fault{Kind: StallWithin, Of: Requests}, "", false, 1},
		{&Fault{Kind: Delay, Of: Requests}, "0123", false, 1},
		{&Fault{Kind: Swap, Of: Requests}, "", false, 1},
	} {
		r.Set(c.fault)
		most := len(c.want)
		if c.ends {
			most++
		}
		got, conn, err := heard(t, r, 2, most)
		if got != c.want || c.ends != (err != nil) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%+v: heard %q, %v", c.fault, got, err)
		}
		if more, err := conn.listen(1, nothingWithin); !c.ends && (more != "" || !errors.Is(err, os.ErrDeadlineExceeded)) {
			t.Errorf("%+v: heard %q besides, %v", c.fault, more, err)
		}
		conn.Close()
		for deadline := time.Now().Add(patience); r.Fired() < c.fired && time.Now().Before(deadline); {
			runtime.Gosched()
		}
		if r.Fired() != c.fired {
			t.Errorf("%+v: it happened %d times", c.fault, r.Fired())
		}
	}
}

// A reset may take along what came before it.
func TestRelayResets(t *testing.T) {
	r := startRelayed(t)
	r.Set(&Fault{Kind: RST, At: 2})
	if got, _, err := heard(t, r, 2, 4); !strings.HasPrefix("01", got) || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("heard %q, %v", got, err)
	}
}

// R35: faults of a connection happen to what is no sync search too, in both directions; replies are counted
// from the moment when the fault was set.
func TestRelayOfConnections(t *testing.T) {
	r := startRelayed(t)
	for _, c := range []struct {
		fault *Fault
		want  string
	}{
		{&Fault{Kind: CloseBefore, Of: Replies, At: 2}, "01"},
		{&Fault{Kind: CloseBefore, Of: Requests}, ""},
	} {
		r.Set(c.fault)
		got, _, err := heard(t, r, 0, 4)
		if got != c.want || err == nil || errors.Is(err, os.ErrDeadlineExceeded) || r.Fired() != 1 {
			t.Errorf("%+v: heard %q, %v, fired %d", c.fault, got, err, r.Fired())
		}
	}
	r.Set(&Fault{Kind: Stall, Of: Requests})
	_, conn, _ := heard(t, r, 0, 0)
	if more, err := conn.listen(1, nothingWithin); more != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("heard %q, %v", more, err)
	}
	if n := r.Heard(); n != 0 {
		t.Errorf("%d replies before the request is passed on", n)
	}
	r.Set(nil)
	if rest, err := conn.listen(4, patience); rest != "0123" || err != nil || r.Heard() != 4 {
		t.Errorf("heard %q, %v, %d replies", rest, err, r.Heard())
	}
}

// With Then, whatever follows is cut; taken back, all goes on where it stood.
func TestRelayTakesBack(t *testing.T) {
	r := startRelayed(t)
	r.Set(&Fault{Kind: CloseBefore, At: 1, Then: true})
	for i, want := range []string{"0", "", ""} {
		if got, _, err := heard(t, r, 2, 4); got != want || err == nil {
			t.Errorf("search %d heard %q, %v", i, got, err)
		}
	}
	for _, c := range []struct {
		kind       FaultKind
		held, rest string
	}{{Stall, "0", "123"}, {Swap, "012", "3"}} {
		at := 1
		if c.kind == Swap {
			at = 3
		}
		r.Set(&Fault{Kind: c.kind, At: at})
		got, conn, _ := heard(t, r, 2, len(c.held))
		if more, err := conn.listen(1, nothingWithin); more != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: heard %q besides, %v", c.kind, more, err)
		}
		r.Set(nil)
		rest, err := conn.listen(len(c.rest), patience)
		if got != c.held || rest != c.rest || err != nil {
			t.Errorf("%v: heard %q, then %q, %v", c.kind, got, rest, err)
		}
	}
}

// Searches of one entry, and requests that are no searches, are passed on as they are.
func TestRelayLeavesOthersAlone(t *testing.T) {
	r := startRelayed(t)
	r.Set(&Fault{Kind: CloseBefore})
	if got, _, err := heard(t, r, 0, 4); got != "0123" || err != nil {
		t.Errorf("heard %q, %v", got, err)
	}
	bind := ber.AppendBytes(nil, ber.Sequence, append(ber.AppendInt(nil, ber.Integer, 7), 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0))
	if _, sync := syncSearch(bind); sync || messageID(bind) != 7 {
		t.Errorf("a bind is taken for a sync search, or has another ID: %d", messageID(bind))
	}
	for n := range bind {
		if _, sync := syncSearch(bind[:n]); sync || messageID(bind[:n]) == 7 {
			t.Errorf("%d bytes are taken for a message", n)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0x30, 0x80, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := newEar(conn).listen(1, patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("what is no LDAP is passed on: %v", err)
	}
}
