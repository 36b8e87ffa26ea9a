package ldaptest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/syncrepl"
)

// Options of a Server. Only Suffix is needed.
type Options struct {
	Suffix string // the naming context
	LDIF   string // what it holds at first; it may hold nothing
	// Schema says how names and values compare; nil is the bundled one with StorySchema.
	Schema *schema.Schema
	// TLS is offered by StartTLS, and spoken from the first octet with LDAPS.
	TLS   *tls.Config
	LDAPS bool
	// Accounts may bind, by DN; anonymous may too. With RequireBind only an
	// account may search.
	Accounts    map[string]string
	RequireBind bool
	// SID is the server ID in CSNs, and in cookies unless 0.
	SID int
	// PresentPhase has every refresh with a cookie be a present phase, as
	// without a session log.
	PresentPhase bool
	// NoSync leaves content synchronization out: 12 when it is critical, a plain
	// search when it is not. SyncAdvertised has the root DSE name the control all
	// the same, as slapd does without its overlay.
	NoSync         bool
	SyncAdvertised bool
	// NoPersist refuses refreshAndPersist with 53; refreshOnly is answered.
	NoPersist bool
	// NoUUID leaves entryUUID out of all that is sent; the Sync State control
	// has to name one still.
	NoUUID bool
	// SizeLimit is how many entries a search may find unless it is paged: behind
	// them it ends with 4, a refresh too. PageLimit is how many a page holds at
	// most, however many were asked for. 0 is no limit.
	SizeLimit, PageLimit int
	// MaxSearches is how many searches of one connection may run at a time: one more is
	// answered with TooMany (51 when 0). 0 is far more than any test has.
	MaxSearches, TooMany int
	// NoPaging answers 12 to a critical control of pages.
	NoPaging bool
	// RootDSE are more operational attributes of the root DSE; SetRootDSE changes them.
	RootDSE map[string][]string
	Now     func() time.Time // time.Now when nil
}

// Stats count what happened since the start.
type Stats struct {
	Connections    int // accepted
	Open           int // of these, still open
	Binds          int // that succeeded
	Searches       int // plain ones, a page each
	Paged          int // of these, pages (RFC 2696)
	SyncSearches   int
	Running        int         // searches that are being answered now, plain or not
	Persisting     int         // of these, sync searches that are in their persist stage now
	Cookies        []string    // of each sync search, "" for none
	RefreshEntries int         // entries with attributes sent in refresh stages
	PersistEntries int         // and in persist stages
	TurnedAway     []time.Time // when those came that TurnAway closed
}

// Search is what a Script is told of a search.
type Search struct {
	Base       string
	Scope      int
	Filter     dit.Filter
	Attributes []string
	Sync       *syncrepl.Request // Mode, Cookie and ReloadHint; nil: a plain search
	Number     int               // of this search among all, from 1
	// Done is closed when the search is abandoned or its connection ends.
	Done <-chan struct{}
}

// Script may answer a search in the server's place: whatever it sends or writes
// to p goes out as it is, raw bytes too. With handled nothing follows; an error
// closes the connection.
type Script func(q Search, p *syncrepl.Provider) (handled bool, err error)

// Server is an LDAP server on a loopback port.
type Server struct {
	o       Options
	address string // host:port, kept over Down and Up

	mu       sync.Mutex // for all below
	content  *content
	rootDSE  map[string][]string
	moved    chan struct{} // closed and renewed whenever anything below or in content changes
	listener net.Listener
	conns    map[*conn]struct{}
	stats    Stats
	script   Script
	stalled  chan struct{} // not nil while stalled; closed by Resume
	cut      int           // PDUs until sync searches are cut; -1: never
	away     bool          // see TurnAway
	closed   bool

	running sync.WaitGroup
}

// Start loads the LDIF and listens.
func Start(o Options) (*Server, error) {
	if o.Schema == nil {
		s, err := schema.Bundled().Extend(schema.File{Name: "story.schema", Text: []byte(StorySchema)})
		if err != nil {
			return nil, err
		}
		o.Schema = s
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	suffix, err := dit.ParseDN(o.Schema, o.Suffix)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, cut: -1, conns: map[*conn]struct{}{},
		moved: make(chan struct{}), rootDSE: maps.Clone(o.RootDSE)}
	s.content = newContent(o.Schema, suffix, o.SID, o.Now)
	s.content.noUUID = o.NoUUID
	if err := s.content.load(o.LDIF, true); err != nil {
		return nil, fmt.Errorf("content of %q: %w", o.Suffix, err)
	}
	if err := s.Up(); err != nil {
		return nil, err
	}
	return s, nil
}

