package main

import (
	"strings"
	"testing"

	"shaft/pkg/ber"
)

// smallProvider is a slapd with a few people below a top of its own.
func smallProvider(t *testing.T, top string) *slapd {
	t.Helper()
	if err := needTools(); err != nil {
		t.Fatal(err)
	}
	p, err := newProvider(t.Context(), t.TempDir(), content{seed: 1, people: 7, top: top})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// descriptionOf searches for one entry's.
func descriptionOf(t *testing.T, address, dn string) (text string) {
	t.Helper()
	q := everything(dn, scopeBase)
	q.want = []string{"description"}
	err := ask(address, q, func(e ber.Reader) error {
		if _, err := e.Read(ber.OctetString); err != nil {
			return err
		}
		list, err := e.Read(ber.Sequence)
		text = string(list)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Changes of two sources at once are seen at a slapd that copies both, by
// followers and by searches; each delay is counted once.
func TestDelays(t *testing.T) {
	providers := []*slapd{smallProvider(t, "dc=one,dc=example"), smallProvider(t, "dc=two,dc=example")}
	b := &bench{dir: t.TempDir()}
	c, err := b.startConsumer(unsynced+providerLines, providers...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	for name, watch := range map[string]watching{"follow": watchFollow, "search": watchSearch} {
		var all []*delayed
		for _, p := range providers {
			d := &delayed{p: p, dn: p.content.suffix()}
			if d.edit, err = edit(p); err != nil {
				t.Fatal(err)
			}
			defer d.edit.nc.Close()
			if d.watch, err = watch(c.address, d.dn); err != nil {
				t.Fatal(err)
			}
			defer d.watch.close()
			all = append(all, d)
		}
		seen, answered, err := changeAtOnce(t.Context(), all, 10, "by "+name)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != 10 || len(answered) != 10 || quantile(seen, 0) <= 0 || quantile(answered, 0) <= 0 {
			t.Errorf("%s: seen %v, answered %v", name, seen, answered)
		}
		for _, p := range providers {
			for i := range 5 {
				if got := descriptionOf(t, c.address, p.content.rdns(i)+","+p.content.suffix()); !strings.Contains(got, "by "+name) {
					t.Errorf("%s: person %d of %s: %q", name, i, p.content.suffix(), got)
				}
			}
		}
	}
}

// A change that the provider refuses ends the measurement, and does not wait for
// what never shows.
func TestDelayOfNothing(t *testing.T) {
	p := smallProvider(t, "dc=one,dc=example")
	e, err := edit(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.nc.Close()
	if err := e.describe("uid=nobody,"+p.content.suffix(), "x"); err == nil || !strings.Contains(err.Error(), "answers 32") {
		t.Errorf("a change of nobody: %v", err)
	}
	w, err := watchFollow(p.address, p.content.suffix())
	if err != nil {
		t.Fatal(err)
	}
	d := &delayed{p: p, dn: "dc=none", edit: e, watch: w}
	d.p.content.people = 8 // the last of them is not there
	if _, err := d.change(7, "x"); err == nil {
		t.Error("a change of nobody is seen")
	}
	if _, err := watchFollow(p.address, "dc=none"); err == nil {
		t.Error("what is not there is followed")
	}
}
