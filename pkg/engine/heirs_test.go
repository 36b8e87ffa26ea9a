package engine

import (
	"maps"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/store"
)

// R41, R24: on a promotion the entries of the claim that takes over bear the UUIDs
// of those that they replace, over a restart in between and after; entries at
// other DNs bear their own.
func TestPromotionHandsUUIDsOver(t *testing.T) {
	first := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	other := strings.ReplaceAll(sourceLDIF, "o=Source", "o=Other")
	other = strings.ReplaceAll(other, "o: Source", "o: Other") + "\ndn: ou=new,o=Other\nobjectClass: organizationalUnit\nou: new\n"
	second := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: other})
	w := newWorld(t)
	w.add("first", "cn=Here", w.source(first, suffix))
	w.awaitEqual(first, suffix, name)
	before := uuidsOf(w.e.Version())
	w.add("second", "cn=Here", w.source(second, "o=Other"))
	second.Down()
	_, err := w.e.RemoveSubscription(t.Context(), "first", false)
	must(t, err)
	w.restart()
	must(t, second.Up())
	await(t, "the promoted claim's content", func() bool { return w.name(name).Entries == 4 })
	after := uuidsOf(w.e.Version())
	for dn, id := range before {
		if after[dn] != id {
			t.Errorf("%s was served as %s, and is as %s", dn, id, after[dn])
		}
	}
	if len(after) != len(before)+1 {
		t.Errorf("%d entries, %d before", len(after), len(before))
	}
	must(t, second.Modify("ou=a,o=Other", "description", "followed"))
	await(t, "a change of the promoted source", func() bool { return strings.Contains(w.print(), "followed") })
	w.restart()
	if again := uuidsOf(w.e.Version()); !maps.Equal(again, after) {
		t.Errorf("after a restart: %v, not %v", again, after)
	}
	must(t, w.store.Records(recordHeir, func(record string, _ []byte) error {
		t.Errorf("record %s is left", record)
		return nil
	}))
	w.check()
}

// R33: what is damaged of an heir record is left out: the refresh that asks for it is taken, and the rest of the record counts.
func TestDamagedHeirs(t *testing.T) {
	w := newWorld(t)
	for _, b := range [][]byte{{5}, {2, 'a'}, {1, 'a', 1, 2, 3}, {0xff}} {
		must(t, w.store.Commit(&store.Batch{Records: []store.Record{{Name: heirPrefix("cn=x") + "000000", Value: b}}}))
		sound := append(append([]byte{1, 's'}, make([]byte, 16)...), b...)
		must(t, w.store.Commit(&store.Batch{Records: []store.Record{{Name: heirPrefix("cn=x") + "000001", Value: sound}}}))
		if got, err := w.e.heirs("cn=x"); err != nil || len(got) != 1 {
			t.Errorf("%v: %v, %v", b, got, err)
		}
	}
}
