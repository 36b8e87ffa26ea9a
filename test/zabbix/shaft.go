package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// base is the DN below which the story's names are.
const base = "ou=Package Listers"

// shaft is the daemon that is watched: the real binary, a process of its own.
type shaft struct {
	r      *run
	binary string
	dir    string
	daemon *process
}

// startShaft builds Shaft and starts it below a master agent.
func startShaft(r *run, a *agent) *shaft {
	s := &shaft{r: r, dir: r.TempDir()}
	s.binary = s.dir + "/shaft"
	out, err := exec.Command("go", "build", "-o", s.binary, "shaft/cmd/shaft").CombinedOutput()
	if err != nil {
		r.Fatalf("build shaft: %w\n%s", err, out)
	}
	config := fmt.Sprintf("base_dn: %s\ndata_dir: data\nlisten: [ \"ldap://127.0.0.1:%d\" ]\nagentx: { address: %q }\n", base, r.port(), "unix:"+a.socket)
	r.must(os.WriteFile(s.dir+"/shaft.yaml", []byte(config), 0o600))
	s.start()
	return s
}

func (s *shaft) start() {
	s.daemon = s.r.start("shaft", "", syscall.SIGTERM, exec.Command(s.binary, "serve", "--config", s.dir+"/shaft.yaml"))
	s.daemon.ready("shaft", func() error {
		_, err := s.try("status")
		return err
	})
}

// try runs a command against the daemon.
func (s *shaft) try(args ...string) (string, error) {
	cmd := exec.Command(s.binary, args...)
	cmd.Env = append(os.Environ(), "SHAFT_SOCKET="+s.dir+"/data/control.sock")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("shaft %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (s *shaft) run(args ...string) string {
	out, err := s.try(args...)
	s.r.must(err)
	s.r.say("    shaft %s", strings.Join(args, " "))
	return out
}

// read runs a command that shows something, and decodes it.
func (s *shaft) read(into any, args ...string) {
	out, err := s.try(append(args, "-o", "json")...)
	s.r.must(err)
	s.r.must(json.Unmarshal([]byte(out), into))
}

// alarm is what scripts read of `shaft alarm list -o json`.
type alarm struct{ ID, Kind, Severity, Name, Subscription, Cause string }

// alarms lists what Shaft itself says is wrong: severity, kind and subject.
func (s *shaft) alarms() []alarm {
	var list []alarm
	s.read(&list, "alarm", "list")
	return list
}

// agent is net-snmp's master agent.
type agent struct {
	r      *run
	port   int
	socket string // its AgentX side
	daemon *process
}

// The one user who may read, over SNMPv3 with authentication and privacy.
const (
	snmpUser    = "zabbix"
	snmpAuthKey = "shaft-auth-pass"
	snmpPrivKey = "shaft-priv-pass"
)

// startAgent starts a master agent that gives Shaft's subtree and the system group to one user.
func startAgent(r *run, root string) *agent {
	a := &agent{r: r, port: r.port(), socket: r.path("agentx")}
	r.write("snmpd.conf", strings.NewReplacer("PORT", fmt.Sprint(a.port), "SOCKET", a.socket, "ROOT", root,
		"USER", snmpUser, "AUTH", snmpAuthKey, "PRIV", snmpPrivKey).Replace(`agentaddress udp:127.0.0.1:PORT
master agentx
agentXSocket unix:SOCKET
agentXTimeout 3
agentXRetries 1
view shaft included .ROOT
view shaft included .1.3.6.1.2.1.1
createUser USER SHA-256 "AUTH" AES "PRIV"
rouser USER authPriv -V shaft
`))
	a.start()
	return a
}

func (a *agent) start() {
	cmd := exec.Command("/usr/sbin/snmpd", "-f", "-Le", "-C", "-c", a.r.path("snmpd.conf"), "-p", a.r.path("snmpd.pid"))
	cmd.Env = append(os.Environ(), "MIBS=", "SNMP_PERSISTENT_DIR="+a.r.path("snmp"))
	a.daemon = a.r.start("snmpd", "", syscall.SIGTERM, cmd)
	a.daemon.ready("snmpd", func() error {
		_, err := os.Stat(a.socket)
		return err
	})
}
