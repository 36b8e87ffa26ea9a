package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// checkAside holds what is remembered of content beside the tree, and of the UUIDs that entries
// are served under, against the store and the tree.
func (w *world) checkAside() {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		e := w.e
		for _, cl := range e.byNum {
			w.checkHidden(cl)
		}
		lines := map[upstreamKey]dit.UUID{}
		must(w.t, w.store.Published(func(claim uint32, id, served dit.UUID) error {
			lines[upstreamKey{claim, id}] = served
			return nil
		}))
		if !maps.Equal(lines, e.pub.fwd) {
			w.t.Errorf("served as: %v, stored is %v", e.pub.fwd, lines)
		}
		for k, served := range e.pub.fwd {
			if e.byNum[k.claim] == nil {
				w.t.Errorf("claim number %d is not there, and its entry %s is served as %s", k.claim, k.id, served)
			}
			if e.pub.back[served] != k {
				w.t.Errorf("entry %s of %d is served as %s, which is that of %v", k.id, k.claim, served, e.pub.back[served])
			}
		}
		if len(e.pub.back) != len(e.pub.fwd) {
			w.t.Errorf("%d ways back from %d UUIDs", len(e.pub.back), len(e.pub.fwd))
		}
		for norm, cl := range e.placed {
			if l := e.lingering[norm]; cl.name.Norm() != norm || e.byNum[cl.number] != cl || e.state.Names[norm] == nil ||
				e.state.Names[norm].Head() != cl.id && (l == nil || l.cl != cl) {
				w.t.Errorf("%s shows the content of %s", norm, cl.id)
			}
		}
		for norm := range e.state.Lingers {
			if l := e.lingering[norm]; l == nil || e.placed[norm] != l.cl {
				w.t.Errorf("%s does not show what lingers", norm)
			}
		}
		for _, prefix := range []string{recordShown, recordUnhide} {
			if left := w.stored(prefix); len(left) > 0 {
				w.t.Errorf("left over: %q", left)
			}
		}
		if n := len(w.stored(recordLinger)); n != len(e.lingering) {
			w.t.Errorf("%d names show content of removed heads, %d records say since when", len(e.lingering), n)
		}
	}))
}

// checkHidden does so of one claim; for the engine's goroutine.
func (w *world) checkHidden(cl *claim) {
	e := w.e
	conv, err := storedConverter(e.schema, cl)
	must(w.t, err)
	inner := e.innerNames(cl)
	if e.isOffstage(cl) {
		inner = []string{cl.name.Norm()}
	}
	if !slices.Equal(inner, cl.inner) {
		w.t.Errorf("claim %s is hidden by %q, and should be by %q", cl.id, cl.inner, inner)
	}
	hidden, under, served := map[dit.UUID]string{}, map[string]int{}, 0
	must(w.t, w.store.Entries(cl.number, func(it store.Item) error {
		rec, err := decodeRecord(it.Value)
		must(w.t, err)
		must(w.t, conv.restore(rec))
		norm := string(conv.norm)
		if !hiddenBy(inner, conv.norm) {
			served++
			at, row := e.row(e.newest, e.newest.Row, cl.number, it.UUID)
			if at == 0 || e.newest.Norm(at) != norm || row.CSN != it.CSN || row.Hash != rec.hash || row.Gen != it.Gen {
				there, _ := e.newest.Find(norm)
				w.t.Errorf("claim %s: %s (%s) is served as %+v, stored is CSN %d, generation %d; there is %+v", cl.id, norm, it.UUID, row, it.CSN, it.Gen, e.newest.Row(there))
				w.t.Logf("of %s, upstream %s", e.pub.of(cl.number, it.UUID), e.pub.upstream(cl.number, e.newest.Row(there).UUID))
			}
			return nil
		}
		hidden[it.UUID] = norm
		for a := range ancestors(norm) {
			under[a]++
		}
		if h := cl.hidden[it.UUID]; h.norm != norm || h.hash != rec.hash || h.gen != it.Gen || cl.unserved && h.served {
			w.t.Errorf("claim %s: %s is beside the tree as %+v", cl.id, norm, h)
		}
		return nil
	}))
	if len(hidden) != len(cl.hidden) || !maps.Equal(under, cl.under) && len(under)+len(cl.under) > 0 {
		w.t.Errorf("claim %s has %d entries beside the tree, %d are known (%v, %v)", cl.id, len(hidden), len(cl.hidden), under, cl.under)
	}
	rows := 0
	for c := e.newest.Search(tree.Query{Base: e.newest.Root(), Scope: tree.Sub}); c.Next(); {
		if c.Entry().Row().Claim == cl.number {
			rows++
		}
	}
	if rows != served || cl.entries != served {
		w.t.Errorf("claim %s: %d rows, %d counted, %d stored to be served", cl.id, rows, cl.entries, served)
	}
}

