package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSearches is how many links share a connection until the server shows that
	// it takes fewer: more than lists find, so that the connections are few.
	maxSearches = 1000

	// maxOpenLDAP is the same for slapd: by default it has 16 threads, works on 8
	// operations of a connection at a time, counts searches in their persist stage
	// among them, and needs one for who am I.
	maxOpenLDAP = 7

	// maxRefreshes is how many searches begin at once on a shared connection;
	// slapd closes one with more than a hundred waiting (conn_max_pending), and
	// 389-ds and others have limits too. Of slapd's each has to be in its persist
	// stage before the next: it counts twice on its way there.
	maxRefreshes = 6

	// maxAtOnce is how many connections are begun at once after a quiet time, and paceOf how
	// long after one the next begins behind these: no more than wait in a listener's
	// queue (128, of old), and than cost a fifth of a core where each speaks TLS.
	maxAtOnce = 100
	paceOf    = 5 * time.Millisecond

	// maxGroups is how many servers and identities may be remembered before
	// those that nobody uses are forgotten.
	maxGroups = 1000
)

// Pool holds the connections that links share, where they reach one server with
// one identity. It is safe for concurrent use.
type Pool struct {
	mu      sync.Mutex
	groups  map[string]*group
	resting int       // searches that rest
	paced   time.Time // when the connection may begin that nobody asked for yet, see pace

	rests  sync.WaitGroup
	closed chan struct{}
}

// group is one server and identity. Its fields are the pool's to lock.
type group struct {
	conns   []*shared
	limit   int   // searches that a connection takes, as far as is known
	before  int   // limit before searches were refused
	strikes int   // connections in a row that broke while searches began
	failure error // of the latest dial, or of what broke at once; it is told again until the pause is over
	until   time.Time
	pauses  backoff
	back    chan struct{} // closed and renewed when the server is there after a failure
}

// shared is a connection and those who use it. It is dialled once for all.
type shared struct {
	group  *group
	o      Options
	cancel context.CancelCauseFunc
	at     atomic.Int64 // UnixNano of its last octet

	ready    chan struct{} // closed when the next five are set
	conn     *conn
	stood    time.Time // when it was ready
	err      error
	openLDAP bool          // the server is a slapd
	turns    chan struct{} // holds a token for each search that is in its refresh

	users  atomic.Int32 // those who hold it; the pool's to lock for a change
	rest   atomic.Int32 // of these who rest: nobody waits for what they are sent
	begun  int          // of these who have a search; the pool's to lock
	judged bool         // its end was looked at; the pool's to lock
}

// NewPool makes an empty one; its connections close with their last links, those to a
// slapd a moment later, or with Close.
func NewPool() *Pool { return &Pool{groups: map[string]*group{}, closed: make(chan struct{})} }

// identity names the server and the identity of a source: all of it but what is
// said in each search.
func identity(src Source) string {
	src.Base, src.Attributes, src.Filter, src.Scope = "", nil, "", ""
	src.Poll, src.NewCookieEnds, src.UUIDFromDN = 0, false, false
	return fmt.Sprintf("%#v", src)
}

// lease is a connection in use: one of a pool's, or one's own.
type lease struct {
	*conn
	pool    *Pool
	shared  *shared       // nil: one's own
	turn    bool          // holds a turn of it
	begun   bool          // is counted by it
	resting time.Duration // of its search, see rests
}

// lease gives a connection for one search, and the turn to begin it: a shared one
// where the options have a pool and alone is false. Who needs a new one has it
// dialled, and all who need it wait.
func (o Options) lease(ctx context.Context, src Source, alone bool, contact func()) (*lease, error) {
	if o.Pool == nil || alone {
		c, err := open(ctx, src, o, contact)
		if err != nil {
			return nil, err
		}
		c.keep(o)
		return &lease{conn: c}, nil
	}
	for {
		s, err := o.Pool.join(src, o)
		if err != nil {
			return nil, err
		}
		l := &lease{pool: o.Pool, shared: s, resting: o.resting}
		if err := l.await(ctx); err == nil {
			return l, nil
		} else if !errors.Is(err, errNoRoom) {
			l.leave()
			return nil, err
		}
		l.leave()
	}
}

