package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func testRun(t *testing.T) *run {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	r, err := newRun(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A run that fails ends all that it started, the last first, and says what failed.
func TestRunEndsWhatItStarted(t *testing.T) {
	r := testRun(t)
	var ended []string
	var p *process
	err := r.do(func(r *run) {
		for _, name := range []string{"first", "second"} {
			r.Cleanup(func() { ended = append(ended, name) })
		}
		p = r.start("sleep", "", syscall.SIGTERM, exec.Command("sh", "-c", "sleep 1000 & wait"))
		r.Cleanup(func() { r.Fatalf("and so does an end") })
		r.Fatalf("it fails: %w", os.ErrInvalid)
	})
	if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "it fails") || !strings.Contains(err.Error(), "and so does an end") {
		t.Errorf("the run failed of %v", err)
	}
	if !slices.Equal(ended, []string{"second", "first"}) {
		t.Errorf("the order of the end: %q", ended)
	}
	if p.running() {
		t.Error("a program outlives the run")
	}
}

// A fault of the demonstration's own is not taken for a failed check.
func TestRunPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a panic was taken for a failure")
		}
	}()
	testRun(t).do(func(*run) { panic("a fault") })
}

// A check waits for what is to come, counts, and ends the run with what hinders it.
func TestHolds(t *testing.T) {
	r := testRun(t)
	asked := 0
	err := r.do(func(r *run) {
		r.holds(patience, "it comes", func() string {
			if asked++; asked < 3 {
				return "not yet"
			}
			return ""
		})
		r.holds(0, "it never comes", func() string { return "the hindrance" })
	})
	if asked != 3 || r.checks != 1 {
		t.Errorf("asked %d times, %d checks", asked, r.checks)
	}
	if err == nil || !strings.Contains(err.Error(), "it never comes") || !strings.Contains(err.Error(), "the hindrance") {
		t.Errorf("it failed of %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.ctx = ctx
	if err := r.do(func(r *run) { r.holds(patience, "it never comes", func() string { return "no" }) }); err == nil || err.Error() != "interrupted" {
		t.Errorf("interrupted: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 0)
	defer cancel()
	r.ctx = ctx
	if err := r.do((*run).goesOn); err == nil || err.Error() != "it takes longer than 12m0s" {
		t.Errorf("too long: %v", err)
	}
}

// A program that ends too soon is told with the end of its log.
func TestProcessThatEnds(t *testing.T) {
	r := testRun(t)
	err := r.do(func(r *run) {
		p := r.start("talker", "", syscall.SIGTERM, exec.Command("sh", "-c", "echo what went wrong"))
		<-p.ended
		p.ready("the talker", func() error { return errors.New("no answer") })
	})
	if err == nil || !strings.Contains(err.Error(), "the talker: no answer") || !strings.Contains(err.Error(), "what went wrong") {
		t.Errorf("it failed of %v", err)
	}
	if got := r.command("", "text", "cat"); got != "text" {
		t.Errorf("a program read %q", got)
	}
	if _, err := r.attempt("", "", "sh", "-c", "echo out; echo err >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "out") || !strings.Contains(err.Error(), "err") {
		t.Errorf("a program failed of %v", err)
	}
	long := r.write("long", strings.Repeat("x\n", 100)+"last\n")
	if got := tail(long); strings.Count(got, "\n") > 20 || !strings.HasSuffix(got, "last") {
		t.Errorf("the end of a log is %q", got)
	}
	if port := r.port(); port < 20000 || port > 32767 {
		t.Errorf("port %d", port)
	}
	if filepath.Dir(r.TempDir()) != r.dir {
		t.Error("a directory is made elsewhere")
	}
}

func TestDecodeReply(t *testing.T) {
	for _, c := range []struct{ text, want, words string }{
		{`{"jsonrpc":"2.0","result":["1"],"id":1}`, "1", ""},
		{`{"error":{"code":-32602,"message":"Invalid params.","data":"No permissions."},"id":1}`, "", "x.get: Invalid params. No permissions."},
		{`{"result":{"a":1}}`, "", "x.get: the answer {"},
		{`<html>`, "", "x.get: the answer: "},
		{``, "", "x.get: the answer: EOF"},
	} {
		var got []string
		err := decodeReply("x.get", json.NewDecoder(strings.NewReader(c.text)), &got)
		if strings.Join(got, ",") != c.want || (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %q, %v", c.text, got, err)
		}
	}
	if err := decodeReply("x.get", json.NewDecoder(strings.NewReader(`{"result":7}`)), nil); err != nil {
		t.Errorf("an answer that nobody wants: %v", err)
	}
}

func TestProblemIsTold(t *testing.T) {
	var p problem
	if err := json.Unmarshal([]byte(`{"eventid":"1","severity":"2","tags":[{"tag":"scope","value":"notice"},{"tag":"shaft.alarm","value":"clash"},{"tag":"shaft.name","value":"cn=X"}]}`), &p); err != nil {
		t.Fatal(err)
	}
	if got := p.what(); got != "warning clash cn=X" {
		t.Errorf("it is %q", got)
	}
	p.Tags = p.Tags[:2]
	if got := p.what(); got != "warning clash" {
		t.Errorf("about nothing it is %q", got)
	}
}

func TestDiffer(t *testing.T) {
	if got := differ("rows", []string{"b", "a"}, []string{"a", "b"}); got != "" {
		t.Error(got)
	}
	if got := differ("rows", nil, nil); got != "" {
		t.Error(got)
	}
	for _, c := range [][2][]string{{{"a"}, {"a", "a"}}, {{"a"}, {"b"}}, {nil, {"a"}}} {
		if got := differ("rows", c[0], c[1]); !strings.Contains(got, "rows:") || !strings.Contains(got, "wanted:") {
			t.Errorf("%q: %q", c, got)
		}
	}
}

func TestLabel(t *testing.T) {
	for dn, want := range map[string]string{
		wheezy + "," + base: wheezy, innerDN + "," + base: inner, `cn="a\b",` + base: "cn=%22a%5Cb%22", "cn=elsewhere,o=x": "cn=elsewhere,o=x",
	} {
		if got := label(dn); got != want {
			t.Errorf("%s has the label %s, want %s", dn, got, want)
		}
	}
}
