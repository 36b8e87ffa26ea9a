package main

import (
	"fmt"
	"strings"

	"shaft/internal/ldaptest"
)

// The names of the story, as Zabbix is told of them.
const (
	wheezy = "cn=Debian Wheezy"
	suse   = "cn=SuSe"
	many   = "cn=Many"
	inner  = "cn=Gr%C3%BCn %7B%24X%7D,cn=SuSe"
	plain  = "cn=Plain"
)

// innerDN is the name inner, which has all that a monitor could stumble over.
const innerDN = "cn=Grün {$X},cn=SuSe"

const (
	manySuffix  = "o=Many"
	plainSuffix = "o=Plain"
	// lost is a distribution that is no part of another, of which dpkg's template makes no name.
	lost = "cn=Lost," + ldaptest.DpkgSuffix
)

// stage is everything that the scenes are played with.
type stage struct {
	*run
	w       *watched
	a       *agent
	s       *shaft
	sources map[string]*ldaptest.Slapd
}

// play is the demonstration, or its first scenes. What a scene leaves open the next begins with.
func play(r *run, scenes int) {
	st := &stage{run: r, sources: map[string]*ldaptest.Slapd{}}
	for name, o := range map[string]ldaptest.SlapdOptions{
		"suse":   {Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF},
		"redhat": {Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF},
		"debian": {Suffix: ldaptest.DebianSuffix, LDIF: ldaptest.DebianLDIF},
		"dpkg":   {Suffix: ldaptest.DpkgSuffix, LDIF: ldaptest.DpkgLDIF},
		"many":   {Suffix: manySuffix, LDIF: manyPackages(40)},
		"plain":  {Suffix: plainSuffix, LDIF: "dn: o=Plain\nobjectClass: organization\no: Plain\n", NoSyncprov: true},
	} {
		st.sources[name] = ldaptest.StartSlapd(r, o)
	}
	z := startZabbix(r)
	st.a = startAgent(r, root)
	st.s = startShaft(r, st.a)
	st.w = z.watch(st.a)
	story := []struct {
		title string
		play  func(*stage)
	}{
		{"Names and sources are found", (*stage).discovery},
		{"A clash, acknowledged, raised again, flagged down", (*stage).clash},
		{"Every kind of trouble", (*stage).troubles},
		{"No last-known-good content, for another reason", (*stage).reason},
		{"All is repaired", (*stage).repair},
		{"What is removed is noticed", (*stage).removal},
		{"Restarts, and what changes meanwhile", (*stage).restarts},
		{"One problem for each clash, and none at the end", (*stage).end},
	}
	if scenes > 0 {
		story = story[:min(scenes, len(story))]
	}
	for _, scene := range story {
		r.scene(scene.title)
		scene.play(st)
	}
}

// manyPackages is LDIF of a distribution with so many packages.
func manyPackages(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: organization\no: Many\n", manySuffix)
	for i := range n {
		fmt.Fprintf(&b, "\ndn: pkgName=p%02d,%s\nobjectClass: LinuxPackage\npkgName: p%02d\n", i, manySuffix, i)
	}
	return b.String()
}

// tree adds a subscription to a tree.
func (st *stage) tree(id, source, dn, name string) {
	st.s.run("subscription", "add", id, "--url", st.sources[source].URL()+"/"+dn, "--name", name)
}

// found checks which names and sources Zabbix has items of.
func (st *stage) found(names, sources []string) {
	st.holds(pollPatience, fmt.Sprintf("Zabbix finds %d names and %d sources", len(names), len(sources)), func() string {
		for _, key := range []string{"shaft.name.state", "shaft.clash", "shaft.lkg", "shaft.down"} {
			if why := differ("items "+key, st.w.rows(key), names); why != "" {
				return why
			}
		}
		return differ("items shaft.source.state", st.w.rows("shaft.source.state"), sources)
	})
}

