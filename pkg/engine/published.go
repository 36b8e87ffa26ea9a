package engine

import (
	"sync"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// published maps (claim, upstream UUID) to the UUID under which the entry is
// served, where that is not the upstream's own (R41). Written by the engine
// goroutine, read by sessions too.
type published struct {
	mu   sync.RWMutex
	fwd  map[upstreamKey]dit.UUID
	back map[dit.UUID]upstreamKey
}

type upstreamKey struct {
	claim uint32
	id    dit.UUID
}

// of is the UUID that the claim's entry is, or would first be, served under.
func (p *published) of(claim uint32, id dit.UUID) dit.UUID {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if u, ok := p.fwd[upstreamKey{claim, id}]; ok {
		return u
	}
	return id
}

// upstream is of's inverse for an entry that the claim serves.
func (p *published) upstream(claim uint32, served dit.UUID) dit.UUID {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if k, ok := p.back[served]; ok && k.claim == claim {
		return k.id
	}
	return served
}

func (p *published) set(claim uint32, id, served dit.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fwd == nil {
		p.fwd, p.back = map[upstreamKey]dit.UUID{}, map[dit.UUID]upstreamKey{}
	}
	p.fwd[upstreamKey{claim, id}] = served
	p.back[served] = upstreamKey{claim, id}
}

// give has an entry be served under a UUID that another claim's may have been served
// under. undo takes it back.
func (p *published) give(claim uint32, id, served dit.UUID) (undo func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := upstreamKey{claim, id}
	before, mapped := p.fwd[k]
	owner, owned := p.back[served]
	if p.fwd == nil {
		p.fwd, p.back = map[upstreamKey]dit.UUID{}, map[dit.UUID]upstreamKey{}
	}
	if mapped && p.back[before] == k {
		delete(p.back, before)
	}
	delete(p.fwd, k)
	delete(p.back, served)
	if served != id {
		p.fwd[k], p.back[served] = served, k
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.fwd, k)
		delete(p.back, served)
		if owned {
			p.back[served] = owner
		}
		if mapped {
			p.fwd[k], p.back[before] = before, k
		}
	}
}

// restore takes back what set did for an entry that was served as before.
func (p *published) restore(claim uint32, id, before dit.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := upstreamKey{claim, id}
	if u := p.fwd[k]; p.back[u] == k {
		delete(p.back, u)
	}
	delete(p.fwd, k)
	if before != id {
		p.fwd[k], p.back[before] = before, k
	}
}

// another tells whether a UUID is that of another entry of the claim, which may be gone, and may
// come back.
func (p *published) another(claim uint32, id, served dit.UUID) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	k, ok := p.back[served]
	return ok && k.claim == claim && k.id != id
}

// lines gives what removes a claim's lines from the store.
func (p *published) lines(claim uint32) (gone []store.PublishedAs) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for k := range p.fwd {
		if k.claim == claim {
			gone = append(gone, store.PublishedAs{Claim: claim, Upstream: k.id})
		}
	}
	return gone
}

// drop forgets a claim's lines.
func (p *published) drop(claim uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, u := range p.fwd {
		if k.claim == claim {
			delete(p.fwd, k)
			if p.back[u] == k { // else another claim's entry has taken it over
				delete(p.back, u)
			}
		}
	}
}

// publishAs gives the UUID to serve an upstream entry under, and its row if it
// is served already. An entry whose own UUID another one bears gets its replacement,
// for good (R41).
func (ed *edit) publishAs(cl *claim, id dit.UUID) (dit.UUID, tree.ID) {
	served := ed.e.pub.of(cl.number, id)
	before := served
	at := ed.b.ByUUID(served)
	if at == 0 && !ed.isAside(cl, served) && !ed.e.pub.another(cl.number, id, served) {
		return served, 0
	}
	if at != 0 && ed.b.Row(at).Claim == cl.number && ed.e.pub.upstream(cl.number, served) == id {
		return served, at
	}
	served = replacement(cl.id, id)
	for ed.b.ByUUID(served) != 0 || ed.isAside(cl, served) || ed.e.pub.another(cl.number, id, served) {
		served = dit.NewUUIDv5(replacementSpace, served[:])
	}
	ed.e.pub.set(cl.number, id, served)
	ed.undo = append(ed.undo, func() { ed.e.pub.restore(cl.number, id, before) })
	ed.batch.Published = append(ed.batch.Published, store.PublishedAs{Claim: cl.number, Upstream: id, Published: served})
	return served, 0
}

// standing is publishAs but for claims whose content does not go to the tree: what
// is fetched aside has no UUID to be served under until it is.
func (ed *edit) standing(cl *claim, id dit.UUID) (dit.UUID, tree.ID) {
	if ed.e.isOffstage(cl) {
		return dit.UUID{}, 0
	}
	return ed.publishAs(cl, id)
}

// isAside tells whether another claim's entry was served under a UUID and will be
// again: another name hides it now, or its claim waits.
func (ed *edit) isAside(cl *claim, served dit.UUID) bool {
	if ed.aside[served] {
		return true
	}
	if ed.asides == nil {
		ed.asides = []*claim{}
		for _, other := range ed.e.byNum {
			if len(other.hidden) > 0 && !other.unserved {
				ed.asides = append(ed.asides, other)
			}
		}
	}
	for _, other := range ed.asides {
		id := ed.e.pub.upstream(other.number, served)
		if other != cl && other.hidden[id].served && ed.e.pub.of(other.number, id) == served {
			return true
		}
	}
	return false
}

// unborne gives u, or one made of it that no entry bears.
func (e *Engine) unborne(b *tree.Builder, u dit.UUID) dit.UUID {
	for b.ByUUID(u) != 0 {
		u = dit.NewUUIDv5(replacementSpace, u[:])
	}
	return u
}

// replacementSpace is the namespace of UUIDs made for entries whose own is taken.
var replacementSpace = dit.UUID{0x8a, 0x1f, 0x2c, 0x60, 0x5b, 0x0e, 0x4d, 0x52, 0x9c, 0x3e, 0x71, 0x2a, 0x5f, 0x44, 0xd0, 0x19}

// replacement is the UUID of an entry whose own is borne by another (R41):
// v5(constant, claim id, NUL, upstream UUID).
func replacement(claim queue.ClaimID, id dit.UUID) dit.UUID {
	name := append([]byte(claim), 0)
	return dit.NewUUIDv5(replacementSpace, append(name, id[:]...))
}
