package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

// audit compares a claim's stored content with its source, in two searches at
// most. The first asks for entryUUID and entryCSN alone. An entry whose DN and
// entryCSN are those that are stored is the same. An entryCSN may be another
// though the content is not (a change and its undoing, which a refresh does not show), and
// servers other than OpenLDAP's have none: such entries are fetched whole by the
// second search, and compared by their content hashes.
//
// It runs on the goroutine of whoever asked, beside the claim's session, and
// holds 16 bytes for each entry.
type audit struct {
	e      *Engine
	claim  *claim // a likeness: what converters need of it
	number uint32
	out    *Resynced

	ctx   context.Context
	conv  *converter
	whole bool       // the second search
	seen  []dit.UUID // of the search
	doubt []dit.UUID // of the first that the second is to look at
}

// maxAudited is how many DNs of each kind an audit lists.
const maxAudited = 100

func (e *Engine) newAudit(cl *claim, out *Resynced) (*audit, error) {
	if cl.gen == 0 {
		out.Warnings = append(out.Warnings, "nothing is stored yet: the first load is not complete")
	} else if cl.load != nil || cl.taken != cl.origin() {
		out.Warnings = append(out.Warnings, "a full load is under way: what it brings may show as missing, or otherwise")
	}
	likeness := &claim{id: cl.id, sub: cl.sub, name: cl.name, source: cl.source, raw: cl.raw}
	return &audit{e: e, claim: likeness, number: cl.number, out: out}, nil
}

func (a *audit) run(ctx context.Context) error {
	src := a.claim.source
	src.Attributes = []string{"entryUUID", "entryCSN"}
	a.claim.source = src // the converter would take attributes away
	if err := upstream.Collect(ctx, src, a, a.e.o.Upstream); err != nil {
		return fmt.Errorf("audit of %s: %w", a.out.DN, err)
	}
	if err := a.surplus(); err != nil {
		return err
	}
	slices.SortFunc(a.doubt, compareUUID)
	if len(a.doubt) > 0 {
		a.whole = true
		if err := a.second(ctx); err != nil {
			return err
		}
	}
	a.out.Audited = true
	if a.out.Counts != [3]int{} {
		a.out.Warnings = append(a.out.Warnings, "what changed at the source while this ran may be among it; `shaft name resync` without --dry-run loads all of it again")
	}
	return nil
}

func (a *audit) second(ctx context.Context) error {
	err := a.e.do(ctx, func() {
		if cl := a.e.byNum[a.number]; cl != nil {
			a.claim.source = cl.source
		}
	})
	if err == nil {
		err = upstream.Collect(ctx, a.claim.source, a, a.e.o.Upstream)
	}
	if err != nil {
		return fmt.Errorf("audit of %s, entries of another entryCSN: %w", a.out.DN, err)
	}
	return nil
}

func compareUUID(a, b dit.UUID) int { return bytes.Compare(a[:], b[:]) }

// note counts an entry, and lists it while there is room.
func (a *audit) note(kind int, dn string) {
	a.out.Counts[kind]++
	list := [...]*[]string{&a.out.Missing, &a.out.Surplus, &a.out.Differ}[kind]
	if len(*list) < maxAudited {
		*list = append(*list, clip(dn))
	}
}

const (
	auditMissing = iota
	auditSurplus
	auditDiffers
)

// Begin implements upstream.Feed. It may begin again, by another way to search.
func (a *audit) Begin(ctx context.Context, _ string) (_ []byte, _ syncrepl.Sink, err error) {
	a.ctx = ctx
	a.seen = a.seen[:0]
	if !a.whole {
		a.doubt = nil
		a.out.Counts, a.out.Same = [3]int{}, 0
		a.out.Missing, a.out.Differ = []string{}, []string{}
	}
	a.conv, err = newConverter(a.e.schema, a.claim)
	return nil, a, err
}

// Put implements syncrepl.Sink.
func (a *audit) Put(e syncrepl.Entry) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if a.whole {
		if _, asked := slices.BinarySearchFunc(a.doubt, e.UUID, compareUUID); !asked {
			return nil
		}
	}
	if err := a.conv.convert(e); err != nil {
		return err
	}
	item, err := a.e.store.Entry(a.number, e.UUID)
	if err != nil {
		return err
	}
	var stored record
	if item != nil {
		if stored, err = decodeRecord(item.Value); err != nil {
			return fmt.Errorf("entry %s: %w", e.UUID, err)
		}
	}
	if a.whole {
		a.compare(item, &stored, string(e.DN))
		return nil
	}
	a.seen = append(a.seen, e.UUID)
	rec := &a.conv.rec
	switch {
	case item == nil:
		a.note(auditMissing, string(e.DN))
	case !bytes.Equal(rec.rel, stored.rel):
		a.note(auditDiffers, string(e.DN))
	case len(rec.csn) == 0 || !bytes.Equal(rec.csn, stored.csn):
		a.doubt = append(a.doubt, e.UUID)
	default:
		a.out.Same++
	}
	return nil
}

// compare holds a whole entry against what is stored.
func (a *audit) compare(item *store.Item, stored *record, dn string) {
	if item != nil && stored.hash == a.conv.rec.hash {
		a.out.Same++
		return
	}
	a.note(auditDiffers, dn)
}

// surplus finds what is stored and was not found.
func (a *audit) surplus() error {
	slices.SortFunc(a.seen, compareUUID)
	base := a.claim.source.Base
	err := a.e.store.Entries(a.number, func(it store.Item) error {
		if _, there := slices.BinarySearchFunc(a.seen, it.UUID, compareUUID); there {
			return a.ctx.Err()
		}
		dn := it.UUID.String()
		if rec, err := decodeRecord(it.Value); err == nil {
			dn = strings.TrimPrefix(string(rec.rel)+","+base, ",")
		}
		a.note(auditSurplus, dn)
		return nil
	})
	a.seen = nil
	return err
}

// Forget implements upstream.Feed: there is no cookie.
func (a *audit) Forget(context.Context) error { return nil }

// End implements upstream.Feed.
func (a *audit) End(error) {}

// Report implements upstream.Feed.
func (a *audit) Report(upstream.Status) {}

// Present implements syncrepl.Sink: without a cookie it names what was sent.
func (a *audit) Present([]dit.UUID) error { return nil }

// Delete implements syncrepl.Sink: what goes while the search runs.
func (a *audit) Delete([]dit.UUID) error { return nil }

// RefreshDone implements syncrepl.Sink.
func (a *audit) RefreshDone(syncrepl.End) error { return nil }

// Cookie implements syncrepl.Sink.
func (a *audit) Cookie([]byte) error { return nil }

// Flush implements syncrepl.Sink.
func (a *audit) Flush() error { return nil }
