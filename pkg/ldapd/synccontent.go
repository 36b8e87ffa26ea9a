package ldapd

import (
	"bytes"
	"sync"
	"sync/atomic"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

const (
	// shareBytes is how much of a difference is kept encoded for all who
	// follow one content; what is beyond each encodes for itself.
	shareBytes = 1 << 20
	// keepDiffs is how many differences of one content are kept: those who keep
	// up need the newest, those half a step behind the one before.
	keepDiffs = 2
	// keepSince bounds the list of changed UUIDs that is kept for other contents.
	keepSince = 1 << 16
)

// content is what a follower asks for: one for all whose requests and access are alike.
type content struct {
	srv       *Server
	key       contentKey
	base      string // normal form of the base DN
	scope     tree.Scope
	matcher   *dit.Matcher // nil: everything
	sel       *dit.Selection
	typesOnly bool

	followers int // with srv.follows.mu

	mu    sync.Mutex
	diffs []*diff // the newest last
}

// contentKey tells contents apart: the request as it came, and what access rules
// give; nil: everything.
type contentKey struct {
	request string
	grants  *grants
}

// diff is what brings a follower of a content from one version to another.
type diff struct {
	from, to dit.CSN
	make     func()        // once for all; where it could not, each who asks hears of that (see tree.ReadError)
	v        *tree.Version // the other
	steps    []step
	cookies  [][]byte // of each step, without the rid
	ops      [][]byte // of the first steps, encoded
	baseGone bool     // the base entry is not there any more
	// told is how many cookies with the CSN of from were given before, and ruled that the
	// difference is one of access rules: what is sent is dated by its cookie, since slapd
	// keeps what it has of an entry whose entryCSN is no newer.
	told  uint32
	ruled bool
}

// contents are those that are being followed, by request.
type contents struct {
	mu    sync.Mutex
	byKey map[contentKey]*content
	total atomic.Int64 // followers
	all   map[*follower]bool
	rules chan struct{} // closed when other access rules are in force; nil: nobody asked

	sinceMu sync.Mutex
	since   sinceList // the one that was asked for last
}

type sinceList struct {
	from, to *tree.Version
	uuids    []dit.UUID
}

// join gives the content of a request, with one follower more.
func (cs *contents) join(c *content) *content {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.byKey == nil {
		cs.byKey = map[contentKey]*content{}
	}
	if there := cs.byKey[c.key]; there != nil {
		c = there
	} else {
		cs.byKey[c.key] = c
	}
	c.followers++
	cs.total.Add(1)
	return c
}

func (cs *contents) leave(c *content) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.total.Add(-1)
	if c.followers--; c.followers == 0 {
		delete(cs.byKey, c.key)
	}
}

func (cs *contents) enter(f *follower) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.all == nil {
		cs.all = map[*follower]bool{}
	}
	cs.all[f] = true
}

func (cs *contents) exit(f *follower) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.all, f)
}

// otherRules gives a channel that is closed when the access rules are replaced.
func (cs *contents) otherRules() <-chan struct{} {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.rules == nil {
		cs.rules = make(chan struct{})
	}
	return cs.rules
}

// ruled wakes followers: other access rules are in force.
func (cs *contents) ruled() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.rules != nil {
		close(cs.rules)
		cs.rules = nil
	}
}

// Followers counts the searches in their persist stage, or on the way to it.
func (s *Server) Followers() int { return int(s.follows.total.Load()) }

// changed lists what differs between two versions, each UUID once.
func (cs *contents) changed(from, to *tree.Version) []dit.UUID {
	cs.sinceMu.Lock()
	defer cs.sinceMu.Unlock()
	if cs.since.from == from && cs.since.to == to {
		return cs.since.uuids
	}
	var list []dit.UUID
	seen := map[dit.UUID]bool{}
	to.Since(from, func(u dit.UUID) {
		if !seen[u] {
			seen[u] = true
			list = append(list, u)
		}
	})
	cs.since = sinceList{}
	if len(list) <= keepSince {
		cs.since = sinceList{from, to, list}
	}
	return list
}

