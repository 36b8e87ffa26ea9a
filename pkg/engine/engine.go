// Package engine is the single writer: one goroutine takes what upstream
// sessions and operators bring, lets package queue decide, makes it durable in one
// commit, publishes the next version of the tree, and acts on what was decided.
//
//	event → decide → commit → publish → act
//
// Content (entries) and facts about claims travel apart: entries are converted
// on their session's goroutine (convert.go), a refresh is staged there too
// (refresh.go), and only finished work reaches the writer; facts go through
// queue.Apply and the journal. Readers take Version, an immutable tree, and
// never wait for a write.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/queue"
	"shaft/pkg/schema"
	"shaft/pkg/store"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

// Options of an engine. Store and Schema are required.
type Options struct {
	Store  *store.Store
	Schema *schema.Schema
	// BaseDN is where the merged tree hangs; empty: nothing is served (R1).
	BaseDN dit.DN
	// BaseEntry gives the base entry's attributes; nil: a valid one is made (R2).
	BaseEntry *ldif.Record
	// Index lists the attributes with an equality index.
	Index []string
	// Memory bounds what the tree's values take of it; nil: nothing does.
	Memory *tree.Memory
	// ServerID is the SID in the CSNs that are served, 1 to 4095.
	ServerID int
	// Upstream is how servers are reached; links share connections, in a pool of
	// the engine's own where it names none.
	Upstream upstream.Options
	// LearnSchema has the schema of servers read, for cn=Subschema.
	LearnSchema bool
	// ProbeEvery is how often a waiting claim's server is asked; 0: a minute.
	ProbeEvery time.Duration
	// PromotionLimit is how long a name may show the content of a head that was
	// removed while the next one's is fetched (R30), and how long a new name may wait for
	// its first content before that is an alarm, unless AlarmDelays says; 0: 30 seconds.
	PromotionLimit time.Duration
	// Guard is how much may go at once where a subscription says nothing of it (R36);
	// nil: DefaultGuard.
	Guard *Guard
	// AlarmDelays are how long something lasts before it is an alarm.
	AlarmDelays alarm.Delays
	// Refreshed is told how each refresh of a claim's content or of a list's search ended, and how
	// long after its session had begun; nil: nobody is. It is called on the session's goroutine.
	Refreshed func(outcome RefreshOutcome, took time.Duration)
	Log       *slog.Logger
	Now       func() time.Time
}

// DefaultIndex is the equality index when the configuration names none.
var DefaultIndex = []string{"objectClass", "cn", "uid", "mail", "member", "entryUUID"}

// DefaultPromotionLimit is long enough for tens of thousands of entries to be fetched, and
// short enough that nobody builds on what has been taken away.
const DefaultPromotionLimit = alarm.ContentDelay

// ErrClosed is returned by every call once Close has begun.
var ErrClosed = errors.New("the engine is closed")

// Engine is the writer and the owner of all upstream links. Version may be
// called by anyone at any time; so may the commands and queries, which
// run one at a time on the engine's goroutine.
type Engine struct {
	o       Options
	store   *store.Store
	schema  *schema.Schema
	log     *slog.Logger
	version atomic.Pointer[tree.Version]
	changed atomic.Pointer[chan struct{}] // closed with the next version
	pub     published
	// upstreams is made of shafts, which says by subscription what servers told
	// of themselves; the latter is the engine goroutine's.
	upstreams atomic.Pointer[[]string]
	shafts    map[string][]string

	// Owned by the engine goroutine once Open has returned.
	state  *queue.State
	subs   map[string]*Subscription
	claims map[queue.ClaimID]*claim
	byNum  map[uint32]*claim
	lists  map[string]*list
	placed map[string]*claim // by the normal form of the name where its content stands; see setPlaced
	tops   sync.Map          // what placed says, for doors: normal form to *top
	// lingering are claims that were removed and whose names show their content still, and
	// emptied the names that lost theirs before the next one's was there.
	lingering   map[string]*lingerer
	emptied     map[string]bool
	lingerTimer *time.Timer
	newest      *tree.Version // what is built on; served too, but for together
	// together: several commits are under way that are to show as one.
	together bool
	last     dit.CSN
	failed   error    // a write that failed: no more writes
	damage   []string // what the start found damaged, in words
	untold   int      // how much of that is of lost records, see lost
	// mended is what the start made to agree and could not write yet: nothing else is committed before it, see mend.go.
	mended  []store.Record
	closing bool // the loop is to end

	// While loading: own entries not used yet, names that went and whose outer
	// content is to come back, lines for entries whose UUID was taken.
	oldOwn        map[dit.UUID]storedOwn
	pendingUnhide []string
	goneLists     []string // whose removal was begun
	marked        []*claim // whose content stood elsewhere than the queues say
	newLines      []store.PublishedAs
	overdue       []queue.Event // what shows no content of removed heads any more

	nest      nest
	learned   learned
	told      told
	passes    upstream.Passwords
	tasks     taskLog
	holds     map[string]*hold // by what they are of
	voidHolds voidHolds
	alarms    alarmLog
	points    pointLog
	numbers   numberLog
	indexing  indexing
	inbox     inbox
	cmds      chan func()
	done      chan struct{}
	once      sync.Once
}

