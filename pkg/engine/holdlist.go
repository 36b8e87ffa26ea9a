package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// losses are what events of a list's search would take away.
type losses struct {
	members []*queue.Member // that go, by remote DN
	claims  []*queue.Claim  // that go, with theirs or by themselves
	content int             // entries of those
}

// lossesOf says what events would take away, as the queues would have it: where one name of
// an entry goes and one comes, the claim moves.
func (e *Engine) lossesOf(list string, events []queue.Event) (l losses) {
	lose := func(m *queue.Member, stays map[string]bool) {
		for _, mc := range m.Claims {
			c := e.state.Claims[mc.Claim]
			if c == nil || stays[mc.Norm] {
				continue
			}
			l.claims = append(l.claims, c)
			if cl := e.claims[c.ID]; cl != nil {
				l.content += cl.all()
			}
		}
	}
	for _, ev := range events {
		switch ev := ev.(type) {
		case queue.EntryLost:
			if m := e.state.Members[list][ev.Entry]; m != nil {
				l.members = append(l.members, m)
				lose(m, nil)
			}
		case queue.EntryFound:
			if m := e.state.Members[list][ev.Entry]; m != nil {
				lose(m, staying(m, &ev))
			}
		}
	}
	slices.SortFunc(l.members, func(a, b *queue.Member) int { return compareFound(a.DN, a.Entry, b.DN, b.Entry) })
	return l
}

// staying lists the names of a member whose claims stay when it is found like that.
func staying(m *queue.Member, found *queue.EntryFound) map[string]bool {
	stays := map[string]bool{}
	for _, n := range found.Names {
		stays[n.Norm] = true
	}
	var goes []string
	come := len(stays)
	for _, mc := range m.Claims {
		if stays[mc.Norm] {
			come--
		} else {
			goes = append(goes, mc.Norm)
		}
	}
	if len(goes) == 1 && come == 1 {
		stays[goes[0]] = true
	}
	return stays
}

// contentOf is how many entries a list's claims have.
func (e *Engine) contentOf(list string) (n int) {
	for _, m := range e.state.Members[list] {
		for _, mc := range m.Claims {
			if cl := e.claims[mc.Claim]; cl != nil {
				n += cl.all()
			}
		}
	}
	return n
}

// judgeList gives a verdict as its error where a list's refresh would lose too much.
func (e *Engine) judgeList(l *list, events []queue.Event, cookie []byte, server string) error {
	lost := e.lossesOf(l.id, events)
	if len(lost.members)+len(lost.claims) == 0 || !e.state.Lists[l.id].Good {
		return nil
	}
	g := e.guardOf(l.sub)
	members, content := len(e.state.Members[l.id]), e.contentOf(l.id)
	before, were := e.before(l.id, &l.window, members)
	contentBefore, contentWas := l.content.since(e.o.Now())
	if !g.exceeded(len(lost.members)+before, were) && !g.exceeded(lost.content+contentBefore, max(contentWas, content+contentBefore)) {
		return nil
	}
	h := &hold{
		Of: l.id, Server: server, Cookie: slices.Clone(cookie), Origin: e.searchSum(l.sub),
		Removed: len(lost.members), Total: were, Before: before, Content: lost.content,
	}
	v := &verdict{hold: h}
	sum := xxhash.New()
	_, _ = fmt.Fprintf(sum, "%x", cookie)
	for _, ev := range events {
		if found, ok := ev.(queue.EntryFound); ok && e.state.Members[l.id][found.Entry] == nil {
			h.Added++
		} else if ok {
			h.Changed++
		}
		text, err := queue.EncodeEvent(ev)
		if err != nil {
			return err
		}
		_, _ = sum.Write(text)
		v.events = append(v.events, text)
	}
	h.Sum, h.Print = fmt.Sprintf("%016x", sum.Sum64()), lost.print()
	v.goes = e.lossWords(&lost)
	h.Cause = clipTo(h.listText(v.goes), maxCause)
	return v
}

