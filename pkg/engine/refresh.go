package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// refresh is one refresh stage, staged beside the live content by its
// session's goroutine: an unchanged entry sets a bit, a changed one is written under the next
// generation and encoded for the tree. Nothing of it is visible before
// the writer's flip, and a refresh that breaks is thrown away.
type refresh struct {
	e       *Engine
	f       *feed
	claim   *claim
	view    *tree.Version // when it began; the claim's own rows stay as they are
	inner   []string      // names whose subtrees hide content of this one (R7)
	sent    bool          // a cookie was: not a full load
	nesting int           // the claim's, when it began

	hidden map[dit.UUID]hiddenEntry
	stage  *store.Stage
	pack   *tree.Pack
	value  []byte

	items      stagedList
	norms      []byte // of hidden ones
	seen       []uint64
	seenHidden map[dit.UUID]bool
	deletes    []dit.UUID
	buried     map[dit.UUID]bool // staged, and deleted again
	lastParent uint64            // known to be there
	twice      []int             // pairs with one DN
	replay     *replay           // it plays what was held again; nil: it comes from a session
}

// newRefresh runs on the engine goroutine.
func (e *Engine) newRefresh(f *feed) *refresh {
	return &refresh{
		e: e, f: f, claim: f.claim, view: e.newest, inner: f.claim.inner, nesting: f.claim.nesting,
		hidden: maps.Clone(f.claim.hidden), seenHidden: map[dit.UUID]bool{}, buried: map[dit.UUID]bool{},
	}
}

func (r *refresh) discard() {
	if r.stage == nil {
		return
	}
	if err := r.stage.Discard(); err != nil {
		r.e.log.Warn("staged refresh not discarded; the next start does", "claim", r.claim.id, "error", err)
	}
	r.stage = nil
}

// open makes the stage when the first change comes.
func (r *refresh) open() (err error) {
	if r.stage != nil {
		return nil
	}
	r.pack = tree.NewPack(r.e.schema, r.e.o.Index, r.e.o.Memory)
	r.stage, err = r.e.store.Stage(r.claim.number)
	return err
}

// row finds the claim's row of an upstream entry.
func (e *Engine) row(v interface{ ByUUID(dit.UUID) tree.ID }, row func(tree.ID) tree.Row, claim uint32, id dit.UUID) (tree.ID, tree.Row) {
	served := e.pub.of(claim, id)
	at := v.ByUUID(served)
	if at == 0 {
		return 0, tree.Row{}
	}
	got := row(at)
	if got.Claim != claim || e.pub.upstream(claim, served) != id {
		return 0, tree.Row{}
	}
	return at, got
}

func (r *refresh) known(id dit.UUID) (tree.ID, tree.Row) {
	return r.e.row(r.view, r.view.Row, r.claim.number, id)
}

// put takes the entry that the session's converter holds.
func (r *refresh) put(id dit.UUID) error {
	c := r.f.conv
	again, came := r.items.byID(id)
	if !came && !r.buried[id] {
		if at, row := r.known(id); at != 0 && row.Hash == c.rec.hash {
			r.see(at)
			return nil
		}
		if h, ok := r.hidden[id]; ok && h.hash == c.rec.hash {
			r.seenHidden[id] = true
			return nil
		}
	}
	if came {
		r.items.at(again).dead = true
	}
	if err := r.open(); err != nil {
		return err
	}
	rdnNorm := len(c.name.RDN(0).Norm)
	if c.depth > 0 {
		rdnNorm = len(c.dn.Norm(0))
	}
	it := staged{
		id: id, hash: c.rec.hash, dn: hashDN(c.norm), normLen: int32(len(c.norm)),
		rdnNormLen: int32(rdnNorm), ordinal: uint32(r.items.n), depth: uint16(min(c.depth, 1<<16-1)),
		hidden: hiddenBy(r.inner, c.norm),
	}
	if err := r.place(&it, c.norm); err != nil {
		return err
	}
	if prev, ok := r.items.byDN(it.dn); ok && r.items.at(prev).id != id {
		r.twice = append(r.twice, prev, r.items.n)
	}
	r.value = c.rec.append(r.value[:0])
	if err := r.stage.Put(id, it.ordinal, r.value); err != nil {
		return err
	}
	if it.hidden {
		it.ref = tree.Ref(len(r.norms))
		r.norms = append(r.norms, c.norm...)
	} else {
		it.ref = r.pack.Add(tree.Value{Norm: c.norm, Text: c.text, RDNLen: c.rdnLen, User: c.user, Oper: c.oper})
	}
	r.items.add(it)
	return nil
}

