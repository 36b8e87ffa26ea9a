package upstream

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"shaft/pkg/syncrepl"
)

// Link follows one source until closed.
type Link struct{ impl *linkImpl }

type linkImpl struct {
	src    Source
	o      Options
	log    *slog.Logger
	report func(Status)

	cancel  context.CancelFunc
	done    chan struct{}
	status  atomic.Pointer[Status]
	contact atomic.Int64 // UnixNano of the last octet, 0: none yet
	entries atomic.Int64 // Status.Entries
	reached atomic.Pointer[reached]

	fetches atomic.Int64 // subtrees fetched so far
	noBase  atomic.Bool  // the last failure was a missing base

	refused int // counts the refusals from one on that came with no search beside it, and so not for too many; the goroutine's own

	alone bool // no shared connection any more; the goroutine's own
}

// reached is the connection that a link has, or had last.
type reached struct {
	server    string
	instances []string
	at        *atomic.Int64 // UnixNano of the last octet of a shared one; nil: one's own, or left
}

var errLinkClosed = errors.New("the link was closed")

func newLink(src Source, o Options, report func(Status)) *linkImpl {
	o = o.withDefaults()
	l := &linkImpl{src: src, o: o, report: report, done: make(chan struct{}), log: o.Log.With("source", src.URL())}
	l.status.Store(&Status{State: Connecting, Since: o.Now()})
	return l
}

// start begins a link's goroutine with what it does until its context ends.
func start(src Source, o Options, report func(Status), run func(*linkImpl, context.Context)) *Link {
	l := &Link{newLink(src, o, report)}
	ctx, cancel := context.WithCancelCause(context.Background())
	l.impl.cancel = func() { cancel(errLinkClosed) }
	go func() {
		defer close(l.impl.done)
		run(l.impl, ctx)
	}()
	return l
}

// Follow starts the link's goroutine; Close stops it and waits. The source has
// passed Validate.
func Follow(src Source, feed Feed, o Options) *Link {
	return start(src, o, feed.Report, func(l *linkImpl, ctx context.Context) {
		l.report(l.current())
		l.follow(ctx, feed)
	})
}

// Close ends the session and waits until nothing of the link runs any more; the
// feed's End has returned then. Nothing is reported of it. It may be called again.
func (l *Link) Close() {
	l.impl.cancel()
	<-l.impl.done
}

// Status tells how the link stands now; its LastContact is fresher than that
// of the last report.
func (l *Link) Status() Status { return l.impl.current() }

func (l *linkImpl) current() Status {
	s := *l.status.Load()
	at := l.contact.Load()
	if r := l.reached.Load(); r != nil {
		s.Server, s.Instances = r.server, r.instances
		if r.at != nil {
			at = max(at, r.at.Load())
		}
	}
	if at != 0 {
		s.LastContact = time.Unix(0, at)
	}
	s.Entries = int(l.entries.Load())
	s.NoBase = s.State == Down && l.noBase.Load()
	return s
}

// arrive notes the connection that the link has now.
func (l *linkImpl) arrive(c *lease) {
	r := &reached{server: c.server, instances: c.instances}
	if c.shared != nil {
		r.at = &c.shared.at
	}
	l.reached.Store(r)
}

// depart notes that the link has it no more.
func (l *linkImpl) depart() {
	r := l.reached.Load()
	if r.at != nil {
		l.contact.Store(max(l.contact.Load(), r.at.Load()))
	}
	l.reached.Store(&reached{server: r.server, instances: r.instances})
}

// touch notes that the server was heard.
func (l *linkImpl) touch() { l.contact.Store(l.o.Now().UnixNano()) }

// set changes the status and reports it, unless it stays what it is.
func (l *linkImpl) set(state State, reason string) {
	if l.change(state, reason) {
		l.report(l.current())
	}
}

// down says why a session failed.
func (l *linkImpl) down(err error) {
	l.noBase.Store(errors.Is(err, errNoBase))
	l.set(Down, err.Error())
}

// change changes the status; false when it stays what it is.
func (l *linkImpl) change(state State, reason string) bool {
	reason = printable(reason, maxReason)
	old := l.status.Load()
	if old.State == state && old.Reason == reason {
		return false
	}
	s := &Status{State: state, Since: old.Since, Reason: reason}
	if old.State != state {
		s.Since = l.o.Now()
	}
	l.status.Store(s)
	level := slog.LevelInfo
	if state == Down || state == Unsupported {
		level = slog.LevelWarn
	}
	attrs := []any{"state", string(state)}
	if reason != "" {
		attrs = append(attrs, "reason", reason)
	}
	l.log.Log(context.Background(), level, "link status", attrs...)
	return true
}

// follow runs sessions until ctx ends. After a failure the link stays Down, for
// the reason of the latest one, until the server answers again.
func (l *linkImpl) follow(ctx context.Context, feed Feed) {
	pauses := backoff{min: l.o.MinBackoff, max: l.o.MaxBackoff, random: l.o.Rand}
	reloads := 0
	for {
		begun := time.Now()
		lived, err := l.session(ctx, feed)
		if ctx.Err() != nil {
			return
		}
		if lived && (!errors.Is(err, syncrepl.ErrReload) || time.Since(begun) > l.o.MaxBackoff) {
			pauses.reset()
			reloads = 0
		}
		var pause time.Duration
		var back <-chan struct{}
		switch {
		case errors.Is(err, errAlone), errors.Is(err, errFull):
			l.log.Info("link leaves a shared connection", "reason", err.Error())
			l.set(Connecting, "")
		case errors.Is(err, ErrHeld):
			l.set(Held, "")
			pause = l.o.HeldPause
		case errors.Is(err, ErrAgain):
			l.set(Connecting, "")
			pause = pauses.pause()
		case errors.Is(err, syncrepl.ErrReload):
			reloads++
			pause = l.reload(ctx, feed, err, reloads, &pauses)
		case l.pollable(err):
			if !l.polls(ctx, feed, &pauses) {
				return
			}
			continue
		case errors.Is(err, syncrepl.ErrNotSync):
			l.set(Unsupported, err.Error())
			pause = pauses.jitter(l.o.MaxBackoff)
		default:
			l.down(err)
			pause, back = pauses.pause(), l.o.Pool.back(l.src)
		}
		if !l.sleep(ctx, pause, back) {
			return
		}
	}
}

// reload prepares a full load: at once the first time, with pauses when even
// that ends soon in a demand for one.
func (l *linkImpl) reload(ctx context.Context, feed Feed, err error, times int, pauses *backoff) time.Duration {
	if ferr := feed.Forget(ctx); ferr != nil {
		l.set(Down, ferr.Error())
		return pauses.pause()
	}
	if times == 1 {
		l.set(Connecting, "")
		return 0
	}
	l.set(Down, err.Error())
	return pauses.pause()
}

// sleep waits, no longer than until back is closed; false when ctx ended.
func (l *linkImpl) sleep(ctx context.Context, d time.Duration, back <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-l.o.After(d):
		return true
	case <-back:
		return true
	case <-ctx.Done():
		return false
	}
}
