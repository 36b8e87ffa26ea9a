package ldaptest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// FaultKind is what a Relay does to a message.
type FaultKind int

// The kinds of fault. All but Refuse happen to one message.
const (
	// CloseBefore ends the connection in good order, RST as a crash does, before the message.
	CloseBefore FaultKind = iota
	RST
	// CloseWithin ends the connection when half of the message is out.
	CloseWithin
	// CloseAfter ends the connection when the message is out.
	CloseAfter
	// Stall passes nothing on any more, StallWithin after half of the message; the
	// connection stays open.
	Stall
	StallWithin
	// Delay passes the message, and all behind it, on after Relay.Pause.
	Delay
	// Swap passes the next message of the same search, or direction, on first; where there is none, the message waits
	// until the fault is taken back.
	Swap
	// Twice passes the message on two times.
	Twice
	// Refuse ends all connections at once, and new ones as they come.
	Refuse
)

var faultNames = [...]string{"close before", "RST", "close within", "close after", "stall", "stall within", "delay", "swap", "twice", "refuse"}

func (k FaultKind) String() string { return faultNames[k] }

// Ends tells whether a search cannot go on after the fault.
func (k FaultKind) Ends() bool { return k <= StallWithin || k == Refuse }

// Fault is what goes wrong between a server and those who follow it.
type Fault struct {
	Kind FaultKind
	// Of says which messages are counted.
	Of Part
	// At is the message that it happens to, of each search or connection, counted from 0; those
	// that passed before Set are not among them.
	At int
	// Then has each search, or connection, be cut before its next message, once the fault has happened.
	Then bool
}

// Part is what a Fault is about.
type Part int

// Searches are the answers to each sync search of more than its base; Replies is all that the
// server says on a connection, and Requests what the client does.
const (
	Searches Part = iota
	Replies
	Requests
)

var partNames = [...]string{"searches", "replies", "requests"}

func (p Part) String() string { return partNames[p] }

// maxRelayed bounds the messages that a Relay reads: what Shaft takes, and more.
const maxRelayed = 128 << 20

// relayPause is how long a delayed message waits: noticed, and no timeout.
const relayPause = 30 * time.Millisecond

// Relay passes LDAP without TLS on between clients and a server, message by message, and does
// to one of each sync search, or of each connection, what the Fault says. Where it is about searches,
// those of scope base, as a check makes, are passed on as they are.
type Relay struct {
	to       string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex // for all below
	fault *Fault
	epoch int           // of the fault
	moved chan struct{} // closed when the fault is another
	fired int
	heard int // replies since the fault was set
	conns map[*relayed]bool
	ended bool
}

// StartRelay listens on loopback for what is to go to an address, host:port.
func StartRelay(to string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{to: to, listener: l, moved: make(chan struct{}), conns: map[*relayed]bool{}}
	r.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.carry(near) })
		}
	})
	return r, nil
}

// URL is where it listens, without a base.
func (r *Relay) URL() string { return "ldap://" + r.listener.Addr().String() }

// Close ends it and waits for all that it started.
func (r *Relay) Close() {
	r.listener.Close()
	r.mu.Lock()
	r.ended = true
	for c := range r.conns {
		c.close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// Set puts another fault in the place of the one there is; nil: all goes through. What
// stalls goes on, and what waits to be swapped is passed on.
func (r *Relay) Set(f *Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault, r.fired, r.heard = f, 0, 0
	r.epoch++
	close(r.moved)
	r.moved = make(chan struct{})
	for c := range r.conns {
		if f != nil && f.Kind == Refuse {
			c.close()
		}
	}
}

// Heard is how many messages the server has said since the fault was set.
func (r *Relay) Heard() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard
}

// Fired is how often the fault has happened since it was set; a message of a connection that waits to be
// swapped counts at once.
func (r *Relay) Fired() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fired
}

// relayed is one connection.
type relayed struct {
	relay     *Relay
	near, far net.Conn
	once      sync.Once
	done      chan struct{}

	mu       sync.Mutex
	searches map[int64]*passed // sync searches by message ID
	parts    [Requests + 1]passed
}

// passed counts the messages of a search, or of a direction, since a fault was set.
type passed struct{ epoch, n int }

func (c *relayed) close() {
	c.once.Do(func() {
		close(c.done)
		c.near.Close()
		c.far.Close()
	})
}

func (r *Relay) carry(near net.Conn) {
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		near.Close()
		return
	}
	c := &relayed{relay: r, near: near, far: far, done: make(chan struct{}), searches: map[int64]*passed{}}
	defer c.close()
	if !r.admit(c) {
		return
	}
	r.wg.Go(func() {
		defer c.close()
		c.flow(c.near, c.far, Requests)
	})
	c.flow(c.far, c.near, Replies)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *Relay) admit(c *relayed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.fault != nil && r.fault.Kind == Refuse {
		return false
	}
	r.conns[c] = true
	return true
}

