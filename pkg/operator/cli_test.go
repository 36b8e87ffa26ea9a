package operator

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// shaft runs one command line against a socket.
func shaft(socket string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), append(slices.Clone(args), "--socket", socket), Streams{Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s (%v):\ngot\n%s\nwant\n%s", name, err, got, want)
	}
}

// many is what a list finds of n entries, each of which gets a name.
func many(n int) (found []engine.Found) {
	for i := range n {
		found = append(found, engine.Found{Entry: fmt.Sprint(i), DN: fmt.Sprintf("cn=%d,o=x", i),
			Names: []engine.FoundName{{Name: fmt.Sprintf("cn=name %d", i), Outcome: "appears"}}})
	}
	return found
}

// differing is a difference of n entries with so many values of each, and more.
func differing(n, values int) engine.Difference {
	d := engine.Difference{Changed: n + 1000, More: 1000}
	for i := range n {
		a := engine.AttributeDifference{Name: "member"}
		for v := range values {
			a.Added = append(a.Added, fmt.Sprintf("cn=%d,o=x", v))
		}
		d.Entries = append(d.Entries, engine.EntryDifference{DN: fmt.Sprintf("cn=%d,cn=SuSe", i), What: "changed", Attributes: []engine.AttributeDifference{a}})
	}
	return d
}

// lingering has a name show what a removed head had; what waits is kept warm (R30, R32).
func lingering(f *fake) {
	n := &f.names[1]
	n.LastKnownGood = false
	n.Lingering = &engine.Lingering{Claim: "dpkg/1", Subscription: "dpkg", Until: time.Date(2026, 1, 2, 3, 4, 35, 0, time.UTC)}
	n.Queue[0].KeepWarm, n.Queue[0].Entries, n.Queue[0].LastContact = true, 12, "2026-01-02T03:04:05Z"
}

// listers is the base DN behind a name.
const listers = ",ou=Package Listers"

