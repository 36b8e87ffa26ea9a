package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/pkg/dit"
)

// restoreDir tells a child process, which is this test binary, what to restore into,
// from its standard input.
const restoreDir = "STORE_RESTORE_DIR"

func restoreChild(dir string) error {
	fmt.Println("ready")
	_, err := Restore(dir, os.Stdin, RestoreOptions{Force: true})
	if err == nil {
		fmt.Println("done")
	}
	return err
}

// killedRestore has a child restore, and kills it a moment after it began; done tells
// that it was too late for that.
func killedRestore(t *testing.T, dir, file string, then time.Duration) (done bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), restoreDir+"="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stdin = from
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "done" {
			return true
		}
		time.AfterFunc(then, func() { cmd.Process.Kill() })
	}
	return false
}

// R12: killed at any moment, a restore leaves what was there or all of the backup.
func TestRestoreKilled(t *testing.T) {
	from := filled(t)
	file := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file, backupOf(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
	all := allOf(t, from)
	dir := t.TempDir()
	s := open(t, dir, Options{})
	commit(t, s, &Batch{CSN: 1, Records: []Record{{Name: "what", Value: []byte("was there")}}})
	was := allOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	pause := 500 * time.Microsecond
	for round := 0; ; round++ {
		if round == 200 {
			t.Fatal("no restore came to its end")
		}
		done := killedRestore(t, dir, file, pause)
		s := open(t, dir, Options{})
		got, instance := allOf(t, s), s.Instance()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got != was && got != all {
			t.Fatalf("round %d, killed after %v: neither what was there nor the backup:\n%s", round, pause, got)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "re*.*")); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
		aside, _ := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
		if (got == all) != (len(aside) > 0) {
			t.Errorf("the backup is there: %v, what was there is in %v", got == all, aside)
		}
		if len(aside) > 0 { // begin anew with what was there
			if old := open(t, aside[0], Options{}); allOf(t, old) != was || old.Instance() == instance {
				t.Errorf("aside is\n%s", allOf(t, old))
			} else if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			dir = aside[0]
		}
		if done {
			return
		}
		pause = pause * 3 / 2
	}
}

// It may be interrupted between any two of the steps by which it takes its place:
// the next Open goes on, and ends with all of it.
func TestRestoreInterrupted(t *testing.T) {
	text := small(t)
	stopped := errors.New("stopped")
	o := RestoreOptions{Now: atZero}
	o.setDefaults()
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		commit(t, s, &Batch{CSN: 1, Records: []Record{{Name: "what", Value: []byte("was there")}}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := build(filepath.Join(dir, restoreTemp), bytes.NewReader(text), o); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, restoreTemp), filepath.Join(dir, restoreWhole)); err != nil {
			t.Fatal(err)
		}
		left := steps
		lock, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := say(lock, stateOpen); err != nil { // the daemon was killed
			t.Fatal(err)
		}
		m := mover{dir: dir, lock: lock, now: atZero, rename: func(from, to string) error {
			if left--; left < 0 {
				return stopped
			}
			return os.Rename(from, to)
		}}
		_, err = m.finish()
		if err != nil && !errors.Is(err, stopped) {
			t.Fatal(err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		if got := records(t, s, ""); got["n"] != "v" || got["what"] != "" || len(s.mended) > 0 {
			t.Errorf("interrupted after %d steps: %v, %q", steps, got, s.mended)
		}
		aside, _ := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
		if len(aside) != 1 {
			t.Fatalf("aside: %v", aside)
		}
		if got := records(t, open(t, aside[0], Options{}), ""); got["what"] != "was there" {
			t.Errorf("after %d steps aside is %v", steps, got)
		}
		if err == nil {
			if steps < 8 {
				t.Errorf("only %d steps", steps)
			}
			return
		}
	}
}

// Where the disk lost the restored store after the old one went aside, the start tells where that is.
func TestRestoreLost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := storeFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, asidePart)
	if err := os.Mkdir(part, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(part, name)); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, Options{})
	if words := strings.Join(s.Mended(), "\n"); !strings.Contains(words, "restore again") || !strings.Contains(words, asidePrefix) {
		t.Errorf("told %q", words)
	}
}

