package ldapd

import (
	"context"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"shaft/pkg/tree"
)

// statsLog keeps the lines of LevelStats.
type statsLog struct {
	mu   sync.Mutex
	all  []string
	gone chan struct{} // closed with the first line that says "closed"
	once sync.Once
}

func (l *statsLog) Enabled(_ context.Context, at slog.Level) bool { return at == LevelStats }
func (l *statsLog) WithAttrs([]slog.Attr) slog.Handler            { return l }
func (l *statsLog) WithGroup(string) slog.Handler                 { return l }
func (l *statsLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r.Message)
	if strings.Contains(r.Message, " closed") {
		l.once.Do(func() { close(l.gone) })
	}
	return nil
}

// R52: each connection, request and result has a line in slapd's form.
func TestTraceLines(t *testing.T) {
	log := &statsLog{gone: make(chan struct{})}
	_, addr := serve(t, withMirror(Options{Log: slog.New(log), Backend: newBackend(listers(t, 200))}))
	c := dial(t, addr)
	c.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "wrong"))
	c.search(2, query{base: base, scope: tree.Sub, filter: "(|(cn=User 1)(uid=u\"2*))", attrs: []string{"cn", "sn"}})
	c.search(3, query{base: base, scope: tree.Sub}) // goes on on a goroutine
	c.search(4, query{base: "cn=no\n,ou=Package Listers"})
	c.do(5, tagCompare, compareBody(base, "ou", "x"))
	c.do(6, tagExtended, extendedBody(whoAmI))
	c.do(7, tagDelete, []byte(base))
	c.write(msg(8, tagAbandon, []byte{99}))
	c.write(msg(9, tagUnbind, nil))
	<-log.gone
	log.mu.Lock()
	defer log.mu.Unlock()
	times := `qtime=0\.000000 etime=\d+\.\d{6} `
	want := []string{
		`fd=\d+ ACCEPT from IP=127\.0\.0\.1:\d+ \(IP=` + regexp.QuoteMeta(addr) + `\)`,
		`op=0 BIND dn="cn=mirror,ou=Package Listers" method=128`,
		`op=0 RESULT tag=97 err=49 ` + times + `text=`,
		`op=1 SRCH base="ou=Package Listers" scope=2 deref=0 filter="\(\|\(cn=User 1\)\(uid=u\\222\*\)\)"`,
		`op=1 SRCH attr=cn sn`,
		`op=1 SEARCH RESULT tag=101 err=0 ` + times + `nentries=1 text=`,
		`op=2 SRCH base="ou=Package Listers" scope=2 deref=0 filter="\(objectClass=\*\)"`,
		`op=2 SEARCH RESULT tag=101 err=0 ` + times + `nentries=202 text=`,
		`op=3 SRCH base="cn=no\\0A,ou=Package Listers" scope=0 deref=0 filter="\(objectClass=\*\)"`,
		`op=3 SEARCH RESULT tag=101 err=32 ` + times + `nentries=0 text=` + noEntry,
		`op=4 CMP dn="ou=Package Listers" attr="ou"`,
		`op=4 RESULT tag=111 err=5 ` + times + `text=`,
		`op=5 EXT oid=1\.3\.6\.1\.4\.1\.4203\.1\.11\.3`,
		`op=5 WHOAMI`,
		`op=5 RESULT oid= err=0 ` + times + `text=`,
		`op=6 DEL dn="ou=Package Listers"`,
		`op=6 RESULT tag=107 err=53 ` + times + `text=` + readOnly,
		`op=7 ABANDON msg=99`,
		`op=8 UNBIND`,
		`fd=\d+ closed`,
	}
	for i, line := range log.all {
		if i >= len(want) || !regexp.MustCompile("^conn=1 "+want[i]+"$").MatchString(line) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	if len(log.all) != len(want) {
		t.Errorf("%d lines, want %d", len(log.all), len(want))
	}
}

// A request of whatever content has lines without control characters and of
// bounded length.
func TestTraceIsBounded(t *testing.T) {
	long := strings.Repeat("\x00\"", maxTraced)
	for _, req := range []request{
		{op: tagBind, body: bindBody(3, long, "secret")},
		{op: tagSearch, body: query{base: long, attrs: []string{long, "x\ny"}}.body(t)},
		{op: tagSearch, body: []byte(long)}, {op: tagCompare}, {op: tagDelete, body: []byte(long)}, {op: tagExtended, body: extendedBody(long)},
		{op: tagModify, body: []byte(long)}, {op: tagAbandon}, {op: 0x7f},
	} {
		for _, line := range requestLines(&req) {
			if len(line) > 4*maxTraced || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%x: a line of %d: %.100q", byte(req.op), len(line), line)
			}
			if strings.Contains(line, "secret") {
				t.Errorf("a password is in %.100q", line)
			}
		}
	}
}

// counted is what all connections have done.
func counted(s *Server) *totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.past
	for c := range s.conns {
		t.add(c.totals())
	}
	return &t
}

// R39: requests are counted as they begin and end, what is sent by entries and octets.
func TestMeter(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(listers(t, 100))})
	c := dial(t, addr)
	c.search(1, query{base: base, scope: tree.Sub})
	c.search(2, query{base: base})
	c.do(3, tagBind, bindBody(3, "", ""))
	c.do(4, tagDelete, []byte(base))
	got := counted(s)
	if got.sent.entries != 103 || got.sent.pdus != 107 || got.sent.bytes < 103*100 || got.sent.referrals != 0 {
		t.Errorf("sent: %+v", got.sent)
	}
	for k, want := range map[kind]uint64{kindSearch: 2, kindBind: 1, kindDelete: 1, kindCompare: 0} {
		if got.initiated[k] != want || got.completed[k] != want {
			t.Errorf("%s: %d begun, %d ended, want %d", kindNames[k], got.initiated[k], got.completed[k], want)
		}
	}
	c.write(msg(5, tagUnbind, nil))
	c.ended()
	for len(connections(s)) > 0 { // it is counted before it is closed, and forgotten after
		c.ended()
	}
	again := counted(s)
	if !reflect.DeepEqual(again.sent, got.sent) || again.initiated[kindUnbind] != 1 || sum(&again.initiated) != 5 || sum(&again.completed) != 5 {
		t.Errorf("after it was closed: %+v", again)
	}
}

func connections(s *Server) (all []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// BenchmarkCount is what counting costs for the reply to a base search.
func BenchmarkCount(b *testing.B) {
	reply := appendReply(nil, 1, tagEntry, result{text: strings.Repeat("x", 300)}, nil, nil)
	reply = appendReply(reply, 1, tagSearchDone, result{}, nil, nil)
	t := &trace{log: slog.New(slog.DiscardHandler)}
	var total traffic
	for b.Loop() {
		if t.on() || t.live.Load() > 0 {
			b.Fatal("it is on")
		}
		total.count(reply)
	}
}
