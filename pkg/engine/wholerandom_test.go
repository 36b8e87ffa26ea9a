package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
)

// steps is how long the histories through the whole engine are, all together; "make test-long" has
// long ones.
var steps = flag.Int("steps", 120, "steps of the histories through the whole engine")

const wholeSteps = 60 // of one history

// R7, R16, R18, R21, R23, R24, R27, R30 to R35, R41: whatever operators do, while servers change, go and come
// back, and Shaft is restarted or killed at any moment: the engine decides what the core alone
// decides, each name shows exactly its head's content or that of the head that was removed, what
// waits is kept as it was, and the change log leads there.
func TestWholeHistories(t *testing.T) {
	happened := map[string]int{}
	for seed := range uint64(max(1, *steps/wholeSteps)) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			x := newWhole(t, seed, happened)
			for i := range wholeSteps {
				x.step = fmt.Sprintf("step %d: ", i)
				x.act()
				x.past = append(x.past, x.step)
			}
		})
	}
	for _, what := range []string{"ClaimAdded", "ClaimLifted", "ClaimMoved", "ClaimRemoved", "ClaimSuppressed", "EntryFound", "EntryLost", "LingerEnded",
		"ListRemoved", "QueueMoved", "RefreshHeld", "HoldRejected", "Refreshed", "Switched", "a name lingers", "a name is empty", "a crash", "a restart", "a refusal"} {
		if happened[what] < *steps/300 {
			t.Errorf("%d of %s in %d steps: the histories are too tame: %v", happened[what], what, *steps, happened)
		}
	}
}

const wholeLDIF = sourceLDIF + `
dn: cn=0,ou=a,o=Source
objectClass: organizationalRole
cn: 0
seeAlso: ou=b,o=Source
seeAlso: o=Elsewhere

dn: cn=1,ou=a,o=Source
objectClass: organizationalRole
cn: 1
description: of %s
seeAlso: cn=0,ou=a,o=Source
`

// newWhole is a world with two servers that hold trees and one with what lists find.
func newWhole(t *testing.T, seed uint64, happened map[string]int) *whole {
	x := &whole{
		world: newWorld(t), r: rand.New(rand.NewPCG(seed, 4)), core: queue.NewState(), has: map[uint32]entrySet{}, staged: map[uint32]entrySet{}, remote: map[*site][]remoteSays{},
		happened: happened,
	}
	x.close()
	if seed%2 == 1 {
		x.guard = &Guard{Percent: 20, Minimum: 1}
	}
	x.now = func() time.Time { return time.Now().Add(x.ahead) }
	x.promotion = time.Hour
	x.open()
	for i := range 2 {
		s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: fmt.Sprintf(wholeLDIF, fmt.Sprint("server ", i)), PresentPhase: (seed+uint64(i))%2 == 1})
		x.sites = append(x.sites, &site{Server: s, base: suffix})
	}
	text := listLDIF + plainDistro("a", "A") + plainDistro("b", "B", "C") + plainDistro("c", "A", "D")
	x.dns = []string{found("a"), found("b"), found("c")}
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: text, PresentPhase: seed%2 == 1})
	x.sites = append(x.sites, &site{Server: s, base: listBase})
	x.begin()
	x.step = "the first tree"
	x.add("t", "cn=A", x.source(x.sites[0], suffix))
	x.settle()
	for _, id := range []string{"l", "m"} {
		x.addList(id)
		x.settle()
	}
	return x
}

// plainDistro is an entry that the lists find, with one below it; DN values are the trees'.
func plainDistro(cn string, names ...string) string {
	lines := strings.Split(distro(cn, names...), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "seeAlso") }), "\n")
}

