package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/store"
)

// throng is LDIF of n entries below a place of the scripted server.
func throng(prefix string, n int, below string) (out string) {
	for i := range n {
		out += "\n" + person(fmt.Sprintf("cn=%s%02d,%s", prefix, i, below))
	}
	return out
}

// shrunk has a world with the guard follow a server with 33 entries, and takes 20 of them
// away while nobody follows: that is held.
func shrunk(t *testing.T) (*world, *ldaptest.Server) {
	t.Helper()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + throng("p", 30, "ou=a,"+suffix)})
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	w.shrink(s, 0, 20)
	w.awaitHeld("s")
	return w, s
}

// shrink takes entries away, and adds one, while nobody follows.
func (w *world) shrink(s *ldaptest.Server, from, to int) {
	w.t.Helper()
	w.away(func() {
		for i := from; i < to; i++ {
			must(w.t, s.Delete(fmt.Sprintf("cn=p%02d,ou=a,%s", i, suffix)))
		}
		must(w.t, s.Add(person(fmt.Sprintf("cn=new%d,ou=b,%s", to, suffix))))
	})
}

// settled waits until the link of a claim is through with what it was about.
func (w *world) settled(of string) {
	w.t.Helper()
	await(w.t, of+" is held and its session over", func() bool { return w.linkState(of) == "held" })
}

// R36: bounds are both to be exceeded, or everything is to go.
func TestGuardBounds(t *testing.T) {
	for _, c := range []struct {
		g        Guard
		gone, of int
		want     bool
	}{
		{DefaultGuard, 0, 0, false}, {DefaultGuard, 0, 100, false}, {DefaultGuard, 10, 50, false}, {DefaultGuard, 11, 50, true},
		{DefaultGuard, 11, 110, false}, {DefaultGuard, 12, 110, true}, {DefaultGuard, 1, 1, true}, {DefaultGuard, 9, 10, false}, {DefaultGuard, 10, 10, true},
		{Guard{Percent: 0, Minimum: 0}, 1, 1_000_000, true}, {Guard{Percent: 100, Minimum: 0}, 99, 100, false}, {Guard{Percent: 100}, 100, 100, true},
		{Guard{Percent: 10, Minimum: 10, Off: true}, 100, 100, false},
	} {
		if got := c.g.exceeded(c.gone, c.of); got != c.want {
			t.Errorf("%+v, %d of %d: %v", c.g, c.gone, c.of, got)
		}
	}
}

// R36: what went counts for a minute, from then on; a clock that goes back makes it no longer than that.
func TestGuardWindow(t *testing.T) {
	var w window
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		after    time.Duration // since the step before
		add      int
		gone, of int
	}{
		{0, 3, 0, 0}, {500 * time.Millisecond, 2, 3, 100}, {2 * time.Second, 1, 5, 100}, {57 * time.Second, 0, 6, 100}, {time.Second, 0, 1, 102},
		{time.Second, 4, 1, 102}, {-time.Hour, 0, 5, 102}, {59 * time.Second, 0, 5, 102}, {time.Second, 0, 0, 0},
	} {
		at = at.Add(c.after)
		if gone, of := w.since(at); gone != c.gone || of != c.of {
			t.Errorf("step %d: %d of %d, wanted %d of %d", i, gone, of, c.gone, c.of)
		}
		if c.add > 0 {
			w.add(at, c.add, 100+i)
		}
	}
}

