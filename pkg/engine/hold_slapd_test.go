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
	"shaft/pkg/queue"
)

// crowd is many entries in a place of the slapd that is followed.
func crowd(prefix string, n int) (out string) {
	for i := range n {
		out += person(fmt.Sprintf("cn=%s%02d,ou=a,%s", prefix, i, slapdBase))
	}
	return out
}

func crowdDNs(prefix string, n int) (dns []string) {
	for i := range n {
		dns = append(dns, fmt.Sprintf("cn=%s%02d,ou=a,%s", prefix, i, slapdBase))
	}
	return dns
}

// guarded is a world with the guard as it is where nobody says otherwise.
func guarded(t *testing.T) *world {
	w := newWorld(t)
	w.close()
	w.guard = &DefaultGuard
	w.open()
	return w
}

// followGuarded has such a world follow a slapd with 36 entries.
func followGuarded(t *testing.T, o ldaptest.SlapdOptions) (*world, *ldaptest.Slapd) {
	t.Helper()
	o.Suffix, o.LDIF = suffix, slapdLDIF+crowd("p", 30)
	s := ldaptest.StartSlapd(t, o)
	w := guarded(t)
	w.add("s", "cn=Here", w.source(s, slapdBase))
	w.awaitEqual(s, slapdBase, name)
	w.awaitLive(name)
	return w, s
}

// held gives what is held of a claim or a list; nil for nothing.
func (w *world) held(of string) *HeldRefresh {
	w.t.Helper()
	list, err := w.e.HeldRefreshes(context.Background())
	must(w.t, err)
	for i := range list {
		if list[i].Of == of {
			return &list[i]
		}
	}
	return nil
}

// awaitHeld waits until a refresh is held that would leave what the server has.
func (w *world) awaitHeld(of string) *HeldRefresh {
	w.t.Helper()
	await(w.t, "a refresh of "+of+" is held", func() bool { return w.held(of) != nil })
	return w.held(of)
}

// lost is what is served and not there.
func lost(served, there map[string]string) (dns []string) {
	for dn := range served {
		if _, ok := there[dn]; !ok {
			dns = append(dns, dn)
		}
	}
	slices.Sort(dns)
	return dns
}

func (w *world) approve(of string, revision uint64) *HoldDecided {
	w.t.Helper()
	out, err := w.e.ApproveHeld(context.Background(), of, revision, false)
	must(w.t, err)
	return out
}

func (w *world) refusedHold(kind string, err error) {
	w.t.Helper()
	var r *queue.Refusal
	if !errors.As(err, &r) || r.Kind != kind {
		w.t.Errorf("not refused as %s: %v", kind, err)
	}
}

// R35, R36: what becomes of slapds in the night: what was served stays served, over a restart
// too, an alarm says what would go, and an approval removes just that, with the server away.
func TestGuardSlapd(t *testing.T) {
	for _, night := range nights() {
		t.Run(night.name, func(t *testing.T) {
			t.Parallel()
			w, s := followGuarded(t, night.o)
			change := night.change
			if night.backup {
				s.Stop()
				backup := s.Backup()
				s.Start()
				s.Apply(crowd("young", 20))
				change = func(s *ldaptest.Slapd) {
					s.Stop()
					s.Restore(backup)
					s.Start()
				}
				w.awaitEqual(s, slapdBase, name)
				w.awaitLive(name)
			}
			guardSlapd(t, w, s, change)
		})
	}
}

// night is what becomes of a slapd that nobody follows.
type night struct {
	name   string
	o      ldaptest.SlapdOptions
	backup bool // it is restored from a backup that lacks 20 entries
	change func(s *ldaptest.Slapd)
}

func nights() []night {
	suffixOnly := "dn: o=Source\nobjectClass: organization\no: Source\n\n" + unit(slapdBase)
	return []night{
		{"rebuilt with its suffix alone", ldaptest.SlapdOptions{}, false, func(s *ldaptest.Slapd) {
			s.Stop()
			s.Rebuild(suffixOnly)
			s.Start()
		}},
		{"rebuilt empty, then with its base", ldaptest.SlapdOptions{SessionLog: 1000}, false, func(s *ldaptest.Slapd) {
			s.Stop()
			s.Rebuild("")
			s.Start()
			s.Apply(suffixOnly)
		}},
		{"restored from an old backup", ldaptest.SlapdOptions{SessionLog: 1000}, true, nil},
		{"an access rule hides most", ldaptest.SlapdOptions{Access: hidesSecret}, false, func(s *ldaptest.Slapd) {
			for _, dn := range crowdDNs("p", 30) {
				s.Apply(describe(dn, "hidden"))
			}
			s.Apply(unit("ou=seen," + slapdBase))
		}},
		{"most are deleted while nobody follows", ldaptest.SlapdOptions{SessionLog: 1000}, false, func(s *ldaptest.Slapd) {
			s.Apply(removal(crowdDNs("p", 25)...))
		}},
	}
}

