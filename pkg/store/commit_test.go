package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// R12, R33, invariant 7: entries, cookie and all else of a batch are durable
// together, and are the same after a restart.
func TestR12CommitRoundTrip(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{
		CSN: 12,
		Puts: []Put{
			{Claim: 1, UUID: scattered(1), CSN: 10, Value: []byte("one")},
			{Claim: 1, UUID: scattered(2), CSN: 11, Value: []byte("two")},
			{Claim: 2, UUID: scattered(1), CSN: 12},
		},
		Cookies:   []Claim{{ID: 1, Cookie: []byte("rid=1"), Server: "ldap://a"}},
		Records:   []Record{{"queue/a", []byte("A")}, {"queue/b", []byte{}}, {"sub/1", []byte("S")}},
		Journal:   [][]byte{[]byte("first"), []byte("second")},
		Changes:   []Change{{CSN: 10, Kind: ChangeAdd, UUID: scattered(1)}, {CSN: 12, Kind: ChangeDelete, UUID: scattered(3), DN: "cn=x"}},
		Published: []PublishedAs{{1, scattered(1), scattered(77)}},
	})
	instance := s.Instance()
	for range 2 {
		wantEntries(t, s, 1, map[int]string{1: "0/10/one", 2: "0/11/two"})
		wantEntries(t, s, 2, map[int]string{1: "0/12/"})
		if c := claimOf(s, 1); string(c.Cookie) != "rid=1" || c.Server != "ldap://a" || c.Generation != 0 {
			t.Errorf("claim: %+v", c)
		}
		if got := records(t, s, "queue/"); !maps.Equal(got, map[string]string{"queue/a": "A", "queue/b": ""}) {
			t.Errorf("records: %v", got)
		}
		if got := journal(t, s, 2); !slices.Equal(got, []string{"2:second"}) {
			t.Errorf("journal: %v", got)
		}
		got, ok := changes(t, s, 10)
		if want := []Change{{CSN: 12, Kind: ChangeDelete, UUID: scattered(3), DN: "cn=x"}}; !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("changes: %v %v", got, ok)
		}
		if got := published(t, s); !maps.Equal(got, map[dit.UUID]dit.UUID{scattered(1): scattered(77)}) {
			t.Errorf("published: %v", got)
		}
		if s.LastCSN() != 12 || s.Instance() != instance || instance.IsZero() {
			t.Errorf("last %d, instance %x", s.LastCSN(), s.Instance())
		}
		s = reopen(t, s)
	}
}

func TestCommitReplacesAndRemoves(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	put := func(i int, csn dit.CSN, v string) Put {
		return Put{Claim: 1, UUID: scattered(i), CSN: csn, Value: []byte(v)}
	}
	del := func(i int) Key { return Key{1, scattered(i), 0} }
	for _, step := range []struct {
		name string
		b    Batch
		want map[int]string
	}{
		{"add", Batch{Puts: []Put{put(1, 1, "a"), put(2, 2, "b")}}, map[int]string{1: "0/1/a", 2: "0/2/b"}},
		{"replace", Batch{Puts: []Put{put(1, 3, "c")}}, map[int]string{1: "0/3/c", 2: "0/2/b"}},
		{"twice in one", Batch{Puts: []Put{put(1, 4, "d"), put(1, 5, "e")}}, map[int]string{1: "0/5/e", 2: "0/2/b"}},
		{"delete an absent one", Batch{Deletes: []Key{del(9)}}, map[int]string{1: "0/5/e", 2: "0/2/b"}},
		{"delete and add again", Batch{Deletes: []Key{del(1)}, Puts: []Put{put(1, 6, "f")}}, map[int]string{1: "0/6/f", 2: "0/2/b"}},
		{"delete twice", Batch{Deletes: []Key{del(1), del(1)}}, map[int]string{2: "0/2/b"}},
		{"add again", Batch{Puts: []Put{put(1, 7, "g")}}, map[int]string{1: "0/7/g", 2: "0/2/b"}},
		{"delete all", Batch{Deletes: []Key{del(1), del(2)}}, map[int]string{}},
	} {
		t.Run(step.name, func(t *testing.T) {
			commit(t, s, &step.b)
			wantEntries(t, s, 1, step.want)
		})
	}
	s = reopen(t, s)
	wantEntries(t, s, 1, map[int]string{})

	commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}}, Published: []PublishedAs{{1, scattered(1), scattered(2)}}})
	commit(t, s, &Batch{Records: []Record{{"a", nil}}, Published: []PublishedAs{{1, scattered(1), dit.UUID{}}}})
	if r, p := records(t, s, ""), published(t, s); len(r) != 0 || len(p) != 0 {
		t.Errorf("left: %v, %v", r, p)
	}
}

