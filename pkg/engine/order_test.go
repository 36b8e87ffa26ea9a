package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// scene is what happened at an upstream while nobody listened: entries by
// number, with their RDNs below the base. Those touched are sent in a refresh that
// sends changes only; as slapd does it, what moved with its parent is not.
type scene struct {
	name          string
	before, after map[int]string
	touched       []int
}

var scenes = []scene{
	{"a new tree", nil, map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a", 4: "cn=d,cn=c,cn=b,cn=a"}, []int{1, 2, 3, 4}},
	{"a subtree renamed", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a"},
		map[int]string{1: "cn=z", 2: "cn=b,cn=z", 3: "cn=c,cn=b,cn=z"}, []int{1}},
	{"a subtree moved and something in it changed", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a", 4: "cn=t"},
		map[int]string{1: "cn=a,cn=t", 2: "cn=b,cn=a,cn=t", 3: "cn=c,cn=b,cn=a,cn=t", 4: "cn=t"}, []int{1, 3}},
	{"leaves swapped", map[int]string{1: "cn=a", 2: "cn=b"}, map[int]string{1: "cn=b", 2: "cn=a"}, []int{1, 2}},
	{"subtrees swapped", map[int]string{1: "cn=a", 2: "cn=b", 3: "cn=x,cn=a", 4: "cn=y,cn=b", 5: "cn=z,cn=x,cn=a"},
		map[int]string{1: "cn=b", 2: "cn=a", 3: "cn=x,cn=b", 4: "cn=y,cn=a", 5: "cn=z,cn=x,cn=b"}, []int{1, 2}},
	{"subtrees with children of one name swapped", map[int]string{1: "cn=a", 2: "cn=b", 3: "cn=x,cn=a", 4: "cn=x,cn=b"},
		map[int]string{1: "cn=b", 2: "cn=a", 3: "cn=x,cn=b", 4: "cn=x,cn=a"}, []int{1, 2}},
	{"three names in turn", map[int]string{1: "cn=a", 2: "cn=b", 3: "cn=c", 4: "cn=x,cn=a", 5: "cn=x,cn=b", 6: "cn=x,cn=c"},
		map[int]string{1: "cn=b", 2: "cn=c", 3: "cn=a", 4: "cn=x,cn=b", 5: "cn=x,cn=c", 6: "cn=x,cn=a"}, []int{1, 2, 3}},
	{"created anew at the same DN", map[int]string{1: "cn=a", 2: "cn=b,cn=a"}, map[int]string{3: "cn=a", 4: "cn=b,cn=a"}, []int{3, 4}},
	{"created anew, the child kept", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 5: "cn=t"}, map[int]string{3: "cn=a", 2: "cn=b,cn=a", 5: "cn=t"}, []int{3, 2}},
	{"a child in its parent's place", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a"}, map[int]string{2: "cn=a", 3: "cn=c,cn=a"}, []int{2}},
	{"a parent below its child", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a", 4: "cn=d,cn=a"},
		map[int]string{2: "cn=b", 1: "cn=a,cn=b", 3: "cn=c,cn=b", 4: "cn=d,cn=a,cn=b"}, []int{1, 2}},
	{"a child out of a deleted tree", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a"}, map[int]string{3: "cn=c"}, []int{3}},
	{"renamed, and made anew with what was below", map[int]string{1: "cn=a", 2: "cn=x,cn=a", 3: "cn=y,cn=x,cn=a"},
		map[int]string{1: "cn=z", 2: "cn=x,cn=z", 3: "cn=y,cn=x,cn=z", 4: "cn=a", 5: "cn=x,cn=a", 6: "cn=y,cn=x,cn=a"}, []int{1, 4, 5, 6}},
	{"moved out of a deleted tree with all below", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c,cn=b,cn=a", 4: "cn=d,cn=c,cn=b,cn=a", 5: "cn=e,cn=a"},
		map[int]string{2: "cn=b", 3: "cn=c,cn=b", 4: "cn=d,cn=c,cn=b"}, []int{2}},
	{"a swap within a subtree that is renamed", map[int]string{1: "cn=a", 2: "cn=x,cn=a", 3: "cn=y,cn=a", 4: "cn=p,cn=x,cn=a", 5: "cn=q,cn=y,cn=a"},
		map[int]string{1: "cn=b", 2: "cn=y,cn=b", 3: "cn=x,cn=b", 4: "cn=p,cn=y,cn=b", 5: "cn=q,cn=x,cn=b"}, []int{1, 2, 3}},
	{"a swap across levels", map[int]string{1: "cn=a", 2: "cn=b,cn=t", 3: "cn=t", 4: "cn=x,cn=a", 5: "cn=y,cn=b,cn=t"},
		map[int]string{1: "cn=b,cn=t", 2: "cn=a", 3: "cn=t", 4: "cn=x,cn=b,cn=t", 5: "cn=y,cn=a"}, []int{1, 2}},
	{"deleted", map[int]string{1: "cn=a", 2: "cn=b,cn=a", 3: "cn=c"}, map[int]string{3: "cn=c"}, nil},
	{"only the spelling", map[int]string{1: "cn=a", 2: "cn=b,cn=a"}, map[int]string{1: "CN=A", 2: "cn=b,CN=A"}, []int{1}},
}

// R12, R35: whatever order a refresh comes in, and whichever kind it is, the tree
// ends as the upstream's.
func TestRefreshOrder(t *testing.T) {
	for _, sc := range scenes {
		for _, phase := range []string{"delete", "present", "full"} {
			for _, order := range []string{"up", "down"} {
				t.Run(sc.name+"/"+phase+"/"+order, func(t *testing.T) {
					t.Parallel()
					playScene(t, sc, phase, order == "down")
				})
			}
		}
	}
}

func playScene(t *testing.T, sc scene, phase string, backwards bool) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	say := func(p *syncrepl.Provider, ids []int, at map[int]string, desc string) error {
		if backwards {
			slices.Reverse(ids)
		}
		var err error
		for _, id := range ids {
			_, value, _ := strings.Cut(strings.Split(at[id], ",")[0], "=")
			attrs := runOf1("objectClass: organizationalRole", "cn: "+value, "description: "+desc)
			err = errors.Join(err, p.Entry(syncrepl.StateAdd, testUUID(id), at[id]+","+suffix, attrs, nil))
		}
		return err
	}
	base := func(p *syncrepl.Provider) error {
		return p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil)
	}
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		return true, errors.Join(base(p), say(p, slices.Sorted(maps.Keys(sc.before)), sc.before, "before"), p.EndDelete([]byte("one"), true))
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.wantScene(sc.before)
	from := w.e.Version().CSN()
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if string(q.Sync.Cookie) == "two" {
			return true, p.EndDelete(q.Sync.Cookie, true)
		}
		if phase == "full" {
			if len(q.Sync.Cookie) > 0 {
				return true, p.Fail(4096, "reload")
			}
			return true, errors.Join(say(p, slices.Sorted(maps.Keys(sc.after)), sc.after, "before"), base(p), p.EndDelete([]byte("two"), true))
		}
		var gone, same []dit.UUID
		for id := range sc.before {
			if sc.after[id] == "" {
				gone = append(gone, testUUID(id))
			} else if !slices.Contains(sc.touched, id) {
				same = append(same, testUUID(id))
			}
		}
		if phase == "delete" {
			return true, errors.Join(p.IDs(true, gone, nil), say(p, slices.Clone(sc.touched), sc.after, "after"), p.EndDelete([]byte("two"), true))
		}
		same = append(same, testUUID(0))
		return true, errors.Join(say(p, slices.Clone(sc.touched), sc.after, "after"), p.IDs(false, same, nil), p.EndPresent([]byte("two"), true))
	})
	s.Down()
	must(t, s.Up())
	await(t, "the second refresh", func() bool {
		list := s.Stats().Cookies
		return len(list) > 2 && w.name(name).Head.State == "live" && w.cookie() == "two"
	})
	w.wantScene(sc.after)
	w.check()
	w.checkLog(from)
	w.restart()
}

