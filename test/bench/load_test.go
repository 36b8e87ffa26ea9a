package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
)

// A request is what RFC 4511 section 4.5.1 says, byte for byte.
func TestAppendMessage(t *testing.T) {
	q := query{base: "o=x", scope: scopeSub, attr: "uid", value: "a", want: []string{"cn"}}
	want := "3029 020107 6324 0403 6f3d78 0a0102 0a0100 020100 020100 010100 a308 0403756964 040161 3004 0402636e"
	if got := hex.EncodeToString(q.appendMessage(nil, 7)); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("equality: %s", got)
	}
	want = "3028 020101 6323 0403 6f3d78 0a0100 0a0100 020100 020100 010100 870b 6f626a656374436c617373 3000"
	if got := hex.EncodeToString(everything("o=x", scopeBase).appendMessage(nil, 1)); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("presence: %s", got)
	}
}

func message(id int64, tag ber.Tag, body func([]byte) []byte) []byte {
	b, outer := ber.Begin(nil, ber.Sequence)
	b = ber.AppendInt(b, ber.Integer, id)
	b, inner := ber.Begin(b, tag)
	return ber.End(ber.End(body(b), inner), outer)
}

func entryMessage(id int64) []byte {
	return message(id, searchEntry, func(b []byte) []byte {
		return ber.AppendHeader(ber.AppendString(b, ber.OctetString, "o=x"), ber.Sequence, 0)
	})
}

func doneMessage(id, code int64) []byte {
	return message(id, searchDone, func(b []byte) []byte {
		b = ber.AppendInt(b, ber.Enumerated, code)
		return ber.AppendString(ber.AppendString(b, ber.OctetString, ""), ber.OctetString, "")
	})
}

// However replies are cut into reads, they count the same.
func TestCount(t *testing.T) {
	var stream []byte
	for id := range int64(3) {
		stream = append(append(append(stream, entryMessage(id)...), entryMessage(id)...), doneMessage(id, 0)...)
	}
	for cut := range len(stream) + 1 {
		one, err := count(stream[:cut])
		if err != nil {
			t.Fatal(err)
		}
		two, err := count(stream[one.bytes:])
		if err != nil {
			t.Fatal(err)
		}
		if one.requests+two.requests != 3 || one.entries+two.entries != 6 || one.bytes+two.bytes != int64(len(stream)) {
			t.Errorf("cut at %d: %+v and %+v", cut, one, two)
		}
	}
	for name, bad := range map[string][]byte{
		"a result that is no success": doneMessage(1, 32),
		"another operation":           message(1, ber.Application(1), func(b []byte) []byte { return b }),
		"no LDAP":                     {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := count(bad); err == nil {
			t.Errorf("%s is counted", name)
		}
	}
}

// stub answers each search with entries and a result. It fails the test on a
// message ID that is under way.
func stub(t *testing.T, entries int, deepest *int) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buffer, have := make([]byte, 1<<16), 0
		for {
			n, err := conn.Read(buffer[have:])
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				return
			}
			have += n
			used, depth := 0, 0
			seen := map[int64]bool{}
			var out []byte
			for {
				n, err := ber.FrameLen(buffer[used:have], maxReply)
				if err != nil {
					t.Error(err)
					return
				}
				if n == 0 || used+n > have {
					break
				}
				r := ber.NewReader(buffer[used : used+n])
				m, _ := r.Enter(ber.Sequence)
				id, err := m.Int(ber.Integer)
				if err != nil || seen[id] {
					t.Errorf("message ID %d: %v", id, err)
				}
				seen[id] = true
				for range entries {
					out = append(out, entryMessage(id)...)
				}
				out = append(out, doneMessage(id, 0)...)
				used += n
				depth++
			}
			*deepest = max(*deepest, depth)
			have = copy(buffer, buffer[used:have])
			if _, err := conn.Write(out); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	return l.Addr().String()
}

// The generator has depth requests under way, wraps around its ring, and counts
// what comes; when it ends nothing is left under way.
func TestLoad(t *testing.T) {
	deepest := 0
	address := stub(t, 2, &deepest)
	l := load{warmUp: warmUp, depth: 3, entries: 2, connections: [][]query{{everything("o=1", scopeBase), everything("o=2", scopeBase),
		everything("o=3", scopeBase), everything("o=4", scopeBase)}}}
	var got counted
	err := l.run(t.Context(), address, func(now func() counted) error { got = now(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got.requests < 10 || got.entries < 2*got.requests-6 || got.entries > 2*got.requests+6 || got.bytes < got.entries*10 {
		t.Errorf("after the warm-up: %+v", got)
	}
	if deepest != 3 {
		t.Errorf("at most %d requests were under way, want 3", deepest)
	}
}

// A server that returns something else than the load expects is found out.
func TestLoadChecksEntries(t *testing.T) {
	deepest := 0
	l := load{warmUp: warmUp, depth: 1, entries: 1, connections: [][]query{{everything("o=1", scopeBase)}}}
	err := l.run(t.Context(), stub(t, 2, &deepest), func(func() counted) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "1 for each request") {
		t.Errorf("error %v", err)
	}
}

// A server that is not there ends the run at once.
func TestLoadWithoutServer(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	l := load{warmUp: warmUp, depth: 1, connections: [][]query{{everything("o=1", scopeBase)}}}
	begin := time.Now()
	err = l.run(context.Background(), address, func(func() counted) error { return nil })
	if err == nil || time.Since(begin) > patience/2 {
		t.Errorf("error %v after %v", err, time.Since(begin))
	}
}
