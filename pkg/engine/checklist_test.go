package engine

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// What slapd does not do, played by a script.

type saying func(p *syncrepl.Provider) error

// inTurn says one thing after the other.
func inTurn(list ...saying) saying {
	return func(p *syncrepl.Provider) error {
		for _, say := range list {
			if err := say(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// talk answers each search by the cookie that it carries; any other is told that
// nothing changed.
func talk(s *ldaptest.Server, by map[string]saying) {
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if say := by[string(q.Sync.Cookie)]; say != nil {
			return true, say(p)
		}
		return true, p.EndDelete(q.Sync.Cookie, true)
	})
}

// followTalk has an engine follow a script that loads these entries, with the cookie
// "one" at the end.
func followTalk(t *testing.T, entries ...int) (*world, *ldaptest.Server) {
	t.Helper()
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	talk(s, map[string]saying{"": inTurn(sayBase, sayRoles(entries...), sayEnd("one"))})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	return w, s
}

// next has the next session, which sends the cookie "one", hear this, until the
// cookie is "two".
func (w *world) next(s *ldaptest.Server, say ...saying) {
	w.t.Helper()
	talk(s, map[string]saying{"one": inTurn(say...)})
	again(w.t, s)
	await(w.t, "the second session's cookie", func() bool { return w.cookie() == "two" })
}

func sayBase(p *syncrepl.Provider) error {
	return p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil)
}

// sayRole puts cn=n with a description below the base.
func sayRole(n int, description, cookie string) saying {
	return func(p *syncrepl.Provider) error {
		var c []byte
		if cookie != "" {
			c = []byte(cookie)
		}
		return p.Entry(syncrepl.StateModify, testUUID(n), fmt.Sprintf("cn=%d,%s", n, suffix),
			runOf1("objectClass: organizationalRole", fmt.Sprint("cn: ", n), "description: "+description), c)
	}
}

func sayRoles(ns ...int) saying {
	var list []saying
	for _, n := range ns {
		list = append(list, sayRole(n, "x", ""))
	}
	return inTurn(list...)
}

// sayGone deletes by UUID, under whatever DN.
func sayGone(n int, dn, cookie string) saying {
	return func(p *syncrepl.Provider) error {
		var c []byte
		if cookie != "" {
			c = []byte(cookie)
		}
		return p.Entry(syncrepl.StateDelete, testUUID(n), dn, nil, c)
	}
}

func sayIDs(deleted bool, ns ...int) saying {
	return func(p *syncrepl.Provider) error {
		var ids []dit.UUID
		for _, n := range ns {
			ids = append(ids, testUUID(n))
		}
		return p.IDs(deleted, ids, nil)
	}
}

func sayEnd(cookie string) saying {
	return func(p *syncrepl.Provider) error { return p.EndDelete([]byte(cookie), true) }
}

func sayCookie(cookie string) saying {
	return func(p *syncrepl.Provider) error { return p.NewCookie([]byte(cookie)) }
}

// numbers is which of sayRole's entries a version has.
func numbers(v *tree.Version) (out string) {
	for _, dn := range slices.Sorted(maps.Keys(uuidsOf(v))) {
		if n, ok := strings.CutSuffix(dn, ","+name); ok {
			out += strings.TrimPrefix(n, "cn=")
		}
	}
	return out
}

// R12, R33, R35: a persist stage that is cut after any of its messages goes on from
// the last durable cookie: what was there before stays there all the while, what is
// shown is always a state that the upstream was in, and it ends as the upstream's.
func TestCutPersistAnywhere(t *testing.T) {
	// Some changes have a cookie of their own, some share one that comes later.
	messages := []saying{
		sayRole(1, "one", "c1"), sayRole(2, "two", ""), sayRole(3, "three", ""), sayCookie("c4"),
		sayIDs(true, 1, 2), sayRole(1, "again", "c6"), sayGone(3, "cn=3,"+suffix, "c7"),
	}
	resume := map[string]int{"one": 0, "c1": 1, "c4": 4, "c6": 6, "c7": 7}
	states := []string{"", "1", "12", "123", "3", "13"}
	for cut := range len(messages) + 1 {
		t.Run(fmt.Sprint("after ", cut), func(t *testing.T) {
			t.Parallel()
			w, s := followTalk(t)
			var seen []string
			stop := w.watch(func(v *tree.Version) { seen = append(seen, numbers(v)) })
			var sessions atomic.Int32
			script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				from, known := resume[string(q.Sync.Cookie)]
				if !known {
					return true, p.Fail(1, "another cookie")
				}
				if err := p.EndDelete(q.Sync.Cookie, true); err != nil || sessions.Add(1) > 1 {
					return true, errors.Join(err, inTurn(messages[from:]...)(p))
				}
				return true, errors.Join(inTurn(messages[:cut]...)(p), errors.New("cut"))
			})
			again(t, s)
			await(t, "the end of it", func() bool { return sessions.Load() == 2 && w.cookie() == "c7" && numbers(w.e.Version()) == "1" })
			stop()
			w.awaitValues("cn=1,"+name, "description", "again")
			for _, got := range seen {
				if !slices.Contains(states, got) {
					t.Errorf("a version had %q", got)
				}
			}
			w.check()
			w.restart()
		})
	}
}

