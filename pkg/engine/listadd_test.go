package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/syncrepl"
)

// R3, R18, R19, R56: what can never work is refused before anything is saved, and says
// where; what is odd is said.
func TestListsThatCannotWork(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	for template, want := range map[string]string{
		"cn=%(attr.cn":               "column 4",
		"cn=%(rdn.cn)s":              "column 9",
		"cn=%(nothing.cn)s":          `unknown directive "nothing"`,
		"":                           "a name is needed",
		"%(attr.cn)s":                "makes no DN",
		"cn=%(attr.cn)s,,x":          "makes no DN",
		"cn=%(attr.cn)s,o=Elsewhere": "does not lie below the base DN",
		baseDN:                       "is the base DN itself",
	} {
		_, err := w.e.AddSubscription(t.Context(), w.listSub("l", template, s), false)
		var refusal *queue.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, want) {
			t.Errorf("template %q: %v, wanted %q", template, err, want)
		}
	}
	for what, c := range map[string]struct {
		change func(*Subscription)
		want   string
	}{
		"content filter":     {func(s *Subscription) { s.ContentFilter = "(cn=" }, "filter"},
		"content attributes": {func(s *Subscription) { s.ContentAttributes = []string{"a!"} }, "not an attribute"},
		"a tree's":           {func(s *Subscription) { s.Kind, s.Name, s.ContentFilter = KindTree, "cn=x", "(cn=a)" }, "are a list's"},
		"kind":               {func(s *Subscription) { s.Kind = "forest" }, "forest"},
	} {
		sub := w.listSub("l", "cn=%(attr.l)s", s)
		c.change(&sub)
		if _, err := w.e.AddSubscription(t.Context(), sub, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if left := w.stored(recordSubscription); len(left) > 0 {
		t.Errorf("saved: %q", left)
	}
	sub := w.listSub("l", "cn=one", s)
	sub.ContentFilter = "((objectClass=organizationalRole)(cn=*))"
	out, err := w.e.AddSubscription(t.Context(), sub, false)
	must(t, err)
	if all := strings.Join(out.Warnings, "\n"); !strings.Contains(all, "no substitution") || !strings.Contains(all, "taken as (&") {
		t.Errorf("warned of %q", out.Warnings)
	}
	if out.Subscription.ContentFilter != "(&(objectClass=organizationalRole)(cn=*))" {
		t.Errorf("the content's filter is %q", out.Subscription.ContentFilter)
	}
	if _, err := w.e.AddSubscription(t.Context(), w.listSub("l", "cn=%(attr.l)s", s), false); err == nil {
		t.Error("an id was given twice")
	}
	if _, err := w.e.AddSubscription(t.Context(), Subscription{ID: "l", Name: "cn=t", Source: w.source(s, listBase)}, false); err == nil {
		t.Error("a tree got a list's id")
	}
}

// R11, R18: the list's search asks for its attributes and the template's, its content
// for its own.
func TestListAttributes(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	asked := make(chan []string, 100)
	s.SetScript(func(q ldaptest.Search, _ *syncrepl.Provider) (bool, error) {
		if q.Sync != nil && q.Scope == 2 {
			asked <- append([]string{q.Base}, q.Attributes...)
		}
		return false, nil
	})
	sub := w.listSub("l", "cn=%(attr.l)s,cn=%(rdn0.cn)s", s)
	sub.ContentAttributes, sub.ContentFilter = []string{"description"}, "(|(description=*)(st=found))"
	_, err := w.e.AddSubscription(t.Context(), sub, false)
	must(t, err)
	name := "cn=A,cn=a," + baseDN
	w.awaitValues("cn=1,"+name, "description", "of a")
	if got := <-asked; !slices.Equal(got, []string{listBase, "cn", "l", "objectClass", "+"}) {
		t.Errorf("the list asked for %q", got)
	}
	if got := <-asked; !slices.Equal(got, []string{found("a"), "description", "objectClass", "+"}) {
		t.Errorf("the content asked for %q", got)
	}
	if got := w.values(name, "st"); got != nil {
		t.Errorf("st is served: %q", got)
	}
	w.restart()
}

// R22, R23: a dry run says what would appear, clash, stay suppressed and fail, by the
// code that does it, and saves nothing.
func TestListDryRun(t *testing.T) {
	for _, sync := range []bool{true, false} {
		t.Run(fmt.Sprint("sync ", sync), func(t *testing.T) { listDryRun(t, sync) })
	}
}

func listDryRun(t *testing.T, sync bool) {
	s := serve(t, ldaptest.Options{Suffix: listBase, NoSync: !sync,
		LDIF: listLDIF + distro("a", "A") + distro("b", "B", "B2") + distro("c", "A") + distro("none")})
	other := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("tree", at("B"), w.source(other, suffix))
	w.awaitLive(at("B"))
	before := w.stored("")
	out, err := w.e.AddSubscription(t.Context(), w.listSub("l", "cn=%(attr.l)s", s), true)
	must(t, err)
	var got []string
	for _, f := range out.Found {
		for _, n := range f.Names {
			got = append(got, strings.Join([]string{f.DN, n.Name, n.Outcome, n.Detail}, "|"))
		}
		for _, p := range f.Problems {
			got = append(got, f.DN+": "+p)
		}
	}
	want := []string{
		found("a") + "|" + at("A") + "|appears|",
		found("b") + "|" + at("B") + "|clashes|it waits at position 1 behind tree",
		found("b") + "|" + at("B2") + "|appears|",
		found("c") + "|" + at("A") + "|clashes|it waits at position 1 behind l/1",
		found("none") + ": %(attr.l)s has no value: the entry has no attribute l",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %s\nwanted %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if now := w.stored(""); !maps.Equal(before, now) {
		t.Errorf("saved: %s", differences(before, now))
	}
	if _, err := w.e.Members(t.Context(), "l"); err == nil {
		t.Error("there is a list")
	}
	if !sync {
		return
	}
	w.list("l", "cn=%(attr.l)s", s)
	await(t, "all is found", func() bool { return len(w.foundIn("l")) == 4 })
	sub, err := w.e.Subscription(t.Context(), "l")
	must(t, err)
	must(t, w.e.do(t.Context(), func() { must(t, w.e.enact(decisions{events: []queue.Event{queue.ClaimSuppressed{ID: "l/1"}}})) }))
	sub.Name = "cn=%(attr.l)s,cn=%(rdn0.cn)s"
	now, _, err := w.e.preview(t.Context(), sub)
	must(t, err)
	if n := now[0].Names[0]; n.Outcome != "suppressed" || n.Name != "cn=A,cn=a,"+baseDN {
		t.Errorf("%+v", now)
	}
	if n := now[2].Names[0]; n.Outcome != "appears" || n.Name != "cn=A,cn=c,"+baseDN {
		t.Errorf("%+v", now)
	}
}

// R13, R33, R35: no broken refresh, no missing base, no unknown entry said to be there
// removes a found entry; a cookie is good for its search and its server.
func TestListThatBreaks(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	want := places{at("A"): found("a"), at("B"): found("b")}
	w.awaitPlaces(s, want)
	var mu sync.Mutex // for both
	var tries []string
	mode := "missing"
	done := make(chan string, 100)
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if q.Base != listBase {
			return false, nil
		}
		mu.Lock()
		defer mu.Unlock()
		tries = append(tries, string(q.Sync.Cookie))
		done <- mode
		switch mode {
		case "missing":
			return true, p.Fail(32, "not there")
		case "cut":
			return true, errors.New("cut")
		case "unknown":
			if len(q.Sync.Cookie) == 0 {
				mode = "sane"
				return false, nil
			}
			return true, errors.Join(p.IDs(false, []dit.UUID{testUUID(99)}, nil), p.EndPresent(q.Sync.Cookie, true))
		}
		return false, nil
	})
	before := w.served()
	for _, m := range []string{"missing", "cut", "unknown"} {
		s.Down()
		mu.Lock()
		mode = m
		mu.Unlock()
		for len(done) > 0 {
			<-done
		}
		must(t, s.Up())
		for seen := 0; seen < 2; {
			if got := <-done; got == m {
				seen++
			} else {
				break
			}
		}
		if now := w.served(); !maps.Equal(before, now) {
			t.Errorf("%s: %s", m, differences(before, now))
		}
	}
	w.awaitPlaces(s, want)
	mu.Lock()
	defer mu.Unlock()
	if last := tries[len(tries)-1]; last != "" {
		t.Errorf("after an entry that is not known the cookie %q was sent", last)
	}
	s.SetScript(nil)
	_, err := w.e.SetSubscription(t.Context(), "l", map[string]string{"name": "cn=%(attr.l)s,cn=in"}, false)
	must(t, err)
	want = places{"cn=A,cn=in," + baseDN: found("a"), "cn=B,cn=in," + baseDN: found("b")}
	w.awaitPlaces(s, want)
	w.restart()
}

