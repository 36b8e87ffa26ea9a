package ldapd

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"shaft/pkg/access"
)

var (
	usedExtension = regexp.MustCompile(`(?:^|\|)-[eE]\|!?([A-Za-z]+)`)
	// itsExtension finds one in what ldapsearch says of its options -e and -E.
	itsExtension = regexp.MustCompile(`(?m)^ {13}(?:\[!\]|!)?([A-Za-z]+)(?: *\(|=|\[|$)`)
)

// toolPeople is a filter that finds five of what serveToTools serves.
const toolPeople = "(sn=n*)"

// serveToTools gives the URL of a server with five people, a subentry, a referral and an alias, and an account that may speak for others.
func serveToTools(t *testing.T) string {
	t.Helper()
	entries := []string{"ou=a,dc=x|objectClass=organizationalUnit|ou=a",
		"cn=s,ou=a,dc=x|objectClass=subentry|cn=s|subtreeSpecification={}",
		"ou=r,ou=a,dc=x|objectClass=referral|objectClass=extensibleObject|ou=r|ref=ldap://127.0.0.1:1/ou=r",
		"cn=p,ou=a,dc=x|objectClass=alias|objectClass=extensibleObject|cn=p|aliasedObjectName=cn=u2,ou=a,dc=x"}
	for i := range 5 {
		entries = append(entries, fmt.Sprintf("cn=u%d,ou=a,dc=x|objectClass=person|cn=u%[1]d|sn=n%d|description=one|description=two", i, 9-i))
	}
	_, addr := serve(t, Options{Backend: newBackend(planted(t, entries...)),
		Accounts: []Account{{DN: "cn=proxy", PasswordHash: cheap("p"), Proxy: true}},
		Access:   []access.Rule{{Who: "dn:cn=nobody", Allow: access.None}, {Who: "anonymous", Allow: access.Sync}, {Who: "users", Allow: access.Sync}}})
	return "ldap://" + addr
}

// searchTrial is what ldapsearch is told, and what comes of it.
type searchTrial struct {
	line string // fields split at |, of ldapsearch -x -LLL
	code int
	want string // RDNs, perhaps with a description; "": the five people
}

var searchTrials = []searchTrial{
	{"-E|pr=2/noprompt|" + toolPeople, 0, ""},
	{"-E|!pr=2/noprompt|" + toolPeople, 0, ""},
	{"-E|!sss=sn|" + toolPeople, 0, "cn=u4 cn=u3 cn=u2 cn=u1 cn=u0"},
	{"-E|sss=-sn|" + toolPeople, 0, "cn=u0 cn=u1 cn=u2 cn=u3 cn=u4"},
	{"-E|!sss=sn:caseIgnoreOrderingMatch|-E|pr=2/noprompt|" + toolPeople, 0, "cn=u4 cn=u3 cn=u2 cn=u1 cn=u0"},
	{"-E|!sss=nonsense|" + toolPeople, 12, "none"},
	{"-E|!subentries=true", 0, "cn=s"},
	{"-E|!subentries=false|" + toolPeople, 0, ""},
	{"-E|!mv=(description=t*)|(cn=u1)|description", 0, "cn=u1 description: two"},
	{"-E|!dontUseCopy|" + toolPeople, 53, "none"},
	{"-E|!dontUseCopy|-s|base", 0, "ou=a"},
	{"-E|!domainScope|" + toolPeople, 12, "none"},
	{"-E|domainScope|" + toolPeople, 0, ""},
	{"-E|!deref=member:cn|" + toolPeople, 12, "none"},
	{"-E|deref=member:cn|" + toolPeople, 0, ""},
	{"-E|sss=sn|-E|!vlv=0/2/1/0|" + toolPeople, 12, "none"},
	{"-E|!ps=15/1/1|" + toolPeople, 12, "none"},
	{"-E|ps=15/1/1|" + toolPeople, 0, ""},
	{"-E|!accountUsability|" + toolPeople, 12, "none"},
	{"-E|accountUsability|" + toolPeople, 0, ""},
	{"-E|!dirSync=0/0|" + toolPeople, 12, "none"},
	{"-E|!extendedDn=0|" + toolPeople, 12, "none"},
	{"-E|extendedDn=0|" + toolPeople, 0, ""},
	{"-E|!showDeleted|" + toolPeople, 12, "none"},
	{"-E|showDeleted|" + toolPeople, 0, ""},
	{"-E|!serverNotif|" + toolPeople, 12, "none"},
	{"-E|serverNotif|" + toolPeople, 0, ""},
	{"-E|!1.2.3.4=:x|" + toolPeople, 12, "none"},
	{"-E|1.2.3.4=::eA==|" + toolPeople, 0, ""},
	{"-E|!sync=ro|" + toolPeople, 0, ""},
	{"-E|sync=ro|" + toolPeople, 0, ""},
	{"-E|!sync=ro/rid=001,csn=garbage|" + toolPeople, 0, "none"}, // 4096, of which an exit status keeps 8 bits
	{"-E|!sync=ro|-E|pr=2/noprompt|" + toolPeople, 2, "none"},
	{"-E|!sync=ro|-E|!sss=sn|" + toolPeople, 53, "none"},
	{"-e|!assert=(ou=a)|" + toolPeople, 0, ""},
	{"-e|!assert=(ou=b)|" + toolPeople, 122, "none"},
	{"-e|assert=(ou=b)|" + toolPeople, 122, "none"},
	{"-e|!manageDSAit|(ref=*)", 0, "ou=r"},
	{"-M|(ref=*)", 0, "ou=r"},
	{"-MM|(ref=*)", 0, "ou=r"},
	{"-e|!noop|" + toolPeople, 12, "none"},
	{"-e|noop|" + toolPeople, 0, ""},
	{"-e|!relax|" + toolPeople, 12, "none"},
	{"-e|relax|" + toolPeople, 0, ""},
	{"-e|!preread=cn|" + toolPeople, 12, "none"},
	{"-e|preread=cn|" + toolPeople, 0, ""},
	{"-e|!postread=cn|" + toolPeople, 12, "none"},
	{"-e|postread=cn|" + toolPeople, 0, ""},
	{"-e|!chaining=chainingRequired|" + toolPeople, 12, "none"},
	{"-e|chaining|" + toolPeople, 0, ""},
	{"-e|!bauthzid|" + toolPeople, 12, "none"}, // of the bind
	{"-e|bauthzid|" + toolPeople, 0, ""},
	{"-e|sessiontracking=somebody|" + toolPeople, 0, ""},
	{"-e|!1.2.3.4|" + toolPeople, 12, "none"},
	{"-e|1.2.3.4|" + toolPeople, 0, ""},
	{"-e|abandon|" + toolPeople, 0, ""},
	{"-e|cancel|" + toolPeople, 0, ""},
	{"-e|ignore|" + toolPeople, 0, ""},
	{"-e|ppolicy|" + toolPeople, 0, ""},
	{"-e|!authzid=u:somebody|" + toolPeople, 123, "none"},
	{"-e|!authzid=dn:cn=somebody|" + toolPeople, 123, "none"},
	{"-D|cn=proxy|-w|p|-e|!authzid=dn:cn=somebody|" + toolPeople, 0, ""},
	{"-D|cn=proxy|-w|p|-e|!authzid=dn:cn=nobody|" + toolPeople, 32, "none"},
	{"-a|always|(cn=u2)", 0, "cn=u2"},
	{"-a|always|(objectClass=alias)", 0, "none"},
	{"-a|find|-b|cn=p,ou=a,dc=x|-s|base", 0, "cn=u2"},
	{"-b|ou=r,ou=a,dc=x", 10, "none"},
	{"-z|2|" + toolPeople, 4, "cn=u0 cn=u1"},
	{"-A|(cn=u1)", 0, "cn=u1 description:"},
	{"(cn=u1)|@person", 0, "cn=u1 description: two"},
	{"(cn=u1)|@alias|1.1", 0, "cn=u1"},
}

