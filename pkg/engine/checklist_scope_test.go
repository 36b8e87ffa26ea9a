package engine

import (
	"fmt"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// R12, R35: of a subtree that is moved into the scope slapd sends the top alone, while it
// is followed and while it is not, in delete and in present phases: what is below is
// fetched.
func TestSlapdMovedIntoScope(t *testing.T) {
	a, b, x := "ou=a,"+slapdBase, "ou=b,"+slapdBase, "ou=x,ou=out,"+suffix
	many := unit("ou=many,ou=out," + suffix)
	for i := range 300 {
		many += person(fmt.Sprintf("cn=%d,ou=many,ou=out,%s", i, suffix))
	}
	steps := []slapdStep{
		{"in", relocate(x, slapdBase)},
		{"a part of it out again", relocate("ou=y,ou=x,"+slapdBase, "ou=out,"+suffix)},
		{"that part in elsewhere, under another name", rename("ou=y,ou=out,"+suffix, "ou=z") + relocate("ou=z,ou=out,"+suffix, b)},
		{"out and in again at once", relocate("ou=x,"+slapdBase, "ou=out,"+suffix) + relocate(x, a)},
		{"in, and moved on and changed below at once", unit("ou=w,ou=out,"+suffix) + unit("ou=v,ou=w,ou=out,"+suffix) + person("cn=1,ou=v,ou=w,ou=out,"+suffix) +
			relocate("ou=w,ou=out,"+suffix, a) + rename("ou=w,"+a, "ou=u") + describe("cn=1,ou=v,ou=u,"+a, "below") + person("cn=2,ou=v,ou=u,"+a)},
		{"in, and what it had deleted below at once", unit("ou=t,ou=out,"+suffix) + person("cn=1,ou=t,ou=out,"+suffix) + person("cn=2,ou=t,ou=out,"+suffix) +
			relocate("ou=t,ou=out,"+suffix, slapdBase) + removal("cn=1,ou=t,"+slapdBase)},
		{"in the place of what is deleted", removal("cn=2,ou=t,"+slapdBase, "ou=t,"+slapdBase) + unit("ou=t,ou=out,"+suffix) +
			person("cn=3,ou=t,ou=out,"+suffix) + relocate("ou=t,ou=out,"+suffix, slapdBase)},
		{"many", many + relocate("ou=many,ou=out,"+suffix, slapdBase)},
	}
	playOnSlapd(t, steps, func(t *testing.T, s *ldaptest.Slapd, o ldaptest.SlapdOptions, away bool) {
		if present := o.SessionLog == 0 && away; !present && strings.Contains(s.Log(), "cookie=(null)") {
			t.Error("all was loaded for a subtree of 300")
		}
	})
}
