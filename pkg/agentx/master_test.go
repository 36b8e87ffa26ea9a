package agentx

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posteo/go-agentx/value"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
	"shaft/pkg/schema"
)

// master is an SNMP agent that a test plays.
type master struct {
	t      *testing.T
	l      net.Listener
	socket string
}

// peer is one connection to it.
type peer struct {
	t *testing.T
	net.Conn
	w writer
}

// got is a message of ours.
type got struct {
	kind, flags byte
	session, ta uint32
	packet      uint32
	body        []byte
}

func newMaster(t *testing.T) *master {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return &master{t, l, socket}
}

// accept waits for a connection.
func (m *master) accept() *peer {
	m.t.Helper()
	must(m.t, m.l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)))
	c, err := m.l.Accept()
	must(m.t, err)
	m.t.Cleanup(func() { c.Close() })
	must(m.t, c.SetDeadline(time.Now().Add(patience)))
	return &peer{m.t, c, writer{order: binary.LittleEndian}}
}

func (p *peer) read() (g got) {
	p.t.Helper()
	head := make([]byte, 20)
	_, err := io.ReadFull(p, head)
	must(p.t, err)
	le := binary.LittleEndian
	g = got{head[1], head[2], le.Uint32(head[4:]), le.Uint32(head[8:]), le.Uint32(head[12:]), make([]byte, le.Uint32(head[16:]))}
	_, err = io.ReadFull(p, g.body)
	must(p.t, err)
	return g
}

// want reads a message that has to be of a kind.
func (p *peer) want(kind byte) got {
	p.t.Helper()
	g := p.read()
	if g.kind != kind {
		p.t.Fatalf("a message of kind %d came, wanted %d: %x", g.kind, kind, g.body)
	}
	return g
}

func (p *peer) say(raw []byte) {
	p.t.Helper()
	_, err := p.Write(raw)
	must(p.t, err)
}

// reply answers a request of ours.
func (p *peer) reply(g got, code uint16) {
	p.t.Helper()
	p.say(p.w.message(18, 77, 0, g.packet, make([]byte, 4), p.w.order.AppendUint16(p.w.order.AppendUint16(nil, code), 0)))
}

// register lets a session begin.
func (p *peer) register() {
	p.t.Helper()
	p.reply(p.want(1), 0)
	g := p.want(3)
	if g.session != 77 {
		p.t.Errorf("it registers in session %d", g.session)
	}
	p.reply(g, 0)
}

// doorTo opens a door to it.
func (m *master) doorTo(src Source, l *log, context string) *Door {
	return open(m.t, Options{Network: "unix", Address: m.socket, Source: src, Context: context, Log: slogOf(l), Version: "9.9"})
}

// R51: it opens, registers, answers from the newest view, in the order in which requests came however they
// are cut or strung together, and takes its leave.
func TestSession(t *testing.T) {
	for _, order := range bothOrders {
		m, src, l := newMaster(t), storyScene(), &log{}
		src.clear(4, alarm.Clash)
		src.clear(9, alarm.Down)
		src.change(func(w *engine.Watched) { w.Sources[1].Raised = nil })
		d := m.doorTo(src, l, "ours")
		p := m.accept()
		p.w.order = order
		open := p.want(1)
		if open.flags != 0 || !strings.Contains(string(open.body), "Shaft 9.9") || open.body[0] != 10 {
			t.Errorf("it opens with %x %q", open.flags, open.body)
		}
		p.reply(open, 0)
		reg := p.want(3)
		if reg.flags != 8 || string(reg.body[:8]) != "\x04\x00\x00\x00ours" || reg.body[8] != 10 || reg.body[9] != priority {
			t.Errorf("it registers with %x %q", reg.flags, reg.body)
		}
		p.reply(reg, 0)
		await(t, "that is logged", func() bool { return l.count("registered with the SNMP agent") == 1 })
		in := p.w
		in.context = "ours"
		var all []byte
		for i := range uint32(50) {
			all = append(all, in.message(5, 77, i, i, in.oid(false, append([]uint32(d.objects), 3, 1, 3, 9)...), in.oid(false))...)
		}
		p.say(all[:33])
		p.say(all[33:])
		for i := range uint32(50) {
			if r := p.want(18); r.ta != i || r.packet != i || r.session != 77 || !strings.Contains(string(r.body), "cn=name 9,o=base") {
				t.Fatalf("reply %d: %+v", i, r)
			}
		}
		src.change(func(w *engine.Watched) { w.Names = w.Names[:1] })
		await(t, "the row is gone", func() bool { return d.view.Load().tables[2].rows == 1 })
		p.say(in.message(5, 77, 1, 1, in.oid(false, append([]uint32(d.objects), 3, 1, 3, 9)...), in.oid(false)))
		if r := p.want(18); r.body[8] != 129 { // noSuchInstance
			t.Errorf("%x", r.body)
		}
		d.Close()
		if g := p.want(2); g.body[0] != 5 {
			t.Errorf("it leaves with %x", g.body)
		}
	}
}

