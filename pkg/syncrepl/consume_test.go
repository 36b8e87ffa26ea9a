package syncrepl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// script is a stream of messages; it ends as a closed connection does.
type script struct {
	frames [][]byte
	burst  int // how many frames are there without waiting, each time one is awaited
	left   int
	end    error
}

func (s *script) Next() ([]byte, error) {
	if len(s.frames) == 0 {
		return nil, s.end
	}
	if s.left == 0 {
		s.left = s.burst
	}
	s.left--
	f := bytes.Clone(s.frames[0])
	s.frames = s.frames[1:]
	return f, nil
}

func (s *script) Buffered() bool { return s.left > 0 && len(s.frames) > 0 }

func stream(ms ...Message) *script {
	s := &script{burst: 1, end: io.EOF}
	for _, m := range ms {
		m.MessageID = 2
		s.frames = append(s.frames, m.Append(nil))
	}
	return s
}

// record writes down what a sink is told, one word a call.
type record struct {
	log     []string
	fail    string // the call that fails
	failure error
}

func (r *record) add(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	r.log = append(r.log, line)
	if r.fail != "" && strings.HasPrefix(line, r.fail) {
		return r.failure
	}
	return nil
}

func names(ids []dit.UUID) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, " %d", id[15])
	}
	return b.String()
}

func (r *record) Put(e Entry) error {
	return r.add("put %d %s %x", e.UUID[15], e.DN, e.Attrs)
}
func (r *record) Present(ids []dit.UUID) error { return r.add("present%s", names(ids)) }
func (r *record) Delete(ids []dit.UUID) error  { return r.add("delete%s", names(ids)) }
func (r *record) RefreshDone(e End) error      { return r.add("done %s %v", e.Cookie, e.Complete) }
func (r *record) Cookie(c []byte) error        { return r.add("cookie %s", c) }
func (r *record) Flush() error                 { return r.add("flush") }

// told is the log without the flushes.
func (r *record) told() []string {
	return slices.DeleteFunc(slices.Clone(r.log), func(s string) bool { return s == "flush" })
}

// Messages, by their short names.
func id(n byte) dit.UUID { return dit.UUID{0: 1, 15: n} }
func ids(ns ...byte) (out []dit.UUID) {
	for _, n := range ns {
		out = append(out, id(n))
	}
	return out
}
func entry(s State, n byte) Message {
	m := Message{Kind: KindEntry, HasState: true, State: s, UUID: id(n), DN: fmt.Appendf(nil, "cn=%d", n)}
	if s == StateAdd || s == StateModify {
		m.Attrs = []byte{0x30, 0}
	}
	return m
}
func set(deletes bool, ns ...byte) Message {
	return Message{Kind: KindIDSet, RefreshDeletes: deletes, IDs: ids(ns...)}
}
func endDelete() Message  { return Message{Kind: KindRefreshDelete, RefreshDone: true} }
func endPresent() Message { return Message{Kind: KindRefreshPresent, RefreshDone: true} }
func nextPhase() Message  { return Message{Kind: KindRefreshPresent} }
func newCookie(c string) Message {
	return Message{Kind: KindNewCookie, HasCookie: true, Cookie: []byte(c)}
}
func syncDone(deletes bool) Message {
	return Message{Kind: KindDone, HasSyncDone: true, RefreshDeletes: deletes}
}
func failed(code int) Message {
	return Message{Kind: KindDone, Code: code, Diagnostic: "words"}
}
func (m Message) with(cookie string) Message {
	m.HasCookie, m.Cookie = true, []byte(cookie)
	return m
}

const (
	sentCookie = "rid=001,csn=" + csnA1
	newer      = "rid=001,csn=" + csnA2
)

