package ldapd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// hoard is a follower's copy: DN and attributes by UUID. As slapd, it takes no entry in a refresh
// whose entryCSN is no newer than its cookie, none whose entryCSN is no newer than that of
// what it has, and no message whose cookie is no newer than the last.
type hoard struct {
	entries map[dit.UUID]string
	dates   map[dit.UUID]string
	named   map[dit.UUID]bool
	cookie  []byte
	ended   bool // the refresh is over
}

func newHoard() *hoard {
	return &hoard{entries: map[dit.UUID]string{}, dates: map[dit.UUID]string{}, named: map[dit.UUID]bool{}}
}

// csnIn is the CSN of a cookie; "" without one.
func csnIn(cookie []byte) string {
	if c, ok := syncrepl.ParseCookie(cookie); ok && len(c.CSNs) == 1 {
		return c.CSNs[0]
	}
	return ""
}

// put takes an entry, unless slapd would not.
func (h *hoard) put(m *syncrepl.Message) {
	date := ""
	if v := dit.Run(m.Attrs).Values(bundled(), bundled().Attribute("entryCSN")); len(v) == 1 {
		date = string(v[0])
	}
	if held := h.dates[m.UUID]; date != "" && (!h.ended && date <= csnIn(h.cookie) || h.entries[m.UUID] != "" && date <= held) {
		return
	}
	h.entries[m.UUID], h.dates[m.UUID] = stored(string(m.DN), m.Attrs), date
}

// take applies a message; done when the search is at its end.
func (h *hoard) take(t *testing.T, m *syncrepl.Message) (done bool) {
	t.Helper()
	if h.ended && m.HasCookie && csnIn(m.Cookie) <= csnIn(h.cookie) {
		t.Errorf("%s with cookie %s after %s", say(*m), m.Cookie, h.cookie)
	}
	present := m.Kind == syncrepl.KindRefreshPresent && m.RefreshDone || m.Kind == syncrepl.KindDone && !m.RefreshDeletes
	switch m.Kind {
	case syncrepl.KindEntry:
		h.named[m.UUID] = true
		if m.State == syncrepl.StateDelete {
			if h.entries[m.UUID] == "" && h.ended {
				t.Errorf("%s is deleted, which was never sent", m.DN)
			}
			delete(h.entries, m.UUID)
		} else {
			h.put(m)
		}
	case syncrepl.KindIDSet:
		for _, u := range m.IDs {
			if m.RefreshDeletes {
				delete(h.entries, u)
			} else {
				h.named[u] = true
			}
		}
	case syncrepl.KindDone:
		if done = true; m.Code != 0 {
			t.Fatalf("result %d: %s", m.Code, m.Diagnostic)
		}
	}
	if m.HasCookie {
		h.cookie = slices.Clone(m.Cookie)
	}
	if present && !h.ended {
		maps.DeleteFunc(h.entries, func(u dit.UUID, _ string) bool { return !h.named[u] })
	}
	h.ended = h.ended || m.RefreshDone || done
	return done
}

func (h *hoard) all() []string { return slices.Sorted(maps.Values(h.entries)) }

// stored is an entry as text, without what changes while it does not.
func stored(dn string, run dit.Run) string {
	out := dn
	for desc, vals, rest, ok := run.Next(); ok; desc, vals, rest, ok = rest.Next() {
		if !notStored(string(desc)) {
			out += fmt.Sprintf("\n%s %q", desc, vals)
		}
	}
	return out
}

// visible is what a search gives the same client, sorted.
func visible(t *testing.T, c *client, id int64, q query) (out []string) {
	t.Helper()
	for _, r := range c.search(id, q) {
		if r.op != tagEntry {
			if r.code != 0 && r.code != 32 && r.code != 50 {
				t.Fatalf("%+v", r)
			}
			continue
		}
		var run dit.Run
		for _, name := range r.names {
			run = dit.AppendAttr(run, name, r.attrs[name]...)
		}
		out = append(out, stored(r.dn, run))
	}
	slices.Sort(out)
	return out
}

// randomRules give all or nothing of entries and attributes; the bases of the
// searches are there.
func randomRules(r *rand.Rand) []access.Rule {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	rules := []access.Rule{{Who: "anonymous", Filter: "(|(ou=*)(cn=top))", Allow: access.Sync}}
	for range r.IntN(5) {
		rule := access.Rule{Who: "anonymous", Allow: access.None, Subtree: pick("", "cn=top,"+base, "cn=a,cn=top,"+base, "cn=b,"+base),
			Filter: pick("", "", "(description=w*)", "(cn=a)", "(|(cn=b)(description=x*)(description=y*)(description=z*))")}
		if r.IntN(2) == 0 {
			rule.Allow = access.Sync
		}
		if r.IntN(3) == 0 {
			rule.Attributes = []string{pick("description", "cn", "objectClass"), "entryCSN"}
		}
		rules = append(rules, rule)
	}
	if r.IntN(3) > 0 {
		rules = append(rules, access.Rule{Who: "anonymous", Allow: access.Sync})
	}
	return rules
}

