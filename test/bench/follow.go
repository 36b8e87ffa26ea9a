package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

const (
	// crowdSize is how many clients follow one entry; muteOnes of them never read.
	crowdSize, muteOnes = 1000, 10
	// fanChanges is how often that entry changes.
	fanChanges = 1000
	// staleChanges are made behind a cookie, before a present phase: more than
	// shortLog, what the Shaft that is asked for it remembers.
	staleChanges, shortLog = 200, 16
)

// fanOutRow is one entry's changes reaching a crowd of followers.
var fanOutRow = row{
	name: "fan-out",
	title: func(options) string {
		return fmt.Sprintf("%d changes of one entry to %d followers, %d of which never read", fanChanges, crowdSize, muteOnes)
	},
	figures: []figure{
		{"CPU µs a change and follower", cost}, {"CPU s", cost}, {"wall s", cost}, {"messages sent", neutral},
	},
	floors: map[string]float64{"CPU µs a change and follower": 5},
	long:   true,
	sample: sampleFanOut,
}

// presentRow is what a follower is told whose cookie is from before what is remembered.
var presentRow = row{
	name: "present",
	title: func(o options) string {
		return fmt.Sprintf("present phase over %s entries of which %d changed", number(float64(content{people: o.entries}.total())), staleChanges)
	},
	figures: []figure{{"wall ms", cost}, {"CPU ms", cost}, {"messages", neutral}},
	floors:  map[string]float64{"wall ms": 0.8}, // few ticks of CPU time
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

// crowd follows one entry, many times over.
func crowd(address, dn string) (clients []*syncClient, err error) {
	for range crowdSize {
		c, err := follow(address, dn, scopeBase, syncrepl.RefreshAndPersist, "")
		if err == nil {
			clients = append(clients, c)
			err = c.until(refreshed)
			c.n = 0
		}
		if err != nil {
			return clients, err
		}
	}
	return clients, nil
}

func sampleFanOut(ctx context.Context, b *bench, s side) ([]float64, error) {
	t, err := beside.get(ctx, b, s)
	if err != nil {
		return nil, err
	}
	p, address, dn := t.p, t.address, t.dn
	if err := p.idle(); err != nil {
		return nil, err
	}
	clients, err := crowd(address, b.content.rdns(0)+","+dn)
	defer func() {
		for _, c := range clients {
			c.nc.Close()
		}
	}()
	if err != nil {
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
	if err := b.deliver(p, address, s, clients[muteOnes:]); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	if err := t.profiles.mark(p, b.profileName()); err != nil {
		return nil, err
	}
	after, err := p.cpu()
	if err != nil {
		return nil, err
	}
	sent := 0
	for _, c := range clients {
		sent += c.n
	}
	cpu := after - before
	return []float64{cpu / fanChanges / (crowdSize - muteOnes) * 1e6, cpu, wall, float64(sent)}, nil
}

// deliver makes the changes, and returns when all clients have the last one.
func (b *bench) deliver(p *process, address string, s side, clients []*syncClient) error {
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Add(1)
		go func() {
			defer reading.Done()
			c.until(func(*syncrepl.Message) bool { return false }) //nolint:errcheck // it ends when the connection is closed
		}()
	}
	defer func() {
		for _, c := range clients {
			c.nc.Close()
		}
		reading.Wait()
	}()
	mark := fmt.Sprintf("fan-out of round %d to %s, change ", b.round, s)
	err := b.change(fanChanges, func(i int) (dn, value string) { return b.content.rdns(0) + "," + suffix, mark + fmt.Sprint(i+1) })
	if err != nil {
		return err
	}
	if s == ours { // the copy has it when its followers have
		found := false
		err = p.await("Shaft has the last change", patience, func() (bool, error) {
			q := everything(b.content.rdns(0)+","+copyDN, scopeBase)
			err := ask(address, q, func(e ber.Reader) error {
				if _, err := e.Read(ber.OctetString); err != nil {
					return err
				}
				list, err := e.Read(ber.Sequence)
				found = bytes.Contains(list, []byte(mark+fmt.Sprint(fanChanges)))
				return err
			})
			return found, err
		})
		if err != nil {
			return err
		}
	}
	want, err := contextCSN(address, dnTop(s))
	if err != nil {
		return err
	}
	return p.await("all followers have the last change", patience, func() (bool, error) {
		for _, c := range clients {
			if at := c.at.Load(); at == nil || !strings.Contains(*at, want) {
				return false, nil
			}
		}
		return true, nil
	})
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
	before, err := p.cpu()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	c, err := follow(address, dn, scopeSub, syncrepl.RefreshOnly, "rid=001,csn="+csn)
	if err != nil {
		return nil, err
	}
	defer c.nc.Close()
	named := 0
	if err := c.until(func(m *syncrepl.Message) bool { named += len(m.IDs); return refreshed(m) }); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	after, err := p.cpu()
	if want := b.content.total() - staleChanges; named < want && err == nil {
		err = fmt.Errorf("%d entries were named, want %d", named, want)
	}
	return []float64{wall * 1e3, (after - before) * 1e3, float64(c.n)}, err
}

// dnTop is where a side has its contextCSN.
func dnTop(s side) string {
	if s == ours {
		return baseDN
	}
	return suffix
}
