package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/engine"
	"shaft/pkg/ldif"
)

// playOnce runs the whole story in this process.
func playOnce(t *testing.T) (tree, said string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	if err := Run(t.Context(), Options{Program: "shaft", Once: true, Out: &out, Err: &errs}); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	return out.String(), errs.String()
}

// R5, R6, R18, R19, R22, R24, R26, R28, R29, R30, R33, R35: the story's sources come out under the base DN,
// and what is printed is LDIF of nothing else; each step says what was done.
func TestOnce(t *testing.T) {
	tree, said := playOnce(t)
	records, err := ldif.Parse([]byte(tree), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 20 || records[0].DN != baseDN {
		t.Errorf("%d entries:\n%s", len(records), tree)
	}
	at := 0
	for _, want := range []string{ // in this order
		"== 1. Start empty", "ldapsearch -x -LLL -H ldap://127.0.0.1:",
		"== 2. Three sources", "$ shaft subscription add redhat --url ldap://127.0.0.1:",
		"--base cn=Wheezy,dc=debian,dc=org --name 'cn=Debian Wheezy'",
		"debian-wheezy added: it publishes cn=Debian Wheezy,ou=Package Listers\n",
		"== 3. Make room", "$ shaft name remove 'cn=RedHat RHEL'", "redhat removed",
		"== 4. A list", "--dry-run", "cn=RedHat Fedora,ou=Package Listers", "Served now: ", "cn=RedHat RHEL,ou=Package Listers",
		"== 5. A second list\n", "--filter '((objectClass=LinuxDistribution)(cn=*))'", "taken as (&(objectClass=LinuxDistribution)(cn=*))",
		"== 6. The first clash", "$ shaft queue show 'cn=Debian Wheezy'", "debian-wheezy", "dpkg/", "cn=Debian Wheezy,ou=Package Listers  (clash)",
		"== 7. A server goes down", "cn=Debian Wheezy,ou=Package Listers  (", "shaft alarm list",
		"== 8. The operator decides", "$ shaft queue diff 'cn=Debian Wheezy' dpkg/", "0 entries added, 1 changed, 2 removed, 1 alike",
		"$ shaft queue switch 'cn=Debian Wheezy' dpkg/", "shown in the place of debian-wheezy",
		"== 9. A new release", "cn=Debian Jessie,ou=Package Listers\n",
		"== 10. A clash by hand", "--base cn=Jessie,dc=debian,dc=org", "is already claimed by dpkg/", "$ shaft queue switch 'cn=Debian Jessie' debian-jessie",
		"shown in the place of dpkg/", "cn=Debian Jessie,ou=Package Listers  (clash)",
		"== 11. The winner is removed", "cn=Debian Wheezy,ou=Package Listers", "shaft name history 'cn=Debian Wheezy'",
		"the merged tree of 20 entries is what the upstreams hold\n",
	} {
		i := strings.Index(said[at:], want)
		if i < 0 {
			t.Fatalf("%q is not in what follows\n%s\nin\n%s", want, said[:at], said[at:])
		}
		at += i
	}
}

// A tree that is not as it should be is told apart, with the reason.
func TestCheckFindsFaults(t *testing.T) {
	text, _ := playOnce(t)
	names := []subtree{suse, wheezy, rhel, fedora, squeeze, kylin, byHand}
	tests := []struct{ name, old, new, words string }{
		{"as it is", "", "", ""},
		{"missing", "dn: cn=SuSe,ou=Package Listers", "dn: cn=SuSE,ou=Package Listers", `no entry "cn=SuSe,ou=Package Listers"`},
		{"too many", "dn: cn=SuSe,ou=Package Listers", "dn: cn=More,ou=Package Listers\ncn: More\n\ndn: cn=SuSe,ou=Package Listers",
			`an entry "cn=More,ou=Package Listers" too many`},
		{"a value", "pkgVersion: 5.4.3~dfsg-2.8", "pkgVersion: 5.4", `"pkgName=snmpd,cn=Debian Wheezy,ou=Package Listers" lacks pkgVersion: 5.4.3~dfsg-2.8`},
		{"another's value", "pkgVersion: 2.4.31-2+deb7u3", "pkgVersion: 2.4.31-2", `cn=Debian Wheezy,ou=Package Listers" lacks pkgVersion: 2.4.31-2+deb7u3`},
		{"a DN value not moved", "seeAlso: pkgName=slapd,cn=Debian Squeeze,ou=Package Listers",
			"seeAlso: pkgName=slapd,cn=Squeeze,cn=Debian,dc=all,dc=dpkg,dc=org", "lacks seeAlso: pkgName=slapd,cn=Debian Squeeze,ou=Package Listers"},
	}
	for _, test := range tests {
		changed := strings.Replace(text, test.old, test.new, 1)
		records, err := ldif.Parse([]byte(changed), false)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got := ""
		if err := check(records, sources(), names); err != nil {
			got = err.Error()
		}
		if (got == "") != (test.words == "") || !strings.Contains(got, test.words) {
			t.Errorf("%s: %q, want %q", test.name, got, test.words)
		}
	}
}

// A queue that is not the story's is told apart too.
func TestCheckQueue(t *testing.T) {
	entered, found := engine.Link{Claim: "debian-jessie", Subscription: "debian-jessie"}, engine.Link{Claim: "dpkg/4", Subscription: "dpkg"}
	right := engine.Name{DN: byHand.local(), Head: entered, Queue: []engine.Link{found}, Alarms: []string{"clash"}}
	other := engine.Name{DN: suse.local(), Head: engine.Link{Subscription: "suse"}}
	for _, c := range []struct {
		name  string
		spoil func(contested, other *engine.Name)
		words string
	}{
		{"as it is", func(_, _ *engine.Name) {}, ""},
		{"no alarm", func(n, _ *engine.Name) { n.Alarms = nil }, "with a queue of 1 and the alarms []"},
		{"nobody waits", func(n, _ *engine.Name) { n.Queue = nil }, "with a queue of 0"},
		{"the other way round", func(n, _ *engine.Name) { n.Head, n.Queue[0] = n.Queue[0], n.Head }, "cn=Debian Jessie,ou=Package Listers is dpkg's"},
		{"another clash", func(_, n *engine.Name) { n.Alarms = []string{"clash"} }, `cn=SuSe,ou=Package Listers has a queue of 0 and the alarms ["clash"]`},
		{"another queue", func(_, n *engine.Name) { n.Queue = []engine.Link{found} }, "cn=SuSe,ou=Package Listers has a queue of 1"},
	} {
		a, b := right, other
		a.Queue = slices.Clone(right.Queue)
		c.spoil(&a, &b)
		got := ""
		if err := checkQueue([]engine.Name{a, b}); err != nil {
			got = err.Error()
		}
		if (got == "") != (c.words == "") || !strings.Contains(got, c.words) {
			t.Errorf("%s: %q, want %q", c.name, got, c.words)
		}
	}
}

func TestMove(t *testing.T) {
	n := subtree{base: "o=A,c=DE", name: "cn=B"}
	for dn, want := range map[string]string{
		"o=A,c=DE":      "cn=B,ou=Package Listers",
		"cn=x,o=A,c=DE": "cn=x,cn=B,ou=Package Listers",
		"co=A,c=DE":     "co=A,c=DE",
		"c=DE":          "c=DE",
		"some text":     "some text",
	} {
		if got := n.move(dn); got != want {
			t.Errorf("%q goes to %q, want %q", dn, got, want)
		}
	}
}

func TestCommandIsQuoted(t *testing.T) {
	s := &stage{o: Options{Program: "bin/shaft"}, socket: "/tmp/it's here/sock"}
	for want, args := range map[string][]string{
		`bin/shaft name show 'cn=RedHat RHEL' --socket '/tmp/it'\''s here/sock'`: {"shaft", "name", "show", "cn=RedHat RHEL"},
		`ldapsearch -b '' '(a=*)' dn`:                                            {"ldapsearch", "-b", "", "(a=*)", "dn"},
	} {
		if got := s.line(args); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A demo that is told to end before it is ready says so, and leaves nothing.
func TestInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(ctx, Options{Program: "shaft", Out: io.Discard, Err: io.Discard})
	if err == nil {
		t.Error("no error")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// Without a directory for its files the demo does not begin.
func TestNoDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	if err := Run(t.Context(), Options{Program: "shaft", Out: io.Discard, Err: io.Discard}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