// at gives the base entry in a version; 0 when it is not there.
func (ct *content) at(v *tree.Version) tree.ID {
	id, _ := v.Find(ct.base)
	return id
}

// eye looks at a content: what a goroutine needs for it.
type eye struct {
	ct *content
	g  *guard
	x  scratch
}

func (ct *content) eye() *eye {
	e := &eye{ct: ct}
	if ct.key.grants != nil {
		e.g = &guard{grants: ct.key.grants, level: access.Sync}
	}
	return e
}

// holds tells whether an entry belongs to the content.
func (e *eye) holds(v *tree.Version, base, id tree.ID) bool {
	return id != 0 && base != 0 && v.Within(id, base, e.ct.scope) && e.takes(v, v.Entry(id))
}

// takes tells whether an entry in the scope belongs to the content.
func (e *eye) takes(v *tree.Version, at tree.Entry) bool {
	e.g.at(v)
	if !e.g.sees(at) {
		return false
	}
	m := e.ct.matcher
	if m == nil {
		return true
	}
	oper := m.NeedsOper() || m.NeedsComputed()
	w := e.g.shade(e.x.keptView(at, oper, nil), at, oper)
	return m.Match(textOf(w.dn), w.user, w.oper) == dit.True
}

// mayHold tells whether an entry that had a DN may have belonged to the content.
func (e *eye) mayHold(norm string) bool {
	if !inScope(norm, e.ct.base, e.ct.scope) {
		return false
	}
	if e.g == nil {
		return true
	}
	view := e.g.grants.At(norm).Fixed()
	return view == nil || view.Level() >= access.Sync
}

// base gives the base entry in a version; 0 where it is not there, as far as who
// follows may know.
func (e *eye) base(v *tree.Version) tree.ID {
	id := e.ct.at(v)
	e.g.at(v)
	if id != 0 && !e.g.knows(v.Entry(id)) {
		return 0
	}
	return id
}

// search goes through the content.
func (e *eye) search(v *tree.Version, base tree.ID) *tree.Cursor {
	q := tree.Query{Base: base, Scope: e.ct.scope, Matcher: e.ct.matcher}
	if e.g != nil || e.ct.matcher != nil && e.ct.matcher.NeedsComputed() { // what is made when read is looked at as in keptView
		q.Accept = func(at tree.Entry) bool { return e.takes(v, at) }
	}
	return v.Search(q)
}

// appendOp encodes an entry as its followers get it, without envelope and controls, with an
// entryCSN in place of its own; nil: that.
func (e *eye) appendOp(dst []byte, v *tree.Version, id tree.ID, csn []byte) []byte {
	at := v.Entry(id)
	e.g.at(v)
	oper := e.ct.sel.NeedsOper()
	w := e.g.shade(e.x.keptView(at, oper, csn), at, oper)
	return appendEntryOp(dst, w.dn, e.x.selected(w, e.ct.sel, e.ct.typesOnly))
}

// encode gives the operation of a step: the entry, or the DN of what is gone.
func (e *eye) encode(dst []byte, d *diff, i int) []byte {
	s := &d.steps[i]
	switch {
	case s.id == 0:
		return appendEntryOp(dst, []byte(s.dn), nil)
	case d.ruled:
		return e.appendOp(dst, d.v, s.id, d.cookies[i][len(cookieCSN):])
	}
	return e.appendOp(dst, d.v, s.id, nil)
}

// keptView gives an entry as a follower sees it: without those attributes that
// change while the entry does not, and with an entryCSN in place of its own; nil: that.
func (x *scratch) keptView(e tree.Entry, oper bool, csn []byte) view {
	v := view{dn: e.DN(), user: e.User()}
	if oper {
		x.oper = e.AppendDated(append(dit.Run(x.oper[:0]), e.Oper()...), csn)
		v.oper = x.oper
	}
	return v
}

