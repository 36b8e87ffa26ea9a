package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// fan is changes that reach a crowd of followers.
type fan struct {
	one             bool // they are of one entry, of which Shaft sends the newest state; else each is of another
	changes         int
	followers, mute int // mute is how many of them never read
}

const (
	// crowdSize is how many clients follow; muteOnes of them never read.
	crowdSize, muteOnes = 1000, 10
	// fanChanges is how many changes they are told of.
	fanChanges = 1000
)

// fanOutRow measures one. A fifth of slapd's time is the goal of both rows.
func fanOutRow(name, title string, one bool, floor float64) row {
	return row{
		name:  name,
		title: func(options) string { return fmt.Sprintf(title, fanChanges, crowdSize, muteOnes) },
		figures: []figure{
			{"CPU µs a change and follower", cost}, {"CPU s", cost}, {"wall s", cost}, {"CPU µs a message", neutral}, {"messages sent", neutral},
		},
		floors: map[string]float64{"CPU µs a change and follower": floor},
		long:   true,
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			return b.sampleFanOut(ctx, s, fan{one, fanChanges, crowdSize, muteOnes})
		},
	}
}

// crowd has n clients follow, with a cookie or without.
func crowd(n int, address, dn string, scope int, cookie string) (clients []*syncClient, err error) {
	for range n {
		c, err := follow(address, dn, scope, syncrepl.RefreshAndPersist, cookie)
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

func disperse(clients []*syncClient) {
	for _, c := range clients {
		c.nc.Close()
	}
}

func (b *bench) sampleFanOut(ctx context.Context, s side, f fan) ([]float64, error) {
	t, err := beside.get(ctx, b, s)
	if err != nil {
		return nil, err
	}
	p, address := t.p, t.address
	if err := p.idle(); err != nil {
		return nil, err
	}
	base, scope, cookie := b.content.rdns(0)+","+t.dn, scopeBase, ""
	if !f.one { // of everything, which they are taken to have
		csn, err := contextCSN(address, dnTop(s))
		if err != nil {
			return nil, err
		}
		base, scope, cookie = t.dn, scopeSub, "rid=001,csn="+csn
	}
	clients, err := crowd(f.followers, address, base, scope, cookie)
	defer func() { disperse(clients) }()
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
	if err := b.deliver(p, address, s, f, clients[f.mute:]); err != nil {
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
	delivered := f.changes * (f.followers - f.mute)
	if !f.one && sent < delivered {
		return nil, fmt.Errorf("%d messages came, want %d", sent, delivered)
	}
	cpu := after - before
	return []float64{cpu / float64(delivered) * 1e6, cpu, wall, cpu / float64(sent) * 1e6, float64(sent)}, nil
}

// deliver makes the changes, and returns when all clients have the last one.
func (b *bench) deliver(p *process, address string, s side, f fan, clients []*syncClient) error {
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Add(1)
		go func() {
			defer reading.Done()
			c.until(func(*syncrepl.Message) bool { return false }) //nolint:errcheck // it ends when the connection is closed
		}()
	}
	defer func() {
		disperse(clients)
		reading.Wait()
	}()
	mark := fmt.Sprintf("%s of round %d to %s, change ", b.row, b.round, s)
	person := func(i int) string {
		if f.one {
			return b.content.rdns(0) + ","
		}
		return b.content.rdns(i%b.content.people) + ","
	}
	err := b.change(f.changes, func(i int) (dn, value string) { return person(i) + suffix, mark + fmt.Sprint(i+1) })
	if err != nil {
		return err
	}
	if s == ours { // the copy has it when its followers have
		err = p.await("Shaft has the last change", patience, func() (bool, error) {
			return describedBy(address, person(f.changes-1)+copyDN, mark+fmt.Sprint(f.changes))
		})
		if err != nil {
			return err
		}
	}
	want, err := contextCSN(address, dnTop(s))
	if err != nil {
		return err
	}
	return p.await("all followers have the last change", 5*patience, func() (bool, error) {
		for _, c := range clients {
			if at := c.at.Load(); at == nil || !strings.Contains(*at, want) {
				return false, nil
			}
		}
		return true, nil
	})
}

// describedBy tells whether an entry has a value.
func describedBy(address, dn, value string) (found bool, err error) {
	err = ask(address, everything(dn, scopeBase), func(e ber.Reader) error {
		if _, err := e.Read(ber.OctetString); err != nil {
			return err
		}
		list, err := e.Read(ber.Sequence)
		found = bytes.Contains(list, []byte(value))
		return err
	})
	return found, err
}

// idleRow is what followers take that have everything and wait. The servers are new and small, so that
// what is behind the figure is them; sockets are the kernel's, and are not in it.
var idleRow = row{
	name: "idle-followers",
	title: func(options) string {
		return fmt.Sprintf("%d followers that wait, over TCP in the clear: RSS without files", crowdSize)
	},
	figures:  []figure{{"kB a follower", cost}},
	ceilings: map[string]float64{"kB a follower": idleCeiling},
	sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
		kB, err := b.idleFollowers(ctx, s, crowdSize)
		return []float64{kB}, err
	},
}

// idleCeiling is what a follower that waits may take, kB.
const idleCeiling = 30

// crowdRest is how long a crowd waits before it is looked at what it takes: Shaft looks every ten
// seconds whether there is memory to give back.
const crowdRest = 12 * time.Second

// idleFollowers gives what each of a crowd takes of a new server, kB.
func (b *bench) idleFollowers(ctx context.Context, s side, n int) (kB float64, err error) {
	providers, err := b.delaySources(ctx, 1)
	if err != nil {
		return 0, err
	}
	p, address, profiles, err := b.delayServer(ctx, s, unsynced, providers)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	dn := providers[0].content.suffix()
	if s == ours {
		dn = copyOf(providers[0])
	}
	if err := p.idle(); err != nil {
		return 0, err
	}
	_, before, err := p.memory()
	if err != nil {
		return 0, err
	}
	clients, err := crowd(n, address, dn, scopeSub, "")
	defer func() { disperse(clients) }()
	if err == nil {
		err = p.idle()
	}
	if err == nil {
		err = sleep(ctx, crowdRest)
	}
	if err == nil {
		err = profiles.mark(p, b.profileName())
	}
	if err != nil {
		return 0, err
	}
	_, after, err := p.memory()
	return (after - before) * 1024 / float64(n), err
}
