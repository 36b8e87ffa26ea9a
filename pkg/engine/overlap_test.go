package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// read makes sure that all that was said before has been taken: what it sends
// means nothing, and is more than the sockets between can hold.
func read(p *syncrepl.Provider) (err error) {
	body := ber.AppendString(nil, ber.ContextPrimitive(0), "1.3.6.1.4.1.4203.666.1")
	body = ber.AppendString(body, ber.ContextPrimitive(1), huge)
	m := ber.AppendBytes(ber.AppendInt(nil, ber.Integer, p.ID), ber.Tag(0x79), body)
	frame := ber.AppendBytes(nil, ber.Sequence, m)
	for range 16 {
		err = errors.Join(err, p.Write(frame))
	}
	return err
}

// inner serves a name inside another, with content of its own.
func (w *world) inner(id, place string) *ldaptest.Server {
	w.t.Helper()
	s := serve(w.t, ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	w.add(id, place, w.source(s, ldaptest.SuSeSuffix))
	w.awaitLive(place)
	return s
}

func (w *world) remove(id string) {
	w.t.Helper()
	_, err := w.e.RemoveSubscription(w.t.Context(), id, false)
	must(w.t, err)
}

// again has a server's sessions begin anew.
func again(t *testing.T, s *ldaptest.Server) {
	t.Helper()
	s.Down()
	must(t, s.Up())
}

// roles makes LDIF of an entry cn=p below the base with n entries below it.
func roles(n int) string {
	return "\n" + subtree("cn=p,"+suffix, "p", n)
}

// R7, R35: a name inside that comes and goes while a refresh is under way leaves
// the outer content as it was: what the refresh had called present comes back from hiding
// as other rows, and is not taken for gone.
func TestInnerNameComesAndGoesDuringRefresh(t *testing.T) {
	outer := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + roles(9)})
	third := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(outer, suffix))
	w.awaitEqual(outer, suffix, name)
	w.awaitLive(name)
	before := w.below(name)
	ids := []dit.UUID{}
	for dn, id := range uuidsOf(w.e.Version()) {
		if dn != baseDN {
			ids = append(ids, id)
		}
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	script(outer, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if string(q.Sync.Cookie) == "two" {
			return true, p.EndDelete(q.Sync.Cookie, true)
		}
		err := errors.Join(p.IDs(false, ids, nil), read(p))
		once.Do(func() { close(begun) })
		<-goOn
		return true, errors.Join(err, p.EndPresent([]byte("two"), true))
	})
	again(t, outer)
	<-begun
	place := "cn=p," + name
	w.inner("inner", place)
	w.add("third", "cn=There", w.source(third, "o=Other"))
	w.awaitLive("cn=There")
	w.remove("inner")
	if now := w.below(name); !maps.Equal(now, before) {
		t.Errorf("the name went, and there is %q, not %q", now, before)
	}
	close(goOn)
	await(t, "the refresh that called all present", func() bool { return w.cookie() == "two" })
	if now := w.below(name); !maps.Equal(now, before) {
		t.Errorf("after the refresh that called all present there is %q, not %q", now, before)
	}
	w.check()
	w.checkStored()
	w.restart()
}