// reads checks the latest value of an item.
func (st *stage) reads(key, want string) {
	st.holds(pollPatience, key+" is "+want, func() string {
		value, _, trouble := st.w.item(key)
		if value == want && trouble == "" {
			return ""
		}
		return fmt.Sprintf("it is %q %s", value, trouble)
	})
}

func (st *stage) discovery() {
	st.tree("suse", "suse", ldaptest.SuSeSuffix, suse)
	st.tree("debian-wheezy", "debian", "cn=Wheezy,"+ldaptest.DebianSuffix, wheezy)
	st.tree("many", "many", manySuffix, many)
	st.found([]string{suse, wheezy, many}, []string{"suse", "debian-wheezy", "many"})
	st.reads(`shaft.name.state["`+many+`"]`, "3")
	st.reads(`shaft.name.entries["`+many+`"]`, "41")
	st.reads("shaft.names", "3")
	st.reads("shaft.basedn", base)
	st.reads("shaft.store.full", "")
	st.reads("shaft.damage", "")
	st.w.open("no problem is open")
}

// clashed is the problem of the story's clash.
const clashed = "warning clash " + wheezy

func (st *stage) clash() {
	st.s.run("subscription", "add", "dpkg", "--list", "--url", st.sources["dpkg"].URL()+"/"+ldaptest.DpkgSuffix+"??sub?(objectClass=LinuxDistribution)",
		"--name", "cn=%(rdn1.cn)s %(attr.cn)s")
	st.w.open("a clash is a problem", clashed)
	st.found([]string{suse, wheezy, many, "cn=Debian Squeeze", "cn=Ubuntu Kylin"}, []string{"suse", "debian-wheezy", "many", "dpkg"})
	st.holds(pollPatience, "the list has items of its own", func() string { return differ("items", st.w.rows("shaft.list.nameerror"), []string{"dpkg"}) })
	st.w.acknowledge(ackIt, "known", st.w.newest(clashed))
	st.tree("rival", "redhat", "distro=RHEL,"+ldaptest.RedHatSuffix, wheezy)
	st.w.open("a second rival raises it again, beside the acknowledged one", clashed, clashed)
	if p := st.w.newest(clashed); p.Acknowledged != "0" || !strings.Contains(p.Name, "2 claims wait") {
		st.Fatalf("the newer problem is %+v", p)
	}
	st.w.acknowledge(closeIt, "they are alternatives", st.w.problems()...)
	st.w.open("closed by hand, it is flagged down")
	st.polls("shaft.clash", 2)
	st.w.open("and stays so while nothing changes")
	st.s.run("subscription", "remove", "rival")
	st.holds(pollPatience, "fewer rivals raise it again", func() string {
		var clashes []problem
		for _, p := range st.w.problems() {
			if p.what() == clashed {
				clashes = append(clashes, p)
			}
		}
		if len(clashes) != 1 || !strings.Contains(clashes[0].Name, "1 claim waits") {
			return fmt.Sprint(clashes)
		}
		return ""
	})
	st.forget()
}

// polls waits until an item about the clash has been kept so many times again.
func (st *stage) polls(key string, times int) {
	key += `["` + wheezy + `"]`
	_, last, _ := st.w.item(key)
	st.holds(pollPatience, fmt.Sprintf("%s is read %d times again", key, times), func() string {
		if _, clock, _ := st.w.item(key); clock != last {
			last = clock
			times--
		}
		if times <= 0 {
			return ""
		}
		return "its time is " + last
	})
}

// forget has Zabbix drop what is gone at once.
func (st *stage) forget() {
	st.w.set("LOST", "0")
	st.w.set("LOST.ALARMS", "0")
	st.holds(pollPatience, "the problem that something was removed ends with its items", func() string {
		for _, p := range st.w.problems() {
			if p.tag("shaft.alarm") == "removed" {
				return p.Name
			}
		}
		ids, names := st.there()
		if why := differ("items of names", st.w.rows("shaft.name.state"), names); why != "" {
			return why
		}
		if why := differ("items of clashes", st.w.rows("shaft.clash"), names); why != "" {
			return why
		}
		return differ("items of sources", st.w.rows("shaft.source.state"), ids)
	})
	st.w.set("LOST", "1d")
	st.w.set("LOST.ALARMS", "1h")
}

