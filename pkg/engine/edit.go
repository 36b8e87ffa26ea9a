package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// edit is one step from a version of the tree to the next, with what it means
// to the store. It belongs to the engine goroutine.
type edit struct {
	e     *Engine
	b     *tree.Builder
	claim *claim // whose content is being changed just now
	own   tree.ID
	mark  int // changes of the builder that were settled

	batch    store.Batch
	puts     map[upstreamKey]store.Put
	deletes  map[upstreamKey]bool
	glue     map[dit.UUID][]byte  // records of own entries; nil: gone
	refresh  *refresh             // when it is one
	succeeds *claim               // whose content is replaced by the claim's, see succession
	stage    *store.Stage         // where content goes, when it is more than a batch
	first    dit.CSN              // of the stage's ordinals
	bumped   map[dit.UUID]dit.CSN // staged entries that moved, when last
	ahead    bool                 // own entries are written before it
	hides    []func()             // done when published
	aside    map[dit.UUID]bool    // UUIDs of what this edit hides
	asides   []*claim             // with entries that were served and come back; nil: not looked up
	undo     []func()             // done in reverse order when the edit is abandoned
	err      error                // what makes the edit impossible
}

func (e *Engine) edit(cl *claim) *edit {
	ed := &edit{
		e: e, b: e.newest.Edit(), claim: cl,
		puts: map[upstreamKey]store.Put{}, deletes: map[upstreamKey]bool{},
		glue: map[dit.UUID][]byte{},
	}
	ed.b.NextCSN = e.nextCSN
	ed.b.Glue = func(dn dit.DN) (tree.Row, tree.Value) { return e.glue(ed.b, dn) }
	return ed
}

// settle goes through what the builder did since the last call: the change
// log's lines, and what has to be written or removed in consequence.
func (ed *edit) settle() {
	changes := ed.b.Changes()
	for ; ed.mark < len(changes); ed.mark++ {
		ch := changes[ed.mark]
		if ed.respelled(ch) {
			continue
		}
		ed.batch.Changes = append(ed.batch.Changes, store.Change{
			CSN: ch.Row.CSN, Kind: store.ChangeKind(ch.Kind), UUID: ch.Row.UUID, DN: ch.OldDN,
		})
		switch {
		case ch.Row.Claim == 0:
			ed.settleGlue(ch)
		case ch.Kind == tree.Deleted:
			ed.settleDeleted(ch)
		case ch.Kind == tree.Modified && ch.OldDN != "" && ch.ID != ed.own:
			ed.settleMoved(ch)
		}
	}
}

// respelled tells whether a change is that a name above another claim's entry is written
// otherwise now: what is stored of that one does not hold it, and it stays as it was.
func (ed *edit) respelled(ch tree.Change) bool {
	owner := ed.e.byNum[ch.Row.Claim]
	if ch.Kind != tree.Modified || ch.OldDN == "" || owner == nil || owner == ed.claim {
		return false
	}
	ed.batch.CSN = max(ed.batch.CSN, ch.Row.CSN) // it is taken all the same
	was := ed.e.newest.Row(ed.e.newest.ByUUID(ch.Row.UUID)).CSN
	if put, ok := ed.puts[upstreamKey{owner.number, ed.e.pub.upstream(owner.number, ch.Row.UUID)}]; ok {
		was = put.CSN
	}
	if at := ed.b.ByUUID(ch.Row.UUID); at != 0 {
		row := ed.b.Row(at)
		row.CSN = was
		ed.b.SetRow(at, row)
	}
	return true
}

func (ed *edit) settleGlue(ch tree.Change) {
	if ch.Kind == tree.Deleted {
		ed.glue[ch.Row.UUID] = nil
		return
	}
	ed.glue[ch.Row.UUID] = ownRecord(ed.b.Entry(ch.ID))
}

// settleDeleted removes the content behind a row that went; a row of another
// claim was only hidden.
func (ed *edit) settleDeleted(ch tree.Change) {
	row := ch.Row
	id := ed.e.pub.upstream(row.Claim, row.UUID)
	if ed.succeeds != nil && row.Claim == ed.succeeds.number {
		return // what is stored of it stays, or goes by itself
	}
	if row.Claim != ed.claim.number {
		owner := ed.e.byNum[row.Claim]
		if owner != nil {
			h := hiddenEntry{gen: row.Gen, hash: row.Hash, csn: row.CSN, served: true}
			if dn, err := dit.ParseDN(ed.e.schema, ch.OldDN); err == nil {
				h.norm = dn.Norm()
			}
			if ed.aside == nil {
				ed.aside = map[dit.UUID]bool{}
			}
			ed.aside[row.UUID] = true
			ed.hides = append(ed.hides, func() {
				owner.nesting++
				owner.hide(id, h)
			})
		}
		return
	}
	key := upstreamKey{row.Claim, id}
	if ed.stage == nil {
		delete(ed.puts, key)
		ed.deletes[key] = true
		return
	}
	if !ed.staged(id) {
		ed.fail(ed.stage.Delete(id))
	}
}

func (ed *edit) staged(id dit.UUID) bool {
	if ed.refresh == nil {
		return false
	}
	_, came := ed.refresh.items.byID(id)
	return came
}