// R56: what cannot be committed is refused with a reason, and nothing of it is done.
func TestR56CommitRefuses(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{CSN: 100, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 100, Value: []byte("kept")}}})
	many := func(n, size int) (puts []Put) {
		for i := range n {
			puts = append(puts, Put{Claim: 1, UUID: scattered(i), CSN: 100, Value: make([]byte, size)})
		}
		return puts
	}
	for _, c := range []struct {
		name string
		b    Batch
		want string
		big  bool
	}{
		{"too many", Batch{Puts: many(MaxBatchChanges+1, 1)}, "1001 changes", true},
		{"too many bytes", Batch{Puts: many(2, MaxBatchBytes/2+1)}, "bytes", true},
		{"too many records", Batch{Records: make([]Record, maxBatchLines+1)}, "4001 records", true},
		{"too long a journal", Batch{Journal: [][]byte{make([]byte, 600<<10), make([]byte, 600<<10)}, Deletes: make([]Key, 2)}, "bytes", true},
		{"one beyond all", Batch{Puts: many(1, MaxValue+1)}, "at most", true},
		{"CSN goes back", Batch{CSN: 100, Records: []Record{{"x", []byte("y")}}}, "CSN 100 is not above 100", false},
		{"change goes back", Batch{CSN: 102, Changes: []Change{{CSN: 102}, {CSN: 101}}}, "change 1", false},
		{"change of the past", Batch{CSN: 101, Changes: []Change{{CSN: 100}}}, "change 0", false},
		{"generation to come", Batch{Records: []Record{{"x", []byte("y")}}, Puts: []Put{{Claim: 1, Gen: 1}}}, "generation 1", false},
		{"long name", Batch{Records: []Record{{strings.Repeat("x", maxName+1), []byte("y")}}}, "record name", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Commit(&c.b)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrTooBig) != c.big {
				t.Errorf("error %v, want %q", err, c.want)
			}
			wantEntries(t, s, 1, map[int]string{1: "0/100/kept"})
			if r := records(t, s, ""); len(r) != 0 || s.LastCSN() != 100 {
				t.Errorf("something was done: %v, last %d", r, s.LastCSN())
			}
		})
	}
	commit(t, s, &Batch{CSN: 101})
}

// A batch at its bounds fits into one transaction, whatever it is made of.
func TestCommitAtItsBounds(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, size := range []int{1, 800, MaxBatchBytes/MaxBatchChanges - 120} {
		b := &Batch{}
		for i := range MaxBatchChanges {
			b.Puts = append(b.Puts, Put{Claim: 1, UUID: scattered(i), Value: make([]byte, size)})
		}
		commit(t, s, b)
		if n := len(entries(t, s, 1)); n != MaxBatchChanges {
			t.Errorf("size %d: %d entries", size, n)
		}
	}
	b := &Batch{}
	for i := range maxBatchLines {
		b.Records = append(b.Records, Record{fmt.Sprint("r", i), []byte("v")})
	}
	commit(t, s, b)
	if n := len(records(t, s, "r")); n != maxBatchLines {
		t.Errorf("%d records", n)
	}
}

