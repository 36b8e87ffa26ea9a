package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// pooled are quick options with a pool, and a count of what is dialled.
func pooled() (o Options, dials *atomic.Int32) {
	o, dials = quick(), new(atomic.Int32)
	o.Pool = NewPool()
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return o, dials
}

// below gives the source another base, so that it is another search.
func below(src Source, i int) Source {
	src.Base = fmt.Sprintf("ou=u%d,%s", i, src.Base)
	return src
}

// What is said in each search does not part two sources; whatever says where
// and who does.
func TestIdentity(t *testing.T) {
	src := Source{Protocol: "ldap", Host: "h", Port: 389, Base: "dc=x", Filter: AllEntries, Scope: "sub"}
	same, other := src, src
	same.Base, same.Filter, same.Scope, same.Attributes, same.Poll = "dc=y", "(cn=x)", "one", []string{"cn"}, 1
	if identity(src) != identity(same) {
		t.Error("two searches of one server are told apart")
	}
	for name, change := range map[string]func(){
		"protocol": func() { other.Protocol = "ldaps" }, "host": func() { other.Host = "i" }, "port": func() { other.Port++ },
		"server": func() { other.Servers = []Server{{Host: "i"}} }, "starttls": func() { other.StartTLS = true },
		"bind": func() { other.BindDN = "cn=x" }, "password": func() { other.PasswordFile = "/x" }, "ca": func() { other.CAFile = "/x" },
		"sasl": func() { other.SASLExternal = true }, "certificate": func() { other.CertFile = "/x" }, "key": func() { other.KeyFile = "/x" },
	} {
		other = src
		change()
		if identity(src) == identity(other) {
			t.Errorf("another %s is taken for the same", name)
		}
	}
}

// R18: hundreds of links to one server share a connection; one that leaves
// abandons its search, and the last closes the connection.
func TestR18LinksShareAConnection(t *testing.T) {
	noLeak(t)
	abandoned := make(chan int64, hundreds)
	s := listen(t, &server{unbound: make(chan struct{}, 10), abandoned: abandoned,
		sync: func(s *session, r request) { s.refresh(10, "c") }})
	o, dials := pooled()
	links, recorders := make([]*Link, hundreds), make([]*recorder, hundreds)
	for i := range links {
		recorders[i] = newRecorder()
		links[i] = follow(t, below(s.source(), i), recorders[i], o)
	}
	for i, r := range recorders {
		r.await(t, Live)
		if st := links[i].Status(); st.Server != s.ln.Addr().String() || st.Entries != 10 || st.LastContact.IsZero() {
			t.Errorf("status %+v", st)
		}
	}
	for _, l := range links[1:] {
		l.Close()
	}
	seen := map[int64]bool{}
	for range links[1:] {
		seen[next(t, abandoned)] = true
	}
	if len(seen) != len(links)-1 || dials.Load() != 1 || len(s.unbound) != 0 {
		t.Errorf("%d searches abandoned, %d connections, %d closed", len(seen), dials.Load(), len(s.unbound))
	}
	if st := links[0].Status(); st.State != Live {
		t.Errorf("the one that is left is %+v", st)
	}
	links[0].Close()
	next(t, s.unbound)
	if n := o.Pool.size(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// Who waits for a connection waits for one dial; its failure is everyone's, and
// is not tried again at once by each of them.
func TestOneDialForAll(t *testing.T) {
	noLeak(t)
	o, _ := pooled()
	o.MinBackoff, o.MaxBackoff = time.Hour, time.Hour
	var dials atomic.Int32
	gate := make(chan struct{})
	o.Dial = func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		<-gate
		return nil, errors.New("the cable is cut")
	}
	src := Source{Protocol: "ldap", Host: "127.0.0.1", Port: 1, Base: "dc=x"}
	src.fill()
	recorders := make([]*recorder, 50)
	for i := range recorders {
		recorders[i] = newRecorder()
		follow(t, below(src, i), recorders[i], o)
	}
	close(gate)
	for _, r := range recorders {
		wantReason(t, r.await(t, Down).Reason, "the cable is cut")
	}
	late := newRecorder()
	follow(t, src, late, o)
	wantReason(t, late.await(t, Down).Reason, "the cable is cut")
	if n := dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
}

// A connection that breaks ends the searches on it, each link says why, and
// they come back on one connection.
func TestASharedConnectionThatBreaks(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1, "c") }})
	o, dials := pooled()
	clocks, recorders := make([]*clock, 30), make([]*recorder, 30)
	for i := range recorders {
		recorders[i], clocks[i] = newRecorder(), newClock()
		o.After = clocks[i].after
		follow(t, below(s.source(), i), recorders[i], o)
	}
	for _, r := range recorders {
		r.await(t, Live)
	}
	s.hangUp()
	for i, r := range recorders {
		wantReason(t, r.await(t, Down).Reason, "connection lost")
		clocks[i].next(t)
	}
	for i, r := range recorders {
		clocks[i].end(t)
		r.await(t, Live)
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections were made", n)
	}
}

