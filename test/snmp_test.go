package test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// snmp is a Shaft under a real SNMP agent.
type snmp struct {
	*shaft
	agent *ldaptest.SNMPd
	mibs  string // directories with SHAFT-MIB and what it imports
}

// newSNMP starts a Shaft that finds the agent at an address.
func newSNMP(t *testing.T, agent *ldaptest.SNMPd, address string) *snmp {
	t.Helper()
	dir, err := finish(t, exec.Command("../tools/mibs.sh"))
	if err != nil {
		t.Fatalf("the standard MIBs: %v: %s", err, dir)
	}
	return &snmp{newShaft(t, fmt.Sprintf("base_dn: %s\nagentx: { address: %q }\n", base, address)), agent, strings.TrimSpace(dir) + ":../mibs"}
}

// follow subscribes to one of the story's servers under a name.
func (s *snmp) follow(id string, from *ldaptest.Slapd, suffix, name string) {
	s.t.Helper()
	s.run("subscription", "add", id, "--url", from.URL()+"/"+suffix, "--name", name)
}

// states and kinds are the words of the MIB's numbers.
var (
	snmpStates = map[string]string{"1": "connecting", "2": "refreshing", "3": "live", "4": "polling", "5": "held", "6": "down", "7": "unsupported"}
	snmpKinds  = map[string]string{"1": "no-lkg", "2": "held", "3": "down", "4": "not-syncrepl", "5": "clash", "6": "overlap", "7": "name-error"}
)

// told lists what snmptable shows of names, of what waits and of sources, in the words of `shaft name list` and
// `shaft subscription list`, and gives the index of each name.
func (s *snmp) told(how []string) (rows []string, indexes map[string]string, err error) {
	names, err := s.agent.Table(how, s.mibs, "shaftNameTable")
	if err != nil {
		return nil, nil, err
	}
	alarms, err := s.agent.Table(how, s.mibs, "shaftAlarmTable")
	if err != nil {
		return nil, nil, err
	}
	queues, err := s.agent.Table(how, s.mibs, "shaftQueueTable")
	if err != nil {
		return nil, nil, err
	}
	sources, err := s.agent.Table(how, s.mibs, "shaftUpstreamTable")
	if err != nil {
		return nil, nil, err
	}
	for _, u := range sources {
		rows = append(rows, row("source", u["shaftUpstreamID"], map[string]string{"1": "tree", "2": "list"}[u["shaftUpstreamKind"]], u["shaftUpstreamURL"],
			snmpStates[u["shaftUpstreamState"]], u["shaftUpstreamOnline"] == "1", u["shaftUpstreamClaims"], u["shaftUpstreamEntries"]))
	}
	dns := map[string]string{}
	for _, n := range names {
		dns[n["index"]] = n["shaftNameDN"]
	}
	for _, q := range queues {
		subject, position, _ := strings.Cut(q["index"], ".")
		rows = append(rows, row("waits", dns[subject], position, q["shaftQueueClaim"], q["shaftQueueSubscription"], q["shaftQueueURL"],
			snmpStates[q["shaftQueueState"]], q["shaftQueueOnline"] == "1", q["shaftQueueEntries"]))
	}
	kinds := map[string][]string{}
	for _, a := range alarms {
		if subject, kind, _ := strings.Cut(a["index"], "."); a["shaftAlarmState"] != "1" {
			kinds[subject] = append(kinds[subject], snmpKinds[kind])
		}
	}
	indexes = map[string]string{}
	for _, n := range names {
		indexes[n["shaftNameDN"]] = n["index"]
		slices.Sort(kinds[n["index"]])
		rows = append(rows, row(n["shaftNameDN"], n["shaftNameClaim"], n["shaftNameSubscription"], n["shaftNameURL"], snmpStates[n["shaftNameState"]],
			n["shaftNameOnline"] == "1", n["shaftNameLastKnownGood"] == "1", n["shaftNameEntries"], n["shaftNameQueued"], kinds[n["index"]]))
	}
	slices.Sort(rows)
	return rows, indexes, nil
}

func row(facts ...any) string { return fmt.Sprint(facts...) }

// listed is the same of the lists.
func (s *snmp) listed() (rows []string) {
	s.t.Helper()
	var sources []struct{ ID, Kind, URL string }
	if err := json.Unmarshal([]byte(s.run("subscription", "list", "-o", "json")), &sources); err != nil {
		s.t.Fatal(err)
	}
	by := map[string]link{} // of trees, each with one claim
	for _, n := range s.names() {
		rows = append(rows, row(n.DN, n.Head.Claim, n.Head.Subscription, n.Head.URL, n.Head.State,
			n.Head.Online, n.LastKnownGood, fmt.Sprint(n.Entries), fmt.Sprint(len(n.Queue)), n.Alarms))
		by[n.Head.Subscription] = n.Head
		for i, q := range n.Queue {
			rows = append(rows, row("waits", n.DN, fmt.Sprint(i+1), q.Claim, q.Subscription, q.URL, q.State, q.Online, fmt.Sprint(q.Entries)))
			by[q.Subscription] = q
		}
	}
	for _, u := range sources {
		l := by[u.ID]
		rows = append(rows, row("source", u.ID, u.Kind, u.URL, l.State, l.Online, "1", fmt.Sprint(l.Entries)))
	}
	slices.Sort(rows)
	return rows
}

// trapped starts to receive notifications; what it gives waits for one with the words.
func (s *snmp) trapped() func(words string) {
	s.t.Helper()
	traps := s.agent.Traps()
	return func(words string) {
		s.t.Helper()
		eventually(s.t, time.Minute, "a notification: "+words, func() bool {
			return slices.ContainsFunc(traps(), func(line string) bool { return strings.Contains(line, words) })
		})
	}
}