// R45: whatever changes, the tree or the rules, a follower that stays and one
// that comes back end with what a search gives the same client.
func TestFollowersUnderRules(t *testing.T) {
	for seed := range uint64(6) {
		for i, request := range requests()[:4] {
			t.Run(fmt.Sprintf("%d/%d", seed, i), func(t *testing.T) {
				t.Parallel()
				followUnderRules(t, rand.New(rand.NewPCG(seed, 12)), request)
			})
		}
	}
}

func followUnderRules(t *testing.T, r *rand.Rand, request syncSearch) {
	c := newChaos(t, r)
	if err := c.s.SetAccess(nil); err != nil {
		t.Fatal(err)
	}
	q := request.query
	q.attrs = []string{"*", "+"}
	looker, staying := dial(t, c.addr), dial(t, c.addr)
	stays, returns := newHoard(), newHoard()
	request.mode = syncrepl.RefreshAndPersist
	staying.follow(7, request)
	for round := range 40 {
		var rules []access.Rule
		if r.IntN(3) == 0 {
			rules = randomRules(r)
			if r.IntN(6) == 0 {
				rules = nil
			}
			if err := c.s.SetAccess(rules); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(4) > 0 {
			c.edit(func(b *tree.Builder) { c.change(b) })
		}
		want := visible(t, looker, int64(round+2), q)
		for !stays.ended || !slices.Equal(stays.all(), want) {
			m, err := staying.message()
			if err != nil {
				t.Fatalf("round %d, rules %+v: %v\nhas %q\nwants %q", round, rules, err, stays.all(), want)
			}
			if stays.take(t, &m) {
				t.Fatalf("round %d: the search has ended: %+v", round, m)
			}
		}
		back := request
		back.mode, back.cookie = syncrepl.RefreshOnly, returns.cookie
		returning := dial(t, c.addr)
		returning.follow(7, back)
		clear(returns.named)
		for returns.ended = false; ; {
			m := returning.mustMessage()
			if returns.take(t, &m) {
				break
			}
		}
		returning.nc.Close()
		if !slices.Equal(returns.all(), want) {
			t.Fatalf("round %d, rules %+v:\nhas %q\nwants %q", round, rules, returns.all(), want)
		}
	}
}

// R45, R46: whom no rule lets follow is told so, or that there is nothing; what
// may be read and not followed is left out.
func TestWhoMayFollow(t *testing.T) {
	s, addr := serve(t, withMirror(Options{Backend: newBackend(shelf(t)), Access: []access.Rule{
		{Who: "users", Subtree: openTop, Attributes: []string{"userPassword"}, Allow: access.Read},
		{Who: "users", Subtree: openTop, Filter: "(objectClass=person)", Allow: access.Sync},
		{Who: "users", Subtree: vaultTop, Allow: access.None},
		{Who: "users", Allow: access.Read},
		{Who: "anonymous", Subtree: openTop, Allow: access.Read},
	}}))
	anonymous, bound := dial(t, addr), dial(t, addr)
	if r := bound.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, tt := range []struct {
		c      *client
		base   string
		code   int
		number int
	}{
		{anonymous, openTop, 50, 0},
		{anonymous, vaultTop, 32, 0},
		{anonymous, base, 32, 0},
		{bound, openTop, 0, 4},
		{bound, base, 0, 4},
		{bound, vaultTop, 32, 0},
	} {
		request := syncSearch{query: query{base: tt.base, scope: tree.Sub}, mode: syncrepl.RefreshOnly}
		tt.c.follow(2, request)
		n := 0
		for {
			m := tt.c.mustMessage()
			if m.Kind == syncrepl.KindDone {
				if m.Code != tt.code {
					t.Errorf("%s: result %d: %s", tt.base, m.Code, m.Diagnostic)
				}
				break
			}
			text := stored(string(m.DN), m.Attrs)
			if n++; !strings.Contains(text, "mail") || strings.Contains(text, "userPassword") {
				t.Errorf("%s: %q", tt.base, text)
			}
		}
		if n != tt.number {
			t.Errorf("%s: %d entries", tt.base, n)
		}
	}
	if n := s.Followers(); n != 0 {
		t.Errorf("%d followers are left", n)
	}
}

// R45, R46: a follower that may not know of its base any more is sent that
// everything is gone, and then told to begin anew, which it cannot.
func TestFollowerLosesItsBase(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(shelf(t))})
	c := dial(t, addr)
	request := syncSearch{query: query{base: vaultTop, scope: tree.Sub}, mode: syncrepl.RefreshAndPersist}
	c.follow(1, request)
	h := newHoard()
	for !h.ended {
		m := c.mustMessage()
		h.take(t, &m)
	}
	if len(h.entries) != 10 {
		t.Fatalf("%d entries", len(h.entries))
	}
	if err := s.SetAccess([]access.Rule{{Who: "anonymous", Subtree: vaultTop, Allow: access.None}, {Who: "anonymous", Allow: access.Sync}}); err != nil {
		t.Fatal(err)
	}
	for {
		m := c.mustMessage()
		if m.Kind == syncrepl.KindDone {
			if m.Code != syncrepl.ResultRefreshRequired {
				t.Errorf("result %d", m.Code)
			}
			break
		}
		h.take(t, &m)
	}
	if len(h.entries) != 0 {
		t.Errorf("left: %q", h.all())
	}
	c.follow(2, request)
	if m := c.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != 32 {
		t.Errorf("again: %+v", m)
	}
}

