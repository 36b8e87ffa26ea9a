package engine

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// hidesSecret has slapd hide entries that are marked, the object classes of some, and the
// RDN's value of others.
const hidesSecret = `access to filter=(description=hidden) attrs=entry by * none
access to filter=(description=no-class) attrs=objectClass by * search
access to filter=(description=no-name) attrs=cn by * search`

// R12, R35: what an access rule takes away from an entry is missing here too, but the entry
// is kept and counted, with the value of its RDN. An entry that becomes hidden is not
// spoken of: it stays until a refresh that names what is there.
func TestSlapdAccessRules(t *testing.T) {
	w, s := followSlapd(t, ldaptest.SlapdOptions{Access: hidesSecret})
	a := "ou=a," + slapdBase
	entries := w.name(name).Entries
	s.Apply(one("cn=bare,"+a, "organizationalRole\ndescription: no-class") + one("cn=nameless,"+a, "organizationalRole\ndescription: no-name") +
		one("cn=hidden,"+a, "organizationalRole\ndescription: hidden"))
	w.awaitValues("cn=nameless,ou=a,"+name, "cn", "nameless")
	w.awaitValues("cn=bare,ou=a,"+name, "cn", "bare")
	if got := w.values("cn=bare,ou=a,"+name, "objectClass"); got != nil {
		t.Errorf("objectClass %q", got)
	}
	if now := w.name(name).Entries; now != entries+2 {
		t.Errorf("%d entries, not %d", now, entries+2)
	}
	if w.content()["cn=hidden,ou=a,"+name] != "" {
		t.Error("the hidden entry shows")
	}
	w.restart()
	w.awaitLive(name)
	s.Apply(describe("cn=1,"+a, "hidden") + describe("cn=2,"+a, "seen"))
	w.awaitValues("cn=2,ou=a,"+name, "description", "seen")
	if w.content()["cn=1,ou=a,"+name] == "" {
		t.Error("an entry went that slapd said nothing of")
	}
	w.away(func() { s.Apply(describe("cn=2,"+a, "again")) })
	await(t, "the hidden entry is not named as present", func() bool { return w.content()["cn=1,ou=a,"+name] == "" })
	w.check()
	w.restart()
}

// R12: referrals and aliases are entries like others, and nobody follows them.
func TestSlapdReferralsAndAliases(t *testing.T) {
	w, s := followSlapd(t, ldaptest.SlapdOptions{})
	ref, alias := "cn=ref,"+slapdBase, "cn=alias,"+slapdBase
	s.Apply(one(ref, "referral\nobjectClass: extensibleObject\nref: ldap://127.0.0.1:1/o=Nowhere") +
		one(alias, "alias\nobjectClass: extensibleObject\naliasedObjectName: cn=1,ou=a,"+slapdBase))
	want := func() {
		t.Helper()
		w.awaitValues("cn=ref,"+name, "ref", "ldap://127.0.0.1:1/o=Nowhere")
		w.awaitValues("cn=alias,"+name, "aliasedObjectName", "cn=1,ou=a,"+name)
	}
	want()
	w.keepCookie("")
	release := w.holds(w.all()...)
	w.restart() // a full load
	w.awaitLive(name)
	release()
	want()
	w.away(func() {
		s.Search("-M", "-b", ref, "-s", "base")
		s.Apply("dn: " + alias + "\nchangetype: delete\n")
	})
	await(t, "the alias goes", func() bool { return w.content()["cn=alias,"+name] == "" })
	w.check()
}

