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

// R38, R41: an alias that leads elsewhere by now makes a cookie one of another content; an alias that has not changed does not.
func TestAliasLeadsElsewhere(t *testing.T) {
	w := newWorld(t)
	alias := func(b *tree.Builder, to string) {
		value := value(t, "cn=current,"+base, attrs("objectClass", "alias", "objectClass", "extensibleObject", "cn", "current",
			"aliasedObjectName", to+","+base), class("alias"))
		if b.Put(tree.Row{UUID: number(9)}, value) == 0 {
			t.Fatal("the alias cannot be put")
		}
	}
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=v1", "x")
		w.put(b, 2, "cn=v2", "x")
		w.put(b, 3, "cn=a,cn=v1", "x")
		w.put(b, 4, "cn=b,cn=v2", "x")
		alias(b, "cn=v1")
	})
	poll := func(cookie []byte) (got map[dit.UUID]bool, next []byte, code int) {
		c := dial(t, w.addr)
		s := syncSearch{query: query{base: "cn=current," + base, scope: tree.Sub, deref: derefFindingBase}, mode: syncrepl.RefreshOnly, cookie: cookie}
		c.follow(1, s)
		got = map[dit.UUID]bool{}
		for {
			m := c.mustMessage()
			if m.Kind == syncrepl.KindDone {
				return got, m.Cookie, m.Code
			}
			got[m.UUID] = true
		}
	}
	got, cookie, code := poll(nil)
	if !got[number(1)] || !got[number(3)] || len(got) != 2 || code != 0 {
		t.Fatalf("%v, code %d", got, code)
	}
	w.edit(func(b *tree.Builder) { w.put(b, 3, "cn=a,cn=v1", "y") })
	if got, cookie, code = poll(cookie); !got[number(3)] || len(got) != 1 || code != 0 {
		t.Fatalf("after a change: %v, code %d", got, code)
	}
	c := dial(t, w.addr)
	c.follow(1, syncSearch{query: query{base: "cn=current," + base, scope: tree.Sub, deref: derefFindingBase}, mode: syncrepl.RefreshAndPersist, cookie: cookie})
	for c.mustMessage().Kind != syncrepl.KindRefreshDelete {
	}
	w.edit(func(b *tree.Builder) { alias(b, "cn=v2") })
	if m := c.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != syncrepl.ResultRefreshRequired || m.HasCookie {
		t.Errorf("who follows on is told %+v", m)
	}
	if got, _, code = poll(cookie); len(got) > 0 || code != syncrepl.ResultRefreshRequired {
		t.Errorf("where it leads elsewhere: %v, code %d", got, code)
	}
}
