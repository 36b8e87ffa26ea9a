package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

func (w *world) watched() *Watched {
	w.t.Helper()
	out, err := w.e.Watched(w.t.Context())
	must(w.t, err)
	return out
}

// numbered lists the rows: "n label" of names, "source n label" of subscriptions.
func (w *world) numbered() (rows []string) {
	w.t.Helper()
	seen := w.watched()
	for _, n := range seen.Names {
		rows = append(rows, fmt.Sprintf("%d %s", n.Number, n.Label))
	}
	for _, s := range seen.Sources {
		rows = append(rows, fmt.Sprintf("source %d %s", s.Number, s.Label))
	}
	return rows
}

func (w *world) wantNumbered(want ...string) {
	w.t.Helper()
	if got := w.numbered(); !slices.Equal(got, want) {
		w.t.Errorf("numbered %q, wanted %q", got, want)
	}
}

// R51: numbers are given in one count, kept over restarts and another spelling, given back to what
// returns, and never to another.
func TestNumbersAreKept(t *testing.T) {
	w := newWorld(t)
	w.trees("b cn=B", "a cn=A")
	w.wantNumbered("3 cn=A", "4 cn=B", "source 1 a", "source 2 b")
	w.restart()
	w.wantNumbered("3 cn=A", "4 cn=B", "source 1 a", "source 2 b")
	w.remove("b")
	w.wantNumbered("3 cn=A", "source 1 a")
	w.trees("c cn=C")
	w.restart()
	w.wantNumbered("3 cn=A", "6 cn=C", "source 1 a", "source 5 c")
	w.trees("b cn=b")
	w.wantNumbered("3 cn=A", "4 cn=B", "6 cn=C", "source 1 a", "source 2 b", "source 5 c")
	if n := w.watched().Names[1]; n.DN != "cn=b,"+baseDN {
		t.Errorf("it is spelt %s", n.DN)
	}
	w.remove("c")
	w.close()
	w.open() // the highest is of nothing that is there
	w.trees("d cn=D")
	w.wantNumbered("3 cn=A", "4 cn=B", "8 cn=D", "source 1 a", "source 2 b", "source 7 d")
}

// R51: what is remembered of names that went is bounded; those of what is there are not given up.
func TestNumbersAreBounded(t *testing.T) {
	w := newWorld(t)
	w.e.numbers.limit = 16
	w.trees("first cn=First")
	w.wantNumbered("2 cn=First", "source 1 first")
	for i := range 20 {
		id := fmt.Sprintf("s%d", i)
		w.trees(id + " cn=" + id)
		w.numbered()
		w.remove(id)
		if n := len(w.recordNames(recordNumber)); n > 16 || n != len(w.e.numbers.of) {
			t.Fatalf("%d are stored, %d in memory, after %d", n, len(w.e.numbers.of), i)
		}
	}
	w.wantNumbered("2 cn=First", "source 1 first")
	w.trees("s0 cn=s0", "s19 cn=s19")
	w.wantNumbered("2 cn=First", "42 cn=s19", "44 cn=s0", "source 1 first", "source 41 s19", "source 43 s0")
	w.restart()
	w.wantNumbered("2 cn=First", "42 cn=s19", "44 cn=s0", "source 1 first", "source 41 s19", "source 43 s0")
}

// R51, R56: damaged records of numbers give new numbers, never one that is in use.
func TestNumbersDamaged(t *testing.T) {
	w := newWorld(t)
	w.trees("a cn=A", "b cn=B")
	w.numbered()
	var damaged []store.Record
	for _, name := range w.recordNames(recordNumberLast, recordNumber+numberedName) {
		if !strings.HasSuffix(name, "cn=b,ou=package listers") {
			damaged = append(damaged, store.Record{Name: name, Value: []byte("x")})
		}
	}
	if len(damaged) != 2 {
		t.Fatalf("%+v", damaged)
	}
	must(t, w.e.do(t.Context(), func() { must(t, w.e.writeRecords(damaged)) }))
	w.restart()
	w.wantNumbered("4 cn=B", "5 cn=A", "source 1 a", "source 2 b")
}

