// Package upstream reaches the servers that content comes from: URL and fields,
// TLS, bind, backoff, the check of a new source, the probe of a waiting one, and the
// supervised session that follows one search for ever. It knows no queues and
// no local names.
//
// A source is written as an LDAP URL (RFC 4516) or as fields, and is followed
// by SyncRepl (RFC 4533) until its link is closed:
//
//	src, _, err := upstream.ParseURL("ldaps://ldap.example.org/dc=example,dc=org")
//	link := upstream.Follow(src, feed, upstream.Options{Log: log})
//	defer link.Close()
//
// What the server sends goes to the sink that the feed's Begin gave, in the
// order of the wire. A server that is away, refuses or falls silent is tried
// again, with a growing pause, for ever; the link's Status says how it stands.
//
// A connection carries any number of searches (wire.go). go-ldap speaks for us in
// binds, and in the plain searches of checks and probes; the messages of searches of
// ours are cut out of the stream before go-ldap sees them, each search has a buffer of
// its own (search.go), and package syncrepl reads them. Links that reach one server
// with one identity share connections (pool.go) where Options name a Pool.
//
// Goroutines, and who waits for them: a link has one, and its Close waits; it
// consumes, so a sink that is slow costs its own link. A connection has go-ldap's two,
// of which the reader calls wire.Read, and a keeper (keep.go), which asks who am I and
// sends abandons, so that no link waits for a socket; conn.close waits for the
// keeper. A shared connection has one that dials it, and ends with that. Who leaves a
// shared connection last closes it, and nobody else waits for that.
//
// Locks, none of which is held while another is taken: a pool's, for who is on which
// connection; a wire's, for which search has which message ID; a search's, for its
// buffer. Nothing is written to a socket, read from it or waited for under any
// of them. The reader waits in one place, search.await, for room in a buffer.
package upstream

import (
	"context"
	"errors"
	"time"

	"shaft/pkg/syncrepl"
)

// State of a link, as `name list` shows it.
type State string

// States of a link. Connecting is the state before the first answer, and
// while a session begins anew with a server that was there just before.
const (
	Connecting  State = "connecting"
	Refreshing  State = "refreshing"
	Live        State = "live"
	Polling     State = "polling" // read at intervals: the server has no SyncRepl
	Held        State = "held"    // what a refresh brought waits for an operator; it is read again at intervals
	Down        State = "down"
	Unsupported State = "unsupported"
)

// Status is what is known of one link.
type Status struct {
	State       State
	Since       time.Time // when this state began; retries that fail do not move it
	LastContact time.Time // last octet that came from the server, or probe that succeeded
	Reason      string    // in words, while Down or Unsupported; at most 512 printable characters
	Server      string    // the latest that was connected to: "host:port", or the path of a socket
	NoBase      bool      // it is Down because the server is there and the base is not
	Entries     int       // taken so far in this refresh; afterwards what the last one brought
	// Instances names the Shaft that the server is and those that it follows,
	// transitively (R17); none for other servers.
	Instances []string
}

// Online tells whether the server answers.
func (s Status) Online() bool {
	return s.State == Refreshing || s.State == Live || s.State == Polling || s.State == Held
}

// Errors with which a sink ends a session of its own will.
var (
	// ErrHeld: the refresh was complete and waits for an operator (R36). The link is Held,
	// gives up its connection, and begins again after Options.HeldPause: the server may
	// have come to itself, or be gone.
	ErrHeld = errors.New("the refresh is held until an operator decides")
	// ErrAgain: nothing is wrong with the server; the link begins again, by its cookie.
	ErrAgain = errors.New("the session begins again")
)

// Feed is what a link asks of whoever takes the content. All its methods are
// called on the link's one goroutine.
type Feed interface {
	// Begin opens a session with a server ("host:port" identifies it to the
	// cookie): the cookie to send, nil for a full load, and where content goes.
	Begin(ctx context.Context, server string) (cookie []byte, sink syncrepl.Sink, err error)
	// Forget drops the cookie: the next Begin is to give none.
	Forget(ctx context.Context) error
	// End closes what Begin opened, however the session ended.
	End(err error)
	// Report tells a change of status; it must not block.
	Report(Status)
}

// Collect runs one refresh of the source and ends: by SyncRepl's refreshOnly
// where the server has it, else by a paged search. For dry runs and audits. No
// cookie is sent: it is always a full load. Begin is called for each of the two, and
// once more for a server that has no pages; the feed's Forget before each. Ending ctx
// ends it, with ctx's cause. The source has passed Validate.
func Collect(ctx context.Context, src Source, feed Feed, o Options) error {
	l := newLink(src, o, feed.Report)
	err := l.readOnce(ctx, feed, true)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