// One value of up to 60 MiB is stored, by Commit and by Stage.
func TestValuesOfAnySize(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	sizes := []int{0, 1, valueThreshold - 20, valueThreshold, 10 << 20, 60 << 20}
	value := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, sizes[i]) }
	st, err := s.Stage(2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sizes {
		commit(t, s, &Batch{CSN: dit.CSN(i + 1), Puts: []Put{{Claim: 1, UUID: scattered(i), Value: value(i)}}, Journal: [][]byte{[]byte("x")}})
		if err := st.Put(scattered(i), uint32(i), value(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CommitStage(st, nil, "", 100, &Batch{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for claim := uint32(1); claim <= 2; claim++ {
			for i := range sizes {
				it, err := s.Entry(claim, scattered(i))
				if err != nil || it == nil || !bytes.Equal(it.Value, value(i)) {
					t.Fatalf("claim %d, %d bytes: %v", claim, sizes[i], err)
				}
			}
		}
		s = reopen(t, s)
	}
}

// Invariant 13: the sequence only grows, over restarts too, whoever carries it.
func TestLastCSNOnlyGrows(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for i, step := range []struct {
		b    Batch
		want dit.CSN
	}{
		{Batch{CSN: 10}, 10},
		{Batch{Records: []Record{{"a", []byte("b")}}}, 10},
		{Batch{Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 20}}}, 20},
		{Batch{CSN: 21, Changes: []Change{{CSN: 25, Kind: ChangeAdd}}}, 25},
		{Batch{Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 3}}}, 25},
	} {
		commit(t, s, &step.b)
		if s.LastCSN() != step.want {
			t.Errorf("step %d: last %d, want %d", i, s.LastCSN(), step.want)
		}
		if s = reopen(t, s); s.LastCSN() != step.want {
			t.Errorf("step %d: last %d after restart, want %d", i, s.LastCSN(), step.want)
		}
	}
	if err := s.Commit(&Batch{CSN: 25}); err == nil {
		t.Error("the sequence stood still")
	}
}

// R33, R35: after a failed write the store takes no more, says why, and goes on reading.
func TestR35FailedWriteStopsWrites(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{CSN: 1, Puts: []Put{{Claim: 1, UUID: scattered(1), CSN: 1, Value: []byte("x")}}})
	st, err := s.Stage(1)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk is on fire")
	s.fail(broken)
	s.fail(errors.New("a later one"))
	_, stageErr := s.Stage(2)
	for what, err := range map[string]error{
		"commit": s.Commit(&Batch{CSN: 2}), "drop": s.DropClaim(1, &Batch{}), "stage": stageErr,
		"sync": st.Sync(t.Context()), "commit stage": s.CommitStage(st, nil, "", 2, &Batch{}),
	} {
		if !errors.Is(err, ErrFailed) || !errors.Is(err, broken) || !strings.Contains(err.Error(), "store takes no more writes") {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantEntries(t, s, 1, map[int]string{1: "0/1/x"})
}

// The write that fails says so itself, a refusal before it does not.
func TestRefusalIsNoFailure(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{CSN: 5})
	st, err := s.Stage(1)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*Batch{
		"too many":       {Journal: make([][]byte, maxBatchLines+1)},
		"CSN":            {CSN: 5},
		"change":         {Changes: []Change{{CSN: 4}}},
		"not committed":  {Puts: []Put{{Claim: 1, Gen: 7, CSN: 6}}},
		"name too long":  {Records: []Record{{strings.Repeat("x", maxName+1), []byte("v")}}},
		"value too long": {Records: []Record{{"x", make([]byte, MaxValue+1)}}},
	} {
		for what, err := range map[string]error{
			"commit": s.Commit(b), "drop": s.DropClaim(1, b), "commit stage": s.CommitStage(st, nil, "", 9, b),
		} {
			if err == nil || errors.Is(err, ErrFailed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	if err := st.Put(scattered(1), 0, make([]byte, MaxValue+1)); !errors.Is(err, ErrTooBig) || errors.Is(err, ErrFailed) {
		t.Errorf("put: %v", err)
	}
	if err := st.Put(scattered(1), 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitStage(st, nil, "", 9, &Batch{}); err != nil {
		t.Errorf("the refused stage: %v", err)
	}

	s.sweeper.halt()
	s.redo.f = nil                       // commits go to badger at once
	if err := s.db.Close(); err != nil { // the next write fails
		t.Fatal(err)
	}
	for range 2 {
		err := s.Commit(&Batch{CSN: 10, Records: []Record{{"a", []byte("b")}}})
		if !errors.Is(err, ErrFailed) || !errors.Is(err, badger.ErrBlockedWrites) {
			t.Errorf("failed write: %v", err)
		}
	}
}

func TestClosedStore(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{Puts: []Put{{Claim: 1, UUID: scattered(1)}}})
	st, err := s.Stage(1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, entryErr := s.Entry(1, scattered(1))
	_, changesErr := s.Changes(0, nil)
	for what, err := range map[string]error{
		"commit": s.Commit(&Batch{}), "entries": s.Entries(1, nil), "entry": entryErr, "records": s.Records("", nil),
		"journal": s.Journal(0, nil), "published": s.Published(nil), "changes": changesErr, "put": st.Put(scattered(2), 0, nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