// cookie is what the claim of the name would send.
func (w *world) cookie() (cookie string) {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() { cookie = string(w.e.claims["s"].cookie) }))
	return cookie
}

// wantScene compares DNs and UUIDs with a scene's.
func (w *world) wantScene(entries map[int]string) {
	w.t.Helper()
	want := map[string]dit.UUID{name: testUUID(0)}
	for id, rdns := range entries {
		want[rdns+","+name] = testUUID(id)
	}
	got := uuidsOf(w.e.Version())
	delete(got, baseDN)
	if !maps.Equal(got, want) {
		for _, dn := range slices.Sorted(maps.Keys(want)) {
			if got[dn] != want[dn] {
				w.t.Errorf("%s is %s, not %s", dn, got[dn], want[dn])
			}
		}
		for _, dn := range slices.Sorted(maps.Keys(got)) {
			if _, ok := want[dn]; !ok {
				w.t.Errorf("%s (%s) should not be there", dn, got[dn])
			}
		}
	}
}

// checkLog holds the change log after a CSN against the tree, and the order of what
// was added.
func (w *world) checkLog(from dit.CSN) {
	w.t.Helper()
	added := w.checkChanges(from)
	for dn, csn := range added {
		_, parent, _ := strings.Cut(dn, ",")
		if above, ok := added[parent]; ok && above > csn {
			w.t.Errorf("%s was added at %d, its parent at %d", dn, csn, above)
		}
	}
}

