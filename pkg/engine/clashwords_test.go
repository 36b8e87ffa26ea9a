package engine

import (
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
