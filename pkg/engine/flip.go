package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// flip publishes a staged refresh: one step in the store, one in the tree. It
// runs on the engine goroutine; until the store has it nothing shows.
//
// The order of the changes is the order of their CSNs, as followers need it:
// what goes, glue, then the staged entries (parents first), then what follows
// from those (descendants of what moved).
func (e *Engine) flip(r *refresh, end syncrepl.End) (err error) {
	cl := r.claim
	if cl.feed != r.f {
		return errNotFollowed
	}
	if e.failed != nil {
		return e.failed
	}
	if r.nesting != cl.nesting || !slices.Equal(r.inner, cl.inner) {
		return fmt.Errorf("%w (%q); it begins again", errNamesChanged, cl.name)
	}
	ed := e.edit(cl)
	ed.refresh = r
	if cl.overlapped() && r.sent && ed.moves(r) {
		return fmt.Errorf("entries moved around a name inside this one: %w", syncrepl.ErrReload)
	}
	defer func() {
		if err != nil {
			ed.abandon()
		}
	}()
	rows, hidden := r.gone(ed, end)
	if err := e.judge(ed, r, end, rows, hidden); err != nil {
		return err
	}
	if r.stage == nil && len(rows) == 0 && len(hidden) == 0 && cl.gen != 0 && !cl.damaged {
		return e.unchanged(cl, r.f.server, end)
	}
	if err := r.open(); err != nil {
		return err
	}
	ed.stage = r.stage
	shows := cl.gen == 0 && !e.isOffstage(cl)
	if shows {
		ed.hideOuter(cl.name)
	}
	for _, at := range rows {
		ed.b.Delete(at, false)
	}
	ed.settle()
	below, err := ed.clear(r)
	if err != nil {
		return err
	}
	for _, id := range hidden {
		ed.dropHidden(id)
	}
	ed.ensureGlue(r, len(rows) > 0)
	ed.settle()
	var heirs map[string]dit.UUID
	if shows {
		if heirs, err = e.heirs(cl.name.Norm()); err != nil {
			return err
		}
	}
	ed.putStaged(r, heirs)
	ed.placeAll(below)
	ed.settle()
	ed.restamp(r)
	if r.replay != nil {
		e.end(&ed.batch, r.replay.task, TaskDone, r.replay.words)
		cl.window = window{} // what went before is approved too
	}
	return e.commitStage(ed, cl, r.f.server, end.Cookie, queue.Refreshed{ID: cl.id})
}

var errNamesChanged = errors.New("names inside a name changed during its refresh")

// unchanged ends a refresh that brought nothing: only the cookie is news.
func (e *Engine) unchanged(cl *claim, server string, end syncrepl.End) error {
	b := &store.Batch{Cookies: []store.Claim{{ID: cl.number, Cookie: end.Cookie, Server: cl.origin().with(server)}}}
	if err := e.endHold(b, string(cl.id)); err != nil {
		return err
	}
	revert := e.loaded(b, cl)
	if err := e.commit(b); err != nil {
		revert()
		e.restate()
		return err
	}
	cl.cookie, cl.server, cl.taken = end.Cookie, server, cl.origin()
	e.reapHolds()
	cl.fetched(nil)
	return nil
}

// clear removes what stands where a staged entry is to go. Where that belongs
// to an entry that goes elsewhere itself (names are swapped), it is taken out and
// given back as changes, to be placed when all that was staged has its place.
func (ed *edit) clear(r *refresh) (below []change, err error) {
	if top, _ := ed.b.Find(r.claim.name.Norm()); top == 0 {
		return nil, nil
	}
	if r.claim.overlapped() {
		ed.takeOutMoved(r)
	} else {
		for _, m := range ed.ownMoves(r) {
			below = append(below, ed.takeOut(r, m.at, m.to)...)
		}
	}
	num := r.claim.number
	for i := range r.items.n {
		it := r.items.at(i)
		if it.dead || it.hidden {
			continue
		}
		at, _ := ed.b.Find(string(r.norm(it)))
		if at == 0 {
			continue
		}
		row := ed.b.Row(at)
		if row.Claim != num || row.UUID == ed.e.pub.of(num, it.id) {
			continue
		}
		if owner, to := ed.movedAbove(r, string(r.norm(it))); owner != 0 {
			below = append(below, ed.takeOut(r, owner, to)...)
			continue
		}
		if r.isSeen(at) {
			return nil, fmt.Errorf("%w: %.200s", errDuplicateDN, r.norm(it))
		}
		ed.b.Delete(at, false)
		ed.settle()
	}
	return below, nil
}

