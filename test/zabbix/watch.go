package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"shaft/pkg/schema"
)

// template is what is shown to work, seen from the root of the repository.
const template = "deploy/zabbix/shaft_snmp.yaml"

// templateName is its name inside Zabbix, hostName that of the one host with it.
const (
	templateName = "Shaft by SNMP"
	hostName     = "shaft"
)

// root is where Shaft's MIB begins, as in the template.
const root = schema.Arc

// watched is the host that stands for Shaft, in Zabbix.
type watched struct {
	*zabbix
	host string // its id
}

// quick are the host's macros: as the template has them, but for seconds.
var quick = map[string]string{
	"INTERVAL": "5s", "DISCOVERY": "10s", "HEARTBEAT": "10s", "NODATA": "45s", "SETTLE": "15s", "RESTARTED": "5s",
}

// watch imports the template and makes a host of it, over SNMPv3.
func (z *zabbix) watch(a *agent) *watched {
	text, err := os.ReadFile(template)
	z.r.must(err)
	both := object{"createMissing": true, "updateExisting": true}
	all := object{"createMissing": true, "updateExisting": true, "deleteMissing": true}
	for range 2 { // the second time everything is there
		z.api.call("configuration.import", object{"format": "yaml", "source": string(text), "rules": object{
			"groups": both, "templates": both, "items": all, "triggers": all, "graphs": all, "discoveryRules": all, "templateDashboards": all, "valueMaps": all,
		}}, nil)
	}
	z.r.say("%s is imported", template)
	// The host that comes with the database has an agent that does not run here.
	z.api.call("host.update", object{"hostid": z.id("host", "host", "Zabbix server"), "status": 1}, nil)
	var group, host byIDs
	z.api.call("hostgroup.create", object{"name": "Shaft"}, &group)
	var values []object
	for name, value := range quick {
		values = append(values, object{"macro": "{$SHAFT." + name + "}", "value": value})
	}
	z.api.call("host.create", object{
		"host": hostName, "macros": values, "groups": []object{{"groupid": group.Groupids[0]}},
		"templates": []object{{"templateid": z.id("template", "host", templateName)}},
		"interfaces": []object{{"type": 2, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": fmt.Sprint(a.port), "details": object{
			"version": 3, "bulk": 1, "securityname": snmpUser, "securitylevel": 2,
			"authprotocol": 3, "authpassphrase": snmpAuthKey, "privprotocol": 1, "privpassphrase": snmpPrivKey,
		}}},
	}, &host)
	return &watched{zabbix: z, host: host.Hostids[0]}
}

// id finds the one thing of a kind with that name.
func (z *zabbix) id(kind, field, name string) string {
	var found []map[string]any
	z.api.call(kind+".get", object{"filter": object{field: name}}, &found)
	if len(found) != 1 {
		z.r.Fatalf("Zabbix has %d of %s %q", len(found), kind, name)
	}
	return found[0][kind+"id"].(string)
}

// set gives a macro of the host, without its prefix, another value.
func (w *watched) set(name, value string) {
	macro := "{$SHAFT." + name + "}"
	var found []struct{ Hostmacroid string }
	w.api.call("usermacro.get", object{"hostids": w.host, "filter": object{"macro": macro}}, &found)
	if len(found) == 1 {
		w.api.call("usermacro.update", object{"hostmacroid": found[0].Hostmacroid, "value": value}, nil)
	} else {
		w.api.call("usermacro.create", object{"hostid": w.host, "macro": macro, "value": value}, nil)
	}
	w.r.say("    %s is %s", macro, value)
}

// rows lists what discovery found: the parameters of the items whose keys begin so.
func (w *watched) rows(key string) (rows []string) {
	var items []struct{ Key_ string }
	w.api.call("item.get", object{"hostids": w.host, "output": []string{"key_"}, "search": object{"key_": key + `["`}, "startSearch": true}, &items)
	for _, i := range items {
		rows = append(rows, strings.TrimSuffix(strings.TrimPrefix(i.Key_, key+`["`), `"]`))
	}
	slices.Sort(rows)
	return rows
}

// item is the latest of one item.
func (w *watched) item(key string) (value, clock, trouble string) {
	var items []struct{ Lastvalue, Lastclock, Error string }
	w.api.call("item.get", object{"hostids": w.host, "output": []string{"lastvalue", "lastclock", "error"}, "filter": object{"key_": key}}, &items)
	if len(items) != 1 {
		return "", "", fmt.Sprintf("there are %d items %s", len(items), key)
	}
	return items[0].Lastvalue, items[0].Lastclock, items[0].Error
}

// label is what the MIB calls a name, as far as the story's names go: the DN below the base, with octets
// percent-encoded that could be taken amiss.
func label(dn string) string {
	const plain = " -._=,+:@"
	var b strings.Builder
	for _, c := range []byte(strings.TrimSuffix(dn, ","+base)) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// problem is one that is open.
type problem struct {
	Eventid, Severity, Name, Acknowledged string
	Tags                                  []struct{ Tag, Value string }
}

func (p *problem) tag(name string) string {
	for _, t := range p.Tags {
		if t.Tag == name {
			return t.Value
		}
	}
	return ""
}

// severities are Zabbix's, by its numbers.
var severities = map[string]string{"1": "information", "2": "warning", "3": "average", "4": "high", "5": "disaster"}

// what tells a problem: severity, kind and subject.
func (p *problem) what() string {
	return strings.TrimSpace(severities[p.Severity] + " " + p.tag("shaft.alarm") + " " + p.tag("shaft.name"))
}

// problems lists those that are open, oldest first; that Shaft was restarted is none.
func (w *watched) problems() (list []problem) {
	w.api.call("problem.get", object{"hostids": w.host, "output": "extend", "selectTags": "extend", "sortfield": "eventid"}, &list)
	return slices.DeleteFunc(list, func(p problem) bool { return p.tag("shaft.alarm") == "restarted" })
}

// newest gives the latest open problem of that severity, kind and subject.
func (w *watched) newest(what string) problem {
	list := w.problems()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].what() == what {
			return list[i]
		}
	}
	w.r.Fatalf("no problem %s is open", what)
	return problem{}
}

// What acknowledging a problem may do.
const (
	closeIt = 1
	ackIt   = 2
	message = 4
)

// acknowledge does something to problems, with a word on why.
func (w *watched) acknowledge(action int, why string, ps ...problem) {
	var ids []string
	for _, p := range ps {
		ids = append(ids, p.Eventid)
	}
	w.api.call("event.acknowledge", object{"eventids": ids, "action": action | message, "message": why}, nil)
}

// open checks that exactly these problems are open, by severity, kind and subject.
func (w *watched) open(what string, want ...string) {
	w.r.holds(pollPatience, what, func() string {
		var got []string
		for _, p := range w.problems() {
			got = append(got, p.what())
		}
		return differ("problems", got, want)
	})
}

// agrees checks that Zabbix has a problem open of everything that Shaft itself raises, and of nothing else.
func (w *watched) agrees(s *shaft) {
	w.r.holds(pollPatience, "Zabbix has open what `shaft alarm list` lists", func() string {
		got, want := map[string]bool{}, map[string]bool{}
		for _, p := range w.problems() {
			got[p.what()] = true
		}
		for _, a := range s.alarms() {
			subject := a.Subscription
			if a.Name != "" {
				subject = label(a.Name)
			}
			want[a.Severity+" "+a.Kind+" "+subject] = true
		}
		return differ("problems", slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
	})
}

// differ tells how two lists differ, whatever their order; "" if they do not.
func differ(what string, got, want []string) string {
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("%s:\n\t%s\nwanted:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
}
