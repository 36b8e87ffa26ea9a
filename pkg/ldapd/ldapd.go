// Package ldapd is the LDAP door: an LDAPv3 read service (RFC 4511) over the
// newest version of the merged tree, with the root DSE and cn=Subschema (RFC
// 4512) beside it. It hides framing, concurrency, limits and the encoding of
// replies; it knows nothing of where entries come from.
//
//	s, err := ldapd.New(ldapd.Options{Backend: engine, Log: log})
//	l, err := ldapd.Listen("ldap://127.0.0.1:389")
//	go s.Serve(l)
//	…
//	s.Close(ctx)
//
// # A connection
//
// One goroutine per connection reads whole messages into a buffer that it uses
// again, checks their BER in one pass, and runs cheap operations itself: bind,
// compare, base searches, and the first steps of every other search. A search
// that needs more gets a goroutine, registered before the next message is
// read, so that an abandon always finds it; beyond Options.MaxOperations of
// these the answer is busy. A bind abandons what is still running (RFC 4511
// section 4.2.1) and is finished before the next message is read. Replies of
// all of them meet in one combining writer (writer.go).
//
// # The library behind the fence
//
// Operations off the hot path are decoded by goldap and routed by ldapserver's
// RouteMux (fence.go), on a canonical copy of the message. Envelopes, message
// IDs, controls, bind and search are read and written here, with pkg/ber.
package ldapd

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

// Backend is where the door gets the tree from.
type Backend interface {
	// Version gives the newest version of the tree, never nil. It is called
	// once for each operation and must be cheap and safe for concurrent use.
	Version() *tree.Version
	// Changed gives a channel that is closed once a version newer than the one
	// that Version gives after the call is there. Safe for concurrent use.
	Changed() <-chan struct{}
	// Changes reads the durable change log after a CSN, oldest first, up to an
	// error of fn: of each Change Kind, OldDN and the Row's UUID and CSN. It may
	// go beyond the newest version. ok is false when the log begins later.
	Changes(after dit.CSN, fn func(tree.Change) error) (ok bool, err error)
}

// Account is an identity for simple bind.
type Account struct {
	DN           string // RFC 4514
	PasswordHash string // as HashPassword makes it
	Proxy        bool   // it may act for others, by proxied authorization (RFC 4370)
	Operator     bool   // all of cn=Monitor is shown to it, whatever the access rules say
}

// Defaults of Options.
const (
	DefaultMaxConns      = 10000
	DefaultMaxMessage    = 1 << 20 // a request is a filter and a few names
	DefaultMaxOperations = 16      // for each connection, beside the reader
	DefaultWriteTimeout  = 60 * time.Second
	// DefaultRequestTimeout is ample for 1 MiB over a slow line, and ends a
	// client that sends an octet now and then.
	DefaultRequestTimeout = 60 * time.Second
	// DefaultOpenTimeout: a handshake takes two round trips.
	DefaultOpenTimeout = 15 * time.Second
)

// Options of a Server. Only Backend must be set.
type Options struct {
	Backend  Backend
	Accounts []Account
	Access   []access.Rule // none: everything is for everyone
	// AccessSince is the newest change when these rules came to hold, be it before
	// a restart: a follower's cookie that is no newer is worth nothing. 0: ever.
	AccessSince dit.CSN
	// Advance has the content get a newer CSN with nothing else changed, and gives it.
	// Asked when the access rules are replaced; nil: they get none.
	Advance func() (dit.CSN, error)
	// Redated: every entry has this CSN or a newer one, since the content was restored
	// from a backup; a follower with an older cookie gets all of it. 0: it never was.
	Redated       dit.CSN
	Log           *slog.Logger     // nil: nothing is logged
	VendorVersion string           // in the root DSE; "" leaves it out
	Now           func() time.Time // nil: time.Now
	// Instance and Upstreams are what the root DSE tells as shaftInstance and
	// shaftUpstream, by which loops of Shafts are found. They are asked at each
	// request, by anyone at any time; nil, "" and none leave the attribute out.
	Instance  func() string
	Upstreams func() []string
	// Standing tells of the content that begins at a DN, by its normal form; false
	// where none does. It is asked by anyone at any time, and must not wait; nil:
	// no entry has the attributes of standing.go.
	Standing func(norm string) (Standing, bool)
	// Schema is what cn=Subschema shows; nil: the schema of the tree.
	Schema func() *schema.Schema
	// Followed tells how the sources are doing, for cn=Monitor; nil: it has no such entries.
	Followed func(context.Context) ([]Followed, error)

	// Origins lets writes be referred to where entries come from (R43); nil: they
	// are refused.
	Origins Origins

	// Binds has entries bind with the passwords that they have at their sources; nil:
	// accounts alone bind.
	Binds Binds

	TLS TLSFiles // for ldaps and StartTLS; the zero value: neither

	MaxConns      int           // open connections; beyond it a notice with busy (51)
	MaxPerAddress int           // of these from one address, IPv6 network of 64 bits, or user of a unix socket; 0: half of MaxConns
	MaxMessage    int           // bytes of a request, header included
	MaxOperations int           // long searches at once on one connection; beyond it busy (51)
	WriteTimeout  time.Duration // a client that takes no byte block for so long is cut
	BindDelay     time.Duration // see DefaultBindDelay
	OpenTimeout   time.Duration // for a PROXY header and a TLS handshake
	// RequestTimeout is for a request to be complete, from its first octet on.
	RequestTimeout time.Duration
	IdleTimeout    time.Duration // a client that sends nothing for so long is cut; 0: never
	SizeLimit      int           // entries of one search, over all its pages; 0: none
	TimeLimit      time.Duration // of one search; 0: none
}