// R36, R47: what is held can be looked at, tried, rejected and approved all the same; two
// operators at once do not decide on different sets; it is on record who decided what.
func TestGuardWord(t *testing.T) {
	w, s := shrunk(t)
	before, h := w.content(), w.held("s")
	if h.Removed != 20 || h.Added != 1 || h.Changed != 0 || h.Total != 33 || h.Waits || h.Name != name || h.Rejected {
		t.Errorf("%+v", h)
	}
	ctx := WithActor(t.Context(), Actor{Who: "anna", Why: "ticket 7"})
	decide := func(approve bool, of string, revision uint64) func() error {
		return func() (err error) {
			if approve {
				_, err = w.e.ApproveHeld(ctx, of, revision, false)
			} else {
				_, err = w.e.RejectHeld(ctx, of, revision, false)
			}
			return err
		}
	}
	for _, approve := range []bool{true, false} {
		w.refused("nobody", "not-found", "no claim and no list", decide(approve, "nobody", 0))
		w.refused("another set", "stale", "another set than you looked at", decide(approve, "s", h.Revision+1))
	}
	for _, try := range []func(context.Context, string, uint64, bool) (*HoldDecided, error){w.e.ApproveHeld, w.e.RejectHeld} {
		if out, err := try(ctx, "s", h.Revision, true); err != nil || !out.DryRun || out.Removed != 20 || out.Task != 0 {
			t.Errorf("dry run: %+v, %v", out, err)
		}
	}
	w.alarmed("held cn=Here")
	out, err := w.e.RejectHeld(ctx, "s", h.Revision, false)
	must(t, err)
	if done := w.task("guard reject"); done.ID != out.Task || done.Who != "anna" || done.Why != "ticket 7" || done.State != TaskDone || !strings.Contains(done.Outcome, "20 of 33") {
		t.Errorf("%+v", done)
	}
	w.refused("rejected twice", "not-held", "rejected already", decide(false, "s", 0))
	for range 2 { // the same set comes again, and is no news
		w.alarmed()
		if now := w.held("s"); now == nil || !now.Rejected || now.By != "anna" || now.Why != "ticket 7" || now.Revision != h.Revision || !now.Since.Equal(h.Since) {
			t.Errorf("%+v", now)
		}
		if !maps.Equal(w.content(), before) {
			t.Errorf("after the rejection %s", differences(before, w.content()))
		}
		w.restart()
		w.settled("s")
	}
	out, err = w.e.ApproveHeld(ctx, "s", h.Revision, false)
	must(t, err)
	if done := w.task("guard approve"); done.ID != out.Task || done.Who != "anna" || !strings.HasPrefix(done.Outcome, "approved: ") {
		t.Errorf("%+v", done)
	}
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	w.refused("nothing is held", "not-held", "no refresh", decide(true, "s", 0))
	for _, prefix := range []string{recordHold, recordHoldSet} {
		if left := w.stored(prefix); len(left) > 0 {
			t.Errorf("%d records are left", len(left))
		}
	}
	w.check()
	w.restart()
}

// R36, R50: another set takes the place of one that is held, as another cause; one within the bounds ends it.
func TestGuardReplaced(t *testing.T) {
	w, s := shrunk(t)
	first, before := w.held("s"), w.content()
	w.ack(w.alarmed("held cn=Here")[0].ID, "seen", time.Time{})
	w.shrink(s, 20, 25)
	await(t, "more is held", func() bool { h := w.held("s"); return h != nil && h.Removed == 25 })
	second := w.held("s")
	if second.Revision == first.Revision || !second.Since.After(first.Since) || second.Added != 2 {
		t.Errorf("%+v after %+v", second, first)
	}
	if a := w.alarmed("held cn=Here")[0]; a.Acknowledged || a.Generation != 2 {
		t.Errorf("%+v", a)
	}
	w.refused("what was looked at before", "stale", "look again", func() error {
		_, err := w.e.ApproveHeld(t.Context(), "s", first.Revision, false)
		return err
	})
	// They come again, with other UUIDs: the DNs do not go.
	w.away(func() {
		for i := range 25 {
			must(t, s.Add(person(fmt.Sprintf("cn=p%02d,ou=a,%s", i, suffix))))
		}
	})
	w.awaitLive(name)
	w.awaitEqual(s, suffix, name)
	w.alarmed()
	if w.held("s") != nil || len(lost(before, w.content())) > 0 || len(w.stored(recordHoldSet)) > 0 {
		t.Errorf("%+v", w.held("s"))
	}
	w.check()
	w.restart()
}