func guardSlapd(t *testing.T, w *world, s *ldaptest.Slapd, change func(*ldaptest.Slapd)) {
	before := w.content()
	release := w.holds(w.all()...)
	w.away(func() { change(s) })
	h := w.awaitHeld("s")
	there := w.upstreamContent(s, slapdBase, name)
	w.checkHeld(h, before, there)
	w.restart()
	again := w.awaitHeld("s")
	if again.Revision != h.Revision || !again.Since.Equal(h.Since) {
		t.Errorf("after a restart %+v, it was %+v", again, h)
	}
	w.checkHeld(again, before, there)
	await(t, "its session is over", func() bool { return w.linkState("s") == "held" })
	s.Stop()
	w.restart()
	w.awaitReason("down", "")
	release()
	if out := w.approve("s", h.Revision); out.Removed != len(h.Goes) {
		t.Errorf("%+v", out)
	}
	if now := w.content(); len(lost(now, there)) > 0 || !slices.Equal(lost(before, now), slices.Sorted(slices.Values(h.Goes))) {
		t.Errorf("approved: %s", differences(there, now))
	}
	if w.held("s") != nil || slices.Contains(w.name(name).Alarms, "held") {
		t.Errorf("it is held still: %+v, %+v", w.held("s"), w.name(name))
	}
	s.Start()
	w.awaitEqual(s, slapdBase, name)
	w.awaitLive(name)
	w.check()
	w.checkStored()
	w.restart()
}

// linkState is what the link itself says.
func (w *world) linkState(of string) (state string) {
	must(w.t, w.e.do(w.t.Context(), func() { state = string(w.e.claims[queue.ClaimID(of)].current().State) }))
	return state
}

// checkHeld verifies that what is held is what would go, that it is an alarm, and that all
// is served as it was.
func (w *world) checkHeld(h *HeldRefresh, before, there map[string]string) {
	w.t.Helper()
	if now := w.content(); !maps.Equal(now, before) {
		w.t.Errorf("what is served is another: %s", differences(before, now))
	}
	if goes := slices.Sorted(slices.Values(h.Goes)); !slices.Equal(goes, lost(before, there)) || h.Removed != len(goes) || h.More != 0 {
		w.t.Errorf("%d would go: %q, wanted %q", h.Removed, goes, lost(before, there))
	}
	n := w.name(name)
	if n.Head.State != "held" || !n.LastKnownGood || !slices.Contains(n.Alarms, "held") {
		w.t.Errorf("%+v", n)
	}
	for _, a := range w.alarmed("held cn=Here") {
		if a.Severity != "high" || !strings.Contains(a.Cause, fmt.Sprintf("remove %d of %d entries", h.Removed, h.Total)) || a.Name != name {
			w.t.Errorf("%+v", a)
		}
	}
}

// R36: most entries are deleted under the eyes of a session: what is beyond the bounds
// is asked for by a refresh, and held; what went before counts, at each later look too.
func TestGuardSlapdMassDelete(t *testing.T) {
	for _, o := range []ldaptest.SlapdOptions{{}, {SessionLog: 1000}} {
		t.Run(fmt.Sprint("session log ", o.SessionLog), func(t *testing.T) {
			t.Parallel()
			w, s := followGuarded(t, o)
			before := w.content()
			s.Apply(removal(crowdDNs("p", 15)...))
			w.awaitHeld("s")
			there := w.upstreamContent(s, slapdBase, name)
			now := w.content()
			went := len(before) - len(now)
			h := w.held("s")
			if h.Removed < 15-went { // it was looked at in the middle of the deletes
				w.restart()
				await(t, "the rest is held with them", func() bool { h = w.held("s"); return h != nil && h.Removed == 15-went })
			}
			if went > 10 || h.Before != went || h.Total != len(before) {
				t.Errorf("%d went: %+v", went, h)
			}
			w.checkHeld(h, now, there)
			w.restart()
			await(t, "it is held again", func() bool { return w.linkState("s") == "held" })
			w.checkHeld(w.awaitHeld("s"), now, there)
			w.approve("s", h.Revision)
			w.awaitEqual(s, slapdBase, name)
			w.awaitLive(name)
			s.Apply(removal(crowdDNs("p", 20)[15:]...)) // five more, of a window of their own
			w.awaitEqual(s, slapdBase, name)
			w.check()
			w.restart()
		})
	}
}

// R35, R36: slapd says that the base is gone, and is not believed.
func TestGuardSlapdBaseDeleted(t *testing.T) {
	w, s := followGuarded(t, ldaptest.SlapdOptions{SessionLog: 1000})
	before := w.content()
	release := w.holds(w.all()...)
	s.Apply(rename(slapdBase, "ou=new") + describe("ou=out,"+suffix, "slapd sees it with the next change"))
	w.awaitReason("down", "is not there")
	if now := w.content(); !maps.Equal(now, before) {
		t.Errorf("what is served is another: %s", differences(before, now))
	}
	s.Apply(rename("ou=new,"+suffix, "ou=base"))
	w.awaitLive(name)
	w.awaitEqual(s, slapdBase, name)
	release()
	w.check()
	w.restart()
}

// R36: a source that is well again is seen by itself, and ends the alarm.
func TestGuardSlapdRecovers(t *testing.T) {
	w, s := followGuarded(t, ldaptest.SlapdOptions{})
	w.look = 20 * time.Millisecond
	s.Stop()
	backup := s.Backup()
	s.Rebuild("dn: o=Source\nobjectClass: organization\no: Source\n\n" + unit(slapdBase))
	w.away(s.Start)
	w.awaitHeld("s")
	before := w.content()
	s.Stop()
	w.awaitReason("down", "")
	s.Restore(backup)
	s.Start()
	w.awaitLive(name)
	if now := w.content(); !maps.Equal(now, before) || w.held("s") != nil || slices.Contains(w.name(name).Alarms, "held") {
		t.Errorf("%+v", w.name(name))
	}
	w.restart()
}
