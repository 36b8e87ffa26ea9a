package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// Guard is how much may go at once of a claim's entries, or of what a list found, before
// an operator is asked (R36): more than both bounds, or everything, is held.
type Guard struct {
	Percent int  // of the entries that there were, 0 to 100
	Minimum int  // so many always may, unless that is everything
	Off     bool // nothing is held
}

// DefaultGuard is what counts where nobody says otherwise.
var DefaultGuard = Guard{Percent: 10, Minimum: 10}

// MaxGuardMinimum bounds Guard.Minimum: more than a Shaft can hold.
const MaxGuardMinimum = 1_000_000_000

// exceeded tells whether it is too much that so many go, of so many that there were.
func (g Guard) exceeded(gone, of int) bool {
	return !g.Off && gone > 0 && (gone >= of || gone > g.Minimum && gone*100 > of*g.Percent)
}

// guardOf gives the bounds of a subscription. One that gives any of its own has a guard,
// though the others have none.
func (e *Engine) guardOf(sub *Subscription) Guard {
	g := *e.o.Guard
	if sub.GuardPercent != nil {
		g.Percent, g.Off = *sub.GuardPercent, false
	}
	if sub.GuardMinimum != nil {
		g.Minimum, g.Off = *sub.GuardMinimum, false
	}
	g.Off = g.Off || sub.NoGuard
	return g
}

// validateGuard refuses bounds that mean nothing.
func (s *Subscription) validateGuard() error {
	p, m := s.GuardPercent, s.GuardMinimum
	switch {
	case p != nil && (*p < 0 || *p > 100):
		return fmt.Errorf("guard_percent: %d is not in 0..100", *p)
	case m != nil && (*m < 0 || *m > MaxGuardMinimum):
		return fmt.Errorf("guard_minimum: %d is not in 0..%d", *m, MaxGuardMinimum)
	case s.NoGuard && (p != nil || m != nil):
		return fmt.Errorf("no_guard is given beside guard_percent or guard_minimum: one of the two says it")
	}
	return nil
}

const (
	// windowSpan is how long deletes of the persist stage count together.
	windowSpan = time.Minute
	// windowStep is what is remembered of them as one, so that a window is short.
	windowStep = time.Second
)

// window is what went lately of a claim or of a list, while it was followed. It is not
// kept over a restart.
type window struct{ marks []wentAway }

type wentAway struct {
	at       time.Time
	gone, of int // of how many that there were when it began
}

// since gives how much went within the span, and how much there was at its beginning.
func (w *window) since(now time.Time) (gone, of int) {
	w.marks = slices.DeleteFunc(w.marks, func(m wentAway) bool { return now.Sub(m.at) >= windowSpan })
	for i := range w.marks {
		if w.marks[i].at.After(now) { // the clock went back
			w.marks[i].at = now
		}
		gone += w.marks[i].gone
	}
	if len(w.marks) > 0 {
		of = w.marks[0].of
	}
	return gone, of
}

func (w *window) add(now time.Time, gone, of int) {
	if n := len(w.marks); n > 0 && now.Sub(w.marks[n-1].at) < windowStep {
		w.marks[n-1].gone += gone
		return
	}
	w.marks = append(w.marks, wentAway{now, gone, of})
}

// all is how many entries a claim has, served and hidden.
func (c *claim) all() int { return c.entries + len(c.hidden) }

// before gives how much of a claim or a list went shortly before a refresh, and of how much: within the last minute, or before what
// is held already.
func (e *Engine) before(of string, w *window, now int) (gone, were int) {
	gone, were = w.since(e.o.Now())
	if h := e.holdOf(of); h != nil && h.Before > gone {
		gone, were = h.Before, h.Total
	}
	return gone, max(were, now+gone) // what has come since counts too
}

// judge gives a verdict as its error where a complete refresh would remove too much. What
// comes back under the same DN has not gone.
func (e *Engine) judge(ed *edit, r *refresh, end syncrepl.End, rows []tree.ID, hidden []dit.UUID) error {
	cl := r.claim
	if r.replay != nil || cl.gen == 0 || len(rows)+len(hidden) == 0 {
		return nil
	}
	gone := make([]goneEntry, 0, len(rows)+len(hidden))
	lost, base := 0, false
	add := func(id dit.UUID, norm string, rel []byte) {
		again := r.comes(norm)
		if !again {
			lost++
			base = base || norm == cl.name.Norm()
		}
		gone = append(gone, goneEntry{id: id, again: again, rel: string(rel)})
	}
	for _, at := range rows {
		row := ed.b.Row(at)
		add(e.pub.upstream(row.Claim, row.UUID), ed.b.Norm(at), relativeText(ed.b.Entry(at).DN(), cl.name))
	}
	for _, id := range hidden {
		norm := cl.hidden[id].norm
		add(id, norm, []byte(strings.TrimSuffix(strings.TrimSuffix(norm, cl.name.Norm()), ",")))
	}
	before, were := e.before(string(cl.id), &cl.window, cl.all())
	g := e.guardOf(cl.sub)
	everything := lost > 0 && (base || len(gone) >= cl.all())
	if !g.exceeded(lost+before, were) && !(everything && !g.Off) || lost == 0 {
		return nil
	}
	h := &hold{
		Of: string(cl.id), Number: cl.number, Server: r.f.server, Cookie: slices.Clone(end.Cookie), Origin: cl.origin().Sum,
		Sent: r.sent, Removed: lost, Total: were, Before: before,
	}
	h.Print = printOf(gone)
	sum := xxhash.New()
	_, _ = fmt.Fprintf(sum, "%x %s %d", end.Cookie, h.Print, len(gone))
	staged := uint64(0)
	for i := range r.items.n {
		it := r.items.at(i)
		if it.dead {
			continue
		}
		staged += xxhash.Sum64(it.id[:]) ^ it.hash
		at, _ := e.row(ed.b, ed.b.Row, cl.number, it.id)
		if _, known := cl.hidden[it.id]; known || at != 0 || ed.stands(cl, string(r.norm(it))) {
			h.Changed++
		} else {
			h.Added++
		}
	}
	h.Sum = fmt.Sprintf("%016x%016x", sum.Sum64(), staged)
	h.Cause = clipTo(h.words("entries", gone), maxCause)
	return &verdict{hold: h, gone: gone}
}