// print is the fingerprint of what is lost.
func (l *losses) print() string {
	var ids []string
	for _, m := range l.members {
		ids = append(ids, m.Entry)
	}
	for _, c := range l.claims {
		ids = append(ids, string(c.ID))
	}
	h := sha256.New()
	for _, id := range slices.Sorted(slices.Values(ids)) {
		_, _ = fmt.Fprintf(h, "%s\n", id)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// lossWords says of each that goes what goes along.
func (e *Engine) lossWords(l *losses) (words []string) {
	names := map[string][]*queue.Claim{}
	for _, c := range l.claims {
		names[c.Entry] = append(names[c.Entry], c)
	}
	tell := func(dn, entry string) {
		for _, c := range names[entry] {
			entries := 0
			if cl := e.claims[c.ID]; cl != nil {
				entries = cl.all()
			}
			words = append(words, fmt.Sprintf("%s: %s on %s with %d entries", dn, c.ID, c.Name, entries))
		}
		if len(names[entry]) == 0 {
			words = append(words, dn+": no name")
		}
		delete(names, entry)
	}
	for _, m := range l.members {
		tell(m.DN, m.Entry)
	}
	for _, entry := range slices.Sorted(maps.Keys(names)) {
		tell(names[entry][0].Base, entry)
	}
	return words
}

func (h *hold) listText(goes []string) string {
	few := make([]string, 0, causeNamed)
	for _, text := range goes[:min(len(goes), causeNamed)] {
		few = append(few, clipTo(text, 250))
	}
	what := fmt.Sprintf("found entries with %d entries of content", h.Content)
	return h.text(what, few, len(goes))
}

// hold writes what a list's refresh brought where the writer's verdict is that it is held.
func (f *listFeed) hold(v *verdict) error {
	return f.e.keep(f.ctx, v, f.current, func(w *holdWriter) error {
		for _, text := range v.goes {
			if err := w.frame(frameGoes, []byte(text)); err != nil {
				return err
			}
		}
		for _, text := range v.events {
			if err := w.frame(frameEvent, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// guardList has a list's session begin again, with a refresh, where what it brought in its
// persist stage would lose too much within a minute; else it counts.
func (e *Engine) guardList(l *list, events []queue.Event) error {
	g := e.guardOf(l.sub)
	if g.Off {
		return nil
	}
	lost := e.lossesOf(l.id, events)
	if len(lost.members)+len(lost.claims) == 0 {
		return nil
	}
	now := e.o.Now()
	gone, were := l.window.since(now)
	content, contentWas := l.content.since(now)
	were, contentWas = max(were, len(e.state.Members[l.id])+gone), max(contentWas, e.contentOf(l.id)+content)
	if g.exceeded(gone+len(lost.members), were) || g.exceeded(content+lost.content, contentWas) {
		e.log.Warn("the list loses more than the guard lets go: its search begins again with a refresh",
			"list", l.id, "within_a_minute", gone, "now", len(lost.members), "of", were, "content", lost.content)
		return upstream.ErrAgain
	}
	l.window.add(now, len(lost.members), were)
	l.content.add(now, lost.content, contentWas)
	return nil
}

// approveList makes what is held of a list true: in as many commits as it needs, of which
// the first says that it is decided, so that a start goes on with them.
func (e *Engine) approveList(h *hold, t *task) error {
	l := e.lists[h.Of]
	if l == nil || e.searchSum(l.sub) != h.Origin {
		return refusal(queue.KindNotHeld, "what was held of %s is void: the source is asked again", h.Of)
	}
	var events []queue.Event
	err := e.readHold(h, func(kind byte, data []byte) error {
		if kind != frameEvent {
			return nil
		}
		ev, err := queue.DecodeEvent(data)
		events = append(events, ev)
		return err
	})
	if err != nil {
		return err
	}
	e.unfollowList(l)
	err = e.takeList(l, h, events, t)
	e.followList(l)
	return err
}

func (e *Engine) takeList(l *list, h *hold, events []queue.Event, t *task) error {
	events = e.ofMembers(l.id, events)
	was := *l.memory()
	l.cookie, l.server, l.search = h.Cookie, h.Server, h.Origin
	decided := *h
	decided.Approved = true
	d := decisions{events: events, counted: l.id, first: []store.Record{decided.record()}, last: []store.Record{l.record()}}
	var b store.Batch
	e.end(&b, t, TaskDone, "approved: "+h.Cause)
	d.last = append(d.last, b.Records...)
	if err := e.enact(d); err != nil {
		l.cookie, l.server, l.search = was.Cookie, was.Server, was.Search
		return errors.Join(err, e.giveUpHold(h))
	}
	l.window, l.content = window{}, window{}
	return nil
}

// giveUpHold ends a hold whose approval could not be carried through: the search says anew
// what there is.
func (e *Engine) giveUpHold(h *hold) error {
	if e.failed != nil {
		return nil // the next start goes on
	}
	var b store.Batch
	if err := e.endHold(&b, h.Of); err != nil {
		return err
	}
	if err := e.commit(&b); err != nil {
		return err
	}
	e.reapHolds()
	if cl := e.byNum[h.Number]; cl != nil && cl.link != nil {
		e.again(cl)
	} else if l := e.lists[h.Of]; l != nil {
		e.unfollowList(l)
		e.followList(l)
	}
	return nil
}

// resumeHolds goes on with approvals that an end of the process cut short.
func (e *Engine) resumeHolds() error {
	for _, of := range slices.Sorted(maps.Keys(e.holds)) {
		h := e.holds[of]
		if !h.Approved || !e.holdIs(h) {
			continue
		}
		t := e.newTask(Actor{Who: ownActor}, "guard approve", of)
		if err := e.approveList(h, t); err != nil {
			e.log.Error("an approval that was begun could not be ended", "list", of, "error", err)
		}
	}
	return nil
}