// consumed is what Consume is given, and what it makes of it.
var consumed = []struct {
	name   string
	mode   Mode
	sent   string
	in     []Message
	want   []string
	err    string
	target error
}{
	{"first load as slapd does it", RefreshAndPersist, "",
		[]Message{entry(StateAdd, 1), {Kind: KindOther}, entry(StateAdd, 2), endDelete().with(sentCookie)},
		[]string{"put 1 cn=1 3000", "put 2 cn=2 3000", "done " + sentCookie + " true"}, "persist stage: EOF", io.EOF},
	{"delete phase", RefreshAndPersist, sentCookie,
		[]Message{set(true, 7, 8), entry(StateDelete, 9), entry(StateAdd, 1), endDelete().with(newer)},
		[]string{"delete 7 8", "delete 9", "put 1 cn=1 3000", "done " + newer + " false"}, "persist stage", io.EOF},
	{"present phase", RefreshAndPersist, sentCookie,
		[]Message{entry(StateAdd, 1), set(false, 2, 3), entry(StatePresent, 4), endPresent().with(newer)},
		[]string{"put 1 cn=1 3000", "present 2 3", "present 4", "done " + newer + " true"}, "persist stage", io.EOF},
	{"present phase, then delete phase", RefreshAndPersist, sentCookie,
		[]Message{set(false, 2), nextPhase().with("rid=001,csn=" + csnA1), set(true, 3), endDelete().with(newer)},
		[]string{"present 2", "delete 3", "done " + newer + " true"}, "persist stage", io.EOF},
	{"present phase with nothing in it", RefreshAndPersist, sentCookie, []Message{endPresent().with(newer)},
		[]string{"done " + newer + " true"}, "persist stage", io.EOF},
	{"present names without a phase of their own", RefreshAndPersist, sentCookie, []Message{set(false, 2), endDelete().with(newer)},
		[]string{"present 2", "done " + newer + " true"}, "persist stage", io.EOF},
	{"empty sets say nothing", RefreshAndPersist, sentCookie, []Message{set(false), set(true), endDelete().with(newer)},
		[]string{"done " + newer + " false"}, "persist stage", io.EOF},
	{"delete phase that is not the last", RefreshAndPersist, sentCookie,
		[]Message{set(true, 2), {Kind: KindRefreshDelete}, entry(StateAdd, 1), endDelete().with(newer)},
		[]string{"delete 2", "put 1 cn=1 3000", "done " + newer + " false"}, "persist stage", io.EOF},
	{"nothing changed, no cookie told", RefreshAndPersist, sentCookie, []Message{endDelete()},
		[]string{"done " + sentCookie + " false"}, "persist stage", io.EOF},
	{"cookies in the refresh are kept, not handed on", RefreshAndPersist, "zero",
		[]Message{newCookie("one"), entry(StateAdd, 1).with("two"), set(true, 2).with("three"), endDelete()},
		[]string{"put 1 cn=1 3000", "delete 2", "done three false"}, "persist stage", io.EOF},
	{"first load without any cookie", RefreshAndPersist, "", []Message{entry(StateAdd, 1), endDelete()},
		[]string{"put 1 cn=1 3000", "done  true"}, "persist stage", io.EOF},
	{"first load with an empty cookie", RefreshAndPersist, "", []Message{entry(StateAdd, 1), endPresent().with("")},
		[]string{"put 1 cn=1 3000", "done  true"}, "persist stage", io.EOF},
	{"first load of an empty slapd", RefreshAndPersist, "", []Message{endDelete().with("rid=001"), newCookie(newer)},
		[]string{"done  true", "cookie " + newer}, "persist stage", io.EOF},
	{"a rid alone was sent", RefreshAndPersist, "rid=001", []Message{entry(StateAdd, 1), endDelete().with("rid=001")},
		[]string{"put 1 cn=1 3000", "done  true"}, "persist stage", io.EOF},
	{"add, modify, present with attributes", RefreshAndPersist, "",
		[]Message{entry(StateModify, 1), {Kind: KindEntry, HasState: true, UUID: id(2), DN: []byte("cn=2"), Attrs: []byte{0x30, 0}}, entry(StateAdd, 3), endDelete()},
		[]string{"put 1 cn=1 3000", "put 2 cn=2 3000", "put 3 cn=3 3000", "done  true"}, "persist stage", io.EOF},
	{"present with attributes is no present phase", RefreshAndPersist, sentCookie,
		[]Message{{Kind: KindEntry, HasState: true, UUID: id(2), DN: []byte("cn=2"), Attrs: []byte{0x30, 0}}, endDelete().with(newer)},
		[]string{"put 2 cn=2 3000", "done " + newer + " false"}, "persist stage", io.EOF},
	{"an entry without attributes is an entry", RefreshAndPersist, "",
		[]Message{{Kind: KindEntry, HasState: true, State: StateAdd, UUID: id(2), DN: []byte("cn=2")}, endDelete()},
		[]string{"put 2 cn=2 ", "done  true"}, "persist stage", io.EOF},
	{"references", RefreshAndPersist, sentCookie,
		[]Message{{Kind: KindReference}, {Kind: KindReference, HasState: true, UUID: id(1)},
			{Kind: KindReference, HasState: true, State: StateAdd, UUID: id(2)}, {Kind: KindReference, HasState: true, State: StateDelete, UUID: id(3)},
			endDelete().with(newer)},
		[]string{"delete 2", "delete 3", "done " + newer + " false"}, "persist stage", io.EOF},

	{"persist stage", RefreshAndPersist, "",
		[]Message{endDelete().with(sentCookie), entry(StateAdd, 1).with(newer), entry(StateModify, 1), entry(StateDelete, 1).with("rid=001,csn=" + csnB1),
			set(true, 2, 3).with("rid=042,csn=" + csnB2), {Kind: KindOther}, newCookie("rid=001,sid=0fe,csn=" + csnF1)},
		[]string{"done " + sentCookie + " true", "put 1 cn=1 3000", "cookie " + newer, "put 1 cn=1 3000",
			"delete 1", "cookie " + newer + ";" + csnB1, "delete 2 3", "cookie " + newer + ";" + csnB2,
			"cookie " + newer + ";" + csnB2 + ";" + csnF1}, "persist stage: EOF", io.EOF},
	{"persist stage after no change", RefreshAndPersist, sentCookie, []Message{endDelete(), entry(StateAdd, 1).with("rid=001,csn=" + csnB1)},
		[]string{"done " + sentCookie + " false", "put 1 cn=1 3000", "cookie " + sentCookie + ";" + csnB1}, "persist stage", io.EOF},
	{"present and empty cookies in the persist stage", RefreshAndPersist, "",
		[]Message{endDelete().with(sentCookie), set(false, 1).with(newer), entry(StatePresent, 1), newCookie(""), newCookie("rid=001")},
		[]string{"done " + sentCookie + " true", "cookie " + newer}, "persist stage", io.EOF},
	{"opaque cookies", RefreshAndPersist, "#1", []Message{endDelete().with("#2"), newCookie("#3")},
		[]string{"done #2 false", "cookie #3"}, "persist stage", io.EOF},
	{"a second end of the refresh", RefreshAndPersist, "", []Message{endDelete(), endDelete()}, []string{"done  true"}, "ended a second time", nil},
	{"entries unchanged behind the end of a present phase", RefreshAndPersist, sentCookie, []Message{set(false, 1), endPresent().with(newer), set(false, 2)},
		[]string{"present 1", "done " + newer + " true"}, "behind the end of a present phase", ErrReload},
	{"an older change behind a newer one of the same entry", RefreshAndPersist, sentCookie,
		[]Message{endDelete(), entry(StateModify, 1).with("rid=001,csn=" + csnA2), entry(StateModify, 1).with("rid=001,csn=" + csnA1)},
		[]string{"done " + sentCookie + " false", "put 1 cn=1 3000", "cookie " + newer}, "of entry", ErrReload},
	{"a delete that is older", RefreshAndPersist, sentCookie,
		[]Message{endDelete(), entry(StateModify, 1).with("rid=001,csn=" + csnA2), entry(StateDelete, 1).with("rid=001,csn=" + csnA1)},
		[]string{"done " + sentCookie + " false", "put 1 cn=1 3000", "cookie " + newer}, "an older change came behind a newer one", ErrReload},
	{"an older change of another entry, of another server, the same one again", RefreshAndPersist, sentCookie,
		[]Message{endDelete(), entry(StateModify, 1).with("rid=001,csn=" + csnA2), entry(StateModify, 2).with("rid=001,csn=" + csnA1),
			entry(StateModify, 2).with("rid=001,csn=" + csnB1), entry(StateDelete, 2).with("rid=001,csn=" + csnB1)},
		[]string{"done " + sentCookie + " false", "put 1 cn=1 3000", "cookie " + newer, "put 2 cn=2 3000", "cookie " + newer,
			"put 2 cn=2 3000", "cookie " + newer + ";" + csnB1, "delete 2", "cookie " + newer + ";" + csnB1}, "persist stage: EOF", io.EOF},
	{"a phase in the persist stage", RefreshAndPersist, "", []Message{endDelete(), nextPhase()}, []string{"done  true"}, "ended a second time", nil},

	{"refreshOnly, first load", RefreshOnly, "", []Message{entry(StateAdd, 1), syncDone(false).with(newer)},
		[]string{"put 1 cn=1 3000", "done " + newer + " true"}, "", nil},
	{"refreshOnly, first load as slapd does it", RefreshOnly, "", []Message{entry(StateAdd, 1), syncDone(true).with(newer)},
		[]string{"put 1 cn=1 3000", "done " + newer + " true"}, "", nil},
	{"refreshOnly, delete phase", RefreshOnly, sentCookie, []Message{set(true, 1), syncDone(true).with(newer)},
		[]string{"delete 1", "done " + newer + " false"}, "", nil},
	{"refreshOnly, present phase", RefreshOnly, sentCookie, []Message{set(false, 1), syncDone(false).with(newer)},
		[]string{"present 1", "done " + newer + " true"}, "", nil},
	{"refreshOnly, changes alone that are called a present phase, as 389-ds does it", RefreshOnly, sentCookie,
		[]Message{entry(StateModify, 1), set(true, 2), syncDone(false).with(newer)}, []string{"put 1 cn=1 3000", "delete 2"}, "named nothing", ErrReload},
	{"refreshOnly, both phases", RefreshOnly, sentCookie, []Message{set(false, 1), nextPhase(), set(true, 2), syncDone(true).with(newer)},
		[]string{"present 1", "delete 2", "done " + newer + " true"}, "", nil},
	{"refreshOnly, nothing changed", RefreshOnly, sentCookie, []Message{syncDone(true)}, []string{"done " + sentCookie + " false"}, "", nil},
	{"refreshOnly, refreshDone is not its end", RefreshOnly, "", []Message{endDelete().with(newer)}, nil, "refresh stage: EOF", io.EOF},
	{"refreshOnly, plain result", RefreshOnly, sentCookie, []Message{failed(0)}, nil, "without a Sync Done control", ErrNotSync},
	{"refreshOnly, cut", RefreshOnly, "", []Message{entry(StateAdd, 1)}, []string{"put 1 cn=1 3000"}, "refresh stage: EOF", io.EOF},

	{"a cookie sent, an empty one back", RefreshAndPersist, "garbage", []Message{entry(StateAdd, 1), endDelete().with("")},
		[]string{"put 1 cn=1 3000"}, "without a cookie", ErrReload},
	{"a cookie sent, no state back", RefreshAndPersist, sentCookie, []Message{endDelete().with("rid=001")}, nil, "without a cookie", ErrReload},
	{"a cookie sent, content but no cookie back", RefreshAndPersist, "garbage", []Message{entry(StateAdd, 1), endDelete()},
		[]string{"put 1 cn=1 3000"}, "without a cookie", ErrReload},
	{"a cookie sent, an empty present phase without a cookie", RefreshAndPersist, "garbage", []Message{endPresent()}, nil, "without a cookie", ErrReload},
	{"refreshOnly, an empty cookie back", RefreshOnly, "garbage", []Message{syncDone(true).with("")}, nil, "without a cookie", ErrReload},
	{"a cookie that is not slapd's sent, one of slapd's back", RefreshAndPersist, "rid=000,csn=garbage", []Message{entry(StateAdd, 1), endDelete().with(newer)},
		[]string{"put 1 cn=1 3000"}, "of another kind", ErrReload},
	{"a cookie of slapd's sent, another kind back", RefreshAndPersist, sentCookie, []Message{endDelete().with("#1")}, nil, "of another kind", ErrReload},
	{"another kind of cookie, all that is there was named", RefreshAndPersist, "#1", []Message{set(false, 1), endPresent().with(newer)},
		[]string{"present 1", "done " + newer + " true"}, "persist stage", io.EOF},
	{"4096", RefreshAndPersist, sentCookie, []Message{failed(4096)}, nil, "result 4096: words", ErrReload},
	{"4096 in the persist stage", RefreshAndPersist, "", []Message{endDelete(), entry(StateDelete, 1), failed(4096)},
		[]string{"done  true", "delete 1"}, "persist stage: the search ended with result 4096", ErrReload},
	{"53 for the cookie", RefreshAndPersist, sentCookie, []Message{failed(53)}, nil, "the cookie was refused", ErrReload},
	{"12", RefreshAndPersist, "", []Message{failed(12)}, nil, "result 12: words", ErrNotSync},
	{"entries without state", RefreshAndPersist, "", []Message{{Kind: KindEntry, DN: []byte("cn=1")}}, nil, `entry "cn=1" without a Sync State`, ErrNotSync},
	{"a plain search", RefreshAndPersist, "", []Message{failed(0)}, nil, "without a Sync Done control", ErrNotSync},
	{"no UUID", RefreshAndPersist, "", []Message{{Kind: KindEntry, HasState: true, State: StateAdd, DN: []byte("cn=1")}}, nil,
		`refresh stage: entry "cn=1" has no entryUUID`, nil},
}

