package ldapd

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Figures are what a monitoring system asks of the LDAP door again and again. Counts are since
// the start.
type Figures struct {
	Connections    int // open now
	MaxConnections int
	Accepted       uint64 // connections, those that were open included
	Reading        uint64 // connections that wait for their client to say something
	Writing        uint64 // and for it to take what is written
	BytesSent      uint64 // TLS not counted
	MessagesSent   uint64
	EntriesSent    uint64
	ReferralsSent  uint64
	Operations     []OperationFigures
	Followers      []FollowerFigures // by connection
}

// OperationFigures are those of one kind of operation.
type OperationFigures struct {
	Operation string // as cn=Monitor calls it, in small letters
	Initiated uint64
	Completed uint64         // those whose connection ended before included
	Results   map[int]uint64 // of the replies, by result code
}

// FollowerFigures are those of one search with a Sync Request control.
type FollowerFigures struct {
	Connection uint64
	Peer       string        // where limits count it: an address, of IPv6 a network, or a local user
	Persisting bool          // its refresh is over
	Lag        time.Duration // how long it has not had all there is, at most; 0: it has
}

// Figures tells how the door is doing.
func (s *Server) Figures() *Figures {
	conns, total := s.tally()
	out := &Figures{
		Connections: len(conns), MaxConnections: s.opt.MaxConns, Accepted: s.nextConn.Load(), BytesSent: total.sent.bytes,
		MessagesSent: total.sent.pdus, EntriesSent: total.sent.entries, ReferralsSent: total.sent.referrals,
	}
	out.Reading, out.Writing = waiting(conns)
	for k, name := range kindNames {
		out.Operations = append(out.Operations, OperationFigures{
			Operation: strings.ToLower(name), Initiated: total.initiated[k], Completed: total.completed[k], Results: total.results(kind(k)),
		})
	}
	out.Followers = s.follows.figures(time.Now())
	return out
}

// results are the replies of a kind by their codes.
func (t *totals) results(k kind) map[int]uint64 {
	success := t.sent.completed[k]
	out := map[int]uint64{}
	for _, f := range t.sent.failed {
		if f.kind == k {
			out[f.code] += f.n
			success -= f.n
		}
	}
	if success > 0 {
		out[0] = success
	}
	return out
}

func (cs *contents) figures(now time.Time) (out []FollowerFigures) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for f := range cs.all {
		g := FollowerFigures{Connection: f.c.number, Peer: f.c.origin.place(), Persisting: f.persists.Load()}
		if behind := f.behind.Load(); behind != 0 {
			g.Lag = max(0, now.Sub(time.Unix(0, behind)))
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b FollowerFigures) int { return cmp.Compare(a.Connection, b.Connection) })
	return out
}

// place is where the connection comes from, a whole address without its length.
func (o origin) place() string {
	if o.net.IsSingleIP() {
		return o.net.Addr().String()
	}
	return o.String()
}
