package upstream

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

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

// Each step of a check is reported, and SyncRepl is really tried.
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

// Only what can never work is fatal.
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