// there lists Shaft's subscriptions and names.
func (st *stage) there() (ids, names []string) {
	var list []struct{ ID, DN string }
	st.s.read(&list, "subscription", "list")
	for _, sub := range list {
		ids = append(ids, sub.ID)
	}
	st.s.read(&list, "name", "list")
	for _, n := range list {
		names = append(names, label(n.DN))
	}
	return ids, names
}

func (st *stage) troubles() {
	st.tree("plain", "plain", plainSuffix, plain)
	st.tree("inner", "redhat", "distro=Fedora,"+ldaptest.RedHatSuffix, innerDN)
	st.sources["dpkg"].Apply("dn: " + lost + "\nobjectClass: LinuxDistribution\ncn: Lost\n")
	st.sources["suse"].Stop()
	st.sources["many"].Stop()
	st.sources["many"].Rebuild(manyPackages(0))
	st.sources["many"].Start()
	open := []string{clashed, "average down " + suse, "high held " + many, "warning overlap " + suse, "warning overlap " + inner,
		"warning name-error dpkg", "average not-syncrepl " + plain, "disaster no-lkg " + plain}
	st.w.open("each kind of alarm is a problem of its severity", open...)
	st.w.agrees(st.s)
	if p := st.w.newest("warning overlap " + suse); !strings.Contains(p.Name, innerDN+","+base) {
		st.Fatalf("the cause is not shown as it is: %s", p.Name)
	}
	st.sources["dpkg"].Stop()
	open = append(open, "average down dpkg", "average down cn=Debian Squeeze", "average down cn=Ubuntu Kylin")
	st.w.open("a list whose server is down is one, beside the names that it made", open...)
	st.w.agrees(st.s)
	st.w.set(`CONTACT.MAX:"`+suse+`"`, "1s")
	st.w.set(`CONTACT.MAX:"`+many+`"`, "1s") // its refresh is held, and its server answers
	st.w.open("a source that is not heard of is one", append(open, "high contact "+suse)...)
	st.w.set(`CONTACT.MAX:"`+suse+`"`, "0")
	st.w.set(`CONTACT.MAX:"`+many+`"`, "0")
	st.w.open("which a macro switches off", open...)
	st.pictures()
	st.sources["dpkg"].Start()
}

