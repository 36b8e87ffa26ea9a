package ldapd

import (
	"crypto/tls"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"shaft/pkg/ber"
)

// tracedServer has a stats log that is complete when the first connection ends.
func tracedServer(t *testing.T, o Options) (*Server, *statsLog) {
	log := &statsLog{gone: make(chan struct{})}
	o.Log = slog.New(log)
	s, _ := serve(t, o)
	return s, log
}

// compare waits for the end of the connection, and compares its lines, each without conn=1 and
// with an expression.
func (l *statsLog) compare(t *testing.T, want ...string) {
	t.Helper()
	<-l.gone
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, line := range l.all {
		if i >= len(want) || !regexp.MustCompile(`^conn=\d+ `+want[i]+"$").MatchString(line) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	if len(l.all) != len(want) {
		t.Errorf("%d lines, want %d", len(l.all), len(want))
	}
}

const traceTimes = `qtime=0\.000000 etime=\d+\.\d{6} `

// R52: who binds, how well the connection is protected, and for whom something is done
// stand in the log in slapd's form.
func TestTraceWho(t *testing.T) {
	ca := newAuthority(t)
	o := Options{TLS: ca.server(), Accounts: []Account{{DN: "cn=robot", PasswordHash: cheap("own"), Proxy: true}}}
	s, log := tracedServer(t, o)
	c := dial(t, also(t, s, "ldap://127.0.0.1:0"))
	c.do(1, tagBind, bindBody(3, "CN=Robot", "own"))
	c.startTLS(2)
	cfg := ca.client()
	cfg.MinVersion = tls.VersionTLS13
	if err := c.upgrade(cfg); err != nil {
		t.Fatal(err)
	}
	c.do(3, tagBind, bindBody(3, "cn=robot", "own"))
	c.do(4, tagExtended, extendedBody(whoAmI), ctl(oidProxied, critical, []byte(`dn:cn=a\22b`)))
	c.do(5, tagModify, modifyBody(base), ctl(oidProxied, critical, []byte{}))
	c.write(msg(6, tagUnbind, nil))
	log.compare(t, `fd=\d+ ACCEPT from IP=\S+ \(IP=\S+\)`,
		`op=0 BIND dn="CN=Robot" method=128`,
		`op=0 BIND dn="cn=robot" mech=SIMPLE bind_ssf=0 ssf=0`,
		`op=0 RESULT tag=97 err=0 `+traceTimes+`text=`,
		`op=1 EXT oid=1\.3\.6\.1\.4\.1\.1466\.20037`, `op=1 STARTTLS`, `op=1 RESULT oid= err=0 `+traceTimes+`text=`,
		`fd=\d+ TLS established tls_ssf=(128|256) ssf=(128|256) tls_proto=TLSv1\.3 tls_cipher=TLS_\w+`,
		`op=2 BIND dn="cn=robot" method=128`,
		`op=2 BIND dn="cn=robot" mech=SIMPLE bind_ssf=0 ssf=(128|256)`,
		`op=2 RESULT tag=97 err=0 `+traceTimes+`text=`,
		`op=3 EXT oid=1\.3\.6\.1\.4\.1\.4203\.1\.11\.3`, `op=3 WHOAMI`,
		`op=3 PROXYAUTHZ dn="cn=a\\2[2]b"`, `op=3 RESULT oid= err=0 `+traceTimes+`text=`,
		`op=4 MOD dn="`+base+`"`, `op=4 MOD attr=cn`,
		`op=4 PROXYAUTHZ dn=""`, `op=4 RESULT tag=103 err=53 `+traceTimes+`text=.*`,
		`op=5 UNBIND`, `fd=\d+ closed`)
}

// R52: EXTERNAL over a unix socket, with the strength that slapd gives such.
func TestTraceExternal(t *testing.T) {
	log := &statsLog{gone: make(chan struct{})}
	_, local := serveUnix(t, Options{Log: slog.New(log)})
	c := local()
	external := ber.AppendString(ber.AppendInt(nil, ber.Integer, 3), ber.OctetString, "")
	external = ber.AppendBytes(external, authSASL, ber.AppendString(nil, ber.OctetString, mechExternal))
	if r := c.do(1, tagBind, external); r.code != 0 {
		t.Fatal(r)
	}
	c.write(msg(2, tagUnbind, nil))
	me := `"gidNumber=\d+\+uidNumber=` + strconv.Itoa(os.Getuid()) + `,cn=peercred,cn=external,cn=auth"`
	log.compare(t, `fd=\d+ ACCEPT from PATH=\S* \(PATH=\S+\)`, `op=0 BIND dn="" method=163`,
		`op=0 BIND authcid=`+me+` authzid=`+me, `op=0 BIND dn=`+me+` mech=EXTERNAL bind_ssf=0 ssf=71`,
		`op=0 RESULT tag=97 err=0 `+traceTimes+`text=`, `op=1 UNBIND`, `fd=\d+ closed`)
}

// R52: a handshake that fails is told, as of a client that speaks no TLS.
func TestTraceHandshake(t *testing.T) {
	ca := newAuthority(t)
	s, log := tracedServer(t, Options{TLS: ca.server()})
	c := dial(t, also(t, s, "ldaps://127.0.0.1:0"))
	c.write(msg(1, tagExtended, extendedBody(whoAmI)))
	log.compare(t, `fd=\d+ ACCEPT from IP=\S+ \(IP=\S+\)`, `fd=\d+ closed \(TLS negotiation failure\)`)
}

// The bits of all ciphers that there may be.
func TestCipherBits(t *testing.T) {
	n := map[int]int{}
	for _, suite := range tls.CipherSuites() {
		bits := cipherBits(suite.ID)
		if strings.Contains(suite.Name, "AES_128") != (bits == 128) {
			t.Errorf("%s has %d", suite.Name, bits)
		}
		n[bits]++
	}
	if n[128] == 0 || n[256] == 0 {
		t.Errorf("%v", n)
	}
}
