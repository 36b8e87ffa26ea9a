package ldapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// LevelStats is the level of a line for each connection, request and result, in
// the form of slapd's stats log (slapd.conf(5), loglevel 256), which is the whole
// message: between debug and info.
const LevelStats = slog.Level(-2)

const (
	// maxTraced bounds a filter, a DN or a text in such a line.
	maxTraced = 4 << 10
	// maxPending bounds the requests whose results are awaited: more than a
	// connection has under way.
	maxPending = 1 << 10
)

// trace writes the lines of one connection. Replies come from any goroutine.
type trace struct {
	log  *slog.Logger
	conn uint64
	next uint64 // number of the next request; the reader's
	fd   int    // of the socket; the reader's
	seen bool   // its first line was written; the reader's

	live    atomic.Int32 // how many are pending
	mu      sync.Mutex
	pending map[int32]*traced // by message ID; nil while nothing is awaited
}

// traced is a request whose result is to come.
type traced struct {
	op      uint64
	began   time.Time
	entries int
}

func (t *trace) on() bool { return t.log.Enabled(context.Background(), LevelStats) }

func (t *trace) line(format string, args ...any) {
	t.log.Log(context.Background(), LevelStats, fmt.Sprintf("conn=%d ", t.conn)+fmt.Sprintf(format, args...))
}

// take counts a request, and writes its line.
func (c *conn) take(req *request) {
	if k := requestKinds[req.op]; k > 0 {
		c.meter.initiated[k-1].Add(1)
	}
	op := c.trace.next
	c.trace.next++
	if !c.trace.on() {
		return
	}
	c.trace.expect(req, op)
	for _, text := range requestLines(req) {
		c.trace.line("op=%d %s", op, text)
	}
}

// expect notes a request that gets a reply.
func (t *trace) expect(req *request, op uint64) {
	if response(req.op) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil {
		t.pending = map[int32]*traced{}
	}
	if len(t.pending) < maxPending {
		t.pending[req.id] = &traced{op: op, began: time.Now()}
	}
	t.live.Store(int32(len(t.pending)))
}

// drop forgets a request that gets none after all.
func (t *trace) drop(id int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pending, id)
	t.live.Store(int32(len(t.pending)))
}

// sent looks at messages on their way out.
func (t *trace) sent(p []byte) {
	for len(p) > 0 {
		var m outgoing
		m, p = nextOutgoing(p)
		t.message(&m)
	}
}

// message counts an entry, and writes the line of a result.
func (t *trace) message(m *outgoing) {
	t.mu.Lock()
	req := t.pending[m.id]
	if req == nil {
		t.mu.Unlock()
		return
	}
	if m.tag == tagEntry {
		req.entries++
	}
	final := replyKinds[m.tag] > 0
	if final {
		delete(t.pending, m.id)
		t.live.Store(int32(len(t.pending)))
	}
	t.mu.Unlock()
	if !final {
		return
	}
	r := ber.NewReader(m.body)
	code, err := r.Int(ber.Enumerated)
	if err != nil {
		return
	}
	_, _ = r.Read(ber.OctetString) // matchedDN
	text, _ := r.Read(ber.OctetString)
	t.result(req, m.tag, code, text)
}

func (t *trace) result(req *traced, tag ber.Tag, code int64, text []byte) {
	what, extra := fmt.Sprintf("RESULT tag=%d", int(tag)), ""
	switch tag {
	case tagSearchDone:
		what, extra = "SEARCH "+what, fmt.Sprintf(" nentries=%d", req.entries)
	case tagExtendedRe:
		what = "RESULT oid="
	}
	// Nothing waits between reading and doing: qtime is 0.
	t.line("op=%d %s err=%d qtime=0.000000 etime=%.6f%s text=%s", req.op, what, code, time.Since(req.began).Seconds(), extra, traceable(string(text)))
}

// traceable makes text fit for a line, within quotes.
func traceable(text string) string {
	cut := ""
	if len(text) > maxTraced {
		text, cut = text[:maxTraced], "..."
	}
	if strings.IndexFunc(text, awkward) < 0 {
		return text + cut
	}
	var b strings.Builder
	for i := range len(text) {
		if o := text[i]; o < ' ' || o == '"' || o == 0x7f {
			fmt.Fprintf(&b, "\\%02X", o)
		} else {
			b.WriteByte(o)
		}
	}
	return b.String() + cut
}

func awkward(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }

// requestLines are what a request's lines say behind conn and op; of one that is
// malformed only what it is.
func requestLines(req *request) []string {
	r := ber.NewReader(req.body)
	switch req.op {
	case tagBind:
		b, _ := decodeBind(req.body)
		return []string{fmt.Sprintf("BIND dn=%s method=%d", quoted(b.name), int(b.method))}
	case tagUnbind:
		return []string{"UNBIND"}
	case tagSearch:
		return searchLines(req.body)
	case tagCompare:
		dn, _ := r.Read(ber.OctetString)
		ava, _ := r.Enter(ber.Sequence)
		attr, _ := ava.Read(ber.OctetString)
		return []string{fmt.Sprintf("CMP dn=%s attr=%s", quoted(dn), quoted(attr))}
	case tagAbandon:
		element := ber.NewReader(ber.AppendBytes(nil, ber.Integer, req.body))
		id, _ := element.Int(ber.Integer)
		return []string{fmt.Sprintf("ABANDON msg=%d", id)}
	case tagDelete:
		return []string{"DEL dn=" + quoted(req.body)}
	case tagExtended:
		name, _ := r.Read(ber.ContextPrimitive(0))
		return extendedLines(string(name))
	}
	if word := map[ber.Tag]string{tagAdd: "ADD", tagModify: "MOD", tagModifyDN: "MODRDN"}[req.op]; word != "" {
		dn, _ := r.Read(ber.OctetString)
		lines := []string{word + " dn=" + quoted(dn)}
		if req.op == tagModify {
			lines = append(lines, "MOD attr="+traceable(strings.Join(modified(r), " ")))
		}
		return lines
	}
	return nil
}

// modified are the attributes of a modify request's changes, which r is at.
func modified(r ber.Reader) (names []string) {
	changes, _ := r.Enter(ber.Sequence)
	for changes.More() {
		change, err := changes.Enter(ber.Sequence)
		if err != nil {
			return names
		}
		_, _ = change.Int(ber.Enumerated)
		attr, _ := change.Enter(ber.Sequence)
		name, err := attr.Read(ber.OctetString)
		if err != nil {
			return names
		}
		names = append(names, string(name))
	}
	return names
}

func quoted(text []byte) string { return `"` + traceable(string(text)) + `"` }

func extendedLines(name string) []string {
	lines := []string{"EXT oid=" + traceable(name)}
	switch name {
	case string(ldapserver.NoticeOfWhoAmI):
		lines = append(lines, "WHOAMI")
	case oidStartTLS:
		lines = append(lines, "STARTTLS")
	}
	return lines
}

func searchLines(body []byte) []string {
	s, err := decodeSearch(body)
	if err != nil {
		return []string{"SRCH"}
	}
	filter := "?"
	if f, err := dit.DecodeFilter(byte(s.filterTag), s.filter); err == nil {
		filter = f.String()
	}
	lines := []string{fmt.Sprintf("SRCH base=%s scope=%d deref=%d filter=%s", quoted(s.base), int(s.scope), s.deref, quoted([]byte(filter)))}
	var attrs []string
	for r := ber.NewReader(s.attrs); r.More(); {
		name, err := r.Read(ber.OctetString)
		if err != nil {
			break
		}
		attrs = append(attrs, string(name))
	}
	if len(attrs) > 0 {
		lines = append(lines, "SRCH attr="+traceable(strings.Join(attrs, " ")))
	}
	return lines
}

// peerText is an address as slapd writes it.
func peerText(a net.Addr) string {
	if a.Network() == "unix" {
		return "PATH=" + a.String()
	}
	return "IP=" + a.String()
}

func (c *conn) traceAccept() {
	if !c.trace.on() {
		return
	}
	from := peerText(c.raw.RemoteAddr())
	if c.peer.IsValid() { // a balancer may have told another
		from = "IP=" + c.peer.String()
	}
	c.trace.fd, c.trace.seen = descriptor(c.raw), true
	c.trace.line("fd=%d ACCEPT from %s (%s)", c.trace.fd, from, peerText(c.raw.LocalAddr()))
}

// descriptor is the number of the socket; 0 where it has none.
func descriptor(nc net.Conn) (n int) {
	s, ok := nc.(syscall.Conn)
	if !ok {
		return 0
	}
	if raw, err := s.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}

// traceClosed is the connection's last line; err is why it ended, nil for unbind.
func (c *conn) traceClosed(err error) {
	if !c.trace.seen || !c.trace.on() {
		return
	}
	why := ""
	switch {
	case err == nil:
	case errors.Is(err, errHandshake):
		why = " (TLS negotiation failure)"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		why = " (connection lost)"
	case errors.Is(err, os.ErrDeadlineExceeded):
		why = " (shutting down)"
	default:
		why = " (" + traceable(err.Error()) + ")"
	}
	c.trace.line("fd=%d closed%s", c.trace.fd, why)
}