// R12: every kind of message in every stage, every ending.
func TestConsume(t *testing.T) {
	for _, c := range consumed {
		sink := &record{}
		o := Options{Mode: c.mode}
		if c.sent != "" {
			o.Sent = []byte(c.sent)
		}
		err := Consume(context.Background(), stream(c.in...), o, sink)
		if !slices.Equal(sink.told(), c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, sink.told(), c.want)
		}
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
		if c.target != nil && !errors.Is(err, c.target) {
			t.Errorf("%s: %v is not %v", c.name, err, c.target)
		}
		if c.target == nil && (errors.Is(err, ErrReload) || errors.Is(err, ErrNotSync)) {
			t.Errorf("%s: %v asks for too much", c.name, err)
		}
	}
}

// R12: where the operator says so, a newcookie ends the refresh; one with an entry
// does not, nor a second one.
func TestNewCookieEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		mode Mode
		sent string
		in   []Message
		want []string
	}{
		{"first load", RefreshAndPersist, "", []Message{entry(StateAdd, 1).with("one"), entry(StateAdd, 2), newCookie("two"), entry(StateDelete, 1), newCookie("three")},
			[]string{"put 1 cn=1 3000", "put 2 cn=2 3000", "done two true", "delete 1", "cookie three"}},
		{"changes", RefreshAndPersist, "one", []Message{entry(StateModify, 1), newCookie("two"), newCookie("three")},
			[]string{"put 1 cn=1 3000", "done two false", "cookie three"}},
		{"refreshOnly ends by its result", RefreshOnly, "", []Message{entry(StateAdd, 1), newCookie("two")}, []string{"put 1 cn=1 3000"}},
	} {
		sink := &record{}
		err := Consume(context.Background(), stream(c.in...), Options{Mode: c.mode, Sent: []byte(c.sent), NewCookieEnds: true}, sink)
		if !slices.Equal(sink.told(), c.want) || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v\n got %q\nwant %q", c.name, err, sink.told(), c.want)
		}
	}
	err := Consume(context.Background(), stream(entry(StateAdd, 1), newCookie("")), Options{Mode: RefreshAndPersist, Sent: []byte("one"), NewCookieEnds: true}, &record{})
	if !errors.Is(err, ErrReload) {
		t.Errorf("an empty cookie for one that was sent: %v", err)
	}
}