// act does one thing, waits for what comes of it, and looks.
func (x *whole) act() {
	x.t.Helper()
	x.begin()
	switch k := x.r.IntN(100); {
	case k < 57:
		x.crashes(x.command)
	case k < 70:
		x.writes = true
		s := x.sites[x.r.IntN(2)]
		x.step += "writes to a tree's server"
		x.crashes(func() {
			for i := range x.r.IntN(2) * 12 { // much comes
				_ = s.Add(fmt.Sprintf("dn: cn=%d,ou=%s,%s\nobjectClass: organizationalRole\ncn: %[1]d\n", i/2, []string{"a", "b"}[i%2], suffix))
			}
			randomWrites(x.t, x.r, s.Server)
			for i := range x.r.IntN(2) * 12 { // much goes
				_ = s.Delete(fmt.Sprintf("cn=%d,ou=%s,%s", i/2, []string{"a", "b"}[i%2], suffix))
			}
		})
	case k < 84:
		x.writes = true
		x.step += "what the lists find: "
		x.crashes(x.change)
	case k < 94:
		s := x.sites[x.r.IntN(3)]
		for _, other := range x.sites { // rather back than away too
			if other.away && x.r.IntN(3) > 0 {
				s = other
			}
		}
		s.away = !s.away
		if x.writes = !s.away; s.away {
			x.step += "a server goes"
			s.Down()
		} else {
			x.step += "a server comes"
			must(x.t, s.Up())
		}
		x.settle()
	case k < 98:
		x.step += "a restart"
		x.happened["a restart"]++
		x.restart()
		x.settle()
	default:
		x.step += "what lingers is over"
		x.close()
		x.ahead += 2 * time.Hour
		x.open()
		x.over = true
		x.settle()
	}
	x.writes, x.approved = false, 0
}

// crashes does something and waits for what comes of it; perhaps it goes on then with what a crash
// in the midst of that would have left.
func (x *whole) crashes(fn func()) {
	x.t.Helper()
	if k := x.r.IntN(6); k > 0 {
		if fn(); k == 1 {
			x.step += ", and a restart at once"
			x.close()
			x.open()
		}
		x.settle()
		x.checkDecided()
		return
	}
	before := *x
	before.core, before.staged = x.core.Clone(), maps.Clone(x.staged)
	root := x.t.TempDir()
	dirs := x.copying(root, 1+x.r.IntN(3), func() {
		fn()
		x.settle()
		x.checkDecided()
	})
	if len(dirs) == 0 {
		return
	}
	at := x.r.IntN(len(dirs))
	x.happened["a crash"]++
	x.step += fmt.Sprintf(", with a crash at moment %d of %d", at, len(dirs))
	old := x.dir
	x.close()
	x.dir = dirs[at]
	x.staged = before.staged
	x.core, x.seq, x.has, x.shown, x.was, x.csn = before.core, before.seq, before.has, before.shown, before.was, before.csn
	x.told, x.gaps, x.again = nil, map[string]bool{}, map[uint32]bool{}
	x.open()
	x.settle()
	must(x.t, os.RemoveAll(old))
	for _, dir := range dirs {
		if dir != x.dir {
			must(x.t, os.RemoveAll(dir))
		}
	}
}

// copying copies the store at moments at which the engine takes CSNs, as crashing does, with the
// clock of this world.
func (x *whole) copying(root string, every int, fn func()) (dirs []string) {
	x.t.Helper()
	n := 0
	take := func() {
		allTaken(x.e)
		dir, before := filepath.Join(root, fmt.Sprint(len(dirs))), filesIn(x.t, x.dir)
		if err := copySparse(x.dir, dir); err != nil {
			x.t.Error(err)
			return
		}
		if dirs = append(dirs, dir); !slices.Equal(before, filesIn(x.t, x.dir)) { // so that it is of no one moment
			dirs = dirs[:len(dirs)-1]
			must(x.t, os.RemoveAll(dir))
		}
	}
	must(x.t, x.e.do(x.t.Context(), func() {
		x.e.o.Now = func() time.Time {
			if n++; n%every == 0 && len(dirs) < 40 {
				take()
			}
			return x.now()
		}
	}))
	fn()
	must(x.t, x.e.do(x.t.Context(), func() { x.e.o.Now = x.now }))
	return dirs
}

