package engine

import (
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// claim is what the engine holds at run time of one claim.
type claim struct {
	peer
	id     queue.ClaimID
	number uint32
	entry  dit.UUID // of a list's claim: the found entry's, which is its base; else zero

	// Owned by the engine goroutine; name, source and raw, which sessions read,
	// change only while none runs.
	sub     *Subscription
	name    dit.DN          // local, absolute: where the content is, or is to be
	source  upstream.Source // of the content
	raw     bool            // DN values stay as they are (R6)
	gen     uint32          // committed generation
	cookie  []byte
	server  string   // that gave the cookie
	taken   origin   // of what is stored
	inner   []string // names inside this one that hide content of it
	hidden  map[dit.UUID]hiddenEntry
	under   map[string]int // how many of those lie below a DN
	nesting int            // counts how often rows were hidden, or came back
	refused error          // why the next session is not to begin at once
	unsound bool           // the start found its stored content bad; damaged is set then too, and also where nothing is wrong with the store
	damaged bool           // stored content is not sound: the next refresh is committed whatever it brings
	changed atomic.Uint64  // CSN of the newest change of its content; read by anyone
	entries int
	window  window // of what went in the persist stage
	feed    *feed
	load    *load // that its session is part of, nil for none
	// unserved: what is stored was fetched aside and never served, or another claim's took
	// its place and its UUIDs.
	unserved bool
	awaited  []chan<- error // who waits for its content to be fetched, see fetchAside
}

// hiddenEntry is content that is stored and not served: another name's subtree hides
// it (R7), or its claim waits (see aside.go).
type hiddenEntry struct {
	gen    uint32
	hash   uint64
	csn    dit.CSN
	norm   string // of its local DN
	served bool   // it was: its UUID stays its own
}

// hide keeps an entry beside the tree.
func (c *claim) hide(id dit.UUID, h hiddenEntry) {
	c.unhide(id)
	if c.hidden == nil {
		c.hidden, c.under = map[dit.UUID]hiddenEntry{}, map[string]int{}
	}
	c.hidden[id] = h
	for a := range ancestors(h.norm) {
		c.under[a]++
	}
}

// unhide takes it from there, if it is there.
func (c *claim) unhide(id dit.UUID) {
	h, had := c.hidden[id]
	if !had {
		return
	}
	delete(c.hidden, id)
	for a := range ancestors(h.norm) {
		if c.under[a]--; c.under[a] == 0 {
			delete(c.under, a)
		}
	}
}

// hiddenUnder lists what is beside the tree below any of the DNs, in one pass.
func (c *claim) hiddenUnder(tops map[string]bool) iter.Seq[dit.UUID] {
	return func(yield func(dit.UUID) bool) {
		if len(tops) == 0 {
			return
		}
		for id, h := range c.hidden {
			for a := range ancestors(h.norm) {
				if tops[a] {
					if !yield(id) {
						return
					}
					break
				}
			}
		}
	}
}

// contentSource is where a claim's content comes from: a tree's own source; of a
// list the same server and credentials, and the found entry's whole subtree (R18).
func contentSource(sub *Subscription, qc *queue.Claim) upstream.Source {
	src := sub.Source
	if qc.Entry == "" {
		return src
	}
	src.Base, src.Scope = qc.Base, "sub"
	src.Filter, src.Attributes = sub.ContentFilter, sub.ContentAttributes
	if src.Filter == "" {
		src.Filter = upstream.AllEntries
	}
	return src
}

// wholeSubtrees tells whether the claim takes every entry below its base, so
// that a deleted entry takes its descendants along.
func (c *claim) wholeSubtrees() bool {
	return c.source.Scope == "sub" && c.source.Filter == upstream.AllEntries
}

// peer is the link to a server, and what is known of it.
type peer struct {
	link *upstream.Link // the engine goroutine's, which alone sets it, by setLink

	mu      sync.Mutex // of status and contact, and for whoever else reads link
	status  upstream.Status
	contact time.Time // of earlier links and runs, until there is a newer one
}

// stop ends the session or probe and waits for it.
func (p *peer) stop() {
	if p.link != nil {
		p.setStatus(p.link.Status())
		p.link.Close()
		p.setLink(nil)
	}
}

func (p *peer) setLink(l *upstream.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
}

func (p *peer) setStatus(s upstream.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = s
	if !s.LastContact.IsZero() {
		p.contact = s.LastContact
	}
}

// current gives the link's status; before the first report it is connecting. It
// may be called by anyone at any time.
func (p *peer) current() upstream.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	if p.link != nil {
		s = p.link.Status()
	}
	if s.State == "" {
		s.State = upstream.Connecting
	}
	if s.LastContact.IsZero() {
		s.LastContact = p.contact
	}
	return s
}
