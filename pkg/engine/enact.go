package engine

import (
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// Bounds of one commit of decisions: with one more event of the largest size it
// still fits into a batch (store.MaxBatchBytes, and its bound of lines).
const (
	maxDecided      = 1000
	maxDecidedBytes = 256 << 10
)

// decisions are events that go together, with records that become true with the
// first of them, and with the last.
type decisions struct {
	events      []queue.Event
	first, last []store.Record
	counted     string // the list whose membership changes; "" for none
}

// enact decides events and makes true what follows from them: in as few commits as
// their bounds allow, and one version for readers. After an error what was committed
// stands, the rest has changed nothing.
func (e *Engine) enact(d decisions) error {
	return e.asOne(func() error {
		records := d.first
		for left := d.events; ; records = nil {
			s := &step{e: e, ed: e.edit(nil), kept: map[string]bool{}}
			s.ed.batch.Records = slices.Clone(records)
			n, err := s.decide(left)
			if left = left[n:]; err == nil {
				if len(left) == 0 {
					s.ed.batch.Records = append(s.ed.batch.Records, d.last...)
				}
				s.count(d.counted)
				err = s.commit()
			}
			if err != nil {
				s.takeBack()
				return err
			}
			if err := s.carryOut(); err != nil || len(left) == 0 {
				return err
			}
		}
	})
}

// takeBack undoes what a step did whose commit was refused.
func (s *step) takeBack() {
	s.ed.abandon()
	s.e.restate()
	for _, norm := range s.handed {
		if err := s.e.dropHeirs(norm); err != nil {
			s.e.log.Error("UUIDs that were not handed over are still stored", "name", norm, "error", err)
		}
	}
}

// asOne has readers see what fn does as one version, and nothing of it where fn panics.
func (e *Engine) asOne(fn func() error) error {
	before, done := e.together, false
	e.together = true
	defer func() {
		if e.together = before; !done {
			e.newest = e.version.Load() // nor later
			return
		}
		e.show()
	}()
	err := fn()
	done = true
	return err
}

// step is some decisions on their way into one commit, with the content that
// goes in it.
type step struct {
	e         *Engine
	ed        *edit
	effects   []queue.Effect
	dropped   []*claim
	kept      map[string]bool // names that show content of a claim that goes
	misplaced []*claim        // whose content is to stand elsewhere, or to come or go
	unhide    []string        // names that go and hid something
	handed    []string        // names whose entries' UUIDs are handed down
	failed    int             // names that cannot be made
}

// decide takes events until the commit is big enough, and notes what they mean
// to content. It gives how many.
func (s *step) decide(events []queue.Event) (n int, err error) {
	b := &s.ed.batch
	for size := 0; n < len(events) && len(b.Records)+len(b.Journal) < maxDecided && size < maxDecidedBytes; n++ {
		if n > 0 && s.e.isHeavy(events[n]) {
			break
		}
		lines, records := len(b.Journal), len(b.Records)
		effects, err := s.e.decide(b, events[n])
		if err != nil {
			return n, err
		}
		s.effects = append(s.effects, effects...)
		if found, ok := events[n].(queue.EntryFound); ok {
			s.failed += len(s.e.state.Members[found.List][found.Entry].Problems)
		}
		for _, line := range b.Journal[lines:] {
			size += len(line)
		}
		for _, r := range b.Records[records:] {
			size += len(r.Name) + len(r.Value)
		}
	}
	b.Records = latest(b.Records)
	s.keep()
	for _, ef := range s.effects {
		if d, ok := ef.(queue.Drop); ok && s.e.byNum[d.Number] != nil {
			s.dropped = append(s.dropped, s.e.byNum[d.Number])
		}
	}
	for _, id := range touched(s.effects) {
		s.note(s.e.claims[id], s.e.state.Claims[id])
	}
	return n, nil
}

// heavy is from how many names or bytes on an event goes alone: its records may fill
// a commit.
const (
	heavyNames = 50
	heavyBytes = 16 << 10
)

func (e *Engine) isHeavy(ev queue.Event) bool {
	var list, entry string
	names, size := 0, 0
	switch ev := ev.(type) {
	case queue.EntryFound:
		list, entry, names, size = ev.List, ev.Entry, len(ev.Names), foundSize(&ev)
	case queue.EntryLost:
		list, entry = ev.List, ev.Entry
	default:
		return false
	}
	if m := e.state.Members[list][entry]; m != nil {
		names += len(m.Claims)
	}
	return names > heavyNames || size > heavyBytes
}

// count notes in a list's task what became of its membership.
func (s *step) count(list string) {
	if list == "" {
		return
	}
	m := membership{Went: len(s.dropped), Failed: s.failed}
	for _, id := range touched(s.effects) {
		if s.e.claims[id] == nil && s.e.state.Claims[id] != nil {
			m.Appeared++
		}
	}
	for _, effect := range s.effects {
		if _, ok := effect.(queue.Move); ok {
			m.Moved++
		}
	}
	s.e.members(&s.ed.batch, list, m)
}

// note writes down what a crash before the content follows would leave unknown.
func (s *step) note(cl *claim, qc *queue.Claim) {
	if cl == nil || qc == nil || qc.Number != cl.number {
		return
	}
	b := &s.ed.batch
	if s.e.isMisplaced(cl) {
		s.misplaced = append(s.misplaced, cl)
		b.Records = append(b.Records, s.e.shownMark(cl))
	}
}

// latest keeps the last of several records of one name.
func latest(records []store.Record) []store.Record {
	had := make(map[string]bool, len(records))
	var out []store.Record
	for _, r := range slices.Backward(records) {
		if !had[r.Name] {
			had[r.Name] = true
			out = append(out, r)
		}
	}
	slices.Reverse(out)
	return out
}

// touched lists the claims that effects are about, each once.
func touched(effects []queue.Effect) (ids []queue.ClaimID) {
	had := map[queue.ClaimID]bool{}
	for _, effect := range effects {
		var id queue.ClaimID
		switch ef := effect.(type) {
		case queue.Follow:
			id = ef.Claim
		case queue.Probe:
			id = ef.Claim
		case queue.Stop:
			id = ef.Claim
		case queue.Drop:
			id = ef.Claim
		case queue.Publish:
			id = ef.Claim
		case queue.Move:
			id = ef.Claim
		case queue.Reload:
			id = ef.Claim
		}
		if id != "" && !had[id] {
			had[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// commit makes the decisions durable, with the removal of the content of claims
// that went.
func (s *step) commit() error {
	e, ed := s.e, s.ed
	if len(s.dropped) == 0 {
		return e.commit(&ed.batch)
	}
	var numbers []uint32
	for _, cl := range s.dropped {
		if err := s.handDown(cl); err != nil {
			return err
		}
		ed.takeOutClaim(cl)
		numbers = append(numbers, cl.number)
		b := &ed.batch
		b.Published = append(b.Published, e.pub.lines(cl.number)...)
		if norm := cl.name.Norm(); e.isShown(cl) && e.hides(norm) {
			s.unhide = append(s.unhide, norm)
			b.Records = append(b.Records, unhideMark(norm))
		}
	}
	if err := e.glueAhead(ed); err != nil {
		return err
	}
	ed.finishBatch()
	return e.dropClaims(numbers, &ed.batch)
}

// handDown writes what the entries of a claim that goes were served as, for one
// that waited and has no content yet (R41).
func (s *step) handDown(cl *claim) error {
	n := s.e.state.Names[cl.name.Norm()]
	if n == nil || !s.e.isShown(cl) {
		return nil
	}
	next := s.e.claims[n.Head()]
	if next == nil || next.gen > 0 {
		return nil
	}
	s.handed = append(s.handed, cl.name.Norm())
	return s.e.writeRecords(s.e.heirRecords(cl))
}

// carryOut does what was decided, after it is durable.
func (s *step) carryOut() error {
	e := s.e
	if len(s.dropped) > 0 {
		e.publish(s.ed)
		if s.ed.ahead {
			e.dropGlue(s.ed)
		}
	}
	contacts := make([]store.Record, 0, len(s.dropped))
	for _, cl := range s.dropped {
		e.unfollow(cl)
		if e.claims[cl.id] == cl { // else another may bear the id by now
			contacts = append(contacts, store.Record{Name: recordContact + string(cl.id)})
			contacts = append(contacts, e.dropPoints(string(cl.id))...)
		}
		e.forget(cl)
	}
	if err := e.writeRecords(contacts); err != nil {
		return err
	}
	ended := s.outlast()
	ids := touched(s.effects)
	for _, id := range ids {
		if qc := e.state.Claims[id]; qc != nil {
			if err := e.follows(qc); err != nil {
				return err
			}
		}
	}
	s.renest()
	for _, norm := range s.unhide {
		e.bringBack(norm)
	}
	e.resettle(s.misplaced)
	e.reapHolds()
	e.act(s.effects)
	e.endLinger(ended)
	return nil
}

// renest brings the names inside names up to what was decided.
func (s *step) renest() {
	norms := map[string]bool{}
	for _, cl := range s.dropped {
		norms[cl.name.Norm()] = true
	}
	for _, effect := range s.effects {
		switch ef := effect.(type) {
		case queue.Publish:
			norms[ef.Norm] = true
		case queue.Withdraw:
			norms[ef.Norm] = true
		case queue.Move:
			norms[ef.From], norms[ef.To] = true, true
		case queue.Probe:
			if qc := s.e.state.Claims[ef.Claim]; qc != nil {
				norms[qc.Norm] = true
			}
		}
	}
	if len(norms) > renestAll {
		s.e.renest()
		return
	}
	for norm := range norms {
		s.e.renestAt(norm)
	}
}

// renestAll is from where all names are looked at, and not one by one.
const renestAll = 64

// follows brings a claim up to what the queues say of it; its content moves later,
// see resettle.
func (e *Engine) follows(qc *queue.Claim) error {
	cl := e.claims[qc.ID]
	if cl == nil {
		return e.addClaim(qc, e.subs[qc.Subscription])
	}
	src := contentSource(cl.sub, qc)
	if src.Base != cl.source.Base {
		e.unfollow(cl)
		cl.source = src
		e.retell(cl)
	}
	if e.isMisplaced(cl) {
		e.unfollow(cl)
		return nil
	}
	if qc.Name == cl.name.String() {
		return nil
	}
	e.unfollow(cl)
	name, err := dit.ParseDN(e.schema, qc.Name)
	if err != nil {
		return err
	}
	if cl.name = name; cl.gen == 0 {
		return nil
	}
	return e.hold(cl) // what waits does so under the new name
}
