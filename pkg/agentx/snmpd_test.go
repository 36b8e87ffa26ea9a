package agentx

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// agent is a real snmpd.
type agent struct {
	*ldaptest.SNMPd
	t *testing.T
}

func startSNMPd(t *testing.T, network string) agent {
	return agent{ldaptest.StartSNMPd(t, network), t}
}

// run asks it, with time for a busy machine; look does with little, to ask again.
func (s agent) run(program string, how []string, args ...string) ([]string, error) {
	return s.Run(patience/2, program, how, args...)
}

func (s agent) look(program string, how []string, args ...string) ([]string, error) {
	return s.Run(time.Second, program, how, args...)
}

var v2c, v3 = ldaptest.SNMPv2c, ldaptest.SNMPv3

const objectsOID = ".1.3.6.1.4.1.8072.9999.9999.389.1"

// awaitRows waits until a column has so many rows.
func (s agent) awaitRows(column string, want int) (lines []string) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("%d rows of %s", want, column), func() bool {
		got, err := s.look("snmpbulkwalk", v2c, objectsOID+column)
		lines = got
		n := 0
		for _, line := range lines {
			if strings.HasPrefix(line, objectsOID+column+".") && !strings.Contains(line, "No Such") {
				n++
			}
		}
		return err == nil && n == want
	})
	return lines
}

// doorTo opens a door to it.
func (s agent) doorTo(src Source, l *log, context string) *Door {
	s.t.Helper()
	network, address, err := ParseAddress(s.AgentX)
	must(s.t, err)
	return open(s.t, Options{Network: network, Address: address, Source: src, Context: context, Log: slogOf(l), Version: "1"})
}

// shown is a cell as snmpwalk prints it.
func shown(c cell) string {
	switch v := c.value.(type) {
	case string:
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Sprintf("\"% X \"", v)
		}
		return `"` + v + `"`
	case time.Duration:
		return fmt.Sprint(int64(v / (10 * time.Millisecond)))
	}
	return fmt.Sprint(c.value)
}

// R51: a real snmpd tells by gets, walks and bulk walks, by v2c and v3, over a unix socket and over
// TCP, what the view has: each OID, in order, with its value, also one that grows older.
func TestSNMPd(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			s, src := startSNMPd(t, network), storyScene()
			_, address, err := ParseAddress(s.AgentX)
			must(t, err)
			var begun atomic.Bool
			now := noon.Add(90 * time.Second)
			src.at = now.Add(-3 * time.Second)
			d := open(t, Options{Network: network, Address: address, Source: src, Version: "1", Now: func() time.Time {
				if begun.Swap(true) {
					return now
				}
				return noon.Add(-time.Hour)
			}})
			s.awaitRows(".3.1.2", 4)
			var want []string
			for _, p := range all(d.view.Load(), now) {
				want = append(want, objectsOID+oidKey(p.at)+" "+shown(p.c))
			}
			for _, value := range []string{".1.3.0 369000", ".1.14.0 3", ".3.1.12.3 90", ".5.1.3.4 \"#1: two wait\""} {
				if !slices.Contains(want, objectsOID+value) {
					t.Errorf("the view has no %s", value)
				}
			}
			for _, how := range [][]string{v2c, v3} {
				for _, prog := range []string{"snmpwalk", "snmpbulkwalk"} {
					got, err := s.run(prog, how, objectsOID)
					must(t, err)
					got = slices.DeleteFunc(got, func(line string) bool { return strings.Contains(line, " No more variables") })
					for i := range min(len(got), len(want)) {
						if got[i] != want[i] {
							t.Fatalf("%s %v: line %d is %q, the view has %q", prog, how[0], i, got[i], want[i])
						}
					}
					if len(got) != len(want) {
						t.Errorf("%s %v has %d lines, the view %d", prog, how[0], len(got), len(want))
					}
				}
			}
			lines, err := s.run("snmpget", v3, objectsOID+".5.1.3.4", objectsOID+".1.2.0", objectsOID+".3.1.99.3", objectsOID+".3.1.2.5")
			must(t, err)
			if got := strings.Join(lines, "\n"); !strings.Contains(got, `.5.1.3.4 "#1: two wait"`) || !strings.Contains(got, `.1.2.0 "o=base"`) ||
				!strings.Contains(got, "99.3 No Such Object") || !strings.Contains(got, "2.5 No Such Instance") {
				t.Error(got)
			}
			if _, err = s.run("snmpset", v2c, objectsOID+".1.2.0", "s", "x"); err == nil || !strings.Contains(err.Error(), "notWritable") {
				t.Errorf("a set: %v", err)
			}
		})
	}
}

// storyScene has the rows of sample.
func storyScene() *scene {
	s := newScene()
	s.watched.Names = []engine.WatchedName{nameOf(3, 0), nameOf(4, 2), nameOf(9, 1), nameOf(70000, 0)}
	s.watched.Sources = []engine.WatchedSource{sourceOf(1, "tree", false), sourceOf(7, "list", true)}
	s.raise(4, alarm.Clash, "two wait")
	s.raise(9, alarm.Down, "refused")
	s.raise(7, alarm.NameError, "one lacks a name")
	return s
}

// R51: 200 requests at the same time, each for 100 values, are all answered, with every value.
func TestSNMPdParallel(t *testing.T) {
	const gets, each = 200, 100
	s, src := startSNMPd(t, "unix"), newScene()
	for i := range each {
		src.watched.Names = append(src.watched.Names, nameOf(uint32(i+1), 0))
	}
	s.doorTo(src, &log{}, "")
	s.awaitRows(".3.1.2", each)
	s.Retries = 6 // the kernel may have no room for all that comes in one moment
	var oids, want []string
	for i := range each {
		oid := fmt.Sprintf("%s.3.1.3.%d", objectsOID, i+1)
		oids = append(oids, oid)
		want = append(want, fmt.Sprintf(`%s "cn=name %d,o=base"`, oid, i+1))
	}
	var all sync.WaitGroup
	var answered atomic.Int32
	begin := make(chan struct{})
	for range gets {
		all.Go(func() {
			<-begin
			lines, err := s.Run(8*time.Second, "snmpget", v2c, oids...)
			switch {
			case err != nil:
				t.Errorf("not answered: %v", err)
			case !slices.Equal(lines, want):
				t.Errorf("%d lines are answered, other than was asked for: %q", len(lines), lines)
			default:
				answered.Add(1)
			}
		})
	}
	close(begin)
	all.Wait()
	if n := answered.Load(); n != gets {
		t.Errorf("%d of %d are answered", n, gets)
	}
}
