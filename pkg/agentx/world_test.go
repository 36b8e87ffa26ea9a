package agentx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// patience is how long a test waits for what takes milliseconds on an idle machine.
const patience = time.Minute

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		case <-tick.C:
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// scene is a source whose facts a test sets.
type scene struct {
	mu      sync.Mutex
	watched engine.Watched
	serial  uint32
	asked   map[string]int // for availability
	fails   bool
	at      time.Time // when all is taken; zero: when it is asked for
}

func newScene() *scene {
	s := &scene{asked: map[string]int{}}
	s.watched.BaseDN, s.watched.Ready = "o=base", true
	return s
}

func (s *scene) Watched(context.Context) (*engine.Watched, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return nil, errors.New("the writer hangs")
	}
	w := s.watched
	w.At, w.AlarmSerial = s.at, s.serial
	if w.At.IsZero() {
		w.At = time.Now()
	}
	w.Status.Names, w.Subscriptions = len(w.Names), len(w.Sources)
	w.Names = append([]engine.WatchedName(nil), w.Names...)
	w.Sources = append([]engine.WatchedSource(nil), w.Sources...)
	return &w, nil
}

func (s *scene) Availability(_ context.Context, source string, _, _ time.Time) (*engine.Availability, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[source]++
	if source == "unknown" {
		return nil, errors.New("there is no such source")
	}
	return &engine.Availability{Source: source, Up: 0.98765, Known: 0.5, Outages: 2, Blips: 3, DownSeconds: 61.5, Points: []engine.SourcePoint{
		{At: noon, State: "up"}, {At: noon.Add(time.Hour), State: "down", Reason: "gone"}, {At: noon.Add(2 * time.Hour), State: "up"},
	}}, nil
}

// change changes the facts.
func (s *scene) change(fn func(w *engine.Watched)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.watched)
}

// raise gives a name (or else a list) an alarm with the next serial.
func (s *scene) raise(number uint32, k alarm.Kind, cause string) {
	s.change(func(w *engine.Watched) {
		s.serial++
		a := engine.Alarm{
			ID: fmt.Sprintf("%s-%d", k, number), Kind: k, Severity: k.Severity(), Since: noon, Cause: cause, Fingerprint: "f" + cause,
			Generation: 1, Serial: s.serial, Text: fmt.Sprintf("#%d: %s", s.serial, cause),
		}
		for i := range w.Names {
			if w.Names[i].Number == number {
				w.Names[i].Raised = append(without(w.Names[i].Raised, k), a)
			}
		}
		for i := range w.Sources {
			if w.Sources[i].Number == number {
				w.Sources[i].Raised = append(without(w.Sources[i].Raised, k), a)
			}
		}
	})
}

// clear ends a name's alarm.
func (s *scene) clear(number uint32, k alarm.Kind) {
	s.change(func(w *engine.Watched) {
		for i := range w.Names {
			if w.Names[i].Number == number {
				w.Names[i].Raised = without(w.Names[i].Raised, k)
			}
		}
	})
}

func without(list []engine.Alarm, k alarm.Kind) (out []engine.Alarm) {
	for _, a := range list {
		if a.Kind != k {
			out = append(out, a)
		}
	}
	return out
}

// nameOf makes a name with a queue of so many claims behind its head.
func nameOf(number uint32, waiting int) engine.WatchedName {
	rdn := fmt.Sprintf("cn=name %d", number)
	n := engine.WatchedName{Numbered: engine.Numbered{Number: number, Label: rdn}, Changes: 3}
	n.DN, n.LastKnownGood, n.Entries = rdn+",o=base", true, int(number)
	n.Head = engine.Link{Claim: fmt.Sprintf("c%d", number), Subscription: "sub", URL: "ldap://host/o=x", Online: true, State: "live",
		LastContact: "2026-05-04T12:00:00Z", LastChange: "2026-05-04T11:00:00Z"}
	for i := range waiting {
		n.Queue = append(n.Queue, engine.Link{Claim: fmt.Sprintf("q%d", i), State: "down", Reason: "refused"})
	}
	return n
}

func sourceOf(number uint32, id string, list bool) engine.WatchedSource {
	return engine.WatchedSource{Numbered: engine.Numbered{Number: number, Label: id}, List: list, Claims: 1,
		Link: engine.Link{Subscription: id, URL: "ldap://host/o=x", Online: true, State: "live", Entries: 3}}
}

// log gathers lines.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Enabled(context.Context, slog.Level) bool { return true }
func (l *log) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *log) WithGroup(string) slog.Handler            { return l }

func (l *log) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *log) count(words string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// open starts a door on a scene that ends with the test.
func open(t *testing.T, o Options) *Door {
	t.Helper()
	o.Pace, o.Backoff = 5*time.Millisecond, 5*time.Millisecond
	d, err := New(o)
	must(t, err)
	t.Cleanup(d.Close)
	return d
}

func slogOf(l *log) *slog.Logger { return slog.New(l) }
