package ldapd

import (
	"sync"
	"unsafe"

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

// content is what a follower asks for: one for all whose requests are alike.
type content struct {
	srv       *Server
	key       string
	base      string // normal form of the base DN
	scope     tree.Scope
	matcher   *dit.Matcher // nil: everything
	sel       *dit.Selection
	typesOnly bool

	followers int // with srv.follows.mu

	mu    sync.Mutex
	diffs []*diff // the newest last
}

// diff is what brings a follower of a content from one version to another.
type diff struct {
	from, to dit.CSN
	once     sync.Once
	v        *tree.Version // the other
	steps    []step
	cookies  [][]byte // of each step, without the rid
	ops      [][]byte // of the first steps, encoded
	baseGone bool     // the base entry is not there any more
}

// contents are those that are being followed, by request.
type contents struct {
	mu    sync.Mutex
	byKey map[string]*content
	total int // followers

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
		cs.byKey = map[string]*content{}
	}
	if there := cs.byKey[c.key]; there != nil {
		c = there
	} else {
		cs.byKey[c.key] = c
	}
	c.followers++
	cs.total++
	return c
}

func (cs *contents) leave(c *content) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.total--
	if c.followers--; c.followers == 0 {
		delete(cs.byKey, c.key)
	}
}

// Followers counts the searches in their persist stage, or on the way to it.
func (s *Server) Followers() int {
	s.follows.mu.Lock()
	defer s.follows.mu.Unlock()
	return s.follows.total
}

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

// holds tells whether an entry belongs to the content.
func (ct *content) holds(v *tree.Version, base, id tree.ID, x *scratch) bool {
	if id == 0 || base == 0 || !v.Within(id, base, ct.scope) {
		return false
	}
	if ct.matcher == nil {
		return true
	}
	w := x.keptView(v.Entry(id), ct.matcher.NeedsOper() || ct.matcher.NeedsComputed())
	dn := unsafe.String(unsafe.SliceData(w.dn), len(w.dn))
	return ct.matcher.Match(dn, w.user, w.oper) == dit.True
}

// appendOp encodes an entry as its followers get it, without envelope and controls.
func (ct *content) appendOp(dst []byte, e tree.Entry, x *scratch) []byte {
	v := x.keptView(e, ct.sel.NeedsOper())
	return appendEntryOp(dst, v.dn, x.selected(v, ct.sel, ct.typesOnly))
}

// keptView gives an entry as a follower sees it: without those attributes that
// change while the entry does not.
func (x *scratch) keptView(e tree.Entry, oper bool) view {
	v := view{dn: e.DN(), user: e.User()}
	if oper {
		x.oper = e.AppendKept(append(dit.Run(x.oper[:0]), e.Oper()...))
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
		if len(ct.diffs) == keepDiffs {
			ct.diffs[0] = nil
			ct.diffs = ct.diffs[1:]
		}
		ct.diffs = append(ct.diffs, d)
	}
	ct.mu.Unlock()
	d.once.Do(func() { ct.make(d, from) })
	return d
}

// make compares the content in two versions.
func (ct *content) make(d *diff, from *tree.Version) {
	var x scratch
	var list []touched
	was, is := ct.at(from), ct.at(d.v)
	d.baseGone = is == 0
	for _, u := range ct.srv.follows.changed(from, d.v) {
		before, now := from.ByUUID(u), d.v.ByUUID(u)
		t := touched{uuid: u, had: ct.holds(from, was, before, &x)}
		if t.had {
			t.norm, t.dn = from.Norm(before), string(from.Entry(before).DN())
		}
		if ct.holds(d.v, is, now, &x) {
			t.id, t.csn = now, d.v.Row(now).CSN
		}
		if t.had || t.id != 0 {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return
	}
	d.steps, _ = arrange(d.v, list)
	d.cookies = dateSteps(d.steps, d.from, d.to, d.v.SID())
	size := 0
	for i := range d.steps {
		if size >= shareBytes {
			break
		}
		op := ct.encode(nil, d.v, &d.steps[i], &x)
		size += len(op)
		d.ops = append(d.ops, op)
	}
}

// encode gives a step's operation: the entry, or the DN of what is gone.
func (ct *content) encode(dst []byte, v *tree.Version, s *step, x *scratch) []byte {
	if s.id == 0 {
		return appendEntryOp(dst, []byte(s.dn), nil)
	}
	return ct.appendOp(dst, v.Entry(s.id), x)
}
