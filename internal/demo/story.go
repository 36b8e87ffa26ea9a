package demo

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"shaft/internal/ldaptest"
	"shaft/pkg/ldif"
)

// baseDN is where the story's tree hangs.
const baseDN = "ou=Package Listers"

// source is one upstream of the story; ldif is what it holds now.
type source struct {
	id, suffix, ldif string
	server           *ldaptest.Server
}

// add adds entries to what it holds.
func (s *source) add(text string) error {
	s.ldif += "\n" + text
	return s.server.Add(text)
}

// remove takes an entry away with what lies below it.
func (s *source) remove(dn string) error {
	records, err := ldif.Parse([]byte(s.ldif), false)
	if err != nil {
		return err
	}
	var kept bytes.Buffer
	for i, r := range slices.Backward(records) { // children come behind their parents
		if r.DN == dn || strings.HasSuffix(r.DN, ","+dn) {
			if err := s.server.Delete(r.DN); err != nil {
				return err
			}
			records = slices.Delete(records, i, i+1)
		}
	}
	for _, r := range records {
		if err := ldif.Write(&kept, r, 0); err != nil {
			return err
		}
	}
	s.ldif = kept.String()
	return nil
}

func sources() map[string]*source {
	all := map[string]*source{}
	for _, s := range []*source{
		{id: "RedHat", suffix: ldaptest.RedHatSuffix, ldif: ldaptest.RedHatLDIF},
		{id: "SuSe", suffix: ldaptest.SuSeSuffix, ldif: ldaptest.SuSeLDIF},
		{id: "Debian", suffix: ldaptest.DebianSuffix, ldif: ldaptest.DebianLDIF},
		{id: "dpkg", suffix: ldaptest.DpkgSuffix, ldif: ldaptest.DpkgLDIF},
	} {
		all[s.id] = s
	}
	return all
}

// subtree is what a name is to show: an upstream's subtree, moved.
type subtree struct {
	name   string // relative to baseDN
	source string
	base   string // remote
	last   string // what the source held when that was last possible, as LDIF; "": what it holds now
}

// step is one step of the story: what it is about, what happens to the sources, the
// commands that are run, what is served then, and how to look at it.
type step struct {
	title, words string
	happens      func() error
	commands     [][]string // dpkg/* in one stands for the claim of that list on the name before it
	names        []subtree
	waiting      int        // claims that wait in queues then
	away         string     // the name whose head's source is down then
	look         [][]string // command lines, "shaft" or "ldapsearch" first
}

// The subtrees of the story, by what they are called here.
var (
	redHat  = subtree{name: "cn=RedHat RHEL", source: "RedHat", base: ldaptest.RedHatSuffix}
	suse    = subtree{name: "cn=SuSe", source: "SuSe", base: ldaptest.SuSeSuffix}
	wheezy  = subtree{name: "cn=Debian Wheezy", source: "Debian", base: "cn=Wheezy," + ldaptest.DebianSuffix, last: ldaptest.DebianLDIF}
	rhel    = subtree{name: "cn=RedHat RHEL", source: "RedHat", base: "distro=RHEL," + ldaptest.RedHatSuffix}
	fedora  = subtree{name: "cn=RedHat Fedora", source: "RedHat", base: "distro=Fedora," + ldaptest.RedHatSuffix}
	squeeze = subtree{name: "cn=Debian Squeeze", source: "dpkg", base: "cn=Squeeze,cn=Debian," + ldaptest.DpkgSuffix}
	kylin   = subtree{name: "cn=Ubuntu Kylin", source: "dpkg", base: "cn=Kylin,cn=Ubuntu," + ldaptest.DpkgSuffix}
	found   = subtree{name: wheezy.name, source: "dpkg", base: "cn=Wheezy,cn=Debian," + ldaptest.DpkgSuffix}
	jessie  = subtree{name: "cn=Debian Jessie", source: "dpkg", base: "cn=Jessie,cn=Debian," + ldaptest.DpkgSuffix}
	byHand  = subtree{name: jessie.name, source: "Debian", base: "cn=Jessie," + ldaptest.DebianSuffix}
)

// jessieLDIF is the release that dpkg.org lists after a while.
var jessieLDIF = "dn: " + jessie.base + `
objectClass: LinuxDistribution
cn: Jessie
distro: Debian Jessie

dn: pkgName=slapd,` + jessie.base + `
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: 2.4.40+dfsg-1
`

// story is told to its end in two parts: up to the first clash, and what is decided then.
func (s *stage) story() []step { return append(s.beginning(), s.decisions()...) }

// search is a command line that looks at what is served.
func (s *stage) search(args ...string) []string {
	return append([]string{"ldapsearch", "-x", "-LLL", "-H", s.url(), "-b"}, args...)
}

// fields are a source's settings, one by one.
func (s *stage) fields(id, base string) []string {
	host, port, _ := strings.Cut(s.sources[id].server.Addr(), ":")
	return []string{"--protocol", "ldap", "--host", host, "--port", port, "--base", base}
}

func (s *stage) add(id string, args ...string) []string {
	return append([]string{"shaft", "subscription", "add", id}, args...)
}