// offstage is a world in which claims of mirrors come, wait, are kept warm, switched to and go.
type offstage struct {
	*world
	m    claimsModel
	all  []*ldaptest.Server
	r    *rand.Rand
	warm map[string]bool
	// down and wrote are the servers that are away, and that were changed in this round.
	down, wrote []int
	step        string
}

var offstageNames = []string{"cn=One", "cn=Two", "cn=0,ou=a,cn=One", "cn=1,cn=0,ou=a,cn=One"}

// R7, R24 to R35, R41: whatever is added, removed, renamed, switched to, kept warm and compared,
// while sources are away, change, and Shaft is restarted: when all is quiet names show what their heads'
// sources have, no two entries share a UUID, a switch keeps those at the same DN, the change log leads to
// the tree, and what is remembered of content aside is what is stored.
func TestRandomSuccessions(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomSuccessions(t, rand.New(rand.NewPCG(seed, 41)), 40)
		})
	}
}

func randomSuccessions(t *testing.T, r *rand.Rand, rounds int) {
	ids := "" // two servers know entries by the same UUIDs, the third by its own
	for i, text := range strings.Split(strings.TrimSpace(sourceLDIF), "\n\n") {
		ids += fmt.Sprintf("%s\nentryUUID: 00000000-0000-4000-8000-%012d\n\n", strings.TrimSpace(text), i)
	}
	w := &offstage{world: newWorld(t), r: r, warm: map[string]bool{}, m: claimsModel{queues: map[string][]string{}, servers: map[string]int{}}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.step)
		}
	})
	for i, ldif := range []string{ids, ids, sourceLDIF} {
		w.all = append(w.all, serve(t, ldaptest.Options{Suffix: suffix, LDIF: ldif, PresentPhase: i == 1}))
	}
	from := w.e.Version().CSN()
	for round := range rounds {
		w.step = fmt.Sprintf("round %d", round)
		w.away(func() {
			for range 1 + r.IntN(3) {
				w.act()
				w.check()
				w.checkStored()
				w.checkAside()
			}
		})
		w.awaitMerged()
		w.quiet()
		w.check()
		w.checkStored()
		w.checkAside()
		w.checkChanges(from)
		if t.Failed() {
			t.Fatal(w.step)
		}
	}
	w.restart()
}

// away does something while some servers may be away, and change.
func (w *offstage) away(do func()) {
	w.down, w.wrote = nil, nil
	for i, s := range w.all {
		if w.r.IntN(4) == 0 {
			s.Down()
			w.down = append(w.down, i)
		}
		if w.r.IntN(2) == 0 {
			w.wrote = append(w.wrote, i)
			randomWrites(w.t, w.r, s)
		}
	}
	do()
	for _, i := range w.down {
		must(w.t, w.all[i].Up())
	}
}

// awaitMerged waits until queues and tree are what they should be: of names inside names the inner one counts.
func (w *offstage) awaitMerged() {
	want := map[string]string{}
	for _, name := range slices.SortedFunc(maps.Keys(w.m.queues), func(a, b string) int { return strings.Count(a, ",") - strings.Count(b, ",") }) {
		id := w.m.queues[name][0]
		at := strings.ToLower(name + "," + baseDN)
		maps.DeleteFunc(want, func(dn, _ string) bool { return underNorm(dn, at) })
		for dn, entry := range w.upstreamContent(w.all[w.m.servers[id]], suffix, at) {
			want[strings.ToLower(dn)] = entry[strings.IndexByte(entry, ' '):]
		}
		n := w.name(name)
		q := []string{n.Head.Claim}
		for _, l := range n.Queue {
			q = append(q, l.Claim)
		}
		if !slices.Equal(q, w.m.queues[name]) {
			w.t.Fatalf("%s: the queue of %s is %v, and should be %v", w.step, name, q, w.m.queues[name])
		}
	}
	var now map[string]string
	deadline := time.Now().Add(20 * time.Second)
	await(w.t, w.step, func() bool {
		now = map[string]string{}
		for dn, entry := range w.content() {
			now[strings.ToLower(dn)] = entry[strings.IndexByte(entry, ' '):]
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %s", w.step, differences(want, now))
		}
		return maps.Equal(now, want)
	})
}

// quiet waits until everybody who is followed is live, and nothing lingers.
func (w *offstage) quiet() {
	deadline := time.Now().Add(15 * time.Second)
	await(w.t, w.step+": all is quiet", func() (quiet bool) {
		must(w.t, w.e.do(w.t.Context(), func() {
			quiet = len(w.e.lingering) == 0
			for id, cl := range w.e.claims {
				if w.e.isFollowed(cl, w.e.state.Claims[id]) {
					quiet = quiet && cl.current().State == "live"
				}
			}
		}))
		if time.Now().After(deadline) {
			for _, n := range w.names() {
				w.t.Logf("%+v", n)
			}
			w.t.Fatal(w.step)
		}
		return quiet && w.warmed()
	})
}

