package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"shaft/pkg/queue"
)

// Happening is one line of a name's history.
type Happening struct {
	At    time.Time     `json:"at"` // zero where the journal's line has none
	Claim queue.ClaimID `json:"claim"`
	What  string        `json:"what"` // claimed, removed, moved, queued, refreshed, up, down
	Why   string        `json:"why,omitempty"`
}

// maxHistory is how many lines of a history are given, the latest.
const maxHistory = 1000

// lineHead is what the engine writes before an event in the journal: a JSON object, a space,
// then the event as queue.EncodeEvent has it.
type lineHead struct {
	At time.Time `json:"at"`
	// Claims says of those that came, moved or went on which name they are now, by
	// its normal form; "" is none.
	Claims map[queue.ClaimID]string `json:"claims,omitempty"`
}

// maxLineClaims bounds the claims that one line lists. Only the removal of a
// whole list has more, and says by itself whose claims go.
const maxLineClaims = 1000

// journalLine is the journal's line of an event that was just applied.
func (e *Engine) journalLine(ev queue.Event, event []byte) ([]byte, error) {
	head := lineHead{At: e.o.Now().UTC()}
	switch ev.(type) {
	case queue.BaseSet, queue.Refreshed, queue.LinkChanged, queue.ListAdded, queue.ListRefreshed, queue.ListLinkChanged:
	default:
		head.Claims = e.claimsTouched()
	}
	if len(head.Claims) > maxLineClaims {
		head.Claims = nil
	}
	line, err := json.Marshal(&head)
	if err != nil {
		return nil, fmt.Errorf("encode journal line: %w", err)
	}
	return append(append(line, ' '), event...), nil
}

// claimsTouched lists the claims that the last event changed, with their names now.
func (e *Engine) claimsTouched() map[queue.ClaimID]string {
	out := map[queue.ClaimID]string{}
	for record := range queue.Dirty(e.state) {
		if id, ok := strings.CutPrefix(record, "claim/"); ok {
			norm := ""
			if c := e.state.Claims[queue.ClaimID(id)]; c != nil {
				norm = c.Norm
			}
			out[queue.ClaimID(id)] = norm
		}
	}
	return out
}

// cutLine takes a journal's line apart. Lines of earlier versions are an event alone.
func cutLine(line []byte) (head lineHead, event []byte, err error) {
	if bytes.HasPrefix(line, []byte(`{"event"`)) {
		return head, line, nil
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&head); err != nil {
		return head, nil, fmt.Errorf("journal line: %w", err)
	}
	return head, bytes.TrimPrefix(line[d.InputOffset():], []byte(" ")), nil
}

// History lists what happened to a name and the claims that stand or stood on it,
// newest first, as far back as the journal reaches.
func (e *Engine) History(ctx context.Context, dn string) ([]Happening, error) {
	name, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	h := &historian{norm: name.Norm(), on: map[queue.ClaimID]bool{}}
	now := map[queue.ClaimID]bool{}
	if err := e.do(ctx, func() {
		if n := e.state.Names[h.norm]; n != nil {
			for _, id := range n.Claims {
				now[id] = true
			}
		}
	}); err != nil {
		return nil, err
	}
	if err := e.eachLine(ctx, func(head *lineHead, ev queue.Event) {
		for id, norm := range head.Claims {
			if norm == h.norm {
				delete(now, id)
			}
		}
	}); err != nil {
		return nil, err
	}
	known := len(now) > 0
	for id := range now { // the journal does not reach back to when they came
		h.on[id] = true
	}
	if err := e.eachLine(ctx, h.take); err != nil {
		return nil, err
	}
	if len(h.list) == 0 && !known {
		return nil, notFound("history of", name.String())
	}
	slices.Reverse(h.list)
	return h.list[:min(len(h.list), maxHistory)], nil
}

