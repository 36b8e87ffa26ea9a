package test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// tool runs a client program and gives its output and exit code.
func tool(t *testing.T, stdin, name string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, _ = finish(t, cmd)
	return out, cmd.ProcessState.ExitCode()
}

// suse has count packages below one distribution.
func suse(count int) string {
	var b strings.Builder
	b.WriteString(ldaptest.SuSeLDIF)
	for i := range count {
		fmt.Fprintf(&b, "\ndn: pkgName=p%03d,distro=openSUSE,o=SuSe,c=DE\nobjectClass: LinuxPackage\npkgName: p%03d\npkgVersion: %d\n", i, i, i)
	}
	return b.String()
}

const pythonClient = `
import ldap, ldap.modlist, sys
from ldap.controls import SimplePagedResultsControl
url, base, account, password = sys.argv[1:]
below = "distro=openSUSE,cn=SuSe," + base
c = ldap.initialize(url)
c.set_option(ldap.OPT_NETWORK_TIMEOUT, 20)
c.timeout = 20
assert c.whoami_s() == ""
try:
    c.simple_bind_s(account, password + "x")
    assert False, "a wrong password is taken"
except ldap.INVALID_CREDENTIALS:
    pass
c.simple_bind_s(account, password)
assert c.whoami_s() == "dn:" + account, c.whoami_s()

for i in range(1000):
    name = "p%03d" % (i % 200)
    r = c.search_s("pkgName=%s,%s" % (name, below), ldap.SCOPE_BASE, attrlist=["pkgName", "entryUUID"])
    assert len(r) == 1 and r[0][1]["pkgName"] == [name.encode()] and len(r[0][1]["entryUUID"][0]) == 36, r

page, sizes = SimplePagedResultsControl(True, size=70, cookie=""), []
while True:
    m = c.search_ext(below, ldap.SCOPE_ONELEVEL, "(pkgName=p*)", ["1.1"], serverctrls=[page])
    _, r, _, controls = c.result3(m)
    sizes.append(len(r))
    page.cookie = [k for k in controls if k.controlType == page.controlType][0].cookie
    if not page.cookie:
        break
assert sizes == [70, 70, 60], sizes

one = "pkgName=p007," + below
assert c.compare_s(one, "pkgVersion", b"7") and not c.compare_s(one, "pkgVersion", b"8")
for write in (
    lambda: c.add_s("cn=new," + base, [("objectClass", [b"device"]), ("cn", [b"new"])]),
    lambda: c.modify_s(one, [(ldap.MOD_REPLACE, "pkgVersion", [b"8"])]),
    lambda: c.rename_s(one, "pkgName=other"),
    lambda: c.delete_s(one),
):
    try:
        write()
        assert False, "a write is taken"
    except ldap.UNWILLING_TO_PERFORM as e:
        assert "read-only" in e.args[0]["info"], e
assert c.compare_s(one, "pkgVersion", b"7")
c.unbind_s()
print("all well")
`

// R38, R43, R54: python-ldap does a thousand requests on one connection, binds
// as an account that `shaft passwd` made, reads in pages, compares, and is
// refused what it would write; over TCP and a unix socket.
func TestPythonLDAP(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(200)})
	const account, password = "cn=mirror," + base, "correct horse"
	hash, code := tool(t, password+"\n", binary, "passwd")
	if code != 0 {
		t.Fatalf("passwd: exit %d, %s", code, hash)
	}
	s := newShaft(t, fmt.Sprintf("base_dn: %s\naccounts: [ { dn: %q, password_hash: %q } ]", base, account, strings.TrimSpace(hash)))
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	for _, url := range []string{"ldap://" + s.address, s.ldapi()} {
		if out, code := tool(t, pythonClient, "/usr/bin/python3", "-", url, base, account, password); code != 0 || out != "all well\n" {
			t.Errorf("%s: exit %d\n%s", url, code, out)
		}
	}
}

// R38, R43: OpenLDAP's tools, over TCP and ldapi.
func TestOpenLDAPTools(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.DebianSuffix, LDIF: ldaptest.DebianLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "debian", "--url", up.URL()+"/cn=Wheezy,dc=debian,dc=org", "--name", "cn=Debian Wheezy")
	s.live("cn=Debian Wheezy")
	slapd := "pkgName=slapd,cn=Debian Wheezy," + base
	for _, url := range []string{"ldap://" + s.address, s.ldapi()} {
		for _, c := range []struct {
			name  string
			args  []string
			stdin string
			code  int
			words string
		}{
			{"ldapsearch", []string{"-LLL", "-o", "ldif-wrap=no", "-b", base, "(pkgName=SLAPD)", "pkgVersion"}, "", 0, "dn: " + slapd + "\npkgVersion: 2.4.31-2+deb7u3\n"},
			{"ldapsearch", []string{"-b", base, "-E", "pr=2/noprompt", "1.1"}, "", 0, "# numEntries: 5"},
			{"ldapsearch", []string{"-b", "cn=gone," + base}, "", 32, "matchedDN: " + base},
			{"ldapsearch", []string{"-b", base, "-e", "!1.2.3.4"}, "", 12, "Critical extension is unavailable"},
			{"ldapcompare", []string{slapd, "pkgName:SLAPD"}, "", 6, "TRUE"},
			{"ldapcompare", []string{slapd, "pkgName:bash"}, "", 5, "FALSE"},
			{"ldapcompare", []string{"cn=gone," + base, "cn:x"}, "", 32, "No such object"},
			{"ldapwhoami", nil, "", 0, "anonymous"},
			{"ldapmodify", nil, "dn: " + slapd + "\nchangetype: modify\nreplace: pkgVersion\npkgVersion: 1\n", 53, "read-only"},
			{"ldapadd", nil, "dn: cn=x," + base + "\nobjectClass: device\ncn: x\n", 53, "read-only"},
			{"ldapdelete", []string{slapd}, "", 53, "read-only"},
			{"ldapmodrdn", []string{slapd, "pkgName=x"}, "", 53, "read-only"},
		} {
			out, code := tool(t, c.stdin, c.name, append([]string{"-x", "-H", url}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.words) {
				t.Errorf("%s %q on %s: exit %d, want %d with %q\n%s", c.name, c.args, url, code, c.code, c.words, out)
			}
		}
	}
}
