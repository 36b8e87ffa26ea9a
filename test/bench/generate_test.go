package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/schema"
)

func ldifOf(t *testing.T, c content) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.writeLDIF(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A run with the same seed has the same content and asks the same.
func TestSeedRepeats(t *testing.T) {
	c := content{seed: 7, people: 300}
	first := ldifOf(t, c)
	if ldifOf(t, c) != first {
		t.Error("the same seed gives other content")
	}
	if first == ldifOf(t, content{seed: 8, people: 300}) {
		t.Error("another seed gives the same content")
	}
	for _, build := range []func(content, string) load{baseLoad(16), equalityLoad, listLoad} {
		one, two := build(c, suffix), build(c, suffix)
		if fmt.Sprint(one) != fmt.Sprint(two) {
			t.Error("the same seed gives other requests")
		}
	}
	if fmt.Sprint(baseLoad(1)(c, suffix)) == fmt.Sprint(baseLoad(1)(content{seed: 8, people: 300}, suffix)) {
		t.Error("another seed gives the same requests")
	}
}

// A person is the same in a big content and a small one.
func TestPeopleStandAlone(t *testing.T) {
	small, big := content{seed: 1, people: 10}, content{seed: 1, people: 100_000}
	for i := range small.people {
		if fmt.Sprint(small.attributes(i)) != fmt.Sprint(big.attributes(i)) || small.rdns(i) != big.rdns(i) {
			t.Errorf("person %d differs", i)
		}
	}
}

func TestContentShape(t *testing.T) {
	tests := []struct{ people, units, total, inUnit int }{
		{1, 1, 3, 1},
		{9_999, 1, 10_001, 9_999},
		{10_000, 1, 10_002, 10_000},
		{10_001, 2, 10_004, 10_000},
		{100_000, 10, 100_011, 10_000},
	}
	for _, test := range tests {
		c := content{people: test.people}
		if c.units() != test.units || c.total() != test.total || c.inUnit() != test.inUnit {
			t.Errorf("%d people: %d units, %d entries, %d in the first; want %+v", test.people, c.units(), c.total(), c.inUnit(), test)
		}
	}
}

// The LDIF holds as many entries as total says, each below one before it, with
// its RDN's value, and of about the size that is told in the documentation.
func TestLDIF(t *testing.T) {
	c := content{seed: 3, people: 10_200}
	records, err := ldif.Parse([]byte(ldifOf(t, c)), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != c.total() {
		t.Errorf("%d entries, want %d", len(records), c.total())
	}
	s := schema.Bundled()
	seen := map[string]bool{}
	for i, r := range records {
		dn, err := dit.ParseDN(s, r.DN)
		if err != nil {
			t.Fatal(err)
		}
		_, parent, _ := strings.Cut(r.DN, ",")
		if seen[dn.Norm()] || i > 0 && !seen[normOf(t, s, parent)] {
			t.Fatalf("%s is there twice, or its parent is not", r.DN)
		}
		seen[dn.Norm()] = true
	}
	size := 0
	for i := range c.people {
		for _, a := range c.attributes(i) {
			size += len(a.name) + len(a.value)
			if a.value == "" {
				t.Fatalf("person %d: %s is empty", i, a.name)
			}
		}
	}
	if mean := size / c.people; mean < 560 || mean > 640 {
		t.Errorf("an entry has %d bytes, want about 600", mean)
	}
}

func normOf(t *testing.T, s *schema.Schema, text string) string {
	t.Helper()
	dn, err := dit.ParseDN(s, text)
	if err != nil {
		t.Fatal(err)
	}
	return dn.Norm()
}

// Every request of a load asks for someone who is there.
func TestLoadsAskForWhatIsThere(t *testing.T) {
	c := content{seed: 5, people: 25_000}
	there := map[string]bool{}
	uids := map[string]bool{}
	for i := range c.people {
		there[c.rdns(i)+","+suffix] = true
		uids[c.uid(i)] = true
	}
	if len(uids) != c.people {
		t.Errorf("%d uids for %d people", len(uids), c.people)
	}
	for _, queries := range baseLoad(1)(c, suffix).connections {
		for _, q := range queries {
			if !there[q.base] || q.scope != scopeBase {
				t.Fatalf("%+v asks for nobody", q)
			}
		}
	}
	for _, queries := range equalityLoad(c, suffix).connections {
		for _, q := range queries {
			if !uids[q.value] || q.base != suffix || q.scope != scopeSub {
				t.Fatalf("%+v asks for nobody", q)
			}
		}
	}
	list := listLoad(c, suffix)
	if got := len(list.connections[0]); got != 2 || list.entries != 10_001 { // the third ou is not full
		t.Errorf("%d ous are listed, of %d entries", got, list.entries)
	}
}