func filesIn(t *testing.T, dir string) (names []string) {
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

var listTemplates = map[string]string{"l": "cn=%(attr.l)s", "m": "cn=in,cn=%(attr.street)s"}

var wholeNames = []string{"cn=A", "cn=B", "cn=in,cn=A", "cn=x,ou=deep", "cn=0,ou=a,cn=B"}

// someName is rather one that others have a claim on.
func (x *whole) someName() string {
	if norms := slices.Sorted(maps.Keys(x.core.Names)); len(norms) > 0 && x.r.IntN(3) > 0 {
		return x.core.Names[some(x, norms)].Text
	}
	return some(x, wholeNames) + "," + baseDN
}

func some[T any](x *whole, list []T) T { return list[x.r.IntN(len(list))] }

// change has the lists' server find something else.
func (x *whole) change() {
	x.t.Helper()
	s := x.lists()
	var names []string
	for range x.r.IntN(3) {
		names = append(names, some(x, []string{"A", "B", "C", "D"}))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	fresh := fmt.Sprint("n", x.r.IntN(1_000_000))
	at := x.r.IntN(len(x.dns))
	dn := x.dns[at]
	switch k := x.r.IntN(10); {
	case k < 4:
		x.step += fmt.Sprintf("%s is for %q", dn, names)
		must(x.t, s.Modify(dn, "l", names...))
	case k < 6:
		x.step += fmt.Sprintf("%s is inside %q", dn, names)
		must(x.t, s.Modify(dn, "street", names...))
	case k < 7 && len(x.dns) < 6:
		x.step += fmt.Sprintf("%s comes for %q", fresh, names)
		must(x.t, s.Add(plainDistro(fresh, names...)))
		x.dns = append(x.dns, found(fresh))
	case k < 8 && len(x.dns) > 2:
		x.step += dn + " goes"
		must(x.t, s.Delete(dn))
		x.dns = slices.Delete(x.dns, at, at+1)
	case k < 9:
		x.step += dn + " becomes " + fresh
		must(x.t, s.Rename(dn, found(fresh)))
		x.dns[at] = found(fresh)
	default:
		x.step += dn + " says something else"
		if !s.away {
			must(x.t, s.Modify(dn, "description", fmt.Sprint("step ", x.r.IntN(100))))
		}
	}
}

// command gives one command, and holds what comes of it against what the core makes of the event.
func (x *whole) command() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	l := x.look()
	ids := slices.Sorted(maps.Keys(x.core.Claims))
	if len(ids) == 0 || x.r.IntN(4) == 0 {
		x.addOrRemove(l)
		return
	}
	for _, id := range ids {
		if x.core.Claims[id].Held.Is() && x.r.IntN(3) == 0 {
			x.judge(x.core.Claims[id])
			return
		}
	}
	c := x.core.Claims[some(x, ids)]
	switch k := x.r.IntN(15); {
	case k < 3:
		to := x.someName()
		ev := queue.ClaimMoved{ID: c.ID, Name: to, Norm: x.normOf(to)}
		x.try(ev, func() error { _, err := x.e.RenameName(ctx, c.Name, to, c.ID, 0, false); return err })
	case k < 5:
		c = x.waiting(c)
		ev := queue.QueueMoved{ID: c.ID, Position: x.r.IntN(1 + len(x.core.Names[c.Norm].Claims))}
		x.try(ev, func() error { _, err := x.e.MoveInQueue(ctx, c.Name, c.ID, ev.Position, 0, false); return err })
	case k < 7:
		x.suppressOrLift(c)
	case k < 8:
		warm := fmt.Sprint(!l.subs[c.Subscription].KeepWarm)
		x.step += "command: keep-warm " + warm + " of " + c.Subscription
		x.set(c.Subscription, map[string]string{"keep_warm": warm})
	case k < 9:
		if s := x.sites[x.r.IntN(2)]; !s.away && c.Entry == "" {
			x.step += fmt.Sprintf("command: another server for %s: %s", c.ID, s.URL())
			x.writes = true
			x.set(c.Subscription, map[string]string{"port": fmt.Sprint(x.source(s, suffix).Port)})
		}
	case k < 10:
		if x.r.IntN(3) == 0 {
			x.step += "command: all is exported, and applied again"
			d, err := x.e.Export(ctx)
			must(x.t, err)
			x.apply(*d, true)
			return
		}
		x.step += "command: resync " + c.Name
		_, err := x.e.ResyncName(ctx, c.Name, false)
		must(x.t, err)
	case k < 11:
		c = x.waiting(c)
		x.step += fmt.Sprintf("command: what if %s were the head", c.ID)
		_, err := x.e.QueueDiff(ctx, c.Name, c.ID)
		if ctx.Err() != nil {
			x.fail("in vain, of %+v, whose link is %+v", c, l.states[c.ID])
		}
		could := !x.siteOf(l, c.Subscription).away && x.core.Names[c.Norm].Head() != c.ID
		if x.look(); !x.core.Claims[c.ID].Held.Is() && could != (err == nil) {
			x.fail("%v", err)
		}
	default:
		x.switchTo(l, x.waiting(c), k == 11)
	}
}

// waiting gives one that waits, if there is any in a queue that is looked at, else the claim itself.
func (x *whole) waiting(c *queue.Claim) *queue.Claim {
	for _, longer := range []int{2, 1} {
		for _, norm := range slices.Sorted(maps.Keys(x.core.Names)) {
			if q := x.core.Names[norm].Claims; len(q) > longer && x.r.IntN(3) > 0 {
				return x.core.Claims[some(x, q[1:])]
			}
		}
	}
	return c
}

func (x *whole) suppressOrLift(c *queue.Claim) {
	x.t.Helper()
	ctx := x.t.Context()
	var there, suppressed []queue.ClaimID
	for _, list := range []string{"l", "m"} {
		for _, entry := range slices.Sorted(maps.Keys(x.core.Members[list])) {
			for _, mc := range x.core.Members[list][entry].Claims {
				if mc.Suppressed {
					suppressed = append(suppressed, mc.Claim)
				} else {
					there = append(there, mc.Claim)
				}
			}
		}
	}
	switch id := c.ID; {
	case len(suppressed) > 0 && x.r.IntN(3) > 0:
		id = some(x, suppressed)
		fallthrough
	case x.r.IntN(6) == 0: // which is refused
		x.try(queue.ClaimLifted{ID: id}, func() error { _, err := x.e.LiftClaim(ctx, id, 0, false); return err })
	case len(there) > 0:
		id = some(x, there)
		fallthrough
	default:
		x.try(queue.ClaimSuppressed{ID: id}, func() error { _, err := x.e.SuppressClaim(ctx, id, 0, false); return err })
	}
}

// switchTo puts a claim first, by force perhaps.
func (x *whole) switchTo(l *seen, c *queue.Claim, force bool) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(WithActor(x.t.Context(), Actor{Who: "root", Why: "a test"}), patience)
	defer cancel()
	command := func() error { _, err := x.e.Switch(ctx, c.Name, c.ID, force, 0, false); return err }
	if !force && x.siteOf(l, c.Subscription).away {
		x.step += fmt.Sprintf("command: a switch to %s, which is away", c.ID)
		var refusal *queue.Refusal
		if err := command(); !errors.As(err, &refusal) {
			x.fail("%v", err)
		}
		return
	}
	if x.core.Names[c.Norm].Head() == c.ID || force {
		x.try(queue.Switched{ID: c.ID, Forced: force}, command)
		return
	}
	x.step += fmt.Sprintf("command: a switch to %s, which is fetched for it", c.ID)
	err := command()
	if x.look(); (err != nil) != x.core.Claims[c.ID].Held.Is() || err == nil && x.core.Names[c.Norm].Head() != c.ID {
		x.fail("%v, held %+v", err, x.core.Claims[c.ID].Held)
	}
}

