package ldapd

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// touched is an entry that changed between two states of a follower's content.
type touched struct {
	uuid dit.UUID
	id   tree.ID // now; 0 when it is not in the content any more
	csn  dit.CSN // of its last change; 0 where that is not known
	had  bool    // it was in the content, as norm and dn
	norm string
	dn   string
	// unsure: where it stood, if it did, is not known: it goes first, and comes again.
	unsure bool
	now    string // normal form; set by arrange
}

// step is one message that brings a follower on.
type step struct {
	state syncrepl.State
	uuid  dit.UUID
	id    tree.ID // of what is sent; 0 for a delete
	dn    string  // of a delete: the DN it had
	csn   dit.CSN // see touched
}

// arranger finds the order in which a follower can take changes: one that keeps a
// tree, and refuses an entry without its parent, a parent's delete
// before its children's, a name that is taken. That is: what goes, deepest first; then
// what comes and changes, parents first. A rename is one modify, unless names
// are taken over (swapped, given to another, moved out of what goes): then what
// moved goes first and comes again, as everything that moved has a new CSN.
type arranger struct {
	v      *tree.Version
	eye    *eye
	base   tree.ID
	list   []touched
	byUUID map[dit.UUID]*touched
	left   map[string]*touched // what left its name, by the normal form of that
	uproot bool                // what moved goes and comes again
	over   map[string]bool     // names where another entry comes over children that stay
}

// arrange orders what has changed up to v, of a content with its base there. over tells that an entry came over the
// children of another one, which stay: they are not among the steps, and the
// other's delete is the last.
func (e *eye) arrange(v *tree.Version, base tree.ID, list []touched) (steps []step, over bool) {
	if len(list) == 1 && !list[0].unsure && (list[0].id == 0 || !list[0].had || v.Norm(list[0].id) == list[0].norm) {
		return list[0].alone(), false
	}
	a := &arranger{v: v, eye: e, base: base, list: list, byUUID: make(map[dit.UUID]*touched, len(list)),
		left: map[string]*touched{}, over: map[string]bool{}}
	for i := range list {
		t := &list[i]
		t.now = v.Norm(t.id)
		a.byUUID[t.uuid] = t
		if t.had && t.now != t.norm {
			if w := a.left[t.norm]; w == nil || w.id == 0 { // what came there meanwhile and went again has no say
				a.left[t.norm] = t
			}
		}
	}
	a.uproot = a.conflict()
	for norm := range a.left {
		at, _ := v.Find(norm)
		if at == 0 {
			continue
		}
		// What stands there and is not in the content, as glue that no filter matches, comes over nothing.
		if t := a.byUUID[v.Row(at).UUID]; t != nil && t.id != 0 && a.keepsChildren(at) {
			a.over[norm] = true
			a.uproot = a.uproot || t.moved()
		}
	}
	return a.steps(), len(a.over) > 0
}

// alone is the common case: one entry.
func (t *touched) alone() []step {
	s := step{state: syncrepl.StateAdd, uuid: t.uuid, id: t.id, csn: t.csn}
	switch {
	case t.id == 0:
		s.state, s.dn = syncrepl.StateDelete, t.dn
	case t.had:
		s.state = syncrepl.StateModify
	}
	return []step{s}
}

func (t *touched) moved() bool { return t.had && t.id != 0 && (t.unsure || t.norm != t.now) }

// conflict tells whether a rename would meet a name that is taken, or come out
// of what is gone by then.
func (a *arranger) conflict() bool {
	for i := range a.list {
		t := &a.list[i]
		if t.id == 0 {
			continue
		}
		if t.moved() {
			if at, _ := a.v.Find(t.norm); t.unsure || at != 0 || a.underGone(t.norm) {
				return true
			}
		}
		if t.had && !t.moved() {
			continue
		}
		if w := a.taken(t); w != nil && w.id != 0 {
			return true
		}
	}
	return false
}

// taken gives what a client has at t's name after the renames above it, which take along what stood below: what left the name
// that t's would have been before; nil for nothing.
func (a *arranger) taken(t *touched) *touched {
	for up := a.v.Parent(t.id); up != 0; up = a.v.Parent(up) {
		if p := a.byUUID[a.v.Row(up).UUID]; p != nil && p.moved() {
			if w := a.left[strings.TrimSuffix(t.now, p.now)+p.norm]; w != t {
				return w
			}
			return nil
		}
	}
	return nil
}

func (a *arranger) underGone(norm string) bool {
	for _, up, ok := strings.Cut(norm, ","); ok; _, up, ok = strings.Cut(up, ",") {
		if t := a.left[up]; t != nil && t.id == 0 {
			return true
		}
	}
	return false
}

