package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// R12: updates arrive live by refreshAndPersist, and the cookie comes back
// with the next session.
func TestR12FollowsLiveAndResumes(t *testing.T) {
	noLeak(t)
	searches := make(chan []byte, 10)
	changes := make(chan syncrepl.Message)
	s := listen(t, &server{sync: func(s *session, r request) {
		searches <- r.frame
		s.refresh(2, fmt.Sprint("c", s.number))
		for m := range changes {
			if m.Kind == syncrepl.KindDone {
				s.Close()
				return
			}
			s.message(m)
		}
	}})
	defer close(changes)
	r, c := newRecorder(), newClock()
	o := quick()
	o.After = c.after
	l := follow(t, s.source(), r, o)
	for _, want := range []State{Connecting, Refreshing, Live} {
		if got := next(t, r.statuses); got.State != want {
			t.Fatalf("state %s, want %s", got.State, want)
		}
	}
	r.happens(t, "begin "+s.ln.Addr().String()+" ")
	r.happens(t, "refreshed c1")
	first := entry(7)
	first.Cookie, first.HasCookie = []byte("c1+"), true
	changes <- first
	r.happens(t, "cookie c1+")
	if s := l.Status(); !s.Online() || s.State != Live || s.LastContact.IsZero() {
		t.Errorf("status %+v", s)
	}
	changes <- syncrepl.Message{Kind: syncrepl.KindDone}
	wantReason(t, r.await(t, Down).Reason, "connection lost", "closed by the server")
	r.happens(t, "end")
	c.next(t)
	c.end(t)
	r.happens(t, "begin "+s.ln.Addr().String()+" c1+")
	r.await(t, Live)
	for i, cookie := range []string{"", "c1+"} {
		filter, _ := dit.ParseFilter(AllEntries)
		want := syncrepl.AppendSearch(nil, syncID, syncrepl.Request{
			Base: "dc=example,dc=org", Scope: 2, Filter: filter, Attributes: []string{"*", "+"},
			Mode: syncrepl.RefreshAndPersist, ReloadHint: true, Cookie: optional(cookie),
		})
		if got := next(t, searches); string(got) != string(want) {
			t.Errorf("search %d:\n% x, want\n% x", i, got, want)
		}
	}
	if s.binds.Load() != 0 {
		t.Error("an anonymous source was bound")
	}
}

func optional(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// R11: beside the attributes that are wanted, the object classes and the
// operational ones are asked for.
func TestR11RequestedAttributes(t *testing.T) {
	for _, test := range []struct{ given, want string }{
		{"", "* +"}, {"cn", "cn objectClass +"}, {"+ OBJECTCLASS cn", "+ OBJECTCLASS cn"}, {"*", "* objectClass +"},
	} {
		if got := strings.Join(requested(strings.Fields(test.given)), " "); got != test.want {
			t.Errorf("%q: %q, want %q", test.given, got, test.want)
		}
	}
}

// R33, R35: however a session ends, nothing but what the server said reaches
// the sink, and the link is down with a reason in words, then tries again.
func TestR33EndsAreReasonsAndRemoveNothing(t *testing.T) {
	noLeak(t)
	for _, test := range []struct {
		name   string
		sync   func(s *session, r request)
		reason []string
	}{
		{"base missing", func(s *session, r request) { s.fail(32, "") }, []string{`the base DN "dc=example,dc=org" is not there`, "(32)"}},
		{"size limit", func(s *session, r request) { s.message(entry(0)); s.fail(4, "") }, []string{"only a part", "size limit exceeded (4)"}},
		{"busy", func(s *session, r request) { s.fail(51, "come\x1b back") }, []string{"busy (51): come  back"}},
		{"cut in the refresh", func(s *session, r request) { s.message(entry(0)); s.Close() }, []string{"connection lost"}},
		{"cut in a message", func(s *session, r request) { s.Write([]byte{0x30, 0x20, 2}); s.Close() }, []string{"connection lost"}},
		{"notice", func(s *session, r request) { s.send(notice(52, "shutting down")) }, []string{"ended the session", "unavailable (52): shutting down"}},
		{"garbage", func(s *session, r request) { s.Write([]byte("HTTP/1.0 400\r\n")) }, []string{"message"}},
		{"garbage within", func(s *session, r request) { s.Write([]byte{0x30, 6, 2, 4, 0x40, 0, 0, 0}) }, []string{"malformed"}},
		{"too large", func(s *session, r request) { s.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 4}) }, []string{"2147483653 bytes", "67108864"}},
		{"no entryUUID", func(s *session, r request) { m := entry(0); m.UUID = dit.UUID{}; s.message(m) }, []string{"entryUUID"}},
		{"done too soon", func(s *session, r request) {
			s.message(syncrepl.Message{Kind: syncrepl.KindDone, HasSyncDone: true})
		}, []string{"search"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := listen(t, &server{sync: test.sync})
			r, c := newRecorder(), newClock()
			o := quick()
			o.After = c.after
			follow(t, s.source(), r, o)
			c.next(t)
			down := r.await(t, Down)
			wantReason(t, down.Reason, test.reason...)
			r.happens(t, "end")
			c.end(t)
			c.next(t)
			if begins, _ := r.count(); begins != 2 {
				t.Errorf("%d sessions", begins)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.deleted != 0 || r.cookie != nil {
				t.Errorf("%d entries deleted, cookie %q", r.deleted, r.cookie)
			}
		})
	}
}

