package ldapd

import (
	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// source is where a search takes its entries from: a cursor, or what stands
// around one. Step and Entry are the cursor's.
type source interface {
	Step(max int) (found, done bool)
	Entry() tree.Entry
}

// maxVertices bounds what the aliases within one search may name.
const maxVertices = 10_000

// walk searches a scope that has referral objects, which are found whatever the
// filter says (RFC 3296 section 5.4), or aliases to be dereferenced, whose objects
// are searched too (RFC 4511 section 4.5.1.3), each entry once.
type walk struct {
	run        *search
	scope      tree.Scope // of the search
	references bool       // referral objects are looked for
	vertices   []vertex
	known      map[tree.ID]bool // the vertices that aliases name
	scanned    int              // vertices whose aliases are being followed, or have been
	turn       int              // each vertex has two: for references, and for entries
	phase      phase
	cur        *tree.Cursor // nil: the next one is due
}

// vertex is a part of the search.
type vertex struct {
	id    tree.ID
	scope tree.Scope
}

// phase is what the walk's cursor looks for.
type phase int

const (
	forAliases phase = iota
	forReferences
	forEntries
)

func newWalk(run *search, scope tree.Scope, aliases, references bool) *walk {
	w := &walk{run: run, scope: scope, references: references, vertices: []vertex{{run.base, scope}}, known: map[tree.ID]bool{}}
	if !aliases {
		w.phase = forReferences
	}
	return w
}

func (w *walk) Entry() tree.Entry { return w.cur.Entry() }

func (w *walk) Step(max int) (found, done bool) {
	for ; max > 0; max-- {
		if w.cur == nil && !w.next() {
			return false, true
		}
		found, done := w.cur.Step(max)
		switch {
		case done:
			w.cur = nil
		case !found:
			return false, false
		case w.phase == forAliases:
			w.follow(w.cur.Entry().ID())
		default:
			return true, false
		}
	}
	return false, false
}

// next places the cursor; false at the end.
func (w *walk) next() bool {
	if w.phase == forAliases {
		for w.scanned < len(w.vertices) {
			v := w.vertices[w.scanned]
			if w.scanned++; v.scope != tree.Base {
				w.cur = w.kind(v, "alias", tree.Alias)
				return true
			}
		}
		w.settle()
	}
	s := w.run
	for w.turn < 2*len(w.vertices) {
		v, entries := w.vertices[w.turn/2], w.turn%2 == 1
		w.turn++
		switch {
		case entries:
			w.phase = forEntries
			w.cur = s.ver.Search(tree.Query{Base: v.id, Scope: v.scope, Matcher: s.matcher, Accept: s.accept})
			return true
		case w.references:
			w.phase = forReferences
			w.cur = w.kind(v, "referral", tree.Referral)
			return true
		}
	}
	return false
}

// kind searches a vertex for entries of a kind that the client sees, but not for the
// base of the search, of which findBase has decided.
func (w *walk) kind(v vertex, class string, kind tree.Kind) *tree.Cursor {
	s := w.run
	m := dit.Compile(s.ver.Schema(), dit.Filter{Op: dit.FilterEquality, Attr: "objectClass", Value: []byte(class)})
	return s.ver.Search(tree.Query{Base: v.id, Scope: v.scope, Matcher: m, Accept: func(e tree.Entry) bool {
		return s.ver.Kind(e.ID())&kind != 0 && e.ID() != s.base && s.guard.sees(e)
	}})
}

// follow adds what an alias names to the search; one that leads nowhere adds nothing.
func (w *walk) follow(alias tree.ID) {
	ver := w.run.ver
	dn, _, refusal := dereference(ver, w.run.guard, nameOf(ver, alias))
	if refusal.code != 0 {
		return
	}
	id, _ := ver.Find(dn.Norm())
	v := vertex{id, tree.Sub}
	if w.scope == tree.One {
		v.scope = tree.Base
	}
	switch {
	case id == 0 || w.covered(v):
	case len(w.vertices) == maxVertices:
		w.run.failed = &result{code: ldapserver.LDAPResultAdminLimitExceeded, text: "the aliases within this search name too many entries"}
	default:
		w.known[id] = true
		w.vertices = append(w.vertices, v)
	}
}

// covered tells whether a vertex lies in one that there is.
func (w *walk) covered(v vertex) bool {
	if v.scope == tree.Base && w.known[v.id] || w.run.ver.Within(v.id, w.run.base, w.scope) {
		return true
	}
	return v.scope != tree.Base && w.below(v.id)
}

// below tells whether id, or an ancestor of it, is what an alias names.
func (w *walk) below(id tree.ID) bool {
	for ; id != 0; id = w.run.ver.Parent(id) {
		if w.known[id] {
			return true
		}
	}
	return false
}

// settle leaves out vertices that lie in one that was found later.
func (w *walk) settle() {
	w.phase = forReferences
	if w.scope == tree.One {
		return
	}
	var kept []vertex
	for i, v := range w.vertices {
		above := v.id
		if i > 0 {
			above = w.run.ver.Parent(v.id)
		}
		if !w.below(above) {
			kept = append(kept, v)
		}
	}
	w.vertices = kept
}

// atReference tells whether what was found is a referral object.
func (s *search) atReference() bool {
	return s.walk != nil && s.walk.cur != nil && s.walk.phase == forReferences
}

// reference adds a SearchResultReference (RFC 4511 section 4.5.3) for the referral
// object under the cursor.
func (s *search) reference() error {
	id := s.walk.Entry().ID()
	scope := scopeNames[tree.Sub]
	if s.walk.scope == tree.One {
		scope = scopeNames[tree.Base]
	}
	if !s.guard.readsRef(s.walk.Entry()) {
		return nil
	}
	if urls := references(s.ver, id, nameOf(s.ver, id), dit.DN{}, scope); len(urls) > 0 {
		body := appendURLs(nil, urls)
		s.out = appendEnvelope(s.out, s.id, ber.HeaderLen(len(body))+len(body))
		s.out = ber.AppendBytes(s.out, tagReference, body)
	}
	return s.push()
}