// keepsChildren tells whether below at, which is new there, something of the content has stayed.
func (a *arranger) keepsChildren(at tree.ID) bool {
	deep := a.eye.ct.scope == tree.Sub || a.eye.ct.scope == tree.Subordinate
	for c := a.v.Search(tree.Query{Base: at, Scope: tree.One}); c.Next(); {
		e := c.Entry()
		t := a.byUUID[e.Row().UUID]
		if t == nil && a.eye.holds(a.v, a.base, e.ID()) || t != nil && t.id != 0 && t.had && !t.moved() {
			return true
		}
		// Below what was not in the content, or not here, there may be what was.
		here := a.v.Norm(e.ID())
		left := a.left[here] != nil || deep && (t == nil || !t.had || t.id == 0 && t.norm != here)
		if left && a.keepsChildren(e.ID()) {
			return true
		}
	}
	return false
}

// stays lists what of a content of whole subtrees is as it was, below names that entries have left to what rules hide, and below entries that go
// first and come again: a client that mirrors whole subtrees takes it along with them. any wants the first that there is alone.
func (e *eye) stays(v *tree.Version, list []touched, any bool) (stay []touched) {
	if e.ct.matcher != nil || e.ct.scope != tree.Sub {
		return nil
	}
	var listed map[dit.UUID]bool
	for _, t := range list {
		at, _ := v.Find(t.norm)
		hides := e.g != nil && at != 0 && at != t.id && !e.takes(v, v.Entry(at))
		if !t.had || at == 0 || !hides && !t.unsure {
			continue
		}
		if listed == nil {
			listed = make(map[dit.UUID]bool, len(list))
			for _, t := range list {
				listed[t.uuid] = true
			}
		}
		for cur := e.search(v, at); cur.Next(); {
			below := cur.Entry()
			if u := below.Row().UUID; !listed[u] {
				listed[u] = true
				stay = append(stay, touched{uuid: u, id: below.ID(), csn: below.Row().CSN, had: true,
					norm: v.Norm(below.ID()), dn: string(below.DN())})
				if any {
					return stay
				}
			}
		}
	}
	return stay
}

// steps lists what goes, what comes and changes, and last what others came over.
func (a *arranger) steps() []step {
	turns := a.turns()
	var gone, come, replaced []*touched
	for i := range a.list {
		t := &a.list[i]
		goes := t.id == 0 || a.uproot && t.moved()
		switch {
		case goes && !a.over[t.norm]:
			gone = append(gone, t)
		case t.id == 0:
			replaced = append(replaced, t)
		}
		if t.id != 0 {
			come = append(come, t)
		}
	}
	deepest := func(x, y *touched) int { return cmp.Compare(depth(y.norm), depth(x.norm)) }
	slices.SortStableFunc(gone, deepest)
	slices.SortStableFunc(replaced, deepest)
	slices.SortStableFunc(come, func(x, y *touched) int {
		return cmp.Or(cmp.Compare(turns[x], turns[y]), cmp.Compare(depth(x.now), depth(y.now)), cmp.Compare(x.csn, y.csn))
	})
	out := make([]step, 0, len(gone)+len(come)+len(replaced))
	for _, t := range gone {
		out = append(out, step{state: syncrepl.StateDelete, uuid: t.uuid, dn: t.dn})
	}
	for _, t := range come {
		s := step{state: syncrepl.StateAdd, uuid: t.uuid, id: t.id, csn: t.csn}
		if t.had && !(a.uproot && t.moved()) {
			s.state = syncrepl.StateModify
		}
		out = append(out, s)
	}
	for _, t := range replaced {
		out = append(out, step{state: syncrepl.StateDelete, uuid: t.uuid, dn: t.dn})
	}
	return out
}

// turns says in which turn those come that come over others' children, all of them before the rest, which have none: what is to come over
// another's children itself is gone only when one has come over its own. Of those that exchange their names one goes first, from above its children.
func (a *arranger) turns() map[*touched]int {
	turns := map[*touched]int{}
	for _, norm := range slices.Sorted(maps.Keys(a.over)) {
		at, _ := a.v.Find(norm)
		t := a.byUUID[a.v.Row(at).UUID]
		turns[t] = -1
		for w := a.left[t.now]; w != nil && w.id != 0 && a.over[w.now]; w = a.left[w.now] {
			if w == t {
				delete(a.over, norm)
				turns[t] = 0
				break
			}
			turns[t]--
		}
	}
	return turns
}

// depth of a normal form; only its order counts.
func depth(norm string) int { return strings.Count(norm, ",") }
