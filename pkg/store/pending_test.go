package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// direct is a store whose commits go to badger one by one.
func direct(t *testing.T) *Store {
	t.Helper()
	s := open(t, t.TempDir(), Options{})
	if err := s.redo.close(); err != nil {
		t.Fatal(err)
	}
	s.redo.f = nil
	return s
}

// acknowledge is commit that does not wait for badger.
func acknowledge(t *testing.T, s *Store, b *Batch) {
	t.Helper()
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
}

// pendingTold is all that a store says but for its instance.
func pendingTold(t *testing.T, s *Store) string {
	t.Helper()
	return strings.ReplaceAll(redoTold(t, s), s.Instance().String(), "its own")
}

// R33: commits are acknowledged while badger has yet to take those before, each builds on them, and kill -9 loses none; a
// frame that is torn was not acknowledged, and keeps those before it.
func TestPendingAfterKill(t *testing.T) {
	h, model := openHeld(t), direct(t)
	var want []string
	const pending = 7
	for i := range 5 + pending {
		commit(t, model, redoBatch(i))
		want = append(want, pendingTold(t, model))
	}
	for i := range pending {
		acknowledge(t, h.Store, redoBatch(5+i))
		dir := copyFiles(t, h.dir)
		if got := pendingTold(t, open(t, dir, Options{})); got != want[5+i] {
			t.Errorf("killed with %d pending:\n%s\nwanted:\n%s", i+1, got, want[5+i])
		}
	}
	torn, turned := copyFiles(t, h.dir), copyFiles(t, h.dir)
	path := filepath.Join(torn, redoName)
	content, err := os.ReadFile(path)
	if err == nil {
		last := bytes.LastIndex(content, []byte(redoMagic))
		if last != (pending-1)*redoPage {
			t.Fatalf("the last frame begins at %d", last)
		}
		clear(content[last+redoHead+30 : last+redoHead+60])
		err = os.WriteFile(path, content, 0o600)
		content[redoPage+redoHead+3] ^= 3
		err = errors.Join(err, os.WriteFile(filepath.Join(turned, redoName), content, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, torn, Options{})
	if got := pendingTold(t, s); got != want[3+pending] {
		t.Errorf("killed amid the last write:\n%s\nwanted:\n%s", got, want[3+pending])
	}
	s = open(t, turned, Options{})
	if words := s.Mended(); len(words) == 0 || !strings.Contains(words[0], "acknowledged are lost") || !claimOf(s, 1).Damaged {
		t.Errorf("with two bits turned in the second of the pending ones: told %q, claim %+v", words, claimOf(s, 1))
	}
	if it, err := s.Entry(1, scattered(5)); err != nil || it == nil || s.meta.commits < h.lead.meta.commits-1 {
		t.Errorf("what is before that: %v, %v; commit %d of %d", it, err, s.meta.commits, h.lead.meta.commits)
	}
	close(h.take)
	if got := pendingTold(t, h.Store); got != want[4+pending] {
		t.Errorf("taken:\n%s\nwanted:\n%s", got, want[4+pending])
	}
	if got := pendingTold(t, reopen(t, h.Store)); got != want[4+pending] {
		t.Errorf("opened again:\n%s\nwanted:\n%s", got, want[4+pending])
	}
}

// R33: a file that is missing, or cut off, as it had commits that badger had yet to take, is a loss that is told.
func TestPendingWithoutTheFile(t *testing.T) {
	h := openHeld(t)
	for i := range 3 {
		acknowledge(t, h.Store, redoBatch(5+i))
	}
	for _, cut := range []struct {
		rest  int64 // bytes that are left; negative: no file
		whole int   // of the three commits
	}{{-1, 0}, {0, 0}, {redoPage, 1}, {redoPage + 100, 1}, {2 * redoPage, 2}, {redoSize - 1, 3}} {
		dir, rest := copyFiles(t, h.dir), cut.rest
		path := filepath.Join(dir, redoName)
		err := error(nil)
		if rest < 0 {
			err = os.Remove(path)
		} else {
			err = os.Truncate(path, rest)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		last := scattered(4 + cut.whole) // each commit removes what the one before brought
		if got := entries(t, s, 1); len(got) != 2 || got[last] == "" {
			t.Errorf("%d bytes of it: the entries are %v, not that of %d commits", rest, got, cut.whole)
		}
		if words := s.Mended(); len(words) == 0 || !strings.Contains(words[0], "redo is missing, or cut off") || !claimOf(s, 1).Damaged || s.LastCSN() <= 107 {
			t.Errorf("%d bytes of it: told %q, claim %+v, last CSN %d", rest, words, claimOf(s, 1), s.LastCSN())
		}
		if kept, _ := filepath.Glob(filepath.Join(dir, "damaged-*", redoName)); rest >= 0 {
			if len(kept) != 1 {
				t.Fatalf("%d bytes of it: kept %q", rest, kept)
			}
			was, _ := os.ReadFile(filepath.Join(h.dir, redoName))
			if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, was[:rest]) {
				t.Errorf("%d bytes of it: %d other ones are kept, %v", rest, len(got), err)
			}
		}
		if s = reopen(t, s); len(s.Mended()) > 0 {
			t.Errorf("told again: %q", s.Mended())
		}
	}
	close(h.take)
}

// A file that cannot be written as others are pending is done without: nothing is lost.
func TestPendingFileFails(t *testing.T) {
	h, model := openHeld(t), direct(t)
	for i := range 9 {
		commit(t, model, redoBatch(i))
	}
	for i := range 3 {
		acknowledge(t, h.Store, redoBatch(5+i))
	}
	<-h.due
	if err := h.redo.f.Close(); err != nil {
		t.Fatal(err)
	}
	close(h.take)
	acknowledge(t, h.Store, redoBatch(8))
	want := pendingTold(t, model)
	if got := pendingTold(t, h.Store); got != want || h.redo.f != nil {
		t.Errorf("it says\n%s\nwanted:\n%s", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(h.dir, lockName)); err != nil || string(text) != "open\n" {
		t.Errorf("%s says %q, %v", lockName, text, err)
	}
	if got := pendingTold(t, reopen(t, h.Store)); got != want {
		t.Errorf("opened again:\n%s\nwanted:\n%s", got, want)
	}
}

// randomBatch edits a few entries of a few claims, so that commits meet what those just before have done.
func randomBatch(r *rand.Rand, csn dit.CSN, gens map[uint32]uint32) *Batch {
	b := &Batch{CSN: csn, Changes: []Change{line(csn, fmt.Sprint("cn=", csn))}}
	for range 1 + r.IntN(4) {
		claim, id := uint32(1+r.IntN(2)), scattered(r.IntN(6))
		if r.IntN(3) == 0 {
			b.Deletes = append(b.Deletes, Key{claim, id, 0})
			continue
		}
		size := r.IntN(200)
		if r.IntN(20) == 0 {
			size = redoLargest / 2 // three of them fill the file
		}
		b.Puts = append(b.Puts, Put{Claim: claim, UUID: id, Gen: gens[claim], CSN: csn, Value: bytes.Repeat([]byte{byte(csn)}, size)})
	}
	name, upstream := fmt.Sprint("name ", r.IntN(4)), scattered(r.IntN(6))
	switch r.IntN(6) {
	case 0:
		b.Records = append(b.Records, Record{name, nil})
	case 1:
		b.Records = append(b.Records, Record{name, fmt.Append(nil, csn)})
	case 2:
		b.Published = append(b.Published, PublishedAs{Claim: 1, Upstream: upstream})
	case 3:
		b.Published = append(b.Published, PublishedAs{1, upstream, scattered(1000 + int(csn))})
	case 4:
		b.Journal = append(b.Journal, fmt.Append(nil, "line ", csn))
	default:
		b.Cookies = append(b.Cookies, Claim{ID: uint32(1 + r.IntN(2)), Cookie: fmt.Append(nil, csn)})
	}
	return b
}

// R33: whatever is committed, refreshed, read, and killed once, a store says what one says whose badger has each commit
// at once.
func TestPendingHistories(t *testing.T) {
	const first, last = dit.CSN(100), dit.CSN(160)
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, model := open(t, t.TempDir(), Options{}), direct(t)
		same := func(when string) {
			t.Helper()
			if got, want := pendingTold(t, s), pendingTold(t, model); got != want {
				t.Fatalf("seed %d, %s:\n%s\nwanted:\n%s", seed, when, got, want)
			}
			if words := s.Mended(); len(words) > 0 {
				t.Fatalf("seed %d, %s: told %q", seed, when, words)
			}
		}
		gens := map[uint32]uint32{} // of each claim
		kill := first + dit.CSN(r.IntN(int(last-first)))
		for csn := first; csn < last; csn++ {
			b := randomBatch(r, csn, gens)
			acknowledge(t, s, b)
			commit(t, model, b)
			switch r.IntN(24) {
			case 0:
				id := uint32(1 + r.IntN(2))
				for _, s := range []*Store{s, model} {
					refresh(t, s, id, csn+1, "cookie", map[int]string{1: "new"})
				}
				gens[id] = claimOf(s, id).Generation
				csn += 2
			case 1:
				same("while it goes on")
			}
			if csn >= kill {
				kill = last
				s = killed(t, s, func() {
					for range r.IntN(6) {
						csn++
						b := randomBatch(r, csn, gens)
						acknowledge(t, s, b)
						commit(t, model, b)
					}
				})
				same("after kill -9")
			}
		}
		same("at the end")
		s = reopen(t, s)
		same("opened again")
	}
}

// killed is a store as kill -9 leaves it, with what is committed last pending. Badger takes nothing
// meanwhile: files that are copied as they are written are not of one moment.
func killed(t *testing.T, s *Store, last func()) *Store {
	t.Helper()
	taken(s)
	s.sweeper.await()
	stopped := make(chan struct{})
	defer close(stopped)
	s.opts.behind = func() { <-stopped }
	last()
	return open(t, copyFiles(t, s.dir), Options{})
}

// A file that is full is begun anew once badger has what is in it: nothing is lost, and no commit goes without.
func TestPendingFillsTheFile(t *testing.T) {
	h, model := openHeld(t), direct(t)
	for i := range 5 {
		commit(t, model, redoBatch(i))
	}
	const each = 100 << 10
	some := func(i int) *Batch {
		b := redoBatch(i)
		b.Records = append(b.Records, Record{"large", bytes.Repeat([]byte{byte(i)}, each)})
		return b
	}
	fits := redoSize / (each + 2*redoPage)
	for i := range fits {
		acknowledge(t, h.Store, some(5+i))
	}
	<-h.due
	if h.redo.end+int64(each) <= redoSize {
		t.Fatalf("there is room for another behind %d", h.redo.end)
	}
	done := make(chan error)
	go func() { done <- h.Commit(some(5 + fits)) }()
	close(h.take)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h.redo.end > int64(each)+2*redoPage {
		t.Errorf("the next frame begins at %d", h.redo.end)
	}
	for i := range fits + 1 {
		commit(t, model, some(5+i))
	}
	want := pendingTold(t, model)
	for i, told := range []string{pendingTold(t, h.Store), pendingTold(t, reopen(t, h.Store))} {
		if told != want {
			t.Errorf("%d: it says\n%.2000s\nwanted:\n%.2000s", i, told, want)
		}
	}
}

// However long commits follow each other without a pause, what the next one builds on stays small.
func TestPendingIsBounded(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	most := 0
	for i := range 3000 {
		csn := dit.CSN(100 + i)
		acknowledge(t, s, &Batch{CSN: csn, Deletes: []Key{{1, scattered(2 * i), 0}, {1, scattered(2*i + 1), 0}}, Changes: []Change{line(csn, "cn=a")}})
		most = max(most, len(s.lead.seen))
	}
	if fits := 2 * redoSize / redoPage; most > fits {
		t.Errorf("%d entries are known, of at most %d", most, fits)
	}
}