// eachLine reads the journal; a line that cannot be read is passed over.
func (e *Engine) eachLine(ctx context.Context, fn func(head *lineHead, ev queue.Event)) error {
	return e.store.Journal(0, func(seq uint64, line []byte) error {
		head, event, err := cutLine(line)
		var ev queue.Event
		if err == nil {
			ev, err = queue.DecodeEvent(event)
		}
		if err != nil {
			e.log.Warn("a journal line cannot be read", "line", seq, "error", err)
			return ctx.Err()
		}
		switch was := ev.(type) { // lines of earlier versions
		case queue.ClaimAdded:
			head.Claims = map[queue.ClaimID]string{was.ID: was.Norm}
		case queue.ClaimRemoved:
			head.Claims = map[queue.ClaimID]string{was.ID: ""}
		}
		fn(&head, ev)
		return ctx.Err()
	})
}

// historian goes through the journal, oldest line first, for one name.
type historian struct {
	norm string
	on   map[queue.ClaimID]bool // claims on the name
	list []Happening
}

func (h *historian) take(head *lineHead, ev queue.Event) {
	switch ev := ev.(type) {
	case queue.Refreshed:
		h.fact(head, ev.ID, "refreshed", "")
	case queue.LinkChanged:
		if ev.Online {
			h.fact(head, ev.ID, "up", "")
		} else {
			h.fact(head, ev.ID, "down", ev.Reason)
		}
	case queue.QueueMoved:
		h.fact(head, ev.ID, "queued", fmt.Sprintf("put at position %d of those that wait", ev.Position))
	case queue.Switched:
		h.fact(head, ev.ID, "switched", "an operator put it first")
	case queue.LingerEnded:
		if ev.Norm == h.norm {
			h.note(head, "", "lingering ended", "what a removed head had left is not shown any more")
		}
	case queue.ListRemoved:
		h.listGone(head, ev.ID)
	default:
		h.moves(head, ev)
	}
}

// fact notes what happened to a claim while it was on the name.
func (h *historian) fact(head *lineHead, id queue.ClaimID, what, why string) {
	if h.on[id] {
		h.note(head, id, what, why)
	}
}

func (h *historian) note(head *lineHead, id queue.ClaimID, what, why string) {
	h.list = append(h.list, Happening{At: head.At, Claim: id, What: what, Why: why})
	if len(h.list) >= 2*maxHistory {
		h.list = append(h.list[:0], h.list[maxHistory:]...)
	}
}

// moves notes which claims came to the name, and which left it.
func (h *historian) moves(head *lineHead, ev queue.Event) {
	ids := make([]queue.ClaimID, 0, len(head.Claims))
	for id := range head.Claims {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		norm := head.Claims[id]
		switch here := norm == h.norm; {
		case here == h.on[id]:
		case here:
			h.on[id] = true
			what, why := "claimed", cause(ev)
			if _, moved := ev.(queue.ClaimMoved); moved {
				what = "moved"
			}
			h.note(head, id, what, why)
		case norm == "":
			delete(h.on, id)
			h.note(head, id, "removed", cause(ev))
		default:
			delete(h.on, id)
			h.note(head, id, "moved", "to "+written(ev, norm))
		}
	}
}

func (h *historian) listGone(head *lineHead, list string) {
	ids := make([]queue.ClaimID, 0, len(h.on))
	for id := range h.on {
		if strings.HasPrefix(string(id), list+"/") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		delete(h.on, id)
		h.note(head, id, "removed", "the list was removed")
	}
}

// written is a name as the event that moved a claim there has it; its normal form
// where the event does not say.
func written(ev queue.Event, norm string) string {
	switch ev := ev.(type) {
	case queue.ClaimMoved:
		return ev.Name
	case queue.EntryFound:
		for _, n := range ev.Names {
			if n.Norm == norm {
				return n.Name
			}
		}
	}
	return norm
}

// cause says why claims came or went.
func cause(ev queue.Event) string {
	switch ev := ev.(type) {
	case queue.EntryFound:
		return fmt.Sprintf("the list %s found %s, or found it changed", ev.List, ev.DN)
	case queue.EntryLost:
		return fmt.Sprintf("the list %s does not find its entry any more", ev.List)
	case queue.ClaimSuppressed:
		return "suppressed by an operator"
	case queue.ClaimLifted:
		return "its suppression was lifted"
	case queue.ClaimMoved:
		return "renamed to this name"
	case queue.ClaimRemoved:
		return "its subscription was removed"
	}
	return ""
}