// checkChanges holds the change log after a CSN against the tree, and gives when
// what is there was added. An entry that took glue's place came after those below it.
func (w *world) checkChanges(from dit.CSN) (added map[string]dit.CSN) {
	w.t.Helper()
	v := w.e.Version()
	last := map[dit.UUID]store.Change{}
	added = map[string]dit.CSN{}
	csn := from
	for _, c := range w.changes(from) {
		if c.CSN <= csn {
			w.t.Errorf("CSN %d after %d in the change log", c.CSN, csn)
		}
		csn = c.CSN
		last[c.UUID] = c
	}
	if csn > v.CSN() {
		w.t.Errorf("the change log ends at %d, contextCSN is %d", csn, v.CSN())
	}
	for dn, id := range uuidsOf(v) {
		row := v.Row(v.ByUUID(id))
		c, changed := last[id]
		switch {
		case changed && c.Kind == store.ChangeDelete:
			w.t.Errorf("%s (%s) is deleted in the change log", dn, id)
		case changed && c.CSN != row.CSN:
			w.t.Errorf("%s has CSN %d, its last change has %d", dn, row.CSN, c.CSN)
		case !changed && row.CSN > from:
			w.t.Errorf("%s has CSN %d and no change after %d", dn, row.CSN, from)
		case changed && c.Kind == store.ChangeAdd:
			added[dn] = c.CSN
		}
		delete(last, id)
	}
	for id, c := range last {
		if c.Kind != store.ChangeDelete {
			w.t.Errorf("%s is not there, its last change is of kind %d", id, c.Kind)
		}
	}
	return added
}

// R40, R44, invariants 10 and 13: the change log leads from any state there ever
// was to the one there is.
func TestChangeLog(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, PresentPhase: seed%2 == 1})
			w := newWorld(t)
			var points []point
			note := func() {
				v := w.e.Version()
				points = append(points, point{v.CSN(), slices.Collect(maps.Values(uuidsOf(v)))})
			}
			note()
			w.add("s", "cn=Here", w.source(s, suffix))
			for round := range 12 {
				w.awaitEqual(s, suffix, name)
				w.awaitLive(name)
				note()
				if round%3 == 2 {
					s.Down()
					randomWrites(t, r, s)
					must(t, s.Up())
				} else {
					randomWrites(t, r, s)
				}
			}
			w.awaitEqual(s, suffix, name)
			w.awaitLive(name)
			w.restart()
			for _, p := range points {
				w.checkLog(p.csn)
				w.replay(p)
			}
		})
	}
}

// point is which entries there were at a CSN.
type point struct {
	csn   dit.CSN
	uuids []dit.UUID
}

