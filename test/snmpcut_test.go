package test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R51: the connection between snmpd and Shaft is reset while both live on: as long as it is cut nothing stale is shown; then
// the rows are back, those of now, and what was raised meanwhile is notified.
func TestSNMPConnectionReset(t *testing.T) {
	suse := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	agent := ldaptest.StartSNMPd(t, "tcp")
	cable := newCable(t, strings.TrimPrefix(agent.AgentX, "tcp:"))
	s := newSNMP(t, agent, "tcp:"+cable.address)
	always := func() bool { return true }
	trapped := s.trapped()
	s.follow("suse", suse, ldaptest.SuSeSuffix, "cn=SuSe")
	s.follow("extra", suse, ldaptest.SuSeSuffix, "cn=Extra")
	s.live("cn=SuSe")
	s.live("cn=Extra")
	first := s.agree("before", always)

	cable.reset()
	eventually(t, time.Minute, "nothing is shown", func() bool {
		cells, err := s.ask("snmpwalk", ldaptest.SNMPv2c, "")
		return err == nil && len(cells) == 0
	})
	s.run("subscription", "remove", "extra")
	s.follow("rival", suse, ldaptest.SuSeSuffix, "cn=SuSe")
	eventually(t, time.Minute, "there is a clash", func() bool { return s.kindsOf("cn=SuSe") == "clash" })
	eventually(t, time.Minute, "that there is no session is logged", func() bool { return strings.Contains(s.log.String(), "no session with the SNMP agent") })
	cable.mend()
	second := s.agree("the cut is mended", func() bool { return len(s.names()) == 1 })
	trapped("#1: suse is shown, 1 claim waits: rival")

	for range 3 { // and at once there again
		cable.reset()
		cable.mend()
		s.agree("after a reset", always)
	}
	s.run("subscription", "remove", "rival")
	s.cells("at the end", s.agree("at the end", func() bool { return s.kindsOf("cn=SuSe") == "" }))
	trapped(".389.0.10")
	if second["cn=SuSe,"+base] != first["cn=SuSe,"+base] {
		t.Errorf("the indexes were %v, and are %v", first, second)
	}
	if strings.Contains(s.log.String(), "panic") {
		t.Error("Shaft panicked")
	}
}

// R51: with the snmpd.conf of docs/monitoring.md, but for where its socket is and who is notified, Shaft is seen by the user that it
// makes, and so is what may be seen beside.
func TestSNMPAsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, conf, _ := strings.Cut(string(doc), "\nIn snmpd.conf:\n\n")
	conf, _, _ = strings.Cut(conf, "\n\n")
	agent := ldaptest.StartSNMPd(t, "unix")
	for old, own := range map[string]string{"unix:/var/agentx/master": agent.AgentX, "192.0.2.9": fmt.Sprintf("127.0.0.1:%d", agent.TrapPort)} {
		if strings.Count(conf, old) != 1 {
			t.Fatalf("%s is not in\n%s", old, conf)
		}
		conf = strings.Replace(conf, old, own, 1)
	}
	agent.Restart(conf)
	user := regexp.MustCompile(`createUser (\w+) (\S+) "(.*)" (\w+) "(.*)"`).FindStringSubmatch(conf)
	if user == nil {
		t.Fatalf("no user in\n%s", conf)
	}
	how := []string{"-v3", "-l", "authPriv", "-u", user[1], "-a", user[2], "-A", user[3], "-x", user[4], "-X", user[5]}
	s := newSNMP(t, agent, agent.AgentX)
	eventually(t, time.Minute, "the user sees Shaft", func() bool {
		lines, err := agent.Run(30*time.Second, "snmpget", how, snmpObjects+".1.2.0", ".1.3.6.1.2.1.1.3.0")
		return err == nil && strings.HasSuffix(lines[0], `"`+base+`"`) && !strings.Contains(lines[1], "No Such")
	})
	if log := agent.Log(); strings.Contains(log, "Error") || strings.Contains(log, "Unknown") {
		t.Errorf("snmpd does not like the configuration:\n%s", log)
	}
	s.stop()
}
