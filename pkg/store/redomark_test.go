package store

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"shaft/pkg/dit"
)

// wantRedoMissed removes the file redo of a store that may have commits there which badger has not, and wants that to be told.
func wantRedoMissed(t *testing.T, when, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, redoName)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if words := s.Mended(); len(words) == 0 || !strings.Contains(words[0], "redo is missing, or cut off") || !claimOf(s, 1).Damaged {
		t.Errorf("%s, without its redo: told %q, claim %+v", when, words, claimOf(s, 1))
	}
	if s = reopen(t, s); len(s.Mended()) > 0 {
		t.Errorf("%s, without its redo: told again: %q", when, s.Mended())
	}
}

// killedPending is what kill -9 leaves of a store with three commits that badger has yet to take.
func killedPending(t *testing.T) (dir string) {
	t.Helper()
	h := openHeld(t)
	for i := range 3 {
		acknowledge(t, h.Store, redoBatch(5+i))
	}
	<-h.due
	dir = copyFiles(t, h.dir)
	close(h.take)
	return dir
}

// R33: a start that fails before badger has what is in the file redo, or is killed then, leaves the mark that it is needed:
// one that is missing at the next start is missed.
func TestRedoMarkAfterFailedStart(t *testing.T) {
	killed := killedPending(t)
	for name, test := range map[string]struct {
		options func(dir string) Options
		want    string
	}{
		"the disk is not looked at":      {func(string) Options { return Options{Space: failingSpace(2)} }, "input/output"},
		"badger does not take it":        {func(dir string) Options { spoilRedo(t, dir); return Options{} }, "take commit 9 from redo"},
		"what goes on cannot be written": {func(string) Options { return Options{disk: failingSay(2)} }, "input/output"},
	} {
		dir := copyFiles(t, killed)
		if s, err := Open(dir, test.options(dir)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Fatalf("%s: %v, %v", name, s, err)
		}
		wantRedoMissed(t, name, dir)
	}
}

// R33: where the mark is lost with the file that it stands in, a redo that is there counts as needed.
func TestRedoMarkLost(t *testing.T) {
	dir := killedPending(t)
	if err := errors.Join(os.Remove(filepath.Join(dir, lockName)), os.Truncate(filepath.Join(dir, redoName), redoSize/2)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if words := s.Mended(); len(words) == 0 || !strings.Contains(words[0], "redo is missing, or cut off") || !claimOf(s, 1).Damaged {
		t.Errorf("told %q, claim %+v", words, claimOf(s, 1))
	}
}

// failingSpace fails from a call on.
func failingSpace(from int) func() (Space, error) {
	return func() (Space, error) {
		if from--; from <= 0 {
			return Space{}, unix.EIO
		}
		return Space{Free: 1 << 40, Total: 1 << 40, Files: -1}, nil
	}
}

// failingSay fails once, in the call of that number.
func failingSay(at int) disk {
	return disk{func(step string) error {
		if strings.HasPrefix(step, saying) {
			at--
			if at == 0 {
				return unix.EIO
			}
		}
		return nil
	}}
}

// spoilRedo puts a commit behind those in a file redo that badger refuses.
func spoilRedo(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, redoName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := readRedo(content)
	var r redo
	for _, frame := range c.frames {
		_, _, sum, _ := r.read(content[r.end:])
		r.end, r.sum = r.end+sizeOfFrame(frame.ops), sum
	}
	if r.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.write(c.instance, c.last()+1, []redoOp{{nil, []byte("no key")}}), r.close()); err != nil {
		t.Fatal(err)
	}
}

// R33: what a kill tore and looks like a commit with a bit that turned, by chance, is none: what it holds is not sealed.
func TestRedoTornByChance(t *testing.T) {
	killed := killedPending(t)
	dir := copyFiles(t, killed)
	spoilRedo(t, dir)
	path := filepath.Join(dir, redoName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte("no key"))] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := readRedo(bytes.Clone(content)); c.frames[len(c.frames)-1].turned < 0 {
		t.Fatal("no bit is put right")
	}
	want := open(t, copyFiles(t, killed), Options{valueFile: 1 << 20}).LastCSN()
	if s := open(t, dir, Options{valueFile: 1 << 20}); len(s.Mended()) > 0 || s.LastCSN() != want {
		t.Errorf("told %q, up to %d and not %d", s.Mended(), s.LastCSN(), want)
	}
}

