package ldapd

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

// policy is the access rules of now, compiled for one schema, with what has
// been found of them for the clients of now.
type policy struct {
	list   []access.Rule
	schema *schema.Schema
	*access.Policy

	mu     sync.Mutex
	grants map[string]*grants // by what access.Policy.Match gives
}

// maxGrants bounds the map: clients differ by the rules that match them, so
// that there are few kinds.
const maxGrants = 1000

// grants are what clients of one kind have, placed in the newest version that
// one of them has looked at.
type grants struct {
	of *policy
	*access.Grants

	placed atomic.Pointer[placement]
}

// placement says where the zones of grants begin in one version.
type placement struct {
	version uint64
	tops    []top
	zone    *access.Zone     // outside of them
	above   map[tree.ID]bool // the ancestors of tops
}

type top struct {
	id   tree.ID
	zone *access.Zone
}

// SetAccess replaces the access rules; without any, everything is for everyone.
// Operations that are under way go on with those of before, but followers, who
// are told of what they lose and gain. After an error the rules are as before. One
// call at a time.
func (s *Server) SetAccess(list []access.Rule) error {
	p, err := newPolicy(s.opt.Backend.Version().Schema(), list)
	if err != nil {
		return err
	}
	old := s.policy.Load()
	if old == nil {
		s.policy.Store(p)
		return nil
	}
	if reflect.DeepEqual(old.list, list) {
		return nil
	}
	s.ruledAt.Store(settling)
	s.policy.Store(p)
	s.follows.ruled()
	s.ruledAt.Store(uint64(s.settle()))
	s.follows.ruled()
	return nil
}

// settling is AccessSince while rules are being replaced: whoever comes back waits.
const settling = 1<<64 - 1

// settle has a version with a newer CSN come after the rules: whoever shows an older one
// may hold what other rules gave, and slapd removes nothing unless told a newer one.
func (s *Server) settle() (since dit.CSN) {
	if s.opt.Advance != nil {
		csn, err := s.opt.Advance()
		if err == nil {
			return csn - 1
		}
		s.opt.Log.Error("no CSN can be taken for the new access rules; a slapd that was away may keep what they hide until something changes", "error", err)
	}
	return s.opt.Backend.Version().CSN()
}

// AccessSince is up to which CSN a follower may have been told of other rules'
// content; 0: there were none.
func (s *Server) AccessSince() dit.CSN { return dit.CSN(s.ruledAt.Load()) }

func newPolicy(sch *schema.Schema, list []access.Rule) (*policy, error) {
	compiled, err := access.Compile(sch, list)
	if err != nil {
		return nil, fmt.Errorf("access rules: %w", err)
	}
	return &policy{list: list, schema: sch, Policy: compiled, grants: map[string]*grants{}}, nil
}

// rules gives the policy for a schema.
func (s *Server) rules(sch *schema.Schema) *policy {
	p := s.policy.Load()
	if p.schema == sch {
		return p
	}
	fresh, err := newPolicy(sch, p.list)
	if err != nil {
		s.opt.Log.Error("access rules do not suit the new schema; they go by the old one", "error", err)
		fresh = &policy{list: p.list, schema: sch, Policy: p.Policy, grants: map[string]*grants{}}
	}
	s.policy.CompareAndSwap(p, fresh)
	return fresh
}

// of gives the grants of somebody.
func (p *policy) of(w access.Who) *grants {
	key := p.Match(w)
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.grants[key]
	if g == nil {
		if len(p.grants) == maxGrants {
			clear(p.grants)
		}
		g = &grants{of: p, Grants: p.Grants(key)}
		p.grants[key] = g
	}
	return g
}

// place finds the zones in a version.
func (g *grants) place(ver *tree.Version) *placement {
	if p := g.placed.Load(); p != nil && p.version == ver.Number() {
		return p
	}
	p := &placement{version: ver.Number(), zone: g.Zone(0), above: map[tree.ID]bool{}}
	for i, root := range g.Roots()[1:] {
		id, _ := ver.Find(root)
		if id == 0 {
			continue
		}
		p.tops = append(p.tops, top{id, g.Zone(i + 1)})
		for up := ver.Parent(id); up != 0 && !p.above[up]; up = ver.Parent(up) {
			p.above[up] = true
		}
	}
	g.placed.Store(p)
	return p
}

// whoNow is whom the access rules see at the other end.
func (c *conn) whoNow(sch *schema.Schema) access.Who {
	w := access.Who{Peer: c.peer.Addr()}
	if c.who != nil {
		w.DN = c.who.norm
	}
	if c.subject != "" {
		if dn, err := dit.ParseDN(sch, c.subject); err == nil {
			w.Subject = dn.Norm()
		}
	}
	return w
}

// guard lets one client see of one version what it may, at one level: Read for
// searches, Compare for compares, Sync for following. The nil guard hides
// nothing. It serves one goroutine at a time.
type guard struct {
	grants *grants
	level  access.Level
	ver    *tree.Version
	placed *placement

	parent tree.ID // of the entry that was looked at last; its zone
	zone   *access.Zone

	views map[viewKey]*access.View // where filters decide
	last  tree.ID                  // whose view this is
	view  *access.View
	user  dit.Run // scratch
	oper  dit.Run
	rest  dit.Run
}

type viewKey struct {
	zone *access.Zone
	key  uint64
}

// guard gives one for this client as it is now, good until the next call; clone
// it to keep it. Called by the reader.
func (c *conn) guard(ver *tree.Version, l access.Level) *guard {
	p := c.srv.rules(ver.Schema())
	if p.Open() {
		return nil
	}
	if c.grants == nil || c.grants.of != p {
		c.grants = p.of(c.whoNow(ver.Schema()))
	}
	g := &c.own
	if g.grants != c.grants {
		g.grants, g.views = c.grants, nil
	}
	g.level, g.ver, g.placed, g.parent, g.last = l, ver, c.grants.place(ver), 0, 0
	return g
}

