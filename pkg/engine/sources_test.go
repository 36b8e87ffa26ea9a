package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// values gives an attribute's values at a local DN, sorted; nil where there is
// no entry.
func (w *world) values(dn, attr string) []string {
	w.t.Helper()
	parsed, err := dit.ParseDN(w.schema, dn)
	must(w.t, err)
	v := w.e.Version()
	at, _ := v.Find(parsed.Norm())
	e := v.Entry(at)
	var out []string
	for _, run := range []dit.Run{e.User(), e.Oper()} {
		for _, value := range run.Values(w.schema, w.schema.Attribute(attr)) {
			out = append(out, string(value))
		}
	}
	slices.Sort(out)
	return out
}

// awaitValues waits until an attribute has these values.
func (w *world) awaitValues(dn, attr string, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	await(w.t, fmt.Sprintf("%s of %s is %q, not %q", attr, dn, want, w.values(dn, attr)), func() bool {
		return slices.Equal(w.values(dn, attr), want)
	})
}

const groupLDIF = `dn: o=Source
objectClass: organization
o: Source
seeAlso: cn=group,o=Source

dn: cn=group,o=Source
objectClass: groupOfNames
cn: group
member: o=Source
member: cn=a, O=SOURCE
member: cn=a,o=Elsewhere
member: cn=a,ou=x,o=Sources
owner: cn=group,o=Source
`

// R6: DN values inside the moved subtree move with it, also when they change;
// others stay; all stay where the operator says so.
func TestDNValues(t *testing.T) {
	const group = "cn=group," + name
	for _, still := range []bool{false, true} {
		t.Run(fmt.Sprint("no rewrite ", still), func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: groupLDIF})
			w := newWorld(t)
			sub := Subscription{ID: "s", Name: "cn=Here", Source: w.source(s, suffix), NoDNRewrite: still}
			if _, err := w.e.AddSubscription(t.Context(), sub, false); err != nil {
				t.Fatal(err)
			}
			here := func(remote string) string {
				if still {
					return remote
				}
				return strings.TrimSuffix(remote, suffix) + name
			}
			w.awaitValues(name, "seeAlso", here("cn=group,"+suffix))
			inside := "cn=a, O=SOURCE"
			if !still {
				inside = "cn=a," + name
			}
			w.awaitValues(group, "member", here(suffix), inside, "cn=a,o=Elsewhere", "cn=a,ou=x,o=Sources")
			w.awaitValues(group, "owner", here(group[:len("cn=group,")]+suffix))
			must(t, s.Modify("cn=group,"+suffix, "member", "cn=new,"+suffix, "cn=new,o=Elsewhere"))
			w.awaitValues(group, "member", here("cn=new,"+suffix), "cn=new,o=Elsewhere")
			must(t, s.Modify(suffix, "seeAlso", "cn=other,"+suffix))
			w.awaitValues(name, "seeAlso", here("cn=other,"+suffix))
			w.restart()
			w.awaitValues(group, "member", here("cn=new,"+suffix), "cn=new,o=Elsewhere")
		})
	}
}

