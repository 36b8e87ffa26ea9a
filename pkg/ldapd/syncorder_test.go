package ldapd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// R40: an entry that comes over another one's children, which stay, is told before the other's end: a client might take them along with
// that. So too where what stands between the two is not in the content, as no filter matches it.
func TestComesOverWhatStays(t *testing.T) {
	add, gone := "add "+number(5).String(), "delete "+number(2).String()
	for name, c := range map[string]struct {
		between, below string // descriptions of what stays; y is in the content
		scope          tree.Scope
		want           []string
	}{
		"a child":                        {"y", "a", tree.Sub, []string{add, gone}},
		"a child's child":                {"a", "y", tree.Sub, []string{add, gone}},
		"a child's child, without base":  {"a", "y", tree.Subordinate, []string{add, gone}},
		"nothing of the content":         {"a", "a", tree.Sub, []string{gone, add}},
		"nothing in the scope":           {"a", "y", tree.One, []string{gone, add}},
		"nothing in the scope, one only": {"y", "y", tree.One, []string{gone, add}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.edit(func(b *tree.Builder) {
				w.put(b, 1, "cn=top", "y")
				w.put(b, 2, "cn=a,cn=top", "y")
				w.put(b, 3, "cn=b,cn=a,cn=top", c.between)
				w.put(b, 4, "cn=c,cn=b,cn=a,cn=top", c.below)
			})
			m := newMirror(syncSearch{query: query{base: "cn=top," + base, scope: c.scope, filter: "(description=y)"}})
			m.holes = true
			f := &randomFollower{c: &chaos{world: w}, m: m}
			f.connect(syncrepl.RefreshAndPersist)
			defer f.leave()
			if _, err := f.take(forAll, func(bool) bool { return m.persist }); err != nil {
				t.Fatal(err)
			}
			m.seen = nil
			v := w.edit(func(b *tree.Builder) { w.put(b, 5, "cn=a,cn=top", "y") })
			if _, err := f.take(forAll, func(bool) bool { return m.upTo(v) }); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range m.seen {
				if s.Kind == syncrepl.KindEntry {
					got = append(got, fmt.Sprintf("%v %s", map[syncrepl.State]string{syncrepl.StateAdd: "add", syncrepl.StateDelete: "delete"}[s.State], s.UUID))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if err := m.want(v); err != nil {
				t.Error(err)
			}
		})
	}
}

// R40: what came to a name after the cookie and went again does not hide who stood there: the order is the same, however the log is read.
func TestCameAndWentHasNoSay(t *testing.T) {
	w := newWorld(t)
	at := func(name string) string { return name + "," + "cn=top," + base }
	v := w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=top", "x")
		w.put(b, 2, "cn=p1,cn=top", "x")
		w.put(b, 3, "cn=deep,cn=p1,cn=top", "x")
		w.put(b, 4, "cn=w,cn=deep,cn=p1,cn=top", "x")
		w.put(b, 5, "cn=c,cn=p1,cn=top", "x")
	})
	norm := func(rdns string) string {
		dn, err := dit.ParseDN(bundled(), at(rdns))
		if err != nil {
			t.Fatal(err)
		}
		return dn.Norm()
	}
	moved := func(n int, from string) touched {
		id := v.ByUUID(number(n))
		return touched{uuid: number(n), id: id, csn: v.Row(id).CSN, had: true, norm: norm(from)}
	}
	list := []touched{moved(2, "cn=p0"), moved(4, "cn=c,cn=p0"), {uuid: number(9), had: true, norm: norm("cn=c,cn=p0")}, moved(5, "cn=t0")}
	top, _ := v.Find(strings.ToLower(base))
	e := (&content{srv: w.s, base: strings.ToLower(base), scope: tree.Sub}).eye()
	for range 2 {
		steps, over := e.arrange(v, top, list)
		var order []string
		for _, s := range steps {
			order = append(order, fmt.Sprintf("%d %s", s.state, s.uuid))
		}
		// The name is taken by what would come along with its parent: so all that moved goes first.
		if over || len(steps) != 7 || steps[3].state != syncrepl.StateDelete {
			t.Errorf("over %v: %q", over, order)
		}
		slices.Reverse(list)
	}
}
