package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shaft/pkg/dit"
)

// held is a store whose badger takes what is acknowledged only when it is told.
type held struct {
	*Store
	due  chan struct{} // something is acknowledged, and waits
	take chan struct{} // closed: badger may take it
}

func openHeld(t *testing.T) *held {
	t.Helper()
	h := &held{Store: open(t, t.TempDir(), Options{valueFile: 1 << 20}), due: make(chan struct{}, 1), take: make(chan struct{})}
	for i := range 5 {
		commit(t, h.Store, redoBatch(i))
	}
	if last := h.LastCSN(); last != 104 { // which waits until badger has all
		t.Fatal(last)
	}
	h.opts.behind = func() {
		select {
		case h.due <- struct{}{}:
		default: // nobody asks any more
		}
		<-h.take
	}
	return h
}

// redoBatch has something of each kind; it replaces and removes what the one before brought.
func redoBatch(i int) *Batch {
	csn := dit.CSN(100 + i)
	return &Batch{
		CSN:       csn,
		Puts:      []Put{{Claim: 1, UUID: scattered(i), CSN: csn, Value: fmt.Appendf(nil, "entry %d", i)}, {Claim: 1, UUID: scattered(99), CSN: csn, Value: fmt.Appendf(nil, "again %d", i)}},
		Deletes:   []Key{{1, scattered(i - 1), 0}},
		Cookies:   []Claim{{ID: 1, Cookie: fmt.Appendf(nil, "cookie %d", i), Server: "s"}},
		Records:   []Record{{"name", fmt.Appendf(nil, "value %d", i)}, {fmt.Sprint("name ", i), []byte{}}, {fmt.Sprint("name ", i-1), nil}},
		Journal:   [][]byte{fmt.Appendf(nil, "line %d", i)},
		Changes:   []Change{line(csn, fmt.Sprint("cn=", i))},
		Published: []PublishedAs{{1, scattered(i), scattered(1000 + i)}, {Claim: 1, Upstream: scattered(i - 1)}},
	}
}

