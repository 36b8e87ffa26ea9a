package engine

import (
	"context"
	"slices"
	"sync"

	"shaft/pkg/dit"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

const (
	// maxPending bounds what one source may have waiting for the writer; beyond
	// it its session stops reading, and TCP holds the upstream back.
	maxPending = 1 << 20
	// quota is how many changes of one source the writer takes before it looks
	// at the next, so that a flood starves nobody.
	quota = 64
	// maxGroup bounds one commit (store.MaxBatchChanges leaves room for glue).
	maxGroup      = 500
	maxGroupBytes = 512 << 10
)

// change is one thing that happened to a claim's content in the persist stage,
// converted by its session. Its slices are its own.
type change struct {
	claim      *claim
	feed       *feed // that brought it; nil: the engine itself
	op         changeOp
	id         dit.UUID // upstream's
	record     []byte
	hash       uint64
	norm, text []byte
	rdnLen     int
	user, oper dit.Run
	cookie     []byte
	server     string // that gave the cookie
	gone, of   int    // of a delete that counts for the guard: what it takes away, and how much there was
}

type changeOp uint8

const (
	opPut changeOp = iota
	opDelete
	opCookie // everything before it is covered by cookie
)

func (c *change) size() int {
	return 160 + len(c.record) + len(c.norm) + len(c.text) + len(c.user) + len(c.oper) + len(c.cookie)
}

func (c *change) value() tree.Value {
	return tree.Value{Norm: c.norm, Text: c.text, RDNLen: c.rdnLen, User: c.user, Oper: c.oper}
}

// inbox is where sessions leave changes and link reports for the writer:
// bounded in bytes for each source, taken round-robin.
type inbox struct {
	mu      sync.Mutex
	sources map[*claim]*pending
	ring    []*claim
	reports []report
	closed  error         // why nothing is taken any more
	wake    chan struct{} // holds one token while something waits
}

type pending struct {
	changes []change
	bytes   int
	space   chan struct{} // holds a token after the writer took something
}

type report struct {
	claim  *claim // or
	list   *list
	status upstream.Status
}

func (in *inbox) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// push leaves changes, waiting while the source has too much pending already.
func (in *inbox) push(ctx context.Context, cl *claim, changes []change) error {
	for {
		in.mu.Lock()
		if err := in.closed; err != nil {
			in.mu.Unlock()
			return err
		}
		if in.sources == nil {
			in.sources = map[*claim]*pending{}
		}
		p := in.sources[cl]
		if p == nil {
			p = &pending{space: make(chan struct{}, 1)}
			in.sources[cl] = p
		}
		if p.bytes < maxPending {
			if len(p.changes) == 0 {
				in.ring = append(in.ring, cl)
			}
			for i := range changes {
				p.bytes += changes[i].size()
			}
			p.changes = append(p.changes, changes...)
			in.mu.Unlock()
			in.signal()
			return nil
		}
		in.mu.Unlock()
		select {
		case <-p.space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take gathers the next group, quota by quota round the sources.
func (in *inbox) take() []change {
	in.mu.Lock()
	defer in.mu.Unlock()
	var group []change
	bytes := 0
	for len(in.ring) > 0 && len(group) < maxGroup && bytes < maxGroupBytes {
		cl := in.ring[0]
		in.ring = in.ring[1:]
		p := in.sources[cl]
		n := 0
		for n < len(p.changes) && n < quota && len(group) < maxGroup && bytes < maxGroupBytes {
			size := p.changes[n].size()
			group = append(group, p.changes[n])
			p.bytes -= size
			bytes += size
			n++
		}
		p.changes = p.changes[n:]
		if len(p.changes) > 0 {
			in.ring = append(in.ring, cl)
		} else {
			p.changes = nil
		}
		select {
		case p.space <- struct{}{}:
		default:
		}
	}
	return group
}

// has tells whether a claim has something pending.
func (in *inbox) has(cl *claim) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	p := in.sources[cl]
	return p != nil && len(p.changes) > 0
}

// takeOf gives all that a claim has pending.
func (in *inbox) takeOf(cl *claim) []change {
	in.mu.Lock()
	defer in.mu.Unlock()
	p := in.sources[cl]
	if p == nil {
		return nil
	}
	delete(in.sources, cl)
	in.ring = slices.DeleteFunc(in.ring, func(c *claim) bool { return c == cl })
	return p.changes
}

// forget throws away what a claim has pending, and what its link reported.
func (in *inbox) forget(cl *claim) {
	in.takeOf(cl)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reports = slices.DeleteFunc(in.reports, func(r report) bool { return r.claim == cl })
}

// forgetList throws away what a list's link reported.
func (in *inbox) forgetList(l *list) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reports = slices.DeleteFunc(in.reports, func(r report) bool { return r.list == l })
}

// tell leaves a link's status; it never waits.
func (in *inbox) tell(r report) {
	in.mu.Lock()
	in.reports = slices.DeleteFunc(in.reports, func(old report) bool { return old.claim == r.claim && old.list == r.list })
	in.reports = append(in.reports, r)
	in.mu.Unlock()
	in.signal()
}

func (in *inbox) takeReports() []report {
	in.mu.Lock()
	defer in.mu.Unlock()
	r := in.reports
	in.reports = nil
	return r
}

// close refuses whatever comes from now on, and throws away what is pending.
func (in *inbox) close(why error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.ring = why, nil
	for _, p := range in.sources {
		p.changes, p.bytes = nil, 0
		select {
		case p.space <- struct{}{}:
		default:
		}
	}
}
