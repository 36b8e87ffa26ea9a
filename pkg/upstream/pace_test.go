package upstream

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A connection is put off once a whole second had many messages of persist stages, and only
// as long as seconds have them; never one that was read last some time ago.
func TestPace(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	type read struct {
		ms, messages int
		others       bool
		pause        time.Duration // right after it
	}
	for name, reads := range map[string][]read{
		"one by one":      {{0, 1, false, 0}, {900, busyMessages - 2, false, 0}, {1000, 1, false, 0}, {1001, 1, false, 0}, {2000, 1, false, 0}},
		"many":            {{0, 1, false, 0}, {900, busyMessages - 1, false, 0}, {1000, 1, false, gather}, {1005, 5, false, gather}},
		"it ends":         {{0, busyMessages, false, 0}, {1100, 1, false, gather}, {2200, 1, false, 0}},
		"then silence":    {{0, busyMessages, false, 0}, {1100, busyMessages, false, gather}, {3100, 1, false, 0}},
		"a first flood":   {{5000, 100 * busyMessages, false, 0}, {5999, busyMessages, false, 0}, {6000, 1, false, gather}},
		"a refresh comes": {{0, busyMessages, false, 0}, {1100, 1, false, gather}, {1105, 1, true, 0}, {1900, busyMessages - 1, false, 0}, {2105, 1, false, 0}},
	} {
		p := pace{second: start}
		for i, r := range reads {
			p.came(at(r.ms), r.messages, r.others)
			if got := p.pause(at(r.ms)); got != r.pause {
				t.Errorf("%s: after read %d it waits %v, want %v", name, i, got, r.pause)
			}
			for after, want := range map[time.Duration]time.Duration{gather / 5: max(0, r.pause-gather/5), gather: 0, time.Minute: 0} {
				if got := p.pause(at(r.ms).Add(after)); got != want {
					t.Errorf("%s: %v after read %d it waits %v, want %v", name, after, i, got, want)
				}
			}
		}
	}
}

// unread is a wire that nobody reads yet, and the server's end of it.
func unread(t *testing.T) (w *wire, far net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	w = newWire(near, near, Options{}.withDefaults(), func() {})
	t.Cleanup(func() { far.Close(); w.Close() })
	return w, far
}

// send writes entries for a search, and reads what the reader makes of them.
func send(t *testing.T, w *wire, far net.Conn, s *search, n int) {
	t.Helper()
	var stream []byte
	for i := range n {
		m := entry(i)
		m.MessageID = int64(s.id)
		stream = m.Append(stream)
	}
	wrote := make(chan error, 1)
	go func() { _, err := far.Write(stream); wrote <- err }()
	for taken := 0; taken < len(stream); {
		if err := w.fill(); err != nil {
			t.Fatal(err)
		}
		got, err := s.take(nil)
		if err != nil {
			t.Fatal(err)
		}
		taken += len(got)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}

// What counts are messages of searches whose refresh is over; a refresh is never put off, and
// answers to other requests neither count nor end it.
func TestPaceOfSearches(t *testing.T) {
	w, far := unread(t)
	searches := [2]*search{}
	for i := range searches {
		s := &search{w: w, id: w.next, sync: true, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
		w.searches[s.id], searches[i] = s, s
		w.next++
	}
	second := func(s *search) {
		w.pace.second = time.Now()
		send(t, w, far, s, 2*busyMessages)
		w.pace.second = time.Now().Add(-time.Second)
		send(t, w, far, s, 1)
	}
	s, refreshing := searches[0], searches[1]
	second(s)
	if w.pace.busy {
		t.Fatal("a refresh makes it busy")
	}
	s.settle()
	deadline := time.Now().Add(30 * time.Second) // a second is over too soon where the machine stands still
	for busy := false; !busy; {
		if time.Now().After(deadline) {
			t.Fatal("many changes do not make it busy, or an answer to another request ends that")
		}
		second(s)
		go far.Write(response(1, tagExtendedResponse, 0, "x"))
		if err := w.fill(); err != nil || len(w.plain) == 0 {
			t.Fatalf("an answer to another request: %v, %d octets", err, len(w.plain))
		}
		busy = w.pace.busy
	}
	send(t, w, far, refreshing, 1)
	if w.pace.busy {
		t.Error("it is busy amid a refresh")
	}
}

// A connection that is being put off can be closed.
func TestPutOffEndsWithTheConnection(t *testing.T) {
	w, _ := unread(t)
	w.pace = pace{busy: true, last: time.Now().Add(time.Hour)}
	ended := make(chan error, 1)
	go func() { _, err := w.Read(make([]byte, 1)); ended <- err }()
	w.Close()
	select {
	case err := <-ended:
		if err == nil || !errors.Is(w.cause(), errClosed) {
			t.Errorf("it ends with %v, by %v", err, w.cause())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the reader still waits")
	}
}

// A read of TLS gives one record of what may be many, and one that took all that there was room for leaves some: the next
// is not put off.
func TestPaceOfMoreToCome(t *testing.T) {
	for name, prepare := range map[string]func(w *wire){
		"TLS":         func(w *wire) { w.Conn = struct{ net.Conn }{w.raw} },
		"a full read": func(w *wire) { w.filled = true },
	} {
		w, far := unread(t)
		w.pace = pace{busy: true, last: time.Now().Add(time.Hour)}
		prepare(w)
		go far.Write(response(1, tagExtendedResponse, 0, "x"))
		done := make(chan error, 1)
		go func() { done <- w.fill() }()
		select {
		case err := <-done:
			if err != nil || w.filled {
				t.Errorf("%s: %v, full %v", name, err, w.filled)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the read is put off", name)
		}
	}
}