// shown are commands, by the files of what people see of them.
var shown = []struct {
	name string
	args []string
	with func(*fake)
}{
	{"status", []string{"status"}, nil},
	{"status_failed", []string{"status"}, func(f *fake) {
		f.status = engine.Status{Alarms: map[string]int{}, Failure: "the store takes no more writes: no space left\non device"}
	}},
	{"subscription_list", []string{"subscription", "list"}, nil},
	{"subscription_list_none", []string{"subscription", "list"}, func(f *fake) { f.subs = nil }},
	{"subscription_show", []string{"subscription", "show", "suse"}, nil},
	{"subscription_show_plain", []string{"subscription", "show", "redhat"}, nil},
	{"subscription_add", []string{"subscription", "add", "x", "--url", "ldap://h/o=x", "--name", "cn=x"}, func(f *fake) {
		f.added = &engine.Added{Claim: "x", Name: "cn=x" + listers, Check: f.check.Steps}
	}},
	{"subscription_add_dry", []string{"subscription", "add", "--dry-run", "x", "--url", "ldap://h/o=x", "--name", "cn=x"}, func(f *fake) {
		f.added = &engine.Added{Claim: "x", Name: "cn=x" + listers, Position: 2, Warnings: []string{"it clashes"},
			Check: []upstream.Step{{Name: "resolve", Detail: "no such host", Millis: 1200}}}
	}},
	{"subscription_show_list", []string{"subscription", "show", "dpkg"}, nil},
	{"subscription_add_list_dry", []string{"subscription", "add", "--list", "--dry-run", "dpkg", "--url", "ldap://h/o=x", "--name", "cn=%(attr.distro)s"}, func(f *fake) {
		f.added = &engine.Added{Subscription: f.subs[2], Check: f.check.Steps, Found: append(many(60), f.found...)}
	}},
	{"subscription_add_list", []string{"subscription", "add", "--list", "dpkg", "--url", "ldap://h/o=x", "--name", "cn=%(attr.distro)s"}, func(f *fake) {
		f.added = &engine.Added{Subscription: f.subs[2], Check: f.check.Steps, Found: f.found, Warnings: []string{"one name clashes"}}
	}},
	{"subscription_set", []string{"subscription", "set", "redhat", "filter=(cn=*)", "port="}, nil},
	{"subscription_set_dry", []string{"subscription", "set", "redhat", "filter=(cn=*)", "--dry-run"}, nil},
	{"subscription_set_list_dry", []string{"subscription", "set", "dpkg", "name=cn=%(attr.cn)s", "--dry-run"}, nil},
	{"name_resync", []string{"name", "resync", "cn=SuSe" + listers}, nil},
	{"name_resync_dry", []string{"name", "resync", "cn=SuSe" + listers, "--dry-run"}, nil},
	{"name_history", []string{"name", "history", "cn=SuSe" + listers}, nil},
	{"name_history_gone", []string{"name", "history", "cn=Gone", "--from", "2026-01-02T03:05:00Z"}, nil},
	{"name_history_unknown", []string{"name", "history", "cn=RedHat" + listers}, func(f *fake) { f.unknown = true }},
	{"name_rename", []string{"name", "rename", "cn=SuSe" + listers, "cn=openSUSE"}, nil},
	{"name_rename_dry", []string{"name", "rename", "cn=SuSe" + listers, "cn=openSUSE", "--claim", "suse", "--dry-run"}, nil},
	{"queue_move", []string{"queue", "move", "cn=SuSe" + listers, "dpkg/1", "1"}, nil},
	{"queue_switch", []string{"queue", "switch", "cn=SuSe" + listers, "redhat"}, nil},
	{"queue_switch_dry", []string{"queue", "switch", "cn=SuSe" + listers, "redhat", "--dry-run"}, nil},
	{"queue_switch_forced", []string{"queue", "switch", "cn=SuSe" + listers, "redhat", "--force", "--reason", "the old one is wrong"}, nil},
	{"queue_diff", []string{"queue", "diff", "cn=SuSe" + listers, "redhat"}, nil},
	{"queue_diff_none", []string{"queue", "diff", "cn=SuSe" + listers, "redhat"}, func(f *fake) { f.difference = engine.Difference{Same: 1} }},
	{"queue_diff_many", []string{"queue", "diff", "cn=SuSe" + listers, "redhat"}, func(f *fake) { f.difference = differing(60, 30) }},
	{"queue_suppress_dry", []string{"queue", "suppress", "dpkg/1", "--dry-run"}, nil},
	{"queue_lift", []string{"queue", "lift", "dpkg/1"}, nil},
	{"guard_list", []string{"guard", "list"}, nil},
	{"guard_list_none", []string{"guard", "list"}, func(f *fake) { f.held = nil }},
	{"guard_list_waits", []string{"guard", "list"}, func(f *fake) { f.held = f.held[:1]; f.held[0].Waits, f.held[0].Before = true, 0 }},
	{"guard_approve", []string{"guard", "approve", "suse", "--revision", "77"}, nil},
	{"guard_approve_dry", []string{"guard", "approve", "suse", "--dry-run"}, nil},
	{"guard_reject", []string{"guard", "reject", "dpkg", "--why", "ticket 9"}, nil},
	{"alarm_list", []string{"alarm", "list"}, nil},
	{"alarm_list_none", []string{"alarm", "list"}, func(f *fake) { f.alarms = nil }},
	{"alarm_ack", []string{"alarm", "ack", "down-1", "--note", "ticket 8"}, nil},
	{"alarm_ack_dry", []string{"alarm", "ack", "down-1", "--until", "2026-01-03T00:00:00+01:00", "--dry-run"}, nil},
	{"alarm_unack", []string{"alarm", "unack", "down-1"}, nil},
	{"name_remove", []string{"name", "remove", "cn=SuSe" + listers}, nil},
	{"name_remove_list", []string{"name", "remove", "cn=Debian 8" + listers}, nil},
	{"subscription_set_same", []string{"subscription", "set", "suse", "filter=(objectClass=*)"}, func(f *fake) { f.same = true }},
	{"task_list", []string{"task", "list"}, nil},
	{"task_show", []string{"task", "show", "11"}, nil},
	{"task_show_running", []string{"task", "show", "12"}, nil},
	{"export", []string{"export"}, nil},
	{"subscription_remove", []string{"subscription", "remove", "suse"}, nil},
	{"subscription_remove_dry", []string{"subscription", "remove", "suse", "--dry-run"}, nil},
	{"subscription_check", []string{"subscription", "check", "suse"}, nil},
	{"name_list", []string{"name", "list"}, nil},
	{"name_show", []string{"name", "show", "cn=SuSe" + listers}, nil},
	{"name_show_down", []string{"name", "show", "cn=RedHat" + listers}, nil},
	{"name_list_lingering", []string{"name", "list"}, lingering},
	{"name_show_lingering", []string{"name", "show", "cn=SuSe" + listers}, lingering},
	{"queue_show_lingering", []string{"queue", "show", "cn=SuSe" + listers}, lingering},
	{"queue_show", []string{"queue", "show", "cn=SuSe" + listers}, nil},
}

