package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"

	"golang.org/x/sys/unix"
)

const (
	// delayChanges is how many changes a delay is measured with: the 99th
	// percentile is the fifth from above.
	delayChanges = 500
	// delayPeople are in all sources together: the delay of one change does not
	// depend on them, and each round copies them anew.
	delayPeople = 8000
	// manySources is how many change at once where it is not one.
	manySources = 8
	// delayPause is between a change that has been seen and the next: these are
	// single changes, not a load.
	delayPause = 2 * time.Millisecond
	// lookPause is between two looks for a change that is searched for: the error
	// of its delay, on both sides.
	lookPause = 200 * time.Microsecond
)

// soon is what ours has to be better by; late is the 99th percentile's.
type soon struct{ median, late, cpu float64 }

// delayRow measures how long after its request a change at a provider is seen at a
// server that copies it. The slapd that copies has the lines.
func delayRow(name, title string, sources int, lines string, floor soon, watch watching) row {
	return row{
		name:  name,
		title: func(options) string { return title },
		sides: [2]string{"slapd, Shaft", "slapd, slapd"},
		figures: []figure{{"median ms", cost}, {"99th percentile ms", cost}, {"CPU µs a change", cost},
			{"median ms until the provider answers", neutral}},
		floors: map[string]float64{"median ms": floor.median, "99th percentile ms": floor.late, "CPU µs a change": floor.cpu},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			return b.sampleDelay(ctx, s, sources, lines, watch)
		},
	}
}

// watching begins to look for changes below a DN of a server.
type watching func(address, dn string) (watcher, error)

// watcher sees changes.
type watcher interface {
	// await returns once the entry is seen to have the description.
	await(dn, value string) error
	close()
}

// followWatch is a persist follower of everything below the DN.
type followWatch struct{ *syncClient }

func watchFollow(address, dn string) (watcher, error) {
	c, err := follow(address, dn, scopeSub, syncrepl.RefreshAndPersist, "")
	if err != nil {
		return nil, err
	}
	if err := c.until(refreshed); err != nil {
		c.nc.Close()
		return nil, err
	}
	return followWatch{c}, nil
}

func (w followWatch) await(_, value string) error {
	return w.until(func(m *syncrepl.Message) bool { return bytes.Contains(m.Attrs, []byte(value)) })
}

func (w followWatch) close() { w.nc.Close() }

// searchWatch searches again and again on one connection.
type searchWatch struct{ *searcher }

func watchSearch(address, _ string) (watcher, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return searchWatch{newSearcher(nc)}, nil
}

func (w searchWatch) await(dn, value string) error {
	q := everything(dn, scopeBase)
	q.want = []string{"description"}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); nap(lookPause) {
		found := false
		err := w.ask(q, func(e ber.Reader) error {
			if _, err := e.Read(ber.OctetString); err != nil {
				return err
			}
			list, err := e.Read(ber.Sequence)
			found = bytes.Contains(list, []byte(value))
			return err
		})
		if found || err != nil {
			return err
		}
	}
	return fmt.Errorf("%q did not show %q within %v", dn, value, patience)
}

func (w searchWatch) close() { w.nc.Close() }

// delaySources makes the providers whose changes are watched, once.
func (b *bench) delaySources(ctx context.Context, n int) ([]*slapd, error) {
	for i := len(b.sources); i < n; i++ {
		c := content{seed: b.o.seed + uint64(i), people: delayPeople / manySources, top: fmt.Sprintf("dc=source%d,dc=example", i)}
		p, err := newProvider(ctx, b.dir, c)
		if err != nil {
			return nil, err
		}
		b.sources = append(b.sources, p)
	}
	return b.sources[:n], nil
}

// delayed is one source with its editor and whoever watches its copy.
type delayed struct {
	p     *slapd
	dn    string // of the copy
	edit  *editor
	watch watcher
}

