package engine

import (
	"fmt"
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// commitGroup applies what sessions brought in their persist stages, as few
// commits as the store's bounds allow. A change that cannot be applied ends its
// session, which comes again with the last durable cookie.
func (e *Engine) commitGroup(group []change) error {
	if e.failed != nil {
		return e.failed
	}
	g := e.newGroup()
	for i := range group {
		c := &group[i]
		w := g.ed.weight(c)
		if w.plus(g.weight).tooBig() {
			if err := g.commit(); err != nil {
				return err
			}
			g = e.newGroup()
		}
		if c.stale() {
			continue
		}
		if c.op == opDelete && g.tooMany(c) {
			if err := g.commit(); err != nil {
				return err
			}
			if g = e.newGroup(); !c.stale() {
				e.again(c.claim)
			}
			continue
		}
		if !w.tooBig() {
			g.add(c, w)
			continue
		}
		if err := e.commitBig(c); err != nil {
			return err
		}
		g = e.newGroup()
	}
	return g.commit()
}

// stale tells whether the session that brought the change has ended: what it
// builds on may not have been applied, and it comes again by the cookie.
func (c *change) stale() bool { return c.feed != nil && c.feed != c.claim.feed }

// group is changes of several claims going into one commit.
type group struct {
	e       *Engine
	ed      *edit
	weight  weight
	changes []*change
	claims  []*claim
	cookies map[*claim]*change
}

func (e *Engine) newGroup() *group {
	return &group{e: e, ed: e.edit(nil), cookies: map[*claim]*change{}}
}

func (g *group) add(c *change, w weight) {
	if !slices.Contains(g.claims, c.claim) {
		g.claims = append(g.claims, c.claim)
	}
	g.changes = append(g.changes, c)
	g.weight = g.weight.plus(w)
	g.ed.claim = c.claim
	if c.op == opCookie {
		g.cookies[c.claim] = c
		return
	}
	g.ed.apply(c)
}

func (g *group) commit() error {
	e, ed := g.e, g.ed
	if ed.err == nil {
		ed.fail(e.glueAhead(ed))
	}
	if ed.err != nil {
		return g.apart()
	}
	ed.finishBatch()
	for cl, c := range g.cookies {
		ed.batch.Cookies = append(ed.batch.Cookies, store.Claim{ID: cl.number, Cookie: c.cookie, Server: cl.taken.with(c.server)})
	}
	b := &ed.batch
	if len(b.Puts)+len(b.Deletes)+len(b.Cookies)+len(b.Changes) == 0 {
		return nil
	}
	if ed.fail(e.commit(b)); ed.err != nil {
		return g.apart()
	}
	for cl, c := range g.cookies {
		cl.cookie, cl.server = c.cookie, c.server
	}
	for _, c := range g.changes {
		e.went(c)
	}
	if b.CSN > e.newest.CSN() || len(ed.hides) > 0 {
		e.publish(ed)
	}
	if ed.ahead {
		e.dropGlue(ed)
	}
	return nil
}

// apart deals with a group that cannot be applied: each claim's changes are
// tried alone, so that only the session that brought the bad one begins again.
func (g *group) apart() error {
	g.ed.abandon()
	if g.e.failed != nil {
		return g.e.failed
	}
	if len(g.claims) == 1 {
		g.e.refollow(g.claims[0], g.ed.err)
		return nil
	}
	for _, cl := range g.claims {
		alone := g.e.newGroup()
		for _, c := range g.changes {
			if c.claim == cl && !c.stale() {
				alone.add(c, weight{})
			}
		}
		if err := alone.commit(); err != nil {
			return err
		}
	}
	return nil
}

// commitBig applies one change that is too big for a batch, a move or a delete
// of a large subtree, as a stage of its own: one step all the same.
func (e *Engine) commitBig(c *change) error {
	ed := e.edit(c.claim)
	stage, err := e.store.Stage(c.claim.number)
	if err == nil {
		ed.stage, ed.first = stage, e.reserve(1)
		ed.apply(c)
		err = e.commitStage(ed, c.claim, c.claim.server, c.claim.cookie, nil)
	}
	if err = e.outcome(err); err == nil {
		e.went(c)
		return nil
	}
	if e.failed != nil {
		return err
	}
	ed.abandon()
	e.refollow(c.claim, err)
	if stage != nil {
		return stage.Discard()
	}
	return nil
}

// weight is about what a change costs a commit.
type weight struct{ records, bytes int }

func (w weight) plus(o weight) weight { return weight{w.records + o.records, w.bytes + o.bytes} }

func (w weight) tooBig() bool { return w.records > maxGroup || w.bytes > maxGroupBytes }

// weight of a change: a move writes what is below anew, in the upstream's form,
// which may be longer than the served one.
func (ed *edit) weight(c *change) weight {
	if c.op == opCookie {
		return weight{0, c.size()}
	}
	w := weight{1, c.size()}
	at, row := ed.e.row(ed.b, ed.b.Row, c.claim.number, c.id)
	if at == 0 || (c.op == opPut && row.Hash == c.hash) {
		return w
	}
	if c.op == opPut {
		if there, _ := ed.b.Find(string(c.norm)); there == at {
			return w
		}
	}
	ed.b.Walk(at, func(id tree.ID) {
		w.records++
		if c.op == opPut && !w.tooBig() {
			below := ed.b.Entry(id)
			w.bytes += 4 * (160 + len(below.DN()) + len(below.User()) + len(below.Oper()))
		}
	})
	return w
}

// apply does one change to the tree and says what it means to the store.
func (ed *edit) apply(c *change) {
	ed.own = 0
	if c.op == opPut {
		ed.put(c)
	} else {
		ed.remove(c.id)
	}
	ed.settle()
}

func (ed *edit) put(c *change) {
	cl := c.claim
	if !cl.overlapped() {
		ed.place(c)
		return
	}
	rec, err := decodeRecord(c.record)
	if err != nil {
		ed.fail(err)
		return
	}
	below := ed.lift(cl, c.id, rec.rel)
	ed.place(c)
	ed.placeAll(below)
}

// place puts one entry where it belongs: into the tree, or beside it where an
// inner name hides it.
func (ed *edit) place(c *change) {
	cl := c.claim
	served, at := ed.standing(cl, c.id)
	row := tree.Row{UUID: served, Hash: c.hash, Claim: cl.number, Gen: cl.gen}
	before := false
	if at != 0 {
		old := ed.b.Row(at)
		if old.Hash == c.hash {
			return
		}
		row.Gen = old.Gen
	}
	if h, ok := cl.hidden[c.id]; ok {
		if h.hash == c.hash && hiddenBy(cl.inner, c.norm) {
			return
		}
		row.Gen, before = h.gen, h.served
		ed.reveal(cl, c.id)
	}
	if hiddenBy(cl.inner, c.norm) {
		if at != 0 {
			ed.b.Delete(at, false)
			ed.settle()
			before = true
		}
		row.CSN = ed.e.nextCSN()
		ed.batch.CSN = max(ed.batch.CSN, row.CSN)
		ed.write(&row, c.id, c.record)
		ed.hide(cl, c.id, hiddenEntry{gen: row.Gen, hash: c.hash, csn: row.CSN, norm: string(c.norm), served: before})
		return
	}
	ed.own = ed.b.Put(row, c.value())
	if ed.own == 0 {
		ed.fail(fmt.Errorf("entry %.200s has no place in the tree", c.text))
		return
	}
	ed.settle()
	row = ed.b.Row(ed.own)
	ed.write(&row, c.id, c.record)
	ed.b.SetRow(ed.own, row)
}

// remove takes an entry out, with what is still below it where the claim takes
// whole subtrees: an upstream that moves one out of the scope names its top only.
func (ed *edit) remove(id dit.UUID) {
	cl := ed.claim
	at, _ := ed.e.row(ed.b, ed.b.Row, cl.number, id)
	for _, below := range ed.hiddenWith(cl, id, at) {
		ed.dropHidden(below)
	}
	if at == 0 {
		return
	}
	rows := []tree.ID{at}
	if cl.wholeSubtrees() {
		rows = rows[:0]
		ed.b.Walk(at, func(id tree.ID) {
			if ed.b.Row(id).Claim == cl.number {
				rows = append(rows, id)
			}
		})
	}
	for _, at := range slices.Backward(rows) {
		ed.b.Delete(at, false)
	}
}

// dropHidden removes a hidden entry from the store.
func (ed *edit) dropHidden(id dit.UUID) {
	cl := ed.claim
	ed.reveal(cl, id)
	if ed.stage == nil {
		delete(ed.puts, upstreamKey{cl.number, id})
		ed.deletes[upstreamKey{cl.number, id}] = true
		return
	}
	if !ed.staged(id) {
		ed.fail(ed.stage.Delete(id))
	}
}
