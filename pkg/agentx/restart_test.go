package agentx

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// startTrapd starts a receiver of the notifications; what it has got is told by the
// function returned.
func (s *snmpd) startTrapd() (lines func() []string) {
	s.t.Helper()
	conf, out := filepath.Join(s.dir, "snmptrapd.conf"), filepath.Join(s.dir, "traps")
	must(s.t, os.WriteFile(conf, []byte(trapdConf), 0o600))
	cmd := s.env(exec.Command(program(s.t, "snmptrapd"), "-f", "-Lf", out, "-C", "-c", conf, "-m", "", "-On", "-Oq", "-OQ", "-F", "%s %v\n", fmt.Sprintf("udp:127.0.0.1:%d", s.trap)))
	must(s.t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
		}
	})
	lines = func() (got []string) {
		b, err := os.ReadFile(out)
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, ".389.0.") {
				got = append(got, line)
			}
		}
		return got
	}
	await(s.t, "snmptrapd listens", func() bool {
		b, err := os.ReadFile(out)
		return err == nil && strings.Contains(string(b), "NET-SNMP version")
	})
	return lines
}

// R51: notifications arrive by v2c and by v3, those raised while snmpd is away after it is back;
// what changed meanwhile is in the tables, and nothing stale is.
func TestSNMPdRestarts(t *testing.T) {
	s, src := startSNMPd(t, "unix"), newScene()
	src.watched.Names = []engine.WatchedName{nameOf(1, 1), nameOf(2, 0), nameOf(3, 0)}
	traps := s.startTrapd()
	l := &log{}
	s.doorTo(src, l, "")
	s.awaitRows(".3.1.2", 3)
	arrived := func(words string, n int) {
		t.Helper()
		await(t, words, func() bool {
			all := 0
			for _, line := range traps() {
				if strings.Contains(line, words) {
					all++
				}
			}
			return all >= n
		})
	}
	src.raise(1, alarm.Clash, "one waits")
	arrived("#1: one waits", 2) // by v2c and v3
	s.stop(os.Kill)
	src.raise(2, alarm.NoLKG, "nothing is there")
	src.change(func(w *engine.Watched) { w.Names = w.Names[:2] })
	await(t, "that snmpd is away is seen", func() bool { return l.count("no session with") > 0 })
	must(t, os.RemoveAll(strings.TrimPrefix(s.agentx, "unix:")))
	s.start()
	arrived("#2: nothing is there", 2)
	lines := s.awaitRows(".3.1.2", 2)
	if got := strings.Join(lines, "\n"); !strings.Contains(got, ".2.1 ") || !strings.Contains(got, ".2.2 ") {
		t.Error(got)
	}
	lines, err := s.run("snmpget", v2c, objectsOID+".7.1.3.2", objectsOID+".5.1.3.1")
	must(t, err)
	if got := strings.Join(lines, "\n"); !strings.Contains(got, `"#2: nothing is there"`) || !strings.Contains(got, `"#1: one waits"`) {
		t.Error(got)
	}
	s.stop(os.Interrupt) // in order, and again
	s.start()
	s.awaitRows(".3.1.2", 2)
	src.clear(1, alarm.Clash)
	arrived(".389.0.10", 2)
	for _, line := range traps() {
		if !strings.Contains(line, ".1.3.6.1.6.3.1.1.4.1.0") || !strings.Contains(line, ".1.3.6.1.2.1.1.3.0") {
			t.Errorf("no time, or no kind: %s", line)
		}
	}
}

// R51: a second Shaft under one snmpd is told so in words; it has a place in a context of its own, and takes
// over when the first goes.
func TestTwoDoors(t *testing.T) {
	s, first, second := startSNMPd(t, "unix"), newScene(), newScene()
	first.watched.Names = []engine.WatchedName{nameOf(1, 0)}
	second.watched.Names = []engine.WatchedName{nameOf(5, 0), nameOf(6, 0)}
	one := s.doorTo(first, &log{}, "")
	s.awaitRows(".3.1.2", 1)
	l := &log{}
	two := s.doorTo(second, l, "")
	await(t, "it is told", func() bool { return l.count("such as a second Shaft") == 1 })
	s.awaitRows(".3.1.2", 1)
	other := s.doorTo(second, &log{}, "other")
	await(t, "it is in its context", func() bool {
		lines, err := s.run("snmpget", []string{"-v2c", "-c", "other", "-t", "1"}, objectsOID+".3.1.2.5")
		return err == nil && strings.Contains(lines[0], "cn=name 5")
	})
	one.Close()
	s.awaitRows(".3.1.2", 2)
	two.Close()
	other.Close()
	await(t, "nothing is left", func() bool {
		lines, err := s.run("snmpget", append(slices.Clone(v2c), "-t", "1"), objectsOID+".3.1.2.5")
		return err == nil && strings.Contains(lines[0], "No Such Object")
	})
}

// R51: ten thousand names are walked in order, with none left out.
func TestSNMPdWalksTenThousand(t *testing.T) {
	const names = 10000
	s, src := startSNMPd(t, "unix"), newScene()
	for i := range names {
		src.watched.Names = append(src.watched.Names, nameOf(uint32(3*i+1), 0))
	}
	s.doorTo(src, &log{}, "")
	await(t, "the names are there", func() bool {
		lines, err := s.run("snmpget", append(slices.Clone(v2c), "-t", "1"), objectsOID+".1.5.0")
		return err == nil && strings.HasSuffix(lines[0], " 10000")
	})
	lines, err := s.run("snmpbulkwalk", append(slices.Clone(v2c), "-Cr50"), objectsOID+".3.1.2")
	must(t, err)
	if len(lines) < names {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines[:names] {
		if want := fmt.Sprintf(`%s.3.1.2.%d "cn=name %d"`, objectsOID, 3*i+1, 3*i+1); line != want {
			t.Fatalf("line %d is %s, wanted %s", i, line, want)
		}
	}
}
