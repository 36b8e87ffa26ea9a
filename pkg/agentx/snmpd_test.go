package agentx

import (
	"fmt"
	"slices"
	"strings"
	"sync"
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

// R51: a real snmpd tells by gets, walks and bulk walks, by v2c and v3, over a unix socket and over
// TCP, what the view has.
func TestSNMPd(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			s, src := startSNMPd(t, network), storyScene()
			d := s.doorTo(src, &log{}, "")
			s.awaitRows(".3.1.2", 4)
			want := all(d.view.Load())
			for _, how := range [][]string{v2c, v3} {
				for _, prog := range []string{"snmpwalk", "snmpbulkwalk"} {
					lines, err := s.run(prog, how, objectsOID)
					must(t, err)
					var got, wanted []string
					for _, line := range lines {
						if oid, value, _ := strings.Cut(line, " "); !strings.HasPrefix(value, "No more variables") {
							got = append(got, oid)
						}
					}
					for _, p := range want {
						wanted = append(wanted, objectsOID+oidKey(p.at))
					}
					if !slices.Equal(got, wanted) {
						t.Errorf("%s %v has %d OIDs, the view %d", prog, how[0], len(got), len(wanted))
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

// R51: requests at once, each for many values, are all answered.
func TestSNMPdParallel(t *testing.T) {
	const gets, each = 200, 100
	s, src := startSNMPd(t, "unix"), newScene()
	for i := range each {
		src.watched.Names = append(src.watched.Names, nameOf(uint32(i+1), 0))
	}
	s.doorTo(src, &log{}, "")
	s.awaitRows(".3.1.2", each)
	var oids []string
	for i := range each {
		oids = append(oids, fmt.Sprintf("%s.3.1.3.%d", objectsOID, i+1))
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, 20)
	var mu sync.Mutex
	answered := 0
	for range gets {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			lines, err := s.run("snmpget", v2c, oids...)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(lines) != each || !strings.HasSuffix(lines[each-1], `"cn=name 100,o=base"`) {
				t.Errorf("%d lines, %v", len(lines), err)
				return
			}
			answered++
		})
	}
	wg.Wait()
	if answered != gets {
		t.Errorf("%d of %d are answered", answered, gets)
	}
}
