package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/tree"
)

// queues are the stored records of who claims what; facts about links, which come when they
// come, are not among them.
func (w *world) queues() map[string]string {
	w.t.Helper()
	out := w.stored(recordQueue)
	maps.DeleteFunc(out, func(name, _ string) bool {
		return !strings.HasPrefix(name, "name/") && !strings.HasPrefix(name, "member/") && !strings.HasPrefix(name, "wish/")
	})
	return out
}

// refused looks whether a command was refused as it should be, with nothing changed: neither the
// queues nor the tree.
func (w *world) refused(what, kind, words string, command func() error) {
	w.t.Helper()
	before, tree := w.queues(), w.e.Version()
	err := command()
	var refusal *queue.Refusal
	if !errors.As(err, &refusal) || refusal.Kind != kind || !strings.Contains(err.Error(), words) {
		w.t.Errorf("%s: %v; want %s, %q", what, err, kind, words)
	}
	if now := w.queues(); !maps.Equal(before, now) || w.e.Version() != tree {
		w.t.Errorf("%s: refused, and something changed: %s", what, differences(before, now))
	}
}

func (w *world) rename(dn, to string, claim queue.ClaimID) *Renamed {
	w.t.Helper()
	out, err := w.e.RenameName(w.t.Context(), dn, to, claim, 0, false)
	must(w.t, err)
	return out
}

// queueOf is a name's queue, head first.
func (w *world) queueOf(dn string) (ids []string) {
	n := w.name(dn)
	for _, l := range append([]Link{n.Head}, n.Queue...) {
		ids = append(ids, l.Claim)
	}
	return ids
}

// trees has claims on names, each on a source that nobody serves.
func (w *world) trees(claims ...string) {
	w.t.Helper()
	for i, c := range claims {
		id, dn, _ := strings.Cut(c, " ")
		w.add(id, dn, nowhere(i))
	}
	await(w.t, "that all are known to be down, so that no fact comes between", func() bool {
		stored := w.stored(recordQueue + "claim/")
		return !slices.ContainsFunc(slices.Collect(maps.Values(stored)), func(v string) bool { return !strings.Contains(v, `"reason"`) })
	})
}

// R27, R41: a head is renamed beside a server that is down: its subtree moves with its entryUUIDs and
// content, in one step for whoever reads, over a restart; the subscription and the export say so.
func TestR27RenameHead(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	uuids, from := uuidsOf(w.e.Version()), w.e.Version().CSN()
	s.Down()
	dry, err := w.e.RenameName(t.Context(), "cn=Here", "cn=There", "", 0, true)
	must(t, err)
	var seen []map[string]dit.UUID
	stop := w.watch(func(v *tree.Version) { seen = append(seen, uuidsOf(v)) })
	out := w.rename("cn=Here", "cn=There", "")
	stop()
	if out.Claim != "s" || out.From != name || out.To != at("There") || out.Position != 0 || len(out.Warnings) != 0 ||
		!strings.Contains(out.Effect, "with all its content") || out.Task == 0 || out.Revision != w.name("cn=There").Revision {
		t.Errorf("%+v", out)
	}
	if dry.Task, dry.DryRun = out.Task, false; fmt.Sprint(dry) != fmt.Sprint(out) {
		t.Errorf("foretold %+v, happened %+v", dry, out)
	}
	now := uuidsOf(w.e.Version())
	for dn, id := range uuids {
		if moved := strings.Replace(dn, "cn=Here", "cn=There", 1); now[moved] != id || len(now) != len(uuids) {
			t.Errorf("%s has the UUID %s, %s had %s", moved, now[moved], dn, id)
		}
	}
	for _, v := range seen { // the old or the new, and never neither
		if !maps.Equal(v, uuids) && !maps.Equal(v, now) {
			t.Errorf("a reader saw %v", v)
		}
	}
	w.checkLog(from)
	if got := w.task("name rename"); got.ID != out.Task || got.State != TaskDone || got.Outcome != out.Effect {
		t.Errorf("%+v", got)
	}
	if d := w.entered(); !strings.Contains(d, `"name":"cn=There"`) {
		t.Errorf("exported %s", d)
	}
	w.restart()
	must(t, s.Up())
	must(t, s.Modify(suffix, "description", "later"))
	w.awaitEqual(s, suffix, at("There"))
	w.check()
	w.checkStored()
}