// R36: what makes the source another, and what asks it anew, voids what is held; other bounds count at once.
func TestGuardVoid(t *testing.T) {
	for what, test := range map[string]struct {
		do    func(t *testing.T, w *world)
		again bool // it is held again
	}{
		"another filter": {func(_ *testing.T, w *world) { w.set("s", map[string]string{"filter": "(|(objectClass=*)(cn=x))"}) }, true},
		"a resync": {func(t *testing.T, w *world) {
			_, err := w.e.ResyncName(t.Context(), name, false)
			must(t, err)
		}, true},
		"no guard":          {func(_ *testing.T, w *world) { w.set("s", map[string]string{"no_guard": "true"}) }, false},
		"a greater minimum": {func(_ *testing.T, w *world) { w.set("s", map[string]string{"guard_minimum": "25"}) }, false},
		"a greater share":   {func(_ *testing.T, w *world) { w.set("s", map[string]string{"guard_percent": "80"}) }, false},
		"a lesser share":    {func(_ *testing.T, w *world) { w.set("s", map[string]string{"guard_percent": "0"}) }, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w, s := shrunk(t)
			before := w.content()
			w.settled("s")
			_, err := w.e.RejectHeld(t.Context(), "s", 0, false)
			must(t, err)
			test.do(t, w)
			if !test.again {
				w.awaitLive(name)
				w.awaitEqual(s, suffix, name)
				w.alarmed()
			} else {
				w.settled("s")
				if h := w.held("s"); h == nil || h.Removed != 20 || !maps.Equal(w.content(), before) {
					t.Errorf("%+v", h)
				}
				if what != "a lesser share" { // which asks again for what is rejected
					w.alarmed("held cn=Here")
				}
			}
			w.check()
			w.remove("s")
			if left := len(w.stored(recordHold)) + len(w.stored(recordHoldSet)); left > 0 {
				t.Errorf("%d records are left", left)
			}
			w.restart()
		})
	}
}

// R27, R36: a claim that is renamed takes along what is held, which is then approved under
// its new name, with the names inside it, over a restart, and with its source away.
func TestGuardRenamed(t *testing.T) {
	w, s := shrunk(t)
	in := w.inner("inner", "cn=p25,ou=a,"+name)
	h := w.held("s")
	w.rename(name, "cn=There", "")
	there := "cn=There," + baseDN
	now := w.held("s")
	if now == nil || now.Name != there || now.Revision != h.Revision || !strings.HasSuffix(now.Goes[0], there) || len(now.Goes) != 20 {
		t.Errorf("%+v", now)
	}
	s.Down()
	w.restart()
	w.approve("s", h.Revision)
	must(t, s.Up())
	await(t, there+" is live", func() bool { return w.name(there).Head.State == "live" })
	for _, rel := range []string{"cn=p00,ou=a,", "cn=p19,ou=a,"} {
		if w.content()[rel+there] != "" {
			t.Errorf("%s is still there", rel)
		}
	}
	if w.content()["cn=p20,ou=a,"+there] == "" || w.content()["cn=new20,ou=b,"+there] == "" {
		t.Error("what stays, or came, is not there")
	}
	in.Down()
	w.check()
	w.checkStored()
	w.restart()
}

// R7, R36: entries that another name hides count with those that are served, and go with the rest.
func TestGuardHidden(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + throng("p", 30, "ou=a,"+suffix)})
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.inner("inner", "ou=a,"+name)
	w.shrink(s, 0, 20)
	if h := w.awaitHeld("s"); h.Removed != 20 || h.Total != 33 || len(h.Goes) != 20 {
		t.Errorf("%+v", h)
	}
	w.approve("s", 0)
	w.remove("inner")
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	w.check()
	w.restart()
}

// R36, invariant 7: a crash at any moment of an approval leaves all of it or nothing.
func TestGuardCrashInApproval(t *testing.T) {
	w, s := shrunk(t)
	w.settled("s")
	before := w.content()
	from := w.e.Version().CSN()
	s.Down()
	c, stop := w.crashing(3)
	w.approve("s", 0)
	stop()
	after := w.content()
	if n := len(before) - len(after); n != 19 {
		t.Errorf("%d entries fewer", n)
	}
	c.eitherOr(before, after)
	w.checkLog(from)
	w.restart()
}