// R51: what the SNMP agent refuses is said once, in words, and tried again until it is granted.
func TestSessionRefused(t *testing.T) {
	m, l := newMaster(t), &log{}
	m.doorTo(newScene(), l, "")
	for range 3 {
		p := m.accept()
		p.reply(p.want(1), 0)
		p.reply(p.want(3), 263)
	}
	for range 2 {
		p := m.accept()
		p.reply(p.want(1), 256)
	}
	p := m.accept()
	p.register()
	await(t, "it stands", func() bool { return l.count("registered with the SNMP agent") == 1 })
	if l.count("another program, such as a second Shaft, is registered for the same subtree") != 1 || l.count("refuses the session: it takes no further sessions") != 1 {
		t.Errorf("%s", l)
	}
	for code, words := range map[uint16]string{262: "no such context", 267: "configured not to", 300: "(300)"} {
		p.Close()
		p = m.accept()
		p.reply(p.want(1), 0)
		p.reply(p.want(3), code)
		await(t, words, func() bool { return l.count(words) == 1 })
	}
}

// R51: notifications go one by one, each until it is confirmed, over a new connection too; an end comes after
// what it ends, and another cause is notified again.
func TestNotifications(t *testing.T) {
	m, src, l := newMaster(t), newScene(), &log{}
	src.watched.Names = []engine.WatchedName{nameOf(1, 1), nameOf(2, 0)}
	src.raise(1, alarm.Clash, "one waits")
	src.raise(2, alarm.Down, "known")
	src.change(func(w *engine.Watched) { w.Names[1].Raised[0].Acknowledged = true })
	d := m.doorTo(src, l, "")
	p := m.accept()
	p.register()
	told := func(p *peer, words ...string) got {
		t.Helper()
		g := p.want(12)
		for _, w := range words {
			if !strings.Contains(string(g.body), w) {
				t.Errorf("the notification lacks %q: %q", w, g.body)
			}
		}
		return g
	}
	trap := func(n uint32) string {
		return string(p.w.order.AppendUint32(p.w.order.AppendUint32(p.w.order.AppendUint32(nil, 389), 0), n))
	}
	told(p, "#1: one waits", trap(9)) // it stood when we began, the acknowledged one is not told
	src.raise(2, alarm.NoLKG, "nothing is there")
	await(t, "it waits", func() bool {
		d.outbox.mu.Lock()
		defer d.outbox.mu.Unlock()
		return len(d.outbox.waiting) == 2
	})
	p.say(p.w.message(5, 77, 5, 5, p.w.oid(false, append([]uint32(d.objects), 1, 1, 0)...), p.w.oid(false)))
	if r := p.want(18); r.ta != 5 { // requests are answered meanwhile
		t.Errorf("%+v", r)
	}
	p.Close()
	p = m.accept()
	p.register()
	p.reply(told(p, "#1: one waits"), 0)
	p.reply(told(p, "#3: nothing is there", trap(1)), 268) // once more
	if l.count("refuses a notification") != 0 || d.outbox.lost.Load() != 0 {
		t.Errorf("it is given up at once: %s", l)
	}
	p.reply(told(p, "#3: nothing is there", trap(1)), 268)
	await(t, "that it is refused is logged and counted", func() bool {
		c, _, found := d.view.Load().get([]uint32{1, 15, 0}, noon)
		return found && c.value == uint32(1) && l.count("refuses a notification") == 1
	})
	src.raise(1, alarm.Clash, "two wait")
	p.reply(told(p, "#4: two wait", trap(9)), 267)
	await(t, "what is denied is not sent again, and counted", func() bool { return d.outbox.lost.Load() == 2 })
	src.clear(1, alarm.Clash)
	p.reply(told(p, "cn=name 1", trap(10)), 0)
	src.clear(2, alarm.Down)
	p.reply(told(p, "cn=name 2", trap(6)), 257) // not open: the session is lost
	p = m.accept()
	p.register()
	p.reply(told(p, "cn=name 2", trap(6)), 0)
	src.change(func(w *engine.Watched) { w.Names = w.Names[:1] })
	p.reply(told(p, "cn=name 2", trap(2)), 0) // a name that goes has no alarm any more
}

