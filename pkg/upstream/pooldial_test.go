package upstream

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"shaft/pkg/syncrepl"
)

// R13: links that share connections dial a server that is away as often as one link
// would, however many they are, and learn at once that it is back.
func TestManyLinksDialAsOne(t *testing.T) {
	var now time.Time
	dials, away := 0, errors.New("no route")
	o := Options{
		Pool: NewPool(), Now: func() time.Time { return now }, Rand: func() float64 { return 0.5 },
		MinBackoff: time.Second, MaxBackoff: 8 * time.Second,
		Dial: func(context.Context, string, string) (net.Conn, error) { dials++; return nil, away },
	}.withDefaults()
	src, _, err := ParseURL("ldap://192.0.2.1:3890/o=Away")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Unix(1e9, 0)
	var at []time.Duration
	for now = begun; now.Before(begun.Add(30 * time.Second)); now = now.Add(100 * time.Millisecond) {
		before := dials
		for range 50 {
			if _, err := o.lease(t.Context(), src, false, func() {}); !errors.Is(err, away) {
				t.Fatalf("at %v: %v", now.Sub(begun), err)
			}
		}
		if dials > before {
			at = append(at, now.Sub(begun))
		}
	}
	if dials != len(at) || len(at) < 5 || len(at) > 8 {
		t.Errorf("%d dials, at %v", dials, at)
	}
	for i := 2; i < len(at); i++ {
		if at[i]-at[i-1] < at[i-1]-at[i-2] {
			t.Errorf("the pauses do not grow: %v", at)
		}
	}
	dials = 0
	src.Base = "o=Elsewhere"
	if _, err := o.lease(t.Context(), src, false, func() {}); !errors.Is(err, away) || dials > 1 {
		t.Errorf("another base of that server: %v after %d dials", err, dials)
	}
}

// A server that takes connections, and hangs up on every search, is dialled as often as
// one link would, however many there are; once a connection has lasted its end is
// nothing that the next has to wait for.
func TestHangsUpAtOnce(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.Close() }})
	now := time.Unix(1e9, 0)
	o := Options{
		Pool: NewPool(), Now: func() time.Time { return now }, Rand: func() float64 { return 0.5 },
		MinBackoff: time.Second, MaxBackoff: 8 * time.Second,
	}.withDefaults()
	// search is what a link does; lasted is for how long the connection stands before.
	search := func(lasted time.Duration) bool {
		l, err := o.lease(t.Context(), s.source(), false, func() {})
		if err != nil {
			wantReason(t, err.Error(), "connection lost")
			return false
		}
		defer l.leave()
		now = now.Add(lasted)
		if _, err := l.wire.begin(t.Context(), true, func(id int32) []byte {
			return syncrepl.AppendSearch(nil, id, syncrepl.Request{Mode: syncrepl.RefreshAndPersist})
		}); err != nil {
			t.Fatal(err)
		}
		next(t, l.wire.closed)
		return true
	}
	var at []time.Duration
	for begun := now; now.Before(begun.Add(30 * time.Second)); now = now.Add(100 * time.Millisecond) {
		for range 50 {
			if search(0) {
				at = append(at, now.Sub(begun))
			}
		}
	}
	if len(at) < 5 || len(at) > 8 {
		t.Errorf("%d connections, at %v", len(at), at)
	}
	now = now.Add(o.MaxBackoff)
	for i := range 3 {
		if !search(o.MinBackoff) {
			t.Errorf("connection %d was not made though the one before had lasted", i)
		}
	}
}

// Who leaves a connection that stands has it begin anew with the shortest pause.
func TestPartingIsNoFailure(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{})
	o := Options{Pool: NewPool(), Now: func() time.Time { return time.Unix(1e9, 0) }, MinBackoff: time.Second}.withDefaults()
	g := o.Pool.group(identity(s.source()))
	g.pauses.next = time.Hour
	for range 3 {
		l, err := o.lease(t.Context(), s.source(), false, func() {})
		if err != nil {
			t.Fatal(err)
		}
		l.leave()
		if g.failure != nil || g.pauses.next != 0 {
			t.Errorf("%v is told, and the next pause is %v", g.failure, g.pauses.next)
		}
	}
}