// R36: an end at any moment while a refresh comes to be held, or is rejected, changes nothing
// of what is served; what is held is whole, or not there, and nothing else is left.
func TestGuardCrashInHold(t *testing.T) {
	w, s := shrunk(t)
	w.settled("s")
	before := w.content()
	c, stop := w.crashing(1)
	_, err := w.e.RejectHeld(t.Context(), "s", 0, false)
	must(t, err)
	must(t, s.Delete("cn=p29,ou=a,"+suffix))
	_, err = w.e.ResyncName(t.Context(), name, false)
	must(t, err)
	await(t, "it is held again", func() bool { h := w.held("s"); return h != nil && h.Removed == 21 })
	stop()
	s.Down()
	for i, dir := range c.dirs {
		w := &world{t: t, dir: dir, schema: w.schema, guard: &DefaultGuard}
		w.open()
		if now := w.content(); !maps.Equal(now, before) {
			t.Errorf("copy %d: %s", i, differences(before, now))
		}
		h := w.held("s")
		if h != nil && (len(h.Goes) != h.Removed || h.Removed < 20) || (h == nil) != (len(w.stored(recordHoldSet)) == 0) || (h == nil) != (len(w.stored(recordHold)) == 0) {
			t.Errorf("copy %d: %+v, %d records", i, h, len(w.stored(recordHoldSet)))
		}
		if h != nil {
			w.approve("s", h.Revision)
			if n := len(w.content()); n != len(before)-h.Removed+h.Added {
				t.Errorf("copy %d: approved, there are %d entries", i, n)
			}
		}
		w.check()
		w.close()
	}
	if len(c.dirs) < 4 {
		t.Errorf("%d copies", len(c.dirs))
	}
}

// R36: within any minute no more goes than the bounds allow; ten now and ten a minute later do.
func TestGuardSlowDeletes(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + throng("p", 30, "ou=a,"+suffix)})
	w := guarded(t)
	var late time.Duration
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	must(t, w.e.do(t.Context(), func() { w.e.o.Now = func() time.Time { return time.Now().Add(late) } }))
	for i := range 20 {
		if i == 10 {
			w.awaitEqual(s, suffix, name)
			must(t, w.e.do(t.Context(), func() { late = windowSpan }))
		}
		must(t, s.Delete(fmt.Sprintf("cn=p%02d,ou=a,%s", i, suffix)))
	}
	w.awaitEqual(s, suffix, name)
	if w.held("s") != nil {
		t.Errorf("%+v", w.held("s"))
	}
	must(t, s.Delete(fmt.Sprintf("cn=p%02d,ou=a,%s", 20, suffix)))
	if h := w.awaitHeld("s"); h.Before != 10 || h.Removed != 1 {
		t.Errorf("%+v", h)
	}
	w.alarmed("held cn=Here")
	w.restart()
}

// R35, R36: a base that is deleted with all below it: no more goes than the bounds allow, the base never.
func TestGuardSubtreeDeleted(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: "o=Top", LDIF: "dn: o=Top\nobjectClass: organization\no: Top\n\n" + unit("ou=x,o=Top") + throng("p", 12, "ou=x,o=Top")})
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, "ou=x,o=Top"))
	w.awaitEqual(s, "ou=x,o=Top", name)
	w.awaitLive(name)
	before := w.content()
	release := w.holds(name)
	must(t, s.Delete("ou=x,o=Top")) // which tells each entry, the base last
	await(t, "the base is missing, or that is held", func() bool { return w.held("s") != nil || w.name(name).Head.State == "down" })
	if n := len(lost(before, w.content())); n > DefaultGuard.Minimum {
		t.Errorf("%d entries went", n)
	}
	must(t, s.Add(unit("ou=x,o=Top")+throng("p", 12, "ou=x,o=Top")))
	again(t, s)
	w.awaitLive(name)
	w.awaitEqual(s, "ou=x,o=Top", name)
	release()
	w.check()
	w.restart()
}

