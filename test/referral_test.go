package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// writer makes the same writes by a client that chases referrals by itself, as libldap
// does, or by one that reads them and binds at the server that they name.
const writer = `
import ldap, ldap.modlist, ldapurl, sys
shaft, base, way, dn, secret = sys.argv[1:]
name = "cn=%s,cn=SuSe,%s" % (way, base)
def chase(do, target, *args):
    c = ldap.initialize(shaft)
    c.set_option(ldap.OPT_REFERRALS, 1 if way == "chased" else 0)
    c.set_option(ldap.OPT_NETWORK_TIMEOUT, 20)
    c.timeout = 20
    try:
        do(c, target, *args)
        assert way == "chased", "%s was done by a server that is read-only" % do.__name__
        return
    except ldap.REFERRAL as e:
        assert way == "read", e
        urls = e.args[0]["info"].split("\n")[1:]
    assert len(urls) == 1, urls
    u = ldapurl.LDAPUrl(urls[0])
    print(u.dn)
    there = ldap.initialize(u.urlscheme + "://" + u.hostport)
    there.timeout = 20
    there.simple_bind_s(dn, secret)
    do(there, u.dn, *args)
def add(c, at, entry): c.add_s(at, ldap.modlist.addModlist(entry))
def modify(c, at, changes): c.modify_s(at, changes)
def rename(c, at, rdn): c.rename_s(at, rdn, delold=1)
def delete(c, at): c.delete_s(at)
chase(add, name, {"objectClass": [b"organizationalRole"], "cn": [way.encode()]})
chase(modify, name, [(ldap.MOD_REPLACE, "description", [b"new"])])
chase(add, "cn=gone,cn=SuSe," + base, {"objectClass": [b"organizationalRole"], "cn": [b"gone"]})
chase(delete, "cn=gone,cn=SuSe," + base)
chase(rename, name, "cn=%s again" % way)
`

// R43: with writes: referral every tool is shown the server and the DN that an entry has
// there; a client that goes there writes at the source, and Shaft shows what came of it.
func TestR43WritesByReferral(t *testing.T) {
	open := ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, Global: "allow update_anon", Access: "access to * by * write"}
	up := ldaptest.StartSlapd(t, open)
	s := newShaft(t, "base_dn: "+base+"\nwrites: referral\n")
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	url, top, below := "ldap://"+s.address, "cn=SuSe,"+base, "distro=openSUSE,cn=SuSe,"+base
	for _, tt := range []struct {
		tool  string
		args  []string
		stdin string
		dn    string
	}{
		{"ldapadd", nil, "dn: cn=x," + below + "\nobjectClass: organizationalRole\ncn: x\n", "cn=x,distro=openSUSE," + ldaptest.SuSeSuffix},
		{"ldapmodify", nil, "dn: " + below + "\nchangetype: modify\nreplace: cn\ncn: x\n", "distro=openSUSE," + ldaptest.SuSeSuffix},
		{"ldapmodify", nil, "dn: " + top + "\nchangetype: modify\nreplace: description\ndescription: x\n", ldaptest.SuSeSuffix},
		{"ldapdelete", []string{below}, "", "distro=openSUSE," + ldaptest.SuSeSuffix},
		{"ldapmodrdn", []string{"-r", below, "distro=Leap"}, "", "distro=openSUSE," + ldaptest.SuSeSuffix},
	} {
		out, code := tool(t, tt.stdin, tt.tool, append([]string{"-x", "-H", url}, tt.args...)...)
		if want := up.URL() + "/" + tt.dn; code != 10 || !strings.Contains(out, want+"\n") && !strings.HasSuffix(strings.TrimSpace(out), want) {
			t.Errorf("%s: exit %d, want %s in\n%s", tt.tool, code, want, out)
		}
	}
	out, code := tool(t, "dn: cn=x,"+base+"\nobjectClass: organizationalRole\ncn: x\n", "ldapadd", "-x", "-H", url)
	if code != 53 || !strings.Contains(out, "read-only") {
		t.Errorf("what would come from nowhere: exit %d\n%s", code, out)
	}
	before := up.Dump()
	if strings.Contains(before, "cn: x\n") || !strings.Contains(before, "dn: distro=openSUSE,") {
		t.Errorf("a referral alone wrote:\n%s", before)
	}
	for way, said := range map[string]string{"chased": "", "read": fmt.Sprintf(
		"cn=read,%[1]s\ncn=read,%[1]s\ncn=gone,%[1]s\ncn=gone,%[1]s\ncn=read,%[1]s\n", ldaptest.SuSeSuffix)} {
		out, code := tool(t, writer, "/usr/bin/python3", "-", url, base, way, up.RootDN(), ldaptest.SlapdPassword)
		if code != 0 || out != said {
			t.Fatalf("%s: exit %d\n%s", way, code, out)
		}
		eventually(t, time.Minute, "what was "+way+" shows", func() bool {
			out, err := s.trySearch("-b", top, "-s", "one", "(objectClass=organizationalRole)", "cn", "description")
			return err == nil && strings.Contains(out, "dn: cn="+way+" again,"+top+"\n") && strings.Contains(out, "description: new\n") && !strings.Contains(out, "cn=gone")
		})
	}
	if n := strings.Count(up.Dump(), "description: new\n"); n != 2 {
		t.Errorf("%d entries were written", n)
	}
}

// R38: a referral object of a source gives references and referrals here, as it does there, and is an entry with ManageDsaIT.
func TestReferralObjectOfASource(t *testing.T) {
	const elsewhere = "ldap://127.0.0.1:9/o=elsewhere"
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF + "\ndn: ou=ref," + ldaptest.SuSeSuffix +
		"\nobjectClass: referral\nobjectClass: extensibleObject\nou: ref\nref: " + elsewhere + "\n"})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	for server, top := range map[string]string{up.URL(): ldaptest.SuSeSuffix, "ldap://" + s.address: "cn=SuSe," + base} {
		for _, tt := range []struct {
			args []string
			want string
			code int
		}{
			{[]string{"-b", top, "(ou=*)"}, "ref: " + elsewhere + "??sub", 0},
			{[]string{"-b", "ou=ref," + top}, elsewhere + "??sub", 10},
			{[]string{"-b", "cn=below,ou=ref," + top, "-s", "base"}, "cn=below,o=elsewhere??base", 10},
			{[]string{"-M", "-b", "ou=ref," + top, "-s", "base", "(objectClass=*)", "ref"}, "ref: " + elsewhere + "\n", 0},
		} {
			out, code := tool(t, "", "ldapsearch", append([]string{"-x", "-o", "ldif-wrap=no", "-H", server}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("%s %q: exit %d, want %d and %q in\n%s", server, tt.args, code, tt.code, tt.want, out)
			}
		}
	}
}
