package engine

import (
	"fmt"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
)

// R7, R27, R31: the head of a name inside another goes elsewhere, or goes: the next claim, whose
// content is here, takes its place, and what the name hides stays hidden.
func TestNextInsideAnother(t *testing.T) {
	place := "cn=0,ou=a," + at("B")
	for what, leave := range map[string]func(w *world){
		"above":   func(w *world) { w.rename(place, at("A"), "head") },
		"beside":  func(w *world) { w.rename(place, at("Z"), "head") },
		"deeper":  func(w *world) { w.rename(place, "cn=x,ou=deep,"+baseDN, "head") },
		"removed": func(w *world) { w.remove("head") },
	} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprint(what, ", servers away ", away), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				var servers []*ldaptest.Server
				for i, id := range []string{"outer", "head", "next"} {
					s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: fmt.Sprintf(wholeLDIF, id)})
					servers = append(servers, s)
					name := []string{at("B"), place, place}[i]
					_, err := w.e.AddSubscription(t.Context(), Subscription{ID: id, Name: name, Source: w.source(s, suffix), KeepWarm: true}, false)
					must(t, err)
					await(t, id+" has content", func() (good bool) {
						must(t, w.e.do(t.Context(), func() { good = w.e.state.Claims[queue.ClaimID(id)].Good }))
						return good
					})
				}
				if away {
					for _, s := range servers {
						s.Down()
					}
				}
				leave(w)
				got := w.below(place)
				if says := got["cn=1,ou=a,"+place]; len(got) != 5 || !strings.Contains(says, "of next") {
					t.Errorf("it shows %q", got)
				}
				w.check()
				w.checkLists()
				w.restart()
			})
		}
	}
}
