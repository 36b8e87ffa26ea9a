package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"shaft/pkg/dit"
)

// refresh stages puts (value by number; ordinals in no order) and deletes, and
// commits them from CSN first on.
func refresh(t *testing.T, s *Store, claim uint32, first dit.CSN, cookie string, puts map[int]string, deletes ...int) *Stage {
	t.Helper()
	st := begin(t, s, claim, puts, deletes...)
	if err := s.CommitStage(st, []byte(cookie), "ldap://a", first, &Batch{}); err != nil {
		t.Fatal(err)
	}
	return st
}

func begin(t *testing.T, s *Store, claim uint32, puts map[int]string, deletes ...int) *Stage {
	t.Helper()
	st, err := s.Stage(claim)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range puts {
		if err := st.Put(scattered(i), uint32(i), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range deletes {
		if err := st.Delete(scattered(i)); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

// R35: a refresh replaces, adds and removes at its commit, and is nothing before.
func TestR35Refresh(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "c1", map[int]string{1: "a", 2: "b", 3: "c"})
	want := map[int]string{1: "1/101/a", 2: "1/102/b", 3: "1/103/c"}
	wantEntries(t, s, 1, want)

	st := begin(t, s, 1, map[int]string{1: "A", 4: "D"}, 2, 9)
	if err := st.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, s, 1, want)
	if err := s.CommitStage(st, []byte("c2"), "ldap://b", 200, &Batch{}); err != nil {
		t.Fatal(err)
	}
	want = map[int]string{1: "2/201/A", 3: "1/103/c", 4: "2/204/D"}
	for range 3 {
		wantEntries(t, s, 1, want)
		if c := claimOf(s, 1); c.Generation != 2 || string(c.Cookie) != "c2" || c.Server != "ldap://b" || s.LastCSN() != 204 {
			t.Errorf("claim %+v, last %d", c, s.LastCSN())
		}
		if it, err := s.Entry(1, scattered(2)); it != nil || err != nil {
			t.Errorf("deleted entry: %v, %v", it, err)
		}
		s = reopen(t, s)
	}
	if n := contentRecords(t, s, 1); n != len(want) {
		t.Errorf("%d records left, want %d", n, len(want))
	}
	if err := st.Put(scattered(1), 1, nil); !errors.Is(err, errCommitted) {
		t.Errorf("put after the commit: %v", err)
	}
}

// R35, invariant 3: a refresh that broke, was discarded or was cut off by a
// restart leaves nothing, and nothing of it comes true with a later one.
func TestR35BrokenRefresh(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, s *Store, st *Stage) *Store
	}{
		{"discarded", func(t *testing.T, s *Store, st *Stage) *Store {
			if err := st.Discard(); err != nil {
				t.Fatal(err)
			}
			return s
		}},
		{"forgotten", func(t *testing.T, s *Store, st *Stage) *Store { return s }},
		{"restart", func(t *testing.T, s *Store, st *Stage) *Store {
			if err := st.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			return reopen(t, s)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			refresh(t, s, 1, 100, "c1", map[int]string{1: "a", 2: "b"})
			st := begin(t, s, 1, map[int]string{2: "broken", 3: "broken"}, 1)
			if err := st.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			s = c.end(t, s, st)
			wantEntries(t, s, 1, map[int]string{1: "1/101/a", 2: "1/102/b"})

			gen := refresh(t, s, 1, 200, "c2", map[int]string{4: "d"}).Gen()
			if err := st.Put(scattered(5), 5, nil); err == nil {
				t.Error("an ended stage takes a put")
			}
			want := map[int]string{1: "1/101/a", 2: "1/102/b", 4: fmt.Sprintf("%d/204/d", gen)}
			wantEntries(t, s, 1, want)
			s = reopen(t, s)
			wantEntries(t, s, 1, want)
			if n := contentRecords(t, s, 1); n != 3 {
				t.Errorf("%d records, want 3", n)
			}
		})
	}
}

