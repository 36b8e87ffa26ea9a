package upstream

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// names prints the steps as "name+" or "name-".
func names(steps []Step) string {
	var out []string
	for _, s := range steps {
		sign := "+"
		if !s.OK {
			sign = "-"
		}
		out = append(out, s.Name+sign)
	}
	return strings.Join(out, " ")
}

func entries(n int) func(s *session, r request) {
	return func(s *session, r request) {
		if strings.Contains(string(r.frame), "\x0a\x01\x00\x0a\x01\x00") {
			n = max(n, 1)
			s.send(searchEntry(r.id, "dc=example,dc=org"))
		} else {
			for i := range n {
				s.send(searchEntry(r.id, "cn="+strconv.Itoa(i)+",dc=example,dc=org"))
			}
		}
		s.send(response(r.id, 0x65, 0, ""))
	}
}

// R14: each step of a check is reported, and SyncRepl is really tried.
func TestCheck(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	good := func(s *session, r request) {
		s.message(entry(0))
		s.message(syncrepl.Message{Kind: syncrepl.KindRefreshDelete, RefreshDone: true})
	}
	const all = "resolve+ connect+ bind+ syncrepl+ base+ entries+"
	const without = "resolve+ connect+ bind+ syncrepl- base+ entries+"
	for _, test := range []struct {
		name    string
		server  *server
		change  func(src *Source)
		steps   string
		entries int
		detail  string // of the last step
	}{
		{"good", &server{sync: good, plain: entries(12)}, nil, all, 12, "12"},
		{"many", &server{sync: good, plain: entries(countLimit + 1)}, nil, all, -1, "more than 10000"},
		{"just as many", &server{sync: good, plain: entries(countLimit)}, nil, all, countLimit, "10000"},
		{"refresh ends first", &server{sync: func(s *session, r request) { s.refresh(0, "c") }, plain: entries(1)}, nil, all, 1, "1"},
		{"limited", &server{sync: good, plain: func(s *session, r request) {
			s.send(searchEntry(r.id, "dc=example,dc=org"))
			code := 0
			if strings.Contains(string(r.frame), "\x0a\x01\x02\x0a\x01\x00") {
				code = 4
			}
			s.send(response(r.id, 0x65, code, ""))
		}}, nil, all, -1, "at least 1, the server gives no more: size limit exceeded (4)"},
		{"StartTLS", &server{sync: good, plain: entries(1), config: ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))},
			func(src *Source) { src.StartTLS, src.CAFile = true, caFile },
			"resolve+ connect+ tls+ bind+ syncrepl+ base+ entries+", 1, "1"},
		{"no TLS", &server{startTLS: answerStartTLS(2, "")},
			func(src *Source) { src.StartTLS = true }, "resolve+ connect+ tls-", -1, "refused"},
		{"wrong password", &server{bindCode: 49}, func(src *Source) { src.BindDN, src.PasswordFile = "cn=x", write(t, "x") },
			"resolve+ connect+ bind-", -1, "invalid credentials (49)"},
		{"no sync", &server{}, nil, without, 1, "1"},
		{"sync ignored", &server{sync: func(s *session, r request) { m := entry(0); m.HasState = false; s.message(m) }}, nil, without, 1, "1"},
		{"sync forbidden", &server{sync: func(s *session, r request) { s.fail(50, "") }}, nil,
			"resolve+ connect+ bind+ syncrepl-", -1, "insufficient access rights (50)"},
		{"sync unanswered", &server{sync: func(s *session, r request) {}}, nil,
			"resolve+ connect+ bind+ syncrepl-", -1, "no message for 300ms"},
		{"sync never", &server{sync: func(s *session, r request) {
			for range 2 * maxForeign {
				s.message(syncrepl.Message{Kind: syncrepl.KindOther})
			}
		}}, nil, without, 1, "1"},
		{"garbage", &server{sync: func(s *session, r request) { s.send([]byte("garbage")) }}, nil,
			"resolve+ connect+ bind+ syncrepl-", -1, "not an LDAP message"},
		{"base missing", &server{sync: func(s *session, r request) { s.fail(32, "") }}, nil,
			"resolve+ connect+ bind+ base-", -1, "not there"},
		{"base hidden", &server{sync: good, plain: func(s *session, r request) { s.send(response(r.id, 0x65, 0, "")) }}, nil,
			"resolve+ connect+ bind+ syncrepl+ base-", -1, "cannot be read"},
		{"no counting", &server{sync: good, plain: func(s *session, r request) {
			if strings.Contains(string(r.frame), "\x0a\x01\x00\x0a\x01\x00") {
				s.send(searchEntry(r.id, "dc=example,dc=org"))
				s.send(response(r.id, 0x65, 0, ""))
			}
		}}, nil, "resolve+ connect+ bind+ syncrepl+ base+ entries-", -1, "no answer within 300ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := listen(t, test.server).source()
			if test.change != nil {
				test.change(&src)
			}
			o := quick()
			if strings.Contains(test.detail, "300ms") {
				o.Patience = 300 * time.Millisecond
			}
			steps, n, fatal := Check(context.Background(), src, o)
			if fatal != nil || names(steps) != test.steps || n != test.entries {
				t.Fatalf("%s, %d entries, %v\n%+v", names(steps), n, fatal, steps)
			}
			wantReason(t, steps[len(steps)-1].Detail, test.detail)
		})
	}
}