// R49, R36: what is held of a claim that waits is no alarm and shows in its queue; a switch
// to it says why it cannot be; approved, it can.
func TestGuardWaiting(t *testing.T) {
	w, _ := shrunk(t)
	other := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	w.add("next", "cn=Here", w.source(other, "o=Other"))
	_, err := w.e.Switch(t.Context(), name, "next", false, 0, false)
	must(t, err)
	w.alarmed("clash cn=Here")
	if h := w.held("s"); h == nil || !h.Waits {
		t.Errorf("%+v", h)
	}
	if q := w.name(name).Queue; len(q) != 1 || q[0].State != "held" || !strings.Contains(q[0].Reason, "20 of 33") {
		t.Errorf("%+v", q)
	}
	_, err = w.e.Switch(t.Context(), name, "s", false, 0, false)
	w.refusedHold("no-content", err)
	if err == nil || !strings.Contains(err.Error(), "20 of 33") || !strings.Contains(err.Error(), "guard list") {
		t.Errorf("%v", err)
	}
	w.approve("s", 0)
	_, err = w.e.Switch(t.Context(), name, "s", false, 0, false)
	must(t, err)
	if w.content()["cn=p00,ou=a,"+name] != "" || w.content()["cn=p20,ou=a,"+name] == "" {
		t.Error("the content is not what was approved")
	}
	w.check()
	w.checkStored()
	w.restart()
}

// R36, R56: bounds that mean nothing are refused, by their names.
func TestGuardBadBounds(t *testing.T) {
	w := newWorld(t)
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w.add("s", "cn=Here", w.source(s, suffix))
	for field, words := range map[string]string{
		"guard_percent=101": "not in 0..100", "guard_percent=-1": "not in 0..100", "guard_percent=ten": "no number", "guard_minimum=-1": "not in 0..",
		"guard_minimum=1.5": "no number", "no_guard=perhaps": "neither true nor false",
	} {
		name, value, _ := strings.Cut(field, "=")
		_, err := w.e.SetSubscription(t.Context(), "s", map[string]string{name: value}, false)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := w.e.SetSubscription(t.Context(), "s", map[string]string{"no_guard": "true", "guard_percent": "5"}, false)
	if err == nil || !strings.Contains(err.Error(), "one of the two") {
		t.Errorf("both: %v", err)
	}
	out := w.set("s", map[string]string{"guard_percent": "5", "guard_minimum": "0"})
	if !slices.Equal(out.Fields, []string{"guard-minimum", "guard-percent"}) || !strings.Contains(out.Effect, "new bounds") || len(out.Check) != 0 {
		t.Errorf("%+v", out)
	}
	out = w.set("s", map[string]string{"guard_percent": "", "guard_minimum": ""})
	if out.Subscription.GuardPercent != nil || out.Subscription.GuardMinimum != nil {
		t.Errorf("%+v", out.Subscription)
	}
}

// R36: what is held may be large: it is stored in pieces, listed up to its bound, and
// played back whole.
func TestGuardLarge(t *testing.T) {
	const n, below = MaxGoes + 200, "ou=y,ou=z," + suffix
	parents := "\ndn: ou=z," + suffix + "\nobjectClass: organizationalUnit\nou: z\n\ndn: " + below + "\nobjectClass: organizationalUnit\nou: y\n"
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + parents + throng("p", n-2, below) + throng("q", 300, "ou=b,"+suffix)})
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	before := w.content()
	w.away(func() {
		for i := range n - 2 {
			must(t, s.Delete(fmt.Sprintf("cn=p%02d,%s", i, below)))
		}
		must(t, s.Delete(below))
		must(t, s.Delete("ou=z,"+suffix))
		for i := range 300 {
			must(t, s.Modify(fmt.Sprintf("cn=q%02d,ou=b,%s", i, suffix), "description", strings.Repeat("x", 4000)))
		}
		must(t, s.Modify("cn=q07,ou=b,"+suffix, "description", strings.Repeat("y", 3<<20))) // more than a batch of small things
	})
	h := w.awaitHeld("s")
	if h.Removed != n || len(h.Goes) != MaxGoes || h.More != n-MaxGoes || h.Changed != 300 || h.Added != 0 || !maps.Equal(w.content(), before) {
		t.Errorf("%d removed, %d named, %d more, %d changed", h.Removed, len(h.Goes), h.More, h.Changed)
	}
	if !slices.Equal(h.Goes[:2], []string{"ou=z," + name, "ou=y,ou=z," + name}) || len(slices.Compact(slices.Sorted(slices.Values(h.Goes)))) != MaxGoes {
		t.Errorf("the first ones named are not parents, or one is named twice: %q", h.Goes[:3])
	}
	pieces := w.stored(recordHoldSet)
	for piece, value := range pieces {
		if len(value) > chunkBytes && len(value) > 3<<20+2000 { // the large value, and nothing beside it
			t.Errorf("the piece %s has %d bytes", piece, len(value))
		}
	}
	if len(pieces) < 4 {
		t.Errorf("%d pieces", len(pieces))
	}
	s.Down()
	w.restart()
	w.approve("s", h.Revision)
	must(t, s.Up())
	w.awaitLive(name)
	w.awaitEqual(s, suffix, name)
	w.checkStored()
	w.restart()
}

