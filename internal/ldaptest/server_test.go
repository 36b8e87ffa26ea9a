package ldaptest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// tool runs a program of ldap-utils against a server and gives what it prints.
func tool(t *testing.T, url, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"-x", "-H", url, "-o", "ldif-wrap=no"}, args...)...)
	cmd.Env = append(os.Environ(), "LDAPTLS_REQCERT=demand", "LDAPTLS_CACERT="+os.Getenv("SHAFT_TEST_CA"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func lookUp(t *testing.T, s *Server, args ...string) string {
	t.Helper()
	out, err := tool(t, s.URL(), "ldapsearch", append([]string{"-LLL"}, args...)...)
	if err != nil {
		t.Fatalf("ldapsearch %q: %v\n%s", args, err, out)
	}
	return out
}

// dns lists the DNs of an LDIF text.
func dns(text string) (out []string) {
	for line := range strings.Lines(text) {
		if dn, ok := strings.CutPrefix(line, "dn: "); ok {
			out = append(out, strings.TrimSpace(dn))
		}
	}
	return out
}

func TestLdapsearch(t *testing.T) {
	s := start(t, Options{Suffix: DebianSuffix, LDIF: DebianLDIF})
	wheezy := "cn=Wheezy,dc=debian,dc=org"
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-b", DebianSuffix, "-s", "base"}, []string{DebianSuffix}},
		{[]string{"-b", DebianSuffix, "-s", "one"}, []string{wheezy, "cn=Jessie,dc=debian,dc=org"}},
		{[]string{"-b", "CN=wheezy, DC=debian, DC=org", "-s", "children"}, []string{"pkgName=slapd," + wheezy, "pkgName=ldap-utils," + wheezy, "pkgName=snmpd," + wheezy}},
		{[]string{"-b", DebianSuffix, "(pkgName=SLAPD)"}, []string{"pkgName=slapd," + wheezy, "pkgName=slapd,cn=Jessie,dc=debian,dc=org"}},
		{[]string{"-b", DebianSuffix, "(&(objectClass=LinuxDistribution)(!(distro=*jessie)))"}, []string{wheezy}},
		{[]string{"-b", DebianSuffix, "(seeAlso=PKGNAME=ldap-utils,cn=wheezy,dc=debian,dc=org)"}, []string{"pkgName=slapd," + wheezy}},
		{[]string{"-b", DebianSuffix, "(hasSubordinates=FALSE)", "1.1"}, []string{"pkgName=slapd," + wheezy, "pkgName=ldap-utils," + wheezy, "pkgName=snmpd," + wheezy, "pkgName=slapd,cn=Jessie,dc=debian,dc=org"}},
	} {
		if got := dns(lookUp(t, s, c.args...)); !slices.Equal(got, c.want) {
			t.Errorf("%q:\n got %q\nwant %q", c.args, got, c.want)
		}
	}
	if got := lookUp(t, s, "-b", wheezy, "-s", "base", "distro"); got != "dn: "+wheezy+"\ndistro: Debian Wheezy\n\n" {
		t.Errorf("one attribute asked for: %q", got)
	}
	all := lookUp(t, s, "-b", DebianSuffix, "-s", "base", "*", "+")
	for _, want := range []string{"o: Debian\n", "structuralObjectClass: organization\n", "entryUUID: ", "entryCSN: ", "contextCSN: ",
		"createTimestamp: ", "modifyTimestamp: ", "entryDN: " + DebianSuffix, "hasSubordinates: TRUE\n", "subschemaSubentry: cn=Subschema\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(lookUp(t, s, "-b", wheezy, "-s", "base", "+"), "contextCSN") {
		t.Error("contextCSN is not on the suffix alone")
	}
	out, err := tool(t, s.URL(), "ldapsearch", "-b", "cn=Sid,"+DebianSuffix)
	if err == nil || !strings.Contains(out, "result: 32") || !strings.Contains(out, "matchedDN: "+DebianSuffix) {
		t.Errorf("a base that is missing: %s", out)
	}
	if out, _ := tool(t, s.URL(), "ldapsearch", "-z", "2", "-b", DebianSuffix); !strings.Contains(out, "result: 4") || len(dns(out)) != 2 {
		t.Errorf("size limit 2: %s", out)
	}
}

func TestRootDSE(t *testing.T) {
	s := start(t, Options{Suffix: SuSeSuffix, LDIF: SuSeLDIF})
	got := lookUp(t, s, "-b", "", "-s", "base", "+")
	for _, want := range []string{"namingContexts: " + SuSeSuffix, "supportedControl: " + syncrepl.OIDSyncRequest, "supportedLDAPVersion: 3", "subschemaSubentry: cn=Subschema"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if got := lookUp(t, s, "-b", "cn=Subschema", "-s", "base", "attributeTypes"); !strings.Contains(got, "NAME 'pkgName'") {
		t.Error("the story's schema is not in the subschema")
	}
}

// R12: the sync search of ldapsearch, both modes.
func TestLdapsearchSync(t *testing.T) {
	s := start(t, Options{Suffix: RedHatSuffix, LDIF: RedHatLDIF, SID: 0x0fe})
	out, err := tool(t, s.URL(), "ldapsearch", "-b", RedHatSuffix, "-E", "!sync=ro", "1.1")
	check(t, err)
	if n := strings.Count(out, "control: "+syncrepl.OIDSyncState); n != 6 || !strings.Contains(out, "control: "+syncrepl.OIDSyncDone) {
		t.Errorf("%d states in\n%s", n, out)
	}
	out, err = tool(t, s.URL(), "ldapsearch", "-b", RedHatSuffix, "-E", "!sync=ro/rid=007,sid=0fe,csn="+contextCSN(t, s), "1.1")
	check(t, err)
	if len(dns(out)) != 0 || !strings.Contains(out, "result: 0") {
		t.Errorf("nothing changed, but\n%s", out)
	}
	none := start(t, Options{Suffix: RedHatSuffix, NoSync: true})
	if out, err := tool(t, none.URL(), "ldapsearch", "-b", RedHatSuffix, "-E", "!sync=ro"); err == nil || !strings.Contains(out, "result: 12") {
		t.Errorf("without synchronization: %s", out)
	}
}

func contextCSN(t *testing.T, s *Server) string {
	t.Helper()
	got := lookUp(t, s, "-b", s.o.Suffix, "-s", "base", "contextCSN")
	_, csn, _ := strings.Cut(got, "contextCSN: ")
	return strings.TrimSpace(csn)
}

// R10: anonymous and simple binds, with TLS or without.
func TestBindAndTLS(t *testing.T) {
	config, ca := certificate(t)
	t.Setenv("SHAFT_TEST_CA", ca)
	admin := []string{"-D", "cn=Admin,dc=tea", "-w", "sesame"}
	o := Options{Suffix: "dc=tea", LDIF: teaLDIF, TLS: config, Accounts: map[string]string{"cn=admin,dc=tea": "sesame"}, RequireBind: true}
	plain := start(t, o)
	o.LDAPS = true
	secure := start(t, o)
	bare := start(t, Options{Suffix: "dc=tea"})
	for _, c := range []struct {
		name string
		s    *Server
		tool string
		args []string
		want string
	}{
		{"anonymous", plain, "ldapwhoami", nil, "anonymous"},
		{"account", plain, "ldapwhoami", admin, "dn:cn=Admin,dc=tea"},
		{"StartTLS", plain, "ldapwhoami", append([]string{"-ZZ"}, admin...), "dn:cn=Admin,dc=tea"},
		{"ldaps", secure, "ldapwhoami", admin, "dn:cn=Admin,dc=tea"},
		{"StartTLS over ldaps", secure, "ldapwhoami", []string{"-ZZ"}, "StartTLS is not offered"},
		{"StartTLS not offered", bare, "ldapwhoami", []string{"-ZZ"}, "StartTLS is not offered"},
		{"wrong password", plain, "ldapwhoami", []string{"-D", "cn=admin,dc=tea", "-w", "x"}, "Invalid credentials (49)"},
		{"no password", plain, "ldapwhoami", []string{"-D", "cn=admin,dc=tea", "-w", ""}, "unwilling to perform (53)"},
		{"unknown account", plain, "ldapwhoami", []string{"-D", "cn=x,dc=tea", "-w", "sesame"}, "Invalid credentials (49)"},
		{"no DN", plain, "ldapwhoami", []string{"-D", "x", "-w", "sesame"}, "Invalid DN syntax (34)"},
		{"search without a bind", plain, "ldapsearch", []string{"-b", "dc=tea"}, "result: 50"},
		{"search", plain, "ldapsearch", append([]string{"-b", "dc=tea", "-s", "base", "dc"}, admin...), "dc: tea"},
		{"delete", bare, "ldapdelete", []string{"dc=tea"}, "unwilling to perform (53)"},
		{"compare", bare, "ldapcompare", []string{"dc=tea", "dc:tea"}, "unwilling to perform (53)"},
		{"unknown extended operation", bare, "ldapexop", []string{"1.2.3"}, "Protocol error (2)"},
	} {
		out, _ := tool(t, c.s.URL(), c.tool, c.args...)
		if !strings.Contains(out, c.want) {
			t.Errorf("%s: %q not in\n%s", c.name, c.want, out)
		}
	}
	if st := plain.Stats(); st.Binds != 5 { // two of them anonymous
		t.Errorf("%d binds succeeded, 5 were to", st.Binds)
	}
}

// certificate makes a self-signed one for 127.0.0.1, and its PEM file.
func certificate(t *testing.T) (config *tls.Config, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	check(t, err)
	file = filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// R33: a search that is cut after any number of messages is no refresh.
func TestCutAfter(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	for n := range 5 { // four entries and the end
		s.CutAfter(n)
		m := newMirror()
		if err := follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m).wait(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("cut after %d: %v", n, err)
		}
		if got := m.said(); len(got) != n || m.lines() != "" {
			t.Errorf("cut after %d messages, %q came", n, got)
		}
	}
	m := newMirror()
	follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m)
	m.await(t, "a search that is not cut", func() bool { return strings.Contains(m.lines(), "cn=matcha") })
}

func TestStallAndResume(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	m := newMirror()
	follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m)
	m.await(t, "the first load", func() bool { return len(m.said()) == 5 })
	before := m.lines()
	s.Stall()
	check(t, s.Add("dn: cn=mate,dc=tea\nobjectClass: device\ncn: mate\n"))
	other := newMirror()
	late := follow(t, s.Addr(), "dc=tea", syncrepl.RefreshOnly, other)
	waitStats(t, s, func(st Stats) bool { return st.Connections == 2 })
	if m.lines() != before || len(other.said()) != 0 {
		t.Error("a stalled server says something")
	}
	s.Resume()
	check(t, late.wait())
	m.await(t, "what was held back", func() bool { return m.lines() == other.lines() })
}