// R12: an entry without a UUID gets one made up where that is allowed, deletes too;
// what cannot be made up ends the session.
func TestIdentify(t *testing.T) {
	nameless := func(s State, n byte) Message { m := entry(s, n); m.UUID = dit.UUID{}; return m }
	made := Options{Mode: RefreshAndPersist, Identify: func(dn []byte) (dit.UUID, error) {
		if n := dn[len(dn)-1]; n != '9' {
			return id(n), nil
		}
		return dit.UUID{}, errors.New("no DN")
	}}
	sink := &record{}
	err := Consume(context.Background(), stream(nameless(StateAdd, 1), entry(StateAdd, 2), endDelete(), nameless(StateDelete, 1), nameless(StateModify, 9)), made, sink)
	want := []string{"put 49 cn=1 3000", "put 2 cn=2 3000", "done  true", "delete 49"}
	if !slices.Equal(sink.told(), want) || err == nil || !strings.Contains(err.Error(), `persist stage: entry "cn=9" has no entryUUID, and none is made up for it: no DN`) {
		t.Errorf("%v\n got %q\nwant %q", err, sink.told(), want)
	}
}

// R12: results that a caller does not branch on carry their code.
func TestResultErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		sent string
		in   []Message
		code int
	}{
		{"no such object", "", []Message{failed(32)}, 32},
		{"size limit after some entries", "", []Message{entry(StateAdd, 1), failed(4)}, 4},
		{"53 without a cookie", "", []Message{failed(53)}, 53},
		{"53 in the persist stage", sentCookie, []Message{endDelete(), failed(53)}, 53},
		{"unavailable in the persist stage", "", []Message{endDelete(), failed(52)}, 52},
		{"success in the persist stage", "", []Message{endDelete(), syncDone(true)}, 0},
		{"success in place of the end of the refresh", "", []Message{entry(StateAdd, 1), syncDone(true).with(newer)}, 0},
	} {
		err := Consume(context.Background(), stream(c.in...), Options{Mode: RefreshAndPersist, Sent: []byte(c.sent)}, &record{})
		var result *ResultError
		if !errors.As(err, &result) || result.Code != c.code || errors.Is(err, ErrReload) || errors.Is(err, ErrNotSync) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := (&ResultError{Code: 32}).Error(); got != "the search ended with result 32" {
		t.Errorf("a result without words prints as %q", got)
	}
}

