package upstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// zero is a random number that is none.
func zero() float64 { return 0 }

// R13: SRV records say where a host's servers are; name servers that lie, fail or
// say nothing never keep the host itself from being tried.
func TestR13PlacesByRealDNS(t *testing.T) {
	var thousand, lies [][]byte
	for i := range 1000 {
		thousand = append(thousand, srv(7, uint16(i), 400, "x"+strconv.Itoa(i)+".test"))
	}
	for _, target := range []string{"a b.test", "-x..test", "a/b.test", "\x1b[2J.test"} {
		lies = append(lies, srv(0, 0, 389, target))
	}
	const itself = "dir.test:389"
	for _, test := range []struct {
		name   string
		answer dnsAnswer
		places string // in order
		told   string // why SRV was of no use, or the error when there are no places
	}{
		{"one", dnsAnswer{data: [][]byte{srv(0, 0, 1389, "A.test")}}, "a.test:1389", ""},
		{"by priority", dnsAnswer{data: [][]byte{srv(20, 9, 3, "c.test"), srv(1, 0, 1, "a.test"), srv(10, 5, 2, "b.test")}}, "a.test:1 b.test:2 c.test:3", ""},
		{"none", dnsAnswer{code: 3}, itself, ""},
		{"no data", dnsAnswer{}, itself, ""},
		{"decidedly not", dnsAnswer{data: [][]byte{srv(0, 0, 0, "")}}, "", "no ldap service"},
		{"the root among others", dnsAnswer{data: [][]byte{srv(0, 0, 389, ""), srv(1, 0, 1, "a.test")}}, "a.test:1", ""},
		{"servfail", dnsAnswer{code: 2}, itself, "server misbehaving"},
		{"refused", dnsAnswer{code: 5}, itself, "server misbehaving"},
		{"silent", dnsAnswer{silent: true}, itself, "do not answer"},
		{"garbage", dnsAnswer{raw: []byte("\x84\x00 what?")}, itself, "do not answer"},
		{"half a record", dnsAnswer{data: [][]byte{{0, 1, 0, 1}}}, itself, "cannot unmarshal"},
		{"lies", dnsAnswer{data: lies}, itself, "invalid"},
		{"lies and one truth", dnsAnswer{data: append(lies[:len(lies):len(lies)], srv(9, 0, 1389, "b.test"))}, "b.test:1389", ""},
		{"port 0", dnsAnswer{data: [][]byte{srv(0, 0, 0, "a.test")}}, itself, "none of 1 records"},
		{"by TCP", dnsAnswer{truncated: true, data: [][]byte{srv(0, 0, 5, "a.test")}}, "a.test:5", ""},
		{"TCP hangs up", dnsAnswer{truncated: true, hangUp: true, data: [][]byte{srv(0, 0, 5, "a.test")}}, itself, "EOF"},
		{"a thousand", dnsAnswer{data: thousand}, "16", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := dnsServer(t)
			d.set("SRV _ldap._tcp.dir.test", test.answer)
			o := d.options(quick())
			o.Rand = zero
			if test.answer.silent || test.answer.raw != nil {
				o.DialTimeout = 100 * time.Millisecond
			}
			places, err := Server{Protocol: "ldap", Host: "dir.test"}.places(t.Context(), o)
			var at []string
			told := err
			for _, p := range places {
				at = append(at, p.address)
				if p.srv != nil {
					told = errors.New(dnsCause(p.srv))
				}
			}
			if got := strings.Join(at, " "); got != test.places && strconv.Itoa(len(at)) != test.places {
				t.Errorf("%s, want %s", got, test.places)
			}
			if got := fmt.Sprint(told); test.told == "" && told != nil || !strings.Contains(got, test.told) {
				t.Errorf("told %s, want %q", got, test.told)
			}
		})
	}
}

