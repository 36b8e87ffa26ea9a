package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// reloadRow is a full refresh of what is there already: a server that no longer
// knows how far it is.
var reloadRow = row{
	name: "reload",
	title: func(o options) string {
		return fmt.Sprintf("full refresh of %s entries that are there already, all but one as they are", number(float64(content{people: o.entries}.total())))
	},
	figures: []figure{
		{"entries/s", rate}, {"wall s", cost}, {"CPU s", cost}, {"CPU s of the provider", neutral},
		{"entries/s to a client that only counts", neutral}, {"CPU s of the provider for it", neutral}, {"% of that", neutral},
	},
	floors: map[string]float64{"entries/s": 2.6, "CPU s": 4},
	sample: sampleReload,
}

func sampleReload(ctx context.Context, b *bench, s side) ([]float64, error) {
	p, reload, err := b.reloadable(ctx, s)
	if err != nil {
		return nil, err
	}
	providerBefore, err := b.provider.cpu()
	if err != nil {
		return nil, err
	}
	cpuBefore, err := p.cpu()
	if s == theirs { // it is started anew
		cpuBefore = 0
	}
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if p, err = reload(); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	cpu, err := p.cpu()
	if err != nil {
		return nil, err
	}
	providerAfter, err := b.provider.cpu()
	if err == nil && s == ours {
		err = b.copy.profiles.mark(p, b.profileName())
	}
	if err != nil {
		return nil, err
	}
	given, forIt, err := b.given()
	rate := float64(b.content.total()) / wall
	return []float64{rate, wall, cpu - cpuBefore, providerAfter - providerBefore, given, forIt, 100 * rate / given}, err
}

// given is how many entries a second the provider gives to a client that takes all of them and only counts the
// messages, and what CPU time the provider uses for it.
func (b *bench) given() (rate, cpu float64, err error) {
	before, err := b.provider.cpu()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	c, err := follow(b.provider.address, suffix, scopeSub, syncrepl.RefreshOnly, "")
	if err != nil {
		return 0, 0, err
	}
	defer c.nc.Close()
	n, err := countMessages(c.nc)
	wall := time.Since(begin).Seconds()
	if total := b.content.total(); err == nil && n < total {
		err = fmt.Errorf("%d messages came, want %d", n, total)
	}
	after, cpuErr := b.provider.cpu()
	return float64(b.content.total()) / wall, after - before, errors.Join(err, cpuErr)
}

// countMessages counts messages up to the end of a search. Each read takes what is there.
func countMessages(nc net.Conn) (n int, err error) {
	if err := nc.SetReadDeadline(time.Now().Add(refreshLimit)); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(nc, 1<<20)
	for {
		frame, err := nextFrame(in)
		if err != nil {
			return n, err
		}
		_, message, _, err := ber.Next(frame)
		if err != nil {
			return n, err
		}
		op := ber.NewReader(message)
		if _, err := op.Int(ber.Integer); err != nil { // the message ID
			return n, err
		}
		if n++; op.Peek() == searchDone {
			done, err := parseReply(frame)
			if err == nil && done.code != 0 {
				err = fmt.Errorf("the provider answers %d", done.code)
			}
			return n, err
		}
		if _, err := in.Discard(len(frame)); err != nil {
			return n, err
		}
	}
}

// reloadable gives a server that has everything, idle, and what has it load all of
// it again: the resync of a name, or the start of a slapd that is told on its
// command line to have no cookie.
func (b *bench) reloadable(ctx context.Context, s side) (p *process, reload func() (*process, error), err error) {
	changed := func() error {
		return b.change(1, func(int) (dn, value string) {
			return b.content.rdns(0) + "," + suffix, fmt.Sprintf("reload in round %d of %s", b.round, s)
		})
	}
	if s == ours {
		t, err := b.copied(ctx)
		if err == nil {
			err = changed()
		}
		if err == nil {
			err = t.p.idle()
		}
		if err == nil {
			err = t.profiles.mark(t.p, "warm-up")
		}
		return t.p, func() (*process, error) { return t.p, b.copy.resync(ctx, b.content.total()) }, err
	}
	if b.consumer == nil {
		if b.consumer, err = b.startConsumer(unsynced, b.provider); err != nil {
			return nil, nil, err
		}
	}
	if err := b.consumer.idle(); err != nil {
		return nil, nil, err
	}
	b.consumer.stop()
	if err := changed(); err != nil { // by which the end shows
		return nil, nil, err
	}
	return b.provider.process, func() (*process, error) {
		if err := b.consumer.start("-c", "rid=001"); err != nil {
			return nil, err
		}
		return b.consumer.process, b.consumer.awaitCopy(b.provider)
	}, nil
}

// resync loads the name again in full and waits for the end of that task.
func (s *shaft) resync(ctx context.Context, entries int) error {
	r, _, err := s.client.Resync(ctx, copyDN, false)
	if err != nil {
		return err
	}
	err = s.await("the resync is over", refreshLimit, func() (bool, error) {
		t, _, err := s.client.Task(ctx, fmt.Sprint(r.Task))
		return err == nil && t.Ended != nil, err
	})
	if err != nil {
		return err
	}
	return s.awaitCopy(ctx, 1, entries)
}