// R30, R33: content of a claim that waits outlives a restart, shows over LDAP nowhere,
// and is there at once when the claim comes to be the head, though its server is away.
func TestStoredContentWaits(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	other := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("tree", at("T"), w.source(other, suffix))
	w.list("l", "cn=%(attr.l)s", s)
	await(t, "all", func() bool { return w.e.Version().Len() == 1+3+6 })
	ids := uuidsOf(w.e.Version())
	must(t, s.Modify(found("a"), "l", "T"))
	await(t, "it waits", func() bool { return len(w.name(at("T")).Queue) == 1 })
	if w.e.Version().Len() != 1+3+3 {
		t.Errorf("%d entries", w.e.Version().Len())
	}
	s.Down()
	await(t, "down", func() bool { return w.name(at("B")).Head.State == "down" })
	w.restart()
	_, err := w.e.RemoveSubscription(t.Context(), "tree", false)
	must(t, err)
	now := uuidsOf(w.e.Version())
	for _, rel := range []string{"", "cn=0,", "cn=1,"} {
		want := ids[rel+at("T")] // what it replaces
		if want == (dit.UUID{}) {
			want = ids[rel+at("A")]
		}
		if now[rel+at("T")] != want {
			t.Errorf("%s%s is served as %s, and was as %s", rel, at("T"), now[rel+at("T")], want)
		}
	}
	w.checkLists()
	w.restart()
	must(t, s.Up())
	w.awaitPlaces(s, places{at("T"): found("a"), at("B"): found("b")})
}

// R16, R33: a crash in the midst of a list's removal, which takes several commits,
// leaves all of it, or a start removes the rest.
func TestCrashInListRemoval(t *testing.T) {
	many := func(prefix string) (names []string) {
		for i := range heavyNames + 1 {
			names = append(names, fmt.Sprint(prefix, i))
		}
		return names
	}
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", many("a")...) + distro("b", many("b")...)})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	await(t, "all", func() bool { return w.e.Version().Len() == 1+6*(heavyNames+1) })
	s.Down()
	await(t, "down", func() bool {
		names, err := w.e.Names(t.Context())
		must(t, err)
		return !slices.ContainsFunc(names, func(n Name) bool { return n.Head.State != "down" })
	})
	before, from := w.content(), w.e.Version().CSN()
	c, stop := w.crashing(60)
	_, err := w.e.RemoveSubscription(t.Context(), "l", false)
	must(t, err)
	stop()
	c.eitherOr(before, w.content())
	w.checkLog(from)
	w.restart()
}
