package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/alarm"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/store"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

const baseDN = "ou=Package Listers"

// world is an engine over a store on disk, and the servers it follows.
type world struct {
	t      *testing.T
	dir    string
	schema *schema.Schema
	store  *store.Store
	e      *Engine
	// now and delays are the next engine's; alarms are raised at once by default.
	now    func() time.Time
	delays alarm.Delays
	guard  *Guard        // nil: off, as tests empty sources for other reasons
	look   time.Duration // how often a held source is read again
	// promotion is the next engine's limit; 0: the default.
	promotion time.Duration
	refreshed func(RefreshOutcome, time.Duration) // the next engine's
	space     func() (store.Space, error)         // of the next store's disk; nil: the real one
	memory    *tree.Memory                        // the next engine's
	log       slog.Handler                        // the next engine's; nil: kept nowhere
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := schema.Bundled().Extend(schema.File{Name: "story.schema", Text: []byte(ldaptest.StorySchema)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), schema: s, delays: alarm.Delays{Down: -1}}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	w.openStore()
	w.openEngine()
}

func (w *world) openStore() {
	w.t.Helper()
	var err error
	await(w.t, "the store is free: a program that is being started beside it has its lock for a moment", func() bool {
		w.store, err = store.Open(w.dir, store.Options{Space: w.space})
		return !errors.Is(err, store.ErrLocked)
	})
	must(w.t, err)
}

func (w *world) openEngine() {
	w.t.Helper()
	base, err := dit.ParseDN(w.schema, baseDN)
	if err != nil {
		w.t.Fatal(err)
	}
	guard := w.guard
	if guard == nil {
		guard = &Guard{Off: true}
	}
	log := w.log
	if log == nil {
		log = slog.DiscardHandler
	}
	w.e, err = Open(Options{
		Store: w.store, Schema: w.schema, BaseDN: base, Log: slog.New(log), ProbeEvery: 50 * time.Millisecond,
		AlarmDelays: w.delays, PromotionLimit: w.promotion, Now: w.now, Guard: guard, Refreshed: w.refreshed, Memory: w.memory,
		Upstream: upstream.Options{MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, HeldPause: w.look},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	if w.e == nil {
		return
	}
	w.e.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
	w.e = nil
}

// restart closes everything and opens it again; the tree must be the same, byte for byte.
func (w *world) restart() {
	w.t.Helper()
	last := w.e
	w.close()
	before := w.printOf(last.Version())
	w.open()
	if after := w.print(); after != before {
		w.t.Fatalf("after a restart the tree differs\n%s", firstDifference(before, after))
	}
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range la {
		if i >= len(lb) || la[i] != lb[i] {
			other := ""
			if i < len(lb) {
				other = lb[i]
			}
			return fmt.Sprintf("line %d\nwas %s\nis  %s", i+1, la[i], other)
		}
	}
	return fmt.Sprintf("%d lines more", len(lb)-len(la))
}

// print is the whole tree with every attribute, in the order of a search.
func (w *world) print() string { return w.printOf(w.e.Version()) }

func (w *world) printOf(v *tree.Version) string {
	var b strings.Builder
	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
		e := c.Entry()
		fmt.Fprintf(&b, "%s\n%q\n", e.DN(), append(append(append(dit.Run(nil), e.User()...), e.Oper()...), e.AppendComputed(nil)...))
	}
	return b.String()
}

// server is a scripted one or a real slapd.
type server interface{ URL() string }

func (w *world) source(s server, base string) upstream.Source {
	src, _, err := upstream.ParseURL(s.URL() + "/" + strings.ReplaceAll(base, " ", "%20"))
	if err != nil {
		w.t.Fatal(err)
	}
	return src
}

func (w *world) add(id, name string, src upstream.Source) *Added {
	w.t.Helper()
	out, err := w.e.AddSubscription(context.Background(), Subscription{ID: id, Name: name, Source: src}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) name(dn string) *Name {
	w.t.Helper()
	n, err := w.e.Name(context.Background(), dn)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// patience is how long a test waits for what takes milliseconds on an idle machine.
const patience = time.Minute

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

func (w *world) awaitLive(dn string) {
	w.t.Helper()
	await(w.t, dn+" is live", func() bool { return w.name(dn).Head.State == "live" })
}

// content is what an entry is compared by: its UUID and one attribute.
func (w *world) content() map[string]string {
	v := w.e.Version()
	out := map[string]string{}
	at := w.schema.Attribute("description")
	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
		e := c.Entry()
		if row := e.Row(); row.Claim != 0 {
			out[string(e.DN())] = fmt.Sprintf("%s %q", row.UUID, slices.Sorted(values(e.User().Values(w.schema, at))))
		}
	}
	return out
}

func values(list [][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range list {
			if !yield(string(v)) {
				return
			}
		}
	}
}

// upstreamContent asks a server the same, with its DNs moved to name.
func (w *world) upstreamContent(s server, base, name string) map[string]string {
	w.t.Helper()
	c, err := ldap.DialURL(s.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"description", "entryUUID"}, nil))
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range res.Entries {
		dn := strings.TrimSuffix(e.DN, base) + name
		out[dn] = fmt.Sprintf("%s %q", e.GetAttributeValue("entryUUID"), slices.Sorted(slices.Values(e.GetAttributeValues("description"))))
	}
	return out
}

