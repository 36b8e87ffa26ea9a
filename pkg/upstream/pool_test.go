package upstream

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// hundreds is how many links a list may make.
const hundreds = 300

// R18: hundreds of links to one slapd, anonymous, go over few connections: as
// many as its threads call for, since it stops answering on a connection with
// more searches than half of them.
func TestR18HundredsOfLinksToSlapd(t *testing.T) {
	noLeak(t)
	for _, test := range []struct {
		name, global string
		links, most  int
	}{
		{"as it comes", "", hundreds, (hundreds + maxOpenLDAP - 1) / maxOpenLDAP},
		{"not telling what it is", "access to dn.base=\"\" by * none", 30, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			var content strings.Builder
			content.WriteString("dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n")
			for i := range hundreds {
				fmt.Fprintf(&content, "dn: ou=u%d,dc=example,dc=org\nobjectClass: organizationalUnit\nou: u%d\n\n", i, i)
			}
			s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "dc=example,dc=org", LDIF: content.String(),
				Global: test.global})
			o := quick()
			o.trial = time.Second
			o.Pool = NewPool()
			recorders := make([]*recorder, test.links)
			for i := range recorders {
				recorders[i] = newRecorder()
			}
			before, begun := heap(), time.Now()
			for i := range recorders {
				src := Source{Protocol: "ldap", Host: "127.0.0.1", Port: s.Port, Base: fmt.Sprintf("ou=u%d,dc=example,dc=org", i)}
				src.fill()
				follow(t, src, recorders[i], o)
			}
			for _, r := range recorders {
				r.await(t, Live)
			}
			t.Logf("all live after %v", time.Since(begun))
			came := make(chan struct{}, 2)
			for _, i := range []int{0, 29} {
				recorders[i].mu.Lock()
				recorders[i].put = func(context.Context) error { came <- struct{}{}; return nil }
				recorders[i].mu.Unlock()
			}
			s.Apply("dn: cn=x,ou=u0,dc=example,dc=org\nobjectClass: device\ncn: x\n\ndn: cn=x,ou=u29,dc=example,dc=org\nobjectClass: device\ncn: x\n")
			for range cap(came) {
				<-came
			}
			n := o.Pool.size()
			t.Logf("%d connections, %d KiB for each link", n, (heap()-before)/1024/uint64(test.links))
			if n > test.most {
				t.Errorf("%d connections, at most %d were to be", n, test.most)
			}
		})
	}
}

// heap is what is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// size is how many connections a pool holds.
func (p *Pool) size() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.groups {
		n += len(g.conns)
	}
	return n
}

// R15: a server that works on one request of a connection at a time, and is slow
// with each, is given fewer searches until all are live.
func TestR15OneSlowSearchAtATime(t *testing.T) {
	noLeak(t)
	const trial = 50 * time.Millisecond
	s := listen(t, &server{sync: func(s *session, r request) {
		tick := time.NewTimer(4 * trial)
		defer tick.Stop()
		<-tick.C
		s.refresh(1, "c")
	}})
	o, _ := pooled()
	o.trial = trial
	recorders := make([]*recorder, 3)
	for i := range recorders {
		recorders[i] = newRecorder()
		follow(t, below(s.source(), i), recorders[i], o)
	}
	for _, r := range recorders {
		r.await(t, Live)
	}
}

// A server that hangs up as soon as a second search waits is given one at a time.
func TestHungUpBeforeAnyAnswer(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		if s.count++; s.count > 1 {
			s.Close()
			return
		}
		first := *s
		time.AfterFunc(50*time.Millisecond, func() { first.refresh(1, "c") })
	}})
	o, _ := pooled()
	links := make([]*Link, 4)
	for i := range links {
		links[i] = follow(t, below(s.source(), i), newRecorder(), o)
	}
	allLive(t, links)
}

// A connection without message IDs left ends, so that no link is given it any more.
func TestNoMessageIDsLeft(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1, "c") }})
	o, dials := pooled()
	first, second := newRecorder(), newRecorder()
	follow(t, below(s.source(), 0), first, o)
	first.await(t, Live)
	for _, g := range o.Pool.groups {
		w := g.conns[0].conn.wire
		w.mu.Lock()
		w.next = math.MaxInt32
		w.mu.Unlock()
	}
	follow(t, below(s.source(), 1), second, o)
	second.await(t, Live)
	if dials.Load() != 2 {
		t.Errorf("%d connections", dials.Load())
	}
}
