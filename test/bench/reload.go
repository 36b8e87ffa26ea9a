package main

import (
	"context"
	"fmt"
	"time"
)

// reloadRow is a full refresh of what is there already: a server that no longer
// knows how far it is.
var reloadRow = row{
	name: "reload",
	title: func(o options) string {
		return fmt.Sprintf("full refresh of %s entries that are there already, all but one as they are", number(float64(content{people: o.entries}.total())))
	},
	figures: []figure{{"entries/s", rate}, {"wall s", cost}, {"CPU s", cost}, {"CPU s of the provider", neutral}},
	floors:  map[string]float64{"entries/s": 1.2, "CPU s": 2},
	sample:  sampleReload,
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
	return []float64{float64(b.content.total()) / wall, wall, cpu - cpuBefore, providerAfter - providerBefore}, err
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