// R26, R27: a rename onto a name that is there joins the end of its queue after a
// warning, dissolving the clash that was; a claim that waits, renamed, shows its own content.
func TestR27RenameAndClashes(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	other := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	w := newWorld(t)
	w.add("a", "cn=A", w.source(s, suffix))
	w.awaitLive("cn=A")
	w.add("b", "cn=A", w.source(other, "o=Other"))
	w.add("c", "cn=C", nowhere(1))
	out := w.rename("cn=A", "cn=C", "a")
	if out.Position != 1 || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "already claimed by c") ||
		!strings.Contains(out.Effect, "a waits at position 1 of the queue of "+at("C")+", and its content is not shown any more; b takes over "+at("A")) {
		t.Errorf("%+v", out)
	}
	w.awaitEqual(other, "o=Other", at("A"))
	if a, c := w.queueOf("cn=A"), w.queueOf("cn=C"); !slices.Equal(a, []string{"b"}) || !slices.Equal(c, []string{"c", "a"}) {
		t.Errorf("%q %q", a, c)
	}
	s.Down()
	out = w.rename("cn=C", "cn=D", "a")
	if out.Position != 0 || !strings.Contains(out.Effect, at("D")+" shows the content of a; a waits for "+at("C")+" no more") {
		t.Errorf("%+v", out)
	}
	if w.name("cn=D").Entries == 0 {
		t.Error("what waited was fetched again")
	}
	out = w.rename("cn=C", "cn=In,cn=D", "")
	if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "lies inside "+at("D")) {
		t.Errorf("%+v", out)
	}
	if out = w.rename("cn=D", "CN=d", ""); out.To != "CN=d,"+baseDN || !strings.Contains(out.Effect, "way the name is written") || out.Position != 0 {
		t.Errorf("%+v", out)
	}
	w.check()
	w.checkLists()
	w.checkStored()
	w.restart()
}

// R27, R56: a rename that makes no sense is refused, and nothing has changed.
func TestR27RenamesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.trees("a cn=A", "b cn=A", "c cn=C")
	for _, test := range []struct {
		dn, to string
		claim  queue.ClaimID
		kind   string
		words  string
	}{
		{"cn=A", "cn=A", "", queue.KindSameName, "already"},
		{"cn=A", "cn=A", "b", queue.KindSameName, "already"},
		{"cn=A", "cn=below,cn=a", "", queue.KindBelowItself, "below itself"},
		{"cn=A", baseDN, "", queue.KindIsBase, "base DN itself"},
		{"cn=A", "cn=A,o=elsewhere,c=xx", "", queue.KindOutsideBase, "not lie below"},
		{"cn=A", "nonsense", "", queue.KindInvalid, "nonsense"},
		{"cn=A", "cn=%(attr.cn)s", "", queue.KindInvalid, "substitutions"},
		{"cn=Gone", "cn=B", "", queue.KindNotFound, "no name"},
		{"cn=A", "cn=B", "c", queue.KindNotFound, "which is a (head), b: it is on " + at("C")},
		{"cn=A", "cn=B", "nobody", queue.KindNotFound, "there is no such claim"},
	} {
		for _, dry := range []bool{true, false} {
			w.refused(fmt.Sprint(test.dn, " to ", test.to, " dry ", dry), test.kind, test.words, func() error {
				_, err := w.e.RenameName(t.Context(), test.dn, test.to, test.claim, 0, dry)
				return err
			})
		}
	}
	if got := w.task("name rename"); got.State != TaskRefused || got.Ended == nil {
		t.Errorf("%+v", got)
	}
}