// replay applies the change log to what there was; adds are of what is not there,
// and the others of what is.
func (w *world) replay(p point) {
	w.t.Helper()
	model := map[dit.UUID]bool{}
	for _, id := range p.uuids {
		model[id] = true
	}
	for _, c := range w.changes(p.csn) {
		if (c.Kind == store.ChangeAdd) == model[c.UUID] {
			w.t.Errorf("after %d: change %d of kind %d of %s (%q), there: %v", p.csn, c.CSN, c.Kind, c.UUID, c.DN, model[c.UUID])
		}
		if c.Kind == store.ChangeDelete && c.DN == "" {
			w.t.Errorf("change %d deletes %s without its DN", c.CSN, c.UUID)
		}
		model[c.UUID] = c.Kind != store.ChangeDelete
	}
	maps.DeleteFunc(model, func(_ dit.UUID, there bool) bool { return !there })
	now := map[dit.UUID]bool{}
	for _, id := range uuidsOf(w.e.Version()) {
		now[id] = true
	}
	if !maps.Equal(model, now) {
		w.t.Errorf("replayed from %d there are %d entries, %d are served", p.csn, len(model), len(now))
	}
}

// blocked keeps the writer busy while fn runs.
func (w *world) blocked(fn func()) {
	w.t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.e.do(w.t.Context(), func() { close(begun); <-end }); err != nil {
			w.t.Error(err)
		}
	})
	<-begun
	fn()
	close(end)
	wg.Wait()
}

// awaitPending waits until so many changes wait for the writer.
func (w *world) awaitPending(n int) {
	w.t.Helper()
	await(w.t, fmt.Sprintf("%d changes wait", n), func() bool {
		w.e.inbox.mu.Lock()
		defer w.e.inbox.mu.Unlock()
		have := 0
		for _, p := range w.e.inbox.sources {
			have += len(p.changes)
		}
		return have >= n
	})
}

// R12: what a lost session had handed over does not mix with the refresh of the
// next one.
func TestSessionLostWithChangesWaiting(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	for round := range 20 {
		w.awaitLive(name)
		must(t, s.Modify("ou=a,"+suffix, "description", "one"))
		w.awaitEqual(s, suffix, name)
		w.blocked(func() {
			must(t, s.Modify("ou=a,"+suffix, "description", "two"))
			must(t, s.Add(fmt.Sprintf("dn: cn=%d,%s\nobjectClass: organizationalRole\ncn: %d\n", round, suffix, round)))
			w.awaitPending(2)
			s.Down()
			must(t, s.Modify("ou=a,"+suffix, "description", "one"))
			must(t, s.Delete(fmt.Sprintf("cn=%d,%s", round, suffix)))
			before := s.Stats().Connections
			must(t, s.Up())
			await(t, "the next session", func() bool { return s.Stats().Connections > before })
		})
		w.awaitEqual(s, suffix, name)
		w.awaitLive(name)
		w.awaitEqual(s, suffix, name)
	}
}

// together writes several messages at once.
func together(p *syncrepl.Provider, say func(p *syncrepl.Provider) error) error {
	var all []byte
	err := say(&syncrepl.Provider{ID: p.ID, Write: func(frame []byte) error {
		all = append(all, frame...)
		return nil
	}})
	return errors.Join(err, p.Write(all))
}