// stands tells whether the claim shows an entry at a name now.
func (ed *edit) stands(cl *claim, norm string) bool {
	at, _ := ed.b.Find(norm)
	return at != 0 && ed.b.Row(at).Claim == cl.number
}

// comes tells whether the refresh brings an entry with that DN.
func (r *refresh) comes(norm string) bool {
	i, ok := r.items.byDN(hashDN([]byte(norm)))
	return ok && !r.items.at(i).dead
}

// verdict is the error that ends a refresh which is to be held.
type verdict struct {
	hold *hold
	gone []goneEntry
	goes []string // of a list, in words
	// events are what a list's refresh means to the queues.
	events [][]byte
}

func (v *verdict) Error() string { return v.hold.Cause }

// goneEntry is one that a held refresh removes.
type goneEntry struct {
	id    dit.UUID
	again bool   // another comes in its place
	rel   string // its DN below the claim's name, "" for that itself
}

// maxCause bounds a hold's cause, in bytes; the queues take a little more.
const maxCause = 2000

// causeNamed is how many entries a cause names.
const causeNamed = 5

// words says what a held refresh would do.
func (h *hold) words(what string, gone []goneEntry) string {
	var few []string
	for _, g := range slices.Backward(gone) { // parents first
		if !g.again && len(few) < causeNamed {
			few = append(few, clipTo(cmp.Or(g.rel, "the base entry itself"), 200))
		}
	}
	return h.text(what, few, h.Removed)
}

// text is the same of what is named already, the first few of so many.
func (h *hold) text(what string, few []string, of int) string {
	text := fmt.Sprintf("a refresh that would remove %d of %d %s is held", h.Removed, h.Total, what)
	if h.Before > 0 {
		text += fmt.Sprintf("; %d went shortly before", h.Before)
	}
	text += ": " + strings.Join(few, "; ")
	if more := of - len(few); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// tooMany tells whether a delete of the persist stage is one too many within the last minute,
// those counted that its group has not committed yet; else it is noted, to count when it is.
func (g *group) tooMany(c *change) bool {
	e, cl := g.e, c.claim
	bounds := e.guardOf(cl.sub)
	n, base := g.ed.removes(cl, c.id)
	if bounds.Off || n == 0 {
		return false
	}
	gone, were := cl.window.since(e.o.Now())
	were = max(were, cl.all()+gone) // what has come since counts too
	for _, other := range g.changes {
		if other.claim == cl {
			gone += other.gone
		}
	}
	if base || bounds.exceeded(gone+n, were) {
		e.log.Warn("the server deletes more than the guard lets go: the session begins again with a refresh",
			"claim", cl.id, "within_a_minute", gone, "this", n, "of", were)
		return true
	}
	c.gone, c.of = n, were
	return false
}

// went counts what a committed change took away.
func (e *Engine) went(c *change) {
	if c.gone > 0 {
		c.claim.window.add(e.o.Now(), c.gone, c.of)
	}
}

// removes counts what a delete takes along, as remove does it, and tells whether that is
// the base.
func (ed *edit) removes(cl *claim, id dit.UUID) (n int, base bool) {
	at, _ := ed.e.row(ed.b, ed.b.Row, cl.number, id)
	n = len(ed.hiddenWith(cl, id, at))
	if at == 0 {
		return n, n > 0 && cl.hidden[id].norm == cl.name.Norm()
	}
	base = ed.b.Norm(at) == cl.name.Norm()
	if !cl.wholeSubtrees() {
		return n + 1, base
	}
	ed.b.Walk(at, func(id tree.ID) {
		if ed.b.Row(id).Claim == cl.number {
			n++
		}
	})
	return n, base
}

// again has a claim's session begin again at once, by its last durable cookie.
func (e *Engine) again(cl *claim) {
	e.unfollow(cl)
	e.engage(cl.id)
}