// agree waits until SNMP by v2c and v3 tells what the list tells, which ready has to hold of, and
// gives the index of each name.
func (s *snmp) agree(when string, ready func() bool) (indexes map[string]string) {
	s.t.Helper()
	var said []string
	var err error
	defer func() {
		if s.t.Failed() {
			s.t.Logf("%s: SNMP tells %q (%v), the list %q", when, said, err, s.listed())
		}
	}()
	for _, how := range [][]string{ldaptest.SNMPv2c, ldaptest.SNMPv3} {
		eventually(s.t, time.Minute, when+": SNMP and the list agree", func() bool {
			if !ready() {
				return false
			}
			said, indexes, err = s.told(how)
			return err == nil && slices.Equal(said, s.listed())
		})
	}
	return indexes
}

// kindsOf waits for nothing: a name's alarms.
func (s *snmp) kindsOf(rdn string) string { return strings.Join(s.names()[rdn+","+base].Alarms, " ") }

// R51, R48, R37: snmptable by v2c and v3 agrees with `shaft name list` while things change, over restarts of
// Shaft and snmpd; indexes stay; nothing stale is left, and no alarm is lost.
func TestSNMP(t *testing.T) {
	suse := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	redhat := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	agent := ldaptest.StartSNMPd(t, "unix")
	s := newSNMP(t, agent, agent.AgentX)
	trapped := s.trapped()
	always := func() bool { return true }
	s.agree("with nothing", always)
	s.follow("suse", suse, ldaptest.SuSeSuffix, "cn=SuSe")
	s.follow("redhat", redhat, ldaptest.RedHatSuffix, "cn=Red Hat")
	s.live("cn=SuSe")
	s.live("cn=Red Hat")
	first := s.agree("two names", always)
	s.follow("rival", redhat, ldaptest.RedHatSuffix, "cn=SuSe")
	clash := s.agree("a clash", func() bool { return s.kindsOf("cn=SuSe") == "clash" })
	s.cells("a clash", clash)
	trapped("#1: suse is shown, 1 claim waits: rival")

	s.agent.Kill()
	suse.Stop()
	eventually(t, time.Minute, "the head is down", func() bool { return s.kindsOf("cn=SuSe") == "clash down" })
	s.run("subscription", "remove", "redhat")
	s.agent.Start()
	second := s.agree("snmpd was away", func() bool { return s.kindsOf("cn=SuSe") == "clash down" })
	trapped("#2: suse: ")
	if second["cn=SuSe,"+base] != first["cn=SuSe,"+base] || len(second) != 1 {
		t.Errorf("the indexes were %v, and are %v", first, second)
	}

	id := s.alarms("clash")[0].ID
	s.run("alarm", "ack", id, "--note", "known")
	s.kill()
	eventually(t, time.Minute, "without Shaft nothing is shown", func() bool {
		rows, err := s.agent.Table(ldaptest.SNMPv2c, s.mibs, "shaftNameTable")
		return err != nil || len(rows) == 0
	})
	suse.Start()
	s.start()
	s.live("cn=SuSe")
	s.follow("redhat", redhat, ldaptest.RedHatSuffix, "cn=red hat") // back, spelt otherwise
	s.live("cn=red hat")
	third := s.agree("Shaft was away", func() bool { return s.kindsOf("cn=SuSe") == "clash" })
	if third["cn=SuSe,"+base] != first["cn=SuSe,"+base] || third["cn=red hat,"+base] != first["cn=Red Hat,"+base] {
		t.Errorf("the indexes were %v, and are %v", first, third)
	}
	get := func(column, index string) string {
		t.Helper()
		lines, err := s.agent.Run(20*time.Second, "snmpget", ldaptest.SNMPv3, ".1.3.6.1.4.1.8072.9999.9999.389.1."+column+"."+index)
		if err != nil {
			t.Fatal(err)
		}
		_, value, _ := strings.Cut(lines[0], " ")
		return strings.Trim(value, `"`)
	}
	at := third["cn=SuSe,"+base]
	if state, serial := get("5.1.1", at), get("5.1.2", at); state != "3" || serial != "1" {
		t.Errorf("the clash is in state %s, serial %s, after it was acknowledged", state, serial)
	}
	if label := get("3.1.2", third["cn=red hat,"+base]); label != "cn=Red Hat" {
		t.Errorf("the label of a name that came back is %q", label)
	}
	s.follow("third", redhat, ldaptest.RedHatSuffix, "cn=SuSe")
	eventually(t, time.Minute, "another rival raises it again", func() bool { return get("5.1.1", at) == "2" && get("5.1.7", at) == "2" })
	var list []struct{ Kind, Text string }
	if err := json.Unmarshal([]byte(s.run("alarm", "list", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if text := get("5.1.3", at); len(list) != 1 || text != list[0].Text || !strings.HasSuffix(text, "suse is shown, 2 claims wait: rival, third") {
		t.Errorf("the text is %q, the list's %+v", text, list)
	}
	s.run("name", "rename", "cn=SuSe", "cn=Susi", "--claim", "third")
	s.run("subscription", "remove", "rival")
	s.agree("it is over", func() bool { return s.kindsOf("cn=SuSe") == "" && len(s.names()) == 3 })
	eventually(t, time.Minute, "the alarm is over", func() bool { return get("5.1.1", at) == "1" && get("5.1.3", at) == "" })
	trapped(".389.0.10")
	if age := get("1.14", "0"); len(age) > 2 {
		t.Errorf("the view is %s seconds old", age)
	}
}
