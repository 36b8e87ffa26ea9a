package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	kinds "shaft/pkg/alarm"
)

var writeREADME = flag.Bool("readme", false, "write the README's tables anew")

// export is what the tests read of the template.
type export struct {
	Zabbix struct {
		Templates []struct {
			Template, Description string
			Items                 []zabbixItem
			Rules                 []zabbixRule `yaml:"discovery_rules"`
			Macros                []struct{ Macro, Value, Description string }
			Dashboards            []struct {
				Name  string
				Pages []struct {
					Widgets []struct{ Type, Name string }
				}
			}
			Valuemaps []struct {
				Name     string
				Mappings []struct{ Value, Newvalue string }
			}
		}
	} `yaml:"zabbix_export"`
}

type zabbixItem struct {
	Name, Type, Key, Delay, Units, Description string
	OID                                        string `yaml:"snmp_oid"`
	ValueType                                  string `yaml:"value_type"`
	Valuemap                                   struct{ Name string }
	Triggers                                   []zabbixTrigger
	Prototypes                                 []zabbixTrigger `yaml:"trigger_prototypes"`
}

type zabbixRule struct {
	Name, Key, Delay, Lifetime, Description string
	OID                                     string          `yaml:"snmp_oid"`
	Items                                   []zabbixItem    `yaml:"item_prototypes"`
	Triggers                                []zabbixTrigger `yaml:"trigger_prototypes"`
}

type zabbixTrigger struct {
	Name, Expression, Priority, Description, Type string
	Recovery                                      string `yaml:"recovery_expression"`
	Event                                         string `yaml:"event_name"`
	ManualClose                                   string `yaml:"manual_close"`
	Dependencies                                  []struct{ Name string }
	Tags                                          []struct{ Tag, Value string }
}

func (t *zabbixTrigger) tag(name string) (values []string) {
	for _, tag := range t.Tags {
		if tag.Tag == name {
			values = append(values, tag.Value)
		}
	}
	return values
}

func readTemplate(t *testing.T) (text string, e export) {
	t.Helper()
	b, err := os.ReadFile("../../" + template)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Zabbix.Templates) != 1 || e.Zabbix.Templates[0].Template != templateName {
		t.Fatalf("the templates are %+v", e.Zabbix.Templates)
	}
	return string(b), e
}

// items lists all of them, those of rules too.
func (e *export) items() []zabbixItem {
	tpl := e.Zabbix.Templates[0]
	all := slices.Clone(tpl.Items)
	for _, r := range tpl.Rules {
		all = append(all, r.Items...)
	}
	return all
}

func (e *export) triggers() (all []zabbixTrigger) {
	for _, i := range e.items() {
		all = append(append(all, i.Triggers...), i.Prototypes...)
	}
	for _, r := range e.Zabbix.Templates[0].Rules {
		all = append(all, r.Triggers...)
	}
	return all
}

// objectOf finds what an OID of the template asks for: a scalar, or a column of a discovered row,
// of the alarm table with the kind behind it.
func objectOf(oid string, objects map[string]mibObject) (o mibObject, kind string, err error) {
	below, ok := strings.CutPrefix(oid, "{$SHAFT.OID}")
	if !ok {
		return o, "", fmt.Errorf("%s does not begin with the macro of the root", oid)
	}
	if scalar, ok := strings.CutSuffix(below, ".0"); ok {
		o = objects[root+scalar]
	} else if column, rest, ok := strings.Cut(below, ".{#SNMPINDEX}"); ok {
		o = objects[root+column]
		if kind = strings.TrimPrefix(rest, "."); rest != "" {
			alarms := objects[root+".1.8.1.2"]
			if !strings.HasPrefix(o.name, "shaftAlarm") || alarms.enum[kind] == "" {
				return o, "", fmt.Errorf("%s: no such kind of alarm", oid)
			}
			return o, alarms.enum[kind], nil
		} else if strings.HasPrefix(o.name, "shaftAlarm") {
			return o, "", fmt.Errorf("%s names no kind of alarm", oid)
		}
	} else {
		return o, "", fmt.Errorf("%s is neither a scalar nor of a row", oid)
	}
	if o.access != "read-only" {
		return o, "", fmt.Errorf("%s is no object of the MIB that can be read", oid)
	}
	return o, "", nil
}