// What people see, command by command.
func TestTables(t *testing.T) {
	for _, c := range shown {
		f := story()
		if c.with != nil {
			c.with(f)
		}
		socket := served(t, f)
		code, out, errs := shaft(socket, c.args...)
		if code != ExitDone || errs != "" {
			t.Errorf("%s: exit %d, %s", c.name, code, errs)
		}
		golden(t, c.name, out)
		for _, r := range out {
			if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') {
				t.Errorf("%s: %U reaches the terminal", c.name, r)
			}
		}
		if strings.Contains(out, " \n") {
			t.Errorf("%s: a line ends in blanks", c.name)
		}
	}
}

// -o json prints exactly what the API returns.
func TestJSON(t *testing.T) {
	dn := "cn=SuSe,ou=Package Listers"
	for _, c := range []struct {
		args         []string
		method, path string
		body         string
	}{
		{[]string{"status"}, "GET", "status", ""},
		{[]string{"subscription", "list"}, "GET", "subscriptions", ""},
		{[]string{"subscription", "show", "suse"}, "GET", "subscriptions/suse", ""},
		{[]string{"subscription", "remove", "suse"}, "DELETE", "subscriptions/suse", ""},
		{[]string{"subscription", "remove", "suse", "--dry-run"}, "DELETE", "subscriptions/suse?dry_run=true", ""},
		{[]string{"subscription", "check", "suse"}, "POST", "subscriptions/suse/check", ""},
		{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://h/o=x"}, "POST", "subscriptions", `{"id":"x","name":"cn=x","url":"ldap://h/o=x"}`},
		{[]string{"subscription", "show", "dpkg"}, "GET", "subscriptions/dpkg", ""},
		{[]string{"subscription", "set", "x", "filter="}, "PATCH", "subscriptions/x", `{"filter":""}`},
		{[]string{"name", "resync", dn, "--dry-run"}, "POST", "names/cn=SuSe,ou=Package%20Listers/resync?dry_run=true", ""},
		{[]string{"name", "history", dn}, "GET", "names/cn=SuSe,ou=Package%20Listers/history", ""},
		{[]string{"name", "history", dn, "--from", "2026-01-02T03:05:00Z"}, "GET", "names/cn=SuSe,ou=Package%20Listers/history?from=2026-01-02T03:05:00Z", ""},
		{[]string{"name", "rename", dn, "cn=x", "--claim", "a"}, "POST", "names/cn=SuSe,ou=Package%20Listers/rename", `{"to":"cn=x","claim":"a"}`},
		{[]string{"queue", "move", dn, "a", "2"}, "POST", "queues/cn=SuSe,ou=Package%20Listers/move", `{"claim":"a","position":2}`},
		{[]string{"queue", "switch", dn, "a"}, "POST", "queues/cn=SuSe,ou=Package%20Listers/switch", `{"claim":"a"}`},
		{[]string{"queue", "diff", dn, "a"}, "POST", "queues/cn=SuSe,ou=Package%20Listers/diff", `{"claim":"a"}`},
		{[]string{"queue", "suppress", "dpkg/1"}, "POST", "claims/dpkg%2F1/suppress", ""},
		{[]string{"queue", "lift", "dpkg/1", "--dry-run"}, "POST", "claims/dpkg%2F1/lift?dry_run=true", ""},
		{[]string{"guard", "list"}, "GET", "guard", ""},
		{[]string{"guard", "approve", "dpkg/1"}, "POST", "guard/dpkg%2F1/approve", ""},
		{[]string{"guard", "reject", "suse", "--dry-run"}, "POST", "guard/suse/reject?dry_run=true", ""},
		{[]string{"alarm", "list"}, "GET", "alarms", ""},
		{[]string{"alarm", "ack", "down-1", "--note", "n", "--until", "2026-01-03T00:00:00Z"}, "POST", "alarms/down-1/ack", `{"note":"n","until":"2026-01-03T00:00:00Z"}`},
		{[]string{"alarm", "unack", "down-1"}, "POST", "alarms/down-1/unack", ""},
		{[]string{"name", "remove", dn}, "DELETE", "names/cn=SuSe,ou=Package%20Listers", ""},
		{[]string{"task", "list", "--limit", "1"}, "GET", "tasks?limit=1", ""},
		{[]string{"task", "show", "11"}, "GET", "tasks/11", ""},
		{[]string{"export"}, "GET", "export", ""},
		{[]string{"name", "list"}, "GET", "names", ""},
		{[]string{"name", "show", dn}, "GET", "names/cn=SuSe,ou=Package%20Listers", ""},
		{[]string{"queue", "show", dn}, "GET", "queues/cn=SuSe,ou=Package%20Listers", ""},
	} {
		socket := served(t, story())
		_, _, want := raw(t, socket, c.method, "/api/v1/"+c.path, c.body)
		code, out, errs := shaft(socket, append(c.args, "-o", "json")...)
		if code != ExitDone || out != want {
			t.Errorf("%q: exit %d %s\n%s\nthe API says\n%s", c.args, code, errs, out, want)
		}
	}
}

// commandLines are right ones and wrong ones, with what they ask of the engine.
var commandLines = []struct {
	args  []string
	code  int
	words string
	calls string
}{
	{[]string{"status"}, 0, "", "status"},
	{[]string{"status", "-o=json"}, 0, "", "status"},
	{[]string{"subscription", "show", "suse", "-o", "json"}, 0, "", "subscription suse"},
	{[]string{"subscription", "show", "-o", "json", "suse"}, 0, "", "subscription suse"},
	{[]string{"subscription", "remove", "--dry-run", "suse"}, 0, "", "remove suse dry"},
	{[]string{"subscription", "remove", "suse", "--dry-run=false"}, 0, "", "remove suse real"},
	{[]string{"subscription", "show", "nobody"}, 1, "there is no nobody", "subscription nobody"},
	{[]string{"name", "show", "cn=nobody"}, 1, "there is no cn=nobody", "name cn=nobody"},
	{[]string{"queue", "show", "cn=nobody"}, 1, "there is no cn=nobody", "name cn=nobody"},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://h/o=x"}, 0, "", "add x real"},
	{[]string{"subscription", "add", "--name", "cn=x", "x", "--url", "ldap://h/o=x", "--dry-run"}, 0, "", "add x dry"},
	{nil, 2, `"--socket" stands before`, ""},
	{[]string{"frobnicate"}, 2, "no command \"frobnicate\"", ""},
	{[]string{"subscription"}, 2, "subscription add, subscription list", ""},
	{[]string{"subscription", "set", "x"}, 2, "wrong usage: shaft subscription set ID FIELD=VALUE", ""},
	{[]string{"subscription", "set", "x", "filter"}, 2, `"filter": FIELD=VALUE is needed`, ""},
	{[]string{"subscription", "set", "x", "=(cn=*)"}, 2, "FIELD=VALUE is needed", ""},
	{[]string{"subscription", "set", "x", "bind-dn=a", "bind_dn=b"}, 2, "each field once", ""},
	{[]string{"subscription", "set", "x", "filter=(cn=*)"}, 0, "", "set x real"},
	{[]string{"subscription", "set", "x", "--dry-run", "filter="}, 0, "", "set x dry"},
	{[]string{"--socket", "/x", "status"}, 2, `wrong usage: "--socket" stands before the command`, ""},
	{[]string{"frobnicate", "--help"}, 2, "there is no command", ""},
	{[]string{"status", "--frobnicate"}, 2, "there is no flag --frobnicate; `shaft status --help` lists", ""},
	{[]string{"task", "list", "--limit", "x"}, 2, `invalid value "x" for --limit;`, ""},
	{[]string{"subscription", "add", "x", "--poll", "often"}, 2, `for --poll: "often" is no time span; 30s, 5m and 1h are`, ""},
	{[]string{"status", "extra"}, 2, "wrong usage: shaft status", ""},
	{[]string{"subscription", "show"}, 2, "wrong usage: shaft subscription show ID", ""},
	{[]string{"subscription", "show", "a", "b"}, 2, "wrong usage", ""},
	{[]string{"subscription", "show", ""}, 2, "wrong usage", ""},
	{[]string{"status", "--frobnicate"}, 2, "frobnicate", ""},
	{[]string{"status", "--dry-run"}, 2, "dry-run", ""},
	{[]string{"name", "list", "--dry-run"}, 2, "dry-run", ""},
	{[]string{"status", "-o", "xml"}, 2, `-o "xml": only json`, ""},
	{[]string{"subscription", "add", "x", "--url", "ldap://h/o=x"}, 2, "--name is needed", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x"}, 2, "--url, or", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--host", "h", "--port", "many"}, 2, "port", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "http://a/"}, 1, "http", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/", "--host", "h"}, 1, "separate host", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/o=x", "--url", "ldap://b"}, 0, "", "add x real"},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/o=x", "--url", "ldap://b/o=y"}, 1, "URL number 2", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/o=x", "--content-filter", "(a=b)"}, 2, "are for a --list", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/o=x", "--content-attributes", "cn"}, 2, "are for a --list", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/o=x", "--poll", "-5m"}, 2, "not negative", ""},
	{[]string{"subscription", "add", "x", "--name", "cn=x", "--url", "ldap://a/o=x", "--poll", "often"}, 2, "poll", ""},
	{[]string{"name", "resync", "cn=x"}, 0, "", "resync cn=x real"},
	{[]string{"name", "resync", "cn=x", "--dry-run"}, 0, "", "resync cn=x dry"},
	{[]string{"name", "remove", "--dry-run", "cn=x"}, 0, "", "remove name cn=x 0 dry"},
	{[]string{"name", "remove", "cn=x", "--revision", "42"}, 0, "", "remove name cn=x 42 real"},
	{[]string{"name", "history"}, 2, "wrong usage: shaft name history DN", ""},
	{[]string{"name", "history", "cn=x", "--from", "yesterday"}, 2, "a duration such as 2h, is needed", ""},
	{[]string{"name", "history", "cn=x", "--to", "-2h"}, 2, "a duration such as 2h, is needed", ""},
	{[]string{"name", "history", "cn=x", "--to", "0s"}, 2, "a duration such as 2h, is needed", ""},
	{[]string{"name", "rename", "cn=x", "cn=y"}, 0, "", "rename cn=x cn=y  0 real"},
	{[]string{"name", "rename", "cn=x", "cn=y", "--claim", "dpkg/1", "--revision", "42", "--dry-run"}, 0, "", "rename cn=x cn=y dpkg/1 42 dry"},
	{[]string{"name", "rename", "cn=x"}, 2, "wrong usage: shaft name rename DN NEWDN", ""},
	{[]string{"name", "rename", "cn=x", "cn=y", "--revision", "-1"}, 2, "revision", ""},
	{[]string{"queue", "move", "cn=x", "a", "2", "--revision", "42"}, 0, "", "move cn=x a 2 42 real"},
	{[]string{"queue", "move", "cn=x", "a", "0"}, 2, `"0": a position is a number`, ""},
	{[]string{"queue", "move", "cn=x", "a", "first"}, 2, `"first": a position is a number`, ""},
	{[]string{"queue", "move", "cn=x", "a"}, 2, "wrong usage: shaft queue move DN CLAIM POSITION", ""},
	{[]string{"queue", "switch", "cn=x", "a"}, 0, "", "switch cn=x a force=false 0 real"},
	{[]string{"queue", "switch", "cn=x", "a", "--revision", "42", "--dry-run"}, 0, "", "switch cn=x a force=false 42 dry"},
	{[]string{"queue", "switch", "cn=x", "a", "--force", "--reason", "it is wrong"}, 0, "", "switch cn=x a force=true 0 real"},
	{[]string{"queue", "switch", "cn=x", "--why", "it is wrong", "a", "--force"}, 0, "", "switch cn=x a force=true 0 real"},
	{[]string{"queue", "switch", "cn=x", "a", "--force"}, 2, "--force needs --reason TEXT", ""},
	{[]string{"queue", "switch", "cn=x", "a", "--force", "--dry-run"}, 2, "--force needs --reason TEXT", ""},
	{[]string{"queue", "switch", "cn=x", "a", "--force", "--reason", ""}, 2, "--force needs --reason TEXT", ""},
	{[]string{"queue", "switch", "cn=x", "a", "--reason", "a\nb"}, 2, "one line of text", ""},
	{[]string{"queue", "switch", "cn=x"}, 2, "wrong usage: shaft queue switch DN CLAIM", ""},
	{[]string{"queue", "diff", "cn=x", "a"}, 0, "", "diff cn=x a"},
	{[]string{"queue", "diff", "cn=x"}, 2, "wrong usage: shaft queue diff DN CLAIM", ""},
	{[]string{"queue", "diff", "cn=x", "a", "--force"}, 2, "no flag --force", ""},
	{[]string{"queue", "suppress", "dpkg/1", "--revision", "9"}, 0, "", "suppress dpkg/1 9 real"},
	{[]string{"queue", "suppress"}, 2, "wrong usage: shaft queue suppress CLAIM", ""},
	{[]string{"queue", "lift", "dpkg/1", "--dry-run"}, 0, "", "lift dpkg/1 0 dry"},
	{[]string{"alarm", "ack", "down-1", "--dry-run"}, 0, "", "ack down-1 dry"},
	{[]string{"alarm", "ack"}, 2, "wrong usage: shaft alarm ack ID", ""},
	{[]string{"alarm", "ack", "down-1", "--until", "soon"}, 2, "a duration such as 2h, is needed", ""},
	{[]string{"alarm", "ack", "down-1", "--note", "a\nb"}, 2, "--note: the note is one line of text", ""},
	{[]string{"alarm", "ack", "down-1", "--revision", "1"}, 2, "revision", ""},
	{[]string{"alarm", "unack", "down-1", "--why", "too soon"}, 0, "", "unack down-1 real"},
	{[]string{"alarm", "list", "--dry-run"}, 2, "dry-run", ""},
	{[]string{"alarm"}, 2, "alarm list, alarm ack, alarm unack", ""},
	{[]string{"name", "history", "cn=x", "--dry-run"}, 2, "dry-run", ""},
	{[]string{"task", "list", "--limit", "0"}, 2, "--limit is a number from 1", ""},
	{[]string{"task", "list", "--limit", "9999999999"}, 2, "--limit is a number from 1", ""},
	{[]string{"task", "show", "99"}, 1, "there is no 99", "task 99"},
	{[]string{"task", "show", "first"}, 1, `a number, not "first"`, ""},
	{[]string{"task", "show"}, 2, "wrong usage: shaft task show ID", ""},
	{[]string{"export", "file"}, 2, "wrong usage: shaft export", ""},
	{[]string{"backup"}, 2, "wrong usage: shaft backup FILE", ""},
	{[]string{"backup", "a", "b"}, 2, "wrong usage", ""},
	{[]string{"apply"}, 2, "wrong usage: shaft apply FILE", ""},
	{[]string{"apply", "no such file"}, 1, "no such file or directory", ""},
	{[]string{"apply", "a", "b"}, 2, "wrong usage", ""},
	// What a later version brings is not there before it works.
	{[]string{"subscription", "add", "x", "--guard-share", "5"}, 2, "guard-share", ""},
	{[]string{"status", "--server", "https://h"}, 2, "server", ""},
	{[]string{"guard", "lift"}, 2, "guard list, guard approve, guard reject", ""},
	{[]string{"guard", "approve"}, 2, "shaft guard approve CLAIM", ""},
}

