package upstream

import (
	"net"
	"testing"
	"time"
)

// tcpPair is a connection and its other end.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// R15: whatever came, or did not, before or while messages were waited for together, a read that follows gets it, and waits
// for a single byte as long as that takes.
func TestGather(t *testing.T) {
	near, far := tcpPair(t)
	g := newGatherer(near)
	buf := make([]byte, 4*gatherBytes)
	for _, size := range []int{1, gatherBytes - 1, gatherBytes, 3 * gatherBytes} {
		for _, early := range []bool{true, false} {
			sent := make(chan error, 1)
			send := func() {
				_, err := far.Write(make([]byte, size))
				sent <- err
			}
			if early {
				send()
			} else {
				go send()
			}
			g.await()
			for got := 0; got < size; {
				n, err := near.Read(buf)
				if err != nil {
					t.Fatalf("%d of %d bytes: %v", got, size, err)
				}
				got += n
			}
			if err := next(t, sent); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.await() // in vain
	read := make(chan error, 1)
	go func() {
		_, err := near.Read(buf[:1])
		read <- err
	}()
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := next(t, read); err != nil {
		t.Error(err)
	}
	far.Close()
	g.await()
	if n, err := near.Read(buf); n != 0 || err == nil {
		t.Errorf("%d bytes behind the end, %v", n, err)
	}
	near.Close()
	g.await()
	one, _ := net.Pipe()
	defer one.Close()
	g = newGatherer(one)
	g.await() // what is no TCP is not waited for
}

// A refresh comes fast when reads of it follow each other closely, some in a row.
func TestPaceFlood(t *testing.T) {
	now := time.Unix(1, 0)
	var p pace
	for i, step := range []struct {
		after  time.Duration
		others bool
		want   bool
	}{
		{time.Hour, true, false}, {time.Millisecond, true, false}, {0, true, false}, {0, true, false},
		{time.Millisecond, true, true}, {0, true, true},
		{gatherFor, true, false}, {0, true, false}, {0, true, false}, {0, true, false}, {0, true, true},
		{0, false, false}, {0, true, false},
	} {
		now = now.Add(step.after)
		p.came(now, 0, step.others)
		if p.flood() != step.want {
			t.Errorf("read %d: %v", i, p.flood())
		}
	}
}
