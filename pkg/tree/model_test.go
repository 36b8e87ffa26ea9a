package tree

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// model is the tree as a map from normal forms: slow, and plain to see through.
type model map[string]*modelEntry

type modelEntry struct {
	uuid dit.UUID // of glue: whatever the tree has
	rdn  string   // text
	sn   string
	glue bool
}

var modelBase = strings.ToLower(baseDN)

func parentOf(norm string) string {
	_, up, _ := strings.Cut(norm, ",")
	return up
}

func isUnder(norm, top string) bool { return norm == top || strings.HasSuffix(norm, ","+top) }

func (m model) text(norm string) string {
	if norm == modelBase {
		return baseDN
	}
	return m[norm].rdn + "," + m.text(parentOf(norm))
}

// kids counts children by parent.
func (m model) kids() map[string]int {
	n := map[string]int{}
	for k := range m {
		n[parentOf(k)]++
	}
	return n
}

func (m model) of(u dit.UUID) string {
	for norm, e := range m {
		if !e.glue && e.uuid == u {
			return norm
		}
	}
	return ""
}

func (m model) put(norm string, e modelEntry) {
	taken := map[string]*modelEntry{}
	if old := m.of(e.uuid); old == modelBase && norm != old {
		m[old] = &modelEntry{glue: true}
	} else if old != "" {
		for k, x := range m {
			if old != modelBase && k != old && isUnder(k, old) {
				taken[strings.TrimSuffix(k, old)+norm] = x
				delete(m, k)
			}
		}
		delete(m, old)
	}
	m[norm] = &e
	for k, x := range taken {
		if there := m[k]; there == nil || there.glue && !x.glue {
			m[k] = x
		}
	}
	m.mend()
}

// mend makes missing ancestors and removes glue without children.
func (m model) mend() {
	for _, k := range slices.Collect(maps.Keys(m)) {
		for k != modelBase {
			if k = parentOf(k); m[k] == nil {
				rdn, _, _ := strings.Cut(k, ",")
				m[k] = &modelEntry{rdn: rdn, glue: true}
			}
		}
	}
	for again := true; again; {
		again = false
		kids := m.kids()
		for k, e := range m {
			if e.glue && k != modelBase && kids[k] == 0 {
				delete(m, k)
				again = true
			}
		}
	}
}

func (m model) remove(norm string, subtree bool) {
	for k := range m {
		if k == norm || subtree && isUnder(k, norm) {
			delete(m, k)
		}
	}
	if norm == modelBase {
		m[norm] = &modelEntry{glue: true}
	}
	m.mend()
}

// player drives tree and model alike.
type player struct {
	t        *testing.T
	rnd      *rand.Rand
	m        model
	v        *Version
	b        *Builder
	csn      dit.CSN
	follower map[dit.UUID]string // DN by UUID, from the changes alone
	memory   *Memory             // bounds the values, which are large then; nil: nothing does
	indexing *Indexing           // nil while v is Indexed
	indexed  int                 // how often it came to be so again
}

func (p *player) dn() (text, norm string) {
	var rdns []string
	for range 1 + p.rnd.IntN(4) {
		rdns = append(rdns, "cn="+string("abcdABCD"[p.rnd.IntN(8)]))
	}
	if p.rnd.IntN(40) == 0 {
		return baseDN, modelBase
	}
	text = under(strings.Join(rdns, ","))
	return text, strings.ToLower(text)
}

func (p *player) step() {
	switch n := p.rnd.IntN(20); {
	case n < 14:
		p.put()
	default:
		keys := slices.Sorted(maps.Keys(p.m))
		norm := keys[p.rnd.IntN(len(keys))]
		if p.m[norm].glue && n >= 16 {
			return // deleting glue as one entry does nothing
		}
		id, _ := p.b.Find(norm)
		p.b.Delete(id, n < 16)
		p.m.remove(norm, n < 16)
	}
}