// Addr is host:port; it stays the same over Down and Up.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// URL is where it listens, without a base.
func (s *Server) URL() string {
	if s.o.LDAPS {
		return "ldaps://" + s.Addr()
	}
	return "ldap://" + s.Addr()
}

// Up listens again after Down, and takes connections again after TurnAway.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the server is closed")
	}
	s.away = false
	if s.listener != nil {
		return nil
	}
	if s.address == "" {
		port, err := FreePort() // that is its own while it is down
		if err != nil {
			return err
		}
		s.address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.listener = l
	s.running.Add(1)
	go s.accept(l)
	return nil
}

// Down closes the port and all connections; the content stays.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	for c := range s.conns {
		c.close()
	}
}

// TurnAway closes all connections, and from now on each that comes, unread, as what
// balances loads does before servers that are all down.
func (s *Server) TurnAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
	for c := range s.conns {
		c.close()
	}
}

// Close ends the server and waits for all that it started.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Down()
	s.running.Wait()
}

// Stall leaves connections open and accepted, and answers nothing.
func (s *Server) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled == nil {
		s.stalled = make(chan struct{})
	}
}

// Resume ends Stall: what was asked meanwhile is answered.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
}

// CutAfter closes the connection of whichever sync search is the first to have
// sent n more messages, once.
func (s *Server) CutAfter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = n
}

// SetScript sets the hook that sees every search first; nil removes it.
func (s *Server) SetScript(f Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = f
}

// Stats gives the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statsLocked()
}

func (s *Server) statsLocked() Stats {
	st := s.stats
	st.Open = len(s.conns)
	st.Cookies = append([]string(nil), st.Cookies...)
	st.TurnedAway = append([]time.Time(nil), st.TurnedAway...)
	return st
}

// Wait returns when the counts are as wanted, or with ctx's error.
func (s *Server) Wait(ctx context.Context, wanted func(Stats) bool) error {
	for {
		s.mu.Lock()
		st, moved := s.statsLocked(), s.moved
		s.mu.Unlock()
		if wanted(st) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("waiting, with %+v: %w", st, context.Cause(ctx))
		}
	}
}

// Add adds the entries of an LDIF text, one change each, until one fails.
func (s *Server) Add(text string) error {
	return s.write(func(c *content) error { return c.load(text, false) })
}

// Modify replaces an attribute's values; without values it is removed.
func (s *Server) Modify(dn, attribute string, values ...string) error {
	return s.write(func(c *content) error { return c.modify(dn, attribute, values) })
}

// Rename renames or moves an entry, with all below it as one change.
func (s *Server) Rename(dn, to string) error {
	return s.write(func(c *content) error { return c.rename(dn, to) })
}

// Delete deletes an entry and all below it, the deepest first, one change each.
func (s *Server) Delete(dn string) error {
	return s.write(func(c *content) error { return c.remove(dn) })
}

// SetRootDSE sets an operational attribute of the root DSE; without values it goes.
func (s *Server) SetRootDSE(attribute string, values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rootDSE == nil {
		s.rootDSE = map[string][]string{}
	}
	s.rootDSE[attribute] = values
}

// Len is how many entries there are.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.content.byDN)
}

func (s *Server) write(do func(*content) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	return do(s.content)
}

// wake tells everyone who waits that something changed. It wants the lock.
func (s *Server) wake() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// count changes the counts.
func (s *Server) count(do func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.stats)
	s.wake()
}

func (s *Server) accept(l net.Listener) {
	defer s.running.Done()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s.admit(l, nc)
	}
}

// admit starts serving a connection, unless the port was closed meanwhile.
func (s *Server) admit(l net.Listener, nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != l || len(s.conns) >= maxConns {
		nc.Close()
		return
	}
	if s.away {
		s.stats.TurnedAway = append(s.stats.TurnedAway, time.Now())
		s.wake()
		nc.Close()
		return
	}
	c := newConn(s, nc)
	s.conns[c] = struct{}{}
	s.stats.Connections++
	s.wake()
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		c.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		s.wake()
	}()
}

// maxConns bounds the connections: far more than a test opens, far fewer than
// there are descriptors.
const maxConns = 1024
