package ldapd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// copyOf brings a mirror to what the server has, by one refreshOnly search; of a refresh that is cut off it takes so many messages.
func copyOf(t *testing.T, w *world, m *mirror, most int) {
	t.Helper()
	f := &randomFollower{c: &chaos{world: w}, m: m}
	f.connect(syncrepl.RefreshOnly)
	defer f.leave()
	whole, err := f.take(most, func(over bool) bool { return over })
	if err != nil || whole != (most == forAll) {
		t.Fatalf("whole: %v, %v", whole, err)
	}
}

const forAll = 1000

// R40, R41: what came after a follower's cookie, reached it in a refresh that was cut off, and left the content before it came back, is
// told to be gone, by whichever way it left: nothing of that shows in the cookie.
func TestCutRefresh(t *testing.T) {
	y := query{base: "cn=top," + base, scope: tree.Sub, filter: "(|(cn=top)(description=y*))"}
	hides := []access.Rule{
		{Who: "anonymous", Filter: "(description=yet)", Allow: access.None},
		{Who: "anonymous", Allow: access.Sync},
	}
	for name, then := range map[string]func(w *world, b *tree.Builder){
		"removed":         func(w *world, b *tree.Builder) { w.delete(b, 2, false) },
		"not matched":     func(w *world, b *tree.Builder) { w.put(b, 2, "cn=new,cn=top", "a") },
		"moved out":       func(w *world, b *tree.Builder) { w.put(b, 2, "cn=new", "y") },
		"moved within":    func(w *world, b *tree.Builder) { w.put(b, 2, "cn=other,cn=top", "y") },
		"moved, no match": func(w *world, b *tree.Builder) { w.put(b, 2, "cn=other,cn=top", "a") },
		"hidden":          func(w *world, b *tree.Builder) { w.put(b, 2, "cn=new,cn=top", "yet") },
		"name is another's": func(w *world, b *tree.Builder) {
			w.delete(b, 2, false)
			w.put(b, 3, "cn=new,cn=top", "y")
		},
	} {
		for _, came := range []string{"added", "moved in", "matches now"} {
			t.Run(came+", "+name, func(t *testing.T) {
				w := newWorld(t)
				if name == "hidden" {
					if err := w.s.SetAccess(hides); err != nil {
						t.Fatal(err)
					}
				}
				w.edit(func(b *tree.Builder) {
					w.put(b, 1, "cn=top", "x")
					switch came {
					case "moved in":
						w.put(b, 2, "cn=out", "y")
					case "matches now":
						w.put(b, 2, "cn=new,cn=top", "a")
					}
				})
				m := newMirror(syncSearch{query: y})
				m.holes = true
				copyOf(t, w, m, forAll)
				w.edit(func(b *tree.Builder) { w.put(b, 2, "cn=new,cn=top", "y") })
				copyOf(t, w, m, 1)
				if len(m.entries) != 2 {
					t.Fatalf("%d entries after a message", len(m.entries))
				}
				v := w.edit(func(b *tree.Builder) { then(w, b) })
				copyOf(t, w, m, forAll)
				if name == "hidden" {
					if got := m.entries[number(2)]; got != nil {
						t.Errorf("%s is still there", got.dn)
					}
				} else if err := m.want(v); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// R41: so it is where a parent is renamed meanwhile and again, and takes along what came below it, to a name that another has by then.
func TestCutRefreshUnderRenames(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=top", "x")
		w.put(b, 2, "cn=p0,cn=top", "x")
		w.put(b, 3, "cn=w0,cn=top", "x")
		w.put(b, 4, "cn=t0,cn=top", "x")
		w.put(b, 5, "cn=a,cn=top", "x")
		w.put(b, 6, "cn=b,cn=a,cn=top", "x")
	})
	m := newMirror(syncSearch{query: query{base: base, scope: tree.Sub}})
	copyOf(t, w, m, forAll)
	w.edit(func(b *tree.Builder) {
		w.put(b, 2, "cn=p1,cn=top", "x")
		w.put(b, 3, "cn=c,cn=p1,cn=top", "x")
	})
	copyOf(t, w, m, 2)
	v := w.edit(func(b *tree.Builder) {
		w.put(b, 3, "cn=w,cn=b,cn=a,cn=top", "x")
		w.put(b, 2, "cn=p2,cn=top", "x")
		w.put(b, 4, "cn=c,cn=p2,cn=top", "x")
	})
	copyOf(t, w, m, forAll)
	if err := m.want(v); err != nil {
		t.Error(err)
	}
}

// gone lists the UUIDs that a follower with a cookie is told the end of, by one refreshOnly search.
func gone(t *testing.T, w *world, q query, cookie string) (list []dit.UUID) {
	t.Helper()
	c := dial(t, w.addr)
	s := syncSearch{query: q, mode: syncrepl.RefreshOnly, cookie: []byte(cookie)}
	c.follow(7, s)
	for {
		m := c.mustMessage()
		switch {
		case m.Kind == syncrepl.KindDone && (m.Code != 0 || !m.RefreshDeletes):
			t.Fatalf("result %d, deletes %v", m.Code, m.RefreshDeletes)
		case m.Kind == syncrepl.KindDone:
			return list
		case m.Kind == syncrepl.KindIDSet && m.RefreshDeletes:
			list = append(list, m.IDs...)
		case m.Kind == syncrepl.KindEntry && m.State == syncrepl.StateDelete:
			list = append(list, m.UUID)
		}
	}
}

// R41, R45: what came, and was never in a follower's content, is not told to be gone: not what no filter matched since, nor what
// came, went or moved in another part of the tree, whatever the cookie says.
func TestGoneOnlyWhatMayBeThere(t *testing.T) {
	w := newWorld(t)
	rules := []access.Rule{{Who: "anonymous", Subtree: "cn=other," + base, Allow: access.None}, {Who: "anonymous", Allow: access.Sync}}
	if err := w.s.SetAccess(rules); err != nil {
		t.Fatal(err)
	}
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=top", "x")
		w.put(b, 2, "cn=other", "x")
		w.put(b, 3, "cn=moves,cn=other", "y")
		w.put(b, 4, "cn=goes,cn=other", "y")
		w.put(b, 5, "cn=here,cn=top", "y")
	})
	cookie := w.cookieNow(7)
	w.edit(func(b *tree.Builder) {
		w.put(b, 3, "cn=moved,cn=other", "y")
		w.delete(b, 4, false)
		w.put(b, 6, "cn=comes,cn=other", "y")
		w.put(b, 7, "cn=never,cn=top", "a")
		w.put(b, 5, "cn=here,cn=top", "a")
	})
	between := strings.Replace(cookie, "#000000#", "#000001#", 1)
	below := query{base: base, scope: tree.Sub, filter: "(description=y)"}
	for _, cookie := range []string{cookie, between} {
		if got := gone(t, w, below, cookie); !slices.Equal(got, []dit.UUID{number(5)}) {
			t.Errorf("with %s: %v are told to be gone, %v went", cookie, got, number(5))
		}
	}
}

// R42: those who come back with a cookie and do not read what changed meanwhile hold up nobody else who does, and whoever waits for the
// log waits no longer than it wants to.
func TestLogTurns(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=top", "x") })
	cookie := []byte(w.cookieNow(7))
	v := w.edit(func(b *tree.Builder) {
		for i := range 100 {
			w.put(b, 2+i, fmt.Sprintf("cn=n%d,cn=top", i), strings.Repeat("x", sendAt))
		}
	})
	for range logAtOnce - 1 {
		w.s.logTurns <- struct{}{}
	}
	request := syncSearch{query: query{base: base, scope: tree.Sub}, mode: syncrepl.RefreshOnly, cookie: cookie}
	lazy := dial(t, w.addr)
	lazy.follow(1, request)
	lazy.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := lazy.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	m := newMirror(request)
	m.cookie, m.holes = cookie, true
	copyOf(t, w, m, forAll)
	if !m.upTo(v) || len(m.entries) != 100 {
		t.Errorf("%d entries, cookie %s", len(m.entries), m.cookie)
	}
	w.s.logTurns <- struct{}{}
	late := dial(t, w.addr)
	request.timeLimit = 1
	late.follow(1, request)
	if m := late.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != ldapserver.LDAPResultTimeLimitExceeded {
		t.Errorf("one that waited longer than it wanted to is told %+v", m)
	}
}

// R42: a follower that takes what it is sent, and is too long about it, is cut off and goes on from its cookie.
func TestFollowerTooLong(t *testing.T) {
	w := newWorld(t)
	w.s.stepTime = time.Nanosecond
	m := newMirror(syncSearch{query: query{base: base, scope: tree.Sub}})
	f := &randomFollower{c: &chaos{world: w}, m: m}
	f.connect(syncrepl.RefreshAndPersist)
	if _, err := f.take(forAll, func(bool) bool { return m.persist }); err != nil {
		t.Fatal(err)
	}
	v := w.edit(func(b *tree.Builder) {
		for i := range 50 {
			w.put(b, 1+i, "cn=a"+strings.Repeat("a", i), strings.Repeat("x", sendAt/4))
		}
	})
	eventually(t, "it is cut off", func() bool { return w.s.Followers() == 0 })
	for {
		msg, err := f.client.message()
		if err != nil {
			break
		}
		if _, err := m.take(&msg); err != nil {
			t.Fatal(err)
		}
	}
	if m.upTo(v) {
		t.Error("it was told everything")
	}
	copyOf(t, w, m, forAll)
	if err := m.want(v); err != nil {
		t.Error(err)
	}
}
