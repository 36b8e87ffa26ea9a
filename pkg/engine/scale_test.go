package engine

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// failure is why nothing is written any more, "" while all is well.
func (w *world) failure() string {
	w.t.Helper()
	st, err := w.e.Status(w.t.Context())
	must(w.t, err)
	return st.Failure
}

// big is a value of n KiB.
func big(n int) string { return strings.Repeat("0123456789abcdef", 64*n) }

// R15, R56: values of any size that is taken go through, whatever comes with them.
func TestLargeValues(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	for _, kib := range []int{100, 600, 3000} {
		var ldif strings.Builder
		for i := range 12 {
			size := 1
			if i%3 == 1 {
				size = kib
			}
			fmt.Fprintf(&ldif, "dn: cn=%d-%d,ou=a,%s\nobjectClass: organizationalRole\ncn: %d-%d\ndescription: %s\n\n", kib, i, suffix, kib, i, big(size))
		}
		must(t, s.Add(ldif.String()))
		w.awaitEqual(s, suffix, name)
	}
	if f := w.failure(); f != "" {
		t.Error(f)
	}
	must(t, s.Rename("ou=a,"+suffix, "ou=c,"+suffix))
	w.awaitEqual(s, suffix, name)
	w.restart()
}

// R15: what is beyond all measure is the trouble of its source.
func TestTooLarge(t *testing.T) {
	deep := "cn=" + big(40) + "," + suffix
	tests := []struct {
		name, reason string
		say          func(p *syncrepl.Provider) error
	}{
		{"value", "attributes of", sayEntry("cn=x,"+suffix, runOf1("objectClass: organizationalRole", "cn: x", "description: "+big(62<<10)))},
		{"DN", "DN has", sayEntry(deep, role)},
		{"cookie", "cookie of", func(p *syncrepl.Provider) error { return p.NewCookie([]byte(big(2 << 10))) }},
		{"cookie in the end", "cookie of", func(p *syncrepl.Provider) error { return nil }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
			w := newWorld(t)
			w.add("s", "cn=Here", w.source(s, suffix))
			w.awaitEqual(s, suffix, name)
			healthy := w.neighbour()
			before := w.print()
			script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				cookie := q.Sync.Cookie
				if test.name == "cookie in the end" {
					cookie = []byte(big(2 << 10))
				}
				return true, errors.Join(p.EndDelete(cookie, true), test.say(p))
			})
			s.Down()
			must(t, s.Up())
			w.awaitReason("down", test.reason)
			if now := w.print(); now != before {
				t.Error(firstDifference(before, now))
			}
			w.seesSoon(healthy, "beside it")
			if f := w.failure(); f != "" {
				t.Error(f)
			}
			s.SetScript(nil)
			s.Down()
			must(t, s.Modify("ou=a,"+suffix, "description", "sane"))
			must(t, s.Up())
			await(t, "the sane change", func() bool { return strings.Contains(w.content()["ou=a,"+name], "sane") })
			w.check()
		})
	}
}