// R12, R35: a refresh that was sent no cookie is a full load, whatever ends it.
func TestNoCookieIsFullLoad(t *testing.T) {
	endDelete := func(p *syncrepl.Provider) error { return p.EndDelete(nil, true) }
	present := func(cookie []byte, done bool) saying {
		return func(p *syncrepl.Provider) error { return p.EndPresent(cookie, done) }
	}
	two := []byte("two")
	for what, say := range map[string]saying{
		"refreshDelete":                   sayEnd("two"),
		"refreshPresent":                  present(two, true),
		"both":                            inTurn(present(two, false), endDelete),
		"deletes of others before":        inTurn(sayIDs(true, 9), sayEnd("two")),
		"a cookie of its own before":      inTurn(sayCookie("two"), endDelete),
		"no cookie at all, then one":      inTurn(endDelete, sayCookie("two")),
		"an empty cookie, then a new one": inTurn(present([]byte{}, true), sayCookie("two")),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w, s := followTalk(t, 1, 2)
			release := w.holds(name, "cn=2,"+name)
			w.keepCookie("")
			talk(s, map[string]saying{"": inTurn(sayBase, sayRoles(2), say)})
			again(t, s)
			await(t, "the full load", func() bool { return w.cookie() == "two" })
			release()
			if got := numbers(w.e.Version()); got != "2" {
				t.Errorf("there is %q", got)
			}
			w.check()
		})
	}
}

// R12, R35: entries are known by their UUIDs: a delete's DN says nothing, and one of an
// unknown UUID neither, in the refresh as in the persist stage.
func TestDeletesGoByUUID(t *testing.T) {
	deletes := inTurn(sayGone(9, "cn=1,"+suffix, ""), sayGone(2, "cn=3,"+suffix, ""))
	for stage, say := range map[string]saying{
		"refresh": inTurn(deletes, sayEnd("two")),
		"persist": inTurn(sayEnd("one"), deletes, sayCookie("two")),
	} {
		t.Run(stage, func(t *testing.T) {
			w, s := followTalk(t, 1, 2, 3)
			w.next(s, say)
			if got := numbers(w.e.Version()); got != "13" {
				t.Errorf("there is %q", got)
			}
			w.check()
			w.restart()
		})
	}
}