func (s *stage) beginning() []step {
	url := func(id, rest string) string { return s.sources[id].server.URL() + "/" + s.sources[id].suffix + rest }
	list := s.add("redhat", "--list", "--url", url("RedHat", "??sub?(distro=*)"), "--name", "cn=RedHat %(attr.distro)s")
	dpkg := s.add("dpkg", append([]string{"--list"}, append(s.fields("dpkg", ldaptest.DpkgSuffix), "--attributes", "cn",
		"--filter", "((objectClass=LinuxDistribution)(cn=*))", "--name", "cn=%(rdn1.cn)s %(attr.cn)s")...)...)
	return []step{
		{
			title: "Start empty",
			words: "Shaft has a base DN, and serves the entry there and nothing below it.",
			look:  [][]string{s.search(baseDN, "-s", "base")},
		}, {
			title: "Three sources",
			words: "RedHat and SuSe are entered as LDAP URLs, Debian Wheezy as separate settings. Each subtree gets a local name.",
			commands: [][]string{
				s.add("redhat", "--url", url("RedHat", ""), "--name", redHat.name),
				s.add("suse", "--url", url("SuSe", ""), "--name", suse.name),
				s.add("debian-wheezy", append(s.fields("Debian", wheezy.base), "--name", wheezy.name)...),
			},
			names: []subtree{redHat, suse, wheezy},
			look:  [][]string{s.search(baseDN, "-s", "one", "dn"), {"shaft", "name", "list"}},
		}, {
			title:    "Make room",
			words:    "RedHat's subtree turns out to hold RHEL and Fedora, which are to be names of their own: it goes.",
			commands: [][]string{{"shaft", "name", "remove", redHat.name}},
			names:    []subtree{suse, wheezy},
			look:     [][]string{{"shaft", "task", "list"}},
		}, {
			title:    "A list",
			words:    "Each entry of RedHat's that has a distro becomes a name, made of its value. First to see what would come of it, then in earnest.",
			commands: [][]string{append(list[:len(list):len(list)], "--dry-run"), list},
			names:    []subtree{suse, wheezy, rhel, fedora},
			look:     [][]string{s.search(fedora.name + "," + baseDN), {"shaft", "subscription", "show", "redhat"}},
		}, {
			title: "A second list",
			words: "dpkg.org lists what uses dpkg: each release becomes a name made of its own RDN and its parent's. The filter lacks its &,\n" +
				"and Shaft says how it reads it.",
			commands: [][]string{dpkg},
			names:    []subtree{suse, wheezy, rhel, fedora, squeeze, kylin},
			waiting:  1,
			look:     [][]string{s.search(squeeze.name + "," + baseDN), {"shaft", "subscription", "show", "dpkg"}},
		}, {
			title: "The first clash",
			words: "One of the names was there already: Debian Wheezy, entered by hand. It stays as it is. What the list found waits in the\n" +
				"name's queue, of which nothing shows over LDAP, and an alarm tells of it.",
			commands: [][]string{{"shaft", "queue", "show", wheezy.name}},
			names:    []subtree{suse, wheezy, rhel, fedora, squeeze, kylin},
			waiting:  1,
			look:     [][]string{s.search(wheezy.name+","+baseDN, "(pkgName=slapd)", "*", "+"), {"shaft", "name", "show", wheezy.name}},
		},
	}
}

func (s *stage) decisions() []step {
	debian, dpkg := s.sources["Debian"], s.sources["dpkg"]
	others := []subtree{suse, rhel, fedora, squeeze, kylin}
	names := func(more ...subtree) []subtree { return append(slices.Clone(others), more...) }
	return []step{
		{
			title: "A server goes down",
			words: "Debian's server goes away. What it listed last is served on, however long, and who waits for the name does not take over.\n" +
				"After five seconds it is an alarm.",
			happens: func() error { debian.server.Down(); return nil },
			names:   names(wheezy), waiting: 1, away: wheezy.local(),
			look: [][]string{s.search(wheezy.local(), "pkgVersion"), {"shaft", "alarm", "list"}},
		}, {
			title: "The operator decides",
			words: "It stays away, and the operator would rather have what the list found. First a look at what would change, then the switch:\n" +
				"all of the new content is fetched before anything is shown.",
			commands: [][]string{{"shaft", "queue", "diff", wheezy.name, "dpkg/*"}, {"shaft", "queue", "switch", wheezy.name, "dpkg/*"}},
			names:    names(found), waiting: 1,
			look: [][]string{{"shaft", "queue", "show", wheezy.name}, s.search(wheezy.local(), "pkgVersion")},
		}, {
			title:   "A new release",
			words:   "dpkg.org lists Jessie, and so it is served a moment later.",
			happens: func() error { return dpkg.add(jessieLDIF) },
			names:   names(found, jessie), waiting: 1,
			look: [][]string{s.search(jessie.local())},
		}, {
			title: "A clash by hand",
			words: "Debian's server is back. It has dropped Wheezy, and lists Jessie, which the operator would rather have from there.\n" +
				"The name is taken: that is told at once, with the commands for it.",
			happens: func() error { return errors.Join(debian.server.Up(), debian.remove(wheezy.base)) },
			commands: [][]string{
				s.add("debian-jessie", append(s.fields("Debian", byHand.base), "--name", byHand.name)...),
				{"shaft", "queue", "switch", byHand.name, "debian-jessie"},
			},
			names: names(found, byHand), waiting: 2,
			look: [][]string{{"shaft", "queue", "show", byHand.name}, s.search(byHand.local(), "pkgVersion")},
		}, {
			title: "The winner is removed",
			words: "dpkg.org drops Wheezy too. Who waited is put in its place, Debian's: its server has Wheezy no more, so it is shown as it\n" +
				"was known last, until the operator takes it away.",
			happens: func() error { return dpkg.remove(found.base) },
			names:   names(wheezy, byHand), waiting: 1, away: wheezy.local(),
			look: [][]string{{"shaft", "name", "show", wheezy.name}, {"shaft", "name", "history", wheezy.name}},
		},
	}
}
