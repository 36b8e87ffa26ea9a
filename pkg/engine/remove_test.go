package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// R27, R35: another name moves the tree with its content, without a refetch, with
// its entryUUIDs; with another source besides, that is loaded then.
func TestSetName(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	uuids := uuidsOf(w.e.Version())
	dry, err := w.e.SetSubscription(t.Context(), "s", map[string]string{"name": "cn=There"}, true)
	must(t, err)
	if !slices.Equal(dry.Fields, []string{"name"}) || !strings.Contains(dry.Effect, "moves with its content") || len(dry.Check) != 0 {
		t.Errorf("%+v", dry)
	}
	s.Down()
	w.set("s", map[string]string{"name": "cn=There"})
	now := uuidsOf(w.e.Version())
	for dn, id := range uuids {
		if moved := strings.Replace(dn, "cn=Here", "cn=There", 1); now[moved] != id {
			t.Errorf("%s has the UUID %s, %s had %s", moved, now[moved], dn, id)
		}
	}
	w.awaitValues("cn=g,cn=There,"+baseDN, "member", "ou=a,cn=There,"+baseDN, "cn=elsewhere,o=Other")
	w.check()
	w.checkStored()
	w.restart()
	if _, err := w.e.Name(t.Context(), "cn=Here"); err == nil {
		t.Error("the old name is still there")
	}
	must(t, s.Up())
	w.awaitEqual(s, suffix, "cn=There,"+baseDN)
	out := w.set("s", map[string]string{"name": "cn=Again", "filter": "(objectClass=organizationalUnit)"})
	if !strings.Contains(out.Effect, "moves with its content, which is then loaded") {
		t.Errorf("%q", out.Effect)
	}
	await(t, "what the filter leaves", func() bool { return len(w.content()) == 2 })
	w.awaitLive("cn=Again")
	w.add("other", "cn=Other", w.source(s, suffix))
	out = w.set("other", map[string]string{"name": "cn=Again"})
	if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "already claimed by s") {
		t.Errorf("%q", out.Warnings)
	}
	if n := w.name("cn=Again"); len(n.Queue) != 1 {
		t.Errorf("%+v", n)
	}
	w.set("other", map[string]string{"name": "cn=AGAIN"})
	if out := w.set("other", map[string]string{"name": "cn=AGAIN , " + baseDN}); !strings.Contains(out.Effect, "way the name is written") {
		t.Errorf("%q", out.Effect)
	}
	_, err = w.e.SetSubscription(t.Context(), "s", map[string]string{"name": "cn=below,cn=Again"}, false)
	var refusal *queue.Refusal
	if !errors.As(err, &refusal) || refusal.Kind != queue.KindBelowItself {
		t.Errorf("below itself: %v", err)
	}
	w.check()
	w.checkStored()
	w.restart()
}

// R23: a name is removed with its tree's subscription.
func TestRemoveNameOfTree(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.add("next", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	await(t, "the probe is recorded", func() bool { return strings.Contains(w.stored(recordQueue)["claim/next"], `"online":true`) })
	stored := w.stored("")
	dry, err := w.e.RemoveName(t.Context(), "cn=Here", 0, true)
	must(t, err)
	if dry.ID != "s" || len(dry.Warnings) != 1 || !strings.Contains(dry.Warnings[0], "next takes over") || !maps.Equal(stored, w.stored("")) {
		t.Errorf("%+v", dry)
	}
	out, err := w.e.RemoveName(t.Context(), name, 0, false)
	must(t, err)
	if got := w.task("name remove"); out.ID != "s" || got.ID != out.Task || got.State != TaskDone || got.Target != name {
		t.Errorf("%+v, task %+v", out, got)
	}
	if n := w.name("cn=Here"); n.Head.Claim != "next" {
		t.Errorf("%+v", n)
	}
	for _, dn := range []string{"cn=nobody", "o=x,c=yy", ""} {
		if _, err := w.e.RemoveName(t.Context(), dn, 0, false); err == nil {
			t.Errorf("%q was removed", dn)
		}
	}
	w.checkStored()
}

// listed is a list with found entries that nobody follows: n entries with a name each.
func (w *world) listed(id string, n int) {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		s := &Subscription{ID: id, Kind: KindList, Name: "cn=%(attr.cn)s", Source: nowhere(0)}
		var b store.Batch
		must(w.t, w.e.record(&b, s))
		w.e.subs[id], w.e.lists[id] = s, &list{id: id, sub: s}
		events := []queue.Event{queue.ListAdded{ID: id}}
		for i := range n {
			text := fmt.Sprintf("cn=n%d,%s", i, baseDN)
			events = append(events, queue.EntryFound{
				List: id, Entry: testUUID(i).String(), DN: fmt.Sprintf("cn=%d,o=x", i),
				Names: []queue.FoundName{{Name: text, Norm: strings.ToLower(text)}},
			})
		}
		must(w.t, w.e.enact(decisions{events: events, first: b.Records}))
	}))
}

// R16, R23: a list goes with all its claims, however many there are, and a claim of
// one is suppressed by the removal of its name.
func TestRemoveList(t *testing.T) {
	w := newWorld(t)
	w.e.o.Upstream.MinBackoff, w.e.o.Upstream.MaxBackoff = time.Hour, time.Hour
	for _, n := range []int{0, 3, 300} {
		w.listed("l", n)
		w.add("waits", "cn=n1", nowhere(1))
		if n > 0 {
			out, err := w.e.RemoveName(t.Context(), "cn=n2", 0, false)
			must(t, err)
			if out.ID != "l/3" || !strings.Contains(out.Warnings[0], "suppressed") {
				t.Errorf("%+v", out)
			}
			if _, err := w.e.Name(t.Context(), "cn=n2"); err == nil {
				t.Error("the name is still there")
			}
		}
		out, err := w.e.RemoveSubscription(t.Context(), "l", false)
		must(t, err)
		if want := max(0, n-1); len(out.Names) != want || (n > 0) != (len(out.Warnings) == 1) {
			t.Errorf("%d names of %d went, %q", len(out.Names), want, out.Warnings)
		}
		if got := w.task("subscription remove"); got.ID != out.Task || got.State != TaskDone {
			t.Errorf("%+v", got)
		}
		if head := w.name("cn=n1").Head.Claim; head != "waits" {
			t.Errorf("%s took over", head)
		}
		if left := len(w.stored(recordPlan)) + len(w.stored(recordPlanBegun)); left != 0 {
			t.Errorf("%d records of the plan are left", left)
		}
		w.checkStored()
		w.restart()
		_, err = w.e.RemoveSubscription(t.Context(), "waits", false)
		must(t, err)
	}
}