// R12: children that come before their parents hang on glue until those come, which
// then take the glue's place.
func TestChildrenBeforeParents(t *testing.T) {
	put := func(n int, dn, cookie string) saying {
		return func(p *syncrepl.Provider) error {
			return p.Entry(syncrepl.StateAdd, testUUID(n), dn+","+suffix, runOf1("objectClass: organizationalRole", "cn: x"), []byte(cookie))
		}
	}
	w, s := followTalk(t)
	w.next(s, sayEnd("one"), put(1, "cn=c,cn=b,cn=a", "c1"), put(2, "cn=b,cn=a", "c2"), put(3, "cn=d,cn=a", "c3"), put(4, "cn=a", "two"))
	w.wantScene(map[int]string{1: "cn=c,cn=b,cn=a", 2: "cn=b,cn=a", 3: "cn=d,cn=a", 4: "cn=a"})
	for dn := range w.content() {
		if w.e.Version().Row(w.find(dn)).Glue {
			t.Errorf("%s is glue", dn)
		}
	}
	w.check()
	w.restart()
}

// R12, R39: what is the server's bookkeeping is not taken over.
func TestBookkeepingIsStripped(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	csn := "20200101000000.000000Z#000000#007#000000"
	talk(s, map[string]saying{"": func(p *syncrepl.Provider) error {
		return errors.Join(p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source",
			"contextCSN: "+csn, "entryCSN: "+csn, "entryDN: "+suffix, "hasSubordinates: TRUE", "numSubordinates: 7",
			"subschemaSubentry: cn=Elsewhere", "entryUUID: "+testUUID(5).String(), "createTimestamp: 20200101000000Z"), nil), p.EndDelete([]byte("one"), true))
	}})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	text := w.print()
	for _, theirs := range []string{"contextCSN: " + csn, csn, "entryDN: o=", "cn=Elsewhere", testUUID(5).String()} {
		if strings.Contains(text, theirs) {
			t.Errorf("%q was taken over:\n%s", theirs, text)
		}
	}
	w.awaitValues(name, "createTimestamp", "20200101000000Z")
	if got := w.uuid(name); got != testUUID(0) || !strings.Contains(text, "FALSE") {
		t.Errorf("the UUID is %s; %s", got, text)
	}
}