// R45: so it is when the base hides itself, by a filter and its own change.
func TestBaseHidesItself(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=top", "x")
		w.put(b, 2, "cn=a,cn=top", "x")
	})
	if err := w.s.SetAccess([]access.Rule{{Who: "anonymous", Filter: "(description=hidden)", Allow: access.None}, {Who: "anonymous", Allow: access.Sync}}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, w.addr)
	c.follow(1, syncSearch{query: query{base: "cn=top," + base, scope: tree.Sub}, mode: syncrepl.RefreshAndPersist})
	h := newHoard()
	for !h.ended {
		m := c.mustMessage()
		h.take(t, &m)
	}
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=top", "hidden") })
	for {
		m := c.mustMessage()
		if m.Kind == syncrepl.KindDone {
			if m.Code != syncrepl.ResultRefreshRequired {
				t.Errorf("result %d", m.Code)
			}
			break
		}
		h.take(t, &m)
	}
	if len(h.entries) != 0 {
		t.Errorf("left: %q", h.all())
	}
	// When it shows itself again, all below comes again, which has not changed meanwhile.
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=top", "x") })
	h.ended = false
	c.follow(2, syncSearch{query: query{base: "cn=top," + base, scope: tree.Sub}, mode: syncrepl.RefreshAndPersist, cookie: h.cookie})
	for !h.ended {
		m := c.mustMessage()
		h.take(t, &m)
	}
	if len(h.entries) != 2 {
		t.Errorf("it has %q", h.all())
	}
}

// R45: what a hidden entry has below it, and is not hidden, stays with a client that takes away what is below the one that it is told to
// remove, as a Shaft does: it is sent again, or named.
func TestParentHidesItself(t *testing.T) {
	rules := []access.Rule{{Who: "anonymous", Filter: "(description=hidden)", Allow: access.None}, {Who: "anonymous", Allow: access.Sync}}
	all := syncSearch{query: query{base: base, scope: tree.Sub}}
	for name, hide := range map[string]func(w *world){
		"by its own change": func(w *world) { w.edit(func(b *tree.Builder) { w.put(b, 2, "cn=a,cn=top", "hidden") }) },
		"by other rules": func(w *world) {
			rule := access.Rule{Who: "anonymous", Filter: "(description=y)", Allow: access.None}
			if err := w.s.SetAccess(append([]access.Rule{rule}, rules...)); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.s.opt.Advance = func() (dit.CSN, error) {
				v := w.edit(func(b *tree.Builder) { w.put(b, 9, "cn=other", fmt.Sprint(w.csn)) })
				return v.CSN(), nil
			}
			if err := w.s.SetAccess(rules); err != nil {
				t.Fatal(err)
			}
			w.edit(func(b *tree.Builder) {
				w.put(b, 1, "cn=top", "x")
				w.put(b, 2, "cn=a,cn=top", "y")
				w.put(b, 3, "cn=b,cn=a,cn=top", "hidden")
				w.put(b, 4, "cn=c,cn=b,cn=a,cn=top", "x")
				w.put(b, 5, "cn=d,cn=a,cn=top", "x")
			})
			var followers []*randomFollower
			for _, mode := range []syncrepl.Mode{syncrepl.RefreshOnly, syncrepl.RefreshAndPersist} {
				m := newMirror(all)
				m.holes, m.whole = true, true
				copyOf(t, w, m, forAll)
				f := &randomFollower{c: &chaos{world: w}, m: m}
				if mode == syncrepl.RefreshAndPersist {
					f.connect(mode)
					if _, err := f.take(forAll, func(bool) bool { return m.persist }); err != nil {
						t.Fatal(err)
					}
				}
				followers = append(followers, f)
			}
			hide(w)
			v := w.b.Version()
			copyOf(t, w, followers[0].m, forAll)
			if _, err := followers[1].take(forAll, func(bool) bool { return followers[1].m.upTo(v) }); err != nil {
				t.Fatal(err)
			}
			for i, f := range followers {
				for n, want := range map[int]bool{1: true, 2: false, 3: false, 4: true, 5: true} {
					if f.m.entries[number(n)] != nil != want {
						t.Errorf("follower %d: entry %d is there: %v", i, n, !want)
					}
				}
			}
		})
	}
}
