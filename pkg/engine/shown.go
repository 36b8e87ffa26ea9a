package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// The content of a head stands in the tree, under its name; that of a claim that
// waits stays in the store, where it is at hand when the claim comes to be the head.
// Content follows the queues in steps of its own, without a refetch and under the
// UUIDs that it had. Until it has, a mark says where it stands instead of where the
// queues want it (shown/NUMBER: empty for nowhere, else the name), so that a start
// after a crash goes on from there, with CSNs and change log lines as they should be.

func shownRecord(number uint32) string { return recordShown + strconv.FormatUint(uint64(number), 10) }

func unhideMark(norm string) store.Record {
	return store.Record{Name: recordUnhide + norm, Value: []byte{1}}
}

// isShown tells whether the claim's content stands in the tree.
func (e *Engine) isShown(cl *claim) bool { return e.placed[cl.name.Norm()] == cl }

// place is where the queues want a claim's content; false for nowhere.
func (e *Engine) place(cl *claim) (name string, wanted bool) {
	qc := e.state.Claims[cl.id]
	return qc.Name, cl.gen > 0 && e.state.Names[qc.Norm].Head() == cl.id
}

// successor is the claim whose content is to take the place of what stands under the
// name of cl; nil where that stays, or where there is none.
func (e *Engine) successor(cl *claim) *claim {
	norm := cl.name.Norm()
	n := e.state.Names[norm]
	if n == nil || !e.isShown(cl) {
		return nil
	}
	if qc := e.state.Claims[cl.id]; qc != nil && e.claims[cl.id] == cl && (qc.Norm != norm || n.Head() == cl.id) {
		return nil // it goes elsewhere, or stays
	}
	if head := e.claims[n.Head()]; head != nil && head.gen > 0 {
		return head
	}
	return nil
}

// isMisplaced tells whether a claim's content does not stand where the queues
// want it.
func (e *Engine) isMisplaced(cl *claim) bool {
	name, wanted := e.place(cl)
	shown := e.isShown(cl)
	return shown != wanted || shown && name != cl.name.String()
}

// shownMark says where a claim's content stands now.
func (e *Engine) shownMark(cl *claim) store.Record {
	value := []byte{}
	if e.isShown(cl) {
		value = []byte(cl.name.String())
	}
	return store.Record{Name: shownRecord(cl.number), Value: value}
}

// loadShown finds out whose content stands in the tree, and where.
func (e *Engine) loadShown() error {
	marks := map[uint32]string{}
	var stale []store.Record
	err := e.store.Records(recordShown, func(name string, value []byte) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(name, recordShown), 10, 32)
		if err != nil || e.byNum[uint32(n)] == nil {
			stale = append(stale, store.Record{Name: strings.Clone(name)})
			return nil
		}
		marks[uint32(n)] = string(value)
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range e.claimIDs() {
		cl := e.claims[id]
		at, marked := marks[cl.number]
		if !marked {
			if _, wanted := e.place(cl); wanted {
				e.setPlaced(cl.name.Norm(), cl)
			}
			continue
		}
		e.marked = append(e.marked, cl)
		if at == "" || cl.gen == 0 {
			continue
		}
		name, err := dit.ParseDN(e.schema, at)
		if err != nil {
			e.log.Error("where content stood cannot be read: it goes where the queues want it", "claim", cl.id, "error", err)
			continue
		}
		cl.name = name
		e.setPlaced(cl.name.Norm(), cl)
	}
	for norm, l := range e.lingering {
		if l.cl.gen > 0 && e.placed[norm] == nil {
			e.setPlaced(norm, l.cl)
		} else {
			e.overdue = append(e.overdue, queue.LingerEnded{Norm: norm})
		}
	}
	for _, cl := range e.claims {
		if cl.gen > 0 && !e.isShown(cl) {
			if err := e.hold(cl); err != nil {
				return err
			}
		}
	}
	return e.writeLater(stale)
}