// What keeps a connection from coming about is told in words too.
func TestConnectReasons(t *testing.T) {
	noLeak(t)
	closed := listen(t, &server{})
	closed.stop()
	mute := listen(t, &server{bindCode: 0, greet: func(s *session) {
		for {
			if _, err := s.read(); err != nil {
				return
			}
		}
	}})
	bound := mute.source()
	bound.BindDN, bound.PasswordFile = "cn=shaft", write(t, "s3cret\n")
	dead := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	unknown := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}
	}
	broken := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "server misbehaving", Name: "h"}
	}
	silent := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}
	}
	for _, test := range []struct {
		name   string
		src    Source
		dial   func(context.Context, string, string) (net.Conn, error)
		reason []string
	}{
		{"refused", closed.source(), nil, []string{"connect to " + closed.ln.Addr().String(), "connection refused"}},
		{"no answer", closed.source(), dead, []string{"connect to", "no answer within 1s"}},
		{"no such host", closed.source(), unknown, []string{"resolve 127.0.0.1: no such host"}},
		{"resolver broken", closed.source(), broken, []string{"resolve 127.0.0.1: server misbehaving"}},
		{"resolver silent", closed.source(), silent, []string{"resolve 127.0.0.1", "do not answer"}},
		{"bind unanswered", bound, nil, []string{"bind as cn=shaft: no answer within 1s"}},
		{"TLS unanswered", Source{Protocol: "ldaps", Host: "127.0.0.1", Port: bound.Port}, nil, []string{"TLS"}},
		{"StartTLS unanswered", Source{Protocol: "ldap", Host: "127.0.0.1", Port: bound.Port, StartTLS: true}, nil, []string{"StartTLS: no answer within 1s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, c := newRecorder(), newClock()
			follow(t, test.src, r, Options{Dial: test.dial, DialTimeout: time.Second, After: c.after})
			c.next(t)
			wantReason(t, r.await(t, Down).Reason, test.reason...)
		})
	}
}