// R27: two operators decide at once: the second is told what has changed since it looked.
func TestR27TwoAtOnce(t *testing.T) {
	w := newWorld(t)
	w.trees("a cn=A", "b cn=A", "c cn=A", "d cn=A")
	seen := w.name("cn=A").Revision
	move := func(claim queue.ClaimID, position int, revision uint64) (*Decided, error) {
		return w.e.MoveInQueue(t.Context(), "cn=A", claim, position, revision, false)
	}
	out, err := move("d", 1, seen)
	must(t, err)
	if out.Revision == seen || out.Revision != w.name("cn=A").Revision {
		t.Errorf("%+v after %d", out, seen)
	}
	stale := func(words string, revision uint64) {
		t.Helper()
		w.refused(words, queue.KindStale, words, func() error {
			_, err := move("c", 1, revision)
			return err
		})
		w.refused(words, queue.KindStale, words, func() error {
			_, err := w.e.RenameName(t.Context(), "cn=A", "cn=B", "", revision, false)
			return err
		})
	}
	stale("those that wait stand in another order; it is now a (head), d, b, c", seen)
	stale("since you looked at it; it is now", 17)
	w.rename("cn=A", "cn=B", "")
	stale("a left, d is the head instead of a; it is now d (head), b, c", seen)
	seen, gone := w.name("cn=A").Revision, w.name("cn=B").Revision
	w.rename("cn=B", "cn=A", "a")
	stale("a joined; it is now d (head), b, c, a", seen)
	w.refused("a name that went", queue.KindStale, "the name is gone", func() error {
		_, err := w.e.RenameName(t.Context(), "cn=B", "cn=X", "", gone, false)
		return err
	})
}

// R27: those that wait are reordered; the head is not moved by it. It lasts over a restart, and
// an export has trees in that order.
func TestR27MoveInQueue(t *testing.T) {
	w := newWorld(t)
	w.trees("a cn=A", "x cn=X", "b cn=A", "c cn=A", "d cn=a")
	dry, err := w.e.MoveInQueue(t.Context(), "cn=A", "d", 1, 0, true)
	must(t, err)
	if now := w.queueOf("cn=A"); !slices.Equal(now, []string{"a", "b", "c", "d"}) {
		t.Errorf("the dry run made it %q", now)
	}
	out, err := w.e.MoveInQueue(t.Context(), "cn=A", "d", 1, w.name("cn=A").Revision, false)
	must(t, err)
	if fmt.Sprint(out.Queue) != "[a d b c]" || out.DN != at("A") || !strings.Contains(out.Effect, "position 1") || out.Revision != dry.Revision {
		t.Errorf("%+v, the dry run %+v", out, dry)
	}
	if got := w.task("queue move"); got.ID != out.Task || got.Outcome != out.Effect || got.Target != at("A") {
		t.Errorf("%+v", got)
	}
	for _, test := range []struct {
		claim    queue.ClaimID
		position int
		kind     string
		words    string
	}{
		{"d", 0, queue.KindIsHead, "changing the head is a switch, which checks the content of \"d\" first"},
		{"a", 1, queue.KindIsHead, "changing the head is a switch"},
		{"d", 4, queue.KindInvalid, "positions 1 to 3"},
		{"d", -1, queue.KindInvalid, "no position -1"},
		{"d", 1, queue.KindSamePlace, "already"},
		{"x", 1, queue.KindNotFound, "it is on " + at("X")},
	} {
		w.refused(fmt.Sprint(test.claim, " to ", test.position), test.kind, test.words, func() error {
			_, err := w.e.MoveInQueue(t.Context(), "cn=A", test.claim, test.position, 0, false)
			return err
		})
	}
	history, err := w.e.History(t.Context(), "cn=A")
	must(t, err)
	if !slices.ContainsFunc(history, func(h Happening) bool { return h.What == "queued" && h.Claim == "d" }) {
		t.Errorf("%+v", history)
	}
	w.restart()
	if now := w.queueOf("cn=A"); !slices.Equal(now, []string{"a", "d", "b", "c"}) {
		t.Errorf("after a restart it is %q", now)
	}
	d, err := w.e.Export(t.Context())
	must(t, err)
	other := newWorld(t)
	other.apply(*d, false)
	if a, b := w.queueOf("cn=A"), other.queueOf("cn=A"); !slices.Equal(a, b) || w.entered() != other.entered() {
		t.Errorf("elsewhere it is %q", b)
	}
	w.remove("a")
	if now := w.queueOf("cn=A"); !slices.Equal(now, []string{"d", "b", "c"}) {
		t.Errorf("the one that was put first is not promoted: %q", now)
	}
}