func (p *player) put() {
	text, norm := p.dn()
	u, sn := uuid(2+p.rnd.IntN(40)), fmt.Sprint(p.rnd.IntN(4))
	v := at(p.t, text, "objectClass", "person", "sn", sn, "uid", fmt.Sprintf("u%x", u[15]))
	if p.memory != nil {
		size := []int{0, 3000, 60_000, 300_000}[p.rnd.IntN(4)]
		v.User = dit.AppendAttr(v.User, "description", strings.Repeat(fmt.Sprint(p.rnd.IntN(10)), 1+size))
	}
	if string(v.Norm) != norm {
		p.t.Fatalf("normal form of %q is %q", text, v.Norm)
	}
	row := Row{UUID: u, Hash: p.rnd.Uint64()}
	var id ID
	if p.rnd.IntN(2) == 0 {
		id = p.b.Put(row, v)
	} else {
		pack := NewPack(bundled(), options().Index, p.memory)
		ref := pack.Add(v)
		if p.rnd.IntN(4) > 0 {
			p.b.Adopt(pack)
		}
		id = p.b.PutRef(row, pack, ref)
	}
	if got := p.b.Row(id); got.UUID != u || got.Hash != row.Hash || got.Glue {
		p.t.Fatalf("put %s: %+v", text, got)
	}
	rdn, _, _ := strings.Cut(text, ",")
	p.m.put(norm, modelEntry{uuid: u, rdn: rdn, sn: sn})
}

// compare checks the builder's new version against the model.
func (p *player) compare() {
	p.t.Helper()
	before, entries := p.v.CSN(), p.v.Len()
	list := p.b.Changes()
	p.v = verified(p.t, p.b.Done())
	v := p.v
	if v.Len() != len(p.m) {
		p.t.Fatalf("%d entries, model has %d", v.Len(), len(p.m))
	}
	kids := p.m.kids()
	for norm, e := range p.m {
		id, _ := v.Find(norm)
		row := v.Row(id)
		if id == 0 || row.Glue != e.glue || !e.glue && row.UUID != e.uuid || v.Children(id) != kids[norm] {
			p.t.Fatalf("%s: %+v, model has %+v", norm, row, e)
		}
		if got := string(v.Entry(id).DN()); !e.glue && got[:4] != p.m.text(norm)[:4] {
			p.t.Fatalf("%s is spelled %s, model has %s", norm, got, p.m.text(norm))
		}
	}
	for _, c := range list {
		if c.Row.CSN <= before {
			p.t.Fatalf("change %+v after %d", c, before)
		}
		before = c.Row.CSN
		switch c.Kind {
		case Added:
			entries++
			p.follower[c.Row.UUID] = string(v.Entry(c.ID).DN())
		case Modified:
			p.follower[c.Row.UUID] = string(v.Entry(c.ID).DN())
		case Deleted:
			entries--
			delete(p.follower, c.Row.UUID)
		}
	}
	if entries != v.Len() {
		p.t.Fatalf("%d entries by the changes, %d in the tree", entries, v.Len())
	}
	if len(p.follower) != v.Len() {
		p.t.Fatalf("a follower has %d of %d entries", len(p.follower), v.Len())
	}
	for u, name := range p.follower {
		if id := v.ByUUID(u); id == 0 || string(v.Entry(id).DN()) != name {
			p.t.Fatalf("a follower has %v as %s, it is %d of\n%s\nafter %s", u, name, id, names(v), changes(p.b))
		}
	}
}

// searches compares answers of all scopes with the model's.
func (p *player) searches() {
	keys, kids := slices.Sorted(maps.Keys(p.m)), p.m.kids()
	for _, filter := range []string{"(sn=1)", "(uid=u5)", "(&(sn=2)(objectClass=person))", "(|(sn=1)(uid=u7))",
		"(!(sn=1))", "(objectClass=*)", "(cn=x)", "(numSubordinates=1)"} {
		f, err := dit.ParseFilter(filter)
		if err != nil {
			p.t.Fatal(err)
		}
		base := keys[p.rnd.IntN(len(keys))]
		id, _ := p.v.Find(base)
		for scope := Base; scope <= Subordinate; scope++ {
			p.search(Query{Base: id, Scope: scope, Matcher: dit.Compile(bundled(), f)}, filter, base, kids)
		}
	}
}