// R51: a disk that is too full, a store that failed and damage are told apart.
func TestStoreTrouble(t *testing.T) {
	for _, test := range []struct{ failure, full string }{{}, {"input/output error", ""}, {"", "no room"}, {"input/output error", "no room"}} {
		s := newScene()
		s.watched.Failure, s.watched.StoreFull, s.watched.Damage = test.failure, test.full, []string{"a bit", "a claim"}
		w, err := s.Watched(t.Context())
		must(t, err)
		v := viewOf(w, system{lost: &newOutbox().lost}, nil)
		full := int32(2)
		if test.full != "" {
			full = 1
		}
		for name, want := range map[string]any{"shaftFailure": test.failure, "shaftStoreFull": full, "shaftStoreFullText": test.full, "shaftDamage": "a bit; a claim"} {
			if got := cellOf(t, v, name); got != want {
				t.Errorf("%+v: %s is %v, wanted %v", test, name, got, want)
			}
		}
	}
}

// R51: what waits for the SNMP agent is bounded: the oldest is given up, and counted.
func TestOutboxIsBounded(t *testing.T) {
	o := newOutbox()
	var list []notice
	for i := range maxNotices {
		list = append(list, notice{alarmRow: alarmRow{key: key{uint32(i)}}})
	}
	if lost := o.put(list); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	_, sent, _ := o.first()
	if lost := o.put([]notice{{alarmRow: alarmRow{key: key{math.MaxUint32}}}}); lost != 1 || o.lost.Load() != 1 {
		t.Errorf("%d lost, %d counted", lost, o.lost.Load())
	}
	o.done(sent) // it was given up while it was on its way
	for want := range uint32(maxNotices) {
		n, number, there := o.first()
		if want == maxNotices-1 {
			want = math.MaxUint32 - 1
		}
		if !there || n.key[0] != want+1 {
			t.Fatalf("%v comes, wanted %d", n.key, want+1)
		}
		o.done(number)
		o.done(number) // confirmed twice
	}
	if _, _, there := o.first(); there {
		t.Error("one is left")
	}
}

