package ldapd

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// logAtOnce is how many followers that come back may read the change log, and put in order what it says, at a
// time, for the whole server: each holds what it reads, up to all that is kept. What is left then, and held while it is sent, is a few words
// for each entry.
const logAtOnce = 4

// refresh brings a client to the content of a version (RFC 4533 section 3.3): all of
// it, what changed since its cookie (a delete phase), or what is behind the
// log's begin, all that changed and the UUIDs of the rest (a present phase).
// more tells that the persist stage follows; else the search is at its end. A cookie that is
// not newer than since may be of other access rules: all is sent again then, and dated after it
// (see settle), or slapd would not take what has not changed since.
func (f *follower) refresh(v *tree.Version, since dit.CSN) (more bool, err error) {
	at := readCookie(f.cookie, v.SID(), v.CSN())
	ruled := at.csn <= since && at.csn >= f.c.srv.opt.Redated && !at.initial && !at.unknown // an older cookie gets all anyhow
	if ruled {
		f.date = min(since+1, v.CSN()) // never newer than a change that is yet to be told
	}
	f.rid = ridPart(at.rid)
	f.seen = v
	f.eye.g.at(v)
	base, matched := f.eye.g.nearest(v, f.ct.base)
	if base == 0 { // it has gone, or was hidden, since the search was accepted
		res := noSuchEntry(v, matched)
		return false, f.finish(appendReply(nil, f.id, tagSearchDone, res, nil, nil))
	}
	known := !at.initial && !at.unknown
	if changed := v.Row(base).CSN; known && changed > at.csn && f.eye.g != nil && f.eye.g.grants.At(f.ct.base).Fixed() == nil {
		// A filter may have hidden the base meanwhile: then all below was told to be gone.
		ruled, f.date = true, max(f.date, changed)
	}
	over, ok := f.leads(v)
	if !ok {
		return false, f.refuse(syncrepl.ResultRefreshRequired, leadsElsewhere)
	}
	at.unknown = at.unknown || known && !f.named.IsEmpty() && f.led(v, over, base, at.csn)
	deletes := false
	switch {
	case at.unknown && !f.reload:
		return false, f.refuse(syncrepl.ResultRefreshRequired, "the cookie is not one of this server")
	case at.unknown || at.initial:
		more, err = f.each(v, base, f.add)
	case ruled:
		if _, _, _, err = f.readLog(v, base, at); err == nil {
			more, err = f.present(v, base, at.csn)
		}
	case at.csn == v.CSN():
		more, deletes = true, true
	default:
		more, deletes, err = f.sinceCookie(v, base, at)
	}
	if err != nil || !more {
		return false, err
	}
	return f.refreshed(deletes)
}

// refreshed ends the refresh; deletes tells that what went was named.
func (f *follower) refreshed(deletes bool) (more bool, err error) {
	m := syncrepl.Message{Kind: syncrepl.KindRefreshPresent, RefreshDone: true}
	if deletes {
		m.Kind = syncrepl.KindRefreshDelete
	}
	if f.mode == syncrepl.RefreshAndPersist {
		return true, errors.Join(f.info(m), f.flush())
	}
	done := syncrepl.Message{MessageID: int64(f.id), Kind: syncrepl.KindDone, HasSyncDone: true, RefreshDeletes: deletes,
		Cookie: f.cookieOf(cookieAt(f.seen.CSN(), 0, f.seen.SID())), HasCookie: true}
	return false, f.finish(done.Append(nil))
}

// each calls fn for every entry of the content, parents first; more is false when
// the search came to its end meanwhile.
func (f *follower) each(v *tree.Version, base tree.ID, fn func(tree.Entry) error) (more bool, err error) {
	cur := f.eye.search(v, base)
	for {
		found, end := cur.Step(stepLooks)
		switch {
		case end:
			return true, nil
		case f.op.cancelled.Load():
			return false, errStopped
		case f.overdue():
			return false, f.refuse(ldapserver.LDAPResultTimeLimitExceeded, timeOver)
		}
		if found {
			if err := fn(cur.Entry()); err != nil {
				return false, err
			}
		}
	}
}

// errFull ends a refresh that is at its size limit; the search has been answered.
var errFull = errors.New("size limit")

