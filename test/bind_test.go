package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

const (
	anna      = "uid=anna," + ldaptest.SuSeSuffix
	annaLocal = "uid=anna,cn=SuSe," + base
	withAnna  = ldaptest.SuSeLDIF + `
dn: uid=anna,o=SuSe,c=DE
objectClass: inetOrgPerson
uid: anna
cn: Anna
sn: A
userPassword: anna-first-secret
`
)

// passwords starts a slapd that tells nobody of passwords.
func passwords(t *testing.T, ldif, ca, cert, key string) *ldaptest.Slapd {
	return ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldif, CAFile: ca, CertFile: cert, KeyFile: key,
		Access: "access to attrs=userPassword by anonymous auth by * none"})
}

// whoami binds with ldapwhoami at a door, and gives what it says, or its exit status in words.
func (s *shaft) whoami(url, dn, password string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command("ldapwhoami", append([]string{"-x", "-H", url, "-D", dn, "-w", password}, args...)...)
	cmd.Env = append(os.Environ(), "LDAPTLS_REQCERT=never")
	out, err := finish(s.t, cmd)
	if err == nil {
		return strings.TrimSpace(out)
	}
	for _, words := range []string{"(49)", "(52)", "(53)", "(13)"} {
		if strings.Contains(out, words) {
			return words
		}
	}
	return out
}