// R51: a monitor is told a disk that is too full for content as such, and a store that failed as a failure; the
// status has either in one line.
func TestWatchedTellsFullFromFailed(t *testing.T) {
	var free atomic.Int64
	free.Store(50 << 30)
	w := newWorld(t)
	w.close()
	w.space = func() (store.Space, error) { return store.Space{Free: free.Load(), Total: 100 << 30, Files: -1}, nil }
	w.open()
	const full, failed = "it has to be", "the store takes no more writes: input/output error"
	wanted := func(when, failure, storeFull, status string) {
		t.Helper()
		got := w.watched()
		if got.Failure != failure || (storeFull == "") != (got.StoreFull == "") || !strings.Contains(got.StoreFull, storeFull) {
			t.Errorf("%s: failure %q, full %q", when, got.Failure, got.StoreFull)
		}
		if s := w.failure(); (status == "") != (s == "") || !strings.Contains(s, status) {
			t.Errorf("%s: the status says %q", when, s)
		}
	}
	wanted("all is well", "", "", "")
	free.Store(1 << 20)
	wanted("nearly full", "", full, full)
	free.Store(50 << 30)
	wanted("room again", "", "", "")
	must(t, w.e.do(t.Context(), func() { w.e.fail(errors.New("input/output error")) }))
	wanted("it failed", failed, "", failed)
	free.Store(1 << 20)
	wanted("both", failed, full, failed)
}

// R51: what a monitor sees of a clash, a list and their alarms is what lists show.
func TestWatched(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("one", "One") + distro("two", "Two") + distro("bad")})
	w := newWorld(t)
	w.list("l", "cn=%(attr.l)s", s)
	await(t, "its names are live", func() bool {
		names := w.names()
		return len(names) == 2 && names[0].Head.State == "live" && names[1].Head.State == "live"
	})
	w.add("rival", "cn=One", nowhere(0))
	await(t, "its alarms are raised", func() bool {
		seen := w.watched()
		return seen.Alarms["clash"] == 1 && seen.Alarms["name-error"] == 1 && len(seen.Sources) == 2 && seen.Sources[1].State == "down"
	})
	got := w.watched()
	names, err := w.e.Names(t.Context())
	must(t, err)
	if len(got.Names) != 2 || len(names) != 2 {
		t.Fatalf("%+v, and %+v", got.Names, names)
	}
	for i, n := range names {
		if !reflect.DeepEqual(got.Names[i].Name, n) {
			t.Errorf("%+v, listed as %+v", got.Names[i].Name, n)
		}
	}
	one := got.Names[0]
	if len(one.Raised) != 1 || one.Raised[0].Text != w.alarms()[0].Text || one.Label != "cn=One" || len(got.Names[1].Raised) > 0 || one.Changes != 1 {
		t.Errorf("%+v", got.Names)
	}
	list, rival := got.Sources[0], got.Sources[1]
	if !list.List || list.Claims != 2 || list.Entries != 6 || list.State != "live" || len(list.Raised) != 1 || list.Raised[0].Kind != "name-error" || list.Subscription != "l" {
		t.Errorf("%+v", list)
	}
	if rival.List || rival.Claims != 1 || rival.Entries != 0 || rival.State != "down" || rival.Raised != nil || rival.Claim != "rival" {
		t.Errorf("%+v", rival)
	}
	serial := uint32(0)
	for _, a := range w.alarms() {
		serial = max(serial, a.Serial)
	}
	if got.AlarmSerial != serial || serial < 2 || got.Status.Names != 2 || got.At.IsZero() {
		t.Errorf("%+v", got)
	}
	_, err = w.e.AckAlarm(t.Context(), one.Raised[0].ID, "known", time.Time{}, false)
	must(t, err)
	if a := w.watched().Names[0].Raised[0]; !a.Acknowledged || a.Serial != one.Raised[0].Serial {
		t.Errorf("%+v", a)
	}
	_, err = w.e.RenameName(t.Context(), "cn=One", "cn=Uno", queue.ClaimID(one.Head.Claim), 0, false)
	must(t, err)
	if rows := w.numbered(); !slices.Contains(rows, "5 cn=Uno") || !slices.Contains(rows, fmt.Sprintf("%d cn=One", one.Number)) {
		t.Errorf("%q", rows)
	}
}

