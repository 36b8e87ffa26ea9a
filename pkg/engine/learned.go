package engine

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/schema"
	"shaft/pkg/store"
)

// learned is what servers told of their schema, as cn=Subschema shows it beside
// what is bundled and configured. It is shown only: how values compare here, and
// so the normal forms of a tree, never change with what some server says.
type learned struct {
	shown atomic.Pointer[schema.Schema]

	mu      sync.Mutex
	asked   map[string]time.Time // by server
	clashes []SchemaClash
	unsaved []schema.Learned
}

// SchemaClash is a definition of a server's that contradicts one that was known
// before, which stays.
type SchemaClash struct {
	Server     string `json:"server"`
	Definition string `json:"definition"`
	Reason     string `json:"reason"`
}

const (
	// askAgain is how often a server's schema is read: it seldom changes, and may have
	// hundreds of kilobytes.
	askAgain = time.Hour
	// maxClashes bounds those that are kept; one of a kind is enough to begin with.
	maxClashes = 100
	// maxAsked bounds the servers that are remembered; beyond it all are asked anew.
	maxAsked = 10000
)

// Schema is what is known of the schema; cn=Subschema shows it. Anyone may ask.
func (e *Engine) Schema() *schema.Schema { return e.learned.shown.Load() }

// subschemas is the engine as links see it.
type subschemas struct{ e *Engine }

// Due implements upstream.Subschemas.
func (s subschemas) Due(server string) bool {
	l, now := &s.e.learned, s.e.o.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, asked := l.asked[server]; asked && now.Sub(at) < askAgain {
		return false
	}
	if len(l.asked) >= maxAsked {
		clear(l.asked)
	}
	l.asked[server] = now
	return true
}

// Take implements upstream.Subschemas.
func (s subschemas) Take(server string, list []schema.Learned) {
	l := &s.e.learned
	l.mu.Lock()
	defer l.mu.Unlock()
	grown, added, clashes := l.shown.Load().Learn(server, list)
	l.shown.Store(grown)
	l.unsaved = append(l.unsaved, added...)
	for _, c := range clashes {
		l.clash(s.e, SchemaClash{server, c.Text, c.Reason})
	}
	if len(added) == 0 {
		return
	}
	s.e.log.Info("schema definitions learned", "server", server, "definitions", len(added))
	select {
	case s.e.inbox.wake <- struct{}{}:
	default:
	}
}

// clash notes one that is not known yet; the lock is held.
func (l *learned) clash(e *Engine, c SchemaClash) {
	for _, known := range l.clashes {
		if known == c {
			return
		}
	}
	if len(l.clashes) < maxClashes {
		l.clashes = append(l.clashes, c)
		e.log.Warn("a server defines differently what is known; what was known first stays", "server", c.Server, "reason", c.Reason)
	}
}

// saveLearned writes down what was learned; on the engine goroutine.
func (e *Engine) saveLearned() {
	l := &e.learned
	l.mu.Lock()
	list := l.unsaved
	l.unsaved = nil
	l.mu.Unlock()
	if len(list) == 0 || e.failed != nil {
		return
	}
	var records []store.Record
	for _, d := range list {
		fields := strings.Fields(d.Text) // "(", OID, …
		if len(fields) < 2 {
			continue
		}
		records = append(records, store.Record{Name: recordLearned + d.Kind + "/" + strings.TrimPrefix(fields[0], "(") + fields[1], Value: []byte(d.Text)})
	}
	if err := e.writeRecords(records); err != nil {
		e.log.Error("learned schema definitions not stored; they are learned again", "error", err)
	}
}

// loadLearned reads at the start what was learned before.
func (e *Engine) loadLearned() error {
	var list []schema.Learned
	err := e.store.Records(recordLearned, func(name string, value []byte) error {
		kind, _, ok := strings.Cut(strings.TrimPrefix(name, recordLearned), "/")
		if !ok {
			e.log.Error("a stored definition has no kind in its name; it is left out", "record", name)
			return nil
		}
		list = append(list, schema.Learned{Kind: kind, Text: string(value)})
		return nil
	})
	e.learned.asked = map[string]time.Time{}
	shown, _, clashes := e.schema.Learn("learned before", list)
	e.learned.shown.Store(shown)
	for _, c := range clashes {
		e.learned.clash(e, SchemaClash{"", c.Text, c.Reason})
	}
	return err
}

// schemaClashes lists what was found.
func (e *Engine) schemaClashes() []SchemaClash {
	e.learned.mu.Lock()
	defer e.learned.mu.Unlock()
	return append([]SchemaClash(nil), e.learned.clashes...)
}
