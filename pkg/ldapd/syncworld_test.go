package ldapd

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// world is a tree that a test changes and that followers follow.
type world struct {
	testing.TB
	b    *backend
	s    *Server
	addr string
	csn  dit.CSN
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{TB: tb, csn: dit.CSNAt(time.Unix(1_750_000_000, 0))}
	b := emptyTree().Edit()
	b.NextCSN = w.next
	b.SetRoot(tree.Row{UUID: number(0)}, value(tb, base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"), class("organizationalUnit")))
	w.b = newBackend(b.Done())
	w.s, w.addr = serve(tb, withMirror(Options{Backend: w.b}))
	w.s.told = 0
	return w
}

func (w *world) next() dit.CSN { w.csn++; return w.csn }

func number(n int) dit.UUID { return dit.NewUUIDv5(dit.UUID{7}, fmt.Append(nil, n)) }

func class(name string) dit.Run { return attrs("structuralObjectClass", name) }

// edit makes one version, and wakes the followers.
func (w *world) edit(fn func(b *tree.Builder)) *tree.Version {
	w.Helper()
	v := w.silent(fn)
	w.b.wake()
	return v
}

// silent makes one version that nobody is told of.
func (w *world) silent(fn func(b *tree.Builder)) *tree.Version {
	w.Helper()
	b := w.b.Version().Edit()
	b.NextCSN = w.next
	b.Glue = func(dn dit.DN) (tree.Row, tree.Value) {
		return tree.Row{UUID: dit.NewUUIDv5(dit.UUID{9}, []byte(dn.Norm()))}, device(w, dn.String(), "glue")
	}
	fn(b)
	changes := slices.Clone(b.Changes())
	slices.SortStableFunc(changes, func(x, y tree.Change) int { return int(x.Row.CSN) - int(y.Row.CSN) })
	v := b.Done()
	w.b.publish(v, changes)
	return v
}

// device is an entry that a slapd takes; its DN is below the base.
func device(tb testing.TB, dn, description string) tree.Value {
	tb.Helper()
	_, rest, _ := strings.Cut(dn, "=")
	cn, _, _ := strings.Cut(rest, ",")
	return value(tb, dn, attrs("objectClass", "device", "cn", cn, "description", description), class("device"))
}

func (w *world) put(b *tree.Builder, n int, rdns, description string) {
	w.Helper()
	if b.Put(tree.Row{UUID: number(n)}, device(w, rdns+","+base, description)) == 0 {
		w.Fatalf("%s cannot be put", rdns)
	}
}

func (w *world) delete(b *tree.Builder, n int, subtree bool) {
	w.Helper()
	id := b.ByUUID(number(n))
	if id == 0 {
		w.Fatalf("entry %d is not there", n)
	}
	b.Delete(id, subtree)
}

// syncSearch is a sync search of all attributes.
type syncSearch struct {
	query
	mode   syncrepl.Mode
	cookie []byte
	reload bool
}

func (s syncSearch) control() []byte {
	v := ber.AppendInt(nil, ber.Enumerated, int64(s.mode))
	if s.cookie != nil {
		v = ber.AppendBytes(v, ber.OctetString, s.cookie)
	}
	if s.reload {
		v = ber.AppendBool(v, ber.Boolean, true)
	}
	return ctl(syncrepl.OIDSyncRequest, critical, ber.AppendBytes(nil, ber.Sequence, v))
}

// follow sends a sync search.
func (c *client) follow(id int64, s syncSearch) {
	c.Helper()
	if s.attrs == nil {
		s.attrs = []string{"*", "+"}
	}
	c.write(msg(id, tagSearch, s.body(c), s.control()))
}

// message gives the next message of a sync search; its slices are its own.
func (c *client) message() (m syncrepl.Message, err error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	head, err := c.r.Peek(6)
	if err != nil {
		return m, err
	}
	n, err := ber.FrameLen(head, 64<<20)
	if err != nil || n == 0 {
		return m, fmt.Errorf("frame: %d, %v", n, err)
	}
	frame := make([]byte, n)
	for at := 0; at < n; {
		k, err := c.r.Read(frame[at:])
		if err != nil {
			return m, err
		}
		at += k
	}
	if err = syncrepl.Decode(frame, &m); err == nil && m.Kind == syncrepl.KindDone {
		c.wantText(m.Code, m.Diagnostic)
	}
	return m, err
}

func (c *client) mustMessage() syncrepl.Message {
	c.Helper()
	m, err := c.message()
	if err != nil {
		c.Fatal(err)
	}
	return m
}

// mirror is a follower's copy, as strict as slapd: it takes no entry without its
// parent, no delete of an entry with children, no name that is taken by another;
// but a new entry may take the place of another one, above its children.
type mirror struct {
	search  syncSearch
	holes   bool // parents may be missing
	whole   bool // it takes away what is below what goes
	entries map[dit.UUID]*copied
	names   map[string]dit.UUID
	cookie  []byte
	persist bool
	lenient bool              // a refresh from between two states: as slapd, makes glue where need be
	named   map[dit.UUID]bool // in the refresh
	seen    []syncrepl.Message
}

type copied struct {
	norm  string
	dn    string
	attrs []byte
}

func newMirror(s syncSearch) *mirror {
	return &mirror{search: s, entries: map[dit.UUID]*copied{}, names: map[string]dit.UUID{}, named: map[dit.UUID]bool{}}
}

func parentNorm(norm string) string { _, up, _ := strings.Cut(norm, ","); return up }

func (m *mirror) below(norm string) (list []string) {
	for n := range m.names {
		if strings.HasSuffix(n, ","+norm) {
			list = append(list, n)
		}
	}
	return list
}

func (m *mirror) put(u dit.UUID, dn string, attrs []byte) error {
	d, err := dit.ParseDN(bundled(), dn)
	if err != nil {
		return err
	}
	norm := d.Norm()
	top := strings.ToLower(m.search.base)
	_, parent := m.names[parentNorm(norm)]
	if !parent && !m.holes && !m.lenient && norm != top && !(m.search.scope == tree.One && parentNorm(norm) == top) && len(m.entries) > 0 {
		return fmt.Errorf("32: %s has no parent", dn)
	}
	old := m.entries[u]
	if other, taken := m.names[norm]; taken && other != u {
		if old != nil {
			return fmt.Errorf("68: %s is taken", dn)
		}
		delete(m.entries, other)
	}
	if old != nil && old.norm != norm {
		if strings.HasSuffix(norm, ","+old.norm) {
			return fmt.Errorf("%s moves below itself", dn)
		}
		delete(m.names, old.norm)
		for _, n := range m.below(old.norm) {
			to := strings.TrimSuffix(n, old.norm) + norm
			if _, taken := m.names[to]; taken {
				return fmt.Errorf("68: %s is taken by what moves along", to)
			}
			id := m.names[n]
			delete(m.names, n)
			m.names[to], m.entries[id].norm = id, to
		}
	}
	m.entries[u] = &copied{norm, dn, bytes.Clone(attrs)}
	m.names[norm] = u
	return nil
}

func (m *mirror) remove(u dit.UUID) error {
	e := m.entries[u]
	if e == nil {
		return nil
	}
	if list := m.below(e.norm); len(list) > 0 && !m.holes && !m.lenient {
		return fmt.Errorf("66: %s has %q below", e.dn, list)
	}
	delete(m.entries, u)
	delete(m.names, e.norm)
	if m.whole {
		for _, n := range m.below(e.norm) {
			delete(m.entries, m.names[n])
			delete(m.names, n)
		}
	}
	return nil
}

// take applies a message; done when the refresh or the search is at its end.
func (m *mirror) take(msg *syncrepl.Message) (done bool, err error) {
	m.seen = append(m.seen, *msg)
	switch msg.Kind {
	case syncrepl.KindEntry:
		m.named[msg.UUID] = true
		if msg.State == syncrepl.StateDelete {
			err = m.remove(msg.UUID)
		} else {
			if known := m.entries[msg.UUID] != nil; m.persist && !m.whole && known != (msg.State == syncrepl.StateModify) {
				return false, fmt.Errorf("%s comes as state %d, known: %v", msg.DN, msg.State, known)
			}
			err = m.put(msg.UUID, string(msg.DN), msg.Attrs)
		}
	case syncrepl.KindIDSet:
		if m.persist || len(msg.IDs) > syncrepl.MaxIDSet {
			return false, errors.New("a syncIdSet in the persist stage, or a large one")
		}
		for _, u := range msg.IDs {
			if !msg.RefreshDeletes {
				m.named[u] = true
			} else if err = errors.Join(err, m.remove(u)); err != nil {
				return false, err
			}
		}
	case syncrepl.KindRefreshDelete, syncrepl.KindRefreshPresent:
		if m.persist || !msg.RefreshDone {
			return false, errors.New("a second end of the refresh")
		}
		m.ended(msg.Kind == syncrepl.KindRefreshPresent)
		m.persist, m.lenient, done = true, false, true
	case syncrepl.KindDone:
		done = true
		if msg.Code != 0 {
			err = fmt.Errorf("result %d: %s", msg.Code, msg.Diagnostic)
		} else {
			m.ended(!msg.RefreshDeletes)
		}
	case syncrepl.KindNewCookie:
	default:
		err = fmt.Errorf("message of kind %d", msg.Kind)
	}
	if err == nil {
		err = m.takeCookie(msg)
	}
	return done, err
}

// takeCookie wants cookies to grow, as slapd compares them.
func (m *mirror) takeCookie(msg *syncrepl.Message) error {
	if !msg.HasCookie {
		if m.persist {
			return errors.New("no cookie in the persist stage")
		}
		return nil
	}
	c, ok := syncrepl.ParseCookie(msg.Cookie)
	if !ok || len(c.CSNs) != 1 {
		return fmt.Errorf("cookie %q", msg.Cookie)
	}
	if held, ok := syncrepl.ParseCookie(m.cookie); ok && m.persist && msg.Kind != syncrepl.KindRefreshDelete &&
		msg.Kind != syncrepl.KindRefreshPresent && c.CSNs[0] <= held.CSNs[0] {
		return fmt.Errorf("cookie %q after %q", msg.Cookie, m.cookie)
	}
	m.cookie = bytes.Clone(msg.Cookie)
	return nil
}

// ended is the end of a refresh; after a present phase what was not named is gone.
func (m *mirror) ended(present bool) {
	if present {
		for u, e := range m.entries {
			if !m.named[u] {
				delete(m.entries, u)
				delete(m.names, e.norm)
			}
		}
	}
	clear(m.named)
}

// want compares the copy with a full search of a version.
func (m *mirror) want(v *tree.Version) error {
	id, _ := v.Find(strings.ToLower(m.search.base))
	q := tree.Query{Base: id, Scope: m.search.scope}
	if m.search.filter != "" {
		f, err := dit.ParseFilter(m.search.filter)
		if err != nil {
			return err
		}
		q.Matcher = dit.Compile(bundled(), f)
	}
	want := map[dit.UUID]string{}
	sel := dit.NewSelection(bundled(), []string{"*", "+"})
	var x scratch
	for c := v.Search(q); c.Next(); {
		e := c.Entry()
		text := string(x.selected(x.keptView(e, true, nil), sel, false))
		if e.ID() == v.Root() { // contextCSN is sent as of when the entry changed
			text, _, _ = strings.Cut(text, "contextCSN")
		}
		want[e.Row().UUID] = string(e.DN()) + "\n" + text
	}
	got := map[dit.UUID]string{}
	for u, e := range m.entries {
		text := string(e.attrs)
		if e.norm == strings.ToLower(base) {
			text, _, _ = strings.Cut(text, "contextCSN")
		}
		got[u] = e.dn + "\n" + text
	}
	if maps.Equal(got, want) {
		return nil
	}
	var bad []string
	for u, text := range want {
		if got[u] != text {
			bad = append(bad, fmt.Sprintf("%s is %.60q, wants %.60q", u, got[u], text))
		}
	}
	for u := range got {
		if _, ok := want[u]; !ok {
			bad = append(bad, fmt.Sprintf("%s is too many: %.60q", u, got[u]))
		}
	}
	return fmt.Errorf("the copy differs: %s", strings.Join(bad, "; "))
}

// upTo tells whether the cookie is that of a version.
func (m *mirror) upTo(v *tree.Version) bool {
	return strings.HasSuffix(string(m.cookie), string(cookieAt(v.CSN(), 0, v.SID())))
}
