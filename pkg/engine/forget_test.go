package engine

import (
	"slices"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/tree"
)

// R12, R35: what a server says before it asks for a full reload holds, however soon after it
// the next session begins: that one has no cookie by which it would be said again.
func TestSaidBeforeAReloadHolds(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	must(t, w.e.do(t.Context(), func() {
		cl := w.e.claims["s"]
		ed := w.e.edit(nil)
		var gone []change
		top, _ := ed.b.Find(cl.name.Norm())
		ed.b.Walk(top, func(at tree.ID) {
			if row := ed.b.Row(at); row.Claim == cl.number {
				gone = append(gone, change{claim: cl, feed: cl.feed, op: opDelete, id: w.e.pub.upstream(row.Claim, row.UUID)})
			}
		})
		ed.abandon()
		slices.Reverse(gone)
		must(t, w.e.inbox.push(t.Context(), cl, gone)) // the writer is busy with this here, and has not seen them
		cl.feed.forget()
		if now := w.content(); len(now) != 0 {
			t.Errorf("%d entries are still served", len(now))
		}
		if cl.cookie != nil || len(w.e.inbox.takeOf(cl)) != 0 {
			t.Error("the cookie is still there, or what was said")
		}
		must(t, w.e.inbox.push(t.Context(), cl, []change{{claim: cl, feed: cl.feed, op: opCookie, cookie: []byte("c")}}))
		w.e.inbox.forget(cl)
		if len(w.e.inbox.takeOf(cl)) != 0 {
			t.Error("what was to be forgotten is still there")
		}
	}))
}
