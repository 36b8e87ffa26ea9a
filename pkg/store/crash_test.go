package store

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/pkg/dit"
)

// crashDir tells a child process, which is this test binary, what to write to.
const crashDir = "STORE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, crashChild(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(restoreDir); dir != "" {
		if err := restoreChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	crashEntries = 40   // of claim 1, written by Commit
	crashStaged  = 3000 // of claim 2, written by a refresh: some transactions
)

// crashOptions have small logs and files, so that all of them are trimmed, merged and collected.
var crashOptions = Options{ChangeLog: 200, Journal: 200, Now: atZero, memTable: 1 << 20, valueFile: 2 << 20}

// crashChild commits until it is killed, and prints each CSN once it is
// acknowledged. Commit n rewrites entry n mod crashEntries of claim 1; every
// eighth is a refresh of all of claim 2. Content says which commit wrote it.
func crashChild(dir string) error {
	s, err := Open(dir, crashOptions)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for n := uint64(s.LastCSN()) + 1; ; n++ {
		b := &Batch{
			CSN: dit.CSN(n), Journal: [][]byte{[]byte(strconv.FormatUint(n, 10))},
			Changes: []Change{{CSN: dit.CSN(n), Kind: ChangeModify, UUID: scattered(int(n))}},
		}
		if n%8 == 0 {
			err = crashRefresh(s, n, b)
		} else {
			text := []byte(strconv.FormatUint(n, 10))
			b.Puts = []Put{{Claim: 1, UUID: scattered(int(n % crashEntries)), CSN: dit.CSN(n), Value: text}}
			b.Cookies = []Claim{{ID: 1, Cookie: text}}
			err = s.Commit(b)
		}
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func crashRefresh(s *Store, n uint64, b *Batch) error {
	st, err := s.Stage(2)
	if err != nil {
		return err
	}
	text := []byte(fmt.Sprintf("%-500d", n))
	gone := int(n / 8 % crashStaged) // this one is deleted
	for i := range crashStaged {
		if i == gone {
			err = st.Delete(scattered(i))
		} else {
			err = st.Put(scattered(i), 0, text)
		}
		if err != nil {
			return err
		}
	}
	if n%16 == 0 {
		if err := st.Sync(context.Background()); err != nil {
			return err
		}
	}
	return s.CommitStage(st, text, "", dit.CSN(n), b)
}

// crash runs a child until a moment after it acknowledged a number of commits,
// kills it with SIGKILL, and gives the last CSN that it acknowledged.
func crash(t *testing.T, dir string, acks int, then time.Duration) (last uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
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
	for i := 0; lines.Scan(); i++ {
		if lines.Text() != "ready" {
			if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if i == acks {
			time.AfterFunc(then, func() { cmd.Process.Kill() })
		}
	}
	if stderr.Len() > 0 {
		t.Fatalf("child: %s", &stderr)
	}
	return last
}

// killRounds is how often the writing process is killed; "make test-long" has more.
var killRounds = flag.Int("rounds", 20, "rounds of kill -9")

// R12, R33, invariant 7: killed at any moment, the store opens again with every
// commit that was acknowledged, each whole, the cookie never ahead of the
// content; a refresh is there in full or not at all.
func TestR12KilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	acked := uint64(0)
	for round := range *killRounds {
		acked = max(acked, crash(t, dir, round*7%23, time.Duration(round*1300%9000)*time.Microsecond))
		if round%4 == 3 {
			continue // killed again before anyone looked
		}
		s, err := Open(dir, crashOptions)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		last := uint64(s.LastCSN())
		if last < acked {
			t.Errorf("round %d: %d was acknowledged, the store ends at %d", round, acked, last)
		}
		checkCrashed(t, s, last)
		s.sweeper.await()
		if n := contentRecords(t, s, 2); n != claimOf(s, 2).Count {
			t.Errorf("%d records for %d entries after the sweep", n, claimOf(s, 2).Count)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d, last %d", round, last)
		}
	}
}

// checkCrashed compares the store with what the commits up to last make.
func checkCrashed(t *testing.T, s *Store, last uint64) {
	t.Helper()
	want1, cookie1, refreshed := map[int]string{}, "", uint64(0)
	for n := uint64(1); n <= last; n++ {
		if n%8 == 0 {
			refreshed = n
			continue
		}
		cookie1 = strconv.FormatUint(n, 10)
		want1[int(n%crashEntries)] = fmt.Sprintf("0/%d/%d", n, n)
	}
	wantEntries(t, s, 1, want1)
	if got := string(claimOf(s, 1).Cookie); got != cookie1 {
		t.Errorf("cookie of claim 1 is %q, want %q", got, cookie1)
	}
	c := claimOf(s, 2)
	if got := strings.TrimSpace(string(c.Cookie)); refreshed > 0 && got != strconv.FormatUint(refreshed, 10) || c.Damaged {
		t.Errorf("claim 2: cookie %q, want %d, damaged %v", got, refreshed, c.Damaged)
	}
	count := 0
	err := s.Entries(2, func(it Item) error {
		if got := strings.TrimSpace(string(it.Value)); got != strconv.FormatUint(refreshed, 10) || uint64(it.CSN) != refreshed {
			return fmt.Errorf("an entry of commit %s among those of %d", got, refreshed)
		}
		count++
		return nil
	})
	if refreshed > 0 && count != crashStaged-1 || c.Count != count || err != nil {
		t.Errorf("claim 2 has %d entries, counts %d: %v", count, c.Count, err)
	}
	lines := journal(t, s, 0)
	if last > 0 && (len(lines) == 0 || lines[len(lines)-1] != fmt.Sprintf("%d:%d", last, last)) {
		t.Errorf("journal ends with %v, want %d", lines[max(0, len(lines)-1):], last)
	}
	from := uint64(s.meta.logFrom)
	logged, ok := changes(t, s, dit.CSN(from))
	if !ok || uint64(len(logged)) != last-from {
		t.Errorf("change log after %d has %d changes, want %d", from, len(logged), last-from)
	}
}