// R5: the moved base entry has its new RDN's value: instead of the old one where
// the type is SINGLE-VALUE, beside it otherwise; extensibleObject only where needed.
func TestMovedBaseEntry(t *testing.T) {
	tests := []struct {
		base, ldif, local    string
		attr                 string
		want                 []string
		also                 string
		alsoWant, classWants []string
	}{
		{"dc=debian", "objectClass: domain\ndc: debian\n", "dc=Wheezy", "dc", []string{"Wheezy"}, "description", nil, []string{"domain"}},
		{"dc=debian", "objectClass: domain\ndc: debian\n", "dc=DEBIAN", "dc", []string{"debian"}, "description", nil, []string{"domain"}},
		{"dc=debian", "objectClass: domain\ndc: debian\n", "ou=Debian", "ou", []string{"Debian"}, "dc", []string{"debian"}, []string{"domain", "extensibleObject"}},
		{"cn=a", "objectClass: organizationalRole\ncn: a\n", "cn=b", "cn", []string{"a", "b"}, "description", nil, []string{"organizationalRole"}},
		{"cn=a", "objectClass: organizationalRole\ncn: a\n", "ou=b", "ou", []string{"b"}, "cn", []string{"a"}, []string{"organizationalRole"}},
		{"cn=a", "objectClass: organizationalRole\ncn: a\n", "cn=b+l=c", "cn", []string{"a", "b"}, "l", []string{"c"}, []string{"organizationalRole"}},
		{"o=a", "objectClass: organization\no: a\n", "cn=b", "cn", []string{"b"}, "o", []string{"a"}, []string{"extensibleObject", "organization"}},
	}
	for _, test := range tests {
		t.Run(test.base+" to "+test.local, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: test.base, LDIF: "dn: " + test.base + "\n" + test.ldif})
			w := newWorld(t)
			w.add("s", test.local, w.source(s, test.base))
			dn := test.local + "," + baseDN
			for _, when := range []string{"first", "changed"} {
				w.awaitValues(dn, test.attr, test.want...)
				if test.also != "description" {
					w.awaitValues(dn, test.also, test.alsoWant...)
				}
				w.awaitValues(dn, "objectClass", test.classWants...)
				must(t, s.Modify(test.base, "description", when))
				w.awaitValues(dn, "description", when)
			}
			w.restart()
			w.awaitValues(dn, test.attr, test.want...)
		})
	}
}

// R11: beyond what was asked for there are objectClass, RDN and operational
// attributes; a change of anything else is no change (R44).
func TestAttributeSelection(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	src := w.source(s, suffix)
	src.Attributes = []string{"street", "l"}
	w.add("s", "cn=Here", src)
	a := "ou=a," + name
	w.awaitValues(a, "ou", "a")
	csn := w.e.Version().CSN()
	must(t, s.Modify("ou=a,"+suffix, "description", "hidden"))
	must(t, s.Modify("ou=b,"+suffix, "street", "seen"))
	w.awaitValues("ou=b,"+name, "street", "seen")
	if got := w.values(a, "description"); got != nil {
		t.Errorf("description is served: %q", got)
	}
	w.awaitValues(a, "objectClass", "organizationalUnit")
	if len(w.values(a, "createTimestamp")) != 1 {
		t.Error("operational attributes are not served")
	}
	if now := w.e.Version().Row(w.find(a)).CSN; now > csn {
		t.Error("a change of what is not taken gave a new CSN")
	}
	w.restart()
}

// R10: a simple bind with a password from a file; the wrong one, or none, is said.
func TestBind(t *testing.T) {
	const account = "cn=reader,o=Source"
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, RequireBind: true, Accounts: map[string]string{account: "secret"}})
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("wrong\n"), 0o600))
	src := w.source(s, suffix)
	src.BindDN, src.PasswordFile = account, file
	w.add("s", "cn=Here", src)
	w.awaitReason("down", "credentials")
	must(t, os.WriteFile(file, []byte("secret\nsecond line\n"), 0o600))
	w.awaitLive(name)
	w.awaitValues("ou=a,"+name, "ou", "a")
	for _, text := range []string{fmt.Sprintf("%+v", w.name(name)), w.print()} {
		if strings.Contains(text, "secret") {
			t.Errorf("the password shows: %s", text)
		}
	}
	w.restart()
	w.awaitLive(name)
}

// R13: a cookie goes to the server that gave it alone, unless it is of OpenLDAP's form.
func TestCookieOfAnotherServer(t *testing.T) {
	for cookie, portable := range map[string]bool{"opaque": false, "rid=000,csn=20200101000000.000000Z#000000#000#000000": true} {
		one, two := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF}), serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
		w := newWorld(t)
		script(one, func(_ ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			err := p.Entry(syncrepl.StateAdd, testUUID(1), suffix, runOf1("objectClass: organization", "o: Source"), nil)
			return true, errors.Join(err, p.EndDelete([]byte(cookie), true))
		})
		w.add("s", "cn=Here", w.source(one, suffix))
		w.awaitLive(name)
		must(t, w.e.do(t.Context(), func() {
			cl := w.e.claims["s"]
			cl.source = w.source(two, suffix)
			cl.taken = cl.origin() // as if both were servers of one source
			w.e.refollow(w.e.claims["s"], errors.New("a test"))
		}))
		w.awaitEqual(two, suffix, name)
		if first := two.Stats().Cookies[0]; (first == cookie) != portable {
			t.Errorf("after %q the other server got %q", cookie, first)
		}
	}
}