func waitStats(t *testing.T, s *Server, wanted func(Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check(t, s.Wait(ctx, wanted))
}

// Searches and entries are counted, so that a test can tell a refetch.
func TestStats(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	m := newMirror()
	one := follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m)
	waitStats(t, s, func(st Stats) bool { return st.Persisting == 1 })
	check(t, s.Modify("cn=matcha,ou=green,dc=tea", "description", "whisked"))
	waitStats(t, s, func(st Stats) bool { return st.PersistEntries == 1 })
	m.await(t, "the change", func() bool {
		return strings.Contains(m.lines(), "whisked") && strings.Contains(m.held(), contextCSN(t, s))
	})
	one.close()
	waitStats(t, s, func(st Stats) bool { return st.Open == 0 })
	follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m)
	waitStats(t, s, func(st Stats) bool { return st.Persisting == 1 })
	st := s.Stats()
	if st.RefreshEntries != 4 || st.SyncSearches != 2 || st.Cookies[0] != "" || !strings.HasPrefix(st.Cookies[1], "rid=000,csn=") {
		t.Errorf("%+v", st)
	}
}

// Out of scope, out of the filter, into them; the base itself.
func TestPersistBoundaries(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	m := newMirror()
	green := follow(t, s.Addr(), "ou=green,dc=tea", syncrepl.RefreshAndPersist, m)
	m.await(t, "the first load", func() bool { return len(m.said()) == 4 })
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return s.Rename("cn=matcha,ou=green,dc=tea", "cn=matcha,dc=tea") }, "delete 1"},
		{func() error { return s.Rename("cn=matcha,dc=tea", "cn=matcha tea,ou=green,dc=tea") }, "put cn=matcha tea,ou=green,dc=tea"},
		{func() error { return s.Delete("cn=matcha tea,ou=green,dc=tea") }, "delete 1"},
		{func() error { return s.Rename("ou=green,dc=tea", "ou=japan,dc=tea") }, "delete 1"},
	} {
		n := len(m.said())
		check(t, step.do())
		m.await(t, step.want, func() bool { return len(m.said()) > n })
		if got := m.said(); got[n] != step.want {
			t.Errorf("%q came, %q wanted", got[n], step.want)
		}
	}
	if err := green.wait(); !errors.Is(err, syncrepl.ErrReload) {
		t.Errorf("the base was renamed: %v", err)
	}
	if err := follow(t, s.Addr(), "ou=green,dc=tea", syncrepl.RefreshAndPersist, m).wait(); !strings.Contains(fmt.Sprint(err), "result 32") {
		t.Errorf("the base is missing: %v", err)
	}
}