func (p *player) search(q Query, filter, base string, kids map[string]int) {
	var want, got []string
	for norm, e := range p.m {
		in := norm == base
		switch q.Scope {
		case One:
			in = norm != modelBase && parentOf(norm) == base
		case Sub:
			in = isUnder(norm, base)
		case Subordinate:
			in = norm != base && isUnder(norm, base)
		}
		if in && e.matches(filter, kids[norm]) {
			want = append(want, norm)
		}
	}
	for c := p.v.Search(q); c.Next(); {
		got = append(got, strings.ToLower(string(c.Entry().DN())))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Fatalf("search %s scope %d below %s: %v, model has %v", filter, q.Scope, base, got, want)
	}
}

func (e *modelEntry) matches(filter string, kids int) bool {
	uid := fmt.Sprintf("u%x", e.uuid[15])
	real := !e.glue && e.sn != ""
	switch filter {
	case "(sn=1)":
		return real && e.sn == "1"
	case "(uid=u5)":
		return real && uid == "u5"
	case "(&(sn=2)(objectClass=person))":
		return real && e.sn == "2"
	case "(|(sn=1)(uid=u7))":
		return real && (e.sn == "1" || uid == "u7")
	case "(!(sn=1))":
		return !(real && e.sn == "1")
	case "(cn=x)":
		return false
	case "(numSubordinates=1)":
		return kids == 1
	}
	return true
}

// R4, R7, R31, R38: random histories against the model, and versions that stay as they were.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(40) {
		randomHistory(t, seed, 60, nil)
	}
}

// The same with values that leave memory as soon as their block is full.
func TestRandomHistoriesOutside(t *testing.T) {
	s := &memoryScratch{}
	m := NewMemory(0, s, func(err error) { t.Error(err) })
	for seed := range uint64(4) {
		randomHistory(t, seed, 30, m)
	}
	if s.writes.Load() < 20 || s.reads.Load() < 200 {
		t.Errorf("%d blocks were moved and %d reads made: too few to tell anything", s.writes.Load(), s.reads.Load())
	}
	s.empties(t, m)
}

func randomHistory(t *testing.T, seed uint64, rounds int, m *Memory) {
	p := &player{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), m: model{}, follower: map[dit.UUID]string{}, memory: m}
	p.m[modelBase] = &modelEntry{uuid: uuid(1)}
	p.v = plantedIn(t, m)
	p.csn = p.v.CSN()
	p.follower[uuid(1)] = baseDN
	old := map[*Version]string{}
	for round := range rounds {
		p.index()
		p.b = edit(p.v)
		p.b.NextCSN = func() dit.CSN { p.csn++; return p.csn }
		for range 1 + p.rnd.IntN(12) {
			p.step()
		}
		p.compare()
		p.searches()
		if round%10 == 0 {
			old[p.v] = dump(p.v)
		}
	}
	for p.indexed == 0 {
		p.index()
	}
	for v, was := range old {
		if dump(v) != was {
			t.Fatalf("seed %d: a published version changed", seed)
		}
		verified(t, v)
	}
}

// index takes the index away, as a start does that loads a tree, or goes on making it.
func (p *player) index() {
	p.t.Helper()
	switch {
	case p.rnd.IntN(4) > 0:
	case p.indexing == nil:
		lost := *p.v
		lost.index, lost.unindexed = index{}, true
		lost.index.init()
		lost.index.settle()
		p.v, p.indexing = &lost, lost.Index()
	default:
		if err := p.indexing.Reach(p.t.Context(), p.v); err != nil || p.indexing.Behind(p.v) != 0 {
			p.t.Fatalf("%v, %d pages are not reached", err, p.indexing.Behind(p.v))
		}
		if p.rnd.IntN(2) == 0 {
			p.v, p.indexing = verified(p.t, p.indexing.Into(p.v)), nil
			p.indexed++
		}
	}
}

// dump prints all that a version tells of its entries.
func dump(v *Version) string {
	var out strings.Builder
	for c := v.Search(Query{Base: v.Root(), Scope: Sub}); c.Next(); {
		e := c.Entry()
		fmt.Fprintf(&out, "%s %+v %x %x\n", e.DN(), e.Row(), sha256.Sum256(e.User()), e.AppendComputed(e.Oper()))
	}
	return out.String()
}