// R12, R35: deletions of every kind in the persist stage, and anew at the same DN.
func TestPersistDeletes(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + subtree("cn=top,ou=a,"+suffix, "top", 30)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	from := w.e.Version().CSN()
	must(t, s.Delete("cn=top,ou=a,"+suffix))
	must(t, s.Add(subtree("cn=top,ou=a,"+suffix, "top", 5)))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	w.checkLog(from)
	must(t, s.Delete(suffix))
	await(t, "the base is gone", func() bool { return len(w.content()) == 0 })
	w.awaitLive(name)
	s.Down()
	must(t, s.Up())
	w.awaitReason("down", "is not there")
	w.checkLog(from)
	w.restart()
	must(t, s.Add(sourceLDIF))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	w.checkLog(from)
	w.restart()
}

// R12: within one refresh the last word counts.
func TestLastWordOfRefresh(t *testing.T) {
	const x, y, z = 1, 2, 3
	s := serve(t, ldaptest.Options{Suffix: suffix})
	w := newWorld(t)
	put := func(p *syncrepl.Provider, id int, desc string) error {
		cn := fmt.Sprint(id)
		return p.Entry(syncrepl.StateAdd, testUUID(id), "cn="+cn+","+suffix, runOf1("objectClass: organizationalRole", "cn: "+cn, "description: "+desc), nil)
	}
	del := func(p *syncrepl.Provider, id int) error { return p.IDs(true, []dit.UUID{testUUID(id)}, nil) }
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if len(q.Sync.Cookie) > 0 {
			return true, p.EndDelete(q.Sync.Cookie, true)
		}
		return true, errors.Join(
			p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil),
			put(p, x, "old"), put(p, y, "old"), put(p, z, "gone"), del(p, z), put(p, 4, "one"), del(p, 4), put(p, 4, "two"),
			put(p, 5, "same"), put(p, 6, "same"), p.EndDelete([]byte("one"), true))
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.wantScene(map[int]string{x: "cn=1", y: "cn=2", 4: "cn=4", 5: "cn=5", 6: "cn=6"})
	w.restart()
	from := w.e.Version().CSN()
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if string(q.Sync.Cookie) == "two" {
			return true, p.EndDelete(q.Sync.Cookie, true)
		}
		return true, errors.Join(
			put(p, x, "new"), del(p, x), // changed, then deleted
			put(p, y, "old"), del(p, y), // unchanged, then deleted
			del(p, z), put(p, z, "back"),
			del(p, 4), put(p, 4, "two"), // deleted, then as it was
			put(p, 5, "new"), del(p, 5), put(p, 5, "same"), // changed, deleted, as it was
			put(p, 7, "never"), del(p, 7), p.EndDelete([]byte("two"), true))
	})
	s.Down()
	must(t, s.Up())
	await(t, "the second refresh", func() bool { return w.cookie() == "two" })
	w.wantScene(map[int]string{z: "cn=3", 4: "cn=4", 5: "cn=5", 6: "cn=6"})
	w.awaitValues("cn=5,"+name, "description", "same")
	w.checkLog(from)
	w.restart()
}