func TestCookiesThatDoNotFit(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	for cookie, want := range map[string]string{
		"rid=001,csn=99990102030405.000001Z#000000#000#000000": "consumer state is newer than provider!",
		"garbage": "without a cookie",
	} {
		m := newMirror()
		m.cookie = []byte(cookie)
		err := follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m).wait()
		if !errors.Is(err, syncrepl.ErrReload) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", cookie, err)
		}
	}
	m := newMirror() // another server's state: all that is here, and what is not is gone
	m.cookie = []byte("rid=001,csn=20200102030405.000001Z#000000#007#000000")
	m.live[dit.UUID{1}] = copied{dn: "cn=old,dc=tea"}
	follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m)
	m.await(t, "a full present phase", func() bool { return m.lines() == again(t, s.Addr()) })
}

// R15, R35: what a bad upstream may send, by script; the raw bytes go out as they are.
func TestScript(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	entry := dit.AppendAttr(nil, "objectClass", "device")
	for _, c := range []struct {
		name   string
		script Script
		want   string
	}{
		{"garbage", func(_ Search, p *syncrepl.Provider) (bool, error) { return true, p.Write([]byte("\xff\xff\xff\xff")) }, "tag number above 30"},
		{"no UUID", func(_ Search, p *syncrepl.Provider) (bool, error) {
			return true, p.Entry(syncrepl.StateAdd, dit.UUID{}, "cn=x,dc=tea", entry, nil)
		}, "has no entryUUID"},
		{"4096", func(_ Search, p *syncrepl.Provider) (bool, error) { return true, p.Fail(4096, "") }, "full reload"},
		{"hung up", func(Search, *syncrepl.Provider) (bool, error) { return false, io.ErrUnexpectedEOF }, "refresh stage"},
		{"a huge value", func(_ Search, p *syncrepl.Provider) (bool, error) {
			return true, p.Write(ber.AppendHeader(nil, ber.Sequence, 100<<20))
		}, "more than the 16777216 allowed"},
	} {
		s.SetScript(c.script)
		m := newMirror()
		err := follow(t, s.Addr(), "dc=tea", syncrepl.RefreshAndPersist, m).wait()
		if err == nil || !strings.Contains(err.Error(), c.want) || len(m.said()) > 0 {
			t.Errorf("%s: %v, %q", c.name, err, m.said())
		}
	}
	var saw []Search
	s.SetScript(func(q Search, _ *syncrepl.Provider) (bool, error) { saw = append(saw, q); return false, nil })
	first := again(t, s.Addr())
	s.SetScript(nil)
	if len(saw) != 1 || saw[0].Base != "dc=tea" || saw[0].Sync.Mode != syncrepl.RefreshOnly || first != again(t, s.Addr()) {
		t.Errorf("a script that lets pass saw %+v", saw)
	}
}