// place notes whether the entry's parent is there already, so that parents get
// lower CSNs than their children whatever the order on the wire.
func (r *refresh) place(it *staged, norm []byte) (err error) {
	if int(it.rdnNormLen) >= len(norm) {
		return nil
	}
	parent := norm[it.rdnNormLen+1:]
	it.parent = hashDN(parent)
	if it.parent == r.lastParent {
		return nil
	}
	if p, ok := r.items.byDN(it.parent); ok && !r.items.at(p).late {
		r.lastParent = it.parent
		return nil
	}
	defer unreadable(&err)
	if at, _ := r.view.Find(string(parent)); at != 0 {
		r.lastParent = it.parent
		return nil
	}
	it.late = true
	return nil
}

func (r *refresh) see(at tree.ID) {
	for int(at>>6) >= len(r.seen) {
		r.seen = append(r.seen, make([]uint64, len(r.seen)+1024)...)
	}
	r.seen[at>>6] |= 1 << (at & 63)
}

func (r *refresh) isSeen(at tree.ID) bool {
	return int(at>>6) < len(r.seen) && r.seen[at>>6]&(1<<(at&63)) != 0
}

// present: the upstream says that these are unchanged. One that is not known
// here can only be had by a full load.
func (r *refresh) present(ids []dit.UUID) error {
	for _, id := range ids {
		if _, ok := r.items.byID(id); ok {
			continue
		}
		if at, _ := r.known(id); at != 0 {
			r.see(at)
		} else if _, ok := r.hidden[id]; ok {
			r.seenHidden[id] = true
		} else {
			return fmt.Errorf("the server says that entry %s is unchanged, which is not known here: %w", id, syncrepl.ErrReload)
		}
	}
	return nil
}

// delete takes the last word on entries: what was said of them before is void.
func (r *refresh) delete(ids []dit.UUID) error {
	for _, id := range ids {
		if !r.concerns(id) {
			continue
		}
		r.deletes = append(r.deletes, id)
		if i, came := r.items.byID(id); came {
			r.items.at(i).dead = true
			if err := r.stage.Delete(id); err != nil {
				return err
			}
			r.buried[id] = true
		}
		if at, _ := r.known(id); at != 0 && r.isSeen(at) {
			r.seen[at>>6] &^= 1 << (at & 63)
		}
		delete(r.seenHidden, id)
	}
	return nil
}

// concerns tells whether a deletion is of an entry that is known here; others
// need not be remembered.
func (r *refresh) concerns(id dit.UUID) bool {
	_, came := r.items.byID(id)
	_, hidden := r.hidden[id]
	at, _ := r.known(id)
	return came || hidden || at != 0
}

// leavesOut tells whether an entry is known, and was neither sent nor said to be unchanged.
func (r *refresh) leavesOut(id dit.UUID) bool {
	if _, came := r.items.byID(id); came {
		return false
	}
	if _, hidden := r.hidden[id]; hidden {
		return !r.seenHidden[id]
	}
	at, _ := r.known(id)
	return at != 0 && !r.isSeen(at)
}

// finish makes everything staged durable and hands it to the writer.
func (r *refresh) finish(ctx context.Context, end syncrepl.End) error {
	if err := r.duplicates(); err != nil {
		return err
	}
	if r.stage == nil {
		if err := r.e.store.Swept(ctx, r.claim.number); err != nil {
			return err
		}
	} else {
		if err := r.stage.Sync(ctx); err != nil {
			return err
		}
		if err := r.order(); err != nil {
			return err
		}
	}
	var err error
	if doErr := r.e.do(ctx, func() { err = r.e.flip(r, end) }); doErr != nil {
		return doErr
	}
	var held *verdict
	if errors.As(err, &held) {
		return r.hold(ctx, held)
	}
	return err
}

// duplicates refuses a refresh in which two entries have one DN.
func (r *refresh) duplicates() error {
	for i := 0; i < len(r.twice); i += 2 {
		a, b := r.items.at(r.twice[i]), r.items.at(r.twice[i+1])
		if !a.dead && !b.dead {
			return fmt.Errorf("the server sent two entries with the DN %.200q (entryUUIDs %s and %s)", r.norm(a), a.id, b.id)
		}
	}
	return nil
}

// norm is the normal form of a staged entry's DN.
func (r *refresh) norm(it *staged) []byte {
	if it.hidden {
		return r.norms[it.ref:][:it.normLen]
	}
	return r.pack.Norm(it.ref)
}

