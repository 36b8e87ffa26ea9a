package ldapd

import (
	"fmt"
	"strings"
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// R40: an entry from below the base takes the base's name while others stay below: a present phase tells it so that a client can take it.
func TestBaseIsReplaced(t *testing.T) {
	for name, rules := range map[string][]access.Rule{"without rules": nil,
		"by rules with a filter": {{Who: "anonymous", Filter: "(description=hidden)", Allow: access.None}, {Who: "anonymous", Allow: access.Sync}}} {
		for _, stays := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, one stays: %v", name, stays), func(t *testing.T) { baseIsReplaced(t, rules, stays) })
		}
	}
}

func baseIsReplaced(t *testing.T, rules []access.Rule, stays bool) {
	w := newWorld(t)
	if err := w.s.SetAccess(rules); err != nil {
		t.Fatal(err)
	}
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=top", "x")
		w.put(b, 2, "cn=a,cn=top", "x")
		if stays {
			w.put(b, 3, "cn=stays,cn=top", "x")
		}
	})
	m := newMirror(syncSearch{query: query{base: "cn=top," + base, scope: tree.Sub}})
	copyOf(t, w, m, forAll)
	v := w.edit(func(b *tree.Builder) { w.put(b, 2, "cn=top", "x") })
	copyOf(t, w, m, forAll)
	if got := m.names["cn=top,"+strings.ToLower(base)]; got != number(2) || m.entries[number(1)] != nil || (m.entries[number(3)] != nil) != stays {
		t.Errorf("the base is %s, of %d entries", got, len(m.entries))
	}
	if err := m.want(v); rules == nil && err != nil { // else what is sent anew has a later date
		t.Error(err)
	}
}

// putAlias puts an alias of the base of the tree's child current, which names another child.
func putAlias(t *testing.T, b *tree.Builder, to string) {
	t.Helper()
	value := value(t, "cn=current,"+base, attrs("objectClass", "alias", "objectClass", "extensibleObject", "cn", "current",
		"aliasedObjectName", to+","+base), class("alias"))
	if b.Put(tree.Row{UUID: number(9)}, value) == 0 {
		t.Fatal("the alias cannot be put")
	}
}

// byAlias follows cn=current with a cookie, aliases dereferenced.
func byAlias(t *testing.T, w *world, mode syncrepl.Mode, cookie []byte) *client {
	t.Helper()
	c := dial(t, w.addr)
	c.follow(1, syncSearch{query: query{base: "cn=current," + base, scope: tree.Sub, deref: derefFindingBase}, mode: mode, cookie: cookie})
	return c
}

// pollByAlias gives what a poll of cn=current tells of.
func pollByAlias(t *testing.T, w *world, cookie []byte) (got map[dit.UUID]bool, next []byte, code int) {
	t.Helper()
	c := byAlias(t, w, syncrepl.RefreshOnly, cookie)
	got = map[dit.UUID]bool{}
	for {
		m := c.mustMessage()
		if m.Kind == syncrepl.KindDone {
			return got, m.Cookie, m.Code
		}
		got[m.UUID] = true
	}
}

// aliasWorld has cn=v1 and cn=v2, each with an entry below.
func aliasWorld(t *testing.T, more func(b *tree.Builder, w *world)) *world {
	t.Helper()
	w := newWorld(t)
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=v1", "x")
		w.put(b, 2, "cn=v2", "x")
		w.put(b, 3, "cn=a,cn=v1", "x")
		w.put(b, 4, "cn=b,cn=v2", "x")
		more(b, w)
	})
	return w
}

// R38, R41: an alias that leads elsewhere by now makes a cookie one of another content; an alias that has not changed does not.
func TestAliasLeadsElsewhere(t *testing.T) {
	w := aliasWorld(t, func(b *tree.Builder, _ *world) { putAlias(t, b, "cn=v1") })
	got, cookie, code := pollByAlias(t, w, nil)
	if !got[number(1)] || !got[number(3)] || len(got) != 2 || code != 0 {
		t.Fatalf("%v, code %d", got, code)
	}
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=v1", "y")
		w.put(b, 3, "cn=a,cn=v1", "y")
	})
	if got, cookie, code = pollByAlias(t, w, cookie); !got[number(1)] || !got[number(3)] || len(got) != 2 || code != 0 {
		t.Fatalf("after changes: %v, code %d", got, code)
	}
	c := byAlias(t, w, syncrepl.RefreshAndPersist, cookie)
	for c.mustMessage().Kind != syncrepl.KindRefreshDelete {
	}
	w.edit(func(b *tree.Builder) { putAlias(t, b, "cn=v2") })
	if m := c.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != syncrepl.ResultRefreshRequired || m.HasCookie {
		t.Errorf("who follows on is told %+v", m)
	}
	if got, _, code = pollByAlias(t, w, cookie); len(got) > 0 || code != syncrepl.ResultRefreshRequired {
		t.Errorf("where it leads elsewhere: %v, code %d", got, code)
	}
}

// R38, R41: the same where an entry takes the alias's place, or an alias that of an entry, on the way to the base too.
func TestAliasAndEntryTakeTurns(t *testing.T) {
	entry := func(b *tree.Builder, w *world) { w.put(b, 10, "cn=current", "x") }
	alias := func(b *tree.Builder, _ *world) { putAlias(t, b, "cn=v1") }
	for name, c := range map[string]struct{ was, is func(*tree.Builder, *world) }{
		"an alias becomes an entry": {alias, func(b *tree.Builder, w *world) { w.delete(b, 9, false); entry(b, w) }},
		"an entry becomes an alias": {entry, func(b *tree.Builder, w *world) { w.delete(b, 10, false); alias(b, w) }},
		"what it names is replaced": {alias, func(b *tree.Builder, w *world) { w.delete(b, 1, true); w.put(b, 11, "cn=v1", "x") }},
	} {
		t.Run(name, func(t *testing.T) {
			w := aliasWorld(t, c.was)
			_, cookie, _ := pollByAlias(t, w, nil)
			follows := byAlias(t, w, syncrepl.RefreshAndPersist, cookie)
			for follows.mustMessage().Kind != syncrepl.KindRefreshDelete {
			}
			w.edit(func(b *tree.Builder) { c.is(b, w) })
			if got, _, code := pollByAlias(t, w, cookie); len(got) > 0 || code != syncrepl.ResultRefreshRequired {
				t.Errorf("who comes back: %v, code %d", got, code)
			}
			if m := follows.mustMessage(); name != "what it names is replaced" && (m.Kind != syncrepl.KindDone || m.Code != syncrepl.ResultRefreshRequired || m.HasCookie) {
				t.Errorf("who follows on is told %+v", m)
			}
		})
	}
}