// R7, R12: a hidden entry that one refresh deletes and brings again is there when
// the inner name goes; the last word counts beside the tree too.
func TestHiddenEntryDeletedAndBroughtAgain(t *testing.T) {
	attrs := runOf1("objectClass: organizationalRole", "cn: x")
	for _, test := range []struct {
		name  string
		say   func(p *syncrepl.Provider) error
		stays bool
	}{
		{name: "deleted, then as it was", stays: true, say: func(p *syncrepl.Provider) error {
			return errors.Join(p.IDs(true, []dit.UUID{testUUID(1)}, nil), p.Entry(syncrepl.StateAdd, testUUID(1), "cn=x,"+suffix, attrs, nil))
		}},
		{name: "as it was, then deleted", say: func(p *syncrepl.Provider) error {
			return errors.Join(p.Entry(syncrepl.StateAdd, testUUID(1), "cn=x,"+suffix, attrs, nil), p.IDs(true, []dit.UUID{testUUID(1)}, nil))
		}},
		{name: "changed, then deleted", say: func(p *syncrepl.Provider) error {
			return errors.Join(p.Entry(syncrepl.StateAdd, testUUID(1), "cn=x,"+suffix, slices.Concat(attrs, runOf1("description: y")), nil),
				p.IDs(true, []dit.UUID{testUUID(1)}, nil))
		}},
		{name: "present, then deleted", say: func(p *syncrepl.Provider) error {
			return errors.Join(p.IDs(false, []dit.UUID{testUUID(1)}, nil), p.IDs(true, []dit.UUID{testUUID(1)}, nil))
		}},
		{name: "deleted, changed", stays: true, say: func(p *syncrepl.Provider) error {
			return errors.Join(p.IDs(true, []dit.UUID{testUUID(1)}, nil),
				p.Entry(syncrepl.StateAdd, testUUID(1), "cn=x,"+suffix, slices.Concat(attrs, runOf1("description: y")), nil))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			outer := serve(t, ldaptest.Options{Suffix: suffix})
			w := newWorld(t)
			script(outer, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				switch string(q.Sync.Cookie) {
				case "":
					return true, errors.Join(p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil),
						p.Entry(syncrepl.StateAdd, testUUID(1), "cn=x,"+suffix, attrs, nil), p.EndDelete([]byte("one"), true))
				case "one":
					return true, errors.Join(test.say(p), p.EndDelete([]byte("two"), true))
				}
				return true, p.EndDelete(q.Sync.Cookie, true)
			})
			w.add("s", "cn=Here", w.source(outer, suffix))
			w.awaitLive(name)
			place := "cn=x," + name
			w.inner("inner", place)
			again(t, outer)
			await(t, "the second refresh", func() bool { return w.cookie() == "two" })
			w.remove("inner")
			if _, there := w.content()[place]; there != test.stays {
				t.Errorf("the hidden entry is there: %v, after the name went: %q", there, w.content())
			}
			w.check()
			w.restart()
		})
	}
}

// R12: an entry whose delete comes last in a refresh is gone, whatever was said
// of it before.
func TestDeleteAfterPresence(t *testing.T) {
	for _, how := range []string{"changed", "unchanged"} {
		t.Run(how, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
			w := newWorld(t)
			w.add("s", "cn=Here", w.source(s, suffix))
			w.awaitEqual(s, suffix, name)
			id := w.uuid("ou=a," + name)
			script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				if string(q.Sync.Cookie) == "two" {
					return true, p.EndDelete(q.Sync.Cookie, true)
				}
				var err error
				if how == "changed" {
					err = p.Entry(syncrepl.StateAdd, id, "ou=a,"+suffix, runOf1("objectClass: organizationalUnit", "ou: a", "description: changed"), nil)
				} else {
					err = p.IDs(false, []dit.UUID{id}, nil)
				}
				err = errors.Join(err, p.Entry(syncrepl.StateDelete, id, "ou=a,"+suffix, nil, nil))
				return true, errors.Join(err, p.EndDelete([]byte("two"), true))
			})
			again(t, s)
			await(t, "the second refresh", func() bool { return w.cookie() == "two" })
			if _, there := w.content()["ou=a,"+name]; there {
				t.Error("ou=a is served though its delete came last")
			}
			w.restart()
		})
	}
}

