package ldapd

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// crowd follows the same, many times over.
func crowd(tb testing.TB, w *world, n int, s syncSearch) []*client {
	tb.Helper()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = dial(tb, w.addr)
		clients[i].follow(1, s)
	}
	for _, c := range clients {
		c.refresh()
	}
	return clients
}

// R42: of 1,000 followers 10 never read. They stand still when their sockets are full; the others get
// each change before and after that, and memory stays bounded.
func TestManyFollowers(t *testing.T) {
	const followers, mute, after = 1000, 10, 10
	w := newWorld(t)
	change := func(n int) {
		w.edit(func(b *tree.Builder) {
			w.put(b, 1, "cn=a", fmt.Sprintf("change %d ", n))
			w.put(b, 2, "cn=b", fmt.Sprint(n, strings.Repeat("x", 256<<10))) // not for those who read
		})
	}
	change(0)
	for range mute {
		c := dial(t, w.addr)
		if err := c.nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil { // else kernels take 32 MiB
			t.Fatal(err)
		}
		c.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	}
	clients := crowd(t, w, followers-mute, syncSearch{query: query{base: "cn=a," + base}, mode: syncrepl.RefreshAndPersist})
	before := heap()
	next := func(c *client, n int) error {
		m, err := c.message()
		for err == nil && m.Kind == syncrepl.KindNewCookie {
			m, err = c.message()
		}
		if err == nil && (say(m) != "modify cn=a" || !strings.Contains(string(m.Attrs), fmt.Sprintf("change %d ", n))) {
			err = fmt.Errorf("instead of change %d: %s %.100q", n, say(m), m.Attrs)
		}
		return err
	}
	began := []time.Time{time.Now()} // each change
	still := func() (n int) {        // those that have not come further since before the last change but one
		for _, f := range w.s.Figures().Followers {
			if len(began) > 2 && f.Lag > time.Since(began[len(began)-2]) {
				n++
			}
		}
		return n
	}
	for n, more := 1, after; more > 0; n++ {
		if n > 200 {
			t.Fatalf("only %d stand still after %d changes", still(), n)
		}
		began = append(began, time.Now())
		change(n)
		for _, c := range clients {
			if err := next(c, n); err != nil {
				t.Fatal(err)
			}
		}
		if still() >= mute {
			more--
		}
	}
	if w.s.Followers() != followers {
		t.Errorf("%d followers are left", w.s.Followers())
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("%d MiB more than before", grown>>20)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// R42: one that reads slowly is sent each entry once for many changes, and ends with
// the newest; one that takes nothing for too long is cut off, and comes back by its cookie.
func TestSlowFollowers(t *testing.T) {
	w := newWorld(t)
	s, addr := serve(t, Options{Backend: w.b, WriteTimeout: time.Second})
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", "") })
	slow := dial(t, w.addr)
	slow.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	slow.refresh()
	cut := dial(t, addr)
	cut.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	_, cookie := cut.refresh()
	filler := strings.Repeat("x", 100_000)
	changes := 0 // until the sockets hold no more, however much is sent at once
	eventually(t, "the one that takes nothing is cut off", func() bool {
		changes++
		w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", fmt.Sprintf("change %d %s", changes, filler)) })
		return s.Followers() == 0
	})
	got := 0
	for {
		m := slow.mustMessage()
		got++
		if strings.Contains(string(m.Attrs), fmt.Sprintf("change %d ", changes)) {
			break
		}
	}
	if got >= changes {
		t.Errorf("%d messages for %d changes of one entry", got, changes)
	}
	back := dial(t, addr)
	back.follow(1, everything(syncrepl.RefreshOnly, cookie))
	said, _ := back.refresh()
	wantSaid(t, "back by its cookie", said, "add cn=a", "done 0 true")
}

// R45: what access rules hide is not followed; what is lost and gained during a follow, by
// other rules or by a change, is told; a cookie from before other rules is good for a reload alone.
func TestSyncAccess(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=a", "open")
		w.put(b, 2, "cn=b", "secret")
		w.put(b, 3, "cn=c,cn=b", "open")
		w.put(b, 4, "cn=d", "open")
	})
	rules := func(list ...access.Rule) {
		t.Helper()
		if err := w.s.SetAccess(list); err != nil {
			t.Fatal(err)
		}
	}
	secret := access.Rule{Who: "anonymous", Filter: "(description=secret)", Allow: access.Read}
	open := access.Rule{Who: "anonymous", Allow: access.Sync}
	hideD := access.Rule{Who: "anonymous", Subtree: "cn=d," + base, Allow: access.None}
	before := w.cookieNow(3)
	rules(secret, hideD, open)
	c, mirror := dial(t, w.addr), dial(t, w.addr)
	c.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	said, _ := c.refresh()
	wantSaid(t, "under rules", said, "add ou=Package Listers", "add cn=a", "add cn=c", "refreshPresent")
	if rep := mirror.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); rep.code != 0 {
		t.Fatalf("bind: %+v", rep)
	}
	mirror.follow(2, everything(syncrepl.RefreshAndPersist, ""))
	if m := mirror.mustMessage(); m.Code != 50 && m.Code != 32 {
		t.Errorf("for whom there is no rule: %+v", m)
	}
	w.edit(func(b *tree.Builder) { w.put(b, 2, "cn=b", "open") })
	said, _ = c.persisted(1)
	wantSaid(t, "one is no secret any more", said, "add cn=b")
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", "secret"); w.put(b, 4, "cn=d", "hidden") })
	said, _ = c.persisted(1)
	wantSaid(t, "one becomes a secret, and something happens to a hidden one", said, "delete cn=a")
	poll := dial(t, w.addr)
	s := everything(syncrepl.RefreshOnly, before)
	poll.follow(1, s)
	said, _ = poll.refresh()
	wantSaid(t, "a cookie from before the rules", said, "gone 1", "add ou=Package Listers", "add cn=b", "add cn=c", "done 0 false")

	noCN := access.Rule{Who: "anonymous", Attributes: []string{"description"}, Allow: access.None}
	rules(noCN, secret, open)
	said, cookies := c.persisted(3)
	wantSaid(t, "other rules", said, "modify cn=b", "add cn=d", "modify cn=c")
	if !strings.Contains(cookies[2], "Z#000003#") {
		t.Errorf("cookies of other rules: %q", cookies)
	}
	rules(noCN, secret, open)
	w.edit(func(b *tree.Builder) { w.put(b, 4, "cn=d", "more") })
	m := c.mustMessage()
	if say(m) != "modify cn=d" || strings.Contains(string(m.Attrs), "description") {
		t.Errorf("a hidden attribute: %s %q", say(m), m.Attrs)
	}
	rules(access.Rule{Who: "anonymous", Allow: access.Read})
	said, _ = c.persisted(4)
	wantSaid(t, "all is lost", said, "delete cn=c", "delete cn=b", "delete cn=d", "delete ou=Package Listers")
	rules()
	said, _ = c.persisted(5)
	wantSaid(t, "no rules any more", said, "add ou=Package Listers", "add cn=b", "add cn=a", "add cn=d", "add cn=c")
}