// R51, R56: whatever the SNMP agent says or leaves unsaid, the door lives, and comes again.
func TestHostileMaster(t *testing.T) {
	m, src := newMaster(t), storyScene()
	d := m.doorTo(src, &log{}, "")
	w := writer{order: binary.LittleEndian}
	big := w.message(13, 1, 1, 1)
	copy(big[16:], "\xff\xff\xff\xff")
	for what, mess := range map[string]func(p *peer){
		"it closes at once":        func(p *peer) {},
		"noise":                    func(p *peer) { p.say([]byte(strings.Repeat("GET / HTTP/1.0\r\n", 100))) },
		"a message of 4 GiB":       func(p *peer) { p.say(big) },
		"half a header":            func(p *peer) { p.say(big[:9]) },
		"it closes the session":    func(p *peer) { p.register(); p.say(w.message(2, 77, 0, 0, []byte{5, 0, 0, 0})) },
		"it closes with less":      func(p *peer) { p.register(); p.say(w.message(2, 77, 0, 0)) },
		"it answers the unasked":   func(p *peer) { p.reply(got{packet: 99}, 0); p.register(); p.reply(got{packet: 99}, 300) },
		"a response that is short": func(p *peer) { g := p.want(1); p.say(w.message(18, 77, 0, g.packet)) },
		"kinds that are ours": func(p *peer) {
			p.register()
			for _, kind := range []byte{0, 1, 3, 4, 12, 13, 14, 15, 16, 17, 200} {
				p.say(w.message(kind, 77, 0, 0))
			}
		},
		"requests before the session": func(p *peer) {
			p.want(1)
			p.say(w.message(5, 0, 1, 1, w.oid(false, 1, 3, 6), w.oid(false)))
			p.want(18)
		},
		"requests, and nobody reads": func(p *peer) {
			p.register()
			lead := []byte{0, 0, 255, 255}
			for range 20 {
				if _, err := p.Write(w.message(7, 77, 1, 1, lead, w.oid(false, d.objects...), w.oid(false))); err != nil {
					break
				}
			}
		},
	} {
		t.Log(what)
		p := m.accept()
		mess(p)
		p.Close()
	}
	p := m.accept()
	p.register()
	p.want(12) // of what stands
	d.Close()
}

// R51: an agent that takes the connection and never says a word is left, and so is one that hangs in the middle.
func TestSilentMaster(t *testing.T) {
	m := newMaster(t)
	s := &session{d: answering(t), conn: nil, ctx: t.Context(), since: time.Now().Add(-replyWait - time.Second), awaits: 1}
	if err := s.tend(); err == nil || !strings.Contains(err.Error(), "has not answered for 15s") {
		t.Error(err)
	}
	d := m.doorTo(newScene(), &log{}, "")
	p := m.accept()
	p.want(1)
	d.Close() // while its word is awaited
	left, right := net.Pipe()
	defer right.Close()
	s = &session{d: answering(t), conn: left, ctx: t.Context(), stands: true, heard: time.Now().Add(-pingEvery - time.Second)}
	asked := make(chan got, 1)
	go func() { asked <- (&peer{t, right, p.w}).read() }()
	if err := s.tend(); err != nil || s.awaits != 13 {
		t.Errorf("a quiet connection: %v, asked %d", err, s.awaits)
	}
	if g := <-asked; g.kind != 13 {
		t.Errorf("%+v", g)
	}
}

// R51: the socket need not be there, and Close does not wait for it; what an engine that hangs does not tell gets old.
func TestDoorAlone(t *testing.T) {
	l, src := &log{}, storyScene()
	d := open(t, Options{Network: "unix", Address: filepath.Join(t.TempDir(), "nothing"), Source: src, Log: slogOf(l)})
	await(t, "its trouble is told", func() bool { return l.count("no session with the SNMP agent") == 1 })
	await(t, "a view is there", func() bool { return d.view.Load() != nil })
	src.mu.Lock()
	src.fails = true
	src.mu.Unlock()
	await(t, "it is told that the view gets old", func() bool { return l.count("what SNMP shows gets old") > 0 })
	v := d.view.Load()
	if c, _, found := v.get([]uint32{1, 14, 0}, v.at.Add(70*time.Second)); !found || c.value != uint32(70) {
		t.Errorf("the age of the view is %v", c)
	}
	d.Close()
	if n := l.count("no session with"); n != 1 {
		t.Errorf("the same trouble is told %d times", n)
	}
	for _, bad := range []Options{{}, {Source: src}, {Source: src, Address: "x", Arc: "1"}, {Source: src, Address: "x", Context: strings.Repeat("c", 33)}} {
		if d, err := New(bad); err == nil {
			d.Close()
			t.Errorf("%+v is taken", bad)
		}
	}
}