func (b *bench) sampleDelay(ctx context.Context, s side, n int, lines string, watch watching) (figures []float64, err error) {
	providers, err := b.delaySources(ctx, n)
	if err != nil {
		return nil, err
	}
	p, address, profiles, err := b.delayServer(ctx, s, lines, providers)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	var all []*delayed
	defer func() {
		for _, d := range all {
			d.edit.nc.Close()
			d.watch.close()
		}
	}()
	for _, source := range providers {
		d := &delayed{p: source, dn: source.content.suffix()}
		if s == ours {
			d.dn = copyOf(source)
		}
		if d.edit, err = edit(source); err != nil {
			return nil, err
		}
		if d.watch, err = watch(address, d.dn); err != nil {
			d.edit.nc.Close()
			return nil, err
		}
		all = append(all, d)
	}
	if err := p.idle(); err != nil {
		return nil, err
	}
	if err := profiles.mark(p, "warm-up"); err != nil {
		return nil, err
	}
	before, err := p.cpu()
	if err != nil {
		return nil, err
	}
	seen, answered, err := changeAtOnce(ctx, all, delayChanges, fmt.Sprintf("delay in round %d of %s by %s, change", b.round, b.row, s))
	if err != nil {
		return nil, err
	}
	after, err := p.cpu()
	if err != nil {
		return nil, err
	}
	if err := profiles.mark(p, b.profileName()); err != nil {
		return nil, err
	}
	return []float64{quantile(seen, 0.5), quantile(seen, 0.99), (after - before) / float64(len(seen)) * 1e6, quantile(answered, 0.5)}, nil
}

// delayServer starts a server that copies the providers.
func (b *bench) delayServer(ctx context.Context, s side, lines string, providers []*slapd) (p *process, address string, _ *profiles, err error) {
	if s == theirs {
		c, err := b.startConsumer(lines+providerLines, providers...)
		if err != nil {
			return nil, "", nil, err
		}
		return c.process, c.address, nil, nil
	}
	c, err := b.startShaftOn(ctx, "refresh of "+b.profileName(), "", providers...)
	if err != nil {
		return nil, "", nil, err
	}
	return c.process, c.address, c.profiles, nil
}

// changeAtOnce changes an entry of each source at the same moment, waits until all
// of it was seen and answered, and does so again until there are n.
// Times are in milliseconds from the request.
func changeAtOnce(ctx context.Context, all []*delayed, n int, mark string) (seen, answered []float64, err error) {
	for round := 0; len(seen) < n; round++ {
		times := make([][2]float64, len(all))
		errs := make([]error, len(all))
		var wg sync.WaitGroup
		for i, d := range all {
			wg.Go(func() { times[i], errs[i] = d.change(round, fmt.Sprintf("%s %d.", mark, round)) })
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil {
				return nil, nil, err
			}
			seen, answered = append(seen, times[i][0]), append(answered, times[i][1])
		}
		if err := sleep(ctx, delayPause); err != nil {
			return nil, nil, err
		}
	}
	return seen, answered, nil
}

// change makes one change, and tells when it was seen and when it was answered.
func (d *delayed) change(round int, value string) (times [2]float64, err error) {
	rdns := d.p.content.rdns(round%d.p.content.people) + ","
	answered := make(chan error, 1)
	begin := time.Now()
	since := func() float64 { return time.Since(begin).Seconds() * 1e3 }
	go func() {
		err := d.edit.describe(rdns+d.p.content.suffix(), value)
		times[1] = since()
		answered <- err
	}()
	seen := make(chan error, 1)
	go func() {
		err := d.watch.await(rdns+d.dn, value)
		times[0] = since()
		seen <- err
	}()
	if err := <-answered; err != nil {
		d.watch.close() // it would wait in vain
		<-seen
		return times, err
	}
	return times, <-seen
}

// nap sleeps to some 50 µs. time.Sleep takes a millisecond or more in a process that
// has nothing else to do, since Go waits for timers and sockets together.
func nap(d time.Duration) {
	left := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&left, nil) // cut short is as well
}