// Exit codes tell a refusal from wrong usage; flags stand before or behind what
// they belong to; nothing is sent for a wrong command line.
func TestCommandLine(t *testing.T) {
	for _, c := range commandLines {
		f := story()
		code, out, errs := shaft(served(t, f), c.args...)
		if code != c.code || !strings.Contains(errs, c.words) || strings.Join(f.calls, "; ") != c.calls {
			t.Errorf("%q: exit %d, asked %q\n%s", c.args, code, f.calls, errs)
		}
		if (code == 0) != (errs == "") || code != 0 && out != "" {
			t.Errorf("%q: exit %d with %q on stdout, %q on stderr", c.args, code, out, errs)
		}
		if strings.Count(errs, "\n") > 1 {
			t.Errorf("%q: the error has more than a line:\n%s", c.args, errs)
		}
	}
}

// Behind -- all is an argument, whatever it looks like.
func TestDashes(t *testing.T) {
	f := &fake{names: []engine.Name{{DN: "--help"}}}
	var out, errs bytes.Buffer
	if code := Main(context.Background(), []string{"name", "show", "--socket", served(t, f), "--", "--help"}, Streams{Out: &out, Err: &errs}); code != ExitDone || !slices.Equal(f.calls, []string{"name --help"}) {
		t.Errorf("exit %d, asked %q: %s", code, f.calls, &errs)
	}
}