// R11, R12: deletes of what the filter never matched mean nothing; what the filter does
// not match any more goes, and what it matches now comes.
func TestSlapdFilter(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("away ", away), func(t *testing.T) {
			t.Parallel()
			s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, LDIF: slapdLDIF, SessionLog: 1000})
			w := newWorld(t)
			src := w.source(s, slapdBase)
			src.Filter = "(&(objectClass=organizationalRole)(!(description=*)))"
			w.add("s", "cn=Here", src)
			w.awaitLive(name)
			shows := func(dns ...string) func() bool {
				return func() bool {
					got := w.all()
					slices.Sort(got)
					return slices.Equal(got, dns)
				}
			}
			first := []string{"cn=1,ou=a," + name, "cn=1,ou=b," + name, "cn=2,ou=a," + name}
			await(t, "what the filter matches", shows(first...))
			change := func() {
				s.Apply(unit("ou=c,"+slapdBase) + removal("ou=c,"+slapdBase) + describe("cn=1,ou=a,"+slapdBase, "out") +
					one("cn=3,ou=a,"+slapdBase, "organizationalRole\ndescription: not yet") +
					"dn: cn=3,ou=a," + slapdBase + "\nchangetype: modify\ndelete: description\n\n" +
					one("cn=4,ou=a,"+slapdBase, "organizationalRole\ndescription: never") + removal("cn=4,ou=a,"+slapdBase))
			}
			if away {
				w.away(change)
			} else {
				change()
			}
			await(t, "what it matches now", shows("cn=1,ou=b,"+name, "cn=2,ou=a,"+name, "cn=3,ou=a,"+name))
			w.check()
			w.restart()
		})
	}
}

// R33, R35: a size limit gives some entries, result 4 and no Sync Done: nothing of it
// counts, at first and later.
func TestSlapdSizeLimit(t *testing.T) {
	w, s := followSlapd(t, ldaptest.SlapdOptions{Database: "limits anonymous size=8"})
	before := w.print()
	w.keepCookie("")
	w.away(func() {
		for i := range 5 {
			s.Apply(person(fmt.Sprintf("cn=more%d,ou=b,%s", i, slapdBase)))
		}
	})
	w.awaitReason("down", "only a part")
	if now := w.print(); now != before {
		t.Error(firstDifference(before, now))
	}
	w.add("t", "cn=There", w.source(s, slapdBase))
	await(t, "a first load of a part", func() bool {
		n := w.name("cn=There")
		return slices.Equal(n.Alarms, []string{"down", "no-lkg"}) && strings.Contains(n.Head.Reason, "only a part") && n.Entries == 0
	})
}

// R12: slapd ends what is idle, and not the search that persists.
func TestSlapdIdleTimeout(t *testing.T) {
	t.Parallel()
	w, s := followSlapd(t, ldaptest.SlapdOptions{Global: "idletimeout 1"})
	idle, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	must(t, err)
	defer idle.Close()
	must(t, idle.SetReadDeadline(time.Now().Add(20*time.Second)))
	if n, err := idle.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Fatalf("slapd sent %d bytes, %v", n, err)
	}
	before := w.liveSince()
	s.Apply(describe("cn=1,ou=a,"+slapdBase, "later"))
	w.awaitValues("cn=1,ou=a,"+name, "description", "later")
	if now := w.liveSince(); now != before {
		t.Errorf("the session began at %v and again at %v", before, now)
	}
}

// liveSince is when the session reached its persist stage.
func (w *world) liveSince() (at time.Time) {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() { at = w.e.claims["s"].current().Since }))
	return at
}

// R44: what slapd tells of that changes nothing but its own bookkeeping sends nothing
// downstream.
func TestSlapdIdempotentUpdate(t *testing.T) {
	w, s := followSlapd(t, ldaptest.SlapdOptions{})
	s.Apply(describe("cn=1,ou=a,"+slapdBase, "x"))
	w.awaitValues("cn=1,ou=a,"+name, "description", "x")
	csn, cookie := w.e.Version().CSN(), w.cookie()
	s.Apply(describe("cn=1,ou=a,"+slapdBase, "x"))
	await(t, "the update is known", func() bool { return w.cookie() > cookie })
	if now := w.e.Version().CSN(); now != csn {
		t.Errorf("contextCSN moved from %d to %d", csn, now)
	}
}
