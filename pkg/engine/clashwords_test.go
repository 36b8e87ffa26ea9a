package engine

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// R26: an addition that clashes succeeds, says so at once, and names the commands that
// show the queue, what would change, and put it first, as a shell takes them.
func TestClashIsToldAtOnce(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	for _, dryRun := range []bool{true, false} {
		out, err := w.e.AddSubscription(t.Context(), Subscription{ID: "rival", Name: "cn=here", Source: w.source(s, suffix)}, dryRun)
		must(t, err)
		if out.Position != 1 || len(out.Warnings) != 1 {
			t.Fatalf("%+v", out)
		}
		for _, want := range []string{name + " is already claimed by s", "waits at position 1", "`shaft queue show \"" + name + "\"`",
			"`shaft queue diff \"" + name + "\" rival`", "`shaft queue switch \"" + name + "\" rival`"} {
			if !strings.Contains(out.Warnings[0], want) {
				t.Errorf("dry run %v: no %s in %s", dryRun, want, out.Warnings[0])
			}
		}
	}
	if got := strings.Join(w.queueOf(name), " "); got != "s rival" {
		t.Errorf("the queue is %s", got)
	}
}

// A shell gives back what was quoted for it.
func TestShellQuoted(t *testing.T) {
	for _, text := range []string{"dpkg/1", "a_b-c.d", "cn=x", "cn=a b,ou=c", `cn=a\,b`, "cn=$HOME", "cn=`id`", "cn=it's", "cn='$a'", "!!", "*", "~", "", "a;b", "cn=Müller"} {
		out, err := exec.Command("sh", "-c", "printf %s "+ShellQuoted(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q as %s comes back as %q, %v", text, ShellQuoted(text), out, err)
		}
	}
	if got := ShellQuoted("dpkg/1"); got != "dpkg/1" {
		t.Errorf("a plain word becomes %s", got)
	}
}

// R47: of a command whose caller went away the task says so, and that nothing was changed.
func TestInterruptedCommand(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	s.Stall()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- s.Wait(ctx, func(st ldaptest.Stats) bool { return st.Open > 0 })
		cancel()
	}()
	_, err := w.e.AddSubscription(ctx, Subscription{ID: "s", Name: "cn=Here", Source: w.source(s, suffix)}, false)
	if waited := <-done; waited != nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", waited, err)
	}
	if got := w.tasks()[0]; got.State != TaskFailed || !strings.Contains(got.Outcome, "whoever asked for it went away") || got.Advice != "nothing was changed; try again" {
		t.Errorf("%+v", got)
	}
}
