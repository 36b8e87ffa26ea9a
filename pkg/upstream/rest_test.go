package upstream

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// asked is a sync search that a slapdLike server got.
type asked struct {
	s  *session
	id int64
}

func (a asked) say(m syncrepl.Message) {
	m.MessageID = a.id
	a.s.send(m.Append(nil))
}

// end ends the search as slapd does when its base was renamed.
func (a asked) end() {
	a.say(syncrepl.Message{Kind: syncrepl.KindDone, Code: 4096, Diagnostic: "search base has changed"})
}

// slapdLike is a server that says that it is a slapd, and has searches go on. Below ou=u7 it has more than goes
// beside others.
func slapdLike(t *testing.T) (*server, chan asked) {
	t.Helper()
	searches := make(chan asked, 10)
	s := &server{
		unbound: make(chan struct{}, 10), abandoned: make(chan int64, 10),
		sync: func(s *session, r request) {
			searches <- asked{s, r.id} // before the follower is live
			if bytes.Contains(r.frame, []byte("ou=u7,")) {
				large := entry(2)
				large.Attrs = dit.AppendAttr(large.Attrs, "description", strings.Repeat("x", maxShared/2))
				for range 2*maxSharedRefresh/maxShared + 1 {
					s.message(large)
				}
			}
			s.refresh(1, "c")
		},
	}
	s.plain = func(one *session, r request) {
		if bytes.Contains(r.frame, []byte("objectClass")) {
			m := syncrepl.Message{Kind: syncrepl.KindEntry, MessageID: r.id, Attrs: dit.AppendAttr(nil, "objectClass", "top", "OpenLDAProotDSE")}
			one.send(m.Append(nil))
		}
		one.send(response(r.id, ber.Tag(0x65), 0, ""))
	}
	return listen(t, s), searches
}

// on has the recorder do something with what it is to put.
func (r *recorder) on(put func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put = func(context.Context) error { return put() }
}

// R15, R21: a slapd is left alone with a search that is not wanted any more, and with
// its connection. One that it ends meanwhile, since the base was renamed, is not
// abandoned.
func TestSearchOfSlapdRests(t *testing.T) {
	noLeak(t)
	for name, part := range map[string]func(l *Link, r *recorder, a asked){
		"the link is closed": func(l *Link, r *recorder, a asked) { l.Close() },
		"the consumer has enough": func(l *Link, r *recorder, a asked) {
			r.on(func() error { return errors.New("another entry stands there") })
			a.say(entry(2))
			wantReason(t, r.await(t, Down).Reason, "stands there")
		},
		"the server ended it": func(l *Link, r *recorder, a asked) {
			a.end()
			r.await(t, Connecting)
			r.await(t, Live) // once more
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, searches := slapdLike(t)
			o, dials := pooled()
			o.resting, o.MinBackoff, o.MaxBackoff = time.Hour, time.Hour, time.Hour
			r, other, came := newRecorder(), newRecorder(), make(chan struct{})
			l := follow(t, s.source(), r, o)
			r.await(t, Live)
			first := next(t, searches)
			part(l, r, first)
			beside := follow(t, below(s.source(), 1), other, o)
			other.await(t, Live)
			if n := dials.Load(); n != 1 || len(s.unbound) != 0 || len(s.abandoned) != 0 {
				t.Errorf("%d connections were made, %d closed, %d searches abandoned", n, len(s.unbound), len(s.abandoned))
			}
			first.end()
			other.on(func() error { close(came); return nil })
			last := next(t, searches)
			for len(searches) > 0 { // one before it is of the link that began anew
				last = next(t, searches)
			}
			last.say(entry(3))
			next(t, came)
			l.Close()
			beside.Close()
			o.Pool.Close()
			next(t, s.unbound)
			for len(s.abandoned) > 0 {
				if id := <-s.abandoned; id == first.id {
					t.Error("the search that had ended was abandoned")
				}
			}
		})
	}
}

// R15: a full load that is large is alone beside a search that rests, as its link's own does when it begins anew, and is
// not begun again for it.
func TestR15LargeRefreshBesideARest(t *testing.T) {
	noLeak(t)
	s, searches := slapdLike(t)
	o, dials := pooled()
	o.resting = time.Hour
	before, after := newRecorder(), newRecorder()
	l := follow(t, s.source(), before, o)
	before.await(t, Live)
	next(t, searches)
	l.Close()
	follow(t, below(s.source(), 7), after, o)
	after.await(t, Live)
	if begins, _ := after.count(); begins != 1 || dials.Load() != 1 {
		t.Errorf("it began %d times, on %d connections", begins, dials.Load())
	}
	o.Pool.Close()
}

// A search that goes on is abandoned in the end.
func TestSearchThatRestedIsAbandoned(t *testing.T) {
	noLeak(t)
	s, searches := slapdLike(t)
	o, _ := pooled()
	o.resting = 10 * time.Millisecond
	r, other := newRecorder(), newRecorder()
	l := follow(t, s.source(), r, o)
	r.await(t, Live)
	first := next(t, searches)
	follow(t, below(s.source(), 1), other, o)
	other.await(t, Live)
	l.Close()
	if id := next(t, s.abandoned); id != first.id {
		t.Errorf("search %d was abandoned, not %d", id, first.id)
	}
}

// When the pool is closed nothing rests any more.
func TestPoolCloseEndsRests(t *testing.T) {
	noLeak(t)
	s, _ := slapdLike(t)
	o, dials := pooled()
	o.resting = time.Hour
	for range 2 {
		r := newRecorder()
		l := follow(t, s.source(), r, o)
		r.await(t, Live)
		l.Close()
		o.Pool.Close()
		next(t, s.unbound)
		if n := o.Pool.size(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections were made", n)
	}
}

// What is too much, has not come to its persist stage or is on no slapd does not rest.
func TestWhatDoesNotRest(t *testing.T) {
	slapd, other := &shared{openLDAP: true}, &shared{}
	for name, c := range map[string]struct {
		shared *shared
		more   int // searches that rest already
		change func(s *search)
		want   bool
	}{
		"a slapd's":              {slapd, 0, func(s *search) { s.settle() }, true},
		"one too many":           {slapd, maxResting, func(s *search) { s.settle() }, false},
		"another server's":       {other, 0, func(s *search) { s.settle() }, false},
		"in its refresh":         {slapd, 0, func(s *search) {}, false},
		"too slow":               {slapd, 0, func(s *search) { s.settle(); s.giveUp(errAlone) }, false},
		"on a broken connection": {slapd, 0, func(s *search) { s.settle(); s.w.err = errClosed; close(s.w.closed) }, false},
	} {
		s, _ := aloneOn(t)
		c.change(s)
		l := &lease{conn: &conn{wire: s.w}, pool: NewPool(), shared: c.shared}
		l.pool.resting = c.more
		if got := l.mayRest(s); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
