package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// succession puts one claim's stored content in the place of another's (R28, R30, R41): an
// entry at the same DN in both keeps its UUID, and where it says the same
// nothing becomes of it at all. One step in the store, and one version.
type succession struct {
	ed       *edit
	cl, old  *claim
	conv     *converter
	pack     *tree.Pack
	kept     map[dit.UUID]keptEntry // by the upstream's UUID
	fresh    []*loadedEntry         // to be put
	replaced map[dit.UUID]dit.UUID  // of fresh, those that take an entry's place, and what that is served as
	respelt  bool                   // the name is written otherwise: every entry has another DN in text
	stays    map[tree.ID]bool       // rows of old whose DN the claim has too
	was      map[dit.UUID]hiddenEntry
	bad      int
}

// keptEntry is an entry that is served as it was.
type keptEntry struct {
	at   tree.ID
	hash uint64
	oper dit.Run // to be stored with it; nil: what is
}

// succeed puts a claim's content where its name shows that of another, which waits
// from now on, or goes.
func (e *Engine) succeed(cl, old *claim) error {
	to, err := dit.ParseDN(e.schema, e.state.Claims[cl.id].Name)
	if err != nil {
		return err
	}
	norm := to.Norm()
	if e.isShown(cl) { // elsewhere
		if err := e.transplant(cl, to, false); err != nil {
			return err
		}
	}
	s := &succession{
		ed: e.edit(cl), cl: cl, old: old, pack: tree.NewPack(e.schema, e.o.Index, e.o.Memory), kept: map[dit.UUID]keptEntry{},
		replaced: map[dit.UUID]dit.UUID{}, stays: map[tree.ID]bool{}, was: map[dit.UUID]hiddenEntry{},
		respelt: to.String() != old.name.String(),
	}
	name, hidden, under, inner, damaged := cl.name, cl.hidden, cl.under, cl.inner, cl.damaged
	cl.name, cl.hidden, cl.under = to, nil, nil
	cl.inner = e.innerNames(cl)
	if err := s.commit(); err != nil {
		s.ed.abandon()
		cl.name, cl.hidden, cl.under, cl.inner = name, hidden, under, inner
		return err
	}
	if s.bad > 0 {
		cl.cookie = nil
	}
	cl.damaged = damaged || s.bad > 0
	e.setPlaced(norm, cl)
	delete(e.emptied, norm)
	e.pub.drop(old.number)
	cl.unserved = false
	cl.entries, old.entries = len(s.kept)+len(s.fresh), 0
	for id, h := range old.hidden {
		s.was[id] = h
	}
	for id, h := range s.was { // its UUIDs are not its own any more
		h.served = false
		old.hide(id, h)
	}
	old.unserved = true
	cl.nesting++
	old.nesting++
	e.renestAt(norm)
	e.touchAlarms("claim/" + string(cl.id))
	if l := e.lingering[norm]; l != nil && l.cl == old {
		n := e.state.Names[norm]
		e.promoted(n, l, TaskDone, fmt.Sprintf("%s shows the content of %s: %d entries the same, %d that differ", n.Text, cl.id, len(s.kept), len(s.fresh)))
		e.endLinger(decisions{events: []queue.Event{queue.LingerEnded{Norm: norm}}})
	}
	return nil
}

// commit does it in the tree and the store.
func (s *succession) commit() (err error) {
	e, ed := s.ed.e, s.ed
	if s.conv, err = storedConverter(e.schema, s.cl); err != nil {
		return err
	}
	if err := s.compare(); err != nil {
		return err
	}
	stage, err := e.store.Stage(s.cl.number)
	if err != nil {
		return err
	}
	done := false
	defer discardUnless(&done, stage, &err)
	ed.stage, ed.succeeds = stage, s.old
	s.takeOut()
	if err := ed.glueFor(s.fresh); err != nil {
		return err
	}
	s.keep()
	ordinals := s.put()
	if ed.err != nil {
		return ed.err
	}
	if err := s.write(ordinals); err != nil {
		return err
	}
	ed.batch.Published = append(ed.batch.Published, e.pub.lines(s.old.number)...)
	ed.batch.Records = []store.Record{
		{Name: shownRecord(s.cl.number)}, {Name: shownRecord(s.old.number)}, {Name: unservedRecord(s.cl.number)},
		{Name: unservedRecord(s.old.number), Value: []byte{1}},
	}
	err = e.commitStage(ed, s.cl, s.cl.server, s.cl.cookie, nil)
	done = err == nil
	return err
}

// discardUnless discards a stage of which the end was not reached, by an error or a panic.
func discardUnless(done *bool, stage *store.Stage, err *error) {
	if !*done {
		*err = cmp.Or(*err, stage.Discard())
	}
}

