package ldapd

import (
	"fmt"
	"slices"
	"testing"

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