// R51: what the template asks for is what the MIB has, read as what it is, with the MIB's names
// of values.
func TestTemplateAsksForTheMIB(t *testing.T) {
	objects := readMIB(t)
	_, e := readTemplate(t)
	tpl := e.Zabbix.Templates[0]
	for _, m := range tpl.Macros {
		if m.Macro == "{$SHAFT.OID}" && objects[m.Value].name != "shaftMIB" {
			t.Errorf("%s is %s, which is not the MIB's root", m.Macro, m.Value)
		}
	}
	named := map[string]map[string]string{}
	for _, m := range tpl.Valuemaps {
		named[m.Name] = map[string]string{}
		for _, v := range m.Mappings {
			named[m.Name][v.Value] = v.Newvalue
		}
	}
	delete(named["Shaft source state"], "0") // removed
	asked := 0
	for _, i := range e.items() {
		if i.Type != "SNMP_AGENT" {
			continue
		}
		asked++
		o, _, err := objectOf(i.OID, objects)
		if err != nil {
			t.Errorf("%s: %v", i.Key, err)
			continue
		}
		text := o.syntax == "ShaftText" || o.syntax == "ShaftLabel"
		if text != (i.ValueType == "TEXT" || i.ValueType == "CHAR") {
			t.Errorf("%s has the value type %q, and %s is of %s", i.Key, i.ValueType, o.name, o.syntax)
		}
		if !maps.Equal(named[i.Valuemap.Name], o.enum) {
			t.Errorf("%s has the value map %q, and %s is %v", i.Key, i.Valuemap.Name, o.name, o.enum)
		}
	}
	if asked < 30 {
		t.Errorf("only %d items ask by SNMP", asked)
	}
	for _, r := range tpl.Rules {
		params := strings.Split(strings.TrimSuffix(strings.TrimPrefix(r.OID, "discovery["), "]"), ",")
		for n := 1; n < len(params); n += 2 {
			o, _, err := objectOf(params[n]+".{#SNMPINDEX}", objects)
			if err != nil || n == 1 && o.syntax != "ShaftLabel" {
				t.Errorf("the rule %s finds rows by %s %s: %v", r.Name, o.name, params[n], err)
			}
		}
	}
}

// alarmKinds are Shaft's, by their names in the MIB.
var alarmKinds = map[string]kinds.Kind{
	"noLastKnownGood": kinds.NoLKG, "heldRefresh": kinds.HeldRefresh, "down": kinds.Down, "notSyncRepl": kinds.NotSyncRepl,
	"clash": kinds.Clash, "overlap": kinds.Overlap, "nameError": kinds.NameError,
}

// kindOf tells which kind of alarm an item tells of; "" none.
func kindOf(i zabbixItem, objects map[string]mibObject) kinds.Kind {
	o, kind, _ := objectOf(i.OID, objects)
	switch o.name {
	case "shaftClashText":
		kind = "clash"
	case "shaftDownText":
		kind = "down"
	case "shaftNoLkgText":
		kind = "noLastKnownGood"
	}
	return alarmKinds[kind]
}

// R48, R50, R51: each kind of alarm of names and lists has one trigger, of Shaft's severity, that raises
// each cause anew and can be closed by hand. It looks at one item alone, and depends on no other: what it
// misses it would miss for good.
func TestTemplateTriggers(t *testing.T) {
	objects := readMIB(t)
	_, e := readTemplate(t)
	found := map[string]bool{}
	for _, i := range e.items() {
		kind := kindOf(i, objects)
		if kind == "" {
			continue
		}
		about, name, _ := strings.Cut(i.Name, " ")
		macro, _, _ := strings.Cut(name, ":")
		if len(i.Prototypes) != 1 {
			t.Errorf("%s has %d triggers", i.Key, len(i.Prototypes))
			continue
		}
		found[about+" "+string(kind)] = true
		p := i.Prototypes[0]
		item := "/" + templateName + "/" + i.Key
		for _, fault := range []struct {
			is   bool
			what string
		}{
			{p.Priority != strings.ToUpper(string(kind.Severity())), "severity " + p.Priority},
			{p.Type != "MULTIPLE" || p.ManualClose != "YES" || len(p.Dependencies) > 0, "mode"},
			{strings.Count(p.Expression, "(/") != strings.Count(p.Expression, "("+item), "another item in " + p.Expression},
			{!strings.Contains(p.Expression, "last("+item+",#1)<>last("+item+",#2) or count("+item+",#2)=1"), "expression " + p.Expression},
			{!strings.HasPrefix(p.Recovery, "length(last("+item+"))=0 or {$SHAFT."), "recovery " + p.Recovery},
			{!strings.Contains(p.Event, "({ITEM.VALUE1})"), "event name " + p.Event},
			{!slices.Equal(p.tag("shaft.alarm"), []string{string(kind)}), "tag shaft.alarm"},
			{!slices.Equal(p.tag("shaft.name"), []string{macro}), "tag shaft.name"},
		} {
			if fault.is {
				t.Errorf("%s, %s: %s", i.Key, p.Name, fault.what)
			}
		}
	}
	want := map[string]bool{"List name-error": true}
	for _, kind := range alarmKinds {
		want["Name "+string(kind)] = kind != kinds.NameError
	}
	for _, kind := range []kinds.Kind{kinds.HeldRefresh, kinds.Down, kinds.NotSyncRepl} {
		want["List "+string(kind)] = true
	}
	delete(want, "Name name-error")
	if !maps.Equal(found, want) {
		t.Errorf("triggers for %v, want %v", found, want)
	}
	for _, tr := range e.triggers() {
		if len(tr.tag("scope")) != 1 || len(tr.tag("shaft.alarm")) != 1 || len(tr.tag("shaft.host")) != 1 || tr.Priority == "" {
			t.Errorf("%s lacks a tag or the severity: %+v", tr.Name, tr.Tags)
		}
		if tr.Description == "" {
			t.Errorf("%s says nothing of itself", tr.Name)
		}
	}
}

