package ldapd

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// R41: what a burst takes holds what was there before, is written in order, and is given up before a wait, also by
// several writers in turns, none of which sees another's octets.
func TestBurst(t *testing.T) {
	small := []byte("begun")
	for _, lent := range []*burst{handBurst, writeBurst} {
		got := lent.take(small)
		if cap(got) < lent.size || string(got) != "begun" {
			t.Errorf("%d octets of room with %q, want %d", cap(got), got, lent.size)
		}
		leaveBurst(got)
		if got := lent.take(nil); cap(got) < lent.size || len(got) != 0 {
			t.Errorf("%d octets of room, %d of them used, want %d", cap(got), len(got), lent.size)
		}
	}
	large := make([]byte, 5, keepIdle+1)
	if got := writeBurst.take(large); cap(got) != cap(large) || len(got) != 5 {
		t.Errorf("a large buffer was changed for one with %d", cap(got))
	}
	if got := leaveBurst(small); string(got) != "begun" {
		t.Errorf("a small buffer is %q", got)
	}
	for round := range 3 {
		near, far := net.Pipe()
		w := newWriter(near, time.Minute, &trace{})
		mark := bytes.Repeat([]byte{byte('a' + round)}, sendAt)
		want := append([]byte("begun"), bytes.Repeat(mark, 20)...)
		want = append(want, "ended"...)
		read := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(far)
			read <- all
		}()
		if err := w.send(want[:5], false); err != nil {
			t.Fatal(err)
		}
		w.burst()
		for range 20 {
			if err := w.send(mark, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.send(want[len(want)-5:], false); err != nil {
			t.Fatal(err)
		}
		if w.trim(); string(w.buf) != "ended" {
			t.Errorf("round %d: what waits is %q", round, w.buf)
		}
		if err := w.flush(false); err != nil {
			t.Fatal(err)
		}
		w.trim()
		if w.buf != nil || w.spare != nil {
			t.Errorf("round %d: %d and %d octets are kept", round, cap(w.buf), cap(w.spare))
		}
		near.Close()
		if got := <-read; !bytes.Equal(got, want) {
			t.Errorf("round %d: %d octets came, want %d, from %q", round, len(got), len(want), got[:min(len(got), 10)])
		}
	}
}