// While the retries fail the link stays down since the first failure, and
// reports only another reason.
func TestDownStaysDown(t *testing.T) {
	noLeak(t)
	codes := make(chan int, 10)
	s := listen(t, &server{})
	s.sync = func(s *session, r request) { s.fail(<-codes, "") }
	refused := errors.New("not now")
	r, c := newRecorder(), newClock()
	r.refuse = func(begin int) error {
		if begin < 4 {
			return refused
		}
		if begin == 4 {
			return errors.New("not yet")
		}
		return nil
	}
	o := quick()
	o.After = c.after
	at := time.Unix(1000, 0)
	o.Now = func() time.Time { at = at.Add(time.Second); return at }
	follow(t, s.source(), r, o)
	for range 3 {
		c.next(t)
		c.end(t)
	}
	c.next(t)
	var got []string
	var since []time.Time
	for len(r.statuses) > 0 {
		s := next(t, r.statuses)
		got = append(got, string(s.State)+" "+s.Reason)
		since = append(since, s.Since)
	}
	if want := "connecting |down not now|down not yet"; strings.Join(got, "|") != want {
		t.Fatalf("got %q", got)
	}
	if !since[1].Equal(since[2]) || !since[0].Before(since[1]) {
		t.Errorf("since %v", since)
	}
	if len(r.ends) != 0 {
		t.Error("End without Begin")
	}
}

// Pauses double with half of them at random, and begin anew after a session
// that reached live.
func TestBackoff(t *testing.T) {
	noLeak(t)
	live := make(chan bool, 10)
	s := listen(t, &server{sync: func(s *session, r request) {
		if next(t, live) {
			s.refresh(0, "c")
		}
		s.Close()
	}})
	r, c := newRecorder(), newClock()
	random := 0.0
	follow(t, s.source(), r, Options{After: c.after, Rand: func() float64 { return random }})
	for i, test := range []struct {
		live   bool
		random float64
		want   time.Duration
	}{
		{false, 0, 500 * time.Millisecond}, {false, 0, time.Second}, {false, 0, 2 * time.Second},
		{false, 0, 4 * time.Second}, {false, 0, 8 * time.Second}, {false, 0, 16 * time.Second},
		{false, 0, 30 * time.Second}, {false, 0.5, 45 * time.Second}, {false, 0.5, 45 * time.Second},
		{true, 0.5, 750 * time.Millisecond}, {false, 0, time.Second}, {true, 0, 500 * time.Millisecond},
	} {
		if i > 0 {
			random = test.random
			c.end(t)
		}
		live <- test.live
		if got := c.next(t); got != test.want {
			t.Errorf("pause %d is %v, want %v", i, got, test.want)
		}
	}
}

// A demand for a full load drops the cookie and is met at once; a second one in
// a row waits.
func TestReloadForgetsTheCookie(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		if s.number == 4 {
			s.refresh(0, "new")
			return
		}
		s.fail(4096, "")
	}})
	r, c := newRecorder(), newClock()
	r.cookie = []byte("old")
	o := quick()
	o.After = c.after
	follow(t, s.source(), r, o)
	begin := "begin " + s.ln.Addr().String() + " "
	for _, event := range []string{begin + "old", "end", "forget", begin, "end", "forget"} {
		if got := next(t, r.events); got != event {
			t.Fatalf("%q, want %q", got, event)
		}
	}
	c.next(t)
	wantReason(t, r.await(t, Down).Reason, "reload")
	r.mu.Lock()
	r.forget = errors.New("disk full")
	r.mu.Unlock()
	c.end(t)
	c.next(t)
	wantReason(t, r.await(t, Down).Reason, "disk full")
	c.end(t)
	r.await(t, Live)
}

// R12: a server without SyncRepl is told apart from one that is down, and is
// asked again at the longest pause.
func TestR12UnsupportedIsNotDown(t *testing.T) {
	noLeak(t)
	for name, script := range map[string]func(*session, request){
		"12":            func(s *session, r request) { s.fail(12, "no overlay") },
		"plain entries": func(s *session, r request) { m := entry(0); m.HasState = false; s.message(m) },
		"plain done":    func(s *session, r request) { s.fail(0, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, &server{sync: script})
			r, c := newRecorder(), newClock()
			follow(t, s.source(), r, Options{After: c.after, Rand: func() float64 { return 0 }})
			if d := c.next(t); d != 30*time.Second {
				t.Errorf("pause of %v", d)
			}
			if got := next(t, r.statuses); got.State != Connecting {
				t.Errorf("state %s at first", got.State)
			}
			refused := next(t, r.statuses)
			if refused.State != Unsupported {
				t.Errorf("state %s: who refuses the search is not there in between", refused.State)
			}
			wantReason(t, refused.Reason, "RFC 4533")
			c.end(t)
			c.next(t)
			select {
			case got := <-r.statuses:
				t.Errorf("state %s of another refusal", got.State)
			default:
			}
		})
	}
}