// R53: how often sources were there is reckoned little by little, anew where they went or came, or time has passed.
func TestPasts(t *testing.T) {
	src := newScene()
	for i := range pastsAtOnce + 50 {
		src.watched.Names = append(src.watched.Names, nameOf(uint32(i+1), 0))
	}
	src.watched.Names[0].Head.Claim = "unknown"
	now := noon
	p := pasts{of: map[string]*past{}}
	follow := func() (asked int) {
		src.asked = map[string]int{}
		w, err := src.Watched(t.Context())
		must(t, err)
		p.follow(t.Context(), w, src, func() time.Time { return now })
		for _, n := range src.asked {
			asked += n
		}
		return asked
	}
	for i, want := range []int{pastsAtOnce, 51, 1, 1} {
		if got := follow(); got != want {
			t.Errorf("look %d asks %d times, wanted %d", i, got, want)
		}
	}
	src.watched.Names[5].Changes++
	if follow(); src.asked["c6"] != 1 {
		t.Errorf("of one that changed nothing is asked: %v", src.asked)
	}
	now = now.Add(pastAge + time.Second)
	if got := follow(); got != pastsAtOnce {
		t.Errorf("later it asks %d times", got)
	}
	src.watched.Names = src.watched.Names[1:3]
	if follow(); len(p.of) != 2 {
		t.Errorf("%d are remembered of 2", len(p.of))
	}
	w, err := src.Watched(t.Context())
	must(t, err)
	v := viewOf(w, system{lost: &newOutbox().lost}, p.of)
	for name, want := range map[string]any{
		"shaftDownOutages": uint32(2), "shaftDownBlips": uint32(3), "shaftDownAway": uint32(61), "shaftDownUp": uint32(9876), "shaftDownKnown": uint32(5000),
		"shaftDownLastDown": date(noon.Add(time.Hour)).value, "shaftDownLastUp": date(noon.Add(2 * time.Hour)).value,
	} {
		if got := cellOf(t, v, name, 2); got != want {
			t.Errorf("%s is %v, wanted %v", name, got, want)
		}
	}
}

// R56: a panic while a request is answered ends the connection, and the next one works.
func TestPanicEndsOneConnection(t *testing.T) {
	m, src, l := newMaster(t), newScene(), &log{}
	var mess atomic.Bool
	d := open(t, Options{Network: "unix", Address: m.socket, Source: src, Log: slogOf(l), Now: func() time.Time {
		if mess.Swap(false) {
			panic("in the clock")
		}
		return noon
	}})
	p := m.accept()
	p.register()
	get := func() []byte {
		return p.w.message(5, 77, 1, 1, p.w.oid(false, append([]uint32(d.objects), 1, 3, 0)...), p.w.oid(false))
	}
	mess.Store(true)
	p.say(get())
	p = m.accept()
	p.register()
	p.say(get())
	p.want(18)
	if l.count("panic in the session") != 1 {
		t.Error(l)
	}
}

// R51: with another arc everything is there, and nowhere else.
func TestAnotherArc(t *testing.T) {
	m, src := newMaster(t), storyScene()
	d := open(t, Options{Network: "unix", Address: m.socket, Source: src, Arc: "1.3.6.1.4.1.4711"})
	p := m.accept()
	p.reply(p.want(1), 0)
	reg := p.want(3)
	le := p.w.order
	subtree := le.AppendUint32(le.AppendUint32(nil, 4711), 1)
	if !strings.HasSuffix(string(reg.body), string(subtree)) {
		t.Errorf("it registers %x", reg.body)
	}
	p.reply(reg, 0)
	g := p.want(12)
	if want := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 4711), 0), 9); !strings.Contains(string(g.body), string(want)) {
		t.Errorf("it notifies %x", g.body)
	}
	if d.objects.String() != "1.3.6.1.4.1.4711.1" {
		t.Errorf("the objects are below %v", d.objects)
	}
	for arc, found := range map[string]bool{"1.3.6.1.4.1.4711": true, schema.Arc: false} {
		v := d.get(d.view.Load(), append(value.MustParseOID(arc), 1, 1, 2, 0), noon)
		if (v.Value == "o=base") != found {
			t.Errorf("below %s: %v", arc, v)
		}
	}
}