// R15: connections to whatever servers begin apart where many begin at a time, those of
// probes and of links that share none too.
func TestConnectionsBeginApart(t *testing.T) {
	p, begun := NewPool(), time.Now()
	for range maxAtOnce {
		p.pace(t.Context())
	}
	if p.paced.After(time.Now()) {
		t.Error("the first have waited")
	}
	const more = 40
	o := Options{Pool: p, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no") }}.withDefaults()
	src, _, err := ParseURL("ldap://192.0.2.1:3890/o=Away")
	if err != nil {
		t.Fatal(err)
	}
	for range more {
		if _, err := open(t.Context(), src, o, func() {}); err == nil {
			t.Fatal("it was let in")
		}
	}
	if took := time.Since(begun); took < more*paceOf {
		t.Errorf("%d beyond the first took %v", more, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.paced = time.Now().Add(time.Hour)
	cancel()
	if _, err := open(ctx, src, o, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("while it waits: %v", err)
	}
}

// R13: the first link that finds its server back spares the others their pauses.
func TestBackForAll(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1, "c") }})
	o, _ := pooled()
	var away atomic.Bool
	var hours atomic.Int64
	dial := o.Dial
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if away.Load() {
			return nil, errors.New("no route")
		}
		return dial(ctx, network, address)
	}
	o.Now = func() time.Time { return time.Unix(1e9, 0).Add(time.Duration(hours.Load()) * time.Hour) }
	clocks, recorders := make([]*clock, 20), make([]*recorder, 20)
	for i := range recorders {
		recorders[i], clocks[i] = newRecorder(), newClock()
		o.After = clocks[i].after
		follow(t, below(s.source(), i), recorders[i], o)
	}
	for _, r := range recorders {
		r.await(t, Live)
	}
	away.Store(true)
	hours.Add(1) // the connection has lasted
	s.hangUp()
	for i, r := range recorders {
		wantReason(t, r.await(t, Down).Reason, "connection lost")
		clocks[i].next(t)
	}
	clocks[0].end(t)
	wantReason(t, recorders[0].await(t, Down).Reason, "no route")
	clocks[0].next(t)
	away.Store(false)
	hours.Add(1) // the pause of all is over
	clocks[0].end(t)
	for _, r := range recorders {
		r.await(t, Live)
	}
	for i, c := range clocks[1:] {
		if n := len(c.pauses); n > 0 {
			t.Errorf("link %d has paused %d times more", i+1, n)
		}
	}
}

// While a server does not answer one connection is tried, for all links, however few
// it may carry; of several that fail at a time one counts.
func TestOneDialWhileAway(t *testing.T) {
	noLeak(t)
	const many = 50
	gate, dials := make(chan struct{}), make(chan struct{}, many)
	o := Options{Pool: NewPool(), MinBackoff: time.Hour, MaxBackoff: 8 * time.Hour, Rand: func() float64 { return 0.5 },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dials <- struct{}{}
			<-gate
			return nil, errors.New("no answer")
		}}.withDefaults()
	src, _, err := ParseURL("ldap://192.0.2.1:3890/o=Away")
	if err != nil {
		t.Fatal(err)
	}
	g := o.Pool.group(identity(src))
	g.limit = 1
	failed := make(chan error, many)
	for range many {
		go func() {
			_, err := o.lease(t.Context(), src, false, func() {})
			failed <- err
		}()
	}
	next(t, dials)
	users := func() (n int32) {
		o.Pool.mu.Lock()
		defer o.Pool.mu.Unlock()
		for _, s := range g.conns {
			n += s.users.Load()
		}
		return n
	}
	for deadline := time.Now().Add(patience); users() < many; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d await the connection", users())
		}
	}
	close(gate)
	for range many {
		wantReason(t, next(t, failed).Error(), "no answer")
	}
	if len(dials) > 0 || g.pauses.next != 2*time.Hour {
		t.Errorf("%d connections more were tried, the next pause is %v", len(dials), g.pauses.next)
	}
	g.fail(errors.New("another"), o)
	if g.failure.Error() == "another" || g.pauses.next != 2*time.Hour {
		t.Errorf("%v is told, the next pause is %v", g.failure, g.pauses.next)
	}
}