// diff gives what brings a follower from one version to the next, made once for
// all who ask for it.
func (ct *content) diff(from, to *tree.Version) *diff {
	ct.mu.Lock()
	var d *diff
	for _, there := range ct.diffs {
		if there.from == from.CSN() && there.to == to.CSN() {
			d = there
		}
	}
	if d == nil {
		d = &diff{from: from.CSN(), to: to.CSN(), v: to}
		made := d
		d.make = sync.OnceFunc(func() { ct.make(made, from) })
		if len(ct.diffs) == keepDiffs {
			ct.diffs[0] = nil
			ct.diffs = ct.diffs[1:]
		}
		ct.diffs = append(ct.diffs, d)
	}
	ct.mu.Unlock()
	d.make()
	return d
}

// make compares the content in two versions.
func (ct *content) make(d *diff, from *tree.Version) {
	before, after := ct.eye(), ct.eye()
	var list []touched
	was, is := before.base(from), after.base(d.v)
	d.baseGone = is == 0
	uuids := ct.srv.follows.changed(from, d.v)
	if d.baseGone { // with all below, whether that has changed or not
		uuids = nil
		for cur := from.Search(tree.Query{Base: was, Scope: ct.scope}); cur.Next(); {
			uuids = append(uuids, cur.Entry().Row().UUID)
		}
	}
	for _, u := range uuids {
		then, now := from.ByUUID(u), d.v.ByUUID(u)
		t := touched{uuid: u, had: before.holds(from, was, then)}
		if t.had {
			t.norm, t.dn = from.Norm(then), string(from.Entry(then).DN())
		}
		if after.holds(d.v, is, now) {
			t.id, t.csn = now, d.v.Row(now).CSN
		}
		if t.had || t.id != 0 {
			list = append(list, t)
		}
	}
	d.finish(list, after)
}

// changeover makes the difference between what two contents, alike but for the
// access rules, hold in one version, after so many cookies with its CSN.
func changeover(from, to *content, v *tree.Version, told uint32) *diff {
	d := &diff{from: v.CSN(), to: v.CSN(), v: v, told: told, ruled: true}
	before, after := from.eye(), to.eye()
	was, is := before.base(v), after.base(v)
	d.baseGone = is == 0
	var list []touched
	var a, b []byte
	for cur := v.Search(tree.Query{Base: to.at(v), Scope: to.scope}); cur.Next(); {
		e := cur.Entry()
		t := touched{uuid: e.Row().UUID, had: before.holds(v, was, e.ID())}
		if after.holds(v, is, e.ID()) {
			t.id, t.csn = e.ID(), e.Row().CSN
		}
		if !t.had && t.id == 0 {
			continue
		}
		if t.had && t.id != 0 {
			if a, b = before.appendOp(a[:0], v, t.id, nil), after.appendOp(b[:0], v, t.id, nil); bytes.Equal(a, b) {
				continue
			}
		}
		t.norm, t.dn = v.Norm(e.ID()), string(e.DN())
		list = append(list, t)
	}
	d.finish(list, after)
	return d
}

// finish puts the steps in order, with their cookies, and encodes the first.
func (d *diff) finish(list []touched, e *eye) {
	if len(list) == 0 {
		return
	}
	if !d.baseGone {
		list = append(list, e.stays(d.v, list, false)...)
	}
	d.steps, _ = e.arrange(d.v, e.base(d.v), list)
	d.cookies = d.cookiesAfter(d.told)
	size := 0
	for i := range d.steps {
		if size >= shareBytes {
			break
		}
		op := e.encode(nil, d, i)
		size += len(op)
		d.ops = append(d.ops, op)
	}
}

// cookiesAfter gives the cookies of the steps for who was given so many with the CSN of from before.
func (d *diff) cookiesAfter(told uint32) [][]byte {
	return dateSteps(d.steps, d.from, d.to, d.v.SID(), told)
}