// R23, R30: a found entry's claim is suppressed, its name going or passing on; over a restart and
// found again it stays so, until it is lifted and joins the end of its queue.
func TestR23SuppressAndLift(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	other := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b")})
	w.awaitLive(at("A"))
	w.awaitLive(at("B"))
	id := queue.ClaimID(w.name("cn=A").Head.Claim)
	stored := w.stored("")
	dry, err := w.e.SuppressClaim(t.Context(), id, 0, true)
	must(t, err)
	if !strings.Contains(dry.Effect, at("A")+" goes from the tree") || len(dry.Queue) != 0 || dry.Revision != 0 || !maps.Equal(stored, w.stored("")) {
		t.Errorf("%+v", dry)
	}
	w.refused("a stale look", queue.KindStale, "has changed", func() error {
		_, err := w.e.SuppressClaim(t.Context(), id, 17, false)
		return err
	})
	out, err := w.e.SuppressClaim(t.Context(), id, w.name("cn=A").Revision, false)
	must(t, err)
	if got := w.task("queue suppress"); got.ID != out.Task || got.State != TaskDone || got.Target != string(id) || out.Effect != dry.Effect {
		t.Errorf("%+v %+v", out, got)
	}
	w.awaitPlaces(s, places{at("B"): found("b")})
	must(t, s.Modify(found("a"), "description", "changed"))
	w.restart()
	again(t, s)
	w.awaitPlaces(s, places{at("B"): found("b")})
	for _, f := range w.foundIn("l") {
		if f.DN == found("a") && (!f.Names[0].Suppressed || f.Names[0].Outcome != "suppressed" || f.Names[0].Claim != id) {
			t.Errorf("%+v", f)
		}
	}
	w.add("tree", "cn=A", w.source(other, suffix))
	w.awaitLive("cn=A")
	lift, err := w.e.LiftClaim(t.Context(), id, 0, true)
	must(t, err)
	if fmt.Sprint(lift.Queue) != "[tree "+string(id)+"]" || len(lift.Warnings) != 1 || !strings.Contains(lift.Warnings[0], "already claimed by tree") {
		t.Errorf("%+v", lift)
	}
	w.refused("a stale look", queue.KindStale, "has changed", func() error {
		_, err := w.e.LiftClaim(t.Context(), id, 17, false)
		return err
	})
	out, err = w.e.LiftClaim(t.Context(), id, w.name("cn=A").Revision, false)
	must(t, err)
	if !strings.Contains(out.Effect, "waits at position 1 of the queue of "+at("A")) || out.Revision != lift.Revision {
		t.Errorf("%+v", out)
	}
	w.refused("lifted twice", queue.KindInvalid, "not suppressed", func() error {
		_, err := w.e.LiftClaim(t.Context(), id, 0, false)
		return err
	})
	w.refused("a tree", queue.KindInvalid, "only a list's can be suppressed", func() error {
		_, err := w.e.SuppressClaim(t.Context(), "tree", 0, false)
		return err
	})
	w.remove("tree")
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b")})
	w.add("next", "cn=B", w.source(other, suffix))
	out, err = w.e.SuppressClaim(t.Context(), queue.ClaimID(w.name("cn=B").Head.Claim), 0, false)
	must(t, err)
	if !strings.Contains(out.Effect, "next takes over "+at("B")) || fmt.Sprint(out.Queue) != "[next]" {
		t.Errorf("%+v", out)
	}
	w.awaitLive("cn=B")
	w.checkStored()
	w.restart()
}

