package engine

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// gate is a log that holds who says that the index is being made, until it is opened.
type gate struct {
	open func()
	held chan struct{} // until it is closed
	mu   sync.Mutex
	said []string
}

func (g *gate) Enabled(context.Context, slog.Level) bool { return true }
func (g *gate) WithAttrs([]slog.Attr) slog.Handler       { return g }
func (g *gate) WithGroup(string) slog.Handler            { return g }

func (g *gate) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the index is ") {
		g.mu.Lock()
		g.said = append(g.said, r.Message)
		g.mu.Unlock()
		<-g.held
	}
	return nil
}

func (g *gate) says(part string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.said, func(s string) bool { return strings.Contains(s, part) })
}

// hold restarts the engine; its index is not begun until the gate is opened.
func (w *world) hold() *gate {
	w.t.Helper()
	g := &gate{held: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.held) })
	w.t.Cleanup(g.open)
	w.close()
	w.log = g
	w.open()
	await(w.t, "the index is begun", func() bool { return g.says("being made") })
	if w.e.Version().Indexed() {
		w.t.Fatal("the index is there from the first on: nothing is tried")
	}
	return g
}

// people are entries with attributes that the index has.
func people(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\ndn: uid=u%d,ou=%s,%s\nobjectClass: account\nuid: u%d\ndescription: 0\n", i, []string{"a", "b"}[i%2], suffix, i)
	}
	return b.String()
}

// answers compares searches that an index answers with looks at every entry.
func (w *world) answers() {
	w.t.Helper()
	v := w.e.Version()
	filters := []string{"(objectClass=account)", "(uid=nobody)", "(&(objectClass=account)(uid=u3))", "(|(uid=u1)(uid=v1)(uid=w1))"}
	for i := range 12 {
		filters = append(filters, fmt.Sprintf("(uid=u%d)", i), fmt.Sprintf("(uid=v%d)", i))
	}
	for _, text := range filters {
		f, err := dit.ParseFilter(text)
		must(w.t, err)
		m := dit.Compile(w.schema, f)
		var want, got []string
		for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
			e := c.Entry()
			if m.Match(string(e.DN()), e.User(), e.Oper()) == dit.True {
				want = append(want, string(e.DN()))
			}
		}
		for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub, Matcher: m}); c.Next(); {
			got = append(got, string(c.Entry().DN()))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			w.t.Fatalf("%s, the index there: %v: %q, want %q", text, v.Indexed(), got, want)
		}
	}
}

// stir changes what the source has, at random.
func stir(t *testing.T, s *ldaptest.Server, rnd *rand.Rand) {
	i := rnd.IntN(12)
	for _, at := range []string{"u", "v"} {
		for _, ou := range []string{"a", "b"} {
			dn, other := fmt.Sprintf("uid=%s%d,ou=%s,%s", at, i, ou, suffix), fmt.Sprintf("uid=%s%d,ou=%s,%s", map[string]string{"u": "v", "v": "u"}[at], i, ou, suffix)
			var err error
			switch rnd.IntN(4) {
			case 0:
				err = s.Modify(dn, "uid", fmt.Sprint(at, i), fmt.Sprint("w", rnd.IntN(3)))
			case 1:
				err = s.Rename(dn, other)
			case 2:
				err = s.Delete(dn)
			case 3:
				err = s.Add(fmt.Sprintf("dn: %s\nobjectClass: account\nuid: %s%d\n", dn, at, i))
			}
			if err != nil && !strings.Contains(err.Error(), "no entry") && !strings.Contains(err.Error(), "exists") {
				t.Fatal(err)
			}
		}
	}
}

// R33, R38: what was stored is served before its index is made; searches are right then, and with changes, another
// refresh and names that come and go meanwhile they are when it is there.
func TestSearchesBesideIndexing(t *testing.T) {
	for seed := range uint64(4) {
		s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + people(40)})
		w := newWorld(t)
		w.add("s", "cn=Here", w.source(s, suffix))
		w.awaitLive(name)
		g, rnd := w.hold(), rand.New(rand.NewPCG(seed, 9))
		w.answers()
		follow := func() {
			stir(t, s, rnd)
			w.awaitEqual(s, suffix, name)
			w.answers()
		}
		follow()
		w.add("again", "cn=There", w.source(s, suffix))
		w.awaitLive("cn=There," + baseDN)
		w.answers()
		_, err := w.e.RemoveSubscription(t.Context(), "again", false)
		must(t, err)
		w.endLingers()
		follow()
		if w.e.Version().Indexed() {
			t.Fatal("the index is there too early")
		}
		before := w.print()
		g.open()
		await(t, "the index", w.e.indexedNow)
		if after := w.print(); after != before {
			t.Fatalf("with the index the tree is another\n%s", firstDifference(before, after))
		}
		for range 4 {
			follow()
		}
		if !w.e.indexedNow() || !g.says("the index is there") {
			t.Error("the index is gone, or nobody was told of it")
		}
		w.close()
	}
}

func (e *Engine) indexedNow() bool { return e.Version().Indexed() }

// Changes go on while the index is made.
func TestIndexingUnderChanges(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + people(1500)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	g, rnd := w.hold(), rand.New(rand.NewPCG(1, 1))
	g.open()
	for !w.e.indexedNow() {
		stir(t, s, rnd)
		w.answers()
	}
	w.awaitEqual(s, suffix, name)
	w.answers()
}

// The writer takes up no more than a little: for more it sends back.
func TestIndexingFarBehind(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.hold()
	must(t, w.e.do(t.Context(), func() {
		x := w.e.Version().Index()
		if given, err := w.e.giveIndex(t.Context(), x, 0); given || err != nil || w.e.Version().Indexed() {
			t.Errorf("given: %v, %v", given, err)
		}
		must(t, x.Reach(t.Context(), w.e.Version()))
		if given, err := w.e.giveIndex(t.Context(), x, 0); !given || err != nil || !w.e.Version().Indexed() || w.e.newest != w.e.Version() {
			t.Errorf("given: %v, %v", given, err)
		}
	}))
	w.answers()
}

// R15: a shutdown does not wait for the index, and the next start makes it.
func TestCloseWhileIndexing(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + people(40)})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	g, closed := w.hold(), make(chan struct{})
	go func() {
		defer close(closed)
		w.e.Close()
	}()
	<-w.e.done
	g.open()
	<-closed
	if w.e.indexedNow() || g.says("the index is not made") || g.says("the index is there") {
		t.Errorf("it went on, or told of a fault: %q", g.said)
	}
	w.restart()
	await(t, "the index", w.e.indexedNow)
	w.answers()
}

// R33: values that cannot be read back leave searches to walk until they can be, and everything else as it is.
func TestIndexingUnreadable(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: "o=shelves", LDIF: shelves()})
	w, o := newBounded(t)
	w.add("shelves", "cn=Shelves", w.source(s, "o=shelves"))
	w.awaitLive("cn=Shelves")
	g := w.hold()
	w.awaitLive("cn=Shelves")
	o.breaks(true)
	g.open()
	await(t, "it is told", func() bool { return g.says("the index is not made") })
	o.breaks(false)
	must(t, s.Add("dn: cn=new,ou=u2,o=shelves\nobjectClass: device\ncn: new\n"))
	w.awaitEqual(s, "o=shelves", "cn=Shelves,"+baseDN)
	w.answers()
	await(t, "the index", w.e.indexedNow)
	w.answers()
	if f := w.failure(); f != "" {
		t.Errorf("failure %q", f)
	}
}
