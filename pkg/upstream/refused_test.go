package upstream

import (
	"sync/atomic"
	"testing"
)

// A search too many may be refused before those beside it have been answered: their
// number counts all the same, and the refused one gets another connection.
func TestRefusedBeforeOthersAreAnswered(t *testing.T) {
	noLeak(t)
	const takes = 3
	first := make(chan *session, 1)
	s := listen(t, &server{sync: func(s *session, r request) {
		switch s.asked = append(s.asked, r.id); {
		case s.number > 1: // it has come back, and so learnt
			s.refresh(1, "c")
			one := <-first
			for _, one.search = range one.asked[:takes] {
				one.refresh(1, "c")
			}
		case len(s.asked) > takes:
			s.fail(51, "too many")
			if len(s.asked) == takes+1 {
				first <- s
			}
		}
	}})
	o, dials := pooled()
	links := make([]*Link, takes+1)
	for i := range links {
		links[i] = follow(t, below(s.source(), i), newRecorder(), o)
	}
	allLive(t, links)
	if n, shared := dials.Load(), o.Pool.size(); n != 2 || shared != 2 {
		t.Errorf("%d connections were made, %d are shared", n, shared)
	}
}

// A search that was refused alone while its server was busy, and then for being too
// many, comes through in the end.
func TestRefusedAloneAndThenForTooMany(t *testing.T) {
	noLeak(t)
	var busy atomic.Bool
	busy.Store(true)
	s := listen(t, &server{sync: func(s *session, r request) {
		if s.count++; busy.Load() || s.count > 1 {
			s.fail(51, "busy")
			return
		}
		s.refresh(1, "c")
	}})
	o, _ := pooled()
	other := newRecorder()
	refused, c := newRecorder(), newClock()
	patient := o
	patient.After = c.after
	follow(t, below(s.source(), 0), refused, patient)
	wantReason(t, refused.await(t, Down).Reason, "busy")
	c.next(t)
	busy.Store(false)
	follow(t, below(s.source(), 1), other, o)
	other.await(t, Live)
	c.end(t)
	c.next(t)
	c.end(t)
	refused.await(t, Live)
	if n := o.Pool.size(); n != 1 {
		t.Errorf("%d connections are shared", n)
	}
}
