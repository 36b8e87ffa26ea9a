package tree

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// R38: aliases, referrals and subentries are told by their classes, however these
// are written, and by what derives from them.
func TestKind(t *testing.T) {
	sch, err := bundled().Extend(schema.File{Name: "x.schema", Text: []byte(
		"objectclass ( 1.2.3.4 NAME 'ownReferral' SUP referral STRUCTURAL )\n")})
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Schema = sch
	for _, tt := range []struct {
		classes []string
		want    Kind
	}{
		{[]string{"person"}, 0},
		{[]string{"top", "alias"}, Alias},
		{[]string{"ALIAS", "extensibleObject"}, Alias},
		{[]string{"2.5.6.1"}, Alias},
		{[]string{"Referral", "extensibleObject"}, Referral},
		{[]string{"ownReferral"}, Referral},
		{[]string{"1.2.3.4"}, Referral},
		{[]string{"subentry"}, Subentry},
		{[]string{"2.5.17.0", "alias"}, Subentry | Alias},
		{[]string{"subentries", "aliases", "referal"}, 0},
		{nil, 0},
	} {
		v := at(t, under("cn=x"))
		if tt.classes != nil {
			v.User = dit.AppendAttr(nil, "cn", "x")
			v.User = dit.AppendAttr(v.User, "OBJECTCLASS", tt.classes...)
		}
		b := Empty(o).Edit()
		b.SetRoot(Row{UUID: uuid(1)}, at(t, baseDN, "objectClass", "organizationalUnit"))
		id := b.Put(Row{UUID: uuid(2)}, v)
		got := verified(t, b.Done())
		if got.Kind(id) != tt.want || got.Kinds() != tt.want || got.Kind(got.Root()) != 0 || got.Kind(id+1) != 0 {
			t.Errorf("%v: kind %b of %b, want %b", tt.classes, got.Kind(id), got.Kinds(), tt.want)
		}
	}
}

// Entries that change their kind, are replaced, moved and deleted keep the counts right.
func TestKindsOverHistory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	classes := []string{"person", "alias", "referral", "subentry"}
	v := planted(t)
	changed := 0
	for range 300 {
		b := edit(v)
		n, m := r.IntN(12), r.IntN(12)
		if r.IntN(4) == 0 {
			b.Delete(v.ByUUID(uuid(100+n)), r.IntN(2) == 0)
		} else {
			b.Put(Row{UUID: uuid(100 + n)}, at(t, under(fmt.Sprintf("cn=%d", m)), "objectClass", classes[r.IntN(4)]))
		}
		next := verified(t, b.Done())
		if next.Kinds() != v.Kinds() {
			changed++
		}
		v = next
	}
	if changed < 20 {
		t.Errorf("kinds came and went %d times only", changed)
	}
}