// R36, R56: records of a hold that are damaged are refused with words, and nothing is taken.
func TestGuardDamaged(t *testing.T) {
	w, s := shrunk(t)
	w.settled("s")
	s.Down()
	before := w.content()
	h := w.held("s")
	must(t, w.e.do(t.Context(), func() {
		record := holdChunk(w.e.holds["s"].Serial, 0)
		for _, value := range w.stored(record) {
			must(t, w.e.writeRecords([]store.Record{{Name: record, Value: []byte(value[:len(value)-1])}}))
		}
	}))
	_, err := w.e.ApproveHeld(t.Context(), "s", 0, false)
	if err == nil || !strings.Contains(err.Error(), "not whole") || !maps.Equal(w.content(), before) {
		t.Errorf("%v", err)
	}
	must(t, s.Up())
	if again := w.awaitHeld("s"); again.Revision != h.Revision || len(again.Goes) != 20 {
		t.Errorf("%+v", again)
	}
	w.approve("s", h.Revision)
	w.awaitEqual(s, suffix, name)
	w.restart()
	w.check()
}

// R36, R33: what is held is not taken over content that turned out to be damaged: all of that
// is to be fetched, and the cookie of what is held would leave it out.
func TestGuardApproveOverDamage(t *testing.T) {
	w, _ := shrunk(t)
	w.settled("s")
	before := w.content()
	must(t, w.e.do(t.Context(), func() { w.e.claims["s"].damaged = true }))
	if _, err := w.e.ApproveHeld(t.Context(), "s", 0, false); err == nil || !strings.Contains(err.Error(), "found damaged and is fetched anew") {
		t.Errorf("approved: %v", err)
	}
	if now := w.content(); !maps.Equal(now, before) {
		t.Error(differences(before, now))
	}
}

// Frames of any bytes are read to their end or refused; what is written comes back.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{frameGone, 1, 0, framePut, 2, 1, 2})
	f.Add([]byte{frameGone, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{frameGone, 200})
	f.Fuzz(func(t *testing.T, chunk []byte) {
		var w holdWriter
		err := eachFrame(chunk, func(kind byte, data []byte) error {
			if g, err := decodeGone(data); err == nil && len(g.rel) != len(data)-17 {
				t.Errorf("%q of %q", g.rel, data)
			}
			return w.frame(kind, data[:len(data)/2], data[len(data)/2:])
		})
		if err != nil {
			return
		}
		var back, again [][]byte
		gather := func(to *[][]byte) func(byte, []byte) error {
			return func(kind byte, data []byte) error {
				*to = append(*to, append([]byte{kind}, data...))
				return nil
			}
		}
		if err := errors.Join(eachFrame(chunk, gather(&back)), eachFrame(w.buf, gather(&again))); err != nil || !slices.EqualFunc(back, again, slices.Equal[[]byte]) {
			t.Errorf("%v: %q came back as %q", err, back, again)
		}
	})
}
