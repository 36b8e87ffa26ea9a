package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// load brings the state of an earlier run back and publishes its tree.
func (e *Engine) load() error {
	e.last = e.store.LastCSN()
	if err := e.loadLearned(); err != nil {
		return err
	}
	if err := e.loadAlarms(); err != nil {
		return err
	}
	if err := e.mendState(); err != nil {
		return err
	}
	if err := e.renorm(); err != nil {
		return err
	}
	if err := e.loadBase(); err != nil {
		return err
	}
	if err := e.loadLists(); err != nil {
		return err
	}
	if err := e.loadClaims(); err != nil {
		return err
	}
	if err := e.loadInstances(); err != nil {
		return err
	}
	if err := e.loadPoints(); err != nil {
		return err
	}
	if err := e.loadNumbers(); err != nil {
		return err
	}
	if err := e.loadTasks(); err != nil {
		return err
	}
	if err := e.loadHolds(); err != nil {
		return err
	}
	err := e.store.Published(func(claim uint32, up, served dit.UUID) error {
		if e.byNum[claim] != nil {
			e.pub.set(claim, up, served)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.loadTree()
}

// notWhole makes an error of records without which nothing can be done, a store.ErrCorrupt.
func notWhole(format string, args ...any) error {
	return fmt.Errorf("%w: %w", store.ErrCorrupt, fmt.Errorf(format, args...))
}

// newer makes a store.ErrNewer of queues that hold what this version does not know.
func newer(err error) error { return fmt.Errorf("%w: stored queues: %w", store.ErrNewer, err) }

// loadState reads queues and subscriptions as they are.
func (e *Engine) loadState() error {
	records, err := e.queueRecords()
	if err != nil {
		return err
	}
	s, err := queue.Load(records)
	if errors.Is(err, queue.ErrNewer) {
		return newer(err)
	} else if err != nil {
		return notWhole("stored queues: %w", err)
	}
	e.state = s
	return e.loadSubscriptions(func(name string, err error) error { return notWhole("stored %s: %w", name, err) })
}

func (e *Engine) queueRecords() (map[string][]byte, error) {
	records := map[string][]byte{}
	err := e.records(recordQueue, func(name string, value []byte) error {
		records[strings.TrimPrefix(name, recordQueue)] = slices.Clone(value)
		return nil
	})
	return records, err
}

// loadSubscriptions reads them; bad has the word on one that cannot be read.
func (e *Engine) loadSubscriptions(bad func(name string, err error) error) error {
	e.subs = map[string]*Subscription{}
	return e.records(recordSubscription, func(name string, value []byte) error {
		s, err := decodeSubscription(value)
		if err == nil && s.ID != strings.TrimPrefix(name, recordSubscription) {
			err = fmt.Errorf("it calls itself %q", s.ID)
		}
		if err != nil {
			return bad(strings.Clone(name), err)
		}
		e.subs[s.ID] = s
		return nil
	})
}

// renorm brings the stored normal forms up to the schema of today, in which two
// spellings may have become one name.
func (e *Engine) renorm() error {
	names, lingers := len(e.state.Names), e.state.Lingers
	err := queue.Renorm(e.state, func(text string) (string, error) {
		dn, err := dit.ParseDN(e.schema, text)
		return dn.Norm(), err
	})
	if err != nil {
		return fmt.Errorf("stored names under the schema of today: %w", err)
	}
	if len(e.state.Names) != names {
		return errors.New("stored names under the schema of today: two of them are one now; start without the schema file that does this, and remove one's subscription")
	}
	var b store.Batch
	for name, value := range queue.Dirty(e.state) {
		b.Records = append(b.Records, store.Record{Name: recordQueue + name, Value: value})
	}
	if len(b.Records) == 0 {
		return nil
	}
	var gone []uint32
	kept := map[uint32]bool{}
	for _, l := range e.state.Lingers {
		kept[l.Number] = true
	}
	for _, l := range lingers {
		if !kept[l.Number] {
			gone = append(gone, l.Number)
			e.log.Warn("content of a removed head goes: under the schema of today it has another name than the next claim", "name", l.Name, "claim", l.Claim)
		}
	}
	if len(gone) == 0 {
		return e.commit(&b)
	}
	return e.dropClaims(gone, &b)
}

// loadBase holds the configured base DN against the stored one (R1).
func (e *Engine) loadBase() error {
	base := e.o.BaseDN
	if base.Norm() == e.state.BaseNorm {
		return nil
	}
	if base.IsEmpty() {
		if len(e.state.Names) > 0 {
			return fmt.Errorf("no base DN is set, but names are stored under %q: set base_dn to it, or remove the subscriptions", e.state.BaseNorm)
		}
		return nil
	}
	var b store.Batch
	if _, err := e.decide(&b, queue.BaseSet{Norm: base.Norm(), Text: base.String()}); err != nil {
		return err
	}
	return e.commit(&b)
}

func (e *Engine) loadClaims() error {
	for id, qc := range e.state.Claims {
		sub := e.subs[qc.Subscription]
		if sub == nil {
			return notWhole("claim %s: its subscription %q is not there", id, qc.Subscription) // mendState has put one there
		}
		if err := e.addClaim(qc, sub); err != nil {
			return err
		}
	}
	if err := e.loadLingers(); err != nil {
		return err
	}
	if err := e.loadUnserved(); err != nil {
		return err
	}
	for _, sc := range e.store.Claims() {
		cl := e.byNum[sc.ID]
		if cl == nil {
			continue // see strangers
		}
		cl.gen, cl.cookie = sc.Generation, sc.Cookie
		if err := cl.setOrigin(sc.Server); err != nil {
			e.log.Error("what stored content was taken from cannot be read", "claim", cl.id, "error", err)
			sc.Damaged = true
		}
		if sc.Damaged {
			e.log.Error("stored content is damaged: what is sound is served, all is fetched again", "claim", cl.id)
			cl.cookie, cl.damaged, cl.unsound = nil, true, true
		}
	}
	return e.store.Records(recordContact, func(name string, value []byte) error {
		id := strings.TrimPrefix(name, recordContact)
		cl := e.claims[queue.ClaimID(id)]
		t, err := time.Parse(time.RFC3339Nano, string(value))
		if cl != nil && err == nil {
			cl.contact = t
		}
		if l := e.lists[id]; l != nil && err == nil {
			l.contact = t
		}
		return nil
	})
}

// maxDamagedNamed bounds how many claims are named whose content is damaged.
const maxDamagedNamed = 10

// damagedClaims tells in words of which claims the content is damaged, nothing if of none.
func (e *Engine) damagedClaims() []string {
	var ids []string
	for id, cl := range e.claims {
		if cl.unsound {
			ids = append(ids, string(id))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	more := ""
	if n := len(ids) - maxDamagedNamed; n > 0 {
		ids, more = ids[:maxDamagedNamed], fmt.Sprintf(" and %d more", n)
	}
	return []string{"stored content of " + strings.Join(ids, ", ") + more + " is damaged: what is sound is served, and all of it is fetched again"}
}

func (e *Engine) addClaim(qc *queue.Claim, sub *Subscription) error {
	name, err := dit.ParseDN(e.schema, qc.Name)
	if err != nil {
		return fmt.Errorf("claim %s: %w", qc.ID, err)
	}
	cl := &claim{id: qc.ID, number: qc.Number, sub: sub, name: name, source: contentSource(sub, qc), raw: sub.NoDNRewrite}
	if qc.Entry != "" {
		if cl.entry, err = dit.ParseUUID(qc.Entry); err != nil {
			return fmt.Errorf("claim %s: its found entry: %w", qc.ID, err)
		}
	}
	e.claims[cl.id], e.byNum[cl.number] = cl, cl
	return nil
}

// loadTree rebuilds the tree from stored content, outer names first.
func (e *Engine) loadTree() error {
	e.newest = tree.Empty(tree.Options{Schema: e.schema, SID: e.o.ServerID, Index: e.o.Index, Subschema: SubschemaDN, Memory: e.o.Memory})
	e.show()
	if e.o.BaseDN.IsEmpty() {
		return nil
	}
	if err := e.loadOwn(); err != nil {
		return err
	}
	if err := e.loadPending(); err != nil {
		return err
	}
	ed := e.edit(nil)
	if err := e.setBase(ed.b); err != nil {
		return err
	}
	if err := e.loadShown(); err != nil {
		return err
	}
	e.renest()
	if err := e.loadContent(ed.b); err != nil {
		return err
	}
	e.store.Unroll()
	ed.b.SetCSN(e.store.LastCSN())
	e.newest = ed.b.Done()
	e.show()
	if len(e.newLines) > 0 {
		if err := e.commit(&store.Batch{Published: e.newLines}); err != nil {
			return err
		}
		e.newLines = nil
	}
	for _, norm := range e.pendingUnhide {
		e.bringBack(norm)
	}
	e.pendingUnhide = nil
	e.resettle(e.marked)
	e.marked = nil
	e.endLinger(decisions{events: e.overdue})
	e.overdue = nil
	e.wakeForLingers()
	for _, id := range e.goneLists {
		if err := e.removeList(id); err != nil {
			return err
		}
	}
	e.goneLists = nil
	if err := e.dropHeirs(""); err != nil && !errors.Is(err, store.ErrFull) { // the next start does it
		return err
	}
	return e.dropUnusedOwn()
}

// loadPending reads which names went without what they hid having come back: it
// does so with CSNs and change log lines of its own, once the tree is there.
func (e *Engine) loadPending() error {
	return e.store.Records(recordUnhide, func(name string, _ []byte) error {
		e.pendingUnhide = append(e.pendingUnhide, strings.TrimPrefix(name, recordUnhide))
		return nil
	})
}

// SubschemaDN is where the schema is served.
const SubschemaDN = "cn=Subschema"

// loadedEntry is a stored entry on its way into the tree.
type loadedEntry struct {
	row   tree.Row
	pack  *tree.Pack
	ref   tree.Ref
	depth int
	id    dit.UUID // upstream's

	dn, parent uint64 // hashes of the normal forms
}

// loadContent puts the heads' stored content into the tree, parents first and
// each level in the order of its CSNs, which is the order it had.
func (e *Engine) loadContent(b *tree.Builder) error {
	var all []*loadedEntry
	for _, cl := range e.placed {
		entries, err := e.readContent(cl, nil)
		if err != nil {
			return fmt.Errorf("content of claim %s: %w", cl.id, err)
		}
		cl.entries += len(entries)
		adoptLoaded(b, entries)
		if all == nil {
			all = entries
		} else {
			all = append(all, entries...)
		}
	}
	sortLoaded(all)
	left := b.Load(len(all), func(i int) (tree.Row, *tree.Pack, tree.Ref) {
		return all[i].row, all[i].pack, all[i].ref
	}, func(i int) dit.UUID {
		e.serveOtherwise(b, all[i])
		return all[i].row.UUID
	})
	for _, i := range left {
		e.putLoaded(b, all[i])
	}
	return nil
}

// serveOtherwise has an entry be served under a replacement of its UUID, which another bears.
func (e *Engine) serveOtherwise(b *tree.Builder, le *loadedEntry) {
	cl := e.byNum[le.row.Claim]
	le.row.UUID = e.unborne(b, replacement(cl.id, le.id))
	e.pub.set(cl.number, le.id, le.row.UUID)
	e.newLines = append(e.newLines, store.PublishedAs{Claim: cl.number, Upstream: le.id, Published: le.row.UUID})
}

// loadRank is what entries are ordered by, beside each: to follow a pointer for a comparison is dear.
type loadRank struct {
	depth int
	csn   dit.CSN
	entry *loadedEntry
}

// sortLoaded puts parents first, and each level into the order of its CSNs.
func sortLoaded(entries []*loadedEntry) {
	ranks := make([]loadRank, len(entries))
	for i, le := range entries {
		ranks[i] = loadRank{le.depth, le.row.CSN, le}
	}
	slices.SortFunc(ranks, func(a, b loadRank) int {
		if a.depth != b.depth {
			return a.depth - b.depth
		}
		return cmp.Compare(a.csn, b.csn)
	})
	for i := range ranks {
		entries[i] = ranks[i].entry
	}
}

// putLoaded puts a stored entry into the tree. One whose UUID another bears, as
// after damage to the published lines, is served under its replacement.
func (e *Engine) putLoaded(b *tree.Builder, le *loadedEntry) {
	cl := e.byNum[le.row.Claim]
	if b.ByUUID(le.row.UUID) != 0 {
		e.serveOtherwise(b, le)
	}
	if b.PutRef(le.row, le.pack, le.ref) == 0 {
		e.log.Error("a stored entry has no place in the tree: all is fetched again", "claim", cl.id, "dn", string(le.pack.Text(le.ref)))
		cl.cookie, cl.damaged = nil, true
		cl.entries--
	}
}

// adoptLoaded takes over the packs of what readContent gave, each once.
func adoptLoaded(b *tree.Builder, entries []*loadedEntry) {
	var packs []*tree.Pack
	for _, le := range entries {
		if p := le.pack; !slices.Contains(packs, p) {
			b.Adopt(p)
			packs = append(packs, p)
		}
	}
}

// contentReader prepares a share of one claim's stored entries for the tree.
type contentReader struct {
	e       *Engine
	cl      *claim
	gone    []string // names below the claim's that are about to come back by themselves
	now     dit.CSN
	conv    *converter
	pack    *tree.Pack
	entries [][]loadedEntry // readChunk in each, but in the last
	count   int             // of them
	hidden  map[dit.UUID]hiddenEntry
	changed dit.CSN // newest change
	bad     int
}

// readContent prepares one claim's stored entries for the tree, by several goroutines where they
// are many; index is what they are looked up for, nil where the tree's is made later.
func (e *Engine) readContent(cl *claim, index []string) (entries []*loadedEntry, err error) {
	gone := slices.DeleteFunc(slices.Clone(e.pendingUnhide), func(norm string) bool {
		return norm == cl.name.Norm() || !underNorm(norm, cl.name.Norm())
	})
	slices.Sort(gone)
	now := dit.CSNAt(e.o.Now())
	readers := make([]*contentReader, store.Workers())
	err = e.store.EntriesShared(cl.number, func(worker int, it store.Item) (err error) {
		r := readers[worker]
		if r == nil {
			r = &contentReader{e: e, cl: cl, gone: gone, now: now}
			if r.conv, err = storedConverter(e.schema, cl); err != nil {
				return err
			}
			r.pack = tree.NewPack(e.schema, index, e.o.Memory)
			readers[worker] = r
		}
		r.read(it)
		return nil
	})
	bad, count := 0, 0
	for _, r := range readers {
		if r != nil {
			count += r.count
		}
	}
	entries = make([]*loadedEntry, 0, count)
	for _, r := range readers {
		if r == nil {
			continue
		}
		for _, chunk := range r.entries {
			for i := range chunk {
				entries = append(entries, &chunk[i])
			}
		}
		for id, h := range r.hidden {
			cl.hide(id, h)
		}
		cl.touched(r.changed)
		bad += r.bad
	}
	if bad > 0 {
		e.log.Error("stored entries are malformed: all is fetched again", "claim", cl.id, "entries", bad)
		cl.cookie, cl.damaged, cl.unsound = nil, true, true
	}
	return entries, err
}

func (r *contentReader) read(it store.Item) {
	cl, conv := r.cl, r.conv
	rec, err := decodeRecord(it.Value)
	if err == nil {
		err = conv.restore(rec)
	}
	if err != nil {
		r.bad++
		return
	}
	r.changed = max(r.changed, min(it.Changed, r.now)) // as publish does
	if hiddenBy(cl.inner, conv.norm) || hiddenBy(r.gone, conv.norm) {
		if r.hidden == nil {
			r.hidden = map[dit.UUID]hiddenEntry{}
		}
		r.hidden[it.UUID] = hiddenEntry{gen: it.Gen, hash: rec.hash, csn: it.CSN, norm: string(conv.norm), served: !cl.unserved}
		return
	}
	ref := r.pack.Add(tree.Value{Norm: conv.norm, Text: conv.text, RDNLen: conv.rdnLen, User: conv.user, Oper: conv.oper})
	_, parent, _ := bytes.Cut(conv.norm, []byte{','})
	r.add(loadedEntry{
		row:  tree.Row{UUID: r.e.pub.of(cl.number, it.UUID), CSN: it.CSN, Hash: rec.hash, Claim: cl.number, Gen: it.Gen},
		pack: r.pack, ref: ref, depth: cl.name.Len() + conv.depth, id: it.UUID,
		dn: xxhash.Sum64(conv.norm), parent: xxhash.Sum64(parent),
	})
}

// readChunk is how many entries a reader makes room for at once: lists that grow are copied.
const readChunk = 4096

func (r *contentReader) add(le loadedEntry) {
	n := len(r.entries)
	if n == 0 || len(r.entries[n-1]) == readChunk {
		room := readChunk
		if n == 0 {
			room = 0 // many claims have few
		}
		r.entries = append(r.entries, make([]loadedEntry, 0, room))
		n++
	}
	r.entries[n-1] = append(r.entries[n-1], le)
	if r.count++; r.count == readChunk {
		r.conv.move.RememberMore() // UUIDs put siblings, and what they name, far apart
	}
}

// dropUnusedOwn removes stored glue that nothing needs any more.
func (e *Engine) dropUnusedOwn() error {
	var records []store.Record
	for u := range e.oldOwn {
		records = append(records, store.Record{Name: recordOwn + u.String()})
	}
	e.oldOwn = nil
	return e.writeLater(records)
}

var errNoBase = errors.New("no base DN is set: put base_dn into the configuration first")
