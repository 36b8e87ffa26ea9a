package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// hold is a completed refresh that was not taken (R36), as its record keeps it. That there
// is one, and whether it is rejected, is the queues' word (queue.Hold): a record of which
// they know nothing is void. What it would remove and what it brought is kept in records of
// its own, written before it (see holdWriter).
type hold struct {
	Of     string `json:"of"`               // a claim's id or a list's
	Number uint32 `json:"number,omitempty"` // the claim's
	Serial uint64 `json:"serial"`           // of its records
	Chunks int    `json:"chunks"`           // how many they are
	Print  string `json:"print"`            // fingerprint of the set that goes
	Sum    string `json:"sum"`              // of all that it is
	Cause  string `json:"-"`

	Since  time.Time `json:"since"` // when that set was held first
	Seen   time.Time `json:"seen"`  // and last
	Server string    `json:"server"`
	Cookie []byte    `json:"cookie"`
	Origin string    `json:"origin"`         // of the source, or of the search
	Sent   bool      `json:"sent,omitempty"` // a cookie was

	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	Total   int `json:"total"`             // there were before
	Before  int `json:"before,omitempty"`  // that went within the minute before it
	Content int `json:"content,omitempty"` // of a list: entries of content that go along

	Rejected *rejection `json:"rejected,omitempty"`
	// Approved: of a list, the point of no return: a start goes on from there.
	Approved bool `json:"approved,omitempty"`

	busy bool // somebody approves it just now
}