// judge approves or rejects what is held.
func (x *whole) judge(c *queue.Claim) {
	x.t.Helper()
	if x.r.IntN(2) == 0 {
		ev := queue.HoldRejected{Of: string(c.ID), Print: c.Held.Print}
		x.try(ev, func() error { _, err := x.e.RejectHeld(x.t.Context(), string(c.ID), 0, false); return err })
		return
	}
	x.step += fmt.Sprintf("command: what is held of %s is taken", c.ID)
	x.writes, x.approved = true, c.Number
	_, err := x.e.ApproveHeld(x.t.Context(), string(c.ID), 0, false)
	must(x.t, err)
}

func (x *whole) normOf(name string) string {
	dn, err := dit.ParseDN(x.schema, name)
	must(x.t, err)
	return dn.Norm()
}

// addOrRemove adds a subscription whose id is free, or removes it.
func (x *whole) addOrRemove(l *seen) {
	x.t.Helper()
	ctx := x.t.Context()
	id := some(x, []string{"t", "u", "v", "w", "x", "y", "z", "l", "m"})
	_, there := l.subs[id]
	isList := id == "l" || id == "m"
	for _, norm := range slices.Sorted(maps.Keys(x.core.Names)) { // rather a head before others
		n := x.core.Names[norm]
		if h := x.core.Claims[n.Head()]; h.Entry == "" && there && id != "l" && len(n.Claims) > 1 {
			id, isList = h.Subscription, false
		}
	}
	switch {
	case there && isList:
		x.step += "command: the list " + id + " goes"
		_, err := x.e.RemoveSubscription(ctx, id, false)
		must(x.t, err)
	case there:
		x.try(queue.ClaimRemoved{ID: queue.ClaimID(id)}, func() error { _, err := x.e.RemoveSubscription(ctx, id, false); return err })
	case isList && x.lists().away:
		x.step += "command: none"
	case isList:
		x.step += "command: the list " + id + " comes"
		x.addList(id)
	default:
		s, name := x.sites[x.r.IntN(2)], x.someName()
		ev := queue.ClaimAdded{ID: queue.ClaimID(id), Subscription: id, Name: name, Norm: x.normOf(name)}
		sub := Subscription{ID: id, Name: name, Source: x.source(s, suffix), KeepWarm: x.r.IntN(3) == 0}
		x.try(ev, func() error { _, err := x.e.AddSubscription(ctx, sub, false); return err })
	}
}

