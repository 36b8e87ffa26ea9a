package operator

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"shaft/pkg/engine"
)

// states gives one state after the other, then the last one for ever.
func states(f *fake, list ...string) {
	f.link = func() engine.Link {
		l := engine.Link{Claim: "suse", State: list[0]}
		if list[0] == "down" {
			l.Reason = "connection refused"
		}
		if list[0] == "refreshing" {
			l.RefreshEntries, l.RefreshRate = 12000, 3456.7
		}
		if len(list) > 1 {
			list = list[1:]
		}
		return l
	}
}

// adding runs `subscription add` of suse, which becomes the head.
func adding(t *testing.T, ctx context.Context, f *fake, terminal bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if f.added == nil {
		f.added = &engine.Added{Subscription: f.subs[1], Claim: "suse", Name: "cn=SuSe,ou=Package Listers"}
	}
	var out, errs bytes.Buffer
	args = append([]string{"subscription", "add", "suse", "--name", "cn=SuSe", "--url", "ldap://h/o=x", "--socket", served(t, f)}, args...)
	code = Main(ctx, args, Streams{Out: &out, Err: &errs, Terminal: terminal})
	return code, out.String(), errs.String()
}

// The first refresh of a new head is watched on a terminal, on one line.
func TestWatchOnTerminal(t *testing.T) {
	f := story()
	states(f, "connecting", "refreshing", "live")
	code, out, errs := adding(t, context.Background(), f, true)
	want := "suse added: it publishes cn=SuSe,ou=Package Listers\n" +
		"\rsuse: connecting\x1b[K" +
		"\rsuse: refreshing, 12000 entries, 3457 a second\x1b[K" +
		"\r\x1b[Ksuse is live: 4 entries\n"
	if code != ExitDone || out != want || errs != "" {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	f = story()
	states(f, "connecting", "down")
	code, out, errs = adding(t, context.Background(), f, true)
	if code != ExitDone || !strings.HasSuffix(out, "\rsuse: connecting\x1b[K\r\x1b[Ksuse is down: connection refused; the subscription stays, and Shaft keeps trying\n") {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	// A list: its own search.
	f = story()
	f.added = &engine.Added{Subscription: f.subs[2]}
	states(f, "live")
	if code, out, errs := adding(t, context.Background(), f, true); code != ExitDone || !strings.HasSuffix(out, "dpkg is live: 3 entries found\n") {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
}

// Where nobody watches, the command returns at once; so it does for a waiting
// claim, a dry run, and JSON.
func TestWatchNothing(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		position int
		args     []string
	}{
		{false, 0, nil}, {true, 1, nil}, {true, 1, []string{"--wait"}}, {true, 0, []string{"--dry-run"}}, {true, 0, []string{"-o", "json"}},
		{false, 0, []string{"--dry-run", "--wait"}},
	} {
		f := story()
		f.added = &engine.Added{Subscription: f.subs[1], Claim: "suse", Name: "cn=SuSe,ou=Package Listers", Position: c.position}
		code, out, errs := adding(t, context.Background(), f, c.terminal, c.args...)
		if code != ExitDone || len(f.calls) != 1 || strings.Contains(out, "\x1b") {
			t.Errorf("%+v: exit %d %q %q, asked %q", c, code, out, errs, f.calls)
		}
	}
}

// R32: a claim that waits and is kept warm has a first refresh too.
func TestWatchKeptWarm(t *testing.T) {
	f := story()
	f.added = &engine.Added{Subscription: f.subs[1], Claim: "suse", Name: "cn=SuSe,ou=Package Listers", Position: 1}
	links := []engine.Link{{State: "refreshing", RefreshEntries: 7}, {State: "live", Entries: 12, KeepWarm: true}}
	f.link = func() engine.Link {
		l := links[0]
		links = links[1:]
		return l
	}
	code, out, errs := adding(t, t.Context(), f, true, "--keep-warm")
	if code != ExitDone || !strings.HasSuffix(out, "\rsuse: refreshing, 7 entries\x1b[K\r\x1b[Ksuse is live: 12 entries, held in readiness\n") || errs != "" {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
}

// --wait waits without a word until the end, which the exit code tells.
func TestWait(t *testing.T) {
	for _, c := range []struct {
		states []string
		args   []string
		code   int
		out    string
		errs   string
	}{
		{[]string{"connecting", "refreshing", "live"}, nil, ExitDone, "suse is live: 4 entries\n", ""},
		{[]string{"polling"}, nil, ExitDone, "suse is polling: 4 entries\n", ""},
		{[]string{"connecting", "down"}, nil, ExitRefused, "", "suse is down: connection refused"},
		{[]string{"unsupported"}, nil, ExitRefused, "", "suse is unsupported: -"},
		{[]string{"refreshing", "live"}, []string{"-o", "json"}, ExitDone, "", ""},
		{[]string{"refreshing", "down"}, []string{"-o", "json"}, ExitRefused, "", "suse is down"},
	} {
		f := story()
		states(f, c.states...)
		code, out, errs := adding(t, context.Background(), f, false, append(c.args, "--wait")...)
		if code != c.code || !strings.HasSuffix(out, c.out) || !strings.Contains(errs, c.errs) || strings.Contains(out, "\x1b") || strings.Contains(out, "refreshing") {
			t.Errorf("%v: exit %d %q %q", c.states, code, out, errs)
		}
	}
}

// Ctrl-C ends the watching, says so, and leaves the subscription.
func TestWatchInterrupted(t *testing.T) {
	for _, wait := range []bool{false, true} {
		f := story()
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		f.link = func() engine.Link {
			if n++; n == 2 {
				cancel()
			}
			return engine.Link{State: "refreshing"}
		}
		args, code := []string{}, ExitDone
		if wait {
			args, code = []string{"--wait"}, ExitRefused // what was waited for did not come
		}
		got, out, errs := adding(t, ctx, f, true, args...)
		if got != code || !strings.Contains(out+errs, "not watched any longer; the subscription stays: shaft subscription show suse\n") {
			t.Errorf("wait %v: exit %d %q %q", wait, got, out, errs)
		}
		cancel()
		for _, call := range f.calls {
			if strings.HasPrefix(call, "remove") {
				t.Errorf("asked %q", f.calls)
			}
		}
	}
}

// A subscription that is removed meanwhile, or a daemon that stops, ends the
// watching with the reason.
func TestWatchFails(t *testing.T) {
	f := story()
	f.link = func() engine.Link {
		f.err = missing("suse any more")
		return engine.Link{State: "connecting"}
	}
	code, out, errs := adding(t, context.Background(), f, true)
	if code != ExitRefused || !strings.Contains(errs, "there is no suse any more") || !strings.HasSuffix(out, "\r\x1b[K") {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
}