// compare reads what the claim has stored, and holds it against what is served.
func (s *succession) compare() error {
	e, b := s.ed.e, s.ed.b
	err := e.store.Entries(s.cl.number, func(it store.Item) error {
		rec, err := decodeRecord(it.Value)
		if err == nil {
			err = s.conv.restore(rec)
		}
		if err != nil {
			s.bad++
			return nil
		}
		norm := string(s.conv.norm)
		if hiddenBy(s.cl.inner, s.conv.norm) {
			s.cl.hide(it.UUID, hiddenEntry{gen: it.Gen, hash: rec.hash, csn: it.CSN, norm: norm})
			return nil
		}
		at, _ := b.Find(norm)
		if at != 0 && b.Row(at).Claim == s.old.number {
			s.stays[at] = !s.respelt
			if same, oper := s.conv.serves(b.Entry(at)); same && !s.respelt {
				s.kept[it.UUID] = keptEntry{at: at, hash: rec.hash, oper: oper}
				return nil
			}
			s.replaced[it.UUID] = b.Row(at).UUID
		}
		ref := s.pack.Add(tree.Value{Norm: s.conv.norm, Text: s.conv.text, RDNLen: s.conv.rdnLen, User: s.conv.user, Oper: s.conv.oper})
		le := &loadedEntry{pack: s.pack, ref: ref, depth: s.cl.name.Len() + s.conv.depth, id: it.UUID, dn: xxhash.Sum64(s.conv.norm)}
		le.row = tree.Row{CSN: it.CSN, Hash: rec.hash, Claim: s.cl.number}
		if i := bytes.IndexByte(s.conv.norm, ','); i >= 0 {
			le.parent = xxhash.Sum64(s.conv.norm[i+1:])
		}
		s.fresh = append(s.fresh, le)
		return nil
	})
	if s.bad > 0 {
		e.log.Error("stored entries are malformed: all is fetched again", "claim", s.cl.id, "entries", s.bad)
	}
	sortLoaded(s.fresh)
	return err
}

// takeOut removes what the other claim alone has, deepest first. Its UUIDs are free.
func (s *succession) takeOut() {
	ed, num := s.ed, s.old.number
	var gone []tree.ID
	if top, _ := ed.b.Find(s.old.name.Norm()); top != 0 {
		ed.b.Walk(top, func(at tree.ID) {
			row := ed.b.Row(at)
			if row.Claim != num {
				return
			}
			id := ed.e.pub.upstream(num, row.UUID)
			s.was[id] = hiddenEntry{gen: row.Gen, hash: row.Hash, csn: row.CSN, norm: ed.b.Norm(at)}
			if !s.stays[at] {
				gone = append(gone, at)
			}
		})
	}
	for _, at := range slices.Backward(gone) {
		ed.b.Delete(at, false)
	}
	ed.settle()
}

// keep hands the rows of entries that say the same to the claim.
func (s *succession) keep() {
	for id, k := range s.kept {
		row := s.ed.b.Row(k.at)
		row.Claim, row.Hash, row.Gen = s.cl.number, k.hash, s.ed.stage.Gen()
		s.ed.b.SetRow(k.at, row)
		s.ed.serveAs(s.cl, id, row.UUID)
	}
}

// put puts the others in the order of their CSNs, and gives those as ordinals.
func (s *succession) put() map[dit.UUID]uint32 {
	ed, n := s.ed, max(1, len(s.fresh))
	ed.first = ed.e.reserve(n)
	if len(s.fresh) > 0 {
		ed.batch.CSN = ed.first + dit.CSN(n-1)
		ed.b.Adopt(s.pack)
	}
	if ed.aside == nil {
		ed.aside = map[dit.UUID]bool{}
	}
	for id, served := range s.replaced {
		ed.serveAs(s.cl, id, served)
		ed.aside[served] = true // for no other entry
	}
	ordinals := make(map[dit.UUID]uint32, len(s.fresh))
	for i, le := range s.fresh {
		row := le.row
		row.CSN, row.Gen = ed.first+dit.CSN(i), ed.stage.Gen()
		if served, takes := s.replaced[le.id]; takes {
			row.UUID = served
		} else {
			served, at := ed.publishAs(s.cl, le.id)
			if row.UUID = served; at != 0 {
				ed.fail(fmt.Errorf("entry %.200s is served already", s.pack.Text(le.ref)))
			}
		}
		if ed.b.PutRef(row, le.pack, le.ref) == 0 {
			ed.fail(fmt.Errorf("entry %.200s has no place in the tree", s.pack.Text(le.ref)))
		}
		ordinals[le.id] = uint32(i)
	}
	ed.settle()
	return ordinals
}

// write stores the claim's entries with the CSNs that they have now.
func (s *succession) write(ordinals map[dit.UUID]uint32) error {
	return s.ed.e.store.Entries(s.cl.number, func(it store.Item) error {
		if n, ok := ordinals[it.UUID]; ok {
			return s.ed.stage.Put(it.UUID, n, it.Value)
		}
		k, ok := s.kept[it.UUID]
		if !ok {
			return nil
		}
		value := it.Value
		if k.oper != nil {
			rec, err := decodeRecord(value)
			if err != nil {
				return err
			}
			rec.oper = k.oper
			value = rec.append(nil)
		}
		return s.ed.stage.PutAt(it.UUID, s.ed.b.Row(k.at).CSN, value)
	})
}

// serveAs has an entry take over the UUID of the one that it replaces (R41).
func (ed *edit) serveAs(cl *claim, id, served dit.UUID) {
	if ed.e.pub.another(cl.number, id, served) { // one that was served elsewhere, or is gone
		other := ed.e.pub.upstream(cl.number, served)
		ed.e.pub.restore(cl.number, other, other)
		ed.undo = append(ed.undo, func() { ed.e.pub.set(cl.number, other, served) })
		ed.batch.Published = append(ed.batch.Published, store.PublishedAs{Claim: cl.number, Upstream: other})
	}
	before := ed.e.pub.of(cl.number, id)
	if before == served {
		return
	}
	undo := ed.e.pub.give(cl.number, id, served)
	ed.undo = append(ed.undo, undo)
	line := store.PublishedAs{Claim: cl.number, Upstream: id, Published: served}
	if served == id {
		line.Published = dit.UUID{}
	}
	ed.batch.Published = append(ed.batch.Published, line)
}