// R12, R33, R35: a refresh that is cut after any message never ends, whatever was
// sent and however the phases went.
func TestCutAnywhere(t *testing.T) {
	whole := []Message{entry(StateAdd, 1), newCookie("rid=001,csn=" + csnA1), set(false, 2, 3), entry(StatePresent, 4), nextPhase().with(newer),
		entry(StateModify, 5), set(true, 6), entry(StateDelete, 7), endDelete().with(newer)}
	for _, sent := range []string{"", sentCookie} {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
			for n := range whole {
				sink := &record{}
				s := stream(whole[:n]...)
				s.end = end
				err := Consume(context.Background(), s, Options{Mode: RefreshAndPersist, Sent: []byte(sent)}, sink)
				if !errors.Is(err, end) || !strings.Contains(err.Error(), "refresh stage") {
					t.Errorf("cut after %d: %v", n, err)
				}
				for _, line := range sink.log {
					if strings.HasPrefix(line, "done") || strings.HasPrefix(line, "cookie") {
						t.Errorf("cut after %d: %q", n, sink.log)
					}
				}
			}
		}
	}
}

// The same with every cut inside a message, and with a byte of one changed.
func TestGarbage(t *testing.T) {
	m := entry(StateAdd, 1)
	frame := m.Append(nil)
	for n := range frame {
		s := &script{frames: [][]byte{frame[:n]}, burst: 1, end: io.EOF}
		sink := &record{}
		if err := Consume(context.Background(), s, Options{Mode: RefreshAndPersist}, sink); err == nil || len(sink.log) > 0 ||
			!strings.Contains(err.Error(), "refresh stage: malformed message") {
			t.Errorf("%d of %d bytes: %v, %q", n, len(frame), err, sink.log)
		}
	}
}

