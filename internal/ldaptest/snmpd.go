package ldaptest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SNMPd is a real SNMP agent, net-snmp's snmpd, on loopback. It shows what is below
// SHAFT-MIB's root to the community "public", and in the context "other" to "other".
// Notifications go to TrapPort by v2c and v3.
type SNMPd struct {
	Port     int
	TrapPort int
	AgentX   string // where subagents reach it, as shaft.yaml has it: unix:PATH or tcp:HOST:PORT
	Retries  int    // how often Run asks again where no reply comes, as a manager does, UDP being what it is

	t      TB
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// The receive buffer holds requests of some hundred managers at once, as far as the kernel grants it.
const snmpdConf = `[snmp] serverRecvBuf 4194304
agentaddress udp:127.0.0.1:%d
master agentx
agentXSocket %s
agentXTimeout 30
agentXRetries 0
view shaft included .1.3.6.1.4.1.8072.9999.9999.389
rwcommunity public 127.0.0.1 -V shaft
com2sec -Cn other otherSec 127.0.0.1 other
group otherGroup v2c otherSec
access otherGroup other v2c noauth exact shaft none none
createUser monitor SHA "auth-pass-phrase" AES "priv-pass-phrase"
rouser monitor authPriv -V shaft
trap2sink 127.0.0.1:%d trapped
trapsess -v 3 -l authPriv -u trapper -e 0x8000000001020304 -a SHA -A auth-pass-phrase -x AES -X priv-pass-phrase 127.0.0.1:%[3]d
`

const snmptrapdConf = `authCommunity log trapped
createUser -e 0x8000000001020304 trapper SHA "auth-pass-phrase" AES "priv-pass-phrase"
authUser log trapper authPriv
`

// snmpdPoll is how long an snmpd that starts is given to answer before it is asked again.
const snmpdPoll = 250 * time.Millisecond

// Ways to ask an SNMPd.
var (
	SNMPv2c = []string{"-v2c", "-c", "public"}
	SNMPv3  = []string{"-v3", "-l", "authPriv", "-u", "monitor", "-a", "SHA", "-A", "auth-pass-phrase", "-x", "AES", "-X", "priv-pass-phrase"}
)

// StartSNMPd starts one and has the test stop it; network, unix or tcp, is how
// subagents reach it. Without Debian's snmpd and its tools the test fails.
func StartSNMPd(t TB, network string) *SNMPd {
	t.Helper()
	for _, tool := range []string{"/usr/sbin/snmpd", "/usr/sbin/snmptrapd", "snmptable"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: apt-get install snmpd snmptrapd snmp", tool)
		}
	}
	s := &SNMPd{t: t, dir: t.TempDir(), Port: freePort(t), TrapPort: freePort(t)}
	s.AgentX = "unix:" + s.Socket()
	if network == "tcp" {
		s.AgentX = fmt.Sprintf("tcp:127.0.0.1:%d", freePort(t))
	}
	s.write("snmpd.conf", fmt.Sprintf(snmpdConf, s.Port, s.AgentX, s.TrapPort))
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// Socket is the path of its AgentX socket, should it have one.
func (s *SNMPd) Socket() string { return filepath.Join(s.dir, "agentx") }

func (s *SNMPd) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatalf("snmpd: %v", err)
	}
}

// command makes one of net-snmp's programs ready to run.
func (s *SNMPd) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+filepath.Join(s.dir, "var"), "SNMPCONFPATH="+s.dir, "MIBS=")
	return cmd
}

// Start starts it anew, with its ports and what it was configured for, and waits until it answers: what is asked
// before is lost.
func (s *SNMPd) Start() {
	s.t.Helper()
	s.cmd = s.command(context.Background(), "/usr/sbin/snmpd", "-f", "-I", "-smux", "-Lf", filepath.Join(s.dir, "log"), "-C", "-c", filepath.Join(s.dir, "snmpd.conf"))
	s.exited = s.begin(s.cmd)
	deadline := time.Now().Add(slapdPatience)
	for {
		_, err := s.Run(snmpdPoll, "snmpget", SNMPv2c, ".1.3.6.1.4.1.8072.9999.9999.389.1.1.3.0")
		if err == nil {
			return
		}
		select {
		case <-s.exited:
			s.t.Fatalf("snmpd ended: %v", err)
		case <-time.After(slapdPoll):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("snmpd does not answer within %v: %v", slapdPatience, err)
		}
	}
}