func TestCheckOfAServerThatIsAway(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{})
	s.stop()
	steps, n, fatal := Check(context.Background(), s.source(), quick())
	if names(steps) != "resolve+ connect-" || n != -1 || fatal != nil {
		t.Errorf("%+v, %d, %v", steps, n, fatal)
	}
	o := quick()
	o.Resolve = func(context.Context, string) ([]string, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	steps, _, fatal = Check(context.Background(), s.source(), o)
	if names(steps) != "resolve-" || fatal != nil || !strings.Contains(steps[0].Detail, "no such host") {
		t.Errorf("%+v, %v", steps, fatal)
	}
}

// R14: where there is no SyncRepl the step says whether and how the server can be
// read at intervals, and the steps behind it run.
func TestR14CheckWithoutSyncRepl(t *testing.T) {
	noLeak(t)
	const missing, refused = "does not offer content synchronization (RFC 4533)", "refuses refreshAndPersist (RFC 4533) here: unwilling to perform (53)"
	for _, test := range []struct {
		name   string
		server ldaptest.Options
		poll   time.Duration
		fromDN bool
		ok     bool
		words  []string
	}{
		{"advertised, refused", ldaptest.Options{NoSync: true, SyncAdvertised: true}, 0, false, false, []string{missing, "by paged searches: give poll"}},
		{"poll", ldaptest.Options{NoSync: true}, time.Minute, false, true, []string{missing, "it is read every 1m0s instead, by paged searches"}},
		{"no UUIDs", ldaptest.Options{NoSync: true, NoUUID: true}, time.Minute, false, false, []string{"every 1m0s", "no entryUUID: give uuid_from_dn"}},
		{"nothing at all", ldaptest.Options{NoSync: true, NoUUID: true}, 0, false, false, []string{"give poll; but", "give uuid_from_dn"}},
		{"UUIDs of DNs", ldaptest.Options{NoSync: true, NoUUID: true}, time.Minute, true, true, []string{"every 1m0s"}},
		{"refreshOnly", ldaptest.Options{NoPersist: true}, 0, false, false, []string{refused, "by refreshOnly: give poll"}},
		{"refreshOnly, poll", ldaptest.Options{NoPersist: true, NoUUID: true}, time.Hour, false, true, []string{refused, "every 1h0m0s instead, by refreshOnly"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := parsed(t, shaftLike(t, test.server).URL()+suse)
			src.Poll, src.UUIDFromDN = Interval(test.poll), test.fromDN
			steps, n, fatal := Check(t.Context(), src, quick())
			want := "resolve+ connect+ bind+ syncrepl- base+ entries+"
			if test.ok {
				want = strings.Replace(want, "-", "+", 1)
			}
			if names(steps) != want || n < 2 || fatal != nil {
				t.Fatalf("%s, %d, %v\n%+v", names(steps), n, fatal, steps)
			}
			wantReason(t, steps[3].Detail, test.words...)
		})
	}
}