// R21, R27: a list's claim keeps the name that an operator gave it, over resyncs, restarts and
// another template, and as long as it is there; a suppression forgets it, and says so.
func TestR27RenameOfListClaims(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b")})
	ids := uuidsByEntry(w)
	id := queue.ClaimID(w.name("cn=A").Head.Claim)
	out := w.rename("cn=A", "cn=Z", "")
	if out.Claim != id || out.To != at("Z") {
		t.Errorf("%+v", out)
	}
	want := places{at("Z"): found("a"), at("B"): found("b")}
	w.awaitPlaces(s, want)
	must(t, s.Modify(found("a"), "l", "C"))
	again(t, s)
	await(t, "what the template makes now", func() bool {
		return slices.ContainsFunc(w.foundIn("l"), func(f Found) bool { return len(f.Names) == 1 && f.Names[0].Name == at("C") && f.Names[0].Detail != "" })
	})
	w.awaitPlaces(s, want)
	w.restart()
	w.set("l", map[string]string{"name": "cn=x %(attr.l)s"})
	want = places{at("Z"): found("a"), at("x B"): found("b")}
	w.awaitPlaces(s, want)
	w.set("l", map[string]string{"name": "cn=Z"}) // which is what the operator chose
	w.awaitPlaces(s, places{at("Z"): found("a")})
	w.set("l", map[string]string{"name": "cn=y %(attr.l)s"})
	w.awaitPlaces(s, places{at("Z"): found("a"), at("y B"): found("b")})
	for key, id := range uuidsByEntry(w) {
		if ids[key] != id {
			t.Errorf("%s was served as %s, and is as %s", key, ids[key], id)
		}
	}
	gone, err := w.e.SuppressClaim(t.Context(), id, 0, false)
	must(t, err)
	if len(gone.Warnings) != 1 || !strings.Contains(gone.Warnings[0], "was renamed") {
		t.Errorf("%+v", gone)
	}
	_, err = w.e.LiftClaim(t.Context(), id, 0, false)
	must(t, err)
	w.awaitPlaces(s, places{at("y C"): found("a"), at("y B"): found("b")})
	w.checkStored()
}

// R21, R27, R33: a crash at any moment of a command leaves the old or the new, and never a mixture.
func TestCrashInRename(t *testing.T) {
	for what, to := range map[string]string{"to a free name": "cn=New", "into a queue": "cn=Other", "inside another": "cn=p,cn=Other"} {
		t.Run(what, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
			other := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
			w := newWorld(t)
			w.add("s", "cn=Here", w.source(s, suffix))
			w.add("other", "cn=Other", w.source(other, "o=Other"))
			w.awaitLive("cn=Here")
			w.awaitLive("cn=Other")
			before, from := w.content(), w.e.Version().CSN()
			s.Down()
			other.Down()
			await(t, "both are down", func() bool { return w.name("cn=Here").Head.State == "down" && w.name("cn=Other").Head.State == "down" })
			c, stop := w.crashing(1)
			w.rename("cn=Here", to, "")
			stop()
			w.checkChanges(from)
			c.eitherOr(before, w.content())
			w.restart()
		})
	}
}

// R27: what changed in a queue is said in few words, however long the queue.
func TestChangeWords(t *testing.T) {
	name := func(claims string) *queue.Name {
		n := &queue.Name{}
		for id := range strings.FieldsSeq(claims) {
			n.Claims = append(n.Claims, queue.ClaimID(id))
		}
		return n
	}
	for _, test := range []struct{ was, is, words string }{
		{"a b", "a b", "a claim was taken away and came again, or is spelt otherwise"},
		{"a b", "b", "a left, b is the head instead of a"},
		{"a b c", "a c b", "those that wait stand in another order"},
		{"a b c", "a c d", "b left, d joined"},
		{"a", "a 1 2 3 4 5 6 7 8 9 10 11 12", "1 joined, 2 joined, 3 joined, 4 joined, 5 joined, 6 joined, 7 joined, 8 joined, 9 joined, 10 joined, 2 more joined"},
	} {
		if got := changeWords(name(test.was), name(test.is)); got != test.words {
			t.Errorf("%s, %s: %q, want %q", test.was, test.is, got, test.words)
		}
	}
	if got := queueWords(name("a 1 2 3 4 5 6 7 8 9 10 11").Claims); got != "a (head), 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more" {
		t.Errorf("%q", got)
	}
	var seen told
	for i := range uint64(maxTold + 1) {
		seen.note(i+1, name("a"))
	}
	if seen.of(1, "") != nil || seen.of(2, "") == nil || seen.of(maxTold+1, "") == nil {
		t.Error("what was looked at last is not what is remembered")
	}
}