func TestFlushWhenNothingWaits(t *testing.T) {
	s := stream(entry(StateAdd, 1), entry(StateAdd, 2), entry(StateAdd, 3), endDelete().with(sentCookie),
		newCookie(""), Message{Kind: KindOther}, entry(StateDelete, 1).with(newer), entry(StateDelete, 2))
	s.burst = 2
	sink := &record{}
	err := Consume(context.Background(), s, Options{Mode: RefreshAndPersist}, sink)
	want := []string{"put 1 cn=1 3000", "put 2 cn=2 3000", "flush", "put 3 cn=3 3000", "done " + sentCookie + " true", "flush",
		"delete 1", "cookie " + newer, "delete 2", "flush"}
	if !slices.Equal(sink.log, want) || !errors.Is(err, io.EOF) {
		t.Fatalf("%v\n got %q\nwant %q", err, sink.log, want)
	}
	sink = &record{}
	s = stream(entry(StateAdd, 1), syncDone(true).with(newer), entry(StateAdd, 2))
	s.burst = 3
	if err := Consume(context.Background(), s, Options{Mode: RefreshOnly}, sink); err != nil || sink.log[len(sink.log)-1] != "flush" {
		t.Fatalf("refreshOnly: %v, %q", err, sink.log)
	}
}

// What came before the end of a search holds, though both came at once; of a
// refresh nothing does.
func TestFlushBeforeTheEnd(t *testing.T) {
	s := stream(endDelete(), entry(StateDelete, 1), Message{Kind: KindDone, Code: ResultRefreshRequired})
	s.burst = 3
	sink := &record{}
	err := Consume(context.Background(), s, Options{Mode: RefreshAndPersist}, sink)
	if n := len(sink.log); !errors.Is(err, ErrReload) || n < 2 || sink.log[n-1] != "flush" || sink.log[n-2] != "delete 1" {
		t.Errorf("%v, %q", err, sink.log)
	}
}

