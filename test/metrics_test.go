package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// series are what a page of metrics has, by name and labels as they are written there.
type series map[string]float64

// scrape reads the metrics, in Prometheus's text format.
func scrape(t *testing.T, url string) (page string, all series) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	all = series{}
	for _, line := range strings.Split(string(text), "\n") {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[line[:i]] = v
	}
	return string(text), all
}

// quoted writes a label's value.
func quoted(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v) + `"`
}

// label reads a label's value from a series, as it is written there.
func label(of, name string) string {
	_, after, _ := strings.Cut(of, name+`="`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}

// trouble is a Shaft with an alarm of each kind, and a follower.
type trouble struct {
	*shaft
	metrics string // URL
}

// kindsOfAlarms are all there are.
var kindsOfAlarms = []string{"no-lkg", "held", "down", "not-syncrepl", "clash", "overlap", "name-error"}

// inTrouble makes one; before is called as soon as it runs, before anything is subscribed to.
func inTrouble(t *testing.T, before func(metrics string)) *trouble {
	t.Helper()
	const one, two, three, four = "o=One", "o=Two", "o=Three", "o=Four"
	var packages []string
	for i := range 40 {
		packages = append(packages, fmt.Sprintf("p%02d", i))
	}
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", packages...)})
	b := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: releases(two, "1", "a", "b")})
	c := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: three, LDIF: releases(three, "1", "c")})
	d, err := ldaptest.Start(ldaptest.Options{Suffix: four, LDIF: releases(four, "1"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	at := ldaptest.FreeAddress(t)
	s := &trouble{newShaft(t, fmt.Sprintf("base_dn: %s\nmetrics: { listen: %q }", base, at)), "http://" + at + "/metrics"}
	before(at)
	s.run("subscription", "add", "one", "--url", a.URL()+"/"+one, "--name", "cn=One", "--wait")
	s.run("subscription", "add", "two", "--url", b.URL()+"/"+two, "--name", "cn=Two", "--wait")
	s.run("subscription", "add", "three", "--url", c.URL()+"/"+three, "--name", "cn=Three", "--wait")
	s.run("subscription", "add", "rival", "--url", b.URL()+"/"+two, "--name", "cn=Two")
	s.run("subscription", "add", "inner", "--url", b.URL()+"/"+two, "--name", "cn=Inner,cn=Two", "--wait")
	s.run("subscription", "add", "list", "--list", "--url", b.URL()+"/"+two+"??sub?(objectClass=LinuxPackage)", "--name", "cn=%(attr.description)s")
	s.run("subscription", "add", "plain", "--url", "ldap://"+d.Addr()+"/"+four, "--name", "cn=Plain")
	a.Stop()
	a.Rebuild(releases(one, "1"))
	a.Start()
	c.Stop()
	s.run("subscription", "add", "never", "--url", c.URL()+"/"+three, "--name", "cn=Never")
	follower := exec.Command("ldapsearch", "-x", "-H", "ldap://"+s.address, "-b", base, "-E", "!sync=rp")
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { follower.Process.Kill(); follower.Wait() })
	s.trySearch("-b", "cn=gone,"+base) // 32
	eventually(t, time.Minute, "there is an alarm of each kind, and a follower", func() bool {
		var status struct {
			Alarms    map[string]int
			Followers int
		}
		if err := json.Unmarshal([]byte(s.run("status", "-o", "json")), &status); err != nil {
			t.Fatal(err)
		}
		return len(status.Alarms) == len(kindsOfAlarms) && status.Followers == 1
	})
	return s
}

// R37, R52: what is told to Prometheus is what lists, alarms and cn=Monitor tell, and
// Prometheus's own tool finds nothing wrong with how. The deployed rules and dashboard work on it.
func TestR52Prometheus(t *testing.T) {
	for _, tool := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: apt-get install --no-install-recommends prometheus", tool)
		}
	}
	var p *prometheus
	s := inTrouble(t, func(at string) { p = startPrometheus(t, at) })
	t.Run("lint", s.lint)
	t.Run("names", s.agreesOnNames)
	t.Run("alarms", s.agreesOnAlarms)
	t.Run("monitor", s.agreesWithMonitor)
	t.Run("rules", func(t *testing.T) { p.rules(t, s) })
	t.Run("dashboard", func(t *testing.T) { p.dashboard(t) })
	t.Run("acknowledged", func(t *testing.T) { p.acknowledged(t, s) })
}