// Identifiers are version 4 and each another; macros are described, and those that are used are there.
func TestTemplateIsTidy(t *testing.T) {
	text, e := readTemplate(t)
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`uuid: '?(\w+)`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$`).MatchString(m[1]) || seen[m[1]] {
			t.Errorf("%s is no UUID of version 4, or there twice", m[1])
		}
		seen[m[1]] = true
	}
	used, defined := map[string]int{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`\{\$([A-Z0-9_.]+)(:[^}]*)?\}`).FindAllStringSubmatch(text, -1) {
		used[m[1]]++
	}
	for _, m := range e.Zabbix.Templates[0].Macros {
		name := strings.Trim(m.Macro, "{$}")
		defined[name] = true
		if m.Description == "" || used[name] < 2 {
			t.Errorf("%s is not described, or not used", m.Macro)
		}
	}
	for name := range used {
		if !defined[name] {
			t.Errorf("{$%s} is used and has no default", name)
		}
	}
	for name := range quick {
		if !defined["SHAFT."+name] {
			t.Errorf("the host sets {$SHAFT.%s}, which the template does not have", name)
		}
	}
	for _, r := range e.Zabbix.Templates[0].Rules {
		lost := "{$SHAFT.LOST.ALARMS}"
		if r.Key == "shaft.names.discovery" || r.Key == "shaft.sources.discovery" {
			lost = "{$SHAFT.LOST}" // it tells of the removal
		}
		if r.Lifetime != lost || r.Delay != "{$SHAFT.DISCOVERY}" || r.Description == "" {
			t.Errorf("the rule %s: %+v", r.Name, r)
		}
	}
}

// tables are those of the README, made of the template.
func tables(e *export, objects map[string]mibObject) string {
	var b strings.Builder
	cell := func(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`) }
	tpl := e.Zabbix.Templates[0]
	b.WriteString("### Macros\n\n| Macro | Default | |\n|---|---|---|\n")
	for _, m := range tpl.Macros {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", m.Macro, m.Value, cell(m.Description))
	}
	b.WriteString("\n### Discovery\n\n| Rule | Key | Rows by | |\n|---|---|---|---|\n")
	for _, r := range tpl.Rules {
		o, _, _ := objectOf(strings.Split(strings.TrimSuffix(r.OID, "]"), ",")[1]+".{#SNMPINDEX}", objects)
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", r.Name, r.Key, o.name, cell(r.Description))
	}
	b.WriteString("\n### Items\n\n| Item | Key | Object | |\n|---|---|---|---|\n")
	for _, i := range e.items() {
		o, kind, _ := objectOf(i.OID, objects)
		if kind != "" {
			o.name += " " + kind
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", i.Name, i.Key, o.name, cell(i.Description))
	}
	b.WriteString("\n### Triggers\n\n| Trigger | Severity | |\n|---|---|---|\n")
	for _, tr := range e.triggers() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", tr.Name, strings.ToLower(tr.Priority), cell(tr.Description))
	}
	return b.String()
}

// The README's tables are the template's. `go test ./test/zabbix -run README -readme` writes them anew.
func TestREADME(t *testing.T) {
	const file, begin = "../../deploy/zabbix/README.md", "### Macros\n"
	_, e := readTemplate(t)
	want := tables(&e, readMIB(t))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, got, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("%s has no line %q", file, begin)
	}
	if begin+got == want {
		return
	}
	if !*writeREADME {
		t.Fatalf("the tables of %s are not the template's: run this test with -readme", file)
	}
	if err := os.WriteFile(file, []byte(before+want), 0o644); err != nil {
		t.Fatal(err)
	}
}
