package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// ticker is a healthy source: changes that come at once, and when each arrived.
type ticker struct {
	*recorder
	change chan int // its number is in the cookie
}

// healthy follows a server that sends a change, with a cookie, when told to.
func healthy(t *testing.T, o Options) *ticker {
	t.Helper()
	change := make(chan int)
	s := listen(t, &server{sync: func(s *session, r request) {
		s.refresh(1, "c")
		for i := range change {
			m := entry(1)
			m.Cookie, m.HasCookie = fmt.Appendf(nil, "t%d", i), true
			s.message(m)
		}
	}})
	t.Cleanup(func() { close(change) })
	r := newRecorder()
	follow(t, s.source(), r, o)
	r.await(t, Live)
	return &ticker{r, change}
}

// latency is the 90th percentile of a number of changes.
func (k *ticker) latency(t *testing.T, n int) time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range n {
		begun := time.Now()
		k.change <- i
		k.happens(t, fmt.Sprint("cookie t", i))
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[n*9/10]
}

// R15: whatever a server does, changes of another one arrive as they did.
func TestR15LatencyBesideBadSources(t *testing.T) {
	for name, bad := range map[string]func(s *session, r request){
		"floods": func(s *session, r request) {
			s.refresh(0, "c")
			for i := 0; ; i++ {
				m := entry(i % 1000)
				m.MessageID = s.search
				if _, err := s.Write(m.Append(nil)); err != nil {
					return
				}
			}
		},
		"stalls":       func(s *session, r request) { s.message(entry(0)) },
		"is not heard": func(s *session, r request) { s.Write([]byte{0x30, 0x84, 0x03, 0xff, 0xff, 0xff}) },
		"garbage":      func(s *session, r request) { s.Write([]byte("HTTP/1.0 400 Bad Request\r\n")) },
		"lies": func(s *session, r request) {
			s.message(syncrepl.Message{Kind: syncrepl.KindRefreshDelete, RefreshDone: true})
			s.message(syncrepl.Message{Kind: syncrepl.KindRefreshDelete, RefreshDone: true})
		},
		"hangs up": func(s *session, r request) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			o, _ := pooled()
			good := healthy(t, o)
			alone := good.latency(t, 50)
			started := make(chan struct{}, 1000)
			s := listen(t, &server{sync: func(s *session, r request) {
				started <- struct{}{}
				bad(s, r)
			}})
			for i := range 5 {
				follow(t, below(s.source(), i), sinkhole{}, o)
			}
			<-started
			beside := good.latency(t, 200)
			t.Logf("%v alone, %v beside", alone, beside)
			if beside > 10*alone+200*time.Millisecond {
				t.Errorf("%v beside it, %v before", beside, alone)
			}
		})
	}
}

// sinkhole is a feed that keeps nothing.
type sinkhole struct{}

func (sinkhole) Begin(context.Context, string) ([]byte, syncrepl.Sink, error) {
	return nil, sinkhole{}, nil
}
func (sinkhole) Forget(context.Context) error   { return nil }
func (sinkhole) End(error)                      {}
func (sinkhole) Report(Status)                  {}
func (sinkhole) Put(syncrepl.Entry) error       { return nil }
func (sinkhole) Present([]dit.UUID) error       { return nil }
func (sinkhole) Delete([]dit.UUID) error        { return nil }
func (sinkhole) RefreshDone(syncrepl.End) error { return nil }
func (sinkhole) Cookie([]byte) error            { return nil }
func (sinkhole) Flush() error                   { return nil }

// R15: a slapd that is stopped in its tracks costs the links to another server
// nothing; its own say so, and come back.
func TestR15StoppedSlapdBesideAnother(t *testing.T) {
	noLeak(t)
	stopped := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "dc=example,dc=org", LDIF: slapdLDIF})
	o, _ := pooled()
	o.Idle, o.Patience = 200*time.Millisecond, time.Second
	good := healthy(t, Options{Pool: o.Pool})
	src := Source{Protocol: "ldap", Host: "127.0.0.1", Port: stopped.Port, Base: "dc=example,dc=org"}
	src.fill()
	one := src
	one.Base = "cn=one," + src.Base
	a, b := newRecorder(), newRecorder()
	follow(t, src, a, o)
	follow(t, one, b, o)
	a.await(t, Live)
	b.await(t, Live)
	before := good.latency(t, 50)
	stopped.Pause()
	during := good.latency(t, 200)
	var downs sync.WaitGroup
	for _, r := range []*recorder{a, b} {
		downs.Go(func() {
			for s := range r.statuses {
				if s.State == Down && strings.Contains(s.Reason, "silent") {
					return
				}
			}
		})
	}
	downs.Wait()
	stopped.Continue()
	a.await(t, Live)
	b.await(t, Live)
	if during > 10*before+200*time.Millisecond {
		t.Errorf("%v beside it, %v before", during, before)
	}
}

// clogged is a connection that takes no more octets once it is shut.
type clogged struct {
	net.Conn
	shut   atomic.Bool
	wrote  chan struct{} // closed when a search below ou=u1 hangs
	closed chan struct{}
	once   sync.Once
}

func (c *clogged) Write(p []byte) (int, error) {
	if c.shut.Load() {
		if bytes.Contains(p, []byte("ou=u1,")) {
			close(c.wrote)
		}
		<-c.closed
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *clogged) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// R15: a link closes soon although the server of a shared connection takes no
// request: whoever closes it has others to care for.
func TestR15CloseWhileTheServerTakesNothing(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1, "c") }})
	o, _ := pooled()
	dialled := make(chan *clogged, 10)
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &clogged{Conn: raw, wrote: make(chan struct{}), closed: make(chan struct{})}
		dialled <- c
		return c, nil
	}
	first := newRecorder()
	follow(t, below(s.source(), 0), first, o)
	first.await(t, Live)
	c := next(t, dialled)
	c.shut.Store(true)
	second := Follow(below(s.source(), 1), newRecorder(), o)
	next(t, c.wrote)
	begun := time.Now()
	second.Close()
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("closing took %v", d)
	}
}

// R15: nor does it go on with what a plain search has brought already.
func TestR15CloseAmidAPlainSearch(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{plain: func(s *session, r request) {
		var all []byte
		for i := range 100 {
			all = append(all, found(r.id, i)...)
		}
		s.send(append(all, response(r.id, 0x65, 0, "")...))
	}})
	o, _ := pooled()
	ctx, cancel := context.WithCancel(t.Context())
	r := newRecorder()
	r.put = func(context.Context) error { cancel(); return nil }
	if err := Collect(ctx, s.source(), r, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, puts := r.count(); puts != 1 {
		t.Errorf("%d entries were taken", puts)
	}
}