// addList adds a list without a guard: its claims wait for its word.
func (x *whole) addList(id string) {
	x.t.Helper()
	sub := x.listSub(id, listTemplates[id], x.lists().Server)
	sub.NoGuard = true
	_, err := x.e.AddSubscription(x.t.Context(), sub, false)
	must(x.t, err)
}

// try gives a command: it is refused where the core refuses its event, and comes to just that
// event else.
func (x *whole) try(ev queue.Event, command func() error) {
	x.t.Helper()
	x.step += fmt.Sprintf("command: %#v", ev)
	would := queue.Refuses(x.core, ev)
	err := command()
	var refusal *queue.Refusal
	switch {
	case (would == nil) != (err == nil) || err != nil && !errors.As(err, &refusal):
		x.fail("the core says %v, the engine %v", would, err)
	case err != nil:
		x.happened["a refusal"]++
	default:
		x.look()
		if got := x.decided(); len(got) == 0 || fmt.Sprintf("%#v", got[0]) != fmt.Sprintf("%#v", ev) {
			x.fail("decided is %#v", got)
		}
	}
}

// checkDecided looks whether nothing was decided that nobody asked for.
func (x *whole) checkDecided() {
	x.t.Helper()
	list := strings.Contains(x.step, "the list") || x.writes
	commands := 0
	for _, ev := range x.decided() {
		switch ev.(type) {
		case queue.EntryFound, queue.EntryLost, queue.ListAdded, queue.ListRemoved:
			if !list {
				x.fail("nobody asked for %#v", ev)
			}
		default:
			commands++
		}
	}
	if commands > 1 || commands > 0 && list {
		x.fail("decided is %#v", x.decided())
	}
}