// Invariant 13: a store that was restored may be damaged then, and the same backup restored in
// its place: CSNs go on above those that it gave out.
func TestRestoreAfterDamage(t *testing.T) {
	text, dir := small(t), t.TempDir()
	clock := time.Now()
	now := func() time.Time { return clock }
	first := restored(t, dir, text, RestoreOptions{Now: now})
	if err := os.WriteFile(filepath.Join(dir, lockName), []byte(stateOpen), 0o600); err != nil { // killed, and the log is gone
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, Options{Now: now})
	mended := s.LastCSN()
	if len(s.mended) == 0 || mended <= first.CSN || s.Redated() != mended {
		t.Errorf("damage %q, CSN %d after %d, dated %d", s.mended, mended, first.CSN, s.Redated())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Minute)
	if out := restored(t, dir, text, RestoreOptions{Now: now, Force: true}); out.CSN <= mended {
		t.Errorf("CSN %d after %d", out.CSN, mended)
	}
}

// What is refused leaves the directory as it was.
func TestRestoreRefused(t *testing.T) {
	text := small(t)
	no := errors.New("not this one")
	newer := func() []byte {
		var b bytes.Buffer
		p, err := newPieceWriter(&b, backupHead)
		value := binary.BigEndian.AppendUint32(nil, formatVersion+1)
		if err == nil {
			err = errors.Join(p.record(metaKey, seal(metaKey, value)), p.finish())
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	made := func(records ...string) []byte {
		var b bytes.Buffer
		p, err := newPieceWriter(&b, backupHead)
		for i := 0; i < len(records) && err == nil; i += 2 {
			err = p.record([]byte(records[i]), seal([]byte(records[i]), []byte(records[i+1])))
		}
		if err = errors.Join(err, p.finish()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	m := meta{instance: scattered(1), namespace: scattered(1), last: 7}
	for name, c := range map[string]struct {
		text   []byte
		accept func(BackupHeader) error
		want   error
		says   string
	}{
		"not accepted":    {text, func(h BackupHeader) error { return no }, no, "not this one"},
		"cut":             {text[:len(text)-1], nil, ErrBackup, "it ends at byte"},
		"flipped":         {append(bytes.Clone(text[:60]), append([]byte{text[60] ^ 4}, text[61:]...)...), nil, ErrBackup, "piece 1, from byte 15 on: its checksum is wrong"},
		"newer form":      {[]byte("shaft backup 9\n"), nil, ErrNewer, "a backup of form 9"},
		"newer store":     {newer(), nil, ErrNewer, "newer version"},
		"no meta":         {made("rn", "v"), nil, ErrBackup, "no meta record"},
		"meta twice":      {made("m", string(m.encode()), "m", string(m.encode())), nil, ErrBackup, "its meta record is wrong"},
		"unknown kind":    {made("m", string(m.encode()), "x", "v"), nil, ErrBackup, "record 78 is none of a store"},
		"no key":          {made("m", string(m.encode()), "", "v"), nil, ErrBackup, "none of a store"},
		"of a change log": {made("m", string(m.encode()), "l00000000", "v"), nil, ErrBackup, "none of a store"},
	} {
		dir := t.TempDir()
		_, err := Restore(dir, bytes.NewReader(c.text), RestoreOptions{Accept: c.accept})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "restore store "+dir+": ") {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 || files[0].Name() != lockName {
			t.Errorf("%s: there is %v", name, files)
		}
	}
}

// R33: with too little room at its begin or midway a restore ends in words, and leaves nothing.
func TestRestoreDiskFull(t *testing.T) {
	text := backupOf(t, filled(t)) // it has a value of 5 MB
	for asked := range 2 {
		dir, n := t.TempDir(), 0
		_, err := Restore(dir, bytes.NewReader(text), RestoreOptions{Space: func() (Space, error) {
			if n++; n > asked {
				return Space{Free: 100 << 20, Total: 1 << 40, Files: -1}, nil
			}
			return Space{Free: 1 << 39, Total: 1 << 40, Files: -1}, nil
		}})
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "104.9 MB free") || !strings.Contains(err.Error(), "have to stay free") || n != asked+1 {
			t.Errorf("full when asked %d times: %d, %v", asked, n, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 || files[0].Name() != lockName {
			t.Errorf("there is %v", files)
		}
	}
}

// Large values of a backup are written as they come, so that memory holds few of them, and the look for room
// sees them.
func TestRestoreLargeValues(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for i := range 40 {
		commit(t, s, &Batch{CSN: dit.CSN(1 + i), Puts: []Put{{Claim: 1, UUID: scattered(i), CSN: dit.CSN(1 + i), Value: bytes.Repeat([]byte("x"), 300_000)}}})
	}
	dir, largest := t.TempDir(), int64(0)
	out, err := Restore(dir, bytes.NewReader(backupOf(t, s)), RestoreOptions{Space: func() (Space, error) {
		n, err := sizeOf(filepath.Join(dir, restoreTemp), func(name string) bool { return filepath.Ext(name) == ".vlog" })
		if n < 11_000_000 { // else it is whole
			largest = max(largest, n)
		}
		return Space{Free: plenty, Total: 2 * plenty, Files: -1}, err
	}})
	if err != nil || out.Entries != 40 {
		t.Fatal(out, err)
	}
	if largest < lookEvery {
		t.Errorf("at the last look %d bytes were written", largest)
	}
}

// A directory in use, one with a store, and one of somebody else are refused; with
// Force a store is moved aside, whole, and files that are none of it stay.
func TestRestoreIntoWhatIsThere(t *testing.T) {
	dir, text := t.TempDir(), small(t)
	s := open(t, dir, Options{})
	commit(t, s, &Batch{CSN: 1, Records: []Record{{Name: "what", Value: []byte("was there")}}})
	for _, force := range []bool{false, true} {
		if _, err := Restore(dir, bytes.NewReader(text), RestoreOptions{Force: force}); !errors.Is(err, ErrLocked) {
			t.Errorf("in use: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Restore(dir, bytes.NewReader(text), RestoreOptions{})
	if !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "--force moves it aside") {
		t.Errorf("not empty: %v", err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ { // the second time it is the restored one that goes aside
		out := restored(t, dir, text, RestoreOptions{Force: true})
		if filepath.Dir(out.Aside) != dir {
			t.Errorf("aside is %q", out.Aside)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, asidePrefix+"*")); len(aside) != n {
			t.Errorf("aside: %v", aside)
		}
		want := map[int]string{1: "was there", 2: ""}[n]
		old := open(t, out.Aside, Options{})
		if got := records(t, old, "")["what"]; got != want {
			t.Errorf("aside holds %q, want %q", got, want)
		}
	}
	if got := records(t, open(t, dir, Options{}), ""); got["n"] != "v" || len(got) != 1 {
		t.Errorf("restored: %v", got)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error(err)
	}
	if err := checkOwner(dir, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "run it as the user that the daemon runs as") {
		t.Errorf("somebody else's: %v", err)
	}
}

// A store of the first format, from before there were restores, opens.
func TestMetaOfVersion1(t *testing.T) {
	want := meta{instance: scattered(1), namespace: scattered(1), last: 1, commits: 2, logFrom: 3, logCount: 4, journalFirst: 5, journalNext: 6}
	text := want.encode()
	text = text[:len(text)-16-8]
	binary.BigEndian.PutUint32(text, 1)
	var got meta
	if err := got.decode(text); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{text[:len(text)-1], append(text, 0), append(text, make([]byte, 24)...)} {
		if err := got.decode(bad); err == nil {
			t.Errorf("%d bytes are taken", len(bad))
		}
	}
}