func (st *stage) reason() {
	const noContent = "disaster no-lkg " + plain
	before := st.w.newest(noContent)
	st.w.acknowledge(ackIt, "we are at it", before)
	st.sources["plain"].Stop()
	st.holds(pollPatience, "another reason raises it again", func() string {
		if p := st.w.newest(noContent); p.Eventid == before.Eventid || p.Acknowledged != "0" {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}

func (st *stage) repair() {
	st.s.run("guard", "approve", "many")
	st.sources["suse"].Start()
	st.sources["plain"].NoSyncprov(false)
	st.sources["plain"].Start()
	st.sources["dpkg"].Apply("dn: " + lost + "\nchangetype: delete\n")
	st.w.open("what is over is closed", clashed, "warning overlap "+suse, "warning overlap "+inner)
	st.w.agrees(st.s)
	st.reads(`shaft.name.entries["`+many+`"]`, "1")
}

func (st *stage) removal() {
	removed := []string{clashed, "warning removed " + inner, "information removed inner"}
	st.s.run("subscription", "remove", "inner")
	st.w.open("a name and its source are removed; what was wrong with it is not known to be over", append(removed, "warning overlap "+inner)...)
	st.w.set("LOST.ALARMS", "0")
	st.w.open("that is forgotten first", removed...)
	st.w.set("LOST.ALARMS", "1h")
	st.tree("inner", "redhat", "distro=Fedora,"+ldaptest.RedHatSuffix, innerDN)
	st.w.open("one that returns is no problem, and has those that it had", clashed, "warning overlap "+suse, "warning overlap "+inner)
	st.s.run("subscription", "remove", "inner")
	st.w.open("it is removed again", append(removed, "warning overlap "+inner)...)
	st.forget()
	st.w.open("the rest stays", clashed)
}

func (st *stage) restarts() {
	st.w.acknowledge(ackIt, "known", st.w.newest(clashed))
	before := st.w.newest(clashed)
	st.s.daemon.kill()
	st.w.open("Shaft is away", clashed, "high away")
	st.s.start()
	st.w.open("Shaft is back", clashed)
	st.polls("shaft.clash", 2)
	st.same(before, "its restart raises nothing anew")

	st.a.daemon.stop()
	st.tree("rival", "redhat", "distro=RHEL,"+ldaptest.RedHatSuffix, wheezy)
	st.w.open("the SNMP agent is away, which is not to say that Shaft is", clashed, "high agent")
	st.a.start()
	st.w.open("what changed meanwhile is raised anew", clashed, clashed)
	st.holds(pollPatience, "what came meanwhile is found", func() string {
		ids, _ := st.there()
		return differ("items of sources", st.w.rows("shaft.source.state"), ids)
	})

	st.w.server.stop()
	st.s.run("subscription", "remove", "rival")
	st.sources["suse"].Stop()
	st.w.start()
	st.w.open("what changed while Zabbix was away is raised too", clashed, clashed, clashed, "average down "+suse, "information removed rival")
	st.sources["suse"].Start()
	st.w.open("and what is over ends", clashed, clashed, clashed, "information removed rival")
	st.forget()
}

// same checks that the newest problem of the clash is still that one.
func (st *stage) same(before problem, what string) {
	st.holds(pollPatience, what, func() string {
		if p := st.w.newest(clashed); p.Eventid != before.Eventid || p.Acknowledged != "1" {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}

// correlation closes the older of two problems of one kind about one name.
var correlation = object{
	"name": "Shaft: the newest cause counts",
	"filter": object{"evaltype": 1, "conditions": []object{
		{"type": 3, "oldtag": "shaft.alarm", "newtag": "shaft.alarm"},
		{"type": 3, "oldtag": "shaft.name", "newtag": "shaft.name"},
		{"type": 3, "oldtag": "shaft.host", "newtag": "shaft.host"},
	}},
	"operations": []object{{"type": 0}},
}

func (st *stage) end() {
	st.w.api.call("correlation.create", correlation, nil)
	st.polls("shaft.clash", 1) // by then the server has read it
	st.tree("rival", "redhat", "distro=RHEL,"+ldaptest.RedHatSuffix, wheezy)
	st.w.open("with the correlation the newest cause alone is open", clashed)
	if p := st.w.newest(clashed); !strings.Contains(p.Name, "2 claims wait") {
		st.Fatalf("the problem that is left is %+v", p)
	}
	st.w.set(`CLASH.CONTROL:"`+wheezy+`"`, "0")
	st.w.open("a macro switches the clash of one name off")
	st.w.set("KNOWN.MIN", "0")
	st.w.set(`AVAILABILITY.MIN:"`+suse+`"`, "101")
	st.w.open("a threshold of one name is heeded", "information availability "+suse)
	st.w.set(`AVAILABILITY.MIN:"`+suse+`"`, "0")
	st.s.run("subscription", "remove", "rival")
	st.s.run("subscription", "remove", "dpkg")
	st.holds(pollPatience, "Shaft raises nothing any more", func() string {
		if a := st.s.alarms(); len(a) > 0 {
			return fmt.Sprint(a)
		}
		return ""
	})
	st.forget()
	st.w.open("no problem is left")
}