// An error of the sink ends the session.
func TestSinkErrorIsTheReason(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1000, "c") }})
	r, c := newRecorder(), newClock()
	refused := errors.New("entry outside the base")
	r.put = func(context.Context) error { return refused }
	o := quick()
	o.After = c.after
	follow(t, s.source(), r, o)
	c.next(t)
	if s := r.await(t, Down); s.Reason != refused.Error() {
		t.Errorf("reason %q", s.Reason)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) != 1 || !errors.Is(r.ends[0], refused) {
		t.Errorf("ends %v", r.ends)
	}
}

// However much of what a server sent is in an error, the reason is short and
// fit to be printed.
func TestReasonIsBounded(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1000, "c") }})
	r, c := newRecorder(), newClock()
	r.put = func(context.Context) error { return errors.New("bad \x1b[2J\xff\n" + strings.Repeat("é", 2<<20)) }
	o := quick()
	o.After = c.after
	follow(t, s.source(), r, o)
	c.next(t)
	want := "bad  [2J\uFFFD " + strings.Repeat("é", 501) + "…"
	if s := r.await(t, Down); s.Reason != want {
		t.Errorf("reason of %d bytes: %.40q…", len(s.Reason), s.Reason)
	}
}

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""}, {"abcd", "abcd"}, {"abcde", "abc…"}, {"a\x00\x9bc", "a \uFFFDc"}, {"abc\xff", "abc\uFFFD"},
		{"abc\xff\xff", "abc…"}, {"éééé", "éééé"}, {"ééééé", "ééé…"}, {"a\u202eb\u0085", "a b "},
	} {
		if got := printable(test.text, 4); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

// A live peer that says nothing is asked who it takes us for; one that does
// not answer any more is found.
func TestSilentPeerIsFound(t *testing.T) {
	noLeak(t)
	asked := make(chan int64)
	abandoned := make(chan int64, 10)
	s := listen(t, &server{
		sync:      func(s *session, r request) { s.refresh(1, "c") },
		whoAmI:    func(s *session, r request) { asked <- r.id },
		abandoned: abandoned,
	})
	r := newRecorder()
	o := quick()
	o.Idle, o.Patience, o.MinBackoff, o.MaxBackoff = 20*time.Millisecond, 2*time.Second, time.Hour, time.Hour
	follow(t, s.source(), r, o)
	r.await(t, Live)
	answer := func(code int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions[0].Write(response(next(t, asked), tagExtendedResponse, code, ""))
	}
	answer(0)
	answer(2) // a refusal is an answer
	answer(0)
	next(t, asked)
	wantReason(t, r.await(t, Down).Reason, "silent for 2.02s", "does not answer")
	if n := len(abandoned); n > 0 {
		t.Errorf("%d answers were abandoned", n)
	}
}

// In the refresh each message must come in time.
func TestSilenceInTheRefresh(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.message(entry(0)) }})
	r := newRecorder()
	o := quick()
	o.Patience, o.MinBackoff, o.MaxBackoff = 50*time.Millisecond, time.Hour, time.Hour
	follow(t, s.source(), r, o)
	wantReason(t, r.await(t, Down).Reason, "no message for 50ms during the refresh")
}

