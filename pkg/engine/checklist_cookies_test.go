package engine

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// keepCookie makes another cookie the stored one.
func (w *world) keepCookie(cookie string) {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		cl := w.e.claims["s"]
		cl.cookie = []byte(cookie)
		must(w.t, w.e.commit(&store.Batch{Cookies: []store.Claim{{ID: cl.number, Cookie: cl.cookie, Server: cl.taken.with(cl.server)}}}))
	}))
}

// R12, R35: what decides what there is to be had decides whose the cookie is: when it is
// changed, none is sent, and what was served stays until all is there; else it is sent.
func TestCookieOfAnotherSearch(t *testing.T) {
	const account = "cn=reader,o=Source"
	o := ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + "\n" + subtree("cn=top,ou=a,"+suffix, "top", 3), Accounts: map[string]string{account: "secret"}}
	s, second := serve(t, o), serve(t, o)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("secret\n"), 0o600))
	host, port, err := net.SplitHostPort(second.Addr())
	must(t, err)
	w := newWorld(t)
	var mu sync.Mutex
	var sent []string
	for _, server := range []*ldaptest.Server{s, second} {
		script(server, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, string(q.Sync.Cookie))
			return false, nil
		})
	}
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	for _, test := range []struct {
		fields map[string]string
		keeps  bool
	}{
		{fields: map[string]string{"filter": "(!(cn=2))"}},
		{fields: map[string]string{"attributes": "cn,ou"}},
		{fields: map[string]string{"bind-dn": account, "password-file": secret}},
		{fields: map[string]string{"newcookie-ends-refresh": "true"}, keeps: true},
		{fields: map[string]string{"scope": "subordinate"}},
		{fields: map[string]string{"scope": "sub", "filter": "", "attributes": ""}},
		{fields: map[string]string{"host": host, "port": port}},
		{fields: map[string]string{"newcookie-ends-refresh": "false"}, keeps: true},
		{fields: map[string]string{"base": "ou=a," + suffix}},
	} {
		held := w.cookie()
		mu.Lock()
		sent = nil
		mu.Unlock()
		stays := "ou=a," + name
		if test.fields["base"] != "" {
			stays = name
		}
		release := w.holds(stays)
		w.set("s", test.fields)
		await(t, fmt.Sprint("a session after ", test.fields), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(sent) > 0
		})
		w.awaitLive(name)
		release()
		if want := map[bool]string{true: held}[test.keeps]; sent[0] != want {
			t.Errorf("after %v the cookie %q was sent, not %q", test.fields, sent[0], want)
		}
		w.check()
	}
}

// R12, R35: to a cookie that it cannot read slapd sends everything, and says of what it
// left out that it stayed. What went meanwhile goes all the same, and nothing else does.
func TestSlapdGarbageCookie(t *testing.T) {
	for _, cookie := range []string{"garbage", "rid=000,csn=garbage", "\x00\xff"} {
		t.Run(cookie, func(t *testing.T) {
			t.Parallel()
			w, s := followSlapd(t, ldaptest.SlapdOptions{SessionLog: 1000})
			w.keepCookie(cookie)
			w.away(func() { s.Apply(removal("cn=1,ou=a," + slapdBase)) })
			release := w.holds(w.all("cn=1,ou=a," + name)...)
			w.awaitEqual(s, slapdBase, name)
			w.awaitLive(name)
			release()
			if now := w.cookie(); !strings.HasPrefix(now, "rid=") || strings.Contains(now, "garbage") {
				t.Errorf("the cookie is %q", now)
			}
		})
	}
}

// R12, R35: a cookie that is older than what slapd remembers brings a present phase.
func TestSlapdStaleCookie(t *testing.T) {
	for _, log := range []int{0, 2} {
		t.Run(fmt.Sprint("session log ", log), func(t *testing.T) {
			t.Parallel()
			w, s := followSlapd(t, ldaptest.SlapdOptions{SessionLog: log})
			w.away(func() {
				s.Apply(removal("cn=1,ou=a,"+slapdBase) + person("cn=3,ou=b,"+slapdBase))
				for i := range 5 {
					s.Apply(describe("cn=2,ou=a,"+slapdBase, fmt.Sprint(i)))
				}
			})
			release := w.holds(w.all("cn=1,ou=a," + name)...)
			w.awaitEqual(s, slapdBase, name)
			release()
			w.awaitLive(name)
			w.check()
			w.restart()
		})
	}
}