// R38: ldapsearch with every control that it has, -E and -e: what is supported works, what is not is 12 where it is
// critical and left aside where it is not.
func TestR38ToolControls(t *testing.T) {
	url := serveToTools(t)
	used := map[string]bool{}
	for _, tt := range searchTrials {
		for _, m := range usedExtension.FindAllStringSubmatch(tt.line, -1) {
			used[m[1]] = true
		}
		tt.try(t, url)
	}
	usage, _ := tool(t, "ldap-utils", "ldapsearch", "-?")
	usage, _, _ = strings.Cut(usage, "\n  -o ")
	has := itsExtension.FindAllStringSubmatch(usage, -1)
	if len(has) < 20 {
		t.Errorf("ldapsearch tells of %d controls:\n%s", len(has), usage)
	}
	for _, m := range has {
		if !used[m[1]] {
			t.Errorf("the control %s of ldapsearch is not tried", m[1])
		}
	}
}

// try searches, and looks at the exit status and at what was found.
func (tt searchTrial) try(t *testing.T, url string) {
	t.Helper()
	args := append([]string{"-H", url, "-x", "-LLL", "-o", "ldif-wrap=no", "-b", "ou=a,dc=x"}, strings.Split(tt.line, "|")...)
	if strings.Contains(tt.line, "|-b|") || strings.HasPrefix(tt.line, "-b|") {
		args = append(args[:6], args[8:]...)
	}
	out, code := tool(t, "ldap-utils", "ldapsearch", args...)
	var dns []string
	for line := range strings.Lines(out) {
		if dn, ok := strings.CutPrefix(strings.TrimSpace(line), "dn: "); ok {
			rdn, _, _ := strings.Cut(dn, ",")
			dns = append(dns, rdn)
		}
	}
	want := tt.want
	switch want {
	case "":
		want = "cn=u0 cn=u1 cn=u2 cn=u3 cn=u4"
	case "none":
		want = ""
	}
	got := strings.Join(dns, " ")
	if name, value, ok := strings.Cut(want, " description:"); ok {
		if !strings.Contains(out, "description:"+value) || value == " two" && !strings.Contains(tt.line, "@") && strings.Contains(out, ": one") {
			t.Errorf("ldapsearch %s:\n%s", tt.line, out)
		}
		want = name
	}
	if code != tt.code || got != want {
		t.Errorf("ldapsearch %s: exit %d, %.300q; want %d, %q\n%.500s", tt.line, code, got, tt.code, want, out)
	}
}

