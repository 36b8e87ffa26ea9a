package upstream

import (
	"testing"
	"time"
)

// A probe asks again and again, and tells each time what it found.
func TestProbe(t *testing.T) {
	noLeak(t)
	answers := make(chan func(s *session, r request), 10)
	s := listen(t, &server{plain: func(s *session, r request) { (<-answers)(s, r) }})
	c := newClock()
	reports := make(chan Status, 10)
	o := quick()
	o.After, o.Rand = c.after, func() float64 { return 0.5 }
	o.DialTimeout = time.Second
	l := Probe(s.source(), 7*time.Second, func(s Status) { reports <- s }, o)
	defer l.Close()
	found := func(s *session, r request) {
		s.send(searchEntry(r.id, "dc=example,dc=org"))
		s.send(response(r.id, 0x65, 0, ""))
	}
	for i, test := range []struct {
		answer func(s *session, r request)
		state  State
		reason string
	}{
		{found, Live, ""},
		{found, Live, ""},
		{func(s *session, r request) { s.send(response(r.id, 0x65, 32, "")) }, Down, "is not there"},
		{func(s *session, r request) { s.send(response(r.id, 0x65, 0, "")) }, Down, "cannot be read"},
		{func(s *session, r request) { s.send(response(r.id, 0x65, 50, "go away")) }, Down, "insufficient access rights (50): go away"},
		{func(s *session, r request) {}, Down, "no answer within 1s"},
		{func(s *session, r request) { s.Close() }, Down, "connection lost"},
		{found, Live, ""},
	} {
		if i > 0 {
			c.end(t)
		}
		answers <- test.answer
		if d := c.next(t); d != 5250*time.Millisecond {
			t.Errorf("pause of %v", d)
		}
		got := next(t, reports)
		if got.State != test.state || got.LastContact.IsZero() {
			t.Errorf("probe %d: %+v", i, got)
		}
		wantReason(t, got.Reason, test.reason)
		if l.Status().State != test.state {
			t.Errorf("probe %d: status %+v", i, l.Status())
		}
	}
}

func TestProbeOfAServerThatIsAway(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{})
	s.stop()
	reports := make(chan Status, 10)
	l := Probe(s.source(), time.Hour, func(s Status) { reports <- s }, quick())
	got := next(t, reports)
	l.Close()
	if got.State != Down || got.Online() || !got.LastContact.IsZero() {
		t.Errorf("got %+v", got)
	}
	wantReason(t, got.Reason, "connection refused")
}
