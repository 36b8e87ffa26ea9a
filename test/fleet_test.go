package test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/engine"
	"shaft/pkg/operator"
)

// fleetSize is how many subscriptions TestFleet has; "make test-long" has 1,000.
var fleetSize = flag.Int("fleet", 200, "`subscriptions` to 50 servers")

const (
	fleetServers = 50
	// fleetBelow is how many entries each source has below its base.
	fleetBelow = 9
	// Every tenth server runs fleetSearches searches on a connection, and refuses more.
	fleetSearches = 3
)

// Bounds of what a Shaft takes beyond one that follows nothing.
const (
	// A subscription has its link's goroutine, a connection go-ldap's two and its keeper; spare
	// are requests to the control socket, and commits and compactions at that moment.
	fleetSpareGoroutines = 40
	// A connection is one; spare are the store's files and what asks.
	fleetSpareDescriptors = 40
	// What a subscription takes: its content ten entries, its converter, what is
	// remembered of schema and DNs, 40 kB together, and as much again until garbage is collected.
	fleetBytes = 100 << 10
	// The store's tables in memory and those that are mapped, and what a refresh of each source
	// at a time leaves to the garbage collector.
	fleetSpareBytes = 120 << 20
	// A refresh is one commit, and what comes of many at a time shares one: states of links and
	// alarms do, where they come together. fleetLoad is for the first load, or one behind a start;
	// fleetOutage for that and an outage, in which each link comes to some states by itself.
	// Spare are those of the apply, and of times of contact.
	fleetLoad         = 2
	fleetOutage       = 10
	fleetSpareCommits = 200
	// A list of all names takes some 10 µs of CPU time for each; ten times that is too slow.
	fleetListSeconds = 100e-6
)

// fleet is many servers, and a Shaft with subscriptions to all of them.
type fleet struct {
	*shaft
	metrics string // URL
	client  *operator.Client
	servers []*ldaptest.Server
	each    int    // subscriptions to one server
	mark    string // what the changed entry of each source says
}

// startFleet starts the servers, and a Shaft that knows none of them.
func startFleet(t *testing.T, subscriptions int) *fleet {
	t.Helper()
	f := &fleet{each: subscriptions / fleetServers}
	for i := range fleetServers {
		o := ldaptest.Options{Suffix: fmt.Sprintf("o=%d", i), LDIF: f.ldif(i)}
		if f.narrow(i) {
			o.MaxSearches, o.TooMany = fleetSearches, []int{51, 11}[i/10%2]
		}
		up, err := ldaptest.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(up.Close)
		f.servers = append(f.servers, up)
	}
	at := ldaptest.FreeAddress(t)
	f.shaft = newShaft(t, fmt.Sprintf("base_dn: %s\nmetrics: { listen: %q }", base, at))
	f.metrics, f.client = "http://"+at+"/metrics", operator.NewClient(f.path("data/control.sock"))
	return f
}

// narrow tells whether server i takes few searches.
func (f *fleet) narrow(i int) bool { return i%10 == 0 }

func (f *fleet) ldif(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: o=%d\nobjectClass: organization\no: %d\n", i, i)
	for j := range f.each {
		fmt.Fprintf(&b, "\ndn: ou=%d,o=%d\nobjectClass: organizationalUnit\nou: %d\n", j, i, j)
		for k := range fleetBelow {
			fmt.Fprintf(&b, "\ndn: cn=%d,ou=%d,o=%d\nobjectClass: organizationalRole\ncn: %d\ndescription: %d of %d of %d\n", k, j, i, k, k, j, i)
		}
	}
	return b.String()
}

// document lists the subscriptions, as apply takes them.
func (f *fleet) document() string {
	var b strings.Builder
	b.WriteString("subscriptions:\n")
	for j := range f.each {
		for i, up := range f.servers {
			fmt.Fprintf(&b, "  - { id: s%d-%d, name: 'cn=%d of %d', url: '%s/ou=%d,o=%d' }\n", i, j, j, i, up.URL(), j, i)
		}
	}
	return b.String()
}

// all waits until every name is as wanted. The list costs the daemon something, so it is
// not asked for all the time.
func (f *fleet) all(what string, wanted func(n *engine.Name) bool) {
	f.t.Helper()
	odd := "no name"
	defer func() {
		if f.t.Failed() {
			f.t.Log(odd)
		}
	}()
	var next time.Time
	eventually(f.t, 2*time.Minute, what, func() bool {
		if time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(100 * time.Millisecond)
		names, _, err := f.client.Names(f.t.Context())
		if err != nil {
			return false
		}
		good := 0
		for i := range names {
			if wanted(&names[i]) {
				good++
			} else {
				odd = fmt.Sprintf("not %s: %+v", what, names[i])
			}
		}
		return good == f.each*fleetServers && good == len(names)
	})
}

