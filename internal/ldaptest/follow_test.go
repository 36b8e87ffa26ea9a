package ldaptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/syncrepl"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// connFrames reads frames from a connection.
type connFrames struct{ r *bufio.Reader }

func (f connFrames) Buffered() bool { return f.r.Buffered() > 0 }

func (f connFrames) Next() ([]byte, error) {
	for n := 2; ; n++ {
		head, err := f.r.Peek(n)
		if err != nil {
			return nil, err
		}
		size, err := ber.FrameLen(head, 1<<24)
		if err != nil {
			return nil, err
		}
		if size > 0 {
			frame := make([]byte, size)
			_, err := io.ReadFull(f.r, frame)
			return frame, err
		}
	}
}

// mirror is a sink that keeps a copy as a consumer has to: a refresh is staged.
type mirror struct {
	schema  *schema.Schema
	mu      chan struct{} // a lock that can be waited for; holds one token
	changed chan struct{}
	live    map[dit.UUID]copied
	staged  map[dit.UUID]copied
	gone    map[dit.UUID]bool
	seen    map[dit.UUID]bool
	cookie  []byte
	log     []string
	done    bool
}

type copied struct {
	dn    string
	attrs string // user attributes and entryUUID, sorted lines
}

func newMirror() *mirror {
	m := &mirror{mu: make(chan struct{}, 1), changed: make(chan struct{}, 1), live: map[dit.UUID]copied{}, schema: schema.Bundled()}
	m.mu <- struct{}{}
	return m
}

// begin starts a session: what an earlier one staged is forgotten.
func (m *mirror) begin() []byte {
	defer m.lock()()
	m.staged, m.gone, m.seen, m.done, m.log = map[dit.UUID]copied{}, map[dit.UUID]bool{}, map[dit.UUID]bool{}, false, nil
	return slices.Clone(m.cookie)
}