// R12, R35: a slapd that was restored, and written to before anyone asked it, takes a cookie
// that holds more than it has. In a present phase it names what Shaft does not know, and
// everything is fetched again. By its session log it tells of the new changes only: what
// the restore took back stays until a full load.
func TestSlapdRestoredAndWrittenTo(t *testing.T) {
	a := "ou=a," + slapdBase
	for _, log := range []int{0, 1000} {
		t.Run(fmt.Sprint("session log ", log), func(t *testing.T) {
			t.Parallel()
			w, s := followSlapd(t, ldaptest.SlapdOptions{SessionLog: log})
			s.Stop()
			backup := s.Backup()
			s.Start()
			s.Apply(person("cn=lost,"+a) + describe("cn=1,"+a, "lost too") + removal("cn=2,"+a))
			w.awaitEqual(s, slapdBase, name)
			w.away(func() {
				s.Stop()
				s.Restore(backup)
				s.Start()
				s.Apply(describe("cn=1,ou=b,"+slapdBase, "new"))
			})
			release := w.holds(w.all("cn=lost,ou=a," + name)...)
			if log > 0 {
				w.awaitValues("cn=1,ou=b,"+name, "description", "new")
				w.awaitLive(name)
				w.awaitValues("cn=1,ou=a,"+name, "description", "lost too")
				audit, err := w.e.ResyncName(t.Context(), name, true)
				must(t, err)
				if audit.Counts != [3]int{1, 1, 1} { // missing, surplus, other than there
					t.Errorf("%+v", audit)
				}
				_, err = w.e.ResyncName(t.Context(), name, false)
				must(t, err)
			}
			w.awaitEqual(s, slapdBase, name)
			release()
			w.check()
			if strings.Contains(s.Log(), "newer than provider") {
				t.Error("slapd refused the cookie")
			}
		})
	}
}

// R12, R35: a slapd with a server ID tells of one CSN at a time. What is kept of them together is
// a cookie that slapd knows as its whole state, changes of another server's that it
// passes on among them. One that lacks a server ID is answered with everything.
func TestSlapdServerIDs(t *testing.T) {
	origin := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, LDIF: slapdLDIF, SID: 1})
	s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, SID: 2, SessionLog: 1000, Database: fmt.Sprintf(
		"syncrepl rid=001 provider=%s type=refreshAndPersist searchbase=%q bindmethod=simple binddn=%q credentials=%s retry=\"1 +\"\nmultiprovider on",
		origin.URL(), suffix, origin.RootDN(), ldaptest.SlapdPassword)})
	await(t, "the second slapd has what the first has", func() bool { return entries(t, s) == entries(t, origin) })
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, slapdBase))
	w.awaitEqual(s, slapdBase, name)
	w.awaitLive(name)
	w.away(func() {
		s.Apply(describe("cn=2,ou=a,"+slapdBase, "the first change that is its own"))
		s.Apply(removal("cn=1,ou=b," + slapdBase))
	})
	w.awaitEqual(s, slapdBase, name)
	for i := range 3 {
		origin.Apply(describe("cn=1,ou=a,"+slapdBase, fmt.Sprint("passed on ", i)))
		w.awaitValues("cn=1,ou=a,"+name, "description", fmt.Sprint("passed on ", i))
		s.Apply(describe("cn=2,ou=a,"+slapdBase, fmt.Sprint("its own ", i)))
		w.awaitValues("cn=2,ou=a,"+name, "description", fmt.Sprint("its own ", i))
	}
	var cookie string
	await(t, "a cookie of both servers", func() bool {
		cookie = w.cookie()
		c, ok := syncrepl.ParseCookie([]byte(cookie))
		return ok && len(c.CSNs) >= 2 && strings.Contains(cookie, "#001#") && strings.Contains(cookie, "#002#")
	})
	if sent := s.Search("-LLL", "-b", slapdBase, "-E", "!sync=ro/"+cookie, "1.1"); strings.Contains(sent, "dn: ") {
		t.Errorf("for the cookie %s slapd sends again\n%s", cookie, sent)
	}
	w.check()
	w.restart()
}

// entries counts what a server has below the suffix; 0 where that is missing.
func entries(t *testing.T, s server) int {
	t.Helper()
	c, err := ldap.DialURL(s.URL())
	must(t, err)
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(suffix, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return 0
	}
	must(t, err)
	return len(res.Entries)
}
