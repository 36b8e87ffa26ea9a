package agentx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/posteo/go-agentx/pdu"
)

const (
	// minBackoff is the first wait between tries to connect, maxBackoff how many times as long the
	// longest is: snmpd is back within a second after a restart, and one that is
	// never there, or does not keep its sessions, costs nothing.
	minBackoff = 200 * time.Millisecond
	maxBackoff = 25
	// dialWait bounds a try to connect, replyWait how long the SNMP agent may take to
	// reply, or to take a reply; a busy one needs seconds.
	dialWait  = 5 * time.Second
	replyWait = 15 * time.Second
	// pingEvery is how often a quiet connection is tried.
	pingEvery = 30 * time.Second
	// requestTime is how long the SNMP agent shall wait for our replies.
	requestTime = 10 * time.Second
	// priority of the registration: the default (RFC 2741, 6.2.3).
	priority = 127
	// maxFrames is how many messages are read ahead of those that are answered.
	maxFrames = 16
)

// keep keeps a session, for as long as the door is open.
func (d *Door) keep(ctx context.Context) {
	select {
	case <-d.seen:
	case <-ctx.Done():
		return
	}
	most := maxBackoff * d.o.Backoff
	for wait := d.o.Backoff; ; wait = min(2*wait, most) {
		stood, err := d.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		d.say(err)
		if stood > most {
			wait = d.o.Backoff
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration((0.5 + 0.5*d.o.Jitter()) * float64(wait))):
		}
	}
}

// say logs why there is no session, once for each reason.
func (d *Door) say(err error) {
	if why := err.Error(); why != d.said {
		d.said = why
		d.o.Log.Warn("no session with the SNMP agent; it is tried again", "address", d.o.Network+":"+d.o.Address, "context", d.o.Context, "error", err)
	}
}

// session is one connection's.
type session struct {
	d      *Door
	conn   net.Conn
	ctx    context.Context // of the door: what is written when it closes has leaveWait
	id     uint32
	packet uint32 // of our latest request
	// awaits is what is asked of the SNMP agent at present, since when.
	awaits pdu.Type // 0: nothing
	since  time.Time
	notice uint64    // number of the notice that is being notified
	again  uint64    // the number, and one, of the notice that is sent a second time
	stands bool      // it is registered
	begun  time.Time // since when
	heard  time.Time // when something came last
}

// connect makes a connection and serves it to its end. It tells how long it was registered.
func (d *Door) connect(ctx context.Context) (stood time.Duration, err error) {
	dialling, cancel := context.WithTimeout(ctx, dialWait)
	conn, err := d.o.Dial(dialling, d.o.Network, d.o.Address)
	cancel()
	if err != nil {
		return 0, err
	}
	s := &session{d: d, conn: conn, ctx: ctx, heard: time.Now()}
	hurry := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now().Add(leaveWait)) })
	defer hurry()
	frames, ended := make(chan *message, maxFrames), make(chan error, 1)
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { ended <- read(conn, frames, stop) })
	defer func() {
		conn.Close()
		close(stop)
		reading.Wait()
	}()
	err = s.guarded(ctx, frames, ended)
	if ctx.Err() != nil && s.id != 0 {
		s.leave()
	}
	if s.stands {
		stood = time.Since(s.begun)
	}
	return stood, err
}

// guarded serves; a panic ends the connection alone.
func (s *session) guarded(ctx context.Context, frames <-chan *message, ended <-chan error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.d.o.Log.Error("panic in the session with the SNMP agent", "panic", p, "stack", string(debug.Stack()))
			err = errors.New("an error in Shaft itself ended the connection")
		}
	}()
	return s.serve(ctx, frames, ended)
}

// read hands over messages until the connection ends.
func read(conn net.Conn, frames chan<- *message, stop <-chan struct{}) error {
	r := bufio.NewReader(conn)
	for {
		m, err := readMessage(r)
		if err != nil {
			return err
		}
		select {
		case frames <- m:
		case <-stop:
			return net.ErrClosed
		}
	}
}

// serve opens the session and does whatever comes.
func (s *session) serve(ctx context.Context, frames <-chan *message, ended <-chan error) error {
	if err := s.open(); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-ended:
			err = lost(err)
		case m := <-frames:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			err = s.take(m)
		case <-s.d.outbox.wake:
			err = s.notify()
		case <-tick.C:
			err = s.tend()
		}
		if err != nil {
			return err
		}
	}
}

func lost(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the SNMP agent closed the connection")
	}
	return fmt.Errorf("connection to the SNMP agent lost: %w", err)
}

// tend finds out that the SNMP agent hangs, and asks one that is quiet.
func (s *session) tend() error {
	now := time.Now()
	switch {
	case s.awaits != 0 && now.Sub(s.since) > replyWait:
		return fmt.Errorf("the SNMP agent has not answered for %v", replyWait)
	case s.awaits == 0 && s.stands && now.Sub(s.heard) > pingEvery:
		return s.ask(pdu.TypePing, nil)
	}
	return nil
}

// take deals with one message.
func (s *session) take(m *message) error {
	s.heard = time.Now()
	switch m.Type {
	case pdu.TypeResponse:
		return s.told(m)
	case pdu.TypeClose:
		return fmt.Errorf("the SNMP agent closed the session: %s", reasons[m.reason])
	}
	reply, due := s.d.answer(m)
	if !due {
		return nil
	}
	content, err := reply.MarshalBinary()
	if err != nil {
		return fmt.Errorf("reply to the SNMP agent: %w", err)
	}
	return s.send(pdu.Header{Type: pdu.TypeResponse, SessionID: m.SessionID, TransactionID: m.TransactionID, PacketID: m.PacketID}, content)
}

