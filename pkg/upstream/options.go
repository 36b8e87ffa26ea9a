package upstream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

// Defaults of Options.
const (
	defaultDialTimeout = 10 * time.Second
	defaultIdle        = 30 * time.Second
	defaultPatience    = 60 * time.Second
	defaultMinBackoff  = time.Second
	defaultMaxBackoff  = time.Minute
	defaultMaxMessage  = 64 << 20

	// defaultHeldPause bounds how long it takes to see that a held source is well again, or
	// away, and costs a server a refresh each time.
	defaultHeldPause = 5 * time.Minute

	// defaultTrial is far longer than a server that is merely busy takes.
	defaultTrial = 5 * time.Second

	// defaultResting is far longer than a write takes a slapd with thousands of
	// searches to tell of it.
	defaultResting = time.Second
)

// Options for links, checks and probes. Zero fields get the defaults.
type Options struct {
	Log         *slog.Logger                                                               // discards
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)       // a net.Dialer's
	Resolve     func(ctx context.Context, host string) (addresses []string, err error)     // the system's resolver; used by Check alone
	LookupSRV   func(ctx context.Context, service, proto, name string) ([]*net.SRV, error) // the system's resolver, unordered or ordered
	Instance    string                                                                     // our own shaftInstance: a server that is it, or follows it, is refused (R17)
	Subschemas  Subschemas                                                                 // takes the servers' schema; nil: it is not read
	Pool        *Pool                                                                      // shares connections between links; nil: one for each
	Now         func() time.Time
	After       func(d time.Duration) <-chan time.Time // timer of pauses between tries; tests inject
	Rand        func() float64                         // in [0,1), for the jitter of those pauses and the order of SRV records
	DialTimeout time.Duration                          // resolve+connect+TLS+bind, each wait; 10 s
	Idle        time.Duration                          // silence after which the peer is asked who am I; 30 s
	Patience    time.Duration                          // how long that answer, and each message of a refresh, may take; 60 s
	MinBackoff  time.Duration                          // first pause after a failure; 1 s
	MaxBackoff  time.Duration                          // longest pause; 1 min
	HeldPause   time.Duration                          // until a source whose refresh is held is read again; 5 min
	trial       time.Duration                          // how long who am I may take behind a new search on a shared connection; 5 s
	resting     time.Duration                          // how long a slapd is left alone with a search that is not wanted any more; 1 s
	MaxMessage  int                                    // largest LDAP message taken, in bytes; 64 MiB
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Resolve == nil {
		o.Resolve = net.DefaultResolver.LookupHost
	}
	if o.LookupSRV == nil {
		o.LookupSRV = func(ctx context.Context, service, proto, name string) ([]*net.SRV, error) {
			_, records, err := net.DefaultResolver.LookupSRV(ctx, service, proto, name)
			return records, err
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	setDefault(&o.DialTimeout, defaultDialTimeout)
	setDefault(&o.Idle, defaultIdle)
	setDefault(&o.Patience, defaultPatience)
	setDefault(&o.MinBackoff, defaultMinBackoff)
	setDefault(&o.MaxBackoff, defaultMaxBackoff)
	setDefault(&o.HeldPause, defaultHeldPause)
	setDefault(&o.trial, defaultTrial)
	setDefault(&o.resting, defaultResting)
	setDefault(&o.MaxMessage, defaultMaxMessage)
	return o
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// backoff is the pause before the next try: it doubles from one failure to the
// next up to a bound, half of it fixed, half of it random, so that links that
// failed together do not come back together.
type backoff struct {
	min, max time.Duration
	random   func() float64
	next     time.Duration // 0: the first
}

func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	return b.jitter(min(d, b.max))
}

func (b *backoff) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(b.random()*float64(d/2))
}

func (b *backoff) reset() { b.next = 0 }