// awaitEqual waits until the tree shows what the server has.
func (w *world) awaitEqual(s server, base, name string) {
	w.t.Helper()
	want := w.upstreamContent(s, base, name)
	var got map[string]string
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if got = w.content(); maps.Equal(got, want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			for dn := range want {
				if got[dn] != want[dn] {
					w.t.Errorf("%s: %q here, %q there", dn, got[dn], want[dn])
				}
			}
			for dn := range got {
				if _, ok := want[dn]; !ok {
					w.t.Errorf("%s is here and not there", dn)
				}
			}
			w.t.Fatalf("the tree does not follow: %+v", w.name(name))
		}
	}
}

// check verifies what holds of every version: parents, the RDN's value, UUIDs
// that are unique, CSNs below the context's.
func (w *world) check() {
	w.t.Helper()
	v := w.e.Version()
	uuids := map[dit.UUID]string{}
	for c := v.Search(tree.Query{Base: v.Root(), Scope: tree.Sub}); c.Next(); {
		e := c.Entry()
		row := e.Row()
		dn, err := dit.ParseDN(w.schema, string(e.DN()))
		if err != nil {
			w.t.Fatal(err)
		}
		if other, twice := uuids[row.UUID]; twice {
			w.t.Errorf("%s and %s share the entryUUID %s", dn, other, row.UUID)
		}
		uuids[row.UUID] = dn.String()
		if row.CSN > v.CSN() || row.CSN == 0 {
			w.t.Errorf("%s has CSN %d of %d", dn, row.CSN, v.CSN())
		}
		for _, ava := range dn.RDN(0).AVAs() {
			at := w.schema.Attribute(ava.Type)
			if len(e.User().Values(w.schema, at)) == 0 {
				w.t.Errorf("%s lacks its RDN's %s", dn, ava.Type)
			}
		}
	}
}

func serve(t *testing.T, o ldaptest.Options) *ldaptest.Server {
	t.Helper()
	s, err := ldaptest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// later is a cookie of the form that the scripted servers give, newer than any of theirs:
// one of another kind would have the refresh done again in full.
const later = "rid=000,csn=20991231235959.000000Z#000000#000#000000"

// endLingers has the time be over for all content of removed heads.
func (w *world) endLingers() {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		w.e.o.PromotionLimit = 1
		w.e.endLingers()
		w.e.o.PromotionLimit = DefaultPromotionLimit
		if len(w.e.lingering) > 0 {
			w.t.Errorf("%d names show content of removed heads still", len(w.e.lingering))
		}
	}))
}