// The last of several for one entry counts, and the sums with it.
func TestStageSameEntryTwice(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	st := begin(t, s, 1, map[int]string{1: "a", 2: "b"}, 2)
	for i, v := range []string{"x", "y"} {
		if err := st.Put(scattered(1), uint32(10+i), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := st.Put(scattered(1), 12, []byte("z")); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitStage(st, nil, "", 100, &Batch{}); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, s, 1, map[int]string{1: "1/112/z"})
	s = reopen(t, s)
	wantEntries(t, s, 1, map[int]string{1: "1/112/z"})
}

func TestStageValue(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "", map[int]string{1: "old", 2: "b", 3: "c"})
	st := begin(t, s, 1, map[int]string{1: "new"}, 2)
	if err := st.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{1: "new", 2: ""} {
		if got, err := st.Value(scattered(i)); string(got) != want || err != nil {
			t.Errorf("entry %d: %q, %v", i, got, err)
		}
	}
	if got, err := st.Value(scattered(3)); err == nil {
		t.Errorf("not staged: %q", got)
	}
	s.Close()
	if _, err := st.Value(scattered(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Commits between a stage's Sync and its commit are reckoned with.
func TestCommitDuringStage(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "", map[int]string{1: "a", 2: "b", 3: "c"})
	st := begin(t, s, 1, map[int]string{1: "A", 4: "D"}, 2)
	if err := st.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	commit(t, s, &Batch{
		Deletes: []Key{{1, scattered(1), 1}, {1, scattered(3), 1}},
		Puts:    []Put{{Claim: 1, UUID: scattered(4), Gen: 1, CSN: 150, Value: []byte("d")}},
	})
	b := &Batch{
		CSN: 300, Deletes: []Key{{1, scattered(4), 2}},
		Puts: []Put{{Claim: 1, UUID: scattered(5), Gen: 2, CSN: 300, Value: []byte("e")}, {Claim: 2, UUID: scattered(1), CSN: 299}},
	}
	if err := s.CommitStage(st, nil, "", 200, b); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantEntries(t, s, 1, map[int]string{1: "2/201/A", 5: "2/300/e"})
		wantEntries(t, s, 2, map[int]string{1: "0/299/"})
		s = reopen(t, s)
	}
}

// An entry deleted by a refresh may come back under the same generation before
// or after its tombstone is swept; deleting it then does not raise the dead.
func TestTombstoneAndReturn(t *testing.T) {
	for _, swept := range []bool{false, true} {
		t.Run(fmt.Sprintf("swept=%v", swept), func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			settle := s.sweeper.await
			if !swept {
				s.sweeper.halt()
				settle = func() {}
			}
			refresh(t, s, 1, 100, "", map[int]string{1: "a", 2: "b", 3: "c"})
			refresh(t, s, 1, 200, "", map[int]string{2: "B"}, 1, 3)
			settle()
			commit(t, s, &Batch{Puts: []Put{{Claim: 1, UUID: scattered(1), Gen: 2, CSN: 300, Value: []byte("back")}}})
			wantEntries(t, s, 1, map[int]string{1: "2/300/back", 2: "2/202/B"})
			commit(t, s, &Batch{Deletes: []Key{{1, scattered(1), 2}, {1, scattered(2), 2}}})
			wantEntries(t, s, 1, map[int]string{})
			settle()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, s.dir, s.opts)
			wantEntries(t, s, 1, map[int]string{})
			s.sweeper.await()
			if n := contentRecords(t, s, 1); n != 0 {
				t.Errorf("%d records left", n)
			}
		})
	}
}