// R7, R12: an upstream that moves a subtree out of its scope names the top alone.
// What an inner name hides below that top goes with it, in a refresh and in the
// persist stage, with a filter for everything in any spelling.
func TestNoGhostsBelowAnInnerName(t *testing.T) {
	const child = "\ndn: cn=x,ou=a,o=Source\nobjectClass: organizationalRole\ncn: x\n"
	for _, test := range []struct {
		filter         string
		hide, persists bool
	}{
		{"", true, true}, {"", true, false}, {"(objectclass=*)", true, true}, {"(OBJECTCLASS=*)", false, true}, {"(OBJECTCLASS=*)", true, false},
		{"(2.5.4.0=*)", false, true}, {"(2.5.4.0=*)", true, false},
	} {
		t.Run(fmt.Sprintf("filter %q, hidden %v, persists %v", test.filter, test.hide, test.persists), func(t *testing.T) {
			outer := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + child})
			w := newWorld(t)
			src := w.source(outer, suffix)
			if test.filter != "" {
				src.Filter = test.filter
			}
			w.add("s", "cn=Here", src)
			w.awaitEqual(outer, suffix, name)
			w.awaitLive(name)
			id := w.uuid("ou=a," + name)
			place := "cn=x,ou=a," + name
			if test.hide {
				w.inner("inner", place)
			}
			script(outer, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				if test.persists {
					return true, errors.Join(p.EndDelete(q.Sync.Cookie, true), p.Entry(syncrepl.StateDelete, id, "", nil, []byte(later)))
				}
				return true, errors.Join(p.IDs(true, []dit.UUID{id}, nil), p.EndDelete([]byte(later), true))
			})
			again(t, outer)
			await(t, "the move", func() bool { return w.cookie() == later })
			if test.hide {
				w.remove("inner")
			}
			if got := w.content(); got[place] != "" || len(got) != 2 {
				t.Errorf("what moved out is still served: %q", got)
			}
			w.check()
			w.restart()
		})
	}
}

// R41: UUIDs that were to be published by a refresh which could not be applied are
// not noted; those that are, by the next, are the same after a restart.
func TestPublishedUUIDsAfterARefreshThatFails(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("one", "cn=One", w.source(s, suffix))
	one := "cn=One," + baseDN
	w.awaitEqual(s, suffix, one)
	w.awaitLive("cn=One")
	ids := uuidsOf(w.e.Version())
	s2 := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	var tries atomic.Int32
	script(s2, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		err := errors.Join(
			p.Entry(syncrepl.StateAdd, ids[one], suffix, runOf1("objectClass: organization", "o: Source"), nil),
			p.Entry(syncrepl.StateAdd, ids["ou=a,"+one], "ou=a,"+suffix, runOf1("objectClass: organizationalUnit", "ou: a"), nil))
		if tries.Add(1) == 1 {
			err = errors.Join(err, p.Entry(syncrepl.StateAdd, testUUID(77), strings.Repeat("ou=x,", 200)+suffix, role, nil))
		}
		return true, errors.Join(err, p.EndDelete([]byte("c"), true))
	})
	w.add("s", "cn=Here", w.source(s2, suffix))
	w.awaitLive(name)
	if tries.Load() < 2 {
		t.Error("the refresh that cannot be applied was")
	}
	w.check()
	noted := 0
	must(t, w.store.Published(func(claim uint32, up, served dit.UUID) error { noted++; return nil }))
	if noted != 2 {
		t.Errorf("%d published lines are stored, not 2", noted)
	}
	w.restart()
	w.check()
}

// R33, R41: where a published line is lost, as by damage, two stored entries have
// one UUID. Neither takes the other's place: both names stay whole.
func TestLostPublishedLine(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.add("two", "cn=Two", w.source(s, suffix))
	w.awaitLive("cn=Two")
	n := len(w.content())
	s.Down()
	w.close()
	st, err := store.Open(w.dir, store.Options{})
	must(t, err)
	var gone []store.PublishedAs
	must(t, st.Published(func(c uint32, up, _ dit.UUID) error {
		gone = append(gone, store.PublishedAs{Claim: c, Upstream: up})
		return nil
	}))
	if len(gone) != 3 {
		t.Fatalf("%d published lines, not 3", len(gone))
	}
	must(t, st.Commit(&store.Batch{Published: gone[1:]}))
	must(t, st.Close())
	w.open()
	if m := len(w.content()); m != n {
		t.Errorf("%d entries before, %d after: one claim's entry was moved under the other's name", n, m)
	}
	w.check()
	w.restart()
	must(t, s.Up())
	must(t, s.Modify("ou=a,"+suffix, "description", "both"))
	await(t, "both go on", func() bool { return strings.Count(w.print(), `\x04both`) == 2 })
	w.check()
}
