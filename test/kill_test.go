package test

import (
	"flag"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// killRounds is how often the daemon is killed; "make test-long" has more.
var killRounds = flag.Int("rounds", 20, "rounds of kill -9")

// killAfter has the daemon killed in a moment, and waits for its end.
func (s *shaft) killAfter(moment time.Duration) {
	cmd, done := s.cmd, s.done
	time.AfterFunc(moment, func() { cmd.Process.Kill() })
	ended := hurry(cmd.Process)
	<-done
	if !ended() {
		s.t.Errorf("the daemon did not end:\n%s", s.log)
	}
	s.cmd = nil
}

// startAndKill starts the daemon and kills it while it starts.
func (s *shaft) startAndKill(moment time.Duration) {
	s.t.Helper()
	s.log, s.done = &journal{}, make(chan struct{})
	s.cmd = exec.Command(binary, "serve", "--config", s.path("shaft.yaml"))
	s.cmd.Stderr, s.cmd.WaitDelay = s.log, 5*time.Second
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(s.cmd, s.done)
	s.killAfter(moment)
}

// versions is what there is of packages and their versions, whatever their DNs, with entryUUIDs.
func versions(ldif string) string {
	var out []string
	for _, entry := range strings.Split(ldif, "\n\n") {
		if name := line(entry, "pkgName"); name != "" {
			out = append(out, name+" "+line(entry, "pkgVersion")+" "+line(entry, "entryUUID"))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// R12, R33, invariants 7 and 13: the daemon is killed over and over, in the persist stage, in full
// loads, as it starts, as it catches up, and right after commands. What was acknowledged is there at once when it
// starts again, contextCSN does not go back, and in the end it says the same as its source.
func TestR12KillRounds(t *testing.T) {
	const suffix, dn, packages = "o=One", "cn=One," + base, 200
	var names []string
	for i := range packages {
		names = append(names, fmt.Sprintf("p%03d", i))
	}
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, LDIF: releases(suffix, "0", names...), SessionLog: 1000})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "one", "--url", up.URL()+"/"+suffix, "--name", "cn=One", "--wait")
	change := func(round, n int) {
		t.Helper()
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "dn: pkgName=%s,%s\nchangetype: modify\nreplace: pkgVersion\npkgVersion: %d\n\n", names[(round*7+i)%packages], suffix, round+1)
		}
		up.Apply(b.String())
	}
	csn, added := s.contextCSN(), ""
	for round := range *killRounds {
		had := versions(s.search("-b", dn, "pkgName", "pkgVersion", "entryUUID"))
		moment := time.Duration(round*7919%40) * time.Millisecond
		switch round % 5 {
		case 0:
			change(round, 3)
			csn = max(csn, s.contextCSN())
			s.killAfter(moment)
		case 1:
			s.run("name", "resync", dn)
			s.killAfter(moment)
		case 2:
			s.kill()
			for range 3 {
				s.startAndKill(moment)
				moment += 20 * time.Millisecond
			}
		case 3:
			added = fmt.Sprint("waits", round)
			s.run("subscription", "add", added, "--url", up.URL()+"/"+suffix, "--name", "cn=One")
			s.killAfter(0)
		case 4:
			s.kill()
			change(round, packages)
			s.startAndKill(moment + 100*time.Millisecond)
		}
		if round%5 == 1 || round%5 == 2 { // nothing has changed there: what is served is what is stored
			up.Stop()
			s.start()
			if now := versions(s.search("-b", dn, "pkgName", "pkgVersion", "entryUUID")); now != had {
				t.Errorf("round %d: without its source it serves\n%s\nwant\n%s", round, now, had)
			}
			up.Start()
		} else {
			s.start()
		}
		if now := s.contextCSN(); now < csn {
			t.Errorf("round %d: contextCSN %s after %s", round, now, csn)
		}
		if list := s.run("subscription", "list"); !strings.Contains(list, "one") || !strings.Contains(list, added) {
			t.Errorf("round %d: of the subscriptions %q is lost:\n%s", round, added, list)
		}
		want := versions(up.Search("-LLL", "-o", "ldif-wrap=no", "-b", suffix, "pkgName", "pkgVersion", "entryUUID"))
		eventually(t, time.Minute, fmt.Sprint("after round ", round, " it says what its source says"), func() bool {
			return versions(s.search("-b", dn, "pkgName", "pkgVersion", "entryUUID")) == want
		})
		if added != "" && round%5 == 4 {
			s.run("subscription", "remove", added)
			added = ""
		}
		csn = max(csn, s.contextCSN())
		if strings.Contains(s.log.String(), "damaged") {
			t.Errorf("round %d: kill -9 is no damage:\n%s", round, s.log)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}
