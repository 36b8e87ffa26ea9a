package upstream

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
)

const suse = "/" + ldaptest.SuSeSuffix

// shaftLike starts a provider whose root DSE has these.
func shaftLike(t *testing.T, o ldaptest.Options) *ldaptest.Server {
	t.Helper()
	o.Suffix, o.LDIF = ldaptest.SuSeSuffix, ldaptest.SuSeLDIF
	s, err := ldaptest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func parsed(t *testing.T, urls ...string) Source {
	t.Helper()
	src, _, err := ParseURLs(urls)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Validate(); err != nil {
		t.Fatal(err)
	}
	return src
}

// R17: a server that is this Shaft, or follows it, is refused at a check and at
// a connect; who follows others is told.
func TestR17LoopsAreRefused(t *testing.T) {
	noLeak(t)
	var many []string
	for i := range 2 * maxInstances {
		many = append(many, "other"+strconv.Itoa(i))
	}
	for _, test := range []struct {
		name          string
		own, upstream []string
		step          string // detail of the check's
		loop          bool
		instances     int
	}{
		{"no Shaft", nil, nil, "the server is no Shaft", false, 0},
		{"another", []string{"other"}, nil, "the Shaft other, which follows no other", false, 1},
		{"others", []string{"other"}, []string{"third", "other", "fourth"}, "the Shaft other, which follows third, fourth", false, 3},
		{"itself", []string{"US"}, nil, " is this Shaft itself", true, 0},
		{"a follower", []string{"other"}, []string{"third", "us"}, " is the Shaft other, which follows this one", true, 0},
		{"odd ids", []string{""}, []string{strings.Repeat("x", 200), "usual"}, "the Shaft usual, which follows no other", false, 1},
		{"us behind many", []string{"other"}, append(many, "us"), "which follows this one", true, 0},
		{"many", []string{"other"}, many, "which follows other0, other1", false, maxInstances},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := shaftLike(t, ldaptest.Options{RootDSE: map[string][]string{"shaftInstance": test.own, "shaftUpstream": test.upstream}})
			src := parsed(t, s.URL()+suse)
			o := quick()
			o.Instance = "us"
			steps, n, fatal := Check(t.Context(), src, o)
			want := "resolve+ connect+ bind+ loop+ syncrepl+ base+ entries+"
			if test.loop {
				want = "resolve+ connect+ bind+ loop-"
			}
			if names(steps) != want || (fatal != nil) != test.loop || (n < 0) != test.loop {
				t.Fatalf("%s, %d, %v", names(steps), n, fatal)
			}
			wantReason(t, steps[3].Detail, test.step)
			if test.loop && steps[3].Detail != fatal.Error() {
				t.Errorf("step %q, error %q", steps[3].Detail, fatal)
			}
			r := newRecorder()
			l := follow(t, src, r, o)
			if test.loop {
				wantReason(t, r.await(t, Down).Reason, "this is a loop: 127.0.0.1:", test.step)
				if begins, _ := r.count(); begins != 0 || s.Stats().SyncSearches != 0 {
					t.Errorf("%d sessions, %d searches", begins, s.Stats().SyncSearches)
				}
			} else if got := r.await(t, Live); len(got.Instances) != test.instances {
				t.Errorf("%d instances: %.200v", len(got.Instances), got.Instances)
			}
			l.Close()
			reports := make(chan Status, 10)
			p := Probe(src, time.Hour, func(s Status) { reports <- s }, o)
			defer p.Close()
			if got := next(t, reports); (got.State == Down) != test.loop {
				t.Errorf("probe: %+v", got)
			}
		})
	}
}

