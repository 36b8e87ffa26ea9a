package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// allOf is what a store says, but for when it was dated anew and its instance.
func allOf(tb testing.TB, s *Store) string {
	tb.Helper()
	var b strings.Builder
	for _, c := range s.Claims() {
		fmt.Fprintf(&b, "claim %d: generation %d, cookie %q of %q, %d entries, damaged %v\n", c.ID, c.Generation, c.Cookie, c.Server, c.Count, c.Damaged)
		err := s.Entries(c.ID, func(it Item) error {
			_, err := fmt.Fprintf(&b, "%x/%d/%d/%d bytes, %08x\n", it.UUID, it.Gen, it.Changed, len(it.Value), crc32.ChecksumIEEE(it.Value))
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	fmt.Fprintln(&b, records(tb, s, ""), published(tb, s), journal(tb, s, 0))
	return b.String()
}

// filled is a store with something of every kind, some of which a backup leaves out.
func filled(tb testing.TB) *Store {
	tb.Helper()
	s := open(tb, tb.TempDir(), Options{})
	st, err := s.Stage(1)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 20 {
		if err := st.Put(scattered(i), uint32(i), fmt.Appendf(nil, "entry %d", i)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := s.CommitStage(st, []byte("rid=1,csn=7"), "ldap://a", 100, &Batch{
		Records: []Record{{Name: "queue/cn=x", Value: []byte("head")}, {Name: "empty", Value: []byte{}}},
		Journal: [][]byte{[]byte("came"), []byte("went")},
		Changes: []Change{{CSN: 100, Kind: ChangeAdd, UUID: scattered(0)}},
	}); err != nil {
		tb.Fatal(err)
	}
	st, err = s.Stage(1) // some replaced, one gone
	if err == nil {
		err = errors.Join(st.Put(scattered(3), 0, []byte("new")), st.Delete(scattered(4)))
	}
	if err == nil {
		err = s.CommitStage(st, []byte("rid=1,csn=8"), "ldap://a", 200, &Batch{})
	}
	if err != nil {
		tb.Fatal(err)
	}
	commit(tb, s, &Batch{CSN: 300,
		Puts:      []Put{{Claim: 1, UUID: scattered(5), Gen: 1, CSN: 300, Value: []byte("changed")}, {Claim: 2, UUID: scattered(1), CSN: 299}},
		Deletes:   []Key{{Claim: 1, UUID: scattered(6)}},
		Cookies:   []Claim{{ID: 2, Cookie: []byte("second"), Server: "ldap://b"}},
		Published: []PublishedAs{{Claim: 2, Upstream: scattered(1), Published: scattered(77)}},
	})
	commit(tb, s, &Batch{CSN: 301, Puts: []Put{{Claim: 2, UUID: scattered(2), CSN: 301, Value: bytes.Repeat([]byte("large"), 1<<20)}}})
	commit(tb, s, &Batch{CSN: 302, Cookies: []Claim{{ID: 3, Cookie: []byte("gone")}}})
	if err := s.DropClaim(3, &Batch{}); err != nil {
		tb.Fatal(err)
	}
	st, err = s.Stage(2) // not committed: no part of it
	if err == nil {
		err = errors.Join(st.Put(scattered(9), 0, []byte("staged")), st.Delete(scattered(1)))
	}
	if err == nil {
		err = st.Sync(context.Background())
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { st.Discard() })
	return s
}

var backupHead = BackupHeader{Version: "v1", Time: time.Unix(1e9, 0).UTC(), BaseDN: "o=x"}

func backupOf(tb testing.TB, s *Store) []byte {
	tb.Helper()
	var b bytes.Buffer
	got, err := s.Backup(context.Background(), &b, backupHead, 1)
	if err != nil || got.Bytes != int64(b.Len()) {
		tb.Fatalf("%+v, %d bytes: %v", got, b.Len(), err)
	}
	return b.Bytes()
}

func restored(tb testing.TB, dir string, from []byte, o RestoreOptions) *Restored {
	tb.Helper()
	out, err := Restore(dir, bytes.NewReader(from), o)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// R12, R17, invariant 13: what a backup holds comes back, as another instance, all of it
// dated after whatever was given out before and kept so over a restart.
func TestBackupRestore(t *testing.T) {
	s := filled(t)
	text := backupOf(t, s)
	want := allOf(t, s)
	clock := time.UnixMicro(5000)
	seen := map[dit.UUID]bool{s.Instance(): true}
	for _, dir := range []string{filepath.Join(t.TempDir(), "new", "dir"), t.TempDir()} {
		out := restored(t, dir, text, RestoreOptions{Now: func() time.Time { return clock }})
		r := open(t, dir, Options{})
		if got := allOf(t, r); got != want {
			t.Errorf("restored:\n%s\nwant:\n%s", got, want)
		}
		head := backupHead
		head.Instance, head.ContextCSN = s.Instance().String(), "19700101000000.000302Z#000000#001#000000"
		if out.Header != head || out.Claims != 2 || out.Entries != 20 || out.Damaged != 0 || out.LeftOut != 0 || out.Aside != "" {
			t.Errorf("it says %+v", out)
		}
		if seen[r.Instance()] || r.Instance() != out.Instance || r.Namespace() != s.Instance() {
			t.Errorf("instance %v, said to be %v, in the namespace of %v", r.Instance(), out.Instance, r.Namespace())
		}
		seen[r.Instance()] = true
		least := dit.CSNAt(clock.Add(restoreLead))
		if r.LastCSN() != least || out.CSN != least || r.Redated() != least {
			t.Errorf("CSN %d, said to be %d, dated %d, want %d", r.LastCSN(), out.CSN, r.Redated(), least)
		}
		if _, ok := changes(t, r, least-1); ok {
			t.Error("the change log reaches over the restore")
		}
		commit(t, r, &Batch{CSN: least + 1, Changes: []Change{{CSN: least + 1, Kind: ChangeModify, UUID: scattered(1)}},
			Puts: []Put{{Claim: 2, UUID: scattered(1), CSN: least + 1, Value: []byte("new")}}})
		r = reopen(t, r)
		for id, csn := range map[int]dit.CSN{1: least + 1, 2: least} {
			if it, err := r.Entry(2, scattered(id)); err != nil || it.CSN != csn {
				t.Errorf("entry %d: %+v, %v, want CSN %d", id, it, err, csn)
			}
		}
		if log, ok := changes(t, r, least); !ok || len(log) != 1 {
			t.Errorf("the change log after the restore: %v, %v", log, ok)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Invariant 13: the sequence goes on from the backup's where that is ahead of the clock.
func TestRestoreBehindTheBackup(t *testing.T) {
	s := filled(t)
	out := restored(t, t.TempDir(), backupOf(t, s), RestoreOptions{Now: atZero})
	if want := s.LastCSN() + dit.CSN(restoreLead/time.Microsecond); out.CSN != want {
		t.Errorf("CSN %d, want %d", out.CSN, want)
	}
}

// A restored store can be backed up and restored again; its UUIDs' namespace stays.
func TestRestoreTwice(t *testing.T) {
	s := filled(t)
	dir, again := t.TempDir(), t.TempDir()
	restored(t, dir, backupOf(t, s), RestoreOptions{Now: atZero})
	r := open(t, dir, Options{})
	out := restored(t, again, backupOf(t, r), RestoreOptions{Now: atZero})
	r2 := open(t, again, Options{})
	if allOf(t, r2) != allOf(t, r) || r2.Namespace() != s.Instance() || out.CSN <= r.LastCSN() {
		t.Errorf("namespace %v, CSN %d after %d\n%s", r2.Namespace(), out.CSN, r.LastCSN(), allOf(t, r2))
	}
}

// small is a backup of few bytes.
func small(t *testing.T) []byte {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{CSN: 300, Records: []Record{{Name: "n", Value: []byte("v")}}, Journal: [][]byte{[]byte("j")},
		Puts: []Put{{Claim: 2, UUID: scattered(1), CSN: 299, Value: []byte("x")}}})
	return backupOf(t, s)
}

// told is what a backup holds, or the error that ends it.
func told(text []byte) (string, error) {
	var b strings.Builder
	end, err := readBackup(bytes.NewReader(text), func(h BackupHeader) error { return json.NewEncoder(&b).Encode(h) },
		func(key, stored []byte) error { _, err := fmt.Fprintf(&b, "%x=%x\n", key, stored); return err })
	fmt.Fprintf(&b, "%+v", end)
	return b.String(), err
}

// A flipped bit anywhere, a cut anywhere, a piece twice, missing, or elsewhere, and
// anything behind the end are refused, and the place is named.
func TestBackupIsWhole(t *testing.T) {
	text := small(t)
	if _, err := told(text); err != nil {
		t.Fatal(err)
	}
	for at := range text {
		for bit := range 8 {
			bad := bytes.Clone(text)
			bad[at] ^= 1 << bit
			if _, err := told(bad); !errors.Is(err, ErrBackup) && !errors.Is(err, ErrNewer) {
				t.Errorf("byte %d of %d, bit %d flipped: %v", at, len(text), bit, err)
			}
		}
		if _, err := told(text[:at]); !errors.Is(err, ErrBackup) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if _, err := told(append(bytes.Clone(text), 0)); !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "follows the trailer") {
		t.Errorf("a byte behind it: %v", err)
	}
	form, pieces := piecesOf(t, text)
	for name, list := range map[string][]int{
		"twice": {0, 1, 1, 2}, "missing": {0, 2}, "no trailer": {0, 1}, "trailer twice": {0, 1, 2, 2},
		"no header": {1, 2}, "header twice": {0, 0, 1, 2}, "swapped": {1, 0, 2},
	} {
		bad := bytes.Clone(form)
		for _, i := range list {
			bad = append(bad, pieces[i]...)
		}
		if _, err := told(bad); !errors.Is(err, ErrBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// piecesOf cuts a backup of one piece of records.
func piecesOf(t *testing.T, text []byte) (form []byte, pieces [][]byte) {
	t.Helper()
	var at []int64
	p := newPieceReader(bytes.NewReader(text))
	if err := p.form(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		at = append(at, p.at)
		if _, _, err := p.piece(); err != nil {
			t.Fatal(err)
		}
	}
	at = append(at, p.at)
	for i := range 3 {
		pieces = append(pieces, text[at[i]:at[i+1]])
	}
	if p.at != int64(len(text)) {
		t.Fatalf("%d bytes of %d", p.at, len(text))
	}
	return text[:at[0]], pieces
}

// The place is said in words.
func TestBackupSaysWhere(t *testing.T) {
	text := small(t)
	form, pieces := piecesOf(t, text)
	bad := bytes.Clone(text)
	bad[len(form)+len(pieces[0])+10] ^= 1
	_, err := told(bad)
	if want := fmt.Sprintf("piece 2, from byte %d on: its checksum is wrong: the backup is not whole", len(form)+len(pieces[0])); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = told(text[:len(text)-3])
	if want := fmt.Sprintf("piece 3, from byte %d on: it ends at byte %d: the backup is not whole", len(text)-len(pieces[2]), len(text)-3); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	for in, want := range map[string]string{
		"":                                      "it does not begin with",
		"dn: o=x\n":                             "it does not begin with",
		"shaft backup 0\n":                      "it does not begin with",
		"shaft backup +1\n":                     "it does not begin with",
		"shaft backup 01\n":                     "it does not begin with",
		"shaft backup 2\nwhat so":               "a backup of form 2, this Shaft knows 1",
		"shaft backup 1\n":                      "piece 1, from byte 15 on: it ends at byte 15",
		"shaft backup 1\nh\xff\xff\xff\xff....": "piece 1, from byte 15 on: a piece of 4294967295 bytes",
	} {
		if _, err := told([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// FuzzBackup: nothing makes the reader panic, and what it takes to the end is what a writer wrote.
func FuzzBackup(f *testing.F) {
	for _, records := range [][]string{nil, {"m", "x"}, {"", ""}, {"k", "v", "k", "v"}} {
		var b bytes.Buffer
		p, err := newPieceWriter(&b, backupHead)
		if err != nil {
			f.Fatal(err)
		}
		for i := 0; i < len(records); i += 2 {
			if err := p.record([]byte(records[i]), []byte(records[i+1])); err != nil {
				f.Fatal(err)
			}
		}
		if err := p.finish(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := uint64(0)
		end, err := readBackup(bytes.NewReader(data), func(BackupHeader) error { return nil }, func(_, _ []byte) error { n++; return nil })
		if err == nil && n != end.records {
			t.Errorf("%d records, the trailer says %d", n, end.records)
		}
	})
}

// manyLines are too many for one transaction: they are written ahead of their commit.
const manyLines = maxBatchLines + 1

// heavy writes until it is stopped: each commit is seen whole or not at all.
func heavy(s *Store, stop <-chan struct{}) error {
	for n := 1; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		csn, text := dit.CSN(n*1000), []byte(strconv.Itoa(n))
		b := &Batch{CSN: csn, Records: []Record{{Name: "n", Value: text}}, Journal: [][]byte{text},
			Cookies: []Claim{{ID: 1, Cookie: text}}, Changes: []Change{{CSN: csn, UUID: scattered(1), Kind: ChangeModify}}}
		for i := range 50 {
			b.Puts = append(b.Puts, Put{Claim: 1, UUID: scattered(i), CSN: csn, Value: text})
		}
		for i := range manyLines {
			b.Published = append(b.Published, PublishedAs{Claim: 1, Upstream: scattered(i), Published: scattered(n + i)})
		}
		if err := s.Commit(b); err != nil {
			return err
		}
		st, err := s.Stage(2)
		for i := 0; i < 200 && err == nil; i++ {
			err = st.Put(scattered(i), uint32(i), text)
		}
		if err == nil {
			err = s.CommitStage(st, text, "", csn+1, &Batch{})
		}
		if err != nil {
			return err
		}
	}
}

// A backup under writes is what one commit left, whichever.
func TestBackupUnderWrites(t *testing.T) {
	s := open(t, t.TempDir(), Options{Journal: 100})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := heavy(s, stop); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer close(stop)
	for claimOf(s, 2).Count == 0 { // each backup takes long enough for commits meanwhile
		backupOf(t, s)
		if t.Failed() {
			return
		}
	}
	for range 2 {
		dir := t.TempDir()
		out := restored(t, dir, backupOf(t, s), RestoreOptions{})
		r := open(t, dir, Options{})
		n := records(t, r, "")["n"]
		if out.Damaged > 0 || out.LeftOut > 0 || n == "" || out.Entries < 50 {
			t.Fatalf("%+v, n is %q", out, n)
		}
		second := string(claimOf(r, 2).Cookie)
		was, _ := strconv.Atoi(n)
		if second != n && second != strconv.Itoa(was-1) && was > 1 {
			t.Errorf("the refresh of %q beside the commit of %s", second, n)
		}
		for id, want := range map[uint32]string{1: n, 2: second} {
			if got := string(claimOf(r, id).Cookie); got != want {
				t.Errorf("claim %d has the cookie %q, want %q", id, got, want)
			}
			if err := r.Entries(id, func(it Item) error {
				if string(it.Value) != want {
					return fmt.Errorf("claim %d: an entry of %s among those of %s", id, it.Value, want)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		lines := journal(t, r, 0)
		if lines[len(lines)-1] != n+":"+n {
			t.Errorf("the journal ends with %s, not %s", lines[len(lines)-1], n)
		}
		lot := published(t, r)
		for i := range manyLines {
			if lot[scattered(i)] != scattered(was+i) {
				t.Fatalf("published line %d is not that of %s", i, n)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Content that cannot be read is left out, said, and fetched again after a restore; a
// named record that cannot be read ends the backup by its name.
func TestBackupOfDamage(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "c1", map[int]string{1: "a", 2: "b"})
	commit(t, s, &Batch{CSN: 200, Records: []Record{{Name: "n", Value: []byte("value")}}})
	damage := func(key []byte) {
		t.Helper()
		err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, []byte("nonsense")) })
		if err != nil {
			t.Fatal(err)
		}
	}
	damage(contentKey(nil, Key{1, scattered(2), 1}))
	commit(t, s, &Batch{CSN: 201}) // readers see it
	var b bytes.Buffer
	got, err := s.Backup(context.Background(), &b, backupHead, 1)
	if err != nil || got.LeftOut != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	dir := t.TempDir()
	if out := restored(t, dir, b.Bytes(), RestoreOptions{}); out.LeftOut != 1 || out.Damaged != 1 || out.Entries != 1 {
		t.Errorf("%+v", out)
	}
	if c := claimOf(open(t, dir, Options{}), 1); !c.Damaged || c.Cookie != nil || c.Count != 1 {
		t.Errorf("%+v", c)
	}
	damage(recordKey("n"))
	commit(t, s, &Batch{CSN: 202})
	if _, err := s.Backup(context.Background(), io.Discard, backupHead, 1); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `record "n"`) {
		t.Errorf("%v", err)
	}
}

// cutWriter fails, or ends a context, after some writes.
type cutWriter struct {
	left int
	end  func() error
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, w.end()
	}
	return len(b), nil
}

// A reader that goes away ends the backup and what it holds: the store closes.
func TestBackupEnds(t *testing.T) {
	s := filled(t)
	gone := errors.New("the reader is gone")
	for n := range 4 {
		if _, err := s.Backup(context.Background(), &cutWriter{n, func() error { return gone }}, backupHead, 1); !errors.Is(err, gone) {
			t.Errorf("%d writes: %v", n, err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		w := &cutWriter{n, func() error { cancel(gone); return nil }}
		if n == 0 {
			cancel(gone)
		}
		if _, err := s.Backup(ctx, w, backupHead, 1); n < 2 && !errors.Is(err, gone) {
			t.Errorf("cancelled at %d: %v", n, err)
		}
		cancel(nil)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(context.Background(), io.Discard, backupHead, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "restore*")); len(left) > 0 {
		t.Error(left)
	}
	if _, err := os.Stat(s.dir); err != nil {
		t.Error(err)
	}
}
