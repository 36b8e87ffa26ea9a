// Package agentx is the SNMP door: a subagent (RFC 2741) of an SNMP agent such as
// net-snmp's snmpd, which speaks SNMP with monitors and asks Shaft for what is
// below its arc. mibs/SHAFT-MIB.txt says what there is.
//
//	d := agentx.New(agentx.Options{Network: "unix", Address: "/var/agentx/master", Source: e})
//	defer d.Close()
//
// One goroutine takes what the engine tells, once a second or as often as that costs little,
// and makes an immutable view of it; alarms that differ from those of the view before
// become notifications. Another keeps the session: it answers from the newest view,
// sends notifications one by one, each until it is confirmed, and connects
// anew for as long as it takes. Whatever the SNMP agent does ends a connection at
// worst.
package agentx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posteo/go-agentx/value"

	"shaft/pkg/engine"
	"shaft/pkg/schema"
)

// Source is what is shown; *engine.Engine has it.
type Source interface {
	Watched(context.Context) (*engine.Watched, error)
	Availability(ctx context.Context, source string, from, to time.Time) (*engine.Availability, error)
}

// Options of a door. Network, Address and Source are required.
type Options struct {
	Network, Address string // "unix" or "tcp", and a path or host:port
	// Context is the SNMP context to be found in; "" is the default one. Two Shafts under
	// one SNMP agent need two.
	Context string
	// Arc is the root of SHAFT-MIB; "" is schema.Arc.
	Arc     string
	Source  Source
	Version string
	// Followers tells how many clients follow the tree; nil: none.
	Followers func() int
	Log       *slog.Logger
	Now       func() time.Time
	// Dial connects to the SNMP agent; nil: as net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Jitter gives a random number in [0, 1), by which waits between tries differ; nil: a real one.
	Jitter func() float64
	// Pace is how often the engine is asked; 0: each second.
	Pace time.Duration
	// Backoff is the first wait between tries to connect; 0: 0.2 seconds.
	Backoff time.Duration
}

// MaxContext bounds an SNMP context's name, in bytes (RFC 3411).
const MaxContext = 32

// ParseAddress takes an address of the configuration apart: unix:PATH or tcp:HOST:PORT.
func ParseAddress(s string) (network, address string, err error) {
	network, address, _ = strings.Cut(s, ":")
	switch network {
	case "unix":
		if !strings.HasPrefix(address, "/") {
			return "", "", fmt.Errorf("agentx address %q: an absolute path is expected, as in unix:/var/agentx/master", s)
		}
	case "tcp":
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return "", "", fmt.Errorf("agentx address %q: HOST:PORT is expected, as in tcp:127.0.0.1:705", s)
		}
	default:
		return "", "", fmt.Errorf("agentx address %q: unix:PATH or tcp:HOST:PORT is expected", s)
	}
	return network, address, nil
}

// maxArc leaves room for what stands below it: an OID has at most 128 numbers.
const maxArc = 100

// CheckArc tells whether an OID can be the root of the MIB.
func CheckArc(arc string) error {
	oid, err := value.ParseOID(arc)
	if err != nil || len(oid) < 4 || len(oid) > maxArc || oid[0] > 2 || oid[0] < 2 && oid[1] > 39 {
		return fmt.Errorf("agentx arc %q: an OID of 4 to %d numbers is expected, such as %s", arc, maxArc, schema.Arc)
	}
	return nil
}

// Door is a running one.
type Door struct {
	o       Options
	arc     value.OID
	objects value.OID // what is registered: arc.1
	started time.Time
	view    atomic.Pointer[view]
	outbox  *outbox
	// seen is closed with the first view: before, nothing is registered, so that no monitor
	// takes names for removed that have not been looked at yet.
	seen   chan struct{}
	pasts  pasts  // the watching goroutine's
	said   string // the session's goroutine's: why there is none, as it was logged last
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// New starts a door. The SNMP agent need not be there, neither now nor later.
func New(o Options) (*Door, error) {
	if o.Arc == "" {
		o.Arc = schema.Arc
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Pace == 0 {
		o.Pace = time.Second
	}
	if o.Backoff == 0 {
		o.Backoff = minBackoff
	}
	if o.Source == nil || o.Address == "" || len(o.Context) > MaxContext {
		return nil, errors.New("agentx: a source and an address are needed, and a context has at most 32 bytes")
	}
	if err := CheckArc(o.Arc); err != nil {
		return nil, err
	}
	arc := value.MustParseOID(o.Arc)
	d := &Door{
		o: o, arc: arc, objects: slices.Concat(arc, value.OID{1}), started: o.Now(),
		outbox: newOutbox(), seen: make(chan struct{}), pasts: pasts{of: map[string]*past{}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.done.Go(func() { d.watch(ctx) })
	d.done.Go(func() { d.keep(ctx) })
	return d, nil
}

// Close takes leave of the SNMP agent and waits for both goroutines, whether it is there or
// not.
func (d *Door) Close() {
	d.cancel()
	d.done.Wait()
}
