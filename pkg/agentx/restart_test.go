package agentx

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// R51: notifications arrive by v2c and by v3, those raised while snmpd is away after it is back;
// what changed meanwhile is in the tables, and nothing stale is.
func TestSNMPdRestarts(t *testing.T) {
	s, src := startSNMPd(t, "unix"), newScene()
	src.watched.Names = []engine.WatchedName{nameOf(1, 1), nameOf(2, 0), nameOf(3, 0)}
	traps := s.Traps()
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
	s.Kill()
	src.raise(2, alarm.NoLKG, "nothing is there")
	src.change(func(w *engine.Watched) { w.Names = w.Names[:2] })
	await(t, "that snmpd is away is seen", func() bool { return l.count("no session with") > 0 })
	must(t, os.RemoveAll(s.Socket()))
	s.Start()
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
	s.Stop() // in order, and again
	s.Start()
	s.awaitRows(".3.1.2", 2)
	src.clear(1, alarm.Clash)
	arrived(".389.0.10", 2)
	for _, line := range traps() {
		if !strings.Contains(line, ".1.3.6.1.2.1.1.3.0") {
			t.Errorf("no time: %s", line)
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
		lines, err := s.look("snmpget", []string{"-v2c", "-c", "other"}, objectsOID+".3.1.2.5")
		return err == nil && strings.Contains(lines[0], "cn=name 5")
	})
	one.Close()
	s.awaitRows(".3.1.2", 2)
	two.Close()
	other.Close()
	await(t, "nothing is left", func() bool {
		lines, err := s.look("snmpget", v2c, objectsOID+".3.1.2.5")
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
		lines, err := s.look("snmpget", v2c, objectsOID+".1.5.0")
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