// resettle brings the content of claims where the queues want it. Those whose place
// is free go first; where names are swapped, one steps aside.
func (e *Engine) resettle(list []*claim) {
	depth := func(cl *claim) int { return strings.Count(e.state.Claims[cl.id].Norm, ",") }
	left := slices.Clone(list)
	slices.SortFunc(left, func(a, b *claim) int { return cmp.Or(cmp.Compare(depth(a), depth(b)), cmp.Compare(a.id, b.id)) })
	for len(left) > 0 {
		before := len(left)
		left = slices.DeleteFunc(left, func(cl *claim) bool {
			if !e.isMisplaced(cl) {
				return true
			}
			_, wanted := e.place(cl)
			if other := e.placed[e.state.Claims[cl.id].Norm]; wanted && other != nil && other != cl {
				return e.successor(other) == cl && e.replace(cl, other)
			}
			if next := e.successor(cl); next != nil {
				return e.replace(next, cl)
			}
			e.replant(cl, wanted)
			return true
		})
		if len(left) == before {
			aside := slices.IndexFunc(left, e.isShown)
			if aside < 0 || !e.replant(left[aside], false) {
				e.log.Error("content cannot go where the queues want it", "claims", len(left))
				return
			}
		}
	}
}

// replant takes a claim's content out of the tree, if it is there, and puts it
// under the claim's name, if it is wanted there: one step in store and tree.
func (e *Engine) replant(cl *claim, wanted bool) bool {
	name, err := dit.ParseDN(e.schema, e.state.Claims[cl.id].Name)
	if err == nil {
		err = e.failed
	}
	if err == nil {
		err = e.transplant(cl, name, wanted)
	}
	return e.stands(cl, err)
}

// replace puts a claim's content in the place of another's.
func (e *Engine) replace(cl, old *claim) bool {
	err := e.failed
	if err == nil {
		err = e.succeed(cl, old)
	}
	e.stands(cl, err)
	return true
}

func (e *Engine) stands(cl *claim, err error) bool {
	if err != nil {
		e.log.Error("content does not stand where the queues want it; the next start tries again",
			"claim", cl.id, "name", e.state.Claims[cl.id].Name, "error", err)
	}
	return err == nil
}

func (e *Engine) transplant(cl *claim, to dit.DN, wanted bool) (err error) {
	ed := e.edit(cl)
	from, shown := cl.name, e.isShown(cl)
	unhide := shown && e.hides(from.Norm())
	ed.takeOutClaim(cl)
	ed.claim = cl
	hidden, under, inner, damaged := cl.hidden, cl.under, cl.inner, cl.damaged
	if shown {
		e.unplace(from.Norm())
	}
	cl.name, cl.hidden, cl.under = to, nil, nil
	defer func() {
		if err != nil {
			ed.abandon()
			cl.name, cl.hidden, cl.under, cl.inner = from, hidden, under, inner
			if shown {
				e.setPlaced(from.Norm(), cl)
			}
		}
	}()
	ed.batch.Records = []store.Record{{Name: shownRecord(cl.number)}}
	if wanted {
		ed.batch.Records = append(ed.batch.Records, store.Record{Name: unservedRecord(cl.number)})
	}
	if _, stays := e.place(cl); stays && !wanted { // it steps aside
		ed.batch.Records[0] = e.shownMark(cl)
	}
	if unhide {
		ed.batch.Records = append(ed.batch.Records, unhideMark(from.Norm()))
	}
	if wanted {
		err = e.plant(ed, cl)
		cl.damaged = cl.damaged || damaged
	} else {
		err = e.commitUprooted(ed)
	}
	if err != nil {
		return err
	}
	if wanted {
		e.setPlaced(to.Norm(), cl)
		cl.unserved = false
		delete(e.emptied, to.Norm())
	} else if err := e.hold(cl); err != nil {
		return err
	}
	if n := e.state.Names[from.Norm()]; shown && n != nil && e.placed[from.Norm()] == nil {
		e.emptied[from.Norm()] = true
		e.touchAlarms("claim/" + string(n.Head()))
	}
	cl.nesting++
	e.renestAt(from.Norm())
	e.renestAt(to.Norm())
	if unhide {
		e.bringBack(from.Norm())
	}
	return nil
}

// hold notes the entries of a claim whose content is in the store alone. Those that were
// served keep their UUIDs.
func (e *Engine) hold(cl *claim) error {
	cl.hidden, cl.under, cl.inner = nil, nil, []string{cl.name.Norm()}
	_, err := e.readContent(cl, nil)
	return err
}

