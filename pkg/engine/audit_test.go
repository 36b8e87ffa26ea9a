package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/syncrepl"
)

// deaf keeps the sessions that follow from beginning; single reads go through.
func deaf(s *ldaptest.Server) {
	script(s, func(q ldaptest.Search, _ *syncrepl.Provider) (bool, error) {
		return q.Sync.Mode == syncrepl.RefreshAndPersist, nil
	})
}

func (w *world) audit(dn string) *Resynced {
	w.t.Helper()
	out, err := w.e.ResyncName(w.t.Context(), dn, true)
	must(w.t, err)
	if !out.Audited || !out.DryRun || out.Task != 0 {
		w.t.Errorf("%+v", out)
	}
	return out
}

// R12: an audit tells what is missing here, what is too much, and what differs, and
// changes nothing; a resync puts it right.
func TestAuditAndResync(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF + "\n" + subtree("cn=top,ou=a,"+suffix, "top", 20)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	n := len(w.content())
	if out := w.audit("cn=Here"); out.Same != n || out.Counts != [3]int{} || len(out.Warnings) != 0 || out.Claim != "s" {
		t.Errorf("of %d entries: %+v", n, out)
	}
	deaf(s)
	s.Down()
	must(t, s.Up())
	must(t, s.Delete("cn=top,ou=a,"+suffix))
	must(t, s.Delete("cn=g,"+suffix))
	must(t, s.Add("dn: cn=new,"+suffix+"\nobjectClass: organizationalRole\ncn: new\n"))
	must(t, s.Modify("ou=a,"+suffix, "description", "changed"))
	must(t, s.Modify(suffix, "description", "changed"))
	must(t, s.Modify(suffix, "description"))
	must(t, s.Rename("ou=b,"+suffix, "ou=c,"+suffix))
	await(t, "that the server was away is recorded, which says nothing since", func() bool {
		return w.name(name).Head.State == "down" && strings.Contains(w.stored(recordQueue)["claim/s"], `"online":false`)
	})
	before, stored := w.print(), w.stored(recordQueue)
	gone := n - len(w.upstreamContent(s, suffix, name)) + 1
	out := w.audit(name)
	if out.Counts != [3]int{1, gone, 2} || out.Same != n-gone-2 {
		t.Errorf("%d went: %+v", gone, out)
	}
	slices.Sort(out.Differ)
	if !slices.Equal(out.Missing, []string{"cn=new," + suffix}) || !slices.Equal(out.Differ, []string{"ou=a," + suffix, "ou=c," + suffix}) ||
		len(out.Surplus) != gone || !slices.Contains(out.Surplus, "cn=g,"+suffix) || len(out.Warnings) == 0 {
		t.Errorf("%+v", out)
	}
	if now := w.print(); now != before || fmt.Sprint(w.stored(recordQueue)) != fmt.Sprint(stored) {
		t.Error("the audit changed something")
	}
	if w.cookie() == "" {
		t.Error("the audit dropped the cookie")
	}
	resynced, err := w.e.ResyncName(t.Context(), "cn=Here", false)
	must(t, err)
	task, err := w.e.Task(t.Context(), resynced.Task)
	must(t, err)
	if task.State != TaskRunning || task.What != "name resync" || resynced.Audited {
		t.Errorf("%+v, task %+v", resynced, task)
	}
	if w.print() != before {
		t.Error("a resync that is not complete changed something")
	}
	s.SetScript(nil)
	s.Down()
	must(t, s.Up())
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	if task, err = w.e.Task(t.Context(), resynced.Task); err != nil || task.State != TaskDone || !strings.Contains(task.Outcome, "complete") {
		t.Errorf("%+v, %v", task, err)
	}
	if out := w.audit("cn=Here"); out.Counts != [3]int{} || out.Same != len(w.content()) {
		t.Errorf("after the resync: %+v", out)
	}
	w.check()
	w.checkStored()
	w.restart()
}

// R56: an audit is bounded in what it lists, and says why it could not be done.
func TestAuditBounds(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	deaf(s)
	w.add("s", "cn=Here", w.source(s, suffix))
	must(t, s.Add(subtree("cn=top,ou=a,"+suffix, "top", 3*maxAudited)))
	out := w.audit("cn=Here")
	if out.Counts[auditMissing] != s.Len() || len(out.Missing) != maxAudited || len(out.Warnings) != 2 {
		t.Errorf("%d missing of %d, %d listed, %q", out.Counts[auditMissing], s.Len(), len(out.Missing), out.Warnings)
	}
	for dn, kind := range map[string]string{"cn=nobody": "not-found", "o=x,c=yy": "outside-base"} {
		for _, dry := range []bool{true, false} {
			_, err := w.e.ResyncName(t.Context(), dn, dry)
			var refusal *queue.Refusal
			if !errors.As(err, &refusal) || refusal.Kind != kind {
				t.Errorf("%s: %v", dn, err)
			}
		}
	}
	s.Down()
	if _, err := w.e.ResyncName(t.Context(), "cn=Here", true); err == nil || !strings.Contains(err.Error(), "audit of cn=Here") {
		t.Errorf("a server that is away: %v", err)
	}
	w.awaitState("cn=Here", "down")
	contact := w.name("cn=Here").Head.LastContact
	resynced, err := w.e.ResyncName(t.Context(), "cn=Here", false)
	must(t, err)
	if len(resynced.Warnings) != 1 || !strings.Contains(resynced.Warnings[0], "the source is down: ") {
		t.Errorf("a resync of a server that is away: %q", resynced.Warnings)
	}
	if now := w.name("cn=Here").Head.LastContact; contact == "" || now != contact {
		t.Errorf("the last contact was %q, and is %q after the resync", contact, now)
	}
	w.restart()
	if task, err := w.e.Task(t.Context(), resynced.Task); err != nil || task.State != TaskFailed || !strings.Contains(task.Outcome, "restart") {
		t.Errorf("%+v, %v", task, err)
	}
}

// R12: the cookie that a resync drops stays dropped over a crash.
func TestResyncIsDurable(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	deaf(s)
	_, err := w.e.ResyncName(t.Context(), "cn=Here", false)
	must(t, err)
	for _, c := range w.store.Claims() {
		if len(c.Cookie) != 0 || c.Generation == 0 {
			t.Errorf("%+v", c)
		}
	}
	n := len(s.Stats().Cookies)
	w.restart()
	await(t, "another session", func() bool { return len(s.Stats().Cookies) > n })
	if got := s.Stats().Cookies[n]; got != "" {
		t.Errorf("the cookie %q is sent", got)
	}
}
