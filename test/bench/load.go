package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/ber"
)

// load is what the generator sends: on each connection depth requests are under
// way at any time, in one goroutine that writes the next ones as results come.
type load struct {
	connections [][]query // the requests of each; they are sent again and again
	depth       int       // at most as many as a connection has requests
	entries     int64     // that each request returns, on either side
	warmUp      time.Duration
}

// warmUp comes before the window in which a load is measured, unless that is shorter.
const warmUp = 500 * time.Millisecond

// readBuffer takes thousands of replies with one read.
const readBuffer = 512 << 10

// counters of one connection.
type counters struct{ requests, entries, bytes atomic.Int64 }

// counted is the sum of counters, or a difference of such sums.
type counted struct{ requests, entries, bytes int64 }

func sum(all []counters) (c counted) {
	for i := range all {
		c.requests += all[i].requests.Load()
		c.entries += all[i].entries.Load()
		c.bytes += all[i].bytes.Load()
	}
	return c
}

// run sends the load to address for its warm-up, then calls window, and stops
// when that returns. window is given the function that tells the counters.
func (l load) run(ctx context.Context, address string, window func(now func() counted) error) error {
	return l.drive(ctx, func(ctx context.Context, i int, n *counters) error {
		return l.connection(ctx, address, l.connections[i], n)
	}, window)
}

// drive runs fn in a goroutine for each connection, as run says. fn ends when ctx
// is done.
func (l load) drive(ctx context.Context, fn func(ctx context.Context, i int, n *counters) error, window func(now func() counted) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := make([]counters, len(l.connections))
	errs := make([]error, len(l.connections))
	var wg sync.WaitGroup
	for i := range l.connections {
		wg.Go(func() {
			if errs[i] = fn(ctx, i, &all[i]); errs[i] != nil {
				cancel()
			}
		})
	}
	err := sleep(ctx, l.warmUp)
	if err == nil {
		err = window(func() counted { return sum(all) })
	}
	cancel()
	wg.Wait()
	return errors.Join(errors.Join(errs...), err)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connection sends and counts until ctx is done, then takes what is still under
// way, and compares the number of entries with what it has to be.
func (l load) connection(ctx context.Context, address string, queries []query, n *counters) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := sender{conn: conn}
	s.encode(queries)
	hasten := func() error { return conn.SetDeadline(time.Now().Add(patience)) }
	if err := errors.Join(hasten(), s.send(l.depth)); err != nil {
		return err
	}
	buffer, have := make([]byte, readBuffer), 0
	for under := l.depth; under > 0; {
		if err := hasten(); err != nil {
			return err
		}
		got, err := conn.Read(buffer[have:])
		if err != nil {
			return err
		}
		have += got
		c, err := count(buffer[:have])
		if err != nil {
			return err
		}
		n.requests.Add(c.requests)
		n.entries.Add(c.entries)
		n.bytes.Add(c.bytes)
		have = copy(buffer, buffer[c.bytes:have])
		if ctx.Err() != nil {
			under -= int(c.requests)
		} else if err := s.send(int(c.requests)); err != nil {
			return err
		}
	}
	if got, want := n.entries.Load(), n.requests.Load()*l.entries; got != want {
		return fmt.Errorf("%d entries came, want %d: %d for each request", got, want, l.entries)
	}
	return nil
}

// count goes over the whole messages in b: searches that are done, entries, and
// the bytes of both.
func count(b []byte) (c counted, err error) {
	for {
		n, err := ber.FrameLen(b[c.bytes:], maxReply)
		if err != nil || n == 0 || n > len(b)-int(c.bytes) {
			return c, err
		}
		r, err := parseReply(b[c.bytes : int(c.bytes)+n])
		if err != nil {
			return c, err
		}
		switch r.tag {
		case searchEntry:
			c.entries++
		case searchDone:
			if r.code != 0 {
				return c, fmt.Errorf("a search ended with result %d", r.code)
			}
			c.requests++
		}
		c.bytes += int64(n)
	}
}

// sender writes requests that were encoded before, in a ring. Their message IDs
// are their places in it, from 1.
type sender struct {
	conn net.Conn
	ring []byte
	ends []int // of each request in ring
	next int
}

func (s *sender) encode(queries []query) {
	for i, q := range queries {
		s.ring = q.appendMessage(s.ring, int64(i+1))
		s.ends = append(s.ends, len(s.ring))
	}
}

// send writes the next n requests, with one call unless the ring ends among them.
func (s *sender) send(n int) error {
	for n > 0 {
		first := s.next
		s.next = min(first+n, len(s.ends))
		n -= s.next - first
		begin := 0
		if first > 0 {
			begin = s.ends[first-1]
		}
		if _, err := s.conn.Write(s.ring[begin:s.ends[s.next-1]]); err != nil {
			return err
		}
		s.next %= len(s.ends)
	}
	return nil
}
