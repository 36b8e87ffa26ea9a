package tree

import (
	"fmt"
	"testing"

	"shaft/pkg/dit"
)

// A subtree of thousands moves there and back: its values stay where they lie,
// each entry has a new CSN, and a change with its name before.
func TestMoveLargeSubtree(t *testing.T) {
	rdns := []string{"ou=a", "ou=b"}
	for i := range 50 {
		rdns = append(rdns, fmt.Sprintf("ou=u%d,ou=a", i))
		for j := range 40 {
			rdns = append(rdns, fmt.Sprintf("cn=e%d,ou=u%d,ou=a", j, i))
		}
	}
	v := grow(t, planted(t), rdns...)
	was := names(v)
	leaf := v.ByUUID(uuid(40))
	before := *v.row(leaf)

	b := edit(v)
	putting(t, b, 2, "ou=a,ou=b")
	list := b.Changes()
	if len(list) != 1+50*41 || list[0].ID != b.ByUUID(uuid(2)) || list[0].OldDN != under("ou=a") {
		t.Fatalf("%d changes, the first %+v", len(list), list[0])
	}
	seen := map[dit.UUID]bool{}
	for i, c := range list {
		if parent := b.Row(b.v.Parent(c.ID)); c.Kind != Modified || i > 0 && !seen[parent.UUID] {
			t.Fatalf("change %d comes before its parent's: %+v", i, c)
		}
		if got := string(b.Entry(c.ID).DN()); got != c.OldDN[:len(c.OldDN)-len(baseDN)]+"ou=b,"+baseDN {
			t.Fatalf("%s has moved to %s", c.OldDN, got)
		}
		seen[c.Row.UUID] = true
	}
	moved := verified(t, b.Done())
	after := *moved.row(leaf)
	if after.block != before.block || after.off != before.off || after.parent != before.parent {
		t.Error("a leaf was written anew")
	}
	if moved.Len() != v.Len() || names(v) != was {
		t.Error("entries were lost, or the version before has changed")
	}
	if id, matched := moved.Find(dn(t, under("ou=a")).Norm()); id != 0 || matched != moved.Root() {
		t.Error("the old name is still found")
	}

	b = edit(moved)
	putting(t, b, 2, "ou=a")
	if back := verified(t, b.Done()); names(back) != was {
		t.Error("it did not come back as it was")
	}
}

// R4: an entry put again in another spelling stays the same one, and is found by all.
func TestRespelledParent(t *testing.T) {
	v := grow(t, planted(t), "ou=Some Unit", "cn=a,ou=Some Unit", "ou=g,cn=a,ou=Some Unit")
	b := edit(v)
	putting(t, b, 2, "OU=some  unit")
	putting(t, b, 9, "cn=new,ou=SOME UNIT")
	v = verified(t, b.Done())
	const want = "OU=some  unit cn=a,OU=some  unit cn=new,OU=some  unit ou=g,cn=a,OU=some  unit"
	if got := names(v); got != want {
		t.Errorf("there is: %s\nwant:     %s", got, want)
	}
	for _, rdns := range []string{"ou=some unit", "CN=A,OU=Some Unit", "ou=G,cn=a,ou=some unit", "cn=NEW,ou=some unit"} {
		find(t, v, rdns)
	}
}
