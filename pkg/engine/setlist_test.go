package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// R18, R19, R35, R47: of a list too everything can be changed: names follow another
// template with their UUIDs, another search finds others, another content filter loads
// the content again, and each says so before and after.
func TestSetList(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	want := places{at("A"): found("a"), at("B"): found("b")}
	w.awaitPlaces(s, want)
	ids := uuidsOf(w.e.Version())
	await(t, "the tasks of the list", func() bool {
		return w.task("list change").Outcome == "names: 2 appeared, 0 went, 0 moved, 0 could not be made" && w.task("first load").State == TaskDone
	})
	if got := w.task("first load"); got.Target != "l" || !strings.Contains(got.Outcome, "2 claims") {
		t.Errorf("%+v", got)
	}
	dry, err := w.e.SetSubscription(t.Context(), "l", map[string]string{"name": "cn=New %(attr.l)s"}, true)
	must(t, err)
	if len(dry.Found) != 2 || dry.Found[0].Names[0].Name != at("New A") || !strings.Contains(dry.Effect, "names follow") || dry.Task != 0 ||
		!slices.Equal(dry.Goes, []string{at("A"), at("B")}) {
		t.Errorf("%+v", dry)
	}
	dry, err = w.e.SetSubscription(t.Context(), "l", map[string]string{"name": "cn=A"}, true)
	must(t, err)
	if len(dry.Found) != 2 || !slices.Equal(dry.Goes, []string{at("B")}) {
		t.Errorf("where one name stays: %+v", dry)
	}
	w.awaitPlaces(s, want)
	w.set("l", map[string]string{"name": "cn=New %(attr.l)s"})
	want = places{at("New A"): found("a"), at("New B"): found("b")}
	w.awaitPlaces(s, want)
	now := uuidsOf(w.e.Version())
	for _, n := range []string{"A", "B"} {
		if now["cn=0,"+at("New "+n)] != ids["cn=0,"+at(n)] {
			t.Errorf("%s did not keep its UUIDs", n)
		}
	}
	w.restart()
	w.awaitPlaces(s, want)
	out := w.set("l", map[string]string{"content-filter": "(!(cn=1))"})
	if !slices.Equal(out.Fields, []string{"content-filter"}) || !strings.Contains(out.Effect, "loaded again in full") {
		t.Errorf("%+v", out)
	}
	await(t, "what the content filter leaves", func() bool { return len(w.served()) == 4 })
	w.check()
	w.checkLists()
	w.set("l", map[string]string{"content-filter": ""})
	w.awaitPlaces(s, want)
	w.set("l", map[string]string{"filter": "(&(st=found)(l=A))"})
	w.awaitPlaces(s, places{at("New A"): found("a")})
	for _, bad := range []map[string]string{{"name": "cn=%(attr.l"}, {"content-filter": "(("}, {"filter": "(("}} {
		if _, err := w.e.SetSubscription(t.Context(), "l", bad, false); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	w.awaitPlaces(s, places{at("New A"): found("a")})
	w.restart()
}

// R16, R18, R54: lists come, change and go by apply as trees do.
func TestApplyLists(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	w, other := newWorld(t), newWorld(t)
	w.add("tree", "cn=A", nowhere(1))
	d := Document{Subscriptions: []Subscription{w.listSub("l", "cn=%(attr.l)s", s), {ID: "tree", Name: "cn=A", Source: nowhere(1)}}}
	if out := w.apply(d, true); !slices.Equal(out.Added, []string{"l"}) || !slices.Equal(out.Unchanged, []string{"tree"}) {
		t.Errorf("%+v", out)
	}
	w.awaitPlaces(s, places{at("B"): found("b")})
	if n := w.name("cn=A"); n.Head.Claim != "tree" || len(n.Queue) != 1 {
		t.Errorf("%+v", n)
	}
	exported, err := w.e.Export(t.Context())
	must(t, err)
	other.apply(*exported, true)
	await(t, "the list elsewhere", func() bool { return len(other.served()) >= 3 })
	if n := other.name("cn=A"); n.Head.Claim != "tree" {
		t.Errorf("%+v", n)
	}
	if a, b := w.entered(), other.entered(); a != b {
		t.Errorf("exported %s, elsewhere %s", a, b)
	}
	d.Subscriptions = []Subscription{w.listSub("l", "cn=Another %(attr.l)s", s)}
	if out := w.apply(d, true); !slices.Equal(out.Changed, []string{"l"}) || !slices.Equal(out.Removed, []string{"tree"}) {
		t.Errorf("%+v", out)
	}
	w.awaitPlaces(s, places{at("Another A"): found("a"), at("Another B"): found("b")})
	w.apply(Document{}, true)
	if n := w.e.Version().Len(); n != 1 || w.entered() != `{"subscriptions":[]}` {
		t.Errorf("%d entries are left, entered is %s", n, w.entered())
	}
	w.restart()
}

// R23, R53: the name of a found entry is suppressed, and its history says so.
func TestRemoveNameOfList(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	w.awaitPlaces(s, places{at("A"): found("a"), at("B"): found("b")})
	stored := w.stored("")
	if _, err := w.e.RemoveName(t.Context(), "cn=A", 0, true); err != nil || !maps.Equal(stored, w.stored("")) {
		t.Errorf("the dry run: %v", err)
	}
	out, err := w.e.RemoveName(t.Context(), "cn=A", 0, false)
	must(t, err)
	w.awaitPlaces(s, places{at("B"): found("b")})
	must(t, s.Modify("cn=0,"+found("a"), "description", "changed"))
	must(t, s.Modify(found("a"), "description", "changed"))
	w.restart()
	w.awaitPlaces(s, places{at("B"): found("b")})
	told := w.told("cn=A")
	if want := []string{out.ID + " claimed", out.ID + " removed"}; told[0] != want[0] || told[len(told)-1] != want[1] {
		t.Errorf("%q", told)
	}
	list, err := w.e.History(t.Context(), "cn=A")
	must(t, err)
	if list[0].Why != "suppressed by an operator" || !strings.Contains(list[len(list)-1].Why, found("a")) {
		t.Errorf("%+v", list)
	}
	if got := w.task("name remove"); got.ID != out.Task || got.State != TaskDone || !strings.Contains(got.Outcome, "suppressed") {
		t.Errorf("%+v", got)
	}
}

// R3, R19: a % is a character like any other, in the names that a list makes, in a
// tree's name, and in the names that operators give; a tree has no template.
func TestPercentInNames(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	w.list("l", "cn=100%% %(attr.l)s", s)
	w.awaitPlaces(s, places{at("100% A"): found("a")})
	w.add("tree", "cn=50% off", w.source(s, listBase))
	w.awaitLive("cn=50% off")
	w.awaitLive("cn=100% A")
	if _, err := w.e.History(t.Context(), "cn=100% A"); err != nil {
		t.Error(err)
	}
	if _, err := w.e.ResyncName(t.Context(), "cn=50% off", true); err != nil {
		t.Error(err)
	}
	w.restart()
	out, err := w.e.RemoveName(t.Context(), "cn=100% A", 0, false)
	must(t, err)
	if !out.Suppressed || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "stays suppressed") {
		t.Errorf("%+v", out)
	}
	for name, want := range map[string]string{"cn=%(attr.cn)s": "a tree has one name", "": "a name is needed"} {
		if _, err := w.e.SetSubscription(t.Context(), "tree", map[string]string{"name": name}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// R26: an addition that clashes succeeds, and says at once where it waits, behind
// whom, and how to look at it.
func TestAddClash(t *testing.T) {
	w := newWorld(t)
	w.add("first", "cn=Here", nowhere(1))
	out := w.add("second", "cn=HERE", nowhere(2))
	if out.Position != 1 || !slices.ContainsFunc(out.Warnings, func(text string) bool {
		return strings.Contains(text, "already claimed by first") && strings.Contains(text, "position 1") && strings.Contains(text, "shaft queue show")
	}) {
		t.Errorf("%+v", out)
	}
	if got := w.task("subscription add"); !strings.Contains(got.Outcome, "waits at position 1") {
		t.Errorf("%+v", got)
	}
}

// R47: while content is loaded the task and the link say how far it is.
func TestProgress(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	goOn := make(chan struct{})
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		err := p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil)
		for i := range 49 {
			dn := fmt.Sprintf("cn=%d,%s", i, suffix)
			if err == nil {
				err = p.Entry(syncrepl.StateAdd, testUUID(i+1), dn, runOf1("objectClass: organizationalRole", fmt.Sprint("cn: ", i)), nil)
			}
		}
		select {
		case <-goOn:
		case <-q.Done:
		}
		if err != nil {
			return true, err
		}
		return true, p.EndDelete([]byte("c"), true)
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	await(t, "50 entries", func() bool { return w.name(name).Head.RefreshEntries == 50 })
	if n := w.name(name); n.Head.RefreshRate <= 0 || n.Entries != 0 {
		t.Errorf("%+v", n)
	}
	if got := w.task("first load"); got.Entries != 50 || got.Rate <= 0 || got.State != TaskRunning {
		t.Errorf("%+v", got)
	}
	close(goOn)
	w.awaitLive(name)
	if got := w.task("first load"); got.Entries != 50 || got.Rate <= 0 || got.State != TaskDone {
		t.Errorf("%+v", got)
	}
	if n := w.name(name); n.Head.RefreshEntries != 0 || n.Entries != 50 {
		t.Errorf("%+v", n)
	}
}