// R33: a start that is killed leaves that mark at any moment.
func TestRedoMarkAfterKilledStart(t *testing.T) {
	killed := killedPending(t)
	var said []string
	s := open(t, copyFiles(t, killed), Options{valueFile: 1 << 20, disk: disk{func(step string) error {
		if state, ok := strings.CutPrefix(step, saying); ok {
			said = append(said, strings.TrimSuffix(state, " in "+lockName))
		}
		return nil
	}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"opening or closing, redo", "open, redo", "open, redo", "opening or closing, redo", "closed"}; !slices.Equal(said, want) {
		t.Fatalf("it says %q, want %q", said, want)
	}
	for _, state := range said[:2] { // with badger's files as they were
		dir := copyFiles(t, killed)
		if err := os.WriteFile(filepath.Join(dir, lockName), []byte(state+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantRedoMissed(t, "killed amid the start, "+state, dir)
	}
}

// R33: so does a file that fails as others are pending which badger then refuses.
func TestRedoMarkWhereBothFail(t *testing.T) {
	h := openHeld(t)
	for i := range 3 {
		acknowledge(t, h.Store, redoBatch(5+i))
	}
	<-h.due
	h.sweeper.halt()
	if err := errors.Join(h.redo.f.Close(), h.db.Close()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Commit(&Batch{Records: []Record{{"name", []byte("one more")}}}) }()
	for len(h.hurried) == 0 { // it waits until badger has what is pending
		runtime.Gosched()
	}
	close(h.take)
	if err := <-done; !errors.Is(err, ErrFailed) || !errors.Is(err, badger.ErrBlockedWrites) {
		t.Errorf("the commit: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(h.dir, lockName)); err != nil || string(text) != "open, redo\n" {
		t.Errorf("%s says %q, %v", lockName, text, err)
	}
	closeUntaken(t, h.Store)
	wantRedoMissed(t, "closed after that", copyFiles(t, h.dir))
	if s := open(t, h.dir, Options{}); s.LastCSN() != 107 || len(s.Mended()) > 0 {
		t.Errorf("opened again: last CSN %d, told %q", s.LastCSN(), s.Mended())
	}
}

// Where it cannot be said that the file redo is in use it is not used, which is no reason not to start.
func TestRedoMarkNotWritten(t *testing.T) {
	s := open(t, t.TempDir(), Options{disk: failingSay(3)})
	followed := 0
	s.opts.behind = func() { followed++ }
	commit(t, s, redoBatch(0))
	if s.redo.f != nil || followed > 0 {
		t.Errorf("%d commits went through a file that nobody would miss", followed)
	}
	want := redoTold(t, s)
	s.opts.behind = nil
	if s = reopen(t, s); redoTold(t, s) != want || len(s.Mended()) > 0 {
		t.Errorf("told %q", s.Mended())
	}
}

// What shaft.lock said before is no part of what it says, whenever a kill comes.
func TestRedoMarkReadBack(t *testing.T) {
	for text, want := range map[string]struct {
		state string
		holds bool
	}{
		"":                              {"", false},
		"open\n":                        {stateOpen, false},
		"open, redo\n":                  {stateOpen, true},
		"closed\n":                      {stateClosed, false},
		"closed, redo\n":                {stateClosed, true},
		"opening or closing, redo\n":    {stateBetween, true},
		"closed\nor closing, redo\n":    {stateClosed, false},
		"open, redo\nclosing\n, redo\n": {stateOpen, true},
	} {
		if state, holds := readState(text); state != want.state || holds != want.holds {
			t.Errorf("%q: %q, %v", text, state, holds)
		}
	}
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, state := range []string{stateBetween + redoMark, stateOpen, stateClosed + redoMark} {
		if err := say(lock, state); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, lockName)); err != nil || string(text) != state+"\n" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// Badger is asked for what is pending once where the file is half full, and not with each commit behind that.
func TestRedoHurriesOnce(t *testing.T) {
	h := openHeld(t)
	acknowledge(t, h.Store, redoBatch(5))
	h.hurry()
	<-h.due // and takes nothing for now
	asked := 0
	for i := range redoSize/redoPage - 2 {
		acknowledge(t, h.Store, redoBatch(6+i))
		select {
		case <-h.hurried:
			if asked++; h.redo.end != redoSize/2+redoPage {
				t.Errorf("asked at %d", h.redo.end)
			}
		default:
		}
	}
	if asked != 1 || h.redo.end < redoSize-2*redoPage {
		t.Errorf("asked %d times, up to %d", asked, h.redo.end)
	}
	close(h.take)
	taken(h.Store)
}

// R33: any one bit of the file redo turns as badger has yet to take what is in it: nothing is lost, and it is told.
func TestR33RedoBitTurns(t *testing.T) {
	killed := killedPending(t)
	s := open(t, copyFiles(t, killed), Options{})
	want := redoTold(t, s)
	content, err := os.ReadFile(filepath.Join(killed, redoName))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for frame := range 3 {
		for range 3 {
			at := frame * redoPage
			_, rest := sealedRedo(content[at:])
			bit := 8*at + r.IntN(8*(redoBody+len(rest)))
			struck, dir := slices.Clone(content), copyFiles(t, killed)
			turn(struck, bit)
			if err := os.WriteFile(filepath.Join(dir, redoName), struck, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s := open(t, dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if got := redoTold(t, s); got != want || len(s.Mended()) != 1 || !strings.Contains(s.Mended()[0], "a bit had turned in redo") {
				t.Errorf("bit %d: told %q, it says\n%s\nwanted:\n%s", bit, s.Mended(), got, want)
			}
			if s = reopen(t, s); redoTold(t, s) != want || len(s.Mended()) > 0 {
				t.Errorf("bit %d, again: told %q", bit, s.Mended())
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A write that is torn at a sector is no frame of which a bit turned, unless it lacks no more than that bit.
func TestRedoTornIsNoBit(t *testing.T) {
	const sector = 512
	r := rand.New(rand.NewPCG(7, 8))
	value := func() []byte {
		b := make([]byte, 3*redoPage)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	file := func(values ...[]byte) (content []byte, size int) {
		path := filepath.Join(t.TempDir(), "f")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		round := redo{f: f}
		for i, v := range values {
			if err := round.write(dit.UUID{7}, 9+uint64(i), []redoOp{{[]byte("k"), v}}); err != nil {
				t.Fatal(err)
			}
		}
		content, err = os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content, len(content)
	}
	first, last := value(), value()
	whole, size := file(first, last)
	begin := int(sizeOfFrame([]redoOp{{[]byte("k"), first}}))
	almost := slices.Clone(whole)
	turn(almost, 8*(begin+2*redoPage+5)+2)
	other, _ := file(first, value())
	zeros := append(slices.Clone(whole[:begin]), make([]byte, size-begin)...)
	for name, before := range map[string][]byte{"another": other, "zeros": zeros, "almost the same": almost} {
		for at := begin; at < size; at += sector {
			for _, torn := range [][]byte{slices.Concat(whole[:at], before[at:]), slices.Concat(before[:at], whole[at:])} {
				want := 1
				if bytes.Equal(torn, whole) || bytes.Equal(torn, before) && name == "another" || name == "almost the same" {
					want = 2
				}
				c := readRedo(torn)
				if len(c.frames) != want {
					t.Errorf("over %s, torn at %d: %d commits, want %d", name, at-begin, len(c.frames), want)
				}
				if name == "almost the same" && !bytes.Equal(c.frames[1].ops[0].value, last) {
					t.Errorf("over %s, torn at %d: not what was written", name, at-begin)
				}
			}
		}
	}
}