func TestAbandonAndCancel(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	conn, err := net.Dial("tcp", s.Addr())
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(patience)))
	frames := connFrames{bufio.NewReader(conn)}
	send := func(id int64, op []byte) {
		t.Helper()
		_, err := conn.Write(ber.AppendBytes(nil, ber.Sequence, append(ber.AppendInt(nil, ber.Integer, id), op...)))
		check(t, err)
	}
	persist := func(id int32) {
		t.Helper()
		_, err := conn.Write(syncrepl.AppendSearch(nil, id, syncrepl.Request{Base: "dc=tea", Filter: dit.Filter{Op: dit.FilterPresent, Attr: "dc"}, Mode: syncrepl.RefreshAndPersist}))
		check(t, err)
		for range 2 { // the entry and the end of the refresh
			_, err := frames.Next()
			check(t, err)
		}
		waitStats(t, s, func(st Stats) bool { return st.Persisting == 1 })
	}
	persist(200)
	send(201, ber.AppendBytes(nil, 0x50, []byte{0, 200}))
	waitStats(t, s, func(st Stats) bool { return st.Persisting == 0 })
	persist(202)
	body := ber.AppendString(nil, ber.ContextPrimitive(0), oidCancel)
	value := ber.AppendBytes(nil, ber.Sequence, ber.AppendInt(nil, ber.Integer, 202))
	send(203, ber.AppendBytes(nil, 0x77, ber.AppendBytes(body, ber.ContextPrimitive(1), value)))
	got := map[int64]int{}
	for range 2 {
		frame, err := frames.Next()
		check(t, err)
		m, err := decodeRequest(bytes.Clone(frame))
		check(t, err)
		r := ber.NewReader(m.body)
		code, err := r.Int(ber.Enumerated)
		check(t, err)
		got[m.id] = int(code)
	}
	if got[202] != canceled || got[203] != success {
		t.Errorf("results %v", got)
	}
	if st := s.Stats(); st.Open != 1 {
		t.Errorf("%d connections are open", st.Open)
	}
}

