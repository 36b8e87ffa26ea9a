package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

const otherSuffix = "o=Source,c=NL"

// mirror is an LDIF text of another suffix, whose RDN is the same.
func mirror(ldif string) string { return strings.ReplaceAll(ldif, "o=Source", otherSuffix) }

func (w *world) switchTo(dn string, claim queue.ClaimID) *Switched {
	w.t.Helper()
	out, err := w.e.Switch(w.t.Context(), dn, claim, false, 0, false)
	must(w.t, err)
	return out
}

// withoutUUIDs is content as it is, whatever it is served as.
func withoutUUIDs(content map[string]string) map[string]string {
	out := map[string]string{}
	for dn, text := range content {
		_, out[dn], _ = strings.Cut(text, " ")
	}
	return out
}

// awaitSame waits until the name shows what a source has, under whatever UUIDs.
func (w *world) awaitSame(s server, base string) {
	w.t.Helper()
	await(w.t, "what the source has", func() bool {
		return maps.Equal(withoutUUIDs(w.content()), withoutUUIDs(w.upstreamContent(s, base, name)))
	})
}

// rivals are two claims on one name, of sources that have the texts; the second waits.
func rivals(t *testing.T, head, waiting string) (w *world, a, b *ldaptest.Server) {
	t.Helper()
	a = serve(t, ldaptest.Options{Suffix: suffix, LDIF: head})
	b = serve(t, ldaptest.Options{Suffix: otherSuffix, LDIF: waiting})
	w = newWorld(t)
	w.add("a", "cn=Here", w.source(a, suffix))
	w.awaitEqual(a, suffix, name)
	w.awaitLive(name)
	w.add("b", "cn=Here", w.source(b, otherSuffix))
	return w, a, b
}

// R28, R41: a switch between equal contents of 10,000 entries shows in no line of the change
// log, each entry keeps its UUID, and no search fails meanwhile; back again too, and over a restart.
func TestR28SwitchBetweenEqualContents(t *testing.T) {
	ldif := "dn: o=Source\nobjectClass: organization\no: Source\n\n" + subtree("ou=a,o=Source", "x", 10_000)
	w, _, _ := rivals(t, ldif, mirror(ldif))
	before, from := uuidsOf(w.e.Version()), w.e.Version().CSN()
	stop := w.searching(len(before)-1, nil)
	for i, to := range []queue.ClaimID{"b", "a", "b"} {
		out := w.switchTo("cn=Here", to)
		if d := out.Difference; d == nil || d.Added+d.Removed+d.Changed != 0 || d.Same != 10_002 || out.Claim != to || out.Queue[0] != to {
			t.Fatalf("%d: %+v, difference %+v", i, out, d)
		}
		if n := len(w.changes(from)); n != 0 {
			t.Errorf("%d: %d lines in the change log", i, n)
		}
		if now := uuidsOf(w.e.Version()); !maps.Equal(now, before) {
			t.Errorf("%d: the UUIDs are others", i)
		}
		if n := w.name(name); n.Head.Claim != string(to) || n.Entries != 10_002 {
			t.Errorf("%d: %+v", i, n)
		}
	}
	stop()
	w.check()
	w.checkStored()
	print := w.print()
	w.restart()
	if now := w.print(); now != print {
		t.Error(firstDifference(print, now))
	}
	w.checkStored()
}