// Open reads the store, rebuilds and publishes the tree, and starts following
// every head. Stored content is served from the moment Open returns,
// whatever the upstreams do (R33).
func Open(o Options) (*Engine, error) {
	if o.Store == nil || o.Schema == nil {
		return nil, errors.New("engine: a store and a schema are needed")
	}
	if o.ServerID == 0 {
		o.ServerID = 1
	}
	if o.ServerID < 1 || o.ServerID > 4095 {
		return nil, fmt.Errorf("engine: server id %d is not in 1..4095", o.ServerID)
	}
	if o.Index == nil {
		o.Index = DefaultIndex
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ProbeEvery == 0 {
		o.ProbeEvery = time.Minute
	}
	if o.Guard == nil {
		o.Guard = &DefaultGuard
	}
	if o.Refreshed == nil {
		o.Refreshed = func(RefreshOutcome, time.Duration) {}
	}
	if o.PromotionLimit == 0 {
		o.PromotionLimit = DefaultPromotionLimit
	}
	if o.AlarmDelays.Content == 0 {
		o.AlarmDelays.Content = o.PromotionLimit
	}
	if o.Upstream.Pool == nil {
		o.Upstream.Pool = upstream.NewPool()
	}
	return open(o)
}

// open reads the store; values that cannot be read back are an error here too.
func open(o Options) (_ *Engine, err error) {
	defer unreadable(&err)
	e := &Engine{
		o: o, store: o.Store, schema: o.Schema, log: o.Log,
		subs: map[string]*Subscription{}, claims: map[queue.ClaimID]*claim{}, byNum: map[uint32]*claim{},
		shafts: map[string][]string{}, cmds: make(chan func()), done: make(chan struct{}),
		placed: map[string]*claim{}, lists: map[string]*list{}, lingering: map[string]*lingerer{}, emptied: map[string]bool{},
	}
	e.lingerTimer = time.NewTimer(0)
	e.o.Upstream.Instance = e.Instance()
	if e.o.LearnSchema {
		e.o.Upstream.Subschemas = subschemas{e}
	}
	e.inbox.wake = make(chan struct{}, 1)
	if err := e.load(); err != nil {
		return nil, err
	}
	if err := e.resumePlan(); err != nil {
		return nil, err
	}
	e.damage = e.damaged()
	if err := e.resumeHolds(); err != nil {
		return nil, err
	}
	e.lookAtAlarms()
	e.act(queue.Resume(e.state))
	e.beginIndexing()
	go e.loop()
	return e, nil
}

// Close stops the links, then the writer, which first commits what they had
// handed over. What they had not comes again by their cookies.
func (e *Engine) Close() {
	e.once.Do(func() {
		e.indexing.stop()
		e.cmds <- func() {
			e.closing = true
			for _, l := range e.lists {
				l.stop()
			}
			for _, c := range e.claims {
				c.stop()
			}
			e.o.Upstream.Pool.Close()
		}
	})
	<-e.done
	<-e.indexing.done
}

// Alive returns nil once the writer has answered: what a watchdog asks.
func (e *Engine) Alive(ctx context.Context) error { return e.do(ctx, func() {}) }

// Version is the newest published tree.
func (e *Engine) Version() *tree.Version { return e.version.Load() }

// do runs fn on the engine goroutine and waits for it. With ctx done nothing runs.
func (e *Engine) do(ctx context.Context, fn func()) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ran := make(chan error, 1)
	select {
	case e.cmds <- func() { ran <- e.guarded(fn) }:
		return <-ran
	case <-e.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unreadable, deferred, makes an error of a read of the tree's values that failed (see tree.ReadError).
func unreadable(err *error) {
	if lost := tree.AsReadError(recover()); lost != nil {
		*err = lost
	}
}

// guarded runs fn on the engine goroutine. Where it could not read values back, what it was about is half
// done: nothing of that is ever written, and nothing else until the next start.
func (e *Engine) guarded(fn func()) (err error) {
	defer func() {
		if lost := tree.AsReadError(recover()); lost != nil {
			e.fail(lost)
			err = e.failed
		}
	}()
	fn()
	return nil
}

func (e *Engine) loop() {
	defer close(e.done)
	beat := time.NewTicker(alarm.Beat)
	defer beat.Stop()
	stopped := e.store.Stopped()
	for !e.closing {
		// What failed is told and kept by fail.
		_ = e.guarded(func() {
			select {
			case fn := <-e.cmds:
				fn()
			case <-e.inbox.wake:
				e.drain()
				e.saveLearned()
			case <-e.alarms.timer.C:
			case <-e.lingerTimer.C:
				e.endLingers()
			case <-beat.C:
				e.beat()
			case <-stopped: // which no commit may have told
				stopped = nil
				if e.failed == nil {
					e.fail(e.store.Failure())
				}
			}
			e.tendAlarms()
		})
	}
	e.alarms.timer.Stop()
	e.lingerTimer.Stop()
	_ = e.guarded(func() {
		e.drain()
		e.saveLearned()
		e.rememberContacts()
		e.beat()
	})
	e.inbox.close(ErrClosed)
}

// drain takes whatever the sessions have handed over, group by group, letting
// reports and commands in between.
func (e *Engine) drain() {
	for e.failed == nil {
		e.takeReports()
		group := e.inbox.take()
		if len(group) == 0 {
			return
		}
		if err := e.commitGroup(group); err != nil {
			e.log.Error("changes not committed", "error", err)
		}
		if e.closing {
			continue
		}
		e.tendAlarms()
		select {
		case fn := <-e.cmds:
			fn()
		default:
		}
	}
}

// nextCSN gives the next number of the one monotone sequence: the clock's,
// unless that stands still or went back.
func (e *Engine) nextCSN() dit.CSN {
	c := dit.CSNAt(e.o.Now())
	if c <= e.last {
		c = e.last + 1
	}
	e.last = c
	return c
}

// reserve takes n consecutive numbers and returns the first.
func (e *Engine) reserve(n int) dit.CSN {
	first := e.nextCSN()
	if n > 1 {
		e.last = first + dit.CSN(n-1)
	}
	return first
}

// commit writes b.
func (e *Engine) commit(b *store.Batch) error {
	if e.failed != nil {
		return e.failed
	}
	if err := e.writeMended(); err != nil {
		return err
	}
	landed := e.ride(b)
	if err := e.outcome(e.store.Commit(b)); err != nil {
		return err
	}
	landed()
	return nil
}

// dropClaims is commit with the end of claims' content.
func (e *Engine) dropClaims(numbers []uint32, b *store.Batch) error {
	if err := e.writeMended(); err != nil {
		return err
	}
	return e.outcome(e.store.DropClaims(numbers, b))
}

// outcome tells what a commit's error means. A refusal changed nothing, and ends
// what wanted the commit. After a failure no further write is tried; serving
// goes on.
func (e *Engine) outcome(err error) error {
	if errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrClosed) {
		e.fail(err)
		return e.failed
	}
	return err
}

// restate brings queues and subscriptions back to what is stored, where the
// commit of a decision was refused.
func (e *Engine) restate() {
	if e.failed != nil {
		return
	}
	e.alarms.forget()
	if err := e.loadState(); err != nil {
		e.fail(err)
	}
}

func (e *Engine) fail(err error) {
	e.failed = fmt.Errorf("the store takes no more writes: %w", err)
	e.inbox.close(e.failed) // sessions end, and say why
	for _, cl := range e.claims {
		cl.fetched(e.failed)
	}
	e.log.Error("store failed; serving goes on, nothing is written any more", "error", err)
}

// decide applies one event to the queues and adds what it changed to b. The
// effects are to be carried out with act once b is durable.
func (e *Engine) decide(b *store.Batch, ev queue.Event) ([]queue.Effect, error) {
	if e.failed != nil {
		return nil, e.failed
	}
	event, err := queue.EncodeEvent(ev)
	if err != nil {
		return nil, err
	}
	effects, err := queue.Apply(e.state, ev)
	if err != nil {
		return nil, err
	}
	line, err := e.journalLine(ev, event)
	if err != nil {
		return nil, err
	}
	b.Journal = append(b.Journal, line)
	for name, value := range queue.Dirty(e.state) {
		b.Records = append(b.Records, store.Record{Name: recordQueue + name, Value: value})
		e.touchAlarms(name)
	}
	return effects, nil
}

// Prefixes of the store's named records.
const (
	recordQueue        = "queue/"
	recordSubscription = "subscription/"
	recordContact      = "contact/"
	recordLearned      = "learned/"   // a kind of definition, "/", and an OID: a definition
	recordInstances    = "instances/" // of the Shafts that a subscription's server is and follows, a line each
	recordOwn          = "own/"
	recordHeir         = "heir/"   // see heirs.go
	recordUnhide       = "unhide/" // a name that went, until what it hid is back
	recordListCookie   = "listcookie/"
	recordListGone     = "listgone/" // a list whose removal was begun
	recordShown        = "shown/"    // see shown.go
	recordUnserved     = "unserved/" // and a claim's number: see aside.go
	recordLinger       = "linger/"   // and a name's normal form: see linger.go
	recordStranger     = "stranger/" // and the number of content that no claim has, which was told: see mend.go
)