// R15: a source whose sink is stalled is not read on, is not taken for dead
// meanwhile, and costs no other source anything.
func TestR15StalledSourceCostsOnlyItself(t *testing.T) {
	noLeak(t)
	const total = 20_000 // 14 MB, beyond what buffers take
	sent := make(chan struct{})
	slow := listen(t, &server{sync: func(s *session, r request) {
		s.refresh(total, "c")
		close(sent)
	}})
	release, stalled := make(chan struct{}), newRecorder()
	stalled.put = func(ctx context.Context) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o := quick()
	o.Idle, o.Patience = 10*time.Millisecond, 2*time.Second
	follow(t, slow.source(), stalled, o)
	stalled.await(t, Refreshing)
	for range 3 {
		other := listen(t, &server{sync: func(s *session, r request) { s.refresh(1000, "c") }})
		r := newRecorder()
		l := Follow(other.source(), r, quick())
		r.await(t, Live)
		l.Close()
	}
	select {
	case <-sent:
		t.Error("the stalled source was read to the end")
	default:
	}
	close(release)
	stalled.await(t, Live)
	if begins, puts := stalled.count(); begins != 1 || puts != total {
		t.Errorf("%d sessions, %d entries", begins, puts)
	}
}

// Close ends a link whatever it is doing, and waits.
func TestCloseStopsEverything(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(10_000, "c") }})
	mute := listen(t, &server{greet: func(s *session) { s.Read(make([]byte, 1)); s.Read(make([]byte, 1<<16)) }})
	blocked := make(chan struct{}, 1)
	block := func(ctx context.Context) error {
		select {
		case blocked <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}
	dialling := make(chan struct{})
	for name, arrange := range map[string]func(src *Source, r *recorder, o *Options) func(){
		"live": func(_ *Source, r *recorder, o *Options) func() { return func() { r.await(t, Live) } },
		"sink": func(_ *Source, r *recorder, o *Options) func() { r.put = block; return func() { <-blocked } },
		"pause": func(_ *Source, r *recorder, o *Options) func() {
			c := newClock()
			o.After = c.after
			r.refuse = func(int) error { return errors.New("no") }
			return func() { c.next(t) }
		},
		"dial": func(_ *Source, r *recorder, o *Options) func() {
			o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				close(dialling)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return func() { <-dialling }
		},
		"bind": func(src *Source, r *recorder, o *Options) func() {
			*src = mute.source()
			src.BindDN, src.PasswordFile = "cn=x", write(t, "x")
			o.DialTimeout = time.Hour
			return func() { r.await(t, Connecting) }
		},
		"StartTLS": func(src *Source, r *recorder, o *Options) func() {
			*src = mute.source()
			src.StartTLS = true
			o.DialTimeout = time.Hour
			return func() { r.await(t, Connecting) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, r, o := s.source(), newRecorder(), quick()
			ready := arrange(&src, r, &o)
			l := Follow(src, r, o)
			ready()
			before := len(r.statuses)
			closed := make(chan struct{})
			go func() { l.Close(); l.Close(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(patience):
				t.Fatal("Close hangs")
			}
			for range before {
				next(t, r.statuses)
			}
			if n := len(r.statuses); n > 1 {
				t.Errorf("%d reports after Close", n)
			}
			if len(r.ends) == 1 && !errors.Is(r.ends[0], errLinkClosed) && !errors.Is(r.ends[0], context.Canceled) {
				t.Errorf("the session ended with %v", r.ends[0])
			}
		})
	}
}

// A server that wants a full reload after each is not loaded without a pause.
func TestReloadsAfterReloadsPause(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		s.refresh(1, "c")
		s.fail(syncrepl.ResultRefreshRequired, "")
	}})
	o, c := quick(), newClock()
	o.MinBackoff, o.MaxBackoff, o.After = time.Hour, 4*time.Hour, c.after
	r := newRecorder()
	follow(t, s.source(), r, o)
	first := c.next(t)
	if begins, _ := r.count(); begins != 2 {
		t.Errorf("%d loads before the first pause", begins)
	}
	c.end(t)
	if second := c.next(t); first < o.MinBackoff/2 || second < o.MinBackoff {
		t.Errorf("pauses of %v and %v", first, second)
	}
}