// searching searches the name's subtree again and again until stop: there are always n
// entries, with at most one of the values of description in all of them.
func (w *world) searching(n int, values *int) (stop func()) {
	dn, err := dit.ParseDN(w.schema, name)
	must(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	var readers sync.WaitGroup
	searches := 0
	readers.Go(func() {
		seen := map[string]bool{}
		for ; ctx.Err() == nil; searches++ {
			v := w.e.Version()
			top, _ := v.Find(dn.Norm())
			if top == 0 {
				w.t.Error("the name was gone")
				return
			}
			these, got := map[string]bool{}, 0
			for c := v.Search(tree.Query{Base: top, Scope: tree.Sub}); c.Next(); got++ {
				for _, value := range c.Entry().User().Values(w.schema, w.schema.Attribute("description")) {
					these[string(value)], seen[string(value)] = true, true
				}
			}
			if got != n || len(these) > 1 {
				w.t.Errorf("%d entries of %v", got, these)
				return
			}
		}
		if values != nil {
			*values = len(seen)
		}
	})
	return func() {
		cancel()
		readers.Wait()
		if searches == 0 {
			w.t.Error("nobody searched")
		}
	}
}

// R28, R29, R41: a switch is exactly the difference that was shown before: what both
// have keeps its UUID, and is told of only where it differs.
func TestR29SwitchIsTheDifference(t *testing.T) {
	head := sourceLDIF + "\n" + subtree("ou=x,o=Source", "x", 20) + "\n" + subtree("ou=only,o=Source", "o", 5)
	waiting := mirror(sourceLDIF + "\n" + subtree("ou=x,o=Source", "x", 20) + "\n" + subtree("ou=new,o=Source", "n", 7))
	w, a, b := rivals(t, head, waiting)
	must(t, b.Modify("cn=3,cn=0,ou=x,"+otherSuffix, "description", "another"))
	from, before := w.e.Version().CSN(), uuidsOf(w.e.Version())
	served := w.content()
	d, err := w.e.QueueDiff(t.Context(), "cn=Here", "b")
	must(t, err)
	if now := w.content(); !maps.Equal(now, served) || len(w.changes(from)) != 0 || w.name(name).Head.Claim != "a" {
		t.Error("showing the difference changed something")
	}
	if d.Added != 8 || d.Removed != 6 || d.Head != "a" || d.Claim != "b" || d.More != 0 || len(d.Entries) != d.Added+d.Changed+d.Removed {
		t.Errorf("%+v", d)
	}
	at := slices.IndexFunc(d.Entries, func(e EntryDifference) bool { return e.DN == "cn=3,cn=0,ou=x,"+name })
	if at < 0 || d.Entries[at].What != "changed" || len(d.Entries[at].Attributes) != 1 || d.Entries[at].Attributes[0].Name != "description" ||
		!slices.Equal(d.Entries[at].Attributes[0].Added, []string{"another"}) {
		t.Errorf("%+v", d.Entries)
	}
	out := w.switchTo("cn=Here", "b")
	if x := out.Difference; x.Added != d.Added || x.Removed != d.Removed || x.Changed != d.Changed || x.Same != d.Same {
		t.Errorf("%+v, foretold was %+v", x, d)
	}
	lines := map[store.ChangeKind]int{}
	for _, c := range w.changes(from) {
		lines[c.Kind]++
	}
	if lines[store.ChangeAdd] != d.Added || lines[store.ChangeDelete] != d.Removed || lines[store.ChangeModify] != d.Changed {
		t.Errorf("the change log has %v, the difference is %+v", lines, d)
	}
	for dn, id := range uuidsOf(w.e.Version()) {
		if was, had := before[dn]; had && was != id {
			t.Errorf("%s was served as %s, and is as %s", dn, was, id)
		}
	}
	w.awaitSame(b, otherSuffix)
	w.check()
	w.checkStored()
	w.restart()
	w.awaitSame(b, otherSuffix)
	must(t, b.Modify("cn=4,cn=0,ou=x,"+otherSuffix, "description", "followed"))
	w.awaitSame(b, otherSuffix)
	must(t, a.Modify("cn=5,cn=0,ou=x,"+suffix, "description", "waits"))
	w.switchTo(name, "a")
	w.awaitSame(a, suffix)
	w.check()
	w.checkStored()
}

// R28: a switch to a candidate that is down is refused in words that say what failed, and
// changes nothing; forced and with a reason it goes on, and no-LKG is raised where nothing was
// fetched before.
func TestR28SwitchRefused(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	b.Down()
	stored, served := w.stored(recordQueue), w.content()
	_, err := w.e.Switch(t.Context(), "cn=Here", "b", false, 0, false)
	var refusal *queue.Refusal
	if !errors.As(err, &refusal) || refusal.Kind != queue.KindNoContent || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a candidate that is down: %v", err)
	}
	for _, c := range []struct {
		dn, words string
		claim     queue.ClaimID
		force     bool
		revision  uint64
	}{
		{dn: "cn=Here", claim: "a", words: "head"},
		{dn: "cn=Here", claim: "nobody", words: "no such claim"},
		{dn: "cn=There", claim: "b", words: "cn=There"},
		{dn: "cn=Here", claim: "b", force: true, words: "reason"},
		{dn: "cn=Here", claim: "b", revision: 7, words: "changed"},
	} {
		if _, err := w.e.Switch(t.Context(), c.dn, c.claim, c.force, c.revision, false); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	dry, err := w.e.Switch(t.Context(), "cn=Here", "b", false, 0, true)
	if err != nil || !dry.DryRun || dry.Queue[0] != "b" {
		t.Errorf("%+v, %v", dry, err)
	}
	waiting := func(m map[string]string) map[string]string { delete(m, "claim/b"); return m } // that it is down is noted
	if now := w.stored(recordQueue); !maps.Equal(waiting(now), waiting(stored)) || !maps.Equal(w.content(), served) {
		t.Errorf("refused switches changed %v to %v", stored, now)
	}
	if task := w.task("queue switch"); task.State != TaskRefused {
		t.Errorf("%+v", task)
	}
	out, err := w.e.Switch(WithActor(t.Context(), Actor{Who: "test", Why: "it has to be"}), "cn=Here", "b", true, 0, false)
	must(t, err)
	if !out.Forced || len(out.Warnings) == 0 || !strings.Contains(out.Warnings[0], "empty") || len(w.content()) != 0 {
		t.Errorf("%+v: %v", out, w.content())
	}
	await(t, "the alarm", func() bool { return slices.Contains(w.name(name).Alarms, "no-lkg") })
	w.checkStored()
	w.restart()
	must(t, b.Up())
	w.awaitSame(b, otherSuffix)
	await(t, "the end of the alarm", func() bool { return !slices.Contains(w.name(name).Alarms, "no-lkg") })
	w.check()
}

// R28: while a switch and switches back go on, every search finds the name, with one content
// or the other and never a mixture.
func TestR28SearchSeesOldOrNew(t *testing.T) {
	ldif := func(what string) string {
		text := "dn: o=Source\nobjectClass: organization\no: Source\ndescription: " + what + "\n\n"
		for i := range 200 {
			text += fmt.Sprintf("dn: cn=%d,o=Source\nobjectClass: organizationalRole\ncn: %d\ndescription: %s\n\n", i, i, what)
		}
		return text
	}
	w, _, _ := rivals(t, ldif("old"), mirror(ldif("new")))
	var values int
	stop := w.searching(201, &values)
	for range 3 {
		w.switchTo(name, "b")
		w.switchTo(name, "a")
	}
	stop()
	if values != 2 {
		t.Errorf("%d contents were seen", values)
	}
	w.check()
}

// R28, R56: a crash at any moment of a switch leaves the old or the new content, and a start
// after it finishes what was decided.
func TestCrashInSwitch(t *testing.T) {
	head := sourceLDIF + "\n" + subtree("ou=only,o=Source", "o", 3)
	waiting := mirror(sourceLDIF + "\n" + subtree("ou=new,o=Source", "n", 4))
	w, a, b := rivals(t, head, waiting)
	_, err := w.e.QueueDiff(t.Context(), name, "b")
	must(t, err)
	before, from := w.content(), w.e.Version().CSN()
	c, stop := w.crashing(2)
	must(t, w.e.do(t.Context(), func() {
		must(t, w.e.enact(decisions{events: []queue.Event{queue.Switched{ID: "b"}}}))
	}))
	stop()
	a.Down()
	b.Down()
	c.eitherOr(before, w.content())
	w.checkLog(from)
	w.restart()
	w.checkStored()
}

// R30, R41: the content of a head that was removed is served until the next one's is there,
// which then takes its place as the difference; over a restart in between.
func TestR30PromotionIsASuccession(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF+"\n"+subtree("ou=x,o=Source", "x", 20), mirror(sourceLDIF+"\n"+subtree("ou=x,o=Source", "x", 21)))
	before, from := uuidsOf(w.e.Version()), w.e.Version().CSN()
	b.Down()
	await(t, "it is away", func() bool { return !w.name(name).Queue[0].Online && w.name(name).Queue[0].Reason != "" })
	w.remove("a")
	for range 2 {
		n := w.name(name)
		if n.Head.Claim != "b" || n.Lingering == nil || n.Lingering.Claim != "a" || n.Entries != len(before)-1 || slices.Contains(n.Alarms, "no-lkg") {
			t.Errorf("%+v, lingering %+v", n, n.Lingering)
		}
		if len(w.changes(from)) != 0 {
			t.Error("the removal shows in the change log")
		}
		w.checkStored()
		w.restart()
	}
	must(t, b.Up())
	await(t, "the next one's content", func() bool { return w.name(name).Lingering == nil })
	w.awaitSame(b, otherSuffix)
	for dn, id := range before {
		if now := uuidsOf(w.e.Version())[dn]; now != id {
			t.Errorf("%s was served as %s, and is as %s", dn, id, now)
		}
	}
	w.check()
	w.checkStored()
	w.checkLog(from)
	w.restart()
	w.awaitSame(b, otherSuffix)
}

