package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// HeldRefresh is a completed refresh that waits for an operator's word (R36).
type HeldRefresh struct {
	Of           string `json:"of"` // the claim, or the list: what approve and reject take
	Subscription string `json:"subscription"`
	List         bool   `json:"list"`           // a list's search: it counts found entries
	Name         string `json:"name,omitempty"` // of a claim: where it is, or waits
	Waits        bool   `json:"waits"`          // it is not the head, so that there is no alarm
	Cause        string `json:"cause"`          // in words
	Removed      int    `json:"removed"`
	Total        int    `json:"total"`  // that there were
	Before       int    `json:"before"` // that went within the minute before, and count
	Added        int    `json:"added"`
	Changed      int    `json:"changed"`
	Content      int    `json:"content"` // of a list: entries of content that go along
	// Goes lists what would go, parents first, at most MaxGoes; More is how many besides.
	Goes     []string   `json:"goes"`
	More     int        `json:"more"`
	Revision uint64     `json:"revision"` // another whenever another set would go
	Server   string     `json:"server"`
	Since    time.Time  `json:"since"`     // when that set was held first
	LastSeen time.Time  `json:"last_seen"` // and last
	Rejected bool       `json:"rejected"`
	By       string     `json:"rejected_by,omitempty"`
	Why      string     `json:"rejected_why,omitempty"`
	At       *time.Time `json:"rejected_at,omitempty"`
}

// MaxGoes bounds HeldRefresh.Goes.
const MaxGoes = 1000

// HoldDecided is the outcome of an approval or a rejection.
type HoldDecided struct {
	Of       string   `json:"of"`
	Removed  int      `json:"removed"`
	Added    int      `json:"added"`
	Changed  int      `json:"changed"`
	Effect   string   `json:"effect"` // in words
	Warnings []string `json:"warnings"`
	Task     uint64   `json:"task,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"`
}

func (d *HoldDecided) asTask(id uint64) { d.Task = id }

// HeldRefreshes lists what is held, rejected ones too: the latest first.
func (e *Engine) HeldRefreshes(ctx context.Context) ([]HeldRefresh, error) {
	out := []HeldRefresh{}
	var holds []*hold
	err := e.do(ctx, func() {
		for of := range e.holds {
			if h := e.holdOf(of); h != nil {
				holds = append(holds, h)
			}
		}
		slices.SortFunc(holds, func(a, b *hold) int { return cmp.Or(b.Since.Compare(a.Since), strings.Compare(a.Of, b.Of)) })
		for _, h := range holds {
			out = append(out, e.heldRefresh(h))
		}
	})
	if err != nil {
		return nil, err
	}
	for i, h := range holds {
		if err := e.goes(h, &out[i]); err != nil && !errors.Is(err, errHoldDamaged) { // it was taken away meanwhile
			return nil, err
		}
	}
	return out, nil
}

func (e *Engine) heldRefresh(h *hold) HeldRefresh {
	out := HeldRefresh{
		Of: h.Of, Cause: h.Cause, Removed: h.Removed, Total: h.Total, Before: h.Before, Added: h.Added, Changed: h.Changed,
		Content: h.Content, Goes: []string{}, Revision: h.revision(), Server: h.Server, Since: h.Since, LastSeen: h.Seen,
	}
	if c := e.state.Claims[queue.ClaimID(h.Of)]; c != nil {
		out.Subscription, out.Name, out.Waits = c.Subscription, c.Name, e.state.Names[c.Norm].Head() != c.ID
	} else {
		out.Subscription, out.List = h.Of, true
	}
	if out.Rejected = e.state.HoldOf(h.Of).Rejected; out.Rejected && h.Rejected != nil {
		out.By, out.Why, out.At = h.Rejected.Who, h.Rejected.Why, &h.Rejected.At
	}
	return out
}

var errEnough = errors.New("enough was read")

