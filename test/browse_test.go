package test

import (
	"os/exec"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// browsable starts a Shaft with users that programs look at, below cn=Accounts.
func browsable(t *testing.T) *shaft {
	t.Helper()
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "o=src", LDIF: users + user("anna", 70001) +
		strings.Replace(user("bela", 70002), "cn: The bela", "cn: Béla", 1)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", up.URL()+"/o=src", "--name", "cn=Accounts", "--wait")
	t.Setenv("HOME", t.TempDir()) // where they would find settings, and leave some
	t.Setenv("TERM", "dumb")
	return s
}

// lines gives what a program printed, without shelldap's prompts.
func lines(out string) string {
	var kept []string
	for _, l := range strings.Split(out, "\n") {
		if l = strings.TrimRight(l, " "); !strings.Contains(l, "~ > ") && l != "" {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n") + "\n"
}

const annaLDIF = `dn: uid=anna,ou=people,cn=Accounts,ou=Package Listers
objectClass: account
objectClass: posixAccount
uid: anna
cn: The anna
uidNumber: 70001
gidNumber: 70100
homeDirectory: /home/anna
loginShell: /bin/sh
`

// inOrder tells whether a text has all of these, one after the other.
func inOrder(text string, want ...string) bool {
	for _, w := range want {
		_, after, found := strings.Cut(text, w)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// R38, R39, R43: ldapvi prints, by its own discovery of the base, sorted by the server, with
// operational attributes, and with what the schema would allow besides; what it would change is
// refused.
func TestLdapviBrowses(t *testing.T) {
	if _, err := exec.LookPath("ldapvi"); err != nil {
		t.Fatal("ldapvi is missing: apt-get install ldapvi")
	}
	s := browsable(t)
	const anna, bela = "uid=anna,ou=people,cn=Accounts," + base, "uid=bela,ou=people,cn=Accounts," + base
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string // in this order
	}{
		{"all of an entry", []string{"--out", "-b", base, "(uid=anna)"}, 0, []string{annaLDIF}},
		{"the base found by itself", []string{"--out", "--discover", "(uidNumber=70002)", "cn"}, 0, []string{"dn: " + bela + "\ncn:: QsOpbGE=\n"}},
		{"sorted", []string{"--out", "-b", base, "--sort", "-uid", "(uid=*)", "uid"}, 0, []string{"dn: " + bela, "dn: " + anna}},
		{"one level", []string{"--out", "-b", "cn=Accounts," + base, "-s", "one", "(ou=*)", "ou"}, 0, []string{"dn: ou=people,cn=Accounts," + base + "\nou: people\n"}},
		{"operational attributes", []string{"--out", "--managedsait", "--read", anna}, 0, []string{"structuralObjectClass: account\n", "entryUUID: ", "hasSubordinates: FALSE\n"}},
		{"what the schema allows", []string{"--may", "-b", base, "(uid=anna)"}, 0, []string{"# structural object class: account\n", annaLDIF[strings.Index(annaLDIF, "objectClass"):], "#seeAlso:", "#gecos:"}},
		{"no such entry", []string{"--out", "-b", "cn=gone," + base}, 1, []string{"No such object"}},
		{"a delete", []string{"--delete", "--noninteractive", anna}, 1, []string{"unwilling to perform (53)", "this server is read-only: change the entry at its source"}},
	} {
		out, code := tool(t, "", "ldapvi", append([]string{"-h", "ldap://" + s.address}, c.args...)...)
		if code != c.code || !inOrder(lines(out), c.want...) {
			t.Errorf("%s: exit %d, want %d and %q\n%s", c.name, code, c.code, c.want, out)
		}
	}
}

// R38, R39, R43: shelldap finds the base, walks the tree, knows what has entries below it, prints
// entries, lists and searches in pages, and tells what classes are; what it would change is refused.
func TestShelldapBrowses(t *testing.T) {
	if _, err := exec.LookPath("shelldap"); err != nil {
		t.Fatal("shelldap is missing: apt-get install shelldap")
	}
	s := browsable(t)
	const readOnly = "this server is read-only: change the entry at its source\n"
	var script strings.Builder
	var prints []string
	for _, c := range []struct{ command, prints string }{
		{"pwd", base + "\n"},
		{"ls", "d cn=Accounts/\n"},
		{"cd cn=Accounts", ""},
		{"ls", "- cn=board\n- cn=staff\nd ou=people/\n"},
		{"cat cn=staff cn gidNumber", "dn: cn=staff,cn=Accounts," + base + "\ncn: staff\ngidNumber: 70100\n"},
		{"grep -r (uid=b*)", "uid=bela,ou=people,cn=Accounts," + base + "\n"},
		{"grep (cn=sta*)", "cn=staff,cn=Accounts," + base + "\n"},
		{"whoami", "anonymous bind (ldap://" + s.address + ")\n"},
		{"inspect posixGroup", "ObjectClasses:\n    posixGroup (structural) --> top\nAttributes:\n    cn (required, multivalue)\n"},
		{"mkdir ou=new", readOnly},
		{"mv cn=staff cn=crew", readOnly},
		{"exit", ""},
	} {
		script.WriteString(c.command + "\n")
		prints = append(prints, c.prints)
	}
	out, code := tool(t, script.String(), "shelldap", "--paginate", "2", "--server", "ldap://"+s.address)
	if code != 0 || !inOrder(lines(out), prints...) {
		t.Errorf("shelldap: exit %d, wants %q\n%s", code, prints, out)
	}
}