// R12, R35: a newcookie ends no refresh, even where nothing else would: the source is
// down after a while, and nothing shows of what was staged, and nothing leaves.
func TestNewCookieEndsNoRefresh(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	w.impatient()
	talk(s, map[string]saying{
		"":    inTurn(sayBase, sayRoles(1, 2), sayEnd("one")),
		"one": inTurn(sayGone(1, "", ""), sayRoles(3), sayCookie("two")),
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	before := w.print()
	again(t, s)
	w.awaitReason("down", "no message for")
	if now := w.print(); now != before {
		t.Error(firstDifference(before, now))
	}
	if now := w.cookie(); now != "one" {
		t.Errorf("the cookie is %q", now)
	}
}

// R12: where the operator says so, a newcookie ends the refresh, and later ones cover
// what came before them.
func TestNewCookieEndsRefresh(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	talk(s, map[string]saying{
		"":    inTurn(sayBase, sayRoles(1, 2), sayCookie("one")),
		"one": inTurn(sayGone(1, "", ""), sayRoles(3), sayCookie("c"), sayRoles(4), sayCookie("two")),
		"two": sayCookie("two"),
	})
	src := w.source(s, suffix)
	src.NewCookieEnds = true
	w.add("s", "cn=Here", src)
	w.awaitLive(name)
	if got := numbers(w.e.Version()); got != "12" {
		t.Errorf("there is %q", got)
	}
	again(t, s)
	await(t, "what came while live", func() bool { return w.cookie() == "two" })
	if got := numbers(w.e.Version()); got != "234" {
		t.Errorf("there is %q", got)
	}
	w.check()
	w.restart()
	w.awaitLive(name)
}

// R12: entries without a UUID get one made of their DN where the operator says so:
// the same over reloads and spellings.
func TestUUIDsMadeOfDNs(t *testing.T) {
	nameless := func(state syncrepl.State, dn, cookie string) saying {
		return func(p *syncrepl.Provider) error {
			var attrs []byte
			if state != syncrepl.StateDelete {
				attrs = runOf1("objectClass: organizationalRole", "cn: x")
			}
			return p.Entry(state, dit.UUID{}, dn, attrs, []byte(cookie))
		}
	}
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	w.impatient()
	load := inTurn(nameless(syncrepl.StateAdd, suffix, ""), nameless(syncrepl.StateAdd, "cn=x,"+suffix, ""), nameless(syncrepl.StateAdd, "cn=y,"+suffix, ""))
	talk(s, map[string]saying{"": inTurn(load, sayEnd("one"))})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitReason("down", "has no entryUUID")
	w.set("s", map[string]string{"uuid-from-dn": "true"})
	w.awaitLive(name)
	x := w.uuid("cn=x," + name)
	if x.IsZero() || x == w.uuid("cn=y,"+name) {
		t.Errorf("the UUID is %s", x)
	}
	talk(s, map[string]saying{
		"one": func(p *syncrepl.Provider) error { return p.Fail(4096, "reload") },
		"":    inTurn(nameless(syncrepl.StateAdd, suffix, ""), nameless(syncrepl.StateAdd, "CN=X, "+suffix, ""), nameless(syncrepl.StateAdd, "cn=y,"+suffix, ""), sayEnd("c"), nameless(syncrepl.StateDelete, "CN=y,"+suffix, "two")),
	})
	again(t, s)
	await(t, "the delete", func() bool { return w.cookie() == "two" })
	if now := w.uuid("cn=x," + name); now != x {
		t.Errorf("the UUID was %s and is %s", x, now)
	}
	if n := len(w.content()); n != 2 {
		t.Errorf("%d entries", n)
	}
	w.check()
	w.restart()
}

// R12, R15: UUIDs by the million in sets of 256 take no memory, whether they mean anything
// or not; half a million in one message take what the message takes.
func TestHalfAMillionUUIDs(t *testing.T) {
	// 500,000 but for the race detector; the limit is in KiB.
	const all, known, limit, rounds = 5 * largeRefresh, 2000, 16 << 10, 1 + largeRefresh/50_000
	unknown := make([]dit.UUID, all)
	for i := range unknown {
		unknown[i] = dit.UUID{0: 0xff, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
	}
	var ours []int
	for n := range known {
		ours = append(ours, n+1)
	}
	w, s := followTalk(t, ours...)
	sets := func(deleted bool) saying {
		return func(p *syncrepl.Provider) (err error) {
			for range rounds {
				err = errors.Join(err, p.IDs(deleted, unknown, nil))
			}
			return err
		}
	}
	there := []dit.UUID{testUUID(0)}
	for _, n := range ours {
		there = append(there, testUUID(n))
	}
	presents := func(p *syncrepl.Provider) (err error) {
		for range all / known {
			err = errors.Join(err, p.IDs(false, there, nil))
		}
		return err
	}
	whole := func(p *syncrepl.Provider) error {
		return p.Send(syncrepl.Message{Kind: syncrepl.KindIDSet, RefreshDeletes: true, IDs: unknown})
	}
	base := 0
	measure := func(p *syncrepl.Provider) error {
		err := read(p) // buffers have grown by what it takes
		base = heapKiB()
		return err
	}
	below := func(limit int) saying {
		return func(p *syncrepl.Provider) error {
			err := read(p)
			held := heapKiB() - base
			for start := time.Now(); held > limit && time.Since(start) < patience; held = heapKiB() - base {
				runtime.Gosched() // the writer has yet to look at what was read
			}
			if held > limit {
				t.Errorf("%d KiB more are held, of at most %d", held, limit)
			}
			return err
		}
	}
	w.next(s, measure, sets(true), presents, below(limit), sayEnd("one"),
		sets(true), below(limit), whole, below(8*limit), sayCookie("two"))
	talk(s, map[string]saying{"two": inTurn(sayEnd("two"), measure, sets(false), below(limit), sayCookie("three"))})
	again(t, s)
	await(t, "the third session's cookie", func() bool { return w.cookie() == "three" })
	if n := len(w.content()); n != known+1 {
		t.Errorf("%d entries", n)
	}
	w.check()
}

// heapKiB is what is alive.
func heapKiB() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) >> 10
}