// rejection says who does not want it.
type rejection struct {
	Who string    `json:"who"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

const (
	recordHold    = "hold/"    // and what it is of
	recordHoldSet = "holdset/" // and the serial, "/" and the number of the chunk
)

// Uncopied are the records of which the store keeps no second copy: what is held is fetched again, and
// may be large.
var Uncopied = []string{recordHoldSet}

func (h *hold) record() store.Record { return jsonRecord(recordHold+h.Of, h) }

func holdSet(serial uint64) string { return fmt.Sprintf("%s%016x/", recordHoldSet, serial) }

func holdChunk(serial uint64, n int) string { return fmt.Sprintf("%s%08x", holdSet(serial), n) }

// revision is a number that is another whenever another set goes.
func (h *hold) revision() uint64 { return printRevision(h.Print) }

func printRevision(print string) uint64 {
	n, err := strconv.ParseUint(print[:min(len(print), 13)], 16, 64) // 52 bits
	if err != nil {
		return 1
	}
	return max(1, n)
}

// printOf is the fingerprint of a set of entries, whatever their order.
func printOf(gone []goneEntry) string {
	var ids []dit.UUID
	for _, g := range gone {
		if !g.again {
			ids = append(ids, g.id)
		}
	}
	slices.SortFunc(ids, func(a, b dit.UUID) int { return slices.Compare(a[:], b[:]) })
	h := sha256.New()
	for _, id := range ids {
		h.Write(id[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// holdOf gives what is held of a claim or a list; nil for nothing.
func (e *Engine) holdOf(of string) *hold {
	h := e.holds[of]
	if h == nil || !e.holdIs(h) {
		return nil
	}
	return h
}

// holdIs tells whether the queues know of it.
func (e *Engine) holdIs(h *hold) bool {
	if c := e.state.Claims[queue.ClaimID(h.Of)]; c != nil && c.Number != h.Number {
		return false
	}
	return h.Print == e.state.HoldOf(h.Of).Print
}

// The kinds of frames in a hold's records.
const (
	frameGone  = 'g' // an entry that goes
	framePut   = 'p' // an entry that is new or changed: UUID and stored record
	frameGoes  = 't' // of a list: what goes, in words
	frameEvent = 'e' // of a list: an event for the queues
)

// chunkBytes is about how much one record of a hold has: a commit of the writer each, some
// milliseconds, between which others have their turn.
const chunkBytes = 256 << 10

// holdWriter writes what a hold consists of, chunk by chunk, from a session's goroutine.
type holdWriter struct {
	ctx    context.Context
	e      *Engine
	serial uint64
	chunks int
	buf    []byte
}

func (w *holdWriter) frame(kind byte, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if len(w.buf)+size > chunkBytes { // a record holds no more than one large value
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.buf = binary.AppendUvarint(append(w.buf, kind), uint64(size))
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
	if len(w.buf) >= chunkBytes {
		return w.flush()
	}
	return nil
}

func (w *holdWriter) flush() (err error) {
	if len(w.buf) == 0 {
		return nil
	}
	b := store.Batch{Records: []store.Record{{Name: holdChunk(w.serial, w.chunks), Value: w.buf}}}
	if doErr := w.e.do(w.ctx, func() { err = w.e.commit(&b) }); doErr != nil || err != nil {
		return cmp.Or(doErr, err)
	}
	w.buf = nil
	w.chunks++
	return nil
}

// gone writes the set that goes.
func (w *holdWriter) gone(set []goneEntry) error {
	for i := range set {
		g := &set[i]
		again := []byte{0}
		if g.again {
			again[0] = 1
		}
		if err := w.frame(frameGone, again, g.id[:], []byte(g.rel)); err != nil {
			return err
		}
	}
	return nil
}

var errHoldDamaged = errors.New("what was held is not whole in the store; the source is asked again")

// readHold gives the frames of a hold in their order; fn ends it with an error. For
// any goroutine.
func (e *Engine) readHold(h *hold, fn func(kind byte, data []byte) error) error {
	chunks := 0
	err := e.store.Records(holdSet(h.Serial), func(_ string, value []byte) error {
		chunks++
		return eachFrame(value, fn)
	})
	if err == nil && chunks != h.Chunks {
		return errHoldDamaged
	}
	return err
}

// eachFrame reads the frames of one chunk.
func eachFrame(chunk []byte, fn func(kind byte, data []byte) error) error {
	for len(chunk) > 0 {
		kind := chunk[0]
		n, used := binary.Uvarint(chunk[1:])
		if used <= 0 || n > uint64(len(chunk)-1-used) {
			return errHoldDamaged
		}
		end := 1 + used + int(n)
		if err := fn(kind, chunk[1+used:end]); err != nil {
			return err
		}
		chunk = chunk[end:]
	}
	return nil
}

func decodeGone(data []byte) (g goneEntry, err error) {
	if len(data) < 17 {
		return g, errHoldDamaged
	}
	g.again = data[0] == 1
	copy(g.id[:], data[1:17])
	g.rel = string(data[17:])
	return g, nil
}

// keep makes a hold durable, on the session's goroutine: first what it consists of, then, in
// one commit, that it is held. What current refuses is not held. It gives upstream.ErrHeld.
func (e *Engine) keep(ctx context.Context, v *verdict, current func() error, write func(*holdWriter) error) (err error) {
	h := v.hold
	w := &holdWriter{ctx: ctx, e: e}
	same := false
	doErr := e.do(ctx, func() {
		if err = current(); err != nil {
			return
		}
		if old := e.holdOf(h.Of); old != nil && old.Sum == h.Sum && old.Origin == h.Origin {
			same, old.Seen = true, e.o.Now().UTC()
			e.tellHeld(h)
		}
		w.serial = uint64(e.nextCSN())
	})
	if err = cmp.Or(doErr, err); err != nil || same {
		return cmp.Or(err, upstream.ErrHeld)
	}
	if err = write(w); err == nil {
		err = w.flush()
	}
	if err == nil {
		doErr = e.do(ctx, func() {
			if err = current(); err == nil {
				h.Serial, h.Chunks = w.serial, w.chunks
				err = e.held(h)
			}
		})
		err = cmp.Or(doErr, err)
	}
	if err != nil {
		if e.do(ctx, func() { e.dropChunks(w.serial, w.chunks) }) != nil {
			e.voidHolds.add(w) // the writer may be waiting for the session to end
		}
		return err
	}
	return upstream.ErrHeld
}

// held commits that something is held, in the place of what was.
func (e *Engine) held(h *hold) error {
	now := e.o.Now().UTC()
	old := e.holdOf(h.Of)
	h.Since, h.Seen = now, now
	if old != nil && old.Print == h.Print {
		h.Since, h.Rejected = old.Since, old.Rejected
	}
	b := store.Batch{Records: []store.Record{h.record()}}
	if _, err := e.decide(&b, queue.RefreshHeld{Of: h.Of, Print: h.Print, Cause: h.Cause}); err != nil {
		return err
	}
	if old == nil || old.Print != h.Print {
		e.end(&b, e.newTask(Actor{Who: ownActor}, "refresh held", h.Of), TaskDone, h.Cause)
	}
	keepsLoad := func() {}
	if cl := e.byNum[h.Number]; cl != nil {
		keepsLoad = e.loadHeld(&b, cl, h)
	}
	if err := e.commit(&b); err != nil {
		keepsLoad()
		e.restate()
		return err
	}
	e.tellHeld(h)
	was := e.holds[h.Of]
	e.holds[h.Of] = h
	if was != nil {
		e.dropChunks(was.Serial, was.Chunks)
	}
	e.log.Warn("refresh held", "of", h.Of, "removed", h.Removed, "of_entries", h.Total, "added", h.Added, "changed", h.Changed)
	return nil
}

// tellHeld tells those who await the claim's content that it does not come.
func (e *Engine) tellHeld(h *hold) {
	if cl := e.byNum[h.Number]; cl != nil {
		cl.fetched(errors.New(h.Cause + " (`shaft guard list`)"))
	}
}

// loadHeld ends the load that a held refresh was. revert takes that back where b's commit
// failed.
func (e *Engine) loadHeld(b *store.Batch, cl *claim, h *hold) (revert func()) {
	l := cl.load
	if l == nil {
		return func() {}
	}
	was := l.task.Task
	delete(l.pending, cl)
	cl.load = nil
	l.task.step(e.o.Now(), "load", false, fmt.Sprintf("%s: %s", cl.id, h.Cause))
	if len(l.pending) == 0 && len(l.done) == 0 {
		l.task.Advice = "see `shaft guard list`, then approve or reject it"
		e.end(b, l.task, TaskDone, "the refresh is held: nothing has changed until somebody approves it")
	} else if len(l.pending) == 0 {
		e.endLoad(b, l)
	}
	return func() {
		l.task.Task = was
		l.join(cl)
	}
}

// reapHolds takes away what is void: the queues know of it no more.
func (e *Engine) reapHolds() {
	for of, h := range e.holds {
		if e.holdIs(h) {
			continue
		}
		delete(e.holds, of)
		if err := e.writeRecords([]store.Record{{Name: recordHold + of}}); err != nil {
			e.log.Error("a void hold is still stored; the next start removes it", "of", of, "error", err)
			continue
		}
		e.dropChunks(h.Serial, h.Chunks)
	}
}

// voidHolds is what ended sessions wrote of holds that were not to be.
type voidHolds struct {
	mu   sync.Mutex
	list []*holdWriter
}

func (v *voidHolds) add(w *holdWriter) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, w)
}

// dropVoidHolds removes it from the store.
func (e *Engine) dropVoidHolds() {
	e.voidHolds.mu.Lock()
	list := e.voidHolds.list
	e.voidHolds.list = nil
	e.voidHolds.mu.Unlock()
	for _, w := range list {
		e.dropChunks(w.serial, w.chunks)
	}
}

func (e *Engine) dropChunks(serial uint64, n int) {
	records := make([]store.Record, n)
	for i := range records {
		records[i].Name = holdChunk(serial, i)
	}
	if err := e.writeRecords(records); err != nil {
		e.log.Error("records of a hold are still stored; the next start removes them", "error", err)
	}
}

// holdsEnd gives the events that end what is held of a subscription.
func (e *Engine) holdsEnd(id string) (out []queue.Event) {
	if e.state.HoldOf(id).Is() {
		out = append(out, queue.HoldEnded{Of: id})
	}
	for _, cl := range e.claimsOf(id) {
		if of := string(cl.id); of != id && e.state.HoldOf(of).Is() {
			out = append(out, queue.HoldEnded{Of: of})
		}
	}
	return out
}

// endHold ends what is held of a claim or a list, if anything is, with the batch.
func (e *Engine) endHold(b *store.Batch, of string) error {
	if !e.state.HoldOf(of).Is() {
		return nil
	}
	_, err := e.decide(b, queue.HoldEnded{Of: of})
	return err
}

// loadHolds reads what is held, and removes what an end in the middle of it left.
func (e *Engine) loadHolds() error {
	e.holds = map[string]*hold{}
	var junk []store.Record
	live := map[string]bool{}
	err := e.store.Records(recordHold, func(name string, value []byte) error {
		h := &hold{}
		err := json.Unmarshal(value, h)
		if cl := e.byNum[h.Number]; err == nil && cl != nil && cl.damaged {
			err = errHoldDamaged // what it says is unchanged may not be there
		}
		if err != nil || h.Of != strings.TrimPrefix(name, recordHold) || !e.holdIs(h) {
			junk = append(junk, store.Record{Name: strings.Clone(name)})
			return nil
		}
		h.Cause = e.state.HoldOf(h.Of).Cause
		e.holds[h.Of], live[holdSet(h.Serial)] = h, true
		return nil
	})
	if err != nil {
		return err
	}
	err = e.store.Records(recordHoldSet, func(name string, _ []byte) error {
		if i := strings.LastIndexByte(name, '/'); !live[name[:i+1]] {
			junk = append(junk, store.Record{Name: strings.Clone(name)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := e.writeLater(junk); err != nil {
		return err
	}
	return e.endLostHolds()
}

// endLostHolds ends those of which the queues know and nothing is stored: the source is asked again.
func (e *Engine) endLostHolds() error {
	var of []string
	for id, c := range e.state.Claims {
		of = append(of, lostHold(e, string(id), c.Held)...)
	}
	for id, l := range e.state.Lists {
		of = append(of, lostHold(e, id, l.Held)...)
	}
	for _, id := range of {
		var b store.Batch
		if err := e.endHold(&b, id); err != nil {
			return err
		}
		if err := e.commit(&b); err != nil {
			return err
		}
	}
	return nil
}

func lostHold(e *Engine, of string, h queue.Hold) []string {
	if h.Is() && e.holds[of] == nil {
		return []string{of}
	}
	return nil
}
