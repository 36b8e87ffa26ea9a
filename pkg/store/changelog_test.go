package store

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

func line(csn dit.CSN, dn string) Change {
	return Change{CSN: csn, Kind: ChangeModify, UUID: scattered(int(csn)), DN: dn}
}

func TestChangesFromAnywhere(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var all []Change
	csn := dit.CSN(0)
	for i := range 40 { // batches of 1, 2, 3 … changes, some CSNs left out, some shared
		b := &Batch{}
		for j := range i + 1 {
			if csn++; j%7 == 3 && j > 0 {
				csn--
			}
			b.Changes = append(b.Changes, line(csn, strings.Repeat("x", j)))
		}
		csn += dit.CSN(i % 3)
		b.CSN = csn
		all = append(all, b.Changes...)
		commit(t, s, b)
	}
	for after := dit.CSN(0); after <= csn+1; after += 13 {
		var want []Change
		for _, c := range all {
			if c.CSN > after {
				want = append(want, c)
			}
		}
		if got, ok := changes(t, s, after); !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d: %d changes, want %d", after, len(got), len(want))
		}
	}
}

// A chunk is bounded, takes changes of one CSN together, and reads back.
func TestChunk(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []Change
		chunks  int
	}{
		{"one", []Change{line(1, "")}, 1},
		{"by number", slices.Repeat([]Change{line(1, "")}, 1), 1},
		{"long DN alone", []Change{line(1, strings.Repeat("x", 100<<10)), line(2, ""), line(3, "")}, 2},
		{"one CSN", slices.Repeat([]Change{line(7, "cn=x")}, 2*maxChunkChanges), 1},
		{"many", func() (l []Change) {
			for i := range 2*maxChunkChanges + 1 {
				l = append(l, line(dit.CSN(i+1), ""))
			}
			return l
		}(), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var back []Change
			n := 0
			for rest := c.changes; len(rest) > 0; n++ {
				var key, value []byte
				key, value, rest = chunk(rest)
				if err := eachChange(key, value, func(c Change) error { back = append(back, c); return nil }); err != nil {
					t.Fatal(err)
				}
				if got := dit.CSN(numberOf(key)); got != back[len(back)-1].CSN {
					t.Errorf("key %d, last CSN %d", got, back[len(back)-1].CSN)
				}
			}
			if n != c.chunks || !reflect.DeepEqual(back, c.changes) {
				t.Errorf("%d chunks, want %d; equal: %v", n, c.chunks, reflect.DeepEqual(back, c.changes))
			}
		})
	}
}

// The change log is bounded and knows how far back it reaches; so does the journal.
func TestLogsAreBounded(t *testing.T) {
	const limit = 64
	s := open(t, t.TempDir(), Options{ChangeLog: limit, Journal: limit})
	csn := dit.CSN(0)
	for range 50 {
		b := &Batch{}
		for range 10 {
			csn++
			b.Changes = append(b.Changes, line(csn, "cn=x"))
			b.Journal = append(b.Journal, fmt.Append(nil, "line ", csn))
		}
		commit(t, s, b)
		s.sweeper.await()
		s.mu.Lock()
		m := s.meta
		s.mu.Unlock()
		if m.logCount > slack(limit) || m.journalNext-m.journalFirst > slack(limit) {
			t.Fatalf("at %d: %d changes, %d lines", csn, m.logCount, m.journalNext-m.journalFirst)
		}
	}
	for range 2 {
		got := journal(t, s, 0)
		if n := len(got); n < limit || uint64(n) > slack(limit) || got[n-1] != "500:line 500" {
			t.Errorf("journal of %d lines: %v", n, got)
		}
		from := s.meta.logFrom
		if from == 0 || from > csn-limit+10 {
			t.Errorf("change log begins after %d", from)
		}
		for after, want := range map[dit.CSN]bool{0: false, from - 1: false, from: true, csn: true, csn + 5: true} {
			got, ok := changes(t, s, after)
			if n := max(int(csn)-int(after), 0); ok != want || ok && len(got) != n || !ok && got != nil {
				t.Errorf("after %d: %d changes, %v", after, len(got), ok)
			}
		}
		s = reopen(t, s)
	}
	commit(t, s, &Batch{Journal: [][]byte{[]byte("next")}})
	if got := journal(t, s, 501); !slices.Equal(got, []string{"501:next"}) {
		t.Errorf("journal goes on with %v", got)
	}
}