func TestSinkErrorsEndTheSession(t *testing.T) {
	failure := errors.New("disk full")
	for _, call := range []string{"put", "present", "delete", "done", "cookie", "flush"} {
		sink := &record{fail: call, failure: failure}
		err := Consume(context.Background(), stream(entry(StateAdd, 1), set(false, 2), set(true, 3), endPresent().with(newer), newCookie(newer)),
			Options{Mode: RefreshAndPersist}, sink)
		if err != failure || !strings.HasPrefix(sink.log[len(sink.log)-1], call) {
			t.Errorf("%s: %v after %q", call, err, sink.log)
		}
	}
}

// closing cancels while it is read, as a caller that closes the connection does.
type closing struct{ cancel func() }

func (c closing) Next() ([]byte, error) { c.cancel(); return nil, io.ErrClosedPipe }
func (c closing) Buffered() bool        { return false }

func TestCancel(t *testing.T) {
	cause := errors.New("claim removed")
	ctx, cancel := context.WithCancelCause(context.Background())
	err := Consume(ctx, closing{func() { cancel(cause) }}, Options{Mode: RefreshAndPersist}, &record{})
	if err != cause {
		t.Fatalf("cancelled while waiting: %v", err)
	}
	sink := &record{}
	if err := Consume(ctx, stream(entry(StateAdd, 1)), Options{Mode: RefreshAndPersist}, sink); err != cause || len(sink.log) > 0 {
		t.Fatalf("cancelled before: %v, %q", err, sink.log)
	}
}

func BenchmarkConsume(b *testing.B) {
	frame := entry(StateAdd, 1)
	frame.Attrs = bytes.Repeat([]byte{0x30, 0}, 400)
	raw := frame.Append(nil)
	b.ReportAllocs()
	s := &endless{frame: raw, n: b.N}
	if err := Consume(context.Background(), s, Options{Mode: RefreshAndPersist}, discard{}); !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
}

type endless struct {
	frame []byte
	n     int
}

func (e *endless) Next() ([]byte, error) {
	if e.n == 0 {
		return nil, io.EOF
	}
	e.n--
	return e.frame, nil
}
func (e *endless) Buffered() bool { return true }

type discard struct{}

func (discard) Put(Entry) error          { return nil }
func (discard) Present([]dit.UUID) error { return nil }
func (discard) Delete([]dit.UUID) error  { return nil }
func (discard) RefreshDone(End) error    { return nil }
func (discard) Cookie([]byte) error      { return nil }
func (discard) Flush() error             { return nil }