// R38: the same for the other tools.
func TestR38OtherToolsControls(t *testing.T) {
	url := serveToTools(t)
	for _, tt := range []struct {
		line string
		code int
		want string
	}{
		{"ldapcompare|-e|!assert=(sn=n8)|cn=u1,ou=a,dc=x|cn:u1", 6, "TRUE"},
		{"ldapcompare|-e|!assert=(sn=n9)|cn=u1,ou=a,dc=x|cn:u1", 122, "Assertion Failed"},
		{"ldapcompare|cn=u1,ou=a,dc=x|entryDN:CN=U1, ou=a,dc=x", 6, "TRUE"},
		{"ldapcompare|cn=u1,ou=a,dc=x|hasSubordinates:TRUE", 5, "FALSE"},
		{"ldapcompare|ou=r,ou=a,dc=x|ou:r", 10, ""},
		{"ldapcompare|-M|ou=r,ou=a,dc=x|ou:r", 6, "TRUE"},
		{"ldapwhoami|-D|cn=proxy|-w|p|-e|!authzid=dn:cn=somebody", 0, "dn:cn=somebody"},
		{"ldapwhoami|-e|!authzid=dn:cn=somebody", 1, "(123)"},
		{"ldapdelete|-M|ou=r,ou=a,dc=x", 53, "read-only"},
		{"ldapdelete|-e|!preread|cn=u1,ou=a,dc=x", 12, ""},
		{"ldapmodrdn|-e|!postread|cn=u1,ou=a,dc=x|cn=v", 12, ""},
	} {
		f := strings.Split(tt.line, "|")
		out, code := tool(t, "ldap-utils", f[0], append([]string{"-H", url, "-x"}, f[1:]...)...)
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit %d, want %d and %q\n%.500s", tt.line, code, tt.code, tt.want, out)
		}
	}
}

const pythonControls = `
import ldap, sys
from ldap.controls import SimplePagedResultsControl, RequestControl
from ldap.controls.libldap import AssertionControl, MatchedValuesControl
from ldap.controls.sss import SSSRequestControl, SSSResponseControl
from ldap.controls.simple import ManageDSAITControl, ProxyAuthzControl, BooleanControl
from ldap.controls.readentry import PreReadControl
c = ldap.initialize(sys.argv[1])
c.set_option(ldap.OPT_REFERRALS, 0)
base = "ou=Package Listers"
page, names, pages = SimplePagedResultsControl(True, size=7, cookie=""), [], 0
while True:
    m = c.search_ext(base, ldap.SCOPE_SUBTREE, "(uid=*)", ["uid"], serverctrls=[page, SSSRequestControl(ordering_rules=["-uid"], criticality=True)])
    _, r, _, ctl = c.result3(m, timeout=20, resp_ctrl_classes={SSSResponseControl.controlType: SSSResponseControl, SimplePagedResultsControl.controlType: SimplePagedResultsControl})
    names += [a["uid"][0].decode() for _, a in r]
    pages += 1
    found = {type(x).__name__: x for x in ctl}
    assert found["SSSResponseControl"].result == 0, ctl
    page.cookie = found["SimplePagedResultsControl"].cookie
    if not page.cookie:
        break
assert names == sorted(names, reverse=True) and len(names) == 30 and pages == 5, (names, pages)
m = c.search_ext(base, ldap.SCOPE_SUBTREE, "(cn=Debian)", serverctrls=[MatchedValuesControl(True, "((description=a*))")])
_, r, _, _ = c.result3(m, timeout=20)
assert r[0][1]["description"] == [b"A list"], r
c.search_ext_s(base, ldap.SCOPE_BASE, serverctrls=[AssertionControl(True, "(ou=package listers)"), ManageDSAITControl()])
c.search_ext_s(base, ldap.SCOPE_SUBTREE, serverctrls=[BooleanControl("1.3.6.1.4.1.4203.1.10.1", True, False)])
for wanted, ctl in [(ldap.ASSERTION_FAILED, AssertionControl(True, "(ou=x)")), (ldap.PROXIED_AUTHORIZATION_DENIED, ProxyAuthzControl(True, b"dn:cn=x")),
                    (ldap.UNAVAILABLE_CRITICAL_EXTENSION, PreReadControl(True, ["*"])), (ldap.PROTOCOL_ERROR, RequestControl("1.3.6.1.1.12", True, b"\xff"))]:
    try:
        c.search_ext_s(base, ldap.SCOPE_BASE, serverctrls=[ctl])
        assert False, wanted
    except wanted:
        pass
print("%[1]s")
`

// R38: python-ldap's control classes.
func TestR38PythonControls(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 30))})
	out, code := tool(t, "python3-ldap", "/usr/bin/python3", "-c", fmt.Sprintf(pythonControls, "all well"), "ldap://"+addr)
	if code != 0 || !strings.Contains(out, "all well") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