// Trimming goes on where it ended: what lies before is deletions, as many as there ever were chunks.
func TestTrimGoesOnWhereItEnded(t *testing.T) {
	const limit = 16
	s := open(t, t.TempDir(), Options{ChangeLog: limit})
	csn := dit.CSN(0)
	fill := func() {
		for range 2 * limit {
			csn++
			commit(t, s, &Batch{Changes: []Change{line(csn, "cn=x")}})
		}
		s.sweeper.await()
	}
	fill()
	before := changesKey(s.meta.logFrom - 1) // has been trimmed; a look at it would find it
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(before, seal(before, make([]byte, 4))) }); err != nil {
		t.Fatal(err)
	}
	fill()
	err := s.db.View(func(txn *badger.Txn) error { _, err := txn.Get(before); return err })
	if err != nil {
		t.Errorf("what lies before the log was met again: %v", err)
	}
	if n := len(must(changes(t, s, s.meta.logFrom))); n < limit || uint64(n) > slack(limit) {
		t.Errorf("%d changes are kept", n)
	}
}

// must gives the changes of a log that reaches back far enough.
func must(got []Change, ok bool) []Change {
	if !ok {
		return nil
	}
	return got
}

// One commit beyond the bound is kept no longer than any other.
func TestHugeCommitIsTrimmed(t *testing.T) {
	s := open(t, t.TempDir(), Options{ChangeLog: 3000})
	b := &Batch{}
	for i := range 20_000 {
		b.Changes = append(b.Changes, line(dit.CSN(i+1), ""))
	}
	commit(t, s, b)
	s.sweeper.await()
	if n := s.meta.logCount; n > 3000 || n < 3000-maxChunkChanges {
		t.Errorf("%d changes kept", n)
	}
	if got, ok := changes(t, s, s.meta.logFrom); !ok || uint64(len(got)) != s.meta.logCount {
		t.Errorf("%d changes, %v; meta says %d", len(got), ok, s.meta.logCount)
	}
}

// A store knows nothing of what was before its creation.
func TestFreshChangeLogBeginsAtCreation(t *testing.T) {
	created := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, t.TempDir(), Options{Now: func() time.Time { return created }})
	at := dit.CSN(created.UnixMicro())
	for range 2 {
		for after, want := range map[dit.CSN]bool{0: false, at - 1: false, at: true, at + 1: true} {
			if _, ok := changes(t, s, after); ok != want {
				t.Errorf("after %d (creation %+d): %v", after, int64(after-at), ok)
			}
		}
		s.opts.Now = func() time.Time { return created.Add(time.Hour) }
		s = reopen(t, s)
	}
}

// What was written ahead of a commit that never came is as if it never was.
func TestWrittenAheadButNotCommitted(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{CSN: 5, Changes: []Change{line(5, "")}, Published: []PublishedAs{{1, scattered(1), scattered(11)}, {1, scattered(2), scattered(12)}}})
	b := &Batch{Published: []PublishedAs{{1, scattered(1), scattered(21)}, {1, scattered(2), dit.UUID{}}, {1, scattered(3), scattered(23)}}}
	for i := range 3000 {
		b.Changes = append(b.Changes, line(dit.CSN(i+6), ""))
	}
	s.writeMu.Lock()
	err := s.writeAhead(b)
	s.writeMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	want := map[dit.UUID]dit.UUID{scattered(1): scattered(11), scattered(2): scattered(12)}
	for range 2 {
		if got, ok := changes(t, s, 0); len(got) != 1 || !ok {
			t.Errorf("%d changes", len(got))
		}
		if got := published(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("published %v", got)
		}
		s = reopen(t, s)
	}
	// The same commit number and CSNs come true with other content.
	commit(t, s, &Batch{CSN: 10, Changes: []Change{line(10, "")}})
	if got, _ := changes(t, s, 0); len(got) != 2 || !reflect.DeepEqual(published(t, s), want) {
		t.Errorf("then %d changes, published %v", len(got), published(t, s))
	}
	// And this time it is committed.
	for i := range b.Changes {
		b.Changes[i].CSN += 100
	}
	b.Published = append(b.Published, slices.Repeat([]PublishedAs{{1, scattered(3), scattered(23)}}, maxBatchLines)...)
	commit(t, s, b)
	want = map[dit.UUID]dit.UUID{scattered(1): scattered(21), scattered(3): scattered(23)}
	for range 2 {
		if got, _ := changes(t, s, 10); len(got) != 3000 || !reflect.DeepEqual(published(t, s), want) {
			t.Errorf("at last %d changes, published %v", len(got), published(t, s))
		}
		s = reopen(t, s)
	}
}