// goes fills in what would go: all are counted, and of those only so many kept as are shown.
// Entries are stored deepest first and shown parents first.
func (e *Engine) goes(h *hold, out *HeldRefresh) error {
	n := 0
	add := func(text string) {
		if n++; len(out.Goes) < MaxGoes {
			out.Goes = append(out.Goes, text)
		} else if !out.List {
			out.Goes[(n-1)%MaxGoes] = text
		}
	}
	err := e.readHold(h, func(kind byte, data []byte) error {
		switch kind {
		case frameGoes:
			add(string(data))
		case frameGone:
			g, err := decodeGone(data)
			if err != nil {
				return err
			}
			if !g.again {
				add(dnBelow(g.rel, out.Name))
			}
		default:
			return errEnough
		}
		return nil
	})
	out.More = n - len(out.Goes)
	if !out.List {
		latest := n % max(len(out.Goes), 1) // where the ring of the last ones begins
		out.Goes = slices.Concat(out.Goes[latest:], out.Goes[:latest])
		slices.Reverse(out.Goes)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func dnBelow(rel, name string) string {
	if rel == "" {
		return name
	}
	return rel + "," + name
}

// ApproveHeld takes a refresh that is held: exactly what it was when it was held, in one
// step, also after a restart and while its source is away. Revision is that of the set
// which was looked at: another one is refused; 0 is for whatever is held.
func (e *Engine) ApproveHeld(ctx context.Context, of string, revision uint64, dryRun bool) (out *HoldDecided, err error) {
	id, err := e.command(ctx, "guard approve", of, dryRun, func(t *task) error {
		var h *hold
		doErr := e.do(ctx, func() {
			if h, err = e.heldAs(of, revision); err != nil {
				return
			}
			out = e.decidedHold(h, "removed", dryRun)
			h.busy = !dryRun
		})
		if err = cmp.Or(doErr, err); err != nil || dryRun {
			return err
		}
		if h.Number == 0 {
			doErr = e.do(ctx, func() { err = e.approveList(h, t) })
			err = cmp.Or(doErr, err)
		} else {
			err = e.replay(ctx, h, t)
		}
		doErr = e.do(context.WithoutCancel(ctx), func() {
			if h.busy = false; errors.Is(err, errHoldDamaged) || errors.Is(err, store.ErrCorrupt) {
				err = errors.Join(err, e.giveUpHold(h))
			}
		})
		return cmp.Or(err, doErr)
	})
	if err != nil {
		return nil, err
	}
	out.Task = id
	return out, nil
}

// heldAs finds what is held, and refuses another set than an operator saw.
func (e *Engine) heldAs(of string, revision uint64) (*hold, error) {
	h := e.holdOf(of)
	if h == nil {
		if err := queue.Refuses(e.state, queue.HoldEnded{Of: of}); err != nil {
			return nil, err
		}
		return nil, refusal(queue.KindNotHeld, "what was held of %s is void: the source is asked again", of)
	}
	if now := h.revision(); revision != 0 && revision != now {
		return nil, refusal(queue.KindStale, "what is held of %s is another set than you looked at: %s (revision %d, not %d): look again with `shaft guard list`",
			of, h.Cause, now, revision)
	}
	if h.busy {
		return nil, refusal(queue.KindNotHeld, "what is held of %s is being approved just now", of)
	}
	return h, nil
}

func (e *Engine) decidedHold(h *hold, verb string, dryRun bool) *HoldDecided {
	out := &HoldDecided{Of: h.Of, Removed: h.Removed, Added: h.Added, Changed: h.Changed, Warnings: []string{}, DryRun: dryRun}
	what := "entries"
	if h.Number == 0 {
		what = fmt.Sprintf("found entries with %d entries of content", h.Content)
	}
	out.Effect = fmt.Sprintf("%d %s %s, %d added, %d changed", h.Removed, what, verb, h.Added, h.Changed)
	return out
}

// RejectHeld discards a refresh that is held: what there is stays, and the same set is no
// news when it comes again. Revision is as for ApproveHeld.
func (e *Engine) RejectHeld(ctx context.Context, of string, revision uint64, dryRun bool) (*HoldDecided, error) {
	return onWriter(ctx, e, "guard reject", of, dryRun, func(t *task) (*HoldDecided, error) {
		h, err := e.heldAs(of, revision)
		if err != nil {
			return nil, err
		}
		ev := queue.HoldRejected{Of: of, Print: h.Print}
		out := e.decidedHold(h, "are not removed", dryRun)
		out.Effect = "what is served stays as it is; the same set raises no alarm again, and can be approved later"
		if dryRun {
			return out, queue.Refuses(e.state, ev)
		}
		var b store.Batch
		if _, err := e.decide(&b, ev); err != nil {
			return nil, err
		}
		next := *h
		who := ActorOf(ctx)
		next.Rejected = &rejection{Who: clip(who.Who), Why: clip(who.Why), At: e.o.Now().UTC()}
		b.Records = append(b.Records, next.record())
		e.end(&b, t, TaskDone, "rejected: "+h.Cause)
		if err := e.commit(&b); err != nil {
			e.restate()
			return nil, err
		}
		e.holds[of] = &next
		e.log.Info("held refresh rejected", "of", of)
		return out, nil
	})
}

// replay is that a refresh plays again what was held: nothing is judged, and nothing goes but
// what the set names.
type replay struct {
	task  *task
	words string
	goes  map[dit.UUID]bool
}

// replayTries bounds how often a replay is tried while names inside the claim's change.
const replayTries = 3

// replay takes what is held of a claim, on the caller's goroutine but for its beginning and
// its end. The session that is there meanwhile is ended, and another begins behind it, by
// the new cookie.
func (e *Engine) replay(ctx context.Context, h *hold, t *task) (err error) {
	cl, f, err := e.replayFeed(ctx, h)
	if err != nil {
		return err
	}
	defer func() {
		doErr := e.do(context.WithoutCancel(ctx), func() {
			if cl.feed == f {
				cl.feed = nil
				e.engage(cl.id)
			}
		})
		err = cmp.Or(err, doErr)
	}()
	for range replayTries {
		err = f.replayOnce(ctx, h, t)
		f.End(err)
		if !errors.Is(err, errNamesChanged) {
			return err
		}
	}
	return err
}

// replayFeed puts a feed in the place of the claim's session, or says why that cannot be:
// what is damaged has to be fetched in full, and a cookie would have it left out.
func (e *Engine) replayFeed(ctx context.Context, h *hold) (cl *claim, f *feed, err error) {
	doErr := e.do(ctx, func() {
		cl = e.byNum[h.Number]
		switch {
		case e.closing:
			err = ErrClosed
		case cl == nil || e.holdOf(h.Of) != h:
			err = refusal(queue.KindNotHeld, "what was held of %s has been taken away meanwhile", h.Of)
		case cl.origin().Sum != h.Origin:
			err = refusal(queue.KindNotHeld, "what was held of %s was asked of its source in other words, which were changed since: the source is asked again", h.Of)
		case cl.damaged:
			err = refusal(queue.KindNotHeld, "content of %s was found damaged and is fetched anew in full: what was held is void", h.Of)
		default:
			var conv *converter
			if conv, err = newConverter(e.schema, cl); err == nil {
				e.unfollow(cl)
				f = &feed{e: e, claim: cl, conv: conv, ctx: ctx, server: h.Server}
				cl.feed = f
			}
		}
	})
	return cl, f, cmp.Or(doErr, err)
}

func (f *feed) replayOnce(ctx context.Context, h *hold, t *task) error {
	e := f.e
	var err error
	doErr := e.do(ctx, func() {
		if f.claim.feed != f {
			err = errNotFollowed
			return
		}
		f.refresh = e.newRefresh(f)
	})
	if err = cmp.Or(doErr, err); err != nil {
		return err
	}
	r := f.refresh
	r.sent = h.Sent
	r.replay = &replay{task: t, words: "approved: " + h.Cause, goes: map[dit.UUID]bool{}}
	err = e.readHold(h, func(kind byte, data []byte) error {
		if kind == frameGone {
			g, err := decodeGone(data)
			if err == nil {
				r.replay.goes[g.id] = true
				r.deletes = append(r.deletes, g.id)
			}
			return err
		}
		if len(data) < 16 {
			return errHoldDamaged
		}
		rec, err := decodeRecord(data[16:])
		if err != nil {
			return err
		}
		if err := f.conv.restore(rec); err != nil {
			return err
		}
		return r.put(dit.UUID(data[:16]))
	})
	if err != nil {
		return err
	}
	return r.finish(ctx, syncrepl.End{Cookie: h.Cookie})
}

// hold writes what a refresh brought where the writer's verdict is that it is held.
func (r *refresh) hold(ctx context.Context, v *verdict) error {
	current := func() error {
		if r.claim.feed != r.f {
			return errNotFollowed
		}
		return r.e.failed
	}
	return r.e.keep(ctx, v, current, func(w *holdWriter) error {
		if err := w.gone(v.gone); err != nil {
			return err
		}
		for _, i := range r.items.sorted(byOrdinal) {
			it := r.items.at(int(i))
			value, err := r.stage.Value(it.id)
			if err != nil {
				return err
			}
			if err := w.frame(framePut, it.id[:], value); err != nil {
				return err
			}
		}
		return nil
	})
}