// takeOutClaim takes a claim's content out of the tree; it stays in the store.
func (ed *edit) takeOutClaim(cl *claim) {
	if !ed.e.isShown(cl) {
		return
	}
	ed.claim = cl
	if top, _ := ed.b.Find(cl.name.Norm()); top != 0 {
		var rows []tree.ID
		ed.b.Walk(top, func(id tree.ID) {
			if ed.b.Row(id).Claim == cl.number {
				rows = append(rows, id)
			}
		})
		for _, at := range slices.Backward(rows) {
			ed.b.Delete(at, false)
		}
	}
	ed.settle()
	clear(ed.deletes)
}

func (e *Engine) commitUprooted(ed *edit) error {
	if err := e.glueAhead(ed); err != nil {
		return err
	}
	ed.finishBatch()
	if err := e.commit(&ed.batch); err != nil {
		return err
	}
	e.publish(ed)
	if ed.ahead {
		e.dropGlue(ed)
	}
	return nil
}

// plant puts a claim's stored content into the tree under its name. Its entries get
// new CSNs, which the store has to know too.
func (e *Engine) plant(ed *edit, cl *claim) (err error) {
	cl.inner = e.innerNames(cl)
	entries, err := e.readContent(cl, e.o.Index)
	if err != nil {
		return err
	}
	sortLoaded(entries)
	stage, err := e.store.Stage(cl.number)
	if err != nil {
		return err
	}
	done := false
	defer discardUnless(&done, stage, &err)
	ed.stage = stage
	ed.hideOuter(cl.name)
	if err := ed.glueFor(entries); err != nil {
		return err
	}
	ordinals := ed.plantEntries(cl, entries)
	if ed.err != nil {
		return ed.err
	}
	err = e.store.Entries(cl.number, func(it store.Item) error {
		if n, ok := ordinals[it.UUID]; ok {
			return stage.Put(it.UUID, n, it.Value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = e.commitStage(ed, cl, cl.server, cl.cookie, nil)
	done = err == nil
	return err
}

// glueFor makes parents that are not among the entries, before their children get
// their CSNs.
func (ed *edit) glueFor(entries []*loadedEntry) error {
	there := make(map[uint64]bool, len(entries))
	for _, le := range entries {
		there[le.dn] = true
	}
	for _, le := range entries {
		if there[le.parent] {
			continue
		}
		text := le.pack.Text(le.ref)
		dn, err := dit.ParseDN(ed.e.schema, string(text))
		if err != nil {
			return err
		}
		if at, _ := ed.b.Find(dn.Parent().Norm()); at == 0 {
			ed.e.putGlue(ed.b, text)
		}
	}
	ed.settle()
	return nil
}

// plantEntries puts a claim's entries into the tree, in their order, and gives the
// ordinals of their CSNs in the stage.
func (ed *edit) plantEntries(cl *claim, entries []*loadedEntry) map[dit.UUID]uint32 {
	ed.first = ed.e.reserve(max(1, len(entries)))
	ed.batch.CSN = ed.first + dit.CSN(max(1, len(entries))-1)
	adoptLoaded(ed.b, entries)
	ordinals := make(map[dit.UUID]uint32, len(entries))
	for i, le := range entries {
		served, at := ed.publishAs(cl, le.id)
		if served != le.id {
			ed.e.pub.set(cl.number, le.id, served) // another claim's entry may have borne it meanwhile
		}
		row := le.row
		row.UUID, row.CSN, row.Gen = served, ed.first+dit.CSN(i), ed.stage.Gen()
		if at != 0 || ed.b.PutRef(row, le.pack, le.ref) == 0 {
			ed.fail(fmt.Errorf("entry %.200s has no place in the tree", le.pack.Text(le.ref)))
		}
		ordinals[le.id] = uint32(i)
	}
	ed.settle()
	return ordinals
}

// engage follows a head, and a claim that waits where its content is wanted; else it probes that.
func (e *Engine) engage(id queue.ClaimID) {
	cl, qc := e.claims[id], e.state.Claims[id]
	if cl == nil || qc == nil {
		return
	}
	if e.isFollowed(cl, qc) {
		e.follow(cl)
	} else {
		e.probe(cl)
	}
}
