package upstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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
