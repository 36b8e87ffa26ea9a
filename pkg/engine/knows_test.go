package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
)

// R12: a subtree that is moved into a claim's base is served as a whole, whether
// Shaft follows at the time or not, and whatever was moved out just before.
func TestR12SubtreesMovedIn(t *testing.T) {
	var b strings.Builder
	b.WriteString("dn: dc=x\nobjectClass: domain\ndc: x\n\n")
	unit := func(dn string) {
		fmt.Fprintf(&b, "dn: %s\nobjectClass: organizationalUnit\n\n", dn)
	}
	for _, dn := range []string{"ou=in,dc=x", "ou=p,ou=in,dc=x", "ou=q,ou=p,ou=in,dc=x", "ou=r,ou=q,ou=p,ou=in,dc=x", "ou=out,dc=x", "ou=top,ou=out,dc=x"} {
		unit(dn)
	}
	for i := range 30 {
		unit(fmt.Sprintf("ou=a%d,ou=top,ou=out,dc=x", i))
		unit(fmt.Sprintf("ou=b,ou=a%d,ou=top,ou=out,dc=x", i))
	}
	s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "dc=x", LDIF: b.String(), SessionLog: 100})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, "ou=in,dc=x"))
	w.awaitLive(name)
	move := func(dn, to string) string {
		rdn, _, _ := strings.Cut(dn, ",")
		return fmt.Sprintf("dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 0\nnewsuperior: %s\n\n", dn, rdn, to)
	}
	for _, step := range []struct{ live, away string }{
		{live: move("ou=top,ou=out,dc=x", "ou=in,dc=x")},
		{live: move("ou=top,ou=in,dc=x", "ou=out,dc=x") + move("ou=top,ou=out,dc=x", "ou=p,ou=in,dc=x")},
		{away: move("ou=top,ou=p,ou=in,dc=x", "ou=out,dc=x")},
		{away: move("ou=top,ou=out,dc=x", "ou=in,dc=x")},
		{live: move("ou=p,ou=in,dc=x", "ou=out,dc=x") + move("ou=q,ou=p,ou=out,dc=x", "ou=in,dc=x")},
		{away: move("ou=q,ou=in,dc=x", "ou=out,dc=x") + move("ou=q,ou=out,dc=x", "ou=in,dc=x")},
	} {
		if step.live != "" {
			s.Apply(step.live)
		} else {
			w.close()
			s.Apply(step.away)
			w.open()
		}
		w.awaitEqual(s, "ou=in,dc=x", name)
		w.check()
	}
}

// What is on its way to the writer counts, and a delete leaves nothing certain.
func TestKnowsWhatIsPending(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	var known dit.UUID
	var f *feed
	must(t, w.e.do(context.Background(), func() {
		for _, c := range w.e.claims {
			f = &feed{e: w.e, claim: c, ctx: context.Background()}
			at, _ := w.e.newest.Find(c.name.Norm())
			known = w.e.newest.Row(at).UUID
		}
	}))
	fresh := dit.UUID{1}
	if !f.Knows(known) || f.Knows(fresh) {
		t.Error("what is served is not known, or what is not is")
	}
	f.pending = []change{{claim: f.claim, op: opPut, id: fresh}}
	if !f.Knows(fresh) || !f.Knows(known) {
		t.Error("what is pending is not known")
	}
	f.pending = append(f.pending, change{claim: f.claim, op: opDelete, id: dit.UUID{2}})
	if f.Knows(fresh) || f.Knows(known) {
		t.Error("a delete that is pending may take anything along")
	}
	ended, end := context.WithCancel(context.Background())
	end()
	f.ctx, f.pending = ended, nil
	if f.Knows(known) {
		t.Error("who cannot ask knows")
	}
}