// join finds a connection with room for one more, or begins to dial one. After a
// failure that is told again instead, for a pause that grows from one to the next:
// however many links there are, a server that is away is dialled, and a password
// that is wrong is tried, as often as one link would. So while none stands all await
// the one that is dialled, those too for whom it will have no room.
func (p *Pool) join(src Source, o Options) (*shared, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.group(identity(src))
	g.bury()
	var dialled *shared
	stands := false
	for _, s := range g.conns {
		if int(s.users.Load()) < g.limit && !s.large() {
			s.users.Add(1)
			return s, nil
		}
		if s.known() {
			stands = true
		} else {
			dialled = s
		}
	}
	if dialled != nil && (!stands || g.failure != nil) {
		dialled.users.Add(1)
		return dialled, nil
	}
	if g.failure != nil && o.Now().Before(g.until) {
		return nil, g.failure
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &shared{group: g, o: o, cancel: cancel, ready: make(chan struct{})}
	s.users.Store(1)
	g.conns = append(g.conns, s)
	go p.dial(ctx, s, src)
	return s, nil
}

func (p *Pool) group(key string) *group {
	if g := p.groups[key]; g != nil {
		return g
	}
	if len(p.groups) >= maxGroups {
		for k, g := range p.groups {
			if len(g.conns) == 0 {
				delete(p.groups, k)
			}
		}
	}
	g := &group{limit: maxSearches, back: make(chan struct{})}
	p.groups[key] = g
	return g
}

// bury takes connections that have broken out of the group.
func (g *group) bury() {
	g.conns = slices.DeleteFunc(g.conns, func(s *shared) bool {
		if s.dead() {
			g.judge(s)
			return true
		}
		return false
	})
}

// judge learns from a connection's end. One that breaks as soon as it stands, with nothing
// answered, is as good as none: a server that hangs up on every search is not dialled anew by each link.
// Where two in a row broke while searches began, each of the next is to have fewer than
// these; of one search alone that got no answer nothing is learnt.
func (g *group) judge(s *shared) {
	if s.judged || s.conn == nil {
		return
	}
	s.judged = true
	w := s.conn.wire
	switch cause := w.cause(); {
	case cause == nil: // those who had it need none any more
		g.pauses.reset()
		return
	case errors.Is(cause, errFull):
	case w.answered == 0 && s.o.Now().Sub(s.stood) < s.o.MinBackoff:
		g.fail(lost(cause), s.o)
	default:
		g.pauses.reset()
	}
	if w.answered+w.mute < 2 || w.mute == 0 && !errors.Is(w.cause(), errFull) {
		g.strikes = 0
		return
	}
	if g.strikes++; g.strikes > 1 {
		g.limit = max(1, min(g.limit, cmp.Or(w.answered, w.mute)-1))
	}
}

// fail has what was tried in vain told to all, until a pause is over; of several that were
// tried at a time the first.
func (g *group) fail(err error, o Options) {
	if g.failure != nil && o.Now().Before(g.until) {
		return
	}
	g.pauses.min, g.pauses.max, g.pauses.random = o.MinBackoff, o.MaxBackoff, o.Rand
	g.failure, g.until = err, o.Now().Add(g.pauses.pause())
}

// known tells whether it is known what became of the dial.
func (s *shared) known() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

func (s *shared) dead() bool { return s.known() && (s.err != nil || s.conn.wire.cause() != nil) }

// large tells whether whoever is alone on it takes a large refresh.
func (s *shared) large() bool { return s.known() && s.err == nil && s.conn.wire.large.Load() }

// dial is the goroutine that makes the connection; the last user waits for it.
func (p *Pool) dial(ctx context.Context, s *shared, src Source) {
	defer close(s.ready)
	o := s.o
	c, err := open(ctx, src, o, func() { s.at.Store(o.Now().UnixNano()) })
	if err == nil {
		c.wire.others = func() bool { return s.users.Load()-s.rest.Load() > 1 }
		c.wire.shared.Store(true)
		c.keep(o)
		s.conn = c
	}
	limit, turns := maxSearches, maxRefreshes
	if err == nil && c.isOpenLDAP(ctx, o) {
		s.openLDAP, limit, turns = true, maxOpenLDAP, 1
	}
	s.turns = make(chan struct{}, turns)
	p.mu.Lock()
	defer p.mu.Unlock()
	g := s.group
	g.limit = min(g.limit, limit)
	s.err, s.stood = err, o.Now()
	switch {
	case ctx.Err() != nil: // nobody wanted it any more
		g.failure = nil
	case err != nil:
		g.fail(err, o)
	case g.failure != nil:
		g.failure = nil
		close(g.back)
		g.back = make(chan struct{})
	}
}

// back gives what is closed when the server is there again, for links that wait to try it
// anew: the first that finds it spares the others the rest of their pauses.
func (p *Pool) back(src Source) <-chan struct{} {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.group(identity(src)).back
}

// pace waits until one more connection may begin, whoever is at its other end; false when
// ctx ended. A start, or the end of an outage, has them begin in a row. A nil
// pool does not wait.
func (p *Pool) pace(ctx context.Context) bool {
	if p == nil {
		return true
	}
	now := time.Now()
	p.mu.Lock()
	if quiet := now.Add(-maxAtOnce * paceOf); p.paced.Before(quiet) {
		p.paced = quiet
	}
	p.paced = p.paced.Add(paceOf)
	timer := time.NewTimer(p.paced.Sub(now))
	p.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errNoRoom: others were faster, or it takes fewer than it seemed.
var errNoRoom = errors.New("no room on the connection")

// await waits until the connection stands and for one's turn on it.
func (l *lease) await(ctx context.Context) error {
	s := l.shared
	select {
	case <-s.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.err != nil {
		return s.err
	}
	l.conn = s.conn
	if err := l.claim(); err != nil {
		return err
	}
	select {
	case s.turns <- struct{}{}:
		l.turn = true
		return nil
	case <-l.wire.closed:
		return lost(l.wire.cause())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// claim takes one of the places on the connection.
func (l *lease) claim() error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.shared.begun >= l.shared.group.limit {
		return errNoRoom
	}
	l.shared.begun++
	l.begun = true
	return nil
}

// refreshed gives the turn to the next.
func (l *lease) refreshed() {
	if l.turn {
		l.turn = false
		<-l.shared.turns
	}
}

// refused notes that the server would not begin one more search here. alone tells
// that none was beside it: then it was not for being too many, and neither was
// what was taken for that before.
func (l *lease) refused() (alone bool) {
	if l.shared == nil {
		return false
	}
	answered, mute := l.wire.census() // of the mute some may be refused too, and then this is learnt again
	n := answered + mute
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	g := l.shared.group
	switch {
	case n == 0:
		g.limit, g.before = max(g.limit, g.before), 0
	case n < g.limit:
		g.limit, g.before = n, max(g.limit, g.before)
	}
	return n == 0
}

var errUnused = errors.New("nobody uses the connection any more")

// leave gives the connection up, once one's searches on it have ended. The last
// to leave closes it, and waits for that.
func (l *lease) leave() {
	l.refreshed()
	if l.shared == nil {
		l.close()
		return
	}
	s := l.shared
	l.pool.mu.Lock()
	last := s.users.Add(-1) == 0
	if l.begun {
		s.begun--
	}
	if last {
		if s.known() {
			s.group.judge(s)
		}
		s.group.conns = slices.DeleteFunc(s.group.conns, func(c *shared) bool { return c == s })
	}
	l.pool.mu.Unlock()
	if !last {
		return
	}
	if !s.known() { // else it says good-bye, which an end of its context would cut short
		s.cancel(errUnused)
		<-s.ready
	}
	if s.conn != nil {
		s.conn.close()
	}
	s.cancel(errUnused)
}