// flow passes on what one side says, until it ends or a fault ends it.
func (c *relayed) flow(from, to net.Conn, part Part) {
	frames := make(chan []byte)
	c.relay.wg.Go(func() {
		defer close(frames)
		in := bufio.NewReaderSize(from, 16<<10)
		for {
			frame, err := readFrame(in)
			if err != nil {
				return
			}
			select {
			case frames <- frame:
			case <-c.done:
				return
			}
		}
	})
	var held []byte // waits for the next message of its search or direction, or for another fault
	var moved <-chan struct{}
	for {
		select {
		case <-moved:
			if !write(to, held) {
				return
			}
			held, moved = nil, nil
		case frame, ok := <-frames:
			if !ok {
				return
			}
			fault, counts, change := c.next(frame, part)
			if held != nil && counts {
				if !write(to, frame, held) {
					return
				}
				c.swapped(moved)
				held, moved = nil, nil
				continue
			}
			if fault != nil && fault.Kind == Swap {
				held, moved = frame, change
				continue
			}
			if !c.pass(to, frame, fault, change) {
				return
			}
		}
	}
}

// next notes a message: it says what is to happen to it, whether it is one of those that the fault
// counts, and what tells of another fault.
func (c *relayed) next(frame []byte, part Part) (f *Fault, counts bool, moved <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if part == Requests {
		if id, ok := syncSearch(frame); ok {
			c.searches[id] = &passed{}
		}
	}
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if part == Replies {
		r.heard++
	}
	var p *passed
	switch searches := r.fault == nil || r.fault.Of == Searches; {
	case searches && part == Replies:
		p = c.searches[messageID(frame)]
	case !searches && r.fault.Of == part:
		p = &c.parts[part]
	}
	if p == nil {
		return nil, false, nil
	}
	return r.meet(p), true, r.moved
}

// meet counts a message, and gives what is to happen to it. It wants the lock.
func (r *Relay) meet(p *passed) *Fault {
	if p.epoch != r.epoch {
		*p = passed{epoch: r.epoch}
	}
	at := p.n
	p.n++
	switch {
	case r.fault == nil:
		return nil
	case r.fault.Then && r.fired > 0:
		return &Fault{Kind: CloseBefore}
	case r.fault.At != at:
		return nil
	}
	if r.fault.Kind != Swap || r.fault.Of != Searches { // else it is done once there is a message behind
		r.fired++
	}
	return r.fault
}

// swapped counts a swap, unless the fault is another meanwhile, or it has been counted.
func (c *relayed) swapped(epoch <-chan struct{}) {
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.moved == epoch && r.fault.Of == Searches {
		r.fired++
	}
}

// pass does what the fault says; whether the connection goes on.
func (c *relayed) pass(to net.Conn, frame []byte, f *Fault, moved <-chan struct{}) bool {
	if f == nil {
		return write(to, frame)
	}
	half := frame[:len(frame)/2]
	switch f.Kind {
	case CloseBefore:
		return false
	case RST:
		c.near.(*net.TCPConn).SetLinger(0)
		return false
	case CloseWithin:
		write(to, half)
		return false
	case CloseAfter:
		write(to, frame)
		return false
	case Stall, StallWithin:
		if f.Kind == StallWithin && !write(to, half) {
			return false
		}
		select {
		case <-moved:
		case <-c.done:
			return false
		}
		if f.Kind == StallWithin {
			frame = frame[len(half):]
		}
		return write(to, frame)
	case Delay:
		select {
		case <-time.After(relayPause):
		case <-c.done:
			return false
		}
	case Twice:
		return write(to, frame, frame)
	}
	return write(to, frame)
}

func write(to net.Conn, frames ...[]byte) bool {
	for _, f := range frames {
		if _, err := to.Write(f); err != nil {
			return false
		}
	}
	return true
}

var errNoFrame = errors.New("no LDAP message")

// readFrame reads one message.
func readFrame(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(2)
	for n := 3; err == nil; n++ {
		size, bad := ber.FrameLen(head, maxRelayed)
		if bad != nil {
			return nil, fmt.Errorf("%w: %w", errNoFrame, bad)
		}
		if size > 0 {
			frame := make([]byte, size)
			_, err = io.ReadFull(in, frame)
			return frame, err
		}
		head, err = in.Peek(n)
	}
	return nil, err
}

func messageID(frame []byte) int64 {
	outer := ber.NewReader(frame)
	m, err := outer.Enter(ber.Sequence)
	if err != nil {
		return -1
	}
	id, err := m.Int(ber.Integer)
	if err != nil {
		return -1
	}
	return id
}

// syncSearch tells whether a request is a sync search of more than one entry.
func syncSearch(frame []byte) (id int64, ok bool) {
	outer := ber.NewReader(frame)
	m, err := outer.Enter(ber.Sequence)
	if err != nil {
		return 0, false
	}
	if id, err = m.Int(ber.Integer); err != nil || m.Peek() != ber.Application(3) {
		return 0, false
	}
	op, err := m.Enter(ber.Application(3))
	if err != nil {
		return 0, false
	}
	if _, err := op.Read(ber.OctetString); err != nil {
		return 0, false
	}
	scope, err := op.Int(ber.Enumerated)
	if err != nil || scope == 0 {
		return 0, false
	}
	controls, err := m.Enter(ber.Context(0))
	for err == nil && controls.More() {
		var control ber.Reader
		if control, err = controls.Enter(ber.Sequence); err != nil {
			break
		}
		oid, err := control.Read(ber.OctetString)
		if err == nil && string(oid) == syncrepl.OIDSyncRequest {
			return id, true
		}
	}
	return 0, false
}
