package ldapd

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a client program and gives its output and exit code.
func tool(t *testing.T, pkg, name string, args ...string) (string, int) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); ok {
		return string(out), exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

// R38, R10: OpenLDAP's tools are served as by slapd, over TCP and a unix socket.
func TestOpenLDAPTools(t *testing.T) {
	s, addr := serve(t, withMirror(Options{Backend: newBackend(listers(t, 300))}))
	path := filepath.Join(t.TempDir(), "ldapi")
	l, err := Listen(ldapi(path))
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) // ends with the server
	mirror := "cn=mirror," + base
	for _, url := range []string{"ldap://" + addr, ldapi(path)} {
		for _, tt := range []struct {
			line string // fields split at |
			code int
			want string
		}{
			{"ldapsearch|-x|-LLL|-b|" + base + "|-s|base", 0, "dn: ou=Package Listers"},
			{"ldapsearch|-x|-LLL|-b||-s|base|+", 0, "namingContexts: ou=Package Listers"},
			{"ldapsearch|-x|-LLL|-b|" + base + "|(uid=u7)|mail", 0, "mail: u7@example.org"},
			{"ldapsearch|-x|-b|" + base + "|(uid=*)|1.1", 0, "# numEntries: 300"},
			{"ldapsearch|-x|-b|" + base + "|-E|pr=7/noprompt|(uid=*)|1.1", 0, "# numResponses: 3"},
			{"ldapsearch|-x|-b|" + base + "|-z|5", 4, "# numEntries: 5"},
			{"ldapsearch|-x|-b|cn=x," + base, 32, "matchedDN: ou=Package Listers"},
			{"ldapsearch|-x|-b|nonsense", 34, "Invalid DN syntax"},
			{"ldapsearch|-x|-b|" + base + "|-s|children|(cn=debian)|dn", 0, "cn=Debian"},
			{"ldapsearch|-x|-b|cn=Subschema|-s|base|-LLL|objectClasses", 0, "inetOrgPerson"},
			{"ldapsearch|-x|-b|" + base + "|-e|!1.2.3", 12, "Critical extension is unavailable"},
			{"ldapsearch|-x|-b|" + base + "|-M|-s|base", 0, "numEntries: 1"},
			{"ldapsearch|-x|-D|" + mirror + "|-w|secret|-b|" + base + "|-s|base", 0, "numEntries: 1"},
			{"ldapsearch|-x|-D|" + mirror + "|-w|wrong|-b|" + base, 49, "Invalid credentials"},
			{"ldapcompare|-x|cn=Debian," + base + "|cn:debian", 6, "TRUE"},
			{"ldapcompare|-x|cn=Debian," + base + "|cn:suse", 5, "FALSE"},
			{"ldapwhoami|-x", 0, "anonymous"},
			{"ldapwhoami|-x|-D|" + mirror + "|-w|secret", 0, "dn:" + mirror},
			{"ldapwhoami|-x|-ZZ", 2, "ldap_start_tls: Protocol error (2)"},
			{"ldapdelete|-x|cn=Debian," + base, 53, "read-only"},
			{"ldapmodrdn|-x|cn=Debian," + base + "|cn=x", 53, "read-only"},
		} {
			f := strings.Split(tt.line, "|")
			f[1] = "-x"
			args := append([]string{"-H", url}, f[1:]...)
			out, code := tool(t, "ldap-utils", f[0], args...)
			if tt.line == "ldapwhoami|-x|-ZZ" && code == 1 {
				code = 2 // what the exit code is differs between versions
			}
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("%s on %s: exit %d, want %d and %q:\n%.600s", tt.line, url, code, tt.code, tt.want, out)
			}
		}
	}
}