// R15: a link whose consumer stalls is taken off the shared connection after
// about a second, the others go on, and it does so on one of its own.
func TestR15StalledLinkLeavesTheSharedConnection(t *testing.T) {
	noLeak(t)
	const many = 20_000
	var sent atomic.Int64 // when the first search had been answered, UnixNano
	s := listen(t, &server{sync: func(s *session, r request) {
		if strings.Contains(string(r.frame), "ou=u0,") {
			s.refresh(many, "c")
			sent.CompareAndSwap(0, time.Now().UnixNano())
			return
		}
		s.refresh(10, "c")
	}})
	o, dials := pooled()
	o.trial = patience // the server answers nothing else while it sends
	stalled, release := newRecorder(), make(chan struct{})
	reached := make(chan struct{})
	var once sync.Once
	stalled.put = func(ctx context.Context) error {
		once.Do(func() { close(reached) })
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	slow := follow(t, below(s.source(), 0), stalled, o)
	next(t, reached)
	begun := time.Now()
	for i := range 5 {
		r := newRecorder()
		follow(t, below(s.source(), i+1), r, o)
		r.await(t, Live)
	}
	given := begun.Add(maxHeld)
	if at := time.Unix(0, sent.Load()); at.After(given) { // the test's server has to send all of it first, which takes a busy machine a while
		given = at
	}
	if d := time.Since(given); d > 2*time.Second {
		t.Errorf("the others waited for %v", maxHeld+d)
	}
	close(release)
	stalled.await(t, Live)
	if begins, _ := stalled.count(); begins != 2 || dials.Load() != 2 || !slow.impl.alone {
		t.Errorf("%d sessions, %d connections", begins, dials.Load())
	}
}

// R15: what is too large for a shared connection takes another one.
func TestR15LargeRefreshLeavesTheSharedConnection(t *testing.T) {
	noLeak(t)
	for name, script := range map[string]func(s *session){
		"refresh": func(s *session) { s.refresh(maxSharedRefresh/600, "c") },
		"message": func(s *session) {
			m := entry(1)
			for len(m.Attrs) < 2*maxShared {
				m.Attrs = append(m.Attrs, m.Attrs...)
			}
			s.message(m)
			s.refresh(1, "c")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, &server{sync: func(s *session, r request) {
				if strings.Contains(string(r.frame), "ou=u0,") {
					script(s)
				} else {
					s.refresh(1, "c")
				}
			}})
			o, dials := pooled()
			o.trial = patience // the server answers nothing else while it sends
			small, large := newRecorder(), newRecorder()
			follow(t, below(s.source(), 1), small, o)
			follow(t, below(s.source(), 0), large, o)
			small.await(t, Live)
			large.await(t, Live)
			if begins, _ := large.count(); begins != 2 || dials.Load() != 2 {
				t.Errorf("%d sessions, %d connections", begins, dials.Load())
			}
			if begins, _ := small.count(); begins != 1 {
				t.Errorf("the small one began %d times", begins)
			}
		})
	}
}

// A bounded number of refreshes runs at once.
func TestRefreshesTakeTurns(t *testing.T) {
	noLeak(t)
	started := make(chan *session, 100)
	s := listen(t, &server{sync: func(s *session, r request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.id)
		s.mu.Unlock()
		started <- s
	}})
	o, _ := pooled()
	recorders := make([]*recorder, 3*maxRefreshes)
	for i := range recorders {
		recorders[i] = newRecorder()
		follow(t, below(s.source(), i), recorders[i], o)
	}
	live := 0
	for live < len(recorders) {
		one := <-started
		one.mu.Lock()
		pending := len(one.asked)
		id := one.asked[0]
		if pending == maxRefreshes || live+pending == len(recorders) {
			one.asked = one.asked[1:]
		}
		one.mu.Unlock()
		if pending > maxRefreshes {
			t.Fatalf("%d refreshes at once", pending)
		}
		if pending < maxRefreshes && live+pending < len(recorders) {
			continue
		}
		live++
		m := syncrepl.Message{MessageID: id, Kind: syncrepl.KindRefreshDelete, RefreshDone: true, HasCookie: true, Cookie: []byte("c")}
		one.send(m.Append(nil))
		if live+pending > len(recorders) {
			started <- one // nobody begins any more: go on with those that wait
		}
	}
	for _, r := range recorders {
		r.await(t, Live)
	}
}

