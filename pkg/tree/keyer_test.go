package tree

import (
	"fmt"
	"slices"
	"testing"

	"shaft/pkg/dit"
)

// Values that are equal by their rule have one key, others have others; names,
// aliases and options of an attribute are one.
func TestKeys(t *testing.T) {
	k := newKeyer(bundled(), []string{"cn", "2.5.4.4", "member", "objectClass", "entryDN", "createTimestamp"})
	keys := func(attrs ...string) []uint32 {
		var user dit.Run
		for i := 0; i < len(attrs); i += 2 {
			user = dit.AppendAttr(user, attrs[i], attrs[i+1])
		}
		return k.keys(nil, user, nil)
	}
	for _, c := range []struct {
		a, b []string
		same bool
	}{
		{[]string{"cn", "A  b"}, []string{"commonName", "a B"}, true},
		{[]string{"cn", "a"}, []string{"cn;lang-en", "A"}, true},
		{[]string{"cn", "a"}, []string{"2.5.4.3", "a"}, true},
		{[]string{"cn", "a", "cn", "A"}, []string{"cn", "a"}, true},
		{[]string{"cn", "a", "sn", "b"}, []string{"sn", "b", "cn", "a"}, true},
		{[]string{"cn", "a", "description", "x"}, []string{"cn", "a"}, true},
		{[]string{"member", "CN=a, DC=b"}, []string{"member", "cn=A,dc=B"}, true},
		{[]string{"objectClass", "person"}, []string{"objectClass", "2.5.6.6"}, true},
		{[]string{"member", "no DN"}, nil, true},
		{[]string{"cn", "a"}, []string{"cn", "b"}, false},
		{[]string{"cn", "a"}, []string{"sn", "a"}, false},
		{[]string{"cn", "a"}, []string{"cn", "a", "cn", "b"}, false},
		{[]string{"entryDN", "cn=a"}, nil, true},
	} {
		a, b := keys(c.a...), keys(c.b...)
		if slices.Equal(a, b) != c.same {
			t.Errorf("keys of %q are %v, of %q %v", c.a, a, c.b, b)
		}
		if !slices.IsSorted(a) {
			t.Errorf("keys of %q are not ascending: %v", c.a, a)
		}
	}
	stamp := dit.AppendAttr(nil, "createTimestamp", "20260101000000Z")
	if list := k.keys(nil, nil, stamp); len(list) != 1 {
		t.Errorf("an operational attribute has keys %v", list)
	}
}

// The index follows an entry through modifications, and each version has its own.
func TestIndexFollowsModify(t *testing.T) {
	v := planted(t)
	var versions []*Version
	for round := range 6 {
		b := edit(v)
		for i := range 100 {
			b.Put(Row{UUID: uuid(i + 2)}, at(t, under(fmt.Sprintf("cn=e%d", i)),
				"sn", fmt.Sprint((i+round)%4), "uid", fmt.Sprintf("u%d", i*10+round)))
		}
		v = verified(t, b.Done())
		versions = append(versions, v)
	}
	for round, v := range versions {
		for sn := range 4 {
			m := matcher(t, fmt.Sprintf("(sn=%d)", sn))
			n := 0
			for c := v.Search(Query{Base: v.Root(), Scope: Sub, Matcher: m}); c.Next(); n++ {
			}
			if n != 25 {
				t.Errorf("round %d: %d entries with sn %d", round, n, sn)
			}
		}
		for other := range versions {
			m := matcher(t, fmt.Sprintf("(uid=u%d)", 70+other))
			if found := v.Search(Query{Base: v.Root(), Scope: Sub, Matcher: m}).Next(); found != (other == round) {
				t.Errorf("version %d finds the uid of version %d: %v", round, other, found)
			}
		}
	}
}