// R13: only a name without a port has SRV records, each protocol its own; what is
// written with dots is looked up as it stands.
func TestR13WhoHasSRV(t *testing.T) {
	for _, test := range []struct {
		at          Server
		asked, want string
	}{
		{Server{Protocol: "ldap", Host: "dir.test"}, "ldap tcp dir.test.", "dir.test:389"},
		{Server{Protocol: "ldaps", Host: "dir.test."}, "ldaps tcp dir.test.", "dir.test.:636"},
		{Server{Protocol: "ldap", Host: "dir"}, "ldap tcp dir", "dir:389"},
		{Server{Protocol: "ldap", Host: "dir.test", Port: 389}, "", "dir.test:389"},
		{Server{Protocol: "ldaps", Host: "dir.test", Port: 1}, "", "dir.test:1"},
		{Server{Protocol: "ldap", Host: "127.0.0.1"}, "", "127.0.0.1:389"},
		{Server{Protocol: "ldaps", Host: "::1"}, "", "[::1]:636"},
		{Server{Protocol: "ldap", Host: "localhost"}, "", "localhost:389"},
		{Server{Protocol: "ldapi", Socket: "/run/ldapi"}, "", "/run/ldapi"},
	} {
		asked := ""
		o := quick()
		o.LookupSRV = func(_ context.Context, service, proto, name string) ([]*net.SRV, error) {
			asked = service + " " + proto + " " + name
			return nil, nil
		}
		places, err := test.at.places(t.Context(), o)
		if err != nil || asked != test.asked || len(places) != 1 || places[0].address != test.want || places[0].srv != nil {
			t.Errorf("%+v: asked %q, %+v, %v", test.at, asked, places, err)
		}
	}
}

// R13: within a priority the order is random in proportion to the weights, with
// a small chance for those that have none (RFC 2782).
func TestR13WeightsDecide(t *testing.T) {
	records := func() []*net.SRV {
		return []*net.SRV{
			{Target: "heavy", Port: 1, Priority: 1, Weight: 60}, {Target: "light", Port: 1, Priority: 1, Weight: 20},
			{Target: "none", Port: 1, Priority: 1}, {Target: "mid", Port: 1, Priority: 1, Weight: 20},
			{Target: "last", Port: 1, Priority: 2, Weight: 65535},
		}
	}
	const rounds = 20000
	random := rand.New(rand.NewPCG(1, 2))
	first := map[string]int{}
	for range rounds {
		out := ordered(records(), 16, random.Float64)
		if len(out) != 5 || out[4].Target != "last" {
			t.Fatalf("%d records, last %s", len(out), out[len(out)-1].Target)
		}
		first[out[0].Target]++
	}
	for target, share := range map[string]float64{"heavy": 60. / 101, "light": 20. / 101, "mid": 20. / 101, "none": 1. / 101} {
		if got := float64(first[target]) / rounds; math.Abs(got-share) > 0.02 || got == 0 {
			t.Errorf("%s was first in %.3f of the cases, want about %.3f", target, got, share)
		}
	}
	for value, want := range map[float64]string{0: "none heavy light mid last", 0.999999: "mid light heavy none last"} {
		var got []string
		for _, r := range ordered(records(), 16, func() float64 { return value }) {
			got = append(got, r.Target)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("random number %v: %v, want %s", value, got, want)
		}
	}
	if out := ordered(records(), 2, zero); len(out) != 2 {
		t.Errorf("%d records where 2 are wanted", len(out))
	}
}

// port is where a scripted server listens.
func (s *server) port() int { return s.ln.Addr().(*net.TCPAddr).Port }

// R13: targets are tried in order, and looked up again at each try; the session
// begins with the one that was reached.
func TestR13FollowsTheTargetThatAnswers(t *testing.T) {
	noLeak(t)
	live := func(s *session, r request) { s.refresh(1, "c") }
	dead, b, c := listen(t, &server{}), listen(t, &server{sync: live}), listen(t, &server{sync: live})
	dead.stop()
	d := dnsServer(t, "dead.test", "b.test", "c.test")
	const question = "SRV _ldap._tcp.dir.test"
	d.set(question, dnsAnswer{data: [][]byte{srv(2, 0, b.port(), "b.test"), srv(1, 0, dead.port(), "dead.test")}})
	src := Source{Host: "dir.test", Base: "dc=example,dc=org"}
	if _, err := src.Validate(); err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	l := follow(t, src, r, d.options(quick()))
	r.happens(t, "begin b.test:"+strconv.Itoa(b.port())+" ")
	r.await(t, Live)
	d.set(question, dnsAnswer{data: [][]byte{srv(1, 0, c.port(), "c.test"), srv(2, 0, b.port(), "b.test")}})
	b.hangUp()
	r.happens(t, "begin c.test:"+strconv.Itoa(c.port())+" c")
	r.await(t, Live)
	d.set(question, dnsAnswer{data: [][]byte{srv(0, 0, 0, "")}})
	c.hangUp()
	for !strings.Contains(l.Status().Reason, "no ldap service") {
		r.await(t, Down)
	}
	wantReason(t, l.Status().Reason, "dir.test: its SRV records say that there is no ldap service")
}

