package engine

import (
	"errors"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// R40, R44: who waits is woken by each version, and by nothing else; between any two that it
// sees, the change log names what a comparison of the versions finds.
func TestChangedAndChanges(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	changed, seen := w.e.Changed(), w.e.Version()
	look := func(what string) {
		t.Helper()
		<-changed
		changed = w.e.Changed()
		v := w.e.Version()
		differ, named := map[dit.UUID]bool{}, map[dit.UUID]bool{}
		v.Since(seen, func(u dit.UUID) { differ[u] = true })
		last := seen.CSN()
		ok, err := w.e.Changes(seen.CSN(), func(c tree.Change) error {
			if c.Row.CSN > v.CSN() {
				return errStop
			}
			if c.Row.CSN < last || c.Kind == tree.Deleted && c.OldDN == "" {
				t.Errorf("%s: line %+v after CSN %d", what, c, last)
			}
			last = c.Row.CSN
			named[c.Row.UUID] = true
			return nil
		})
		if !ok || err != nil && !errors.Is(err, errStop) {
			t.Fatalf("%s: the log: %v, %v", what, ok, err)
		}
		for u := range differ {
			if !named[u] {
				t.Errorf("%s: the log does not name %s", what, u)
			}
		}
		seen = v
	}
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	look("loaded")
	must(t, s.Modify("ou=a,"+suffix, "description", "x"))
	look("modified")
	must(t, s.Delete("ou=b,"+suffix))
	look("deleted")
	must(t, s.Modify("ou=a,"+suffix, "description", "x"))
	must(t, s.Modify("ou=a,"+suffix, "description", "y"))
	w.awaitEqual(s, suffix, name)
	look("modified again")
	must(t, s.Modify("ou=a,"+suffix, "description", "y"))
	_, err := w.e.RenameName(t.Context(), name, "cn=There,"+baseDN, "", 0, false)
	must(t, err)
	look("renamed")
	if ok, _ := w.e.Changes(1, func(tree.Change) error { return nil }); ok {
		t.Error("the log reaches back to before the store")
	}
}

var errStop = errors.New("enough")