// warmed tells whether what is kept warm is what its source has.
func (w *offstage) warmed() bool {
	for id := range w.warm {
		if n := w.name(w.m.nameOf(id)); n.Head.Claim != id {
			at := slices.IndexFunc(n.Queue, func(l Link) bool { return l.Claim == id })
			if n.Queue[at].Entries != w.all[w.m.servers[id]].Len() {
				return false
			}
		}
	}
	return true
}

// act does one thing that operators do.
func (w *offstage) act() {
	ids := []string{"a", "b", "c", "d", "e"}
	id, to, server := ids[w.r.IntN(len(ids))], offstageNames[w.r.IntN(len(offstageNames))], w.r.IntN(len(w.all))
	at := w.m.nameOf(id)
	what := w.r.IntN(11)
	if at == "" {
		what = 0
	}
	w.step += fmt.Sprintf("; %d of %s at %s to %s, away are %v", what, id, at, to, w.down)
	ctx := WithActor(inTime(w.t), Actor{Who: "test", Why: "chance"})
	switch what {
	case 0:
		if at != "" {
			return
		}
		warm := w.r.IntN(2) == 0
		_, err := w.e.AddSubscription(ctx, Subscription{ID: id, Name: to, Source: w.source(w.all[server], suffix), KeepWarm: warm}, false)
		must(w.t, err)
		w.m.join(id, to)
		w.m.servers[id] = server
		if warm {
			w.warm[id] = true
		}
	case 1, 2:
		w.remove(id)
		w.m.leave(id)
		delete(w.warm, id)
	case 3, 4:
		if spelt := []string{to, strings.Replace(to, "cn", "CN", 1)}[w.r.IntN(2)]; !strings.HasSuffix(to, ","+at) {
			w.set(id, map[string]string{"name": spelt})
			if to != at {
				w.m.leave(id)
				w.m.join(id, to)
			}
		}
	case 5, 6, 7:
		w.switchAtRandom(id, at, slices.Contains(w.down, w.m.servers[id]))
	case 8:
		if w.warm[id] = !w.warm[id]; !w.warm[id] {
			delete(w.warm, id)
		}
		w.set(id, map[string]string{"keep_warm": fmt.Sprint(w.warm[id])})
	case 9:
		must(w.t, w.e.do(ctx, func() {
			w.e.o.PromotionLimit = 1
			w.e.endLingers()
			w.e.o.PromotionLimit = DefaultPromotionLimit
		}))
	case 10:
		w.restart()
	}
}

// switchAtRandom compares with a claim or switches to it, forced where its server is away. What both have
// keeps its UUIDs.
func (w *offstage) switchAtRandom(id, at string, down bool) {
	q := w.m.queues[at]
	if q[0] == id {
		return
	}
	ctx := WithActor(inTime(w.t), Actor{Who: "test", Why: "chance"})
	unsure := down && w.warm[id] // whether its link knows already
	if w.r.IntN(3) == 0 {
		if _, err := w.e.QueueDiff(ctx, at, queue.ClaimID(id)); !unsure && (err != nil) != down {
			w.t.Errorf("%s: %v", w.step, err)
		}
		return
	}
	force := w.r.IntN(2) == 0
	dn, err := dit.ParseDN(w.schema, at+","+baseDN)
	must(w.t, err)
	before := w.shown(dn)
	out, err := w.e.Switch(ctx, at, queue.ClaimID(id), force, 0, false)
	if !unsure && (err != nil) != (down && !force) {
		w.t.Fatalf("%s: forced %v: %v", w.step, force, err)
	}
	if err != nil {
		return
	}
	w.m.queues[at] = append([]string{id}, slices.DeleteFunc(slices.Clone(q), func(o string) bool { return o == id })...)
	head := w.m.servers[q[0]]
	if slices.Contains(w.wrote, head) && !slices.Contains(w.down, head) || slices.Contains(w.wrote, w.m.servers[id]) || len(out.Warnings) > 0 {
		return // something else may have changed meanwhile
	}
	now := w.shown(dn)
	for norm, u := range before {
		if is, there := now[norm]; there && is != u {
			w.t.Errorf("%s: %s was served as %s, and is as %s", w.step, norm, u, is)
		}
	}
}

// shown gives what the entries of whose content a name shows are served as.
func (w *offstage) shown(dn dit.DN) map[string]dit.UUID {
	out := map[string]dit.UUID{}
	must(w.t, w.e.do(w.t.Context(), func() {
		if cl := w.e.placed[dn.Norm()]; cl != nil {
			top, _ := w.e.newest.Find(dn.Norm())
			for c := w.e.newest.Search(tree.Query{Base: top, Scope: tree.Sub}); c.Next(); {
				if row := c.Entry().Row(); row.Claim == cl.number {
					out[w.e.newest.Norm(c.Entry().ID())] = row.UUID
				}
			}
		}
	}))
	return out
}