// Silence is asked about once for all who share a connection.
func TestOneKeepaliveForAll(t *testing.T) {
	noLeak(t)
	var asked atomic.Int32
	s := listen(t, &server{
		sync:   func(s *session, r request) { s.refresh(1, "c") },
		whoAmI: func(s *session, r request) { asked.Add(1) },
	})
	o, _ := pooled()
	o.Idle, o.Patience, o.MinBackoff, o.MaxBackoff = time.Second, time.Second, time.Hour, time.Hour
	recorders := make([]*recorder, 10)
	for i := range recorders {
		recorders[i] = newRecorder()
		follow(t, below(s.source(), i), recorders[i], o)
	}
	for _, r := range recorders {
		wantReason(t, r.await(t, Down).Reason, "silent for 2s")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A server that is busy with one more search has those that it took go on, and
// gives the next a connection of their own.
func TestRefusedForBeingTooMany(t *testing.T) {
	noLeak(t)
	for _, code := range []int{51, 11} {
		s := listen(t, &server{sync: func(s *session, r request) {
			if s.count++; s.count > 3 {
				s.fail(code, "too many")
				return
			}
			s.refresh(1, "c")
		}})
		o, dials := pooled()
		recorders := make([]*recorder, 9)
		for i := range recorders {
			recorders[i] = newRecorder()
			follow(t, below(s.source(), i), recorders[i], o)
		}
		for _, r := range recorders {
			r.await(t, Live)
		}
		if n := dials.Load(); n < 3 || n > 9 {
			t.Errorf("%d: %d connections", code, n)
		}
	}
}

// A server that hangs up on too many searches is given fewer.
func TestHungUpForBeingTooMany(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		if s.count++; s.count > 4 {
			s.Close()
			return
		}
		s.refresh(1, "c")
	}})
	o, _ := pooled()
	links := make([]*Link, 12)
	for i := range links {
		links[i] = follow(t, below(s.source(), i), newRecorder(), o)
	}
	allLive(t, links)
}

// A server that falls silent on too many searches, as slapd does, is given fewer,
// and is not taken for dead.
func TestSilentForBeingTooMany(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{
		sync: func(s *session, r request) {
			if s.count++; s.count <= 4 {
				s.refresh(1, "c")
			}
		},
		whoAmI: func(s *session, r request) {
			if s.count < 4 {
				s.send(response(r.id, tagExtendedResponse, 0, ""))
			}
		},
	})
	o, dials := pooled()
	o.trial = time.Second
	links := make([]*Link, 12)
	for i := range links {
		links[i] = follow(t, below(s.source(), i), newRecorder(), o)
	}
	allLive(t, links)
	if n := dials.Load(); n > 10 {
		t.Errorf("%d connections were made", n)
	}
}

// allLive waits until they are.
func allLive(t *testing.T, links []*Link) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		live := 0
		for _, l := range links {
			if l.Status().State == Live {
				live++
			}
		}
		if live == len(links) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d of %d are live", live, len(links))
		}
	}
}

// R15: garbage ends the connection that it came on, with all who share it, and no other.
func TestR15GarbageEndsOneConnection(t *testing.T) {
	noLeak(t)
	garbage := func(s *session, r request) {
		if strings.Contains(string(r.frame), "ou=u0,") {
			s.send(ber.AppendBytes(nil, ber.OctetString, []byte("garbage")))
			return
		}
		s.refresh(1, "c")
	}
	bad, good := listen(t, &server{sync: garbage}), listen(t, &server{sync: func(s *session, r request) { s.refresh(1, "c") }})
	o, _ := pooled()
	o.MinBackoff, o.MaxBackoff = time.Hour, time.Hour
	neighbour, culprit, other := newRecorder(), newRecorder(), newRecorder()
	follow(t, good.source(), other, o)
	other.await(t, Live)
	follow(t, below(bad.source(), 1), neighbour, o)
	neighbour.await(t, Live)
	follow(t, below(bad.source(), 0), culprit, o)
	for _, r := range []*recorder{neighbour, culprit} {
		wantReason(t, r.await(t, Down).Reason, "not an LDAP message")
	}
	if begins, _ := other.count(); begins != 1 || len(other.statuses) != 0 {
		t.Error("the other server's link noticed")
	}
}

// A malformed answer to one search ends that search.
func TestMalformedAnswerEndsOneSearch(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		if strings.Contains(string(r.frame), "ou=u0,") {
			s.message(syncrepl.Message{Kind: syncrepl.KindEntry, HasState: true, DN: []byte("cn=x")}) // no UUID
			return
		}
		s.refresh(1, "c")
	}})
	o, dials := pooled()
	o.MinBackoff, o.MaxBackoff = time.Hour, time.Hour
	neighbour, culprit := newRecorder(), newRecorder()
	follow(t, below(s.source(), 1), neighbour, o)
	neighbour.await(t, Live)
	follow(t, below(s.source(), 0), culprit, o)
	wantReason(t, culprit.await(t, Down).Reason, "has no entryUUID")
	if len(neighbour.statuses) != 0 || dials.Load() != 1 {
		t.Error("its neighbour noticed")
	}
}

// A search that the server refuses whoever is beside it does not part the others.
func TestRefusedForWhatItIs(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		if strings.Contains(string(r.frame), "ou=u0,") {
			s.fail(11, "look-through limit")
			return
		}
		s.refresh(1, "c")
	}})
	o, _ := pooled()
	first, refused, c := newRecorder(), newRecorder(), newClock()
	follow(t, below(s.source(), 1), first, o)
	first.await(t, Live)
	alone := o
	alone.After = c.after
	follow(t, below(s.source(), 0), refused, alone)
	for range 4 {
		c.next(t)
		c.end(t)
	}
	c.next(t)
	for i := range 10 {
		r := newRecorder()
		follow(t, below(s.source(), 2+i), r, o)
		r.await(t, Live)
	}
	if n := o.Pool.size(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