// --help is no error, and lists the flags on standard output.
func TestHelp(t *testing.T) {
	for _, c := range commands {
		var out, errs bytes.Buffer
		if code := Main(context.Background(), append(strings.Fields(c.verb), "--help"), Streams{Out: &out, Err: &errs}); code != ExitDone || errs.Len() > 0 {
			t.Errorf("%s: exit %d, %s", c.verb, code, &errs)
		}
		for _, want := range []string{"usage: shaft " + c.verb, c.help, "  --socket string ", "  -o string "} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s --help lacks %q:\n%s", c.verb, want, &out)
			}
		}
	}
	for _, help := range []string{"-h", "-help", "--help"} {
		var out, errs bytes.Buffer
		if code := Main(context.Background(), []string{"queue", help}, Streams{Out: &out, Err: &errs}); code != ExitDone || errs.Len() > 0 ||
			!strings.Contains(out.String(), "shaft queue show DN") || strings.Contains(out.String(), "shaft name") {
			t.Errorf("queue %s: exit %d, %s%s", help, code, &out, &errs)
		}
	}
	var out bytes.Buffer
	Usage(&out)
	for _, c := range commands {
		if !strings.Contains(out.String(), "shaft "+c.verb+" ") {
			t.Errorf("the usage lacks %s:\n%s", c.verb, &out)
		}
	}
}