// live waits until every name follows its source, and wants all content to be there.
func (f *fleet) live() {
	f.t.Helper()
	f.all("live", func(n *engine.Name) bool {
		return n.Head.State == "live" && n.LastKnownGood && n.Entries == 1+fleetBelow && len(n.Alarms) == 0
	})
	f.serves()
}

// serves wants all content to be there, with what was changed.
func (f *fleet) serves() {
	f.t.Helper()
	var want, got []string
	for i := range f.servers {
		for j := range f.each {
			for k := range fleetBelow {
				said := fmt.Sprintf("%d of %d of %d", k, j, i)
				if k == 0 {
					said += f.mark
				}
				want = append(want, fmt.Sprintf("cn=%d,cn=%d of %d,%s %s", k, j, i, base, said))
			}
		}
	}
	for _, entry := range strings.Split(f.search("-b", base, "(objectClass=organizationalRole)", "description"), "\n\n") {
		if dn := line(entry, "dn"); dn != "" {
			got = append(got, dn+" "+line(entry, "description"))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		f.t.Errorf("%d entries are served, want %d", len(got), len(want))
	}
}

// change changes one entry of each source.
func (f *fleet) change(mark string) {
	f.t.Helper()
	f.mark = mark
	for i, up := range f.servers {
		for j := range f.each {
			if err := up.Modify(fmt.Sprintf("cn=0,ou=%d,o=%d", j, i), "description", fmt.Sprintf("0 of %d of %d%s", j, i, mark)); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

// bounded wants connections and what the process takes to be within bounds, once it has come to
// rest; idle are the figures of one that follows nothing, and commits is how many a source may have
// cost since the start.
func (f *fleet) bounded(when string, commits int, idle series) {
	f.t.Helper()
	open := 0
	for i, up := range f.servers {
		n, most := up.Stats().Open, 1
		if f.narrow(i) { // they are found out one by one, and none is left with one search
			most = f.each - fleetSearches + 1
		}
		if open += n; n < 1 || n > most {
			f.t.Errorf("%s: %d connections to server %d, at most %d are wanted", when, n, i, most)
		}
	}
	subscriptions := float64(f.each * fleetServers)
	bounds := series{
		"go_goroutines":                       subscriptions + 3*float64(open) + fleetSpareGoroutines,
		"process_open_fds":                    float64(open) + fleetSpareDescriptors,
		"process_resident_memory_bytes":       subscriptions*fleetBytes + fleetSpareBytes,
		"shaft_commit_duration_seconds_count": float64(commits)*subscriptions + fleetSpareCommits,
	}
	over, figures := "", ""
	defer func() { f.t.Logf("%s%s; too much:%s", when, figures, over) }()
	eventually(f.t, time.Minute, when+" what it takes is within bounds", func() bool {
		over, figures = "", ""
		_, now := scrape(f.t, f.metrics)
		for name, most := range bounds {
			more := now[name] - idle[name]
			figures += fmt.Sprintf("; %s %.0f more, at most %.0f", name, more, most)
			if more > most {
				over += " " + name
			}
		}
		return over == ""
	})
}

// lists wants what operators ask for to be complete, and to cost little.
func (f *fleet) lists() {
	f.t.Helper()
	n := f.each * fleetServers
	if got := strings.Count(f.run("subscription", "list", "-o", "json"), `"id":`); got != n {
		f.t.Errorf("%d subscriptions are listed", got)
	}
	_, before := scrape(f.t, f.metrics)
	const times = 10
	for range times {
		if names, _, err := f.client.Names(f.t.Context()); err != nil || len(names) != n {
			f.t.Errorf("%d names are listed: %v", len(names), err)
		}
	}
	_, after := scrape(f.t, f.metrics)
	took := (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / times
	f.t.Logf("a list of %d names takes %.0f ms of CPU time", n, took*1e3)
	if most := float64(n)*fleetListSeconds + 0.05; took > most {
		f.t.Errorf("a list of %d names takes %v s of CPU time, at most %v are wanted", n, took, most)
	}
}

// away waits until each name has the one alarm that its source is down, which has been
// raised once, and gives the serial that was given last.
func (f *fleet) away() (serial uint32) {
	f.t.Helper()
	f.all("down", func(n *engine.Name) bool { return len(n.Alarms) == 1 && n.Alarms[0] == "down" && !n.Head.Online })
	alarms, _, err := f.client.Alarms(f.t.Context())
	if err != nil || len(alarms) != f.each*fleetServers {
		f.t.Errorf("%d alarms: %v", len(alarms), err)
	}
	for _, a := range alarms {
		if a.Generation != 1 {
			f.t.Errorf("an alarm has had %d causes: %+v", a.Generation, a)
		}
		serial = max(serial, a.Serial)
	}
	f.serves()
	return serial
}

// resumed wants each search to have begun where the one before ended: all with cookies, and
// nothing sent but what had changed meanwhile.
func (f *fleet) resumed(before []ldaptest.Stats) {
	f.t.Helper()
	for i, up := range f.servers {
		now := up.Stats()
		cookies := now.Cookies[len(before[i].Cookies):]
		if len(cookies) < f.each || slices.Contains(cookies, "") || now.RefreshEntries-before[i].RefreshEntries != f.each {
			f.t.Errorf("server %d: cookies %q, %d entries sent for %d changes", i, cookies, now.RefreshEntries-before[i].RefreshEntries, f.each)
		}
	}
}

func (f *fleet) stats() (all []ldaptest.Stats) {
	for _, up := range f.servers {
		all = append(all, up.Stats())
	}
	return all
}

// up has all servers back.
func (f *fleet) up() {
	f.t.Helper()
	for _, up := range f.servers {
		if err := up.Up(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// tries is how often a server may be tried within d after it went: the pauses are half of
// 1 s, 2 s, 4 s … 1 min at least; one more is on its way.
func tries(d time.Duration) int {
	n := 1
	for pause := time.Second; d > 0; pause = min(2*pause, time.Minute) {
		d -= pause / 2
		n++
	}
	return n
}

// paced wants no server to be tried more often than by one link, and not all at the same
// moment.
func (f *fleet) paced(within time.Duration, before []ldaptest.Stats) {
	f.t.Helper()
	var pauses []time.Duration
	for i, up := range f.servers {
		at := up.Stats().TurnedAway[len(before[i].TurnedAway):]
		if len(at) < 2 || len(at) > tries(within) {
			f.t.Errorf("server %d was tried %d times within %v, at most %d are wanted", i, len(at), within, tries(within))
			continue
		}
		pauses = append(pauses, at[1].Sub(at[0]))
	}
	slices.Sort(pauses)
	f.t.Logf("within %v servers were tried again after %v to %v", within, pauses[0], pauses[len(pauses)-1])
	if pauses[len(pauses)-1]-pauses[0] < 100*time.Millisecond {
		f.t.Error("all pauses are the same")
	}
}

// R12, R13, R15, R18: many subscriptions to 50 servers have a connection to each, and take what
// is allowed. Two outages of all servers, and a kill amid the first, are no storm: what is
// stored is served, servers are tried seldom, and each search goes on where it was.
func TestFleet(t *testing.T) {
	f := startFleet(t, *fleetSize)
	_, idle := scrape(t, f.metrics)
	file := filepath.Join(f.dir, "all.yaml")
	if err := os.WriteFile(file, []byte(f.document()), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run("apply", file)
	f.live()
	for i, up := range f.servers {
		if st := up.Stats(); !f.narrow(i) && st.Connections != 1 {
			t.Errorf("%d connections were made to server %d", st.Connections, i)
		}
	}
	f.bounded("after the first load", fleetLoad, idle)
	f.lists()
	f.change(" changed")
	f.shows()

	before := f.stats()
	for _, up := range f.servers {
		up.Down()
	}
	f.all("down", func(n *engine.Name) bool { return !n.Head.Online })
	f.kill()
	f.start()
	f.serves()
	f.change(" changed amid the outage")
	f.up()
	f.live()
	f.resumed(before)
	f.bounded("after an outage and a start", fleetLoad, idle)

	before = f.stats()
	began := time.Now()
	for _, up := range f.servers {
		up.TurnAway()
	}
	if serial, most := f.away(), uint32(2*f.each*fleetServers); serial > most {
		t.Errorf("%d causes of alarms in two outages, at most %d are wanted", serial, most)
	}
	f.paced(time.Since(began), before)
	f.change(" changed once more")
	f.up()
	f.live()
	f.resumed(before)
	f.bounded("after another outage", fleetOutage, idle)
}

// shows waits until the changes are served.
func (f *fleet) shows() {
	f.t.Helper()
	eventually(f.t, time.Minute, "the changes are served", func() bool {
		return strings.Count(f.search("-b", base, "(description=*"+f.mark+")", "1.1"), "dn: ") == f.each*fleetServers
	})
	f.serves()
}