func (m *mirror) lock() (unlock func()) {
	<-m.mu
	return func() {
		m.mu <- struct{}{}
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

func (m *mirror) Put(e syncrepl.Entry) error {
	defer m.lock()()
	c := copied{dn: string(e.DN)}
	var lines []string
	for run := dit.Run(e.Attrs); ; {
		desc, vals, rest, ok := run.Next()
		if !ok {
			break
		}
		run = rest
		if t := m.schema.AttributeBytes(desc); t.Operational() && t.Key() != "entryuuid" && t.Key() != "entrycsn" {
			continue
		}
		for len(vals) > 0 {
			_, v, more, err := ber.Next(vals)
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%s: %s", desc, v))
			vals = more
		}
	}
	slices.Sort(lines)
	c.attrs = strings.Join(lines, "\n")
	m.log = append(m.log, fmt.Sprintf("put %s", e.DN))
	if !m.done {
		m.staged[e.UUID] = c
		delete(m.gone, e.UUID)
		return nil
	}
	m.moved(e.UUID, c)
	return nil
}

// moved puts an entry; what is below its old name goes with it.
func (m *mirror) moved(id dit.UUID, c copied) {
	old, known := m.live[id]
	m.live[id] = c
	if !known || old.dn == c.dn {
		return
	}
	for other, e := range m.live {
		if rel, ok := strings.CutSuffix(e.dn, ","+old.dn); ok {
			e.dn = rel + "," + c.dn
			m.live[other] = e
		}
	}
}

func (m *mirror) Present(ids []dit.UUID) error {
	defer m.lock()()
	m.log = append(m.log, fmt.Sprintf("present %d", len(ids)))
	for _, id := range ids {
		m.seen[id] = true
	}
	return nil
}

func (m *mirror) Delete(ids []dit.UUID) error {
	defer m.lock()()
	m.log = append(m.log, fmt.Sprintf("delete %d", len(ids)))
	for _, id := range ids {
		if m.done {
			delete(m.live, id)
		} else {
			m.gone[id] = true
		}
	}
	return nil
}

func (m *mirror) RefreshDone(end syncrepl.End) error {
	defer m.lock()()
	m.log = append(m.log, fmt.Sprintf("done %v", end.Complete))
	if end.Complete {
		maps.DeleteFunc(m.live, func(id dit.UUID, _ copied) bool { _, put := m.staged[id]; return !put && !m.seen[id] })
	}
	maps.DeleteFunc(m.live, func(id dit.UUID, _ copied) bool { return m.gone[id] })
	for id, c := range m.staged {
		m.moved(id, c)
	}
	m.cookie, m.done = slices.Clone(end.Cookie), true
	return nil
}

func (m *mirror) Cookie(c []byte) error {
	defer m.lock()()
	m.cookie = slices.Clone(c)
	return nil
}

func (m *mirror) Flush() error { return nil }

// lines is the content in words, sorted by name.
func (m *mirror) lines() string {
	defer m.lock()()
	var out []string
	for id, c := range m.live {
		out = append(out, fmt.Sprintf("%s [%s]\n%s", c.dn, id, c.attrs))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (m *mirror) said() []string {
	defer m.lock()()
	return slices.Clone(m.log)
}

// held is the cookie.
func (m *mirror) held() string {
	defer m.lock()()
	return string(m.cookie)
}

// await waits until the content is as wanted.
func (m *mirror) await(t *testing.T, what string, wanted func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !wanted() {
		select {
		case <-m.changed:
		case <-deadline:
			t.Fatalf("%s does not come; there is\n%s", what, m.lines())
		}
	}
}

// session is one running search.
type session struct {
	t    *testing.T
	conn net.Conn
	end  chan error
}

// follow starts a sync search into m on a connection of its own.
func follow(t *testing.T, address, base string, mode syncrepl.Mode, m *mirror) *session {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	cookie := m.begin()
	search := syncrepl.AppendSearch(nil, 130, syncrepl.Request{Base: base, Scope: 2,
		Filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}, Attributes: []string{"*", "+"}, Mode: mode, Cookie: cookie})
	if _, err := conn.Write(search); err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, conn: conn, end: make(chan error, 1)}
	go func() {
		s.end <- syncrepl.Consume(context.Background(), connFrames{bufio.NewReader(conn)}, syncrepl.Options{Sent: cookie, Mode: mode}, m)
	}()
	t.Cleanup(func() { conn.Close() })
	return s
}

// wait gives how the session ended.
func (s *session) wait() error {
	s.t.Helper()
	select {
	case err := <-s.end:
		s.conn.Close()
		return err
	case <-time.After(patience):
		s.t.Fatal("the session does not end")
		return nil
	}
}

// close ends it from this side.
func (s *session) close() {
	s.t.Helper()
	s.conn.Close()
	if err := s.wait(); err == nil {
		s.t.Fatal("a closed session ended as if it were complete")
	}
}

// upstream is what the tests below need of either server.
type upstream struct {
	address string
	write   func(changes string) // LDIF changes
	down    func()
	up      func()
}

const (
	teaLDIF = `dn: dc=tea
objectClass: domain
dc: tea

dn: ou=green,dc=tea
objectClass: organizationalUnit
ou: green

dn: cn=sencha,ou=green,dc=tea
objectClass: device
cn: sencha

dn: cn=matcha,ou=green,dc=tea
objectClass: device
cn: matcha
`
	oolong = "dn: cn=oolong,dc=tea\nchangetype: add\nobjectClass: device\ncn: oolong\n"
)

// again reads a server's whole content with a refreshOnly search.
func again(t *testing.T, address string) string {
	t.Helper()
	m := newMirror()
	if err := follow(t, address, "dc=tea", syncrepl.RefreshOnly, m).wait(); err != nil {
		t.Fatal(err)
	}
	return m.lines()
}

// R12, R33, R35: the same following of a scripted and of a real server; what was
// followed is at every step what a fresh search gives.
func testFollowing(t *testing.T, u upstream) {
	m := newMirror()
	s := follow(t, u.address, "dc=tea", syncrepl.RefreshAndPersist, m)
	settled := func() bool { return m.lines() == again(t, u.address) }
	m.await(t, "the first load", settled)
	if n := strings.Count(m.lines(), "entryCSN: "); n != 4 {
		t.Fatalf("%d of 4 entries were loaded:\n%s", n, m.lines())
	}
	for _, change := range []string{
		oolong,
		"dn: cn=sencha,ou=green,dc=tea\nchangetype: modify\nreplace: description\ndescription: steamed\n",
		"dn: ou=green,dc=tea\nchangetype: modrdn\nnewrdn: ou=japan\ndeleteoldrdn: 1\n",
		"dn: cn=matcha,ou=japan,dc=tea\nchangetype: delete\n",
	} {
		u.write(change)
		m.await(t, change, settled)
	}
	if !strings.Contains(m.lines(), "cn=sencha,ou=japan,dc=tea [") {
		t.Fatalf("a subtree's rename did not take its children along:\n%s", m.lines())
	}
	// A restart without a change, then one with changes while away: no entry is
	// sent that did not change.
	s.close()
	s = follow(t, u.address, "dc=tea", syncrepl.RefreshAndPersist, m)
	m.await(t, "a refresh without a change", func() bool { return len(m.said()) > 0 })
	if got := m.said(); !slices.Equal(got, []string{"done false"}) {
		t.Fatalf("a refresh without a change said %q", got)
	}
	s.close()
	u.write("dn: cn=oolong,dc=tea\nchangetype: delete\n")
	u.write("dn: cn=sencha,ou=japan,dc=tea\nchangetype: modify\nreplace: description\ndescription: shaded\n")
	u.down()
	if conn, err := net.Dial("tcp", u.address); err == nil {
		conn.Close()
		t.Fatal("a server that is down takes connections")
	}
	u.up()
	follow(t, u.address, "dc=tea", syncrepl.RefreshAndPersist, m)
	m.await(t, "what changed while away", settled)
	puts := 0
	for _, line := range m.said() {
		if strings.HasPrefix(line, "put") {
			puts++
		}
	}
	if puts != 1 {
		t.Fatalf("one entry changed, the refresh said %q", m.said())
	}
	// A cookie that the server cannot know.
	m.cookie = []byte("garbage")
	if err := follow(t, u.address, "dc=tea", syncrepl.RefreshAndPersist, m).wait(); !errors.Is(err, syncrepl.ErrReload) {
		t.Fatalf("after a garbage cookie: %v", err)
	}
}

func TestFollowScripted(t *testing.T) {
	for _, present := range []bool{false, true} {
		s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF, PresentPhase: present})
		testFollowing(t, upstream{address: s.Addr(), write: func(c string) { s.apply(t, c) },
			down: s.Down, up: func() { check(t, s.Up()) }})
	}
}