// R10, R15, R33, R47: entries bind with the passwords that they have at their source where
// its subscription says so: over TLS, at once by a new password, never by one that was;
// not those of a claim that waits, and not while the source is away, when others do.
func TestBindsOfEntries(t *testing.T) {
	ca, cert, key := authority(t)
	up := passwords(t, withAnna, ca, cert, key)
	rival := passwords(t, strings.NewReplacer("anna", "bert", "Anna", "Bert").Replace(withAnna), ca, cert, key)
	well := passwords(t, withAnna, ca, cert, key)
	s := newShaft(t, "base_dn: "+base+"\n")
	door := "ldap://" + s.address
	s.run("subscription", "add", "suse", "--url", up.TLSURL()+"/"+ldaptest.SuSeSuffix, "--ca-file", ca, "--name", "cn=SuSe")
	s.run("subscription", "add", "rival", "--url", rival.TLSURL()+"/"+ldaptest.SuSeSuffix, "--ca-file", ca, "--name", "cn=SuSe", "--forward-bind", "--keep-warm")
	s.run("subscription", "add", "well", "--url", well.URL()+"/"+ldaptest.SuSeSuffix+"????!StartTLS", "--ca-file", ca, "--name", "cn=Well", "--forward-bind")
	s.live("cn=SuSe")
	s.live("cn=Well")
	expect := func(what, dn, password, want string) {
		t.Helper()
		for _, url := range []string{door, s.ldapi()} {
			if got := s.whoami(url, dn, password); got != want {
				t.Errorf("%s: bound by %s as %s: %s, want %s", what, url, dn, got, want)
			}
		}
	}
	expect("not forwarded", annaLocal, "anna-first-secret", "(49)")
	if out := s.run("subscription", "set", "suse", "forward-bind=true"); !strings.Contains(out, "asked for there") {
		t.Errorf("set says %s", out)
	}
	expect("forwarded", strings.ToUpper(annaLocal), "anna-first-secret", "dn:"+annaLocal)
	expect("wrong", annaLocal, "wrong", "(49)")
	expect("of a claim that waits", "uid=bert,cn=SuSe,"+base, "bert-first-secret", "(49)")
	expect("by another's name", "uid=anna,cn=Well,"+base, "anna-first-secret", "dn:uid=anna,cn=Well,"+base)
	up.Apply("dn: " + anna + "\nchangetype: modify\nreplace: userPassword\nuserPassword: anna-second-secret\n")
	expect("the password of before", annaLocal, "anna-first-secret", "(49)")
	expect("the new password", annaLocal, "anna-second-secret", "dn:"+annaLocal)
	up.Stop()
	expect("the source is away", annaLocal, "anna-second-secret", "(52)")
	expect("another is there", "uid=anna,cn=Well,"+base, "anna-first-secret", "dn:uid=anna,cn=Well,"+base)
	up.Start()
	expect("it is back", annaLocal, "anna-second-secret", "dn:"+annaLocal)
	s.run("subscription", "set", "suse", "forward-bind=")
	expect("no more", annaLocal, "anna-second-secret", "(49)")
	_, errs, code := s.try("subscription", "add", "plain", "--url", well.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=Plain", "--forward-bind")
	if code != 1 || !strings.Contains(errs, "over TLS and unix sockets alone") {
		t.Errorf("in the clear: exit %d, %s", code, errs)
	}
	s.stop()
	secretsIn(t, s)
}

// secretsIn looks for the passwords of entries in all that the daemon wrote.
func secretsIn(t *testing.T, s *shaft) {
	t.Helper()
	seen := func(what string, text []byte) {
		for _, secret := range []string{"first-secret", "second-secret"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("a password is in %s", what)
			}
		}
	}
	seen("the log", []byte(s.log.String()))
	err := filepath.WalkDir(s.path("data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		seen(path, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// R47: an operator of the configuration binds with ldapwhoami, sees cn=Monitor although
// the rules hide it, and acts for another with the tools' own control.
func TestOperatorsOverLDAP(t *testing.T) {
	passwd := exec.Command(binary, "passwd")
	passwd.Stdin = strings.NewReader("sesame\n")
	hash, err := passwd.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := newShaft(t, "base_dn: "+base+"\naccess: [ { who: 'dn:cn=somebody', subtree: '"+base+"', allow: read } ]\noperators: [ { name: anna, role: operator, password_hash: '"+
		strings.TrimSpace(string(hash))+"' } ]\n")
	const dn = "cn=anna,cn=operators"
	if got := s.whoami("ldap://"+s.address, dn, "sesame"); got != "dn:"+dn {
		t.Errorf("whoami: %s", got)
	}
	if got := s.whoami("ldap://"+s.address, dn, "wrong"); got != "(49)" {
		t.Errorf("a wrong password: %s", got)
	}
	if got := s.whoami("ldap://"+s.address, dn, "sesame", "-e", "!authzid=dn:cn=somebody"); got != "dn:cn=somebody" {
		t.Errorf("for another: %s", got)
	}
	if out, err := s.trySearch("-b", "cn=Monitor"); err == nil {
		t.Errorf("anonymous sees %s", out)
	}
	if out := s.search("-D", dn, "-w", "sesame", "-b", "cn=Monitor", "+"); !strings.Contains(out, "monitorConnectionAuthzDN: "+dn) {
		t.Errorf("cn=Monitor: %s", out)
	}
	if out := s.search("-D", dn, "-w", "sesame", "-e", "!authzid=dn:cn=somebody", "-s", "base", "-b", base, "1.1"); !strings.Contains(out, "dn: "+base) {
		t.Errorf("the base for another: %s", out)
	}
}

// R5, R10: through two Shafts, each of which gives the entry another name, the password
// is judged by the server that has it.
func TestBindsThroughShafts(t *testing.T) {
	ca, cert, key := authority(t)
	up := passwords(t, withAnna, ca, cert, key)
	first := newShaft(t, "base_dn: o=First\ntls: { certificate: "+cert+", key: "+key+" }\n")
	first.run("subscription", "add", "suse", "--url", up.TLSURL()+"/"+ldaptest.SuSeSuffix, "--ca-file", ca, "--name", "ou=SuSe", "--forward-bind")
	second := newShaft(t, "base_dn: "+base+"\n")
	eventually(t, time.Minute, "the first has it", func() bool {
		out, err := first.trySearch("-b", "uid=anna,ou=SuSe,o=First", "-s", "base", "1.1")
		return err == nil && strings.Contains(out, "dn: ")
	})
	second.run("subscription", "add", "first", "--url", "ldap://"+first.address+"/o=First????!StartTLS", "--ca-file", ca, "--name", "cn=All", "--forward-bind")
	second.live("cn=All")
	dn := "uid=anna,ou=SuSe,cn=All," + base
	for password, want := range map[string]string{"anna-first-secret": "dn:" + dn, "wrong": "(49)"} {
		if got := second.whoami("ldap://"+second.address, dn, password); got != want {
			t.Errorf("%q: %s, want %s", password, got, want)
		}
	}
	first.stop()
	if got := second.whoami("ldap://"+second.address, dn, "anna-first-secret"); got != "(52)" {
		t.Errorf("the first is away: %s", got)
	}
}