// R10, R38: OpenLDAP's and OpenSSL's tools come over TLS, and an injected request
// or a server without TLS does not make ldapsearch -ZZ go on in the clear.
func TestToolsOverTLS(t *testing.T) {
	ca := newAuthority(t)
	s, addr := serve(t, Options{TLS: ca.server()})
	_, bare := serve(t, Options{})
	secure := also(t, s, "ldaps://127.0.0.1:0")
	t.Setenv("LDAPTLS_CACERT", ca.file)
	for _, tt := range []struct {
		line string // fields split at |
		good bool
		want string
	}{
		{"ldapsearch|-x|-ZZ|-H|ldap://" + addr + "|-b|" + base + "|-s|base|-LLL", true, "dn: ou=Package Listers"},
		{"ldapsearch|-x|-H|ldaps://" + secure + "|-b|" + base + "|-s|base|-LLL", true, "dn: ou=Package Listers"},
		{"ldapsearch|-x|-ZZ|-H|ldaps://" + secure + "|-b|" + base, false, ""},
		{"ldapsearch|-x|-ZZ|-H|ldap://" + bare + "|-b|" + base, false, "Protocol error"},
		{"openssl|s_client|-starttls|ldap|-connect|" + addr + "|-CAfile|" + ca.file + "|-tls1_3", true, "Verification: OK"},
		{"openssl|s_client|-connect|" + secure + "|-CAfile|" + ca.file + "|-tls1_2", true, "Verification: OK"},
		{"openssl|s_client|-connect|" + secure + "|-CAfile|" + ca.file + "|-tls1_1|-cipher|ALL:@SECLEVEL=0", false, ""},
	} {
		f := strings.Split(tt.line, "|")
		out, code := tool(t, "ldap-utils openssl", f[0], f[1:]...)
		if (code == 0) != tt.good || !strings.Contains(out, tt.want) || !tt.good && strings.Contains(out, "dn: ") {
			t.Errorf("%s: exit %d, want %q:\n%.600s", tt.line, code, tt.want, out)
		}
	}
}

const pythonScript = `
import ldap, sys
from ldap.controls import SimplePagedResultsControl
c = ldap.initialize(sys.argv[1])
c.simple_bind_s("", "")
base = "ou=Package Listers"
for i in range(1000):
    r = c.search_s("cn=User %%d,cn=Debian,%%s" %% (i %% 300, base), ldap.SCOPE_BASE)
    assert len(r) == 1 and r[0][1]["uid"] == [b"u%%d" %% (i %% 300)], r
pending = [c.search("cn=Debian," + base, ldap.SCOPE_ONELEVEL, "(uid=u%%d)" %% i) for i in range(300)]
for i, m in enumerate(pending):
    kind, r = c.result(m, timeout=20)
    assert len(r) == 1 and r[0][1]["uid"] == [b"u%%d" %% i], r
page, seen = SimplePagedResultsControl(True, size=7, cookie=""), 0
while True:
    m = c.search_ext(base, ldap.SCOPE_SUBTREE, serverctrls=[page])
    _, r, _, ctl = c.result3(m, timeout=20)
    seen += len(r)
    page.cookie = ctl[0].cookie
    if not page.cookie:
        break
assert seen == 302, seen
assert c.compare_s("cn=Debian," + base, "cn", b"debian")
assert c.whoami_s() == ""
m = c.search(base, ldap.SCOPE_SUBTREE)
c.abandon(m)
for wanted, f in [(ldap.NO_SUCH_OBJECT, lambda: c.search_s("dc=x", ldap.SCOPE_BASE)), (ldap.UNWILLING_TO_PERFORM, lambda: c.delete_s(base))]:
    try:
        f()
        assert False, wanted
    except wanted:
        pass
print("%[1]s")
`

// R38: python-ldap does 1,000 requests on one connection, and everything else it has.
func TestPythonLDAP(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 300))})
	if out, code := tool(t, "python3", "/usr/bin/python3", "-c", "import ldap"); code != 0 {
		t.Fatalf("python-ldap is missing: apt-get install python3-ldap\n%s", out)
	}
	out, code := tool(t, "python3", "/usr/bin/python3", "-c", fmt.Sprintf(pythonScript, "all well"), "ldap://"+addr)
	if code != 0 || !strings.Contains(out, "all well") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
