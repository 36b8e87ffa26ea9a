package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"shaft/pkg/queue"
)

// matching sends one request with these If-Match headers to the API over f.
func matching(f *fake, method, path, body string, matches ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "/api/v1/"+path, strings.NewReader(body))
	for _, m := range matches {
		req.Header.Add("If-Match", m)
	}
	w := httptest.NewRecorder()
	Handler(f, "", slog.New(slog.DiscardHandler)).ServeHTTP(w, req)
	return w
}

// A queue is given with its revision as ETag, and changed on condition of it.
func TestMatch(t *testing.T) {
	const suse = "cn=SuSe,ou=Package%20Listers"
	for _, path := range []string{"names/" + suse, "queues/" + suse} {
		if w := matching(story(), "GET", path, ""); w.Header().Get("ETag") != `"42"` {
			t.Errorf("%s: ETag %q", path, w.Header().Get("ETag"))
		}
	}
	for _, path := range []string{"names", "status", "names/" + suse + "/history"} {
		if w := matching(story(), "GET", path, ""); w.Code != 200 || w.Header().Get("ETag") != "" {
			t.Errorf("%s: %d, ETag %q", path, w.Code, w.Header().Get("ETag"))
		}
	}
	const suppress = "claims/a/suppress"
	for _, c := range []struct {
		method, path string
		matches      []string
		code         int
		call         string
	}{
		{"POST", suppress, nil, 200, "suppress a 0 real"},
		{"POST", suppress, []string{`"42"`}, 200, "suppress a 42 real"},
		{"POST", suppress, []string{"*"}, 200, "suppress a 0 real"},
		{"POST", suppress + "?dry_run=true", []string{`"4503599627370495"`}, 200, "suppress a 4503599627370495 dry"},
		{"GET", "names/" + suse, []string{`"1"`}, 200, "name cn=SuSe,ou=Package Listers"},
		{"POST", suppress, []string{""}, 400, ""},
		{"POST", suppress, []string{"42"}, 400, ""},
		{"POST", suppress, []string{`"42`}, 400, ""},
		{"POST", suppress, []string{`"0"`}, 400, ""},
		{"POST", suppress, []string{`"-1"`}, 400, ""},
		{"POST", suppress, []string{`"99999999999999999999"`}, 400, ""},
		{"POST", suppress, []string{`W/"42"`}, 400, ""},
		{"POST", suppress, []string{`"42"`, `"43"`}, 400, ""},
		{"POST", suppress, []string{`"42", "43"`}, 400, ""},
		{"DELETE", "subscriptions/suse", []string{`"42"`}, 400, ""},
		{"POST", "alarms/x/unack", []string{"*"}, 400, ""},
	} {
		f := story()
		w := matching(f, c.method, c.path, "", c.matches...)
		if got := strings.Join(f.calls, "; "); w.Code != c.code || got != c.call {
			t.Errorf("%s %s, If-Match %q: %d, asked %q\n%s", c.method, c.path, c.matches, w.Code, got, w.Body)
		}
		if w.Code == 400 && !strings.Contains(w.Body.String(), "If-Match") {
			t.Errorf("%s %s, If-Match %q: %s", c.method, c.path, c.matches, w.Body)
		}
	}
}

// The second of two operators is refused in the words of the core, by either door.
func TestStale(t *testing.T) {
	f := story()
	f.err = &queue.Refusal{Kind: queue.KindStale, Reason: "the queue has changed: redhat came"}
	w := matching(f, "POST", "queues/cn=x/move", `{"claim":"a","position":1}`, `"7"`)
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusPreconditionFailed || p.Kind != "stale" || p.Title != "Precondition Failed" || !strings.Contains(p.Detail, "redhat came") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, args := range [][]string{{"queue", "move", "cn=x", "a", "1"}, {"name", "rename", "cn=x", "cn=y"}, {"queue", "suppress", "a"}, {"queue", "lift", "a"}, {"queue", "switch", "cn=x", "a"},
		{"guard", "approve", "a"}, {"guard", "reject", "a"}} {
		f.calls = nil
		code, out, errs := shaft(served(t, f), append(args, "--revision", "7")...)
		if code != ExitRefused || out != "" || errs != "shaft: the queue has changed: redhat came\n" || !strings.Contains(f.calls[0], " 7 real") {
			t.Errorf("%q: exit %d, asked %q\n%s%s", args, code, f.calls, out, errs)
		}
	}
}

// A duration in a flag is from now on, or back from now; a time is taken as it is.
func TestTimes(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	run := func(args ...string) (f *fake) {
		f = story()
		var errs bytes.Buffer
		streams := Streams{Out: new(bytes.Buffer), Err: &errs, Now: func() time.Time { return now }}
		if code := Main(context.Background(), append(args, "--socket", served(t, f)), streams); code != ExitDone {
			t.Errorf("%q: exit %d %s", args, code, &errs)
		}
		return f
	}
	if f := run("alarm", "ack", "x", "--until", "2h", "--note", "gone fishing"); !f.until.Equal(now.Add(2*time.Hour)) || f.note != "gone fishing" {
		t.Errorf("acknowledged until %v with %q", f.until, f.note)
	}
	if f := run("alarm", "ack", "x", "--until", "2027-01-01T00:00:00+01:00"); !f.until.Equal(time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("acknowledged until %v", f.until)
	}
	if f := run("alarm", "ack", "x"); !f.until.IsZero() || f.note != "" {
		t.Errorf("acknowledged until %v with %q", f.until, f.note)
	}
	f := run("name", "history", "cn=SuSe,ou=Package Listers", "--from", "48h", "--to", "90m")
	if want := "availability suse 2025-12-31T03:04:05Z 2026-01-02T01:34:05Z"; f.calls[len(f.calls)-1] != want {
		t.Errorf("asked %q, want %q", f.calls, want)
	}
}