// R13: behind the SRV targets of one server come those of the next, each tried
// once; the reason names all.
func TestR13EveryServerIsTriedAndNamed(t *testing.T) {
	noLeak(t)
	dead := listen(t, &server{})
	dead.stop()
	locked := listen(t, &server{bindCode: 49})
	d := dnsServer(t, "dead.test", "locked.test", "alias.test")
	d.set("SRV _ldap._tcp.dir.test", dnsAnswer{data: [][]byte{srv(1, 0, dead.port(), "dead.test"), srv(2, 0, 9, "gone.test")}})
	d.set("SRV _ldap._tcp.shut.test", dnsAnswer{data: [][]byte{srv(0, 0, 0, "")}})
	d.set("SRV _ldap._tcp.sick.test", dnsAnswer{code: 2})
	src, _, err := ParseURLs([]string{"ldap://dir.test/dc=example,dc=org", "ldap://locked.test:" + strconv.Itoa(locked.port()),
		"ldap://shut.test", "ldap://sick.test", "ldap://127.0.0.1:" + strconv.Itoa(dead.port())})
	if err != nil {
		t.Fatal(err)
	}
	src.BindDN, src.PasswordFile = "cn=shaft", write(t, "s3cret")
	_, err = open(t.Context(), src, d.options(quick()).withDefaults(), func() {})
	if err == nil {
		t.Fatal("let in")
	}
	refused := "connect to dead.test:" + strconv.Itoa(dead.port()) + ": connection refused"
	wantReason(t, err.Error(), "none of 6 servers is to be had: "+refused, "; gone.test:9: resolve gone.test: no such host",
		"locked.test:"+strconv.Itoa(locked.port())+": bind as cn=shaft: invalid credentials (49)", "shut.test: its SRV records", "sick.test",
		"connect to 127.0.0.1:")
	if strings.Contains(err.Error(), "s3cret") || len([]rune(err.Error())) > 600 {
		t.Errorf("reason %q", err)
	}
	last := listen(t, &server{})
	src.Servers = append(src.Servers, Server{Protocol: "ldap", Host: "127.0.0.1", Port: last.port()})
	c, err := open(t.Context(), src, d.options(quick()).withDefaults(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if c.server != last.ln.Addr().String() || locked.binds.Load() != 2 || last.binds.Load() != 1 {
		t.Errorf("reached %s after %d binds, then %d", c.server, locked.binds.Load(), last.binds.Load())
	}
}

// R15: one server's thousand targets leave a try for those behind it.
func TestR15TriesAreBounded(t *testing.T) {
	o := quick()
	o.Rand = zero
	o.LookupSRV = func(context.Context, string, string, string) (all []*net.SRV, _ error) {
		for i := range 1000 {
			all = append(all, &net.SRV{Target: "t" + strconv.Itoa(i) + ".test.", Port: 1})
		}
		return all, nil
	}
	tried := map[string]int{}
	o.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		tried[address]++
		return nil, errors.New("no")
	}
	src := Source{Host: "a.test", Servers: []Server{{Host: "b.test"}, {Host: "c.test", Port: 9}, {Host: "d.test", Port: 9}}}
	if _, err := src.Validate(); err != nil {
		t.Fatal(err)
	}
	_, err := open(t.Context(), src, o.withDefaults(), func() {})
	if err == nil || tried["c.test:9"] != 1 || tried["d.test:9"] != 1 || tried["t0.test:1"] != 2 || len(tried) != 15 {
		t.Errorf("%d tried: %v\n%v", len(tried), tried, err)
	}
}

// R13: TLS verifies the URL's host, never the SRV target (RFC 4513 section 3.1.3).
func TestR13CertificateIsTheURLsHosts(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	later := time.Now().Add(time.Hour)
	for _, protocol := range []string{"ldap", "ldaps"} {
		for host, reason := range map[string]string{"dir.test": "", "target.test": "TLS: the certificate is not for dir.test"} {
			s := listen(t, &server{config: ca.issue(t, host, later), ldaps: protocol == "ldaps"})
			d := dnsServer(t, "target.test")
			d.set("SRV _"+protocol+"._tcp.dir.test", dnsAnswer{data: [][]byte{srv(0, 0, s.port(), "target.test")}})
			src := Source{Protocol: protocol, Host: "dir.test", StartTLS: protocol == "ldap", CAFile: caFile,
				BindDN: "cn=shaft", PasswordFile: write(t, "s3cret")}
			c, err := open(t.Context(), src, d.options(quick()).withDefaults(), func() {})
			if c != nil {
				c.close()
			}
			if (reason == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), reason) {
				t.Errorf("%s, certificate of %s: %v", protocol, host, err)
			}
			if binds := s.binds.Load(); (err == nil) != (binds == 1) {
				t.Errorf("%s, certificate of %s: %d binds", protocol, host, binds)
			}
		}
	}
}