// moves tells whether an entry that is known was staged under another DN. Where
// other names lie inside the claim's, what moves along with it cannot be
// told from what stays: only a full load, which names every entry, can be flipped.
func (ed *edit) moves(r *refresh) bool {
	for i := range r.items.n {
		it := r.items.at(i)
		norm := string(r.norm(it))
		at, _ := ed.e.row(ed.b, ed.b.Row, r.claim.number, it.id)
		h, hidden := r.claim.hidden[it.id]
		if !it.dead && (at != 0 && ed.b.Norm(at) != norm || hidden && h.norm != norm) {
			return true
		}
	}
	return false
}

// takeOutMoved removes the rows that a full load has under another DN; each
// comes back by itself.
func (ed *edit) takeOutMoved(r *refresh) {
	for i := range r.items.n {
		it := r.items.at(i)
		at, _ := ed.e.row(ed.b, ed.b.Row, r.claim.number, it.id)
		if !it.dead && at != 0 && ed.b.Norm(at) != string(r.norm(it)) {
			ed.b.Delete(at, false)
			ed.settle()
		}
	}
}

// ownMove is a row that goes elsewhere.
type ownMove struct {
	at tree.ID
	to *staged
}

// ownMoves lists the rows that do not go where an entry above them goes: they
// must not stand in anyone's way when they are taken along.
func (ed *edit) ownMoves(r *refresh) (list []ownMove) {
	for i := range r.items.n {
		it := r.items.at(i)
		at, _ := ed.e.row(ed.b, ed.b.Row, r.claim.number, it.id)
		if it.dead || at == 0 {
			continue
		}
		from, to := ed.b.Norm(at), string(r.norm(it))
		_, parent, ok := strings.Cut(from, ",")
		if from == to || !ok {
			continue
		}
		owner, moved := ed.movedAbove(r, parent)
		if owner == 0 {
			continue
		}
		rel := strings.TrimSuffix(from, ed.b.Norm(owner))
		if rel+string(r.norm(moved)) != to {
			list = append(list, ownMove{at, it})
		}
	}
	return list
}

// movedAbove finds the row at norm or the nearest above it that was staged under
// another DN, and what was staged; 0 where another one that was staged comes first.
func (ed *edit) movedAbove(r *refresh, norm string) (tree.ID, *staged) {
	for {
		at, _ := ed.b.Find(norm)
		if at == 0 {
			return 0, nil
		}
		if to := r.staged(ed.b.Row(at)); to != nil {
			if string(r.norm(to)) == norm {
				return 0, nil
			}
			return at, to
		}
		_, parent, ok := strings.Cut(norm, ",")
		if !ok || norm == r.claim.name.Norm() {
			return 0, nil
		}
		norm = parent
	}
}

// takeOut removes a row that goes elsewhere, with all that goes along.
func (ed *edit) takeOut(r *refresh, at tree.ID, to *staged) []change {
	cl := r.claim
	oldDN, _, err := ed.relative(upstreamKey{cl.number, to.id})
	if err != nil {
		ed.fail(err)
		return nil
	}
	newDN, err := ed.stagedDN(r, to.id)
	if err != nil {
		ed.fail(err)
		return nil
	}
	var keys []upstreamKey
	rows := r.belongings(ed.b, at)
	for _, at := range rows[1:] {
		if row := ed.b.Row(at); row.Claim == cl.number {
			keys = append(keys, upstreamKey{cl.number, ed.e.pub.upstream(cl.number, row.UUID)})
		}
	}
	below := ed.rebased(cl, keys, oldDN.Len(), newDN)
	for _, at := range slices.Backward(rows) {
		if ed.b.Row(at).Claim == cl.number {
			ed.b.Delete(at, false)
			ed.settle()
		}
	}
	return below
}

// stagedDN reads the relative DN of a staged entry.
func (ed *edit) stagedDN(r *refresh, id dit.UUID) (dit.DN, error) {
	value, err := r.stage.Value(id)
	if err != nil {
		return dit.DN{}, err
	}
	rec, err := decodeRecord(value)
	if err != nil {
		return dit.DN{}, err
	}
	return dit.ParseDN(ed.e.schema, string(rec.rel))
}

// restamp gives staged entries that moved with their parents too the CSN of
// their last change.
func (ed *edit) restamp(r *refresh) {
	byCSN := func(a, b dit.UUID) int { return cmp.Compare(ed.bumped[a], ed.bumped[b]) }
	for _, id := range slices.SortedFunc(maps.Keys(ed.bumped), byCSN) {
		csn := ed.bumped[id]
		at, row := ed.e.row(ed.b, ed.b.Row, r.claim.number, id)
		if at == 0 || row.CSN >= csn {
			continue
		}
		value, err := r.stage.Value(id)
		if err != nil {
			ed.fail(err)
			return
		}
		row.CSN = csn
		ed.write(&row, id, value)
		ed.b.SetRow(at, row)
	}
}

