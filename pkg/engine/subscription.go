package engine

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sync"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// Subscription is what an operator enters: a tree (one remote subtree at one
// local name) or a list (a search; each entry that it finds becomes a subtree). Its JSON is the store's record and the API's form.
type Subscription struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // KindTree or KindList
	// Name is the local name as entered, of a list its template; claims hold the absolute one.
	Name   string          `json:"name"`
	URL    string          `json:"url"` // Source in one line, without credentials
	Source upstream.Source `json:"source"`
	// ContentFilter and ContentAttributes are the content's, of a list's claims:
	// everything when they are empty (R18). The Source's belong to the list's own search.
	ContentFilter     string   `json:"content_filter,omitempty"`
	ContentAttributes []string `json:"content_attributes,omitempty"`
	// NoDNRewrite leaves DN values inside the moved subtree as they are (R6).
	NoDNRewrite bool `json:"no_dn_rewrite,omitempty"`
}

// The kinds of subscriptions.
const (
	KindTree = "tree"
	KindList = "list"
)

// size is about how many bytes the record takes.
func (s *Subscription) size() int {
	src := &s.Source
	n := len(s.ID) + len(s.Name) + len(src.Host) + len(src.Base) + len(src.Filter) + len(src.BindDN) + len(src.PasswordFile) + len(src.CAFile)
	for _, a := range src.Attributes {
		n += len(a) + 4
	}
	return n + len(s.URL)
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// validate fills in defaults and refuses what can never work.
func (s *Subscription) validate() (warnings []string, err error) {
	if !idForm.MatchString(s.ID) {
		return nil, fmt.Errorf("subscription id %.200q: 1 to 64 letters, digits, '.', '_' and '-' are allowed", s.ID)
	}
	if s.Kind == "" {
		s.Kind = KindTree
	}
	if s.Kind != KindTree {
		return nil, fmt.Errorf("subscription kind %.200q: only %q is known", s.Kind, KindTree)
	}
	warnings, err = s.Source.Validate()
	if err != nil {
		return warnings, err
	}
	s.URL = s.Source.URL()
	return warnings, nil
}

// claim is what the engine holds at run time of one claim.
type claim struct {
	id     queue.ClaimID
	number uint32
	sub    *Subscription
	name   dit.DN // local, absolute

	// Owned by the engine goroutine.
	gen     uint32 // committed generation
	cookie  []byte
	server  string   // that gave the cookie
	inner   []string // names inside this one that hide content of it
	hidden  map[dit.UUID]hiddenEntry
	nesting int     // counts how often rows were hidden, or came back
	refused error   // why the next session is not to begin at once
	damaged bool    // stored content is not sound: the next refresh is committed whatever it brings
	changed dit.CSN // newest change of its content
	entries int
	link    *upstream.Link
	feed    *feed

	mu      sync.Mutex
	status  upstream.Status
	contact time.Time // of an earlier run, until there is a newer one
}

// hiddenEntry is content that another name's subtree hides (R7): stored, not served.
type hiddenEntry struct {
	gen  uint32
	hash uint64
	csn  dit.CSN
	norm string // of its local DN
}

// wholeSubtrees tells whether the claim takes every entry below its base, so
// that a deleted entry takes its descendants along.
func (c *claim) wholeSubtrees() bool {
	return c.sub.Source.Scope == "sub" && c.sub.Source.Filter == upstream.AllEntries
}

// stop ends the claim's session or probe and waits for it.
func (c *claim) stop() {
	if c.link != nil {
		c.setStatus(c.link.Status())
		c.link.Close()
		c.link = nil
	}
}

func (c *claim) setStatus(s upstream.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = s
}

// current gives the link's status; before the first report it is connecting.
func (c *claim) current() upstream.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	if c.link != nil {
		s = c.link.Status()
	}
	if s.State == "" {
		s.State = upstream.Connecting
	}
	if s.LastContact.IsZero() {
		s.LastContact = c.contact
	}
	return s
}

func decodeSubscription(b []byte) (*Subscription, error) {
	var s Subscription
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	return &s, nil
}