// Invariant 7: 100,000 entries become visible in one step, while readers read,
// with changes and published lines of as many.
func TestHugeStageIsAtomic(t *testing.T) {
	const n = 100_000
	s := open(t, t.TempDir(), Options{})
	b := &Batch{CSN: n + 10}
	for i := range n {
		b.Changes = append(b.Changes, Change{CSN: dit.CSN(i + 5), Kind: ChangeAdd, UUID: scattered(i)})
		b.Published = append(b.Published, PublishedAs{1, scattered(i), scattered(i + n)})
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			got := 0
			if err := s.Entries(1, func(Item) error { got++; return nil }); err != nil || got != 0 && got != n {
				t.Errorf("a reader sees %d entries: %v", got, err)
			}
			ok, err := s.Changes(0, func(Change) error { got++; return nil })
			if err != nil || !ok || got%n != 0 {
				t.Errorf("a reader sees %d changes: %v %v", got, ok, err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	st := stageMany(t, s, 1, n, 100)
	if got := len(entries(t, s, 1)); got != 0 {
		t.Fatalf("%d entries before the commit", got)
	}
	if err := s.CommitStage(st, []byte("c"), "", 5, b); err != nil {
		t.Fatal(err)
	}
	close(done)
	readers.Wait()
	for range 2 {
		if got := len(entries(t, s, 1)); got != n {
			t.Errorf("%d entries", got)
		}
		if got, ok := changes(t, s, 0); len(got) != n || !ok {
			t.Errorf("%d changes, %v", len(got), ok)
		}
		if got := published(t, s); len(got) != n || got[scattered(3)] != scattered(3+n) {
			t.Errorf("%d published", len(got))
		}
		s = reopen(t, s)
	}
}

func TestDropClaim(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "c1", map[int]string{1: "a", 2: "b"})
	refresh(t, s, 2, 200, "c2", map[int]string{1: "a"})
	st := begin(t, s, 1, map[int]string{3: "staged"})
	if err := s.DropClaim(1, &Batch{CSN: 300, Records: []Record{{"gone", []byte("1")}}}); err != nil {
		t.Fatal(err)
	}
	if err := st.Sync(context.Background()); !errors.Is(err, errDiscarded) {
		t.Errorf("its stage: %v", err)
	}
	if got := s.Claims(); len(got) != 1 || got[0].ID != 2 || len(entries(t, s, 1)) != 0 || len(records(t, s, "gone")) != 1 {
		t.Errorf("claims: %+v", got)
	}
	again := refresh(t, s, 1, 400, "c3", map[int]string{2: "new"})
	want := map[int]string{2: fmt.Sprintf("%d/402/new", again.Gen())}
	wantEntries(t, s, 1, want)
	s = reopen(t, s)
	wantEntries(t, s, 1, want)
	wantEntries(t, s, 2, map[int]string{1: "1/201/a"})

	if err := s.DropClaim(1, &Batch{}); err != nil {
		t.Fatal(err)
	}
	s.sweeper.await()
	if n := contentRecords(t, s, 1); n != 0 || s.claims[1] != nil {
		t.Errorf("%d records left, claim %+v", n, s.claims[1])
	}
	s = reopen(t, s)
	refresh(t, s, 1, 500, "", map[int]string{2: "x"})
	wantEntries(t, s, 1, map[int]string{2: "1/502/x"})
}

// A dropped claim that a restart caught before its sweep stays dropped.
func TestDropClaimBeforeSweep(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "c1", map[int]string{1: "a", 2: "b"})
	s.sweeper.halt()
	if err := s.DropClaim(1, &Batch{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, s.opts)
	if len(s.Claims()) != 0 || len(entries(t, s, 1)) != 0 {
		t.Error("the claim is back")
	}
	s.sweeper.await()
	if n := contentRecords(t, s, 1); n != 0 || s.claims[1] != nil {
		t.Errorf("%d records left, claim %+v", n, s.claims[1])
	}
}

// Many random refreshes, commits, discards, drops and restarts give what a map gives.
func TestRandomHistory(t *testing.T) {
	for seed := range 4 {
		s := open(t, t.TempDir(), Options{})
		model := map[int]string{}
		rnd := uint64(seed)*7919 + 1
		random := func(n int) int {
			rnd = rnd*6364136223846793005 + 1442695040888963407
			return int(rnd>>33) % n
		}
		csn, gen := dit.CSN(0), uint32(0)
		for step := range 60 {
			switch what := random(10); {
			case what < 4:
				b := &Batch{}
				for range random(6) {
					i := random(12)
					if step%2 == 0 {
						b.Deletes = append(b.Deletes, Key{1, scattered(i), gen})
						delete(model, i)
						continue
					}
					csn++
					b.Puts = append(b.Puts, Put{Claim: 1, UUID: scattered(i), Gen: gen, CSN: csn, Value: []byte("p")})
					model[i] = fmt.Sprintf("%d/%d/p", gen, csn)
				}
				commit(t, s, b)
			case what < 8:
				puts, deletes := map[int]string{}, []int{}
				for range random(6) {
					puts[random(12)] = "s"
				}
				for i := range 12 {
					if _, put := puts[i]; !put && random(5) == 0 {
						deletes = append(deletes, i)
					}
				}
				st := begin(t, s, 1, puts, deletes...)
				if what == 7 {
					if err := st.Discard(); err != nil {
						t.Fatal(err)
					}
					break
				}
				if err := s.CommitStage(st, nil, "", csn+1, &Batch{CSN: csn + 20}); err != nil {
					t.Fatal(err)
				}
				gen = st.Gen()
				for i := range puts {
					model[i] = fmt.Sprintf("%d/%d/s", gen, csn+1+dit.CSN(i))
				}
				for _, i := range deletes {
					delete(model, i)
				}
				csn += 20
			case what == 8:
				s = reopen(t, s)
			case random(4) == 0:
				if err := s.DropClaim(1, &Batch{}); err != nil {
					t.Fatal(err)
				}
				model = map[int]string{}
				gen = refresh(t, s, 1, csn+1, "", nil).Gen()
			}
			wantEntries(t, s, 1, model)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
		s = reopen(t, s)
		wantEntries(t, s, 1, model)
		if n := contentRecords(t, s, 1); n != len(model) {
			t.Errorf("seed %d: %d records for %d entries", seed, n, len(model))
		}
	}
}
