package operator

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// R28: a switch that is forced needs a reason by either door, and the reason is the task's.
func TestForceNeedsAReason(t *testing.T) {
	f := story()
	code, _, errs := shaft(served(t, f), "queue", "switch", "cn=x", "a", "--force", "--reason", "the source is gone for good: ticket 7")
	if code != ExitDone || f.actor.Why != "the source is gone for good: ticket 7" {
		t.Errorf("exit %d, %s: %+v", code, errs, f.actor)
	}
	f = story()
	req := httptest.NewRequest("POST", "/api/v1/queues/cn=x/switch", strings.NewReader(`{"claim":"a","force":true}`))
	req.Header.Set(ReasonHeader, "ticket 8")
	w := httptest.NewRecorder()
	Handler(f, "", slog.New(slog.DiscardHandler)).ServeHTTP(w, req)
	if w.Code != 200 || f.actor.Why != "ticket 8" || !strings.Contains(w.Body.String(), `"forced": true`) {
		t.Errorf("%d %+v\n%s", w.Code, f.actor, w.Body)
	}
}

// R28: what is refused is told in the words of the core, and nothing else is printed.
func TestSwitchRefused(t *testing.T) {
	f := story()
	f.err = &queue.Refusal{Kind: "down", Reason: "redhat cannot be fetched: connection refused; nothing has changed"}
	for _, args := range [][]string{{"queue", "switch", "cn=x", "redhat"}, {"queue", "diff", "cn=x", "redhat"}} {
		code, out, errs := shaft(served(t, f), args...)
		if code != ExitRefused || out != "" || errs != "shaft: redhat cannot be fetched: connection refused; nothing has changed\n" {
			t.Errorf("%q: exit %d %q %q", args, code, out, errs)
		}
	}
}

// watchedFetch runs a command that fetches a waiting claim, on a terminal or not; the
// fetch ends once it was seen in each of these states.
func watchedFetch(t *testing.T, ctx context.Context, f *fake, terminal bool, links []engine.Link, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	seen := make(chan struct{})
	if len(links) == 0 {
		close(seen)
	}
	f.fetch = func() {
		select {
		case <-seen:
		case <-ctx.Done():
		}
	}
	f.waiting = func() engine.Link {
		l := links[0]
		if links = links[1:]; len(links) == 0 {
			links = []engine.Link{l}
			select {
			case <-seen:
			default:
				close(seen)
			}
		}
		return l
	}
	var out, errs bytes.Buffer
	code = Main(ctx, append(args, "--socket", served(t, f)), Streams{Out: &out, Err: &errs, Terminal: terminal})
	return code, out.String(), errs.String()
}

// R28: how far the fetch is shows on a terminal, on one line; elsewhere nothing shows.
func TestFetchOnTerminal(t *testing.T) {
	const suse = "cn=SuSe,ou=Package Listers"
	far := []engine.Link{{Claim: "redhat", State: "connecting"}, {Claim: "redhat", State: "refreshing", RefreshEntries: 12000, RefreshRate: 3456.7}}
	code, out, errs := watchedFetch(t, t.Context(), story(), true, far, "queue", "switch", suse, "redhat")
	want := "\rswitching to redhat: connecting\x1b[K" +
		"\rswitching to redhat: 12000 entries, 3457 a second\x1b[K"
	if code != ExitDone || !strings.HasPrefix(out, want) || !strings.Contains(out, "\r\x1b[K"+suse+": redhat shown in the place of suse\n") || errs != "" {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	code, out, errs = watchedFetch(t, t.Context(), story(), true, far, "queue", "diff", suse, "redhat")
	want = strings.ReplaceAll(want, "switching to", "comparing with")
	if code != ExitDone || !strings.HasPrefix(out, want) || !strings.Contains(out, "\r\x1b[K"+suse+": redhat in the place of suse\n") || errs != "" {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	// A queue that cannot be looked at ends nothing.
	f := story()
	code, out, errs = watchedFetch(t, t.Context(), f, true, far[:1], "queue", "diff", "cn=other", "redhat")
	if code != ExitDone || !strings.HasPrefix(out, "\rcomparing with redhat\x1b[K") {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	for _, c := range []struct {
		terminal bool
		args     []string
	}{{false, nil}, {true, []string{"-o", "json"}}, {true, []string{"--dry-run"}}} {
		f := story()
		code, out, errs := watchedFetch(t, t.Context(), f, c.terminal, nil, append([]string{"queue", "switch", suse, "redhat"}, c.args...)...)
		if code != ExitDone || strings.Contains(out, "\x1b") || len(f.calls) != 1 {
			t.Errorf("%+v: exit %d %q %q, asked %q", c, code, out, errs, f.calls)
		}
	}
}

// Ctrl-C ends the fetch, and says where to look.
func TestFetchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := story()
	left := make(chan struct{})
	f.fetch = func() {
		cancel()
		<-left // an answer might be quicker than the signal
	}
	var out, errs bytes.Buffer
	code := Main(ctx, []string{"queue", "switch", "cn=SuSe,ou=Package Listers", "redhat", "--socket", served(t, f)}, Streams{Out: &out, Err: &errs, Terminal: true})
	close(left)
	if code != ExitRefused || !strings.Contains(errs.String(), "interrupted before the daemon answered; `shaft task list` says what became of it") {
		t.Errorf("exit %d %q %q", code, &out, &errs)
	}
}