// R14, R13: the step resolve shows the order, connect which one it became and why
// not those before it.
func TestR14CheckOfSeveralServers(t *testing.T) {
	noLeak(t)
	good := shaftLike(t, ldaptest.Options{})
	dead := listen(t, &server{})
	dead.stop()
	_, text, _ := net.SplitHostPort(strings.TrimPrefix(good.URL(), "ldap://"))
	port, _ := strconv.Atoi(text)
	d := dnsServer(t, "good.test", "dead.test")
	d.set("SRV _ldap._tcp.dir.test", dnsAnswer{data: [][]byte{srv(1, 0, dead.port(), "dead.test"), srv(2, 0, 9, "gone.test"), srv(3, 0, port, "good.test")}})
	d.set("SRV _ldap._tcp.shut.test", dnsAnswer{data: [][]byte{srv(0, 0, 0, "")}})
	o := d.options(quick())
	steps, n, fatal := Check(t.Context(), parsed(t, "ldap://shut.test"+suse, "ldap://dir.test", "ldap://127.0.0.1:9"), o)
	if names(steps) != "resolve+ connect+ bind+ syncrepl+ base+ entries+" || n < 2 || fatal != nil {
		t.Fatalf("%s, %d, %v\n%+v", names(steps), n, fatal, steps)
	}
	deadPort := strconv.Itoa(dead.port())
	want := "shut.test: its SRV records say that there is no ldap service; dead.test:" + deadPort + " is 127.0.0.1; gone.test:9 is no such host; good.test:" + text + " is 127.0.0.1; 127.0.0.1:9 is 127.0.0.1"
	if steps[0].Detail != want {
		t.Errorf("resolve: %s\nwant     %s", steps[0].Detail, want)
	}
	want = "good.test:" + text + "; before it: connect to dead.test:" + deadPort + ": connection refused; gone.test:9: resolve gone.test: no such host"
	if steps[1].Detail != want {
		t.Errorf("connect: %s\nwant     %s", steps[1].Detail, want)
	}
	for _, test := range []struct {
		src   Source
		steps string
		words []string
	}{
		{parsed(t, "ldap://shut.test"+suse), "resolve-", []string{"shut.test: its SRV records"}},
		{parsed(t, "ldap://gone.test"+suse), "resolve-", []string{"resolve gone.test: no such host"}},
		{parsed(t, "ldap://gone.test"+suse, "ldap://shut.test"), "resolve-", []string{"none of 2 servers", "no such host", "SRV records"}},
		{parsed(t, "ldap://dead.test:"+deadPort+suse), "resolve+ connect-", []string{"connect to dead.test:" + deadPort + ": connection refused"}},
		{parsed(t, "ldap://gone.test"+suse, "ldap://dead.test:"+deadPort), "resolve+ connect-", []string{"none of 2 servers", "refused"}},
		{parsed(t, "ldapi://%2Fnone"+suse, "ldapi://%2Fneither"), "connect-", []string{"none of 2 servers is to be had: connect to /none: no such", "connect to /neither"}},
	} {
		steps, n, fatal := Check(t.Context(), test.src, o)
		if names(steps) != test.steps || n != -1 || fatal != nil {
			t.Errorf("%s: %s, %d, %v", test.src.URL(), names(steps), n, fatal)
			continue
		}
		wantReason(t, steps[len(steps)-1].Detail, test.words...)
	}
	d.set("SRV _ldap._tcp.dead.test", dnsAnswer{code: 2})
	steps, _, _ = Check(t.Context(), parsed(t, "ldap://dead.test"+suse, "ldap://127.0.0.1:9"), o)
	wantReason(t, steps[0].Detail, "dead.test:389 is 127.0.0.1 (SRV records: ")
}

// R14: only what can never work is fatal.
func TestCheckFatal(t *testing.T) {
	steps, n, fatal := Check(context.Background(), Source{Host: "h", Filter: "(("}, quick())
	if len(steps) != 0 || n != -1 || fatal == nil || !strings.Contains(fatal.Error(), "filter") {
		t.Errorf("%+v, %d, %v", steps, n, fatal)
	}
}

// A check ends with its context.
func TestCheckIsCancelled(t *testing.T) {
	noLeak(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	s := listen(t, &server{sync: func(s *session, r request) { cancel(enough) }})
	steps, _, _ := Check(ctx, s.source(), quick())
	if names(steps) != "resolve+ connect+ bind+ syncrepl-" || steps[3].Detail != "enough" {
		t.Errorf("%+v", steps)
	}
}