// begin starts a program; the channel is closed at its end.
func (s *SNMPd) begin(cmd *exec.Cmd) (exited chan struct{}) {
	s.t.Helper()
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("snmpd: %v", err)
	}
	exited = make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is told to end by a signal
		close(exited)
	}()
	return exited
}

// Restart starts it anew with another configuration, beside which there are its port and the community "public" alone.
func (s *SNMPd) Restart(conf string) {
	s.t.Helper()
	s.Stop()
	s.write("snmpd.conf", fmt.Sprintf("agentaddress udp:127.0.0.1:%d\nrocommunity public 127.0.0.1\n%s", s.Port, conf))
	s.Start()
}

// Log is what it has logged.
func (s *SNMPd) Log() string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatalf("snmpd: %v", err)
	}
	return string(b)
}

// Stop ends it in order; it closes the sessions of subagents. Kill is kill -9.
func (s *SNMPd) Stop() { s.end(s.cmd, s.exited, syscall.SIGTERM); s.cmd = nil }

// Kill ends it without a chance to say so.
func (s *SNMPd) Kill() { s.end(s.cmd, s.exited, syscall.SIGKILL); s.cmd = nil }

func (s *SNMPd) end(cmd *exec.Cmd, exited chan struct{}, sig os.Signal) {
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig) // it may have ended
	select {
	case <-exited:
	case <-time.After(slapdPatience):
		_ = cmd.Process.Kill()
		<-exited
	}
}

// Run runs snmpget or its like against it, asking in one of the ways, and gives the lines that it prints:
// OID, space, value. wait bounds how long a reply to each try may take.
func (s *SNMPd) Run(wait time.Duration, program string, how []string, args ...string) ([]string, error) {
	numeric := []string{"-m", "", "-On", "-Oq", "-Ot"}
	return s.run(wait, program, slices.Concat(how, numeric), args)
}

// Table runs snmptable, which needs directories with the MIB's modules, on a table of SHAFT-MIB,
// and gives its rows by the names of the columns, with the row's index as index. It asks for each row in one
// request, so that what a row tells is of one moment.
func (s *SNMPd) Table(how []string, mibs, table string) (rows []map[string]string, err error) {
	named := []string{"-M", mibs, "-m", "SHAFT-MIB", "-CB", "-Ci", "-Cf", "\t", "-OeUb"}
	lines, err := s.run(slapdPatience, "snmptable", slices.Concat(how, named), []string{"SHAFT-MIB::" + table})
	if err != nil {
		return nil, err
	}
	var columns []string
	for _, line := range lines {
		cells := strings.Split(line, "\t")
		switch {
		case len(cells) < 2:
		case columns == nil:
			columns = cells
		default:
			row := map[string]string{}
			for i, cell := range cells[:min(len(cells), len(columns))] {
				row[columns[i]] = strings.Trim(cell, `"`)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (s *SNMPd) run(wait time.Duration, program string, options, args []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	seconds := strconv.FormatFloat(wait.Seconds(), 'f', 2, 64)
	all := slices.Concat(options, []string{"-t", seconds, "-r", strconv.Itoa(s.Retries), fmt.Sprintf("udp:127.0.0.1:%d", s.Port)}, args)
	out, err := s.command(ctx, program, all...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// Traps starts a receiver of its notifications, which the test stops. What has arrived, a
// line each, is told by the function returned.
func (s *SNMPd) Traps() (arrived func() []string) {
	s.t.Helper()
	out := filepath.Join(s.dir, "traps")
	s.write("snmptrapd.conf", snmptrapdConf)
	cmd := s.command(context.Background(), "/usr/sbin/snmptrapd", "-f", "-Lf", out, "-C", "-c", filepath.Join(s.dir, "snmptrapd.conf"),
		"-m", "", "-On", "-OQ", "-F", "%v\n", fmt.Sprintf("udp:127.0.0.1:%d", s.TrapPort))
	exited := s.begin(cmd)
	s.t.Cleanup(func() { s.end(cmd, exited, syscall.SIGTERM) })
	deadline := time.Now().Add(slapdPatience)
	for {
		if b, err := os.ReadFile(out); err == nil && strings.Contains(string(b), "NET-SNMP version") {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("snmptrapd does not listen within %v", slapdPatience)
		}
		<-time.After(slapdPoll)
	}
	return func() (lines []string) {
		b, err := os.ReadFile(out)
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, ".1.3.6.1.6.3.1.1.4.1.0 = ") {
				lines = append(lines, line)
			}
		}
		return lines
	}
}
