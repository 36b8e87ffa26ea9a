package upstream

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// next takes what comes next, and fails the test when nothing does.
func next[T any](t *testing.T, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		t.Fatal("it waits in vain")
	}
	return got
}

// recorder is a feed and its sink: it keeps what happened, in words.
type recorder struct {
	statuses chan Status
	events   chan string

	mu      sync.Mutex
	cookie  []byte
	begins  int
	puts    int
	ends    []error
	put     func(ctx context.Context) error // instead of counting
	refuse  func(begin int) error           // Begin's error
	forget  error
	ctx     context.Context
	deleted int
}

func newRecorder() *recorder {
	return &recorder{statuses: make(chan Status, 1000), events: make(chan string, 10000)}
}

func (r *recorder) Begin(ctx context.Context, server string) ([]byte, syncrepl.Sink, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begins++
	r.ctx = ctx
	if r.refuse != nil {
		if err := r.refuse(r.begins); err != nil {
			return nil, nil, err
		}
	}
	r.note("begin " + server + " " + string(r.cookie))
	return r.cookie, r, nil
}

func (r *recorder) Forget(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cookie = nil
	r.note("forget")
	return r.forget
}

func (r *recorder) End(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, err)
	r.note("end")
}

func (r *recorder) Report(s Status) {
	select {
	case r.statuses <- s:
	default:
	}
}

// note keeps an event, unless nobody has looked at ten thousand: a link that comes
// and goes is not to wait for the test.
func (r *recorder) note(event string) {
	select {
	case r.events <- event:
	default:
	}
}

func (r *recorder) Put(syncrepl.Entry) error {
	r.mu.Lock()
	put, ctx := r.put, r.ctx
	r.puts++
	r.mu.Unlock()
	if put != nil {
		return put(ctx)
	}
	return nil
}

func (r *recorder) Present([]dit.UUID) error { return nil }

func (r *recorder) Delete(ids []dit.UUID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleted += len(ids)
	return nil
}

func (r *recorder) RefreshDone(end syncrepl.End) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cookie = end.Cookie
	r.note("refreshed " + string(end.Cookie))
	return nil
}

func (r *recorder) Cookie(c []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cookie = append([]byte(nil), c...)
	r.note("cookie " + string(c))
	return nil
}

func (r *recorder) Flush() error { return nil }

func (r *recorder) count() (begins, puts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begins, r.puts
}

// await waits for a report of the state.
func (r *recorder) await(t *testing.T, want State) Status {
	t.Helper()
	deadline := time.After(patience)
	var seen []string
	for {
		select {
		case s := <-r.statuses:
			if s.State == want {
				return s
			}
			seen = append(seen, string(s.State)+" "+s.Reason)
		case <-deadline:
			t.Fatalf("no report of %s; seen: %s", want, strings.Join(seen, "; "))
		}
	}
}

// happens waits for an event.
func (r *recorder) happens(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(patience)
	var seen []string
	for {
		select {
		case got := <-r.events:
			if got == want {
				return
			}
			seen = append(seen, got)
		case <-deadline:
			t.Fatalf("no %q; seen: %s", want, strings.Join(seen, "; "))
		}
	}
}

// wantReason fails unless the reason holds all the words.
func wantReason(t *testing.T, reason string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(reason, w) {
			t.Errorf("reason %q lacks %q", reason, w)
		}
	}
}

// noLeak fails when goroutines of this package or of go-ldap are left at the
// end of the test.
func noLeak(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		deadline := time.After(patience)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			left := ours()
			if left == "" {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("goroutines left:\n%s", left)
			}
		}
	})
}

// ours lists the goroutines that belong to links.
func ours() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for _, g := range strings.Split(string(buf), "\n\n")[1:] {
		if strings.Contains(g, "go-ldap/ldap") || strings.Contains(g, "upstream.start.") || strings.Contains(g, "upstream.(*keeper)") || strings.Contains(g, "upstream.(*Pool)") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// clock hands the pauses of a link to the test, which ends them.
type clock struct {
	pauses chan time.Duration
	wake   chan time.Time
}

func newClock() *clock {
	return &clock{pauses: make(chan time.Duration, 100), wake: make(chan time.Time)}
}

func (c *clock) after(d time.Duration) <-chan time.Time {
	c.pauses <- d
	return c.wake
}

// next waits until the link pauses, and tells for how long.
func (c *clock) next(t *testing.T) time.Duration {
	t.Helper()
	select {
	case d := <-c.pauses:
		return d
	case <-time.After(patience):
		t.Fatal("the link did not pause")
		return 0
	}
}

func (c *clock) end(t *testing.T) {
	t.Helper()
	select {
	case c.wake <- time.Time{}:
	case <-time.After(patience):
		t.Fatal("the link does not wait for its pause")
	}
}

// quick are options for tests: pauses of a millisecond.
func quick() Options {
	return Options{
		DialTimeout: 5 * time.Second, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
	}
}

func follow(t *testing.T, src Source, r Feed, o Options) *Link {
	t.Helper()
	l := Follow(src, r, o)
	t.Cleanup(l.Close)
	return l
}