// R28, R30: a switch by force to what has no content does not end what is left of a head that was
// removed, and says so.
func TestR28ForcedWhileSomethingLingers(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	w.add("c", "cn=Here", nowhere(1))
	b.Down()
	w.remove("a")
	before := w.content()
	out, err := w.e.Switch(WithActor(t.Context(), Actor{Who: "root", Why: "a test"}), name, "c", true, 0, false)
	must(t, err)
	if until := w.name(name).Lingering; !strings.Contains(out.Effect, "goes on showing what a left, until the content of c is here, or "+until.Until.UTC().Format(time.RFC3339)) ||
		len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "nothing of c could be fetched") || !maps.Equal(before, w.content()) {
		t.Errorf("%+v, lingering %+v", out, until)
	}
	w.checkLists()
	w.restart()
}

// R30: when the time is over the content goes, and no-LKG is raised at once; the next one's
// content shows when it comes, under the UUIDs that the name had.
func TestR30PromotionLimit(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	before := uuidsOf(w.e.Version())
	b.Down()
	w.remove("a")
	w.endLingers()
	await(t, "the alarm", func() bool { return slices.Contains(w.name(name).Alarms, "no-lkg") })
	if n := w.e.Version().Len(); n != 1 {
		t.Errorf("%d entries", n)
	}
	w.restart()
	must(t, b.Up())
	w.awaitSame(b, otherSuffix)
	for dn, id := range before {
		if now := uuidsOf(w.e.Version())[dn]; now != id {
			t.Errorf("%s was served as %s, and is as %s", dn, id, now)
		}
	}
	w.check()
}

