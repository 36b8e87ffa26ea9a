package syncrepl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"shaft/pkg/dit"
)

// recorder is a provider's connection that keeps what was written.
func recorder() (*Provider, *script) {
	s := &script{burst: 1, end: io.EOF}
	p := &Provider{ID: 129, Write: func(frame []byte) error {
		s.frames = append(s.frames, bytes.Clone(frame))
		return nil
	}}
	return p, s
}

// What a provider sends, a consumer understands.
func TestProviderSpeaksToConsumer(t *testing.T) {
	p, s := recorder()
	var many []dit.UUID
	for i := range 2*MaxIDSet + 1 {
		many = append(many, dit.UUID{1: byte(i >> 8), 2: byte(i), 15: 9})
	}
	for _, err := range []error{
		p.Entry(StateAdd, id(1), "cn=1", []byte{0x30, 0}, nil),
		p.IDs(false, ids(2), nil),
		p.EndPresent(nil, false),
		p.IDs(true, many, []byte("#1")),
		p.EndDelete([]byte("#2"), true),
		p.Entry(StateDelete, id(1), "cn=1", nil, []byte("#3")),
		p.NewCookie([]byte("#4")),
		p.Fail(4096, "again"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var m Message
	if err := Decode(s.frames[0], &m); err != nil || m.MessageID != 129 {
		t.Fatalf("message ID %d, %v", m.MessageID, err)
	}
	sink := &record{}
	err := Consume(context.Background(), s, Options{Mode: RefreshAndPersist, Sent: []byte("#0")}, sink)
	want := []string{"put 1 cn=1 3000", "present 2", "delete" + names(many[:MaxIDSet]), "delete" + names(many[MaxIDSet:2*MaxIDSet]),
		"delete 9", "done #2 true", "delete 1", "cookie #3", "cookie #4"}
	if !slices.Equal(sink.told(), want) || !errors.Is(err, ErrReload) {
		t.Fatalf("%v\n got %q\nwant %q", err, sink.told(), want)
	}
}

func TestProviderRefreshOnly(t *testing.T) {
	p, s := recorder()
	for _, err := range []error{p.Entry(StateAdd, id(1), "cn=1", []byte{0x30, 0}, nil), p.Done([]byte("#1"), true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sink := &record{}
	if err := Consume(context.Background(), s, Options{Mode: RefreshOnly}, sink); err != nil {
		t.Fatal(err)
	}
	if want := []string{"put 1 cn=1 3000", "done #1 true"}; !slices.Equal(sink.told(), want) {
		t.Fatalf("got %q, want %q", sink.told(), want)
	}
}

func TestProviderPassesWriteErrors(t *testing.T) {
	p := &Provider{Write: func([]byte) error { return io.ErrClosedPipe }}
	if err := p.IDs(true, make([]dit.UUID, MaxIDSet+1), nil); err != io.ErrClosedPipe {
		t.Fatal(err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	m := entry(StateAdd, 1).with("rid=001")
	buf := m.Append(nil)
	if n := testing.AllocsPerRun(100, func() { buf = m.Append(buf[:0]) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
