package agentx

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
)

// snmpd is a real SNMP agent of net-snmp, on loopback ports of its own, and what receives
// its notifications.
type snmpd struct {
	t      *testing.T
	dir    string
	port   int // of SNMP
	trap   int // of notifications
	agentx string
	cmd    *exec.Cmd
	ended  chan struct{}
}

const snmpdConf = `agentaddress udp:127.0.0.1:%d
master agentx
agentXSocket %s
agentXTimeout 30
agentXRetries 0
view shaft included .1.3.6.1.4.1.8072.9999.9999.389
rwcommunity pub 127.0.0.1 -V shaft
com2sec -Cn other otherSec 127.0.0.1 other
group otherGroup v2c otherSec
access otherGroup other v2c noauth exact shaft none none
createUser mon SHA "auth-pass-phrase" AES "priv-pass-phrase"
rouser mon authPriv -V shaft
trap2sink 127.0.0.1:%d trapped
trapsess -v 3 -l authPriv -u trapper -e 0x8000000001020304 -a SHA -A auth-pass-phrase -x AES -X priv-pass-phrase 127.0.0.1:%d
`

const trapdConf = `authCommunity log trapped
createUser -e 0x8000000001020304 trapper SHA "auth-pass-phrase" AES "priv-pass-phrase"
authUser log trapper authPriv
`

// program finds one of net-snmp's, or says what to install.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/" + name, "/usr/bin/" + name} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: apt-get install snmpd snmp snmptrapd", name)
	return ""
}

// startSNMPd starts one; network is unix or tcp, where Shaft reaches it.
func startSNMPd(t *testing.T, network string) *snmpd {
	t.Helper()
	dir, err := os.MkdirTemp("", "snmpd") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &snmpd{t: t, dir: dir, port: freeUDP(t), trap: freeUDP(t), agentx: "unix:" + filepath.Join(dir, "agentx")}
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		s.agentx = "tcp:" + l.Addr().String()
		l.Close()
	}
	conf := fmt.Sprintf(snmpdConf, s.port, s.agentx, s.trap, s.trap)
	must(t, os.WriteFile(filepath.Join(dir, "snmpd.conf"), []byte(conf), 0o600))
	s.start()
	t.Cleanup(func() { s.stop(os.Interrupt) })
	return s
}

func freeUDP(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func (s *snmpd) env(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+filepath.Join(s.dir, "var"), "SNMPCONFPATH="+s.dir, "MIBS=")
	return cmd
}

func (s *snmpd) start() {
	s.t.Helper()
	s.cmd = s.env(exec.Command(program(s.t, "snmpd"), "-f", "-I", "-smux", "-Lf", filepath.Join(s.dir, "log"), "-C", "-c", filepath.Join(s.dir, "snmpd.conf")))
	must(s.t, s.cmd.Start())
	ended := make(chan struct{})
	s.ended = ended
	go func(cmd *exec.Cmd) { _ = cmd.Wait(); close(ended) }(s.cmd)
}

// stop ends it by a signal.
func (s *snmpd) stop(sig os.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Error("snmpd does not end")
	}
	s.cmd = nil
}

// Ways to ask.
var (
	v2c = []string{"-v2c", "-c", "pub"}
	v3  = []string{"-v3", "-l", "authPriv", "-u", "mon", "-a", "SHA", "-A", "auth-pass-phrase", "-x", "AES", "-X", "priv-pass-phrase"}
)

// run runs one of net-snmp's programs against it, and gives its lines.
func (s *snmpd) run(name string, how []string, args ...string) (lines []string, err error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := slices.Concat([]string{"-t", "20", "-r", "0"}, how, []string{"-m", "", "-On", "-Oq", "-Ot", fmt.Sprintf("udp:127.0.0.1:%d", s.port)}, args)
	cmd := s.env(exec.CommandContext(ctx, program(s.t, name), all...))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

const objectsOID = ".1.3.6.1.4.1.8072.9999.9999.389.1"

// awaitRows waits until a column has so many rows.
func (s *snmpd) awaitRows(column string, want int) (lines []string) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("%d rows of %s", want, column), func() bool {
		got, err := s.run("snmpbulkwalk", append(slices.Clone(v2c), "-t", "1"), objectsOID+column)
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
func (s *snmpd) doorTo(src Source, l *log, context string) *Door {
	s.t.Helper()
	network, address, err := ParseAddress(s.agentx)
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