// add sends an entry in the refresh.
func (f *follower) add(e tree.Entry) error {
	if f.sizeLimit > 0 && f.sent == f.sizeLimit {
		return errors.Join(f.refuse(ldapserver.LDAPResultSizeLimitExceeded, moreThan(f.sizeLimit)), errFull)
	}
	f.sent++
	var date []byte
	if e.Row().CSN < f.date {
		date = f.date.Append(nil, f.seen.SID())
	}
	f.en = f.eye.appendOp(f.en[:0], f.seen, e.ID(), date)
	return f.entry(syncrepl.StateAdd, e.Row().UUID, f.en, nil)
}

// present sends every entry that has changed since a CSN, and names the others; where what
// is sent is dated anew, it sends them all.
// What changed may have moved to a name that was free by then, and that the
// client still gives to an entry that is gone: slapd would refuse the rename
// for ever. So what changed goes first and comes again, the base only where it is known to have moved: who follows a
// list takes its end for that of the whole. That is before anything is named: slapd forgets what was named when something goes.
func (f *follower) present(v *tree.Version, base tree.ID, after dit.CSN) (more bool, err error) {
	var changed []tree.ID
	more, err = f.each(v, base, func(e tree.Entry) error {
		if e.Row().CSN > after && (e.ID() != base || f.moved) {
			changed = append(changed, e.ID())
		}
		return nil
	})
	if err != nil || !more {
		return false, err
	}
	gone, same := idSet{f: f, deleted: true}, idSet{f: f}
	for _, id := range slices.Backward(changed) { // children before parents
		gone.add(v.Row(id).UUID)
	}
	if gone.flush(); gone.err != nil {
		return false, gone.err
	}
	more, err = f.each(v, base, func(e tree.Entry) error {
		if e.Row().CSN > after || f.date > 0 {
			return f.add(e)
		}
		same.add(e.Row().UUID)
		return same.err
	})
	same.flush()
	return more, errors.Join(err, same.err)
}

// idSet gathers UUIDs for syncIdSets.
type idSet struct {
	f       *follower
	deleted bool
	list    []dit.UUID
	err     error
}

func (s *idSet) add(u dit.UUID) {
	if s.list = append(s.list, u); len(s.list) == syncrepl.MaxIDSet {
		s.flush()
	}
}

func (s *idSet) flush() {
	if len(s.list) > 0 && s.err == nil {
		s.err = s.f.message(syncrepl.Message{Kind: syncrepl.KindIDSet, RefreshDeletes: s.deleted, IDs: s.list})
	}
	s.list = s.list[:0]
}

func (f *follower) overdue() bool {
	return !f.until.IsZero() && !f.c.srv.opt.Now().Before(f.until)
}

// sinceCookie sends what changed since a cookie, as the change log has it, by a delete phase; where the log does not reach back that far,
// or does not say enough, by a present phase.
func (f *follower) sinceCookie(v *tree.Version, base tree.ID, at startingPoint) (more, deletes bool, err error) {
	steps, over, ok, err := f.readLog(v, base, at)
	switch {
	case err != nil:
		return false, false, err
	case ok && !over:
		more, err = f.delta(v, steps)
		return more, true, err
	}
	more, err = f.present(v, base, at.csn)
	return more, false, err
}

// readLog gives, in turns, what brings a client from its cookie to a version, and notes whether the base is an entry that stood elsewhere. over tells that it
// might take along what stays, with an entry that goes: all that stays is to be named. Not ok is a log that does not reach back that far,
// does not say enough, or cannot be read.
func (f *follower) readLog(v *tree.Version, base tree.ID, at startingPoint) (steps []step, over, ok bool, err error) {
	var late <-chan time.Time
	if !f.until.IsZero() {
		timer := time.NewTimer(f.until.Sub(f.c.srv.opt.Now()))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case f.c.srv.logTurns <- struct{}{}:
		defer func() { <-f.c.srv.logTurns }()
	case <-late:
		return nil, false, false, errors.Join(f.refuse(ldapserver.LDAPResultTimeLimitExceeded, timeOver), errLate)
	case <-f.op.stop:
		return nil, false, false, errStopped
	}
	list, ok, err := f.eye.readLog(v, base, at)
	if err != nil {
		f.c.log.Error("the change log cannot be read; a follower is told what is present instead", "error", err)
	}
	if err != nil || !ok {
		return nil, false, false, nil
	}
	for i := range list {
		t := &list[i]
		f.moved = f.moved || t.id == base && t.had && (t.unsure || t.norm != f.ct.base)
	}
	steps, over = f.eye.arrange(v, base, list)
	return steps, over || len(f.eye.stays(v, list, true)) > 0, true, nil
}

