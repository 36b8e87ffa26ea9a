package syncrepl

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

var (
	id1 = dit.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	id2 = dit.UUID{0xff, 15: 2}
	id3 = dit.UUID{15: 3}
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seq, oct and control build values by hand, octet by octet where it matters.
func seq(parts ...[]byte) []byte { return ber.AppendBytes(nil, ber.Sequence, bytes.Join(parts, nil)) }
func oct(s string) []byte        { return ber.AppendString(nil, ber.OctetString, s) }
func enum(v int64) []byte        { return ber.AppendInt(nil, ber.Enumerated, v) }
func boolean(v bool) []byte      { return ber.AppendBool(nil, ber.Boolean, v) }

func message(op []byte, controls ...[]byte) []byte {
	parts := [][]byte{ber.AppendInt(nil, ber.Integer, 300), op}
	if controls != nil {
		parts = append(parts, ber.AppendBytes(nil, ber.Context(0), bytes.Join(controls, nil)))
	}
	return seq(parts...)
}

func control(oid string, parts ...[]byte) []byte {
	return seq(append([][]byte{oct(oid)}, parts...)...)
}

func entryOp(dn string, attrs ...[]byte) []byte {
	return ber.AppendBytes(nil, ber.Application(4), append(oct(dn), seq(attrs...)...))
}

func doneOp(code int64, text string) []byte {
	return ber.AppendBytes(nil, ber.Application(5), bytes.Join([][]byte{enum(code), oct(""), oct(text)}, nil))
}

func infoOp(value []byte) []byte {
	body := ber.AppendString(nil, ber.ContextPrimitive(0), OIDSyncInfo)
	return ber.AppendBytes(nil, ber.Application(25), ber.AppendBytes(body, ber.ContextPrimitive(1), value))
}

func state(parts ...[]byte) []byte {
	return control(OIDSyncState, oct(string(seq(parts...))))
}

var set12 = ber.AppendBytes(nil, ber.Set, append(oct(string(id1[:])), oct(string(id2[:]))...))

// R12: every form of the messages of RFC 4533, defaults left out and spelled out.
func TestDecode(t *testing.T) {
	attr := seq(oct("cn"), ber.AppendBytes(nil, ber.Set, oct("x")))
	uuid := oct(string(id1[:]))
	for _, c := range []struct {
		name  string
		frame []byte
		want  Message
	}{
		{"entry", message(entryOp("cn=x", attr), state(enum(1), uuid)),
			Message{Kind: KindEntry, HasState: true, State: StateAdd, UUID: id1, DN: []byte("cn=x"), Attrs: attr}},
		{"entry with a cookie", message(entryOp("cn=x", attr), state(enum(2), uuid, oct("c"))),
			Message{Kind: KindEntry, HasState: true, State: StateModify, UUID: id1, DN: []byte("cn=x"), Attrs: attr, Cookie: []byte("c"), HasCookie: true}},
		{"criticality spelled out, another control first",
			message(entryOp("cn=x", attr), control("1.2.3"), control(OIDSyncState, boolean(false), oct(string(seq(enum(3), uuid))))),
			Message{Kind: KindEntry, HasState: true, State: StateDelete, UUID: id1, DN: []byte("cn=x"), Attrs: attr}},
		{"state after the UUID", message(entryOp("", nil), state(uuid, oct("c"), enum(0))),
			Message{Kind: KindEntry, HasState: true, State: StatePresent, UUID: id1, Cookie: []byte("c"), HasCookie: true}},
		{"no UUID", message(entryOp("cn=x"), state(enum(1))), Message{Kind: KindEntry, HasState: true, State: StateAdd, DN: []byte("cn=x")}},
		{"empty UUID", message(entryOp("cn=x"), state(enum(1), oct(""))), Message{Kind: KindEntry, HasState: true, State: StateAdd, DN: []byte("cn=x")}},
		{"no control", message(entryOp("cn=x")), Message{Kind: KindEntry, DN: []byte("cn=x")}},
		{"a state on a result is not one", message(doneOp(0, ""), state(enum(1), uuid)), Message{Kind: KindDone}},
		{"reference", message(ber.AppendBytes(nil, ber.Application(19), oct("ldap://h/")), state(enum(1), uuid)),
			Message{Kind: KindReference, HasState: true, State: StateAdd, UUID: id1}},
		{"new cookie", message(infoOp(unhex(t, "80 01 63"))), Message{Kind: KindNewCookie, Cookie: []byte("c"), HasCookie: true}},
		{"empty new cookie", message(infoOp(unhex(t, "80 00"))), Message{Kind: KindNewCookie, HasCookie: true}},
		{"refresh delete, all defaults", message(infoOp(unhex(t, "a1 00"))), Message{Kind: KindRefreshDelete, RefreshDone: true}},
		{"refresh delete, cookie alone", message(infoOp(unhex(t, "a1 03 04 01 63"))),
			Message{Kind: KindRefreshDelete, RefreshDone: true, Cookie: []byte("c"), HasCookie: true}},
		{"refresh delete, flag alone", message(infoOp(unhex(t, "a1 03 01 01 00"))), Message{Kind: KindRefreshDelete}},
		{"refresh present, done spelled out", message(infoOp(unhex(t, "a2 06 04 01 63 01 01 ff"))),
			Message{Kind: KindRefreshPresent, RefreshDone: true, Cookie: []byte("c"), HasCookie: true}},
		{"refresh present, not done", message(infoOp(unhex(t, "a2 83 00 00 03 01 01 00"))), Message{Kind: KindRefreshPresent}},
		{"ID set alone", message(infoOp(ber.AppendBytes(nil, ber.Context(3), set12))), Message{Kind: KindIDSet, IDs: []dit.UUID{id1, id2}}},
		{"ID set, all parts", message(infoOp(ber.AppendBytes(nil, ber.Context(3), bytes.Join([][]byte{oct("c"), boolean(true), set12}, nil)))),
			Message{Kind: KindIDSet, IDs: []dit.UUID{id1, id2}, RefreshDeletes: true, Cookie: []byte("c"), HasCookie: true}},
		{"empty ID set", message(infoOp(unhex(t, "a3 05 01 01 00 31 00"))), Message{Kind: KindIDSet}},
		{"another intermediate response", message(unhex(t, "79 07 80 05 31 2e 32 2e 33")), Message{Kind: KindOther}},
		{"an intermediate response of nothing", message(unhex(t, "79 00")), Message{Kind: KindOther}},
		{"done", message(doneOp(0, ""), control(OIDSyncDone, oct(string(seq(oct("c"), boolean(true)))))),
			Message{Kind: KindDone, HasSyncDone: true, RefreshDeletes: true, Cookie: []byte("c"), HasCookie: true}},
		{"done, all defaults", message(doneOp(0, ""), control(OIDSyncDone, oct(string(seq())))), Message{Kind: KindDone, HasSyncDone: true}},
		{"done with words", message(doneOp(4096, "again")), Message{Kind: KindDone, Code: 4096, Diagnostic: "again"}},
	} {
		got := Message{IDs: []dit.UUID{id3}, DN: []byte("left over"), HasCookie: true}
		if err := Decode(c.frame, &got); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		c.want.MessageID = 300
		if !same(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// same compares messages, nil and empty slices alike.
func same(a, b Message) bool {
	if !bytes.Equal(a.DN, b.DN) || !bytes.Equal(a.Attrs, b.Attrs) || !bytes.Equal(a.Cookie, b.Cookie) || !slices.Equal(a.IDs, b.IDs) {
		return false
	}
	a.DN, a.Attrs, a.Cookie, a.IDs = nil, nil, nil, nil
	b.DN, b.Attrs, b.Cookie, b.IDs = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

func TestDecodeNonMinimalLengths(t *testing.T) {
	frame := message(entryOp("cn=x"), state(enum(1), oct(string(id1[:]))))
	long := append(unhex(t, "30 84 00 00 00"), frame[1:]...)
	var a, b Message
	if err := Decode(frame, &a); err != nil {
		t.Fatal(err)
	}
	if err := Decode(long, &b); err != nil || !same(a, b) {
		t.Fatalf("%+v, %v", b, err)
	}
}

func TestDecodeErrorsNameThePlace(t *testing.T) {
	uuid := oct(string(id1[:]))
	info := func(h string) []byte { return message(infoOp(unhex(t, h))) }
	for _, c := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"nothing", nil, "message: offset 0"},
		{"not a sequence", unhex(t, "04 00"), "message: offset 0: tag 30 wanted"},
		{"two messages", append(message(doneOp(0, "")), 0x30, 0), "more than one element"},
		{"no ID", seq(), "message ID: offset 2"},
		{"no operation", seq(ber.AppendInt(nil, ber.Integer, 1)), "message: offset 5"},
		{"another operation", message(unhex(t, "61 00")), "tag 61 does not answer a search"},
		{"cut", message(entryOp("cn=x"))[:9], "message: offset 0: element is cut short"},
		{"entry without a name", message(unhex(t, "64 00")), "entry name: offset 8"},
		{"entry without attributes", message(unhex(t, "64 03 04 01 78")), `entry "x": attributes: offset 11`},
		{"controls of another tag", message(entryOp("cn=x"), nil)[:0], "message"},
		{"UUID of 3 octets", message(entryOp("cn=x"), state(enum(1), oct("abc"))), `entry "cn=x": sync state: offset 5: UUID of 3 octets`},
		{"UUID of 17 octets", message(entryOp("cn=x"), state(enum(1), oct(strings.Repeat("u", 17)))), "UUID of 17 octets"},
		{"no state", message(entryOp("cn=x"), state(uuid)), "offset 20: no state"},
		{"state 4", message(entryOp("cn=x"), state(enum(4), uuid)), "state 4 does not exist"},
		{"state -1", message(entryOp("cn=x"), state(enum(-1), uuid)), "state -1 does not exist"},
		{"state twice", message(entryOp("cn=x"), state(enum(1), enum(1))), "unexpected tag 0a"},
		{"three strings", message(entryOp("cn=x"), state(enum(1), uuid, oct(""), oct(""))), "unexpected tag 04"},
		{"state without a value", message(entryOp("cn=x"), control(OIDSyncState)), "sync state: offset 0"},
		{"two states", message(entryOp("cn=x"), state(enum(1), uuid), state(enum(1), uuid)), "sync state: a second one"},
		{"two dones", message(doneOp(0, ""), control(OIDSyncDone, oct("0\x00")), control(OIDSyncDone, oct("0\x00"))), "sync done: a second one"},
		{"done with a set", message(doneOp(0, ""), control(OIDSyncDone, oct(string(seq(set12))))), "sync done: offset 2: unexpected tag 31"},
		{"result without a code", message(unhex(t, "65 00")), "result code"},
		{"result without words", message(unhex(t, "65 05 0a 01 00 04 00")), "diagnostic message of a result"},
		{"control without an OID", message(doneOp(0, ""), seq()), "controls: offset"},
		{"unknown info", info("a4 00"), "sync info: offset 0: unknown tag a4"},
		{"info of nothing", info(""), "sync info: offset 0"},
		{"two infos", info("a1 00 a1 00"), "sync info: offset 2: more than one element"},
		{"set without the set", info("a3 00"), "sync info: offset 2: no set"},
		{"set with a short UUID", info("a3 05 31 03 04 01 61"), "sync info: offset 4: UUID of 1 octets"},
		{"set of integers", info("a3 05 31 03 02 01 61"), "sync info: offset 4: tag 04 wanted"},
		{"cookie twice", info("a1 04 04 00 04 00"), "sync info: offset 4: tag 04 a second time"},
		{"integer in an info", info("a2 03 02 01 00"), "sync info: offset 2: unexpected tag 02"},
		{"set in a refresh", info("a2 02 31 00"), "unexpected tag 31"},
		{"flag of two octets", info("a2 04 01 02 00 00"), "boolean of 2 octets"},
	} {
		var m Message
		if err := Decode(c.frame, &m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestDiagnosticIsBounded(t *testing.T) {
	var m Message
	if err := Decode(message(doneOp(1, strings.Repeat("x", 1<<20))), &m); err != nil || len(m.Diagnostic) != maxDiagnostic {
		t.Fatalf("%d bytes kept, %v", len(m.Diagnostic), err)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	entry := message(entryOp("cn=x", seq(oct("cn"))), state(enum(1), oct(string(id1[:])), oct("rid=001")))
	set := message(infoOp(ber.AppendBytes(nil, ber.Context(3), set12)))
	var m Message
	if n := testing.AllocsPerRun(100, func() {
		if Decode(set, &m) != nil || Decode(entry, &m) != nil {
			t.Fatal("not decoded")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzDecode: nothing panics, and what was decoded is the same after Append and Decode.
func FuzzDecode(f *testing.F) {
	uuid := oct(string(id1[:]))
	for _, frame := range [][]byte{
		message(entryOp("cn=x", seq(oct("cn"), ber.AppendBytes(nil, ber.Set, oct("v")))), state(enum(1), uuid, oct("c"))),
		message(ber.AppendBytes(nil, ber.Application(19), oct("ldap://h/")), state(enum(3), uuid)),
		message(infoOp(ber.AppendBytes(nil, ber.Context(3), append(boolean(true), set12...)))),
		message(infoOp([]byte{0xa2, 6, 4, 1, 'c', 1, 1, 0})),
		message(infoOp([]byte{0x80, 1, 'c'})),
		message(doneOp(4096, "again"), control(OIDSyncDone, oct(string(seq(oct("c"), boolean(true)))))),
	} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var m, again Message
		if Decode(frame, &m) != nil {
			return
		}
		out := m.Append(nil)
		if err := Decode(out, &again); err != nil || !same(m, again) {
			t.Fatalf("%x\nis    %+v\nagain %+v, %v", frame, m, again, err)
		}
	})
}

func BenchmarkDecodeEntry(b *testing.B) {
	var attrs [][]byte
	for range 12 {
		attrs = append(attrs, seq(oct("description"), ber.AppendBytes(nil, ber.Set, oct("a value of a usual length, as they come"))))
	}
	frame := message(entryOp("cn=slapd,cn=Wheezy,dc=debian,dc=org", attrs...), state(enum(1), oct(string(id1[:]))))
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := Decode(frame, &m); err != nil {
			b.Fatal(err)
		}
	}
}