// R12, R56: a change that cannot be applied takes those behind it along: none of
// them counts as had, however they are grouped.
func TestChangeThatCannotBeApplied(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + subtree("cn=top,ou=a,"+suffix, "top", 400)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	before, cookie := w.print(), w.cookie()
	top := w.uuid("cn=top,ou=a," + name)
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if string(q.Sync.Cookie) != cookie {
			return true, errors.Join(errors.New("another cookie"), p.Fail(1, "another cookie"))
		}
		return true, errors.Join(p.EndDelete(q.Sync.Cookie, true), together(p, func(p *syncrepl.Provider) error {
			err := p.Entry(syncrepl.StateAdd, testUUID(1), strings.Repeat("ou=x,", 200)+suffix, role, []byte("c0"))
			for i := range 4 {
				cn := fmt.Sprintf("cn: top%d", i)
				err = errors.Join(err, p.Entry(syncrepl.StateModify, top, "cn=top"+fmt.Sprint(i)+",ou=a,"+suffix,
					runOf1("objectClass: organizationalRole", cn), fmt.Append(nil, "c", i+1)))
			}
			return err
		}))
	})
	tries := len(s.Stats().Cookies)
	s.Down()
	must(t, s.Up())
	await(t, "several tries", func() bool { return len(s.Stats().Cookies) > tries+3 })
	if now := w.print(); now != before {
		t.Error(firstDifference(before, now))
	}
	if now := w.cookie(); now != cookie {
		t.Errorf("the cookie is %q", now)
	}
	s.SetScript(nil)
	must(t, s.Modify("ou=b,"+suffix, "description", "sane"))
	s.Down()
	must(t, s.Up())
	w.awaitEqual(s, suffix, name)
	w.check()
}

// R7, R11, R56: parents that a filter leaves out, thousands of them at once, come and go.
func TestMuchGlue(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	src := w.source(s, suffix)
	src.Filter = "(objectClass=organizationalRole)"
	const entries, ancestors = 150, 60
	deep := func(p *syncrepl.Provider) (err error) {
		for i := range entries {
			dn := fmt.Sprintf("cn=x,%sou=%d,%s", strings.Repeat("ou=y,", ancestors), i, suffix)
			err = errors.Join(err, p.Entry(syncrepl.StateAdd, testUUID(i), dn, role, fmt.Append(nil, "c", i)))
		}
		return err
	}
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		err := p.EndDelete([]byte("c"), true)
		if len(q.Sync.Cookie) == 0 {
			err = errors.Join(err, deep(p))
		}
		return true, err
	})
	w.add("s", "cn=Here", src)
	const all = 2 + entries*(ancestors+2)
	await(t, "all of it", func() bool { return w.e.Version().Len() == all || w.failure() != "" })
	if f := w.failure(); f != "" {
		t.Fatal(f)
	}
	w.check()
	w.restart()
	if _, err := w.e.RemoveSubscription(t.Context(), "s", false); err != nil {
		t.Fatal(err)
	}
	await(t, "it is gone", func() bool { return w.e.Version().Len() == 1 })
	if f := w.failure(); f != "" {
		t.Fatal(f)
	}
	w.restart()
}

// R7, R11, R40: glue for a parent that a refresh takes away comes before the child
// that the refresh brings.
func TestGlueBeforeChildren(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	src := w.source(s, suffix)
	src.Filter = "(objectClass=organizationalRole)"
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		put := func(dn string) error { return p.Entry(syncrepl.StateAdd, testUUID(len(dn)), dn+","+suffix, role, nil) }
		switch string(q.Sync.Cookie) {
		case "":
			return true, errors.Join(put("cn=a"), put("cn=bb"), put("cn=x,cn=bb"), p.EndDelete([]byte("one"), true))
		case "one":
			gone := []dit.UUID{testUUID(len("cn=a")), testUUID(len("cn=bb"))}
			return true, errors.Join(p.IDs(true, gone, nil), put("cn=child,cn=a"), put("cn=x,cn=bb"), put("cn=grandchild,cn=y,cn=bb"),
				p.EndDelete([]byte("two"), true))
		}
		return true, p.EndDelete(q.Sync.Cookie, true)
	})
	w.add("s", "cn=Here", src)
	w.awaitLive(name)
	from := w.e.Version().CSN()
	s.Down()
	must(t, s.Up())
	await(t, "the second refresh", func() bool { return w.cookie() == "two" })
	for _, dn := range []string{"cn=a", "cn=child,cn=a", "cn=bb", "cn=x,cn=bb", "cn=y,cn=bb", "cn=grandchild,cn=y,cn=bb"} {
		glue := !strings.Contains(dn, ",") || strings.HasPrefix(dn, "cn=y")
		if row := w.e.Version().Row(w.find(dn + "," + name)); row.Glue != glue {
			t.Errorf("%s is glue: %v", dn, row.Glue)
		}
	}
	w.check()
	w.checkLog(from)
	w.restart()
}