func (o *Options) defaults() error {
	if o.Backend == nil {
		return errors.New("ldapd: no backend")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	setDefault(&o.MaxConns, DefaultMaxConns)
	setDefault(&o.MaxMessage, DefaultMaxMessage)
	setDefault(&o.MaxOperations, DefaultMaxOperations)
	setDefault(&o.MaxPerAddress, max(o.MaxConns/2, 1))
	setDefault(&o.WriteTimeout, DefaultWriteTimeout)
	setDefault(&o.RequestTimeout, DefaultRequestTimeout)
	setDefault(&o.OpenTimeout, DefaultOpenTimeout)
	setDefault(&o.BindDelay, DefaultBindDelay)
	return nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// ErrClosed is what Serve returns on a server that has been closed before.
var ErrClosed = errors.New("ldap server closed")

// Server serves connections of any number of listeners. Safe for concurrent use.
type Server struct {
	opt      Options
	accounts atomic.Pointer[accounts]
	policy   atomic.Pointer[policy]
	ruledAt  atomic.Uint64 // AccessSince, or settling
	mux      *ldapserver.RouteMux
	fixed    atomic.Pointer[fixedEntries]
	nextConn atomic.Uint64
	seed     maphash.Seed // of the hashes that bind a page to its search
	keys     keyring      // its own lock
	slow     throttle     // its own lock
	follows  contents
	logTurns chan struct{} // those who read the change log
	// sortTurns are those whose keys take much memory.
	sortTurns chan struct{}
	told      time.Duration // cookieEvery
	stepTime  time.Duration // stepTime
	indexWait time.Duration // indexWait
	// indexLate is closed when searches wait for the index no longer.
	indexLate func() <-chan struct{}

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	origins   map[origin]int // open connections
	past      totals         // of connections that are over
	began     time.Time
	running   sync.WaitGroup // connections
}

// New checks the options; an account's bad DN or hash is an error that names it,
// as is a certificate that cannot be used.
func New(o Options) (*Server, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s := &Server{opt: o, listeners: map[net.Listener]bool{}, conns: map[*conn]bool{},
		origins: map[origin]int{}, slow: throttle{delay: o.BindDelay, tallies: map[tallyKey]*tally{}}, seed: maphash.MakeSeed(),
		logTurns: make(chan struct{}, logAtOnce), sortTurns: make(chan struct{}, sortsAtOnce), told: cookieEvery, stepTime: stepTime, indexWait: indexWait}
	s.indexLate = sync.OnceValue(func() <-chan struct{} {
		late := make(chan struct{})
		time.AfterFunc(s.indexWait, func() { close(late) })
		return late
	})
	if err := s.SetAccounts(o.Accounts); err != nil {
		return nil, err
	}
	if err := s.SetAccess(o.Access); err != nil {
		return nil, err
	}
	s.ruledAt.Store(uint64(o.AccessSince))
	if err := s.SetTLS(o.TLS); err != nil {
		return nil, err
	}
	s.mux, s.began = routes(), time.Now()
	return s, nil
}

// SetAccounts replaces the identities of simple bind. Whoever is bound stays so
// until the next bind, but is no operator any more, and acts for nobody, where its account
// is gone or does not say so. After an error the accounts are as before.
func (s *Server) SetAccounts(list []Account) error {
	acc, err := newAccounts(s.opt.Backend.Version().Schema(), list)
	if err != nil {
		return err
	}
	s.accounts.Store(acc)
	return nil
}

// acceptPause is the wait after a failed accept (out of file descriptors).
const acceptPause = 100 * time.Millisecond

// Serve accepts connections until Close, and closes l. It returns nil after Close.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if schemeOf(l).tls && s.tlsConfig() == nil {
		return fmt.Errorf("serve %s: no certificate is configured", URLOf(l))
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = true
	s.mu.Unlock()
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			s.accept(nc, schemeOf(l))
		case s.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			s.mu.Lock()
			delete(s.listeners, l)
			s.mu.Unlock()
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		default:
			s.opt.Log.Error("accept failed", "address", l.Addr().String(), "error", err)
			<-time.After(acceptPause)
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) accept(nc net.Conn, via scheme) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		nc.Close()
		return
	}
	if len(s.conns) >= s.opt.MaxConns {
		s.mu.Unlock()
		s.opt.Log.Warn("connection refused: too many", "peer", nc.RemoteAddr().String(), "limit", s.opt.MaxConns)
		if !via.tls {
			// A new socket has room for these few bytes: this does not wait.
			nc.SetWriteDeadline(time.Now().Add(time.Second))
			nc.Write(appendNotice(nil, ldapserver.LDAPResultBusy, "too many connections"))
		}
		nc.Close()
		return
	}
	c := newConn(s, nc, via)
	s.conns[c] = true
	s.running.Add(1)
	s.mu.Unlock()
	go c.serve()
}

// forget is the last that a connection does; err is why it ended, nil for unbind.
func (s *Server) forget(c *conn, err error) {
	s.mu.Lock()
	delete(s.conns, c)
	s.release(c)
	s.retireMeter(c)
	s.mu.Unlock()
	c.traceClosed(err)
	c.log.Debug("connection closed", "error", err)
	s.running.Done()
}

// Close stops accepting, lets each connection finish what it is doing, sends it
// a notice of disconnection and waits. When ctx ends first the rest is cut off,
// and its error returned. Nothing runs after Close.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.shutdown()
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			c.cut()
		}
	})
	s.running.Wait()
	if !stop() {
		return fmt.Errorf("close LDAP server: %w", ctx.Err())
	}
	return nil
}