// told is all that a store says.
func redoTold(t *testing.T, s *Store) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintln(&b, s.LastCSN(), s.Instance(), s.Claims())
	got := entries(t, s, 1)
	for i := range 120 {
		fmt.Fprint(&b, got[scattered(i)], " ")
	}
	err := s.Records("", func(name string, value []byte) error { fmt.Fprintf(&b, "%q=%q ", name, value); return nil })
	err = errors.Join(err, s.Journal(0, func(seq uint64, line []byte) error { fmt.Fprintf(&b, "%d %q ", seq, line); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	log, ok := changes(t, s, s.meta.logFrom)
	fmt.Fprint(&b, log, ok, published(t, s))
	return b.String()
}

// copyFiles copies a store as kill -9 would leave it.
func copyFiles(t *testing.T, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	files, err := os.ReadDir(from)
	for _, f := range files {
		content, readErr := os.ReadFile(filepath.Join(from, f.Name()))
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(to, f.Name()), content, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// R33: a commit that is acknowledged is there after kill -9, also while badger has yet to take it.
func TestRedoAfterKill(t *testing.T) {
	h := openHeld(t)
	before := redoTold(t, h.Store)
	if err := h.Commit(redoBatch(5)); err != nil {
		t.Fatal(err)
	}
	<-h.due
	killed, torn := copyFiles(t, h.dir), copyFiles(t, h.dir)
	close(h.take)
	after := redoTold(t, h.Store)
	if after == before {
		t.Fatal("the commit changed nothing")
	}
	late := copyFiles(t, h.dir)
	path := filepath.Join(torn, redoName)
	content, err := os.ReadFile(path)
	if err == nil {
		clear(content[redoHead+30 : redoHead+60])
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, dir, want string }{
		{"killed before badger had it", killed, after},
		{"killed after badger had it", late, after},
		{"killed amid the write to the file", torn, before},
	} {
		s := open(t, test.dir, Options{})
		for range 2 { // and again
			if got := redoTold(t, s); got != test.want {
				t.Errorf("%s:\n%s\nwanted:\n%s", test.name, got, test.want)
			}
			s = reopen(t, s)
		}
		commit(t, s, redoBatch(6))
	}
	if got := redoTold(t, reopen(t, h.Store)); got != after {
		t.Errorf("after Close:\n%s\nwanted:\n%s", got, after)
	}
}

// A file of another store, or from before a restore, is not taken.
func TestRedoOfAnotherStore(t *testing.T) {
	h := openHeld(t)
	if err := h.Commit(redoBatch(5)); err != nil {
		t.Fatal(err)
	}
	<-h.due
	other := open(t, t.TempDir(), Options{})
	for i := range 5 {
		commit(t, other, redoBatch(i))
	}
	want := redoTold(t, other)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(h.dir, redoName))
	if err == nil {
		err = os.WriteFile(filepath.Join(other.dir, redoName), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	close(h.take)
	if got := redoTold(t, open(t, other.dir, Options{})); got != want {
		t.Errorf("it holds\n%s\nwanted:\n%s", got, want)
	}
}

// Whoever reads once a commit is acknowledged waits until badger has it; the next commit does not.
func TestRedoIsWaitedFor(t *testing.T) {
	h := openHeld(t)
	acknowledge(t, h.Store, redoBatch(5))
	<-h.due
	read := make(chan string, 1)
	go func() {
		it, err := h.Entry(1, scattered(99))
		if err != nil || it == nil {
			read <- fmt.Sprint(it, err)
			return
		}
		read <- string(it.Value)
	}()
	for len(h.hurried) == 0 { // the reader waits
		select {
		case got := <-read:
			t.Fatalf("read %s too early", got)
		default:
			runtime.Gosched()
		}
	}
	acknowledge(t, h.Store, redoBatch(6))
	close(h.take)
	if got := <-read; got != "again 5" && got != "again 6" { // what the next commit has made of it by then
		t.Errorf("read %s", got)
	}
	if last := h.LastCSN(); last != 106 {
		t.Errorf("last CSN %d", last)
	}
}

// R33: where badger cannot take what is acknowledged, the store says so at once, nobody reads it without
// that, above all no follower the change log, and it has it when it is opened again.
func TestRedoNotTaken(t *testing.T) {
	h := openHeld(t)
	for i := range 3 {
		acknowledge(t, h.Store, redoBatch(5+i))
	}
	<-h.due
	h.sweeper.halt()
	if err := errors.Join(h.db.Close(), h.say(stateClosed)); err != nil { // as badger has left it: without a log
		t.Fatal(err)
	}
	if err := h.Failure(); err != nil {
		t.Errorf("too early: %v", err)
	}
	close(h.take)
	<-h.Stopped()
	if err := h.Failure(); !errors.Is(err, ErrFailed) || !errors.Is(err, badger.ErrBlockedWrites) {
		t.Errorf("the failure: %v", err)
	}
	if ok, err := h.Changes(104, func(c Change) error { t.Errorf("told %v", c); return nil }); ok || !errors.Is(err, ErrFailed) {
		t.Errorf("the change log without the last change: %t, %v", ok, err)
	}
	if it, err := h.Entry(1, scattered(7)); !errors.Is(err, ErrFailed) {
		t.Errorf("read %v, %v", it, err)
	}
	if err := h.Commit(redoBatch(8)); !errors.Is(err, ErrFailed) || !errors.Is(err, badger.ErrBlockedWrites) {
		t.Errorf("the next commit: %v", err)
	}
	s := open(t, copyFiles(t, h.dir), Options{})
	if it, err := s.Entry(1, scattered(7)); err != nil || it == nil || s.LastCSN() != 107 {
		t.Errorf("opened again: %v, %v, last CSN %d", it, err, s.LastCSN())
	}
	closeUntaken(t, h.Store)
	wantRedoMissed(t, "closed after that", copyFiles(t, h.dir))
	if it, err := open(t, h.dir, Options{}).Entry(1, scattered(7)); err != nil || it == nil {
		t.Errorf("closed and opened again: %v, %v", it, err)
	}
}

// What is too large for the file, and all where it cannot be written, goes to badger at once.
func TestRedoGoesWithout(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	followed := 0
	s.opts.behind = func() { followed++ }
	commit(t, s, redoBatch(0))
	large := redoBatch(1)
	large.Records = append(large.Records, Record{"large", make([]byte, redoLargest)})
	commit(t, s, large)
	if followed != 1 {
		t.Errorf("%d commits went through the file", followed)
	}
	if err := s.redo.f.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		commit(t, s, redoBatch(2+i))
	}
	if followed != 1 || s.redo.f != nil {
		t.Errorf("%d commits went through a file that is closed", followed)
	}
	want := redoTold(t, s)
	if got := redoTold(t, reopen(t, s)); got != want {
		t.Errorf("reopened:\n%s\nwanted:\n%s", got, want)
	}
}

// A file that cannot be made is no reason not to start.
func TestRedoCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "none", "f"), filepath.Join(dir, redoName)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	s.opts.behind = func() { t.Error("a commit went through a file that is not there") }
	commit(t, s, redoBatch(0))
	if s.LastCSN() != 100 {
		t.Errorf("last CSN %d", s.LastCSN())
	}
}

// unreadableRedo has reading the file redo be an EIO.
func unreadableRedo(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, redoName)
	if err := errors.Join(os.Remove(path), os.Symlink("/proc/self/mem", path)); err != nil {
		t.Fatal(err)
	}
}

// wantNewRedo tells that the file was put aside, and that commits go through a new one.
func wantNewRedo(t *testing.T, s *Store) {
	t.Helper()
	if info, err := os.Lstat(filepath.Join(s.dir, redoName)); err != nil || !info.Mode().IsRegular() || info.Size() != redoSize {
		t.Errorf("%v, %v", info, err)
	}
	if aside, err := filepath.Glob(filepath.Join(s.dir, "damaged-*", redoName)); err != nil || len(aside) != 1 {
		t.Errorf("aside: %v, %v", aside, err)
	}
	followed := 0
	s.opts.behind = func() { followed++ }
	commit(t, s, &Batch{CSN: s.LastCSN() + 1})
	if s = reopen(t, s); followed != 1 || len(s.Mended()) > 0 {
		t.Errorf("%d commits through the new file, told %q", followed, s.Mended())
	}
}

// R33: a file that cannot be read is no reason not to start: what may be lost of it is told, and dealt with as other losses are.
func TestRedoUnreadable(t *testing.T) {
	h := openHeld(t)
	acknowledge(t, h.Store, redoBatch(5))
	<-h.due
	dir := copyFiles(t, h.dir)
	close(h.take)
	unreadableRedo(t, dir)
	s := open(t, dir, Options{})
	if words := s.Mended(); !strings.Contains(strings.Join(words, "\n"), redoName+" cannot be read: the last changes that were acknowledged may be lost") || !claimOf(s, 1).Damaged || s.LastCSN() <= 105 {
		t.Errorf("told %q, claim %+v, last CSN %d", words, claimOf(s, 1), s.LastCSN())
	}
	wantNewRedo(t, s)
}

// R33: nor is anything lost of one that cannot be read where the store was closed with all that was in it.
func TestRedoUnreadableAfterClose(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, redoBatch(0))
	want := redoTold(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	unreadableRedo(t, s.dir)
	s = open(t, s.dir, Options{})
	if got := redoTold(t, s); got != want {
		t.Errorf("it says\n%s\nwanted:\n%s", got, want)
	}
	if words := s.Mended(); len(words) != 1 || !strings.Contains(words[0], "nothing that was in it is lost") {
		t.Errorf("told %q", words)
	}
	wantNewRedo(t, s)
}

// R33: a file whose commit is further than the next one says that the store was put back, or has lost
// what was acknowledged: that is told, and dealt with as other losses are. The file's own commit does
// not come true later, when numbers have come as far again.
func TestRedoBehindALoss(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, redoBatch(0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	back := copyFiles(t, s.dir)
	s = open(t, s.dir, Options{})
	const further = 4
	for i := range further {
		commit(t, s, redoBatch(1+i))
	}
	lost := s.LastCSN()
	content, err := os.ReadFile(filepath.Join(s.dir, redoName))
	if err == nil {
		err = os.WriteFile(filepath.Join(back, redoName), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, back, Options{})
	if words := s.Mended(); len(words) != 2 || !strings.Contains(words[0], "acknowledged are lost") || !strings.Contains(words[1], "second copy") || !claimOf(s, 1).Damaged {
		t.Errorf("told %q, claim %+v", words, claimOf(s, 1))
	}
	if s.LastCSN() <= lost || s.Redated() <= lost {
		t.Errorf("last CSN %d, dated %d, %d was given", s.LastCSN(), s.Redated(), lost)
	}
	for i := range further + 1 { // none of these goes through the file
		refresh(t, s, 1, s.LastCSN()+1, "cookie", map[int]string{i: "new"})
		want := s.LastCSN()
		if s = reopen(t, s); len(s.Mended()) > 0 || s.LastCSN() != want {
			t.Fatalf("after %d refreshes: told %q, last CSN %d, it was %d", i+1, s.Mended(), s.LastCSN(), want)
		}
	}
}

// R33: nor does it where the second copy, which knows an earlier commit as the last, brings back what the store knows of
// itself.
func TestRedoBehindLostMeta(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	refresh(t, s, 1, 100, "cookie", map[int]string{1: "a"})
	commit(t, s, &Batch{CSN: 500, Puts: []Put{{Claim: 1, UUID: scattered(1), Gen: 1, CSN: 500, Value: []byte("b")}}, Cookies: []Claim{{ID: 1, Cookie: []byte("new")}}})
	instance := s.Instance()
	s = open(t, flip(t, s, metaKey).dir, Options{})
	last := s.LastCSN()
	if len(s.Mended()) == 0 || s.Instance() != instance || last <= 500 {
		t.Fatalf("told %q, instance %v, last CSN %d", s.Mended(), s.Instance(), last)
	}
	for i := range 2 {
		if s = reopen(t, s); s.LastCSN() != last || s.Redated() != last || !claimOf(s, 1).Damaged {
			t.Errorf("start %d: last CSN %d, dated %d, was %d; claim %+v", i, s.LastCSN(), s.Redated(), last, claimOf(s, 1))
		}
	}
}

func redoFile(t testing.TB, ops []redoOp) []byte {
	t.Helper()
	var r redo
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r.f = f
	for i := range 3 {
		if err := r.write(dit.UUID{7}, 9+uint64(i), ops[i:]); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

var redoOps = []redoOp{{[]byte("a"), []byte("b")}, {[]byte("gone"), nil}, {[]byte("empty"), []byte{}}, {nil, []byte("c")}}

// R33: whatever bit is turned is put right. Of two in one frame, and wherever the file ends, it holds all of a commit or
// nothing, and none behind one that it does not hold.
func TestRedoDamage(t *testing.T) {
	whole := redoFile(t, redoOps)
	same := func(a, b redoOp) bool {
		return bytes.Equal(a.key, b.key) && bytes.Equal(a.value, b.value) && (a.value == nil) == (b.value == nil)
	}
	read := func(content []byte) int {
		t.Helper()
		c := readRedo(content)
		for i, frame := range c.frames {
			if c.instance != (dit.UUID{7}) || frame.commit != 9+uint64(i) || !slices.EqualFunc(frame.ops, redoOps[i:], same) {
				t.Fatalf("read %v %d %q", c.instance, frame.commit, frame.ops)
			}
		}
		return len(c.frames)
	}
	if n := read(append(whole, make([]byte, 100)...)); n != 3 {
		t.Fatalf("%d commits", n)
	}
	for n := range whole {
		at, frame := n%redoPage, n/redoPage
		size := redoHead
		for _, op := range redoOps[frame:] {
			size += 8 + len(op.key) + len(op.value)
		}
		want := frame
		if at >= size {
			want++
		}
		if got := read(whole[:n]); got != want {
			t.Errorf("%d bytes of %d: %d commits", n, len(whole), got)
		}
		if want > frame {
			continue // between frames
		}
		beyond, head := uint64(11), at >= len(redoMagic) && at < len(redoMagic)+8
		if frame == 2 {
			beyond = 0
		}
		for bit := range 8 {
			turned := slices.Clone(whole)
			turned[n] ^= 1 << bit
			if got := read(turned); got != 3 || !bytes.Equal(turned, whole) {
				t.Errorf("bit %d of byte %d: %d commits", bit, n, got)
			}
			turned[n] ^= 1 << bit
			if c := readRedo(turned); c.frames[frame].turned != int64(n) || c.frames[(frame+1)%3].turned >= 0 || c.beyond != 0 {
				t.Errorf("bit %d of byte %d: found in %d", bit, n, c.frames[frame].turned)
			}
			turned[n] ^= 1<<bit | 1<<((bit+3)%8)
			if got := read(turned); got != want {
				t.Errorf("bit %d of byte %d, and another: %d commits", bit, n, got)
			}
			// Where it is not known what a frame says of itself, nobody sees that one goes on from it, but two.
			if c := readRedo(turned); c.beyond != beyond && !(frame == 1 && head && c.beyond == 0) || c.instance != (dit.UUID{7}) {
				t.Errorf("bit %d of byte %d, and another: behind it there is %d of %v", bit, n, c.beyond, c.instance)
			}
		}
	}
}

// What an older round left behind the last frame is none of its own, and does not take its place as the last.
func TestRedoOlderRound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := redo{f: f}
	for _, commit := range []uint64{101, 102, 103, 104, 500} {
		if commit == 500 {
			r.restart()
		}
		if err := r.write(dit.UUID{7}, commit, redoOps); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if c := readRedo(content); len(c.frames) != 1 || c.beyond != 0 || c.last() != 500 {
		t.Errorf("%d frames, beyond %d, the last %d", len(c.frames), c.beyond, c.last())
	}
	clear(content[redoHead : redoHead+10]) // the last write is torn
	if c := readRedo(content); len(c.frames) != 0 || c.last() != 104 {
		t.Errorf("%d frames, the last %d", len(c.frames), c.last())
	}
}

// What a page holds from before, or somebody's value, is no frame, though whole and the next by its number.
func TestRedoNothingElseIsNext(t *testing.T) {
	one, other := redoFile(t, redoOps), redoFile(t, slices.Concat(redoOps, []redoOp{{[]byte("x"), []byte("y")}}))
	if c := readRedo(slices.Concat(one[:redoPage], other[redoPage:2*redoPage])); len(c.frames) != 1 || c.beyond != 0 {
		t.Errorf("%d frames, behind them %d", len(c.frames), c.beyond)
	}
}

func FuzzRedo(f *testing.F) {
	whole := redoFile(f, redoOps)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, content []byte) {
		if c := readRedo(content); len(c.frames) > 0 && !bytes.HasPrefix(content, []byte(redoMagic)) { // which is right by then
			t.Errorf("commit %d of what is no such file", c.last())
		}
	})
}
