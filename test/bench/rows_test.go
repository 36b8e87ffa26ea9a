package main

import (
	"context"
	"encoding/hex"
	"net"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary, too, can be the accept loop, the source or what holds memory: rows start what they run in.
func TestMain(m *testing.M) {
	if address := os.Getenv(acceptLoop); address != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		exit(acceptTLS(ctx, address, os.Getenv(acceptDir)))
	}
	if what := os.Getenv(holdEnv); what != "" {
		exit(hold(what))
	}
	if os.Getenv(sourceDir) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		exit(runSource(ctx))
	}
	os.Exit(m.Run())
}

// Rows of each kind are measured on both sides, small, and every figure is there.
func TestRows(t *testing.T) {
	o := options{rounds: 1, entries: 60, window: 500 * time.Millisecond, seed: 1,
		only: regexp.MustCompile("^(reload|rules-equality|dump|change-search|tls-resumed|paced-list)$")}
	b, err := newBench(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	b.lead = 100 * time.Millisecond
	measured := wanted(o)
	if len(measured) != 6 {
		t.Fatalf("%d rows are wanted", len(measured))
	}
	for _, r := range measured {
		r.turns = min(r.turns, 2)
		res, err := b.measure(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		cells := res.cells()
		if len(cells) != len(r.figures)+1 || cells[0][1] == "" || cells[0][1] == cells[0][2] {
			t.Errorf("%s: %q", r.name, cells)
		}
		for s := range res.samples {
			if len(res.samples[s]) != max(1, r.turns) || len(res.samples[s][0]) != len(r.figures) {
				t.Fatalf("%s: %v", r.name, res.samples[s])
			}
			if first := res.samples[s][0][0]; first <= 0 {
				t.Errorf("%s: %s is %v", r.name, r.figures[0].name, first)
			}
		}
	}
}

// A scan that finds something else ends the run.
func TestScan(t *testing.T) {
	p := smallProvider(t, "")
	nc, err := net.DialTimeout("tcp", p.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := p.content
	for name, test := range map[string]struct {
		entries int
		q       query
	}{
		"substring": {1, substringQuery(c, suffix, 3)},
		"unindexed": {1, unindexedQuery(c, suffix, 6)},
		"dump":      {c.total(), dumpQuery(c, suffix, 0)},
		"nobody":    {0, unindexedQuery(c, suffix, 7)},
	} {
		s := scan{c: newSearcher(nc), entries: test.entries}
		if err := s.run(t.Context(), 2, func() query { return test.q }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.entries++
		if err := s.run(t.Context(), 1, func() query { return test.q }); err == nil || !strings.Contains(err.Error(), "entries came") {
			t.Errorf("%s, with one entry too many wanted: %v", name, err)
		}
	}
}

// A substring filter is what RFC 4511 section 4.5.1.7.2 says.
func TestSubstringFilter(t *testing.T) {
	q := query{attr: "mail", value: "ab", substring: true}
	if got, want := hex.EncodeToString(q.appendFilter(nil)), "a40c"+"04046d61696c"+"3004"+"81026162"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The provider changes until it is to stop, on every connection, and what it refuses is told.
func TestKeepChanging(t *testing.T) {
	p := smallProvider(t, "")
	b := &bench{provider: p, content: p.content, row: "test"}
	made, stop, err := b.keepChanging(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = p.await("it changes", patience, func() (bool, error) { return made.Load() > 2*busyEditors, nil })
	if err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	after := made.Load()
	if !strings.Contains(descriptionOf(t, p.address, p.content.rdns(0)+","+suffix), "busy") {
		t.Error("the first person is as before")
	}
	if made.Load() != after {
		t.Error("it goes on")
	}
	b.content.people = 8 // the last of them is not there
	if made, stop, err = b.keepChanging(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = p.await("it meets who is not there", patience, func() (bool, error) { return made.Load() >= 7, nil })
	if failed := stop(); err != nil || failed == nil || !strings.Contains(failed.Error(), "answers 32") {
		t.Errorf("changes of nobody: %v, %v", err, failed)
	}
}