// order gives a child that came before its parent a later ordinal.
func (r *refresh) order() error {
	if r.inOrder() {
		return nil
	}
	all := r.items.sorted(func(a, b *staged) int { return cmp.Compare(a.depth, b.depth) })
	next := uint32(r.items.n)
	for _, i := range all {
		it := r.items.at(int(i))
		if !r.early(it) {
			continue
		}
		value, err := r.stage.Value(it.id)
		if err != nil {
			return err
		}
		it.ordinal = next
		next++
		if err := r.stage.Put(it.id, it.ordinal, value); err != nil {
			return err
		}
	}
	return nil
}

// inOrder tells whether no entry stands before its parent.
func (r *refresh) inOrder() bool {
	var of uint64 // whose children parent is of
	var parent *staged
	for i := range r.items.n {
		it := r.items.at(i)
		if it.parent != of {
			of, parent = it.parent, nil
			if p, ok := r.items.byDN(of); ok && !r.items.at(p).dead {
				parent = r.items.at(p)
			}
		}
		if parent != nil && parent.ordinal > it.ordinal && !it.dead {
			return false
		}
	}
	return true
}

// early tells whether an entry stands before its parent.
func (r *refresh) early(it *staged) bool {
	if it.dead {
		return false
	}
	p, ok := r.items.byDN(it.parent)
	return ok && !r.items.at(p).dead && r.items.at(p).ordinal > it.ordinal
}

// gone lists the rows that this refresh removes, deepest first, and the hidden
// entries.
func (r *refresh) gone(ed *edit, end syncrepl.End) (rows []tree.ID, hidden []dit.UUID) {
	b, num := ed.b, r.claim.number
	add := func(at tree.ID) {
		row := b.Row(at)
		if row.Claim == num && !r.isSeen(at) && r.staged(row) == nil {
			rows = append(rows, at)
		}
	}
	top, _ := b.Find(r.claim.name.Norm())
	if end.Complete && top != 0 {
		b.Walk(top, add)
	}
	addHidden := func(id dit.UUID) {
		_, known := r.hidden[id]
		if _, came := r.items.byID(id); known && !came && !r.seenHidden[id] {
			hidden = append(hidden, id)
		}
	}
	if end.Complete {
		for id := range r.hidden {
			addHidden(id)
		}
	}
	tops := map[string]bool{}
	for _, id := range r.deletes {
		at, _ := r.e.row(b, b.Row, num, id)
		if r.replay != nil { // the set names all that go
			addHidden(id)
			if at != 0 {
				add(at)
			}
			continue
		}
		addHidden(id)
		if norm := r.normOf(b, id, at); norm != "" && r.claim.wholeSubtrees() && r.claim.under[norm] > 0 {
			tops[norm] = true
		}
		switch {
		case at == 0:
		case r.claim.wholeSubtrees():
			for _, below := range r.belongings(b, at) {
				add(below)
			}
		default:
			add(at)
		}
	}
	for id := range r.claim.hiddenUnder(tops) {
		if !ed.staged(id) {
			addHidden(id)
		}
	}
	slices.SortFunc(hidden, func(a, b dit.UUID) int { return bytes.Compare(a[:], b[:]) })
	if r.replay == nil { // what was held is in that order
		slices.Reverse(rows)
	}
	return unique(rows), slices.Compact(hidden)
}

// normOf is the normal form of an entry's DN, "" where it is not known.
func (r *refresh) normOf(b *tree.Builder, id dit.UUID, at tree.ID) string {
	if at != 0 {
		return b.Norm(at)
	}
	return r.claim.hidden[id].norm
}

// staged gives what was staged for a row of the claim, nil for nothing.
func (r *refresh) staged(row tree.Row) *staged {
	if row.Claim != r.claim.number {
		return nil
	}
	i, ok := r.items.byID(r.e.pub.upstream(row.Claim, row.UUID))
	if !ok {
		return nil
	}
	return r.items.at(i)
}

// belongings lists a row and what is below it, parents first, but for what
// was staged and what is below that: the upstream has said where those are.
func (r *refresh) belongings(b *tree.Builder, top tree.ID) (rows []tree.ID) {
	prefix := ""
	b.Walk(top, func(at tree.ID) {
		norm := b.Norm(at)
		if prefix != "" && underNorm(norm, prefix) {
			return
		}
		prefix = ""
		if at != top && r.staged(b.Row(at)) != nil {
			prefix = norm
			return
		}
		rows = append(rows, at)
	})
	return rows
}

// unique drops repetitions, keeping the first of each.
func unique(ids []tree.ID) []tree.ID {
	had := make(map[tree.ID]bool, len(ids))
	return slices.DeleteFunc(ids, func(id tree.ID) bool {
		if had[id] {
			return true
		}
		had[id] = true
		return false
	})
}

var errDuplicateDN = errors.New("the server sent an entry under a DN that another unchanged entry has")
