package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// told is a history in one line each, oldest first.
func (w *world) told(dn string) (out []string) {
	w.t.Helper()
	list, err := w.e.History(w.t.Context(), dn)
	must(w.t, err)
	for _, h := range slices.Backward(list) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", h.Claim, h.What)))
	}
	return out
}

// R53: a name's history says what came, went, broke down and came back, over restarts.
func TestHistory(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	if _, err := w.e.History(t.Context(), name); err == nil {
		t.Error("a name that never was has a history")
	}
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.add("elsewhere", "cn=There", w.source(s, suffix))
	w.awaitLive("cn=There")
	s.Down()
	w.awaitState(name, "down")
	must(t, s.Up())
	w.awaitLive(name)
	w.add("two", "cn=HERE", w.source(s, suffix))
	_, err := w.e.RemoveSubscription(t.Context(), "one", false)
	must(t, err)
	w.awaitLive(name)
	want := []string{"one claimed", "one up", "one refreshed", "one down", "one up", "two claimed", "one removed", "two refreshed"}
	for range 2 {
		got := w.told("cn=here")
		at := 0
		for _, line := range got {
			if strings.Contains(line, "elsewhere") {
				t.Errorf("another name's happening is told: %q", line)
			}
			if at < len(want) && line == want[at] {
				at++
			}
		}
		if at < len(want) {
			t.Errorf("%q is not told, or not in its place, of %q", want[at], got)
		}
		w.restart()
	}
	list, err := w.e.History(t.Context(), name)
	must(t, err)
	for i, h := range list {
		if h.At.IsZero() || i > 0 && h.At.After(list[i-1].At) {
			t.Errorf("line %d is of %v, the one before of %v", i, h.At, list[max(0, i-1)].At)
		}
		if h.What == "down" && h.Why == "" || h.What == "removed" && !strings.Contains(h.Why, "subscription") {
			t.Errorf("%s because of %q", h.What, h.Why)
		}
	}
	_, err = w.e.RemoveSubscription(t.Context(), "two", false)
	must(t, err)
	if got := w.told(name); got[len(got)-1] != "two removed" {
		t.Errorf("after the last claim went: %q", got)
	}
}

// R53, R56: lines of earlier versions, lines that are lost and lines that cannot be
// read stand in nobody's way; a history is bounded.
func TestHistoryOfAnyJournal(t *testing.T) {
	w := newWorld(t)
	norm := "cn=here,ou=package listers"
	line := func(ev queue.Event) []byte {
		b, err := queue.EncodeEvent(ev)
		must(t, err)
		return b
	}
	head := func(ev queue.Event, claims string) []byte {
		return append([]byte(`{"at":"2026-01-02T03:04:05.000000006Z"`+claims+`} `), line(ev)...)
	}
	found := queue.EntryFound{List: "l", Entry: "e", DN: "cn=x", Names: []queue.FoundName{{Name: "cn=There", Norm: "cn=there,ou=package listers"}}}
	lines := [][]byte{
		line(queue.ClaimAdded{ID: "old", Subscription: "old", Name: name, Norm: norm}),
		[]byte(`{"event":"of another world"}`), []byte("rubbish"), {}, []byte(`{"at":1} {}`),
		line(queue.LinkChanged{ID: "old", Reason: "gone"}),
		head(found, `,"claims":{"l/1":"cn=here,ou=package listers","l/2":"cn=away,ou=package listers"}`),
		head(queue.Refreshed{ID: "l/2"}, ""),
		head(queue.Refreshed{ID: "l/1"}, ""),
		head(found, `,"claims":{"l/1":"cn=there,ou=package listers","l/2":"cn=here,ou=package listers"}`),
		head(queue.Refreshed{ID: "l/1"}, ""),
		head(queue.ClaimMoved{ID: "old", Name: "CN=Q", Norm: "cn=q"}, `,"claims":{"old":"cn=q"}`),
		head(queue.ListRemoved{ID: "l"}, ""),
	}
	must(t, w.e.do(t.Context(), func() { must(t, w.e.commit(&store.Batch{Journal: lines})) }))
	want := []string{"old claimed", "old down", "l/1 claimed", "l/1 refreshed", "l/1 moved", "l/2 claimed", "old moved", "l/2 removed"}
	if got := w.told("cn=Here"); !slices.Equal(got, want) {
		t.Errorf("%q, wanted %q", got, want)
	}
	list, err := w.e.History(t.Context(), "cn=Here")
	must(t, err)
	if list[3].Why != "to cn=There" || list[1].Why != "to CN=Q" {
		t.Errorf("names are not told as they were written: %q, %q", list[3].Why, list[1].Why)
	}
	// A claim whose coming the journal does not reach back to.
	must(t, w.e.do(t.Context(), func() {
		_, err := queue.Apply(w.e.state, queue.ClaimAdded{ID: "q", Subscription: "q", Name: "cn=q," + baseDN, Norm: "cn=q,ou=package listers"})
		must(t, err)
		for range 3 {
			var many [][]byte
			for range maxHistory {
				many = append(many, head(queue.Refreshed{ID: "q"}, ""))
			}
			must(t, w.e.commit(&store.Batch{Journal: many}))
		}
	}))
	if got := w.told("cn=q"); len(got) != maxHistory || got[0] != "q refreshed" {
		t.Errorf("%d lines, %.100q", len(got), got)
	}
	if _, err := w.e.History(t.Context(), "o=far away,c=xx"); err == nil {
		t.Error("a name outside the base has a history")
	}
	var refusal *queue.Refusal
	if _, err := w.e.History(t.Context(), "cn=nobody"); !errors.As(err, &refusal) || refusal.Kind != "not-found" {
		t.Errorf("%v", err)
	}
}

// awaitState waits until the head of a name is in a state.
func (w *world) awaitState(dn, state string) {
	w.t.Helper()
	await(w.t, dn+" is "+state, func() bool { return w.name(dn).Head.State == state })
}