func TestWritesThatCannotBe(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"add twice":         {s.Add("dn: dc=tea\ndc: tea\n"), "exists"},
		"add elsewhere":     {s.Add("dn: dc=coffee\ndc: coffee\n"), "not below"},
		"add an orphan":     {s.Add("dn: cn=x,ou=y,dc=tea\ncn: x\n"), "no parent"},
		"add a bad DN":      {s.Add("dn: x\ncn: x\n"), "line 1"},
		"add a bad UUID":    {s.Add("dn: cn=x,dc=tea\ncn: x\nentryUUID: 1\n"), "UUID"},
		"modify nothing":    {s.Modify("cn=x,dc=tea", "cn", "y"), "no entry"},
		"delete nothing":    {s.Delete("cn=x,dc=tea"), "no entry"},
		"rename the suffix": {s.Rename("dc=tea", "dc=coffee"), "suffix"},
		"rename into it":    {s.Rename("ou=green,dc=tea", "ou=x,ou=green,dc=tea"), "below"},
		"rename onto":       {s.Rename("cn=sencha,ou=green,dc=tea", "cn=matcha,ou=green,dc=tea"), "exists"},
		"rename astray":     {s.Rename("cn=sencha,ou=green,dc=tea", "cn=sencha,ou=x,dc=tea"), "no parent"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, c.err, c.want)
		}
	}
	if _, err := Start(Options{Suffix: "dc=tea", LDIF: "dn: dc=coffee\ndc: coffee\n"}); err == nil || !strings.Contains(err.Error(), "not below") {
		t.Errorf("content outside the suffix: %v", err)
	}
	if s.Len() != 4 {
		t.Errorf("%d entries are left of 4", s.Len())
	}
}

// UUIDs are the same in every process, given ones are kept, and a DN that comes
// back is another entry.
func TestUUIDs(t *testing.T) {
	given := "dn: cn=given,dc=tea\nobjectClass: device\ncn: given\nentryUUID: 01020304-0506-0708-090a-0b0c0d0e0f10\n"
	one := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	two := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	uuid := func(s *Server, dn string) string { return lookUp(t, s, "-b", dn, "-s", "base", "entryUUID") }
	matcha := "cn=matcha,ou=green,dc=tea"
	before := uuid(one, matcha)
	if before != uuid(two, matcha) {
		t.Error("UUIDs differ between two servers of the same content")
	}
	check(t, one.Add(given))
	if got := uuid(one, "cn=given,dc=tea"); !strings.Contains(got, "01020304-0506-0708-090a-0b0c0d0e0f10") {
		t.Errorf("a given UUID is %s", got)
	}
	check(t, one.Delete(matcha))
	check(t, one.Add("dn: "+matcha+"\nobjectClass: device\ncn: matcha\n"))
	if uuid(one, matcha) == before {
		t.Error("an entry deleted and added again kept its UUID")
	}
}