// What the flags of `subscription add` become; files are made absolute, since
// the daemon runs elsewhere.
func TestAddFlags(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	f := story()
	code, _, errs := shaft(served(t, f), "subscription", "add", "x", "--name", "cn=x", "--protocol", "ldap", "--host", "h", "--port", "3890",
		"--base", "o=x", "--attributes", "cn, mail", "--filter", "(cn=*)", "--scope", "one", "--starttls", "--bind-dn", "cn=r", "--password-file", "pw",
		"--ca-file", "/etc/ca.pem", "--certificate", "c.pem", "--key", "k.pem", "--sasl-external", "--poll", "5m", "--newcookie-ends-refresh",
		"--uuid-from-dn", "--no-dn-rewrite", "--keep-warm", "--forward-bind", "--guard-percent", "20", "--guard-minimum", "0", "--no-guard", "--list", "--content-filter", "(sn=*)", "--content-attributes", "cn,sn")
	twenty, none := 20, 0
	want := engine.Subscription{ID: "x", Kind: "list", Name: "cn=x", NoDNRewrite: true, KeepWarm: true, ForwardBind: true, GuardPercent: &twenty, GuardMinimum: &none, NoGuard: true, ContentFilter: "(sn=*)", ContentAttributes: []string{"cn", "sn"},
		Source: upstream.Source{Protocol: "ldap", Host: "h", Port: 3890, Base: "o=x", Attributes: []string{"cn", "mail"}, Filter: "(cn=*)", Scope: "one",
			StartTLS: true, BindDN: "cn=r", PasswordFile: filepath.Join(dir, "pw"), CAFile: "/etc/ca.pem", CertFile: filepath.Join(dir, "c.pem"),
			KeyFile: filepath.Join(dir, "k.pem"), SASLExternal: true, Poll: upstream.Interval(5 * time.Minute), NewCookieEnds: true, UUIDFromDN: true}}
	if code != ExitDone || !reflect.DeepEqual(f.got, want) {
		t.Errorf("exit %d %s\ngot  %+v\nwant %+v", code, errs, f.got, want)
	}
	for _, bad := range []string{"-1", "ten", "1.5", "10%"} { // R36
		if code, _, errs := shaft(served(t, story()), "subscription", "add", "x", "--name", "cn=x", "--url", "ldap://h/o=x", "--guard-percent", bad); code != ExitUsage || !strings.Contains(errs, "number from 0") {
			t.Errorf("--guard-percent %s: exit %d %s", bad, code, errs)
		}
	}
}

