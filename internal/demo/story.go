package demo

import (
	"strings"

	"shaft/internal/ldaptest"
)

// baseDN is where the story's tree hangs.
const baseDN = "ou=Package Listers"

// source is one upstream of the story.
type source struct {
	id, suffix, ldif string
	server           *ldaptest.Server
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
}

// step is one step of the story: what it is about, the commands that are run,
// what is served then, and how to look at it.
type step struct {
	title, words string
	commands     [][]string
	names        []subtree
	waiting      int        // claims that wait in queues then
	look         [][]string // command lines, "shaft" or "ldapsearch" first
}

// The subtrees of the story, by what they are called here.
var (
	redHat  = subtree{"cn=RedHat RHEL", "RedHat", ldaptest.RedHatSuffix}
	suse    = subtree{"cn=SuSe", "SuSe", ldaptest.SuSeSuffix}
	wheezy  = subtree{"cn=Debian Wheezy", "Debian", "cn=Wheezy," + ldaptest.DebianSuffix}
	rhel    = subtree{"cn=RedHat RHEL", "RedHat", "distro=RHEL," + ldaptest.RedHatSuffix}
	fedora  = subtree{"cn=RedHat Fedora", "RedHat", "distro=Fedora," + ldaptest.RedHatSuffix}
	squeeze = subtree{"cn=Debian Squeeze", "dpkg", "cn=Squeeze,cn=Debian," + ldaptest.DpkgSuffix}
	kylin   = subtree{"cn=Ubuntu Kylin", "dpkg", "cn=Kylin,cn=Ubuntu," + ldaptest.DpkgSuffix}
)

// story is told up to its first clash.
func (s *stage) story() []step {
	url := func(id, rest string) string { return s.sources[id].server.URL() + "/" + s.sources[id].suffix + rest }
	fields := func(id, base string) []string {
		host, port, _ := strings.Cut(s.sources[id].server.Addr(), ":")
		return []string{"--protocol", "ldap", "--host", host, "--port", port, "--base", base}
	}
	add := func(id string, args ...string) []string {
		return append([]string{"shaft", "subscription", "add", id}, args...)
	}
	search := func(args ...string) []string {
		return append([]string{"ldapsearch", "-x", "-LLL", "-H", s.url(), "-b"}, args...)
	}
	list := add("redhat", "--list", "--url", url("RedHat", "??sub?(distro=*)"), "--name", "cn=RedHat %(attr.distro)s")
	dpkg := add("dpkg", append([]string{"--list"}, append(fields("dpkg", ldaptest.DpkgSuffix), "--attributes", "cn",
		"--filter", "((objectClass=LinuxDistribution)(cn=*))", "--name", "cn=%(rdn1.cn)s %(attr.cn)s")...)...)
	return []step{
		{
			title: "Start empty",
			words: "Shaft has a base DN, and serves the entry there and nothing below it.",
			look:  [][]string{search(baseDN, "-s", "base")},
		}, {
			title: "Three sources",
			words: "RedHat and SuSe are entered as LDAP URLs, Debian Wheezy as separate settings. Each subtree gets a local name.",
			commands: [][]string{
				add("redhat", "--url", url("RedHat", ""), "--name", redHat.name),
				add("suse", "--url", url("SuSe", ""), "--name", suse.name),
				add("debian-wheezy", append(fields("Debian", wheezy.base), "--name", wheezy.name)...),
			},
			names: []subtree{redHat, suse, wheezy},
			look:  [][]string{search(baseDN, "-s", "one", "dn"), {"shaft", "name", "list"}},
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
			look:     [][]string{search(fedora.name + "," + baseDN), {"shaft", "subscription", "show", "redhat"}},
		}, {
			title: "A second list",
			words: "dpkg.org lists what uses dpkg: each release becomes a name made of its own RDN and its parent's. The filter lacks its &,\n" +
				"and Shaft says how it reads it.",
			commands: [][]string{dpkg},
			names:    []subtree{suse, wheezy, rhel, fedora, squeeze, kylin},
			waiting:  1,
			look:     [][]string{search(squeeze.name + "," + baseDN), {"shaft", "subscription", "show", "dpkg"}},
		}, {
			title: "The first clash",
			words: "One of the names was there already: Debian Wheezy, entered by hand. It stays as it is. What the list found waits in the\n" +
				"name's queue, of which nothing shows over LDAP, and an alarm tells of it.",
			commands: [][]string{{"shaft", "queue", "show", wheezy.name}},
			names:    []subtree{suse, wheezy, rhel, fedora, squeeze, kylin},
			waiting:  1,
			look:     [][]string{search(wheezy.name+","+baseDN, "(pkgName=slapd)", "*", "+"), {"shaft", "name", "show", wheezy.name}},
		},
	}
}