// watch has a reader look at every version that it can get hold of, until stop,
// which has it look at the newest once more.
func (w *world) watch(look func(v *tree.Version)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	e := w.e
	go func() {
		defer close(done)
		var last *tree.Version
		for {
			if v := e.Version(); v != last {
				look(v)
				last = v
			}
			select {
			case <-quit:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		look(e.Version())
	}
}

// oneStep changes something and wants every version that anyone can see to be
// either the one before or the one after.
func (w *world) oneStep(s *ldaptest.Server, change func() error) {
	w.t.Helper()
	before := uuidsOf(w.e.Version())
	var steps []map[string]dit.UUID
	stop := w.watch(func(v *tree.Version) { steps = append(steps, uuidsOf(v)) })
	must(w.t, change())
	w.awaitEqual(s, suffix, name)
	stop()
	after := uuidsOf(w.e.Version())
	for _, seen := range steps {
		if !maps.Equal(seen, before) && !maps.Equal(seen, after) {
			w.t.Errorf("a version of %d entries was seen, between %d and %d", len(seen), len(before), len(after))
		}
	}
	w.check()
	if f := w.failure(); f != "" {
		w.t.Fatal(f)
	}
}

func uuidsOf(v *tree.Version) map[string]dit.UUID {
	out := map[string]dit.UUID{}
	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
		out[string(c.Entry().DN())] = c.Entry().Row().UUID
	}
	return out
}

// subtree makes LDIF of an entry with n entries below it, in tens.
func subtree(dn, cn string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: organizationalRole\ncn: %s\n\n", dn, cn)
	for i := range n {
		parent := dn
		if i%10 != 0 {
			parent = fmt.Sprintf("cn=%d,%s", i/10*10, dn)
		}
		fmt.Fprintf(&b, "dn: cn=%d,%s\nobjectClass: organizationalRole\ncn: %d\nstreet: %s\n\n", i, parent, i, strings.Repeat("x", i%50))
	}
	return b.String()
}

// R12, R35, R56: a change of a large subtree in the persist stage shows in one step.
func TestLargeSubtrees(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + subtree("cn=top,ou=a,"+suffix, "top", 700)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	top := "cn=top,ou=a," + suffix
	w.oneStep(s, func() error { return s.Rename(top, "cn=renamed,ou=a,"+suffix) })
	w.restart()
	w.awaitLive(name)
	w.oneStep(s, func() error { return s.Rename("cn=renamed,ou=a,"+suffix, "cn=moved,ou=b,"+suffix) })
	must(t, s.Add(subtree("cn=more,cn=moved,ou=b,"+suffix, "more", 600)))
	w.awaitEqual(s, suffix, name)
	w.oneStep(s, func() error { return s.Rename("cn=more,cn=moved,ou=b,"+suffix, "cn=more,"+suffix) })
	w.oneStep(s, func() error { return s.Rename("cn=more,"+suffix, "cn=more,cn=moved,ou=b,"+suffix) })
	w.restart()
	w.awaitLive(name)

	// The upstream names the top alone, as when it moves out of the scope.
	w.oneStep(s, func() error {
		id := w.uuid("cn=moved,ou=b," + name)
		script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			return true, errors.Join(p.EndDelete(q.Sync.Cookie, true), p.Entry(syncrepl.StateDelete, id, "", nil, q.Sync.Cookie))
		})
		s.Down()
		if err := s.Delete("cn=moved,ou=b," + suffix); err != nil {
			return err
		}
		return s.Up()
	})
	if n := len(w.content()); n != 3 {
		t.Errorf("%d entries are left", n)
	}
	s.SetScript(nil)
	w.restart()
	w.awaitEqual(s, suffix, name)
}

// uuid is the published UUID of a local DN.
func (w *world) uuid(dn string) dit.UUID {
	w.t.Helper()
	return w.e.Version().Row(w.find(dn)).UUID
}

// R12, R33, R35, R44: a large first load shows in one step, survives a restart
// byte for byte, and a full reload that brings nothing new writes nothing.
func TestLargeRefresh(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	var loads atomic.Int32
	stream := func(p *syncrepl.Provider) error {
		err := p.Entry(syncrepl.StateAdd, testUUID(-1), suffix, runOf1("objectClass: organization", "o: Source"), nil)
		for i := 0; i < largeRefresh-1 && err == nil; i++ {
			n := fmt.Sprint(i)
			err = p.Entry(syncrepl.StateAdd, testUUID(i), "cn="+n+","+suffix, runOf1("objectClass: organizationalRole", "cn: "+n), nil)
		}
		return errors.Join(err, p.EndDelete(fmt.Append(nil, "load ", loads.Add(1)), true))
	}
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if len(q.Sync.Cookie) > 0 {
			return true, p.Fail(4096, "reload")
		}
		return true, stream(p)
	})
	sizes := map[int]bool{}
	stop := w.watch(func(v *tree.Version) { sizes[v.Len()] = true })
	w.add("s", "cn=Here", w.source(s, suffix))
	await(t, "the large refresh", func() bool { return w.e.Version().Len() > 1 })
	stop()
	if want := map[int]bool{1: true, largeRefresh + 1: true}; !maps.Equal(sizes, want) {
		t.Errorf("a reader saw the sizes %v", sizes)
	}
	w.awaitLive(name)
	v := w.e.Version()
	csn := v.CSN()
	if n := len(w.changes(v.Row(v.Root()).CSN)); n != largeRefresh {
		t.Errorf("%d changes are logged, not %d", n, largeRefresh)
	}
	before := loads.Load() // the check of an addition begins one too
	w.restart()
	await(t, "the reload", func() bool { return loads.Load() > before })
	w.awaitLive(name)
	if now := w.e.Version().CSN(); now != csn {
		t.Errorf("a reload that brought nothing took contextCSN from %d to %d", csn, now)
	}
	if again := w.changes(csn); len(again) != 0 {
		t.Errorf("%d changes were logged by a reload that brought nothing", len(again))
	}
	if f := w.failure(); f != "" {
		t.Error(f)
	}
	w.check()
}

// changes is the change log after a CSN.
func (w *world) changes(after dit.CSN) (list []store.Change) {
	w.t.Helper()
	ok, err := w.store.Changes(after, func(c store.Change) error {
		list = append(list, c)
		return nil
	})
	must(w.t, err)
	if !ok {
		w.t.Fatalf("the change log does not reach back to %d", after)
	}
	return list
}