// R13: --url again and again names servers in order.
func TestAddURLs(t *testing.T) {
	f := story()
	code, _, errs := shaft(served(t, f), "subscription", "add", "x", "--name", "cn=x", "--url", "ldaps://a/o=x", "--url", "ldaps://b:6360", "--url", "ldaps://c")
	if code != ExitDone || f.got.Source.Host != "a" || len(f.got.Source.Servers) != 2 || f.got.Source.Servers[0].Host != "b" || f.got.Source.Servers[0].Port != 6360 {
		t.Errorf("exit %d %s: %+v", code, errs, f.got.Source)
	}
}

// Fields of `subscription set` are written either way; paths become absolute; url
// may be given again for further servers.
func TestSetFields(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	f := story()
	code, _, errs := shaft(served(t, f), "subscription", "set", "x", "password-file=pw", "ca_file=", "Bind-DN=cn=a,o=b", "url=ldap://a/o=x", "url=ldap://b", "--why", "new server")
	want := map[string]string{"password-file": filepath.Join(dir, "pw"), "ca-file": "", "bind-dn": "cn=a,o=b", "url": "ldap://a/o=x ldap://b"}
	if code != ExitDone || !maps.Equal(f.fields, want) {
		t.Errorf("exit %d %s: %q", code, errs, f.fields)
	}
}