// R45: other rules come with a newer CSN. Who shows an older cookie gets a reload under it, whether
// the rules were replaced before it came or while it asks; who shows the newer one gets nothing.
func TestAccessAdvances(t *testing.T) {
	w := newWorld(t)
	asked, onward := make(chan bool, 1), make(chan bool, 1)
	advance := func() (dit.CSN, error) {
		asked <- true
		if !<-onward {
			return 0, errors.New("no room")
		}
		return w.edit(func(b *tree.Builder) { b.SetCSN(w.next()) }).CSN(), nil
	}
	s, addr := serve(t, Options{Backend: w.b, Advance: advance})
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=a", "open")
		w.put(b, 2, "cn=b", "secret")
	})
	open := access.Rule{Who: "anonymous", Allow: access.Sync}
	set := func(list ...access.Rule) <-chan error {
		done := make(chan error, 1)
		go func() { done <- s.SetAccess(list) }()
		return done
	}
	poll := func(cookie string) (said []string, last string) {
		t.Helper()
		c := dial(t, addr)
		c.follow(1, everything(syncrepl.RefreshOnly, cookie))
		return c.refresh()
	}
	before := w.b.Version().CSN()
	old := w.cookieNow(3)
	done := set(access.Rule{Who: "anonymous", Filter: "(description=secret)", Allow: access.None}, open)
	<-asked
	early := dial(t, addr)
	early.follow(1, everything(syncrepl.RefreshOnly, old))
	eventually(t, "one that comes meanwhile waits", func() bool { return s.Followers() == 1 })
	onward <- true
	said, cookie := early.refresh()
	wantSaid(t, "while rules are replaced", said, "add ou=Package Listers", "add cn=a", "done 0 false")
	if err := <-done; err != nil || s.AccessSince() != w.b.Version().CSN()-1 || w.b.Version().CSN() <= before {
		t.Errorf("%v; since %d, now %d, before %d", err, s.AccessSince(), w.b.Version().CSN(), before)
	}
	if cookie != w.cookieNow(3) {
		t.Errorf("the cookie is %s, and not %s", cookie, w.cookieNow(3))
	}
	said, _ = poll(old)
	wantSaid(t, "a cookie from before", said, "add ou=Package Listers", "add cn=a", "done 0 false")
	said, _ = poll(cookie)
	wantSaid(t, "the new cookie", said, "done 0 true")

	onward <- false
	if err := <-set(open); err != nil || s.AccessSince() != w.b.Version().CSN() {
		t.Errorf("where no CSN can be taken: %v; since %d", err, s.AccessSince())
	}
	said, _ = poll(cookie)
	wantSaid(t, "a cookie from before the last rules", said, "add ou=Package Listers", "add cn=a", "add cn=b", "done 0 false")
}

