package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// staleChanges are made behind a cookie, before a present phase: more than
// shortLog, what the Shaft that is asked for it remembers. Each sample asks
// presentPhases times, for CPU time is told in ticks of 10 ms.
const staleChanges, shortLog, presentPhases = 200, 16, 10

// presentRow is what a follower is told whose cookie is from before what is remembered.
var presentRow = row{
	name: "present",
	title: func(o options) string {
		return fmt.Sprintf("present phase over %s entries of which %d changed", number(float64(content{people: o.entries}.total())), staleChanges)
	},
	figures: []figure{{"wall ms", cost}, {"CPU ms", cost}, {"messages", neutral}},
	floors:  map[string]float64{"wall ms": 1.9, "CPU ms": 2.4},
	sample:  samplePresent,
}

// syncClient is one sync search.
type syncClient struct {
	nc net.Conn
	in *bufio.Reader
	n  int                    // messages so far
	at atomic.Pointer[string] // the newest cookie
}

func follow(address, base string, scope int, mode syncrepl.Mode, cookie string) (*syncClient, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	r := syncrepl.Request{Base: base, Scope: scope, Mode: mode, Attributes: []string{"*", "+"},
		Filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}}
	if cookie != "" {
		r.Cookie = []byte(cookie)
	}
	_, err = nc.Write(syncrepl.AppendSearch(nil, 1, r))
	return &syncClient{nc: nc, in: bufio.NewReaderSize(nc, 16<<10)}, err
}

// until reads messages until done says so, which sees each.
func (c *syncClient) until(done func(m *syncrepl.Message) bool) error {
	for {
		if err := c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		frame, err := nextFrame(c.in)
		if err != nil {
			return err
		}
		var m syncrepl.Message
		if err := syncrepl.Decode(frame, &m); err != nil {
			return err
		}
		if m.Kind == syncrepl.KindDone && m.Code != 0 {
			return fmt.Errorf("the search ended with %d: %s", m.Code, m.Diagnostic)
		}
		c.n++
		if m.HasCookie {
			cookie := string(m.Cookie)
			c.at.Store(&cookie)
		}
		end := done(&m)
		if _, err := c.in.Discard(len(frame)); err != nil || end {
			return err
		}
	}
}

func refreshed(m *syncrepl.Message) bool {
	return m.Kind == syncrepl.KindRefreshDelete || m.Kind == syncrepl.KindRefreshPresent || m.Kind == syncrepl.KindDone
}

func samplePresent(ctx context.Context, b *bench, s side) ([]float64, error) {
	t, err := beside.get(ctx, b, s)
	if err != nil {
		return nil, err
	}
	p, address, dn := t.p, t.address, t.dn
	csn, err := contextCSN(address, dnTop(s))
	if err != nil {
		return nil, err
	}
	err = b.change(staleChanges, func(i int) (dn, value string) {
		return b.content.rdns(i+1) + "," + suffix, fmt.Sprintf("stale in round %d for %s", b.round, s)
	})
	if err != nil {
		return nil, err
	}
	if err := p.idle(); err != nil {
		return nil, err
	}
	if err := t.profiles.mark(p, "warm-up"); err != nil {
		return nil, err
	}
	before, err := p.cpu()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	messages := 0
	for range presentPhases {
		n, err := presentPhase(address, dn, "rid=001,csn="+csn, b.content.total()-staleChanges)
		if err != nil {
			return nil, err
		}
		messages += n
	}
	wall := time.Since(begin).Seconds()
	after, err := p.cpu()
	if err != nil {
		return nil, err
	}
	const n = float64(presentPhases)
	return []float64{wall / n * 1e3, (after - before) / n * 1e3, float64(messages) / n}, t.profiles.mark(p, b.profileName())
}

// presentPhase polls with a cookie, and has so many entries named at least.
func presentPhase(address, dn, cookie string, want int) (messages int, err error) {
	c, err := follow(address, dn, scopeSub, syncrepl.RefreshOnly, cookie)
	if err != nil {
		return 0, err
	}
	defer c.nc.Close()
	named := 0
	err = c.until(func(m *syncrepl.Message) bool { named += len(m.IDs); return refreshed(m) })
	if named < want && err == nil {
		err = fmt.Errorf("%d entries were named, want %d", named, want)
	}
	return c.n, err
}

// dnTop is where a side has its contextCSN.
func dnTop(s side) string {
	if s == ours {
		return baseDN
	}
	return suffix
}