// R17: who does not know its own id asks nothing.
func TestR17NothingIsAskedWithoutAnID(t *testing.T) {
	s := shaftLike(t, ldaptest.Options{RootDSE: map[string][]string{"shaftInstance": {""}}})
	c, err := open(t.Context(), parsed(t, s.URL()+suse), quick().withDefaults(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	c.close()
	if n := s.Stats().Searches; n != 0 {
		t.Errorf("%d searches", n)
	}
}

// R17: a loop of one server leaves the others.
func TestR17OnlyTheServerThatLoopsIsLeftOut(t *testing.T) {
	noLeak(t)
	loop := shaftLike(t, ldaptest.Options{RootDSE: map[string][]string{"shaftInstance": {"us"}}})
	good := shaftLike(t, ldaptest.Options{})
	o := quick()
	o.Instance = "us"
	r := newRecorder()
	follow(t, parsed(t, loop.URL()+suse, good.URL()), r, o)
	r.happens(t, "begin "+strings.TrimPrefix(good.URL(), "ldap://")+" ")
	r.await(t, Live)
}

// R17: what a server says instead of its root DSE is no loop and no failure; that
// it does not answer, or hangs up, is one.
func TestR17RootDSEsOfEveryKind(t *testing.T) {
	noLeak(t)
	for name, test := range map[string]struct {
		answer func(s *session, r request)
		reason string
	}{
		"refused":  {func(s *session, r request) { s.send(response(r.id, 0x65, 50, "no")) }, ""},
		"missing":  {func(s *session, r request) { s.send(response(r.id, 0x65, 32, "")) }, ""},
		"nothing":  {func(s *session, r request) { s.send(response(r.id, 0x65, 0, "")) }, ""},
		"referral": {func(s *session, r request) { s.send(response(r.id, 0x65, 10, "")) }, ""},
		"two entries": {func(s *session, r request) {
			s.send(rootDSE(r.id, "shaftInstance", "one"))
			s.send(rootDSE(r.id, "SHAFTUPSTREAM", "us"))
			s.send(response(r.id, 0x65, 0, ""))
		}, "read the root DSE: the server sent more than one"},
		"limited": {func(s *session, r request) {
			s.send(rootDSE(r.id, "shaftInstance", "us"))
			s.send(response(r.id, 0x65, 4, ""))
		}, "is this Shaft itself"},
		"hangs up": {func(s *session, r request) { s.Close() }, "read the root DSE: connection lost"},
		"silent":   {func(s *session, r request) {}, "read the root DSE: no answer within 200ms"},
		"endless": {func(s *session, r request) {
			for s.write(rootDSE(r.id, "shaftInstance", "one")) {
			}
		}, "read the root DSE: the server sent more than one"},
		"references without end": {func(s *session, r request) {
			for s.write(reference(r.id)) {
			}
		}, "read the root DSE: no answer within 200ms"},
		"malformed": {func(s *session, r request) {
			s.send([]byte{0x30, 0x0a, 2, 4, r.frame[4], r.frame[5], r.frame[6], r.frame[7], 0x64, 2, 4, 9})
		}, "read the root DSE: "},
		"huge": {func(s *session, r request) {
			s.send(rootDSE(r.id, "shaftInstance", strings.Repeat("x", 2<<20)))
		}, "read the root DSE: the server sent what is not taken"},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, &server{plain: test.answer})
			o := quick()
			o.Instance = "us"
			o.MaxMessage = 1 << 20
			if strings.Contains(test.reason, "200ms") {
				o.DialTimeout = 200 * time.Millisecond
			}
			c, err := open(t.Context(), s.source(), o.withDefaults(), func() {})
			if c != nil {
				c.close()
			}
			if (err == nil) != (test.reason == "") || !strings.Contains(fmt.Sprint(err), test.reason) && err != nil {
				t.Errorf("%v, want %q", err, test.reason)
			}
		})
	}
}

func (s *session) write(frame []byte) bool {
	_, err := s.Write(frame)
	return err == nil
}

// reference is a search's that names no server.
func reference(id int64) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, id)
	msg, body := ber.Begin(msg, 0x73)
	msg = ber.AppendString(msg, ber.OctetString, "ldap://elsewhere")
	return ber.End(ber.End(msg, body), mark)
}

// rootDSE is an entry without a name that has one attribute.
func rootDSE(id int64, attr, value string) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, id)
	msg, body := ber.Begin(msg, 0x64)
	msg = ber.AppendString(msg, ber.OctetString, "")
	msg, list := ber.Begin(msg, ber.Sequence)
	msg, one := ber.Begin(msg, ber.Sequence)
	msg = ber.AppendString(msg, ber.OctetString, attr)
	msg, set := ber.Begin(msg, ber.Set)
	msg = ber.AppendString(msg, ber.OctetString, value)
	return ber.End(ber.End(ber.End(ber.End(ber.End(msg, set), one), list), body), mark)
}
