package engine

import (
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
)

// R37: a name's standing follows its source: down, back, over a restart with the
// source away, under another name, and gone with the name.
func TestR37Standing(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	norm := func(rdn string) string {
		dn, err := w.e.localName(rdn)
		must(t, err)
		return dn.Norm()
	}
	if got, there := w.e.Standing(norm("cn=Here")); there {
		t.Errorf("before anything is there: %+v", got)
	}
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	fresh, there := w.e.Standing(norm("cn=Here"))
	if !there || fresh.Subscription != "s" || fresh.SourceURL != w.name("cn=Here").Head.URL || fresh.Stale ||
		fresh.LastContact.IsZero() || fresh.LastChange.IsZero() {
		t.Fatalf("a live name: %+v, %v", fresh, there)
	}
	if _, inside := w.e.Standing(norm("ou=a,cn=Here")); inside {
		t.Error("an entry inside a name has a standing")
	}
	must(t, s.Modify("ou=a,"+suffix, "description", "new"))
	await(t, "a change is told", func() bool {
		now, _ := w.e.Standing(norm("cn=Here"))
		return now.LastChange.After(fresh.LastChange)
	})
	local := func(text string) dit.DN { dn, err := w.e.localName(text); must(t, err); return dn }
	if got, _ := w.e.Origins(0, local("cn=Here"), local("cn=x y,ou=a,cn=Here")); len(got) != 1 || got[0] != "ldap://"+s.Addr()+"/cn=x%20y,ou=a,"+suffix {
		t.Errorf("R43: origin %q", got)
	}
	id, _ := w.e.Version().Find(norm("cn=Here"))
	row := w.e.Version().Row(id)
	if got, _ := w.e.Origins(row.Claim, local("cn=Here"), local("cn=Here")); len(got) != 1 {
		t.Errorf("R43: an entry of the claim that stands there comes from %q", got)
	}
	if got, begins := w.e.Origins(row.Claim+1, local("cn=Here"), local("cn=Here")); got != nil || !begins {
		t.Errorf("R43: an entry of another claim comes from %q", got)
	}
	if got, begins := w.e.Origins(0, local("ou=a,cn=Here"), local("ou=a,cn=Here")); got != nil || begins {
		t.Errorf("R43: an entry inside a name has an origin of its own: %q", got)
	}
	if got, begins := w.e.Origins(0, local("cn=Here"), local("cn=There")); got != nil || !begins {
		t.Errorf("R43: an entry elsewhere comes from %q", got)
	}
	s.Down()
	await(t, "it is stale", func() bool { now, _ := w.e.Standing(norm("cn=Here")); return now.Stale })
	before, _ := w.e.Standing(norm("cn=Here"))
	w.restart()
	await(t, "it is stale after a restart", func() bool { now, _ := w.e.Standing(norm("cn=Here")); return now.Stale })
	after, _ := w.e.Standing(norm("cn=Here"))
	if !after.LastChange.Equal(before.LastChange) || after.LastContact.IsZero() || after.LastContact.After(before.LastContact) {
		t.Errorf("after a restart %+v, before %+v", after, before)
	}
	must(t, s.Up())
	await(t, "it is fresh again", func() bool { now, _ := w.e.Standing(norm("cn=Here")); return !now.Stale })
	w.remove("s")
	if got, there := w.e.Standing(norm("cn=Here")); there {
		t.Errorf("after its removal: %+v", got)
	}
	if got, begins := w.e.Origins(0, local("cn=Here"), local("cn=Here")); got != nil || begins {
		t.Errorf("R43: after its removal it comes from %q", got)
	}
}

// R30, R37: content that lingers is stale, whose ever it was.
func TestR37StandingOfWhatLingers(t *testing.T) {
	first := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	second := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(first, suffix))
	w.awaitLive(name)
	w.add("t", "cn=Here", w.source(second, suffix))
	second.Down()
	w.remove("s")
	dn, err := w.e.localName("cn=Here")
	must(t, err)
	if got, there := w.e.Standing(dn.Norm()); !there || got.Subscription != "s" || !got.Stale {
		t.Errorf("what lingers: %+v, %v", got, there)
	}
	if got, begins := w.e.Origins(0, dn, dn); got != nil || !begins {
		t.Errorf("R43: what lingers comes from %q, %v", got, begins)
	}
	must(t, second.Up())
	await(t, "the next one's content is there", func() bool {
		got, _ := w.e.Standing(dn.Norm())
		return got.Subscription == "t" && !got.Stale
	})
}