// The cost of a follower that waits.
func BenchmarkIdleFollowers(b *testing.B) {
	w := newWorld(b)
	w.edit(func(t *tree.Builder) {
		for n := range 500 {
			w.put(t, n+1, fmt.Sprintf("cn=e%d", n), strings.Repeat("x", 200))
		}
	})
	const n = 1000
	for b.Loop() {
		before := heap()
		clients := crowd(b, w, n, everything(syncrepl.RefreshAndPersist, ""))
		after := heap()
		both := 0 // what the clients take themselves: a reader's buffer
		for _, c := range clients {
			both += c.r.Size()
		}
		b.ReportMetric(float64(after-before-int64(both))/n, "B/follower")
		for _, c := range clients {
			c.nc.Close()
		}
	}
}

// FuzzSyncCookie: no cookie is taken for one of this server that it cannot have given.
func FuzzSyncCookie(f *testing.F) {
	for _, s := range []string{"", "rid=001", "rid=001,csn=20250615150640.000001Z#000000#001#000000",
		"rid=1,sid=00a,csn=20250615150640.000001Z#000001#001#000000;20250615150640.000001Z#000000#002#000000,delcsn=", "\x00,csn=;"} {
		f.Add([]byte(s))
	}
	const newest = 1_750_000_000_000_000
	f.Fuzz(func(t *testing.T, cookie []byte) {
		at := readCookie(cookie, 1, newest)
		if at.rid < 0 || at.csn > newest || at.initial && at.unknown || (at.initial || at.unknown) && at.csn != 0 && at.initial {
			t.Fatalf("%q is %+v", cookie, at)
		}
		if !at.initial && !at.unknown {
			again := readCookie([]byte(ridPart(at.rid)+string(cookieAt(at.csn, 0, 1))), 1, newest)
			if again.csn != at.csn || again.rid != at.rid || again.unknown {
				t.Fatalf("%q is %+v, and said again %+v", cookie, at, again)
			}
		}
		var r syncrepl.Request
		if syncrepl.ParseRequest(cookie, &r) == nil && len(r.Cookie) > 0 {
			readCookie(r.Cookie, 1, newest)
		}
	})
}

// R40, R42: a change of thousands of entries, more than is kept encoded, reaches followers
// by persist and by cookie whole and in order; so does one that came back amid it.
func TestLargeChanges(t *testing.T) {
	w := newWorld(t)
	const n = 3000
	filler := strings.Repeat("x", 500)
	w.edit(func(b *tree.Builder) {
		w.put(b, 0+1, "cn=top", "x")
		for i := range n {
			w.put(b, 10+i, fmt.Sprintf("cn=e%d,cn=top", i), filler)
		}
	})
	persist, poll, cut := newMirror(everything(3, "")), newMirror(everything(1, "")), newMirror(everything(3, ""))
	var conns [3]*client
	take := func(i int, m *mirror, most int) {
		t.Helper()
		v := w.b.Version()
		for k := 0; k < most && !(m.upTo(v) && (m.persist || m.search.mode == syncrepl.RefreshOnly)); k++ {
			msg := conns[i].mustMessage()
			if _, err := m.take(&msg); err != nil {
				t.Fatalf("follower %d, %s: %v", i, say(msg), err)
			}
		}
	}
	begin := func(i int, m *mirror) {
		conns[i] = dial(t, w.addr)
		s := m.search
		s.cookie = m.cookie
		m.persist, m.lenient = false, m.cookie != nil
		clear(m.named)
		conns[i].follow(1, s)
	}
	followers := []*mirror{persist, poll, cut}
	for i, m := range followers {
		begin(i, m)
		take(i, m, 3*n)
	}
	for what, edit := range map[string]func(b *tree.Builder){
		"renamed": func(b *tree.Builder) { w.put(b, 1, "cn=other", "x") },
		"cleared": func(b *tree.Builder) {
			for i := range n / 2 {
				w.delete(b, 10+i, false)
			}
		},
	} {
		v := w.edit(edit)
		take(0, persist, 3*n)
		take(2, cut, n/3)
		conns[2].nc.Close()
		begin(1, poll)
		take(1, poll, 3*n)
		begin(2, cut)
		take(2, cut, 3*n)
		for i, m := range followers {
			if err := m.want(v); err != nil {
				t.Fatalf("%s, follower %d: %.500v", what, i, err)
			}
		}
	}
}