// A check that fails is told in full, and in the exit code.
func TestFailedCheck(t *testing.T) {
	f := story()
	f.check.OK = false
	f.check.Steps[1] = upstream.Step{Name: "connect", Detail: "connection refused"}
	code, out, errs := shaft(served(t, f), "subscription", "check", "suse")
	if code != ExitRefused || !strings.Contains(out, "connect  FAILED  0 ms  connection refused") || !strings.Contains(errs, "the check of suse failed at connect") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, out, _ := shaft(served(t, f), "subscription", "check", "suse", "-o", "json"); code != ExitRefused || !strings.Contains(out, `"ok": false`) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// The socket is --socket's, else $SHAFT_SOCKET's, else the default; that no
// daemon is there is said with the path.
func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SHAFT_SOCKET", filepath.Join(dir, "env"))
	var out, errs bytes.Buffer
	if code := Main(context.Background(), []string{"status"}, Streams{Out: &out, Err: &errs}); code != ExitRefused || !strings.Contains(errs.String(), dir+"/env") || !strings.Contains(errs.String(), "is `shaft serve` running?") {
		t.Errorf("exit %d: %s", code, &errs)
	}
	if code, _, errs := shaft(filepath.Join(dir, "flag"), "status"); code != ExitRefused || !strings.Contains(errs, dir+"/flag") {
		t.Errorf("exit %d: %s", code, errs)
	}
	t.Setenv("SHAFT_SOCKET", served(t, story()))
	if code := Main(context.Background(), []string{"status"}, Streams{Out: io.Discard, Err: io.Discard}); code != ExitDone {
		t.Errorf("by $SHAFT_SOCKET: exit %d", code)
	}
	t.Setenv("SHAFT_SOCKET", "")
	errs.Reset()
	if code := Main(context.Background(), []string{"status", "--help"}, Streams{Out: &out, Err: &errs}); code != ExitDone || !strings.Contains(out.String(), DefaultSocket) {
		t.Errorf("exit %d: %s", code, &out)
	}
}

// Answers of what is no daemon of ours, and of one that dies.
func TestStrangeAnswers(t *testing.T) {
	for _, c := range []struct {
		handle http.HandlerFunc
		words  string
	}{
		{func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "what?", http.StatusTeapot) }, "418"},
		{func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{") }, "answer of the daemon"},
		{func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") }, "answer of the daemon"},
		{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			io.WriteString(w, "nonsense")
		}, "answer of the daemon"},
		{func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); w.WriteHeader(304) }, "304"},
		{func(w http.ResponseWriter, _ *http.Request) {
			problem(w, Problem{Status: 400, Kind: "invalid", Detail: "a \x1b[2Jclean screen\nand a line"})
		}, "shaft: a \\1b[2Jclean screen\nand a line\n"},
		{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, "unexpected EOF"},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: c.handle}
		done := make(chan struct{})
		go func() { defer close(done); srv.Serve(l) }()
		code, out, errs := shaft(socket, "status")
		if code != ExitRefused || out != "" || !strings.Contains(errs, c.words) {
			t.Errorf("%q: exit %d, %q, %q", c.words, code, out, errs)
		}
		srv.Close()
		<-done
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := NewClient(served(t, story())).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

// What does not print is shown as RFC 4514 writes it.
func TestPrintable(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""}, {"cn=Müller 漢字,ou=x", "cn=Müller 漢字,ou=x"}, {`cn=a\,b`, `cn=a\,b`},
		{"a\x1b[31mb", `a\1b[31mb`}, {"a\tb\nc\r", `a\09b\0ac\0d`}, {"\u009b31m", `\c2\9b31m`}, {"\u202eabc", `\e2\80\aeabc`},
		{"bad \xff\xfe", `bad \ff\fe`}, {"\ufffd", "\ufffd"}, {"\x00\x7f", `\00\7f`},
	} {
		if got := printable(c.text); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.text, got, c.want)
		}
		if again := printable(printable(c.text)); again != c.want {
			t.Errorf("%q becomes %q the second time", c.text, again)
		}
	}
	for _, c := range []struct{ text, want string }{{"", ""}, {"漢字", "漢字"}, {"漢字x", "漢…"}, {"abc", "a…"}} {
		if got := shorten(c.text, 2); got != c.want {
			t.Errorf("%q shortened is %q", c.text, got)
		}
	}
	if got := printableLines("a\nb\x1b"); got != "a\nb\\1b" {
		t.Errorf("got %q", got)
	}
}