// release forgets the version, so that an idle connection does not hold it.
func (g *guard) release() {
	if g != nil {
		g.ver = nil
	}
}

// clone gives a guard for another goroutine.
func (g *guard) clone() *guard {
	if g == nil {
		return nil
	}
	return &guard{grants: g.grants, level: g.level, ver: g.ver, placed: g.placed}
}

// at makes the guard look at another version.
func (g *guard) at(ver *tree.Version) {
	if g != nil && g.ver != ver {
		g.ver, g.placed, g.parent, g.last = ver, g.grants.place(ver), 0, 0
	}
}

// find gives an entry's zone: that of the nearest top among its ancestors and
// itself. Siblings follow each other in searches, so that the last is kept.
func (g *guard) find(id tree.ID) *access.Zone {
	if z := g.placed.topAt(id); z != nil {
		return z
	}
	parent := g.ver.Parent(id)
	if parent != 0 && parent == g.parent {
		return g.zone
	}
	zone := g.placed.zone
	for up := parent; up != 0; up = g.ver.Parent(up) {
		if z := g.placed.topAt(up); z != nil {
			zone = z
			break
		}
	}
	g.parent, g.zone = parent, zone
	return zone
}

func (p *placement) topAt(id tree.ID) *access.Zone {
	for i := range p.tops {
		if p.tops[i].id == id {
			return p.tops[i].zone
		}
	}
	return nil
}

// look gives the view of an entry.
func (g *guard) look(e tree.Entry) *access.View {
	id := e.ID()
	if id == g.last && id != 0 {
		return g.view
	}
	zone := g.find(id)
	v := zone.Fixed()
	if v == nil {
		var oper dit.Run
		if zone.NeedsOper() {
			g.rest = append(g.rest[:0], e.Oper()...)
			if zone.NeedsComputed() {
				g.rest = e.AppendComputed(g.rest)
			}
			oper = g.rest
		}
		key := viewKey{zone, zone.Match(textOf(e.DN()), e.User(), oper)}
		if v = g.views[key]; v == nil {
			v = zone.View(key.key)
			if g.views == nil || len(g.views) == maxGrants {
				g.views = map[viewKey]*access.View{}
			}
			g.views[key] = v
		}
	}
	g.last = id
	if g.view != v { // most follow one of the same: a pointer less to write
		g.view = v
	}
	return v
}

// sees tells whether the client may see the entry at all, at the guard's level.
func (g *guard) sees(e tree.Entry) bool {
	return g == nil || g.look(e).Level() >= g.level
}

// knows tells whether the client may know that the entry is there: whoever may
// compare it may.
func (g *guard) knows(e tree.Entry) bool {
	return g == nil || g.look(e).Level() >= access.Compare
}

// show is scratch.view without what is hidden in an entry that the client sees;
// the runs are good until the next call.
func (g *guard) show(x *scratch, e tree.Entry, oper bool) view {
	return g.shade(x.view(e, oper), e, oper)
}

// shade leaves out of a view of an entry what is hidden; the runs are good until
// the next call.
func (g *guard) shade(v view, e tree.Entry, oper bool) view {
	if g == nil {
		return v
	}
	v.user = g.shadeUser(e, v.user)
	if !oper {
		return v
	}
	seen := g.look(e)
	uniform := g.uniform(e)
	if uniform && !seen.Hides(v.oper, g.level) {
		return v
	}
	g.oper = g.oper[:0]
	if uniform {
		g.oper = seen.Append(g.oper, v.oper, g.level)
	} else {
		g.rest = withoutChildren(g.rest[:0], v.oper)
		g.oper = seen.Append(g.oper, g.rest, g.level)
	}
	v.oper = g.oper
	return v
}

// shadeUser is shade for user attributes alone.
func (g *guard) shadeUser(e tree.Entry, user dit.Run) dit.Run {
	if g == nil {
		return user
	}
	if seen := g.look(e); seen.Hides(user, g.level) {
		g.user = seen.Append(g.user[:0], user, g.level)
		return g.user
	}
	return user
}

// judges tells whether the entries below base have to be looked at one by one:
// not where the client sees all of them alike, and asks without a filter.
func (g *guard) judges(base tree.Entry, m *dit.Matcher) bool {
	return g != nil && (m != nil || !g.sees(base) || !g.uniform(base))
}

// uniform tells whether everything below an entry is seen as it is itself.
func (g *guard) uniform(e tree.Entry) bool {
	return !g.placed.above[e.ID()] && g.find(e.ID()).Fixed() != nil
}

// withoutChildren leaves out what tells of children: some may be hidden, and to
// count those that are not would take a look at each.
func withoutChildren(dst, run dit.Run) dit.Run {
	for {
		desc, _, element, rest, ok := run.NextRaw()
		if !ok {
			return dst
		}
		if name := string(desc); name != "hasSubordinates" && name != "numSubordinates" {
			dst = append(dst, element...)
		}
		run = rest
	}
}

// textOf is a DN as a string for the time that it stays as it is.
func textOf(dn []byte) string { return unsafe.String(unsafe.SliceData(dn), len(dn)) }

// match evaluates a filter on an entry as the client sees it: what is hidden is
// not there. Without a matcher every entry that it sees is found.
func (g *guard) match(x *scratch, e tree.Entry, m *dit.Matcher) bool {
	if !g.sees(e) {
		return false
	}
	if m == nil {
		return true
	}
	v := g.show(x, e, m.NeedsOper())
	return m.Match(textOf(v.dn), v.user, v.oper) == dit.True
}