// apply does what an LDIF change says, for the few that the tests make.
func (s *Server) apply(t *testing.T, change string) {
	t.Helper()
	f := map[string]string{}
	for line := range strings.Lines(change) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		f[name] = value
	}
	switch f["changetype"] {
	case "add":
		check(t, s.Add(strings.Replace(change, "changetype: add\n", "", 1)))
	case "modify":
		check(t, s.Modify(f["dn"], f["replace"], f[f["replace"]]))
	case "modrdn":
		_, parent, _ := strings.Cut(f["dn"], ",")
		check(t, s.Rename(f["dn"], f["newrdn"]+","+parent))
	case "delete":
		check(t, s.Delete(f["dn"]))
	default:
		t.Fatalf("no change: %q", change)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	check(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestFollowSlapd(t *testing.T) {
	for _, c := range []struct {
		name     string
		sid, log int
	}{{"no server ID, session log", 0, 100}, {"server ID, session log", 7, 100}, {"present phases", 0, 0}} {
		t.Run(c.name, func(t *testing.T) {
			s := StartSlapd(t, SlapdOptions{Suffix: "dc=tea", LDIF: teaLDIF, SID: c.sid, SessionLog: c.log})
			testFollowing(t, upstream{address: fmt.Sprintf("127.0.0.1:%d", s.Port), write: s.Apply, down: s.Stop, up: s.Start})
		})
	}
}
