package ldapd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

// patience bounds every wait of a test.
const patience = time.Minute

var bundled = sync.OnceValue(schema.Bundled)

// backend serves a version that a test may replace.
type backend struct {
	v       atomic.Pointer[tree.Version]
	mu      sync.Mutex
	changed chan struct{}
	log     []tree.Change // since logFrom
	logFrom dit.CSN
}

func (b *backend) Version() *tree.Version { return b.v.Load() }

func (b *backend) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *backend) Changes(after dit.CSN, fn func(tree.Change) error) (bool, error) {
	b.mu.Lock()
	log, from := b.log, b.logFrom
	b.mu.Unlock()
	if after < from {
		return false, nil
	}
	for _, c := range log {
		if c.Row.CSN > after {
			if err := fn(c); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// publish shows a version, whose changes go into the log before.
func (b *backend) publish(v *tree.Version, changes []tree.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, changes...)
	b.v.Store(v)
}

// wake tells followers to look.
func (b *backend) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
}

// forget has the log begin later, at some change that it holds.
func (b *backend) forget(r *rand.Rand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.log) > 0 {
		n := r.IntN(len(b.log))
		b.logFrom = b.log[n].Row.CSN
		b.log = slices.Clone(b.log[n+1:])
	}
}

func newBackend(v *tree.Version) *backend {
	b := &backend{changed: make(chan struct{}), logFrom: v.CSN()}
	b.v.Store(v)
	return b
}

func emptyTree() *tree.Version {
	return tree.Empty(tree.Options{Schema: bundled(), SID: 1, Index: []string{"objectClass", "cn", "uid"}, Subschema: subschemaDN})
}

const base = "ou=Package Listers"

// attrs are name, value, name, value, …
func attrs(list ...string) dit.Run {
	var run dit.Run
	for i := 0; i < len(list); {
		values := []string{list[i+1]}
		j := i + 2
		for ; j < len(list) && list[j] == list[i]; j += 2 {
			values = append(values, list[j+1])
		}
		run = dit.AppendAttr(run, list[i], values...)
		i = j
	}
	return run
}

func value(tb testing.TB, text string, user, oper dit.Run) tree.Value {
	tb.Helper()
	dn, err := dit.ParseDN(bundled(), text)
	if err != nil {
		tb.Fatal(err)
	}
	return tree.Value{Norm: []byte(dn.Norm()), Text: []byte(dn.String()), RDNLen: len(dn.RDN(0).Text), User: user, Oper: oper}
}