func (s *trouble) lint(t *testing.T) {
	page, _ := scrape(t, s.metrics)
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if out, err := finish(t, cmd); err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// told waits until all of want is among the series.
func (s *trouble) told(t *testing.T, want func() series) {
	t.Helper()
	var missing []string
	defer func() {
		if t.Failed() {
			t.Logf("not so: %s", strings.Join(missing, "\n"))
		}
	}()
	eventually(t, 30*time.Second, "metrics and lists agree", func() bool {
		missing = nil
		_, all := scrape(t, s.metrics)
		for name, v := range want() {
			if got, there := all[name]; !there || got != v {
				missing = append(missing, fmt.Sprintf("%s is %v (%v), want %v", name, got, there, v))
			}
		}
		return missing == nil
	})
}

func (s *trouble) agreesOnNames(t *testing.T) {
	s.told(t, func() series {
		want := series{}
		for _, state := range []string{"connecting", "refreshing", "live", "polling", "held", "down", "unsupported"} {
			want[fmt.Sprintf("shaft_names{state=%q}", state)] = 0
		}
		for dn, n := range s.names() {
			want[fmt.Sprintf("shaft_names{state=%q}", n.Head.State)]++
			want[fmt.Sprintf("shaft_name_entries{name=%s}", quoted(dn))] = float64(n.Entries)
			want[fmt.Sprintf("shaft_name_waiting_claims{name=%s}", quoted(dn))] = float64(len(n.Queue))
			want[fmt.Sprintf("shaft_name_last_known_good{name=%s}", quoted(dn))] = number(n.LastKnownGood)
			want[fmt.Sprintf("shaft_source_up{source=%q}", n.Head.Claim)] = number(n.Head.Online)
			want[fmt.Sprintf("shaft_source_state{source=%q,state=%q}", n.Head.Claim, n.Head.State)] = 1
			want[fmt.Sprintf("shaft_source_info{name=%s,role=\"head\",source=%q,subscription=%q,url=%s}", quoted(dn), n.Head.Claim, n.Head.Subscription, quoted(n.Head.URL))] = 1
			for _, q := range n.Queue {
				want[fmt.Sprintf("shaft_source_up{source=%q}", q.Claim)] = number(q.Online)
				want[fmt.Sprintf("shaft_source_info{name=%s,role=\"waiting\",source=%q,subscription=%q,url=%s}", quoted(dn), q.Claim, q.Subscription, quoted(q.URL))] = 1
			}
		}
		return want
	})
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *trouble) agreesOnAlarms(t *testing.T) {
	s.told(t, func() series {
		var list []struct {
			ID, Kind, Severity, Name, Subscription, Fingerprint, Text string
			Serial                                                    uint32
			Since                                                     time.Time
			Acknowledged                                              bool
		}
		if err := json.Unmarshal([]byte(s.run("alarm", "list", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		want := series{}
		for _, a := range list {
			_, cause, _ := strings.Cut(a.Text, ": ")
			want[fmt.Sprintf("shaft_alarms{kind=%q,severity=%q}", a.Kind, a.Severity)]++
			want[fmt.Sprintf("shaft_alarm_acknowledged{alarm=%q}", a.ID)] = number(a.Acknowledged)
			want[fmt.Sprintf("shaft_alarm_since_timestamp_seconds{alarm=%q}", a.ID)] = float64(a.Since.UnixMilli()) / 1000
			want[fmt.Sprintf("shaft_alarm_info{alarm=%q,cause=%s,fingerprint=%q,kind=%q,name=%s,serial=\"%d\",severity=%q,subscription=%q}",
				a.ID, quoted(cause), a.Fingerprint, a.Kind, quoted(a.Name), a.Serial, a.Severity, a.Subscription)] = 1
		}
		return want
	})
}

func (s *trouble) agreesWithMonitor(t *testing.T) {
	s.told(t, func() series {
		want := series{}
		number := func(dn, attr string) float64 {
			text := line(s.search("-b", dn+",cn=Monitor", "-s", "base", attr), attr)
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("%s of %s is %q", attr, dn, text)
			}
			return v
		}
		for _, source := range []string{"one", "two", "three", "rival", "list", "never"} {
			if source != "list" { // a list has no entries in cn=Monitor
				want[fmt.Sprintf("shaft_source_entries{source=%q}", source)] = number("cn=Consumer "+source+",cn=Database 1,cn=Databases", "shaftEntries")
			}
		}
		want["shaft_entries"] = number("cn=Database 1,cn=Databases", "shaftEntries")
		for _, kind := range []string{"compare", "modify", "add", "delete", "modrdn"} {
			want[fmt.Sprintf("shaft_ldap_operations_started_total{operation=%q}", kind)] = number("cn="+kind+",cn=Operations", "monitorOpInitiated")
		}
		want["shaft_ldap_connections_limit"] = number("cn=Max File Descriptors,cn=Connections", "monitorCounter")
		want[`shaft_followers{stage="persist"}`] = 1
		want[`shaft_follower_lag_seconds{peer="127.0.0.1"}`] = 0
		want[`shaft_ldap_operations_total{operation="search",result="noSuchObject"}`] = 1
		return want
	})
	_, all := scrape(t, s.metrics)
	searches := line(s.search("-b", "cn=Search,cn=Operations,cn=Monitor", "-s", "base", "monitorOpInitiated"), "monitorOpInitiated")
	if n, err := strconv.ParseFloat(searches, 64); err != nil || n < all[`shaft_ldap_operations_started_total{operation="search"}`] {
		t.Errorf("cn=Monitor has %s searches, metrics %v before", searches, all[`shaft_ldap_operations_started_total{operation="search"}`])
	}
	for _, name := range []string{`shaft_source_contact_age_seconds{source="two"}`, `shaft_source_last_change_timestamp_seconds{source="two"}`, "go_goroutines", "process_resident_memory_bytes",
		`shaft_refresh_duration_seconds_count{outcome="done"}`, `shaft_refresh_duration_seconds_count{outcome="held"}`, "shaft_commit_duration_seconds_count", "shaft_store_size_bytes"} {
		if all[name] <= 0 {
			t.Errorf("%s is %v", name, all[name])
		}
	}
}
