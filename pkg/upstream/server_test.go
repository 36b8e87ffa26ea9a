package upstream

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// server is a scripted LDAP server on a loopback port. Its fields say how it
// behaves; they are set before start, and what is not set succeeds.
type server struct {
	t  *testing.T
	ln net.Listener

	config   *tls.Config // of ldaps, or of StartTLS
	ldaps    bool
	bindCode int
	onBind   func(s *session, r request)
	startTLS func(s *session, r request)
	whoAmI   func(s *session, r request)
	plain    func(s *session, r request) // a search of go-ldap's
	sync     func(s *session, r request) // the sync search
	greet    func(s *session)

	binds   atomic.Int32
	unbound chan struct{} // an UnbindRequest came, when set

	abandoned chan int64 // message IDs of searches, when set

	mu       sync.Mutex
	password string
	sessions []net.Conn
	running  sync.WaitGroup
}

// session is one connection of a server's; number counts them from 1.
type session struct {
	net.Conn
	*server
	number int
	search int64 // message ID of the latest sync search
	asked  []int64
	count  int // scripts' own
}

type request struct {
	id    int64
	op    ber.Tag
	body  ber.Reader
	frame []byte
}

func listen(t *testing.T, s *server) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.ln = t, ln
	s.running.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	s.ln.Close()
	s.hangUp()
	s.running.Wait()
}

// hangUp closes every connection.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sessions {
		c.Close()
	}
}

func (s *server) source() Source {
	host, port, _ := net.SplitHostPort(s.ln.Addr().String())
	n, _ := strconv.Atoi(port)
	src := Source{Protocol: "ldap", Host: host, Port: n, Base: "dc=example,dc=org"}
	if s.ldaps {
		src.Protocol = "ldaps"
	}
	src.fill()
	return src
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sessions = append(s.sessions, c)
		number := len(s.sessions)
		s.mu.Unlock()
		s.running.Go(func() {
			defer c.Close()
			one := &session{Conn: c, server: s, number: number}
			if s.ldaps {
				one.Conn = tls.Server(c, s.config)
			}
			if s.greet != nil {
				s.greet(one)
			}
			one.serve()
		})
	}
}

func (s *session) serve() {
	for {
		r, err := s.read()
		if err != nil {
			return
		}
		switch {
		case r.op == 0x42:
			if s.unbound != nil {
				s.unbound <- struct{}{}
			}
			return
		case r.op == 0x60:
			s.bind(r)
		case r.op == 0x77 && string(mustRead(r.body, ber.ContextPrimitive(0))) == oidStartTLS:
			s.upgrade(r)
		case r.op == 0x77:
			s.do(s.whoAmI, r, func() { s.send(response(r.id, tagExtendedResponse, 0, "")) })
		case r.op == 0x50:
			if s.abandoned != nil {
				id, _ := r.body.Int(0x50)
				s.abandoned <- id
			}
		case r.op == 0x63 && bytes.Contains(r.frame, []byte(syncrepl.OIDSyncRequest)):
			s.search = r.id
			s.do(s.sync, r, func() { s.fail(12, "") })
		case r.op == 0x63:
			s.do(s.plain, r, func() {
				s.send(searchEntry(r.id, "dc=example,dc=org"))
				s.send(response(r.id, 0x65, 0, ""))
			})
		}
	}
}

func (s *session) do(script func(*session, request), r request, otherwise func()) {
	if script != nil {
		script(s, r)
		return
	}
	otherwise()
}

func mustRead(r ber.Reader, tag ber.Tag) []byte {
	v, _ := r.Read(tag)
	return v
}

func (s *session) bind(r request) {
	s.binds.Add(1)
	r.body.Int(ber.Integer)
	r.body.Read(ber.OctetString)
	s.mu.Lock()
	s.password = string(mustRead(r.body, ber.ContextPrimitive(0)))
	s.mu.Unlock()
	s.do(s.onBind, r, func() { s.send(response(r.id, 0x61, s.bindCode, "")) })
}