// R33, invariants 7 and 9: a copy of the store taken at any moment opens, and shows
// what the change log has for that moment.
func TestCrashAnywhere(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	r := rand.New(rand.NewPCG(3, 3))
	var copies []string
	var last []dit.CSN
	for round := range 10 {
		if round == 5 {
			s.Down()
		}
		for range 5 {
			randomWrites(t, r, s)
		}
		must(t, s.Up())
		await(t, "something of it", func() bool { return len(w.content()) > 0 })
		dir := filepath.Join(t.TempDir(), "copy")
		copyStore(t, w.dir, dir)
		must(t, w.e.do(t.Context(), func() {})) // what was on disk already is published then
		copies, last = append(copies, dir), append(last, w.e.Version().CSN())
	}
	w.awaitEqual(s, suffix, name)
	s.Down()
	for i, dir := range copies {
		c := &world{t: t, dir: dir, schema: w.schema}
		c.open()
		t.Cleanup(c.close)
		c.check()
		v := c.e.Version()
		got := map[dit.UUID]bool{}
		for _, id := range uuidsOf(v) {
			got[id] = true
		}
		if want := w.uuidsAt(v.CSN()); !maps.Equal(got, want) {
			t.Errorf("copy %d has %d entries at %d, the change log %d", i, len(got), v.CSN(), len(want))
		}
		if v.CSN() > last[i] {
			t.Errorf("copy %d has contextCSN %d, it was %d after it was taken", i, v.CSN(), last[i])
		}
		c.restart()
	}
}

// uuidsAt replays the change log up to a CSN.
func (w *world) uuidsAt(csn dit.CSN) map[dit.UUID]bool {
	w.t.Helper()
	root := w.e.Version().Row(w.e.Version().Root())
	model := map[dit.UUID]bool{root.UUID: true}
	for _, c := range w.changes(root.CSN) {
		switch {
		case c.CSN > csn:
		case c.Kind == store.ChangeDelete:
			delete(model, c.UUID)
		default:
			model[c.UUID] = true
		}
	}
	return model
}

// copyStore copies a directory whose files are being written, as a crash may leave
// it: the end of a log can be torn.
func copyStore(t *testing.T, from, to string) {
	t.Helper()
	must(t, copySparse(from, to))
}

// R33: with a store that takes no more writes serving goes on, and the status says why.
func TestStoreFails(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	before := w.print()
	must(t, w.store.Close())
	must(t, s.Modify("ou=a,"+suffix, "description", "lost"))
	await(t, "the failure shows", func() bool { return strings.Contains(w.failure(), "takes no more writes") })
	must(t, s.Modify("ou=b,"+suffix, "description", "lost too"))
	w.awaitReason("down", "takes no more writes")
	if now := w.print(); now != before {
		t.Error(firstDifference(before, now))
	}
	if _, err := w.e.AddSubscription(t.Context(), Subscription{ID: "t", Name: "cn=There", Source: w.source(s, suffix)}, false); err == nil {
		t.Error("a subscription was added")
	}
	tries := s.Stats().Connections
	await(t, "it is tried again, with pauses", func() bool { return s.Stats().Connections >= tries+10 })
	w.restartAfterFailure()
	w.awaitEqual(s, suffix, name)
	w.check()
}

// R33: a failure of the store is told also where no commit of the engine's has met it.
func TestStoreFailsUnasked(t *testing.T) {
	w := newWorld(t)
	w.close()
	w.space = func() (store.Space, error) { return store.Space{Free: 1 << 40, Total: 1 << 41, Files: -1}, nil }
	w.open()
	elsewhere := w.dir + ".away"
	must(t, os.Rename(w.dir, elsewhere)) // badger cannot begin the next of its logs of large values
	stage, err := w.store.Stage(60_000)
	must(t, err)
	large := make([]byte, store.MaxValue*5/8) // two fill the first
	for i := range 3 {
		err = errors.Join(err, stage.Put(dit.UUID{byte(i)}, uint32(i), large))
	}
	if err = errors.Join(err, stage.Sync(t.Context())); !errors.Is(err, store.ErrFailed) {
		t.Errorf("the stage: %v", err)
	}
	await(t, "the failure shows", func() bool { return strings.Contains(w.failure(), "takes no more writes") })
	must(t, os.Rename(elsewhere, w.dir))
}

// restartAfterFailure opens the store again after it failed.
func (w *world) restartAfterFailure() {
	w.t.Helper()
	before := uuidsOf(w.e.Version())
	w.close()
	w.open()
	if now := uuidsOf(w.e.Version()); fmt.Sprint(now) != fmt.Sprint(before) {
		w.t.Errorf("the tree is %v, it was %v", now, before)
	}
}