var reasons = map[pdu.Reason]string{
	pdu.ReasonParseError: "it could not read what we sent", pdu.ReasonProtocolError: "protocol error", pdu.ReasonTimeouts: "we took too long",
	pdu.ReasonShutdown: "it shuts down", pdu.ReasonByManager: "a manager wanted it", pdu.ReasonOther: "no reason is given",
}

// told takes a response. One to what is not asked any more says nothing.
func (s *session) told(m *message) error {
	if s.awaits == 0 || m.PacketID != s.packet {
		return nil
	}
	if m.fault != nil {
		return fmt.Errorf("a response of the SNMP agent: %w", m.fault)
	}
	asked := s.awaits
	s.awaits = 0
	switch {
	case asked == pdu.TypeOpen && m.code == pdu.ErrorNone:
		s.id = m.SessionID
		return s.register()
	case asked == pdu.TypeRegister && m.code == pdu.ErrorNone:
		s.stands, s.begun, s.d.said = true, time.Now(), ""
		s.d.o.Log.Info("registered with the SNMP agent", "address", s.d.o.Network+":"+s.d.o.Address, "context", s.d.o.Context, "subtree", s.d.objects.String())
		return s.notify()
	case asked == pdu.TypeNotify && m.code != pdu.ErrorNotOpen:
		s.notified(m.code)
		return s.notify()
	case m.code != pdu.ErrorNone:
		return fmt.Errorf("the SNMP agent refuses the %s: %s", asks[asked], describe(m.code))
	}
	return s.notify()
}

// notified takes what became of the notification that was sent. One that the SNMP agent could
// not process is sent once more; one that it refuses is lost.
func (s *session) notified(code pdu.Error) {
	switch {
	case code == pdu.ErrorNone:
		s.d.outbox.done(s.notice)
		return
	case code == pdu.ErrorProcessing && s.again != s.notice+1:
		s.again = s.notice + 1
		return
	}
	s.d.o.Log.Warn("the SNMP agent refuses a notification", "error", describe(code))
	s.d.outbox.drop(s.notice)
}

var asks = map[pdu.Type]string{
	pdu.TypeOpen: "session", pdu.TypeRegister: "registration", pdu.TypeNotify: "notification", pdu.TypePing: "question whether it is there",
}

// describe puts an error of the SNMP agent into words.
func describe(code pdu.Error) string {
	switch code {
	case pdu.ErrorDuplicateRegistration:
		return "another program, such as a second Shaft, is registered for the same subtree: stop it, or give each a context of its own (agentx.context)"
	case pdu.ErrorUnsupportedContext:
		return "it knows no such context (agentx.context)"
	case pdu.ErrorOpenFailed:
		return "it takes no further sessions"
	case pdu.ErrorRequestDenied:
		return "it is configured not to"
	}
	return fmt.Sprintf("%s (%d)", code, uint16(code))
}

func (s *session) open() error {
	p := &pdu.Open{Timeout: pdu.Timeout{Duration: requestTime}, Description: pdu.OctetString{Text: "Shaft " + s.d.o.Version}}
	p.ID.SetIdentifier(s.d.arc)
	return s.askPacket(p)
}

func (s *session) register() error {
	p := &pdu.Register{Timeout: pdu.Timeout{Duration: requestTime, Priority: priority}}
	p.Subtree.SetIdentifier(s.d.objects)
	return s.askPacket(p)
}

// notify sends the oldest notification, if none is on its way.
func (s *session) notify() error {
	if s.awaits != 0 || !s.stands {
		return nil
	}
	n, number, there := s.d.outbox.first()
	if !there {
		return nil
	}
	s.notice = number
	vars := n.variables(s.d.arc)
	content, err := vars.MarshalBinary()
	if err != nil {
		return fmt.Errorf("notification of %s: %w", n.label, err)
	}
	return s.ask(pdu.TypeNotify, content)
}

func (s *session) askPacket(p pdu.Packet) error {
	content, err := p.MarshalBinary()
	if err != nil {
		return fmt.Errorf("%s: %w", asks[p.Type()], err)
	}
	return s.ask(p.Type(), content)
}

// ask sends a request of ours; told takes the response. One at a time is under way.
func (s *session) ask(t pdu.Type, content []byte) error {
	s.packet++
	s.awaits, s.since = t, time.Now()
	return s.send(pdu.Header{Type: t, SessionID: s.id, PacketID: s.packet}, content)
}

func (s *session) send(h pdu.Header, content []byte) error {
	b, err := frame(h, s.d.o.Context, content)
	if err != nil {
		return err
	}
	return s.write(b, replyWait)
}

func (s *session) write(b []byte, wait time.Duration) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return lost(err)
	}
	if s.ctx.Err() != nil { // the door closed meanwhile, and its hurry was undone
		_ = s.conn.SetWriteDeadline(time.Now().Add(leaveWait))
	}
	if _, err := s.conn.Write(b); err != nil {
		return lost(err)
	}
	return nil
}

// leave closes the session; whether that arrives does not matter.
func (s *session) leave() {
	content, err := (&pdu.Close{Reason: pdu.ReasonShutdown}).MarshalBinary()
	if err != nil {
		return
	}
	s.packet++
	b, err := frame(pdu.Header{Type: pdu.TypeClose, SessionID: s.id, PacketID: s.packet}, s.d.o.Context, content)
	if err == nil {
		_ = s.write(b, leaveWait)
	}
}

// leaveWait bounds what taking leave costs.
const leaveWait = time.Second