// settleMoved rewrites the stored DN of an entry that moved with its parent.
func (ed *edit) settleMoved(ch tree.Change) {
	row := ed.b.Row(ch.ID)
	owner := ed.e.byNum[row.Claim]
	id := ed.e.pub.upstream(row.Claim, row.UUID)
	if owner == nil {
		return
	}
	if ed.staged(id) {
		if ed.bumped == nil {
			ed.bumped = map[dit.UUID]dit.CSN{}
		}
		ed.bumped[id] = max(ed.bumped[id], ch.Row.CSN)
		return
	}
	value, err := ed.stored(upstreamKey{row.Claim, id})
	if err != nil {
		ed.fail(err)
		return
	}
	rec, err := decodeRecord(value)
	if err != nil {
		ed.fail(fmt.Errorf("entry %s of claim %s: %w", id, owner.id, err))
		return
	}
	rec.setRel(relativeText(ed.b.Entry(ch.ID).DN(), owner.name))
	row.Hash = rec.hash
	ed.write(&row, id, rec.append(nil))
	ed.b.SetRow(ch.ID, row)
}

// write stores an entry's record where this edit's content goes; it sets the
// row's generation.
func (ed *edit) write(row *tree.Row, id dit.UUID, value []byte) {
	key := upstreamKey{row.Claim, id}
	if ed.stage == nil {
		delete(ed.deletes, key)
		ed.puts[key] = store.Put{Claim: row.Claim, UUID: id, Gen: row.Gen, CSN: row.CSN, Value: value}
		return
	}
	row.Gen = ed.stage.Gen()
	ed.fail(ed.stage.Put(id, uint32(row.CSN-ed.first), value))
}

// stored reads a record, this edit's own writes included.
func (ed *edit) stored(key upstreamKey) ([]byte, error) {
	if p, ok := ed.puts[key]; ok {
		return p.Value, nil
	}
	item, err := ed.e.store.Entry(key.claim, key.id)
	if err != nil {
		return nil, err
	}
	if item == nil {
		return nil, fmt.Errorf("entry %s is not in the store", key.id)
	}
	return item.Value, nil
}

func (ed *edit) fail(err error) {
	if ed.err == nil {
		ed.err = err
	}
}

// hide keeps an entry beside the tree; reveal takes it from there.
func (ed *edit) hide(cl *claim, id dit.UUID, h hiddenEntry) {
	ed.restoreHidden(cl, id)
	cl.hide(id, h)
}

func (ed *edit) reveal(cl *claim, id dit.UUID) {
	if _, hidden := cl.hidden[id]; hidden {
		ed.restoreHidden(cl, id)
		cl.unhide(id)
	}
}

// restoreHidden has an abandoned edit put back what was hidden.
func (ed *edit) restoreHidden(cl *claim, id dit.UUID) {
	h, had := cl.hidden[id]
	ed.undo = append(ed.undo, func() {
		if had {
			cl.hide(id, h)
		} else {
			cl.unhide(id)
		}
	})
}

// abandon takes back what the edit changed outside its builder and batch.
func (ed *edit) abandon() {
	for _, undo := range slices.Backward(ed.undo) {
		undo()
	}
	ed.undo = nil
}

// relativeText is the part of a local DN's text left of the name.
func relativeText(dn []byte, name dit.DN) []byte {
	n := len(dn) - len(name.String()) - 1
	if n <= 0 {
		return nil
	}
	return bytes.Clone(dn[:n])
}

// finishBatch puts the batch together: changes in the order of their CSNs.
func (ed *edit) finishBatch() {
	slices.SortStableFunc(ed.batch.Changes, func(a, b store.Change) int { return cmp.Compare(a.CSN, b.CSN) })
	if n := len(ed.batch.Changes); n > 0 {
		ed.batch.CSN = max(ed.batch.CSN, ed.batch.Changes[n-1].CSN)
	}
	for key := range ed.deletes {
		ed.batch.Deletes = append(ed.batch.Deletes, store.Key{Claim: key.claim, UUID: key.id})
	}
	for _, put := range ed.puts {
		ed.batch.Puts = append(ed.batch.Puts, put)
	}
	if ed.stage == nil && !ed.ahead {
		ed.batch.Records = append(ed.batch.Records, ed.glueRecords(true)...)
		ed.batch.Records = append(ed.batch.Records, ed.glueRecords(false)...)
	}
}

// publish makes the edit's version the one that is served, or will be when the
// steps that show as one are all done (see together).
func (e *Engine) publish(ed *edit) {
	now := dit.CSNAt(e.o.Now())
	for _, ch := range ed.b.Changes() {
		cl := e.byNum[ch.Row.Claim]
		if cl == nil {
			continue
		}
		switch ch.Kind {
		case tree.Added:
			cl.entries++
		case tree.Deleted:
			cl.entries--
		}
		cl.touched(min(ch.Row.CSN, now)) // the sequence may be ahead of the clock
	}
	for _, hide := range ed.hides {
		hide()
	}
	ed.b.SetCSN(ed.batch.CSN)
	e.newest = ed.b.Done()
	e.show()
}

// show publishes the newest version.
func (e *Engine) show() {
	if !e.together {
		e.version.Store(e.newest)
		e.announce()
	}
}