// ensureGlue makes parents that no source gives, before their children get
// their CSNs.
func (ed *edit) ensureGlue(r *refresh, deleted bool) {
	for i := range r.items.n {
		it := r.items.at(i)
		if it.dead || it.hidden || (!it.late && !deleted && it.depth > 0) {
			continue
		}
		if i, ok := r.items.byDN(it.parent); ok {
			if p := r.items.at(i); !p.dead && !p.hidden {
				continue
			}
		}
		norm := r.norm(it)
		parent := string(norm[it.rdnNormLen+1:])
		if at, _ := ed.b.Find(parent); at == 0 {
			ed.e.putGlue(ed.b, r.pack.Text(it.ref))
		}
	}
}

// putStaged puts the staged entries, in the order of their ordinals; heirs are
// the UUIDs that await the name's first content, by DN.
func (ed *edit) putStaged(r *refresh, heirs map[string]dit.UUID) {
	order := r.items.sorted(byOrdinal)
	last := uint32(0)
	if len(order) > 0 {
		last = r.items.at(int(order[len(order)-1])).ordinal
	}
	ed.first = ed.e.reserve(int(last) + 1)
	ed.batch.CSN = ed.first + dit.CSN(last)
	ed.b.Adopt(r.pack)
	ed.b.Expect(len(order))
	ed.batch.Changes = slices.Grow(ed.batch.Changes, len(order))
	num, gen := r.claim.number, r.stage.Gen()
	for _, i := range order {
		it := r.items.at(int(i))
		if u, ok := heirs[string(r.norm(it))]; ok && !it.hidden {
			ed.inherit(ed.claim, it.id, u)
		}
		served, at := ed.standing(ed.claim, it.id)
		before := at != 0 || ed.claim.hidden[it.id].served
		csn := ed.first + dit.CSN(it.ordinal)
		if it.hidden {
			if at != 0 {
				ed.b.Delete(at, false)
			}
			ed.hide(ed.claim, it.id, hiddenEntry{gen: gen, hash: it.hash, csn: csn, norm: string(r.norm(it)), served: before})
			continue
		}
		ed.reveal(ed.claim, it.id)
		if ed.b.PutRef(tree.Row{UUID: served, CSN: csn, Hash: it.hash, Claim: num, Gen: gen}, r.pack, it.ref) == 0 {
			ed.fail(fmt.Errorf("entry %.200s has no place in the tree", r.norm(it)))
		}
	}
}

// commitStage makes an edit with a stage durable and publishes it.
func (e *Engine) commitStage(ed *edit, cl *claim, server string, cookie []byte, ev queue.Event) (err error) {
	if ed.err != nil {
		return ed.err
	}
	var effects []queue.Effect
	if ev != nil {
		if effects, err = e.decide(&ed.batch, ev); err != nil {
			return err
		}
		ed.batch.Records = append(ed.batch.Records, e.asideRecords(cl)...)
		revert := e.loaded(&ed.batch, cl)
		defer func() {
			if err != nil {
				revert()
			}
		}()
	}
	if err := e.writeGlue(ed); err != nil {
		e.restate()
		return err
	}
	ed.finishBatch()
	if ed.first == 0 {
		ed.first = e.reserve(1)
		ed.batch.CSN = ed.first
	}
	gen, taken := ed.stage.Gen(), cl.taken
	if ev != nil {
		taken = cl.origin()
	}
	if err = e.writeMended(); err == nil {
		err = e.outcome(e.store.CommitStage(ed.stage, cookie, taken.with(server), ed.first, &ed.batch))
	}
	if err != nil {
		e.restate()
		return err
	}
	first, aside := ev != nil && cl.gen == 0, ev != nil && e.isOffstage(cl)
	cl.gen, cl.cookie, cl.server, cl.taken, cl.damaged = gen, cookie, server, taken, false
	e.publish(ed)
	e.reapHolds()
	if first {
		e.touchAlarms("claim/" + string(cl.id))
	}
	if first && !aside {
		e.setPlaced(cl.name.Norm(), cl)
		e.renestAt(cl.name.Norm())
		if err := e.dropHeirs(cl.name.Norm()); err != nil {
			e.log.Error("UUIDs handed over are still stored", "name", cl.name.String(), "error", err)
		}
	}
	e.dropGlue(ed)
	e.act(effects)
	if ev != nil {
		e.arrived(cl, aside, first)
	}
	return nil
}
