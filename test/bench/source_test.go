package main

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// A change is a whole message of a person, whose CSNs are all those of the change.
func TestSourceForms(t *testing.T) {
	s := &source{content: content{seed: 3, people: 50}}
	forms := s.forms(7)
	if len(forms) != 50 {
		t.Fatalf("%d forms", len(forms))
	}
	uuids := map[dit.UUID]bool{}
	for i := range forms {
		csn := dit.CSN(1_900_000_000_000_000 + i)
		var m syncrepl.Message
		if err := syncrepl.Decode(forms[i].fill(csn), &m); err != nil {
			t.Fatal(err)
		}
		text := csn.Append(nil, 0)
		if m.MessageID != 7 || m.State != syncrepl.StateModify || !bytes.HasSuffix(m.Cookie, text) {
			t.Errorf("form %d: message %d, state %d, cookie %q", i, m.MessageID, m.State, m.Cookie)
		}
		if n := bytes.Count(m.Attrs, text); n != 2 || !bytes.Contains(m.Attrs, append([]byte("changed at "), text...)) {
			t.Errorf("form %d: the CSN stands in %d attributes", i, n)
		}
		if !strings.HasPrefix(string(m.DN), "uid=") {
			t.Errorf("form %d: %q", i, m.DN)
		}
		uuids[m.UUID] = true
	}
	if len(uuids) < 20 {
		t.Errorf("%d people change", len(uuids))
	}
}

// A Shaft copies everything from a source; its changes come when it is told to, are counted when
// they are stored, and end.
func TestSource(t *testing.T) {
	o := options{entries: 30, seed: 1, rounds: 1}
	b := &bench{o: o, content: o.content(), dir: t.TempDir()}
	defer b.close()
	var err error
	if b.shaft, err = buildShaft(t.Context(), b.dir, ""); err != nil {
		t.Fatal(err)
	}
	at, err := copiedOfSource(t.Context(), b, ours)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := countEntries(at.address, at.dn); err != nil || n != b.content.total() {
		t.Fatalf("%d entries, %v", n, err)
	}
	before, err := b.arrived()
	if err != nil {
		t.Fatal(err)
	}
	b.source.signal(syscall.SIGUSR1)
	err = at.p.await("changes come", patience, func() (bool, error) {
		n, err := b.arrived()
		return n > before+300, err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.source.signal(syscall.SIGUSR2)
	changed := 0
	for i := range b.content.people {
		if strings.Contains(descriptionOf(t, at.address, b.content.rdns(i)+","+at.dn), "changed at 2") {
			changed++
		}
	}
	if changed < b.content.people/3 {
		t.Errorf("%d people have changed", changed)
	}
	// Both are idle when no change comes any more.
	if err := b.source.idle(); err != nil {
		t.Error(err)
	}
	if err := b.following.idle(); err != nil {
		t.Error(err)
	}
	last, err := b.arrived()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.arrived(); err != nil || again != last {
		t.Errorf("%d changes, then %d: %v", last, again, err)
	}
}

// Its process ends by itself where it cannot begin, and says why.
func TestSourceWithoutPeople(t *testing.T) {
	t.Setenv(sourcePeople, "many")
	if err := runSource(context.Background()); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("%v", err)
	}
}