// errLate ends a refresh that is at its time limit; the search has been answered.
var errLate = errors.New("time limit")

// delta sends steps in a refresh; more is false where the search came to its end meanwhile.
func (f *follower) delta(v *tree.Version, steps []step) (more bool, err error) {
	gone := idSet{f: f, deleted: true}
	for _, s := range steps {
		if s.state == syncrepl.StateDelete {
			gone.add(s.uuid)
			continue
		}
		if f.overdue() {
			return false, f.refuse(ldapserver.LDAPResultTimeLimitExceeded, timeOver)
		}
		gone.flush()
		if err := errors.Join(gone.err, f.add(v.Entry(s.id))); err != nil {
			return false, err
		}
	}
	gone.flush()
	return true, gone.err
}

// logged is what the change log says of an entry since a cookie.
type logged struct {
	was   bool     // it existed then
	moved bool     // it came, went or moved since
	again bool     // it changed more than once since
	dn    string   // as it was called then; "" where it has not moved since
	olds  []string // what else it was called since, before it moved or went
}

func (l *logged) add(c *tree.Change, first bool) {
	if first {
		l.was = c.Kind != tree.Added
	}
	l.moved = l.moved || c.Kind != tree.Modified || c.OldDN != ""
	switch {
	case c.OldDN == "":
	case l.was && l.dn == "":
		l.dn = c.OldDN
	default:
		l.olds = append(l.olds, c.OldDN)
	}
}

// errUpTo ends the reading of the log at the version.
var errUpTo = errors.New("up to the version")

// readLog gives what changed between a cookie and a version, as far as it belongs
// to the content. Whether an entry matched the filter at the cookie or since is not known: one
// that does not now, and was in the scope, is taken to be gone.
func (e *eye) readLog(v *tree.Version, base tree.ID, from startingPoint) (list []touched, ok bool, err error) {
	lines := map[dit.UUID]*logged{}
	ok, err = e.ct.srv.opt.Backend.Changes(from.csn, func(c tree.Change) error {
		if c.Row.CSN > v.CSN() {
			return errUpTo
		}
		l := lines[c.Row.UUID]
		if l == nil {
			l = &logged{}
			l.add(&c, true)
			lines[c.Row.UUID] = l
		} else {
			l.again = true
			l.add(&c, false)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUpTo) || !ok {
		return nil, false, err
	}
	for u, l := range lines {
		t := touched{uuid: u}
		now := v.ByUUID(u)
		if e.holds(v, base, now) {
			t.id, t.csn = now, v.Row(now).CSN
		}
		if err := l.place(&t, v, now); err != nil {
			return nil, false, err
		}
		t.had = l.was && e.mayHold(t.norm)
		if err := e.meanwhile(&t, v, l, now, from.between); err != nil {
			return nil, false, err
		}
		if t.had || t.id != 0 {
			list = append(list, t)
		}
	}
	return list, true, nil
}

// meanwhile looks at where an entry was after the cookie: at names that it has left, and at the one that it stands at, where it may have been
// in the content for a while. The follower may have it there, from a refresh that was cut off, which shows in no cookie, or between two
// states, as its cookie says. So the end of one is told that came since, and one goes first and comes again that moved on from such a name,
// or moved between.
func (e *eye) meanwhile(t *touched, v *tree.Version, l *logged, now tree.ID, between bool) error {
	may := l.again // what has been as it is since it came was never in the content
	if t.id != 0 {
		may = between && l.moved
	}
	if may && !t.had && now != 0 {
		t.had = e.mayHold(v.Norm(now))
	}
	if t.id == 0 && t.had {
		return nil
	}
	for _, old := range l.olds {
		dn, err := dit.ParseDN(v.Schema(), old)
		if err != nil {
			return fmt.Errorf("change log: %w", err)
		}
		norm := dn.Norm()
		if t.id == 0 {
			t.norm, t.had = norm, t.had || e.mayHold(norm)
		} else if e.mayHold(norm) { // and with a rename above it may go on to another name by itself
			t.had, t.unsure = true, true
		}
	}
	t.unsure = t.unsure || between && l.moved && t.had
	return nil
}

// place says where the entry stood; what came since stands where it does now.
func (l *logged) place(t *touched, v *tree.Version, now tree.ID) error {
	if l.dn == "" {
		t.norm = v.Norm(now)
		return nil
	}
	dn, err := dit.ParseDN(v.Schema(), l.dn)
	if err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	t.norm = dn.Norm()
	return nil
}