// R51: labels can stand in keys and macros of a monitoring system, and are no other's.
func TestLabels(t *testing.T) {
	long := "cn=" + strings.Repeat("é", 40) + "x"
	for text, want := range map[string]string{
		"cn=Debian Wheezy":    "cn=Debian Wheezy",
		"cn=a+sn=b,ou=C-D_e.": "cn=a+sn=b,ou=C-D_e.",
		`cn="{$A}" \2C%~`:     "cn=%22%7B%24A%7D%22 %5C2C%25%7E",
		"cn=[a]\x00'":         "cn=%5Ba%5D%00%27",
		long:                  "cn=" + strings.Repeat("%C3%A9", 18) + "~",
		long + "y":            "cn=" + strings.Repeat("%C3%A9", 18) + "~",
		"cn=a" + long[3:]:     "cn=a" + strings.Repeat("%C3%A9", 17) + "%C3~",
	} {
		got := labelOf(text)
		if head, digest, cut := strings.Cut(got, "~"); cut {
			if len(digest) != 16 || len(got) > maxLabel {
				t.Errorf("%q has %d bytes, the digest %d", got, len(got), len(digest))
			}
			got = head + "~"
		}
		if got != want {
			t.Errorf("%q becomes %q, wanted %q", text, got, want)
		}
	}
	if labelOf(long) == labelOf(long+"y") {
		t.Error("two long names have one label")
	}
	if exact := strings.Repeat("x", maxLabel); labelOf(exact) != exact || len(labelOf(exact+"x")) != maxLabel {
		t.Error("at the bound a label is cut, or beyond it is not")
	}
}

// R51: numbers survive a round through their record.
func TestNumberRecord(t *testing.T) {
	r := jsonRecord("x", Numbered{7, "cn=A"})
	var back Numbered
	if err := json.Unmarshal(r.Value, &back); err != nil || back != (Numbered{7, "cn=A"}) {
		t.Errorf("%s: %+v %v", r.Value, back, err)
	}
}

// R51: in a restored store numbers and serials go on above what may have been given after the backup.
func TestNumbersAfterRestore(t *testing.T) {
	w := newWorld(t)
	w.trees("a cn=A")
	w.wantNumbered("2 cn=A", "source 1 a")
	var backup bytes.Buffer
	_, err := w.e.Backup(t.Context(), &backup, "v")
	must(t, err)
	serial := w.watched().AlarmSerial
	w.close()
	w.dir = t.TempDir()
	_, err = store.Restore(w.dir, &backup, store.RestoreOptions{})
	must(t, err)
	w.open()
	w.trees("b cn=B")
	for range 2 { // once for each restore
		w.wantNumbered("2 cn=A", fmt.Sprintf("%d cn=B", countLead+4), "source 1 a", fmt.Sprintf("source %d b", countLead+3))
		if now := w.watched().AlarmSerial; now < serial+countLead || now >= serial+2*countLead {
			t.Errorf("the serial of alarms goes from %d to %d", serial, now)
		}
		w.restart()
	}
}

// R33, R56: the status names the claims whose stored content is damaged, the first ten of many, for as long as it is.
func TestStatusTellsDamage(t *testing.T) {
	w := newWorld(t)
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	for i := range maxDamagedNamed + 2 {
		w.add(fmt.Sprintf("s%02d", i), fmt.Sprintf("cn=S%02d", i), w.source(s, suffix))
	}
	for i := range maxDamagedNamed + 2 {
		w.awaitLive(fmt.Sprintf("cn=S%02d,%s", i, baseDN))
	}
	s.Close() // else all would be well again
	for _, c := range []struct {
		damaged int
		want    string
	}{
		{0, ""},
		{2, "stored content of s00, s01 is damaged"},
		{maxDamagedNamed + 2, "s08, s09 and 2 more is damaged"},
		{0, ""},
	} {
		must(t, w.e.do(t.Context(), func() {
			for i := range maxDamagedNamed + 2 {
				number, id := w.e.claims[queue.ClaimID(fmt.Sprintf("s%02d", i))].number, dit.UUID{byte(i)}
				b := store.Batch{Deletes: []store.Key{{Claim: number, UUID: id}}}
				if i < c.damaged {
					b = store.Batch{Puts: []store.Put{{Claim: number, UUID: id, CSN: w.e.last, Value: []byte("no entry")}}}
				}
				must(t, w.store.Commit(&b))
			}
		}))
		w.close()
		w.open()
		status, err := w.e.Status(t.Context())
		must(t, err)
		figures, err := w.e.Figures(t.Context())
		must(t, err)
		if told := strings.Join(status.Damage, "; "); (c.want == "") != (told == "") || !strings.Contains(told, c.want) || figures.Damage != len(status.Damage) {
			t.Errorf("%d damaged: the status says %q, the figures %d", c.damaged, told, figures.Damage)
		}
	}
}
