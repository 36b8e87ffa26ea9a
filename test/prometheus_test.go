package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// prometheus is a real one that scrapes a Shaft each second.
type prometheus struct {
	api    string
	target string // host:port
}

// startPrometheus starts one with the deployed rules, and has the test stop it.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir, at := t.TempDir(), ldaptest.FreeAddress(t)
	rules, err := filepath.Abs("../deploy/prometheus/shaft.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [ %q ]
scrape_configs: [ { job_name: shaft, static_configs: [ { targets: [ %q ] } ] } ]
`, rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+at, "--log.level=warn")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		ended := hurry(cmd.Process)
		cmd.Wait()
		if !ended() {
			t.Errorf("prometheus did not end")
		}
		if said, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("prometheus:\n%s", said)
		}
	})
	p := &prometheus{"http://" + at + "/api/v1/", target}
	eventually(t, 30*time.Second, "Prometheus has scraped", func() bool {
		resp, err := http.Get("http://" + at + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK && len(p.query(t, "shaft_build_info")) == 1
	})
	return p
}

// ask reads an answer of the API.
func (p *prometheus) ask(t *testing.T, path string, params url.Values, into any) {
	t.Helper()
	resp, err := http.Get(p.api + path + "?" + params.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %v: %v", path, params, err)
	}
	if answer.Status != "success" {
		t.Fatalf("%s %v: %s", path, params, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// sample is one series of a query's result.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (p *prometheus) query(t *testing.T, expr string) []sample {
	t.Helper()
	var data struct{ Result []sample }
	p.ask(t, "query", url.Values{"query": {expr}}, &data)
	return data.Result
}

// bound is a comparison with a number, as rules have it.
var bound = regexp.MustCompile(`(==|>|<) [0-9.]+`)

// rules: each is evaluated without an error; those of alarms fire, and each alarm is an alert; those of
// thresholds have something to compare.
func (p *prometheus) rules(t *testing.T, s *trouble) {
	type rule struct {
		Name, Query, Health, LastError, State string
		Alerts                                []struct{ Labels map[string]string }
	}
	var groups struct{ Groups []struct{ Rules []rule } }
	load := func() (all []rule) {
		p.ask(t, "rules", nil, &groups)
		for _, g := range groups.Groups {
			all = append(all, g.Rules...)
		}
		return all
	}
	eventually(t, 30*time.Second, "all rules are evaluated, those of alarms fire, and each alarm is an alert", func() bool {
		alerts, firing := map[string]bool{}, 0
		for _, r := range load() {
			if r.Health == "unknown" {
				return false
			}
			if r.State == "firing" {
				firing++
			}
			for _, a := range r.Alerts {
				alerts[a.Labels["alarm"]+" "+a.Labels["severity"]] = true
			}
		}
		_, all := scrape(t, s.metrics)
		for name := range all {
			if strings.HasPrefix(name, "shaft_alarm_info{") && !alerts[label(name, "alarm")+" "+label(name, "severity")] {
				return false
			}
		}
		return firing == len(kindsOfAlarms)
	})
	total := 0
	for _, r := range load() {
		total++
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
		}
		query := r.Query
		if !strings.HasPrefix(query, "shaft_alarm_info") {
			query = bound.ReplaceAllString(query, ">= 0")
		}
		eventually(t, 30*time.Second, r.Name+" has something to look at: "+query, func() bool { return len(p.query(t, query)) > 0 })
	}
	if total != 17 {
		t.Errorf("there are %d rules", total)
	}
}

// panel is what matters here of one of the dashboard's.
type panel struct {
	Type, Title string
	Targets     []struct{ Expr string }
}

// dashboard: each query of each panel has an answer, for everything and for one name and source.
func (p *prometheus) dashboard(t *testing.T) {
	text, err := os.ReadFile("../deploy/grafana/shaft.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	one := func(value string) string { // as Grafana writes a value into a regular expression
		return strings.ReplaceAll(regexp.QuoteMeta(value), `\`, `\\`)
	}
	fills := map[string]*strings.Replacer{
		"all": strings.NewReplacer("$instance", ".*", "$name", ".*", "$source", ".*", "$__rate_interval", "30s", "$__range", "5m"),
		"one": strings.NewReplacer("$instance", one(p.target), "$name", one("cn=Two,"+base), "$source", one("two"), "$__rate_interval", "30s", "$__range", "5m"),
	}
	queries := 0
	for _, panel := range d.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %q asks nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			for which, fill := range fills {
				expr := fill.Replace(target.Expr)
				if strings.Contains(expr, "$") {
					t.Errorf("%s: a variable that nobody fills in: %s", panel.Title, expr)
				}
				eventually(t, 30*time.Second, fmt.Sprintf("%s (%s): %s gives a number", panel.Title, which, expr), func() bool {
					for _, s := range p.query(t, expr) {
						if s.Value[1] != "NaN" {
							return true
						}
					}
					return false
				})
				queries++
			}
		}
	}
	t.Logf("%d queries of %d panels", queries, len(d.Panels))
	values := regexp.MustCompile(`^label_values\((.*), ([a-z]+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := values.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
			continue
		}
		var found []map[string]string
		p.ask(t, "series", url.Values{"match[]": {fills["all"].Replace(m[1])}}, &found)
		if len(found) == 0 || found[0][m[2]] == "" {
			t.Errorf("variable %s has no values: %v", v.Name, found)
		}
	}
}

// R50: an alarm that is acknowledged alerts nobody, until another rival makes it another
// alert, by its serial.
func (p *prometheus) acknowledged(t *testing.T, s *trouble) {
	const clash = `ALERTS{alertname="ShaftClash",alertstate="firing"}`
	var first []sample
	eventually(t, 30*time.Second, "the clash is an alert", func() bool { first = p.query(t, clash); return len(first) == 1 })
	s.run("alarm", "ack", first[0].Metric["alarm"], "--note", "meant so")
	eventually(t, 30*time.Second, "it alerts nobody", func() bool { return len(p.query(t, clash)) == 0 })
	s.run("subscription", "add", "third", "--url", s.names()["cn=Two,"+base].Head.URL, "--name", "cn=Two")
	eventually(t, 30*time.Second, "it alerts again", func() bool {
		again := p.query(t, clash)
		return len(again) == 1 && again[0].Metric["alarm"] == first[0].Metric["alarm"] && again[0].Metric["serial"] != first[0].Metric["serial"]
	})
}

// The deployed files are what Prometheus takes, and the rules pass their tests.
func TestPrometheusFiles(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "shaft.rules.yml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "shaft_test.yml"}} {
		cmd := exec.Command("promtool", args...)
		if cmd.Err != nil {
			t.Fatalf("promtool is missing: apt-get install --no-install-recommends prometheus")
		}
		cmd.Dir = "../deploy/prometheus"
		if out, err := finish(t, cmd); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
