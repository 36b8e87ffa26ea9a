// Package upstream reaches the servers that content comes from: URL and fields,
// TLS, bind, backoff, the check of a new source, the probe of a waiting one, and the
// supervised session that follows one search for ever. It knows no queues and
// no local names.
package upstream

import (
	"context"
	"log/slog"
	"net"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// Source is where content comes from: the record that an LDAP URL and the
// separate fields both make (R8). Its JSON is what the store keeps.
type Source struct {
	Protocol     string   `json:"protocol"` // ldap or ldaps
	Host         string   `json:"host"`
	Port         int      `json:"port"` // 389 or 636 when none was given
	Base         string   `json:"base"`
	Attributes   []string `json:"attributes,omitempty"` // empty: all
	Filter       string   `json:"filter"`               // "(objectClass=*)" when none was given
	Scope        string   `json:"scope"`                // base, one, sub, subordinate
	StartTLS     bool     `json:"starttls,omitempty"`
	BindDN       string   `json:"bind_dn,omitempty"`
	PasswordFile string   `json:"password_file,omitempty"`
	CAFile       string   `json:"ca_file,omitempty"`
}

// ParseURL makes a Source of an LDAP URL (RFC 4516); errors name the column
// and the part. Warnings say what was repaired or is odd (R9).
func ParseURL(text string) (src Source, warnings []string, err error) { panic("todo") }

// Validate fills in defaults and refuses what can never work, naming the field.
func (s *Source) Validate() (warnings []string, err error) { panic("todo") }

// URL prints the source without credentials.
func (s *Source) URL() string { panic("todo") }

// State of a link, as `name list` shows it.
type State string

const (
	Connecting  State = "connecting"
	Refreshing  State = "refreshing"
	Live        State = "live"
	Down        State = "down"
	Unsupported State = "unsupported"
)

// Status is what is known of one link.
type Status struct {
	State       State
	Since       time.Time
	LastContact time.Time // last octet that came from the server, or probe that succeeded
	Reason      string    // in words, while Down or Unsupported
}

// Online tells whether the server answers.
func (s Status) Online() bool { return s.State == Refreshing || s.State == Live }

// Feed is what a link asks of whoever takes the content.
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

// Options for links, checks and probes. Zero fields get the defaults.
type Options struct {
	Log         *slog.Logger
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)
	Now         func() time.Time
	After       func(d time.Duration) <-chan time.Time // backoff timer; tests inject
	Rand        func() float64
	DialTimeout time.Duration // resolve+connect+TLS+bind, each wait
	Idle        time.Duration // silence after which the peer is asked who am I
	Patience    time.Duration // how long that answer, and each message of a refresh, may take
	MinBackoff  time.Duration
	MaxBackoff  time.Duration
	MaxMessage  int // largest LDAP message taken, 64 MiB
}

// Link follows one source until closed.
type Link struct{ impl linkImpl }

type linkImpl struct{}

// Follow starts the link's goroutine; Close stops it and waits.
func Follow(src Source, feed Feed, o Options) *Link { panic("todo") }
func (l *Link) Close()                              { panic("todo") }
func (l *Link) Status() Status                      { panic("todo") }

// Probe starts a goroutine that asks the server at intervals whether it is
// there (connect, bind, base search), and reports it; for waiting claims.
func Probe(src Source, interval time.Duration, report func(Status), o Options) *Link { panic("todo") }

// Step is one step of a check (R14).
type Step struct {
	Name   string `json:"name"` // resolve, connect, tls, bind, syncrepl, base, entries
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Millis int64  `json:"millis"`
}

// Check runs the steps in order and stops at the first that fails. entries is
// -1 when unknown. fatal is set when the source can never work as given.
func Check(ctx context.Context, src Source, o Options) (steps []Step, entries int, fatal error) {
	panic("todo")
}

var _ = dit.UUID{}
