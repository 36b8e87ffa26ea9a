package engine

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/store"
)

// colour makes color another name of an attribute that the schema did not know:
// DNs with it get another normal form.
const colour = "attributetype ( 1.2.3.4.5 NAME ( 'colour' 'color' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"

// extend restarts the engine with a schema file more.
func (w *world) extend(text string) {
	w.t.Helper()
	w.close()
	s, err := w.schema.Extend(schema.File{Name: "more.schema", Text: []byte(text)})
	must(w.t, err)
	w.schema = s
	w.open()
}

// R3, R4, R24: after a schema file was added a name is found as it was entered, its
// content is whole, and another claim on it joins its queue.
func TestNameAfterSchemaFileWasAdded(t *testing.T) {
	for _, again := range []string{"color=Red", "colour=Red"} {
		s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
		w := newWorld(t)
		w.add("s", "color=Red", w.source(s, suffix))
		red := "color=Red," + baseDN
		w.awaitEqual(s, suffix, red)
		w.awaitLive("color=Red")
		before := uuidsOf(w.e.Version())
		w.extend(colour)
		if now := uuidsOf(w.e.Version()); !maps.Equal(now, before) {
			t.Errorf("%v is served, it was %v", now, before)
		}
		w.checkStored()
		if n := w.name("color=Red"); n.Entries != 3 {
			t.Errorf("the name has %d entries", n.Entries)
		}
		added := w.add("second", again, w.source(s, suffix))
		if added.Position != 1 {
			t.Errorf("a second claim on the name stands at %d: %q", added.Position, added.Warnings)
		}
		must(t, s.Modify("ou=a,"+suffix, "description", "on it goes"))
		w.awaitEqual(s, suffix, red)
		w.check()
		w.restart()
		w.remove("s")
		await(t, "the second claim's content", func() bool { return len(w.content()) == 3 })
		w.remove("second")
		if n := w.e.Version().Len(); n != 1 {
			t.Errorf("%d entries are left", n)
		}
		w.checkStored()
		w.restart()
	}
}

// R30, R33: where the schema of today parts a name from what lingers there of a removed
// head, that goes, and the start goes on.
func TestLingerAfterSchemaFileWasAdded(t *testing.T) {
	a, b := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF}), serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("a", "color=Red", w.source(a, suffix))
	w.awaitLive("color=Red")
	b.Down()
	w.add("b", "color=RED", w.source(b, suffix))
	w.remove("a")
	if n := w.name("color=RED"); n.Lingering == nil || n.Entries != 3 {
		t.Fatalf("%+v", n)
	}
	w.extend(colour)
	if n := w.name("color=RED"); n.Lingering != nil || n.Entries != 0 || w.e.Version().Len() != 1 {
		t.Errorf("%+v", n)
	}
	w.checkStored()
	w.restart()
	must(t, b.Up())
	w.awaitEqual(b, suffix, "color=RED,"+baseDN)
	w.checkStored()
}

// R7: whether one name lies inside another follows the schema of today too.
func TestOverlapAfterSchemaFileWasAdded(t *testing.T) {
	outer := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	inner := serve(t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	w := newWorld(t)
	w.add("s", "color=Red", w.source(outer, suffix))
	w.awaitLive("color=Red")
	w.add("inner", "ou=a,color=Red,"+baseDN, w.source(inner, "o=Other"))
	w.awaitLive("ou=a,color=Red," + baseDN)
	before := uuidsOf(w.e.Version())
	w.extend(colour)
	if now := uuidsOf(w.e.Version()); !maps.Equal(now, before) {
		t.Errorf("%v is served, it was %v", now, before)
	}
	w.remove("inner")
	w.awaitEqual(outer, suffix, "color=Red,"+baseDN)
	w.check()
	w.restart()
}

// R1: the base DN may be of a type that the schema gets to know later: it is the
// same base, and the names stay.
func TestBaseAfterSchemaFileWasAdded(t *testing.T) {
	s, err := schema.Bundled().Extend(schema.File{Name: "more.schema", Text: []byte(colour)})
	must(t, err)
	srv := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := &world{t: t, dir: t.TempDir()}
	start := func(with *schema.Schema) {
		t.Helper()
		w.schema = with
		w.store, err = store.Open(w.dir, store.Options{})
		must(t, err)
		base, err := dit.ParseDN(with, "color=Red")
		must(t, err)
		if w.e, err = Open(Options{Store: w.store, Schema: with, BaseDN: base, Log: slog.New(slog.DiscardHandler)}); err != nil {
			must(t, w.store.Close())
			t.Fatal(err)
		}
		t.Cleanup(w.close)
	}
	start(schema.Bundled())
	w.add("s", "cn=x", w.source(srv, suffix))
	w.awaitEqual(srv, suffix, "cn=x,color=Red")
	w.awaitLive("cn=x")
	before := w.content()
	for _, with := range []*schema.Schema{s, schema.Bundled(), s} {
		w.close()
		start(with)
		if now := w.content(); !maps.Equal(now, before) {
			t.Errorf("%q is served, it was %q", now, before)
		}
		w.awaitEqual(srv, suffix, "cn=x,color=Red")
		w.check()
		w.checkStored()
	}
}

// R4, R56: a schema file that makes two stored names one is refused with what to
// do, nothing is changed, and without the file all is as before.
func TestSchemaThatMakesTwoNamesOne(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("one", "color=Red", w.source(s, suffix))
	w.add("two", "colour=Red", w.source(s, suffix))
	w.awaitLive("color=Red")
	w.awaitLive("colour=Red")
	last := w.e
	w.close()
	before := w.printOf(last.Version())
	known := w.schema
	more, err := known.Extend(schema.File{Name: "more.schema", Text: []byte(colour)})
	must(t, err)
	st, err := store.Open(w.dir, store.Options{})
	must(t, err)
	base, err := dit.ParseDN(more, baseDN)
	must(t, err)
	e, err := Open(Options{Store: st, Schema: more, BaseDN: base})
	if err == nil {
		e.Close()
		t.Error("two names became one, and nothing was said")
	} else if !strings.Contains(err.Error(), "start without the schema file") {
		t.Errorf("the refusal does not say what to do: %v", err)
	}
	must(t, st.Close())
	w.open()
	if after := w.print(); after != before {
		t.Errorf("the refused start changed the tree\n%s", firstDifference(before, after))
	}
}