// listers is the base entry, cn=Debian below it, and n persons below that.
func listers(tb testing.TB, n int) *tree.Version {
	tb.Helper()
	b := emptyTree().Edit()
	csn := dit.CSNAt(time.Unix(1_700_000_000, 0))
	b.NextCSN = func() dit.CSN { csn++; return csn }
	uuid := func(i int) dit.UUID { return dit.NewUUIDv5(dit.UUID{1}, fmt.Append(nil, i)) }
	oper := func(class string) dit.Run {
		return attrs("structuralObjectClass", class, "createTimestamp", "20240101000000Z")
	}
	b.SetRoot(tree.Row{UUID: uuid(0)}, value(tb, base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"), oper("organizationalUnit")))
	b.Put(tree.Row{UUID: uuid(1)}, value(tb, "cn=Debian,"+base,
		attrs("objectClass", "applicationProcess", "cn", "Debian", "description", "A list", "description", "of packages"), oper("applicationProcess")))
	for i := range n {
		cn := fmt.Sprintf("User %d", i)
		b.Put(tree.Row{UUID: uuid(i + 2)}, value(tb, "cn="+cn+",cn=Debian,"+base, attrs(
			"objectClass", "inetOrgPerson", "cn", cn, "sn", fmt.Sprint(i), "uid", fmt.Sprintf("u%d", i),
			"mail", fmt.Sprintf("u%d@example.org", i), "description", "somebody who maintains packages of a usual kind"),
			oper("inetOrgPerson")))
	}
	return b.Done()
}

// serve starts a server on loopback and closes it with the test.
func serve(tb testing.TB, o Options) (*Server, string) {
	tb.Helper()
	if o.Backend == nil {
		o.Backend = newBackend(listers(tb, 5))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := Listen("ldap://127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	eventually(tb, "it serves", func() bool { // else Close may come first
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.listeners[l]
	})
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			tb.Error(err)
		}
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return s, l.Addr().String()
}

// client speaks raw BER.
type client struct {
	testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func dial(tb testing.TB, addr string) *client {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	return newClient(tb, nc)
}

func newClient(tb testing.TB, nc net.Conn) *client {
	return &client{tb, nc, bufio.NewReaderSize(nc, 64<<10)}
}

func (c *client) write(p []byte) {
	c.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(p); err != nil {
		c.Fatal(err)
	}
}

// reply is one message from the server.
type reply struct {
	id       int64
	op       ber.Tag
	code     int
	matched  string
	text     string
	dn       string              // of an entry
	attrs    map[string][]string // of an entry
	names    []string            // theirs, in order
	extra    []byte              // behind an LDAPResult
	controls map[string][]byte
	urls     []string // of a reference or a referral
}

// read gives the next message; io.EOF at the end of the connection.
func (c *client) read() (reply, error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	var frame []byte
	for {
		n, err := ber.FrameLen(frame, 64<<20)
		if err != nil {
			return reply{}, err
		}
		if n > 0 && len(frame) == n {
			rep, err := decodeReply(frame)
			if err == nil && rep.op != tagEntry && rep.op != tagReference && rep.op != tagIntermediate {
				c.wantText(rep.code, rep.text)
			}
			return rep, err
		}
		want := 1
		if n > 0 {
			want = n - len(frame)
		}
		rest := make([]byte, want)
		if _, err := io.ReadFull(c.r, rest); err != nil {
			return reply{}, err
		}
		frame = append(frame, rest...)
	}
}

// wantText wants whatever is no success to say what is wrong, in each test; but a bind
// that fails does not tell why.
func (c *client) wantText(code int, text string) {
	c.Helper()
	switch code {
	case ldapserver.LDAPResultSuccess, ldapserver.LDAPResultCompareTrue, ldapserver.LDAPResultCompareFalse, ldapserver.LDAPResultInvalidCredentials:
	default:
		if text == "" {
			c.Errorf("result %d without a text", code)
		}
	}
}

func (c *client) next() reply {
	c.Helper()
	r, err := c.read()
	if err != nil {
		c.Fatal(err)
	}
	return r
}

// ended wants the connection to be at its end.
func (c *client) ended() {
	c.Helper()
	if r, err := c.read(); err == nil {
		c.Fatalf("connection still open: %+v", r)
	}
}

// until gives the messages up to the one that ends the request, that one last.
func (c *client) until(id int64) []reply {
	c.Helper()
	var all []reply
	for {
		r := c.next()
		if r.id != id {
			c.Fatalf("reply to %d while waiting for %d: %+v", r.id, id, r)
		}
		all = append(all, r)
		if r.op != tagEntry && r.op != tagReference {
			return all
		}
	}
}

// tagIntermediate is an IntermediateResponse.
const tagIntermediate = ber.Tag(0x79)

// untilDone is until of a search that may be in the sync protocol.
func (c *client) untilDone(id int64) []reply {
	c.Helper()
	var all []reply
	for {
		r := c.next()
		all = append(all, r)
		if r.id == id && r.op != tagEntry && r.op != tagReference && r.op != tagIntermediate {
			return all
		}
	}
}

// whoamiAfter asks who it is, and leaves aside what is answered before.
func (c *client) whoamiAfter(id int64) string {
	c.Helper()
	c.write(msg(id, tagExtended, extendedBody(whoAmI)))
	replies := c.untilDone(id)
	_, v, _, err := ber.Next(replies[len(replies)-1].extra)
	if err != nil {
		c.Fatal(err)
	}
	return string(v)
}

func decodeReply(frame []byte) (rep reply, err error) {
	outer := ber.NewReader(frame)
	m, err := outer.Enter(ber.Sequence)
	if err != nil {
		return rep, err
	}
	if rep.id, err = m.Int(ber.Integer); err != nil {
		return rep, err
	}
	var body []byte
	if rep.op, body, err = m.Any(); err != nil {
		return rep, err
	}
	rep.controls = map[string][]byte{}
	if ctl, ok, _ := m.Optional(ber.Context(0)); ok {
		err = eachControl(ctl, func(c control) bool { rep.controls[string(c.oid)] = c.value; return true })
		if err != nil {
			return rep, err
		}
	}
	r := ber.NewReader(body)
	if rep.op == tagEntry {
		return rep, decodeEntry(&rep, &r)
	}
	if rep.op == tagIntermediate {
		return rep, nil
	}
	if rep.op == tagReference {
		rep.urls, err = decodeURLs(body)
		return rep, err
	}
	code, err := r.Int(ber.Enumerated)
	if err != nil {
		return rep, err
	}
	matched, _ := r.Read(ber.OctetString)
	text, err := r.Read(ber.OctetString)
	rep.code, rep.matched, rep.text = int(code), string(matched), string(text)
	if urls, ok, _ := r.Optional(ber.Context(3)); ok && err == nil {
		rep.urls, err = decodeURLs(urls)
	}
	for r.More() && err == nil {
		var raw []byte
		_, raw, err = r.Raw()
		rep.extra = append(rep.extra, raw...)
	}
	return rep, err
}

func decodeURLs(b []byte) (urls []string, err error) {
	for r := ber.NewReader(b); r.More() && err == nil; {
		var u []byte
		u, err = r.Read(ber.OctetString)
		urls = append(urls, string(u))
	}
	return urls, err
}

func decodeEntry(rep *reply, r *ber.Reader) error {
	dn, err := r.Read(ber.OctetString)
	if err != nil {
		return err
	}
	list, err := r.Read(ber.Sequence)
	if err != nil {
		return err
	}
	rep.dn, rep.attrs = string(dn), map[string][]string{}
	run := dit.Run(list)
	if err := run.Check(); err != nil {
		return err
	}
	for desc, vals, rest, ok := run.Next(); ok; desc, vals, rest, ok = rest.Next() {
		if _, twice := rep.attrs[string(desc)]; twice {
			return fmt.Errorf("attribute %s twice in %s", desc, dn)
		}
		values := []string{}
		for v := ber.NewReader(vals); v.More(); {
			one, err := v.Read(ber.OctetString)
			if err != nil {
				return err
			}
			values = append(values, string(one))
		}
		rep.attrs[string(desc)] = values
		rep.names = append(rep.names, string(desc))
	}
	return nil
}

// msg is an LDAPMessage around an operation; controls come encoded.
func msg(id int64, op ber.Tag, body []byte, controls ...[]byte) []byte {
	m := ber.AppendInt(nil, ber.Integer, id)
	m = ber.AppendBytes(m, op, body)
	if len(controls) > 0 {
		m = ber.AppendBytes(m, ber.Context(0), slices.Concat(controls...))
	}
	return ber.AppendBytes(nil, ber.Sequence, m)
}

func ctl(oid string, critical []byte, value []byte) []byte {
	c := ber.AppendString(nil, ber.OctetString, oid)
	c = append(c, critical...)
	if value != nil {
		c = ber.AppendBytes(c, ber.OctetString, value)
	}
	return ber.AppendBytes(nil, ber.Sequence, c)
}

var critical = []byte{1, 1, 0xff}

// query is a search request with the defaults of ldapsearch.
type query struct {
	base      string
	scope     tree.Scope
	filter    string // "" is (objectClass=*)
	attrs     []string
	sizeLimit int64
	timeLimit int64
	typesOnly bool
	deref     int64
}

func (q query) body(tb testing.TB) []byte {
	tb.Helper()
	if q.filter == "" {
		return q.bodyWith(ber.AppendString(nil, filterPresent, "objectClass"))
	}
	f, err := dit.ParseFilter(q.filter)
	if err != nil {
		tb.Fatal(err)
	}
	return q.bodyWith(f.Append(nil))
}

func (q query) bodyWith(filter []byte) []byte {
	b := ber.AppendString(nil, ber.OctetString, q.base)
	b = ber.AppendInt(b, ber.Enumerated, int64(q.scope))
	b = ber.AppendInt(b, ber.Enumerated, q.deref)
	b = ber.AppendInt(b, ber.Integer, q.sizeLimit)
	b = ber.AppendInt(b, ber.Integer, q.timeLimit)
	b = ber.AppendBool(b, ber.Boolean, q.typesOnly)
	b = append(b, filter...)
	var list []byte
	for _, a := range q.attrs {
		list = ber.AppendString(list, ber.OctetString, a)
	}
	return ber.AppendBytes(b, ber.Sequence, list)
}

func (c *client) search(id int64, q query, controls ...[]byte) []reply {
	c.Helper()
	c.write(msg(id, tagSearch, q.body(c), controls...))
	return c.until(id)
}

func bindBody(version int64, dn, password string) []byte {
	b := ber.AppendInt(nil, ber.Integer, version)
	b = ber.AppendString(b, ber.OctetString, dn)
	return ber.AppendString(b, authSimple, password)
}

func compareBody(dn, attr, value string) []byte {
	ava := ber.AppendString(nil, ber.OctetString, attr)
	ava = ber.AppendString(ava, ber.OctetString, value)
	b := ber.AppendString(nil, ber.OctetString, dn)
	return ber.AppendBytes(b, ber.Sequence, ava)
}

func extendedBody(oid string) []byte {
	return ber.AppendString(nil, ber.ContextPrimitive(0), oid)
}

const whoAmI = "1.3.6.1.4.1.4203.1.11.3"

// do sends one request and gives its only reply.
func (c *client) do(id int64, op ber.Tag, body []byte, controls ...[]byte) reply {
	c.Helper()
	c.write(msg(id, op, body, controls...))
	r := c.next()
	if r.id != id {
		c.Fatalf("reply to %d instead of %d", r.id, id)
	}
	return r
}

// whoami gives the authorization identity.
func (c *client) whoami(id int64) string {
	c.Helper()
	r := c.do(id, tagExtended, extendedBody(whoAmI))
	if r.code != 0 || r.op != tagExtendedRe {
		c.Fatalf("who am I: %+v", r)
	}
	_, v, _, err := ber.Next(r.extra)
	if err != nil {
		c.Fatal(err)
	}
	return string(v)
}
