package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// maxPlaces is how many places one try goes through, over all servers: each may
// be waited for as long as DialTimeout, several times.
const maxPlaces = 16

// place is one thing to connect to: a server, or a target of its SRV records.
type place struct {
	server  Server // whose protocol is spoken, and whose host TLS verifies (RFC 4513 section 3.1.3)
	address string // "host:port", or the path of a socket; cookies are kept by it
	srv     error  // why SRV records were of no use where there may be some
	asked   bool   // in TLS, for a certificate of ours
}

func (p *place) network() string {
	if p.server.Protocol == protocolLDAPI {
		return "unix"
	}
	return "tcp"
}

func (p *place) host() string {
	host, _, err := net.SplitHostPort(p.address)
	if err != nil {
		return p.address
	}
	return host
}

// places says where a server is to be had, in the order to try. SRV records (RFC
// 2782) count where a name was given without a port. Without any it is the host
// itself, and so when they cannot be had: that the name servers are in trouble
// says nothing about the host, which may be known otherwise.
func (at Server) places(ctx context.Context, o Options) ([]place, error) {
	itself := []place{{server: at, address: at.address()}}
	if at.Port != 0 || !at.named() {
		return itself, nil
	}
	targets, err := at.lookup(ctx, o)
	var dns *net.DNSError
	switch {
	case errors.Is(err, errNoService):
		return nil, inWords(err, "%s: its SRV records say that there is no %s service", at.Host, at.Protocol)
	case errors.As(err, &dns) && dns.IsNotFound:
		return itself, nil
	case err != nil:
		itself[0].srv = err
		return itself, nil
	}
	found := make([]place, 0, len(targets))
	for _, t := range targets {
		found = append(found, place{server: at, address: net.JoinHostPort(t.Target, strconv.Itoa(int(t.Port)))})
	}
	return found, nil
}

// fair cuts places to what is left of a try, when so many were tried and so many
// servers wait behind: one is left for each of these.
func fair(places []place, tried, behind int) []place {
	return places[:min(len(places), maxPlaces-tried-behind)]
}

// errNoService is the word of an SRV record whose target is the root.
var errNoService = errors.New("decidedly not available (RFC 2782)")

// lookup asks for a server's SRV records and gives their targets in order.
func (at Server) lookup(ctx context.Context, o Options) ([]*net.SRV, error) {
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	name := at.Host
	if strings.Contains(name, ".") && !strings.HasSuffix(name, ".") {
		name += "." // whole as it is: of no use below the domains that short names are looked for in
	}
	records, err := o.LookupSRV(ctx, at.Protocol, "tcp", name)
	if len(records) == 0 {
		if err == nil {
			err = &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
		}
		return nil, err
	}
	if len(records) == 1 && strings.TrimSuffix(records[0].Target, ".") == "" {
		return nil, errNoService
	}
	targets := usable(records)
	if len(targets) == 0 {
		return nil, fmt.Errorf("none of %d records names a host and a port", len(records))
	}
	return ordered(targets, maxPlaces, o.Rand), nil
}

// usable are the records that name a host and a port, in the form that sources have.
func usable(records []*net.SRV) []*net.SRV {
	var out []*net.SRV
	for _, r := range records {
		target := canonicalHost(strings.TrimSuffix(r.Target, "."))
		if r.Port != 0 && checkHost(target) == nil {
			out = append(out, &net.SRV{Target: target, Port: r.Port, Priority: r.Priority, Weight: r.Weight})
		}
	}
	return out
}

// ordered picks up to limit targets as RFC 2782 says: by priority, and within
// one at random, in proportion to the weights of those that are left.
func ordered(targets []*net.SRV, limit int, random func() float64) []*net.SRV {
	slices.SortStableFunc(targets, func(a, b *net.SRV) int {
		// Those of weight 0 come first, so that they have a small chance too.
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
	})
	var out []*net.SRV
	for len(targets) > 0 && len(out) < limit {
		i := pick(targets, random)
		out = append(out, targets[i])
		targets = slices.Delete(targets, i, i+1)
	}
	return out
}

// pick chooses among the targets of the first priority.
func pick(targets []*net.SRV, random func() float64) int {
	sum, n := 0, 0
	for n < len(targets) && targets[n].Priority == targets[0].Priority {
		sum += int(targets[n].Weight)
		n++
	}
	chosen := int(random() * float64(sum+1))
	for i, t := range targets[:n] {
		if chosen -= int(t.Weight); chosen <= 0 {
			return i
		}
	}
	return n - 1
}