func (s *session) upgrade(r request) {
	s.do(s.startTLS, r, func() {
		s.send(response(r.id, tagExtendedResponse, 0, ""))
		s.Conn = tls.Server(s.Conn, s.config)
	})
}

func (s *session) read() (r request, err error) {
	head := make([]byte, 2, 512)
	if _, err := io.ReadFull(s, head); err != nil {
		return r, err
	}
	n, err := ber.FrameLen(head, 1<<20)
	for err == nil && n == 0 {
		head = append(head, 0)
		if _, err = io.ReadFull(s, head[len(head)-1:]); err == nil {
			n, err = ber.FrameLen(head, 1<<20)
		}
	}
	if err != nil {
		return r, err
	}
	r.frame = append(head, make([]byte, n-len(head))...)
	if _, err := io.ReadFull(s, r.frame[len(head):]); err != nil {
		return r, err
	}
	id, op, err := envelope(r.frame)
	if err != nil {
		return r, err
	}
	r.id, r.op = id, op.Peek()
	if r.op == 0x42 {
		return r, nil
	}
	if r.op == 0x50 {
		r.body = op
		return r, nil
	}
	r.body, err = op.Enter(r.op)
	return r, err
}

func (s *session) send(frame []byte) { s.Write(frame) }

// message sends one of the sync search's.
func (s *session) message(m syncrepl.Message) {
	m.MessageID = s.search
	s.send(m.Append(nil))
}

func (s *session) fail(code int, text string) {
	s.message(syncrepl.Message{Kind: syncrepl.KindDone, Code: code, Diagnostic: text})
}

// refresh sends n entries and the end of the refresh.
func (s *session) refresh(n int, cookie string) {
	for i := range n {
		s.message(entry(i))
	}
	s.message(syncrepl.Message{Kind: syncrepl.KindRefreshDelete, Cookie: []byte(cookie), HasCookie: true, RefreshDone: true})
}

// entry is the message of entry i, of some 700 bytes.
func entry(i int) syncrepl.Message {
	name := "cn=entry " + strconv.Itoa(i) + ",dc=example,dc=org"
	attrs := dit.AppendAttr(nil, "objectClass", "top", "person", "organizationalPerson", "inetOrgPerson")
	attrs = dit.AppendAttr(attrs, "cn", "entry "+strconv.Itoa(i))
	for _, a := range []string{"sn", "mail", "description", "telephoneNumber", "title", "street", "l", "o"} {
		attrs = dit.AppendAttr(attrs, a, "a value of "+a+" that has a length as values have, more or less")
	}
	return syncrepl.Message{
		Kind: syncrepl.KindEntry, State: syncrepl.StateAdd, HasState: true,
		UUID: dit.UUID{1, byte(i >> 16), byte(i >> 8), byte(i)}, DN: []byte(name), Attrs: attrs,
	}
}

// response is a message with an LDAPResult and nothing else.
func response(id int64, op ber.Tag, code int, text string) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, id)
	msg, body := ber.Begin(msg, op)
	msg = ber.AppendInt(msg, ber.Enumerated, int64(code))
	msg = ber.AppendString(msg, ber.OctetString, "")
	msg = ber.AppendString(msg, ber.OctetString, text)
	return ber.End(ber.End(msg, body), mark)
}

// searchEntry is an entry without attributes.
func searchEntry(id int64, dn string) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, id)
	msg, body := ber.Begin(msg, 0x64)
	msg = ber.AppendString(msg, ber.OctetString, dn)
	msg = ber.AppendBytes(msg, ber.Sequence, nil)
	return ber.End(ber.End(msg, body), mark)
}

// notice is a notice of disconnection.
func notice(code int, text string) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, 0)
	msg, body := ber.Begin(msg, tagExtendedResponse)
	msg = ber.AppendInt(msg, ber.Enumerated, int64(code))
	msg = ber.AppendString(msg, ber.OctetString, "")
	msg = ber.AppendString(msg, ber.OctetString, text)
	msg = ber.AppendString(msg, ber.ContextPrimitive(10), oidDisconnection)
	return ber.End(ber.End(msg, body), mark)
}
