package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R32, R35: whether what waits is kept warm is a matter of what waits: nothing that is
// served is fetched again, no session ends, and a list is not searched again.
func TestSetKeepWarm(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	l := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.list("l", "cn=%(attr.l)s", l)
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	await(t, "what the list finds", func() bool { return len(w.names()) == 2 })
	w.awaitLive(at("A"))
	sent := s.Stats().RefreshEntries
	searches := []int{s.Stats().SyncSearches, l.Stats().SyncSearches}
	before := w.print()
	for _, c := range []struct{ value, effect string }{{"true", "what waits is followed in full from now on"}, {"", "what waits is only probed from now on"}} {
		for _, id := range []string{"s", "l"} {
			out := w.set(id, map[string]string{"keep_warm": c.value})
			if !slices.Equal(out.Fields, []string{"keep-warm"}) || out.Subscription.KeepWarm != (c.value != "") || out.Effect != c.effect+"; what is served stays" || len(out.Check) != 0 {
				t.Errorf("%s: %+v", id, out)
			}
			if got, err := w.e.Subscription(t.Context(), id); err != nil || got.KeepWarm != (c.value != "") {
				t.Errorf("%s: %+v, %v", id, got, err)
			}
		}
	}
	if now := []int{s.Stats().SyncSearches, l.Stats().SyncSearches}; !slices.Equal(now, searches) || w.print() != before {
		t.Errorf("%d searches, before %d", now, searches)
	}
	// Beside something else, what follows from that is told first.
	out := w.set("s", map[string]string{"keep_warm": "true", "poll": "5m"})
	if !strings.Contains(out.Effect, "the session begins again") || !strings.HasSuffix(out.Effect, "; what waits is followed in full from now on") {
		t.Errorf("%+v", out)
	}
	out = w.set("s", map[string]string{"keep_warm": "false", "name": "CN=Here"})
	if !strings.Contains(out.Effect, "the name moves with its content") || !strings.HasSuffix(out.Effect, "only probed from now on") {
		t.Errorf("%+v", out)
	}
	w.awaitLive(name)
	if now := s.Stats().RefreshEntries; now > sent+1 { // a check looks at one
		t.Errorf("%d entries were sent, before %d", now, sent)
	}
	w.restart()
}

// R30: the limit is 30 seconds unless it is told, and what a first content may take
// before that is an alarm follows it, unless that is told too.
func TestPromotionLimit(t *testing.T) {
	w := newWorld(t)
	if o := w.e.o; o.PromotionLimit != 30*time.Second || o.AlarmDelays.Content != 30*time.Second {
		t.Errorf("%v, %v", o.PromotionLimit, o.AlarmDelays.Content)
	}
	w.close()
	w.promotion = time.Minute
	w.open()
	if o := w.e.o; o.PromotionLimit != time.Minute || o.AlarmDelays.Content != time.Minute {
		t.Errorf("%v, %v", o.PromotionLimit, o.AlarmDelays.Content)
	}
	w.close()
	w.delays.Content = -1
	w.open()
	if o := w.e.o; o.PromotionLimit != time.Minute || o.AlarmDelays.Content != -1 {
		t.Errorf("%v, %v", o.PromotionLimit, o.AlarmDelays.Content)
	}
}