// R30: the time of what lingers is counted over a restart.
func TestR30LimitOverRestart(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF))
	b.Down()
	w.remove("a")
	w.promotion = 1
	w.restart()
	await(t, "the end", func() bool { return w.e.Version().Len() == 1 })
	w.checkStored()
}

// R32, R25, R30: what is kept warm is followed in full, shows nowhere, and is there at once.
func TestR32KeptWarm(t *testing.T) {
	w, _, b := rivals(t, sourceLDIF, mirror(sourceLDIF+"\n"+subtree("ou=x,o=Source", "x", 50)))
	from, served := w.e.Version().CSN(), w.content()
	w.set("b", map[string]string{"keep_warm": "true"})
	waits := func() Link { return w.name(name).Queue[0] }
	await(t, "it is warm", func() bool { return waits().State == "live" && waits().Entries == 3+51 })
	must(t, b.Modify("cn=3,cn=0,ou=x,"+otherSuffix, "description", "another"))
	must(t, b.Delete("cn=4,cn=0,ou=x,"+otherSuffix))
	must(t, b.Rename("ou=x,"+otherSuffix, "ou=y,"+otherSuffix))
	await(t, "the changes", func() bool { return waits().Entries == 3+50 })
	if now := w.content(); !maps.Equal(now, served) || len(w.changes(from)) != 0 {
		t.Error("something of it shows")
	}
	w.checkStored()
	w.restart()
	await(t, "it is warm again", func() bool { return waits().State == "live" })
	sent, want := b.Stats().RefreshEntries, withoutUUIDs(w.upstreamContent(b, otherSuffix, name))
	b.Down()
	await(t, "it is down", func() bool { return waits().State == "down" })
	if slices.Contains(w.name(name).Alarms, "down") {
		t.Error("an alarm tells of a claim that waits (R49)")
	}
	w.remove("a")
	if n := w.name(name); n.Head.Claim != "b" || n.Entries != 3+50 || n.Lingering != nil {
		t.Errorf("%+v", n)
	}
	if now := withoutUUIDs(w.content()); !maps.Equal(now, want) {
		t.Error(differences(want, now))
	}
	must(t, b.Up())
	w.awaitLive(name)
	w.awaitSame(b, otherSuffix)
	if now := b.Stats().RefreshEntries; now != sent {
		t.Errorf("%d entries were sent again", now-sent)
	}
	w.check()
	w.checkStored()
}
