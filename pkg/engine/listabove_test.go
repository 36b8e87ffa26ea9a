package engine

import (
	"fmt"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// R21: when an entry above found ones gets another name, and is not found itself, its
// server speaks of none of them. They are looked for again when their old places are
// seen to be empty, keep their content and UUIDs, and stand under their new names.
func TestRenamedAboveFoundEntries(t *testing.T) {
	const above = "dn: ou=Debian,o=Lists\nobjectClass: organizationalUnit\nou: Debian\n\n" +
		"dn: cn=Wheezy,ou=Debian,o=Lists\nobjectClass: organizationalRole\ncn: Wheezy\nst: found\n\n" +
		"dn: cn=slapd,cn=Wheezy,ou=Debian,o=Lists\nobjectClass: organizationalRole\ncn: slapd\n\n"
	for _, test := range []struct {
		name   string
		waits  bool // behind another claim: it is probed, not followed
		script func(s *ldaptest.Server)
	}{
		{"followed", false, func(s *ldaptest.Server) { s.Down(); must(t, s.Up()) }},
		{"waiting", true, func(*ldaptest.Server) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + above})
			w := newWorld(t)
			before := "cn=Debian Wheezy," + w.base()
			if test.waits {
				other := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
				w.add("first", "cn=Debian Wheezy", w.source(other, suffix))
				w.awaitLive(before)
			}
			w.list("dpkg", "cn=%(rdn1.ou)s %(attr.cn)s", s)
			await(t, "the entry is found", func() bool { return w.memberOf("dpkg") == before })
			if !test.waits {
				w.awaitLive(before)
			}
			id := remoteEntries(t, s, "cn=slapd,cn=Wheezy,ou=Debian,o=Lists")[0].id
			must(t, s.Rename("ou=Debian,o=Lists", "ou=Deb,o=Lists"))
			test.script(s)
			after := "cn=Deb Wheezy," + w.base()
			await(t, "the entry is found where it is", func() bool { return w.memberOf("dpkg") == after })
			w.awaitLive(after)
			await(t, "its content is there", func() bool { _, ok := w.content()["cn=slapd,"+after]; return ok })
			if got := w.uuid("cn=slapd," + after); got != id {
				t.Errorf("it has the UUID %s, and had %s", got, id)
			}
			w.check()
			w.restart()
		})
	}
}

// memberOf is the name of the one entry that a list found, "" before there is one.
func (w *world) memberOf(list string) string {
	w.t.Helper()
	found, err := w.e.Members(w.t.Context(), list)
	must(w.t, err)
	if len(found) != 1 || len(found[0].Names) != 1 {
		return ""
	}
	return found[0].Names[0].Name
}

func (w *world) base() string { return w.e.o.BaseDN.String() }

// R35: that a found entry is gone is for its list to say. What its own search says of
// it ends that search, and the content stays until then.
func TestFoundEntryGoneWaitsForItsList(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("told of it in a refresh ", away), func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
			w := newWorld(t)
			w.list("l", "cn=%(attr.l)s", s)
			at := "cn=A," + w.base()
			await(t, "the name", func() bool { _, ok := w.content()["cn=1,"+at]; return ok })
			w.awaitLive(at)
			var silent atomic.Bool
			silent.Store(true)
			s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				if q.Sync == nil || q.Base != listBase || !silent.Load() {
					return false, nil
				}
				<-q.Done
				return true, nil
			})
			s.Down()
			if !away {
				must(t, s.Up())
				w.awaitLive(at)
			}
			for _, dn := range []string{"cn=0,cn=a,o=Lists", "cn=1,cn=a,o=Lists", "cn=a,o=Lists"} {
				must(t, s.Delete(dn))
			}
			if away {
				must(t, s.Up())
			}
			await(t, "the search says so", func() bool { return w.name(at).Head.State == "down" })
			if _, there := w.content()[at]; !there {
				t.Error("the found entry is served no more, and its list has said nothing")
			}
			silent.Store(false)
			s.Down()
			must(t, s.Up())
			await(t, "the list's word", func() bool { return len(w.content()) == 0 })
			w.check()
			w.restart()
		})
	}
}

// R18: a found entry that leaves the filter of the content goes from it, though its
// list finds it still; what is below it stays.
func TestFoundEntryLeavesTheContentFilter(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	must(t, s.Modify("cn=a,o=Lists", "description", "wanted"))
	sub := w.listSub("l", "cn=%(attr.l)s", s)
	sub.ContentFilter = "(description=*)"
	_, err := w.e.AddSubscription(t.Context(), sub, false)
	must(t, err)
	at := "cn=A," + w.base()
	await(t, "all of it", func() bool { return len(w.content()) == 3 })
	w.awaitLive(at)
	must(t, s.Modify("cn=a,o=Lists", "description"))
	await(t, "it has left", func() bool { _, there := w.content()[at]; return !there })
	if now := w.content(); len(now) != 2 {
		t.Errorf("served are %q", now)
	}
	w.awaitLive(at)
	w.check()
	w.restart()
}
