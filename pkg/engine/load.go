package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// load brings the state of an earlier run back and publishes its tree.
func (e *Engine) load() error {
	e.last = e.store.LastCSN()
	if err := e.loadState(); err != nil {
		return err
	}
	if err := e.loadBase(); err != nil {
		return err
	}
	if err := e.loadClaims(); err != nil {
		return err
	}
	err := e.store.Published(func(claim uint32, up, served dit.UUID) error {
		e.pub.set(claim, up, served)
		return nil
	})
	if err != nil {
		return err
	}
	return e.loadTree()
}

func (e *Engine) loadState() error {
	records := map[string][]byte{}
	err := e.store.Records(recordQueue, func(name string, value []byte) error {
		records[strings.TrimPrefix(name, recordQueue)] = slices.Clone(value)
		return nil
	})
	if err != nil {
		return err
	}
	if e.state, err = queue.Load(records); err != nil {
		return fmt.Errorf("stored queues: %w", err)
	}
	return e.store.Records(recordSubscription, func(name string, value []byte) error {
		s, err := decodeSubscription(value)
		if err != nil {
			return fmt.Errorf("stored %s: %w", name, err)
		}
		e.subs[s.ID] = s
		return nil
	})
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
			return fmt.Errorf("claim %s: its subscription %q is not in the store", id, qc.Subscription)
		}
		if err := e.addClaim(qc, sub); err != nil {
			return err
		}
	}
	for _, sc := range e.store.Claims() {
		cl := e.byNum[sc.ID]
		switch {
		case sc.ID == 0:
		case cl == nil:
			if err := e.store.DropClaim(sc.ID, &store.Batch{}); err != nil {
				return err
			}
		default:
			cl.gen, cl.cookie, cl.server = sc.Generation, sc.Cookie, sc.Server
			if sc.Damaged {
				e.log.Error("stored content is damaged: what is sound is served, all is fetched again", "claim", cl.id)
				cl.cookie = nil
			}
		}
	}
	return e.store.Records(recordContact, func(name string, value []byte) error {
		cl := e.claims[queue.ClaimID(strings.TrimPrefix(name, recordContact))]
		t, err := time.Parse(time.RFC3339Nano, string(value))
		if cl != nil && err == nil {
			cl.contact = t
		}
		return nil
	})
}

func (e *Engine) addClaim(qc *queue.Claim, sub *Subscription) error {
	name, err := dit.ParseDN(e.schema, qc.Name)
	if err != nil {
		return fmt.Errorf("claim %s: %w", qc.ID, err)
	}
	cl := &claim{id: qc.ID, number: qc.Number, sub: sub, name: name}
	e.claims[cl.id], e.byNum[cl.number] = cl, cl
	return nil
}

// loadTree rebuilds the tree from stored content, outer names first.
func (e *Engine) loadTree() error {
	e.version.Store(tree.Empty(tree.Options{Schema: e.schema, SID: e.o.ServerID, Index: e.o.Index, Subschema: SubschemaDN}))
	if e.o.BaseDN.IsEmpty() {
		return nil
	}
	e.oldOwn = map[dit.UUID]storedOwn{}
	err := e.store.Entries(0, func(it store.Item) error {
		rec, err := decodeRecord(slices.Clone(it.Value))
		if err != nil {
			e.log.Error("a stored entry of our own is malformed; it is made anew", "uuid", it.UUID.String())
			return nil
		}
		e.oldOwn[it.UUID] = storedOwn{rec, it.CSN}
		return nil
	})
	if err != nil {
		return err
	}
	ed := e.edit(nil)
	if err := e.setBase(ed.b); err != nil {
		return err
	}
	e.renest()
	for _, cl := range e.headsOuterFirst() {
		if err := e.loadContent(ed.b, cl); err != nil {
			return err
		}
	}
	ed.b.SetCSN(e.store.LastCSN())
	e.version.Store(ed.b.Done())
	return e.dropUnusedOwn()
}

// SubschemaDN is where the schema is served.
const SubschemaDN = "cn=Subschema"

func (e *Engine) headsOuterFirst() []*claim {
	var heads []*claim
	for _, name := range e.state.Names {
		heads = append(heads, e.claims[name.Claims[0]])
	}
	slices.SortFunc(heads, func(a, b *claim) int {
		return cmp.Or(cmp.Compare(a.name.Len(), b.name.Len()), cmp.Compare(a.name.Norm(), b.name.Norm()))
	})
	return heads
}

// loadedEntry is a stored entry on its way into the tree.
type loadedEntry struct {
	row   tree.Row
	ref   tree.Ref
	depth int
}

// loadContent puts one claim's stored content into the tree, parents first.
func (e *Engine) loadContent(b *tree.Builder, cl *claim) error {
	conv, err := newConverter(e.schema, cl.sub, cl.name)
	if err != nil {
		return err
	}
	pack := tree.NewPack(e.schema, e.o.Index)
	var entries []loadedEntry
	bad := 0
	err = e.store.Entries(cl.number, func(it store.Item) error {
		rec, err := decodeRecord(it.Value)
		if err == nil {
			err = conv.restore(rec)
		}
		if err != nil {
			bad++
			return nil
		}
		cl.changed = max(cl.changed, it.CSN)
		cl.entries++
		if hiddenBy(cl.inner, conv.norm) {
			cl.hide(it.UUID, hiddenEntry{gen: it.Gen, hash: rec.hash, csn: it.CSN, norm: string(conv.norm)})
			cl.entries--
			return nil
		}
		ref := pack.Add(tree.Value{Norm: conv.norm, Text: conv.text, RDNLen: conv.rdnLen, User: conv.user, Oper: conv.oper})
		row := tree.Row{UUID: e.pub.of(cl.number, it.UUID), CSN: it.CSN, Hash: rec.hash, Claim: cl.number, Gen: it.Gen}
		entries = append(entries, loadedEntry{row, ref, conv.dn.Len()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("content of claim %s: %w", cl.id, err)
	}
	if bad > 0 {
		e.log.Error("stored entries are malformed: all is fetched again", "claim", cl.id, "entries", bad)
		cl.cookie = nil
	}
	slices.SortStableFunc(entries, func(a, b loadedEntry) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.row.CSN, b.row.CSN))
	})
	b.Adopt(pack)
	for _, le := range entries {
		b.PutRef(le.row, pack, le.ref)
	}
	return nil
}

// dropUnusedOwn removes stored glue that nothing needs any more.
func (e *Engine) dropUnusedOwn() error {
	var keys []store.Key
	for u := range e.oldOwn {
		keys = append(keys, store.Key{Claim: 0, UUID: u})
	}
	e.oldOwn = nil
	return inChunks(keys, func(part []store.Key) error { return e.commit(&store.Batch{Deletes: part}) })
}

var errNoBase = errors.New("no base DN is set: put base_dn into the configuration first")
